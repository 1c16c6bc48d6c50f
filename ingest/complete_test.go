package ingest_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/polset/polset"
	"github.com/polset/polset/ingest"
)

// ready makes a world whose policy set has a version in force.
func ready(t *testing.T, change func(*ingest.Config)) *world {
	t.Helper()
	w := newWorld(t, change)
	w.follow(polset.Head{Branch: "main", Commit: commitA})
	w.work(commitA)
	if _, v := w.last(); v.Status != polset.VersionReady {
		t.Fatalf("the first version is %+v", v)
	}
	return w
}

// reconcile makes everything due and looks at it from two nodes at once.
func (w *world) reconcile() {
	w.t.Helper()
	if err := w.store.ResumeLooks(w.ctx); err != nil {
		w.t.Fatal(err)
	}
	var nodes sync.WaitGroup
	for range 2 {
		r, err := ingest.NewReconciler(ingest.ReconcilerConfig{Looks: w.store, Source: w.repo, Logger: zaptest.NewLogger(w.t)})
		if err != nil {
			w.t.Fatal(err)
		}
		nodes.Go(func() {
			for n := 1; n > 0; {
				var err error
				if n, err = r.Round(w.ctx); err != nil {
					w.t.Error(err)
					return
				}
			}
		})
	}
	nodes.Wait()
}

func (w *world) ingestions() []polset.Ingestion {
	w.t.Helper()
	list, _, err := w.store.Ingestions(w.ctx, admin, w.set.ID, polset.VersionFilter{}, polset.Page{Number: 1, Size: 100})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func (w *world) degraded() *polset.Degradation {
	w.t.Helper()
	set, err := w.store.PolicySet(w.ctx, admin, w.set.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return set.Degraded
}

func TestAMissedPushIsIngestedOnce(t *testing.T) {
	w := ready(t, nil)
	w.reconcile()
	if n := len(w.ingestions()); n != 1 {
		t.Fatalf("a look without news made %d ingestions", n-1)
	}
	w.repo.commits[commitB], w.repo.head = good("b"), commitB // and nobody tells
	looked := w.repo.looked
	w.reconcile()
	if n := w.repo.looked - looked; n != 1 {
		t.Errorf("two nodes looked %d times, want once", n)
	}
	if i, _ := w.last(); i.Commit != commitB || i.Cause != polset.CauseReconcile || i.Status != polset.IngestionPending {
		t.Fatalf("the ingestion is %+v", i)
	}
	w.reconcile() // before it is worked on
	w.work(commitB)
	w.reconcile() // and after
	if list := w.ingestions(); len(list) != 2 || list[0].Status != polset.IngestionVersioned {
		t.Errorf("%d ingestions, the last is %+v", len(list), list[0])
	}
	set, err := w.store.PolicySet(w.ctx, admin, w.set.ID)
	if _, v := w.last(); err != nil || set.CurrentVersionID != v.ID || v.Commit != commitB {
		t.Errorf("in force is %s, want %s; %v", set.CurrentVersionID, v.ID, err)
	}
	w.push("1", commitB) // and the delivery comes at last
	if i, v := w.last(); i.Status != polset.IngestionUnchanged || v.ID != set.CurrentVersionID {
		t.Errorf("the late delivery's ingestion is %+v", i)
	}
}

func TestLostAccessDegradesUntilItIsSeenAgain(t *testing.T) {
	w := ready(t, nil)
	lose := func() {
		t.Helper()
		w.repo.headErr = polset.Fail(polset.ClassAuth, "The token was refused.")
		w.reconcile()
		if d := w.degraded(); d == nil || d.Reason != polset.DegradedAccessLost {
			t.Fatalf("after a refusal: %+v", d)
		}
		w.repo.headErr = nil
	}
	lose()
	w.reconcile()
	if d := w.degraded(); d != nil {
		t.Errorf("after a look that succeeded: %+v", d)
	}
	t.Run("by a worker, too", func(t *testing.T) {
		lose()
		w.repo.commits[commitB], w.repo.head = good("b"), commitB
		w.push("1", commitB)
		if d := w.degraded(); d != nil {
			t.Errorf("after a push: %+v", d)
		}
	})
}

// An appLedger gives out ingestions as if they read with an installation.
type appLedger struct {
	ingest.Ledger
	usable bool
}

func (l appLedger) Claim(ctx context.Context, repositoryID, commit string, ttl time.Duration) (polset.Batch, error) {
	b, err := l.Ledger.Claim(ctx, repositoryID, commit, ttl)
	b.Remotes = map[string]polset.Remote{}
	for i := range b.Claims {
		b.Claims[i].Ingestion.TokenID, b.Claims[i].Ingestion.InstallationID = "", "ghain-1"
	}
	if l.usable {
		b.Remotes["ghain-1"] = polset.Remote{HTTPURL: "https://github.com", Identifier: "acme/policies", Installation: 5}
	}
	return b, err
}

func TestAnIngestionReadsWithItsInstallation(t *testing.T) {
	w := newWorld(t, func(c *ingest.Config) { c.Ledger = appLedger{c.Ledger, true} })
	w.follow(polset.Head{Branch: "main", Commit: commitA})
	if _, i, v := w.until(commitA); i.Status != polset.IngestionVersioned {
		t.Errorf("the ingestion is %+v, its version %+v", i, v)
	}
	t.Run("which may be gone", func(t *testing.T) {
		w := newWorld(t, func(c *ingest.Config) { c.Ledger = appLedger{c.Ledger, false} })
		w.follow(polset.Head{Branch: "main", Commit: commitA})
		if _, _, v := w.until(commitA); v.Error != polset.ClassAuth || !strings.Contains(v.ErrorMessage, "The GitHub App installation") {
			t.Errorf("the version is %+v", v)
		}
		if w.repo.looked+w.repo.opened != 0 {
			t.Error("git was asked all the same")
		}
	})
}

func TestDiagnosticsReachTheVersion(t *testing.T) {
	w := newWorld(t, nil)
	w.repo.commits[commitA]["p/a.rego"] = &fstest.MapFile{Data: []byte("package a\n\ndeny if {\n\tx ==\n}\n")}
	w.follow(polset.Head{Branch: "main", Commit: commitA})
	_, _, v := w.until(commitA)
	if len(v.Diagnostics) == 0 || v.Diagnostics[0].File != "p/a.rego" || v.Diagnostics[0].Line < 3 || v.Diagnostics[0].Message == "" {
		t.Errorf("the diagnostics are %+v", v.Diagnostics)
	}
}

// propose records a pull request for a commit.
func (w *world) propose(guid, commit string) {
	w.t.Helper()
	_, err := w.store.RecordPullRequest(w.ctx,
		polset.Delivery{HookID: polset.HookGitHubApp, GUID: guid, Event: "pull_request", HTTPURLs: []string{"https://github.com"}},
		polset.PullRequest{
			Repository:    polset.RepositoryRef{ID: 1, Identifier: "acme/policies"},
			DefaultBranch: "main", Number: 7, Action: "opened", Base: "main", Head: commit,
		})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) trier(change func(*ingest.TrierConfig)) *ingest.Trier {
	w.t.Helper()
	c := ingest.TrierConfig{Trials: w.store, Source: w.repo, RetryBase: time.Microsecond, Logger: zaptest.NewLogger(w.t)}
	if change != nil {
		change(&c)
	}
	trier, err := ingest.NewTrier(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return trier
}

// dryRun is what GitHub is to show of the pull request's newest dry run.
func (w *world) dryRun(commit string) polset.DryRun {
	w.t.Helper()
	for {
		reports, err := w.store.ClaimReports(w.ctx, 100, time.Minute)
		if err != nil || len(reports) == 0 {
			w.t.Fatalf("no report of a dry run of %s: %v", commit, err)
		}
		for _, r := range reports {
			if r.DryRun != nil && r.Commit == commit {
				return *r.DryRun
			}
		}
	}
}

func TestADryRunFromThePullRequestToTheReport(t *testing.T) {
	w := ready(t, nil)
	_, current := w.last()
	w.repo.commits[commitB] = good("b")
	w.propose("1", commitB)
	if n, err := w.trier(nil).Round(w.ctx); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	d := w.dryRun(commitB)
	if d.Status != polset.DryRunCompared || d.Comparison == nil || d.Comparison.Against != current.ID {
		t.Fatalf("the dry run is %+v", d)
	}
	want := polset.PolicyChange{Policy: "a", Kind: polset.PolicyChanged, From: "advisory", To: "advisory", File: "p/policies.hcl", Line: 1}
	if c := d.Comparison.Changes; len(c) != 1 || c[0] != want {
		t.Errorf("the changes are %+v", c)
	}
	if _, total, err := w.store.Versions(w.ctx, admin, w.set.ID, polset.VersionFilter{}, polset.Page{Number: 1, Size: 9}); err != nil || total != 1 {
		t.Errorf("%d versions, %v", total, err)
	}
}

func TestADryRunThatBreaksOffIsMadeAgain(t *testing.T) {
	w := ready(t, nil)
	w.repo.commits[commitB] = good("b")
	w.propose("1", commitB)
	if !w.claimTrial() {
		t.Fatal("nothing was due") // a crash is a claim that nobody hears of again
	}
	trier := w.trier(nil)
	for n := 0; n == 0; {
		var err error
		if n, err = trier.Round(w.ctx); err != nil {
			t.Fatal(err)
		}
	}
	if d := w.dryRun(commitB); d.Status != polset.DryRunCompared || d.Attempts != 2 || d.Failures != 0 {
		t.Errorf("the dry run is %+v", d)
	}
}

// claimTrial claims the dry run, and says nothing more.
func (w *world) claimTrial() (claimed bool) {
	w.t.Helper()
	list, err := w.store.ClaimTrials(w.ctx, 1, 1, time.Microsecond)
	if err != nil {
		w.t.Fatal(err)
	}
	return len(list) == 1
}

func TestCase103ADryRunThatCrashesEnds(t *testing.T) {
	w := ready(t, nil)
	w.repo.commits[commitB] = good("b")
	w.propose("1", commitB)
	crashes := 0
	for range 100 {
		if w.claimTrial() {
			crashes++
		}
	}
	d := w.dryRun(commitB)
	if d.Status != polset.DryRunFailed || d.Error != polset.ClassInternal || !strings.Contains(d.ErrorMessage, "attempts") || crashes > 10 {
		t.Errorf("after %d crashes the dry run is %+v", crashes, d)
	}
}

func TestACleanStopIsNoAttempt(t *testing.T) {
	w := ready(t, nil)
	w.repo.commits[commitB] = good("b")
	w.propose("1", commitB)
	for range 30 {
		ctx, cancel := context.WithCancel(w.ctx)
		w.repo.onOpen = func(inner context.Context) error {
			cancel()
			<-inner.Done()
			return inner.Err()
		}
		if n, err := w.trier(nil).Round(ctx); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	w.repo.onOpen = nil
	if n, err := w.trier(nil).Round(w.ctx); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if d := w.dryRun(commitB); d.Status != polset.DryRunCompared || d.Attempts != 1 || d.Failures != 0 {
		t.Errorf("the dry run is %+v", d)
	}
}

func TestADryRunIsTriedAgain(t *testing.T) {
	w := ready(t, nil)
	w.repo.commits[commitB] = good("b")
	w.repo.openErr = errPassing
	w.propose("1", commitB)
	trier := w.trier(func(c *ingest.TrierConfig) { c.MaxAttempts = 3 })
	for attempts := 0; attempts < 3; {
		n, err := trier.Round(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		attempts += n
	}
	d := w.dryRun(commitB)
	if d.Status != polset.DryRunFailed || d.Error != polset.ClassTimeout || d.Attempts != 3 || w.repo.opened != 4 {
		t.Errorf("the dry run is %+v", d)
	}
}

func TestANewerCommitTakesTheDryRunOver(t *testing.T) {
	w := ready(t, nil)
	w.repo.commits[commitB], w.repo.commits[commitC] = good("b"), good("c")
	w.propose("1", commitB)
	w.repo.onFetch = func(context.Context) error {
		w.repo.mu.Lock()
		w.repo.onFetch = nil
		w.repo.mu.Unlock()
		w.propose("2", commitC)
		return nil
	}
	trier := w.trier(nil)
	for range 2 {
		if n, err := trier.Round(w.ctx); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if d := w.dryRun(commitC); d.Status != polset.DryRunCompared {
		t.Errorf("the newer dry run is %+v", d)
	}
}

func TestADryRunKeepsItsDiagnostics(t *testing.T) {
	w := ready(t, nil)
	broken := good("b")
	broken["p/a.rego"] = &fstest.MapFile{Data: []byte("package a\n\ndeny if {\n\tx ==\n}\n")}
	w.repo.commits[commitB] = broken
	w.propose("1", commitB)
	if n, err := w.trier(nil).Round(w.ctx); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	d := w.dryRun(commitB)
	if d.Status != polset.DryRunFailed || d.Error != polset.ClassPolicyInvalid || len(d.Diagnostics) == 0 || d.Diagnostics[0].File != "p/a.rego" {
		t.Errorf("the dry run is %+v", d)
	}
	if set, err := w.store.PolicySet(w.ctx, admin, w.set.ID); err != nil || set.Degraded != nil {
		t.Errorf("the policy set is %+v, %v", set, err)
	}
}
