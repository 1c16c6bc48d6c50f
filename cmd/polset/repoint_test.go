package main_test

import (
	"slices"
	"testing"
	"time"
)

// TestRepoint changes through the API what a policy set follows, step by step:
// every step has its version, and those before it stay.
func TestRepoint(t *testing.T) {
	w := newAppWorld(t)
	r := w.Hub.Repository("acme/policies")
	r.Push("main", policies("policies", 1, "one"))
	r.Push("main", policies("other", 2, "two"))
	n := w.Start()
	w.InstallFor("acme")
	id := text(n.must(201, "POST", "/api/v2/organizations/acme/policy-sets", w.draft("production", r.Identifier(), "", "policies")), "data", "id")
	head := r.Head("main")
	w.Ready(id, head)
	history := []string{n.Current(id)}

	patch := func(attrs document) document {
		return n.must(200, "PATCH", "/api/v2/policy-sets/"+id, resource("policy-sets", attrs))
	}
	// next waits for the version that a change brings, and looks at all before it.
	next := func(path string) {
		t.Helper()
		eventually(t, time.Minute, "a version of the change", func() bool {
			current := n.Current(id)
			return current != "" && !slices.Contains(history, current)
		})
		history = append(history, n.Current(id))
		n.sameAsGit(r.Repo(), n.Newest(id), path)
		var kept []string
		for _, v := range n.Versions(id) {
			kept = append(kept, text(v, "id"))
		}
		slices.Reverse(kept)
		if !slices.Equal(kept, history) {
			t.Errorf("the versions are %v, want %v", kept, history)
		}
	}
	if got := patch(document{"policies-path": "/other"}); text(got, "data", "attributes", "policies-path") != "/other" {
		t.Errorf("policies-path is %v", get(got, "data", "attributes", "policies-path"))
	}
	next("other")
	patch(document{"policies-path": "policies"})
	next("policies")

	r.ForcePush("release", head)
	r.Push("release", policies("policies", 3, "three"))
	patch(document{"vcs-repo": document{"branch": "release"}})
	next("policies")

	// Patterns change nothing that is in force, and hold back what comes.
	if got := list(patch(document{"policy-update-patterns": []any{"RELEASE"}}), "data", "attributes", "policy-update-patterns"); !slices.Equal(got, []any{"RELEASE"}) {
		t.Errorf("the patterns are %v", got)
	}
	r.Push("release", policies("policies", 3, "four"))
	n.Settled(id, time.Minute)
	eventually(t, time.Minute, "the push is held back", func() bool {
		return text(n.Ingestions(id)[0], "attributes", "status") == "ignored"
	})
	if n.Current(id) != history[len(history)-1] {
		t.Errorf("in force is %s, want %s", n.Current(id), history[len(history)-1])
	}
	// Without them it comes.
	patch(document{"policy-update-patterns": nil})
	n.must(202, "POST", "/api/v2/policy-sets/"+id+"/actions/ingest", nil)
	next("policies")

	n.must(200, "PATCH", "/api/v2/policy-sets/"+id, resource("policy-sets", document{"vcs-repo": nil}))
	if n.Current(id) != history[len(history)-1] {
		t.Errorf("without a repository %q is in force, want %s", n.Current(id), history[len(history)-1])
	}
}
