package githubapp

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
	"github.com/polset/polset/internal/polsettest/hub"
)

// TestNoCheckRunIsMadeTwice breaks off each request after it took effect, or
// loses what was written about it.
func TestNoCheckRunIsMadeTwice(t *testing.T) {
	for name, breakOff := range map[string]struct {
		fault polsettest.Fault
		crash bool
		taken bool // the first attempt left a check run
		doubt bool // and says that it may have
	}{
		"the answer is lost":             {hub.Lost(), false, true, true},
		"502 after it took effect":       {takenBut502, false, true, true},
		"a crash before it was settled":  {nil, true, true, false},
		"503 before it took effect":      {polsettest.Status(503, ""), false, false, true},
		"limited before it took effect":  {polsettest.SecondaryRateLimited(time.Minute), false, false, false},
		"it took effect and was limited": {limitedAfter, false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			commit := w.repo.Commit("main", map[string]string{"a": "b"})
			r := newReporter(w, &reportRows{forget: breakOff.crash})
			if breakOff.fault != nil {
				w.github.Fault(createRoute, polsettest.Times(1, breakOff.fault))
			}
			report, o := r.send(t, w.report(commit, polset.ReportRunning))
			if !breakOff.crash && (o.Failure == nil || !o.Failure.Retry) {
				t.Fatalf("outcome %+v, want one to be tried again", o)
			}
			if o.Uncertain != breakOff.doubt {
				t.Errorf("outcome %+v, want doubt %t", o, breakOff.doubt)
			}
			if n := len(w.repo.CheckRuns(commit)); n == 1 != breakOff.taken {
				t.Fatalf("%d check runs after the first attempt", n)
			}
			r.rows.forget = false
			w.clock.pass(2 * time.Minute)
			report.Status, report.Version = polset.ReportVersioned, readyVersion("a")
			_, o = r.send(t, report)
			done(t, o)
			if run := w.run(commit); run.Conclusion != "success" || run.ID != o.CheckRunID {
				t.Errorf("check run %+v, outcome %+v", run, o)
			}
		})
	}
}

func takenBut502(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
	next.ServeHTTP(discard{http.Header{}}, r)
	w.WriteHeader(http.StatusBadGateway)
	return true
}

// limitedAfter takes effect, and says that the limit is met from now on.
func limitedAfter(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
	next.ServeHTTP(discard{http.Header{}}, r)
	return polsettest.SecondaryRateLimited(time.Minute)(w, r, next)
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header       { return d.header }
func (discard) WriteHeader(int)             {}
func (discard) Write(p []byte) (int, error) { return len(p), nil }

func TestAnnotations(t *testing.T) {
	t.Run("more than a request may hold", func(t *testing.T) {
		w := newWorld(t)
		commit := w.repo.Commit("main", map[string]string{"a": "b"})
		r := newReporter(w, &reportRows{})
		report := w.report(commit, polset.ReportFailed)
		report.Version = failedVersion(75)
		_, o := r.send(t, report)
		done(t, o)
		run := w.run(commit)
		if run.Conclusion != "failure" || len(run.Annotations) != 75 || o.AnnotatedUpTo != 75 {
			t.Fatalf("%d annotations, conclusion %s, outcome %+v", len(run.Annotations), run.Conclusion, o)
		}
		want := hub.Annotation{
			Path: "policies/a.rego", StartLine: 75, EndLine: 75, StartColumn: 2, EndColumn: 2,
			Level: "failure", Message: "problem 74", Title: "policy-invalid",
		}
		if diff := cmp.Diff(want, run.Annotations[74]); diff != "" {
			t.Errorf("the last annotation (-want +got):\n%s", diff)
		}
		holds(t, run.Title, "policy-invalid: The policy a.rego does not compile")
	})
	for name, test := range map[string]struct {
		route string
		fault polsettest.Fault
		crash bool
		after int // annotations after the first attempt
	}{
		"the answer to the first part is lost":     {createRoute, hub.Lost(), false, 50},
		"the answer to the second part is lost":    {updateRoute, hub.Lost(), false, 75},
		"the second part does not arrive":          {updateRoute, polsettest.Status(503, ""), false, 50},
		"the second part is limited":               {updateRoute, polsettest.SecondaryRateLimited(time.Minute), false, 50},
		"a crash before it was settled":            {"", nil, true, 75},
		"the answer to the second part is a 502":   {updateRoute, takenBut502, false, 75},
		"the first part does not arrive, for sure": {createRoute, polsettest.SecondaryRateLimited(time.Minute), false, 0},
	} {
		t.Run("never twice: "+name, func(t *testing.T) {
			w := newWorld(t)
			commit := w.repo.Commit("main", map[string]string{"a": "b"})
			r := newReporter(w, &reportRows{forget: test.crash})
			report := w.report(commit, polset.ReportFailed)
			report.Version = failedVersion(75)
			if test.fault != nil {
				w.github.Fault(test.route, polsettest.Times(1, test.fault))
			}
			report, _ = r.send(t, report)
			if test.after > 0 {
				if n := len(w.run(commit).Annotations); n != test.after {
					t.Fatalf("%d annotations after the first attempt, want %d", n, test.after)
				}
			}
			r.rows.forget = false
			w.clock.pass(2 * time.Minute)
			_, o := r.send(t, report)
			done(t, o)
			if n := len(w.run(commit).Annotations); n != 75 || o.AnnotatedUpTo != 75 {
				t.Errorf("%d annotations, outcome %+v; want 75", n, o)
			}
		})
	}
	t.Run("a hundred at most", func(t *testing.T) {
		report := polset.Report{Status: polset.ReportFailed, Version: failedVersion(130)}
		if n := len(describe(report, time.Now()).annotations); n != maxAnnotations {
			t.Errorf("%d annotations, want %d", n, maxAnnotations)
		}
	})
}

func TestACheckRunOfAnotherAppIsNotChanged(t *testing.T) {
	w := newWorld(t)
	commit := w.repo.Commit("main", map[string]string{"a": "b"})
	r := newReporter(w, &reportRows{})
	report, o := r.send(t, w.report(commit, polset.ReportRunning))
	done(t, o)

	other := w.github.CreateApp(hub.AppConfig{Name: "polset-two"})
	inst := other.Install(w.acme)
	w.apps.set(other.Credentials())
	w.clock.pass(2 * time.Minute)
	report.Remote.Installation = inst.ID()
	report.Status, report.Version = polset.ReportVersioned, readyVersion("a")
	_, o = r.send(t, report)
	done(t, o)
	runs := w.repo.CheckRuns(commit)
	if len(runs) != 2 || runs[1].App != other.ID || runs[1].Conclusion != "success" {
		t.Errorf("check runs %+v", runs)
	}
}

// TestCheckRunsOfOtherReportsAreLeftAlone is about two ingestions of one commit
// for one policy set.
func TestCheckRunsOfOtherReportsAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	commit := w.repo.Commit("main", map[string]string{"a": "b"})
	r := newReporter(w, &reportRows{})
	first := w.report(commit, polset.ReportVersioned)
	first.Version = readyVersion("a")
	first, o := r.send(t, first)
	done(t, o)
	second := w.report(commit, polset.ReportRunning)
	second.ID, second.Uncertain = "rep-second", true
	_, o = r.send(t, second)
	done(t, o)
	runs := w.repo.CheckRuns(commit)
	if len(runs) != 2 || runs[0].ExternalID != first.ID || runs[0].Conclusion != "success" || runs[1].ExternalID != "rep-second" {
		t.Errorf("check runs %+v", runs)
	}
}

func TestGivingUp(t *testing.T) {
	for name, test := range map[string]struct {
		happens func(*world)
		change  func(*world, *polset.Report)
		part    string
	}{
		"no permission": {func(w *world) {
			permissions := polset.AppPermissions()
			permissions["checks"] = "read"
			w.app.SetPermissions(permissions)
			w.inst.AcceptPermissions()
		}, nil, "lacks the permission checks: write"},
		"installation suspended": {func(w *world) { w.inst.Suspend() }, nil, "suspended"},
		"installation deleted":   {func(w *world) { w.inst.Delete() }, nil, "not installed any more"},
		"archived":               {func(w *world) { w.repo.Archive() }, nil, "archived"},
		"unknown commit": {nil, func(_ *world, r *polset.Report) {
			r.Commit, r.CreatedAt = strings.Repeat("0", 40), r.CreatedAt.Add(-10*time.Minute)
		}, "may be gone"},
		"no credential": {nil, func(_ *world, r *polset.Report) { r.Remote.Installation = 0 }, "no credential"},
		"a token without the scope": {nil, func(w *world, r *polset.Report) {
			r.Remote = w.connection("read:repo_hook")
		}, "repo:status"},
		"too many statuses": {func(w *world) {
			w.github.Fault(statusRoute, polsettest.Status(422, `{"message":"Validation Failed","errors":[{"resource":"Status","code":"custom","message":"This SHA and context has reached the maximum number of statuses."}]}`))
		}, func(w *world, r *polset.Report) { r.Remote = w.connection("repo") }, "1,000 statuses"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			commit := w.repo.Commit("main", map[string]string{"a": "b"})
			if test.happens != nil {
				test.happens(w)
			}
			r := newReporter(w, &reportRows{})
			for i := range 2 {
				report := w.report(commit, polset.ReportRunning)
				if test.change != nil {
					test.change(w, &report)
				}
				_, o := r.send(t, report)
				if o.Failure == nil || o.Failure.Retry || o.Uncertain || o.Revision != 0 {
					t.Fatalf("attempt %d: outcome %+v, want one that is given up", i, o)
				}
				holds(t, o.Failure.Message, test.part)
			}
		})
	}
	t.Run("is said once an hour for a credential", func(t *testing.T) {
		w := newWorld(t)
		commit := w.repo.Commit("main", map[string]string{"a": "b"})
		w.inst.Suspend()
		r := newReporter(w, &reportRows{})
		for range 3 {
			r.send(t, w.report(commit, polset.ReportRunning))
		}
		said := func() (n int) {
			for _, e := range w.logs.FilterMessage("report given up").All() {
				if e.Level > -1 {
					n++
				}
			}
			return n
		}
		if said() != 1 {
			t.Errorf("it was said %d times, want once", said())
		}
		w.clock.pass(time.Hour)
		r.send(t, w.report(commit, polset.ReportRunning))
		if said() != 2 {
			t.Errorf("it was said %d times after an hour, want twice", said())
		}
	})
}

func TestCommitStatus(t *testing.T) {
	w := newWorld(t)
	commit := w.repo.Commit("main", map[string]string{"a": "b"})
	r := newReporter(w, &reportRows{})
	report := w.report(commit, polset.ReportRunning)
	report.Remote = w.connection("repo:status")
	report, o := r.send(t, report)
	done(t, o)
	if s := w.repo.LatestStatuses(commit)["polset/acme-inc/network"]; s.State != "pending" || s.TargetURL != "" {
		t.Errorf("status %+v", s)
	}
	report.Status, report.Version = polset.ReportVersioned, readyVersion("a")
	report, o = r.send(t, report)
	done(t, o)
	if s := w.repo.LatestStatuses(commit)["polset/acme-inc/network"]; s.State != "success" || s.Description != "A new version with 1 policy" {
		t.Errorf("status %+v", s)
	}
	report.PullRequest, report.Status = 7, polset.ReportCompared
	report.DryRun = &polset.DryRun{Comparison: &polset.Comparison{Changes: []polset.PolicyChange{
		{Policy: "a", Kind: polset.PolicyChanged, From: "hard-mandatory", To: "advisory", Weaker: true},
	}}}
	_, o = r.send(t, report)
	done(t, o)
	if s := w.repo.LatestStatuses(commit)["polset/acme-inc/network (pull request)"]; s.State != "success" || !strings.HasPrefix(s.Description, "Weaker: 1 policy") {
		t.Errorf("status %+v", s)
	}
	if len(w.repo.CheckRuns(commit)) > 0 {
		t.Error("a token made a check run")
	}
}

// TestAnswerWithoutANumber is about a proxy that spoils GitHub's answers.
func TestAnswerWithoutANumber(t *testing.T) {
	spoiled := func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		next.ServeHTTP(discard{http.Header{}}, r)
		w.WriteHeader(http.StatusOK)
		say(w, `{}`)
		return true
	}
	t.Run("to a new one", func(t *testing.T) {
		w := newWorld(t)
		commit := w.repo.Commit("main", map[string]string{"a": "b"})
		r := newReporter(w, &reportRows{})
		w.github.Fault(createRoute, polsettest.Times(1, spoiled))
		report, o := r.send(t, w.report(commit, polset.ReportRunning))
		if o.Failure == nil || !o.Failure.Retry || !o.Uncertain || o.Revision != 0 {
			t.Fatalf("outcome %+v, want one that may have taken effect", o)
		}
		_, o = r.send(t, report)
		done(t, o)
		if run := w.run(commit); run.ID != o.CheckRunID {
			t.Errorf("check run %d, outcome %+v", run.ID, o)
		}
	})
	t.Run("to a change", func(t *testing.T) {
		w := newWorld(t)
		commit := w.repo.Commit("main", map[string]string{"a": "b"})
		r := newReporter(w, &reportRows{})
		report, o := r.send(t, w.report(commit, polset.ReportRunning))
		done(t, o)
		known := o.CheckRunID
		w.github.Fault(updateRoute, polsettest.Times(1, spoiled))
		report.Status, report.Version = polset.ReportVersioned, readyVersion("a")
		_, o = r.send(t, report)
		done(t, o)
		if o.CheckRunID != known {
			t.Errorf("the check run is %d, want %d", o.CheckRunID, known)
		}
		w.run(commit)
	})
}

// TestACommitThatReplicasDoNotKnowYet shows that a report waits for GitHub's
// own copies.
func TestACommitThatReplicasDoNotKnowYet(t *testing.T) {
	for route, remote := range map[string]func(*world) polset.Remote{
		createRoute: (*world).remote,
		statusRoute: func(w *world) polset.Remote { return w.connection("repo:status") },
	} {
		t.Run(route, func(t *testing.T) {
			w := newWorld(t)
			commit := w.repo.Commit("main", map[string]string{"a": "b"})
			r := newReporter(w, &reportRows{})
			w.github.Fault(route, polsettest.Times(2, polsettest.Status(422, `{"message":"No commit found for SHA: `+commit+`"}`)))
			report := w.report(commit, polset.ReportRunning)
			report.Remote = remote(w)
			w.clock.pass(9 * time.Minute)
			report, o := r.send(t, report)
			if o.Failure == nil || !o.Failure.Retry || o.Uncertain {
				t.Fatalf("outcome %+v, want one to be tried again", o)
			}
			holds(t, o.Failure.Message, commit+" of acme/policies yet")
			w.clock.pass(time.Minute)
			if report, o = r.send(t, report); o.Failure == nil || o.Failure.Retry {
				t.Fatalf("outcome %+v after 10 minutes, want one that is given up", o)
			}
			_, o = r.send(t, report)
			done(t, o)
		})
	}
}

func TestCheckNames(t *testing.T) {
	name := func(organization, set string, number int) string {
		return checkName(polset.Report{Organization: organization, PolicySet: set, PullRequest: number})
	}
	if got := name("acme", "network", 0); got != "polset/acme/network" {
		t.Errorf("name is %q", got)
	}
	if got := name("acme", "network", 7); got != "polset/acme/network (pull request)" {
		t.Errorf("name of a pull request is %q", got)
	}
	// The longest that polset knows are not cut.
	organization, set := strings.Repeat("o", 63), strings.Repeat("s", 128)
	if got := name(organization, set, 7); got != "polset/"+organization+"/"+set+" (pull request)" {
		t.Errorf("name is %q", got)
	}
	long := strings.Repeat("ü", 300)
	seen := map[string]bool{}
	for _, number := range []int{0, 7} {
		for _, end := range []string{"a", "b"} {
			got := name("acme", long+end, number)
			if len(got) > 255 || !utf8.ValidString(got) || seen[got] || strings.HasSuffix(got, " (pull request)") != (number != 0) {
				t.Errorf("name of %d bytes: %q", len(got), got)
			}
			seen[got] = true
		}
	}
}
