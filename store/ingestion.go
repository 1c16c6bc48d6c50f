package store

import (
	"context"
	"errors"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
	"github.com/polset/polset/store/queue"
)

// An arrival is what brings a commit to a policy set.
type arrival struct {
	cause        polset.Cause
	commit       string // "" where the branch head must be looked at first
	pushedBranch string
	delivery     string
}

// insertIngestion accepts a commit for a policy set, with the settings of
// this moment. The caller enqueues it.
func (s *Store) insertIngestion(ctx context.Context, tx *tx, set rows.PolicySet, a arrival) (rows.Ingestion, error) {
	path := "" // policies-path is one in a repository
	if set.RepositoryID.Valid {
		var err error
		if path, err = polset.CleanPath(set.PoliciesPath); err != nil {
			return rows.Ingestion{}, err
		}
	}
	id := polset.NewID("ing")
	err := tx.InsertIngestion(ctx, rows.InsertIngestionParams{
		ID: id, PolicySetID: set.ID, RepositoryID: set.RepositoryID, TokenID: set.TokenID, InstallationID: set.InstallationID, Generation: set.Generation,
		Branch: set.Branch, PushedBranch: a.pushedBranch, CommitID: a.commit, Path: path, Submodules: set.Submodules,
		Kind: set.Kind, Cause: string(a.cause), DeliveryGUID: a.delivery, UpdatePatterns: set.UpdatePatterns,
		Now: tx.now, EnqueueAt: tx.now.Add(s.requeueAfter),
	})
	if err != nil {
		return rows.Ingestion{}, err
	}
	tx.note(set.OrganizationID, "ingestion.created", id, map[string]string{
		"policy-set": set.ID, "cause": string(a.cause), "commit": a.commit, "branch": a.pushedBranch, "delivery": a.delivery,
	})
	if a.commit != "" {
		if err := tx.reportIngestion(ctx, id); err != nil {
			return rows.Ingestion{}, err
		}
	}
	return tx.Ingestion(ctx, id)
}

// enqueue wakes a worker for fresh ingestions of a commit, of which i is one,
// unless each has an earlier one before it, whose end will wake it.
func (s *Store) enqueue(ctx context.Context, tx *tx, i rows.Ingestion) error {
	n, err := tx.CountClaimable(ctx, rows.CountClaimableParams{RepositoryID: i.RepositoryID, CommitID: i.CommitID})
	if err != nil || n == 0 {
		return err
	}
	return wake(ctx, tx, i)
}

// wake wakes a worker for an ingestion, at its due time where that lies ahead.
// Ingestions of the same commit need one such call.
func wake(ctx context.Context, tx *tx, i rows.Ingestion) error {
	if !i.RepositoryID.Valid {
		return nil
	}
	var at time.Time
	if i.DueAt.After(tx.now) {
		at = i.DueAt.UTC()
	}
	return tx.jobs.Enqueue(ctx, queue.Job{Repository: i.RepositoryID.String, Commit: i.CommitID}, at)
}

// enqueueNext wakes a worker for what comes next in a generation of a policy
// set.
func (s *Store) enqueueNext(ctx context.Context, tx *tx, policySetID string, generation int64) error {
	next, err := tx.NextIngestion(ctx, rows.NextIngestionParams{PolicySetID: policySetID, Generation: generation})
	if errors.Is(found(err), polset.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	at := tx.now
	if next.DueAt.After(at) {
		at = next.DueAt
	}
	if err := tx.EnqueuedIngestion(ctx, rows.EnqueuedIngestionParams{ID: next.ID, EnqueueAt: at.Add(s.requeueAfter)}); err != nil {
		return err
	}
	return wake(ctx, tx, next)
}
