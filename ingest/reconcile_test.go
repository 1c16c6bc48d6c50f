package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/polset/polset"
	"github.com/polset/polset/ingest"
)

// lookRows are looks without a database.
type lookRows struct {
	mu         sync.Mutex
	due        []polset.Look
	extra      int // how many more than asked for are given
	claimed    []time.Time
	observed   []polset.Observation
	failed     []failedLook
	claimErr   error
	observeErr error
	onObserve  func()
}

type failedLook struct {
	look    polset.Look
	failure polset.Failure
}

func (r *lookRows) ClaimLooks(_ context.Context, limit int, interval time.Duration) ([]polset.Look, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if interval != 5*time.Minute {
		return nil, fmt.Errorf("an interval of %s", interval)
	}
	if r.claimErr != nil {
		return nil, r.claimErr
	}
	n := min(limit+r.extra, len(r.due))
	due := r.due[:n]
	r.due = r.due[n:]
	r.claimed = append(r.claimed, time.Now())
	return due, nil
}

func (r *lookRows) Observe(_ context.Context, o polset.Observation) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.observed = append(r.observed, o)
	if r.onObserve != nil {
		r.onObserve()
	}
	return r.observeErr
}

func (r *lookRows) LookFailed(ctx context.Context, l polset.Look, f *polset.Failure) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = append(r.failed, failedLook{l, *f})
	return ctx.Err()
}

// A hub is a git server whose branches all stand at the commit that is named
// like them.
type hub struct {
	mu    sync.Mutex
	asked []string
	on    func(ctx context.Context, remote polset.Remote) error
	most  int // at once
	now   int
	short bool
}

func (h *hub) Heads(ctx context.Context, remote polset.Remote, branches []string) ([]polset.Head, error) {
	h.mu.Lock()
	h.asked = append(h.asked, remote.Identifier+" "+strings.Join(branches, ","))
	h.now++
	h.most = max(h.most, h.now)
	on := h.on
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		h.now--
		h.mu.Unlock()
	}()
	if on != nil {
		if err := on(ctx, remote); err != nil {
			return nil, err
		}
	}
	var heads []polset.Head
	for _, b := range branches {
		heads = append(heads, polset.Head{Branch: b, Commit: "commit of " + b})
	}
	if h.short {
		heads = heads[1:]
	}
	return heads, nil
}

func lookAt(n int, host string, branches ...string) polset.Look {
	name := fmt.Sprintf("acme/r%d", n)
	return polset.Look{
		Repository: polset.Repository{ID: fmt.Sprintf("repo-%d", n), Identifier: name},
		Credential: "ghain-1", Connected: true, Branches: branches, Number: int64(n),
		Remote: polset.Remote{HTTPURL: host, Identifier: name},
	}
}

func newReconciler(t *testing.T, rows *lookRows, source ingest.Heads, change func(*ingest.ReconcilerConfig)) (*ingest.Reconciler, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	c := ingest.ReconcilerConfig{Looks: rows, Source: source, Registerer: registry}
	if change != nil {
		change(&c)
	}
	r, err := ingest.NewReconciler(c)
	if err != nil {
		t.Fatal(err)
	}
	return r, registry
}

func round(t *testing.T, r *ingest.Reconciler, want int) {
	t.Helper()
	if n, err := r.Round(t.Context()); err != nil || n != want {
		t.Fatalf("a round of %d, %v; want %d", n, err, want)
	}
}

func counted(t *testing.T, registry *prometheus.Registry, outcome string, want int) {
	t.Helper()
	text := fmt.Sprintf("# HELP polset_reconcile_looks_total Looks at followed branches by outcome.\n"+
		"# TYPE polset_reconcile_looks_total counter\npolset_reconcile_looks_total{outcome=%q} %d\n", outcome, want)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(text), "polset_reconcile_looks_total"); err != nil {
		t.Error(err)
	}
}

func TestALookSeesEveryBranch(t *testing.T) {
	rows, git := &lookRows{due: []polset.Look{lookAt(7, "https://github.com", "", "main", "gone")}}, &hub{}
	r, registry := newReconciler(t, rows, git, nil)
	round(t, r, 1)
	var want []polset.Observation
	for _, b := range []string{"", "main", "gone"} {
		want = append(want, polset.Observation{
			RepositoryID: "repo-7", Branch: b, Head: polset.Head{Branch: b, Commit: "commit of " + b},
			Credential: "ghain-1", Reconciled: true, Look: 7,
		})
	}
	if diff := cmp.Diff(want, rows.observed); diff != "" {
		t.Errorf("observed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"acme/r7 ,main,gone"}, git.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	counted(t, registry, "seen", 1)
	round(t, r, 0)
}

func TestAFailedLookIsRecorded(t *testing.T) {
	refused := polset.Fail(polset.ClassAuth, "No.")
	for _, c := range []struct {
		name  string
		on    func(context.Context, polset.Remote) error
		short bool
		want  polset.Class
	}{
		{"a refusal", func(context.Context, polset.Remote) error { return refused }, false, polset.ClassAuth},
		{"a server that hangs", func(ctx context.Context, _ polset.Remote) error { <-ctx.Done(); return ctx.Err() }, false, polset.ClassTimeout},
		{"case 103 a panic", func(context.Context, polset.Remote) error { panic("a bug") }, false, polset.ClassInternal},
		{"an answer that is not one", nil, true, polset.ClassInternal},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows := &lookRows{due: []polset.Look{lookAt(1, "https://github.com", "main"), lookAt(2, "https://github.com", "main")}}
			git := &hub{short: c.short}
			git.on = func(ctx context.Context, remote polset.Remote) error {
				if c.on == nil || remote.Identifier != "acme/r1" {
					return nil
				}
				return c.on(ctx, remote)
			}
			r, _ := newReconciler(t, rows, git, func(rc *ingest.ReconcilerConfig) { rc.Timeout = 20 * time.Millisecond })
			round(t, r, 2)
			if len(rows.failed) == 0 || c.on != nil && len(rows.failed) != 1 {
				t.Fatalf("failed: %+v", rows.failed)
			}
			if f := rows.failed[0]; f.failure.Class != c.want || c.on != nil && f.look.Number != 1 {
				t.Errorf("failed: %+v, want %s", f, c.want)
			}
			if c.on != nil && len(rows.observed) != 1 {
				t.Errorf("the other repository was seen %d times", len(rows.observed))
			}
		})
	}
}

func TestALookWithoutACredentialAsksNobody(t *testing.T) {
	l := lookAt(1, "https://github.com", "main")
	l.Connected = false
	rows, git := &lookRows{due: []polset.Look{l}}, &hub{}
	r, registry := newReconciler(t, rows, git, nil)
	round(t, r, 1)
	if len(git.asked)+len(rows.failed)+len(rows.observed) != 0 {
		t.Errorf("asked %v, failed %v, observed %v", git.asked, rows.failed, rows.observed)
	}
	counted(t, registry, "disconnected", 1)
}

func TestLooksAreBounded(t *testing.T) {
	rows, git := &lookRows{extra: 20}, &hub{}
	var together sync.WaitGroup
	together.Add(3)
	git.on = func(_ context.Context, r polset.Remote) error {
		if r.Identifier < "acme/r103" { // the first three wait for each other
			together.Done()
			together.Wait()
		}
		return nil
	}
	for i := range 20 {
		rows.due = append(rows.due, lookAt(100+i, fmt.Sprintf("https://%d.example", i%2), "main"))
	}
	r, _ := newReconciler(t, rows, git, func(c *ingest.ReconcilerConfig) { c.Concurrency = 3 })
	round(t, r, 20)
	if git.most != 3 {
		t.Errorf("%d looks at once, want 3", git.most)
	}
	if len(rows.observed) != 20 {
		t.Errorf("%d observations", len(rows.observed))
	}
}

func TestRunSpreadsLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows, git := &lookRows{extra: 1}, &hub{}
		git.on = func(ctx context.Context, r polset.Remote) error {
			if r.Identifier == "acme/r0" { // takes its time, and holds up nothing else
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(20 * time.Second):
				}
			}
			return nil
		}
		for i := range 30 {
			rows.due = append(rows.due, lookAt(i, fmt.Sprintf("https://%d.example", i), "main"))
		}
		r, _ := newReconciler(t, rows, git, func(c *ingest.ReconcilerConfig) { c.Concurrency = 2 })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { r.Run(ctx); close(ended) }()
		start := time.Now()
		<-time.After(10 * time.Second) // by a clock that only this test has
		synctest.Wait()
		rows.mu.Lock()
		seen, claims := len(rows.observed), rows.claimed
		rows.mu.Unlock()
		if seen != 29 {
			t.Errorf("%d looks while one hangs, want 29", seen)
		}
		for i := 1; i < len(claims); i++ {
			if gap := claims[i].Sub(claims[i-1]); gap < 100*time.Millisecond {
				t.Errorf("claims %d and %d are %s apart", i-1, i, gap)
			}
		}
		if first := claims[len(claims)-1].Sub(start); len(claims) > 40 || first < 8*time.Second {
			t.Errorf("%d claims until %s", len(claims), first)
		}

		cancel() // while the first look is still under way
		<-ended
		if len(rows.failed) != 0 {
			t.Errorf("a look that was cut short counts as failed: %+v", rows.failed)
		}
	})
}

func TestRowsOutOfReach(t *testing.T) {
	broken := errors.New("no database")
	t.Run("at the claim", func(t *testing.T) {
		r, _ := newReconciler(t, &lookRows{claimErr: broken}, &hub{}, nil)
		if _, err := r.Round(t.Context()); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("at the observation", func(t *testing.T) {
		rows := &lookRows{due: []polset.Look{lookAt(1, "https://github.com", "main", "other")}, observeErr: broken}
		r, registry := newReconciler(t, rows, &hub{}, nil)
		if _, err := r.Round(t.Context()); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		if len(rows.failed) != 0 || len(rows.observed) != 2 {
			t.Errorf("failed %v, observed %v", rows.failed, rows.observed)
		}
		counted(t, registry, "lost", 1)
	})
	t.Run("a repository that is gone", func(t *testing.T) {
		rows := &lookRows{due: []polset.Look{lookAt(1, "https://github.com", "main", "other")}, observeErr: polset.ErrFenced}
		r, _ := newReconciler(t, rows, &hub{}, nil)
		round(t, r, 1)
	})
	t.Run("and Run goes on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rows := &lookRows{claimErr: broken}
			r, _ := newReconciler(t, rows, &hub{}, nil)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { r.Run(ctx); close(ended) }()
			<-time.After(3 * time.Second)
			rows.mu.Lock()
			rows.claimErr, rows.due = nil, []polset.Look{lookAt(1, "https://github.com", "main")}
			rows.mu.Unlock()
			<-time.After(2 * time.Second)
			synctest.Wait()
			cancel()
			<-ended
			if len(rows.observed) != 1 {
				t.Errorf("%d observations", len(rows.observed))
			}
		})
	})
}
