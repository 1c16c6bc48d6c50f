package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// migrate brings all tables up to date, the queue's too. One lock covers both,
// so that any number of nodes may start at once.
func (s *Store) migrate(ctx context.Context) error {
	p, err := s.migrator()
	if err != nil {
		return err
	}
	return s.dialect.whileMigrating(ctx, func() error {
		if _, err := p.Up(ctx); err != nil {
			return fmt.Errorf("migrate tables: %w", err)
		}
		if err := checkVersion(ctx, p); err != nil {
			return err
		}
		return s.queue.Migrate(ctx)
	})
}

// checkSchema refuses tables that this release does not know. It asks the
// table itself: goose would create it.
func (s *Store) checkSchema(ctx context.Context) error {
	p, err := s.migrator()
	if err != nil {
		return err
	}
	var at int64
	err = s.dialect.reader().QueryRowContext(ctx, `SELECT max(version_id) FROM goose_db_version WHERE is_applied`).Scan(&at)
	if err != nil {
		return fmt.Errorf("%w: %w", errOlder, err)
	}
	return compareVersions(at, p)
}

func (s *Store) migrator() (*goose.Provider, error) {
	dialect := s.dialect.gooseDialect()
	dir := "migrations/postgres"
	if dialect == goose.DialectSQLite3 {
		dir = "migrations/sqlite"
	}
	files, err := fs.Sub(migrations, dir)
	if err != nil {
		return nil, fmt.Errorf("open migrations: %w", err)
	}
	db := s.dialect.writer()
	if db == nil {
		db = s.dialect.reader()
	}
	p, err := goose.NewProvider(dialect, db, files)
	if err != nil {
		return nil, fmt.Errorf("open migrations: %w", err)
	}
	return p, nil
}

func checkVersion(ctx context.Context, p *goose.Provider) error {
	at, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the version of the tables: %w", err)
	}
	return compareVersions(at, p)
}

var errOlder = errors.New("the database is of an older polset, or empty: start polset serve once to bring it up to date")

func compareVersions(at int64, p *goose.Provider) error {
	sources := p.ListSources()
	want := sources[len(sources)-1].Version
	switch {
	case at > want:
		return fmt.Errorf("the database has tables of version %d, and this polset knows %d: use a newer polset", at, want)
	case at < want:
		return errOlder
	}
	return nil
}
