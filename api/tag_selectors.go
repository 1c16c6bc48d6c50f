package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/polset/polset"
)

// TagSelectors changes which workspaces policy sets name by their tags. What a
// set has already, or does not have, is passed over; where anything contradicts
// what the set is the error is a polset.RefusedError, and nothing changed.
type TagSelectors interface {
	AddTagSelectors(ctx context.Context, by polset.Principal, policySetID string, selectors []polset.TagSelector) error
	RemoveTagSelectors(ctx context.Context, by polset.Principal, policySetID string, selectors []polset.TagSelector) error
}

// maxTagSelectors is how many selectors one request names.
const maxTagSelectors = 100

// tagSelector is a tag selector as it is shown.
type tagSelector struct {
	Key     string  `json:"tag-key"`
	Value   *string `json:"tag-value"` // null selects the key, whatever its value
	Exclude bool    `json:"is-exclude"`
}

type tagSelectorDraft struct {
	Key     string  `json:"tag-key"`
	Value   *string `json:"tag-value"`
	Exclude bool    `json:"is-exclude"`
}

// tagSelectorDrafts is the document of the requests that change tag selectors.
type tagSelectorDrafts struct {
	Data []tagSelectorDraft `json:"data"`
}

func tagSelectors(selectors []polset.TagSelector) []tagSelector {
	shown := make([]tagSelector, len(selectors))
	for i, s := range selectors {
		shown[i] = tagSelector(s)
	}
	return shown
}

func (a *API) tagSelectorRoutes() []Route {
	const pattern = prefix + "/policy-sets/:policy_set/tag-selectors"
	does := func(summary string) operation {
		op := answers204(summary)
		op.takes = content{form: formPlain, shape: tagSelectorDrafts{}}
		return op
	}
	return []Route{
		{http.MethodPost, pattern, AccessToken, polset.PermissionManagePolicies, a.changeTagSelectors(TagSelectors.AddTagSelectors), does("Add tag selectors to a policy set")},
		{http.MethodDelete, pattern, AccessToken, polset.PermissionManagePolicies, a.changeTagSelectors(TagSelectors.RemoveTagSelectors), does("Remove tag selectors from a policy set")},
	}
}

type tagSelectorChange func(s TagSelectors, ctx context.Context, by polset.Principal, policySetID string, selectors []polset.TagSelector) error

func (a *API) changeTagSelectors(change tagSelectorChange) func(*request) error {
	return func(r *request) error {
		id := r.Param("policy_set")
		// Before the body is judged, as for every tenant.
		if _, err := a.PolicySets.PolicySet(r.ctx(), r.by, id); err != nil {
			return err
		}
		body, err := readBody(r)
		if err != nil {
			return err
		}
		data, err := dataOf(body)
		if err != nil {
			return err
		}
		// No resources, unlike everywhere else: HCP Terraform wants it so.
		var drafts []tagSelectorDraft
		if err := json.Unmarshal(data, &drafts); err != nil {
			return wrongType("/data", data, err)
		}
		selectors, wrong := readTagSelectors("/data", drafts)
		if err := wrong.orNil(); err != nil {
			return err
		}
		if err := change(a.PolicySets, r.ctx(), r.by, id, selectors); err != nil {
			return refusedLinkage(err)
		}
		return r.NoContent(http.StatusNoContent)
	}
}

func readTagSelectors(pointer string, drafts []tagSelectorDraft) ([]polset.TagSelector, problems) {
	if len(drafts) > maxTagSelectors {
		return nil, problems{malformedDocument(pointer, fmt.Sprintf("There are %d tag selectors; at most %d are taken at once.", len(drafts), maxTagSelectors))}
	}
	var wrong problems
	selectors := make([]polset.TagSelector, len(drafts))
	for i, d := range drafts {
		at := fmt.Sprintf("%s/%d", pointer, i)
		// What no tag can be would select nothing.
		if d.Key == "" || !validTag(d.Key, maxTagKey) {
			wrong = append(wrong, malformedDocument(at+"/tag-key", fmt.Sprintf("%s must be 1 to %d characters, without control characters and without spaces around it.", attribute(at+"/tag-key"), maxTagKey)))
		}
		if d.Value != nil && !validTag(*d.Value, maxTagValue) {
			wrong = append(wrong, malformedDocument(at+"/tag-value", fmt.Sprintf("%s must be up to %d characters, without control characters and without spaces around it.", attribute(at+"/tag-value"), maxTagValue)))
		}
		selectors[i] = polset.TagSelector(d)
	}
	return selectors, wrong
}
