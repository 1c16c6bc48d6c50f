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

// validateRego compiles the set and resolves its queries in it.
func (s *Set) validateRego(ctx context.Context, fsys fs.FS, p *problems) error {
	files, err := s.findRego(fsys)
	if err != nil {
		return err
	}
	parser := newRegoParser()
	modules, err := s.parseRego(ctx, fsys, parser, files.rego, p)
	if err != nil {
		return err
	}
	if p.any() {
		return nil // what does not parse leaves holes that would only echo
	}
	compiler, err := s.compile(ctx, modules, p)
	if err != nil || p.any() {
		return err
	}
	for _, policy := range s.Policies {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("validate policies: %w", err)
		}
		if checkRegoShape(s.Config, []byte(policy.Query)) != nil {
			return failAt(polset.ClassLimit, s.Config, policy.at,
				"the query of policy %q is too large or nests deeper than %d, the limit; move it into a rule", policy.Name, maxRegoNesting)
		}
		err := guard(s.Config, func() error {
			s.checkQuery(compiler, parser, policy, files.data, p)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// regoFiles is what OPA would load of a set.
type regoFiles struct {
	rego []string // in the order of their names
	data bool     // there are data.json or data.yaml files
}

// findRego lists the set's files as OPA does when it loads a bundle, which is
// how HCP Terraform runs a set: every .rego file at any depth, tests too, and
// no links (what they lead to lies in the set under its own name).
//
// A broken test therefore makes a set invalid: it would break every policy of
// the set as soon as anybody loads it.
func (s *Set) findRego(fsys fs.FS) (regoFiles, error) {
	var files regoFiles
	root := path.Join(".", s.Dir)
	err := fs.WalkDir(fsys, root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !d.Type().IsRegular():
		case strings.HasSuffix(name, ".rego"):
			files.rego = append(files.rego, name)
		case d.Name() == "data.json" || d.Name() == "data.yaml" || d.Name() == "data.yml":
			files.data = true
		}
		return nil
	})
	if err != nil {
		return regoFiles{}, fmt.Errorf("list %s: %w", inDir(s.Dir), err)
	}
	return files, nil
}

// parseRego parses each file by itself.
func (s *Set) parseRego(ctx context.Context, fsys fs.FS, parser regoParser, files []string, p *problems) (map[string]*ast.Module, error) {
	if len(files) > maxRegoFiles {
		return nil, failAt(polset.ClassLimit, files[maxRegoFiles], wholeFile,
			"with this file, the policy set holds more than %d .rego files, the limit; split the set", maxRegoFiles)
	}
	modules := make(map[string]*ast.Module, len(files))
	var bytes int64
	rules := 0
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("parse policies: %w", err)
		}
		src, err := read(fsys, file, file, "a policy", s.limits.FileBytes)
		if err != nil {
			return nil, err
		}
		if bytes += int64(len(src)); bytes > s.limits.RegoBytes {
			return nil, failAt(polset.ClassLimit, file, wholeFile,
				"with this file, the Rego of the policy set exceeds %s, the limit for all of it together; split the set", size(s.limits.RegoBytes))
		}
		if err := checkRegoShape(file, src); err != nil {
			return nil, err
		}
		var errs ast.Errors
		err = guard(file, func() error {
			modules[file], errs = parser.parse(file, string(src))
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(errs) > 0 {
			addRego(p, file, errs)
			continue
		}
		if rules += len(modules[file].Rules); rules > maxRegoRules {
			return nil, failAt(polset.ClassLimit, file, wholeFile,
				"with this file, the policy set holds more than %d rules, the limit; split the set", maxRegoRules)
		}
	}
	return modules, nil
}

// compile compiles all modules together, as far as that can find a fault;
// the indices that only evaluation needs are left out.
func (s *Set) compile(ctx context.Context, modules map[string]*ast.Module, p *problems) (*ast.Compiler, error) {
	compiler := ast.NewCompiler().
		WithCapabilities(capabilities(ast.RegoV1)).
		SetErrorLimit(maxCollected).
		WithSkipStages(ast.StageBuildRuleIndices, ast.StageBuildComprehensionIndices, ast.StageBuildRequiredCapabilities)
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
		return fmt.Sprintf("the builtin %s is not available in polset, where policies reach neither the network nor the host", builtin)
	}
	message := e.Message
	if e.Details != nil && e.Code == ast.TypeErr {
		message += ": " + strings.Join(e.Details.Lines(), "; ")
	}
	return message
}

// checkQuery compiles a policy's query and finds what it asks for. A query
// that finds nothing is undefined for ever, and its policy would neither pass
// nor fail.
func (s *Set) checkQuery(compiler *ast.Compiler, parser regoParser, policy Policy, data bool, p *problems) {
	body, err := parser.query(policy.Query)
	if err == nil {
		_, err = compiler.QueryCompiler().Compile(body)
	}
	if err != nil {
		errs := regoErrors(err)
		p.addf(s.Config, policy.at, "the query of policy %q does not compile: %s", policy.Name, regoMessage(errs[0]))
		return
	}

	var found, missing []string
	ast.WalkRefs(body, func(ref ast.Ref) bool {
		if !ref.HasPrefix(ast.DefaultRootRef) {
			return false
		}
		if resolves(compiler, ref) {
			found = append(found, ref.String())
		} else if name := ref.GroundPrefix().String(); !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
		return false
	})
	switch {
	case len(found)+len(missing) == 0:
		p.addf(s.Config, policy.at, "the query of policy %q names no rule; name one, such as data.terraform.policies.example.deny", policy.Name)
	case len(missing) > 0 && (!data || len(found) == 0):
		// Beside a rule, a query may name documents of the set's data files.
		p.addf(s.Config, policy.at, "the query of policy %q names %s, but no .rego file in %s defines that rule or package",
			policy.Name, strings.Join(missing, " and "), inDir(s.Dir))
	}
}

// resolves reports whether ref leads to a rule or a package: data.a.b.deny,
// data.a.b.deny[x], data.a.b and, where nobody can tell, data.a[x].
func resolves(compiler *ast.Compiler, ref ast.Ref) bool {
	node := compiler.RuleTree
	for i, term := range ref {
		if i > 0 && (len(node.Values) > 0 || !term.IsGround()) {
			return true
		}
		if node = node.Child(term.Value); node == nil {
			return false
		}
	}
	return true
}
