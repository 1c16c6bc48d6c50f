// Package store remembers rows: it turns what the pipeline says into
// transactions on SQLite or PostgreSQL, each of which commits the rows, their
// entries in the audit chains and the jobs that they give rise to together.
//
// Exported methods open transactions and take the principal on whose behalf
// they act; what is not the principal's is not found. Times are the
// database's, in UTC and microseconds: a node's own clock decides nothing.
//
// Locks are taken in one order: organization, installation, repositories (by
// id), policies (by id), policy sets (by id), project or workspace, runs (by
// id), hook, dry runs and reports (by sequence), audit chains (by name). The lock on a repository covers what
// follows it; that on an installation keeps policy sets from beginning to use
// it, as that on an organization does for its connections; that on a policy
// keeps policy sets from taking it while it changes, so that every set that
// holds it is told of the change; that on a run covers its checks. Deleting an organization or a connection, a
// change of a policy that many sets hold, and the sweep touch many rows in the
// database's own order: where they meet others in a deadlock, the database
// detects it and the loser's transaction is tried again.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tink-crypto/tink-go/v2/tink"
	"go.uber.org/zap"

	"github.com/polset/polset/store/internal/rows"
	"github.com/polset/polset/store/queue"
)

// Config says which database to open. URL is required, and Key too except
// for OpenReadOnly.
type Config struct {
	// URL is postgres://… or postgresql://…, or the path of a SQLite file,
	// with or without sqlite:// before it.
	URL string
	// Key seals the secrets in the rows. A database that was sealed with
	// another key does not open.
	Key Key
	// Exclusive makes this process the only server of a SQLite file: a second
	// one does not open it, and what the previous one left running is taken
	// up at once. PostgreSQL, which several nodes share, ignores it.
	Exclusive bool
	// MaxConns bounds the connections to PostgreSQL (default 16, at least 4).
	MaxConns int
	// RequeueAfter is how long a job may stay without effect before Sweep
	// puts its work into the queue again (default 1 min).
	RequeueAfter time.Duration

	Logger     *zap.Logger
	Registerer prometheus.Registerer
}

func (c Config) withDefaults() Config {
	if c.MaxConns == 0 {
		c.MaxConns = 16
	}
	c.MaxConns = max(c.MaxConns, 4)
	if c.RequeueAfter == 0 {
		c.RequeueAfter = time.Minute
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}

// A Store is an open database. It is safe for use by many goroutines.
type Store struct {
	dialect dialect
	reads   *rows.Queries
	queue   *queue.Queue
	aead    tink.AEAD

	requeueAfter time.Duration
	materialize  chan struct{} // see MaterializationDue
	check        chan struct{} // see CheckDue
	metrics      metrics
	logger       *zap.Logger
	uses         uses         // of tokens
	unlock       func() error // of the process lock; nil without it
}

// Open opens the database, brings its tables up to date under a lock that all
// nodes share, and checks the key. Close releases what it took.
func Open(ctx context.Context, c Config) (_ *Store, err error) {
	c = c.withDefaults()
	aead, err := c.Key.aead()
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{
		aead: aead, requeueAfter: c.RequeueAfter, materialize: make(chan struct{}, 1), check: make(chan struct{}, 1),
		metrics: newMetrics(), logger: c.Logger,
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open store: %w", err), s.Close())
		}
	}()
	kind, name := parseURL(c.URL)
	if c.Exclusive && kind == kindSQLite {
		if s.unlock, err = lockServer(name); err != nil {
			return nil, err
		}
	}
	if s.dialect, err = openDialect(ctx, kind, name, c); err != nil {
		return nil, err
	}
	s.reads = rows.New(s.dialect.reader())
	if s.queue, err = s.dialect.openQueue(c.Logger); err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	if err := s.checkKey(ctx, c.Key); err != nil {
		return nil, err
	}
	if s.unlock != nil {
		if err := s.takeOver(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.metrics.register(c.Registerer, s); err != nil {
		return nil, err
	}
	return s, nil
}

// OpenReadOnly opens the database for reading beside whatever serves it. It
// needs no key, changes nothing, and refuses tables of another release.
func OpenReadOnly(ctx context.Context, c Config) (_ *Store, err error) {
	c = c.withDefaults()
	s := &Store{requeueAfter: c.RequeueAfter, metrics: newMetrics(), logger: c.Logger}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open store to read: %w", err), s.Close())
		}
	}()
	kind, name := parseURL(c.URL)
	if s.dialect, err = openDialectReadOnly(ctx, kind, name, c); err != nil {
		return nil, err
	}
	s.reads = rows.New(s.dialect.reader())
	if err := s.checkSchema(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Close releases the database. The queue must have been stopped.
func (s *Store) Close() error {
	var errs []error
	if s.dialect != nil {
		ctx, cancel := context.WithTimeout(context.Background(), lastUseTimeout)
		defer cancel()
		if err := s.RecordTokenUse(ctx); err != nil {
			s.logger.Warn("when tokens were used last is lost", zap.Error(err)) // the database is gone; nothing else is lost
		}
		errs = append(errs, s.dialect.close())
	}
	if s.unlock != nil {
		errs = append(errs, s.unlock())
	}
	s.metrics.unregister()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.dialect.reader().PingContext(ctx); err != nil {
		return fmt.Errorf("reach database: %w", err)
	}
	return nil
}

// Queue is the queue of the work that the rows give rise to.
func (s *Store) Queue() *queue.Queue { return s.queue }
