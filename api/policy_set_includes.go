package api

import (
	"context"

	"github.com/polset/polset"
)

// Related finds what policy sets hold and guard. Each method returns those of
// the ids that exist, in any order.
type Related interface {
	PoliciesByID(ctx context.Context, by polset.Principal, ids []string) ([]polset.Policy, error)
	WorkspacesByID(ctx context.Context, by polset.Principal, ids []string) ([]polset.Workspace, error)
	ProjectsByID(ctx context.Context, by polset.Principal, ids []string) ([]polset.Project, error)
}

// policySetIncludes are the values of include.
var policySetIncludes = []string{
	"newest_version", "current_version", "policies", "workspaces",
	"projects", "workspace_exclusions", "project_exclusions",
}

// included finds what include asks for, for all sets at once: one call for each
// type of resource.
func (a *API) included(r *request, want includes, sets ...polset.PolicySet) ([]resource, error) {
	var versions, policies, workspaces, projects idList
	for _, set := range sets {
		versions.add(want["newest_version"], set.NewestVersionID)
		versions.add(want["current_version"], set.CurrentVersionID)
		policies.add(want["policies"], set.Members.Policies...)
		workspaces.add(want["workspaces"], set.Members.Workspaces...)
		workspaces.add(want["workspace_exclusions"], set.Members.WorkspaceExclusions...)
		projects.add(want["projects"], set.Members.Projects...)
		projects.add(want["project_exclusions"], set.Members.ProjectExclusions...)
	}
	var all []resource
	for _, part := range []struct {
		idList
		find func(ids []string) ([]resource, error)
	}{
		{versions, found(r, a.Versions.VersionsByID, versionResource)},
		{policies, found(r, a.Related.PoliciesByID, policyResource)},
		{workspaces, found(r, a.Related.WorkspacesByID, workspaceResource)},
		{projects, found(r, a.Related.ProjectsByID, projectResource)},
	} {
		if len(part.ids) == 0 {
			continue
		}
		resources, err := part.find(part.ids)
		if err != nil {
			return nil, err
		}
		all = append(all, resources...)
	}
	return all, nil
}

// found makes a search for things one for resources, which come in the order of
// the ids, whatever that of the store is.
func found[T any](r *request, find func(context.Context, polset.Principal, []string) ([]T, error), show func(T) resource) func(ids []string) ([]resource, error) {
	return func(ids []string) ([]resource, error) {
		things, err := find(r.ctx(), r.by, ids)
		if err != nil {
			return nil, err
		}
		byID := make(map[string]resource, len(things))
		for _, thing := range things {
			shown := show(thing)
			byID[shown.ID] = shown
		}
		resources := make([]resource, 0, len(things))
		for _, id := range ids {
			if shown, ok := byID[id]; ok {
				resources = append(resources, shown)
			}
		}
		return resources, nil
	}
}

// An idList collects ids, each once, in their order.
type idList struct {
	ids  []string
	seen map[string]bool
}

func (l *idList) add(wanted bool, ids ...string) {
	if l.seen == nil {
		l.seen = map[string]bool{"": true}
	}
	for _, id := range ids {
		if wanted && !l.seen[id] {
			l.seen[id] = true
			l.ids = append(l.ids, id)
		}
	}
}
