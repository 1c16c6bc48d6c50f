package source_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
)

// Each repository sees a token of its own and no other's, and the App is asked
// once for each.
func TestInstallationSubmodules(t *testing.T) {
	server := polsettest.NewGit(t)
	deep := server.Create("acme/deep")
	lib := server.Create("acme/lib")
	r := server.Create("acme/policies")
	first := r.Commit("main", map[string]string{"x.rego": "package x\n"})
	deepCommit := deep.Commit("main", map[string]string{"d.rego": "package d\n"})
	earlier := lib.Commit("main", map[string]string{"l.rego": "package earlier\n"})
	libCommit := lib.Commit("main", map[string]string{
		".gitmodules": "[submodule \"x\"]\n\tpath = deep\n\turl = ../deep.git\n", "l.rego": "package l\n",
	}, polsettest.Submodule("deep", deepCommit))
	commit := r.Commit("main", map[string]string{
		".gitmodules": "[submodule \"one\"]\n\tpath = p/one\n\turl = https://github.com/acme/lib\n" +
			"[submodule \"two\"]\n\tpath = p/two\n\turl = ../lib.git\n" +
			"[submodule \"three\"]\n\tpath = p/three\n\turl = " + server.URL() + "/ACME/Lib.git/\n" +
			"[submodule \"self\"]\n\tpath = p/self\n\turl = ../Policies\n",
	}, polsettest.Submodule("p/one", libCommit), polsettest.Submodule("p/two", earlier),
		polsettest.Submodule("p/three", earlier), polsettest.Submodule("p/self", first))
	a := newApp(server, deep, lib, r)
	files, s := mustFetch(t, newGit(t, a.config()), installed(r), commit, withSubmodules)
	got := list(t, files)
	for path, want := range map[string]string{
		"p/one/l.rego": "644 package l\n", "p/two/l.rego": "644 package earlier\n", "p/three/l.rego": "644 package earlier\n",
		"p/one/deep/d.rego": "644 package d\n", "p/self/x.rego": "644 package x\n",
	} {
		if got[path] != want {
			t.Errorf("%s is %q, want %q", path, got[path], want)
		}
	}
	// 3 for the path; lib at one, deep, lib at two, lib at three (another
	// spelling), and the repository itself.
	if got := s.Stats().Requests; got != 3+5 {
		t.Errorf("%d requests", got)
	}
	var asked []string
	for i, remote := range a.asked {
		asked = append(asked, remote.Identifier)
		want := installed(r)
		if i > 0 {
			want.Identifier, want.ExternalID = remote.Identifier, 0
		}
		if diff := cmp.Diff(want, remote, cmp.AllowUnexported(polset.Secret{})); diff != "" {
			t.Errorf("the App was asked for another remote (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff([]string{"acme/policies", "acme/lib", "acme/deep"}, asked); diff != "" {
		t.Errorf("the App was asked for (-want +got):\n%s", diff)
	}
	for _, repo := range []*polsettest.Repo{deep, lib, r} {
		for _, token := range shown(server, repo.Identifier) {
			if token != a.included[repo.Identifier] {
				t.Errorf("%s saw the token %.30q", repo.Identifier, token)
			}
		}
	}
}

// What the installation does not include is read only if anybody may.
func TestInstallationWithoutSubmodule(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	lib := server.Create("acme/lib")
	libCommit := lib.Commit("main", map[string]string{"l.rego": "package l\n"})
	laterCommit := lib.Commit("main", map[string]string{"l.rego": "package later\n"})
	commit := r.Commit("main", map[string]string{
		".gitmodules": "[submodule \"one\"]\n\tpath = p/one\n\turl = ../lib\n[submodule \"two\"]\n\tpath = p/two\n\turl = ../lib\n",
	}, polsettest.Submodule("p/one", libCommit), polsettest.Submodule("p/two", laterCommit))

	t.Run("a public one", func(t *testing.T) {
		a := newApp(server, r)
		files, _ := mustFetch(t, newGit(t, a.config()), installed(r), commit, withSubmodules)
		if got := list(t, files); got["p/one/l.rego"] == "" || got["p/two/l.rego"] == "" {
			t.Errorf("got %v", got)
		}
		if diff := cmp.Diff([]string{"", ""}, shown(server, "acme/lib")); diff != "" {
			t.Errorf("acme/lib saw (-want +got):\n%s", diff)
		}
		if n := a.times(); n != 2 {
			t.Errorf("the App was asked %d times, want once for each repository", n)
		}
	})
	t.Run("a private one", func(t *testing.T) {
		lib.RequireToken("x")
		defer lib.RequireToken("")
		server.ResetRequests()
		a := newApp(server, r)
		_, _, err := fetch(t.Context(), newGit(t, a.config()), installed(r), commit, withSubmodules)
		f := failureOf(t, err, polset.ClassAuth, false, "p/one", "../lib", "acme/lib",
			"the installation of the GitHub App does not include this repository", "add it to the installation")
		if !strings.Contains(f.Error(), "The installation gives no right to acme/lib.") {
			t.Errorf("the log does not say why there was no token: %v", f)
		}
		if diff := cmp.Diff([]string{""}, shown(server, "acme/lib")); diff != "" {
			t.Errorf("acme/lib saw (-want +got):\n%s", diff)
		}
	})
	t.Run("a passing fault is passed on", func(t *testing.T) {
		for _, class := range []polset.Class{polset.ClassTimeout, polset.ClassAuth} {
			server.ResetRequests()
			a := newApp(server, r, lib)
			a.fail = func(r polset.Remote) error {
				if r.Identifier == "acme/lib" {
					return &polset.Failure{Class: class, Message: "GitHub is slow.", Retry: true, RetryAfter: time.Minute}
				}
				return nil
			}
			_, _, err := fetch(t.Context(), newGit(t, a.config()), installed(r), commit, withSubmodules)
			if f := failureOf(t, err, class, true, "p/one", "slow"); f.RetryAfter != time.Minute {
				t.Errorf("retry after %s", f.RetryAfter)
			}
			if tokens := shown(server, "acme/lib"); len(tokens) > 0 {
				t.Errorf("acme/lib was asked %d times", len(tokens))
			}
		}
		lib.RequireToken("")
	})
	t.Run("one that leaves the installation meanwhile", func(t *testing.T) {
		server.ResetRequests()
		a := newApp(server, r, lib)
		lib.RequireToken("")
		server.Intercept(polsettest.When(polsettest.IsRepository("acme/lib"), func(w http.ResponseWriter, q *http.Request, next http.Handler) bool {
			a.mu.Lock()
			delete(a.included, "acme/lib")
			a.mu.Unlock()
			lib.RequireToken("")
			return q.Header.Get("Authorization") != "" && polsettest.Status(401, "no")(w, q, next)
		}))
		defer server.Intercept(nil)
		mustFetch(t, newGit(t, a.config()), installed(r), commit, withSubmodules)
		if tokens := shown(server, "acme/lib"); len(tokens) != 3 || tokens[0] == "" || tokens[1] != "" || tokens[2] != "" {
			t.Errorf("acme/lib saw %.20q", tokens)
		}
		if n := a.times(); n != 3 {
			t.Errorf("the App was asked %d times, want once for the top and twice for the submodule", n)
		}
	})
}

// The tokens of submodules expire as well.
func TestExpiredSubmoduleToken(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	lib := server.Create("acme/lib", polsettest.V0Only())
	libCommit := lib.Commit("main", map[string]string{"l.rego": "package l\n"})
	commit := withSubmodule(r, "../lib", libCommit)
	a := newApp(server, r, lib)
	g := newGit(t, a.config())
	mustFetch(t, g, installed(r), commit, withSubmodules)
	old := a.expire(lib)
	a.times()
	server.ResetRequests()
	mustFetch(t, g, installed(r), commit, withSubmodules)
	remote, stale := a.last()
	if n := a.times(); n != 3 || remote.Identifier != "acme/lib" || stale != old {
		t.Errorf("the App was asked %d times, lastly for %s and shown %.20q", n, remote.Identifier, stale)
	}
	if tokens := shown(server, "acme/policies"); slices.Contains(tokens, a.included["acme/lib"]) {
		t.Error("the top saw the submodule's token")
	}
}

// Nobody but the installation's own account sees a token, and no token is asked
// for anybody else.
func TestInstallationSubmodulesElsewhere(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	same := server.Create("acme/same")
	same.Commit("main", map[string]string{"a": "b"})
	lib := server.Create("other/lib")
	libCommit := lib.Commit("main", map[string]string{"l.rego": "package l\n"})
	private := server.Create("other/private")
	privateCommit := private.Commit("main", map[string]string{"a": "b"})
	private.RequireToken("x")
	a := newApp(server, r, same)
	g := newGit(t, a.config())
	t.Run("case 33 another owner", func(t *testing.T) {
		mustFetch(t, g, installed(r), withSubmodule(r, "../../other/lib.git", libCommit), withSubmodules)
		_, _, err := fetch(t.Context(), g, installed(r), withSubmodule(r, "../../other/private", privateCommit), withSubmodules)
		wantFailure(t, err, polset.ClassAuth, false, "p/sub", "401", "asked without a credential", "its own account only")
	})
	t.Run("case 33 another host", func(t *testing.T) {
		host, pool := secondHost(t, server)
		c := a.config()
		c.RootCAs, c.SubmoduleHosts = pool, []string{host.Host}
		server.ResetRequests()
		_, _, err := fetch(t.Context(), newGit(t, c), installed(r), withSubmodule(r, host.String()+"/acme/same", noCommit), withSubmodules)
		wantFailure(t, err, polset.ClassAuth, false, "p/sub", host.Host, "asked without a credential")
		if diff := cmp.Diff([]string{""}, shown(server, "acme/same")); diff != "" {
			t.Errorf("the other host saw (-want +got):\n%s", diff)
		}
	})
	t.Run("case 35 no repository of GitHub's", func(t *testing.T) {
		_, _, err := fetch(t.Context(), g, installed(r), withSubmodule(r, "https://github.com/acme/group/lib", noCommit), withSubmodules)
		wantFailure(t, err, polset.ClassAuth, false, "p/sub", "asked without a credential")
	})
	if slices.ContainsFunc(a.asked, func(r polset.Remote) bool { return r.Identifier != "acme/policies" }) {
		t.Errorf("the App was asked for %v", a.asked)
	}
	t.Run("case 38 a submodule's redirect to another owner", func(t *testing.T) {
		server.ResetRequests()
		server.Intercept(polsettest.When(polsettest.IsRepository("acme/same"), func(w http.ResponseWriter, q *http.Request, _ http.Handler) bool {
			http.Redirect(w, q, "/other/lib.git/git-upload-pack", http.StatusPermanentRedirect)
			return true
		}))
		defer server.Intercept(nil)
		mustFetch(t, g, installed(r), withSubmodule(r, "../same", libCommit), withSubmodules)
		if tokens := shown(server, "acme/same"); len(tokens) != 1 || tokens[0] != a.included["acme/same"] {
			t.Errorf("acme/same saw %.20q", tokens)
		}
		a.times()
		lib.RequireToken("x")
		defer lib.RequireToken("")
		_, _, err := fetch(t.Context(), g, installed(r), withSubmodule(r, "../same", libCommit), withSubmodules)
		wantFailure(t, err, polset.ClassAuth, false, "401")
		if n := a.times(); n != 2 {
			t.Errorf("the App was asked %d times: 401 to no token does not say that one expired", n)
		}
	})
	for _, q := range server.Requests() {
		if strings.HasPrefix(q.Path, "/other/") && q.Header.Get("Authorization") != "" {
			t.Errorf("%s saw a token", fmt.Sprint(q.Path))
		}
	}
}
