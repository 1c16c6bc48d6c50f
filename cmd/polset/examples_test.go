package main_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/polset/polset/internal/polsettest/hub"
)

// TestExamples delivers every example payload of octokit's to polset with its
// rows, twice and in turn: each is answered 200, whatever came before.
func TestExamples(t *testing.T) {
	w := newAppWorld(t)
	n := w.Start()
	examples := hub.Examples(t)
	if len(examples) < 300 {
		t.Fatalf("%d examples only", len(examples))
	}
	for round := range 2 {
		for i, e := range examples {
			if d := w.Hub.Deliver(w.App, e.Event, e.Body); d.StatusCode != http.StatusOK {
				t.Errorf("round %d: example %d, %s %s, answered %d: %s", round, i, e.Event, e.Action, d.StatusCode, d.Answer)
			}
		}
	}
	// The installations that the examples tell of are there, and nobody's.
	all := list(n.must(http.StatusOK, http.MethodGet, "/api/v2/github-app/installations", nil), "data")
	for _, i := range all {
		if bound := list(i, "relationships", "organizations", "data"); len(bound) != 0 {
			t.Errorf("installation %s is bound to %v", text(i, "attributes", "name"), bound)
		}
	}
	out, err := command(t, w.env, "audit", "verify")
	if err != nil {
		t.Errorf("audit verify: %v\n%s", err, fmt.Sprint(out))
	}
}
