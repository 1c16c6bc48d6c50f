package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// lastUseTimeout bounds what Close writes of it.
const lastUseTimeout = 5 * time.Second

// uses are when tokens were used, until somebody writes it down: a request
// notes a time in memory and waits for nothing. What a crash takes with it is
// no more than a minute's worth.
type uses struct {
	mu      sync.Mutex
	pending map[string]time.Time // to the minute, by the tokens' ids
	written map[string]time.Time // the newest that the rows hold, of tokens in use
}

// note remembers that a token is being used.
func (u *uses) note(id string, at time.Time) {
	minute := at.UTC().Truncate(time.Minute)
	u.mu.Lock()
	defer u.mu.Unlock()
	if minute.After(u.written[id]) && minute.After(u.pending[id]) {
		if u.pending == nil {
			u.pending = map[string]time.Time{}
		}
		u.pending[id] = minute
	}
}

// take hands out what is to be written.
func (u *uses) take() map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := u.pending
	u.pending = nil
	return taken
}

// done remembers what was written, and forgets what was in minutes before.
func (u *uses) done(taken map[string]time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	newest := slices.MaxFunc(slices.Collect(maps.Values(taken)), time.Time.Compare)
	maps.DeleteFunc(u.written, func(_ string, at time.Time) bool { return at.Before(newest) })
	if u.written == nil {
		u.written = map[string]time.Time{}
	}
	maps.Copy(u.written, taken)
}

// putBack returns what could not be written.
func (u *uses) putBack(taken map[string]time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.pending == nil {
		u.pending = map[string]time.Time{}
	}
	for id, at := range taken {
		if at.After(u.pending[id]) {
			u.pending[id] = at
		}
	}
}

// RecordTokenUse writes down when tokens were used, in one transaction for all.
// A server does so again and again; Close does so too.
func (s *Store) RecordTokenUse(ctx context.Context) error {
	taken := s.uses.take()
	if len(taken) == 0 {
		return nil
	}
	err := s.writeOnce(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		for _, id := range slices.Sorted(maps.Keys(taken)) { // in one order, so that nodes do not block each other
			if err := tx.TokenUsed(ctx, rows.TokenUsedParams{ID: id, Used: nullTime(taken[id])}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.uses.putBack(taken)
		return fmt.Errorf("record when tokens were used: %w", err)
	}
	s.uses.done(taken)
	return nil
}
