package store

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

func TestTwoNodesOneDelivery(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		nodes := []*Store{b.Store, b.node()}
		b.sub("case 102 two nodes, one delivery", func(b *bench) {
			d := delivery(polset.HookGitHubApp)
			var wait sync.WaitGroup
			receipts, batches := make([]polset.Receipt, 8), make([]polset.Batch, 8)
			errs := make([]error, 16)
			for n := range 8 {
				wait.Go(func() { receipts[n], errs[n] = nodes[n%2].RecordPush(b.ctx(), d, pushOf("main", "c1")) })
			}
			wait.Wait()
			for n := range 8 {
				wait.Go(func() {
					batches[n], errs[8+n] = nodes[n%2].Claim(b.ctx(), p.VCS.RepositoryID, "c1", time.Minute)
				})
			}
			wait.Wait()
			accepted, claims := 0, 0
			for n := range 8 {
				b.must(errs[n])
				b.must(errs[8+n])
				accepted += len(receipts[n].Ingestions)
				claims += len(batches[n].Claims)
			}
			if accepted != 1 || claims != 1 {
				b.Fatalf("%d ingestions and %d claims, want one of each", accepted, claims)
			}
		})
		b.verify()
	})
}

func TestSamePushAtOnce(t *testing.T) {
	onBoth(t, func(b *bench) {
		// case 8 same body, fresh GUIDs, all at once and on two nodes
		p := b.settled("net", "main", "c0")
		nodes := []*Store{b.Store, b.node()}
		errs := make([]error, 12)
		var wait sync.WaitGroup
		for n := range errs {
			wait.Go(func() {
				_, errs[n] = nodes[n%2].RecordPush(b.ctx(), delivery(polset.HookGitHubApp), pushOf("main", "c1"))
			})
		}
		wait.Wait()
		for _, err := range errs {
			b.must(err)
		}
		if h := b.history(p.ID); len(h) != 2 {
			b.Fatalf("case 8: history %v", h)
		}
		b.verify()
	})
}

func TestLeases(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		repo := p.VCS.RepositoryID
		b.push("main", "c1")
		first := b.claim(repo, "c1").Claims[0]
		_, err := b.Start(b.ctx(), first.Lease, contentOf("t1"))
		b.must(err)
		if len(b.claim(repo, "c1").Claims) != 0 {
			b.Fatal("two holders of one lease")
		}
		b.must(b.Renew(b.ctx(), []polset.Lease{first.Lease}, time.Minute))

		b.expire()
		again := b.claim(repo, "c1").Claims[0]
		if again.Lease.Number <= first.Lease.Number || again.Ingestion.Attempts != 2 || again.Ingestion.VersionID == "" {
			b.Fatalf("second claim %+v", again)
		}
		b.sub("case 100 the late write is fenced off", func(b *bench) {
			entries := b.count("SELECT count(*) FROM audit_entries")
			fenced := func(err error) { b.Helper(); b.want(err, polset.ErrFenced) }
			fenced(b.Renew(b.ctx(), []polset.Lease{first.Lease}, time.Minute))
			fenced(second(b.Start(b.ctx(), first.Lease, contentOf("t1"))))
			fenced(b.Finish(b.ctx(), first.Lease, artifactOf("t1")))
			fenced(b.Store.Fail(b.ctx(), first.Lease, polset.Fail(polset.ClassTimeout, "Late."), polset.Content{}))
			fenced(b.Release(b.ctx(), first.Lease, 0, "late"))
			fenced(b.Resolve(b.ctx(), first.Lease, polset.Head{Commit: "c1"}))
			fenced(b.Unchanged(b.ctx(), first.Lease, p.NewestVersionID))
			if b.count("SELECT count(*) FROM audit_entries") != entries {
				b.Fatal("a fenced move left a trace")
			}
		})
		// case 99 a crash while ingressing: the next holder goes on
		v, err := b.Start(b.ctx(), again.Lease, contentOf("t1"))
		b.must(err)
		if v.Status != polset.VersionIngressing || v.ID != again.Ingestion.VersionID {
			b.Fatalf("case 99: %+v", v)
		}
		b.must(b.Finish(b.ctx(), again.Lease, artifactOf("t1")))
		b.must(b.Renew(b.ctx(), []polset.Lease{again.Lease}, time.Minute)) // ended: skipped
		b.want(b.Finish(b.ctx(), first.Lease, artifactOf("t1")), polset.ErrFenced)
		b.verify()
	})
}

func TestRelease(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		repo := p.VCS.RepositoryID
		b.push("main", "c1")
		b.sub("case 103 attempts of a poison job are counted", func(b *bench) {
			for n := 1; n <= 3; n++ {
				c := b.claim(repo, "c1").Claims[0]
				if c.Ingestion.Attempts != n || c.Ingestion.Failures != n-1 {
					b.Fatalf("claim %d: %+v", n, c.Ingestion)
				}
				jobs := b.jobs()
				b.must(b.Release(b.ctx(), c.Lease, time.Hour, "timeout: The server hangs."))
				if b.jobs() != jobs+1 {
					b.Fatal("no wake-up was scheduled")
				}
				if len(b.claim(repo, "c1").Claims) != 0 {
					b.Fatal("claimed before its time")
				}
				b.want(b.Release(b.ctx(), c.Lease, 0, "twice"), polset.ErrFenced)
				b.must(b.Renew(b.ctx(), []polset.Lease{c.Lease}, time.Minute))
				b.expire()
			}
			c := b.claim(repo, "c1").Claims[0]
			b.must(b.Release(b.ctx(), c.Lease, 0, "")) // cut short: no failure
			c = b.claim(repo, "c1").Claims[0]
			if c.Ingestion.Failures != 3 || c.Ingestion.Attempts != 5 {
				b.Fatalf("after an interruption: %+v", c.Ingestion)
			}
		})
		b.verify()
	})
}

func TestSweep(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		b.settled("two", "main", "c0")
		b.push("main", "c1")
		b.push("main", "c2")
		b.claim(p.VCS.RepositoryID, "c1")

		b.exec("DELETE FROM river_job") // the whole queue is lost
		if n, err := b.Sweep(b.ctx()); err != nil || n != 0 {
			b.Fatalf("swept %d, %v: nothing is due", n, err)
		}
		b.expire()
		n, err := b.Sweep(b.ctx())
		b.must(err)
		if n != 2 || b.jobs() != 1 {
			b.Fatalf("swept %d ingestions into %d jobs, want 2 into 1", n, b.jobs())
		}
		if n, err := b.Sweep(b.ctx()); err != nil || n != 0 {
			b.Fatalf("swept %d again, %v", n, err)
		}
		// The rows alone carry everything to its end: each end wakes the next.
		b.carry(p.VCS.RepositoryID, "c1", "c2")
		if b.jobs() < 2 {
			b.Fatal("the end of c1 did not wake c2")
		}
		b.carry(p.VCS.RepositoryID, "c2", "c2")
		if b.current(p.ID) != "c2" {
			b.Fatal("not in force")
		}
		b.verify()
	})
}

func TestBacklog(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		b.exec("DELETE FROM river_job")
		for _, commit := range []string{"c1", "c2", "c3"} {
			b.push("main", commit)
		}
		if b.jobs() != 1 {
			b.Fatalf("%d jobs: only the first push can be claimed", b.jobs())
		}
		// What waits long is enqueued again, in growing intervals.
		now := b.At()
		ago := func(d time.Duration) int {
			b.Helper()
			b.exec(`UPDATE ingestions SET due_at = $1, enqueue_at = $2 WHERE ended_at IS NULL`, now.Add(-d), now.Add(-time.Second))
			n, err := b.Sweep(b.ctx())
			b.must(err)
			return n
		}
		next := func(from, to time.Duration) int {
			b.Helper()
			return b.count(`SELECT count(*) FROM ingestions WHERE commit_id = 'c1' AND enqueue_at BETWEEN $1 AND $2`, now.Add(from), now.Add(to))
		}
		if ago(4*time.Minute) != 1 || next(4*time.Minute, 5*time.Minute) != 1 {
			b.Fatal("after four minutes: not again in four more")
		}
		if ago(time.Hour) != 1 || next(15*time.Minute, 16*time.Minute) != 1 {
			b.Fatal("after an hour: not again in a quarter of one")
		}
		b.exec("DELETE FROM river_job")
		for _, commit := range []string{"c1", "c2", "c3"} {
			b.carry(p.VCS.RepositoryID, commit, "c3")
		}
		if b.jobs() != 2 {
			b.Fatalf("%d jobs: the ends of c1 and c2 wake what follows", b.jobs())
		}
		if got := b.current(p.ID); got != "c3" {
			b.Fatalf("current %q", got)
		}
	})
}

func TestLargeBatch(t *testing.T) {
	onBoth(t, func(b *bench) {
		var p polset.PolicySet
		for n := range batchSize + 2 {
			p = b.follower(fmt.Sprintf("s%d", n), "main", polset.Head{Branch: "main", Commit: "c0"})
		}
		b.exec("DELETE FROM river_job")
		for _, want := range [][2]int{{batchSize, 1}, {2, 1}, {0, 1}} {
			if batch := b.claim(p.VCS.RepositoryID, "c0"); len(batch.Claims) != want[0] || b.jobs() != want[1] {
				b.Fatalf("%d claims and %d jobs, want %v", len(batch.Claims), b.jobs(), want)
			}
		}
	})
}

func TestTakeOver(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		b.push("main", "c1")
		c := b.claim(p.VCS.RepositoryID, "c1").Claims[0]
		b.exec("DELETE FROM river_job")
		b.must(b.takeOver(b.ctx()))
		if b.jobs() != 1 {
			b.Fatalf("%d jobs", b.jobs())
		}
		b.want(b.Finish(b.ctx(), c.Lease, artifactOf("t1")), polset.ErrFenced)
		if len(b.carry(p.VCS.RepositoryID, "c1", "c1").Claims) != 1 {
			b.Fatal("the lease of the dead was not void")
		}
		b.verify()
	})
}

func TestClocks(t *testing.T) {
	onBoth(t, func(b *bench) {
		// case 101 clock ±1 h: a delivery says when a node received it, and no
		// due date or timestamp of the pipeline follows from it.
		p := b.settled("net", "main", "c0")
		for n, shift := range []time.Duration{-time.Hour, time.Hour} {
			d := delivery(polset.HookGitHubApp)
			d.ReceivedAt = time.Now().Add(shift)
			commit := []string{"c1", "c2"}[n]
			_, err := b.RecordPush(b.ctx(), d, pushOf("main", commit))
			b.must(err)
			batch := b.carry(p.VCS.RepositoryID, commit, commit)
			if len(batch.Claims) != 1 {
				b.Fatalf("case 101: shifted by %s, nothing was due", shift)
			}
			if off := b.At().Sub(batch.Claims[0].Ingestion.StartedAt); off < 0 || off > time.Minute {
				b.Fatalf("case 101: the claim is %s off the database's clock", off)
			}
		}
	})
}

func TestClockStepsBack(t *testing.T) {
	onBoth(t, func(b *bench) {
		// case 101 the database's own clock steps back: looks are numbered, so
		// what is pushed afterwards still comes into force.
		p := b.settled("net", "main", "c0")
		b.push("main", "c1")
		b.carry(p.VCS.RepositoryID, "c1", "c1")
		b.dialect = shifted{dialect: b.dialect, by: -time.Hour}
		b.push("main", "c2")
		if batch := b.carry(p.VCS.RepositoryID, "c2", "c2"); batch.Look != 3 {
			b.Fatalf("case 101: look %d, want the third", batch.Look)
		}
		if got := b.current(p.ID); got != "c2" {
			b.Fatalf("case 101: %s is in force", got)
		}
	})
}

// shifted is a database whose clock is off.
type shifted struct {
	dialect
	by time.Duration
}

func (s shifted) begin(ctx context.Context, tx rows.DBTX) (time.Time, error) {
	now, err := s.dialect.begin(ctx, tx)
	return now.Add(s.by), err
}
