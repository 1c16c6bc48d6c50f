package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"go.uber.org/zap"
	sqlitedriver "modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"

	"github.com/polset/polset/store/internal/rows"
	"github.com/polset/polset/store/queue"
)

// This file holds every difference between the two databases.

// A dialect is one of the databases, open.
type dialect interface {
	reader() *sql.DB
	writer() *sql.DB
	openQueue(logger *zap.Logger) (*queue.Queue, error)
	// begin prepares a fresh transaction and returns the database's time.
	begin(ctx context.Context, tx rows.DBTX) (time.Time, error)
	// lock holds a row until the transaction ends; sql.ErrNoRows without it.
	lock(ctx context.Context, tx rows.DBTX, table lockable, key string) error
	// retriable says that a transaction certainly left nothing behind and
	// that another try may do better.
	retriable(err error) bool
	// lost says that the connection broke, so that of a commit nobody knows.
	lost(err error) bool
	// taken says that a unique constraint was violated.
	taken(err error) bool
	// whileMigrating runs f while no other node runs its own.
	whileMigrating(ctx context.Context, f func() error) error
	gooseDialect() goose.Dialect
	// snapshot are the options of a transaction that reads one state.
	snapshot() *sql.TxOptions
	close() error
}

// lockable is a table whose rows are locked.
type lockable string

const (
	organizationRow lockable = "organizations WHERE id"
	installationRow lockable = "installations WHERE id"
	repositoryRow   lockable = "repositories WHERE id"
	policyRow       lockable = "policies WHERE id"
	policySetRow    lockable = "policy_sets WHERE id"
	projectRow      lockable = "projects WHERE id"
	workspaceRow    lockable = "workspaces WHERE id"
	runRow          lockable = "runs WHERE id"
	toolVersionRow  lockable = "tool_versions WHERE id"
	hookRow         lockable = "hooks WHERE id"
	chainRow        lockable = "audit_chains WHERE chain"
)

type databaseKind int

const (
	kindSQLite databaseKind = iota
	kindPostgres
)

// parseURL tells the databases apart; name is the URL or the file's path.
func parseURL(u string) (kind databaseKind, name string) {
	if strings.HasPrefix(u, "postgres://") || strings.HasPrefix(u, "postgresql://") {
		return kindPostgres, u
	}
	for _, scheme := range []string{"sqlite://", "sqlite:", "file://", "file:"} {
		if rest, ok := strings.CutPrefix(u, scheme); ok {
			return kindSQLite, rest
		}
	}
	return kindSQLite, u
}

func openDialect(ctx context.Context, kind databaseKind, name string, c Config) (dialect, error) {
	if name == "" {
		return nil, errors.New("a database URL is required")
	}
	if kind == kindPostgres {
		return openPostgres(ctx, name, c.MaxConns, false)
	}
	return openSQLite(ctx, name)
}

func openDialectReadOnly(ctx context.Context, kind databaseKind, name string, c Config) (dialect, error) {
	if name == "" {
		return nil, errors.New("a database URL is required")
	}
	if kind == kindPostgres {
		return openPostgres(ctx, name, c.MaxConns, true)
	}
	if _, err := os.Stat(name); err != nil {
		return nil, fmt.Errorf("find SQLite database: %w", err)
	}
	read, err := openSQLiteReader(ctx, name)
	if err != nil {
		return nil, err
	}
	return &sqliteDialect{path: name, read: read}, nil
}

type postgresDialect struct {
	pool        *pgxpool.Pool
	db          *sql.DB // draws from pool
	lockTimeout string
}

func openPostgres(ctx context.Context, url string, maxConns int, readOnly bool) (dialect, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("parse database URL: it is not a PostgreSQL URL") // the cause quotes the password
	}
	config.MaxConns = int32(min(maxConns, 1000)) //nolint:gosec // bounded
	// A commit that GitHub was told of must survive a power cut, whatever the
	// server's own default is.
	config.ConnConfig.RuntimeParams["synchronous_commit"] = "on"
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "polset"
	}
	if readOnly {
		config.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reach PostgreSQL: %w", err)
	}
	return &postgresDialect{pool: pool, db: stdlib.OpenDBFromPool(pool), lockTimeout: "5s"}, nil
}

func (p *postgresDialect) reader() *sql.DB { return p.db }
func (p *postgresDialect) writer() *sql.DB { return p.db }

func (p *postgresDialect) openQueue(logger *zap.Logger) (*queue.Queue, error) {
	return queue.Postgres(p.pool, p.db, logger)
}

// begin also bounds the wait for locks: a transaction that hangs elsewhere
// must not take this node's connections with it.
func (p *postgresDialect) begin(ctx context.Context, tx rows.DBTX) (now time.Time, err error) {
	var set string
	err = tx.QueryRowContext(ctx, `SELECT set_config('lock_timeout', $1, true), clock_timestamp()`, p.lockTimeout).Scan(&set, &now)
	return now, err
}

func (p *postgresDialect) lock(ctx context.Context, tx rows.DBTX, table lockable, key string) error {
	var one int
	return tx.QueryRowContext(ctx, "SELECT 1 FROM "+string(table)+" = $1 FOR NO KEY UPDATE", key).Scan(&one)
}

func (p *postgresDialect) retriable(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case "40001", // serialization failure
			"40P01", // deadlock detected
			"55P03", // lock not available: lock_timeout
			"23503": // foreign key violation: what the row refers to was deleted since it was read
			return true
		}
	}
	return p.lost(err)
}

func (p *postgresDialect) lost(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return strings.HasPrefix(pg.Code, "08") || // connection exception
			pg.Code == "57P01" || pg.Code == "57P02" || pg.Code == "57P03" // shutting down, crashed, starting up
	}
	var dial *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &dial) || errors.As(err, &network) && !errors.Is(err, context.DeadlineExceeded) ||
		pgconn.SafeToRetry(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		err != nil && strings.Contains(err.Error(), "conn closed")
}

func (p *postgresDialect) taken(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505"
}

// migrationLock is an arbitrary number that only polset uses.
const migrationLock = 0x706f6c736574 // "polset"

func (p *postgresDialect) whileMigrating(ctx context.Context, f func() error) error {
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		// The lock ends with its transaction, also when this process dies.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
			return fmt.Errorf("wait for the migration lock: %w", err)
		}
		return f()
	})
}

func (p *postgresDialect) gooseDialect() goose.Dialect { return goose.DialectPostgres }

func (p *postgresDialect) snapshot() *sql.TxOptions {
	return &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
}

func (p *postgresDialect) close() error {
	err := p.db.Close()
	p.pool.Close()
	return err
}

// sqliteDialect has one connection that writes and several that read. River
// writes through the same one, so nobody ever waits for the file's lock but
// other processes.
type sqliteDialect struct {
	path        string
	write, read *sql.DB // write is nil when opened to read
}

const sqlitePragmas = "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)" +
	"&_pragma=foreign_keys(1)&_txlock=immediate&_time_format=sqlite&_timezone=UTC"

func openSQLite(ctx context.Context, path string) (dialect, error) {
	write, err := sql.Open("sqlite", sqliteDSN(path, sqlitePragmas))
	if err != nil {
		return nil, fmt.Errorf("open SQLite: %w", err)
	}
	write.SetMaxOpenConns(1)
	write.SetMaxIdleConns(1)
	if err := write.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open SQLite database %s: %w", path, err), write.Close())
	}
	read, err := openSQLiteReader(ctx, path)
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	return &sqliteDialect{path: path, write: write, read: read}, nil
}

func openSQLiteReader(ctx context.Context, path string) (*sql.DB, error) {
	const pragmas = "_pragma=busy_timeout(5000)&_pragma=query_only(1)&_time_format=sqlite&_timezone=UTC"
	read, err := sql.Open("sqlite", sqliteDSN(path, pragmas))
	if err != nil {
		return nil, fmt.Errorf("open SQLite: %w", err)
	}
	read.SetMaxOpenConns(8)
	read.SetMaxIdleConns(8)
	if err := read.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open SQLite database %s: %w", path, err), read.Close())
	}
	return read, nil
}

func sqliteDSN(path, pragmas string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + pragmas
}

func (s *sqliteDialect) reader() *sql.DB { return s.read }
func (s *sqliteDialect) writer() *sql.DB { return s.write }

func (s *sqliteDialect) openQueue(logger *zap.Logger) (*queue.Queue, error) {
	return queue.SQLite(s.write, logger)
}

func (s *sqliteDialect) begin(ctx context.Context, tx rows.DBTX) (time.Time, error) {
	var now string
	if err := tx.QueryRowContext(ctx, `SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')`).Scan(&now); err != nil {
		return time.Time{}, err
	}
	return time.Parse("2006-01-02 15:04:05.000", now)
}

// lock only looks: an immediate transaction holds the whole database.
func (s *sqliteDialect) lock(ctx context.Context, tx rows.DBTX, table lockable, key string) error {
	var one int
	return tx.QueryRowContext(ctx, "SELECT 1 FROM "+string(table)+" = $1", key).Scan(&one)
}

func (s *sqliteDialect) retriable(err error) bool {
	var e *sqlitedriver.Error
	if !errors.As(err, &e) {
		return false
	}
	primary := e.Code() & 0xff
	return primary == sqlitelib.SQLITE_BUSY || primary == sqlitelib.SQLITE_LOCKED
}

// lost is never true: without a network a failed commit is no commit.
func (s *sqliteDialect) lost(error) bool { return false }

func (s *sqliteDialect) taken(err error) bool {
	var e *sqlitedriver.Error
	return errors.As(err, &e) &&
		(e.Code() == sqlitelib.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlitelib.SQLITE_CONSTRAINT_PRIMARYKEY)
}

func (s *sqliteDialect) whileMigrating(ctx context.Context, f func() error) error {
	unlock, err := waitFileLock(ctx, s.path+".migrate.lock")
	if err != nil {
		return fmt.Errorf("wait for the migration lock: %w", err)
	}
	return errors.Join(f(), unlock())
}

func (s *sqliteDialect) gooseDialect() goose.Dialect { return goose.DialectSQLite3 }

// snapshot needs no options: every reading transaction of a WAL reads one state.
func (s *sqliteDialect) snapshot() *sql.TxOptions { return nil }

func (s *sqliteDialect) close() error {
	err := s.read.Close()
	if s.write != nil {
		err = errors.Join(err, s.write.Close())
	}
	return err
}
