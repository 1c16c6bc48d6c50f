package check_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/polset/polset"
	"github.com/polset/polset/check"
	"github.com/polset/polset/policy"
)

// rows are the checks of a store that does as it is told.
type rows struct {
	mu      sync.Mutex
	due     []polset.CheckTask
	fenced  bool
	settled []polset.CheckResult
	away    error // of every settlement
}

func (r *rows) ClaimChecks(_ context.Context, n int, _ time.Duration) ([]polset.CheckTask, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n = min(n, len(r.due))
	claimed := r.due[:n]
	r.due = r.due[n:]
	return claimed, nil
}

func (r *rows) RenewChecks(context.Context, []polset.Lease, time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fenced {
		return polset.ErrFenced
	}
	return nil
}

func (r *rows) SettleCheck(ctx context.Context, _ polset.CheckTask, result polset.CheckResult) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case r.fenced:
		return polset.ErrFenced
	case r.away != nil:
		return r.away
	}
	r.settled = append(r.settled, result)
	return nil
}

func (r *rows) fence() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fenced = true
}

type planFunc func(ctx context.Context, digest string) ([]byte, error)

func (f planFunc) Plan(ctx context.Context, digest string) ([]byte, error) { return f(ctx, digest) }

type openFunc func(ctx context.Context, digest string) (fs.FS, error)

func (f openFunc) Open(ctx context.Context, digest string) (fs.FS, error) { return f(ctx, digest) }

type engine func(ctx context.Context, e policy.Evaluation) ([]policy.SetResult, error)

func (f engine) Evaluate(ctx context.Context, e policy.Evaluation) ([]policy.SetResult, error) {
	return f(ctx, e)
}

// archives are what policy sets are made of, by digest.
type archives map[string]fstest.MapFS

func (a archives) Open(_ context.Context, digest string) (fs.FS, error) {
	fsys, ok := a[digest]
	if !ok {
		return nil, polset.Fail(polset.ClassStorage, "The archive is gone.")
	}
	return fsys, nil
}

// A world is a checker, and what it works with.
type world struct {
	t       *testing.T
	rows    *rows
	config  check.Config
	metrics *prometheus.Registry
	logs    *observer.ObservedLogs
}

func newWorld(t *testing.T, evaluate engine) *world {
	w := &world{t: t, rows: &rows{}, metrics: prometheus.NewRegistry()}
	core, logs := observer.New(zapcore.DebugLevel)
	w.logs = logs
	w.config = check.Config{
		Checks: w.rows, Archives: archives{},
		Plans:      planFunc(func(context.Context, string) ([]byte, error) { return []byte(`{"resource_changes":[]}`), nil }),
		Evaluators: map[polset.Kind]check.Evaluator{polset.KindOPA: evaluate},
		Logger:     zap.New(core),
	}
	return w
}

// judge has one task worked on, and returns what was settled.
func (w *world) judge(ctx context.Context, task polset.CheckTask) polset.CheckResult {
	w.t.Helper()
	before := len(w.rows.settled)
	w.rows.due = append(w.rows.due, task)
	if n, err := w.checker().Round(ctx); n != 1 || err != nil {
		w.t.Fatalf("%d checks, %v", n, err)
	}
	if len(w.rows.settled) != before+1 {
		w.t.Fatalf("%d checks were settled, want one more than %d", len(w.rows.settled), before)
	}
	return w.rows.settled[before]
}

func (w *world) checker() *check.Checker {
	w.t.Helper()
	w.metrics = prometheus.NewRegistry()
	w.config.Registerer = w.metrics
	c, err := check.New(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// counted expects that one check was counted so.
func (w *world) counted(labels string) {
	w.t.Helper()
	want := "# HELP polset_checks_total Policy checks and evaluations of runs by kind and outcome; class is the error class of errored ones.\n" +
		"# TYPE polset_checks_total counter\npolset_checks_total{" + labels + "} 1\n"
	if err := testutil.GatherAndCompare(w.metrics, strings.NewReader(want), "polset_checks_total"); err != nil {
		w.t.Error(err)
	}
}

// told expects exactly one Info, and returns its fields.
func (w *world) told(message string) map[string]any {
	w.t.Helper()
	info := w.logs.FilterLevelExact(zapcore.InfoLevel).TakeAll()
	if len(info) != 1 || info[0].Message != message {
		w.t.Fatalf("the log says %v, want %q once", info, message)
	}
	return info[0].ContextMap()
}

// set is an applying policy set that declares policies at a level.
func set(name, level string, policies ...string) polset.CheckSet {
	s := polset.CheckSet{Outcome: polset.PolicySetOutcome{
		ID: "psout-" + name, PolicySetID: "polset-" + name, PolicySetName: name, Kind: polset.KindOPA,
		VersionID: "polsetver-" + name, Digest: name, PoliciesDirectory: "p",
	}}
	for _, p := range policies {
		s.Policies = append(s.Policies, polset.PolicySummary{Name: p, Query: "data." + p + ".deny", EnforcementLevel: level, File: "p/policies.hcl", Line: 1})
	}
	return s
}

// task is a check of policy sets, at its first attempt.
func task(sets ...polset.CheckSet) polset.CheckTask {
	return polset.CheckTask{
		Lease:      polset.Lease{IngestionID: "poleval-1", Number: 1},
		Check:      polset.Check{ID: "poleval-1", RunID: "run-1", Kind: polset.KindOPA, Evaluation: true},
		PlanDigest: "upload", Input: []byte(`{"id":"run-1"}`), At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Sets: sets,
	}
}

func says(p polset.PolicySummary, status polset.OutcomeStatus, messages ...string) polset.PolicyOutcome {
	return polset.PolicyOutcome{Name: p.Name, Query: p.Query, EnforcementLevel: p.EnforcementLevel, Status: status, Messages: messages}
}

// passing passes all policies of all sets of a task.
func passing(task polset.CheckTask) engine {
	return func(context.Context, policy.Evaluation) ([]policy.SetResult, error) {
		results := make([]policy.SetResult, len(task.Sets))
		for i, s := range task.Sets {
			for _, p := range s.Policies {
				results[i].Policies = append(results[i].Policies, says(p, polset.OutcomePassed))
			}
		}
		return results, nil
	}
}

var errBroken = errors.New("broken")
