package ingest

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
)

// A hold is a lease while its holder works. Its context ends when the lease is
// lost: work beyond that point could not be written anyway.
type hold struct {
	ctx  context.Context
	done func() // the lease needs no renewal any more
}

// A keeper renews leases, each for as long as its holder works: one that was
// released may be claimed again while others are still worked on.
type keeper struct {
	renewal
	cancel context.CancelCauseFunc // of all

	mu   sync.Mutex
	held map[polset.Lease]context.CancelCauseFunc
}

// A renewal is how leases are renewed.
type renewal struct {
	rows   func(ctx context.Context, leases []polset.Lease, ttl time.Duration) error
	ttl    time.Duration
	logger *zap.Logger
}

// keep holds leases, in their order, and renews them until stop is called.
// The context of all ends when none is left.
func (r renewal) keep(ctx context.Context, leases []polset.Lease) (all context.Context, holds []hold, stop func()) {
	all, cancel := context.WithCancelCause(ctx)
	k := &keeper{renewal: r, cancel: cancel, held: map[polset.Lease]context.CancelCauseFunc{}}
	for _, l := range leases {
		own, cancel := context.WithCancelCause(all)
		k.held[l] = cancel
		holds = append(holds, hold{ctx: own, done: func() { k.drop(l) }})
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.renew(all)
	}()
	return all, holds, func() {
		cancel(nil)
		<-ended
	}
}

func (k *keeper) renew(ctx context.Context) {
	every := k.ttl / 3
	tick := time.NewTicker(every)
	defer tick.Stop()
	renewed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if time.Since(renewed) >= k.ttl {
			k.cancel(polset.ErrFenced) // nobody may rely on leases that ran out
			return
		}
		asked := time.Now()
		err := k.renewAll(ctx, every)
		if err == nil {
			renewed = asked
			continue
		}
		k.logger.Warn("renew leases", zap.Error(err))
	}
}

// renewAll renews what is held, and ends the work whose lease is lost.
func (k *keeper) renewAll(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	leases := k.leases()
	if len(leases) == 0 {
		return nil
	}
	err := k.rows(ctx, leases, k.ttl)
	if !errors.Is(err, polset.ErrFenced) {
		return err
	}
	// One of them at least: each for itself.
	for _, l := range leases {
		err := k.rows(ctx, []polset.Lease{l}, k.ttl)
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

// drop forgets a lease whose work is over.
func (k *keeper) drop(l polset.Lease) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.held, l)
}

// lose ends the work of a lost lease; with the last one, all of it.
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
