package check_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zapcore"

	"github.com/polset/polset"
	"github.com/polset/polset/check"
	"github.com/polset/polset/policy"
)

// What an engine is asked is what the run kept.
func TestAskWhatTheRunKept(t *testing.T) {
	first := set("first", "advisory", "a")
	first.Parameters = []polset.ParameterDraft{
		{Key: "open", Value: polset.NewSecret("x")}, {Key: "secret", Value: polset.NewSecret("hunter2"), Sensitive: true},
	}
	due := task(first, set("second", "mandatory", "b", "c"))
	var asked policy.Evaluation
	w := newWorld(t, func(ctx context.Context, e policy.Evaluation) ([]policy.SetResult, error) {
		asked = e
		for _, s := range e.Sets {
			fsys, err := s.Files(ctx)
			if err != nil {
				return nil, err
			}
			if _, err := fs.Stat(fsys, "p/"+s.Key); err != nil {
				t.Error(err)
			}
		}
		return passing(due)(ctx, e)
	})
	w.config.Archives = archives{"first": {"p/first": {}}, "second": {"p/second": {}}}
	w.config.Budget = time.Minute
	w.config.Plans = planFunc(func(_ context.Context, digest string) ([]byte, error) { return []byte("plan of " + digest), nil })
	result := w.judge(t.Context(), due)
	want := policy.Evaluation{
		Plan: []byte("plan of upload"), Run: due.Input, At: due.At, Seed: "run-1", Budget: time.Minute,
		Sets: []policy.SetEvaluation{
			{Key: "first", Dir: "p", Kind: polset.KindOPA, Parameters: map[string]string{"open": "x", "secret": "hunter2"}},
			{Key: "second", Dir: "p", Kind: polset.KindOPA, Parameters: map[string]string{}},
		},
	}
	for i := range asked.Sets {
		asked.Sets[i].Files = nil
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if len(result.Outcomes) != 2 || result.Outcomes[1].ID != "psout-second" || len(result.Outcomes[1].Policies) != 2 || result.Failure != nil {
		t.Errorf("result %+v", result)
	}
	w.counted(`class="",kind="opa",outcome="passed"`)
	if told := w.told("check ended"); told["run"] != "run-1" || told["status"] != "passed" || told["passed"] != int64(3) || told["check"] != "poleval-1" {
		t.Errorf("the log says %v", told)
	}
}

func TestOutcomes(t *testing.T) {
	p := set("s", "mandatory", "a", "b").Policies
	invalid := polset.Fail(polset.ClassPolicyInvalid, "It does not compile.")
	for _, test := range []struct {
		label   string
		change  func(*polset.CheckTask)
		results []policy.SetResult
		err     error
		status  polset.CheckStatus
		class   polset.Class
		failure string // of the check as a whole
		want    []polset.PolicyOutcome
	}{
		{
			label:   "passed",
			results: []policy.SetResult{{Policies: []polset.PolicyOutcome{says(p[0], polset.OutcomePassed), says(p[1], polset.OutcomePassed)}}},
			status:  polset.CheckPassed,
			want:    []polset.PolicyOutcome{says(p[0], polset.OutcomePassed), says(p[1], polset.OutcomePassed)},
		},
		{
			label:   "hard failed",
			results: []policy.SetResult{{Policies: []polset.PolicyOutcome{says(p[0], polset.OutcomePassed), says(p[1], polset.OutcomeFailed, "no")}}},
			status:  polset.CheckHardFailed,
			want:    []polset.PolicyOutcome{says(p[0], polset.OutcomePassed), says(p[1], polset.OutcomeFailed, "no")},
		},
		{
			label:   "soft failed",
			change:  func(t *polset.CheckTask) { t.Sets[0].Outcome.Overridable = true },
			results: []policy.SetResult{{Policies: []polset.PolicyOutcome{says(p[0], polset.OutcomePassed), says(p[1], polset.OutcomeFailed, "no")}}},
			status:  polset.CheckSoftFailed,
			want:    []polset.PolicyOutcome{says(p[0], polset.OutcomePassed), says(p[1], polset.OutcomeFailed, "no")},
		},
		{
			label:   "a policy errored",
			change:  func(t *polset.CheckTask) { t.Sets[0].Outcome.Overridable = true },
			results: []policy.SetResult{{Policies: []polset.PolicyOutcome{says(p[0], polset.OutcomeFailed, "no"), says(p[1], polset.OutcomeErrored, "undefined")}}},
			status:  polset.CheckErrored,
			want:    []polset.PolicyOutcome{says(p[0], polset.OutcomeFailed, "no"), says(p[1], polset.OutcomeErrored, "undefined")},
		},
		{
			label:   "a status that there is not",
			results: []policy.SetResult{{Policies: []polset.PolicyOutcome{says(p[0], ""), says(p[1], polset.OutcomePassed)}}},
			status:  polset.CheckErrored,
			want:    []polset.PolicyOutcome{says(p[0], polset.OutcomeErrored), says(p[1], polset.OutcomePassed)},
		},
		{
			label:   "a policy of which nothing is said",
			results: []policy.SetResult{{Policies: []polset.PolicyOutcome{says(p[1], polset.OutcomePassed)}}},
			status:  polset.CheckErrored,
			want:    []polset.PolicyOutcome{says(p[1], polset.OutcomePassed), says(p[0], polset.OutcomeErrored, "The engine said nothing of this policy.")},
		},
		{
			label:   "a set that cannot be evaluated",
			results: []policy.SetResult{{Policies: []polset.PolicyOutcome{says(p[0], polset.OutcomePassed)}, Err: invalid}},
			status:  polset.CheckErrored, class: polset.ClassPolicyInvalid,
			want: []polset.PolicyOutcome{says(p[0], polset.OutcomeErrored, invalid.Message), says(p[1], polset.OutcomeErrored, invalid.Message)},
		},
		{
			label:   "a set that is empty",
			change:  func(t *polset.CheckTask) { t.Sets[0].Policies = nil },
			results: []policy.SetResult{{}},
			status:  polset.CheckErrored, class: polset.ClassInternal,
		},
		{
			label:  "an invalid plan",
			err:    polset.Fail(polset.ClassContentInvalid, "The plan is no JSON."),
			status: polset.CheckErrored, class: polset.ClassContentInvalid, failure: "The plan is no JSON.",
			want: []polset.PolicyOutcome{says(p[0], polset.OutcomeErrored, "The plan is no JSON."), says(p[1], polset.OutcomeErrored, "The plan is no JSON.")},
		},
		{
			label:  "no version",
			change: func(t *polset.CheckTask) { t.Sets[0].Outcome.VersionID, t.Sets[0].Policies = "", nil },
			err:    errBroken, // if it were asked
			status: polset.CheckErrored, class: polset.ClassNoPolicies,
		},
		{
			label: "no engine",
			change: func(t *polset.CheckTask) {
				t.Check.Kind, t.Sets[0].Outcome.Kind, t.PlanDigest = polset.KindSentinel, polset.KindSentinel, "none"
			},
			status: polset.CheckErrored, class: polset.ClassEngineUnsupported,
			want: []polset.PolicyOutcome{
				says(p[0], polset.OutcomeErrored, "The policy set s needs Sentinel, and polset has no Sentinel engine yet."),
				says(p[1], polset.OutcomeErrored, "The policy set s needs Sentinel, and polset has no Sentinel engine yet."),
			},
		},
	} {
		t.Run(test.label, func(t *testing.T) {
			w := newWorld(t, func(context.Context, policy.Evaluation) ([]policy.SetResult, error) { return test.results, test.err })
			due := task(set("s", "mandatory", "a", "b"))
			if test.change != nil {
				test.change(&due)
			}
			r := w.judge(t.Context(), due)
			if r.Again || len(r.Outcomes) != 1 {
				t.Fatalf("result %+v", r)
			}
			o := r.Outcomes[0]
			for i := range o.Policies { // the sentence goes on
				for n, m := range o.Policies[i].Messages {
					if i < len(test.want) && n < len(test.want[i].Messages) && strings.HasPrefix(m, test.want[i].Messages[n]) {
						o.Policies[i].Messages[n] = test.want[i].Messages[n]
					}
				}
				o.Policies[i].File, o.Policies[i].Line = "", 0
			}
			if diff := cmp.Diff(test.want, o.Policies); diff != "" {
				t.Errorf("policies (-want +got):\n%s", diff)
			}
			if o.Error != test.class || (o.Error == "") != (o.ErrorMessage == "") || o.ID != "psout-s" {
				t.Errorf("outcome %+v", o)
			}
			switch {
			case test.failure == "" && r.Failure != nil, test.failure != "" && (r.Failure == nil || r.Failure.Message != test.failure):
				t.Errorf("failure %v, want %q", r.Failure, test.failure)
			}
			if got := polset.CheckStatusOf(o.Count()); got != test.status {
				t.Errorf("it counts as %s", got)
			}
			w.counted(`class="` + string(test.class) + `",kind="` + string(due.Check.Kind) + `",outcome="` + string(test.status) + `"`)
			if told := w.told("check ended"); told["status"] != string(test.status) || told["class"] != string(test.class) {
				t.Errorf("the log says %v", told)
			}
		})
	}
}

// One set that cannot be evaluated says nothing of the others.
func TestSetsDoNotTouchEachOther(t *testing.T) {
	absent := set("absent", "mandatory")
	absent.Outcome.VersionID = ""
	due := task(absent, set("good", "mandatory", "a"), set("bad", "mandatory", "b"))
	w := newWorld(t, func(_ context.Context, e policy.Evaluation) ([]policy.SetResult, error) {
		if len(e.Sets) != 2 {
			t.Errorf("asked of %d sets", len(e.Sets))
		}
		return []policy.SetResult{
			{Policies: []polset.PolicyOutcome{says(due.Sets[1].Policies[0], polset.OutcomePassed)}},
			{Err: polset.Fail(polset.ClassLimit, "It takes too long.")},
		}, nil
	})
	r := w.judge(t.Context(), due)
	var got []string
	for _, o := range r.Outcomes {
		got = append(got, o.PolicySetName+" "+string(o.Error))
	}
	if want := []string{"absent no-policies", "good ", "bad limit"}; !slices.Equal(got, want) || r.Failure != nil {
		t.Errorf("outcomes %q, failure %v", got, r.Failure)
	}
	for _, part := range []string{"absent", "queue another run"} {
		if !strings.Contains(r.Outcomes[0].ErrorMessage, part) {
			t.Errorf("%q does not hold %q", r.Outcomes[0].ErrorMessage, part)
		}
	}
}

func TestPlan(t *testing.T) {
	missing := polset.Fail(polset.ClassPathNotFound, "There is no plan.")
	due := task(set("s", "advisory", "a"))
	var seen []byte
	w := newWorld(t, func(ctx context.Context, e policy.Evaluation) ([]policy.SetResult, error) {
		seen = e.Plan
		return passing(due)(ctx, e)
	})
	var err error = missing
	w.config.Plans = planFunc(func(context.Context, string) ([]byte, error) { return nil, err })
	r := w.judge(t.Context(), due)
	if r.Failure == nil || r.Failure.Class != polset.ClassPathNotFound || r.Outcomes[0].Policies[0].Status != polset.OutcomeErrored || seen != nil {
		t.Errorf("without a plan: %+v, and the engine saw %q", r, seen)
	}
	w.counted(`class="path-not-found",kind="opa",outcome="errored"`)

	w.config.TolerateMissingPlan = true
	if r := w.judge(t.Context(), due); r.Failure != nil || string(seen) != `{"planned_values":{}}` {
		t.Errorf("where that is tolerated: %+v, and the engine saw %q", r, seen)
	}
	seen, err = nil, polset.Fail(polset.ClassContentInvalid, "The upload is damaged.")
	if r := w.judge(t.Context(), due); r.Failure == nil || seen != nil {
		t.Errorf("an upload that cannot be read is not tolerated: %+v, and the engine saw %q", r, seen)
	}
}

// What may heal is tried again, and fails closed when it does not.
func TestFaults(t *testing.T) {
	storage := &polset.Failure{Class: polset.ClassStorage, Retry: true, Message: "The storage is away."}
	due := task(set("s", "advisory", "a"), set("t", "advisory", "b"))
	setFault := func(err error) engine {
		return func(ctx context.Context, e policy.Evaluation) ([]policy.SetResult, error) {
			results, _ := passing(due)(ctx, e)
			results[1] = policy.SetResult{Err: err}
			return results, nil
		}
	}
	whole := func(err error) engine {
		return func(context.Context, policy.Evaluation) ([]policy.SetResult, error) { return nil, err }
	}
	for _, test := range []struct {
		label    string
		evaluate engine
		attempts int // before this one
		most     int
		again    bool
		class    polset.Class
		outcomes []polset.Class
	}{
		{
			label: "more attempts than the rows count", evaluate: whole(errBroken), attempts: 19, most: 100,
			class: polset.ClassInternal, outcomes: []polset.Class{"internal", "internal"},
		},
		{label: "an error of a whole evaluation", evaluate: whole(errBroken), again: true},
		{label: "the same for the last time", evaluate: whole(errBroken), attempts: 5, class: polset.ClassInternal, outcomes: []polset.Class{"internal", "internal"}},
		{label: "a failure that stays", evaluate: whole(polset.Fail(polset.ClassLimit, "Too large.")), class: polset.ClassLimit, outcomes: []polset.Class{"limit", "limit"}},
		{label: "an error of one set", evaluate: setFault(errBroken), again: true},
		{label: "the same for the last time costs that set", evaluate: setFault(errBroken), attempts: 5, outcomes: []polset.Class{"", "internal"}},
		{label: "storage that is away", evaluate: setFault(storage), again: true},
		{label: "storage that is away for long", evaluate: setFault(storage), attempts: 20, again: true},
		{label: "a panic", evaluate: func(context.Context, policy.Evaluation) ([]policy.SetResult, error) { panic("a bug") }, again: true},
		{
			label:    "a panic again and again",
			evaluate: func(context.Context, policy.Evaluation) ([]policy.SetResult, error) { panic("a bug") },
			attempts: 5, class: polset.ClassInternal, outcomes: []polset.Class{"internal", "internal"},
		},
		{
			label: "too few results",
			evaluate: func(context.Context, policy.Evaluation) ([]policy.SetResult, error) {
				return make([]policy.SetResult, 1), nil
			},
			attempts: 5, class: polset.ClassInternal, outcomes: []polset.Class{"internal", "internal"},
		},
	} {
		t.Run(test.label, func(t *testing.T) {
			w := newWorld(t, test.evaluate)
			w.config.RetryBase, w.config.MaxAttempts = time.Second, test.most
			due := due
			due.Attempts = test.attempts
			r := w.judge(t.Context(), due)
			if test.again {
				least := time.Second << min(test.attempts, 7)
				if !r.Again || !r.Fault || r.After < least || r.After > least+least/10 || r.Outcomes != nil {
					t.Errorf("result %+v, want another attempt after %s", r, least)
				}
				if w.told("check to be tried again")["error"] == "" {
					t.Error("the log does not say why")
				}
				return
			}
			var got []polset.Class
			for _, o := range r.Outcomes {
				got = append(got, o.Error)
			}
			if r.Again || !slices.Equal(got, test.outcomes) {
				t.Errorf("result %+v", r)
			}
			if (test.class == "") != (r.Failure == nil) || r.Failure != nil && r.Failure.Class != test.class {
				t.Errorf("failure %v, want %q", r.Failure, test.class)
			}
			if polset.CheckStatusOf(r.Outcomes[1].Count()) != polset.CheckErrored {
				t.Error("it does not count as errored")
			}
			w.told("check ended")
		})
	}
}

// What an engine says, even in its errors, is in no outcome and in no log as
// long as it is secret.
func TestSecretsInFaults(t *testing.T) {
	s := set("s", "advisory", "a")
	s.Parameters = []polset.ParameterDraft{{Key: "token", Value: polset.NewSecret("hunter2"), Sensitive: true}}
	failure := &polset.Failure{Class: polset.ClassInternal, Retry: true, Message: "It choked on hunter2.", Err: errors.New("hunter2 is odd")}
	for _, attempts := range []int{0, 5} {
		for label, evaluate := range map[string]engine{
			"of all": func(context.Context, policy.Evaluation) ([]policy.SetResult, error) { return nil, failure },
			"of a set": func(context.Context, policy.Evaluation) ([]policy.SetResult, error) {
				return []policy.SetResult{{Err: failure}}, nil
			},
			"a panic": func(_ context.Context, e policy.Evaluation) ([]policy.SetResult, error) {
				panic(e.Sets[0].Parameters["token"])
			},
		} {
			w := newWorld(t, evaluate)
			due := task(s)
			due.Attempts = attempts
			r := w.judge(t.Context(), due)
			seen := fmt.Sprintf("%+v", r.Outcomes)
			if r.Failure != nil {
				seen += r.Failure.Message
			}
			for _, entry := range w.logs.All() {
				seen += fmt.Sprint(entry.Message, entry.ContextMap())
			}
			if strings.Contains(seen, "hunter2") || !strings.Contains(seen, "(sensitive)") {
				t.Errorf("an error %s: %s", label, seen)
			}
		}
	}
}

func TestStorageThatHangs(t *testing.T) {
	due := task(set("s", "advisory", "a"))
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for label, change := range map[string]func(*world){
		"the plan": func(w *world) {
			w.config.Plans = planFunc(func(ctx context.Context, _ string) ([]byte, error) { return nil, hang(ctx) })
		},
		"the policies of s": func(w *world) {
			w.config.Archives = openFunc(func(ctx context.Context, _ string) (fs.FS, error) { return nil, hang(ctx) })
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, func(ctx context.Context, e policy.Evaluation) ([]policy.SetResult, error) {
				_, err := e.Sets[0].Files(ctx)
				return []policy.SetResult{{Err: err}}, nil
			})
			change(w)
			start := time.Now()
			r := w.judge(t.Context(), due)
			if took := time.Since(start); !r.Again || !r.Fault || took != 2*time.Minute {
				t.Errorf("%s: after %s: %+v", label, took, r)
			}
			if told := w.told("check to be tried again"); told["class"] != "storage" || !strings.Contains(told["error"].(string), label) {
				t.Errorf("the log says %v", told)
			}
		})
	}
}

// A check that was canceled, or that another node has, is dropped at once.
func TestLostLease(t *testing.T) {
	due := task(set("s", "advisory", "a"))
	t.Run("while it is evaluated", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var w *world
			w = newWorld(t, func(ctx context.Context, _ policy.Evaluation) ([]policy.SetResult, error) {
				w.rows.fence()
				<-ctx.Done()
				return nil, context.Cause(ctx)
			})
			w.rows.due = []polset.CheckTask{due}
			start := time.Now()
			if n, err := w.checker().Round(t.Context()); n != 1 || err != nil || len(w.rows.settled) != 0 {
				t.Errorf("%d checks, %v; settled %v", n, err, w.rows.settled)
			}
			if took := time.Since(start); took != 10*time.Second {
				t.Errorf("it was let go after %s, not at the next renewal", took)
			}
			w.told("check canceled, or passed to another worker")
		})
	})
	t.Run("at its end", func(t *testing.T) {
		w := newWorld(t, nil)
		w.config.Evaluators[polset.KindOPA] = engine(func(ctx context.Context, e policy.Evaluation) ([]policy.SetResult, error) {
			w.rows.fence()
			return passing(due)(ctx, e)
		})
		w.rows.due = []polset.CheckTask{due}
		if n, err := w.checker().Round(t.Context()); n != 1 || err != nil {
			t.Errorf("%d checks, %v", n, err)
		}
		w.told("check canceled, or passed to another worker")
	})
	t.Run("the lease is renewed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, func(ctx context.Context, e policy.Evaluation) ([]policy.SetResult, error) {
				select {
				case <-time.After(5 * time.Minute):
				case <-ctx.Done():
				}
				return passing(due)(ctx, e)
			})
			if r := w.judge(t.Context(), due); r.Again || r.Duration != 5*time.Minute {
				t.Errorf("result %+v", r)
			}
		})
	})
}

// What is interrupted by the end of the server goes on at the next start; what
// was finished by then is settled.
func TestServerStops(t *testing.T) {
	due := task(set("s", "advisory", "a"))
	ctx, stop := context.WithCancel(t.Context())
	w := newWorld(t, func(ctx context.Context, _ policy.Evaluation) ([]policy.SetResult, error) {
		stop()
		return nil, ctx.Err()
	})
	if r := w.judge(ctx, due); !r.Again || r.Fault || r.After != 0 {
		t.Errorf("result %+v", r)
	}
	w.told("check interrupted")

	ctx, stop = context.WithCancel(t.Context())
	w = newWorld(t, func(ctx context.Context, e policy.Evaluation) ([]policy.SetResult, error) {
		stop()
		return passing(due)(ctx, e)
	})
	if r := w.judge(ctx, due); r.Again || len(r.Outcomes) != 1 {
		t.Errorf("result %+v", r)
	}
}

func TestRowsAway(t *testing.T) {
	due := task(set("s", "advisory", "a"))
	w := newWorld(t, passing(due))
	w.rows.away, w.rows.due = errBroken, []polset.CheckTask{due}
	if _, err := w.checker().Round(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	if n := w.logs.FilterLevelExact(zapcore.InfoLevel).Len(); n != 0 {
		t.Errorf("%d outcomes were told", n)
	}
}

// Run works on what is due, several checks at once, and wakes when it is told.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		due := task(set("s", "advisory", "a"))
		wake := make(chan struct{}, 1)
		running, most := 0, 0
		var w *world
		w = newWorld(t, func(ctx context.Context, e policy.Evaluation) ([]policy.SetResult, error) {
			w.rows.mu.Lock()
			running++
			most = max(most, running)
			w.rows.mu.Unlock()
			time.Sleep(time.Second)
			w.rows.mu.Lock()
			running--
			w.rows.mu.Unlock()
			return passing(due)(ctx, e)
		})
		w.config.Wake, w.config.Poll, w.config.Concurrency = wake, time.Hour, 3
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		checker := w.checker()
		go func() { checker.Run(ctx); close(ended) }()
		synctest.Wait()
		w.rows.mu.Lock()
		for range 7 {
			w.rows.due = append(w.rows.due, due)
		}
		w.rows.mu.Unlock()
		wake <- struct{}{}
		time.Sleep(4 * time.Second)
		stop()
		<-ended
		if len(w.rows.settled) != 7 || most != 3 {
			t.Errorf("%d checks were settled, %d at once", len(w.rows.settled), most)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	if _, err := check.New(check.Config{}); err == nil || !strings.Contains(err.Error(), "Plans") {
		t.Errorf("got %v", err)
	}
}
