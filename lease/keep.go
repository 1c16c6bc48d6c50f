package lease

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
)

// A Hold is a lease while its holder works. Its context ends when the lease is
// lost: work beyond that point could not be written anyway.
type Hold struct {
	Ctx  context.Context
	Done func() // the lease needs no renewal any more
}

// A keeper renews leases, each for as long as its holder works: one that was
// released may be claimed again while others are still worked on.
type keeper struct {
	Renewal
	cancel context.CancelCauseFunc // of all

	mu   sync.Mutex
	held map[polset.Lease]context.CancelCauseFunc
}

// A Renewal is how leases are renewed: every third of TTL.
type Renewal struct {
	// Rows extends leases by ttl; ErrFenced says that one is lost.
	Rows   func(ctx context.Context, leases []polset.Lease, ttl time.Duration) error
	TTL    time.Duration
	Logger *zap.Logger
}

// Keep holds leases, in their order, and renews them until stop is called.
// The context of all ends when none is left.
func (r Renewal) Keep(ctx context.Context, leases []polset.Lease) (all context.Context, holds []Hold, stop func()) {
	all, cancel := context.WithCancelCause(ctx)
	k := &keeper{Renewal: r, cancel: cancel, held: map[polset.Lease]context.CancelCauseFunc{}}
	for _, l := range leases {
		own, cancel := context.WithCancelCause(all)
		k.held[l] = cancel
		holds = append(holds, Hold{Ctx: own, Done: func() { k.drop(l) }})
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
	every := k.TTL / 3
	tick := time.NewTicker(every)
	defer tick.Stop()
	renewed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if time.Since(renewed) >= k.TTL {
			k.cancel(polset.ErrFenced) // nobody may rely on leases that ran out
			return
		}
		asked := time.Now()
		err := k.renewAll(ctx, every)
		if err == nil {
			renewed = asked
			continue
		}
		k.Logger.Warn("renew leases", zap.Error(err))
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
	err := k.Rows(ctx, leases, k.TTL)
	if !errors.Is(err, polset.ErrFenced) {
		return err
	}
	// One of them at least: each for itself.
	for _, l := range leases {
		err := k.Rows(ctx, []polset.Lease{l}, k.TTL)
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

// rowTimeout bounds the last word on a row once its context is over.
const rowTimeout = 10 * time.Second

// LastWord is a context for the rows, which must hear how work under ctx ended
// even though the server is stopping.
func LastWord(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), rowTimeout)
}
