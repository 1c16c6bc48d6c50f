package ingest_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/ingest"
)

const (
	commitB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	commitC = "cccccccccccccccccccccccccccccccccccccccc"
)

func TestOutcomes(t *testing.T) {
	w := newWorld(t, nil)
	w.follow(polset.Head{Branch: "main", Commit: commitA})
	w.work(commitA)
	i, first := w.last()
	if i.Status != polset.IngestionVersioned || first.Status != polset.VersionReady || first.Artifact.Files != 2 {
		t.Fatalf("the first ingestion is %+v, its version %+v", i, first)
	}
	if p := first.Artifact.Policies; len(p) != 1 || p[0].Name != "a" || p[0].Query != "data.a.deny" {
		t.Errorf("the version's policies are %+v", p)
	}

	t.Run("unchanged names the newest version", func(t *testing.T) {
		w.repo.commits[commitB], w.repo.head = good("a"), commitB
		w.push("1", commitB)
		if i, _ := w.last(); i.Status != polset.IngestionUnchanged || i.VersionID != first.ID {
			t.Errorf("the ingestion is %+v", i)
		}
	})
	t.Run("a policy that does not compile", func(t *testing.T) {
		broken := good("c")
		broken["p/a.rego"] = &fstest.MapFile{Data: []byte("package a\n\ndeny if {\n\tx ==\n}\n")}
		w.repo.commits[commitC], w.repo.head = broken, commitC
		w.push("2", commitC)
		_, v := w.last()
		if v.Status != polset.VersionErrored || v.Error != polset.ClassPolicyInvalid || !strings.Contains(v.ErrorMessage, "p/a.rego:") {
			t.Errorf("the version is %+v", v)
		}
		for _, at := range []time.Time{v.PendingAt, v.IngressingAt, v.ErroredAt} {
			if at.IsZero() {
				t.Errorf("a status has no timestamp: %+v", v)
			}
		}
		t.Run("and again the same", func(t *testing.T) {
			const d = "dddddddddddddddddddddddddddddddddddddddd"
			w.repo.commits[d], w.repo.head = broken, d
			w.push("3", d)
			if i, _ := w.last(); i.Status != polset.IngestionUnchanged || i.VersionID != v.ID {
				t.Errorf("the ingestion is %+v, want unchanged as %s", i, v.ID)
			}
		})
	})
	t.Run("its revert heals the set", func(t *testing.T) {
		const e = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
		w.repo.commits[e], w.repo.head = good("a"), e
		w.push("4", e)
		_, v := w.last()
		set, err := w.store.PolicySet(w.ctx, admin, w.set.ID)
		if err != nil || v.Status != polset.VersionReady || set.CurrentVersionID != v.ID {
			t.Errorf("the version is %+v, current is %s, %v", v, set.CurrentVersionID, err)
		}
		if v.Artifact.Digest != first.Artifact.Digest {
			t.Error("case 64: the same tree gave another digest")
		}
	})
}

func TestFailures(t *testing.T) {
	permanent := polset.Fail(polset.ClassAuth, "No.")
	for _, c := range []struct {
		name     string
		fault    func(*repository)
		class    polset.Class
		attempts int
	}{
		{"the head, for good", func(r *repository) { r.headErr = permanent }, polset.ClassAuth, 1},
		{"the head, for a while", func(r *repository) { r.headErr = errPassing }, polset.ClassTimeout, 6},
		{"case 54 a server that hangs", func(r *repository) { r.headErr = errHung }, polset.ClassTimeout, 3},
		{"case 55 a corrupt pack", func(r *repository) {
			r.fetchErr = &polset.Failure{Class: polset.ClassGitCorrupt, Message: "Nonsense.", Retry: true}
		}, polset.ClassGitCorrupt, 3},
		{"the commit, for good", func(r *repository) { r.openErr = permanent }, polset.ClassAuth, 1},
		{"the trees", func(r *repository) { r.resolveErr = errPassing }, polset.ClassTimeout, 6},
		{"the blobs", func(r *repository) { r.fetchErr = errPassing }, polset.ClassTimeout, 6},
		{"case 57 the commit is nowhere", func(r *repository) {
			r.openErr = &polset.Failure{Class: polset.ClassCommitNotFound, Message: "Not there.", Retry: true}
		}, polset.ClassCommitNotFound, 6},
		{"case 103 a fault of polset's", func(r *repository) { r.openErr = errors.New("a bug") }, polset.ClassInternal, 6},
		{"case 103 a panic", func(r *repository) { r.onOpen = func(context.Context) error { panic("a bug") } }, polset.ClassInternal, 6},
		{"case 61 a Git LFS pointer", func(r *repository) {
			r.commits[commitA]["p/a.rego"] = &fstest.MapFile{Data: []byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")}
		}, polset.ClassLFSUnsupported, 1},
		{"no configuration", func(r *repository) { delete(r.commits[commitA], "p/policies.hcl") }, polset.ClassNoPolicies, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil)
			c.fault(w.repo)
			w.follow(polset.Head{Branch: "main", Commit: commitA})
			attempts, i, v := w.until(commitA)
			if i.Status != polset.IngestionFailed || v.Status != polset.VersionErrored || v.Error != c.class || v.ErrorMessage == "" {
				t.Errorf("the ingestion is %+v, its version %+v; want %s", i, v, c.class)
			}
			if attempts != c.attempts {
				t.Errorf("%d attempts, want %d", attempts, c.attempts)
			}
			if strings.Contains(v.ErrorMessage, "bug") {
				t.Errorf("the message %q tells internals", v.ErrorMessage)
			}
		})
	}
}

func TestHealing(t *testing.T) {
	w := newWorld(t, nil)
	w.repo.headErr = errPassing
	// The API could not see the head either: the ingestion begins without.
	w.follow(polset.Head{})
	w.work("")
	if i, _ := w.last(); i.Status != polset.IngestionPending || i.Failures != 1 || !strings.Contains(i.Reason, "timeout") {
		t.Fatalf("the ingestion is %+v", i)
	}
	w.repo.headErr = nil
	_, i, v := w.until("")
	if i.Status != polset.IngestionVersioned || i.Commit != commitA || v.Commit != commitA {
		t.Errorf("the ingestion is %+v, its version %+v", i, v)
	}
}

func TestNoBranch(t *testing.T) {
	w := newWorld(t, nil)
	w.repo.head = ""
	w.follow(polset.Head{})
	if _, _, v := w.until(""); v.Error != polset.ClassCommitNotFound || !strings.Contains(v.ErrorMessage, "main") {
		t.Errorf("the version is %+v", v)
	}
}

func TestCase63CredentialIsTakenAtTheStart(t *testing.T) {
	w := newWorld(t, nil)
	w.follow(polset.Head{Branch: "main", Commit: commitA})
	if err := w.store.DeleteConnection(w.ctx, admin, w.oc.ID); err != nil {
		t.Fatal(err)
	}
	_, _, v := w.until(commitA)
	if v.Error != polset.ClassAuth || !strings.Contains(v.ErrorMessage, "oauth-token-id") {
		t.Errorf("the version is %+v", v)
	}
	if len(w.repo.tokens) != 0 {
		t.Error("a credential from before was used")
	}
}

// A sleeper renews nothing while it sleeps.
type sleeper struct {
	ingest.Ledger
	asleep atomic.Bool
}

func (s *sleeper) Renew(ctx context.Context, leases []polset.Lease, ttl time.Duration) error {
	if s.asleep.Load() {
		return nil
	}
	return s.Ledger.Renew(ctx, leases, ttl)
}

func TestCase100LateWorkIsFencedOff(t *testing.T) {
	var ledger *sleeper
	w := newWorld(t, func(c *ingest.Config) {
		c.Lease = 500 * time.Millisecond
		ledger = &sleeper{Ledger: c.Ledger}
		c.Ledger = ledger
	})
	w.follow(polset.Head{Branch: "main", Commit: commitA})
	other := w.worker.Config
	other.Ledger = ledger.Ledger
	other.Lease = time.Minute
	awake, err := ingest.New(other)
	if err != nil {
		t.Fatal(err)
	}
	var cause error
	w.repo.onOpen = func(ctx context.Context) error {
		w.repo.mu.Lock()
		w.repo.onOpen = nil // the other works undisturbed
		w.repo.mu.Unlock()
		ledger.asleep.Store(true)
		for i, _ := w.last(); !i.Status.Terminal(); i, _ = w.last() {
			if err := awake.Work(w.ctx, w.set.VCS.RepositoryID, commitA); err != nil {
				return err
			}
		}
		ledger.asleep.Store(false)
		// What ended is no longer renewed, so nothing stops this one: it must
		// be the rows that refuse it.
		cause = context.Cause(ctx)
		return nil
	}
	w.work(commitA)
	i, v := w.last()
	if i.Status != polset.IngestionVersioned || v.Status != polset.VersionReady || i.Attempts != 2 {
		t.Errorf("after %v the ingestion is %+v, its version %+v", cause, i, v)
	}
	if _, total, err := w.store.Versions(w.ctx, admin, w.set.ID, polset.VersionFilter{}, polset.Page{Number: 1, Size: 9}); err != nil || total != 1 {
		t.Errorf("%d versions, %v", total, err)
	}
}

func TestHeartbeat(t *testing.T) {
	var ledger *sleeper
	w := newWorld(t, func(c *ingest.Config) {
		c.Lease = 500 * time.Millisecond
		ledger = &sleeper{Ledger: c.Ledger}
		c.Ledger = ledger
	})
	w.follow(polset.Head{Branch: "main", Commit: commitA})
	t.Run("keeps a lease for as long as the work takes", func(t *testing.T) {
		w.repo.onOpen = func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(1500 * time.Millisecond): // three leases
			}
			b, err := ledger.Claim(ctx, w.set.VCS.RepositoryID, commitA, time.Minute)
			if err == nil && len(b.Claims) > 0 {
				err = errors.New("the lease was lost while it was renewed")
			}
			return err
		}
		w.work(commitA)
		if i, _ := w.last(); i.Status != polset.IngestionVersioned {
			t.Errorf("the ingestion is %+v", i)
		}
	})
	t.Run("ends work whose lease is lost", func(t *testing.T) {
		w.repo.commits[commitB], w.repo.head = good("b"), commitB
		var cause error
		w.repo.onOpen = func(ctx context.Context) error {
			ledger.asleep.Store(true)
			for {
				b, err := ledger.Claim(ctx, w.set.VCS.RepositoryID, commitB, time.Minute)
				if err != nil {
					return err
				}
				if len(b.Claims) > 0 {
					break
				}
			}
			ledger.asleep.Store(false)
			<-ctx.Done()
			cause = context.Cause(ctx)
			return ctx.Err()
		}
		w.push("1", commitB)
		if !errors.Is(cause, polset.ErrFenced) {
			t.Errorf("the work ended for %v, want a lost lease", cause)
		}
		if i, _ := w.last(); i.Status != polset.IngestionRunning || i.Failures != 0 {
			t.Errorf("the loser wrote: %+v", i)
		}
	})
}

func TestStopGivesTheLeaseBack(t *testing.T) {
	w := newWorld(t, nil)
	w.follow(polset.Head{Branch: "main", Commit: commitA})
	ctx, cancel := context.WithCancel(w.ctx)
	w.repo.onOpen = func(inner context.Context) error {
		cancel()
		<-inner.Done()
		return inner.Err()
	}
	if err := w.worker.Work(ctx, w.set.VCS.RepositoryID, commitA); err != nil {
		t.Fatal(err)
	}
	if i, _ := w.last(); i.Status != polset.IngestionPending || i.Failures != 0 {
		t.Errorf("the ingestion is %+v", i)
	}
	w.repo.onOpen = nil
	if _, i, _ := w.until(commitA); i.Status != polset.IngestionVersioned {
		t.Errorf("the ingestion is %+v", i)
	}
}

// A failing storage accepts nothing.
type failing struct{}

func (failing) Put(context.Context, string, int64, io.ReadSeeker) error {
	return errors.New("503 SlowDown")
}

func TestCase94StorageFailsForGood(t *testing.T) {
	w := newWorld(t, func(c *ingest.Config) { c.Objects = failing{} })
	w.follow(polset.Head{Branch: "main", Commit: commitA})
	attempts, _, v := w.until(commitA)
	if v.Error != polset.ClassStorage || attempts != 6 {
		t.Errorf("after %d attempts the version is %+v", attempts, v)
	}
}

func TestStageDeadlines(t *testing.T) {
	w := newWorld(t, func(c *ingest.Config) { c.FetchTimeout = 10 * time.Millisecond })
	w.repo.onOpen = func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	w.follow(polset.Head{Branch: "main", Commit: commitA})
	if _, _, v := w.until(commitA); v.Error != polset.ClassTimeout || !strings.Contains(v.ErrorMessage, "10ms") {
		t.Errorf("the version is %+v", v)
	}
}

func TestCrashesAreCountedApart(t *testing.T) {
	w := newWorld(t, func(c *ingest.Config) { c.MaxCrashes, c.MaxAttempts = 2, 9 })
	w.follow(polset.Head{Branch: "main", Commit: commitA})
	w.repo.headErr = errPassing
	if attempts, _, v := w.until(commitA); v.Error != polset.ClassTimeout || attempts != 9 {
		t.Errorf("after %d attempts that had a reason the version is %+v", attempts, v)
	}
	t.Run("case 103 silent ones are bounded", func(t *testing.T) {
		w := newWorld(t, func(c *ingest.Config) { c.MaxCrashes = 2 })
		w.follow(polset.Head{Branch: "main", Commit: commitA})
		for range 2 { // a crash is a claim that nobody hears of again
			for {
				b, err := w.store.Claim(w.ctx, w.set.VCS.RepositoryID, commitA, time.Microsecond)
				if err != nil {
					t.Fatal(err)
				}
				if len(b.Claims) > 0 {
					break
				}
			}
		}
		if _, _, v := w.until(commitA); v.Error != polset.ClassInternal || !strings.Contains(v.ErrorMessage, "2 attempts") {
			t.Errorf("the version is %+v", v)
		}
	})
}

// once fails the first put.
type once struct {
	ingest.Objects
	failed atomic.Bool
}

func (o *once) Put(ctx context.Context, key string, size int64, body io.ReadSeeker) error {
	if o.failed.CompareAndSwap(false, true) {
		return errors.New("not now")
	}
	return o.Objects.Put(ctx, key, size, body)
}

func TestRetryOfOneSetLeavesTheOthersAlone(t *testing.T) {
	var ledger ingest.Ledger
	w := newWorld(t, func(c *ingest.Config) {
		c.Lease = 500 * time.Millisecond
		c.Objects = &once{Objects: c.Objects}
		ledger = c.Ledger
	})
	head := polset.Head{Branch: "main", Commit: commitA}
	w.follow(head)
	second := w.another("second", head)
	w.repo.onFetch = func(ctx context.Context) error {
		if w.repo.fetched < 2 {
			return nil
		}
		// The first set waits for another attempt, and another worker takes it.
		for {
			b, err := ledger.Claim(ctx, w.set.VCS.RepositoryID, commitA, time.Minute)
			if err != nil {
				return err
			}
			if len(b.Claims) > 0 {
				break
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(700 * time.Millisecond): // four heartbeats
			return nil
		}
	}
	w.work(commitA)
	if i, _ := w.last(); i.Status != polset.IngestionRunning || i.Attempts != 2 {
		t.Errorf("the first set's ingestion is %+v", i)
	}
	if i, v := w.lastOf(second); i.Status != polset.IngestionVersioned || v.Status != polset.VersionReady {
		t.Errorf("the second set's ingestion is %+v, its version %+v", i, v)
	}
}

func TestSetsOfACommitAreTriedAgainTogether(t *testing.T) {
	w := newWorld(t, func(c *ingest.Config) { c.RetryBase = 2 * time.Second })
	head := polset.Head{Branch: "main", Commit: commitA}
	w.follow(head)
	sets := []polset.PolicySet{w.set}
	for _, name := range []string{"b", "c", "d", "e", "f"} {
		sets = append(sets, w.another(name, head))
	}
	w.repo.headErr = errPassing
	w.work(commitA)
	w.repo.headErr = nil
	tick := time.NewTicker(20 * time.Millisecond) // a queue that polls
	defer tick.Stop()
	for _, s := range sets {
		for i, _ := w.lastOf(s); i.Status != polset.IngestionVersioned; i, _ = w.lastOf(s) {
			<-tick.C
			w.work(commitA)
		}
	}
	if w.repo.opened > 2 {
		t.Errorf("%d fetches for the second attempt at six sets", w.repo.opened)
	}
}

func TestAServerThatHangsIsAskedOnce(t *testing.T) {
	w := newWorld(t, nil)
	head := polset.Head{Branch: "main", Commit: commitA}
	w.follow(head)
	second := w.another("second", head)
	w.repo.fetchErr = errHung
	w.work(commitA)
	if w.repo.fetched != 1 {
		t.Errorf("a hanging server was asked %d times in one batch", w.repo.fetched)
	}
	for _, s := range []polset.PolicySet{w.set, second} {
		if i, _ := w.lastOf(s); i.Status != polset.IngestionPending || i.Failures != 1 {
			t.Errorf("the ingestion of %s is %+v", s.Name, i)
		}
	}
}

func TestALaggingReplicaIsLookedAtAgain(t *testing.T) {
	w := newWorld(t, nil)
	w.follow(polset.Head{Branch: "main", Commit: commitA})
	w.work(commitA)
	w.repo.commits[commitB] = good("b")
	w.repo.heads = []string{commitA, commitB} // the first look shows the old head
	w.push("1", commitB)
	set, err := w.store.PolicySet(w.ctx, admin, w.set.ID)
	if err != nil {
		t.Fatal(err)
	}
	if i, v := w.last(); i.Commit != commitB || v.Status != polset.VersionReady || set.CurrentVersionID != v.ID {
		t.Errorf("the ingestion is %+v, its version %+v, current is %s", i, v, set.CurrentVersionID)
	}
	if w.repo.looked != 3 {
		t.Errorf("%d looks, want 3", w.repo.looked)
	}
}

// Data files that conflict, with each other or with a rule, would leave every
// check without an answer: such a push is found, and changes nothing in force.
func TestConflictingDataAreNoVersion(t *testing.T) {
	w := newWorld(t, nil)
	w.follow(polset.Head{Branch: "main", Commit: commitA})
	_, _, before := w.until(commitA)

	broken := good("b")
	broken["p/a/data.json"] = &fstest.MapFile{Data: []byte(`{"deny": [], "limits": {"n": 1}}`), Mode: 0o644}
	broken["p/a/limits/data.yaml"] = &fstest.MapFile{Data: []byte("n: 1\n"), Mode: 0o644}
	w.repo.commits[commitB], w.repo.head = broken, commitB
	w.push("1", commitB)
	attempts, i, v := w.until(commitB)
	if attempts != 1 || i.Status != polset.IngestionFailed || v.Status != polset.VersionErrored || v.Error != polset.ClassPolicyInvalid {
		t.Errorf("after %d attempts, the ingestion is %+v, its version %+v", attempts, i, v)
	}
	want := []polset.Diagnostic{
		{File: "p/a.rego", Line: 3, Column: 1, Message: "conflicting rule for data path a/deny found"},
		{File: "p/a/limits/data.yaml", Line: 1, Column: 1, Message: "p/a/data.json defines data.a.limits.n as well, and only objects of several files become one"},
	}
	if diff := cmp.Diff(want, v.Diagnostics); diff != "" {
		t.Errorf("diagnostics (-want +got):\n%s", diff)
	}
	if set, err := w.store.PolicySet(w.ctx, admin, w.set.ID); err != nil || set.CurrentVersionID != before.ID {
		t.Errorf("in force is %s, %v; want %s", set.CurrentVersionID, err, before.ID)
	}

	healed := good("c")
	healed["p/a/data.json"] = &fstest.MapFile{Data: []byte(`{"limits": {"n": 1}}`), Mode: 0o644}
	w.repo.commits[commitC], w.repo.head = healed, commitC
	w.push("2", commitC)
	if _, _, v := w.until(commitC); v.Status != polset.VersionReady {
		t.Errorf("the correction is %+v", v)
	}
}
