package githubapp

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
	"github.com/polset/polset/internal/polsettest/hub"
)

const (
	attemptRoute = "POST /app/hook/deliveries/{delivery_id}/attempts"
	listAttempts = "GET /app/hook/deliveries"
)

// registry is what a store knows.
type registry struct {
	mu       sync.Mutex
	saved    [][]polset.Installation
	complete []bool
	known    map[string]bool
}

func (r *registry) SaveInstallations(_ context.Context, list []polset.Installation, complete bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.saved, r.complete = append(r.saved, list), append(r.complete, complete)
	return nil
}

func (r *registry) KnownDeliveries(_ context.Context, hookID string, guids []string) (map[string]bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if hookID != polset.HookGitHubApp {
		return nil, fmt.Errorf("hook %q is not the App's", hookID)
	}
	known := map[string]bool{}
	for _, guid := range guids {
		if r.known[guid] {
			known[guid] = true
		}
	}
	return known, nil
}

// sweepWorld is a world whose App tells a polset that answers as it is told.
type sweepWorld struct {
	*world
	registry *registry
	sweeper  *Sweeper
	mu       sync.Mutex
	status   int
	heard    []string // events
}

func newSweepWorld(t *testing.T) *sweepWorld {
	t.Helper()
	s := &sweepWorld{world: newWorld(t), registry: &registry{known: map[string]bool{}}, status: 200}
	polset := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.heard = append(s.heard, r.Header.Get("X-GitHub-Event"))
		w.WriteHeader(s.status)
	}))
	t.Cleanup(polset.Close)
	s.app.SetHookURL(polset.URL)
	var err error
	if s.sweeper, err = NewSweeper(SweeperConfig{Client: s.client, Registry: s.registry, Logger: s.log}); err != nil {
		t.Fatal(err)
	}
	return s
}

// sweep makes a step and returns the events that were heard since the last.
func (s *sweepWorld) sweep() []string {
	s.t.Helper()
	s.mu.Lock()
	s.heard = nil
	s.mu.Unlock()
	if err := s.sweeper.Step(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.github.Settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.heard)
	return s.heard
}

func (s *sweepWorld) answer(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func TestSweepAsksForWhatFailed(t *testing.T) {
	s := newSweepWorld(t)
	s.repo.Push("main", map[string]string{"a": "b"}) // arrives
	s.github.DropDeliveries(true)
	s.repo.Push("main", map[string]string{"a": "c"}) // a push is found by its head
	s.repo.Rename("rules")
	s.inst.Suspend()
	s.inst.Unsuspend()
	s.github.DropDeliveries(false)
	recorded := s.app.Deliveries()
	s.registry.known[recorded[len(recorded)-1].GUID] = true // its answer was lost

	if heard := s.sweep(); len(heard) != 0 {
		t.Errorf("events whose answer may still come were asked for again: %v", heard)
	}
	s.clock.pass(2 * time.Minute)
	if heard := s.sweep(); !slices.Equal(heard, []string{"installation", "repository"}) {
		t.Errorf("%v were asked for again, want repository renamed and installation suspend", heard)
	}
	s.clock.pass(5 * time.Minute)
	s.github.ResetCalls()
	if heard := s.sweep(); len(heard) != 0 {
		t.Errorf("%v were asked for again although they arrived", heard)
	}
	if n := len(s.sweeper.open); n != 0 {
		t.Errorf("%d events are still held open", n)
	}
}

func TestSweepIsBounded(t *testing.T) {
	s := newSweepWorld(t)
	s.answer(500)
	s.inst.Suspend()
	s.inst.Unsuspend()
	for range 12 {
		s.clock.pass(5 * time.Minute)
		s.sweep()
	}
	attempts := map[string]int{}
	for _, d := range s.app.Deliveries() {
		attempts[d.GUID]++
	}
	n := 0
	for guid, count := range attempts {
		if count > maxAttempts {
			t.Errorf("%s was tried %d times, want at most %d", guid, count, maxAttempts)
		}
		if count == maxAttempts {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d events were tried %d times, want 2: %v", n, maxAttempts, attempts)
	}

	// A sweeper that was just started counts the same attempts.
	fresh, err := NewSweeper(SweeperConfig{Client: s.client, Registry: s.registry})
	if err != nil {
		t.Fatal(err)
	}
	s.sweeper = fresh
	s.clock.pass(5 * time.Minute)
	if heard := s.sweep(); len(heard) != 0 {
		t.Errorf("after a restart %v were asked for again", heard)
	}

	s.clock.pass(4 * 24 * time.Hour)
	s.sweep()
	if n := len(s.sweeper.open); n != 0 {
		t.Errorf("%d events are held open that GitHub has forgotten", n)
	}
}

func TestSweepReadsOnlyWhatIsNew(t *testing.T) {
	s := newSweepWorld(t)
	for range 250 {
		s.github.Deliver(s.app, "repository", []byte(`{"action":"edited"}`))
	}
	count := func() (n int) {
		for _, c := range s.github.Calls() {
			if c.Route == listAttempts {
				n++
			}
		}
		return n
	}
	s.clock.pass(5 * time.Minute)
	s.github.ResetCalls()
	s.sweep()
	if n := count(); n != 3 {
		t.Errorf("the first sweep read %d pages, want 3", n)
	}
	s.clock.pass(5 * time.Minute)
	s.github.ResetCalls()
	s.sweep()
	if n := count(); n != 1 {
		t.Errorf("the second sweep read %d pages, want 1", n)
	}
}

func TestSweepThatFails(t *testing.T) {
	s := newSweepWorld(t)
	s.github.DropDeliveries(true)
	s.inst.Suspend()
	s.github.DropDeliveries(false)
	s.clock.pass(2 * time.Minute)

	s.github.Fault(listAttempts, polsettest.Status(502, ""))
	if err := s.sweeper.Step(t.Context()); err == nil {
		t.Fatal("a sweep without a list went well")
	}
	s.github.Fault(listAttempts, nil)
	s.github.Fault(attemptRoute, polsettest.Times(1, polsettest.SecondaryRateLimited(time.Minute)))
	err := s.sweeper.Step(t.Context())
	failureWith(t, err, polset.ClassTimeout, true)
	s.clock.pass(2 * time.Minute)
	if heard := s.sweep(); !slices.Equal(heard, []string{"installation"}) {
		t.Errorf("%v were asked for again, want the one that is open", heard)
	}

	t.Run("what GitHub cannot send again", func(t *testing.T) {
		s.github.DropDeliveries(true)
		s.inst.Unsuspend()
		s.github.DropDeliveries(false)
		s.github.Fault(attemptRoute, polsettest.Status(422, `{"message":"no"}`))
		for range 8 {
			s.clock.pass(5 * time.Minute)
			s.sweep()
		}
		n := 0
		for _, c := range s.github.Calls() {
			if c.Route == attemptRoute && c.Status == 422 {
				n++
			}
		}
		if n == 0 || n > maxAttempts {
			t.Errorf("GitHub was asked %d times, want at most %d", n, maxAttempts)
		}
	})
}

func TestInstallationsAreSynced(t *testing.T) {
	s := newSweepWorld(t)
	s.app.Install(s.github.User("octocat"))
	s.inst.Suspend()
	s.sweep()
	if len(s.registry.saved) != 1 || !s.registry.complete[0] {
		t.Fatalf("saved %d lists, complete %v", len(s.registry.saved), s.registry.complete)
	}
	list := s.registry.saved[0]
	if len(list) != 2 {
		t.Fatalf("%d installations, want 2", len(list))
	}
	i := list[0]
	if i.ExternalID != s.inst.ID() || i.AppID != s.app.ID || i.Account != "acme" || i.AccountID != s.acme.ID() ||
		i.AccountType != "Organization" || i.HTTPURL != s.github.URL() || i.Selection != "all" || i.SuspendedAt.IsZero() ||
		i.HTMLURL == "" || i.IconURL == "" || missingPermission(i.Permissions) != "" {
		t.Errorf("installation %+v", i)
	}
	if list[1].AccountType != "User" || !list[1].Active() {
		t.Errorf("installation %+v", list[1])
	}

	s.clock.pass(59 * time.Minute)
	s.sweep()
	if len(s.registry.saved) != 1 {
		t.Error("the installations were listed again within an hour")
	}
	s.clock.pass(time.Minute)
	s.sweep()
	if len(s.registry.saved) != 2 {
		t.Error("the installations were not listed again after an hour")
	}

	t.Run("of another App at once", func(t *testing.T) {
		other := s.github.CreateApp(hub.AppConfig{Name: "polset-two"})
		s.apps.set(other.Credentials())
		s.clock.pass(time.Minute)
		s.sweep()
		if n := len(s.registry.saved); n != 3 || len(s.registry.saved[n-1]) != 0 {
			t.Errorf("saved %d lists", n)
		}
	})
}

// TestAPartIsNeverTakenForAll fails on the second page of two.
func TestAPartIsNeverTakenForAll(t *testing.T) {
	s := newSweepWorld(t)
	for i := range 110 {
		s.app.Install(s.github.User(fmt.Sprintf("user-%d", i)))
	}
	page2 := func(r *http.Request) bool { return r.URL.Query().Get("page") == "2" }
	s.github.Fault("GET /app/installations", polsettest.When(page2, polsettest.Status(502, "")))
	if err := s.sweeper.Step(t.Context()); err == nil {
		t.Fatal("half a list went well")
	}
	if len(s.registry.saved) != 0 {
		t.Fatalf("%d installations were saved of a list that was not complete", len(s.registry.saved[0]))
	}
	s.github.Fault("GET /app/installations", nil)
	s.sweep()
	if len(s.registry.saved) != 1 || len(s.registry.saved[0]) != 111 {
		t.Errorf("saved %d lists", len(s.registry.saved))
	}
}

// TestAListThatShifts loses an installation while the list is read.
func TestAListThatShifts(t *testing.T) {
	s := newSweepWorld(t)
	live := []*hub.Installation{}
	for i := range 119 {
		live = append(live, s.app.Install(s.github.User(fmt.Sprintf("user-%03d", i))))
	}
	s.github.DropDeliveries(true)
	// Each of two readings loses one of the first page behind its back.
	s.github.Fault("GET /app/installations", polsettest.When(
		func(r *http.Request) bool { return r.URL.Query().Get("page") == "2" },
		polsettest.Times(2, func(http.ResponseWriter, *http.Request, http.Handler) bool {
			live[0].Delete()
			live = live[1:]
			return false
		})))
	s.sweep()
	if len(s.registry.saved) != 1 || s.registry.complete[0] {
		t.Fatalf("saved %d lists, complete %v: the list is not to be trusted", len(s.registry.saved), s.registry.complete)
	}
	saved := numbers(s.registry.saved[0])
	for _, i := range append(live, s.inst) {
		if !saved[i.ID()] {
			t.Errorf("the installation %d lives and was not saved", i.ID())
		}
	}
	s.sweep() // at once: this is not the hourly one
	if len(s.registry.saved) != 2 || !s.registry.complete[1] || len(s.registry.saved[1]) != 118 {
		t.Fatalf("saved %d lists, complete %v", len(s.registry.saved), s.registry.complete)
	}
	s.sweep()
	if len(s.registry.saved) != 2 {
		t.Error("the installations were listed again within an hour")
	}
}

// busyApp is an App whose deliveries have no end; each request sees one. left
// is what is left of its rate limit.
func busyApp(t *testing.T, now func() time.Time, left *atomic.Int64) (s *Sweeper, looks *atomic.Int64, logs *observer.ObservedLogs) {
	t.Helper()
	w := newWorld(t)
	looks = &atomic.Int64{}
	client := answering(t, Config{Apps: w.apps, Now: now}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-RateLimit-Limit", "5000")
		w.Header().Set("X-RateLimit-Remaining", fmt.Sprint(left.Add(-1)))
		w.Header().Set("X-RateLimit-Reset", fmt.Sprint(now().Add(40*time.Minute).Unix()))
		switch r.URL.Path {
		case "/api/v3/app/installations":
			say(w, "[]")
		case "/api/v3/app/hook/deliveries":
			n := looks.Add(1)
			w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?cursor=%d>; rel="next"`, r.Host, r.URL.Path, n+1))
			say(w, fmt.Sprintf(`[{"id":%d,"guid":"g-%d","delivered_at":%q,"status_code":%d,"event":"repository"}]`,
				n, n, now().Add(-time.Hour).Format(time.RFC3339), 200+300*(n%2)))
		default: // a token
			say(w, fmt.Sprintf(`{"token":"t","expires_at":%q}`, now().Add(time.Hour).Format(time.RFC3339)))
		}
	})
	core, logs := observer.New(zap.InfoLevel)
	s, err := NewSweeper(SweeperConfig{Client: client, Registry: &registry{known: map[string]bool{}}, Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	return s, looks, logs
}

func TestSweepOfABusyApp(t *testing.T) {
	now := newClock()
	var left atomic.Int64
	left.Store(1_000_000)
	s, looks, logs := busyApp(t, now.now, &left)
	step := func(pages int64) {
		t.Helper()
		before := looks.Load()
		if err := s.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := looks.Load() - before; n != pages {
			t.Fatalf("%d pages were read, want %d", n, pages)
		}
		now.pass(5 * time.Minute)
	}
	said := func(times int) {
		t.Helper()
		if n := logs.FilterMessageSnippet("too many deliveries").Len(); n != times {
			t.Errorf("it was said %d times that older ones were not seen, want %d", n, times)
		}
	}
	step(50)
	if n := len(s.open); n != 25 {
		t.Errorf("%d events are open, want the 25 that were seen", n)
	}
	step(1) // what is older is left alone
	said(1)
	now.pass(3 * 24 * time.Hour) // all is new
	step(50)
	said(2)
	now.pass(3 * 24 * time.Hour)
	step(50)
	said(2) // as it was before
}

// TestASweepLeavesARestToOthers shows that tokens can be had while a sweep has
// to wait.
func TestASweepLeavesARestToOthers(t *testing.T) {
	now := newClock()
	var left atomic.Int64
	left.Store(1260)
	s, looks, _ := busyApp(t, now.now, &left)
	err := s.Step(t.Context())
	f := failureIn(t, err, polset.ClassTimeout, true, "rate")
	if f.RetryAfter != 40*time.Minute {
		t.Errorf("wait is %s, want 40m", f.RetryAfter)
	}
	read := looks.Load()
	if read == 0 || read > 12 || left.Load() < 1249 {
		t.Errorf("%d pages were read, and %d requests are left", read, left.Load())
	}
	if err := s.Step(t.Context()); err == nil || looks.Load() != read {
		t.Errorf("%d pages were read before the limit was reset (error %v)", looks.Load()-read, err)
	}
	if _, err := s.Client.Token(t.Context(), polset.Remote{Identifier: "a/b", ExternalID: 1, Installation: 1}, polset.Secret{}); err != nil {
		t.Errorf("there is no token meanwhile: %v", err)
	}
	now.pass(41 * time.Minute)
	left.Store(5000)
	if err := s.Step(t.Context()); err != nil {
		t.Errorf("after the reset: %v", err)
	}
}

// TestWhatLimitsASweepHoldsNoTokens is about the secondary limits.
func TestWhatLimitsASweepHoldsNoTokens(t *testing.T) {
	for _, route := range []string{listAttempts, attemptRoute, "GET /app/installations"} {
		t.Run(route, func(t *testing.T) {
			s := newSweepWorld(t)
			s.github.DropDeliveries(true)
			s.repo.Rename("rules")
			s.github.DropDeliveries(false)
			s.clock.pass(2 * time.Minute)
			s.github.Fault(route, polsettest.Times(1, polsettest.SecondaryRateLimited(time.Minute)))
			failureWith(t, s.sweeper.Step(t.Context()), polset.ClassTimeout, true, "rate")
			s.token(s.remote())
			s.github.ResetCalls()
			if err := s.sweeper.Step(t.Context()); err == nil || len(s.github.Calls()) > 0 {
				t.Errorf("the sweeper did not wait: %v, %v", err, s.routes())
			}
			s.clock.pass(2 * time.Minute)
			if heard := s.sweep(); !slices.Equal(heard, []string{"repository"}) {
				t.Errorf("%v were asked for again, want the one that is open", heard)
			}
			// A limit of tokens is one of all.
			s.github.Fault(mintRoute, polsettest.Times(1, polsettest.SecondaryRateLimited(time.Minute)))
			if _, err := s.client.token(t.Context(), s.remote(), toReport, polset.Secret{}); err == nil {
				t.Fatal("a limited mint went well")
			}
			failureWith(t, s.sweeper.Step(t.Context()), polset.ClassTimeout, true, "rate")
		})
	}
}

// TestAFaultLosesNoPage fails on the second page of three.
func TestAFaultLosesNoPage(t *testing.T) {
	s := newSweepWorld(t)
	lose := func(event string) {
		s.github.DropDeliveries(true)
		s.github.Deliver(s.app, event, []byte(`{"action":"renamed"}`))
		s.github.DropDeliveries(false)
	}
	lose("installation_target")
	for range 220 {
		s.github.Deliver(s.app, "repository", []byte(`{"action":"edited"}`))
	}
	lose("repository")
	s.clock.pass(5 * time.Minute)
	s.github.Fault(listAttempts, polsettest.After(1, polsettest.Times(1, polsettest.Status(502, ""))))
	if err := s.sweeper.Step(t.Context()); err == nil {
		t.Fatal("half a list went well")
	}
	s.github.Settle()
	s.mu.Lock()
	if n := len(s.heard); n == 0 || s.heard[n-1] != "repository" || slices.Contains(s.heard, "installation_target") {
		t.Errorf("%v were asked for again, want what was on the first page", s.heard[max(0, n-3):])
	}
	s.mu.Unlock()
	deliveries := len(s.app.Deliveries())
	s.clock.pass(2 * time.Minute)
	s.github.ResetCalls()
	if heard := s.sweep(); !slices.Equal(heard, []string{"installation_target"}) {
		t.Errorf("%v were asked for again, want what was on the last page", heard)
	}
	if want := []string{listAttempts, listAttempts, attemptRoute}; !slices.Equal(s.routes(), want) {
		t.Errorf("requests are %v, want %v: the first page was read", s.routes(), want)
	}
	if n := len(s.app.Deliveries()); n != deliveries+1 {
		t.Errorf("%d deliveries were made, want 1", n-deliveries)
	}

	// One that stays broken does not keep the newer from being seen.
	for _, d := range s.app.Deliveries() {
		s.registry.known[d.GUID] = true
	}
	for range 220 {
		s.github.Deliver(s.app, "repository", []byte(`{"action":"edited"}`))
	}
	s.clock.pass(5 * time.Minute)
	s.github.Fault(listAttempts, polsettest.When(func(r *http.Request) bool { return r.URL.Query().Get("cursor") != "" }, polsettest.Status(502, "")))
	if err := s.sweeper.Step(t.Context()); err == nil {
		t.Fatal("half a list went well")
	}
	lose("installation_target")
	s.mu.Lock()
	s.heard = nil
	s.mu.Unlock()
	s.clock.pass(15 * time.Minute)
	if err := s.sweeper.Step(t.Context()); err == nil {
		t.Fatal("half a list went well")
	}
	s.github.Settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.heard, []string{"installation_target"}) {
		t.Errorf("%v were asked for again, want the one on the first page", s.heard)
	}
}

func TestSweepWithoutAnApp(t *testing.T) {
	s := newSweepWorld(t)
	s.apps.none = true
	s.logs.TakeAll()
	s.github.ResetCalls()
	s.sweep()
	if len(s.github.Calls()) != 0 || len(s.registry.saved) != 0 {
		t.Error("GitHub was asked")
	}
	for _, entry := range s.logs.All() {
		if entry.Level > -1 {
			t.Errorf("it says %q", entry.Message)
		}
	}
	s.apps.set(s.app.Credentials())
	s.sweep()
	if len(s.registry.saved) != 1 {
		t.Error("the App that came was not found")
	}
}

func TestRedeliver(t *testing.T) {
	s := newSweepWorld(t)
	s.repo.Push("main", map[string]string{"a": "b"})
	deliveries := s.app.Deliveries()
	guid := deliveries[len(deliveries)-1].GUID
	if err := s.client.Redeliver(t.Context(), guid); err != nil {
		t.Fatal(err)
	}
	s.github.Settle()
	deliveries = s.app.Deliveries()
	if last := deliveries[len(deliveries)-1]; !last.Redelivery || last.GUID != guid {
		t.Errorf("the last delivery is %+v", last)
	}
	s.clock.pass(4 * 24 * time.Hour)
	if err := s.client.Redeliver(t.Context(), guid); !isNotFound(err) {
		t.Errorf("of a delivery that GitHub forgot: %v", err)
	}
}

// faultyRegistry is one with a bug.
type faultyRegistry struct {
	registry
	arrived chan struct{}
}

func (f *faultyRegistry) SaveInstallations(context.Context, []polset.Installation, bool) error {
	f.arrived <- struct{}{}
	panic("at the disco")
}

func TestAPanicCostsItsOwnSweep(t *testing.T) {
	s := newSweepWorld(t)
	broken := &faultyRegistry{arrived: make(chan struct{})}
	s.sweeper.Registry, s.sweeper.Every = broken, time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.sweeper.Run(ctx) })
	<-broken.arrived
	<-broken.arrived // it runs on
	cancel()
	running.Wait()
	if s.logs.FilterMessage("sweep of GitHub").Len() == 0 {
		t.Error("nobody was told")
	}
}

func TestSweeperRuns(t *testing.T) {
	s := newSweepWorld(t)
	arrived := make(chan *http.Request)
	s.github.Fault(listAttempts, polsettest.Signal(arrived))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	s.sweeper.Every = time.Millisecond
	running.Go(func() { s.sweeper.Run(ctx) })
	<-arrived
	<-arrived
	cancel()
	running.Wait()
}
