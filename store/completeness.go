package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// A head has its outcome in a policy set as soon as an ingestion of it, of the
// settings that are in force, came to its end: settled_head names the last such
// head. To be ignored for the update patterns is an outcome, which names the
// version that stays in force; to be ignored for another reason is none, nor is a
// failure that may pass; those of earlier settings are, and a change of the
// settings forgets the head.

// A head that failed for what may pass is ingested again by the next look that
// has access, and then after a while that doubles with every such failure.
const (
	firstHeadAgain = time.Hour
	lastHeadAgain  = 24 * time.Hour
)

// passing tells whether a failure of the class may pass while neither the
// content nor the settings change.
func passing(class string) bool {
	switch polset.Class(class) {
	case polset.ClassAuth, polset.ClassTimeout, polset.ClassStorage:
		return true
	}
	return false
}

// ingested records that an ingestion came to its end with an outcome.
func (t *tx) ingested(ctx context.Context, h held) error {
	if h.ingestion.CommitID == "" || h.ingestion.Generation != h.set.Generation {
		return nil
	}
	if h.ingestion.VersionID != "" {
		v, err := t.Version(ctx, h.ingestion.VersionID)
		if err != nil || passing(v.Error) {
			return err
		}
	}
	return t.SettleIngested(ctx, rows.SettleIngestedParams{
		ID: h.set.ID, Generation: h.set.Generation, CommitID: h.ingestion.CommitID, Now: nullTime(t.now),
	})
}

// settleHead records that a head has its outcome in a policy set, if it has,
// and otherwise says whether it is time to ingest it again.
func (t *tx) settleHead(ctx context.Context, set rows.PolicySet, commit string) (again bool, err error) {
	if set.SettledHead == commit {
		return false, nil
	}
	outcomes, err := t.HeadOutcomes(ctx, rows.HeadOutcomesParams{PolicySetID: set.ID, Generation: set.Generation, CommitID: commit})
	if err != nil || len(outcomes) == 0 {
		return false, err
	}
	if slices.ContainsFunc(outcomes, func(o rows.HeadOutcomesRow) bool { return !passing(o.Error) }) {
		return false, t.SettleHead(ctx, rows.SettleHeadParams{ID: set.ID, CommitID: commit})
	}
	if n := int64(len(outcomes)); n > 1 {
		return !utc(outcomes[0].EndedAt).Add(backoff(n-1, firstHeadAgain, lastHeadAgain)).After(t.now), nil
	}
	return true, nil
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
		c.Gap = max(now.Sub(waiting(r.HeadAt, r.PolicySet.FollowedAt)), time.Microsecond) // there is one, whatever the clock says
	}
	return c
}

// waiting is since when a head waits for a policy set: since both were there.
func waiting(headAt sql.NullTime, followedAt time.Time) time.Time {
	if at := utc(headAt); at.After(followedAt) {
		return at
	}
	return followedAt.UTC()
}

// degradation is why a policy set is degraded; nil where it is not.
func degradation(p rows.PolicySet) *polset.Degradation {
	if p.Degraded == "" {
		return nil
	}
	return &polset.Degradation{Reason: polset.DegradedReason(p.Degraded), Message: p.DegradedMessage, Since: utc(p.DegradedAt)}
}

// gap is for how long the head that has waited longest for its outcome has.
func (s *Store) gap(ctx context.Context) (time.Duration, error) {
	oldest, err := s.reads.OldestGap(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	d, err := s.since(ctx, waiting(oldest.ChangedAt, oldest.FollowedAt), err)
	return max(d, time.Microsecond), err // there is one, whatever the clock says
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
