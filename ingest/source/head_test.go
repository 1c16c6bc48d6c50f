package source_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
)

func TestHead(t *testing.T) {
	for _, test := range []struct {
		name    string
		options []polsettest.RepoOption
	}{
		{"version 2", nil},
		{"version 0", []polsettest.RepoOption{polsettest.V0Only()}},
		{"version 0 without filters", []polsettest.RepoOption{polsettest.V0Only(), polsettest.WithoutFilter()}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := polsettest.NewGit(t)
			r := server.Create("acme/policies", append(test.options, polsettest.DefaultBranch("trunk"))...)
			empty := server.Create("acme/empty", test.options...)
			dangling := server.Create("acme/dangling", test.options...)
			dangling.Commit("other", map[string]string{"a": "b"})
			trunk := r.Commit("trunk", map[string]string{"a": "1"})
			main := r.Commit("main", map[string]string{"a": "2"})
			longer := r.Commit("main2", map[string]string{"a": "3"})
			nested := r.Commit("a/b", map[string]string{"a": "4"})
			r.Git("tag", "-a", "-m", "tag", "main3", main)
			g := newGit(t, config(server))
			for branch, want := range map[string]polset.Head{
				"":                     {Branch: "trunk", Commit: trunk},
				"main":                 {Branch: "main", Commit: main},
				"main2":                {Branch: "main2", Commit: longer},
				"a/b":                  {Branch: "a/b", Commit: nested},
				"mai":                  {Branch: "mai"},
				"main3":                {Branch: "main3"},
				"a":                    {Branch: "a"},
				"x\n0032want " + trunk: {Branch: "x\n0032want " + trunk},
			} {
				got, err := g.Head(t.Context(), at(r), branch)
				if err != nil || got != want {
					t.Errorf("%q: %v, %v; want %v", branch, got, err, want)
				}
			}
			for _, branch := range []string{"", "main"} {
				_, err := g.Head(t.Context(), at(empty), branch)
				t.Run("case 59 empty repository", func(t *testing.T) {
					wantFailure(t, err, polset.ClassEmptyRepository, false, "acme/empty", "no commit")
				})
				head, err := g.Head(t.Context(), at(dangling), branch)
				if err != nil || head != (polset.Head{Branch: branch}) {
					t.Errorf("HEAD leads nowhere: %v, %v", head, err)
				}
			}
		})
	}
}

// The number of refs costs nothing by protocol 2, and has a limit by protocol 0.
func TestManyRefs(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	var packed strings.Builder
	packed.WriteString("# pack-refs with: peeled fully-peeled sorted \n")
	for i := range 20_000 {
		fmt.Fprintf(&packed, "%s refs/pull/%06d/head\n", commit, i)
	}
	if err := os.WriteFile(filepath.Join(r.Dir(), "packed-refs"), []byte(packed.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	g := newGit(t, config(server))
	if _, err := g.Head(t.Context(), at(r), "main"); err != nil {
		t.Fatal(err)
	}
	mustFetch(t, g, at(r), commit, polset.Content{Path: "aws"})
	if got := g.Stats().Received; got > 4096 {
		t.Errorf("received %d bytes", got)
	}
	old := server.Create("acme/old", polsettest.V0Only())
	library(old)
	if err := os.WriteFile(filepath.Join(old.Dir(), "packed-refs"), []byte(packed.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Head(t.Context(), at(old), "main"); err != nil {
		t.Fatal(err)
	}
	c := config(server)
	c.Limits.Refs = 10_000
	_, err := newGit(t, c).Head(t.Context(), at(old), "main")
	wantFailure(t, err, polset.ClassLimit, false, "10000", "branches and tags")
}
