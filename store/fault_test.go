package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
)

func TestAmbiguousCommit(t *testing.T) {
	t.Parallel()
	// case 97 the connection is lost after the database committed, and before
	// it could say so.
	direct := polsettest.Postgres(t)
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	cut := newCommitCutter(t, u.Host)
	u.Host = cut.address
	b := newBench(t, u.String())
	p := b.settled("net", "main", "c0")

	b.sub("case 97 a delivery is committed once", func(b *bench) {
		cut.next.Store(true)
		r := b.push("main", "c1")
		if !r.Duplicate {
			b.Fatalf("receipt %+v: the repeated transaction must find the first", r)
		}
		if cut.next.Load() {
			b.Fatal("no commit was cut")
		}
		if h := b.history(p.ID); len(h) != 2 {
			b.Fatalf("history %v", h)
		}
	})
	b.sub("case 97 a version is finished once", func(b *bench) {
		batch := b.claim(p.VCS.RepositoryID, "c1")
		b.observe(batch, "main", "c1")
		_, err := b.Start(b.ctx(), batch.Claims[0].Lease, contentOf("t1"))
		b.must(err)
		cut.next.Store(true)
		b.must(b.Finish(b.ctx(), batch.Claims[0].Lease, artifactOf("t1")))
		if b.current(p.ID) != "c1" {
			b.Fatal("not in force")
		}
	})
	b.sub("case 97 a check is settled once", func(b *bench) {
		w := b.workspace("net")
		b.guard(polset.PolicySetDraft{Name: "guard", Global: true})
		run := b.runOf(w.ID)
		task := b.dueCheck()
		cut.next.Store(true)
		b.must(b.RenewChecks(b.ctx(), []polset.Lease{task.Lease}, time.Minute))
		cut.next.Store(true)
		b.must(b.SettleCheck(b.ctx(), task, says(task, polset.OutcomePassed)))
		if cut.next.Load() {
			b.Fatal("no commit was cut")
		}
		b.runStatus(run.ID, polset.RunPostPlanCompleted)
		b.detailsOf("check.passed", task.Check.ID)
	})
	b.sub("case 97 what cannot be repeated says so", func(b *bench) {
		cut.next.Store(true)
		_, err := b.CreateOrganization(b.ctx(), admin, polset.Organization{Name: "twice"})
		if err == nil || errors.Is(err, polset.ErrConflict) {
			b.Fatalf("got %v, want the lost connection", err)
		}
	})
	b.verify()
}

func TestRestart(t *testing.T) {
	t.Parallel()
	// case 97 a restart of the database closes every connection.
	b := newBench(t, polsettest.Postgres(t))
	p := b.settled("net", "main", "c0")
	b.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	for _, c := range []string{"c1", "c2"} {
		if r := b.push("main", c); len(r.Ingestions) != 1 {
			b.Fatalf("receipt %+v", r)
		}
		b.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	}
	if h := b.history(p.ID); len(h) != 3 {
		b.Fatalf("history %v", h)
	}
}

// A commitCutter is a proxy that can lose the answer to a commit.
type commitCutter struct {
	address string
	next    atomic.Bool
}

func newCommitCutter(t *testing.T, server string) *commitCutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &commitCutter{address: l.Addr().String()}
	var all sync.WaitGroup
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close proxy: %v", err)
		}
		all.Wait()
	})
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { c.serve(client, server) })
		}
	})
	return c
}

func (c *commitCutter) serve(client net.Conn, server string) {
	defer func() { _ = client.Close() }()
	upstream, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer func() { _ = upstream.Close() }()
	var cut atomic.Bool
	go func() {
		defer func() { _ = client.Close() }()
		buf := make([]byte, 64<<10)
		for {
			n, err := upstream.Read(buf)
			if err != nil || cut.Load() {
				return // the commit was answered: its answer is lost
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if bytes.Contains(buf[:n], []byte("commit\x00")) && c.next.CompareAndSwap(true, false) {
			cut.Store(true)
		}
		if _, err := upstream.Write(buf[:n]); err != nil {
			return
		}
	}
}

func TestLockTimeout(t *testing.T) {
	// case 98 lock timeout → retry
	t.Run("case 98 postgres", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, polsettest.Postgres(t))
		p := b.settled("net", "main", "c0")
		dialect, ok := b.dialect.(*postgresDialect)
		if !ok {
			t.Fatal("not PostgreSQL")
		}
		dialect.lockTimeout = "20ms"
		blocker, err := dialect.db.BeginTx(b.ctx(), nil)
		b.must(err)
		_, err = blocker.ExecContext(b.ctx(), "SELECT 1 FROM repositories WHERE id = $1 FOR UPDATE", p.VCS.RepositoryID)
		b.must(err)
		b.pushPast(func() error { return blocker.Rollback() })
	})
	t.Run("case 98 sqlite", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "polset.db")
		b := newBench(t, path)
		b.settled("net", "main", "c0")
		b.exec("PRAGMA busy_timeout = 20")
		other, err := sql.Open("sqlite", sqliteDSN(path, sqlitePragmas))
		b.must(err)
		defer func() { b.must(other.Close()) }()
		blocker, err := other.BeginTx(b.ctx(), nil)
		b.must(err)
		b.pushPast(func() error { return blocker.Rollback() })
	})
}

// pushPast pushes while rows are locked, and unlocks them once a transaction
// was tried again.
func (b *bench) pushPast(unlock func() error) {
	b.Helper()
	before := testutil.ToFloat64(b.metrics.retries)
	done := make(chan error, 1)
	go func() {
		_, err := b.RecordPush(b.ctx(), delivery(polset.HookGitHubApp), pushOf("main", "c1"))
		done <- err
	}()
	eventually(b, func(context.Context) bool { return testutil.ToFloat64(b.metrics.retries) > before })
	b.must(unlock())
	b.must(<-done)
	b.verify()
}
