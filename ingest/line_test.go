package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/polset/polset"
	"github.com/polset/polset/ingest"
)

const gitHub = "https://github.com"

// A watch is a clock that a test moves.
type watch struct{ time.Time }

func (w *watch) now() time.Time                { return w.Time }
func (w *watch) pass(d time.Duration)          { w.Time = w.Add(d) }
func (w *watch) of(c *ingest.ReconcilerConfig) { c.Now = w.now }

func lookWith(credential string, n int, host string) polset.Look {
	l := lookAt(n, host, "main")
	l.Credential = credential
	return l
}

// again has looks given out, and returns which repositories were asked for then.
func again(t *testing.T, r *ingest.Reconciler, rows *lookRows, git *hub, looks ...polset.Look) string {
	t.Helper()
	git.asked, rows.due = nil, looks
	round(t, r, len(looks))
	slices.Sort(git.asked)
	return strings.NewReplacer("acme/", "", " main", "").Replace(strings.Join(git.asked, " "))
}

func wantAsked(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("asked for %q, want %q", got, want)
	}
}

var (
	errLimited = &polset.Failure{Class: polset.ClassTimeout, Message: "It limits the rate.", Retry: true, RetryAfter: time.Minute}
	errSilent  = &polset.Failure{Class: polset.ClassTimeout, Message: "The connection failed.", Retry: true}
)

func answers(err error) func(context.Context, polset.Remote) error {
	return func(context.Context, polset.Remote) error { return err }
}

func TestALimitIsThatOfACredential(t *testing.T) {
	clock, rows, git := &watch{time.Now()}, &lookRows{}, &hub{on: answers(errLimited)}
	r, registry := newReconciler(t, rows, git, clock.of)
	wantAsked(t, again(t, r, rows, git, lookWith("ot-a", 1, gitHub)), "r1")
	if len(rows.failed) != 1 || rows.failed[0].failure.RetryAfter != time.Minute {
		t.Fatalf("failed: %+v", rows.failed)
	}
	git.on = nil
	clock.pass(20 * time.Second)
	wantAsked(t, again(t, r, rows, git,
		lookWith("ot-a", 2, "https://GitHub.com"), lookWith("ghain-b", 3, gitHub), lookWith("ot-a", 4, "https://ghe.example")), "r3 r4")
	clock.pass(39 * time.Second)
	wantAsked(t, again(t, r, rows, git), "")
	clock.pass(time.Second)
	wantAsked(t, again(t, r, rows, git), "r2") // without being given out again
	if len(rows.failed) != 1 || len(rows.observed) != 3 {
		t.Errorf("failed %+v, observed %+v", rows.failed[1:], rows.observed)
	}
	text := `# HELP polset_reconcile_looks_total Looks at followed branches by outcome.
# TYPE polset_reconcile_looks_total counter
polset_reconcile_looks_total{outcome="failed"} 1
polset_reconcile_looks_total{outcome="paused"} 1
polset_reconcile_looks_total{outcome="seen"} 3
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(text), "polset_reconcile_looks_total"); err != nil {
		t.Error(err)
	}
}

func TestAHostInTroubleIsLeftAloneForAWhile(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
	}{
		{"the connection failed", errSilent},
		{"case 54 a server that hangs", errHung},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock, rows, git := &watch{time.Now()}, &lookRows{}, &hub{on: answers(c.err)}
			r, _ := newReconciler(t, rows, git, clock.of)
			wantAsked(t, again(t, r, rows, git, lookWith("ot-a", 1, gitHub)), "r1")
			wantAsked(t, again(t, r, rows, git, lookWith("ot-a", 2, gitHub), lookWith("ghain-b", 3, gitHub), lookWith("ot-c", 4, gitHub),
				lookWith("ot-a", 5, "https://ghe.example")), "r5")
			// One tries, and the others wait for longer and longer.
			var tried []string
			for _, pause := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute} {
				clock.pass(pause - time.Second)
				wantAsked(t, again(t, r, rows, git), "")
				clock.pass(time.Second)
				tried = append(tried, again(t, r, rows, git))
			}
			if diff := cmp.Diff([]string{"r2", "r3", "r4"}, tried); diff != "" {
				t.Errorf("tried (-want +got):\n%s", diff)
			}
			if len(rows.failed) != 5 { // each for what it saw itself
				t.Errorf("failed: %+v", rows.failed)
			}
			for n, pause := range []time.Duration{4 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
				clock.pass(pause - time.Second)
				wantAsked(t, again(t, r, rows, git, lookWith("ot-a", 10+n, gitHub)), "")
				clock.pass(time.Second)
				wantAsked(t, again(t, r, rows, git), fmt.Sprintf("r%d", 10+n))
			}
			// The first success ends it for all, and forgets what was.
			git.on = nil
			clock.pass(5*time.Minute - time.Second)
			wantAsked(t, again(t, r, rows, git, lookWith("ot-a", 20, gitHub), lookWith("ot-a", 21, gitHub), lookWith("ot-b", 22, gitHub)), "")
			clock.pass(time.Second)
			wantAsked(t, again(t, r, rows, git), "r20 r21 r22")
			git.on = answers(c.err)
			wantAsked(t, again(t, r, rows, git, lookWith("ot-a", 30, gitHub)), "r30")
			git.on = nil
			clock.pass(30 * time.Second)
			wantAsked(t, again(t, r, rows, git, lookWith("ot-a", 31, gitHub)), "r31")
		})
	}
}

func TestWhatIsWrongWithOneRepositoryPausesNobody(t *testing.T) {
	for _, err := range []error{
		&polset.Failure{Class: polset.ClassAuth, Message: "No.", RetryAfter: time.Minute},
		&polset.Failure{Class: polset.ClassGitCorrupt, Message: "It is damaged.", Retry: true},
		polset.Fail(polset.ClassEmptyRepository, "Nothing there."),
		errors.New("a bug"),
	} {
		rows, git := &lookRows{}, &hub{on: answers(err)}
		r, _ := newReconciler(t, rows, git, nil)
		wantAsked(t, again(t, r, rows, git, lookWith("ot-a", 1, gitHub)), "r1")
		wantAsked(t, again(t, r, rows, git, lookWith("ot-a", 2, gitHub)), "r2")
	}
	t.Run("case 54 when others are answered meanwhile", func(t *testing.T) {
		var mu sync.Mutex
		clock, rows, git := &watch{time.Now()}, &lookRows{}, &hub{}
		answered := make(chan struct{})
		git.on = func(_ context.Context, remote polset.Remote) error {
			if remote.Identifier == "acme/r1" {
				<-answered
				return errHung
			}
			mu.Lock()
			defer mu.Unlock()
			clock.pass(time.Second)
			return nil
		}
		r, _ := newReconciler(t, rows, git, func(c *ingest.ReconcilerConfig) {
			c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return clock.now() }
		})
		look := lookWith("ot-a", 2, gitHub)
		rows.onObserve = func() { close(answered) }
		wantAsked(t, again(t, r, rows, git, lookWith("ot-a", 1, gitHub), look), "r1 r2")
		rows.onObserve, git.on = nil, nil
		wantAsked(t, again(t, r, rows, git, lookWith("ot-b", 3, gitHub)), "r3")
	})
}

func TestALookThatWaited(t *testing.T) {
	clock, rows, git := &watch{time.Now()}, &lookRows{}, &hub{on: answers(errLimited)}
	r, _ := newReconciler(t, rows, git, clock.of)
	again(t, r, rows, git, lookWith("ot-a", 1, gitHub))
	rows.failed = nil

	// Its credential may have been replaced meanwhile.
	again(t, r, rows, git, lookWith("ot-a", 2, gitHub))
	git.on = answers(polset.Fail(polset.ClassAuth, "No."))
	clock.pass(time.Minute)
	wantAsked(t, again(t, r, rows, git), "r2")
	if len(rows.failed) != 0 {
		t.Errorf("refused after the wait: %+v", rows.failed)
	}
	wantAsked(t, again(t, r, rows, git, lookWith("ot-a", 2, gitHub)), "r2")
	if len(rows.failed) != 1 {
		t.Errorf("refused at once: %+v", rows.failed)
	}

	t.Run("gives way to the next one", func(t *testing.T) {
		git.on = answers(errLimited)
		again(t, r, rows, git, lookWith("ot-a", 1, gitHub))
		git.on, rows.observed = nil, nil
		for n := range 3 {
			l := lookWith("ot-a", 2, gitHub)
			l.Number = int64(n)
			again(t, r, rows, git, l)
		}
		clock.pass(time.Minute)
		wantAsked(t, again(t, r, rows, git), "r2")
		if len(rows.observed) != 1 || rows.observed[0].Look != 2 {
			t.Errorf("observed %+v", rows.observed)
		}
	})
	t.Run("is given out again after the interval", func(t *testing.T) {
		git.on = answers(&polset.Failure{Class: polset.ClassTimeout, Retry: true, RetryAfter: time.Hour})
		again(t, r, rows, git, lookWith("ot-a", 1, gitHub))
		git.on = nil
		again(t, r, rows, git, lookWith("ot-a", 2, gitHub))
		clock.pass(55 * time.Minute)
		again(t, r, rows, git, lookWith("ot-a", 3, gitHub))
		clock.pass(5 * time.Minute)
		wantAsked(t, again(t, r, rows, git), "r3")
	})
}

func TestAHostGetsAllPlacesButOne(t *testing.T) {
	for _, c := range []struct{ concurrency, want int }{{4, 3}, {2, 1}, {1, 1}} {
		rows, git := &lookRows{}, &hub{}
		var together sync.WaitGroup
		together.Add(c.want)
		git.on = func(_ context.Context, r polset.Remote) error {
			if r.Identifier < fmt.Sprintf("acme/r%d", 100+c.want) {
				together.Done()
				together.Wait()
			}
			return nil
		}
		for i := range 20 {
			rows.due = append(rows.due, lookAt(100+i, gitHub, "main"))
		}
		rows.extra = 20
		r, _ := newReconciler(t, rows, git, func(rc *ingest.ReconcilerConfig) { rc.Concurrency = c.concurrency })
		round(t, r, 20)
		if git.most != c.want || len(rows.observed) != 20 {
			t.Errorf("%d of %d places, %d observations", git.most, c.concurrency, len(rows.observed))
		}
	}
}

// TestADeadHostSlowsNobody has a host that hangs with far more repositories
// than there are places, all due first.
func TestADeadHostSlowsNobody(t *testing.T) {
	for _, dead := range []int{50, 1500} {
		t.Run(fmt.Sprint(dead), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rows, git := &lookRows{}, &hub{}
				git.on = func(ctx context.Context, r polset.Remote) error {
					if r.HTTPURL == "https://dead.example" {
						<-ctx.Done()
						return ctx.Err()
					}
					return nil
				}
				for i := range dead {
					rows.due = append(rows.due, lookAt(i, "https://dead.example", "main"))
				}
				for i := range 20 {
					rows.due = append(rows.due, lookAt(10_000+i, gitHub, "main"))
				}
				r, _ := newReconciler(t, rows, git, nil)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { r.Run(ctx); close(ended) }()
				wait := 15 * time.Second
				if dead > 1000 { // until the first of them has failed, and those left in the line give way
					wait = time.Minute + 30*time.Second
				}
				<-time.After(wait)
				synctest.Wait()
				rows.mu.Lock()
				if len(rows.observed) != 20 {
					t.Errorf("%d of 20 looks at other hosts after %s, %d left to claim", len(rows.observed), wait, len(rows.due))
				}
				rows.mu.Unlock()
				if git.most > 4 {
					t.Errorf("%d looks at once", git.most)
				}
				cancel()
				<-ended
			})
		})
	}
}

func TestLooksThatFailTogetherAreOneTrouble(t *testing.T) {
	clock, rows, git := &watch{time.Now()}, &lookRows{}, &hub{on: answers(errHung)}
	r, _ := newReconciler(t, rows, git, clock.of)
	wantAsked(t, again(t, r, rows, git, lookWith("ot-a", 1, gitHub), lookWith("ot-a", 2, gitHub), lookWith("ot-b", 3, gitHub)), "r1 r2 r3")
	git.on = nil
	clock.pass(30 * time.Second)
	wantAsked(t, again(t, r, rows, git, lookWith("ot-a", 4, gitHub)), "r4")
}

func TestTheLineIsBounded(t *testing.T) {
	t.Run("those that may not be done give way", func(t *testing.T) {
		clock, rows, git := &watch{time.Now()}, &lookRows{extra: 2000}, &hub{on: answers(errLimited)}
		r, _ := newReconciler(t, rows, git, clock.of)
		again(t, r, rows, git, lookWith("ot-a", 1, gitHub))
		git.on = nil
		var many []polset.Look
		for i := range 1200 {
			many = append(many, lookWith("ot-a", 10+i, gitHub))
		}
		wantAsked(t, again(t, r, rows, git, many...), "")
		clock.pass(time.Minute)
		again(t, r, rows, git)
		if len(git.asked) != 1000 || slices.Contains(git.asked, "acme/r10 main") || !slices.Contains(git.asked, "acme/r1209 main") {
			t.Errorf("%d were kept", len(git.asked))
		}
	})
	t.Run("no more are taken than can be done", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rows, git := &lookRows{}, &hub{}
			git.on = func(ctx context.Context, _ polset.Remote) error { <-ctx.Done(); return ctx.Err() }
			for i := range 3000 {
				rows.due = append(rows.due, lookAt(i, gitHub, "main"))
			}
			r, _ := newReconciler(t, rows, git, func(c *ingest.ReconcilerConfig) { c.Timeout = time.Hour })
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { r.Run(ctx); close(ended) }()
			<-time.After(4 * time.Minute)
			synctest.Wait()
			rows.mu.Lock()
			if len(rows.due) < 1990 || len(rows.due) > 2000 {
				t.Errorf("%d are left to others", len(rows.due))
			}
			rows.mu.Unlock()
			cancel()
			<-ended
		})
	})
}
