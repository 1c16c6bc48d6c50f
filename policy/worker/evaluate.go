package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

// Evaluate does what policy.Evaluate does, in a worker: the results are those of
// e.Sets, in their order. A set that needs more memory or time than a worker has
// ends with a *polset.Failure of class limit, and those behind it go on in a
// fresh worker; where the worker failed, not the content, the failure is of class
// internal and worth another attempt. The error is one of the evaluation as a
// whole: that of ctx, of the plan, or of workers that do not start.
//
// A set's time counts from when its files are at hand. All sets together may take
// as long as maxBudgets of them; those left over then are a failure of class limit.
func (p *Pool) Evaluate(ctx context.Context, e policy.Evaluation) ([]policy.SetResult, error) {
	if e.Budget <= 0 {
		e.Budget = p.CheckTimeout
	}
	if len(e.Plan) > policy.MaxPlanBytes {
		return nil, policy.PlanTooLarge()
	}
	ctx, end, err := p.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	sets := make([]setKey, len(e.Sets))
	for i, s := range e.Sets {
		sets[i] = setKey{s.Key, s.Dir, s.Kind}
	}
	place, err := p.take(ctx, true, sets)
	if err != nil {
		return nil, fmt.Errorf("wait for a policy worker: %w", err)
	}
	defer place.leave()

	ev := &evaluating{place: place, evaluation: &e}
	defer ev.forget()
	if err := ev.begin(ctx); err != nil {
		return nil, err
	}
	results := make([]policy.SetResult, len(e.Sets))
	room := maxSaid
	for i, s := range e.Sets {
		if ev.took > maxBudgets*e.Budget {
			results[i].Err = overBudgets(e.Budget)
			continue
		}
		var whole *wholeError
		if results[i] = ev.evaluate(ctx, s); errors.As(results[i].Err, &whole) {
			return nil, whole.err
		}
		ev.took += results[i].Duration
		room = shorten(results[i].Policies, room)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("evaluate policy sets: %w", ended(ctx))
		}
	}
	return results, nil
}

// maxBudgets is how many budgets an Evaluation may use up. Nothing else bounds how
// many sets apply to a workspace, and meanwhile others wait for the place.
const maxBudgets = 20

func overBudgets(budget time.Duration) *polset.Failure {
	return polset.Fail(polset.ClassLimit,
		"The policy sets take longer than %s to evaluate together, %d times the limit that POLSET_CHECK_TIMEOUT sets for each of them; this one was not evaluated.",
		maxBudgets*budget, maxBudgets)
}

// maxSaid is how many bytes of messages and prints an Evaluation keeps: each set
// may say a thousand pages, and any number may apply to a workspace.
const maxSaid = 16 << 20

// leftOut stands for what is beyond it.
var leftOut = "The policies of this run say more than " + size(maxSaid) + ", the limit for a check: what this one says was left out."

// shorten leaves out what there is no room for, and returns the room that is left
// then. It changes no verdict.
func shorten(outcomes []polset.PolicyOutcome, room int) int {
	within := func(lines []string) []string {
		for n, line := range lines {
			if room -= len(line); room < 0 {
				room = 0
				return append(lines[:n:n], leftOut)
			}
		}
		return lines
	}
	for i := range outcomes {
		o := &outcomes[i]
		o.Messages, o.Prints = within(o.Messages), within(o.Prints)
	}
	return room
}

// An evaluating is an Evaluation that has a place.
type evaluating struct {
	*place
	evaluation *policy.Evaluation
	took       time.Duration // of the budgets
}

// begin hands over the plan, before any set.
func (ev *evaluating) begin(ctx context.Context) error {
	_, err := ev.do(ctx, ev.planOrder(), ev.evaluation.Plan, nil, nil)
	var whole *wholeError
	switch {
	case err == nil:
		ev.worker.planned = ev.evaluation
		return nil
	case errors.As(err, &whole):
		return whole.err
	}
	return ev.planFailure(err)
}

func (ev *evaluating) planOrder() order {
	return order{Op: opPlan, Budget: ev.evaluation.Budget, Run: ev.evaluation.Run, At: ev.evaluation.At, Seed: ev.evaluation.Seed}
}

// forget takes the plan from the worker, which may be without work for long.
func (ev *evaluating) forget() {
	if ev.worker == nil || ev.worker.planned == nil {
		return
	}
	ev.worker.planned = nil
	_, _ = ev.carryOut(context.Background(), order{Op: opForget}, nil, nil) // or it dies, and the plan with it
}

// planFailure is what an error of the plan's order means.
func (ev *evaluating) planFailure(err error) error {
	var d *deathError
	if !errors.As(err, &d) {
		return err
	}
	return ev.pool.failure(d, "The plan needs", polset.Fail(polset.ClassLimit,
		"The plan takes longer than %s to read, the limit that POLSET_CHECK_TIMEOUT sets.", ev.evaluation.Budget))
}

// prepare hands over the plan where the worker does not have it: it came in the
// place of another.
func (ev *evaluating) prepare(ctx context.Context) error {
	if ev.worker.planned == ev.evaluation {
		return nil
	}
	began := time.Now()
	_, err := ev.carryOut(ctx, ev.planOrder(), ev.evaluation.Plan, nil)
	ev.took += time.Since(began) // a set is to blame, though not this one
	var d *deathError
	switch {
	case err == nil:
		ev.worker.planned = ev.evaluation
		return nil
	case errors.As(err, &d) && d.cause == causeForeign:
		return err
	}
	return &wholeError{ev.planFailure(err)}
}

// evaluate does one set.
func (ev *evaluating) evaluate(ctx context.Context, s policy.SetEvaluation) policy.SetResult {
	began := time.Now()
	budget := ev.evaluation.Budget
	r, err := ev.do(ctx, order{Op: opSet, Key: s.Key, Dir: s.Dir, Kind: s.Kind, Parameters: s.Parameters, Budget: budget},
		nil, s.Files, func() error { return ev.prepare(ctx) })
	var d *deathError
	if errors.As(err, &d) {
		return policy.SetResult{
			Duration: time.Since(began),
			Err:      ev.pool.failure(d, "The policies need", policy.OverBudget(budget)),
		}
	}
	var large *frameSizeError
	switch {
	case err == nil:
		ev.worker.compiled.used(setKey{s.Key, s.Dir, s.Kind})
	case errors.As(err, &large):
		err = tooLarge("What the parameters of the policy set hold", err)
	}
	return policy.SetResult{Policies: r.Outcomes, Duration: r.Duration, Err: err}
}
