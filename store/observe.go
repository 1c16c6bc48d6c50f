package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// Observe records where a branch stands, and draws the consequences for every
// policy set that follows it: a head that no delivery told of gets an
// ingestion, and a head that made a ready version before puts it in force
// again. An observation older than the recorded one is dropped. ErrFenced says
// that the repository is gone.
func (s *Store) Observe(ctx context.Context, o polset.Observation) error {
	name := cmp.Or(o.Head.Branch, o.Branch)
	if name == "" {
		return nil // an empty repository has no branch to speak of
	}
	err := s.writeOnce(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		err := tx.lock(ctx, repositoryRow, o.RepositoryID)
		if errors.Is(err, polset.ErrNotFound) {
			return polset.ErrFenced
		}
		if err != nil {
			return err
		}
		r, err := tx.Repository(ctx, o.RepositoryID)
		if err != nil {
			return err
		}
		n, err := tx.ObserveBranch(ctx, rows.ObserveBranchParams{
			RepositoryID: r.ID, Name: name, Head: o.Head.Commit, ObservedAt: o.At.UTC().Truncate(time.Microsecond),
		})
		if err != nil || n == 0 {
			return err
		}
		if o.Branch == "" && r.DefaultBranch != name {
			r.DefaultBranch = name
			if err := tx.SetDefaultBranch(ctx, rows.SetDefaultBranchParams{ID: r.ID, DefaultBranch: name}); err != nil {
				return err
			}
		}
		if o.Head.Commit == "" {
			return nil // a branch that was deleted takes nothing out of force
		}
		return s.followHead(ctx, tx, r, name, o.Head.Commit)
	})
	if err != nil {
		return fmt.Errorf("observe branch %s: %w", name, err)
	}
	return nil
}

func (s *Store) followHead(ctx context.Context, tx *tx, r rows.Repository, branch, commit string) error {
	sets, err := tx.followers(ctx, r, branch)
	if err != nil {
		return err
	}
	woken := false
	for _, set := range sets {
		i, err := tx.IngestionOfHead(ctx, rows.IngestionOfHeadParams{PolicySetID: set.ID, Generation: set.Generation, CommitID: commit})
		switch {
		case errors.Is(found(err), polset.ErrNotFound):
			i, err := s.insertIngestion(ctx, tx, set, arrival{cause: polset.CauseHead, commit: commit})
			if err != nil {
				return err
			}
			if woken {
				continue
			}
			if err := s.enqueue(ctx, tx, i); err != nil {
				return err
			}
			woken = true
		case err != nil:
			return err
		case i.Status == string(polset.IngestionVersioned) || i.Status == string(polset.IngestionUnchanged):
			v, err := tx.Version(ctx, i.VersionID)
			if err != nil {
				return err
			}
			if err := tx.makeCurrent(ctx, held{ingestion: i, set: set, repository: r}, v); err != nil {
				return err
			}
		}
	}
	return nil
}
