package source_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/polset/polset"
	"github.com/polset/polset/ingest/source"
	"github.com/polset/polset/internal/polsettest"
)

// library is laid out like HashiCorp's public Sentinel library.
func library(r *polsettest.Repo) string {
	return r.Commit("main", map[string]string{
		"aws/sentinel.hcl":        "policy \"a\" {}\n",
		"aws/a.sentinel":          "main = rule { true }\n",
		"aws/test/a/pass.hcl":     "param {}\n",
		"aws/run.sh":              "#!/bin/sh\n",
		"common/functions.hcl":    "common\n",
		"common/plan/plan.hcl":    "plan\n",
		"azure/b.sentinel":        "main = rule { false }\n",
		"README.md":               "read me\n",
		"aws.d/c.sentinel":        "sorted before aws by git\n",
		"aws/test-b/sorted-first": "",
	}, polsettest.Exec("aws/run.sh"), polsettest.Symlink("aws/link.sentinel", "a.sentinel"), polsettest.Symlink("aws/out", "../common/functions.hcl"))
}

func TestFetchHoldsThePathOnly(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	files, s := mustFetch(t, newGit(t, config(server)), at(r), commit, polset.Content{
		Path: "aws", Outside: map[string]string{"common/functions.hcl": "", "common/none": "", "common/plan": "", "aws/a.sentinel": "", "../x": "", "README.md/x": ""},
	})
	wantList(t, files, map[string]string{
		"aws": "dir", "aws/test": "dir", "aws/test/a": "dir", "aws/test-b": "dir", "common": "dir",
		"aws/sentinel.hcl":        "644 policy \"a\" {}\n",
		"aws/a.sentinel":          "644 main = rule { true }\n",
		"aws/test/a/pass.hcl":     "644 param {}\n",
		"aws/run.sh":              "755 #!/bin/sh\n",
		"aws/link.sentinel":       "-> a.sentinel",
		"aws/out":                 "-> ../common/functions.hcl",
		"aws/test-b/sorted-first": "644 ",
		"common/functions.hcl":    "644 common\n",
	})
	if err := fstest.TestFS(files, "aws/a.sentinel", "aws/test/a/pass.hcl", "common/functions.hcl"); err != nil {
		t.Error(err)
	}
	if data, err := fs.ReadFile(files, "aws/out"); err != nil || string(data) != "common\n" {
		t.Errorf("a link that stays inside is followed: %q, %v", data, err)
	}
	if got := s.Stats().Plan; got != "v2-filter" {
		t.Errorf("plan %s", got)
	}
}

func TestResolve(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	s := open(t, newGit(t, config(server)), at(r), commit)
	got, err := s.Resolve(t.Context(), polset.Content{
		Path: "aws/test", Kind: polset.KindSentinel, Submodules: true,
		Outside: map[string]string{"common/functions.hcl": "x", "aws/link.sentinel": "x", "common": "x", "gone/a/b": "x", "/etc/passwd": "x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := polset.Content{
		Tree: r.TreeID(commit, "aws/test"), Path: "aws/test", Kind: polset.KindSentinel, Submodules: true,
		Outside: map[string]string{"common/functions.hcl": r.TreeID(commit, "common/functions.hcl"), "aws/link.sentinel": "", "common": "", "gone/a/b": "", "/etc/passwd": ""},
	}
	if !got.Equal(want) {
		t.Errorf("got %s, want %s", got, want)
	}
	root, err := s.Resolve(t.Context(), polset.Content{})
	if err != nil || root.Tree != r.TreeID(commit, "") {
		t.Errorf("the root's tree is %s, %v", root.Tree, err)
	}

	commit = r.Commit("main", map[string]string{".gitmodules": "[submodule \"a\"]\n"})
	got, err = open(t, newGit(t, config(server)), at(r), commit).Resolve(t.Context(), polset.Content{Path: "aws", Submodules: true})
	if err != nil || got.Gitmodules != r.TreeID(commit, ".gitmodules") {
		t.Errorf("got %s, %v", got, err)
	}

	if _, err := s.Fetch(t.Context(), polset.Content{Path: "aws", Tree: root.Tree}); err == nil {
		t.Error("a tree that is not the path's was fetched")
	}
}

func TestPaths(t *testing.T) {
	server := polsettest.NewGit(t)
	lib := server.Create("acme/lib")
	r := server.Create("acme/policies")
	commit := r.Commit("main", map[string]string{"dir/file": "x"},
		polsettest.Symlink("link", "dir"), polsettest.Submodule("sub", lib.Commit("main", map[string]string{"a": "b"})))
	g := newGit(t, config(server))
	for _, test := range []struct {
		name, path string
		class      polset.Class
		parts      []string
	}{
		{"case 43 policies-path is a symlink", "link", polset.ClassPathNotDirectory, []string{"link", "symbolic link", commit}},
		{"case 43 policies-path leads through a symlink", "link/x", polset.ClassPathNotDirectory, []string{"path link ", "symbolic link"}},
		{"case 43 policies-path is a file", "dir/file", polset.ClassPathNotDirectory, []string{"dir/file", "a file", commit}},
		{"case 43 policies-path leads through a file", "dir/file/x", polset.ClassPathNotDirectory, []string{"dir/file ", "a file"}},
		{"case 43 policies-path is a submodule", "sub", polset.ClassPathNotDirectory, []string{"sub", "a submodule"}},
		{"case 45 policies-path is missing", "nowhere", polset.ClassPathNotFound, []string{"nowhere", commit, "acme/policies"}},
		{"case 45 a directory on the way is missing", "dir/x/y", polset.ClassPathNotFound, []string{"dir/x/y "}},
		{"case 44 policies-path climbs", "../dir", polset.ClassPathNotFound, nil},
		{"case 44 policies-path holds NUL", "dir\x00", polset.ClassPathNotFound, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := fetch(t.Context(), g, at(r), commit, polset.Content{Path: test.path})
			wantFailure(t, err, test.class, false, test.parts...)
		})
	}
}

// A second fetch, with more outside files or of the same path, asks only for
// what is new.
func TestFetchAgain(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	s := open(t, newGit(t, config(server)), at(r), commit)
	requests := func(want polset.Content) (int64, int64) {
		t.Helper()
		before := s.Stats()
		if _, err := s.Fetch(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		after := s.Stats()
		return after.Requests - before.Requests, after.Received - before.Received
	}
	if n, _ := requests(polset.Content{Path: "aws"}); n != 2 {
		t.Errorf("the first fetch took %d requests, want 2: the root's listing and the path", n)
	}
	if n, _ := requests(polset.Content{Path: "aws"}); n != 0 {
		t.Errorf("the same again took %d requests", n)
	}
	if n, bytes := requests(polset.Content{Path: "aws", Outside: map[string]string{"common/functions.hcl": ""}}); n != 2 || bytes > 400 {
		t.Errorf("a file more took %d requests and %d bytes, want 2 and few: its directory and the file", n, bytes)
	}
	if n, _ := requests(polset.Content{Path: "aws/test"}); n != 0 {
		t.Errorf("a path below took %d requests", n)
	}
}

func TestBudgets(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	files := map[string]string{}
	for i := range 40 {
		files[fmt.Sprintf("policies/prod/p%02d.rego", i)] = fmt.Sprintf("package p%d\n\n%s", i, pseudoRandom(i, 600))
	}
	for i := range 300 {
		files[fmt.Sprintf("src/%d/f%d.go", i%20, i)] = pseudoRandom(1000+i, 4000)
	}
	commit := r.Commit("main", files)
	wanted := int64(len(r.Pack(strings.Fields(r.Git("rev-list", "--objects", "--no-object-names", r.TreeID(commit, "policies/prod")))...)))
	registry := prometheus.NewRegistry()
	c := config(server)
	c.Registerer = registry
	g := newGit(t, c)

	head, err := g.Head(t.Context(), at(r), "main")
	if err != nil || head != (polset.Head{Branch: "main", Commit: commit}) {
		t.Fatalf("head %v, %v", head, err)
	}
	afterHead := g.Stats()
	s := open(t, g, at(r), head.Commit)
	content, err := s.Resolve(t.Context(), polset.Content{Path: "policies/prod"})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Stats().Received; got > 1024 {
		t.Errorf("the decision took %d bytes, the limit is 1024", got)
	}
	if _, err := s.Fetch(t.Context(), content); err != nil {
		t.Fatal(err)
	}
	total, own := g.Stats(), s.Stats()
	if total.Requests != 2+3 {
		t.Errorf("%d requests, the limit is components + 3 = 5", total.Requests)
	}
	if limit := wanted*12/10 + 4096; total.Received > limit {
		t.Errorf("%d bytes, the limit is %d for a pack of %d", total.Received, limit, wanted)
	}
	requests, _, out := server.Traffic()
	if int64(requests) != total.Requests || out != total.Received {
		t.Errorf("the server counts %d requests and %d bytes, Stats %d and %d", requests, out, total.Requests, total.Received)
	}
	if own.Requests != total.Requests-afterHead.Requests || own.Plan != "v2-filter" {
		t.Errorf("the snapshot's own stats are %+v", own)
	}
	for _, q := range server.Requests() {
		if q.Method != http.MethodPost || q.Protocol != "version=2" {
			t.Errorf("%s %s was sent: nothing but version 2 is needed", q.Method, q.Path)
		}
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(fmt.Sprintf(`
# HELP polset_fetch_received_bytes_total Bytes received from git servers.
# TYPE polset_fetch_received_bytes_total counter
polset_fetch_received_bytes_total %d
# HELP polset_fetch_requests_total HTTP requests sent to git servers.
# TYPE polset_fetch_requests_total counter
polset_fetch_requests_total 5
# HELP polset_fetch_total Trees fetched through git, by the plan that worked.
# TYPE polset_fetch_total counter
polset_fetch_total{plan="v2-filter"} 1
`, total.Received)), "polset_fetch_received_bytes_total", "polset_fetch_requests_total", "polset_fetch_total"); err != nil {
		t.Error(err)
	}
}

// pseudoRandom is text that hardly compresses, the same in every run.
func pseudoRandom(seed, n int) string {
	x := uint64(seed)*2862933555777941757 + 3037000493
	var b strings.Builder
	for b.Len() < n {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		fmt.Fprintf(&b, "%016x\n", x)
	}
	return b.String()[:n]
}

func TestMetricsRegisterOnce(t *testing.T) {
	registry := prometheus.NewRegistry()
	if _, err := source.New(source.Config{Registerer: registry}); err != nil {
		t.Fatal(err)
	}
	if _, err := source.New(source.Config{Registerer: registry}); err == nil {
		t.Error("the metrics were registered twice")
	}
}
