package ingest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
)

// maxWait bounds a wait that the other side asks for.
const maxWait = time.Hour

// rowTimeout bounds the last word on an ingestion once its context is over.
const rowTimeout = 10 * time.Second

// settleAll ends every claim of a group in the same way.
func (w *Worker) settleAll(ctx context.Context, g group, err error) error {
	var failed error
	for _, c := range g.claims {
		if e := w.settle(ctx, c, polset.Content{}, err); e != nil {
			failed = e
		}
	}
	return failed
}

// settle decides what an error means for an ingestion: nothing when the lease
// is lost, another attempt where that may heal and attempts are left, and
// otherwise an errored version. It returns an error only when the rows could
// not be reached.
func (w *Worker) settle(ctx context.Context, c polset.Claim, content polset.Content, err error) error {
	if errors.Is(err, polset.ErrFenced) || errors.Is(context.Cause(ctx), polset.ErrFenced) {
		w.Logger.Info("ingestion passed to another worker", w.facts(c)...)
		return nil
	}
	f := polset.FailureOf(err)
	log := w.Logger.With(w.facts(c)...).With(zap.String("class", string(f.Class)), zap.Error(err))

	// The rows must hear of it even though the server is stopping.
	rows, cancel := context.WithTimeout(context.WithoutCancel(ctx), rowTimeout)
	defer cancel()
	var moved error
	switch {
	case ctx.Err() != nil:
		log.Info("ingestion interrupted")
		moved = w.Ledger.Release(rows, c.Lease, 0, "")
	case f.Retry && c.Ingestion.Failures+1 < w.attempts(f.Class):
		after := w.backoff(c.Ingestion.Failures, f.RetryAfter)
		log.Info("ingestion to be tried again", zap.Duration("after", after))
		moved = w.Ledger.Release(rows, c.Lease, after, fmt.Sprintf("%s: %s", f.Class, f.Message))
	default:
		moved = w.Versions.Fail(rows, c.Lease, f, content)
		if moved == nil {
			log.Info("version errored")
			w.outcomes.WithLabelValues(string(polset.IngestionFailed), string(f.Class)).Inc()
		}
	}
	if errors.Is(moved, polset.ErrFenced) {
		return nil
	}
	if moved != nil {
		return fmt.Errorf("settle ingestion %s: %w", c.Lease.IngestionID, moved)
	}
	return nil
}

// abandon gives claims back that were not begun.
func (w *Worker) abandon(ctx context.Context, claims []polset.Claim) error {
	rows, cancel := context.WithTimeout(context.WithoutCancel(ctx), rowTimeout)
	defer cancel()
	var failed error
	for _, c := range claims {
		if err := w.Ledger.Release(rows, c.Lease, 0, ""); err != nil && !errors.Is(err, polset.ErrFenced) {
			failed = fmt.Errorf("release ingestion %s: %w", c.Lease.IngestionID, err)
		}
	}
	return failed
}

// attempts is how often a class of failure is tried. A server that hangs or
// sends nonsense holds a worker each time, so it gets half.
func (w *Worker) attempts(class polset.Class) int {
	switch class {
	case polset.ClassTimeout, polset.ClassGitCorrupt:
		return max(1, w.MaxAttempts/2)
	}
	return w.MaxAttempts
}

// backoff doubles the wait with each failure, spread by a tenth so that the
// sets of one outage do not come back as one, and honours a longer wait that
// was asked for.
func (w *Worker) backoff(failures int, asked time.Duration) time.Duration {
	d := min(w.RetryBase<<min(failures, 12), maxWait)
	d += time.Duration(rand.Int64N(int64(d)/10 + 1)) //nolint:gosec // spreading, not secrecy
	return max(d, min(asked, maxWait))
}

// facts are the log fields that identify a claim.
func (w *Worker) facts(c polset.Claim) []zap.Field {
	return []zap.Field{
		zap.String("ingestion", c.Lease.IngestionID),
		zap.Int64("lease", c.Lease.Number),
		zap.String("policy_set", c.Ingestion.PolicySetID),
		zap.String("commit", c.Ingestion.Commit),
		zap.String("delivery", c.Ingestion.DeliveryGUID),
		zap.Int("attempt", c.Ingestion.Attempts),
	}
}

// panicked is the failure that a panic becomes.
func panicked(p any) error {
	return &polset.Failure{
		Class: polset.ClassInternal, Retry: true,
		Message: "polset failed on this commit; its log says where.",
		Err:     fmt.Errorf("panic: %v\n%s", p, debug.Stack()),
	}
}
