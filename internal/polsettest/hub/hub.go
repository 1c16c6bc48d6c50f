// Package hub turns a test into a GitHub of its own: accounts, repositories
// and Apps with their REST API, git over HTTP, web pages and signed
// deliveries. It refuses what GitHub would refuse, by GitHub's own
// description of its API, and fails when it is told to.
package hub

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/polset/polset/internal/polsettest"
)

// A GitHub is one stand-in. Its methods, and those of everything that it
// makes, do not return errors: a failure ends the test. All are safe for
// concurrent use.
//
// Everything that happens through the methods (a push, a renaming) is told to
// the hooks that listen before the method returns, one delivery after the
// other, in order. What a request causes (a redelivery, the ping of a new
// hook) is told after the answer, and Settle waits for it. What git push over
// HTTP causes is told some time after git's answer.
type GitHub struct {
	t           testing.TB
	clock       func() time.Time
	tokenLength int
	violation   func(string)
	git         *polsettest.Git
	api         *polsettest.Server // the root API
	rest        *http.ServeMux     // by route
	routed      map[string]bool
	description *description
	examples    []Example
	client      *http.Client // delivers
	ctx         context.Context
	cancel      context.CancelFunc
	background  background
	sending     sync.Mutex // one event after the other

	mu            sync.Mutex
	number        int64 // the last that was given to anything but a repository
	accounts      []*Account
	signedIn      *Account
	repositories  []*Repository
	moved         map[string]*Repository // by lower-case identifier of once
	followed      map[string]bool        // paths that a redirect led to
	apps          []*App
	installations []*Installation
	tokens        []*Token
	tokenOf       map[string]*Token
	manifests     map[string]*manifestCode
	grants        map[string]*oauthCode
	deliveries    []*Delivery
	held          []*Delivery
	hold, drop    bool
	outage        Outage
	faults        map[string]polsettest.Fault
	calls         []*Call
}

// Config is how a GitHub differs from the ordinary one.
type Config struct {
	// Clock is what tokens, codes and the Apps' JWTs age by; nil: the real time.
	Clock func() time.Time
	// TokenLength is how many characters an installation token has; 0: 300.
	TokenLength int
	// Violation is told of every request that is malformed: that a client of
	// GitHub may never send. nil: it fails the test. Refusals that an honest
	// client can meet (401, 403, 404, a taken hook) are none.
	Violation func(problem string)
}

// New starts a stand-in that lives as long as the test.
func New(t testing.TB, config Config) *GitHub {
	t.Helper()
	description, err := readDescription()
	if err != nil {
		t.Fatal(err)
	}
	g := &GitHub{
		t: t, clock: config.Clock, tokenLength: config.TokenLength, violation: config.Violation,
		git: polsettest.NewGit(t), description: description, examples: Examples(t),
		client: &http.Client{
			Timeout:       10 * time.Second, // GitHub's own
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		number: 50_000_000,
		moved:  map[string]*Repository{}, followed: map[string]bool{}, tokenOf: map[string]*Token{},
		manifests: map[string]*manifestCode{}, grants: map[string]*oauthCode{}, faults: map[string]polsettest.Fault{},
	}
	if g.clock == nil {
		g.clock = time.Now
	}
	if g.tokenLength == 0 {
		g.tokenLength = 300
	}
	if g.violation == nil {
		g.violation = func(problem string) {
			t.Helper()
			t.Error("GitHub would refuse: " + problem)
		}
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.rest = g.routes()
	g.signedIn = g.User("octocat")
	g.git.Guard(g.gate)
	g.git.Handle(http.HandlerFunc(g.serveWeb))
	g.api, err = polsettest.StartServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.serveREST(w, r, g.RootAPIURL())
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.cancel()
		err := g.api.Close()
		g.background.wait()
		if err := errors.Join(err, g.git.Server().Resume(context.Background())); err != nil {
			t.Error(err)
		}
		g.client.CloseIdleConnections()
	})
	return g
}

// URL is where the web pages and git are, without a trailing slash: what
// https://github.com is.
func (g *GitHub) URL() string { return g.git.URL() }

// APIURL is the REST API below URL, as GitHub Enterprise Server has it:
// <URL>/api/v3.
func (g *GitHub) APIURL() string { return g.git.URL() + "/api/v3" }

// RootAPIURL is the same REST API at the root of a host of its own, as
// https://api.github.com has it.
func (g *GitHub) RootAPIURL() string { return g.api.URL() }

// Git is the git server, for its log and its faults. Make repositories with
// Repository.
func (g *GitHub) Git() *polsettest.Git { return g.git }

// Settle waits until everything that requests have caused is delivered.
func (g *GitHub) Settle() { g.background.wait() }

// later does something after the answer to a request.
func (g *GitHub) later(do func()) { g.background.start(do) }

// background counts what is under way. Unlike a sync.WaitGroup it can be
// waited for while more is started.
type background struct {
	mu    sync.Mutex
	count int
	idle  chan struct{} // closed when count falls to zero
}

func (b *background) start(do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count == 0 {
		b.idle = make(chan struct{})
	}
	b.count++
	go func() {
		defer func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.count--; b.count == 0 {
				close(b.idle)
			}
		}()
		do()
	}()
}

func (b *background) wait() {
	b.mu.Lock()
	idle := b.idle
	b.mu.Unlock()
	if idle != nil {
		<-idle
	}
}

// serveWeb serves what is not git's at URL: the pages, and the REST API.
func (g *GitHub) serveWeb(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/api/v3/") || r.URL.Path == "/api/v3" {
		http.StripPrefix("/api/v3", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			g.serveREST(w, r, g.APIURL())
		})).ServeHTTP(w, r)
		return
	}
	g.pages().ServeHTTP(w, r)
}

// next is a number that nothing has yet. The caller holds the lock.
func (g *GitHub) next() int64 {
	g.number++
	return g.number
}

func (g *GitHub) now() time.Time { return g.clock().UTC().Truncate(time.Second) }
