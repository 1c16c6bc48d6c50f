package polsettest_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset/internal/polsettest"
)

// git runs the real client, and returns what it printed and whether it succeeded.
func git(t *testing.T, dir string, args ...string) (string, bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir, cmd.Env = dir, polsettest.GitEnv()
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

func mustGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, ok := git(t, dir, args...)
	if !ok {
		t.Fatalf("git %s: %s", strings.Join(args, " "), out)
	}
	return out
}

func TestClone(t *testing.T) {
	g := polsettest.NewGit(t)
	r := g.Create("Acme/Policies")
	first := r.Commit("main", map[string]string{"a.rego": "package a\n", "run.sh": "#!/bin/sh\n"},
		polsettest.Exec("run.sh"), polsettest.Symlink("link", "a.rego"))
	second := r.CommitTxtar("main", "-- b/c.rego --\npackage c\n-- run.sh --\n#!/bin/sh\n", polsettest.Delete("a.rego"))

	for _, test := range []struct{ name, url string }{
		{"with .git", r.URL()},
		{"without .git", g.URL() + "/Acme/Policies"},
		{"in other letters", g.URL() + "/acme/policies.git"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, version := range []string{"0", "2"} {
				dir := t.TempDir()
				mustGit(t, dir, "-c", "protocol.version="+version, "clone", "--quiet", test.url, "got")
				if got := strings.TrimSpace(mustGit(t, dir, "-C", "got", "log", "--format=%H %P")); got != second+" "+first+"\n"+first {
					t.Errorf("history is %q", got)
				}
				got, err := os.ReadFile(filepath.Join(dir, "got", "b", "c.rego"))
				if err != nil || string(got) != "package c\n" {
					t.Errorf("b/c.rego is %q, %v", got, err)
				}
			}
		})
	}

	want := []polsettest.Entry{
		{Mode: "100644", Name: "a.rego", SHA: r.TreeID(first, "a.rego"), Size: 10},
		{Mode: "120000", Name: "link", SHA: r.TreeID(first, "link"), Size: 6},
		{Mode: "100755", Name: "run.sh", SHA: r.TreeID(first, "run.sh"), Size: 10},
	}
	if diff := cmp.Diff(want, r.LsTree(first, "")); diff != "" {
		t.Errorf("first tree (-want +got):\n%s", diff)
	}
	want = []polsettest.Entry{{Mode: "100644", Name: "c.rego", SHA: r.TreeID(second, "b/c.rego"), Size: 10}}
	if diff := cmp.Diff(want, r.LsTree(second, "b")); diff != "" {
		t.Errorf("second tree below b (-want +got):\n%s", diff)
	}
	if got := string(r.Cat(second, "b/c.rego")); got != "package c\n" {
		t.Errorf("b/c.rego is %q", got)
	}

	protocols := map[string]bool{}
	for _, request := range g.Requests() {
		protocols[request.Protocol] = true
		if request.Status != http.StatusOK || !request.Done || request.BytesOut == 0 {
			t.Errorf("request %s %s: status %d, %d bytes", request.Method, request.Path, request.Status, request.BytesOut)
		}
	}
	if !protocols[""] || !protocols["version=2"] {
		t.Errorf("protocols are %v", protocols)
	}
}

// The same commits have the same ids in every run and on every machine.
func TestCommitIsReproducible(t *testing.T) {
	r := polsettest.NewGit(t).Create("octocat/policies")
	const want = "6b85967045200439a627aa58ba1c1a70c3fa1acc"
	if got := r.Commit("main", map[string]string{"a.rego": "package a\n"}); got != want {
		t.Errorf("commit is %s, want %s", got, want)
	}
}

func TestCapabilities(t *testing.T) {
	g := polsettest.NewGit(t)
	for _, test := range []struct {
		name    string
		options []polsettest.RepoOption
		version string
		filter  bool
		hidden  bool // a commit that no branch holds can be had
	}{
		{"GitHub", nil, "2", true, true},
		{"GitHub, version 0", nil, "0", true, true},
		{"without filter", []polsettest.RepoOption{polsettest.WithoutFilter()}, "2", false, true},
		{"version 0 only", []polsettest.RepoOption{polsettest.V0Only()}, "2", true, true},
		{"without any sha", []polsettest.RepoOption{polsettest.V0Only(), polsettest.WithoutAnySHA1()}, "2", true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := g.Create("acme/"+strings.NewReplacer(" ", "-", ",", "").Replace(test.name), test.options...)
			lost := r.Commit("main", map[string]string{"a": "1"})
			r.Commit("main", map[string]string{"a": "2"}, polsettest.From(""))

			dir := t.TempDir()
			mustGit(t, dir, "init", "--quiet")
			_, ok := git(t, dir, "-c", "protocol.version="+test.version, "fetch", "--quiet", r.URL(), lost)
			if ok != test.hidden {
				t.Errorf("fetch of a commit without a branch succeeded: %v", ok)
			}
			mustGit(t, dir, "-c", "protocol.version="+test.version, "clone", "--quiet", "--bare", "--filter=blob:none", r.URL(), "bare")
			out := mustGit(t, filepath.Join(dir, "bare"), "rev-list", "--objects", "--missing=print", "main")
			if filtered := strings.Contains(out, "?"); filtered != test.filter {
				t.Errorf("the clone is filtered: %v\n%s", filtered, out)
			}
		})
	}
}

func TestRequireToken(t *testing.T) {
	g := polsettest.NewGit(t)
	r := g.Create("acme/private")
	r.Commit("main", map[string]string{"a": "1"})
	get := func(t *testing.T, identifier, token string) int {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL()+"/"+identifier+"/info/refs?service=git-upload-pack", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			request.SetBasicAuth("x-access-token", token)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		if (response.StatusCode == http.StatusUnauthorized) != (response.Header.Get("WWW-Authenticate") == `Basic realm="GitHub"`) {
			t.Errorf("%d with WWW-Authenticate %q", response.StatusCode, response.Header.Get("WWW-Authenticate"))
		}
		return response.StatusCode
	}
	for _, test := range []struct {
		name       string
		protect    func(string)
		identifier string
		token      string
		want       int
	}{
		{"right", r.RequireToken, "acme/private", "s3cret", 200},
		{"none", r.RequireToken, "acme/private", "", 401},
		{"wrong", r.RequireToken, "acme/private", "other", 401},
		{"hidden, right", r.HideWithout, "acme/private", "s3cret", 200},
		{"hidden, none", r.HideWithout, "acme/private", "", 401},
		{"hidden, wrong", r.HideWithout, "acme/private", "other", 404},
		{"unknown, none", r.RequireToken, "acme/unknown", "", 401},
		{"unknown, some", r.RequireToken, "acme/unknown", "s3cret", 404},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.protect("s3cret")
			if got := get(t, test.identifier, test.token); got != test.want {
				t.Errorf("status %d, want %d", got, test.want)
			}
		})
	}
	if header := g.Requests()[0].Header.Get("Authorization"); !strings.HasPrefix(header, "Basic ") {
		t.Errorf("the log holds Authorization %q", header)
	}
}

func TestHostileTree(t *testing.T) {
	g := polsettest.NewGit(t)
	r := g.Create("acme/hostile")
	blob := r.Blob("package a\n")
	names := []string{"..", ".git", `a\b`, "a", "a", "bad\xff\xfe", "C:x", "new\nline"}
	var entries []polsettest.Entry
	for _, name := range names {
		entries = append(entries, polsettest.Entry{Mode: "100644", Name: name, SHA: blob})
	}
	commit := r.CommitTree("main", r.Tree(entries...))
	var got []string
	for _, e := range r.LsTree(commit, "") {
		got = append(got, e.Name)
	}
	if diff := cmp.Diff(names, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	// The server hands it out.
	dir := t.TempDir()
	mustGit(t, dir, "clone", "--quiet", "--bare", r.URL(), "got")
	if got := strings.TrimSpace(mustGit(t, dir, "-C", "got", "rev-parse", "main")); got != commit {
		t.Errorf("cloned %s, want %s", got, commit)
	}
}

func TestOddNames(t *testing.T) {
	_, r := newRepo(t)
	want := []string{"a\ttab", `back\slash`, "new\nline", `quo"te`, "\u00fc.rego", "\xff"}
	files := map[string]string{}
	for _, name := range want {
		files[name] = name
	}
	commit := r.Commit("main", files, polsettest.Replace())
	var got []string
	for _, e := range r.LsTree(commit, "") {
		got = append(got, e.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestRemove(t *testing.T) {
	_, r := newRepo(t)
	r.Remove(r.TreeID("main", "a.rego"))
	if out, ok := git(t, t.TempDir(), "clone", "--quiet", "--bare", r.URL(), "got"); ok {
		t.Errorf("a repository without one of its objects was cloned: %s", out)
	}
}

func TestConcurrentCommits(t *testing.T) {
	r := polsettest.NewGit(t).Create("acme/busy")
	var all sync.WaitGroup
	const n = 8
	for i := range n {
		all.Go(func() { r.Commit("main", map[string]string{fmt.Sprint(i): "x"}) })
	}
	all.Wait()
	if got := len(r.LsTree("main", "")); got != n {
		t.Errorf("%d of %d commits are on the branch", got, n)
	}
}

func TestZerosAndSubmodule(t *testing.T) {
	g := polsettest.NewGit(t)
	r := g.Create("acme/large")
	const size = 64 << 20
	sub := strings.Repeat("a1", 20)
	commit := r.Commit("main", nil, polsettest.Zeros("zeros.bin", size), polsettest.Submodule("vendor/lib", sub))
	entries := r.LsTree(commit, "")
	if len(entries) != 2 || entries[0].SHA != sub || entries[0].Mode != "160000" || entries[1].Size != size {
		t.Fatalf("tree is %+v", entries)
	}
	mustGit(t, t.TempDir(), "clone", "--quiet", "--bare", r.URL(), "got")
	if _, _, out := g.Traffic(); out > size/500 {
		t.Errorf("%d zeros took %d bytes", size, out)
	}
	if got := r.Git("count-objects"); got != "0 objects, 0 kilobytes" {
		t.Errorf("loose are %s", got)
	}
}

func TestPush(t *testing.T) {
	g := polsettest.NewGit(t)
	r := g.Create("acme/pushed")
	first := r.Commit("main", map[string]string{"a": "1"})
	pushes := make(chan polsettest.Push)
	r.OnPush(func(p polsettest.Push) { pushes <- p })

	dir := t.TempDir()
	mustGit(t, dir, "clone", "--quiet", r.URL(), "work")
	work := filepath.Join(dir, "work")
	if err := os.WriteFile(filepath.Join(work, "b"), []byte("2"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustGit(t, work, "add", ".")
	mustGit(t, work, "commit", "--quiet", "--message", "b")
	second := strings.TrimSpace(mustGit(t, work, "rev-parse", "HEAD"))
	mustGit(t, work, "push", "--quiet", "origin", "main")
	p := <-pushes
	if p.Ref != "refs/heads/main" || p.Before != first || p.After != second || p.Forced || len(p.Commits) != 1 {
		t.Errorf("first push is %+v", p)
	}
	mustGit(t, work, "reset", "--quiet", "--hard", first)
	mustGit(t, work, "push", "--quiet", "--force", "origin", "main", "main:refs/heads/other")
	p = <-pushes
	if p.Before != second || p.After != first || !p.Forced {
		t.Errorf("second push is %+v", p)
	}
	p = <-pushes
	if p.Ref != "refs/heads/other" || p.Before != "" || p.After != first || p.Forced {
		t.Errorf("third push is %+v", p)
	}
	mustGit(t, work, "push", "--quiet", "origin", ":other")
	p = <-pushes
	if p.Before != first || p.After != "" {
		t.Errorf("fourth push is %+v", p)
	}
}
