package policy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"unicode/utf8"

	"github.com/polset/polset"
)

// Validate looks at the set's policies in fsys, which is rooted at the
// repository and holds at least the set's directory and what Outside names.
//
// An OPA set is compiled whole, and each query must find a rule or a package
// in it. Of a Sentinel set, each local source must be there. Where the
// content is at fault, the error is a *polset.Failure of class
// policy-invalid, lfs-unsupported or limit, whose cause is an *Invalid; it
// lists everything that is wrong, as far as one fault does not hide another.
// Any other error is one of reading fsys, or that of ctx.
//
// ctx is looked at between files, between the stages of OPA's compiler and
// between queries; OPA does not let go in between.
func (s *Set) Validate(ctx context.Context, fsys fs.FS) error {
	var p problems
	check := s.validateRego
	if s.Kind == polset.KindSentinel {
		check = s.validateSources
	}
	if err := check(ctx, fsys, &p); err != nil {
		return err
	}
	return p.failure()
}

// validateSources checks the files that a Sentinel configuration names.
func (s *Set) validateSources(ctx context.Context, fsys fs.FS, p *problems) error {
	checked := map[string]string{} // path → what is wrong with the file itself
	for _, src := range s.sources {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("validate policies: %w", err)
		}
		problem, ok := checked[src.path]
		if !ok {
			var err error
			if problem, err = s.checkSource(fsys, src, p); err != nil {
				return err
			}
			checked[src.path] = problem
		}
		if problem != "" {
			p.addf(s.Config, src.at, "the source of %s, %s, %s", src.what, src.path, problem)
		}
	}
	return nil
}

// checkSource returns what is wrong with the file that src names; what is
// wrong inside it is added to p.
func (s *Set) checkSource(fsys fs.FS, src source, p *problems) (problem string, err error) {
	at, info, err := lookup(fsys, src.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist", nil
	case errors.Is(err, errEscapes), errors.Is(err, errLoop):
		return err.Error(), nil
	case err != nil:
		return "", fmt.Errorf("look for %s: %w", src.path, err)
	case info.IsDir():
		return "is a directory; name a file", nil
	case !info.Mode().IsRegular():
		return "is not a regular file", nil
	}
	content, err := read(fsys, at, src.path, "a policy or module", s.limits.FileBytes)
	if err != nil {
		return "", err
	}
	if !src.binary {
		if i := invalidUTF8(content); i >= 0 {
			at := positionAt(content, i)
			p.addf(src.path, at, "this is not UTF-8, which Sentinel files must be")
		}
	}
	return "", nil
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
