package store

import (
	"slices"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

const fieldTagSelectors = "tag-selectors"

// contradictions are what a policy set cannot be at once: policies come from
// one place, and what is guarded is named in one way. Each names the field that
// the request brought, if it brought one of the two.
func contradictions(set rows.PolicySet, after polset.PolicySet, added map[polset.Relation][]string, a arrangement) (refused polset.RefusedError) {
	refuse := func(field, message string) {
		refused = append(refused, polset.Refusal{Field: field, Index: -1, Message: message})
	}
	// brought is the first of the relations that the request fills.
	brought := func(relations ...polset.Relation) string {
		for _, r := range relations {
			if len(a.members[r]) > 0 {
				return string(r)
			}
		}
		return ""
	}
	members := after.Members
	switch {
	case len(members.Policies) > 0 && set.RepositoryID.Valid && brought(polset.RelationPolicies) != "":
		refuse(string(polset.RelationPolicies), "The policy set follows a repository, which its policies come from: it cannot hold individual policies.")
	case len(members.Policies) > 0 && set.RepositoryID.Valid:
		refuse("vcs-repo", "The policy set holds individual policies: remove them before it follows a repository, or in the same request.")
	case len(added[polset.RelationPolicies]) > 0 && set.NewestVersionID != "":
		refuse(string(polset.RelationPolicies), "The policy set has versions, which would be in force in the place of individual policies: make another policy set for these.")
	}

	attached := len(members.Workspaces)+len(members.Projects) > 0
	attaching := brought(polset.RelationWorkspaces, polset.RelationProjects)
	switch {
	case set.Global && attached && attaching != "":
		refuse(attaching, "The policy set is global: it guards every workspace, and none can be attached to it.")
	case set.Global && attached:
		refuse("global", "The policy set is attached to workspaces or projects: remove them before it becomes global, or in the same request.")
	case len(after.TagSelectors) > 0 && attached && attaching != "":
		refuse(attaching, "The policy set has tag selectors: it cannot be attached to workspaces or projects as well.")
	case len(after.TagSelectors) > 0 && attached:
		refuse(fieldTagSelectors, "The policy set is attached to workspaces or projects: it cannot have tag selectors as well.")
	}
	including := func(s polset.TagSelector) bool { return !s.Exclude }
	switch {
	case !set.Global || !slices.ContainsFunc(after.TagSelectors, including):
	case a.selectors != nil:
		refuse(fieldTagSelectors, "The policy set is global: it guards every workspace, and its tag selectors can only exclude some.")
	default:
		refuse("global", "The policy set selects workspaces by tags: remove those tag selectors before it becomes global.")
	}
	return refused
}
