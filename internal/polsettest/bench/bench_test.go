package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset/internal/polsettest"
)

// TestMain lets the test binary be the bench's own children.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == childArgument {
		os.Exit(childMain(os.Args[2]))
	}
	os.Exit(m.Run())
}

// The part that needs no other service works from end to end; whether its
// targets are met is for make bench to say, on a machine that does nothing
// else.
func TestSmallPart(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	if err := run(t.Context(), options{only: "small", reportOnly: true}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"requests, S ", "bytes received, S ", "memory above idle, S ", "requests to compare with a commit, S ", " targets met"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report does not tell %q:\n%s", want, &out)
		}
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What is kept for the next run is the same repository, and half of one is
// made again.
func TestRepositoryIsKept(t *testing.T) {
	dir := t.TempDir()
	made := func() repository {
		git, err := polsettest.StartGit(dir)
		if err != nil {
			t.Fatal(err)
		}
		role := &gitRole{dir: dir, git: git}
		defer func() { _ = role.close() }()
		r, err := role.make(t.Context(), recipe{Name: "T", Files: 60, Bytes: 120_000, Commits: 3})
		if err != nil {
			t.Fatal(err)
		}
		if head := git.Repo(r.Identifier).Head("main"); head != r.Commit {
			t.Fatalf("main stands at %s, not at %s", head, r.Commit)
		}
		return r
	}
	first := made()
	if len(first.History) != 3 || first.History[2] != first.Commit || first.Wanted < 10_000 {
		t.Errorf("made %+v", first)
	}
	facts := dir + "/" + first.Identifier + ".git/" + factsFile
	before, err := os.Stat(facts)
	if err != nil {
		t.Fatal(err)
	}
	second := made()
	if after, err := os.Stat(facts); err != nil || !after.ModTime().Equal(before.ModTime()) || second.Commit != first.Commit {
		t.Errorf("the repository was made again: %v", err)
	}
	if err := os.Truncate(facts, before.Size()/2); err != nil {
		t.Fatal(err)
	}
	if third := made(); third.Commit != first.Commit || third.Wanted != first.Wanted {
		t.Errorf("made another repository: %+v", third)
	}
}

func TestContent(t *testing.T) {
	files, streams := recipe{Files: 100, Bytes: 1_000_000}.content()
	if len(files)+len(streams) != 100 {
		t.Errorf("%d files", len(files)+len(streams))
	}
	if a, b := moduleText(3, 4, 5000), moduleText(3, 4, 5000); len(a) != 5000 || !bytes.Equal(a, b) {
		t.Error("a module's text is not what it was before")
	}
	if bytes.Equal(moduleText(3, 4, 5000), moduleText(3, 5, 5000)) {
		t.Error("two files are the same")
	}
	text, err := io.ReadAll(&lazily{make: func() []byte { return []byte("text") }})
	if err != nil || string(text) != "text" {
		t.Errorf("read %q, %v", text, err)
	}
}

func TestMissed(t *testing.T) {
	r := newReport(io.Discard)
	r.checks(
		atMost("most", 2, 2, times), atMost("too much", 2.01, 2, times),
		atLeast("least", 5, 5, times), atLeast("too little", 4.99, 5, times),
	)
	got := strings.Join(r.missed, "\n")
	if want := "too much: 2.010×, must be ≤ 2.000×\ntoo little: 4.990×, must be ≥ 5.000×"; got != want || r.asserted != 4 {
		t.Errorf("missed %q of %d", got, r.asserted)
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 351246128: "351,246,128", -4096: "-4,096"} {
		if got := bytesOf(n); got != want {
			t.Errorf("bytesOf(%v) = %s, want %s", n, got, want)
		}
	}
	sample := []time.Duration{5, 1, 4, 2, 3}
	for p, want := range map[float64]time.Duration{0: 1, 50: 3, 99: 5, 100: 5} {
		if got := percentile(sample, p); got != want {
			t.Errorf("percentile %v = %d, want %d", p, got, want)
		}
	}
	if percentile(nil, 50) != 0 {
		t.Error("nothing has a percentile")
	}
	if got := blocksOf(4097) - blocksOf(0); got != 8192 {
		t.Errorf("4,097 bytes take %d", got)
	}
	if components("policies/prod") != 2 {
		t.Error("components")
	}
}
