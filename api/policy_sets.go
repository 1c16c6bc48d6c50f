package api

import (
	"net/http"

	"github.com/polset/polset"
)

// policySetAttributes is a policy set as HCP Terraform shows it. Every member
// is present in every answer: clients compare the answers with each other.
type policySetAttributes struct {
	Name                     string        `json:"name"`
	Description              *string       `json:"description"`
	Global                   bool          `json:"global"`
	Kind                     string        `json:"kind"`
	AgentEnabled             bool          `json:"agent-enabled"`
	PolicyToolVersion        *string       `json:"policy-tool-version"`
	Overridable              *bool         `json:"overridable"`
	PoliciesPath             *string       `json:"policies-path"`
	PolicyUpdatePatterns     []string      `json:"policy-update-patterns"`
	PolicyCount              int           `json:"policy-count"`
	WorkspaceCount           int           `json:"workspace-count"`
	ProjectCount             int           `json:"project-count"`
	Versioned                bool          `json:"versioned"`
	VCSRepo                  *vcsRepo      `json:"vcs-repo"`
	TagSelectors             []tagSelector `json:"tag-selectors"`
	TagSelectorMatchingLogic *string       `json:"tag-selector-matching-logic"`
	ScopingType              string        `json:"scoping-type"`
	CreatedAt                iso8601       `json:"created-at"`
	UpdatedAt                iso8601       `json:"updated-at"`

	// What only polset knows.
	Degraded     *degradation  `json:"degraded"`
	Completeness *completeness `json:"completeness"`
}

// The values of scoping-type: how a policy set names what it guards.
const (
	scopedByTag      = "tag"
	scopedExplicitly = "explicit"
)

func (a *API) policySetResource(set polset.PolicySet, withSecret bool) resource {
	scope := scopedExplicitly
	if len(set.TagSelectors) > 0 {
		scope = scopedByTag
	}
	members := set.Members
	return resource{
		ID:   set.ID,
		Type: "policy-sets",
		Attributes: policySetAttributes{
			Name:                     set.Name,
			Description:              orNull(set.Description),
			Global:                   set.Global,
			Kind:                     string(set.Kind),
			AgentEnabled:             set.AgentEnabled,
			PolicyToolVersion:        orNull(set.PolicyToolVersion),
			Overridable:              set.Overridable,
			PoliciesPath:             orNull(set.PoliciesPath),
			PolicyUpdatePatterns:     append([]string{}, set.UpdatePatterns...),
			PolicyCount:              len(members.Policies),
			WorkspaceCount:           len(members.Workspaces),
			ProjectCount:             len(members.Projects),
			Versioned:                set.VCS != nil || set.NewestVersionID != "",
			VCSRepo:                  a.vcsRepo(set.VCS, withSecret),
			TagSelectors:             tagSelectors(set.TagSelectors),
			TagSelectorMatchingLogic: orNull(set.TagMatchingLogic),
			ScopingType:              scope,
			CreatedAt:                iso8601(set.CreatedAt),
			UpdatedAt:                iso8601(set.UpdatedAt),
			Degraded:                 newDegradation(set.Degraded),
			Completeness:             newCompleteness(set.Completeness),
		},
		// All of them in every answer: clients compare lists with what they made.
		Relationships: map[string]relation{
			"organization":         toOne("organizations", set.Organization),
			"policies":             toMany("policies", members.Policies...),
			"workspaces":           toMany("workspaces", members.Workspaces...),
			"projects":             toMany("projects", members.Projects...),
			"workspace-exclusions": toMany("workspaces", members.WorkspaceExclusions...),
			"project-exclusions":   toMany("projects", members.ProjectExclusions...),
			"newest-version":       toOne("policy-set-versions", set.NewestVersionID),
			"current-version":      toOne("policy-set-versions", set.CurrentVersionID),
		},
		Links: map[string]string{"self": prefix + "/policy-sets/" + set.ID},
	}
}

func (a *API) listPolicySets(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	want, err := r.include(policySetIncludes...)
	if err != nil {
		return err
	}
	filter, err := r.policySetFilter()
	if err != nil {
		return err
	}
	sets, total, err := a.PolicySets.PolicySets(r.ctx(), r.by, r.Param("organization"), filter, page)
	if err != nil {
		return err
	}
	included, err := a.included(r, want, sets...)
	if err != nil {
		return err
	}
	var data []resource
	for _, set := range sets {
		data = append(data, a.policySetResource(set, false))
	}
	return r.send(http.StatusOK, a.list(r, data, page, total, included...))
}

func (r *request) policySetFilter() (polset.PolicySetFilter, error) {
	filter := polset.PolicySetFilter{Search: r.query.Get("search[name]"), Kind: polset.Kind(r.query.Get("filter[kind]"))}
	if len(filter.Search) > maxName {
		return filter, badParameter("search[name]", "search[name] must not exceed %d bytes.", maxName)
	}
	switch filter.Kind {
	case "", polset.KindSentinel, polset.KindOPA, "tfpolicy": // nothing is of the last one
	default:
		return filter, badParameter("filter[kind]", "filter[kind] must be sentinel or opa.")
	}
	if text := r.query.Get("filter[versioned]"); text != "" {
		versioned := text == "true"
		if !versioned && text != "false" {
			return filter, badParameter("filter[versioned]", "filter[versioned] must be true or false.")
		}
		filter.Versioned = &versioned
	}
	return filter, nil
}

func (a *API) showPolicySet(r *request) error {
	want, err := r.include(policySetIncludes...)
	if err != nil {
		return err
	}
	set, err := a.PolicySets.PolicySet(r.ctx(), r.by, r.Param("policy_set"))
	if err != nil {
		return err
	}
	included, err := a.included(r, want, set)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(a.policySetResource(set, false), included...))
}

func (a *API) deletePolicySet(r *request) error {
	if err := a.PolicySets.DeletePolicySet(r.ctx(), r.by, r.Param("policy_set")); err != nil {
		return err
	}
	return r.NoContent(http.StatusNoContent)
}
