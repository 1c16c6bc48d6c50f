package githubapp

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
	"github.com/polset/polset/internal/polsettest/hub"
)

const (
	createRoute = "POST /repos/{owner}/{repo}/check-runs"
	updateRoute = "PATCH /repos/{owner}/{repo}/check-runs/{check_run_id}"
	listRoute   = "GET /repos/{owner}/{repo}/commits/{ref}/check-runs"
	statusRoute = "POST /repos/{owner}/{repo}/statuses/{sha}"
)

// reportRows are the reports of a store in memory.
type reportRows struct {
	mu       sync.Mutex
	rows     []polset.Report
	outcomes []polset.ReportOutcome
	settled  chan struct{} // where it is not nil, one value for each
	forget   bool          // settling is lost, as in a crash
}

func (s *reportRows) ClaimReports(_ context.Context, n int, _ time.Duration) ([]polset.Report, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(n, len(s.rows))
	claimed := s.rows[:n:n]
	s.rows = s.rows[n:]
	for i := range claimed {
		claimed[i].LeasedBy++
	}
	return claimed, nil
}

func (s *reportRows) SettleReport(_ context.Context, o polset.ReportOutcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.forget {
		s.outcomes = append(s.outcomes, o)
	}
	if s.settled != nil {
		s.settled <- struct{}{}
	}
	return nil
}

// add makes a report due, as its last outcome left it.
func (s *reportRows) add(r polset.Report) polset.ReportOutcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = append(s.rows, r)
	return polset.ReportOutcome{}
}

type testReporter struct {
	*Reporter
	rows *reportRows
}

func newReporter(w *world, rows *reportRows) *testReporter {
	w.t.Helper()
	r, err := NewReporter(ReporterConfig{Client: w.client, Reports: rows, Logger: w.log})
	if err != nil {
		w.t.Fatal(err)
	}
	return &testReporter{r, rows}
}

// step sends what is due and returns the outcomes.
func (r *testReporter) step(t *testing.T) []polset.ReportOutcome {
	t.Helper()
	r.rows.outcomes = nil
	if _, err := r.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r.rows.outcomes
}

// send sends one report and returns it as it is in the row afterwards.
func (r *testReporter) send(t *testing.T, report polset.Report) (polset.Report, polset.ReportOutcome) {
	t.Helper()
	report.Revision++
	r.rows.add(report)
	report.LeasedBy++
	outcomes := r.step(t)
	if len(outcomes) == 0 {
		return report, polset.ReportOutcome{}
	}
	o := outcomes[0]
	report.CheckRunID, report.Uncertain, report.AnnotatedUpTo = o.CheckRunID, o.Uncertain, o.AnnotatedUpTo
	return report, o
}

func (w *world) report(commit string, status polset.ReportStatus) polset.Report {
	return polset.Report{
		ID: "rep-" + commit[:8], PolicySetID: "polset-1", PolicySet: "network", Organization: "acme-inc",
		Remote: w.remote(), Commit: commit, Status: status, CreatedAt: w.clock.now(),
	}
}

func readyVersion(names ...string) *polset.Version {
	v := &polset.Version{ID: "polsetver-1", Status: polset.VersionReady, Commit: strings.Repeat("a", 40)}
	v.Artifact.Digest, v.Artifact.Files = strings.Repeat("d1", 32), 7
	for _, name := range names {
		v.Artifact.Policies = append(v.Artifact.Policies, polset.PolicySummary{Name: name, EnforcementLevel: "hard-mandatory"})
	}
	return v
}

func failedVersion(problems int) *polset.Version {
	v := &polset.Version{
		ID: "polsetver-2", Status: polset.VersionErrored,
		Error: polset.ClassPolicyInvalid, ErrorMessage: "The policy a.rego does not compile: line 3.",
	}
	for i := range problems {
		v.Diagnostics = append(v.Diagnostics, polset.Diagnostic{File: "policies/a.rego", Line: i + 1, Column: 2, Message: fmt.Sprintf("problem %d", i)})
	}
	return v
}

func done(t *testing.T, o polset.ReportOutcome) {
	t.Helper()
	if o.Failure != nil {
		t.Fatalf("it was not sent: %v", o.Failure)
	}
	if o.Revision == 0 || o.Uncertain {
		t.Fatalf("outcome %+v does not say that it was sent", o)
	}
}

func TestCheckRunFollowsTheRow(t *testing.T) {
	w := newWorld(t)
	commit := w.repo.Commit("main", map[string]string{"policies/a.rego": "package a"})
	r := newReporter(w, &reportRows{})

	report, o := r.send(t, w.report(commit, polset.ReportPending))
	done(t, o)
	run := w.run(commit)
	if run.Status != "queued" || run.Conclusion != "" || run.ExternalID != report.ID || run.App != w.app.ID {
		t.Errorf("check run %+v", run)
	}

	report.Status, report.StartedAt = polset.ReportRunning, w.clock.now()
	report, o = r.send(t, report)
	done(t, o)
	if run = w.run(commit); run.Status != "in_progress" || run.Title != "polset is reading the policies" {
		t.Errorf("check run %+v", run)
	}

	w.clock.pass(5 * time.Second)
	report.Status, report.EndedAt, report.Version = polset.ReportVersioned, w.clock.now(), readyVersion("a", "b")
	_, o = r.send(t, report)
	done(t, o)
	run = w.run(commit)
	if run.Status != "completed" || run.Conclusion != "success" || !run.StartedAt.Equal(report.StartedAt) || !run.CompletedAt.Equal(report.EndedAt) {
		t.Errorf("check run %+v", run)
	}
	holds(t, run.Title, "2 policies")
	for _, part := range []string{"| `a` | hard\\-mandatory |", "`" + readyVersion().Artifact.Digest + "`", "`polsetver-1`", "7 files"} {
		holds(t, run.Summary, part)
	}
	for _, c := range w.github.Calls() {
		if c.Route == listRoute {
			t.Error("the check runs were listed although each answer arrived")
		}
	}
}

// run is the only check run of a commit.
func (w *world) run(commit string) hub.CheckRun {
	w.t.Helper()
	runs := w.repo.CheckRuns(commit)
	if len(runs) != 1 {
		w.t.Fatalf("%d check runs, want 1", len(runs))
	}
	return runs[0]
}

func TestOutage(t *testing.T) {
	w := newWorld(t)
	commit := w.repo.Commit("main", map[string]string{"a": "b"})
	r := newReporter(w, &reportRows{})
	if _, err := w.client.token(t.Context(), w.remote(), toReport, polset.Secret{}); err != nil {
		t.Fatal(err)
	}
	w.client.Close() // so that the next request needs a connection of its own
	w.github.Down(hub.Outage{Refuse: true})
	report, o := r.send(t, w.report(commit, polset.ReportRunning))
	if o.Failure == nil || !o.Failure.Retry || o.Uncertain {
		t.Fatalf("outcome %+v, want one to be tried again without doubt", o)
	}
	w.github.Down(hub.Outage{REST: true})
	report, o = r.send(t, report)
	if o.Failure == nil || !o.Failure.Retry {
		t.Fatalf("outcome %+v, want one to be tried again", o)
	}
	w.github.Down(hub.Outage{})
	_, o = r.send(t, report)
	done(t, o)
	w.run(commit)
}

func TestReporterRuns(t *testing.T) {
	w := newWorld(t)
	commit := w.repo.Commit("main", map[string]string{"a": "b"})
	rows := &reportRows{settled: make(chan struct{}, 100)}
	const n = 20
	for i := range n {
		report := w.report(commit, polset.ReportRunning)
		report.ID, report.PolicySet = fmt.Sprintf("rep-%d", i), fmt.Sprintf("set-%d", i)
		rows.add(report)
	}
	r, err := NewReporter(ReporterConfig{Client: w.client, Reports: rows, Pace: Pace{PollInterval: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	for range n {
		<-rows.settled
	}
	rows.add(w.report(commit, polset.ReportRunning)) // found by the next poll
	<-rows.settled
	cancel()
	running.Wait()
	if got := len(w.repo.LatestCheckRuns(commit)); got != n+1 {
		t.Errorf("%d check runs, want %d", got, n+1)
	}
}

// TestInterruptedReport shows that a stop leaves word of what may have been.
func TestInterruptedReport(t *testing.T) {
	w := newWorld(t)
	commit := w.repo.Commit("main", map[string]string{"a": "b"})
	arrived := make(chan *http.Request)
	w.github.Fault(createRoute, polsettest.FirstOf(polsettest.Signal(arrived), polsettest.Hang()))
	rows := &reportRows{rows: []polset.Report{w.report(commit, polset.ReportRunning)}}
	r := newReporter(w, rows)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	<-arrived
	cancel()
	running.Wait()
	if len(rows.outcomes) != 1 || !rows.outcomes[0].Uncertain || rows.outcomes[0].Failure == nil || !rows.outcomes[0].Failure.Retry {
		t.Errorf("outcomes %+v, want one that may have taken effect", rows.outcomes)
	}
}

func TestAPanicCostsItsOwnReport(t *testing.T) {
	err := guarded(func() error { panic("at the disco") })
	failureWith(t, err, polset.ClassInternal, true)
}

// TestWorkEndsBeforeItsLease shows that no request outlives the lease: another
// worker would make the check run as well.
func TestWorkEndsBeforeItsLease(t *testing.T) {
	w := newWorld(t)
	commit := w.repo.Commit("main", map[string]string{"a": "b"})
	w.token(w.remote())
	if _, err := w.client.token(t.Context(), w.remote(), toReport, polset.Secret{}); err != nil {
		t.Fatal(err)
	}
	w.github.Fault(createRoute, polsettest.Hang())
	rows := &reportRows{rows: []polset.Report{w.report(commit, polset.ReportRunning)}}
	r, err := NewReporter(ReporterConfig{Client: w.client, Reports: rows, Pace: Pace{Lease: 600 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	if _, err := r.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	if len(rows.outcomes) != 1 || !rows.outcomes[0].Uncertain || rows.outcomes[0].Failure == nil || !rows.outcomes[0].Failure.Retry {
		t.Errorf("outcomes %+v, want one that may have taken effect", rows.outcomes)
	}
}
