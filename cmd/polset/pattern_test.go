package main_test

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestUpdatePatterns pushes to a set whose versions wait for a release: what the
// patterns do not name is settled, said on GitHub and not in force, and comes
// with the next change that they name.
func TestUpdatePatterns(t *testing.T) {
	w := newAppWorld(t)
	r := w.Hub.Repository("acme/policies")
	first := r.Push("main", policies("policies", 1, "one"))
	n := w.Start()
	w.InstallFor("acme")
	draft := w.draft("production", r.Identifier(), "", "policies")
	globs := []any{"/RELEASE", "policies/*.hcl"}
	get(draft, "data", "attributes").(document)["policy-update-patterns"] = globs //nolint:forcetypeassert // a test
	created := n.must(201, "POST", "/api/v2/organizations/acme/policy-sets", draft)
	if got := list(created, "data", "attributes", "policy-update-patterns"); !slices.Equal(got, globs) {
		t.Fatalf("the patterns are %v", got)
	}
	id := text(created, "data", "id")
	w.Ready(id, first)
	inForce := n.Current(id)

	held := r.Push("main", policies("policies", 1, "two"))
	run := w.Concluded(r, held, "polset/acme/production")
	if run.Conclusion != "neutral" || run.Title != "Ignored" || !strings.Contains(run.Summary, "RELEASE") || !strings.Contains(run.Summary, first) {
		t.Errorf("check run %+v", run)
	}
	i := n.Settled(id, time.Minute)[0]
	if text(i, "attributes", "status") != "ignored" || text(i, "relationships", "policy-set-version", "data", "id") != inForce {
		t.Errorf("the ingestion is %v", i)
	}
	if n.Current(id) != inForce || len(n.Versions(id)) != 1 {
		t.Errorf("in force is %s of %d versions, want %s", n.Current(id), len(n.Versions(id)), inForce)
	}
	if gap := get(w.Show(id), "completeness", "gap-seconds"); gap != 0.0 {
		t.Errorf("a gap of %v", gap)
	}

	released := r.Push("main", map[string]string{"RELEASE": "2"})
	w.Ready(id, released)
	n.sameAsGit(r.Repo(), n.Newest(id), "policies")
	if run := w.Concluded(r, released, "polset/acme/production"); run.Conclusion != "success" {
		t.Errorf("check run %+v", run)
	}

	t.Run("a crash while it compares", func(t *testing.T) {
		current := n.Current(id)
		w.Node.Kill()
		held := r.Push("main", policies("policies", 1, "three"))
		w.Start()
		if run := w.Concluded(r, held, "polset/acme/production"); run.Conclusion != "neutral" {
			t.Errorf("check run %+v", run)
		}
		if got := w.Node.Current(id); got != current {
			t.Errorf("in force is %s, want %s", got, current)
		}
	})
	t.Run("by hand", func(t *testing.T) {
		w.Node.must(202, "POST", "/api/v2/policy-sets/"+id+"/actions/ingest", nil)
		w.Node.Settled(id, time.Minute)
		w.Ready(id, r.Head("main"))
	})
}
