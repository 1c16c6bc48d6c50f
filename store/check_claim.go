package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

const (
	// silentChecks is how often in a row a check may be claimed without a word
	// of what became of it: more often its policies are what takes their workers
	// down.
	silentChecks = 25
	// faultyChecks is what attempts that ended in a passing fault count at most:
	// they are made until one succeeds.
	faultyChecks = 20
)

// CheckDue receives a value soon after this process made a check due.
func (s *Store) CheckDue() <-chan struct{} { return s.check }

// ClaimChecks leases for ttl up to n checks that are due, and moves their runs
// on. A check waits for versions that are yet to be made of the policies of its
// sets. One that was claimed too often without a word of its outcome ends
// errored.
func (s *Store) ClaimChecks(ctx context.Context, n int, ttl time.Duration) (tasks []polset.CheckTask, err error) {
	now, err := s.now(ctx)
	if err != nil {
		return nil, fmt.Errorf("claim checks: %w", err)
	}
	due, err := s.reads.ChecksDue(ctx, rows.ChecksDueParams{Now: now, Size: batchOf(n)})
	if err != nil {
		return nil, fmt.Errorf("claim checks: %w", err)
	}
	if len(due) == 0 {
		return nil, nil
	}
	// Runs are locked in one order by all.
	slices.SortFunc(due, func(a, b rows.ChecksDueRow) int {
		return cmp.Or(cmp.Compare(a.RunID, b.RunID), cmp.Compare(a.ID, b.ID))
	})
	err = s.write(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		tasks = nil
		for _, d := range due {
			task, err := s.claimCheck(ctx, tx, d, ttl)
			if err != nil {
				return fmt.Errorf("check %s: %w", d.ID, err)
			}
			if task != nil {
				tasks = append(tasks, *task)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claim checks: %w", err)
	}
	return tasks, nil
}

// claimCheck returns nil for a check that another node has, that is gone, or
// that is given up.
func (s *Store) claimCheck(ctx context.Context, tx *tx, d rows.ChecksDueRow, ttl time.Duration) (*polset.CheckTask, error) {
	r, err := tx.holdCheck(ctx, d.ID, d.RunID)
	if errors.Is(err, polset.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	reached, err := reaching(r.Check.StatusTimestamps, polset.CheckRunning, tx.now)
	if err != nil {
		return nil, err
	}
	n, err := tx.ClaimCheck(ctx, rows.ClaimCheckParams{ID: d.ID, StatusTimestamps: reached, Now: tx.now, LeasedUntil: tx.now.Add(ttl)})
	if err != nil || n == 0 {
		return nil, err
	}
	if r, err = tx.Check(ctx, rows.CheckParams{ID: d.ID}); err != nil {
		return nil, err
	}
	details := map[string]string{
		"lease": strconv.FormatInt(r.Check.Lease, 10), "attempt": strconv.FormatInt(r.Check.Attempts, 10),
	}
	task, sealed, err := s.checkTask(ctx, tx, r, details)
	if err != nil {
		return nil, err
	}
	tx.noteCheck(task.Check, polset.CheckRunning, details)
	var f *polset.Failure
	switch {
	case task.Attempts >= silentChecks:
		f = polset.Fail(polset.ClassInternal, "polset gave up after %d attempts of which none came to an end; its log may say why.", task.Attempts)
	case sealed != nil:
		// An error here would undo the claims of all, for ever.
		s.logger.Error("parameters of a check cannot be opened; is POLSET_ENCRYPTION_KEY complete?",
			zap.String("check", d.ID), zap.Error(sealed))
		f = polset.Fail(polset.ClassInternal, "The sensitive parameters that this run was created with cannot be opened; polset's log says why. Create another run.")
	default:
		return &task, tx.follow(ctx, d.RunID)
	}
	return nil, s.settleCheck(ctx, tx, task, polset.CheckResult{Failure: f})
}

// holdCheck locks a check's run, and reads the check as it is now.
func (t *tx) holdCheck(ctx context.Context, id, runID string) (rows.CheckRow, error) {
	if err := t.lock(ctx, runRow, runID); err != nil {
		return rows.CheckRow{}, err
	}
	r, err := t.Check(ctx, rows.CheckParams{ID: id})
	return r, found(err)
}

// checkTask reads what a check is evaluated from. What was awaited is decided
// here, for good: with the version that is in force by now, or none. That secrets
// cannot be opened is an error of its own.
func (s *Store) checkTask(ctx context.Context, tx *tx, r rows.CheckRow, details map[string]string) (task polset.CheckTask, sealed, err error) {
	of, err := tx.Run(ctx, rows.RunParams{ID: r.Check.RunID})
	if err != nil {
		return task, nil, err
	}
	task = polset.CheckTask{
		Lease: polset.Lease{IngestionID: r.Check.ID, Number: r.Check.Lease}, Check: check(r), Attempts: int(r.Check.Attempts) - 1,
		PlanDigest: of.Run.PlanDigest, Input: []byte(of.Run.Input), At: of.Run.CreatedAt.UTC(),
	}
	list, err := tx.OutcomesOfCheck(ctx, r.Check.ID)
	if err != nil {
		return task, nil, err
	}
	for n := range list {
		list[n].PolicySetOutcome, err = tx.resolved(ctx, list[n].PolicySetOutcome, details)
		if err != nil {
			return task, nil, err
		}
		set, unopened, err := s.checkSet(list[n].PolicySetOutcome, task.Check.Kind)
		if err != nil {
			return task, nil, err
		}
		sealed = cmp.Or(sealed, unopened)
		task.Sets = append(task.Sets, set)
	}
	return task, sealed, nil
}

// resolved gives an outcome that awaited a version of its set's policies the
// version in force, where there is one, and adds it to the details of an entry.
func (t *tx) resolved(ctx context.Context, o rows.PolicySetOutcome, details map[string]string) (rows.PolicySetOutcome, error) {
	if o.AwaitedRevision == 0 {
		return o, nil
	}
	list, err := t.setsInForce(ctx, []string{o.PolicySetID})
	if err != nil {
		return o, err
	}
	f := inForce{policies: "[]"} // of a set that is gone
	if len(list) > 0 {
		f = list[0]
		f.awaited = 0 // what changed since is of later runs
	}
	details[o.PolicySetID] = f.noted()
	o.AwaitedRevision, o.VersionID, o.Digest, o.PoliciesDirectory, o.Policies = 0, f.versionID, f.digest, f.directory, f.policies
	return o, t.ResolveOutcome(ctx, rows.ResolveOutcomeParams{
		ID: o.ID, VersionID: o.VersionID, Digest: o.Digest, PoliciesDirectory: o.PoliciesDirectory, Policies: o.Policies,
	})
}

func (s *Store) checkSet(r rows.PolicySetOutcome, kind polset.Kind) (set polset.CheckSet, sealed, err error) {
	o, err := outcome(r, string(kind))
	if err != nil {
		return set, nil, err
	}
	set = polset.CheckSet{Outcome: o}
	if err := json.Unmarshal([]byte(r.Policies), &set.Policies); err != nil {
		return set, nil, fmt.Errorf("read policies of outcome %s: %w", r.ID, err)
	}
	var list []keptParameter
	if err := json.Unmarshal([]byte(r.Parameters), &list); err != nil {
		return set, nil, fmt.Errorf("read parameters of outcome %s: %w", r.ID, err)
	}
	secrets := map[string]string{}
	if r.SealedParameters != nil {
		text, err := s.open(outcomePlace(r.ID), r.SealedParameters)
		if err != nil {
			return set, err, nil
		}
		if err := json.Unmarshal([]byte(text.Reveal()), &secrets); err != nil {
			return set, nil, fmt.Errorf("read sensitive parameters of outcome %s: %w", r.ID, err)
		}
	}
	for _, p := range list {
		value := p.Value
		if p.Sensitive {
			value = secrets[p.Key]
		}
		set.Parameters = append(set.Parameters, polset.ParameterDraft{Key: p.Key, Value: polset.NewSecret(value), Sensitive: p.Sensitive})
	}
	return set, nil, nil
}

// RenewChecks extends leases by ttl from now. One that its holder ended
// meanwhile is skipped; ErrFenced says that somebody else holds one, or that it
// was canceled or is gone.
func (s *Store) RenewChecks(ctx context.Context, leases []polset.Lease, ttl time.Duration) error {
	err := s.writeOnce(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		for _, l := range leases {
			n, err := tx.RenewCheck(ctx, rows.RenewCheckParams{ID: l.IngestionID, Lease: l.Number, LeasedUntil: tx.now.Add(ttl)})
			if err != nil {
				return err
			}
			if n == 1 {
				continue
			}
			r, err := tx.Check(ctx, rows.CheckParams{ID: l.IngestionID})
			if errors.Is(found(err), polset.ErrNotFound) || err == nil && r.Check.Lease != l.Number {
				return polset.ErrFenced
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("renew checks: %w", err)
	}
	return nil
}
