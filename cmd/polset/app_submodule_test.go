package main_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset/internal/polsettest"
	"github.com/polset/polset/internal/polsettest/hub"
)

// TestAppSubmodule reads a private submodule of the same owner: with a token
// of its own, and never for the commit of a fork.
func TestAppSubmodule(t *testing.T) {
	w := newAppWorld(t)
	r, lib := w.Hub.Repository("acme/policies"), w.Hub.Repository("acme/lib")
	library := lib.Push("main", map[string]string{"lib.rego": "package lib\n\nprivate := true\n"})
	with := func(n int) map[string]string {
		files := policies("policies", n, "one")
		files[".gitmodules"] = "[submodule \"lib\"]\n\tpath = policies/lib\n\turl = ../lib.git\n"
		return files
	}
	first := r.Push("main", with(2), polsettest.Submodule("policies/lib", library))
	w.Start()
	w.InstallFor("acme")
	id := w.Set("acme", "production", r)
	w.Ready(id, first)

	t.Run("it is in the archive", func(t *testing.T) {
		archive := w.Node.Download(w.Node.Newest(id))
		if entries(t, archive)["lib/lib.rego"] == "" {
			t.Errorf("the archive holds %v", entries(t, archive))
		}
	})
	t.Run("each repository has a token to read its contents, and nothing else", func(t *testing.T) {
		var read []int64
		for _, token := range w.Hub.Tokens() {
			if token.Permissions["contents"] == "" {
				continue
			}
			if len(token.Repositories) != 1 || token.Permissions["contents"] != "read" || token.Permissions["checks"] != "" {
				t.Errorf("a token for the repositories %v with %v", token.Repositories, token.Permissions)
			}
			read = append(read, token.Repositories...)
		}
		slices.Sort(read)
		read = slices.Compact(read) // by name, and by number once that is known
		want := []int64{r.ID(), lib.ID()}
		slices.Sort(want)
		if diff := cmp.Diff(want, read); diff != "" {
			t.Errorf("tokens to read with (-want +got):\n%s", diff)
		}
	})
	t.Run("not for the commit of a fork", func(t *testing.T) {
		fork := r.Fork(w.Hub.User("mallory"))
		fork.Push("feature", with(3), polsettest.Submodule("policies/lib", library))
		asked := len(w.Hub.Git().Requests())
		pr := r.OpenPullRequest(hub.PullRequestConfig{From: fork, Branch: "feature"})
		run := w.Concluded(r, pr.Head(), "polset/acme/production (pull request)")
		if !strings.Contains(run.Summary, "its submodules were not read") {
			t.Errorf("the check run does not say that submodules were left out: %s\n%s", run.Title, run.Summary)
		}
		for _, q := range w.Hub.Git().Requests()[asked:] {
			if !strings.HasPrefix(q.Path, "/acme/policies") {
				t.Errorf("a fork's pull request had %s asked for", q.Path)
			}
		}
	})
}
