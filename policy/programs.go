package policy

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/polset/polset"
)

// Programs evaluates policy sets and keeps what it compiled of those whose
// Key is known, those used last, within its bounds. It may be used from
// several goroutines at once. The zero value keeps nothing.
type Programs struct {
	// Bytes is how much memory the programs that are kept may take together, by
	// Program.Size, and Count how many they may be.
	Bytes int64
	Count int

	mu     sync.Mutex
	kept   map[programKey]*list.Element // whose values are *keptProgram
	latest list.List                    // the one used last first
	bytes  int64
}

type programKey struct {
	key, dir string
	kind     polset.Kind
}

type keptProgram struct {
	key     programKey
	program *Program
}

// Has reports whether the set would not have to be compiled.
func (ps *Programs) Has(s SetEvaluation) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.kept[keyOf(s)] != nil
}

// Evaluate does a whole Evaluation, one set after the other, and returns a
// result for each, in their order. The error is that of ctx, or of what all
// sets share: a plan that is none is a *polset.Failure.
func (ps *Programs) Evaluate(ctx context.Context, e Evaluation) ([]SetResult, error) {
	plan, err := ParsePlan(e.Plan)
	if err != nil {
		return nil, err
	}
	if _, err := parseRun(e.Run); err != nil {
		return nil, err
	}
	results := make([]SetResult, len(e.Sets))
	for i, set := range e.Sets {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("evaluate policy sets: %w", err)
		}
		results[i] = ps.EvaluateSet(ctx, e, plan, set)
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("evaluate policy sets: %w", err)
		}
	}
	return results, nil
}

// EvaluateSet evaluates one set on a plan that was parsed, with what an
// Evaluation says beside the plan and the sets.
func (ps *Programs) EvaluateSet(ctx context.Context, e Evaluation, plan *Plan, set SetEvaluation) (result SetResult) {
	began := time.Now()
	result.Policies, result.Err = ps.evaluate(ctx, e.Budget, set, Input{
		Plan: plan, Run: e.Run, Parameters: set.Parameters, At: e.At, Seed: e.Seed,
	})
	result.Duration = time.Since(began)
	return result
}

// evaluate does one set. Its files are opened outside the budget, which is the
// set's own.
func (ps *Programs) evaluate(ctx context.Context, budget time.Duration, s SetEvaluation, in Input) ([]polset.PolicyOutcome, error) {
	program := ps.get(keyOf(s))
	var fsys fs.FS
	var err error
	if program == nil {
		if fsys, err = s.Files(ctx); err != nil {
			return nil, err
		}
	}
	if budget > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, budget, errBudget)
		defer cancel()
	}
	if program == nil {
		program, err = ps.compile(ctx, fsys, s)
	}
	var outcomes []polset.PolicyOutcome
	if err == nil {
		outcomes, err = program.Evaluate(ctx, in)
	}
	if errors.Is(err, context.DeadlineExceeded) && errors.Is(context.Cause(ctx), errBudget) {
		return nil, OverBudget(budget)
	}
	return outcomes, err
}

var errBudget = errors.New("the budget of a policy set is used up")

// OverBudget is the failure of a set that takes longer than an Evaluation's
// Budget.
func OverBudget(budget time.Duration) *polset.Failure {
	return polset.Fail(polset.ClassLimit, "The policy set takes longer than %s to evaluate, the limit that POLSET_CHECK_TIMEOUT sets.", budget)
}

// compile compiles a set, and keeps it where it may be used again.
func (ps *Programs) compile(ctx context.Context, fsys fs.FS, s SetEvaluation) (*Program, error) {
	set, err := Read(fsys, s.Dir, s.Kind)
	if err != nil {
		return nil, err
	}
	program, err := set.Compile(ctx, fsys)
	if err != nil {
		return nil, err
	}
	if s.Key != "" {
		ps.keep(keyOf(s), program)
	}
	return program, nil
}

func keyOf(s SetEvaluation) programKey { return programKey{s.Key, cleanDir(s.Dir), s.Kind} }

// get returns the program that is kept under key, nil where none is.
func (ps *Programs) get(key programKey) *Program {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	element := ps.kept[key]
	if element == nil {
		return nil
	}
	ps.latest.MoveToFront(element)
	return element.Value.(*keptProgram).program //nolint:forcetypeassert // nothing else is in the list
}

// keep keeps a program, and lets go those that were not used for longest.
func (ps *Programs) keep(key programKey, program *Program) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.kept[key] != nil || program.size > ps.Bytes || ps.Count < 1 {
		return // somebody else was faster, or it would only drive out all others
	}
	if ps.kept == nil {
		ps.kept = map[programKey]*list.Element{}
	}
	ps.kept[key] = ps.latest.PushFront(&keptProgram{key, program})
	ps.bytes += program.size
	for ps.bytes > ps.Bytes || len(ps.kept) > ps.Count {
		oldest := ps.latest.Remove(ps.latest.Back()).(*keptProgram) //nolint:forcetypeassert // likewise
		delete(ps.kept, oldest.key)
		ps.bytes -= oldest.program.size
	}
}
