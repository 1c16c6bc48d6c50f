package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
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
	if len(all) == 0 {
		t.Error("no installation, although examples tell of some")
	}
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

// TestExamplesHaveEffect delivers the examples that polset acts on as if they
// told of repositories that are followed.
func TestExamplesHaveEffect(t *testing.T) {
	w := newAppWorld(t)
	w.Start().Organization("acme")
	followed := map[string]*hub.Repository{}
	installations := map[string]int64{}
	for _, owner := range []string{"Codertocat", "Octocoders"} { // whom the examples are about
		account := w.Hub.Organization(owner, w.Hub.User("octocat"))
		r := w.Hub.Repository(owner + "/Hello-World")
		commit := r.Push("master", policies("policies", 1, owner))
		r.SetDefaultBranch("master")
		installations[r.Identifier()] = w.App.Install(account).ID()
		w.ID = text(list(w.Node.must(http.StatusOK, http.MethodGet, "/api/v2/github-app/installations?filter%5Bname%5D="+owner, nil), "data")[0], "id")
		w.Bind("acme")
		w.Ready(w.Set("acme", strings.ToLower(owner), r), commit)
		followed[r.Identifier()] = r
	}
	// What each must have done at least once. The examples of one commit are
	// the same news told again.
	missing := map[string]bool{
		"push ": true, "pull_request opened": true,
		"repository edited": true, "repository privatized": true, "repository publicized": true,
		"repository renamed": true, "repository transferred": true,
	}
	for _, e := range hub.Examples(t) {
		var body document
		if err := json.Unmarshal(e.Body, &body); err != nil {
			t.Fatal(err)
		}
		name := text(body, "repository", "full_name")
		r := followed[name]
		if _, acts := missing[e.Event+" "+e.Action]; !acts || r == nil {
			continue
		}
		if i, ok := get(body, "installation").(document); ok {
			i["id"] = installations[name]
		}
		id, _ := get(body, "repository", "id").(float64)
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		here := strings.NewReplacer(strconv.FormatFloat(id, 'f', 0, 64), strconv.FormatInt(r.ID(), 10), "https://github.com/", w.Hub.URL()+"/").Replace(string(raw))
		d := w.Hub.Deliver(w.App, e.Event, []byte(here))
		if d.Failed() {
			t.Errorf("%s %s is answered %d: %s", e.Event, e.Action, d.StatusCode, d.Answer)
		}
		if strings.Contains(d.Answer, `"accepted"`) {
			missing[e.Event+" "+e.Action] = false
		}
	}
	for what, yet := range missing {
		if yet {
			t.Errorf("no example of %s had an effect", what)
		}
	}
}
