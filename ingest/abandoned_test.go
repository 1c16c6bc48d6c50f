package ingest_test

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/ingest"
)

// An endless file system holds up whoever reads it until it is told to go on,
// as a policy would that takes forever to compile.
type endless struct {
	fs.FS
	goOn <-chan struct{}
}

func (e endless) Open(name string) (fs.File, error) {
	<-e.goOn
	return e.FS.Open(name)
}

// changed are commits that nobody has seen, the version in force being commitA.
func (b *bench) changed(n int, fork bool) (trials []polset.Trial) {
	for i := range n {
		commit := fmt.Sprintf("%040d", len(b.repo.commits))
		b.edit(commit, map[string]func(string) string{"p/b.rego": sub("no", "not")})
		trial := b.trial(commit)
		trial.DryRun.Fork = fork
		trial.Lease.Number = int64(i)
		trials = append(trials, trial)
	}
	return trials
}

// running runs the trier until the function that it returns is called.
func (b *bench) running() (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan struct{})
	go func() { b.trier.Run(ctx); close(ended) }()
	return func() { cancel(); <-ended }
}

func (b *bench) wantSettled(n int) {
	b.t.Helper()
	<-time.After(10 * time.Minute) // by a clock that only this test has
	synctest.Wait()
	b.rows.mu.Lock()
	defer b.rows.mu.Unlock()
	if len(b.rows.settled) != n {
		b.t.Fatalf("%d dry runs were settled, want %d: %+v", len(b.rows.settled), n, b.rows.settled)
	}
}

func TestAParserThatGoesOnKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *ingest.TrierConfig) { c.Concurrency = 2 })
		b.inForce(commitA, false)
		goOn := make(chan struct{})
		b.repo.files = func(f fs.FS) fs.FS { return endless{f, goOn} }
		b.rows.due = b.changed(5, false)
		stop := b.running()
		b.wantSettled(2)
		if f := b.rows.settled[0].Failure; f == nil || f.Class != polset.ClassLimit || !strings.Contains(f.Message, "1m0s") {
			t.Errorf("settled %+v", b.rows.settled[0])
		}
		close(goOn)
		b.wantSettled(5)
		stop()
	})
	t.Run("until the server stops", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, nil)
			b.inForce(commitA, false)
			goOn := make(chan struct{})
			b.repo.files = func(f fs.FS) fs.FS { return endless{f, goOn} }
			b.rows.due = b.changed(1, false)
			stop := b.running()
			b.wantSettled(1)
			stop()
			close(goOn)
		})
	})
	t.Run("though its dry run passed to somebody else", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, func(c *ingest.TrierConfig) { c.Concurrency = 1 })
			b.inForce(commitA, false)
			goOn := make(chan struct{})
			b.repo.files = func(f fs.FS) fs.FS { return endless{f, goOn} }
			b.rows.lost = true
			b.rows.due = b.changed(3, false)
			stop := b.running()
			b.wantSettled(0)
			if len(b.rows.due) != 2 {
				t.Errorf("%d dry runs wait, want 2", len(b.rows.due))
			}
			close(goOn)
			stop()
		})
	})
}

func TestStrangersDoNotHoldEveryPlace(t *testing.T) {
	for _, c := range []struct{ concurrency, forks int }{{1, 1}, {2, 1}, {4, 3}} {
		t.Run(fmt.Sprint(c.concurrency), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(tc *ingest.TrierConfig) { tc.Concurrency = c.concurrency })
				b.inForce(commitA, false)
				goOn := make(chan struct{})
				b.repo.files = func(f fs.FS) fs.FS { return endless{f, goOn} }
				b.rows.due = b.changed(10, true)
				stop := b.running()
				b.wantSettled(c.forks) // and their parsers go on
				b.rows.mu.Lock()
				b.repo.files = nil
				b.rows.due = append(b.rows.due, b.changed(7, false)...)
				b.rows.mu.Unlock()
				if c.concurrency > 1 {
					b.wantSettled(c.forks + 7)
				}
				close(goOn)
				b.wantSettled(17)
				stop()
			})
		})
	}
	t.Run("nor come first", func(t *testing.T) {
		b := newBench(t, func(c *ingest.TrierConfig) { c.Concurrency = 1 })
		b.inForce(commitA, false)
		b.rows.due = slices.Concat(b.changed(1, true), b.changed(1, false))
		own := b.rows.due[1].DryRun.Commit
		if n, err := b.trier.Round(t.Context()); n != 1 || err != nil || b.rows.due[0].DryRun.Commit == own {
			t.Errorf("%d, %v; %s waits", n, err, b.rows.due[0].DryRun.Commit)
		}
	})
}

func TestAbandonedParsersAreBounded(t *testing.T) {
	w := newWorld(t, func(c *ingest.Config) { c.ValidateTimeout, c.MaxAbandoned = 10*time.Millisecond, 1 })
	goOn := make(chan struct{})
	w.repo.files = func(f fs.FS) fs.FS { return endless{f, goOn} }
	w.repo.commits = map[string]fstest.MapFS{commitA: good("a"), commitB: good("b"), commitC: good("c")}
	w.follow(polset.Head{Branch: "main", Commit: commitA})
	w.work(commitA) // and leaves a parser behind
	if _, v := w.last(); v.Error != polset.ClassLimit {
		t.Fatalf("the version is %+v", v)
	}
	w.repo.head = commitB
	w.record("1", commitB)
	ctx, stop := context.WithCancel(w.ctx)
	second := make(chan error, 1)
	go func() { second <- w.worker.Work(ctx, w.set.VCS.RepositoryID, commitB) }()
	for v := (polset.Version{}); v.Commit != commitB || v.Error != polset.ClassLimit; {
		_, v = w.last()
	}
	select {
	case err := <-second:
		t.Fatalf("the place is free beside two parsers that go on: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	stop()
	if err := <-second; err != nil {
		t.Errorf("a stop: %v", err)
	}
	close(goOn)
	w.repo.files, w.repo.head = nil, commitC
	w.push("2", commitC)
	if _, v := w.last(); v.Commit != commitC {
		t.Errorf("the version is %+v", v)
	}
}
