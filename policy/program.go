package policy

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/types"

	"github.com/polset/polset"
)

// A Program is an OPA policy set that is ready to be evaluated, as often as
// one likes and from several goroutines at once. It holds nothing of the file
// system that it was compiled from.
type Program struct {
	policies []polset.PolicySummary
	queries  []compiledQuery // in the order of policies
	compiler *ast.Compiler
	data     storage.Store
	size     int64
}

// A compiledQuery is the query of a policy.
type compiledQuery struct {
	body     ast.Body
	compiler ast.QueryCompiler
	value    ast.Var // which takes its value; "" where it has none that says something
}

// Compile makes the set that lies in fsys ready to be evaluated. It finds no
// fault that Inspect does not find, and tells those that nobody could evaluate.
// A set of another kind than OPA is a *polset.Failure too.
func (s *Set) Compile(ctx context.Context, fsys fs.FS) (*Program, error) {
	if s.Kind != polset.KindOPA {
		return nil, polset.Fail(polset.ClassEngineUnsupported, "polset has no engine for %s policies yet: it evaluates those of kind opa.", s.Kind)
	}
	var p problems
	l, err := s.loadRego(ctx, fsys, true, &p)
	if err != nil {
		return nil, err
	}
	if err := p.failure(); err != nil {
		return nil, err
	}
	data, dataBytes, err := s.loadData(ctx, fsys, l.files.data, &p)
	if err != nil {
		return nil, err
	}
	if err := p.failure(); err != nil {
		return nil, err
	}
	program := &Program{
		policies: s.Summaries(),
		queries:  l.compiled,
		compiler: l.compiler,
		data:     data,
		size:     programSize(l.bytes, dataBytes),
	}
	err = guard(s.Config, func() error { return s.checkConflicts(ctx, l.compiler, data, &p) })
	if err != nil {
		return nil, err
	}
	if err := p.failure(); err != nil {
		return nil, err
	}
	return program, nil
}

// Size is how much memory the program takes at most, about, in bytes.
func (p *Program) Size() int64 { return p.size }

// checkConflicts adds the rules that lie where the data files have something,
// as OPA does when it loads a bundle.
func (s *Set) checkConflicts(ctx context.Context, compiler *ast.Compiler, data storage.Store, p *problems) error {
	txn, err := data.NewTransaction(ctx)
	if err != nil {
		return fmt.Errorf("compile policies: %w", err)
	}
	defer data.Abort(ctx, txn)
	addRego(p, s.Config, ast.CheckPathConflicts(compiler, storage.NonEmpty(ctx, data, txn)))
	return nil
}

// compileQuery compiles a query so that its value is bound to a variable, as
// OPA's own rego package does.
func compileQuery(compiler *ast.Compiler, body ast.Body) (q compiledQuery, err error) {
	q = compiledQuery{compiler: compiler.QueryCompiler().WithEnablePrintStatements(true)}
	value := ast.Var(ast.WildcardPrefix + "polset")
	q.compiler.WithStageAfterID(ast.StageResolveRefs, ast.QueryCompilerStageDefinition{
		Name: "polset", MetricName: "polset",
		Stage: func(_ ast.QueryCompiler, body ast.Body) (ast.Body, error) {
			if len(body) != 1 || body[0].Negated {
				return body, nil
			}
			switch terms := body[0].Terms.(type) {
			case *ast.Term:
				body[0].Terms = ast.Equality.Expr(terms, ast.NewTerm(value)).Terms
				q.value = value
			case []*ast.Term:
				if body[0].IsAssignment() || body[0].IsEquality() {
					break
				}
				if f := compiler.TypeEnv.GetByValue(terms[0].Value); !types.Void(f) && types.Arity(f) == len(terms)-1 {
					body[0].Terms = append(terms, ast.NewTerm(value)) //nolint:gocritic // the expression is a copy
					q.value = value
				}
			}
			return body, nil
		},
	})
	q.body, err = q.compiler.Compile(body)
	return q, err
}

// What a program takes at most for each byte that it was compiled from, with
// OPA 1.22: Rego takes 147 at most (small functions; ordinary policies
// take 55), and data 51 (lists of empty objects; text takes 2).
const (
	programRego = 160
	programData = 55
	programBase = 64 << 10
)

// programSize is what a program takes at most that was compiled from so many
// bytes of Rego and data.
func programSize(rego, data int64) int64 { return programBase + programRego*rego + programData*data }
