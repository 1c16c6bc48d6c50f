package source_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/ingest/source"
	"github.com/polset/polset/internal/polsettest"
)

func TestNamesAndModes(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	g := newGit(t, config(server))
	blob := r.Blob("x")
	file := func(name string) []polsettest.Entry {
		return []polsettest.Entry{{Mode: "100644", Name: name, SHA: blob}}
	}
	for _, test := range []struct {
		name    string
		entries []polsettest.Entry
		parts   []string // empty: accepted
	}{
		{"case 46 .git", file(".git"), []string{".git", "/p"}},
		{"case 46 .GIT", file(".GIT"), []string{".GIT"}},
		{"case 46 GIT~1", file("GIT~1"), []string{"GIT~1"}},
		{"case 46 zero-width .git", file(".g\u200cit"), []string{"refused"}},
		{"case 46 dots", file(".."), []string{".."}},
		{"case 46 control character", file("a\x1bb"), []string{"control"}},
		{"case 46 .git as a directory", []polsettest.Entry{{Mode: "40000", Name: ".git", SHA: r.Tree(file("a")...)}}, []string{".git"}},
		{"case 46 .git as a submodule", []polsettest.Entry{{Mode: "160000", Name: ".git", SHA: blob}}, []string{".git"}},
		{"case 46 .git as a link", []polsettest.Entry{{Mode: "120000", Name: ".git", SHA: blob}}, []string{".git"}},
		{"case 47 slash", file("a/b"), []string{"slash"}},
		{"case 47 backslash", file(`a\b`), []string{"backslash"}},
		{"case 47 drive", file("C:x"), []string{"drive"}},
		{"case 47 not UTF-8", file("a\xff"), []string{"UTF-8"}},
		{"case 47 300 bytes", file(strings.Repeat("a", 300)), []string{"255"}},
		{"case 47 duplicates", append(file("a"), file("a")...), []string{"/a", "twice"}},
		{"case 47 duplicate of another kind", append(file("a"), polsettest.Entry{Mode: "40000", Name: "a", SHA: r.Tree()}), []string{"twice"}},
		{"case 47 mode 100600", []polsettest.Entry{{Mode: "100600", Name: "a", SHA: blob}}, []string{"100600"}},
		{"case 47 mode 40755", []polsettest.Entry{{Mode: "40755", Name: "a", SHA: r.Tree()}}, []string{"40755"}},
		{"case 47 mode 060000", []polsettest.Entry{{Mode: "060000", Name: "a", SHA: blob}}, []string{"060000"}},
		{"case 48 device names", append(file("aux.rego"), file("con.rego")...), nil},
		{"group-writable file", []polsettest.Entry{{Mode: "100664", Name: "a", SHA: blob}}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			tree := r.Tree(polsettest.Entry{Mode: "40000", Name: "p", SHA: r.Tree(test.entries...)})
			commit := r.CommitTree("main", tree)
			_, _, err := fetch(t.Context(), g, at(r), commit, polset.Content{Path: "p"})
			if len(test.parts) == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantFailure(t, err, polset.ClassContentInvalid, false, test.parts...)
		})
	}
	t.Run("case 46 in a file outside policies-path", func(t *testing.T) {
		tree := r.Tree(polsettest.Entry{Mode: "40000", Name: ".Git", SHA: r.Tree(file("x")...)}, polsettest.Entry{Mode: "40000", Name: "p", SHA: r.Tree(file("a")...)})
		_, _, err := fetch(t.Context(), g, at(r), r.CommitTree("main", tree), polset.Content{Path: "p", Outside: map[string]string{".Git/x": ""}})
		wantFailure(t, err, polset.ClassContentInvalid, false, ".Git")
	})
	t.Run("case 47 policies-path occurs twice", func(t *testing.T) {
		p := polsettest.Entry{Mode: "40000", Name: "p", SHA: r.Tree(file("a")...)}
		_, _, err := fetch(t.Context(), g, at(r), r.CommitTree("main", r.Tree(p, p)), polset.Content{Path: "p"})
		wantFailure(t, err, polset.ClassContentInvalid, false, "twice")
	})
	t.Run("names elsewhere do no harm", func(t *testing.T) {
		bad := r.Tree(append(file(".git"), file("a\xff")...)...)
		odd := append(file(".GIT"), polsettest.Entry{Mode: "100600", Name: "odd", SHA: blob}, polsettest.Entry{Mode: "040000", Name: "old", SHA: bad})
		odd = append(odd, append(file("twice"), file("twice")...)...)
		tree := r.Tree(append(odd, polsettest.Entry{Mode: "40000", Name: "bad", SHA: bad}, polsettest.Entry{Mode: "40000", Name: "p", SHA: r.Tree(file("a")...)})...)
		files, _ := mustFetch(t, g, at(r), r.CommitTree("main", tree), polset.Content{Path: "p"})
		wantList(t, files, map[string]string{"p": "dir", "p/a": "644 x"})
	})
}

func TestSizes(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	c := config(server)
	small := func(change func(*source.Limits)) *source.Git {
		c := c
		change(&c.Limits)
		return newGit(t, c)
	}
	t.Run("case 50 huge blob is never materialised", func(t *testing.T) {
		commit := r.Commit("main", map[string]string{"p/a.rego": "package a\n"}, polsettest.Zeros("p/zeros", 256<<20))
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		_, _, err := fetch(t.Context(), newGit(t, c), at(r), commit, polset.Content{Path: "p"})
		runtime.ReadMemStats(&after)
		wantFailure(t, err, polset.ClassLimit, false, "10 MiB", "/p")
		if got := after.TotalAlloc - before.TotalAlloc; got > 16<<20 {
			t.Errorf("%d MiB were allocated", got>>20)
		}
	})
	t.Run("case 50 blob above the limit is named", func(t *testing.T) {
		commit := r.Commit("main", map[string]string{"q/a.rego": "package a\n", "q/x/large.bin": pseudoRandom(1, 70_000)})
		_, _, err := fetch(t.Context(), small(func(l *source.Limits) { l.FileBytes = 64 << 10 }), at(r), commit, polset.Content{Path: "q"})
		wantFailure(t, err, polset.ClassLimit, false, "q/x/large.bin", "64 KiB")
	})
	t.Run("case 50 many files", func(t *testing.T) {
		files := map[string]string{}
		for i := range 50 {
			files[fmt.Sprintf("many/%d", i)] = pseudoRandom(i, 1000)
		}
		commit := r.Commit("main", files)
		_, _, err := fetch(t.Context(), small(func(l *source.Limits) { l.Bytes = 40_000 }), at(r), commit, polset.Content{Path: "many"})
		wantFailure(t, err, polset.ClassLimit, false, "/many", "40000 bytes")
		_, _, err = fetch(t.Context(), small(func(l *source.Limits) { l.Bytes, l.TreeBytes = 30_000, 4_000 }), at(r), commit, polset.Content{Path: "many"})
		wantFailure(t, err, polset.ClassLimit, false, "/many", "30000 bytes")
		_, _, err = fetch(t.Context(), small(func(l *source.Limits) { l.PackBytes = 20_000 }), at(r), commit, polset.Content{Path: "many"})
		wantFailure(t, err, polset.ClassLimit, false)
		_, _, err = fetch(t.Context(), small(func(l *source.Limits) { l.Files = 49 }), at(r), commit, polset.Content{Path: "many"})
		wantFailure(t, err, polset.ClassLimit, false, "/many", "49 files")
		_, _, err = fetch(t.Context(), small(func(l *source.Limits) { l.Files = 10 }), at(r), commit, polset.Content{Path: "many"})
		wantFailure(t, err, polset.ClassLimit, false, "/many", "36 files and directories")
		if _, _, err = fetch(t.Context(), small(func(l *source.Limits) { l.Files, l.Bytes = 50, 50_000 }), at(r), commit, polset.Content{Path: "many"}); err != nil {
			t.Errorf("at the limits: %v", err)
		}
	})
	t.Run("case 51 git bomb", func(t *testing.T) {
		tree := r.Blob("boom")
		mode := "100644"
		for range 7 {
			var entries []polsettest.Entry
			for i := range 10 {
				entries = append(entries, polsettest.Entry{Mode: mode, Name: fmt.Sprint("d", i), SHA: tree})
			}
			tree, mode = r.Tree(entries...), "40000"
		}
		commit := r.CommitTree("bomb", tree)
		_, _, err := fetch(t.Context(), newGit(t, c), at(r), commit, polset.Content{})
		wantFailure(t, err, polset.ClassLimit, false, "20000")
	})
	t.Run("case 51 bomb of empty directories", func(t *testing.T) {
		tree := r.Tree()
		for range 6 {
			var entries []polsettest.Entry
			for i := range 10 {
				entries = append(entries, polsettest.Entry{Mode: "40000", Name: fmt.Sprint("d", i), SHA: tree})
			}
			tree = r.Tree(entries...)
		}
		_, _, err := fetch(t.Context(), newGit(t, c), at(r), r.CommitTree("bomb", tree), polset.Content{})
		wantFailure(t, err, polset.ClassLimit, false, "20000 directories")
	})
	t.Run("case 51 the same content many times", func(t *testing.T) {
		blob := r.Blob(pseudoRandom(7, 1<<20))
		var entries []polsettest.Entry
		for i := range 101 {
			entries = append(entries, polsettest.Entry{Mode: "100644", Name: fmt.Sprint("f", i), SHA: blob})
		}
		_, _, err := fetch(t.Context(), newGit(t, c), at(r), r.CommitTree("bomb", r.Tree(entries...)), polset.Content{})
		wantFailure(t, err, polset.ClassLimit, false, "100 MiB")
	})
	t.Run("case 51 depth", func(t *testing.T) {
		deep := strings.TrimSuffix(strings.Repeat("d/", 40), "/")
		commit := r.Commit("main", map[string]string{deep + "/a": "x"})
		_, _, err := fetch(t.Context(), small(func(l *source.Limits) { l.Depth = 39 }), at(r), commit, polset.Content{Path: "d"})
		wantFailure(t, err, polset.ClassLimit, false, "39 deep")
		_, _, err = fetch(t.Context(), small(func(l *source.Limits) { l.Depth = 39 }), at(r), commit, polset.Content{Path: deep})
		wantFailure(t, err, polset.ClassLimit, false, "39")
		if _, _, err = fetch(t.Context(), small(func(l *source.Limits) { l.Depth = 40 }), at(r), commit, polset.Content{Path: "d"}); err != nil {
			t.Error(err)
		}
	})
}

func TestEndless(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault polsettest.Fault
		class polset.Class
		retry bool
	}{
		{"case 53 endless refs", polsettest.When(polsettest.IsLsRefs, polsettest.EndlessRefs()), polset.ClassLimit, false},
		{"case 53 endless advertisement", polsettest.FirstOf(polsettest.When(polsettest.IsLsRefs, polsettest.EndAfter(0)), polsettest.When(polsettest.IsAdvertisement, polsettest.EndlessRefs())), polset.ClassLimit, false},
		{"case 53 endless sideband", polsettest.When(polsettest.IsFetch, polsettest.EndlessSideband()), polset.ClassLimit, false},
		{"case 53 endless error body", polsettest.When(polsettest.IsFetch, polsettest.Endless(500)), polset.ClassTimeout, true},
		{"case 53 endless refusal", polsettest.When(polsettest.IsFetch, polsettest.Endless(404)), polset.ClassAuth, false},
		{"case 52 endless pack of a bogus count", polsettest.When(polsettest.IsFetch, polsettest.EndlessPack()), polset.ClassGitCorrupt, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := polsettest.NewGit(t)
			r := server.Create("acme/policies")
			commit := library(r)
			server.Intercept(test.fault)
			g := newGit(t, config(server))
			_, err := g.Head(t.Context(), at(r), "")
			if err == nil {
				_, _, err = fetch(t.Context(), g, at(r), commit, polset.Content{Path: "aws"})
			}
			wantFailure(t, err, test.class, test.retry)
			if got := g.Stats().Received; got > 33<<20 {
				t.Errorf("%d bytes were read", got)
			}
			if test.class != polset.ClassLimit && g.Stats().Received > 100<<10 {
				t.Errorf("%d bytes of an error were read", g.Stats().Received)
			}
		})
	}
}

func TestHangs(t *testing.T) {
	slow := func(name string, fault polsettest.Fault) {
		t.Run(name, func(t *testing.T) {
			server := polsettest.NewGit(t)
			r := server.Create("acme/policies")
			commit := library(r)
			server.Intercept(fault)
			c := config(server)
			c.IdleTimeout = time.Second
			g := newGit(t, c)
			started := time.Now()
			_, err := g.Head(t.Context(), at(r), "")
			if err == nil {
				_, _, err = fetch(t.Context(), g, at(r), commit, polset.Content{Path: "aws"})
			}
			wantFailure(t, err, polset.ClassTimeout, true, "stalled", "acme/policies")
			if took := time.Since(started); took > 15*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
	slow("case 54 hang at the refs", polsettest.When(polsettest.IsLsRefs, polsettest.Hang()))
	slow("case 54 hang at the advertisement", polsettest.FirstOf(polsettest.When(polsettest.IsLsRefs, polsettest.EndAfter(0)), polsettest.When(polsettest.IsAdvertisement, polsettest.Hang())))
	slow("case 54 hang mid-pack", polsettest.When(polsettest.IsFetch, polsettest.HangAfter(100)))
	slow("case 54 one byte a second", polsettest.When(polsettest.IsFetch, polsettest.Dribble(1)))
	slow("case 54 hundred bytes a second", polsettest.When(polsettest.IsFetch, polsettest.Dribble(100)))

	t.Run("case 54 hang at connect", func(t *testing.T) {
		// A listener that accepts nothing, and whose backlog is full.
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		server := polsettest.NewGit(t)
		c := config(server)
		c.GitHubURL = "http://" + l.Addr().String()
		c.IdleTimeout, c.ConnectTimeout = 500*time.Millisecond, 500*time.Millisecond
		_, err = newGit(t, c).Head(t.Context(), polset.Remote{HTTPURL: "https://github.com", Identifier: "a/b"}, "")
		wantFailure(t, err, polset.ClassTimeout, true)
	})
	t.Run("case 54 time limit of a call", func(t *testing.T) {
		server := polsettest.NewGit(t)
		r := server.Create("acme/policies")
		commit := library(r)
		server.Intercept(polsettest.When(polsettest.IsFetch, polsettest.Dribble(5000)))
		c := config(server)
		c.Timeout = time.Millisecond
		_, _, err := fetch(t.Context(), newGit(t, c), at(r), commit, polset.Content{Path: "aws"})
		wantFailure(t, err, polset.ClassTimeout, true, "time limit")
	})
	t.Run("case 54 nobody listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		server := polsettest.NewGit(t)
		c := config(server)
		c.GitHubURL = "http://" + l.Addr().String()
		_, err = newGit(t, c).Head(t.Context(), polset.Remote{HTTPURL: "https://github.com", Identifier: "a/b"}, "")
		wantFailure(t, err, polset.ClassTimeout, true, "connection failed")
	})
}

// A caller that gives up gets its own error, and Close ends what is running.
func TestCancel(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	g := newGit(t, config(server))
	s := open(t, g, at(r), commit)
	arrived := make(chan *http.Request)
	server.Intercept(polsettest.FirstOf(polsettest.Signal(arrived), polsettest.Hang()))

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := s.Resolve(ctx, polset.Content{Path: "aws"})
		ended <- err
	}()
	<-arrived
	cancel()
	if err := <-ended; err == nil || polset.FailureOf(err).Class != polset.ClassInternal || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("cancelled: %v", err)
	}

	go func() {
		_, err := s.Resolve(t.Context(), polset.Content{Path: "aws"})
		ended <- err
	}()
	<-arrived
	closed := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "closed") || time.Since(closed) > 10*time.Second {
		t.Errorf("closed: %v after %s", err, time.Since(closed))
	}
	if _, err := s.Fetch(t.Context(), polset.Content{Path: "aws"}); err == nil {
		t.Error("a closed snapshot fetched")
	}
}

func TestCorruption(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault func(r *polsettest.Repo, commit string) polsettest.Fault
		part  string
	}{
		{"case 55 truncated pack", func(*polsettest.Repo, string) polsettest.Fault { return polsettest.EndAfter(120) }, "broke off"},
		{"case 55 connection cut mid-pack", func(*polsettest.Repo, string) polsettest.Fault { return polsettest.CutAfter(120) }, "broke off"},
		{"case 55 corrupt pack", func(*polsettest.Repo, string) polsettest.Fault { return polsettest.FlipPackByte(20) }, "broken pack"},
		{"case 55 corrupt checksum", func(*polsettest.Repo, string) polsettest.Fault { return polsettest.FlipPackByte(-1) }, "broken pack"},
		{"case 55 another object", func(r *polsettest.Repo, commit string) polsettest.Fault {
			return polsettest.ServePack(r.Pack(r.Blob("no")))
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := polsettest.NewGit(t)
			r := server.Create("acme/policies")
			commit := library(r)
			g := newGit(t, config(server))
			s := open(t, g, at(r), commit)
			content, err := s.Resolve(t.Context(), polset.Content{Path: "aws"})
			if err != nil {
				t.Fatal(err)
			}
			server.Intercept(polsettest.When(polsettest.IsFetch, test.fault(r, commit)))
			_, err = s.Fetch(t.Context(), content)
			wantFailure(t, err, polset.ClassGitCorrupt, true, test.part)
			server.Intercept(nil)
			files, err := s.Fetch(t.Context(), content)
			if err != nil {
				t.Fatalf("after the fault: %v", err)
			}
			sameAsGit(t, files, r, commit, "aws")
		})
	}
}

// Another commit never takes the place of the one that was asked for.
func TestAnotherCommit(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	other := r.Commit("main", map[string]string{"a": "b"})
	server.Intercept(polsettest.When(polsettest.IsFetch, polsettest.ServePack(r.Pack(r.Objects(commit)...))))
	_, err := newGit(t, config(server)).Open(t.Context(), at(r), other)
	wantFailure(t, err, polset.ClassGitCorrupt, true, "left out")
}

// Whichever object is missing, nothing comes back.
func TestMissingObjects(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	g := newGit(t, config(server))
	subtree := strings.Fields(r.Git("rev-list", "--objects", "--no-object-names", r.TreeID(commit, "aws")))
	for i := range subtree {
		t.Run(fmt.Sprintf("case 56 missing object %d of the pack", i), func(t *testing.T) {
			s := open(t, g, at(r), commit)
			content, err := s.Resolve(t.Context(), polset.Content{Path: "aws"})
			if err != nil {
				t.Fatal(err)
			}
			left := append(append([]string(nil), subtree[:i]...), subtree[i+1:]...)
			server.Intercept(polsettest.When(polsettest.IsFetch, polsettest.ServePack(r.Pack(left...))))
			defer server.Intercept(nil)
			_, err = s.Fetch(t.Context(), content)
			wantFailure(t, err, polset.ClassGitCorrupt, true, "left out")
			server.Intercept(nil)
			files, err := s.Fetch(t.Context(), content)
			if err != nil {
				t.Fatalf("after the fault: %v", err)
			}
			sameAsGit(t, files, r, commit, "aws")
		})
	}
	for _, options := range [][]polsettest.RepoOption{nil, {polsettest.WithoutFilter()}, {polsettest.V0Only()}} {
		for _, path := range []string{"aws/a.sentinel", "aws/test", "aws"} {
			t.Run(fmt.Sprintf("case 56 %s is missing on a server with %d options", path, len(options)), func(t *testing.T) {
				server := polsettest.NewGit(t)
				r := server.Create("acme/policies", options...)
				commit := library(r)
				r.Remove(r.TreeID(commit, path))
				_, _, err := fetch(t.Context(), newGit(t, config(server)), at(r), commit, polset.Content{Path: "aws"})
				wantFailure(t, err, polset.ClassGitCorrupt, true)
			})
		}
	}
}

func TestStatuses(t *testing.T) {
	inAnHour := time.Now().Add(time.Hour)
	for _, test := range []struct {
		name   string
		fault  polsettest.Fault
		class  polset.Class
		retry  bool
		lo, hi time.Duration
		parts  []string
	}{
		{"case 60 401", polsettest.Status(401, "no"), polset.ClassAuth, false, 0, 0, []string{"401", "token"}},
		{"case 60 403", polsettest.Status(403, "no"), polset.ClassAuth, false, 0, 0, []string{"403", "token"}},
		{"case 60 404", polsettest.Status(404, "no"), polset.ClassAuth, false, 0, 0, []string{"404", "GitHub does not tell a missing repository from one that the token may not read"}},
		{"case 60 429", polsettest.TooManyRequests(7 * time.Second), polset.ClassTimeout, true, 7 * time.Second, 7 * time.Second, []string{"rate"}},
		{"case 60 429 for a day", polsettest.TooManyRequests(24 * time.Hour), polset.ClassTimeout, true, time.Hour, time.Hour, nil},
		{"case 60 429 with a date", polsettest.Status(429, "", "Retry-After", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)), polset.ClassTimeout, true, 50 * time.Second, time.Minute, nil},
		{"case 60 429 with nonsense", polsettest.Status(429, "", "Retry-After", "-5, soon"), polset.ClassTimeout, true, 0, 0, nil},
		{"case 60 rate-limit 403", polsettest.RateLimited(inAnHour), polset.ClassTimeout, true, 59 * time.Minute, time.Hour, []string{"rate"}},
		{"case 60 rate-limit 403 long over", polsettest.RateLimited(time.Unix(1, 0)), polset.ClassTimeout, true, 0, 0, nil},
		{"case 60 secondary rate-limit 403", polsettest.SecondaryRateLimited(90 * time.Second), polset.ClassTimeout, true, 90 * time.Second, 90 * time.Second, nil},
		{"case 60 secondary rate-limit by its words", polsettest.Status(403, `{"message":"You have exceeded a secondary rate limit"}`), polset.ClassTimeout, true, 0, 0, nil},
		{"case 60 500", polsettest.Status(500, "no"), polset.ClassTimeout, true, 0, 0, []string{"500"}},
		{"case 60 503", polsettest.Status(503, "no", "Retry-After", "30"), polset.ClassTimeout, true, 30 * time.Second, 30 * time.Second, []string{"503"}},
		{"418", polsettest.Status(418, "no"), polset.ClassTimeout, true, 0, 0, []string{"418"}},
		{"400", polsettest.Status(400, "no"), polset.ClassTimeout, true, 0, 0, []string{"400"}},
		{"web page", polsettest.Status(200, "<html>", "Content-Type", "text/html"), polset.ClassTimeout, true, 0, 0, []string{"not git's smart protocol"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := polsettest.NewGit(t)
			r := server.Create("acme/policies")
			commit := library(r)
			server.Intercept(test.fault)
			g := newGit(t, config(server))
			_, headErr := g.Head(t.Context(), at(r, "secret-token"), "")
			_, openErr := g.Open(t.Context(), at(r, "secret-token"), commit)
			for _, err := range []error{headErr, openErr} {
				f := failureOf(t, err, test.class, test.retry, append(test.parts, "acme/policies")...)
				if f.RetryAfter < test.lo || f.RetryAfter > test.hi {
					t.Errorf("retry after %s, want %s to %s", f.RetryAfter, test.lo, test.hi)
				}
				if strings.Contains(f.Error(), "secret-token") {
					t.Error("the failure holds the token")
				}
			}
			if n := len(server.Requests()); !test.retry && n != 2 {
				t.Errorf("%d requests: an auth failure was tried again", n)
			}
		})
	}
	t.Run("case 60 a private repository", func(t *testing.T) {
		server := polsettest.NewGit(t)
		r := server.Create("acme/policies")
		commit := library(r)
		r.HideWithout("right")
		g := newGit(t, config(server))
		mustFetch(t, g, at(r, "right"), commit, polset.Content{Path: "aws"})
		_, err := g.Head(t.Context(), at(r, "wrong"), "")
		wantFailure(t, err, polset.ClassAuth, false, "404")
		_, err = g.Head(t.Context(), at(r), "")
		wantFailure(t, err, polset.ClassAuth, false, "401", "public")
	})
}

// Attributes, filters and Git LFS are not applied.
func TestBytesAreTheBlob(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
	commit := r.Commit("main", map[string]string{
		".gitattributes":   "*.rego filter=lfs diff=lfs merge=lfs -text export-ignore ident\n*.txt text eol=crlf export-subst\n",
		"p/.gitattributes": "a.rego export-ignore\n",
		"p/a.rego":         "package a # $Id$\n",
		"p/b.rego":         pointer,
		"p/c.txt":          "$Format:%H$\nmixed\r\nends\n",
	})
	files, _ := mustFetch(t, newGit(t, config(server)), at(r), commit, polset.Content{Path: "p"})
	t.Run("case 62 export-ignore and filters are ignored", func(t *testing.T) {
		sameAsGit(t, files, r, commit, "p")
		if len(list(t, files)) != 5 {
			t.Errorf("got %v", list(t, files))
		}
	})
	again, _ := mustFetch(t, newGit(t, config(server)), at(r), commit, polset.Content{Path: "p"})
	t.Run("case 64 same commit twice", func(t *testing.T) { wantList(t, again, list(t, files)) })
}

// Connections are used again, after answers of every kind.
func TestKeepAlive(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	hidden := server.Create("acme/hidden")
	hidden.RequireToken("x")
	seen := map[string]bool{}
	server.Intercept(func(w http.ResponseWriter, q *http.Request, next http.Handler) bool {
		seen[q.RemoteAddr] = true
		// The end of the answer comes a moment after its last byte.
		next.ServeHTTP(w, q)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-time.After(20 * time.Millisecond)
		return true
	})
	g := newGit(t, config(server))
	for range 3 {
		if _, err := g.Head(t.Context(), at(r), ""); err != nil {
			t.Fatal(err)
		}
		if _, err := g.Head(t.Context(), at(hidden), ""); err == nil {
			t.Fatal("read a private repository")
		}
		_, _ = g.Open(t.Context(), at(r), strings.Repeat("1", 40)) // not our ref
		mustFetch(t, g, at(r), commit, polset.Content{Path: "aws", Outside: map[string]string{"README.md": ""}})
	}
	if len(seen) != 1 {
		t.Errorf("%d requests took %d connections, want 1", len(server.Requests()), len(seen))
	}
}
