package api

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// lookTimeout bounds one look at what is in force.
const lookTimeout = 10 * time.Second

// A watch tells those who wait when another version of a policy set comes into
// force. It looks at all sets that somebody waits for together, in one query
// every so often, however many wait; while nobody does, it does nothing.
type watch struct {
	versions func(ctx context.Context, policySetIDs []string) (map[string]string, error)
	every    time.Duration
	log      *zap.Logger
	stopped  chan struct{}

	mu      sync.Mutex
	waiting map[string]map[*waiter]bool // by policy sets that somebody waits for
	looking bool
	ended   bool
}

// A waiter waits for another version than the one it has.
type waiter struct {
	version string
	changed chan struct{}
}

func newWatch(versions func(context.Context, []string) (map[string]string, error), every time.Duration, log *zap.Logger) *watch {
	return &watch{versions: versions, every: every, log: log, stopped: make(chan struct{}), waiting: map[string]map[*waiter]bool{}}
}

// wait reports whether another version of a policy set is in force, or none. It
// returns false after d, or when ctx ends or the watch stops.
func (w *watch) wait(ctx context.Context, policySet, version string, d time.Duration) bool {
	me := &waiter{version: version, changed: make(chan struct{})}
	w.join(policySet, me)
	defer w.leave(policySet, me)
	patience := time.NewTimer(d)
	defer patience.Stop()
	select {
	case <-me.changed:
		return true
	case <-patience.C:
	case <-ctx.Done():
	case <-w.stopped:
	}
	return false
}

func (w *watch) join(policySet string, me *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting[policySet] == nil {
		w.waiting[policySet] = map[*waiter]bool{}
	}
	w.waiting[policySet][me] = true
	if !w.looking && !w.ended {
		w.looking = true
		go w.look()
	}
}

func (w *watch) leave(policySet string, me *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting[policySet], me)
	if len(w.waiting[policySet]) == 0 {
		delete(w.waiting, policySet)
	}
}

// look looks until nobody waits any more.
func (w *watch) look() {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		select {
		case <-w.stopped:
			return
		case <-tick.C:
		}
		sets := w.watched()
		if sets == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
		inForce, err := w.versions(ctx, sets)
		cancel()
		if err != nil {
			// Those who wait lose nothing but time: they ask again.
			w.log.Warn("look at the versions in force", zap.Int("policy_sets", len(sets)), zap.Error(err))
			continue
		}
		w.tell(sets, inForce)
	}
}

// watched returns the policy sets that somebody waits for, in order; nil ends
// the looking.
func (w *watch) watched() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 {
		w.looking = false
		return nil
	}
	return slices.Sorted(maps.Keys(w.waiting))
}

// tell wakes those who have another version than what is in force.
func (w *watch) tell(sets []string, inForce map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, set := range sets {
		for waiting := range w.waiting[set] {
			if waiting.version != inForce[set] {
				close(waiting.changed)
				delete(w.waiting[set], waiting) // it is told once
			}
		}
	}
}

// stop ends all waits, those to come too.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.ended = true
		close(w.stopped)
	}
}
