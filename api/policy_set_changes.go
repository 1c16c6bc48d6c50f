package api

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/polset/polset"
)

type policySetDraft struct {
	Name                     optional[string]             `json:"name"`
	Description              optional[string]             `json:"description"`
	Global                   optional[bool]               `json:"global"`
	Kind                     optional[string]             `json:"kind"`
	AgentEnabled             optional[bool]               `json:"agent-enabled"`
	PolicyToolVersion        optional[string]             `json:"policy-tool-version"`
	Overridable              optional[bool]               `json:"overridable"`
	PoliciesPath             optional[string]             `json:"policies-path"`
	PolicyUpdatePatterns     optional[[]string]           `json:"policy-update-patterns"`
	VCSRepo                  optional[vcsRepoDraft]       `json:"vcs-repo"`
	TagSelectors             optional[[]tagSelectorDraft] `json:"tag-selectors"`
	TagSelectorMatchingLogic optional[string]             `json:"tag-selector-matching-logic"`
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
	change, wrong := policySetChange(in)
	draft := policySetOf(change)
	draft.Organization, draft.Kind = org.Name, polset.Kind(attrs.Kind.Or(string(polset.KindSentinel)))
	if !attrs.Name.Present {
		wrong = append(wrong, checkPolicySet(&draft.Name, nil, nil)...)
	}
	if draft.Kind != polset.KindSentinel && draft.Kind != polset.KindOPA {
		wrong = append(wrong, invalid("kind", "kind must be sentinel or opa; polset evaluates no other."))
	}
	if vcs, ok := attrs.VCSRepo.Get(); ok {
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
		return nameTaken(refusedDocument(err))
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
	change, wrong := policySetChange(in)
	if kind, ok := in.Attributes.Kind.Get(); ok && polset.Kind(kind) != now.Kind {
		wrong = append(wrong, invalid("kind", "kind cannot be changed; make another policy set."))
	}
	if vcs, ok := in.Attributes.VCSRepo.Get(); ok {
		merged, problems := mergeVCS(now.VCS, vcs)
		change.VCS = &merged
		wrong = append(wrong, problems...)
	}
	change.RemoveVCS = in.Attributes.VCSRepo.Null
	if err := wrong.orNil(); err != nil {
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
		return refusedDocument(err)
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

// policySetChange judges all that a document says of a policy set but its kind
// and what it follows. Null clears a text and a list, and stops a matching
// logic; of a boolean it leaves things as they are, but for overridable.
func policySetChange(in draft[policySetDraft]) (polset.PolicySetChange, problems) {
	attrs := in.Attributes
	change := polset.PolicySetChange{
		Name:              attrs.Name.given(),
		Description:       attrs.Description.given(),
		PoliciesPath:      attrs.PoliciesPath.given(),
		PolicyToolVersion: attrs.PolicyToolVersion.given(),
		Overridable:       attrs.Overridable.given(),
		UpdatePatterns:    attrs.PolicyUpdatePatterns.given(),
		TagMatchingLogic:  attrs.TagSelectorMatchingLogic.given(),
	}
	if global, ok := attrs.Global.Get(); ok {
		change.Global = &global
	}
	if enabled, ok := attrs.AgentEnabled.Get(); ok {
		change.AgentEnabled = &enabled
	}
	wrong := checkPolicySet(change.Name, change.Description, change.PoliciesPath)
	if version := attrs.PolicyToolVersion.Or(""); len(version) > maxToolVersion || strings.ContainsFunc(version, unprintable) {
		wrong = append(wrong, invalid("policy-tool-version", "policy-tool-version must be a version of up to %d characters, such as 0.40.0, or latest.", maxToolVersion))
	}
	wrong = append(wrong, checkUpdatePatterns(attrs.PolicyUpdatePatterns.Or(nil))...)
	if logic, ok := attrs.TagSelectorMatchingLogic.Get(); ok && logic != "any" && logic != "all" {
		wrong = append(wrong, invalid("tag-selector-matching-logic", "tag-selector-matching-logic must be any, all or null."))
	}
	if attrs.TagSelectors.Present {
		selectors, problems := readTagSelectors("/data/attributes/tag-selectors", attrs.TagSelectors.Or(nil))
		change.TagSelectors, wrong = &selectors, append(wrong, problems...)
	}
	members, problems := relatedMembers(in.Relationships)
	change.Members = members
	return change, append(wrong, problems...)
}

// policySetOf is a new policy set of which a change is all that is said.
func policySetOf(c polset.PolicySetChange) polset.PolicySetDraft {
	draft := polset.PolicySetDraft{
		Name:              orZero(c.Name),
		Description:       orZero(c.Description),
		Global:            orZero(c.Global),
		PoliciesPath:      orZero(c.PoliciesPath),
		AgentEnabled:      orZero(c.AgentEnabled),
		PolicyToolVersion: orZero(c.PolicyToolVersion),
		Overridable:       c.Overridable,
		UpdatePatterns:    orZero(c.UpdatePatterns),
		TagMatchingLogic:  orZero(c.TagMatchingLogic),
		TagSelectors:      orZero(c.TagSelectors),
	}
	for relation, ids := range c.Members {
		*draft.Members.Of(relation) = ids
	}
	return draft
}

const maxToolVersion = 128

// checkPolicySet judges the texts that are given; nil is left alone.
func checkPolicySet(name, description, path *string) problems {
	wrong := append(checkName(name, maxName), checkDescription(description)...)
	if path != nil {
		if _, err := polset.CleanPath(*path); err != nil {
			wrong = append(wrong, invalid("policies-path", "%s.", err))
		}
	}
	return wrong
}

// checkUpdatePatterns judges them one by one, to point at the one that is wrong.
func checkUpdatePatterns(globs []string) problems {
	var wrong problems
	for i, glob := range globs {
		if _, err := polset.ParsePatterns([]string{glob}); err != nil {
			wrong = append(wrong, invalid(fmt.Sprintf("policy-update-patterns/%d", i), "policy-update-patterns.%d: %s.", i, err))
		}
	}
	if len(wrong) > 0 {
		return wrong[:1] // a hundred of them would be of no more use
	}
	if _, err := polset.ParsePatterns(globs); err != nil {
		return problems{invalid("policy-update-patterns", "policy-update-patterns: %s.", err)}
	}
	return nil
}
