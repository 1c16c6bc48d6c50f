// Package lease turns rows that are due into work on them: it claims them a few
// at a time, keeps the right to each while it is worked on, and says when to
// come back to what failed.
package lease

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
)

// A Loop does what is due, no more than so many things at once.
type Loop[T any] struct {
	// Claim takes up to n things that are due.
	Claim func(ctx context.Context, n int) ([]T, error)
	// Do returns an error only when the rows could not be reached.
	Do     func(ctx context.Context, due T) error
	Most   int             // at once
	Pause  time.Duration   // after something was due
	Poll   time.Duration   // after nothing was, or the rows could not be reached
	Wake   <-chan struct{} // there may be something; nil never says so
	Logger *zap.Logger
}

// Run goes on until ctx ends, and then waits for what it began. Something
// that takes its time holds up nothing else, as long as a place is free.
func (l Loop[T]) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	places := make(chan struct{}, l.Most)
	for {
		free := 1
		select {
		case <-ctx.Done():
			return
		case places <- struct{}{}:
		}
	more:
		for free < l.Most {
			select {
			case places <- struct{}{}:
				free++
			default:
				break more
			}
		}
		due, err := l.Claim(ctx, free)
		for range free - len(due) {
			<-places
		}
		for i, d := range due {
			if i >= free { // more was given than was asked for
				select {
				case <-ctx.Done():
					return
				case places <- struct{}{}:
				}
			}
			running.Go(func() {
				defer func() { <-places }()
				if err := l.Do(ctx, d); err != nil && ctx.Err() == nil {
					l.Logger.Warn("rows out of reach", zap.Error(err))
				}
			})
		}
		wait := l.Pause
		if len(due) == 0 {
			wait = l.Poll
		}
		if err != nil && ctx.Err() == nil {
			l.Logger.Warn("claim what is due", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-l.Wake:
		case <-time.After(wait):
		}
	}
}

// Round does what is due now, at most as much as may run at once, and returns
// how much that was.
func (l Loop[T]) Round(ctx context.Context) (int, error) {
	due, err := l.Claim(ctx, l.Most)
	if err != nil {
		return 0, err
	}
	return len(due), l.All(ctx, due)
}

// All does things, and waits for them.
func (l Loop[T]) All(ctx context.Context, due []T) error {
	failed := make([]error, len(due))
	var running sync.WaitGroup
	places := make(chan struct{}, l.Most)
	for i, d := range due {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			failed[i] = l.Do(ctx, d)
		})
	}
	running.Wait()
	return errors.Join(failed...)
}
