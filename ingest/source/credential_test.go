package source_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/polset/polset"
	"github.com/polset/polset/ingest/source"
	"github.com/polset/polset/internal/polsettest"
)

func TestInstallation(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	a := newApp(server, r)
	c := a.config()
	core, logs := observer.New(zap.DebugLevel)
	c.Logger = zap.New(core)
	g := newGit(t, c)

	if _, err := g.Head(t.Context(), installed(r), "main"); err != nil {
		t.Fatal(err)
	}
	asked, stale := a.last()
	if diff := cmp.Diff(installed(r), asked, cmp.AllowUnexported(polset.Secret{})); diff != "" || stale != "" {
		t.Errorf("the token was asked for with the stale %q of another remote (-want +got):\n%s", stale, diff)
	}
	if n := a.times(); n != 1 {
		t.Errorf("the token was asked for %d times by a look", n)
	}
	files, s := mustFetch(t, g, installed(r), commit, polset.Content{Path: "aws"})
	sameAsGit(t, files, r, commit, "aws")
	if n := a.times(); n != 1 || s.Stats().Requests != 3 {
		t.Errorf("the token was asked for %d times by a fetch of %d requests, want 1 and 3", n, s.Stats().Requests)
	}
	tokens := shown(server, "acme/policies")
	if len(tokens) != 4 || slices.Contains(tokens, "") {
		t.Errorf("%d requests, some of them perhaps without a token", len(tokens))
	}
	for _, entry := range logs.All() {
		if line := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(line, "tok:") {
			t.Errorf("the log holds the token: %s", line)
		}
	}
}

// A connection's token stays what it is, and so does a token that comes with
// the remote.
func TestInstallationsOnly(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	lib := server.Create("acme/lib")
	libCommit := lib.Commit("main", map[string]string{"l.rego": "package l\n"})
	commit := withSubmodule(r, "../lib", libCommit)
	a := newApp(server, r, lib)
	r.RequireToken("s3cret")
	lib.RequireToken("s3cret")
	g := newGit(t, a.config())
	both := installed(r)
	both.Token = polset.NewSecret("s3cret")
	for _, remote := range []polset.Remote{at(r, "s3cret"), both} {
		mustFetch(t, g, remote, commit, withSubmodules)
		r.RequireToken("other")
		server.ResetRequests()
		_, err := g.Head(t.Context(), remote, "")
		wantFailure(t, err, polset.ClassAuth, false, "401", "the credential of the connection")
		if n := len(server.Requests()); n != 1 {
			t.Errorf("%d requests", n)
		}
		r.RequireToken("s3cret")
	}
	if n := a.times(); n != 0 {
		t.Errorf("the App was asked %d times", n)
	}
}

func TestNoApp(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	g := newGit(t, config(server))
	_, headErr := g.Head(t.Context(), installed(r), "")
	_, openErr := g.Open(t.Context(), installed(r), commit)
	for _, err := range []error{headErr, openErr} {
		wantFailure(t, err, polset.ClassAuth, false, "no GitHub App is configured", "acme/policies")
	}
	if n := len(server.Requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// Why there is no token is what the caller hears, and nothing is sent.
func TestNoToken(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	for _, test := range []struct {
		name  string
		err   error
		class polset.Class
		retry bool
		after time.Duration
		part  string
	}{
		{"refused", polset.Fail(polset.ClassAuth, "The installation is suspended."), polset.ClassAuth, false, 0, "suspended"},
		{"limited", &polset.Failure{Class: polset.ClassTimeout, Message: "Wait.", Retry: true, RetryAfter: time.Minute}, polset.ClassTimeout, true, time.Minute, "Wait."},
		{"a fault of its own", errors.New("no database"), polset.ClassInternal, true, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newApp(server)
			a.fail = func(polset.Remote) error { return test.err }
			g := newGit(t, a.config())
			_, headErr := g.Head(t.Context(), installed(r), "")
			_, openErr := g.Open(t.Context(), installed(r), commit)
			for _, err := range []error{headErr, openErr} {
				f := polset.FailureOf(err)
				if err == nil || f.Class != test.class || f.Retry != test.retry || f.RetryAfter != test.after || !strings.Contains(f.Message, test.part) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	t.Run("an empty token is none", func(t *testing.T) {
		g := newGit(t, func() source.Config {
			c := config(server)
			c.Tokens = tokens(func(context.Context) (polset.Secret, error) { return polset.Secret{}, nil })
			return c
		}())
		if _, err := g.Head(t.Context(), installed(r), ""); err == nil || polset.FailureOf(err).Class != polset.ClassInternal {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a token that does not come in time", func(t *testing.T) {
		c := config(server)
		c.Timeout = 10 * time.Millisecond
		c.Tokens = tokens(func(ctx context.Context) (polset.Secret, error) {
			<-ctx.Done()
			return polset.Secret{}, ctx.Err()
		})
		_, err := newGit(t, c).Head(t.Context(), installed(r), "")
		if f := failureOf(t, err, polset.ClassTimeout, true, "no token", "acme/policies"); !f.Hung {
			t.Error("it is not said to have hung")
		}
	})
	t.Run("a caller that gives up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := config(server)
		c.Tokens = tokens(func(ctx context.Context) (polset.Secret, error) {
			cancel()
			<-ctx.Done()
			return polset.Secret{}, ctx.Err()
		})
		if _, err := newGit(t, c).Head(ctx, installed(r), ""); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	if n := len(server.Requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// A token that expires is replaced once, wherever it is noticed, by servers of
// every kind.
func TestExpiredToken(t *testing.T) {
	for _, test := range []struct {
		name    string
		options []polsettest.RepoOption
	}{
		{"case 63 in version 2", nil},
		{"case 63 in version 0", []polsettest.RepoOption{polsettest.V0Only()}},
		{"case 63 without filters", []polsettest.RepoOption{polsettest.WithoutFilter()}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := polsettest.NewGit(t)
			r := server.Create("acme/policies", test.options...)
			commit := library(r)
			a := newApp(server, r)
			g := newGit(t, a.config())
			mustFetch(t, g, installed(r), commit, polset.Content{Path: "aws"}) // the plan is known now
			a.times()
			step := func(name string, requests int, do func() error) {
				t.Helper()
				server.ResetRequests()
				old := a.expire(r)
				if err := do(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if _, stale := a.last(); stale != old {
					t.Errorf("%s: the App was shown the stale token %.20q, want %.20q", name, stale, old)
				}
				if got := len(server.Requests()); got != requests+1 {
					t.Errorf("%s: %d requests, want one more than %d", name, got, requests)
				}
				for i, token := range shown(server, "acme/policies") {
					if (token == old) != (i == 0) {
						t.Errorf("%s: request %d carries the wrong token", name, i)
					}
				}
			}
			step("look", 1, func() error {
				_, err := g.Head(t.Context(), installed(r), "main")
				return err
			})
			if n := a.times(); n != 2 {
				t.Errorf("a look with an expired token asked %d times, want for one and for another", n)
			}
			var s *source.Snapshot
			step("open", 1, func() error {
				s = open(t, g, installed(r), commit)
				return nil
			})
			if test.options != nil && strings.Contains(test.name, "filters") {
				return // everything is here now
			}
			a.times()
			step("resolve", 1, func() error {
				_, err := s.Resolve(t.Context(), polset.Content{Path: "aws"})
				return err
			})
			step("fetch", 1, func() error {
				files, err := s.Fetch(t.Context(), polset.Content{Path: "aws"})
				if err == nil {
					sameAsGit(t, files, r, commit, "aws")
				}
				return err
			})
			if n := a.times(); n != 2 {
				t.Errorf("two expired tokens were asked for %d times", n)
			}
			if _, err := s.Fetch(t.Context(), polset.Content{Path: "azure"}); err != nil || a.times() != 0 {
				t.Errorf("the token that came last was not kept: %v", err)
			}
		})
	}
}

// A token that is refused again is a failure after one more request, and only
// 401 says that a token expired.
func TestRefusedToken(t *testing.T) {
	for _, test := range []struct {
		status, requests, asked int
		parts                   []string
	}{
		{401, 2, 2, []string{"401", "refused the token of the GitHub App's installation"}},
		{403, 1, 1, []string{"403", "refused the token of the GitHub App's installation"}},
		{404, 1, 1, []string{"404", "the installation of the GitHub App does not include"}},
	} {
		t.Run(fmt.Sprintf("case 60 %d", test.status), func(t *testing.T) {
			server := polsettest.NewGit(t)
			r := server.Create("acme/policies")
			commit := library(r)
			a := newApp(server, r)
			g := newGit(t, a.config())
			s := open(t, g, installed(r), commit)
			server.Intercept(polsettest.Status(test.status, "no"))
			for name, do := range map[string]func() error{
				"look": func() error {
					_, err := g.Head(t.Context(), installed(r), "")
					return err
				},
				"open": func() error {
					_, err := g.Open(t.Context(), installed(r), commit)
					return err
				},
			} {
				server.ResetRequests()
				a.times()
				f := failureOf(t, do(), polset.ClassAuth, false, append(test.parts, "acme/policies")...)
				if n := len(server.Requests()); n != test.requests {
					t.Errorf("%s: %d requests, want %d", name, n, test.requests)
				}
				if n := a.times(); n != test.asked {
					t.Errorf("%s: the App was asked %d times, want %d", name, n, test.asked)
				}
				if strings.Contains(f.Error(), "tok:") {
					t.Errorf("%s: the failure holds a token", name)
				}
			}
			server.ResetRequests()
			_, err := s.Resolve(t.Context(), polset.Content{Path: "aws"})
			wantFailure(t, err, polset.ClassAuth, false, test.parts...)
			if n, asked := len(server.Requests()), a.times(); n != test.requests || asked != test.asked-1 {
				t.Errorf("resolve: %d requests, and the App was asked %d times", n, asked)
			}
			server.Intercept(nil)
			if _, err := s.Resolve(t.Context(), polset.Content{Path: "aws"}); err != nil {
				t.Errorf("after the fault: %v", err)
			}
		})
	}
	t.Run("the App has no other", func(t *testing.T) {
		server := polsettest.NewGit(t)
		r := server.Create("acme/policies")
		commit := library(r)
		a := newApp(server, r)
		s := open(t, newGit(t, a.config()), installed(r), commit)
		a.expire(r)
		a.fail = func(polset.Remote) error { return polset.Fail(polset.ClassAuth, "The installation is gone.") }
		_, err := s.Resolve(t.Context(), polset.Content{Path: "aws"})
		wantFailure(t, err, polset.ClassAuth, false, "gone")
		if tokens := shown(server, "acme/policies"); slices.Contains(tokens, "") {
			t.Error("the repository was asked anonymously")
		}
	})
	t.Run("the server hides it in the protocol's own words", func(t *testing.T) {
		server := polsettest.NewGit(t)
		r := server.Create("acme/policies")
		a := newApp(server, r)
		server.Intercept(polsettest.Status(200, "0026ERR access denied or not exported:", "Content-Type", "application/x-git-upload-pack-result"))
		_, err := newGit(t, a.config()).Head(t.Context(), installed(r), "")
		wantFailure(t, err, polset.ClassAuth, false, "hides", "the installation of the GitHub App does not include")
		_, err = newGit(t, a.config()).Head(t.Context(), at(r, "x"), "")
		wantFailure(t, err, polset.ClassAuth, false, "hides", "the token may read it")
	})
}

// However many calls meet an expired token of one snapshot, one asks for another.
func TestExpiredTokenOnce(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	a := newApp(server, r)
	s := open(t, newGit(t, a.config()), installed(r), commit)
	a.expire(r)
	a.times()
	var all sync.WaitGroup
	for _, path := range []string{"aws", "azure", "common/plan", "aws/test/a", "aws.d", "common"} {
		all.Go(func() {
			if _, err := s.Fetch(t.Context(), polset.Content{Path: path}); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		})
	}
	all.Wait()
	if n := a.times(); n != 1 {
		t.Errorf("the App was asked %d times", n)
	}
}

// The token of an installation goes where that of a connection would.
func TestInstallationRedirects(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	other := polsettest.NewGit(t)
	library(other.Create("acme/policies"))
	a := newApp(server, r)
	for _, code := range []int{301, 307} {
		t.Run(fmt.Sprintf("case 38 redirect %d to another host", code), func(t *testing.T) {
			server.Intercept(polsettest.Redirect(code, other.URL()))
			defer server.Intercept(nil)
			g := newGit(t, a.config())
			_, headErr := g.Head(t.Context(), installed(r), "")
			_, openErr := g.Open(t.Context(), installed(r), commit)
			for _, err := range []error{headErr, openErr} {
				f := failureOf(t, err, polset.ClassURLForbidden, false, "redirects")
				if strings.Contains(f.Error(), "tok:") {
					t.Error("the failure holds the token")
				}
			}
			if n := len(other.Requests()); n > 0 {
				t.Errorf("the other host saw %d requests", n)
			}
		})
	}
	t.Run("case 21 a renamed repository, and an expired token", func(t *testing.T) {
		server.Intercept(polsettest.When(polsettest.IsRepository("old/name"), func(w http.ResponseWriter, q *http.Request, _ http.Handler) bool {
			http.Redirect(w, q, strings.Replace(q.URL.Path, "/old/name", "/acme/policies", 1), http.StatusMovedPermanently)
			return true
		}))
		defer server.Intercept(nil)
		old := installed(r)
		old.Identifier = "old/name"
		token := "first"
		c := config(server)
		c.Tokens = renewals(func(stale string) string {
			if stale != "" {
				token = "second"
				r.RequireToken(token)
			}
			return token
		})
		files, s := mustFetch(t, newGit(t, c), old, commit, polset.Content{Path: "aws"})
		sameAsGit(t, files, r, commit, "aws")
		if got := s.Stats().Requests; got != 3+2 {
			t.Errorf("%d requests, want 3, one for the name and one for the token", got)
		}
	})
}
