package source_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/polset/polset"
	"github.com/polset/polset/ingest/source"
	"github.com/polset/polset/internal/polsettest"
)

// An app mints the tokens of one installation, each good for one repository of
// the git server, until another takes its place.
type app struct {
	server *polsettest.Git

	mu       sync.Mutex
	included map[string]string // the token that it gives out, by owner/name
	minted   int
	asked    []polset.Remote
	stale    []string // of each time that it was asked
	fail     func(r polset.Remote) error
}

func newApp(server *polsettest.Git, included ...*polsettest.Repo) *app {
	a := &app{server: server, included: map[string]string{}}
	for _, r := range included {
		a.included[r.Identifier] = ""
		r.RequireToken("nobody has this one")
	}
	return a
}

func (a *app) Token(_ context.Context, r polset.Remote, stale polset.Secret) (polset.Secret, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked, a.stale = append(a.asked, r), append(a.stale, stale.Reveal())
	if a.fail != nil {
		if err := a.fail(r); err != nil {
			return polset.Secret{}, err
		}
	}
	token, ok := a.included[r.Identifier]
	if !ok {
		return polset.Secret{}, polset.Fail(polset.ClassAuth, "The installation gives no right to %s.", r.Identifier)
	}
	if token == "" || token == stale.Reveal() {
		// Longer than any that GitHub gives, and of another form.
		a.minted++
		token = fmt.Sprintf("tok:%s:%d:", r.Identifier, a.minted) + strings.Repeat("~./+=_-", 300)
		a.included[r.Identifier] = token
		a.server.Repo(r.Identifier).RequireToken(token)
	}
	return polset.NewSecret(token), nil
}

// times is how often it was asked since the last time.
func (a *app) times() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(a.asked)
	a.asked, a.stale = nil, nil
	return n
}

func (a *app) last() (polset.Remote, string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.asked) == 0 {
		return polset.Remote{}, ""
	}
	return a.asked[len(a.asked)-1], a.stale[len(a.stale)-1]
}

// expire makes the git server refuse the token that the app still gives out.
func (a *app) expire(r *polsettest.Repo) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	r.RequireToken("expired")
	return a.included[r.Identifier]
}

func (a *app) config() source.Config {
	c := config(a.server)
	c.Tokens = a
	return c
}

// installed is a remote that is read through an installation.
func installed(r *polsettest.Repo) polset.Remote {
	return polset.Remote{
		HTTPURL: "https://github.com", APIURL: "https://api.github.com",
		Identifier: r.Identifier, ExternalID: r.ID, Installation: 4711,
	}
}

// shown lists the tokens that requests for a repository carried, "" for none.
func shown(server *polsettest.Git, repo string) []string {
	var tokens []string
	for _, q := range server.Requests() {
		if strings.HasPrefix(strings.ToLower(q.Path), "/"+strings.ToLower(repo)+".git/") ||
			strings.HasPrefix(strings.ToLower(q.Path), "/"+strings.ToLower(repo)+"/") {
			_, token, _ := (&http.Request{Header: q.Header}).BasicAuth()
			tokens = append(tokens, token)
		}
	}
	return tokens
}

// tokens are those of a function, without regard for what is asked for.
type tokens func(context.Context) (polset.Secret, error)

func (f tokens) Token(ctx context.Context, _ polset.Remote, _ polset.Secret) (polset.Secret, error) {
	return f(ctx)
}

// renewals tell what takes the place of a stale token.
type renewals func(stale string) string

func (f renewals) Token(_ context.Context, _ polset.Remote, stale polset.Secret) (polset.Secret, error) {
	return polset.NewSecret(f(stale.Reveal())), nil
}
