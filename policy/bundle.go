package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"

	"github.com/polset/polset"
)

// ManifestFile is where a bundle says what it is
// (https://www.openpolicyagent.org/docs/management-bundles#bundle-file-format).
const ManifestFile = ".manifest"

// A Bundle is what OPA loads of a policy set: its .rego files, tests too, and
// its data files. The set's configuration is nothing to OPA.
type Bundle struct {
	// Files are by their paths from the set's directory on, which is where OPA
	// reads from them where in data a data file belongs.
	Files map[string][]byte
	// Roots are what the bundle owns of data, in order, none below another. An
	// agent loads several bundles as long as their roots do not overlap, so they
	// are as narrow as the files allow: the packages of the .rego files and the
	// first level of keys of the data files.
	Roots []string
	// V0 are the .rego files that are no Rego v1, in order.
	V0 []string
}

// ReadBundle reads what OPA would load of the set at dir in fsys. The set is one
// that Inspect has passed: everything is parsed once more, under the same
// limits, but not compiled. What OPA would refuse to load, or to load together,
// is a *polset.Failure of class policy-invalid or limit, whose cause is an
// *Invalid; any other error is one of reading fsys, or that of ctx.
func ReadBundle(ctx context.Context, fsys fs.FS, dir string) (*Bundle, error) {
	s := &Set{Kind: polset.KindOPA, Dir: cleanDir(dir), limits: Limits{}.withDefaults()}
	files, err := s.findRego(ctx, fsys)
	if err != nil {
		return nil, err
	}
	var p problems
	parsed, err := s.parseRego(ctx, fsys, newRegoParser(), files.rego, false, &p)
	if err != nil {
		return nil, err
	}
	b := &Bundle{Files: make(map[string][]byte, len(files.rego)+len(files.data))}
	for _, name := range files.rego {
		if b.Files[s.below(name)], err = read(fsys, name, name, "a policy", s.limits.FileBytes); err != nil {
			return nil, err
		}
	}
	document, owned, err := s.bundleData(ctx, fsys, files.data, b, &p)
	if err != nil {
		return nil, err
	}
	if !p.any() {
		err = guard(inDir(s.Dir), func() error {
			addRego(&p, inDir(s.Dir), conflicts(parsed.modules, document))
			return nil
		})
	}
	if err = errors.Join(err, p.failure()); err != nil {
		return nil, err
	}
	for name, module := range parsed.modules {
		owned = append(owned, packagePath(module))
		if module.RegoVersionSpan().Min() == ast.RegoV0 {
			b.V0 = append(b.V0, s.below(name))
		}
	}
	slices.Sort(b.V0)
	b.Roots = narrowest(owned)
	return b, nil
}

// bundleData adds the data files to b and merges them as an evaluation does,
// under the same limits. It returns what they say together, and what they own
// of data.
func (s *Set) bundleData(ctx context.Context, fsys fs.FS, names []string, b *Bundle, p *problems) (document map[string]any, roots [][]string, err error) {
	document = map[string]any{}
	_, err = s.eachData(ctx, fsys, names, p, func(name string, src []byte, value any) {
		b.Files[s.below(name)] = src
		if p.any() {
			return
		}
		s.insertData(document, name, value, p)
		roots = append(roots, dataRoots(dataPath(s.below(name)), value)...)
	})
	return document, roots, err
}

// dataRoots are what a data file owns: the keys of its object, or its place.
func dataRoots(at []string, value any) [][]string {
	object, _ := value.(map[string]any)
	var roots [][]string
	for key := range object {
		roots = append(roots, append(slices.Clone(at), key))
	}
	if len(roots) == 0 && len(at) > 0 {
		roots = append(roots, at)
	}
	return roots
}

// conflicts are the rules whose place a data file takes: OPA activates no
// bundle that has one. The modules are not compiled, so that OPA's own tree of
// rules cannot be made of them: in deny[r.address] := 1 it would not know r.
func conflicts(modules map[string]*ast.Module, document map[string]any) (errs ast.Errors) {
	told := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		for _, rule := range modules[name].Rules {
			ref := rule.Ref()
			at := knownPath(ref)
			if rest := ref[1+len(at):]; len(rest) > 0 && ast.IsConstant(rest[0].Value) {
				continue // a key that data cannot have
			}
			if where := strings.Join(at, "/"); taken(document, at) && !told[where] {
				told[where] = true
				errs = append(errs, conflictingRule(rule.Loc(), at))
			}
		}
	}
	return errs
}

// taken reports whether a document has something at a path, or above it a value
// that leaves no room.
func taken(document map[string]any, at []string) bool {
	var value any = document
	for _, part := range at {
		object, ok := value.(map[string]any)
		if !ok {
			return true
		}
		if value, ok = object[part]; !ok {
			return false
		}
	}
	return true
}

// packagePath is the path of a module's package, without data.
func packagePath(module *ast.Module) []string {
	parts := make([]string, len(module.Package.Path)-1)
	for i, term := range module.Package.Path[1:] {
		part, _ := term.Value.(ast.String)
		parts[i] = string(part)
	}
	return parts
}

// narrowest returns the paths as roots, without those that lie below another.
// A root ends before a part that OPA could read otherwise than it is meant: it
// is then wider than it had to be, and the bundle asks for more of data.
func narrowest(paths [][]string) []string {
	roots := make([][]string, len(paths))
	for i, p := range paths {
		roots[i] = p
		if odd := slices.IndexFunc(p, func(part string) bool { return !plainPart(part) }); odd >= 0 {
			roots[i] = p[:odd]
		}
	}
	slices.SortFunc(roots, slices.Compare) // a path comes right before those below it
	var kept [][]string
	for _, r := range roots {
		if n := len(kept); n == 0 || len(r) < len(kept[n-1]) || !slices.Equal(kept[n-1], r[:len(kept[n-1])]) {
			kept = append(kept, r)
		}
	}
	joined := make([]string, len(kept))
	for i, r := range kept {
		joined[i] = strings.Join(r, "/")
	}
	slices.Sort(joined)
	return joined
}

// plainPart reports whether a part of a path means itself wherever OPA splits,
// trims or unescapes it.
func plainPart(part string) bool {
	for i := range len(part) {
		if c := part[i]; !isWord(c) && c != '-' && c != '.' {
			return false
		}
	}
	return part != ""
}

// Manifest returns the content of ManifestFile. People see the revision in what
// an agent says of itself and in its decision logs.
func (b *Bundle) Manifest(revision string, metadata map[string]string) ([]byte, error) {
	manifest := struct {
		Revision         string            `json:"revision"`
		Roots            []string          `json:"roots"`
		RegoVersion      int               `json:"rego_version"`
		FileRegoVersions map[string]int    `json:"file_rego_versions,omitempty"`
		Metadata         map[string]string `json:"metadata,omitempty"`
	}{Revision: revision, Roots: b.Roots, RegoVersion: 1, Metadata: metadata}
	if len(b.V0) > 0 {
		manifest.FileRegoVersions = make(map[string]int, len(b.V0))
	}
	for _, name := range b.V0 {
		manifest.FileRegoVersions[quoteGlob(name)] = 0
	}
	content, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("marshal the manifest of a bundle: %w", err)
	}
	return append(content, '\n'), nil
}

// quoteGlob returns the pattern that matches name alone: OPA takes the names of
// file_rego_versions for patterns.
func quoteGlob(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `{`, `\{`, `}`, `\}`).Replace(name)
}

// CheckBundle reads a bundle as an agent does, verifying the signature where
// there is a signer. What it refuses, no agent would load.
func CheckBundle(from io.Reader, signer *Signer) error {
	reader := bundle.NewCustomReader(bundle.NewTarballLoaderWithBaseURL(from, ""))
	if signer != nil {
		reader = reader.WithBundleVerificationConfig(signer.verification())
	}
	err := guard(ManifestFile, func() error {
		_, err := reader.Read()
		return err
	})
	var errs ast.Errors
	if errors.As(err, &errs) && len(errs) > 0 {
		err = errs[0] // which names its place; there may be many
	}
	if err != nil {
		return fmt.Errorf("read the bundle as OPA does: %w", err)
	}
	return nil
}
