package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// Observe records where a branch stands, and draws the consequences for every
// policy set that follows it: a head that no delivery told of gets an
// ingestion, and a head that made a ready version before puts it in force
// again. An observation with a smaller number than the recorded one is
// dropped. ErrFenced says that the repository is gone.
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
		if o.Look > r.NamedLook { // else it may have read another name
			if err := s.reach(ctx, tx, r, r.IdentifierKey, o.Look); err != nil {
				return err
			}
		}
		n, err := tx.ObserveBranch(ctx, rows.ObserveBranchParams{
			RepositoryID: r.ID, Name: name, Head: o.Head.Commit, Look: o.Look,
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
	sets, err := tx.followers(ctx, r, branch, r.DefaultBranch)
	if err != nil {
		return err
	}
	var fresh []rows.Ingestion
	for _, set := range sets {
		_, err := tx.IngestionOfHead(ctx, rows.IngestionOfHeadParams{PolicySetID: set.ID, Generation: set.Generation, CommitID: commit})
		switch {
		case errors.Is(found(err), polset.ErrNotFound):
			i, err := s.insertIngestion(ctx, tx, set, arrival{cause: polset.CauseHead, commit: commit})
			if err != nil {
				return err
			}
			fresh = append(fresh, i)
		case err != nil:
			return err
		default:
			if err := tx.restore(ctx, held{set: set, repository: r}, commit); err != nil {
				return err
			}
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return s.enqueue(ctx, tx, fresh[0])
}

// restore puts in force what the commit led to before in this generation of a
// policy set. A later attempt at the same commit that failed, or has not ended,
// takes nothing from it: the same commit gives the same content.
func (t *tx) restore(ctx context.Context, h held, commit string) (err error) {
	h.ingestion, err = t.ReadyIngestionOfHead(ctx, rows.ReadyIngestionOfHeadParams{
		PolicySetID: h.set.ID, Generation: h.set.Generation, CommitID: commit,
	})
	if errors.Is(found(err), polset.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	v, err := t.Version(ctx, h.ingestion.VersionID)
	if err != nil {
		return err
	}
	return t.makeCurrent(ctx, h, v)
}
