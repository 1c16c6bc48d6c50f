package policy

import (
	"errors"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/polset/polset"
)

// A regoParser parses Rego of either version.
type regoParser struct{ v1, v0 ast.ParserOptions }

func newRegoParser() regoParser {
	return regoParser{
		v1: ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: capabilities(ast.RegoV1)},
		v0: ast.ParserOptions{RegoVersion: ast.RegoV0, Capabilities: capabilities(ast.RegoV0)},
	}
}

// parse parses src as Rego v1 or else as v0; HCP Terraform runs both,
// depending on the version of OPA that a set asks for. The module remembers
// which it was, and the compiler treats it accordingly.
//
// Where it is neither, the parser that got further knew the language better:
// v0 trips over the first if and contains of a v1 file, v1 over the first
// variable of a v0 file that has since become a keyword. Rules without if
// are found by v1 only after it has read the whole file.
func (rp regoParser) parse(file, src string) (*ast.Module, ast.Errors) {
	module, err := ast.ParseModuleWithOpts(file, src, rp.v1)
	if err == nil && len(ast.CheckRegoV1WithOptions(module, onlyV0())) == 0 {
		return module, nil
	}
	old, errV0 := ast.ParseModuleWithOpts(file, src, rp.v0)
	switch {
	case errV0 == nil:
		return old, nil
	case err == nil:
		return module, nil
	}
	v1, v0 := regoErrors(err), regoErrors(errV0)
	if furthest(v0) > furthest(v1) {
		return nil, v0
	}
	return nil, v1
}

// annotated parses a module that parse returns again, with what its METADATA
// comments say; nil where it has none. OPA refuses to load what is wrong there,
// and nobody looks at all of them but then.
func (rp regoParser) annotated(file, src string, module *ast.Module) (*ast.Module, ast.Errors) {
	if !strings.Contains(src, "METADATA") {
		return nil, nil
	}
	options := rp.v1
	if module.RegoVersionSpan().Min() == ast.RegoV0 {
		options = rp.v0
	}
	options.ProcessAnnotation = true
	module, err := ast.ParseModuleWithOpts(file, src, options)
	if err != nil {
		return nil, regoErrors(err)
	}
	return module, nil
}

// onlyV0 is what v1 refuses no sooner than it compiles, and v0 lets pass: a file
// of old helpers without a body in braces looks like either.
func onlyV0() ast.RegoCheckOptions {
	return ast.RegoCheckOptions{NoDuplicateImports: true, NoRootDocumentOverrides: true, NoDeprecatedBuiltins: true}
}

// query parses a query of either version.
func (rp regoParser) query(query string) (ast.Body, error) {
	rp.v1.SkipRules, rp.v0.SkipRules = true, true
	body, err := ast.ParseBodyWithOpts(query, rp.v1)
	if err == nil {
		return body, nil
	}
	if v0, errV0 := ast.ParseBodyWithOpts(query, rp.v0); errV0 == nil {
		return v0, nil
	}
	return nil, err
}

// regoErrors returns OPA's errors in err, or err as the only one.
func regoErrors(err error) ast.Errors {
	var several ast.Errors
	var one *ast.Error
	switch {
	case errors.As(err, &several):
		return several
	case errors.As(err, &one):
		return ast.Errors{one}
	}
	return ast.Errors{{Message: err.Error()}}
}

// furthest returns the line of the first of errs.
func furthest(errs ast.Errors) int {
	line := 0
	for _, e := range errs {
		if e.Location != nil && (line == 0 || e.Location.Row < line) {
			line = e.Location.Row
		}
	}
	return line
}

// checkRegoPaths fails where a path is too long that OPA writes out for each
// short name that stands for it: that of the package or of an import.
func checkRegoPaths(file string, module *ast.Module) error {
	if longPath(module.Package.Path) {
		return pathTooLong(file, module.Package.Location)
	}
	for _, imported := range module.Imports {
		if path, ok := imported.Path.Value.(ast.Ref); ok && longPath(path) {
			return pathTooLong(file, imported.Location)
		}
	}
	return nil
}

func longPath(path ast.Ref) bool {
	size := 0
	for _, term := range path {
		if part, ok := term.Value.(ast.String); ok {
			size += len(part)
		}
	}
	return len(path) > maxRegoPath || size > maxRegoPathBytes
}

func pathTooLong(file string, at *ast.Location) error {
	where := wholeFile
	if at != nil {
		where = position{at.Row, at.Col}
	}
	return failAt(polset.ClassLimit, file, where,
		"this path has more than %d parts or %d bytes, the limits for a package and an import; shorten it", maxRegoPath, maxRegoPathBytes)
}
