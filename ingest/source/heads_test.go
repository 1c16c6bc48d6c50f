package source_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
)

// Whatever the server can do, one request tells where twenty branches stand.
func TestHeads(t *testing.T) {
	for _, test := range []struct {
		name    string
		options []polsettest.RepoOption
		first   int64 // requests of the first look; of later ones it is 1
	}{
		{"version 2", nil, 1},
		{"version 0", []polsettest.RepoOption{polsettest.V0Only()}, 2},
		{"version 0 without filters", []polsettest.RepoOption{polsettest.V0Only(), polsettest.WithoutFilter()}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := polsettest.NewGit(t)
			r := server.Create("acme/policies", append(test.options, polsettest.DefaultBranch("trunk"))...)
			trunk := r.Commit("trunk", map[string]string{"a": "trunk"})
			asked, want := []string{"none"}, []polset.Head{{Branch: "none"}}
			for i := range 18 {
				branch := fmt.Sprintf("team/b%d", i) // b1 is the beginning of b10
				commit := r.Commit(branch, map[string]string{"a": branch})
				if i != 1 {
					asked, want = append(asked, branch), append(want, polset.Head{Branch: branch, Commit: commit})
				}
			}
			r.Git("update-ref", "refs/heads/HEAD", r.Head("team/b1"))
			for branch, head := range map[string]polset.Head{
				"": {Branch: "trunk", Commit: trunk}, "HEAD": {Branch: "HEAD", Commit: r.Head("team/b1")},
				"team": {Branch: "team"}, "a b\n": {Branch: "a b\n"}, strings.Repeat("x", 70_000): {Branch: strings.Repeat("x", 70_000)},
			} {
				asked, want = append(asked, branch, branch), append(want, head, head)
			}
			g := newGit(t, config(server))
			for _, requests := range []int64{test.first, 1} {
				before := g.Stats().Requests
				got, err := g.Heads(t.Context(), at(r), asked)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("heads differ (-want +got):\n%s", diff)
				}
				if n := g.Stats().Requests - before; n != requests {
					t.Errorf("%d requests, want %d", n, requests)
				}
			}
			before := g.Stats().Requests
			if got, err := g.Heads(t.Context(), at(r), nil); err != nil || len(got) != 0 || g.Stats().Requests != before {
				t.Errorf("of no branches: %v, %v", got, err)
			}
			empty := server.Create("acme/empty", test.options...)
			for _, branches := range [][]string{{"main", "other"}, {""}, {"other", ""}} {
				_, err := g.Heads(t.Context(), at(empty), branches)
				wantFailure(t, err, polset.ClassEmptyRepository, false, "acme/empty", "no commit")
			}
			dangling := server.Create("acme/dangling", test.options...)
			commit := dangling.Commit("other", map[string]string{"a": "b"})
			got, err := g.Heads(t.Context(), at(dangling), []string{"", "main", "other"})
			if diff := cmp.Diff([]polset.Head{{}, {Branch: "main"}, {Branch: "other", Commit: commit}}, got); err != nil || diff != "" {
				t.Errorf("HEAD leads nowhere: %v\n%s", err, diff)
			}
		})
	}
}

// However many branches are asked for, the request is small.
func TestHeadsOfManyBranches(t *testing.T) {
	server := polsettest.NewGit(t)
	r := server.Create("acme/policies")
	commit := library(r)
	var packed strings.Builder
	packed.WriteString("# pack-refs with: peeled fully-peeled sorted \n")
	var asked []string
	for i := range 2000 {
		asked = append(asked, fmt.Sprintf("b%06d", i))
		fmt.Fprintf(&packed, "%s refs/heads/b%06d\n", commit, i)
	}
	if err := os.WriteFile(filepath.Join(r.Dir(), "packed-refs"), []byte(packed.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	g := newGit(t, config(server))
	for _, n := range []int{20, 2000} {
		server.ResetRequests()
		heads, err := g.Heads(t.Context(), at(r), asked[:n])
		if err != nil {
			t.Fatal(err)
		}
		for i, head := range heads {
			if head != (polset.Head{Branch: asked[i], Commit: commit}) {
				t.Fatalf("%s: %v", asked[i], head)
			}
		}
		if requests, in, out := server.Traffic(); requests != 1 || in > 2048 || out > int64(n)*70+200 {
			t.Errorf("%d branches took %d requests of %d bytes, answered by %d", n, requests, in, out)
		}
	}
	c := config(server)
	c.Limits.Refs = 1500
	_, err := newGit(t, c).Heads(t.Context(), at(r), asked)
	wantFailure(t, err, polset.ClassLimit, false, "1500", "branches and tags")
}
