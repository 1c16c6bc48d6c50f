package source_test

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/polset/polset"
	"github.com/polset/polset/ingest/source"
	"github.com/polset/polset/internal/polsettest"
)

const noCommit = "0123456789012345678901234567890123456789"

// withSubmodule commits a superproject whose p/sub is at commit of url.
func withSubmodule(r *polsettest.Repo, url, commit string) string {
	return r.Commit("main", map[string]string{
		".gitmodules": fmt.Sprintf("[submodule \"sub\"]\n\tpath = p/sub\n\turl = %s\n", url),
		"p/a.rego":    "package a\n",
	}, polsettest.Submodule("p/sub", commit))
}

var withSubmodules = polset.Content{Path: "p", Submodules: true}

func TestSubmodules(t *testing.T) {
	server := polsettest.NewGit(t)
	deep := server.Create("acme/deep")
	lib := server.Create("acme/lib")
	elsewhere := server.Create("acme/elsewhere")
	r := server.Create("acme/policies")
	deepCommit := deep.Commit("main", map[string]string{"d.rego": "package d\n"})
	libCommit := lib.Commit("main", map[string]string{
		".gitmodules": "[submodule \"x\"]\n\tpath = vendor/deep\n\turl = ../deep.git\n", "l.rego": "package l\n",
	}, polsettest.Submodule("vendor/deep", deepCommit))
	commit := r.Commit("main", map[string]string{
		".gitmodules": "[submodule \"libs/one\"]\n\tpath = p/one\n\turl = https://github.com/acme/lib\n" +
			"[submodule \"two\"]\n\tpath = p/two/\n\turl = ../lib.git\n" +
			"[submodule \"three\"]\n\tpath = p/three\n\turl = " + server.URL() + "/acme/lib.git/\n" +
			"[submodule \"elsewhere\"]\n\tpath = q/x\n\turl = ssh://evil/x\n",
		"p/a.rego": "package a\n",
	}, polsettest.Submodule("p/one", libCommit), polsettest.Submodule("p/two", libCommit), polsettest.Submodule("p/three", libCommit),
		polsettest.Submodule("q/x", elsewhere.Commit("main", map[string]string{"e": "e"})))
	for _, repo := range []*polsettest.Repo{deep, lib, r} {
		repo.RequireToken("s3cret")
	}
	g := newGit(t, config(server))
	files, s := mustFetch(t, g, at(r, "s3cret"), commit, withSubmodules)
	want := map[string]string{"p": "dir", "p/a.rego": "644 package a\n"}
	for _, sub := range []string{"p/one", "p/two", "p/three"} {
		want[sub] = "dir"
		want[sub+"/.gitmodules"] = "644 [submodule \"x\"]\n\tpath = vendor/deep\n\turl = ../deep.git\n"
		want[sub+"/l.rego"] = "644 package l\n"
		want[sub+"/vendor"] = "dir"
		want[sub+"/vendor/deep"] = "dir"
		want[sub+"/vendor/deep/d.rego"] = "644 package d\n"
	}
	wantList(t, files, want)
	if got := s.Stats().Requests; got != 3+2 {
		t.Errorf("%d requests, want 3 for the path and one for each different submodule", got)
	}
	for _, q := range server.Requests() {
		if strings.Contains(q.Path, "elsewhere") {
			t.Error("a submodule elsewhere was asked for")
		}
	}

	off, _ := mustFetch(t, g, at(r, "s3cret"), commit, polset.Content{Path: "p"})
	wantList(t, off, map[string]string{"p": "dir", "p/a.rego": "644 package a\n", "p/one": "dir", "p/two": "dir", "p/three": "dir"})
	sameAsGit(t, off, r, commit, "p")
}

// Servers of every kind give out submodules.
func TestSubmodulePlans(t *testing.T) {
	for _, options := range [][]polsettest.RepoOption{
		{polsettest.WithoutFilter()}, {polsettest.V0Only()}, {polsettest.V0Only(), polsettest.WithoutFilter(), polsettest.WithoutAnySHA1()},
	} {
		server := polsettest.NewGit(t)
		lib := server.Create("acme/lib", options...)
		r := server.Create("acme/policies", options...)
		libCommit := lib.Commit("main", map[string]string{"l.rego": "package l\n"})
		lib.Commit("main", map[string]string{"l.rego": "package later\n"})
		files, _ := mustFetch(t, newGit(t, config(server)), at(r), withSubmodule(r, "../lib", libCommit), withSubmodules)
		wantList(t, files, map[string]string{"p": "dir", "p/a.rego": "644 package a\n", "p/sub": "dir", "p/sub/l.rego": "644 package l\n"})
	}
}

func TestSubmoduleURLs(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	local := t.TempDir()
	c := config(server)
	c.SubmoduleHosts = []string{"gitlab.example.com", "169.254.169.254", "[::1]:8443"}
	g := newGit(t, c)
	port := server.URL()[strings.LastIndexByte(server.URL(), ':')+1:]
	for _, test := range []struct{ name, url, part string }{
		{"case 29 file", "file://" + local, "https"},
		{"case 29 absolute path", local, "https"},
		{"case 29 relative path without dots", "lib.git", "https"},
		{"case 30 ssh", "ssh://git@github.com/acme/lib", "https"},
		{"case 30 scp", "git@github.com:acme/lib.git", ""},
		{"case 30 scp without user", "github.com:acme/lib.git", ""},
		{"case 30 git", "git://github.com/acme/lib", "https"},
		{"case 30 git+ssh", "git+ssh://github.com/acme/lib", "https"},
		{"case 31 ext", "ext::sh -c touch% /tmp/x", ""},
		{"case 31 fd", "fd::7", ""},
		{"case 31 https through a helper", "https::https://github.com/acme/lib", ""},
		{"case 32 upload-pack", "--upload-pack=touch /tmp/x", "hyphen"},
		{"case 32 -u", "-utouch", "hyphen"},
		{"case 32 proxy command", "ssh://-oProxyCommand=x/acme/lib", ""},
		{"case 33 another host", "https://evil.example.com/acme/lib", "POLSET_SUBMODULE_HOSTS"},
		{"case 33 a host below an allowed one", "https://x.gitlab.example.com/acme/lib", "POLSET_SUBMODULE_HOSTS"},
		{"case 33 another port of an allowed host", "https://gitlab.example.com:8443/acme/lib", "POLSET_SUBMODULE_HOSTS"},
		{"case 33 http on an allowed host", "http://gitlab.example.com/acme/lib", "https"},
		{"case 34 http://github.com", "http://github.com/acme/lib", "https"},
		{"case 35 host as user name", "https://github.com@evil.example.com/acme/lib", "user name"},
		{"case 35 userinfo", "https://user:hunter2@github.com/acme/lib", "user name"},
		{"case 35 empty userinfo", "https://@github.com/acme/lib", "user name"},
		{"case 35 port", "https://github.com:8443/acme/lib", "POLSET_SUBMODULE_HOSTS"},
		{"case 35 http port", "https://127.0.0.1:" + port + "/acme/lib", "POLSET_SUBMODULE_HOSTS"},
		{"case 35 trailing dot", "https://github.com./acme/lib", "dot"},
		{"case 35 look-alike", "https://github.com.evil.example/acme/lib", "POLSET_SUBMODULE_HOSTS"},
		{"case 35 backslash", `https://github.com\\@evil.example/acme/lib`, ""},
		{"case 35 query", "https://github.com/acme/lib?x=y", "query"},
		{"case 35 fragment", "\"https://github.com/acme/lib#x\"", "fragment"},
		{"case 35 encoded path", "https://github.com/acme/..%2fother%2flib", "path"},
		{"case 35 dots in the path", "https://github.com/acme/../other/lib", "path"},
		{"case 36 above the host", "../../../../x/y", ""},
		{"case 37 metadata service", "https://169.254.169.254/latest/meta-data", "POLSET_ALLOW_PRIVATE_NETWORKS"},
		{"case 37 loopback in IPv6", "https://[::1]:8443/acme/lib", "POLSET_ALLOW_PRIVATE_NETWORKS"},
		{"case 37 hexadecimal address", "https://0x7f000001/acme/lib", "number"},
		{"case 37 octal address", "https://017700000001/acme/lib", "number"},
		{"case 37 short address", "https://127.1/acme/lib", "number"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server.ResetRequests()
			commit := withSubmodule(r, test.url, noCommit)
			_, _, err := fetch(t.Context(), g, at(r), commit, withSubmodules)
			f := failureOf(t, err, polset.ClassURLForbidden, false, "p/sub", test.part)
			if strings.Contains(f.Error(), "hunter2") {
				t.Error("the failure holds a credential")
			}
			for _, q := range server.Requests() {
				if !strings.HasPrefix(q.Path, "/acme/policies.git/") {
					t.Errorf("%s was asked for", q.Path)
				}
			}
		})
	}
	t.Run("host allowed without https", func(t *testing.T) {
		for _, h := range []string{"https://x", "x/y", "u@x", ""} {
			if _, err := source.New(source.Config{SubmoduleHosts: []string{h}}); err == nil {
				t.Errorf("%q was accepted", h)
			}
		}
	})
}

// secondHost serves the same repositories at another address, by https.
func secondHost(t *testing.T, server *polsettest.Git) (*url.URL, *x509.CertPool) {
	t.Helper()
	target, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }})
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u, pool
}

func authorizations(server *polsettest.Git, repo string) (with, without int) {
	for _, q := range server.Requests() {
		if strings.HasPrefix(q.Path, "/"+repo) {
			if q.Header.Get("Authorization") != "" {
				with++
			} else {
				without++
			}
		}
	}
	return with, without
}

func TestSubmoduleCredentials(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	r.RequireToken("s3cret")
	lib := server.Create("other/lib")
	libCommit := lib.Commit("main", map[string]string{"l.rego": "package l\n"})
	same := server.Create("Acme/same")
	sameCommit := same.Commit("main", map[string]string{"l.rego": "package l\n"})
	same.RequireToken("s3cret")

	t.Run("case 33 another host is asked without credentials", func(t *testing.T) {
		host, pool := secondHost(t, server)
		c := config(server)
		c.RootCAs, c.SubmoduleHosts = pool, []string{host.Host}
		server.ResetRequests()
		files, _ := mustFetch(t, newGit(t, c), at(r, "s3cret"), withSubmodule(r, host.String()+"/other/lib", libCommit), withSubmodules)
		if list(t, files)["p/sub/l.rego"] == "" {
			t.Error("the submodule is empty")
		}
		if with, without := authorizations(server, "other/lib"); with != 0 || without == 0 {
			t.Errorf("%d requests with and %d without a credential", with, without)
		}
		_, _, err := fetch(t.Context(), newGit(t, c), at(r, "s3cret"), withSubmodule(r, host.String()+"/acme/same", sameCommit), withSubmodules)
		wantFailure(t, err, polset.ClassAuth, false, "p/sub", host.Host)
	})
	t.Run("certificate of nobody", func(t *testing.T) {
		host, _ := secondHost(t, server)
		c := config(server)
		c.SubmoduleHosts = []string{host.Host}
		_, _, err := fetch(t.Context(), newGit(t, c), at(r, "s3cret"), withSubmodule(r, host.String()+"/other/lib", libCommit), withSubmodules)
		wantFailure(t, err, polset.ClassURLForbidden, false, "certificate")
	})
	g := newGit(t, config(server))
	t.Run("the same owner in other letters", func(t *testing.T) {
		server.ResetRequests()
		mustFetch(t, g, at(r, "s3cret"), withSubmodule(r, "https://GitHub.com/ACME/same.git", sameCommit), withSubmodules)
		if with, without := authorizations(server, "ACME/same"); with == 0 || without != 0 {
			t.Errorf("%d requests with and %d without a credential", with, without)
		}
	})
	t.Run("case 36 another owner is asked without credentials", func(t *testing.T) {
		server.ResetRequests()
		mustFetch(t, g, at(r, "s3cret"), withSubmodule(r, "../../other/lib.git", libCommit), withSubmodules)
		if with, without := authorizations(server, "other/lib"); with != 0 || without == 0 {
			t.Errorf("%d requests with and %d without a credential", with, without)
		}
		private := server.Create("org2/private")
		commit := private.Commit("main", map[string]string{"a": "b"})
		private.RequireToken("s3cret")
		_, _, err := fetch(t.Context(), g, at(r, "s3cret"), withSubmodule(r, "../../org2/private", commit), withSubmodules)
		wantFailure(t, err, polset.ClassAuth, false, "p/sub", "../../org2/private", "401")
	})
	t.Run("case 36 a submodule of another owner gives its own no credentials", func(t *testing.T) {
		server.ResetRequests()
		middle := server.Create("other/middle")
		bait := server.Create("other/bait")
		baitCommit := bait.Commit("main", map[string]string{"a": "b"})
		middleCommit := middle.Commit("main", map[string]string{
			".gitmodules": "[submodule \"a\"]\n\tpath = bait\n\turl = ../bait\n[submodule \"b\"]\n\tpath = same\n\turl = https://github.com/acme/same\n",
		}, polsettest.Submodule("bait", baitCommit), polsettest.Submodule("same", sameCommit))
		mustFetch(t, g, at(r, "s3cret"), withSubmodule(r, "../../other/middle", middleCommit), withSubmodules)
		if with, _ := authorizations(server, "other/"); with != 0 {
			t.Errorf("another owner saw %d credentials", with)
		}
		if with, _ := authorizations(server, "acme/same"); with == 0 {
			t.Error("the top's own owner saw none")
		}
	})
	t.Run("case 38 a submodule's redirect to another owner carries no credentials", func(t *testing.T) {
		server.ResetRequests()
		server.Intercept(polsettest.When(polsettest.IsRepository("acme/same"), func(w http.ResponseWriter, q *http.Request, _ http.Handler) bool {
			http.Redirect(w, q, "/other/lib.git/git-upload-pack", http.StatusPermanentRedirect)
			return true
		}))
		defer server.Intercept(nil)
		mustFetch(t, g, at(r, "s3cret"), withSubmodule(r, "../same", libCommit), withSubmodules)
		if with, without := authorizations(server, "other/lib"); with != 0 || without == 0 {
			t.Errorf("%d requests with and %d without a credential", with, without)
		}
	})
}

func TestRedirects(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	r.RequireToken("s3cret")
	other := polsettest.NewGit(t)
	copied := other.Create("acme/policies")
	library(copied)
	for _, code := range []int{301, 302, 303, 307, 308} {
		for _, where := range []string{other.URL(), strings.Replace(server.URL(), "http:", "https:", 1), "http://169.254.169.254", "//evil.example", "file:///etc"} {
			t.Run(fmt.Sprintf("case 38 redirect %d to %s", code, where[:7]), func(t *testing.T) {
				g := newGit(t, config(server))
				server.Intercept(polsettest.Redirect(code, where))
				defer server.Intercept(nil)
				_, err := g.Head(t.Context(), at(r, "s3cret"), "")
				if code == 303 { // would turn the POST into a GET
					wantFailure(t, err, polset.ClassTimeout, true, "303")
				} else {
					wantFailure(t, err, polset.ClassURLForbidden, false, "redirects")
				}
				if len(other.Requests()) > 0 {
					t.Error("the redirect was followed")
				}
			})
		}
	}
	rename := func(code int) polsettest.Fault {
		return polsettest.When(polsettest.IsRepository("old/name"), func(w http.ResponseWriter, q *http.Request, _ http.Handler) bool {
			to := strings.Replace(q.URL.Path, "/old/name", "/acme/policies", 1)
			if q.URL.RawQuery != "" {
				to += "?" + q.URL.RawQuery
			}
			http.Redirect(w, q, to, code)
			return true
		})
	}
	old := polset.Remote{HTTPURL: "https://github.com", Identifier: "old/name", Token: polset.NewSecret("s3cret")}
	for _, code := range []int{301, 307} {
		t.Run(fmt.Sprintf("case 21 a renamed repository answers %d", code), func(t *testing.T) {
			server.Intercept(rename(code))
			defer server.Intercept(nil)
			files, s := mustFetch(t, newGit(t, config(server)), old, commit, polset.Content{Path: "aws"})
			sameAsGit(t, files, r, commit, "aws")
			if got := s.Stats().Requests; got != 4 {
				t.Errorf("%d requests, want one more than 3", got)
			}
		})
	}
	t.Run("case 38 redirect loop", func(t *testing.T) {
		server.Intercept(polsettest.Redirect(307, server.URL()))
		defer server.Intercept(nil)
		server.ResetRequests()
		_, err := newGit(t, config(server)).Head(t.Context(), at(r, "s3cret"), "")
		wantFailure(t, err, polset.ClassURLForbidden, false, "more than 3 times")
		if n := len(server.Requests()); n != 4 {
			t.Errorf("%d requests", n)
		}
	})
	t.Run("case 38 redirect of protocol 0 to another host", func(t *testing.T) {
		v0 := server.Create("acme/v0", polsettest.V0Only())
		library(v0)
		server.Intercept(polsettest.When(polsettest.IsAdvertisement, polsettest.Redirect(301, other.URL())))
		defer server.Intercept(nil)
		_, err := newGit(t, config(server)).Head(t.Context(), at(v0, "s3cret"), "")
		wantFailure(t, err, polset.ClassURLForbidden, false, "redirects")
		if len(other.Requests()) > 0 {
			t.Error("the redirect was followed")
		}
	})
}

func TestSubmoduleLimits(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	chain := server.Create("acme/chain")
	g := newGit(t, config(server))
	// A repository that names itself: each commit holds the ones before.
	nested := func(fan, depth int) string {
		commit := chain.Commit("main", map[string]string{"bottom": "x"}, polsettest.Replace())
		for range depth - 1 {
			var modules strings.Builder
			var links []polsettest.CommitOption
			for i := range fan {
				fmt.Fprintf(&modules, "[submodule \"s%d\"]\n\tpath = s%d\n\turl = ./\n", i, i)
				links = append(links, polsettest.Submodule(fmt.Sprint("s", i), commit))
			}
			commit = chain.Commit("main", map[string]string{".gitmodules": strings.ReplaceAll(modules.String(), "./", "../chain")}, append(links, polsettest.Replace())...)
		}
		return commit
	}
	t.Run("case 39 submodules in submodules", func(t *testing.T) {
		_, _, err := fetch(t.Context(), g, at(r), withSubmodule(r, "../chain", nested(1, 11)), withSubmodules)
		wantFailure(t, err, polset.ClassLimit, false, "p/sub/s0/s0", "10")
		if _, _, err := fetch(t.Context(), g, at(r), withSubmodule(r, "../chain", nested(1, 10)), withSubmodules); err != nil {
			t.Errorf("10 are allowed: %v", err)
		}
	})
	t.Run("case 39 fan-out", func(t *testing.T) {
		server.ResetRequests()
		_, _, err := fetch(t.Context(), g, at(r), withSubmodule(r, "../chain", nested(3, 9)), withSubmodules)
		wantFailure(t, err, polset.ClassLimit, false, "100 submodules", "p/sub/")
		if n := len(server.Requests()); n > 15 {
			t.Errorf("%d requests: the same commit was fetched again", n)
		}
	})
	t.Run("case 39 files of submodules count", func(t *testing.T) {
		lib := server.Create("acme/lib")
		commit := lib.Commit("main", map[string]string{"a": pseudoRandom(1, 50_000)})
		c := config(server)
		c.Limits.Bytes = 40_000
		_, _, err := fetch(t.Context(), newGit(t, c), at(r), withSubmodule(r, "../lib", commit), withSubmodules)
		wantFailure(t, err, polset.ClassLimit, false, "40000 bytes", "p/sub", "../lib")
	})
}

func TestGitmodulesFiles(t *testing.T) {
	server := polsettest.NewGit(t)
	lib := server.Create("acme/lib")
	libCommit := lib.Commit("main", map[string]string{"l": "l"})
	r := server.Create("acme/policies")
	g := newGit(t, config(server))
	entry := func(name, path string) string {
		return fmt.Sprintf("[submodule %q]\n\tpath = %s\n\turl = ../lib\n", name, path)
	}
	link := polsettest.Submodule("p/sub", libCommit)
	for _, test := range []struct {
		name, text string
		class      polset.Class
		part       string
	}{
		{"case 40 no entry", entry("x", "p/other"), polset.ClassContentInvalid, "p/sub"},
		{"case 40 no url", "[submodule \"x\"]\n\tpath = p/sub\n", polset.ClassContentInvalid, "p/sub"},
		{"case 40 empty file", "", polset.ClassContentInvalid, "p/sub"},
		{"case 40 name climbs", entry("../../x", "p/sub"), polset.ClassContentInvalid, "name"},
		{"case 40 name climbs in the middle", entry("a/../x", "p/sub"), polset.ClassContentInvalid, "name"},
		{"case 40 name begins with a hyphen", entry("-x", "p/sub"), polset.ClassContentInvalid, "name"},
		{"case 40 path climbs", entry("x", "../sub"), polset.ClassContentInvalid, "path"},
		{"case 40 path climbs in the middle", entry("x", "p/../sub"), polset.ClassContentInvalid, "path"},
		{"case 40 path is absolute", entry("x", "/etc"), polset.ClassContentInvalid, "path"},
		{"case 40 path begins with a hyphen", entry("x", "-p"), polset.ClassContentInvalid, "path"},
		{"case 40 the same path twice", entry("x", "p/sub") + entry("y", "p/sub"), polset.ClassContentInvalid, "two submodules"},
		{"case 40 not a configuration", "[submodule \"x\n", polset.ClassContentInvalid, "parsed"},
		{"case 40 binary", "\x00\xff\x00", polset.ClassContentInvalid, "parsed"},
		{"case 41 huge", entry("x", "p/sub") + strings.Repeat("# padding\n", 7000), polset.ClassLimit, "64 KiB"},
		{"ordinary", "# comment\n" + entry("x", "p/sub") + "\tbranch = .\n\tupdate = !touch /tmp/x\n", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			commit := r.Commit("main", map[string]string{".gitmodules": test.text}, link, polsettest.Replace())
			_, _, err := fetch(t.Context(), g, at(r), commit, withSubmodules)
			if test.class == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantFailure(t, err, test.class, false, ".gitmodules", test.part)
		})
	}
	t.Run("case 40 no .gitmodules", func(t *testing.T) {
		commit := r.Commit("main", nil, link, polsettest.Replace())
		_, _, err := fetch(t.Context(), g, at(r), commit, withSubmodules)
		wantFailure(t, err, polset.ClassContentInvalid, false, "p/sub", ".gitmodules")
	})
	t.Run("case 41 symlinked", func(t *testing.T) {
		commit := r.Commit("main", map[string]string{"modules": entry("x", "p/sub")}, link, polsettest.Symlink(".gitmodules", "modules"), polsettest.Replace())
		_, _, err := fetch(t.Context(), g, at(r), commit, withSubmodules)
		wantFailure(t, err, polset.ClassContentInvalid, false, ".gitmodules", "symbolic link")
	})
	t.Run("case 41 a directory", func(t *testing.T) {
		commit := r.Commit("main", map[string]string{".gitmodules/x": entry("x", "p/sub")}, link, polsettest.Replace())
		_, _, err := fetch(t.Context(), g, at(r), commit, withSubmodules)
		wantFailure(t, err, polset.ClassContentInvalid, false, ".gitmodules", "a directory")
	})
	t.Run("case 41 larger than a file may be", func(t *testing.T) {
		commit := r.Commit("main", nil, link, polsettest.Zeros(".gitmodules", 12<<20), polsettest.Replace())
		_, _, err := fetch(t.Context(), g, at(r), commit, withSubmodules)
		wantFailure(t, err, polset.ClassLimit, false, ".gitmodules", "64 KiB")
	})
	t.Run("case 57 in a submodule", func(t *testing.T) {
		_, _, err := fetch(t.Context(), g, at(r), withSubmodule(r, "../lib", noCommit), withSubmodules)
		wantFailure(t, err, polset.ClassCommitNotFound, true, "p/sub", "../lib", noCommit)
	})
}
