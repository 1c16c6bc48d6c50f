package policy

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/polset/polset"
)

// validateRego compiles the set, resolves its queries in it, and returns the
// sums of what each policy is made of.
func (s *Set) validateRego(ctx context.Context, fsys fs.FS, p *problems) ([]sum, error) {
	l, err := s.loadRego(ctx, fsys, false, p)
	if err != nil || p.any() {
		return nil, err
	}
	if err := s.checkData(ctx, fsys, l.files.data, l.compiler.RuleTree, p); err != nil || p.any() {
		return nil, err
	}
	var sums []sum
	err = guard(s.Config, func() error {
		r, err := newReach(ctx, l.compiler.Modules, l.contents)
		if err != nil {
			return err
		}
		if err := s.readData(ctx, fsys, l.files.data, r); err != nil {
			return err
		}
		sums, err = r.sums(ctx, l.queries)
		return err
	})
	return sums, err
}

// loadedRego is a set that compiles, and whose queries find something in it.
type loadedRego struct {
	files    regoFiles
	contents map[string]sum // of the .rego files
	bytes    int64          // of their text
	compiler *ast.Compiler
	queries  []ast.Body // as they were parsed, in the order of the policies
	compiled []compiledQuery
}

// loadRego parses and compiles the set and its queries, for evaluation or just
// to find what is wrong with it. Where p has any problem, it returns nothing.
func (s *Set) loadRego(ctx context.Context, fsys fs.FS, evaluation bool, p *problems) (loadedRego, error) {
	files, err := s.findRego(ctx, fsys)
	if err != nil {
		return loadedRego{}, err
	}
	parser := newRegoParser()
	parsed, err := s.parseRego(ctx, fsys, parser, files.rego, !evaluation, p)
	if err != nil {
		return loadedRego{}, err
	}
	if p.any() {
		return loadedRego{}, nil // what does not parse leaves holes that would only echo
	}
	compiler, err := s.compile(ctx, parsed.modules, evaluation, p)
	if err != nil || p.any() {
		return loadedRego{}, err
	}
	queries, compiled := make([]ast.Body, len(s.Policies)), make([]compiledQuery, len(s.Policies))
	for i, policy := range s.Policies {
		if err := ctx.Err(); err != nil {
			return loadedRego{}, fmt.Errorf("validate policies: %w", err)
		}
		// In braces, since a query is a body.
		if checkRegoShape(s.Config, []byte("{"+policy.Query+"\n}")) != nil {
			return loadedRego{}, failAt(polset.ClassLimit, s.Config, policy.at,
				"the query of policy %q holds more than %d expressions or nests deeper than %d, the limits; move it into a rule",
				policy.Name, maxRegoBody, maxRegoNesting)
		}
		err := guard(s.Config, func() error {
			queries[i], compiled[i] = s.checkQuery(compiler, parser, policy, len(files.data) > 0, p)
			return nil
		})
		if err != nil {
			return loadedRego{}, err
		}
	}
	return loadedRego{files, parsed.contents, parsed.bytes, compiler, queries, compiled}, nil
}

// regoFiles is what OPA would load of a set.
type regoFiles struct {
	rego []string // in the order of their names
	data []string // data.json and data.yaml files, likewise
}

// findRego lists the set's files as OPA does when it loads a bundle, which is
// how HCP Terraform runs a set: every .rego file at any depth, tests too, and
// no links (what they lead to lies in the set under its own name).
//
// A broken test therefore makes a set invalid: it would break every policy of
// the set as soon as anybody loads it.
//
// It goes no further than the limits do, on a tree that nothing has bounded yet.
func (s *Set) findRego(ctx context.Context, fsys fs.FS) (regoFiles, error) {
	var files regoFiles
	root := path.Join(".", s.Dir)
	err := fs.WalkDir(fsys, root, func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", inDir(s.Dir), err)
		}
		rego := strings.HasSuffix(name, ".rego")
		data := d.Name() == "data.json" || d.Name() == "data.yaml" || d.Name() == "data.yml"
		switch {
		case !d.Type().IsRegular() || !rego && !data:
			return nil
		case len(s.below(name)) > maxPath:
			return failAt(polset.ClassLimit, name, wholeFile,
				"the path of this file has more than %d bytes, the most that systems can unpack; shorten it", maxPath)
		case rego && len(files.rego) == maxRegoFiles:
			return failAt(polset.ClassLimit, name, wholeFile,
				"with this file, the policy set holds more than %d .rego files, the limit; split the set", maxRegoFiles)
		case data && len(files.data) == maxDataFiles:
			return failAt(polset.ClassLimit, name, wholeFile,
				"with this file, the policy set holds more than %d data files, the limit; merge some or split the set", maxDataFiles)
		case rego:
			files.rego = append(files.rego, name)
		default:
			files.data = append(files.data, name)
		}
		return nil
	})
	return files, err
}

// parsedRego is what parseRego made of the files, by their names.
type parsedRego struct {
	modules  map[string]*ast.Module
	contents map[string]sum
	bytes    int64
}

// parseRego parses each file by itself, and on demand its annotations, which
// nobody needs to evaluate it.
func (s *Set) parseRego(ctx context.Context, fsys fs.FS, parser regoParser, files []string, annotations bool, p *problems) (parsedRego, error) {
	parsed := parsedRego{modules: make(map[string]*ast.Module, len(files)), contents: make(map[string]sum, len(files))}
	rules := 0
	var annotated []*ast.Module
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return parsed, fmt.Errorf("parse policies: %w", err)
		}
		src, err := read(fsys, file, file, "a policy", s.limits.FileBytes)
		if err != nil {
			return parsed, err
		}
		if parsed.bytes += int64(len(src)); parsed.bytes > s.limits.RegoBytes {
			return parsed, failAt(polset.ClassLimit, file, wholeFile,
				"with this file, the Rego of the policy set exceeds %s, the limit for all of it together; split the set", size(s.limits.RegoBytes))
		}
		if err := checkRegoShape(file, src); err != nil {
			return parsed, err
		}
		var errs ast.Errors
		err = guard(file, func() error {
			parsed.modules[file], errs = parser.parse(file, string(src))
			if annotations && len(errs) == 0 {
				var module *ast.Module
				if module, errs = parser.annotated(file, string(src), parsed.modules[file]); module != nil {
					annotated = append(annotated, module)
				}
			}
			return nil
		})
		if err != nil {
			return parsed, err
		}
		if len(errs) > 0 {
			addRego(p, file, errs)
			continue
		}
		if err := checkRegoPaths(file, parsed.modules[file]); err != nil {
			return parsed, err
		}
		parsed.contents[file] = sumOf("rego", string(src))
		if rules += len(parsed.modules[file].Rules); rules > maxRegoRules {
			return parsed, failAt(polset.ClassLimit, file, wholeFile,
				"with this file, the policy set holds more than %d rules, the limit; split the set", maxRegoRules)
		}
	}
	return parsed, guard(s.Config, func() error {
		_, errs := ast.BuildAnnotationSet(annotated)
		addRego(p, s.Config, errs)
		return nil
	})
}

// compile compiles all modules together, as far as that can find a fault, and
// for an evaluation the indices that only it needs.
func (s *Set) compile(ctx context.Context, modules map[string]*ast.Module, evaluation bool, p *problems) (*ast.Compiler, error) {
	skip := []ast.StageID{ast.StageBuildRequiredCapabilities}
	if !evaluation {
		skip = append(skip, ast.StageBuildRuleIndices, ast.StageBuildComprehensionIndices)
	}
	compiler := ast.NewCompiler().
		WithCapabilities(capabilities(ast.RegoV1)).
		WithEnablePrintStatements(true). // or what they print is not looked at
		SetErrorLimit(maxDiagnostics).   // each may hold all keys of an object
		WithSkipStages(skip...)
	for _, stage := range ast.AllStages() {
		compiler.WithStageAfterID(stage, ast.CompilerStageDefinition{
			Name: "polset", MetricName: "polset",
			Stage: func(*ast.Compiler) *ast.Error {
				if err := ctx.Err(); err != nil {
					return ast.NewError(ast.CompileErr, nil, "%v", err)
				}
				return nil
			},
		})
	}
	// A panic cannot be told to a file here: it is the set that breaks OPA.
	err := guard(s.Config, func() error {
		compiler.Compile(modules)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("compile policies: %w", err)
	}
	addRego(p, s.Config, compiler.Errors)
	return compiler, nil
}

// addRego adds what OPA found; file is for what it does not locate.
func addRego(p *problems, file string, errs ast.Errors) {
	for _, e := range errs {
		if e.Location == nil && strings.Contains(e.Message, "error limit reached") {
			p.dropped++
			continue
		}
		at, where := position{}, file
		if e.Location != nil {
			at = position{e.Location.Row, e.Location.Col}
			if e.Location.File != "" {
				where = e.Location.File
			}
		}
		p.add(where, at.line, at.column, regoMessage(e))
	}
}

// regoMessage is what OPA says of e, or that a builtin is not available: OPA
// knows it only as an undefined function or an unsafe variable.
func regoMessage(e *ast.Error) string {
	if builtin := forbiddenAt(e.Location); builtin != "" && e.Code != ast.ParseErr {
		return fmt.Sprintf("the builtin %s is not available in polset, %s", builtin, forbidden(builtin))
	}
	message := e.Message
	if e.Details != nil && e.Code == ast.TypeErr {
		message += ": " + strings.Join(e.Details.Lines(), "; ")
	}
	return message
}

// maxMissing is how many names of what does not exist a message lists.
const maxMissing = 10

// checkQuery compiles a policy's query, finds what it asks for and returns it
// as it was parsed, too. A query that finds nothing is undefined for ever, and its
// policy would neither pass nor fail.
func (s *Set) checkQuery(compiler *ast.Compiler, parser regoParser, policy Policy, data bool, p *problems) (body ast.Body, q compiledQuery) {
	body, err := parser.query(policy.Query)
	if err == nil {
		if q, err = compileQuery(compiler, body); err != nil {
			// Of the query as it is written, OPA says it better.
			if _, plain := compiler.QueryCompiler().WithEnablePrintStatements(true).Compile(body); plain != nil {
				err = plain
			}
		}
	}
	if err != nil {
		errs := regoErrors(err)
		p.addf(s.Config, policy.at, "the query of policy %q does not compile: %s", policy.Name, regoMessage(errs[0]))
		return nil, q
	}

	found := false
	var missing []string
	ast.WalkRefs(body, func(ref ast.Ref) bool {
		if !ref.HasPrefix(ast.DefaultRootRef) {
			return false
		}
		if resolves(compiler, ref) {
			found = true
		} else if len(missing) < maxMissing {
			if name := ref.GroundPrefix().String(); !slices.Contains(missing, name) {
				missing = append(missing, name)
			}
		}
		return false
	})
	switch {
	case !found && len(missing) == 0:
		p.addf(s.Config, policy.at, "the query of policy %q names no rule; name one, such as data.terraform.policies.example.deny", policy.Name)
	case len(missing) > 0 && (!data || !found):
		// Beside a rule, a query may name documents of the set's data files.
		p.addf(s.Config, policy.at, "the query of policy %q names %s, but no .rego file in %s defines that rule or package",
			policy.Name, strings.Join(missing, " and "), inDir(s.Dir))
	}
	return body, q
}

// resolves reports whether ref leads to a rule or a package: data.a.b.deny,
// data.a.b.deny[x], data.a.b and, where nobody can tell, data.a[x].
func resolves(compiler *ast.Compiler, ref ast.Ref) bool {
	node := compiler.RuleTree
	for i, term := range ref {
		if i > 0 && (len(node.Values) > 0 || !ast.IsConstant(term.Value)) {
			return true
		}
		if node = node.Child(term.Value); node == nil {
			return false
		}
	}
	return true
}
