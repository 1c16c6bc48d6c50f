package policy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"unicode/utf8"

	"github.com/polset/polset"
)

// Validate is Inspect for the verdict alone.
func (s *Set) Validate(ctx context.Context, fsys fs.FS) error {
	_, err := s.Inspect(ctx, fsys)
	return err
}

// Inspect looks at the set's policies in fsys, which is rooted at the
// repository and holds at least the set's directory and what Outside names.
// It returns what a version shows of them, in the order of their declaration.
//
// An OPA set is compiled whole, each query must find a rule or a package in
// it, each data file must be JSON or YAML, and no two of them, or one and a
// rule, may define the same: what passes can be evaluated, and OPA loads it as
// a bundle. Of a Sentinel set, each local
// source must be there. Where the content is at fault, the error is a
// *polset.Failure of class policy-invalid, lfs-unsupported or limit, whose
// cause is an *Invalid; it lists everything that is wrong, as far as one fault
// does not hide another. Any other error is one of reading fsys, or that of ctx.
//
// ctx is looked at between files, between the stages of OPA's compiler and
// between queries; OPA does not let go in between.
func (s *Set) Inspect(ctx context.Context, fsys fs.FS) ([]polset.PolicySummary, error) {
	var p problems
	check := s.validateRego
	if s.Kind == polset.KindSentinel {
		check = s.validateSources
	}
	sources, err := check(ctx, fsys, &p)
	if err != nil {
		return nil, err
	}
	if err := p.failure(); err != nil {
		return nil, err
	}
	summaries := s.Summaries()
	for i, policy := range s.Policies {
		summaries[i].Digest = s.digest(policy, sources[i])
	}
	return summaries, nil
}

// validateSources checks the files that a Sentinel configuration names, and
// returns the sums of what each policy is made of.
func (s *Set) validateSources(ctx context.Context, fsys fs.FS, p *problems) ([]sum, error) {
	type file struct {
		problem string // with the file itself
		content sum
	}
	checked := map[string]file{}
	for _, src := range s.sources {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("validate policies: %w", err)
		}
		f, ok := checked[src.path]
		if !ok {
			var err error
			if f.problem, f.content, err = s.checkSource(fsys, src, p); err != nil {
				return nil, err
			}
			checked[src.path] = f
		}
		if f.problem != "" {
			p.addf(s.Config, src.at, "the source of %s, %s, %s", src.what, src.path, f.problem)
		}
	}
	own := map[string]sum{}
	parts := slices.Clone(s.shared)
	for _, src := range s.sources {
		content := checked[src.path].content
		if src.policy != "" {
			own[src.policy] = content
			continue
		}
		parts = append(parts, sumOf(src.what, string(content[:])))
	}
	shared := sumOfAll(parts)
	sums := make([]sum, len(s.Policies))
	for i, policy := range s.Policies {
		content := own[policy.Name]
		sums[i] = sumOf(string(content[:]), string(shared[:]))
	}
	return sums, nil
}

// checkSource returns the sum of the file that src names, or what is wrong
// with it; what is wrong inside it is added to p.
func (s *Set) checkSource(fsys fs.FS, src source, p *problems) (problem string, content sum, err error) {
	at, info, err := lookup(fsys, src.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist", sum{}, nil
	case errors.Is(err, errEscapes), errors.Is(err, errLoop):
		return err.Error(), sum{}, nil
	case err != nil:
		return "", sum{}, fmt.Errorf("look for %s: %w", src.path, err)
	case info.IsDir():
		return "is a directory; name a file", sum{}, nil
	case !info.Mode().IsRegular():
		return "is not a regular file", sum{}, nil
	}
	text, err := read(fsys, at, src.path, "a policy or module", s.limits.FileBytes)
	if err != nil {
		return "", sum{}, err
	}
	if !src.binary {
		if i := invalidUTF8(text); i >= 0 {
			at := positionAt(text, i)
			p.addf(src.path, at, "this is not UTF-8, which Sentinel files must be")
		}
	}
	return "", sha256.Sum256(text), nil
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8, -1
// where all are.
func invalidUTF8(content []byte) int {
	for i := 0; i < len(content); {
		r, n := utf8.DecodeRune(content[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}
