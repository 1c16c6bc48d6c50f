package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/lease"
)

// work carries one check to its outcome, under its lease.
func (c *Checker) work(ctx context.Context, task polset.CheckTask) error {
	start := time.Now()
	log := c.Logger.With(
		zap.String("check", task.Check.ID), zap.String("run", task.Check.RunID), zap.String("kind", string(task.Check.Kind)),
		zap.Int64("lease", task.Lease.Number), zap.Int("attempt", task.Attempts+1))
	leased, _, stop := lease.Renewal{Rows: c.Checks.RenewChecks, TTL: c.Lease, Logger: c.Logger}.
		Keep(ctx, []polset.Lease{task.Lease})
	v := c.judge(leased, task)
	lost := errors.Is(context.Cause(leased), polset.ErrFenced)
	// From here on a renewal could only disturb the row's last word.
	stop()

	secrets := secretsOf(task.Sets...)
	for _, fault := range v.faults {
		// Whatever an engine says may hold what it was given.
		log.Debug("fault of an evaluation", zap.String("error", secrets.hide(fault.Error())))
	}
	result := v.result
	switch again := c.again(task, v.faults); {
	case lost:
		log.Info("check canceled, or passed to another worker")
		return nil
	case len(v.faults) > 0 && ctx.Err() != nil:
		result = polset.CheckResult{Again: true}
	case again != nil:
		result = polset.CheckResult{Again: true, Fault: true, After: c.wait(task, again)}
		log = log.With(zap.String("class", string(again.Class)), zap.String("error", secrets.hide(again.Error())))
	}

	rows, cancel := lease.LastWord(ctx)
	defer cancel()
	switch err := c.Checks.SettleCheck(rows, task, result); {
	case errors.Is(err, polset.ErrFenced):
		log.Info("check canceled, or passed to another worker")
		return nil
	case err != nil:
		return fmt.Errorf("settle check %s: %w", task.Check.ID, err)
	}
	c.tell(log.With(zap.Duration("elapsed", time.Since(start))), task, v, result)
	return nil
}

// again returns the fault for which another attempt is worth making, nil
// without one. Storage comes back; a fault of polset's own may not go away.
func (c *Checker) again(task polset.CheckTask, faults []error) *polset.Failure {
	i := slices.IndexFunc(faults, func(err error) bool {
		f := polset.FailureOf(err)
		return f.Retry && (f.Class == polset.ClassStorage || task.Attempts+1 < c.retries.Attempts(f))
	})
	if i < 0 {
		return nil
	}
	return polset.FailureOf(faults[i])
}

// maxDoublings bounds the wait after a passing fault to some minutes: nobody
// else comes to ask again.
const maxDoublings = 7

func (c *Checker) wait(task polset.CheckTask, f *polset.Failure) time.Duration {
	return c.retries.Wait(min(task.Attempts, maxDoublings), task.Check.ID, f.RetryAfter)
}

// tell logs and counts an outcome.
func (c *Checker) tell(log *zap.Logger, task polset.CheckTask, v verdict, result polset.CheckResult) {
	switch {
	case result.Again && result.Fault:
		log.Info("check to be tried again", zap.Duration("after", result.After))
		return
	case result.Again:
		log.Info("check interrupted")
		return
	}
	counts, class := v.sum()
	status := polset.CheckStatusOf(counts)
	if status != polset.CheckErrored {
		class = ""
	}
	kind := string(task.Check.Kind)
	c.outcomes.WithLabelValues(kind, string(status), string(class)).Inc()
	c.seconds.WithLabelValues(kind).Observe(result.Duration.Seconds())
	if len(v.faults) > 0 {
		log = log.With(zap.String("error", secretsOf(task.Sets...).hide(errors.Join(v.faults...).Error())))
	}
	log.Info("check ended",
		zap.String("status", string(status)), zap.String("class", string(class)), zap.Int("policy_sets", len(task.Sets)),
		zap.Int("passed", counts.Passed), zap.Int("failed", counts.Failed()), zap.Int("errored", counts.Errored))
}
