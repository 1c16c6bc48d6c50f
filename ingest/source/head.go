package source

import (
	"context"
	"errors"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/polset/polset"
)

// Head says where a branch stands; "" asks for the default branch and returns
// its name. Of a branch that does not exist, the Commit is empty. A repository
// without any commit is a failure of class empty-repository.
func (g *Git) Head(ctx context.Context, at polset.Remote, branch string) (polset.Head, error) {
	ctx, done := g.begin(ctx, "head")
	to, err := g.remote(at)
	if err != nil {
		return polset.Head{}, done(err)
	}
	r := g.repository(to, plumbing.ZeroHash, "", &counter{})
	head, err := r.head(ctx, branch)
	return head, done(err)
}

// A look collects what Head wants of the refs.
type look struct {
	branch string // "" for HEAD's
	head   polset.Head
	exists bool
}

func (l *look) see(seen ref) error {
	if seen.id == "unborn" {
		return nil
	}
	l.exists = true
	switch {
	case l.branch == "" && seen.name == "HEAD":
		l.head = polset.Head{Branch: strings.TrimPrefix(seen.target, "refs/heads/"), Commit: seen.id}
	case l.branch != "" && seen.name == "refs/heads/"+l.branch:
		l.head.Commit = seen.id
	}
	return nil
}

func (r *repository) head(ctx context.Context, branch string) (polset.Head, error) {
	if strings.ContainsFunc(branch, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return polset.Head{Branch: branch}, nil // git allows no such name
	}
	l := &look{branch: branch, head: polset.Head{Branch: branch}}
	if err := r.refs(ctx, l); err != nil {
		return polset.Head{}, err
	}
	if !l.exists {
		return polset.Head{}, polset.Fail(polset.ClassEmptyRepository, "The repository %s has no commit yet; push one.", r.remote.shown)
	}
	return l.head, nil
}

// refs shows the look HEAD and its branch, by the protocol that the server
// knows.
func (r *repository) refs(ctx context.Context, l *look) error {
	if r.plans[0].version == 2 {
		prefixes := []string{"HEAD"}
		if l.branch != "" {
			prefixes = append(prefixes, "refs/heads/"+l.branch)
		}
		err := r.lsRefsV2(ctx, prefixes, l.see)
		if err == nil && !l.exists {
			// Neither HEAD nor the branch: is there any other?
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
