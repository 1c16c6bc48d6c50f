package source_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/polset/polset"
	"github.com/polset/polset/ingest/source"
	"github.com/polset/polset/internal/polsettest"
)

// Whatever a server can do, the same files come back, by the best plan that it
// knows, and the second time without finding out again.
func TestPlans(t *testing.T) {
	for _, test := range []struct {
		name          string
		options       []polsettest.RepoOption
		plan          string
		first, second int64 // requests of Open, Resolve and Fetch
	}{
		{"v2 with filters", nil, "v2-filter", 3, 3},
		{"v2 without filters", []polsettest.RepoOption{polsettest.WithoutFilter()}, "depth1", 3, 1},
		{"v2 without tree:0", []polsettest.RepoOption{polsettest.Config("uploadpackfilter.allow", "false")}, "depth1", 3, 1},
		{"v0 with filters", []polsettest.RepoOption{polsettest.V0Only()}, "v0-filter", 5, 3},
		{"v0 without filters", []polsettest.RepoOption{polsettest.V0Only(), polsettest.WithoutFilter()}, "depth1", 3, 1},
		{"v0 with filters and tips only", []polsettest.RepoOption{polsettest.V0Only(), polsettest.WithoutAnySHA1()}, "depth1", 3, 1},
		{"v0 with tips only", []polsettest.RepoOption{polsettest.V0Only(), polsettest.WithoutFilter(), polsettest.WithoutAnySHA1()}, "depth1", 3, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := polsettest.NewGit(t)
			r := server.Create("acme/policies", test.options...)
			commit := library(r)
			r.Commit("main", map[string]string{"aws/a.sentinel": "later\n", "x": "y"})
			c := config(server)
			core, logs := observer.New(zap.InfoLevel)
			c.Logger = zap.New(core)
			g := newGit(t, c)
			for i, want := range []int64{test.first, test.second} {
				files, s := mustFetch(t, g, at(r), commit, polset.Content{Path: "aws"}, source.OnBranch("main"))
				sameAsGit(t, sub(t, files, "aws"), r, commit, "aws")
				if got := s.Stats(); got.Plan != test.plan || got.Requests != want {
					t.Errorf("fetch %d: %+v, want plan %s and %d requests", i+1, got, test.plan, want)
				}
			}
			if said := logs.FilterMessage("git server refused a way of fetching").Len(); (said == 0) != (test.plan == "v2-filter") {
				t.Errorf("the log says %d times that a plan was refused", said)
			}
			head, err := g.Head(t.Context(), at(r), "")
			if err != nil || head.Branch != "main" || head.Commit != r.Head("main") {
				t.Errorf("head %v, %v", head, err)
			}
		})
	}
}

// sub keeps names as they are: sameAsGit knows the path.
func sub[T any](_ *testing.T, files T, _ string) T { return files }

// What is remembered of a server expires.
func TestPlansAreForgotten(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies", polsettest.WithoutFilter())
	commit := library(r)
	c := config(server)
	c.Remember = time.Nanosecond
	g := newGit(t, c)
	mustFetch(t, g, at(r), commit, polset.Content{Path: "aws"})
	r.Git("config", "--replace-all", "uploadpack.allowFilter", "true")
	if _, s := mustFetch(t, g, at(r), commit, polset.Content{Path: "aws"}); s.Stats().Plan != "v2-filter" {
		t.Errorf("plan %s", s.Stats().Plan)
	}
}

// A passing fault is not taken for a missing capability.
func TestEmptyAnswerOnce(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	server.Intercept(polsettest.When(polsettest.IsFetch, polsettest.Times(1, polsettest.EndAfter(0))))
	if _, s := mustFetch(t, newGit(t, config(server)), at(r), commit, polset.Content{Path: "aws"}); s.Stats().Plan != "v2-filter" {
		t.Errorf("plan %s", s.Stats().Plan)
	}
}

// A proxy that drops the header Git-Protocol from everything but
// advertisements leaves protocol 0.
func TestVersionLostOnTheWay(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	server.Intercept(func(_ http.ResponseWriter, q *http.Request, _ http.Handler) bool {
		if q.Method == http.MethodPost {
			q.Header.Del("Git-Protocol")
		}
		return false
	})
	if _, s := mustFetch(t, newGit(t, config(server)), at(r), commit, polset.Content{Path: "aws"}); s.Stats().Plan != "v0-filter" {
		t.Errorf("plan %s", s.Stats().Plan)
	}
}

// A server that never answers a fetch is a fault of its own, after every plan.
func TestEmptyAnswers(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	server.Intercept(polsettest.When(polsettest.IsFetch, polsettest.EndAfter(0)))
	_, _, err := fetch(t.Context(), newGit(t, config(server)), at(r), commit, polset.Content{Path: "aws"})
	wantFailure(t, err, polset.ClassGitCorrupt, true, "empty answer")
}

// A commit that was forced away is still fetched where the server gives it
// out; where it does not, no other takes its place.
func TestForcedAway(t *testing.T) {
	for _, test := range []struct {
		name    string
		options []polsettest.RepoOption
		found   bool
	}{
		{"v2", nil, true},
		{"v0 with any SHA-1", []polsettest.RepoOption{polsettest.V0Only()}, true},
		{"v0 with tips only", []polsettest.RepoOption{polsettest.V0Only(), polsettest.WithoutAnySHA1()}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := polsettest.NewGit(t)
			r := server.Create("acme/policies", test.options...)
			first := library(r)
			gone := r.Commit("main", map[string]string{"aws/a.sentinel": "gone\n"})
			r.Commit("main", map[string]string{"aws/a.sentinel": "forced\n"}, polsettest.From(first))
			files, _, err := fetch(t.Context(), newGit(t, config(server)), at(r), gone, polset.Content{Path: "aws"}, source.OnBranch("main"))
			if !test.found {
				wantFailure(t, err, polset.ClassCommitNotFound, true, gone)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			sameAsGit(t, files, r, gone, "aws")
		})
	}
}

func TestUnknownCommit(t *testing.T) {
	const nowhere = "0123456789012345678901234567890123456789"
	for _, test := range []struct {
		name    string
		options []polsettest.RepoOption
	}{
		{"case 57 in version 2", nil},
		{"case 57 in version 2 without filters", []polsettest.RepoOption{polsettest.WithoutFilter()}},
		{"case 57 in version 0", []polsettest.RepoOption{polsettest.V0Only()}},
		{"case 57 in version 0 without filters", []polsettest.RepoOption{polsettest.V0Only(), polsettest.WithoutFilter()}},
		{"case 57 with tips only", []polsettest.RepoOption{polsettest.V0Only(), polsettest.WithoutAnySHA1()}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := polsettest.NewGit(t)
			r := server.Create("acme/policies", test.options...)
			library(r)
			_, err := newGit(t, config(server)).Open(t.Context(), at(r), nowhere)
			wantFailure(t, err, polset.ClassCommitNotFound, true, nowhere, "acme/policies")
		})
	}
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	g := newGit(t, config(server))
	for _, bad := range []string{"", "main", "HEAD", commit[:12], strings.ToUpper(commit), commit + "\n", commit + commit[:24]} {
		_, err := g.Open(t.Context(), at(r), bad)
		wantFailure(t, err, polset.ClassCommitNotFound, false)
	}
	_, err := g.Open(t.Context(), at(r), r.TreeID(commit, ""))
	wantFailure(t, err, polset.ClassCommitNotFound, false, "is not a commit")
}

// refuseWant gives out a commit only below a tip.
func refuseWant(t *testing.T, commit string) polsettest.Fault {
	return func(w http.ResponseWriter, q *http.Request, _ http.Handler) bool {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		q.Body = io.NopCloser(bytes.NewReader(body))
		if !bytes.Contains(body, []byte("want "+commit)) || bytes.Contains(body, []byte("command=")) {
			return false
		}
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		_, err = io.WriteString(w, "004aERR upload-pack: not our ref "+commit+"\n")
		if err != nil {
			t.Error(err)
		}
		return true
	}
}

// Git itself, asked by HTTP, gives out every commit that a branch reaches;
// others give tips only, and of those the branch is deepened until the commit
// is there, within limits.
func TestDeepen(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies", polsettest.V0Only(), polsettest.WithoutAnySHA1())
	first := r.Commit("main", map[string]string{"p/a": "1"})
	for i := range 12 {
		r.Commit("main", map[string]string{"p/a": strings.Repeat("x", i+2)})
	}
	r.Commit("zzz", map[string]string{"elsewhere": ""})
	server.Intercept(refuseWant(t, first))
	c := config(server)
	g := newGit(t, c)
	for _, requests := range []int64{7, 4} {
		files, s := mustFetch(t, g, at(r), first, polset.Content{Path: "p"}, source.OnBranch("main"))
		sameAsGit(t, files, r, first, "p")
		if got := s.Stats(); got.Plan != "deepen" || got.Requests != requests {
			t.Errorf("%+v, want %d requests", got, requests)
		}
	}
	if files, s := mustFetch(t, g, at(r), r.Head("main"), polset.Content{Path: "p"}, source.OnBranch("main")); s.Stats().Requests != 2 {
		t.Errorf("a branch's tip took %+v", s.Stats())
		sameAsGit(t, files, r, r.Head("main"), "p")
	}
	c.Limits.History = 8
	_, _, err := fetch(t.Context(), newGit(t, c), at(r), first, polset.Content{Path: "p"}, source.OnBranch("main"))
	wantFailure(t, err, polset.ClassCommitNotFound, true, "branches only")
	_, _, err = fetch(t.Context(), newGit(t, config(server)), at(r), first, polset.Content{Path: "p"}, source.OnBranch("zzz"))
	wantFailure(t, err, polset.ClassCommitNotFound, true, first)
}

// An earlier commit of a pull request is found below the ref that the hint
// names in full.
func TestDeepenAnyRef(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies", polsettest.V0Only(), polsettest.WithoutAnySHA1())
	r.Commit("main", map[string]string{"p/a": "main"})
	first := r.Commit("pull", map[string]string{"p/a": "first"})
	r.Commit("pull", map[string]string{"p/a": "second"})
	r.Git("update-ref", "refs/pull/7/head", r.Head("pull"))
	r.Git("update-ref", "-d", "refs/heads/pull")
	server.Intercept(refuseWant(t, first))
	g := newGit(t, config(server))
	files, s := mustFetch(t, g, at(r), first, polset.Content{Path: "p"}, source.OnBranch("refs/pull/7/head"))
	sameAsGit(t, files, r, first, "p")
	if got := s.Stats().Plan; got != "deepen" {
		t.Errorf("plan %s", got)
	}
	for _, hint := range []string{"", "main", "pull/7/head", "refs/pull/8/head"} {
		_, err := g.Open(t.Context(), at(r), first, source.OnBranch(hint))
		wantFailure(t, err, polset.ClassCommitNotFound, true, first)
	}
}

// Large files elsewhere do not harm a server that cannot leave them out.
func TestLargeFileElsewhere(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies", polsettest.WithoutFilter())
	commit := r.Commit("main", map[string]string{"p/a": "1"}, polsettest.Zeros("big", 3<<20))
	c := config(server)
	c.Limits.FileBytes = 1 << 20
	g := newGit(t, c)
	files, _ := mustFetch(t, g, at(r), commit, polset.Content{Path: "p"})
	sameAsGit(t, files, r, commit, "p")
	_, _, err := fetch(t.Context(), g, at(r), commit, polset.Content{Path: ""})
	wantFailure(t, err, polset.ClassLimit, false, "big", "1 MiB")
	c.Limits.Bytes, c.Limits.TreeBytes = 100, 100
	c.Limits.FileBytes = 4 << 20
	c.Limits.PackBytes = 1 << 20
	_, _, err = fetch(t.Context(), newGit(t, c), at(r), commit, polset.Content{Path: "p"})
	wantFailure(t, err, polset.ClassLimit, false, "as a whole", "cannot send a part")
}

// Of a sha256 repository nothing can be read, and the failure says so.
func TestSHA256(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	git(t, r.Dir(), "config", "core.repositoryformatversion", "1")
	git(t, r.Dir(), "config", "extensions.objectformat", "sha256")
	g := newGit(t, config(server))
	_, err := g.Head(t.Context(), at(r), "main")
	wantFailure(t, err, polset.ClassContentInvalid, false, "sha256", "SHA-1")
	_, err = g.Open(t.Context(), at(r), strings.Repeat("1", 40))
	wantFailure(t, err, polset.ClassContentInvalid, false, "sha256", "SHA-1")
}
