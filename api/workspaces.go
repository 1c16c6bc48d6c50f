package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/polset/polset"
)

// WorkspaceReader finds workspaces.
type WorkspaceReader interface {
	Workspace(ctx context.Context, by polset.Principal, id string) (polset.Workspace, error)
	// Workspaces returns a page in the order of the names, and the count of all
	// that the filter lets through.
	Workspaces(ctx context.Context, by polset.Principal, organization string, filter polset.WorkspaceFilter, page polset.Page) ([]polset.Workspace, int, error)
	// WorkspacesByID returns those of the ids that exist, in any order.
	WorkspacesByID(ctx context.Context, by polset.Principal, ids []string) ([]polset.Workspace, error)
}

// WorkspaceNames finds workspaces by their names.
type WorkspaceNames interface {
	WorkspaceByName(ctx context.Context, by polset.Principal, organization, name string) (polset.Workspace, error)
}

// WorkspaceWriter makes, changes and removes workspaces.
type WorkspaceWriter interface {
	// CreateWorkspace answers polset.ErrNotFound for a project that is not the
	// organization's.
	CreateWorkspace(ctx context.Context, by polset.Principal, draft polset.WorkspaceDraft) (polset.Workspace, error)
	UpdateWorkspace(ctx context.Context, by polset.Principal, id string, change polset.WorkspaceChange) (polset.Workspace, error)
	DeleteWorkspace(ctx context.Context, by polset.Principal, id string) error
}

// Workspaces is what the workspace endpoints need.
type Workspaces interface {
	WorkspaceReader
	WorkspaceNames
	WorkspaceWriter
	WorkspaceTagger
}

func (a *API) workspaceRoutes() []Route {
	const (
		read   = polset.PermissionRead
		manage = polset.PermissionManagePolicies

		workspaces = prefix + "/organizations/:organization/workspaces"
		named      = workspaces + "/:workspace_name"
		workspace  = prefix + "/workspaces/:workspace"
		tags       = workspace + "/relationships/tags"
	)
	at := func(path string) []Route { // its id, or its name in its organization
		return []Route{
			{http.MethodGet, path, AccessToken, read, a.showWorkspace, shows("workspaces", workspaceAttributes{}, "Show a workspace").including(workspaceIncludes...)},
			{http.MethodPatch, path, AccessToken, manage, a.updateWorkspace, changes("workspaces", workspaceShape{}, workspaceAttributes{}, "Change a workspace")},
			{http.MethodDelete, path, AccessToken, manage, a.deleteWorkspace, answers204("Delete a workspace with its configuration versions and runs")},
			{http.MethodPost, path + "/actions/safe-delete", AccessToken, manage, a.deleteWorkspace, answers204("Delete a workspace; polset's manage no resources, so that it is always safe")},
		}
	}
	return slices.Concat(at(workspace), at(named), []Route{
		{http.MethodGet, workspaces, AccessToken, read, a.listWorkspaces, lists("workspaces", workspaceAttributes{}, "List workspaces").
			with("search[name]", "search[wildcard-name]", "search[tags]", "search[exclude-tags]", "filter[project][id]", "filter[tagged][n][key]", "filter[tagged][n][value]", "sort").
			including(workspaceIncludes...)},
		{http.MethodPost, workspaces, AccessToken, manage, a.createWorkspace, creates("workspaces", workspaceShape{}, workspaceAttributes{}, "Create a workspace")},
		{http.MethodGet, workspace + "/tag-bindings", AccessToken, read, a.listWorkspaceTags, listsWhole("tag-bindings", tagAttributes{}, "List the tags of a workspace")},
		{http.MethodPatch, workspace + "/tag-bindings", AccessToken, manage, a.bindWorkspaceTags, listsWhole("tag-bindings", tagAttributes{}, "Add tags to a workspace").takingMany("tag-bindings", tagDraft{})},
		{http.MethodGet, workspace + "/effective-tag-bindings", AccessToken, read, a.listEffectiveWorkspaceTags, listsWhole("effective-tag-bindings", tagAttributes{}, "List the tags that are in effect on a workspace")},
		{http.MethodGet, tags, AccessToken, read, a.listTagNames, listsWhole("tags", tagNameAttributes{}, "List the tags of a workspace that are keys only")},
		{http.MethodPost, tags, AccessToken, manage, a.addTagNames, answers204("Add tags that are keys only to a workspace").takingMany("tags", tagNameAttributes{})},
		{http.MethodDelete, tags, AccessToken, manage, a.removeTagNames, answers204("Take tags from a workspace").takingMany("tags", tagNameAttributes{})},
		{http.MethodGet, workspace + "/relationships/remote-state-consumers", AccessToken, read, a.listStateConsumers, lists("workspaces", workspaceAttributes{}, "List the workspaces that may read a workspace's state, of which polset has none")},
	})
}

// shownWorkspaces are workspaces as their own endpoints show them, with what
// the principal may do, and what include asks for.
func (a *API) shownWorkspaces(r *request, want includes, workspaces ...polset.Workspace) (data, included []resource, err error) {
	manages, creates := r.by.Can(polset.PermissionManagePolicies), r.by.Can(polset.PermissionCreateRuns)
	for _, w := range workspaces {
		res := workspaceResource(w)
		attributes := res.Attributes.(workspaceAttributes)
		attributes.Permissions = &workspacePermissions{
			CanReadSettings: true,
			CanDestroy:      manages, CanForceDelete: manages, CanUpdate: manages, CanQueueRun: creates, CanQueueDestroy: creates,
		}
		res.Attributes = attributes
		data = append(data, res)
	}
	if want["effective_tag_bindings"] {
		effective, err := a.Workspaces.EffectiveTags(r.ctx(), workspaces)
		if err != nil {
			return nil, nil, err
		}
		for i, w := range workspaces {
			var ids []string
			for _, t := range effective[w.ID] {
				tag := effectiveTagResource(w.ID, t)
				included, ids = append(included, tag), append(ids, tag.ID)
			}
			data[i].Relationships["effective-tag-bindings"] = toMany("effective-tag-bindings", ids...)
		}
	}
	if want["project"] {
		var projects idList
		for _, w := range workspaces {
			projects.add(true, w.ProjectID)
		}
		resources, err := found(r, a.Projects.ProjectsByID, projectResource)(projects.ids)
		if err != nil {
			return nil, nil, err
		}
		included = append(included, resources...)
	}
	if want["organization"] && len(workspaces) > 0 {
		org, err := a.Organizations.Organization(r.ctx(), r.by, workspaces[0].Organization)
		if err != nil {
			return nil, nil, err
		}
		included = append(included, organizationResource(r.by, org))
	}
	return data, included, nil
}

func (a *API) sendWorkspace(r *request, status int, w polset.Workspace, want includes) error {
	data, included, err := a.shownWorkspaces(r, want, w)
	if err != nil {
		return err
	}
	return r.send(status, single(data[0], included...))
}

// workspace is the one that the path names, by its id or by its name.
func (a *API) workspace(r *request) (polset.Workspace, error) {
	if name := r.Param("workspace_name"); name != "" {
		return a.Workspaces.WorkspaceByName(r.ctx(), r.by, r.Param("organization"), name)
	}
	return a.Workspaces.Workspace(r.ctx(), r.by, r.Param("workspace"))
}

func (a *API) listWorkspaces(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	want, err := r.include(workspaceIncludes...)
	if err != nil {
		return err
	}
	filter, err := r.workspaceFilter()
	if err != nil {
		return err
	}
	workspaces, total, err := a.Workspaces.Workspaces(r.ctx(), r.by, r.Param("organization"), filter, page)
	if err != nil {
		return err
	}
	data, included, err := a.shownWorkspaces(r, want, workspaces...)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, a.list(r, data, page, total, included...))
}

func (r *request) workspaceFilter() (filter polset.WorkspaceFilter, err error) {
	filter.Search, filter.Wildcard = r.query.Get("search[name]"), r.query.Get("search[wildcard-name]")
	filter.ProjectID = r.query.Get("filter[project][id]")
	for _, name := range []string{"search[name]", "search[wildcard-name]", "filter[project][id]"} {
		if len(r.query.Get(name)) > maxName {
			return filter, badParameter(name, "%s must not exceed %d bytes.", name, maxName)
		}
	}
	if sort := r.query.Get("sort"); sort != "" && sort != "name" {
		return filter, badParameter("sort", "sort must be name: polset sorts workspaces by nothing else.")
	}
	if r.query.Get("filter[current-run][status]") != "" {
		return filter, badParameter("filter[current-run][status]", "filter[current-run][status] is not supported.")
	}
	if filter.Tags, err = r.taggedFilter(); err != nil {
		return filter, err
	}
	names, err := r.tagNames("search[tags]")
	if err != nil {
		return filter, err
	}
	filter.Tags = append(filter.Tags, names...)
	filter.NotTagged, err = r.tagNames("search[exclude-tags]")
	return filter, err
}

func (a *API) showWorkspace(r *request) error {
	want, err := r.include(workspaceIncludes...)
	if err != nil {
		return err
	}
	w, err := a.workspace(r)
	if err != nil {
		return err
	}
	return a.sendWorkspace(r, http.StatusOK, w, want)
}

func (a *API) createWorkspace(r *request) error {
	// Before the body is judged, as for every tenant.
	org, err := a.Organizations.Organization(r.ctx(), r.by, r.Param("organization"))
	if err != nil {
		return err
	}
	d, err := decode[keeping[workspaceDraft, workspaceSettings]](r, "workspaces", "")
	if err != nil {
		return err
	}
	in := d.Attributes
	draft := polset.WorkspaceDraft{Organization: org.Name, Name: in.own.Name.Or(""), Description: in.own.Description.Or("")}
	wrong := append(checkWorkspace(&draft.Name, &draft.Description, in.own.VCSRepo), in.wrong...)
	project, problems, err := a.projectOf(r, org.ID, d.Relationships)
	if err != nil {
		return err
	}
	wrong = append(wrong, problems...)
	now := executionMode(project.Settings[defaultExecutionMode], org.Settings[defaultExecutionMode])
	wrong = append(wrong, in.own.mode().keepIn(in.kept, now)...)
	bound, problems := relatedTags(d.Relationships, "tag-bindings", "tag-bindings")
	wrong = append(wrong, problems...)
	named, problems := relatedTags(d.Relationships, "tags", "tags")
	if err := append(wrong, problems...).orNil(); err != nil {
		return err
	}
	for _, tags := range []*[]polset.TagBinding{named, bound} {
		if tags != nil {
			draft.TagBindings = append(draft.TagBindings, *tags...)
		}
	}
	draft.ProjectID, draft.Settings = project.ID, in.set()
	w, err := a.Workspaces.CreateWorkspace(r.ctx(), r.by, draft)
	if err != nil {
		return tooManyTags(nameTaken(err))
	}
	return a.sendWorkspace(r, http.StatusCreated, w, nil)
}

// projectOf is the project of the organization that a request relates to; the
// zero value where it relates to none.
func (a *API) projectOf(r *request, organizationID string, relationships map[string]json.RawMessage) (polset.Project, problems, error) {
	id, wrong := toOneOf(relationships, "project", "projects")
	if id == "" {
		return polset.Project{}, wrong, nil
	}
	project, err := a.projectIn(r, organizationID, id)
	if errors.Is(err, polset.ErrNotFound) {
		return polset.Project{}, problems{unrelated("project", "project")}, nil
	}
	return project, nil, err
}

func (a *API) updateWorkspace(r *request) error {
	now, err := a.workspace(r)
	if err != nil {
		return err
	}
	d, err := decode[keeping[workspaceDraft, workspaceSettings]](r, "workspaces", now.ID)
	if err != nil {
		return err
	}
	in := d.Attributes
	change := polset.WorkspaceChange{Name: in.own.Name.given(), Description: in.own.Description.given(), Settings: in.kept}
	wrong := append(checkWorkspace(change.Name, change.Description, in.own.VCSRepo), in.wrong...)
	wrong = append(wrong, in.own.mode().keepIn(in.kept, workspaceMode(now))...)
	project, problems, err := a.projectOf(r, now.OrganizationID, d.Relationships)
	if err != nil {
		return err
	}
	wrong = append(wrong, problems...)
	change.TagBindings, problems = relatedTags(d.Relationships, "tag-bindings", "tag-bindings")
	if err := append(wrong, problems...).orNil(); err != nil {
		return err
	}
	if project.ID != "" {
		change.ProjectID = &project.ID
	}
	w, err := a.Workspaces.UpdateWorkspace(r.ctx(), r.by, now.ID, change)
	if err != nil {
		return tooManyTags(nameTaken(err))
	}
	return a.sendWorkspace(r, http.StatusOK, w, nil)
}

func (a *API) deleteWorkspace(r *request) error {
	w, err := a.workspace(r)
	if err != nil {
		return err
	}
	if err := a.Workspaces.DeleteWorkspace(r.ctx(), r.by, w.ID); err != nil {
		return err
	}
	return r.NoContent(http.StatusNoContent)
}

// listStateConsumers answers clients that read who may read a workspace's
// state. polset keeps no state.
func (a *API) listStateConsumers(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	if _, err := a.workspace(r); err != nil {
		return err
	}
	return r.send(http.StatusOK, a.list(r, nil, page, 0))
}

const maxWorkspaceName = 90

// checkWorkspace judges what is given; nil is left alone.
func checkWorkspace(name, description *string, vcs optional[vcsRepoDraft]) problems {
	wrong := append(checkName(name, maxWorkspaceName), checkDescription(description)...)
	if _, ok := vcs.Get(); ok {
		wrong = append(wrong, invalid("vcs-repo", "A workspace of polset follows no repository: leave vcs-repo out. Policy sets follow repositories."))
	}
	return wrong
}
