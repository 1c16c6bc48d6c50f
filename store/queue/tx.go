package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"go.uber.org/zap"
)

// This file alone knows how database/sql and River share one transaction. On
// SQLite both use a *sql.Tx. On PostgreSQL River needs a pgx.Tx, so the
// transaction is begun on the pgx connection beneath a *sql.Conn, through
// which the caller's statements then run.

// endTimeout bounds the end of a transaction whose context is over.
const endTimeout = 5 * time.Second

// A Tx is a transaction in which rows and jobs are committed together. It is
// not safe for use by many goroutines. Rollback after Commit does nothing.
type Tx struct {
	statements
	enqueue  func(ctx context.Context, job Job, opts *river.InsertOpts) (int64, error)
	commit   func(ctx context.Context) error
	rollback func(ctx context.Context) error
	ended    bool
}

// statements runs SQL; *sql.Conn and *sql.Tx do.
type statements interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Enqueue adds a job to the transaction, to be done not before at; the zero
// time means at once.
func (t *Tx) Enqueue(ctx context.Context, job Job, at time.Time) error {
	if !at.IsZero() {
		// On SQLite River rounds both this time and the clock of its poll to
		// the nearest millisecond; two more than there are never come early.
		at = at.Truncate(time.Millisecond).Add(2 * time.Millisecond)
	}
	id, err := t.enqueue(ctx, job, &river.InsertOpts{ScheduledAt: at, MaxAttempts: maxAttempts})
	if err != nil {
		return fmt.Errorf("enqueue job: %w", err)
	}
	if at.IsZero() {
		return nil
	}
	// River would leave a job with a time to its elected leader, which looks
	// every five seconds. Available with a time ahead is the state that the
	// leader gives such jobs, and every node's poll honours the time.
	_, err = t.ExecContext(ctx, `UPDATE river_job SET state = 'available' WHERE id = $1 AND state = 'scheduled'`, id)
	if err != nil {
		return fmt.Errorf("enqueue job for %s: %w", at.Format(time.RFC3339), err)
	}
	return nil
}

// Reset removes every job, and the memory of who led. It is for a process
// that knows itself to be the only one, and fills the queue again from rows.
func (t *Tx) Reset(ctx context.Context) error {
	for _, table := range []string{"river_job", "river_leader"} {
		if _, err := t.ExecContext(ctx, "DELETE FROM "+table); err != nil {
			return fmt.Errorf("reset queue: %w", err)
		}
	}
	return nil
}

// Commit makes the rows and jobs durable. An error may be ambiguous: the
// connection may have been lost after the database had committed.
func (t *Tx) Commit(ctx context.Context) error {
	t.ended = true
	return t.commit(ctx)
}

// Rollback undoes the transaction, also when ctx is over.
func (t *Tx) Rollback(ctx context.Context) error {
	if t.ended {
		return nil
	}
	t.ended = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	return t.rollback(ctx)
}

// Postgres returns the queue in a PostgreSQL database. db must draw its
// connections from pool.
func Postgres(pool *pgxpool.Pool, db *sql.DB, logger *zap.Logger) (*Queue, error) {
	b := &postgres{db: db, driver: riverpgxv5.New(pool)}
	q := newQueue(b, logger)
	client, err := river.NewClient(b.driver, &river.Config{Logger: q.logger})
	if err != nil {
		return nil, fmt.Errorf("open queue: %w", err)
	}
	b.client = client
	return q, nil
}

type postgres struct {
	db     *sql.DB
	driver *riverpgxv5.Driver
	client *river.Client[pgx.Tx]
}

func (p *postgres) begin(ctx context.Context) (*Tx, error) {
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("begin transaction: %w", err)
	}
	tx, err := beginPgx(ctx, conn)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("begin transaction: %w", err), conn.Close())
	}
	return &Tx{
		statements: conn,
		enqueue: func(ctx context.Context, job Job, opts *river.InsertOpts) (int64, error) {
			r, err := p.client.InsertTx(ctx, tx, job, opts)
			if err != nil {
				return 0, err
			}
			return r.Job.ID, nil
		},
		// Closing the sql.Conn gives the connection back to the pool, which
		// drops it if the transaction did not end.
		commit: func(ctx context.Context) error {
			err := tx.Commit(ctx)
			_ = conn.Close() // whether it was committed is decided already
			return err
		},
		rollback: func(ctx context.Context) error {
			err := tx.Rollback(ctx)
			return errors.Join(err, conn.Close())
		},
	}, nil
}

func beginPgx(ctx context.Context, conn *sql.Conn) (pgx.Tx, error) {
	var tx pgx.Tx
	err := conn.Raw(func(driverConn any) error {
		c, ok := driverConn.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("connection is a %T, not pgx's", driverConn)
		}
		var err error
		tx, err = c.Conn().Begin(ctx)
		return err
	})
	return tx, err
}

func (p *postgres) migrate(ctx context.Context) error { return migrate(ctx, p.driver) }

func (p *postgres) depth(ctx context.Context) (int, error) { return depth(ctx, p.db) }

func (p *postgres) start(ctx context.Context, config *river.Config) (runner, error) {
	return start(ctx, p.driver, config)
}

// SQLite returns the queue in a SQLite database. db is the one connection
// that writes: River shares it, so that the two never wait for each other's
// file lock.
func SQLite(db *sql.DB, logger *zap.Logger) (*Queue, error) {
	b := &sqlite{db: db, driver: riversqlite.New(db)}
	q := newQueue(b, logger)
	client, err := river.NewClient(b.driver, &river.Config{Logger: q.logger})
	if err != nil {
		return nil, fmt.Errorf("open queue: %w", err)
	}
	b.client = client
	return q, nil
}

type sqlite struct {
	db     *sql.DB
	driver *riversqlite.Driver
	client *river.Client[*sql.Tx]
}

func (s *sqlite) begin(ctx context.Context) (*Tx, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("begin transaction: %w", err)
	}
	return &Tx{
		statements: tx,
		enqueue: func(ctx context.Context, job Job, opts *river.InsertOpts) (int64, error) {
			r, err := s.client.InsertTx(ctx, tx, job, opts)
			if err != nil {
				return 0, err
			}
			return r.Job.ID, nil
		},
		commit: func(context.Context) error { return tx.Commit() },
		rollback: func(context.Context) error {
			if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
				return err
			}
			return nil
		},
	}, nil
}

func (s *sqlite) migrate(ctx context.Context) error { return migrate(ctx, s.driver) }

func (s *sqlite) depth(ctx context.Context) (int, error) { return depth(ctx, s.db) }

func (s *sqlite) start(ctx context.Context, config *river.Config) (runner, error) {
	return start(ctx, s.driver, config)
}

func migrate[T any](ctx context.Context, driver riverdriver.Driver[T]) error {
	m, err := rivermigrate.New(driver, nil)
	if err != nil {
		return fmt.Errorf("migrate queue: %w", err)
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrate queue: %w", err)
	}
	return nil
}

func start[T any](ctx context.Context, driver riverdriver.Driver[T], config *river.Config) (runner, error) {
	client, err := river.NewClient(driver, config)
	if err != nil {
		return nil, err
	}
	if err := client.Start(ctx); err != nil {
		return nil, err
	}
	return client, nil
}

func depth(ctx context.Context, db *sql.DB) (int, error) {
	var n int
	err := db.QueryRowContext(ctx,
		`SELECT count(*) FROM river_job WHERE state IN ('available', 'running', 'retryable', 'scheduled')`).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count jobs: %w", err)
	}
	return n, nil
}
