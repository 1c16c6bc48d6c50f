package ingest

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
)

// A loop does what is due, no more than so many things at once.
type loop[T any] struct {
	claim func(ctx context.Context, n int) ([]T, error)
	// do returns an error only when the rows could not be reached.
	do     func(ctx context.Context, due T) error
	most   int             // at once
	pause  time.Duration   // after something was due
	poll   time.Duration   // after nothing was, or the rows could not be reached
	wake   <-chan struct{} // there may be something; nil never says so
	logger *zap.Logger
}

// run goes on until ctx ends, and then waits for what it began. Something
// that takes its time holds up nothing else, as long as a place is free.
func (l loop[T]) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	places := make(chan struct{}, l.most)
	for {
		free := 1
		select {
		case <-ctx.Done():
			return
		case places <- struct{}{}:
		}
	more:
		for free < l.most {
			select {
			case places <- struct{}{}:
				free++
			default:
				break more
			}
		}
		due, err := l.claim(ctx, free)
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
				if err := l.do(ctx, d); err != nil && ctx.Err() == nil {
					l.logger.Warn("rows out of reach", zap.Error(err))
				}
			})
		}
		wait := l.pause
		if len(due) == 0 {
			wait = l.poll
		}
		if err != nil && ctx.Err() == nil {
			l.logger.Warn("claim what is due", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		case <-time.After(wait):
		}
	}
}

// round does what is due now, at most as much as may run at once, and returns
// how much that was.
func (l loop[T]) round(ctx context.Context) (int, error) {
	due, err := l.claim(ctx, l.most)
	if err != nil {
		return 0, err
	}
	return len(due), l.all(ctx, due)
}

// all does things, and waits for them.
func (l loop[T]) all(ctx context.Context, due []T) error {
	failed := make([]error, len(due))
	var running sync.WaitGroup
	places := make(chan struct{}, l.most)
	for i, d := range due {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			failed[i] = l.do(ctx, d)
		})
	}
	running.Wait()
	return errors.Join(failed...)
}
