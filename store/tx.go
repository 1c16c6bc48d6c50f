package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
	"github.com/polset/polset/store/queue"
)

// A tx is a transaction in the making: the statements, the database's time at
// its beginning, and the audit entries that it will append last.
type tx struct {
	*rows.Queries
	jobs    *queue.Tx
	db      rows.DBTX // runs the statements that no file of queries holds
	dialect dialect
	now     time.Time
	actor   string
	notes   []polset.AuditEntry

	materialize bool // what policies a set holds became others
	checks      bool // a check may be due
}

// errAgain makes write begin the transaction anew: what it had read before it
// could lock has changed since.
var errAgain = errors.New("rows changed before they were locked")

// A transaction is tried this often before its error is returned; the waits
// between add up to a good second, the time of a failover's first moments.
const (
	maxTries  = 8
	firstWait = 10 * time.Millisecond
)

// write runs f in a transaction, again where the database refused it for a
// passing reason. f must have no effect outside of the transaction. A commit
// whose outcome was lost with the connection is an error.
func (s *Store) write(ctx context.Context, by polset.Principal, f func(ctx context.Context, tx *tx) error) error {
	return s.try(ctx, by, false, f)
}

// writeOnce is write for an f that finds out by itself that it was committed
// before: such a transaction is repeated also after a commit without an answer.
func (s *Store) writeOnce(ctx context.Context, by polset.Principal, f func(ctx context.Context, tx *tx) error) error {
	return s.try(ctx, by, true, f)
}

func (s *Store) try(ctx context.Context, by polset.Principal, repeatable bool, f func(ctx context.Context, tx *tx) error) error {
	wait := firstWait
	for n := 1; ; n++ {
		committing, err := s.attempt(ctx, by, f)
		if err == nil {
			return nil
		}
		again := errors.Is(err, errAgain) || s.dialect.retriable(err)
		if committing && s.dialect.lost(err) {
			again = repeatable
		}
		if !again || n == maxTries || ctx.Err() != nil {
			return err
		}
		s.metrics.retries.Inc()
		pause := time.NewTimer(wait/2 + rand.N(wait)) //nolint:gosec // spreading, not secrecy
		select {
		case <-ctx.Done():
			pause.Stop()
			return err
		case <-pause.C:
		}
		wait *= 2
	}
}

// attempt runs one transaction; committing says that its commit was sent.
func (s *Store) attempt(ctx context.Context, by polset.Principal, f func(ctx context.Context, tx *tx) error) (committing bool, err error) {
	jobs, err := s.queue.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer func() {
		if rerr := jobs.Rollback(ctx); rerr != nil && err == nil {
			err = fmt.Errorf("roll back: %w", rerr)
		}
	}()
	tx := &tx{Queries: rows.New(jobs), jobs: jobs, db: jobs, dialect: s.dialect, actor: by.Actor}
	now, err := s.dialect.begin(ctx, jobs)
	if err != nil {
		return false, fmt.Errorf("begin transaction: %w", err)
	}
	tx.now = now.UTC().Truncate(time.Microsecond)
	if err := f(ctx, tx); err != nil {
		return false, err
	}
	// Last, because transactions of one organization wait here for each other.
	if err := tx.appendNotes(ctx); err != nil {
		return false, err
	}
	if err := jobs.Commit(ctx); err != nil {
		return true, fmt.Errorf("commit: %w", err)
	}
	if tx.materialize {
		wakeUp(s.materialize)
	}
	if tx.checks {
		wakeUp(s.check)
	}
	return true, nil
}

// wakeUp has a loop of this process look at the rows.
func wakeUp(due chan<- struct{}) {
	select {
	case due <- struct{}{}:
	default: // it will look anyway
	}
}

// lock holds rows of one table, in the order given, until the end of the
// transaction. It answers ErrNotFound for one that is not there.
func (t *tx) lock(ctx context.Context, table lockable, key string) error {
	if err := t.dialect.lock(ctx, t.jobs, table, key); err != nil {
		return found(err)
	}
	return nil
}

// found turns the absence of a row into ErrNotFound.
func found(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return polset.ErrNotFound
	}
	return err
}

func nullString(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

func nullTime(t time.Time) sql.NullTime { return sql.NullTime{Time: t, Valid: !t.IsZero()} }

func utc(t sql.NullTime) time.Time {
	if !t.Valid {
		return time.Time{}
	}
	return t.Time.UTC()
}
