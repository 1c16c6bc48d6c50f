package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"go.uber.org/zap"

	"github.com/polset/polset"
)

// Tokens gives out the tokens of a GitHub App's installations.
type Tokens interface {
	// Token returns a token that reads the repository r, and better nothing
	// else, on behalf of r.Installation. Where a submodule is meant, r has no
	// ExternalID. stale, where it is not empty, was refused by the git server:
	// another one must come.
	//
	// A *polset.Failure of class auth that is not worth another attempt says
	// that the installation gives no right to the repository.
	Token(ctx context.Context, r polset.Remote, stale polset.Secret) (polset.Secret, error)
}

// A credential is what the server of one repository is shown: nothing, the
// token of a connection, or the tokens of an installation, which expire. It is
// used by one goroutine at a time, as the repositories of a Snapshot are; so
// none of them asks for a token that another is asking for.
type credential struct {
	token polset.Secret // empty: none, or none yet

	// app says that an installation is how the snapshot's own repository is
	// read, and mint that this one is too. Otherwise the token stays what it is.
	app  bool
	mint Tokens
	at   polset.Remote // whom mint is asked for
	// public repositories need not belong to the installation: without a token
	// they are asked anonymously.
	public bool
	denied *polset.Failure // why there is no token for a public one
}

// credential returns what the repository of r is shown.
func (g *Git) credential(r polset.Remote, shown string) (*credential, error) {
	switch {
	case r.Installation == 0 || !r.Token.Empty():
		return &credential{token: r.Token}, nil
	case g.tokens == nil:
		return nil, polset.Fail(polset.ClassAuth,
			"polset cannot read %s: it is followed through an installation of a GitHub App, and no GitHub App is configured. Set one up, or follow the repository through a connection.", shown)
	}
	return &credential{app: true, mint: g.tokens, at: r}, nil
}

// of returns the credential of a submodule that has the same owner, on the same
// host: a connection's own, and from an installation another one, since the
// tokens of an installation are for one repository each.
func (c *credential) of(identifier string) *credential {
	switch {
	case c.mint == nil:
		return c
	case identifier == "": // no repository of GitHub's
		return c.elsewhere()
	}
	at := c.at
	at.Identifier, at.ExternalID = identifier, 0
	return &credential{app: true, mint: c.mint, at: at, public: true}
}

// elsewhere returns the credential of a submodule that may see none.
func (c *credential) elsewhere() *credential { return &credential{app: c.app} }

// show returns the token to send, empty for none.
func (c *credential) show(ctx context.Context, shown string) (polset.Secret, error) {
	if c.settled() {
		return c.token, nil
	}
	if err := c.ask(ctx, shown, polset.Secret{}); err != nil {
		return polset.Secret{}, err
	}
	return c.token, nil
}

// settled reports whether there is no need to ask for a token.
func (c *credential) settled() bool {
	return c.mint == nil || c.denied != nil || !c.token.Empty()
}

// renewable reports whether another token may change the answer.
func (a *answer) renewable() bool {
	return a.repository.remote.credential.mint != nil && !a.shown.Empty()
}

// renew replaces a token that the server refused.
func (r *repository) renew(ctx context.Context, refused polset.Secret) error {
	c := r.remote.credential
	r.git.log.Debug("git server refused an installation's token",
		zap.String("repo", r.remote.shown), zap.Int64("installation", c.at.Installation))
	return c.ask(ctx, r.remote.shown, refused)
}

// ask asks for a token in the place of a stale one, or of none.
func (c *credential) ask(ctx context.Context, shown string, stale polset.Secret) error {
	c.token = polset.Secret{}
	token, err := c.mint.Token(ctx, c.at, stale)
	if err == nil && token.Empty() {
		err = errors.New("none came")
	}
	if err != nil {
		return c.judge(ctx, shown, err)
	}
	c.token = token
	return nil
}

// judge says what it means that no token came: perhaps nothing bad.
func (c *credential) judge(ctx context.Context, shown string, err error) error {
	var f *polset.Failure
	switch failed := errors.As(err, &f); {
	case failed && c.public && f.Class == polset.ClassAuth && !f.Retry:
		c.denied = f
		return nil
	case !failed && late(ctx):
		return hung(&polset.Failure{
			Class:   polset.ClassTimeout,
			Message: fmt.Sprintf("GitHub gave polset no token for %s in time.", shown),
			Retry:   true,
			Err:     err,
		})
	}
	return fmt.Errorf("get a token for %s: %w", shown, err)
}

// late reports whether a time limit ended the context.
func late(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return errors.Is(cause, errDeadline) || errors.Is(cause, context.DeadlineExceeded)
}

// why says what a refusal means, and what to do about it.
func (c *credential) why(status int) string {
	hidden := status == http.StatusNotFound
	switch {
	case c.denied != nil:
		return "the installation of the GitHub App does not include this repository, and it is not public; add it to the installation"
	case c.mint != nil && hidden:
		return "GitHub does not tell a missing repository from one that the installation of the GitHub App does not include; check the name, and that the installation includes it"
	case c.mint != nil:
		return "it refused the token of the GitHub App's installation; check that the installation is not suspended, that it includes this repository, and that the App may read contents"
	case c.app:
		return "it was asked without a credential, since the tokens of an installation go to repositories of its own account only; check that the repository is public"
	case hidden:
		return "GitHub does not tell a missing repository from one that the token may not read; check the name, and that the token may read it"
	case c.token.Empty():
		return "it wants a credential, and there is none that may go there; check that the repository is public, or that the connection has a token for it"
	}
	return "it refused the credential of the connection; check that the token is valid and may read this repository"
}
