package queue

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	_ "modernc.org/sqlite"

	"github.com/polset/polset/internal/polsettest"
)

// onBoth runs one test on both databases.
func onBoth(t *testing.T, f func(t *testing.T, q *Queue)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "queue.db")
		db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)"+
			"&_pragma=synchronous(FULL)&_txlock=immediate&_time_format=sqlite&_timezone=UTC")
		must(t, err)
		db.SetMaxOpenConns(1)
		t.Cleanup(func() { must(t, db.Close()) })
		q, err := SQLite(db, nil)
		must(t, err)
		must(t, q.Migrate(t.Context()))
		f(t, q)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		pool, err := pgxpool.New(t.Context(), polsettest.Postgres(t))
		must(t, err)
		t.Cleanup(pool.Close)
		db := stdlib.OpenDBFromPool(pool)
		t.Cleanup(func() { must(t, db.Close()) })
		q, err := Postgres(pool, db, nil)
		must(t, err)
		must(t, q.Migrate(t.Context()))
		f(t, q)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// enqueue commits a job.
func enqueue(t *testing.T, q *Queue, job Job, at time.Time) {
	t.Helper()
	tx, err := q.Begin(t.Context())
	must(t, err)
	must(t, tx.Enqueue(t.Context(), job, at))
	must(t, tx.Commit(t.Context()))
	must(t, tx.Rollback(t.Context()))
}

func depthOf(t *testing.T, q *Queue) int {
	t.Helper()
	n, err := q.Depth(t.Context())
	must(t, err)
	return n
}

func TestWork(t *testing.T) {
	onBoth(t, func(t *testing.T, q *Queue) {
		done := make(chan Job, 8)
		failed := false
		must(t, q.Start(t.Context(), 1, func(_ context.Context, job Job) error {
			if job.Commit == "fails" && !failed {
				failed = true
				return errors.New("the database went away")
			}
			done <- job
			return nil
		}))
		if err := q.Start(t.Context(), 1, nil); err == nil {
			t.Fatal("started twice")
		}

		// A transaction that is rolled back leaves no work.
		tx, err := q.Begin(t.Context())
		must(t, err)
		must(t, tx.Enqueue(t.Context(), Job{Repository: "r", Commit: "never"}, time.Time{}))
		must(t, tx.Rollback(t.Context()))

		first := Job{Repository: "r", Commit: "c1"}
		enqueue(t, q, first, time.Time{})
		if got := receive(t, done); got != first {
			t.Fatalf("got %+v", got)
		}

		// A job with a time is done then, without a leader's help.
		begun := time.Now()
		later := Job{Repository: "r", Commit: "later"}
		enqueue(t, q, later, begun.Add(700*time.Millisecond))
		if got := receive(t, done); got != later {
			t.Fatalf("got %+v", got)
		}
		if took := time.Since(begun); took < 500*time.Millisecond {
			t.Errorf("done after %s, not before its time", took)
		}

		// Nothing stands between such a job and the poll: not even a leader,
		// whom a node that died may have been.
		enqueue(t, q, Job{Commit: "tomorrow"}, begun.Add(24*time.Hour))
		tx, err = q.Begin(t.Context())
		must(t, err)
		var state string
		must(t, tx.QueryRowContext(t.Context(), "SELECT state FROM river_job ORDER BY id DESC LIMIT 1").Scan(&state))
		must(t, tx.Rollback(t.Context()))
		if state != "available" {
			t.Errorf("a job with a time is %s", state)
		}

		enqueue(t, q, Job{Commit: "fails"}, time.Time{})
		if got := receive(t, done); got.Commit != "fails" || !failed {
			t.Fatalf("got %+v", got)
		}
		must(t, q.Stop(t.Context()))
		must(t, q.Stop(t.Context()))

		// Work that comes while nobody works is found at the next start.
		enqueue(t, q, first, time.Time{})
		if depthOf(t, q) != 2 {
			t.Fatalf("depth %d", depthOf(t, q))
		}
		must(t, q.Start(t.Context(), 1, func(_ context.Context, job Job) error { done <- job; return nil }))
		receive(t, done)
		must(t, q.Stop(t.Context()))

		enqueue(t, q, first, time.Time{})
		tx, err = q.Begin(t.Context())
		must(t, err)
		must(t, tx.Reset(t.Context()))
		must(t, tx.Commit(t.Context()))
		if depthOf(t, q) != 0 {
			t.Fatalf("depth %d after a reset", depthOf(t, q))
		}
	})
}

// A job with a time must not begin before it by any clock, River's rounding of
// both to the nearest millisecond included.
func TestEnqueueRoundsUp(t *testing.T) {
	onBoth(t, func(t *testing.T, q *Queue) {
		base := time.Now().UTC().Add(time.Hour).Truncate(time.Second)
		for _, fraction := range []time.Duration{0, 1, 499_999, 500_000, 999_999} {
			at := base.Add(fraction)
			tx, err := q.Begin(t.Context())
			must(t, err)
			must(t, tx.Enqueue(t.Context(), Job{}, at))
			var got time.Time
			must(t, tx.QueryRowContext(t.Context(), "SELECT scheduled_at FROM river_job").Scan(&got))
			must(t, tx.Rollback(t.Context()))
			if early := got.Sub(at); early < 500*time.Microsecond || early > 3*time.Millisecond {
				t.Errorf("a job for %s begins %s after it", at, early)
			}
		}
	})
}

func TestStopWaitsThenCancels(t *testing.T) {
	onBoth(t, func(t *testing.T, q *Queue) {
		began, cancelled := make(chan struct{}), make(chan struct{})
		must(t, q.Start(t.Context(), 2, func(ctx context.Context, _ Job) error {
			close(began)
			<-ctx.Done()
			close(cancelled)
			return nil
		}))
		enqueue(t, q, Job{Commit: "long"}, time.Time{})
		<-began
		patience, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		must(t, q.Stop(patience))
		select {
		case <-cancelled:
		default:
			t.Fatal("stopped while a handler ran")
		}
	})
}

// The end of Start's context is no order to cancel: handlers run on until
// they are done, or until Stop loses patience.
func TestEndOfStartContext(t *testing.T) {
	onBoth(t, func(t *testing.T, q *Queue) {
		for _, patient := range []bool{true, false} {
			start, end := context.WithCancel(t.Context())
			defer end()
			began, late, release := make(chan context.Context, 1), make(chan struct{}), make(chan struct{})
			must(t, q.Start(start, 2, func(ctx context.Context, job Job) error {
				if job.Commit == "late" {
					late <- struct{}{}
					return nil
				}
				began <- ctx
				if patient {
					<-release
					return ctx.Err()
				}
				<-ctx.Done()
				close(release)
				return ctx.Err()
			}))
			enqueue(t, q, Job{Commit: "long"}, time.Time{})
			running := <-began
			end()

			// A fetch may have been under way, so the first jobs may still be
			// begun; then none is for longer than several polls.
			for fetched, tries := true, 0; fetched; tries++ {
				if tries == 5 {
					t.Fatal("jobs are begun after the end of the start context")
				}
				enqueue(t, q, Job{Commit: "late"}, time.Time{})
				select {
				case <-running.Done():
					t.Fatal("the end of the start context cancelled a handler")
				case <-late:
				case <-time.After(3 * fetchPoll):
					fetched = false
				}
			}
			if patient {
				close(release)
				must(t, q.Stop(t.Context()))
			} else {
				patience, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				must(t, q.Stop(patience))
				select {
				case <-release:
				default:
					t.Fatal("stopped while a handler ran")
				}
			}
			tx, err := q.Begin(t.Context())
			must(t, err)
			must(t, tx.Reset(t.Context()))
			must(t, tx.Commit(t.Context()))
		}
	})
}

func receive(t *testing.T, done <-chan Job) Job {
	t.Helper()
	select {
	case job := <-done:
		return job
	case <-time.After(20 * time.Second):
		t.Fatal("no job was done")
		return Job{}
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	core, seen := observer.New(zap.InfoLevel)
	q := newQueue(nil, zap.New(core))
	q.logger.Info("not worth it")
	q.logger.With("a", 1).WithGroup("g").Warn("careful", "b", "two")
	q.logger.Error("bad")
	if seen.Len() != 2 {
		t.Fatalf("%d entries", seen.Len())
	}
	e := seen.All()[0]
	if e.Message != "careful" || e.Level != zap.WarnLevel || e.ContextMap()["a"] != int64(1) || e.ContextMap()["g.b"] != "two" ||
		!strings.Contains(e.LoggerName, "queue") || seen.All()[1].Level != zap.ErrorLevel {
		t.Fatalf("entries %+v", seen.All())
	}
}
