package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// Replay has every commit that a delivery brought to a policy set ingested once
// more, with the settings of now, and returns the new ingestions. A policy set
// that follows another repository by now is left out. A delivery that brought
// none to any is forgotten, for the site admin only, so that it counts when
// GitHub is asked for it again; then the list is empty. ErrNotFound says that
// the delivery is unknown, or that none of it is the principal's.
func (s *Store) Replay(ctx context.Context, by polset.Principal, guid string) (ids []string, err error) {
	guid = strings.ToLower(guid)
	err = s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		ids = nil
		list, err := tx.IngestionsOfDelivery(ctx, rows.IngestionsOfDeliveryParams{GUID: guid, Tenant: by.OrganizationID})
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return tx.forget(ctx, by, guid)
		}
		slices.SortFunc(list, func(a, b rows.IngestionsOfDeliveryRow) int {
			return cmp.Or(cmp.Compare(a.RepositoryID.String, b.RepositoryID.String), cmp.Compare(a.PolicySetID, b.PolicySetID))
		})
		for _, i := range list {
			fresh, err := s.replay(ctx, tx, guid, i)
			if err != nil {
				return err
			}
			ids = append(ids, fresh...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("replay delivery %s: %w", guid, err)
	}
	return ids, nil
}

// forget removes a delivery that gave rise to nothing.
func (t *tx) forget(ctx context.Context, by polset.Principal, guid string) error {
	if !by.SiteAdmin() {
		return polset.ErrNotFound
	}
	n, err := t.ForgetDelivery(ctx, guid)
	if err != nil {
		return err
	}
	if n == 0 {
		return polset.ErrNotFound
	}
	t.note(polset.ChainSite, "delivery.forgotten", guid, nil)
	return nil
}

func (s *Store) replay(ctx context.Context, tx *tx, guid string, of rows.IngestionsOfDeliveryRow) ([]string, error) {
	if !of.RepositoryID.Valid {
		return nil, nil
	}
	set, err := tx.holdFollower(ctx, of.PolicySetID, of.RepositoryID.String)
	if errors.Is(err, polset.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	i, err := s.insertIngestion(ctx, tx, set, arrival{
		cause: polset.CauseReplay, commit: of.CommitID, pushedBranch: of.PushedBranch, delivery: guid,
	})
	if err != nil {
		return nil, err
	}
	return []string{i.ID}, s.enqueue(ctx, tx, i)
}

// holdFollower locks a repository and a policy set that follows it; ErrNotFound
// without one.
func (t *tx) holdFollower(ctx context.Context, setID, repositoryID string) (rows.PolicySet, error) {
	if err := t.lock(ctx, repositoryRow, repositoryID); err != nil {
		return rows.PolicySet{}, err
	}
	if err := t.lock(ctx, policySetRow, setID); err != nil {
		return rows.PolicySet{}, err
	}
	set, err := t.PolicySet(ctx, rows.PolicySetParams{ID: setID})
	if err != nil {
		return rows.PolicySet{}, found(err)
	}
	if set.PolicySet.RepositoryID != nullString(repositoryID) {
		return rows.PolicySet{}, polset.ErrNotFound
	}
	return set.PolicySet, nil
}

// Ingest has a commit of the followed repository, "" for the head of the
// branch, ingested once more. Only the head can come into force by it. A policy
// set that follows nothing is ErrConflict.
func (s *Store) Ingest(ctx context.Context, by polset.Principal, policySetID, commit string) (polset.Ingestion, error) {
	var out polset.Ingestion
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		before, err := tx.PolicySet(ctx, rows.PolicySetParams{ID: policySetID, Tenant: by.OrganizationID})
		if err != nil {
			return found(err)
		}
		if !before.PolicySet.RepositoryID.Valid {
			return fmt.Errorf("it follows no repository: %w", polset.ErrConflict)
		}
		set, err := tx.holdFollower(ctx, policySetID, before.PolicySet.RepositoryID.String)
		if errors.Is(err, polset.ErrNotFound) {
			return errAgain // it was changed or deleted since it was found
		}
		if err != nil {
			return err
		}
		i, err := s.insertIngestion(ctx, tx, set, arrival{cause: polset.CauseManual, commit: commit})
		if err != nil {
			return err
		}
		out = ingestion(i)
		return s.enqueue(ctx, tx, i)
	})
	if err != nil {
		return polset.Ingestion{}, fmt.Errorf("ingest policy set %s: %w", policySetID, err)
	}
	return out, nil
}
