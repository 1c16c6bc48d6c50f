package api

import (
	"encoding/json"
	"net/http"

	"github.com/polset/polset"
)

// policySetAttributes is a policy set as HCP Terraform shows it. Every member
// is present in every answer: clients compare the answers with each other.
type policySetAttributes struct {
	Name                     string   `json:"name"`
	Description              *string  `json:"description"`
	Global                   bool     `json:"global"`
	Kind                     string   `json:"kind"`
	AgentEnabled             bool     `json:"agent-enabled"`
	PolicyToolVersion        *string  `json:"policy-tool-version"`
	Overridable              *bool    `json:"overridable"`
	PoliciesPath             *string  `json:"policies-path"`
	PolicyUpdatePatterns     []string `json:"policy-update-patterns"`
	PolicyCount              int      `json:"policy-count"`
	WorkspaceCount           int      `json:"workspace-count"`
	ProjectCount             int      `json:"project-count"`
	Versioned                bool     `json:"versioned"`
	VCSRepo                  *vcsRepo `json:"vcs-repo"`
	TagSelectors             []string `json:"tag-selectors"`
	TagSelectorMatchingLogic *string  `json:"tag-selector-matching-logic"`
	CreatedAt                iso8601  `json:"created-at"`
	UpdatedAt                iso8601  `json:"updated-at"`

	// What only polset knows.
	Degraded     *degradation  `json:"degraded"`
	Completeness *completeness `json:"completeness"`
}

type policySetDraft struct {
	Name         optional[string]       `json:"name"`
	Description  optional[string]       `json:"description"`
	Global       optional[bool]         `json:"global"`
	Kind         optional[string]       `json:"kind"`
	Overridable  optional[bool]         `json:"overridable"`
	PoliciesPath optional[string]       `json:"policies-path"`
	VCSRepo      optional[vcsRepoDraft] `json:"vcs-repo"`
}

// policySetIncludes are the values of include. Those that name a membership
// include nothing while no set has members.
var policySetIncludes = []string{
	"newest_version", "current_version", "policies", "workspaces",
	"projects", "workspace_exclusions", "project_exclusions",
}

func (a *API) policySetResource(set polset.PolicySet, withSecret bool) resource {
	return resource{
		ID:   set.ID,
		Type: "policy-sets",
		Attributes: policySetAttributes{
			Name:        set.Name,
			Description: orNull(set.Description),
			Global:      set.Global,
			Kind:        string(set.Kind),
			// OPA always runs in an agent; Sentinel only where asked.
			AgentEnabled:         set.Kind == polset.KindOPA,
			Overridable:          set.Overridable,
			PoliciesPath:         orNull(set.PoliciesPath),
			PolicyUpdatePatterns: []string{},
			Versioned:            set.VCS != nil || set.NewestVersionID != "",
			VCSRepo:              a.vcsRepo(set.VCS, withSecret),
			TagSelectors:         []string{},
			CreatedAt:            iso8601(set.CreatedAt),
			UpdatedAt:            iso8601(set.UpdatedAt),
			Degraded:             newDegradation(set.Degraded),
			Completeness:         newCompleteness(set.Completeness),
		},
		Relationships: map[string]relation{
			"organization":         toOne("organizations", set.Organization),
			"policies":             toMany("policies"),
			"workspaces":           toMany("workspaces"),
			"projects":             toMany("projects"),
			"workspace-exclusions": toMany("workspaces"),
			"project-exclusions":   toMany("projects"),
			"newest-version":       toOne("policy-set-versions", set.NewestVersionID),
			"current-version":      toOne("policy-set-versions", set.CurrentVersionID),
		},
		Links: map[string]string{"self": prefix + "/policy-sets/" + set.ID},
	}
}

// includedVersions finds what include asks for, for all sets at once.
func (a *API) includedVersions(r *request, want includes, sets ...polset.PolicySet) ([]resource, error) {
	var ids []string
	seen := map[string]bool{"": true}
	add := func(wanted bool, id string) {
		if wanted && !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for _, set := range sets {
		add(want["newest_version"], set.NewestVersionID)
		add(want["current_version"], set.CurrentVersionID)
	}
	if len(ids) == 0 {
		return nil, nil
	}
	versions, err := a.Versions.VersionsByID(r.ctx(), r.by, ids)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]polset.Version, len(versions))
	for _, v := range versions {
		byID[v.ID] = v
	}
	var included []resource
	for _, id := range ids { // in an order that does not depend on the store
		if v, ok := byID[id]; ok {
			included = append(included, versionResource(v))
		}
	}
	return included, nil
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
	included, err := a.includedVersions(r, want, sets...)
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
	if r.query.Get("filter[versioned]") != "" {
		return filter, badParameter("filter[versioned]", "filter[versioned] is not supported: read the attribute versioned instead.")
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
	included, err := a.includedVersions(r, want, set)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(a.policySetResource(set, false), included...))
}

func (a *API) createPolicySet(r *request) error {
	// Before the body is judged, as for every tenant.
	org, err := a.Organizations.Organization(r.ctx(), r.by, r.Param("organization"))
	if err != nil {
		return err
	}
	in, err := decode[policySetDraft](r, "policy-sets", "")
	if err != nil {
		return err
	}
	attrs := in.Attributes
	draft := polset.PolicySetDraft{
		Organization: org.Name,
		Name:         attrs.Name.Or(""),
		Description:  attrs.Description.Or(""),
		Global:       attrs.Global.Or(false),
		Kind:         polset.Kind(attrs.Kind.Or(string(polset.KindSentinel))),
		PoliciesPath: attrs.PoliciesPath.Or(""),
	}
	if draft.Kind == polset.KindOPA {
		overridable := attrs.Overridable.Or(false)
		draft.Overridable = &overridable
	}
	wrong := checkPolicySet(&draft.Name, &draft.Description, &draft.PoliciesPath)
	if draft.Kind != polset.KindSentinel && draft.Kind != polset.KindOPA {
		wrong = append(wrong, invalid("kind", "kind must be sentinel or opa."))
	}
	wrong = append(wrong, checkMembers(in.Relationships)...)
	vcs, follow := attrs.VCSRepo.Get()
	if follow {
		merged, problems := mergeVCS(nil, vcs)
		draft.VCS = &merged
		wrong = append(wrong, problems...)
	}
	if err := wrong.orNil(); err != nil {
		return err
	}
	if draft.VCS != nil {
		remote, readable, err := a.reach(r, org.ID, *draft.VCS)
		if err != nil {
			return err
		}
		if readable {
			draft.VCS.Head, draft.VCS.Facts = a.look(r, remote, draft.VCS.Branch)
		}
	}
	set, err := a.PolicySets.CreatePolicySet(r.ctx(), r.by, draft)
	if err != nil {
		return nameTaken(err)
	}
	return r.send(http.StatusCreated, single(a.policySetResource(set, true)))
}

func (a *API) updatePolicySet(r *request) error {
	id := r.Param("policy_set")
	now, err := a.PolicySets.PolicySet(r.ctx(), r.by, id)
	if err != nil {
		return err
	}
	in, err := decode[policySetDraft](r, "policy-sets", id)
	if err != nil {
		return err
	}
	change, err := policySetChange(now, in)
	if err != nil {
		return err
	}
	if change.VCS != nil {
		remote, readable, err := a.reach(r, now.OrganizationID, *change.VCS)
		if err != nil {
			return err
		}
		// The network is asked only where there is something new to see; the
		// store compares again, on the row.
		if readable && (!follows(now.VCS, *change.VCS) || (change.PoliciesPath != nil && *change.PoliciesPath != now.PoliciesPath)) {
			change.VCS.Head, change.VCS.Facts = a.look(r, remote, change.VCS.Branch)
		}
	}
	set, err := a.PolicySets.UpdatePolicySet(r.ctx(), r.by, id, change)
	if err != nil {
		// Another conflict is that somebody else changed the set meanwhile.
		if change.Name != nil && *change.Name != now.Name {
			err = nameTaken(err)
		}
		return err
	}
	return r.send(http.StatusOK, single(a.policySetResource(set, broughtHook(now.VCS, set.VCS))))
}

// broughtHook says that a set which followed one thing and now follows another
// may have brought the hook of its repository about: the repository is another,
// or is followed by a token and no longer through the App.
func broughtHook(before, after *polset.VCS) bool {
	return after != nil && (before == nil || before.RepositoryID != after.RepositoryID ||
		(before.TokenID == "" && after.TokenID != ""))
}

// policySetChange judges an update. Null clears a text and stops following a
// repository; elsewhere it leaves things as they are.
func policySetChange(now polset.PolicySet, in draft[policySetDraft]) (polset.PolicySetChange, error) {
	attrs := in.Attributes
	var change polset.PolicySetChange
	var wrong problems
	if attrs.Name.Present {
		name := attrs.Name.Or("")
		change.Name = &name
	}
	if attrs.Description.Present {
		description := attrs.Description.Or("")
		change.Description = &description
	}
	if attrs.PoliciesPath.Present {
		path := attrs.PoliciesPath.Or("")
		change.PoliciesPath = &path
	}
	if global, ok := attrs.Global.Get(); ok {
		change.Global = &global
	}
	// A Sentinel set without an agent has no such setting.
	if attrs.Overridable.Present && now.Kind == polset.KindOPA {
		overridable := attrs.Overridable.Or(false)
		change.Overridable = &overridable
	}
	if kind, ok := attrs.Kind.Get(); ok && polset.Kind(kind) != now.Kind {
		wrong = append(wrong, invalid("kind", "kind cannot be changed; make another policy set."))
	}
	wrong = append(wrong, checkPolicySet(change.Name, change.Description, change.PoliciesPath)...)
	wrong = append(wrong, checkMembers(in.Relationships)...)
	switch vcs, ok := attrs.VCSRepo.Get(); {
	case attrs.VCSRepo.Null:
		change.RemoveVCS = true
	case ok:
		merged, problems := mergeVCS(now.VCS, vcs)
		change.VCS = &merged
		wrong = append(wrong, problems...)
	}
	return change, wrong.orNil()
}

func (a *API) deletePolicySet(r *request) error {
	if err := a.PolicySets.DeletePolicySet(r.ctx(), r.by, r.Param("policy_set")); err != nil {
		return err
	}
	return r.NoContent(http.StatusNoContent)
}

const maxDescription = 4096

// checkPolicySet judges the texts that are given; nil is left alone.
func checkPolicySet(name, description, path *string) problems {
	var wrong problems
	if name != nil && (len(*name) > maxName || !validName.MatchString(*name)) {
		wrong = append(wrong, invalid("name", "Name must be 1 to %d letters, digits, hyphens and underscores.", maxName))
	}
	if description != nil && len(*description) > maxDescription {
		wrong = append(wrong, invalid("description", "description must not exceed %d bytes.", maxDescription))
	}
	if path != nil {
		if _, err := polset.CleanPath(*path); err != nil {
			wrong = append(wrong, invalid("policies-path", "%s.", err))
		}
	}
	return wrong
}

// checkMembers refuses members that cannot exist: to drop them in silence
// would leave a workspace unguarded that somebody meant to guard.
func checkMembers(relationships map[string]json.RawMessage) problems {
	var wrong problems
	for _, name := range []string{"policies", "workspaces", "projects", "workspace-exclusions", "project-exclusions"} {
		raw, ok := relationships[name]
		if !ok {
			continue
		}
		var members struct {
			Data []identifier `json:"data"`
		}
		pointer := "/data/relationships/" + name
		if err := json.Unmarshal(raw, &members); err != nil {
			wrong = append(wrong, malformedDocument(pointer, "The relationship must have an array of resource identifiers as its data."))
			continue
		}
		if len(members.Data) > 0 {
			wrong = append(wrong, problem{
				Status:  http.StatusUnprocessableEntity,
				Title:   "invalid relationship",
				Detail:  name + " were not found.",
				Pointer: pointer + "/data/0",
			})
		}
	}
	return wrong
}
