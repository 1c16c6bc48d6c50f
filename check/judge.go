package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/lease"
	"github.com/polset/polset/policy"
)

// A verdict is what an attempt at a check came to.
type verdict struct {
	result polset.CheckResult
	// faults are why something could not be evaluated. Where one of them passes
	// the result counts only if there is no other attempt.
	faults []error
}

// sum counts what the policies say; class is the first error's.
func (v verdict) sum() (counts polset.ResultCounts, class polset.Class) {
	if f := v.result.Failure; f != nil {
		class = f.Class
	}
	for _, o := range v.result.Outcomes {
		counts.Add(o.Count())
		if class == "" {
			class = o.Error
		}
	}
	if v.result.Failure != nil {
		counts.Errored = max(counts.Errored, 1)
	}
	return counts, class
}

// judge evaluates what can be evaluated of a check, and says of the rest why it
// cannot be.
func (c *Checker) judge(ctx context.Context, task polset.CheckTask) verdict {
	v := verdict{result: polset.CheckResult{Outcomes: make([]polset.PolicySetOutcome, len(task.Sets))}}
	evaluator := c.Evaluators[task.Check.Kind]
	e := policy.Evaluation{Run: task.Input, At: task.At, Seed: task.Check.RunID, Budget: c.Budget}
	var asked []int // the places of e.Sets in the task
	for i, set := range task.Sets {
		switch {
		case set.Outcome.VersionID == "":
			v.result.Outcomes[i] = errored(set, noVersion(set))
		case evaluator == nil:
			v.result.Outcomes[i] = errored(set, noEngine(set))
		default:
			asked = append(asked, i)
			e.Sets = append(e.Sets, c.evaluation(set))
		}
	}
	if len(asked) == 0 {
		return v
	}
	results, duration, err := c.evaluate(ctx, task, evaluator, e)
	v.result.Duration = duration
	if err != nil {
		f := secretsOf(task.Sets...).failure(polset.FailureOf(err))
		v.result.Failure, v.faults = f, []error{err}
		for _, i := range asked {
			v.result.Outcomes[i] = errored(task.Sets[i], f)
		}
		return v
	}
	for n, i := range asked {
		if err := results[n].Err; err != nil {
			v.faults = append(v.faults, fmt.Errorf("policy set %s: %w", task.Sets[i].Outcome.PolicySetID, err))
		}
		v.result.Outcomes[i] = outcomeOf(task.Sets[i], results[n])
	}
	return v
}

// evaluation is what an engine is asked of a policy set.
func (c *Checker) evaluation(set polset.CheckSet) policy.SetEvaluation {
	parameters := make(map[string]string, len(set.Parameters))
	for _, p := range set.Parameters {
		parameters[p.Key] = p.Value.Reveal()
	}
	return policy.SetEvaluation{
		Key: set.Outcome.Digest, Dir: set.Outcome.PoliciesDirectory, Kind: set.Outcome.Kind, Parameters: parameters,
		Files: func(ctx context.Context) (fs.FS, error) {
			return within(ctx, c.StoreTimeout, "the policies of "+set.Outcome.PolicySetName, func(ctx context.Context) (fs.FS, error) {
				return c.Archives.Open(ctx, set.Outcome.Digest)
			})
		},
	}
}

// evaluate reads the plan and asks the engine, and returns how long that took.
func (c *Checker) evaluate(ctx context.Context, task polset.CheckTask, evaluator Evaluator, e policy.Evaluation) (results []policy.SetResult, took time.Duration, err error) {
	defer func() {
		// A bug in an engine must cost its own check, not the server.
		if p := recover(); p != nil {
			err = lease.Panicked(p)
		}
	}()
	if e.Plan, err = c.plan(ctx, task.PlanDigest); err != nil {
		return nil, 0, err
	}
	start := time.Now()
	results, err = evaluator.Evaluate(ctx, e)
	took = time.Since(start)
	if err == nil && len(results) != len(e.Sets) {
		err = fmt.Errorf("the engine gave %d results of %d policy sets", len(results), len(e.Sets))
	}
	return results, took, err
}

// plan reads the plan of a run.
func (c *Checker) plan(ctx context.Context, digest string) ([]byte, error) {
	plan, err := within(ctx, c.StoreTimeout, "the plan", func(ctx context.Context) ([]byte, error) {
		return c.Plans.Plan(ctx, digest)
	})
	if err != nil && c.TolerateMissingPlan && polset.FailureOf(err).Class == polset.ClassPathNotFound {
		return []byte(`{"planned_values":{}}`), nil
	}
	return plan, err
}

// within reads something from the object storage, in the time that this may
// take.
func within[T any](ctx context.Context, limit time.Duration, what string, read func(context.Context) (T, error)) (T, error) {
	stage, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	content, err := read(stage)
	if err != nil && ctx.Err() == nil && errors.Is(stage.Err(), context.DeadlineExceeded) {
		err = &polset.Failure{
			Class: polset.ClassStorage, Retry: true, Hung: true, Err: err,
			Message: fmt.Sprintf("It took longer than %s to read %s from the object storage, the limit that POLSET_STORE_TIMEOUT sets.", limit, what),
		}
	}
	return content, err
}

// outcomeOf is what a policy set says, without its secrets. Nothing is taken
// for a pass that nobody said: a policy that its version declares, and of which
// there is no result, errored.
func outcomeOf(set polset.CheckSet, r policy.SetResult) polset.PolicySetOutcome {
	secrets := secretsOf(set)
	if r.Err != nil {
		return errored(set, secrets.failure(polset.FailureOf(r.Err)))
	}
	o := set.Outcome
	missing := make(map[string]int, len(set.Policies))
	for _, p := range set.Policies {
		missing[p.Name]++
	}
	for _, p := range r.Policies {
		missing[p.Name]--
		p.Messages, p.Prints = secrets.hideAll(p.Messages), secrets.hideAll(p.Prints)
		if p.Status != polset.OutcomePassed && p.Status != polset.OutcomeFailed {
			p.Status = polset.OutcomeErrored
		}
		o.Policies = append(o.Policies, p)
	}
	for _, p := range set.Policies {
		if missing[p.Name] > 0 {
			missing[p.Name]--
			o.Policies = append(o.Policies, erroredPolicy(p, "The engine said nothing of this policy. Queue another run; if it is so again, tell polset's operator."))
		}
	}
	if len(o.Policies) == 0 {
		return errored(set, polset.Fail(polset.ClassInternal, "The policy set %s holds no policy that could be evaluated; tell polset's operator.", o.PolicySetName))
	}
	return o
}

// errored is the outcome of a policy set that could not be evaluated: all of its
// policies errored for the same reason.
func errored(set polset.CheckSet, f *polset.Failure) polset.PolicySetOutcome {
	o := set.Outcome
	o.Error, o.ErrorMessage = f.Class, f.Message
	o.Policies = nil
	for _, p := range set.Policies {
		o.Policies = append(o.Policies, erroredPolicy(p, f.Message))
	}
	return o
}

func erroredPolicy(p polset.PolicySummary, why string) polset.PolicyOutcome {
	return polset.PolicyOutcome{
		Name: p.Name, Query: p.Query, EnforcementLevel: p.EnforcementLevel, Description: p.Description,
		Status: polset.OutcomeErrored, Messages: []string{why}, File: p.File, Line: p.Line,
	}
}

func noVersion(set polset.CheckSet) *polset.Failure {
	return polset.Fail(polset.ClassNoPolicies,
		"The policy set %s applies to this workspace, and had no version that was ready when the run was created. "+
			"Bring it one (its versions and ingestions say what is wrong) or detach it from the workspace, and queue another run.",
		set.Outcome.PolicySetName)
}

func noEngine(set polset.CheckSet) *polset.Failure {
	engine := string(set.Outcome.Kind)
	if set.Outcome.Kind == polset.KindSentinel {
		engine = "Sentinel"
	}
	return polset.Fail(polset.ClassEngineUnsupported,
		"The policy set %s needs %s, and polset has no %s engine yet. "+
			"Detach it from the workspace, or bring its policies as an OPA policy set, and queue another run.",
		set.Outcome.PolicySetName, engine, engine)
}
