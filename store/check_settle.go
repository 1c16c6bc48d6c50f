package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// SettleCheck writes what became of a check, its outcomes and the move of its
// run included, in one transaction. It answers ErrFenced when the lease is lost,
// or the run was canceled or is gone, and changes nothing then; that it was
// settled before is success.
func (s *Store) SettleCheck(ctx context.Context, task polset.CheckTask, result polset.CheckResult) error {
	err := s.writeOnce(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		return s.settleCheck(ctx, tx, task, result)
	})
	if err != nil {
		return fmt.Errorf("settle check %s: %w", task.Check.ID, err)
	}
	return nil
}

func (s *Store) settleCheck(ctx context.Context, tx *tx, task polset.CheckTask, result polset.CheckResult) error {
	r, err := tx.holdCheck(ctx, task.Check.ID, task.Check.RunID)
	if errors.Is(err, polset.ErrNotFound) {
		return polset.ErrFenced
	}
	if err != nil {
		return err
	}
	switch {
	case r.Check.Lease != task.Lease.Number:
		return polset.ErrFenced
	case polset.CheckStatus(r.Check.Status).Ended():
		return nil // by this very call, whose answer was lost
	case result.Again:
		tx.checks = result.After <= 0
		attempts := int64(task.Attempts)
		if result.Fault {
			attempts = min(attempts+1, faultyChecks)
		}
		return tx.CheckAgain(ctx, rows.CheckAgainParams{ID: r.Check.ID, Attempts: attempts, DueAt: tx.now.Add(max(result.After, 0))})
	}
	counts, err := tx.settleOutcomes(ctx, task, result)
	if err != nil {
		return err
	}
	end := rows.EndCheckParams{ID: r.Check.ID, Duration: int64(result.Duration), Now: tx.now}
	if f := result.Failure; f != nil {
		end.Error, end.ErrorMessage = string(f.Class), plain(f.Message)
		counts.Errored = max(counts.Errored, 1)
	}
	status := polset.CheckStatusOf(counts)
	end.Status, end.Passed, end.AdvisoryFailed, end.SoftFailed, end.HardFailed, end.Errored = string(status),
		int64(counts.Passed), int64(counts.AdvisoryFailed), int64(counts.SoftFailed), int64(counts.HardFailed), int64(counts.Errored)
	if end.StatusTimestamps, err = reaching(r.Check.StatusTimestamps, status, tx.now); err != nil {
		return err
	}
	if err := tx.EndCheck(ctx, end); err != nil {
		return err
	}
	if err := tx.ForgetSealedParameters(ctx, r.Check.ID); err != nil {
		return err
	}
	tx.noteCheck(check(r), status, map[string]string{
		"passed": strconv.Itoa(counts.Passed), "advisory-failed": strconv.Itoa(counts.AdvisoryFailed), "soft-failed": strconv.Itoa(counts.SoftFailed),
		"hard-failed": strconv.Itoa(counts.HardFailed), "errored": strconv.Itoa(counts.Errored), "error": end.Error,
	})
	return tx.follow(ctx, r.Check.RunID)
}

// settleOutcomes writes what each policy set says, and counts it all. Where the
// check failed as a whole there may be nothing to write.
func (t *tx) settleOutcomes(ctx context.Context, task polset.CheckTask, result polset.CheckResult) (counts polset.ResultCounts, err error) {
	if result.Failure != nil && len(result.Outcomes) == 0 {
		return counts, nil
	}
	if len(result.Outcomes) != len(task.Sets) {
		return counts, fmt.Errorf("%d outcomes of %d policy sets", len(result.Outcomes), len(task.Sets))
	}
	for n, said := range result.Outcomes {
		o := task.Sets[n].Outcome
		o.Policies, o.Error, o.ErrorMessage = said.Policies, said.Error, said.ErrorMessage
		if o.Error == "" {
			o.Error, o.ErrorMessage = unsaid(o)
		}
		o.Counts = o.Count()
		counts.Add(o.Counts)
		policies, err := json.Marshal(orNone(o.Policies))
		if err != nil {
			return counts, err
		}
		err = t.SettleOutcome(ctx, rows.SettleOutcomeParams{
			ID: o.ID, Outcomes: string(policies), Endings: endings(o), Error: string(o.Error), ErrorMessage: plain(o.ErrorMessage),
			Passed: int64(o.Counts.Passed), AdvisoryFailed: int64(o.Counts.AdvisoryFailed), SoftFailed: int64(o.Counts.SoftFailed),
			HardFailed: int64(o.Counts.HardFailed), Errored: int64(o.Counts.Errored),
		})
		if err != nil {
			return counts, err
		}
	}
	return counts, nil
}

// unsaid is why an outcome without an error is one after all: nobody may take
// silence for a pass.
func unsaid(o polset.PolicySetOutcome) (polset.Class, string) {
	switch {
	case o.VersionID == "":
		return polset.ClassNoPolicies, "The policy set " + o.PolicySetName + " applies to this workspace and has no version that is ready. Upload one, or detach the policy set."
	case len(o.Policies) == 0:
		return polset.ClassInternal, "The policies of the policy set " + o.PolicySetName + " gave no result."
	}
	return "", ""
}

// cancelChecks cancels the checks of a held run that have not ended.
func (t *tx) cancelChecks(ctx context.Context, runID string) error {
	list, err := t.ChecksOfRun(ctx, runID)
	if err != nil {
		return err
	}
	for _, r := range list {
		c := check(rows.CheckRow(r))
		if c.Status.Ended() {
			continue
		}
		reached, err := reaching(r.Check.StatusTimestamps, polset.CheckCanceled, t.now)
		if err != nil {
			return err
		}
		if err := t.CancelCheck(ctx, rows.CancelCheckParams{ID: c.ID, StatusTimestamps: reached, Now: t.now}); err != nil {
			return err
		}
		if err := t.ForgetSealedParameters(ctx, c.ID); err != nil {
			return err
		}
		t.noteCheck(c, polset.CheckCanceled, nil)
	}
	return nil
}

// plain is a text that every database takes; a hostile policy may have put
// anything into it.
func plain(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

func orNone(list []polset.PolicyOutcome) []polset.PolicyOutcome {
	if list == nil {
		return []polset.PolicyOutcome{}
	}
	return list
}
