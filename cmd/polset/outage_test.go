package main_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset/internal/polsettest/hub"
)

// TestAppOutage loses a thousand pushes to fifty repositories while polset is
// down, and has it catch up.
func TestAppOutage(t *testing.T) {
	const repositories, pushes = 50, 20
	w := newAppWorld(t)
	n := w.Start()
	all := make([]*hub.Repository, repositories)
	for i := range all {
		all[i] = w.Hub.Repository(fmt.Sprintf("acme/policies-%02d", i))
		all[i].Commit("main", policies("policies", 1, "before"))
	}
	w.InstallFor("acme")
	ids := make([]string, repositories)
	for i, r := range all {
		ids[i] = w.Set("acme", fmt.Sprintf("set-%02d", i), r)
	}
	for i, r := range all {
		w.Ready(ids[i], r.Head("main"))
	}
	eventually(t, time.Minute, "reported", func() bool {
		for i, r := range all {
			if r.LatestCheckRuns(r.Head("main"))[fmt.Sprintf("polset/acme/set-%02d", i)].Status != "completed" {
				return false
			}
		}
		return true
	})
	n.Kill()

	w.Hub.DropDeliveries(true)
	for p := range pushes {
		for i, r := range all {
			files := policies("policies", 1, fmt.Sprint("push ", p))
			if i == 7 && p == pushes-1 { // one ends errored
				files["policies/p0.rego"] = "package policies.p0\n\ndeny contains msg if {\n"
			}
			r.Push("main", files)
		}
	}
	w.Hub.DropDeliveries(false)
	w.Hub.ResetCalls()
	asked := len(w.Hub.Git().Requests())

	w.Start()
	for i, r := range all {
		head := r.Head("main")
		want := "ready"
		if i == 7 {
			want = "errored"
		}
		eventually(t, 2*time.Minute, "caught up: "+r.Identifier(), func() bool {
			v := w.Node.Newest(ids[i])
			return text(v, "attributes", "ingress-attributes", "commit-sha") == head && text(v, "attributes", "status") == want
		})
	}
	w.reconciled(ids, all)
	w.frugal(all, asked)
}

// reconciled checks that each gap was ingested once, as reconciled, and that
// nothing is left of it.
func (w *appWorld) reconciled(ids []string, all []*hub.Repository) {
	w.t.Helper()
	for i, r := range all {
		found := w.Node.Settled(ids[i], time.Minute)
		if cause := text(found[0], "attributes", "cause"); len(found) != 2 || cause != "reconcile" {
			w.t.Errorf("%s: %d ingestions, the last of cause %q; want 2 and reconcile", r.Identifier(), len(found), cause)
		}
		c := w.Show(ids[i])["completeness"]
		if text(c, "head") != r.Head("main") || text(c, "last-ingested-commit") != r.Head("main") || get(c, "gap-seconds") != 0.0 {
			w.t.Errorf("%s is at %s, but its policy set says: %v", r.Identifier(), r.Head("main"), c)
		}
	}
	_, metrics, err := w.Node.TryCall("GET", "/metrics", bootstrap, nil)
	if err != nil || !strings.Contains(string(metrics), "\npolset_ingest_gap_seconds 0\n") {
		w.t.Errorf("the metrics still tell of a gap, or of none at all: %v", err)
	}
}

// frugal counts what catching up cost each repository beside the fetch and the
// check run.
func (w *appWorld) frugal(all []*hub.Repository, asked int) {
	w.t.Helper()
	cost := map[string]int{}
	kinds := map[string]int{}
	for _, c := range w.Hub.Calls() {
		if strings.Contains(c.Route, "check-runs") || strings.Contains(string(c.Body), `"checks"`) || strings.Contains(c.Route, " /app/installations?") ||
			c.Route == "GET /app/installations" || strings.HasPrefix(c.Route, "GET /app/hook") {
			continue // feedback, and what is asked once for all
		}
		kinds[c.Route]++
		var minted struct {
			Repositories []int64 `json:"repository_ids"`
		}
		if err := json.Unmarshal(c.Body, &minted); err == nil && len(minted.Repositories) == 1 {
			c.Repository = minted.Repositories[0]
		}
		for _, r := range all {
			if r.ID() == c.Repository {
				cost[r.Identifier()]++
			}
		}
	}
	for _, q := range w.Hub.Git().Requests()[asked:] {
		if strings.Contains(string(q.Body), "command=ls-refs") {
			kinds["ls-refs"]++
			cost[strings.TrimSuffix(strings.TrimPrefix(q.Path, "/"), ".git/git-upload-pack")]++
		}
	}
	for _, r := range all {
		if got := cost[r.Identifier()]; got == 0 || got > 3 {
			w.t.Errorf("%s cost %d requests beside its fetch and its check run, want 1 to 3", r.Identifier(), got)
		}
	}
	w.t.Logf("requests beside fetches and check runs: %v", kinds)
}
