package source_test

import (
	"flag"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
)

// Of random repositories, by every plan, Fetch returns what git ls-tree and
// git cat-file say.
func TestSameAsGit(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f != nil && f.Value.String() == f.DefValue {
		if err := f.Value.Set("25"); err != nil { // each runs git many times
			t.Fatal(err)
		}
	}
	server := polsettest.NewGit(t)
	repos := []*polsettest.Repo{
		server.Create("acme/filter"),
		server.Create("acme/depth1", polsettest.WithoutFilter()),
		server.Create("acme/v0", polsettest.V0Only()),
	}
	g := newGit(t, config(server))
	part := rapid.SampledFrom([]string{"a", "b", "a.b", "a-b", "a0", "B", "é", "with space", "日本", "-x", "~", "#"})
	file := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(part, 1, 5).Draw(t, "parts"), "/") })
	branch := 0
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.SampledFrom(repos).Draw(t, "repository")
		var taken, files []string
		free := func(p string) bool { // neither a file where a directory is, nor the reverse
			for _, o := range taken {
				if o == p || strings.HasPrefix(o, p+"/") || strings.HasPrefix(p, o+"/") {
					return false
				}
			}
			taken = append(taken, p)
			return true
		}
		content := map[string]string{}
		options := []polsettest.CommitOption{polsettest.Replace()}
		for _, p := range rapid.SliceOfN(file, 1, 25).Draw(t, "paths") {
			if !free(p) {
				continue
			}
			files = append(files, p)
			switch rapid.IntRange(0, 5).Draw(t, "kind") {
			case 0:
				options = append(options, polsettest.Symlink(p, rapid.SampledFrom([]string{"a", "../b", "/etc/passwd", "nowhere", "."}).Draw(t, "target")))
			case 1:
				options = append(options, polsettest.Submodule(p, noCommit))
			case 2:
				options = append(options, polsettest.Exec(p))
				fallthrough
			default:
				content[p] = strings.Repeat(rapid.StringN(0, 40, 200).Draw(t, "text"), rapid.IntRange(0, 60).Draw(t, "times"))
			}
		}
		branch++
		commit := r.Commit(fmt.Sprint("b", branch), content, options...)
		s, err := g.Open(t.Context(), at(r), commit)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		dirs := []string{""}
		for _, p := range files {
			for d := path.Dir(p); d != "."; d = path.Dir(d) {
				dirs = append(dirs, d)
			}
		}
		slices.Sort(dirs)
		for _, dir := range rapid.SliceOfN(rapid.SampledFrom(slices.Compact(dirs)), 1, 3).Draw(t, "policies-path") {
			content, err := s.Resolve(t.Context(), polset.Content{Path: dir})
			if err != nil {
				t.Fatal(err)
			}
			if content.Tree != r.TreeID(commit, dir) {
				t.Errorf("%s: tree %s", dir, content.Tree)
			}
			got, err := s.Fetch(t.Context(), content)
			if err != nil {
				t.Fatal(err)
			}
			sameAsGit(t, got, r, commit, dir)
		}
	})
}
