package store

import (
	"context"
	"errors"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// A repository is reached under a name as soon as a token of its organization
// has read it under that name. Until then the organization has shown no right
// to it, and the App's deliveries of it are not for that organization.

// reached tells whether the App may tell a row of a push: by its number only
// if the App itself proved it when the row was reached, else under the very
// name that was reached.
func reached(p polset.Push, r rows.Repository) bool {
	return r.Proven || r.ReachedKey == identifierKey(p.Identifier)
}

// knockAgain is how long a row that is not reached ignores further pushes.
const knockAgain = 10 * time.Minute

// knock has the policy sets of a row that is not reached look at their branch
// with their own token, which may have been given the right meanwhile. They
// learn nothing of the push but that there was one, and that not often.
func (s *Store) knock(ctx context.Context, tx *tx, r rows.Repository) error {
	if err := tx.MissPush(ctx, r.ID); err != nil {
		return err
	}
	sets, err := tx.PolicySetsThatHear(ctx, nullString(r.ID))
	if err != nil {
		return err
	}
	var again rows.Ingestion
	for _, set := range sets {
		last, err := tx.LatestIngestion(ctx, set.ID)
		if err != nil && !errors.Is(found(err), polset.ErrNotFound) {
			return err
		}
		if err == nil && (!last.EndedAt.Valid || last.Cause == string(polset.CauseHead) && tx.now.Sub(last.EndedAt.Time) < knockAgain) {
			continue
		}
		if again, err = s.insertIngestion(ctx, tx, set, arrival{cause: polset.CauseHead}); err != nil {
			return err
		}
	}
	if again.ID == "" {
		return nil
	}
	return s.enqueue(ctx, tx, again)
}

// reach records that a look read the repository under a name. A push that the
// App told too early may have come after that look: then every policy set
// that follows the repository looks at its branch again.
func (s *Store) reach(ctx context.Context, tx *tx, r rows.Repository, key string, look int64) error {
	if r.ReachedKey == key {
		return nil
	}
	if err := tx.ReachRepository(ctx, rows.ReachRepositoryParams{ID: r.ID, ReachedKey: key}); err != nil {
		return err
	}
	if look >= r.MissedLook {
		return nil
	}
	sets, err := tx.PolicySetsThatHear(ctx, nullString(r.ID))
	if err != nil {
		return err
	}
	var again rows.Ingestion
	for _, set := range sets {
		if again, err = s.insertIngestion(ctx, tx, set, arrival{cause: polset.CauseHead}); err != nil {
			return err
		}
	}
	if again.ID == "" {
		return nil
	}
	return s.enqueue(ctx, tx, again)
}

// reachByHead is reach for a draft's head, which somebody looked at before
// the transaction began.
func (s *Store) reachByHead(ctx context.Context, tx *tx, r rows.Repository, d polset.VCSDraft) error {
	if d.Head.Commit == "" {
		return nil
	}
	return s.reach(ctx, tx, r, identifierKey(d.Identifier), 0)
}

// reachByFailure is reach for a look that found the repository without any
// branch. Of a repository that was renamed meanwhile it proves nothing.
func (s *Store) reachByFailure(ctx context.Context, tx *tx, r rows.Repository, f *polset.Failure) error {
	if f.Class != polset.ClassEmptyRepository || r.NamedLook > 0 {
		return nil
	}
	return s.reach(ctx, tx, r, r.IdentifierKey, 0)
}
