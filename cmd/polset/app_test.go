package main_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset/internal/polsettest"
	"github.com/polset/polset/internal/polsettest/hub"
)

// TestAppPush walks one push with the App: its token, its version, its check
// run, and no secret in the log.
func TestAppPush(t *testing.T) {
	w := newAppWorld(t)
	r := w.Hub.Repository("acme/policies")
	first := r.Push("main", policies("policies", 2, "one"))
	n := w.Start()
	w.InstallFor("acme")
	id := w.Set("acme", "production", r)
	w.Ready(id, first)

	second := r.Push("main", policies("policies", 3, "two"))
	w.Ready(id, second)
	run := w.Concluded(r, second, "polset/acme/production")
	if run.Conclusion != "success" || !strings.Contains(run.Summary, "p2") {
		t.Errorf("check run of a ready version: %s\n%s\n%s", run.Conclusion, run.Title, run.Summary)
	}

	t.Run("a token is for one repository and its contents, and not for pushing", func(t *testing.T) {
		fetched := false
		for _, token := range w.Hub.Tokens() {
			if len(token.Repositories) != 1 || token.Repositories[0] != r.ID() {
				t.Errorf("a token for the repositories %v, want %d only", token.Repositories, r.ID())
			}
			switch {
			case len(token.Permissions) == 0:
				t.Error("a token with every permission")
			case token.Permissions["contents"] != "" && token.Permissions["checks"] != "":
				t.Errorf("one token for both reading and reporting: %v", token.Permissions)
			case token.Permissions["contents"] == "read":
				fetched = true
			}
		}
		if !fetched {
			t.Error("no token to fetch with")
		}
	})
	t.Run("a broken policy is annotated at its line", func(t *testing.T) {
		files := policies("policies", 1, "three")
		files["policies/p0.rego"] = "package policies.p0\n\ndeny contains msg if {\n\tmsg := nowhere\n}\n"
		broken := r.Push("main", files)
		run := w.Concluded(r, broken, "polset/acme/production")
		if run.Conclusion != "failure" || len(run.Annotations) == 0 {
			t.Fatalf("check run of a broken policy: %+v", run)
		}
		if a := run.Annotations[0]; a.Path != "policies/p0.rego" || a.StartLine != 4 {
			t.Errorf("annotated at %s:%d, want policies/p0.rego:4", a.Path, a.StartLine)
		}
		w.Ready(id, second) // what is in force stays so
		if got := w.Show(id)["degraded"]; got != nil {
			t.Errorf("a broken commit is no loss of access, but the set is degraded: %v", got)
		}
	})
	t.Run("no secret in the log", func(t *testing.T) {
		for _, secret := range w.secretsOf() {
			if strings.Contains(n.Log(), secret) {
				t.Errorf("the log holds %.12s…", secret)
			}
		}
	})
}

// TestAppForeignInstallation names another organization's installation in
// every place where one can be named.
func TestAppForeignInstallation(t *testing.T) {
	w := newAppWorld(t)
	r := w.Hub.Repository("acme/policies")
	commit := r.Push("main", policies("policies", 1, "one"))
	n := w.Start()
	w.InstallFor("acme")
	w.Ready(w.Set("acme", "production", r), commit)

	other := n.Organization("mallory")
	own := text(n.PolicySet(set{Org: "mallory", Name: "own", Path: "policies", Repo: "mallory/x", Token: other}), "data", "id")
	none := "ghain-" + strings.Repeat("x", 16)
	answer := func(id string) func(method, path string, draft document) (int, document) {
		return func(method, path string, draft document) (int, document) {
			get(draft, "data", "attributes", "vcs-repo").(document)["github-app-installation-id"] = id //nolint:forcetypeassert // a test
			return n.Call(method, path, draft)
		}
	}
	for _, place := range []struct{ method, path string }{
		{"POST", "/api/v2/organizations/mallory/policy-sets"},
		{"PATCH", "/api/v2/policy-sets/" + own},
	} {
		code, foreign := answer(w.ID)(place.method, place.path, w.draft("stolen", r.Identifier(), "", "policies"))
		want, missing := answer(none)(place.method, place.path, w.draft("stolen", r.Identifier(), "", "policies"))
		if code != want || code != 422 || text(list(foreign, "errors")[0], "detail") != text(list(missing, "errors")[0], "detail") {
			t.Errorf("%s %s: %d %v with a foreign installation, %d %v with none", place.method, place.path, code, foreign, want, missing)
		}
	}
	t.Run("its pushes are not heard either", func(t *testing.T) {
		before := len(n.Ingestions(own))
		w.Concluded(r, r.Push("main", policies("policies", 2, "two")), "polset/acme/production")
		if after := len(n.Ingestions(own)); after != before {
			t.Errorf("%d ingestions of the stranger after a push, %d before", after, before)
		}
	})
}

// TestAppCrashes ends polset where GitHub's view and the rows differ, and
// expects one check run that says what the row says.
func TestAppCrashes(t *testing.T) {
	w := newAppWorld(t)
	r := w.Hub.Repository("acme/policies")
	first := r.Push("main", policies("policies", 1, "one"))
	w.Start()
	w.InstallFor("acme")
	id := w.Set("acme", "production", r)
	w.Ready(id, first)
	w.Concluded(r, first, "polset/acme/production")

	t.Run("before the check run", func(t *testing.T) {
		w.Hub.Fault("POST /repos/{owner}/{repo}/check-runs", polsettest.Status(503, ""))
		second := r.Push("main", policies("policies", 2, "two"))
		w.Ready(id, second)
		w.Node.Kill()
		w.Hub.Fault("POST /repos/{owner}/{repo}/check-runs", nil)
		w.Start()
		if run := w.Concluded(r, second, "polset/acme/production"); run.Conclusion != "success" {
			t.Errorf("check run after the crash: %+v", run)
		}
	})
	t.Run("the answer to its creation is lost", func(t *testing.T) {
		w.Hub.Fault("POST /repos/{owner}/{repo}/check-runs", polsettest.Times(1, hub.Lost()))
		third := r.Push("main", policies("policies", 3, "three"))
		w.Ready(id, third)
		eventually(t, 30*time.Second, "looked for before it is made again", func() bool {
			return slices.ContainsFunc(w.Hub.Calls(), func(c hub.Call) bool {
				return c.Route == "GET /repos/{owner}/{repo}/commits/{ref}/check-runs" && strings.Contains(c.Path, third) && c.Status == 200
			})
		})
		w.Hub.Fault("POST /repos/{owner}/{repo}/check-runs", nil)
		next := r.Push("main", policies("policies", 3, "next")) // whose report comes after it
		w.Concluded(r, next, "polset/acme/production")
		run := w.Concluded(r, third, "polset/acme/production")
		if all := r.CheckRuns(third); len(all) != 1 || run.Conclusion != "success" {
			t.Errorf("%d check runs, want the one that was made without an answer: %+v", len(all), all)
		}
	})
	t.Run("the policy set is deleted before its commit is read", func(t *testing.T) {
		w.Hub.Down(hub.Outage{Git: true})
		fourth := r.Push("main", policies("policies", 4, "four"))
		eventually(t, 20*time.Second, "in progress", func() bool {
			return r.LatestCheckRuns(fourth)["polset/acme/production"].Status == "in_progress"
		})
		w.Node.must(204, "DELETE", "/api/v2/policy-sets/"+id, nil)
		if run := w.Concluded(r, fourth, "polset/acme/production"); run.Conclusion != "cancelled" {
			t.Errorf("check run of a deleted policy set: %+v", run)
		}
	})
}

// TestAppPullRequest shows what a pull request would change, and stores none
// of it.
func TestAppPullRequest(t *testing.T) {
	w := newAppWorld(t)
	r := w.Hub.Repository("acme/policies")
	base := policies("policies", 3, "one")
	first := r.Push("main", base)
	w.Start()
	w.InstallFor("acme")
	id := w.Set("acme", "production", r)
	w.Ready(id, first)
	const name = "polset/acme/production (pull request)"

	weaker := policies("policies", 3, "one")
	weaker["policies/policies.hcl"] = strings.Replace(base["policies/policies.hcl"], `"mandatory"`, `"advisory"`, 1)
	added := policies("policies", 4, "one")
	broken := policies("policies", 3, "one")
	broken["policies/p0.rego"] = "package policies.p0\n\ndeny contains msg if {\n"
	var fork *hub.Repository
	for _, test := range []struct {
		what       string
		files      map[string]string
		fork       bool
		conclusion string
		says       []string
	}{
		{"a weaker policy", weaker, false, "neutral", []string{"Weaker", "p0", "mandatory", "advisory"}},
		{"a new policy from a fork", added, true, "success", []string{"added", "p3"}},
		{"a broken policy from a fork", broken, true, "failure", []string{"p0.rego"}},
		{"the same policies", base, false, "success", nil},
	} {
		t.Run(test.what, func(t *testing.T) {
			from, branch := r, strings.ReplaceAll(test.what, " ", "-")
			if test.fork {
				if fork == nil {
					fork = r.Fork(w.Hub.User("mallory"))
				}
				from = fork
			}
			from.Push(branch, test.files)
			pr := r.OpenPullRequest(hub.PullRequestConfig{From: from, Branch: branch})
			run := w.Concluded(r, pr.Head(), name)
			if run.Conclusion != test.conclusion {
				t.Errorf("concluded %s, want %s: %s\n%s", run.Conclusion, test.conclusion, run.Title, run.Summary)
			}
			for _, word := range test.says {
				if !strings.Contains(run.Title+run.Summary, word) {
					t.Errorf("the check run does not say %q: %s\n%s", word, run.Title, run.Summary)
				}
			}
		})
	}
	if v := w.Node.Versions(id); len(v) != 1 {
		t.Errorf("%d versions after pull requests, want the one of the push", len(v))
	}
	w.Ready(id, first)
}
