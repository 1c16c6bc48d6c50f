package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// AddTagSelectors gives a policy set more tag selectors; those that it has
// already are passed over. Where anything is refused the error is a
// polset.RefusedError, and nothing changes.
func (s *Store) AddTagSelectors(ctx context.Context, by polset.Principal, policySetID string, selectors []polset.TagSelector) error {
	err := s.rearrange(ctx, by, policySetID, nil, func(now polset.PolicySet) arrangement {
		wanted := append(slices.Clone(now.TagSelectors), selectors...)
		return arrangement{selectors: &wanted}
	})
	if err != nil {
		return fmt.Errorf("add tag selectors to policy set %s: %w", policySetID, err)
	}
	return nil
}

// RemoveTagSelectors takes tag selectors away; what the set does not have is
// passed over.
func (s *Store) RemoveTagSelectors(ctx context.Context, by polset.Principal, policySetID string, selectors []polset.TagSelector) error {
	err := s.rearrange(ctx, by, policySetID, nil, func(now polset.PolicySet) arrangement {
		wanted := selectorsWithout(now.TagSelectors, selectors)
		return arrangement{selectors: &wanted}
	})
	if err != nil {
		return fmt.Errorf("remove tag selectors from policy set %s: %w", policySetID, err)
	}
	return nil
}

// exchangeSelectors writes which tag selectors came and went.
func (t *tx) exchangeSelectors(ctx context.Context, set rows.PolicySet, now, wanted []polset.TagSelector) (changed bool, err error) {
	removed, added := selectorsWithout(now, wanted), selectorsWithout(wanted, now)
	for _, s := range removed {
		err := t.DeleteTagSelector(ctx, rows.DeleteTagSelectorParams{
			PolicySetID: set.ID, TagKey: s.Key, Keyed: s.Value == nil, TagValue: textOf(s.Value), Excluded: s.Exclude,
		})
		if err != nil {
			return false, err
		}
	}
	for _, s := range added {
		value := sql.NullString{String: textOf(s.Value), Valid: s.Value != nil}
		err := t.InsertTagSelector(ctx, rows.InsertTagSelectorParams{PolicySetID: set.ID, TagKey: s.Key, TagValue: value, Excluded: s.Exclude})
		if err != nil {
			return false, err
		}
	}
	for _, part := range []struct {
		action    string
		selectors []polset.TagSelector
	}{{"policy-set.tag-selectors-removed", removed}, {"policy-set.tag-selectors-added", added}} {
		if len(part.selectors) == 0 {
			continue
		}
		noted := make([]notedSelector, len(part.selectors))
		for n, s := range part.selectors {
			noted[n] = notedSelector(s)
		}
		text, err := json.Marshal(noted)
		if err != nil {
			return false, err
		}
		t.note(set.OrganizationID, part.action, set.ID, map[string]string{"tag-selectors": string(text)})
	}
	return len(removed)+len(added) > 0, nil
}

// A notedSelector is a tag selector as the audit chain holds it.
type notedSelector struct {
	Key     string  `json:"tag-key"`
	Value   *string `json:"tag-value"`
	Exclude bool    `json:"is-exclude"`
}

func textOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// selectorsWithout are the selectors that are not among others, each once, in
// their order.
func selectorsWithout(selectors, others []polset.TagSelector) []polset.TagSelector {
	kept := []polset.TagSelector{}
	for _, s := range selectors {
		if !slices.ContainsFunc(others, s.Equal) && !slices.ContainsFunc(kept, s.Equal) {
			kept = append(kept, s)
		}
	}
	return kept
}
