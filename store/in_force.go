package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// VersionInForce returns a policy set, by its name in an organization, and its
// version in force; the zero Version where none is ready.
func (s *Store) VersionInForce(ctx context.Context, by polset.Principal, organization, policySet string) (polset.PolicySet, polset.Version, error) {
	fail := func(err error) (polset.PolicySet, polset.Version, error) {
		return polset.PolicySet{}, polset.Version{}, fmt.Errorf("read version in force of %s/%s: %w", organization, policySet, found(err))
	}
	id, err := s.reads.PolicySetIDByName(ctx, rows.PolicySetIDByNameParams{Organization: organization, Name: policySet, Tenant: by.OrganizationID})
	if err != nil {
		return fail(err)
	}
	set, err := s.PolicySet(ctx, by, id)
	if err != nil {
		return fail(err)
	}
	inForce := cmp.Or(set.CurrentVersionID, set.MaterializedVersionID)
	if inForce == "" {
		return set, polset.Version{}, nil
	}
	v, err := s.Version(ctx, by, inForce)
	if err != nil {
		return fail(err) // it went with its policy set
	}
	return set, v, nil
}

// VersionsInForce returns the ids of the versions in force by those of their
// policy sets: "" where none is ready, and nothing for a set that is gone.
func (s *Store) VersionsInForce(ctx context.Context, policySetIDs []string) (map[string]string, error) {
	out := make(map[string]string, len(policySetIDs))
	for chunk := range slices.Chunk(policySetIDs, maxPage) {
		var q filter
		q.in("policy_sets.id", chunk)
		list, err := queryAll(ctx, s, "versions in force", "SELECT policy_sets.id, "+versionInForce+" FROM policy_sets"+q.where(), q.args,
			func(result *sql.Rows) (pair [2]string, err error) { return pair, result.Scan(&pair[0], &pair[1]) })
		if err != nil {
			return nil, err
		}
		for _, pair := range list {
			out[pair[0]] = pair[1]
		}
	}
	return out, nil
}
