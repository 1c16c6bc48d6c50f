package githubapp

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
)

const (
	// rowTimeout bounds the last word on a row once its context is over.
	rowTimeout = 10 * time.Second
	// maxPause bounds the pause after the rows could not be reached.
	maxPause = 30 * time.Second
)

// Pace says how a loop works through rows. Zero values stand for the defaults.
type Pace struct {
	// PollInterval is the pause after the rows held nothing more to do; 1 s.
	PollInterval time.Duration
	// Lease is how long a row is claimed; 1 min. The work on it is broken off
	// when five sixths of that are over, so that no request is under way when
	// another worker may claim it.
	Lease time.Duration
	// Concurrency bounds the rows that are worked on at a time; 8.
	Concurrency int
}

func (p Pace) withDefaults() Pace {
	if p.PollInterval <= 0 {
		p.PollInterval = time.Second
	}
	if p.Lease <= 0 {
		p.Lease = time.Minute
	}
	if p.Concurrency <= 0 {
		p.Concurrency = 8
	}
	return p
}

// A loop claims rows and works on each of them once.
type loop[T any] struct {
	Pace
	what  string
	claim func(ctx context.Context, n int, ttl time.Duration) ([]T, error)
	work  func(ctx context.Context, row T) // it settles the row
	log   *zap.Logger
}

// run works until the context ends and nothing is under way any more.
func (l *loop[T]) run(ctx context.Context) {
	var working sync.WaitGroup
	defer working.Wait()
	slots := make(chan struct{}, l.Concurrency)
	pause := l.PollInterval
	for ctx.Err() == nil {
		select { // one slot at least
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		free := 1
		for free < l.Concurrency {
			select {
			case slots <- struct{}{}:
				free++
				continue
			default:
			}
			break
		}
		n, err := l.begin(ctx, free, &working, func() { <-slots })
		for range free - n {
			<-slots
		}
		switch {
		case err != nil && ctx.Err() == nil:
			l.log.Warn("claim "+l.what, zap.Error(err))
			pause = min(2*pause, maxPause)
		case n == free:
			continue // there may be more
		default:
			pause = l.PollInterval
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// step claims once and works on what it got to the end. It returns how many
// rows that were.
func (l *loop[T]) step(ctx context.Context) (int, error) {
	var working sync.WaitGroup
	defer working.Wait()
	return l.begin(ctx, l.Concurrency, &working, func() {})
}

// begin claims up to n rows and starts the work on each.
func (l *loop[T]) begin(ctx context.Context, n int, working *sync.WaitGroup, done func()) (int, error) {
	until := time.Now().Add(l.Lease - l.Lease/6)
	rows, err := l.claim(ctx, n, l.Lease)
	if err != nil {
		return 0, fmt.Errorf("claim %s: %w", l.what, err)
	}
	for _, row := range rows {
		working.Go(func() {
			defer done()
			ctx, cancel := context.WithDeadline(ctx, until)
			defer cancel()
			l.work(ctx, row)
		})
	}
	return len(rows), nil
}

// guarded turns a panic into an error: a bug must cost its own row, not the
// server.
func guarded(work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &polset.Failure{
				Class: polset.ClassInternal, Retry: true,
				Message: "polset failed in its work with GitHub; its log says where.",
				Err:     fmt.Errorf("panic: %v\n%s", p, debug.Stack()),
			}
		}
	}()
	return work()
}

// lastWord is a context for the rows, which must hear what became of them even
// though the server is stopping.
func lastWord(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), rowTimeout)
}

// failureOf is polset.FailureOf, with words for a request that was broken off.
func failureOf(ctx context.Context, err error) *polset.Failure {
	f := polset.FailureOf(err)
	if ctx.Err() != nil && f.Err == err { //nolint:errorlint // the very error: nobody judged it
		return &polset.Failure{
			Class: polset.ClassTimeout, Retry: true, Err: err,
			Message: "polset was interrupted while it told GitHub.",
		}
	}
	return f
}
