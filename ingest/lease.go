package ingest

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
)

// A task is a claim that is being worked on. Its context ends when its own
// lease is lost: work beyond that point could not be written anyway.
type task struct {
	polset.Claim
	ctx  context.Context
	done func() // the lease needs no renewal any more
}

// A keeper renews the leases of a batch, each for as long as its task lasts:
// one that was released may be claimed again while others are still worked on.
type keeper struct {
	worker *Worker
	cancel context.CancelCauseFunc // of the batch

	mu   sync.Mutex
	held map[polset.Lease]context.CancelCauseFunc
}

// keep returns the tasks of a batch, in its order, and renews their leases
// until stop is called. The batch's context ends when no lease is left.
func (w *Worker) keep(ctx context.Context, claims []polset.Claim) (batch context.Context, tasks []task, stop func()) {
	batch, cancel := context.WithCancelCause(ctx)
	k := &keeper{worker: w, cancel: cancel, held: map[polset.Lease]context.CancelCauseFunc{}}
	for _, c := range claims {
		own, cancel := context.WithCancelCause(batch)
		k.held[c.Lease] = cancel
		tasks = append(tasks, task{Claim: c, ctx: own, done: func() { k.drop(c.Lease) }})
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.renew(batch)
	}()
	return batch, tasks, func() {
		cancel(nil)
		<-ended
	}
}

func (k *keeper) renew(ctx context.Context) {
	every := k.worker.Lease / 3
	tick := time.NewTicker(every)
	defer tick.Stop()
	renewed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if time.Since(renewed) >= k.worker.Lease {
			k.cancel(polset.ErrFenced) // nobody may rely on leases that ran out
			return
		}
		asked := time.Now()
		err := k.renewAll(ctx, every)
		if err == nil {
			renewed = asked
			continue
		}
		k.worker.Logger.Warn("renew leases", zap.Error(err))
	}
}

// renewAll renews what is held, and ends the tasks whose lease is lost.
func (k *keeper) renewAll(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	leases := k.leases()
	if len(leases) == 0 {
		return nil
	}
	err := k.worker.Ledger.Renew(ctx, leases, k.worker.Lease)
	if !errors.Is(err, polset.ErrFenced) {
		return err
	}
	// One of them at least: each for itself.
	for _, l := range leases {
		err := k.worker.Ledger.Renew(ctx, []polset.Lease{l}, k.worker.Lease)
		if errors.Is(err, polset.ErrFenced) {
			k.lose(l)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (k *keeper) leases() []polset.Lease {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := make([]polset.Lease, 0, len(k.held))
	for l := range k.held {
		list = append(list, l)
	}
	return list
}

// drop forgets a lease whose task is over.
func (k *keeper) drop(l polset.Lease) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.held, l)
}

// lose ends the task of a lost lease; with the last one, the batch.
func (k *keeper) lose(l polset.Lease) {
	k.mu.Lock()
	defer k.mu.Unlock()
	cancel, held := k.held[l]
	if !held {
		return // it ended meanwhile
	}
	cancel(polset.ErrFenced)
	delete(k.held, l)
	if len(k.held) == 0 {
		k.cancel(polset.ErrFenced)
	}
}
