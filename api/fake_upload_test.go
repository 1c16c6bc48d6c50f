package api_test

import (
	"context"

	"github.com/polset/polset"
)

func (f *fakeStore) CreateVersion(ctx context.Context, by polset.Principal, policySetID string) (polset.Version, error) {
	if _, err := f.PolicySet(ctx, by, policySetID); err != nil {
		return polset.Version{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	v := polset.Version{
		ID: f.id("polsetver"), PolicySetID: policySetID, Source: polset.SourceAPI, Status: polset.VersionPending,
		PendingAt: epoch, CreatedAt: epoch, UpdatedAt: epoch,
	}
	f.versions = append(f.versions, v)
	return v, nil
}

// Only what follows no repository takes uploads.
var _ = on("POST /policy-sets/:policy_set/versions", func(e *estate) string {
	return e.create("/organizations/{organization}/policy-sets", `{"data":{"type":"policy-sets","attributes":{"name":"uploaded"}}}`)
})
