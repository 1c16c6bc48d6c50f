package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// A look that failed is repeated after a while that doubles with every failure
// in a row, and that never lies after the next look that is due anyway.
const (
	firstLookAgain = 30 * time.Second
	lastLookAgain  = time.Hour
)

// ResumeLooks makes every followed repository due to be looked at now: whatever
// was pushed while nobody listened is found by the looks that follow.
func (s *Store) ResumeLooks(ctx context.Context) error {
	err := s.writeOnce(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		return tx.ResumeLooks(ctx, tx.now)
	})
	if err != nil {
		return fmt.Errorf("resume looks: %w", err)
	}
	return nil
}

// ClaimLooks takes up to limit repositories that are due to be looked at, those
// first that were looked at longest ago, and gives a look for each credential
// that their policy sets follow them with. They are due again after interval,
// a tenth more or less so that looks spread, whatever becomes of these. Of two
// nodes only one gets a repository.
func (s *Store) ClaimLooks(ctx context.Context, limit int, interval time.Duration) ([]polset.Look, error) {
	now, err := s.now(ctx)
	if err != nil {
		return nil, fmt.Errorf("claim looks: %w", err)
	}
	due, err := s.reads.LooksDue(ctx, rows.LooksDueParams{Now: now, Size: batchOf(limit)})
	if err != nil {
		return nil, fmt.Errorf("claim looks: %w", err)
	}
	if len(due) == 0 {
		return nil, nil
	}
	var looks []polset.Look
	err = s.write(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		claimed := map[string][]polset.Look{}
		for _, id := range slices.Sorted(slices.Values(due)) { // the order of locks
			of, err := s.claimLook(ctx, tx, id, interval)
			if err != nil {
				return err
			}
			claimed[id] = of
		}
		looks = nil
		for _, id := range due {
			looks = append(looks, claimed[id]...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claim looks: %w", err)
	}
	return looks, nil
}

func (s *Store) claimLook(ctx context.Context, tx *tx, id string, interval time.Duration) ([]polset.Look, error) {
	number, err := tx.ClaimLook(ctx, rows.ClaimLookParams{ID: id, Now: tx.now, Next: tx.now.Add(scattered(id, tx.now, interval))})
	if errors.Is(found(err), polset.ErrNotFound) {
		return nil, nil // another node has it, or it is gone
	}
	if err != nil {
		return nil, err
	}
	r, err := tx.Repository(ctx, id)
	if err != nil {
		return nil, err
	}
	sets, err := tx.PolicySetsOfRepository(ctx, nullString(id))
	if err != nil {
		return nil, err
	}
	var looks []polset.Look
	for _, of := range byCredential(sets) {
		if of.credential == "" {
			if err := tx.lost(ctx, of.sets); err != nil {
				return nil, err
			}
			continue
		}
		look := polset.Look{Repository: repository(r), Credential: of.credential, Number: number}
		look.Remote, look.Connected, err = s.remoteFor(ctx, tx, r, of.sets[0].TokenID, of.sets[0].InstallationID)
		if err != nil {
			return nil, err
		}
		if !look.Connected {
			if err := tx.unusable(ctx, of); err != nil {
				return nil, err
			}
		}
		for _, set := range of.sets {
			if !slices.Contains(look.Branches, set.Branch) {
				look.Branches = append(look.Branches, set.Branch)
			}
		}
		looks = append(looks, look)
	}
	return looks, nil
}

// lost notes that policy sets have no credential, where nothing says so yet.
func (t *tx) lost(ctx context.Context, sets []rows.PolicySet) error {
	return t.degrade(ctx, silent(sets), string(polset.DegradedConnectionDeleted),
		"The connection that this policy set followed its repository with was deleted. Give it another.")
}

// unusable notes that the credential of policy sets may not be used, where
// nothing says why yet.
func (t *tx) unusable(ctx context.Context, of sharers) error {
	if !of.sets[0].InstallationID.Valid {
		return t.degrade(ctx, silent(of.sets), string(polset.DegradedAccessLost),
			"The token of the policy set's connection cannot be opened. Give the connection its token anew, or ask the operator of polset.")
	}
	i, err := t.Installation(ctx, of.credential)
	if err != nil {
		return err
	}
	if i.DeletedAt.Valid {
		return t.degrade(ctx, silent(of.sets), string(polset.DegradedInstallationDeleted),
			"The GitHub App is not installed on "+i.Account+" any more. "+
				"Install it there again and have the new installation bound to this organization: the policy set then goes on with it.")
	}
	return t.degrade(ctx, silent(of.sets), string(polset.DegradedInstallationUnbound),
		"This organization may not use the installation of the GitHub App on "+i.Account+". "+
			"Ask a site admin to bind it again, or let the policy set use another credential.")
}

// silent are the policy sets of which no specific reason stands.
func silent(sets []rows.PolicySet) []rows.PolicySet {
	return slices.DeleteFunc(slices.Clone(sets), func(p rows.PolicySet) bool { return specific(p.Degraded) })
}

// scattered is the interval, a tenth more or less.
func scattered(id string, now time.Time, interval time.Duration) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id + strconv.FormatInt(now.UnixMicro(), 10))) // never fails
	return interval*9/10 + interval/5*time.Duration(h.Sum32()%1024)/1023
}

// sharers are the policy sets of a repository that share a credential.
type sharers struct {
	credential string
	sets       []rows.PolicySet
}

// byCredential groups policy sets, in the order of the credentials.
func byCredential(sets []rows.PolicySet) (groups []sharers) {
	for _, set := range sets {
		credential := credentialOf(set.TokenID, set.InstallationID)
		n := slices.IndexFunc(groups, func(g sharers) bool { return g.credential == credential })
		if n < 0 {
			n = len(groups)
			groups = append(groups, sharers{credential: credential})
		}
		groups[n].sets = append(groups[n].sets, set)
	}
	slices.SortFunc(groups, func(a, b sharers) int { return cmp.Compare(a.credential, b.credential) })
	return groups
}

// credentialOf is the one of the two that is set.
func credentialOf(token, installation sql.NullString) string {
	return cmp.Or(token.String, installation.String)
}

// LookFailed records a look that saw nothing. Where the credential was refused,
// the policy sets that use it are degraded until a look succeeds, and the next
// is taken at its time: others of the repository may well have access. A failure
// that may pass brings the look back before its time, not before the other side
// wants to be asked again. A repository without any commit was read, so it
// counts as seen. ErrFenced says that the repository is gone.
func (s *Store) LookFailed(ctx context.Context, l polset.Look, f *polset.Failure) error {
	err := s.writeOnce(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		r, err := tx.repositoryToObserve(ctx, l.Repository.ID)
		if err != nil {
			return err
		}
		sets, err := tx.PolicySetsThatHear(ctx, nullString(r.ID))
		if err != nil {
			return err
		}
		switch {
		case f.Class == polset.ClassEmptyRepository:
			if err := s.reachByFailure(ctx, tx, r, f); err != nil {
				return err
			}
			return tx.accessible(ctx, r, sets, l.Credential)
		case f.Class == polset.ClassAuth:
			return tx.inaccessible(ctx, r, sets, l, f.Message)
		case !f.Retry:
			return nil // the next look may find it changed
		}
		next := tx.now.Add(backoff(r.LookFailures+1, firstLookAgain, lastLookAgain))
		if r.LookDueAt.Before(next) {
			next = r.LookDueAt
		}
		if after := tx.now.Add(f.RetryAfter); after.After(next) {
			next = after
		}
		return tx.LookFailed(ctx, rows.LookFailedParams{ID: r.ID, Next: next})
	})
	if err != nil {
		return fmt.Errorf("record a look at %s that failed: %w", l.Repository.Identifier, err)
	}
	return nil
}

// inaccessible degrades the policy sets of a repository that use a credential
// that was refused. A more specific reason, and what a later look saw, stand.
func (t *tx) inaccessible(ctx context.Context, r rows.Repository, sets []rows.PolicySet, l polset.Look, message string) error {
	var lost []rows.PolicySet
	for _, set := range sets {
		if credentialOf(set.TokenID, set.InstallationID) != l.Credential || specific(set.Degraded) {
			continue
		}
		seen, err := t.Branch(ctx, rows.BranchParams{RepositoryID: r.ID, Name: cmp.Or(set.Branch, r.DefaultBranch)})
		if err != nil && !errors.Is(found(err), polset.ErrNotFound) {
			return err
		}
		if err == nil && seen.Look > l.Number {
			continue
		}
		lost = append(lost, set)
	}
	return t.degrade(ctx, lost, string(polset.DegradedAccessLost), message)
}

// specific tells whether a reason says more than that access was lost.
func specific(reason string) bool {
	switch polset.DegradedReason(reason) {
	case "", polset.DegradedAccessLost, polset.DegradedBranchDeleted, polset.DegradedRepositoryArchived:
		return false
	}
	return true
}

// backoff is the wait after a number of failures in a row: it doubles from
// first to last.
func backoff(failures int64, first, last time.Duration) time.Duration {
	wait := first
	for ; failures > 1 && wait < last; failures-- {
		wait *= 2
	}
	return min(wait, last)
}

// remoteFor is how a repository is reached with a credential; false where there
// is none that may be used.
func (s *Store) remoteFor(ctx context.Context, tx *tx, r rows.Repository, token, installation sql.NullString) (polset.Remote, bool, error) {
	batch := polset.Batch{Repository: repository(r), Remotes: map[string]polset.Remote{}}
	if err := s.addRemote(ctx, tx, &batch, rows.Ingestion{TokenID: token, InstallationID: installation}); err != nil {
		return polset.Remote{}, false, err
	}
	remote, ok := batch.Remotes[credentialOf(token, installation)]
	return remote, ok, nil
}

// batchOf bounds how much of anything one call claims.
func batchOf(n int) int32 { return int32(min(max(n, 1), batchSize)) } //nolint:gosec // bounded
