package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// A head has its outcome in a policy set as soon as an ingestion of it, of the
// settings that are in force, came to its end: settled_head names the last such
// head. An ingestion that is ignored is no outcome; those of earlier settings
// are, and a change of the settings forgets the head.

// ingested records that an ingestion came to its end with an outcome.
func (t *tx) ingested(ctx context.Context, h held) error {
	if h.ingestion.CommitID == "" || h.ingestion.Generation != h.set.Generation {
		return nil
	}
	return t.SettleIngested(ctx, rows.SettleIngestedParams{
		ID: h.set.ID, Generation: h.set.Generation, CommitID: h.ingestion.CommitID, Now: nullTime(t.now),
	})
}

// gaping tells whether the head of what a policy set follows has no outcome yet.
func gaping(r rows.PolicySetRow) bool {
	return r.Head != "" && r.Head != r.PolicySet.SettledHead && r.HeadAt.Valid
}

// completeness says how far a policy set that follows a repository has come.
func completeness(r rows.PolicySetRow, now time.Time) *polset.Completeness {
	c := &polset.Completeness{
		Head: r.Head, HeadAt: utc(r.HeadAt), LookedAt: utc(r.LookedAt),
		Ingested: r.PolicySet.IngestedCommit, IngestedAt: utc(r.PolicySet.IngestedAt),
	}
	if gaping(r) {
		c.Gap = max(now.Sub(c.HeadAt), time.Microsecond) // there is one, whatever the clock says
	}
	return c
}

// degradation is why a policy set is degraded; nil where it is not.
func degradation(p rows.PolicySet) *polset.Degradation {
	if p.Degraded == "" {
		return nil
	}
	return &polset.Degradation{Reason: polset.DegradedReason(p.Degraded), Message: p.DegradedMessage, Since: utc(p.DegradedAt)}
}

// gap is for how long the oldest head that has no outcome has been seen.
func (s *Store) gap(ctx context.Context) (time.Duration, error) {
	since, err := s.reads.OldestGap(ctx)
	return s.since(ctx, utc(since), err)
}

// lookAge is how long ago the branch was looked at that was looked at longest
// ago of all that are followed.
func (s *Store) lookAge(ctx context.Context) (time.Duration, error) {
	oldest, err := s.reads.OldestLook(ctx)
	at := utc(oldest.SeenAt)
	if at.IsZero() {
		at = oldest.CreatedAt.UTC()
	}
	return s.since(ctx, at, err)
}

// since is the age of a time that was read; 0 where there was none.
func (s *Store) since(ctx context.Context, at time.Time, err error) (time.Duration, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	now, nowErr := s.now(ctx)
	if err := cmp.Or(err, nowErr); err != nil {
		return 0, err
	}
	return max(now.Sub(at), 0), nil
}

// now is the database's time outside of a transaction.
func (s *Store) now(ctx context.Context) (time.Time, error) {
	now, err := s.dialect.begin(ctx, s.dialect.reader())
	return now.UTC().Truncate(time.Microsecond), err
}
