package source_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/polset/polset"
	"github.com/polset/polset/ingest/source"
	"github.com/polset/polset/internal/polsettest"
)

func patterns(t testing.TB, globs ...string) polset.Patterns {
	t.Helper()
	p, err := polset.ParsePatterns(globs)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wantChanged compares two commits both ways: what one adds, the other removes.
func wantChanged(t testing.TB, g *source.Git, r *polsettest.Repo, before, after, path string, globs ...string) {
	t.Helper()
	for _, pair := range [][2]string{{before, after}, {after, before}} {
		s := open(t, g, at(r), pair[1], source.OnBranch("main"))
		got, err := s.Changed(t.Context(), pair[0], patterns(t, globs...))
		if err != nil || got != path {
			t.Errorf("from %.7s to %.7s, %q: got %q, %v; want %q", pair[0], pair[1], globs, got, err, path)
		}
	}
}

func TestChanged(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	lib := server.Create("acme/lib")
	one := lib.Commit("main", map[string]string{"a": "1"})
	two := lib.Commit("main", map[string]string{"a": "2"})
	g := newGit(t, config(server))
	base := r.Commit("main", map[string]string{
		"policies/a.rego": "a", "policies/deep/er/b.rego": "b", "docs/a.md": "text", "README.md": "read me",
		"lib/x.rego": "x", "empty/keep": "",
	}, polsettest.Submodule("vendor/lib", one), polsettest.Symlink("link", "docs"))

	for _, c := range []struct {
		name  string
		files map[string]string
		how   []polsettest.CommitOption
		globs string
		path  string
	}{
		{"changed", map[string]string{"policies/a.rego": "other"}, nil, "policies/**", "policies/a.rego"},
		{"changed elsewhere", map[string]string{"docs/a.md": "other"}, nil, "policies/**", ""},
		{"changed at the root", map[string]string{"README.md": "other"}, nil, "*.md", "README.md"},
		{"changed below the root only", map[string]string{"docs/a.md": "other"}, nil, "*.md", ""},
		{"changed deep down", map[string]string{"policies/deep/er/b.rego": "other"}, nil, "**/*.rego", "policies/deep/er/b.rego"},
		{"one of several patterns", map[string]string{"lib/x.rego": "other"}, nil, "policies/** lib/*", "lib/x.rego"},
		{"added", map[string]string{"policies/new.rego": "n"}, nil, "policies/*.rego", "policies/new.rego"},
		{"a directory added", map[string]string{"policies/n/e/w.rego": "n"}, nil, "policies/n/**", "policies/n/e/w.rego"},
		{"removed", nil, []polsettest.CommitOption{polsettest.Delete("policies/a.rego")}, "policies/*", "policies/a.rego"},
		{"a directory removed", nil, []polsettest.CommitOption{polsettest.Delete("policies")}, "**/b.rego", "policies/deep/er/b.rego"},
		{"a mode changed", map[string]string{"policies/a.rego": "a"}, []polsettest.CommitOption{polsettest.Exec("policies/a.rego")}, "**", "policies/a.rego"},
		{"moved out of the pattern", map[string]string{"docs/a.rego": "a"}, []polsettest.CommitOption{polsettest.Delete("policies/a.rego")}, "policies/**", "policies/a.rego"},
		{"moved into the pattern", map[string]string{"policies/a.md": "text"}, []polsettest.CommitOption{polsettest.Delete("docs/a.md")}, "policies/**", "policies/a.md"},
		{"moved outside of it", map[string]string{"docs/b.md": "text"}, []polsettest.CommitOption{polsettest.Delete("docs/a.md")}, "policies/**", ""},
		{"a submodule moved on", nil, []polsettest.CommitOption{polsettest.Submodule("vendor/lib", two)}, "vendor/*", "vendor/lib"},
		{"a submodule by what is below", nil, []polsettest.CommitOption{polsettest.Submodule("vendor/lib", two)}, "vendor/lib/**", "vendor/lib"},
		{"a link", nil, []polsettest.CommitOption{polsettest.Symlink("link", "policies")}, "link", "link"},
		{"a link is no directory", nil, []polsettest.CommitOption{polsettest.Symlink("link", "policies")}, "link/*", ""},
		{"a file in the place of a directory", map[string]string{"policies": "f"}, []polsettest.CommitOption{polsettest.Delete("policies")}, "policies", "policies"},
		{"a directory in the place of a file", map[string]string{"README.md/x": "f"}, []polsettest.CommitOption{polsettest.Delete("README.md")}, "README.md/x", "README.md/x"},
		{"nothing", map[string]string{"docs/a.md": "text"}, nil, "**", ""},
		{"a name that looks like a glob", map[string]string{"policies/[a]*.rego": "x"}, nil, `policies/\[a\]\*.rego`, "policies/[a]*.rego"},
	} {
		t.Run(c.name, func(t *testing.T) {
			after := r.Commit("main", c.files, append(c.how, polsettest.From(base))...)
			wantChanged(t, g, r, base, after, c.path, strings.Fields(c.globs)...)
		})
	}
	t.Run("itself", func(t *testing.T) { wantChanged(t, g, r, base, base, "", "**") })
	t.Run("an unrelated history", func(t *testing.T) {
		wantChanged(t, g, r, base, r.Commit("main", map[string]string{"x/y": ""}, polsettest.From("")), "empty/keep", "empty/**")
	})
}

func TestChangedByEveryPlan(t *testing.T) {
	for _, test := range []struct {
		plan    string
		options []polsettest.RepoOption
	}{
		{"v2-filter", nil},
		{"v0-filter", []polsettest.RepoOption{polsettest.V0Only()}},
		{"depth1", []polsettest.RepoOption{polsettest.WithoutFilter()}},
		{"depth1", []polsettest.RepoOption{polsettest.V0Only(), polsettest.WithoutFilter()}},
		{"deepen", []polsettest.RepoOption{polsettest.V0Only(), polsettest.WithoutFilter(), polsettest.WithoutAnySHA1()}},
	} {
		t.Run(test.plan, func(t *testing.T) {
			server := polsettest.NewGit(t)
			r := server.Create("acme/policies", test.options...)
			first := r.Commit("main", map[string]string{"p/a": "1", "q/a": "1"})
			r.Commit("main", map[string]string{"q/a": "2"})
			last := r.Commit("main", map[string]string{"q/a": "3"})
			r.Commit("main", map[string]string{"p/a": "9"})
			if test.plan == "deepen" {
				server.Intercept(polsettest.FirstOf(refuseWant(t, first), refuseWant(t, last)))
			}
			g := newGit(t, config(server))
			for _, c := range []struct{ glob, path string }{{"p/**", ""}, {"q/*", "q/a"}} {
				s := open(t, g, at(r), last, source.OnBranch("main"))
				if _, err := s.Resolve(t.Context(), polset.Content{Path: "p"}); err != nil {
					t.Fatal(err)
				}
				got, err := s.Changed(t.Context(), first, patterns(t, c.glob))
				if err != nil || got != c.path {
					t.Errorf("%s: got %q, %v; want %q", c.glob, got, err, c.path)
				}
				if s.Stats().Plan != test.plan {
					t.Errorf("plan %s", s.Stats().Plan)
				}
				files, err := s.Fetch(t.Context(), polset.Content{Path: "q"})
				if err != nil {
					t.Fatal(err)
				}
				wantList(t, files, map[string]string{"q": "dir", "q/a": "644 3"})
			}
		})
	}
}

// TestChangedIsCheap counts what crosses the wire: directories that are equal,
// or of which no pattern speaks, and files, do not.
func TestChangedIsCheap(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	files := map[string]string{"policies/prod/a.rego": "a", "policies/dev/a.rego": "a"}
	for i := range 300 {
		files[fmt.Sprintf("services/s%d/deep/er/main.go", i)] = fmt.Sprint(i)
	}
	before := r.Commit("main", files)
	for name := range files {
		files[name] += " changed"
	}
	after := r.Commit("main", files, polsettest.Zeros("policies/dev/large", 5<<20), polsettest.Zeros("policies/prod/large", 5<<20))
	g := newGit(t, config(server))
	for _, c := range []struct {
		name, glob, path string
		requests         int64 // after Open and Resolve
		bytes            int64 // at most
	}{
		{"one directory, which has been resolved", "policies/prod/*.none", "", 4, 2048},
		{"found on the way", "policies/*/a.rego", "policies/dev/a.rego", 4, 2048},
		{"at the root", "*.md", "", 2, 1024},
		{"all that differs", "**/*.none", "", 6, 200_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, g, at(r), after)
			if _, err := s.Resolve(t.Context(), polset.Content{Path: "policies/prod"}); err != nil {
				t.Fatal(err)
			}
			was := s.Stats()
			got, err := s.Changed(t.Context(), before, patterns(t, c.glob))
			if err != nil || got != c.path {
				t.Fatalf("got %q, %v; want %q", got, err, c.path)
			}
			is := s.Stats()
			t.Logf("%d requests, %d bytes", is.Requests-was.Requests, is.Received-was.Received)
			if n := is.Requests - was.Requests; n != c.requests {
				t.Errorf("%d requests, want %d", n, c.requests)
			}
			if n := is.Received - was.Received; n > c.bytes {
				t.Errorf("%d bytes, want %d at most", n, c.bytes)
			}
		})
	}
}

func TestChangedSinceWhatIsGone(t *testing.T) {
	for name, options := range map[string][]polsettest.RepoOption{
		"v2": nil, "v0": {polsettest.V0Only()}, "depth1": {polsettest.WithoutFilter()},
		"deepen": {polsettest.V0Only(), polsettest.WithoutFilter(), polsettest.WithoutAnySHA1()},
	} {
		t.Run(name, func(t *testing.T) {
			server := polsettest.NewGit(t)
			r := server.Create("acme/policies", options...)
			gone := r.Commit("main", map[string]string{"p/a": "1"})
			commit := r.Commit("main", map[string]string{"p/a": "2"}, polsettest.From(""))
			r.Remove(gone)
			g := newGit(t, config(server))
			s := open(t, g, at(r), commit, source.OnBranch("main"))
			content, err := s.Resolve(t.Context(), polset.Content{Path: "p"})
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Changed(t.Context(), gone, patterns(t, "**"))
			wantFailure(t, err, polset.ClassCommitNotFound, false, gone)
			// What the snapshot is for goes on.
			if _, err := s.Fetch(t.Context(), content); err != nil {
				t.Error(err)
			}
		})
	}
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := r.Commit("main", map[string]string{"p/a": "2"})
	s := open(t, newGit(t, config(server)), at(r), commit)
	for _, since := range []string{"", "main", r.TreeID(commit, "p"), strings.ToUpper(commit), strings.Repeat("0", 40)} {
		_, err := s.Changed(t.Context(), since, patterns(t, "**"))
		wantFailure(t, err, polset.ClassCommitNotFound, false)
	}
}

func TestChangedKeepsLimits(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	one := r.Commit("main", map[string]string{"p/a": "1"})
	files := map[string]string{}
	for i := range 50 {
		files[fmt.Sprintf("d%d/e/f", i)] = fmt.Sprint(i)
	}
	many := r.Commit("main", files)
	deep := r.Commit("main", map[string]string{strings.Repeat("d/", 30) + "f": "1"}, polsettest.From(one))
	// A tree in which few objects stand for many: 10^9 files.
	tree := r.Tree(polsettest.Entry{Mode: "100644", Name: "f", SHA: r.Blob("x")})
	for range 9 {
		var entries []polsettest.Entry
		for i := range 10 {
			entries = append(entries, polsettest.Entry{Mode: "40000", Name: fmt.Sprint(i), SHA: tree})
		}
		tree = r.Tree(entries...)
	}
	bomb := r.CommitTree("bomb", tree)
	long := r.CommitTree("long", r.Tree(polsettest.Entry{Mode: "100644", Name: strings.Repeat("n", 5000), SHA: r.Blob("x")}))
	blob := r.Blob("x")
	double := r.CommitTree("double", r.Tree(
		polsettest.Entry{Mode: "100644", Name: "p", SHA: blob}, polsettest.Entry{Mode: "100755", Name: "p", SHA: blob}))

	for _, c := range []struct {
		name, commit string
		limits       source.Limits
		class        polset.Class
		part         string
	}{
		{"entries", many, source.Limits{Objects: 60}, polset.ClassLimit, "more than 60 files and directories"},
		{"bytes", many, source.Limits{TreeBytes: 2000}, polset.ClassLimit, "2000 bytes"},
		{"objects in a pack", many, source.Limits{Files: 10}, polset.ClassLimit, "more than 36 files and directories"},
		{"depth", deep, source.Limits{Depth: 20}, polset.ClassLimit, "more than 20 deep"},
		{"a bomb", bomb, source.Limits{}, polset.ClassLimit, "200000"},
		{"a path that nothing can check out", long, source.Limits{}, polset.ClassLimit, "4096 bytes"},
		{"a name that occurs twice", double, source.Limits{}, polset.ClassContentInvalid, "twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := config(server)
			conf.Limits = c.limits
			s := open(t, newGit(t, conf), at(r), c.commit)
			_, err := s.Changed(t.Context(), one, patterns(t, "**/none"))
			wantFailure(t, err, c.class, false, c.part)
		})
	}
}

func TestChangedEnds(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	one := r.Commit("main", map[string]string{"p/a": "1"})
	two := r.Commit("main", map[string]string{"p/a": "2"})
	s := open(t, newGit(t, config(server)), at(r), two)
	arrived := make(chan *http.Request, 1)
	server.Intercept(polsettest.When(polsettest.IsFetch, polsettest.FirstOf(polsettest.Signal(arrived), polsettest.Hang())))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	_, err := s.Changed(ctx, one, patterns(t, "**"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	server.Intercept(nil)
	if got, err := s.Changed(t.Context(), one, patterns(t, "**")); err != nil || got != "p/a" {
		t.Errorf("afterwards: %q, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Changed(t.Context(), one, patterns(t, "**")); err == nil {
		t.Error("a closed snapshot compares")
	}
}
