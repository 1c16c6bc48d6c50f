package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// countStatements has every statement that the store reads with counted.
func (b *bench) countStatements() *atomic.Int64 {
	b.Helper()
	var c countingConnector
	switch d := b.dialect.(type) {
	case *postgresDialect:
		c.Connector = stdlib.GetPoolConnector(d.pool)
	case *sqliteDialect:
		c.Connector = dsnConnector{d.read.Driver(), sqliteDSN(d.path, "_pragma=query_only(1)&_time_format=sqlite&_timezone=UTC")}
	}
	c.statements = new(atomic.Int64)
	db := sql.OpenDB(c)
	b.Cleanup(func() { b.must(db.Close()) })
	b.dialect = countingDialect{b.dialect, db}
	b.reads = rows.New(db)
	return c.statements
}

type countingDialect struct {
	dialect
	counted *sql.DB
}

func (d countingDialect) reader() *sql.DB { return d.counted }

type dsnConnector struct {
	driver driver.Driver
	dsn    string
}

func (c dsnConnector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c dsnConnector) Driver() driver.Driver                        { return c.driver }

type countingConnector struct {
	driver.Connector
	statements *atomic.Int64
}

func (c countingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	return countingConn{conn, c.statements}, err
}

// countingConn hides what else a connection can do, so that every statement
// comes through its QueryContext; the store does nothing else when it reads.
type countingConn struct {
	driver.Conn
	statements *atomic.Int64
}

func (c countingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.statements.Add(1)
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c countingConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}

func (c countingConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// Lists and what they include cost the same number of statements however long
// they are.
func TestStatementsOfLists(t *testing.T) {
	onBoth(t, func(b *bench) {
		made := 0
		grow := func(to int) {
			for ; made < to; made++ {
				name := fmt.Sprint("n", made)
				_, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{
					Organization: "acme", Name: name, Kind: polset.KindOPA, Members: polset.Members{
						Policies:   []string{b.policy(name, polset.KindOPA).ID},
						Workspaces: []string{b.guarded("acme", name)}, Projects: []string{b.grouping("acme", name)},
					},
				})
				b.must(err)
			}
		}
		b.follower("follows", "main", polset.Head{Branch: "main", Commit: "c0"}) // a look at the clock, and a version
		statements := b.countStatements()
		for _, n := range []int{1, 10, 100} {
			grow(n)
			statements.Store(0)
			list, total, err := b.PolicySets(b.ctx(), admin, "acme", polset.PolicySetFilter{}, polset.Page{Number: 1, Size: n})
			b.must(err)
			if len(list) != n || total != n+1 {
				b.Fatalf("%d of %d", len(list), total)
			}
			if got := statements.Load(); got != 6 {
				b.Errorf("a list of %d takes %d statements, want 6", n, got)
			}
			var members polset.Members
			var versions []string
			for _, p := range list {
				for _, r := range polset.Relations() {
					*members.Of(r) = append(*members.Of(r), *p.Members.Of(r)...)
				}
				versions = append(versions, p.NewestVersionID)
			}
			if n > 1 && (len(members.Policies) != n-1 || len(members.Workspaces) != n-1 || len(members.Projects) != n-1) {
				b.Fatalf("members of %d sets: %+v", n, members)
			}
			statements.Store(0)
			_, err = b.PoliciesByID(b.ctx(), admin, append(members.Policies, "pol-none"))
			b.must(err)
			_, err = b.WorkspacesByID(b.ctx(), admin, append(members.Workspaces, "ws-none"))
			b.must(err)
			_, err = b.ProjectsByID(b.ctx(), admin, append(members.Projects, "prj-none"))
			b.must(err)
			_, err = b.VersionsByID(b.ctx(), admin, versions)
			b.must(err)
			if got := statements.Load(); got > 8 {
				b.Errorf("what a list of %d includes takes %d statements, want 8 at most", n, got)
			}
			statements.Store(0)
			b.must(second(b.PolicySet(b.ctx(), admin, list[n-1].ID)))
			if got := statements.Load(); got > 4 {
				b.Errorf("one of %d takes %d statements, want 4 at most", n, got)
			}
		}
	})
}
