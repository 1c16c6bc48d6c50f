package policy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown"
	regoprint "github.com/open-policy-agent/opa/v1/topdown/print"

	"github.com/polset/polset"
)

// An Input is what a Program is evaluated with.
type Input struct {
	Plan       *Plan
	Run        []byte            // a JSON object, which policies see as input.run; nil for {}
	Parameters map[string]string // which policies see as input.parameters
	At         time.Time         // what policies take for now; where it is zero, 1970
	Seed       string            // of their random numbers and uuids
}

// parseRun is what policies see as input.run.
func parseRun(raw []byte) (ast.Value, error) {
	if raw == nil {
		return ast.NewObject(), nil
	}
	if deeper(raw) {
		return nil, fmt.Errorf("read the run's data: they nest deeper than %d levels", maxDocumentNesting)
	}
	object, err := parseObject(raw)
	if err != nil {
		return nil, fmt.Errorf("read the run's data: %w", err)
	}
	return object, nil
}

// value is the document that policies see as input.
func (in Input) value() (ast.Value, error) {
	run, err := parseRun(in.Run)
	if err != nil {
		return nil, err
	}
	parameters := ast.NewObject()
	for key, value := range in.Parameters {
		parameters.Insert(ast.StringTerm(key), ast.StringTerm(value))
	}
	return ast.NewObject(
		[2]*ast.Term{ast.StringTerm("plan"), ast.NewTerm(in.Plan.value)},
		[2]*ast.Term{ast.StringTerm("run"), ast.NewTerm(run)},
		[2]*ast.Term{ast.StringTerm("parameters"), ast.NewTerm(parameters)},
	), nil
}

// Evaluate asks every policy of the program, in the order of their
// declaration. A policy that gives no verdict has an errored outcome, whose
// message says why. The error is that of ctx, which ends an evaluation at any
// time, or one of in. Equal inputs have equal outcomes.
func (p *Program) Evaluate(ctx context.Context, in Input) ([]polset.PolicyOutcome, error) {
	input, err := in.value()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("evaluate policies: %w", err)
	}
	txn, err := p.data.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("evaluate policies: %w", err)
	}
	defer p.data.Abort(ctx, txn)
	cancel := topdown.NewCancel()
	defer context.AfterFunc(ctx, cancel.Cancel)()

	e := evaluation{program: p, in: in, input: ast.NewTerm(input), txn: txn, cancel: cancel, room: maxSetBytes}
	outcomes := make([]polset.PolicyOutcome, len(p.policies))
	for i := range p.policies {
		outcomes[i] = e.evaluate(ctx, i)
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("evaluate policy %q: %w", p.policies[i].Name, err)
		}
	}
	return outcomes, nil
}

// An evaluation is one of all policies of a program.
type evaluation struct {
	program *Program
	in      Input
	input   *ast.Term
	txn     storage.Transaction
	cancel  topdown.Cancel
	room    int // for messages and prints, in bytes
}

// evaluate asks the i-th policy.
func (e *evaluation) evaluate(ctx context.Context, i int) polset.PolicyOutcome {
	policy := e.program.policies[i]
	o := polset.PolicyOutcome{
		Name: policy.Name, Query: policy.Query, EnforcementLevel: policy.EnforcementLevel,
		Description: policy.Description, File: policy.File, Line: policy.Line,
		Status: polset.OutcomePassed,
	}
	prints := lines{room: &e.room}
	value, problem := e.ask(ctx, i, &prints)
	messages := lines{room: &e.room}
	switch value := value.(type) {
	case nil:
		o.Status, o.Messages = polset.OutcomeErrored, []string{cut(problem, maxMessageBytes)}
	case ast.Set:
		value.Until(messages.addElement)
		messages.more = value.Len() - len(messages.kept)
	case *ast.Array:
		value.Until(messages.addElement)
		messages.more = value.Len() - len(messages.kept)
	}
	if o.Status == polset.OutcomePassed {
		if o.Messages = messages.list(); len(o.Messages) > 0 {
			o.Status = polset.OutcomeFailed
		}
	}
	o.Prints = prints.list()
	return o
}

// expected goes on where a sentence says what a query gives instead.
const expected = "a set or an array is expected, which is empty where the policy passes"

// ask returns the set or array that the query of the i-th policy gives, or
// says in a sentence for people why there is none.
func (e *evaluation) ask(ctx context.Context, i int, prints *lines) (value ast.Value, problem string) {
	defer func() {
		if r := recover(); r != nil {
			value, problem = nil, fmt.Sprintf("OPA broke down on this policy (%v). Simplify it, and please report it to the operator of polset.", r)
		}
	}()
	q := e.program.queries[i]
	if q.value == "" {
		return nil, "The query holds no single expression that has a value; " + expected + "."
	}
	n := 0
	err := e.prepare(i, prints).Iter(ctx, func(result topdown.QueryResult) error {
		if n++; n > 1 {
			return errors.New("enough")
		}
		value = result[q.value].Value
		return nil
	})
	switch {
	case n > 1:
		return nil, "The query gives more than one value; " + expected + "."
	case err != nil:
		return nil, fmt.Sprintf("OPA could not evaluate the policy: %v", err)
	case n == 0:
		return nil, "The query is undefined for this plan; " + expected + "."
	}
	switch value.(type) {
	case ast.Set, *ast.Array:
		return value, ""
	}
	return nil, fmt.Sprintf("The query gives a value of type %s; %s.", ast.ValueName(value), expected)
}

// prepare makes the query of the i-th policy ready. Whatever could tell one
// evaluation from another has a value of its own here: OPA would take the
// machine's clock, and its random numbers.
func (e *evaluation) prepare(i int, prints *lines) *topdown.Query {
	at := e.in.At
	if at.IsZero() {
		at = time.Unix(0, 0)
	}
	seed := sumOf("polset seed 1", e.in.Seed, e.program.policies[i].Name)
	q := e.program.queries[i]
	return topdown.NewQuery(q.body).
		WithQueryCompiler(q.compiler).
		WithCompiler(e.program.compiler).
		WithStore(e.program.data).
		WithTransaction(e.txn).
		WithInput(e.input).
		WithTime(at).
		WithSeed(rand.NewChaCha8(seed)).
		WithCancel(e.cancel).
		WithPrintHook(printHook{prints})
}

// A printHook keeps what a policy prints.
type printHook struct{ *lines }

// Print implements print.Hook.
func (h printHook) Print(_ regoprint.Context, line string) error {
	h.add(line)
	return nil
}
