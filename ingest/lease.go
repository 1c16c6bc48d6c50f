package ingest

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
)

// keep renews the leases of a batch until stop is called. The context that it
// returns ends as soon as a lease is lost, or could not be renewed before it
// expired: work beyond that point could not be written anyway.
func (w *Worker) keep(ctx context.Context, batch polset.Batch) (leased context.Context, stop func()) {
	leased, cancel := context.WithCancelCause(ctx)
	leases := make([]polset.Lease, len(batch.Claims))
	for i, c := range batch.Claims {
		leases[i] = c.Lease
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(w.Lease / 3)
		defer tick.Stop()
		renewed := time.Now()
		for {
			select {
			case <-leased.Done():
				return
			case <-tick.C:
			}
			// Renew skips what has ended meanwhile; only a lease that passed
			// to somebody else is lost.
			err := w.Ledger.Renew(leased, leases, w.Lease)
			switch {
			case err == nil:
				renewed = time.Now()
			case errors.Is(err, polset.ErrFenced):
				cancel(polset.ErrFenced)
				return
			case time.Since(renewed) >= w.Lease:
				cancel(polset.ErrFenced)
				return
			default:
				w.Logger.Warn("renew leases", zap.Error(err))
			}
		}
	}()
	return leased, func() {
		cancel(nil)
		<-done
	}
}
