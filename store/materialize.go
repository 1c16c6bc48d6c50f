package store

import (
	"context"

	"github.com/polset/polset/store/internal/rows"
)

// policiesChanged has the version of a policy set's own policies made anew: its
// members became others.
func (t *tx) policiesChanged(ctx context.Context, policySetID string) error {
	return t.PoliciesChanged(ctx, rows.PoliciesChangedParams{ID: policySetID, Now: t.now})
}

// policyChanged is policiesChanged for every policy set that holds a policy.
func (t *tx) policyChanged(ctx context.Context, policyID string) error {
	return t.PolicyChanged(ctx, rows.PolicyChangedParams{PolicyID: policyID, Now: t.now})
}
