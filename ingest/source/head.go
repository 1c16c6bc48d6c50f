package source

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/polset/polset"
)

// Head says where a branch stands; "" asks for the default branch and returns
// its name. Of a branch that does not exist, the Commit is empty. A repository
// without any commit is a failure of class empty-repository.
func (g *Git) Head(ctx context.Context, at polset.Remote, branch string) (polset.Head, error) {
	heads, err := g.Heads(ctx, at, []string{branch})
	if err != nil {
		return polset.Head{}, err
	}
	return heads[0], nil
}

// Heads says where branches stand, by one request for all of them and in their
// order; "" asks for the default branch and returns its name. Of a branch that
// does not exist, the Commit is empty. A repository without any commit is a
// failure of class empty-repository, whichever branches are asked for. Where
// none of them exists, nor what HEAD points at, a second request finds out
// whether it is one.
func (g *Git) Heads(ctx context.Context, at polset.Remote, branches []string) ([]polset.Head, error) {
	ctx, done := g.begin(ctx, "head")
	to, err := g.remote(at)
	if err != nil {
		return nil, done(err)
	}
	r := g.repository(to, plumbing.ZeroHash, "", &counter{})
	heads, err := r.heads(ctx, branches)
	return heads, done(err)
}

// A look collects what Heads wants of the refs.
type look struct {
	heads  map[string]polset.Head // by the branch that was asked for
	exists bool                   // there is a ref at all
}

func (l *look) see(seen ref) error {
	if seen.id == "unborn" {
		return nil
	}
	l.exists = true
	if seen.name == "HEAD" {
		l.found("", polset.Head{Branch: strings.TrimPrefix(seen.target, "refs/heads/"), Commit: seen.id})
	} else if branch, ok := strings.CutPrefix(seen.name, "refs/heads/"); ok {
		l.found(branch, polset.Head{Branch: branch, Commit: seen.id})
	}
	return nil
}

func (l *look) found(branch string, head polset.Head) {
	if _, asked := l.heads[branch]; asked {
		l.heads[branch] = head
	}
}

func (r *repository) heads(ctx context.Context, branches []string) ([]polset.Head, error) {
	l := &look{heads: map[string]polset.Head{}}
	for _, branch := range branches {
		if possible(branch) {
			l.heads[branch] = polset.Head{Branch: branch}
		}
	}
	if len(l.heads) > 0 {
		if err := r.refs(ctx, l); err != nil {
			return nil, err
		}
		if !l.exists {
			return nil, polset.Fail(polset.ClassEmptyRepository, "The repository %s has no commit yet; push one.", r.remote.shown)
		}
	}
	heads := make([]polset.Head, len(branches))
	for i, branch := range branches {
		heads[i] = polset.Head{Branch: branch}
		if head, ok := l.heads[branch]; ok {
			heads[i] = head
		}
	}
	return heads, nil
}

// maxName bounds the name of a branch; git keeps it as the name of a file.
const maxName = 4096

// possible reports whether git could have a branch of that name, as far as the
// protocol must know.
func possible(branch string) bool {
	return len(branch) <= maxName && !strings.ContainsFunc(branch, func(c rune) bool { return c <= ' ' || c == 0x7f })
}

// maxPrefixes is how many branches are asked for by their names. Of more than
// these, all branches are listed, so that the request stays small.
const maxPrefixes = 1000

// prefixes returns what of the refs the look needs to see: HEAD too, which
// tells an empty repository from a missing branch.
func (l *look) prefixes() []string {
	prefixes := []string{"HEAD"}
	if len(l.heads) > maxPrefixes {
		return append(prefixes, "refs/heads/")
	}
	for _, branch := range slices.Sorted(maps.Keys(l.heads)) {
		if branch != "" {
			prefixes = append(prefixes, "refs/heads/"+branch)
		}
	}
	return prefixes
}

// refs shows the look HEAD and its branches, by the protocol that the server
// knows.
func (r *repository) refs(ctx context.Context, l *look) error {
	if r.plans[0].version == 2 {
		err := r.lsRefsV2(ctx, l.prefixes(), l.see)
		if err == nil && !l.exists {
			// Neither HEAD nor a branch of these: is there any other?
			err = r.lsRefsV2(ctx, []string{"refs/heads/"}, func(ref) error {
				l.exists = true
				return errEnough
			})
		}
		var refused *refusal
		if err == nil || !errors.As(err, &refused) {
			return err
		}
		if err := r.discover(ctx, refused, l.see); err != nil || r.plans[0].version == 0 {
			return err
		}
		return refused.failure
	}
	_, err := r.advertise(ctx, false, l.see)
	return err
}
