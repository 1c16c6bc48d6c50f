package ingest_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/polset/polset"
	"github.com/polset/polset/ingest"
)

// A patterned world has one policy set of p with update patterns, whose first
// version is that of commitA, and commits that are made by a number.
type patterned struct {
	*world
	commits int
}

func newPatterned(t *testing.T, change func(*ingest.Config), globs ...string) *patterned {
	t.Helper()
	w := &patterned{world: newWorld(t, change)}
	w.repo.commits[commitA]["docs/a.md"] = &fstest.MapFile{Data: []byte("a")}
	w.repo.commits[commitA]["lib/x.rego"] = &fstest.MapFile{Data: []byte("x")}
	set, err := w.store.CreatePolicySet(w.ctx, admin, polset.PolicySetDraft{
		Organization: "acme", Name: "set", Kind: polset.KindOPA, PoliciesPath: "/p", UpdatePatterns: globs,
		VCS: &polset.VCSDraft{Identifier: "acme/policies", TokenID: w.oc.TokenID, Head: polset.Head{Branch: "main", Commit: commitA}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.set = set
	w.work(commitA)
	if i, _ := w.last(); i.Status != polset.IngestionVersioned || w.repo.compared != 0 {
		t.Fatalf("the first ingestion is %+v, after %d comparisons", i, w.repo.compared)
	}
	return w
}

// commit makes a commit on top of another, of edits "path=content" and, without
// content, removals.
func (w *patterned) commit(on string, edits ...string) string {
	w.commits++
	id := fmt.Sprintf("%040x", 0xc0ffee00+w.commits)
	files := maps.Clone(w.repo.commits[on])
	for _, e := range edits {
		name, content, write := strings.Cut(e, "=")
		if delete(files, name); write {
			files[name] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
		}
	}
	w.repo.commits[id] = files
	return id
}

// arrives pushes a commit and works on it until the ingestion ends.
func (w *patterned) arrives(commit string) (polset.Ingestion, polset.Version) {
	w.t.Helper()
	w.repo.head = commit
	w.record(fmt.Sprint(len(w.repo.hints), commit), commit)
	_, i, v := w.until(commit)
	return i, v
}

// current demands the commit whose version is in force.
func (w *patterned) current(commit string) polset.PolicySet {
	w.t.Helper()
	set, err := w.store.PolicySet(w.ctx, admin, w.set.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	v, err := w.store.Version(w.ctx, admin, set.CurrentVersionID)
	if err != nil || v.Commit != commit || v.Status != polset.VersionReady {
		w.t.Errorf("the version in force is %+v, %v; want that of %s", v, err, commit)
	}
	return set
}

const other = rego + "# other\n"

func TestPatternsDecide(t *testing.T) {
	for _, c := range []struct {
		name   string
		globs  string
		edits  string
		status polset.IngestionStatus
		none   bool // no comparison is needed
	}{
		{"a change that matches", "p/*.rego", "p/a.rego", polset.IngestionVersioned, false},
		{"a change in policies-path that does not", "p/*.hcl", "p/a.rego", polset.IngestionIgnored, false},
		{"a change outside of it that does not", "p/*.hcl", "docs/a.md", polset.IngestionUnchanged, true},
		{"a change outside of it that does", "docs/**", "docs/a.md", polset.IngestionUnchanged, true},
		{"both, and the one outside matches", "docs/**", "docs/a.md p/a.rego", polset.IngestionVersioned, false},
		{"both, and none matches", "*.txt", "docs/a.md p/a.rego", polset.IngestionIgnored, false},
		{"one of several patterns", "*.txt /p/**", "p/a.rego", polset.IngestionVersioned, false},
		{"no patterns", "", "p/a.rego", polset.IngestionVersioned, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newPatterned(t, nil, strings.Fields(c.globs)...)
			edits := strings.Fields(c.edits)
			for n, name := range edits {
				edits[n] = name + "=" + other
			}
			commit := w.commit(commitA, edits...)
			i, v := w.arrives(commit)
			if i.Status != c.status || v.Status != polset.VersionReady {
				t.Fatalf("the ingestion is %+v, its version %+v; want %s", i, v, c.status)
			}
			if (w.repo.compared == 0) != c.none {
				t.Errorf("%d comparisons", w.repo.compared)
			}
			inForce := commitA
			if c.status == polset.IngestionVersioned {
				inForce = commit
			}
			set := w.current(inForce)
			if v.ID != set.CurrentVersionID {
				t.Errorf("the ingestion names %s, in force is %s", v.ID, set.CurrentVersionID)
			}
			if set.Completeness.Gap != 0 || set.Completeness.Ingested != commit {
				t.Errorf("completeness %+v", set.Completeness)
			}
			if c.status == polset.IngestionIgnored {
				for _, part := range append(strings.Fields(c.globs), commitA, "policy-update-patterns") {
					if !strings.Contains(i.Reason, part) {
						t.Errorf("the reason %q does not name %q", i.Reason, part)
					}
				}
			}
		})
	}
}

// What was ignored is not lost: it comes with the next change that matches.
func TestPushInTwoSteps(t *testing.T) {
	w := newPatterned(t, nil, "p/*.hcl")
	one := w.commit(commitA, "p/a.rego="+other)
	if i, _ := w.arrives(one); i.Status != polset.IngestionIgnored {
		t.Fatalf("the first step is %+v", i)
	}
	two := w.commit(one, "docs/a.md=b")
	if i, _ := w.arrives(two); i.Status != polset.IngestionIgnored || !strings.Contains(i.Reason, commitA) {
		t.Fatalf("the second step is %+v, want that it is compared with %s", i, commitA)
	}
	three := w.commit(two, "p/policies.hcl="+config+"# other\n")
	_, v := w.arrives(three)
	w.current(three)
	files := w.repo.wanted[len(w.repo.wanted)-1]
	if v.Status != polset.VersionReady || !strings.Contains(files.Tree, "# other") || strings.Count(files.Tree, "# other") != 2 {
		t.Errorf("the version %+v is of %q, want both changes", v, files.Tree)
	}

	// Back by force to the first: what counts is that of no newest version, and
	// it differs where the patterns say so.
	i, _ := w.arrives(commitA)
	if i.Status != polset.IngestionVersioned {
		t.Errorf("back to the first is %+v", i)
	}
	w.current(commitA)

	// By force to what differs from it in nothing that counts.
	if i, _ := w.arrives(w.commit(commitA, "p/a.rego="+other+"# by force")); i.Status != polset.IngestionIgnored {
		t.Errorf("by force to a sibling is %+v", i)
	}
	w.current(commitA)
}

// A file that moves into what the patterns name, or out of it, matches.
func TestMoves(t *testing.T) {
	w := newPatterned(t, nil, "lib/**")
	at := commitA
	for _, move := range []struct {
		edits  []string
		status polset.IngestionStatus
	}{
		{[]string{"lib/x.rego", "p/x.rego=package x"}, polset.IngestionVersioned},
		{[]string{"p/x.rego", "p/y.rego=package x"}, polset.IngestionIgnored},
		{[]string{"p/y.rego", "lib/y.rego=package x"}, polset.IngestionVersioned},
		{[]string{"lib/y.rego", "p/b.rego=package b"}, polset.IngestionVersioned},
		{[]string{"p/b.rego"}, polset.IngestionIgnored},
	} {
		at = w.commit(at, move.edits...)
		if i, _ := w.arrives(at); i.Status != move.status {
			t.Errorf("%q: %+v, want %s", move.edits, i, move.status)
		}
	}
}

func TestPatternsAreOverruled(t *testing.T) {
	t.Run("by hand", func(t *testing.T) {
		w := newPatterned(t, nil, "*.none")
		commit := w.commit(commitA, "p/a.rego="+other)
		if i, _ := w.arrives(commit); i.Status != polset.IngestionIgnored {
			t.Fatalf("%+v", i)
		}
		if _, err := w.store.Ingest(w.ctx, admin, w.set.ID, commit); err != nil {
			t.Fatal(err)
		}
		if _, i, _ := w.until(commit); i.Status != polset.IngestionVersioned {
			t.Errorf("%+v", i)
		}
		w.current(commit)
	})
	t.Run("by other settings", func(t *testing.T) {
		w := newPatterned(t, nil, "*.none")
		w.repo.head = w.commit(commitA, "q/policies.hcl="+config, "q/a.rego="+rego)
		path := "q"
		if _, err := w.store.UpdatePolicySet(w.ctx, admin, w.set.ID, polset.PolicySetChange{PoliciesPath: &path}); err != nil {
			t.Fatal(err)
		}
		if _, i, _ := w.until(""); i.Status != polset.IngestionVersioned || i.Cause != polset.CauseUpdate {
			t.Errorf("%+v", i)
		}
		w.current(w.repo.head)
	})
	t.Run("while the set is broken", func(t *testing.T) {
		w := newPatterned(t, nil, "p/*.rego")
		broken := w.commit(commitA, "p/a.rego=package a\n\ndeny if {\n\tx ==\n}\n")
		if i, _ := w.arrives(broken); i.Status != polset.IngestionFailed {
			t.Fatalf("%+v", i)
		}
		// Nothing that they name, but it may heal.
		healed := w.commit(broken, "p/policies.hcl=policy \"b\" {\n  query = \"data.b.deny\"\n}\n")
		if _, v := w.arrives(healed); v.Commit != healed {
			t.Errorf("the version is %+v", v)
		}
	})
	t.Run("by a head that failed for what may pass", func(t *testing.T) {
		w := newPatterned(t, nil, "*.none")
		commit := w.commit(commitA, "p/a.rego="+other)
		w.repo.openErr = polset.Fail(polset.ClassAuth, "No.")
		if i, _ := w.arrives(commit); i.Status != polset.IngestionFailed {
			t.Fatalf("%+v", i)
		}
		w.repo.openErr = nil
		next := w.commit(commit, "docs/a.md=b")
		if i, _ := w.arrives(next); i.Status != polset.IngestionVersioned {
			t.Errorf("%+v", i)
		}
		w.current(next)
	})
}

// A replay of a delivery goes the way of the delivery.
func TestReplayHeedsPatterns(t *testing.T) {
	w := newPatterned(t, nil, "*.none")
	commit := w.commit(commitA, "p/a.rego="+other)
	w.repo.head = commit
	w.record("the-guid", commit)
	if _, i, _ := w.until(commit); i.Status != polset.IngestionIgnored {
		t.Fatalf("%+v", i)
	}
	if _, err := w.store.Replay(w.ctx, admin, "the-guid"); err != nil {
		t.Fatal(err)
	}
	if _, i, _ := w.until(commit); i.Status != polset.IngestionIgnored || i.Cause != polset.CauseReplay {
		t.Errorf("%+v", i)
	}
	w.current(commitA)
}

// What cannot be told is ingested; what may be told later is asked again first.
func TestComparisonFails(t *testing.T) {
	limit := polset.Fail(polset.ClassLimit, "Too much.")
	for _, c := range []struct {
		name     string
		fault    func(*patterned)
		attempts int
		status   polset.IngestionStatus
	}{
		{"the other commit is gone", func(w *patterned) { delete(w.repo.commits, commitA) }, 1, polset.IngestionVersioned},
		{"a limit", func(w *patterned) { w.repo.changedErr = limit }, 1, polset.IngestionVersioned},
		{"for a while", func(w *patterned) {
			w.repo.changedErr = errPassing
			w.repo.onChanged = func() {
				if w.repo.compared == 3 {
					w.repo.changedErr = nil
				}
			}
		}, 3, polset.IngestionIgnored},
		{"for good", func(w *patterned) { w.repo.changedErr = errPassing }, 6, polset.IngestionVersioned},
		{"case 54 a server that hangs", func(w *patterned) { w.repo.changedErr = errHung }, 3, polset.IngestionVersioned},
		{"case 103 a panic", func(w *patterned) { w.repo.onChanged = func() { panic("a bug") } }, 6, polset.IngestionFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newPatterned(t, nil, "*.none")
			commit := w.commit(commitA, "p/a.rego="+other)
			c.fault(w)
			w.repo.head = commit
			w.record("1", commit)
			attempts, i, _ := w.until(commit)
			if i.Status != c.status || attempts != c.attempts {
				t.Errorf("after %d attempts %+v; want %s after %d", attempts, i, c.status, c.attempts)
			}
		})
	}
}

// Between the comparison and its consequence the branch is seen to be back where
// it was: what was compared with is not in force any more.
func TestComparisonIsOutdated(t *testing.T) {
	w := newPatterned(t, nil, "p/*.hcl")
	second := w.commit(commitA, "p/policies.hcl="+config+"# other\n")
	w.arrives(second)
	w.current(second)
	third := w.commit(second, "p/a.rego="+other)
	w.repo.onChanged = func() {
		err := w.store.Observe(w.ctx, polset.Observation{
			RepositoryID: w.set.VCS.RepositoryID, Head: polset.Head{Branch: "main", Commit: commitA}, Look: 1000,
		})
		if err != nil {
			t.Error(err)
		}
		w.current(commitA)
	}
	if i, _ := w.arrives(third); i.Status != polset.IngestionVersioned || i.Attempts != 1 || w.repo.compared != 2 {
		t.Errorf("%+v after %d comparisons", i, w.repo.compared)
	}
	w.current(commitA)
}

// A path that is gone fails only where the patterns name it.
func TestPatternsAndNoPath(t *testing.T) {
	gone := polset.Fail(polset.ClassPathNotFound, "The path p does not exist.")
	for globs, want := range map[string]polset.IngestionStatus{"VERSION": polset.IngestionIgnored, "p/**": polset.IngestionFailed} {
		w := newPatterned(t, nil, globs)
		w.repo.resolveErr = gone
		commit := w.commit(commitA, "p/a.rego", "p/policies.hcl")
		if i, _ := w.arrives(commit); i.Status != want {
			t.Errorf("%s: %+v, want %s", globs, i, want)
		}
		w.current(commitA)
	}
}

// A worker that is stopped while it compares leaves the ingestion to another.
func TestComparisonInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	w := newPatterned(t, nil, "*.none")
	commit := w.commit(commitA, "p/a.rego="+other)
	w.repo.head = commit
	w.record("1", commit)
	w.repo.changedErr = context.Canceled
	w.repo.onChanged = stop
	if err := w.worker.Work(ctx, w.set.VCS.RepositoryID, commit); err != nil {
		t.Fatal(err)
	}
	if i, _ := w.last(); i.Status != polset.IngestionPending || i.Failures != 0 {
		t.Fatalf("%+v", i)
	}
	w.repo.changedErr, w.repo.onChanged = nil, nil
	if _, i, _ := w.until(commit); i.Status != polset.IngestionIgnored {
		t.Errorf("%+v", i)
	}
}

// Two sets of one commit, of which one has patterns, get what is theirs.
func TestPatternsAreOfOneSet(t *testing.T) {
	w := newPatterned(t, nil, "*.none")
	plain := w.another("plain", polset.Head{Branch: "main", Commit: commitA})
	w.work(commitA)
	commit := w.commit(commitA, "p/a.rego="+other)
	i, _ := w.arrives(commit)
	if i.Status != polset.IngestionIgnored {
		t.Errorf("%+v", i)
	}
	if i, _ := w.lastOf(plain); i.Status != polset.IngestionVersioned {
		t.Errorf("%+v", i)
	}
}
