package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/lease"
)

// settleAll ends tasks in the same way, and has them tried again at the same
// time, so that one fetch serves them again.
func (w *Worker) settleAll(tasks []task, err error) error {
	now := time.Now()
	var failed error
	for _, t := range tasks {
		failed = errors.Join(failed, w.settleSince(now, t, polset.Content{}, err))
	}
	return failed
}

// settle decides what an error means for an ingestion: nothing when the lease
// is lost, another attempt where that may heal and attempts are left, and
// otherwise an errored version. It returns an error only when the rows could
// not be reached.
func (w *Worker) settle(t task, content polset.Content, err error) error {
	return w.settleSince(time.Now(), t, content, err)
}

// settleSince is settle with the time from which a wait counts.
func (w *Worker) settleSince(now time.Time, t task, content polset.Content, err error) error {
	defer t.Done()
	if errors.Is(err, polset.ErrFenced) || errors.Is(context.Cause(t.Ctx), polset.ErrFenced) {
		w.Logger.Info("ingestion passed to another worker", w.facts(t)...)
		return nil
	}
	f := polset.FailureOf(err)
	log := w.Logger.With(w.facts(t)...).With(zap.String("class", string(f.Class)), zap.Error(err))

	rows, cancel := lease.LastWord(t.Ctx)
	defer cancel()
	var moved error
	switch {
	case t.Ctx.Err() != nil:
		log.Info("ingestion interrupted")
		moved = w.Ledger.Release(rows, t.Lease, 0, "")
	case w.again(t, f):
		after := w.retries.Wait(t.Ingestion.Failures, t.Ingestion.RepositoryID+t.Ingestion.Commit, f.RetryAfter)
		log.Info("ingestion to be tried again", zap.Duration("after", after))
		moved = w.Ledger.Release(rows, t.Lease, max(0, after-time.Since(now)), fmt.Sprintf("%s: %s", f.Class, f.Message))
	default:
		moved = w.Versions.Fail(rows, t.Lease, f, content)
		if moved == nil {
			log.Info("version errored")
			w.outcomes.WithLabelValues(string(polset.IngestionFailed), string(f.Class)).Inc()
		}
	}
	if errors.Is(moved, polset.ErrFenced) {
		return nil
	}
	if moved != nil {
		return fmt.Errorf("settle ingestion %s: %w", t.Lease.IngestionID, moved)
	}
	return nil
}

// again tells whether a failure may heal, and attempts are left.
func (w *Worker) again(t task, f *polset.Failure) bool {
	return f.Retry && t.Ingestion.Failures+1 < w.retries.Attempts(f)
}

// abandon gives tasks back that were not begun.
func (w *Worker) abandon(tasks []task) error {
	var failed error
	for _, t := range tasks {
		rows, cancel := lease.LastWord(t.Ctx)
		if err := w.Ledger.Release(rows, t.Lease, 0, ""); err != nil && !errors.Is(err, polset.ErrFenced) {
			failed = errors.Join(failed, fmt.Errorf("release ingestion %s: %w", t.Lease.IngestionID, err))
		}
		cancel()
		t.Done()
	}
	return failed
}

// facts are the log fields that identify a task.
func (w *Worker) facts(t task) []zap.Field {
	return []zap.Field{
		zap.String("ingestion", t.Lease.IngestionID),
		zap.Int64("lease", t.Lease.Number),
		zap.String("policy_set", t.Ingestion.PolicySetID),
		zap.String("commit", t.Ingestion.Commit),
		zap.String("delivery", t.Ingestion.DeliveryGUID),
		zap.Int("attempt", t.Ingestion.Attempts),
	}
}
