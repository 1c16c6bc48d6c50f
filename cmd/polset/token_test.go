package main_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/polset/polset/internal/polsettest"
	"github.com/polset/polset/internal/polsettest/hub"
)

// connect makes an organization with a token of a user's, and returns the id
// of its oauth token.
func (w *appWorld) connect(organization, token string) string {
	w.t.Helper()
	w.Node.must(201, "POST", "/api/v2/organizations", resource("organizations", document{"name": organization, "email": organization + "@example.com"}))
	d := w.Node.must(201, "POST", "/api/v2/organizations/"+organization+"/oauth-clients", resource("oauth-clients", document{
		"service-provider": "github", "http-url": "https://github.com", "api-url": "https://api.github.com",
		"oauth-token-string": token,
	}))
	return text(list(d, "data", "relationships", "oauth-tokens", "data")[0], "id")
}

// hookStatus waits until a policy set says something of its hook.
func (w *appWorld) hookStatus(id, status string) document {
	w.t.Helper()
	var vcs document
	eventually(w.t, 30*time.Second, "webhook-status "+status, func() bool {
		vcs, _ = w.Show(id)["vcs-repo"].(document)
		return text(vcs, "webhook-status") == status
	})
	return vcs
}

// TestTokenConnection follows a repository with a token that may do all that
// is needed: polset makes the hook, reports by commit statuses, rotates the
// secret and takes the hook away again.
func TestTokenConnection(t *testing.T) {
	w := newAppWorld(t)
	r := w.Hub.Repository("acme/policies")
	first := r.Push("main", policies("policies", 1, "one"))
	n := w.Start()
	token := w.connect("acme", w.Hub.PersonalToken(w.Hub.User("octocat"), "repo", "admin:repo_hook"))
	id := text(n.PolicySet(set{Org: "acme", Name: "production", Path: "policies", Repo: "acme/policies", Token: token}), "data", "id")
	w.Ready(id, first)
	w.hookStatus(id, "active")
	hooks := r.Hooks()
	if len(hooks) != 1 {
		t.Fatalf("%d hooks on GitHub, want one", len(hooks))
	}

	status := func(commit, want string) {
		t.Helper()
		eventually(t, 30*time.Second, "commit status "+want, func() bool {
			return r.LatestStatuses(commit)["polset/acme/production"].State == want
		})
	}
	second := r.Push("main", policies("policies", 2, "two"))
	w.Ready(id, second)
	status(second, "success")
	files := policies("policies", 1, "three")
	files["policies/p0.rego"] = "package policies.p0\n\ndeny contains msg if {\n"
	status(r.Push("main", files), "failure")
	good := r.Push("main", policies("policies", 2, "four"))
	w.Ready(id, good)

	t.Run("the secret is rotated", func(t *testing.T) {
		d := n.must(200, "POST", "/api/v2/policy-sets/"+id+"/actions/rotate-webhook-secret", nil)
		if text(d, "data", "attributes", "vcs-repo", "webhook-secret") == "" {
			t.Errorf("the new secret is not shown: %v", d)
		}
		w.hookStatus(id, "active")
		if now := r.Hooks(); len(now) != 1 || now[0].Secret == hooks[0].Secret || now[0].ID != hooks[0].ID {
			t.Errorf("hooks after the rotation: %d, the same secret: %t", len(now), now[0].Secret == hooks[0].Secret)
		}
		w.Ready(id, r.Push("main", policies("policies", 3, "rotated")))
	})
	t.Run("the hook goes with its last policy set, over an outage", func(t *testing.T) {
		w.Hub.Fault("DELETE /repos/{owner}/{repo}/hooks/{hook_id}", polsettest.Status(503, ""))
		n.must(204, "DELETE", "/api/v2/policy-sets/"+id, nil)
		eventually(t, 20*time.Second, "tried", func() bool {
			return slices.ContainsFunc(w.Hub.Calls(), func(c hub.Call) bool {
				return c.Method == http.MethodDelete && c.Status == http.StatusServiceUnavailable
			})
		})
		w.Hub.Fault("DELETE /repos/{owner}/{repo}/hooks/{hook_id}", nil)
		eventually(t, 60*time.Second, "without a hook", func() bool { return len(r.Hooks()) == 0 })
	})
}

// TestTokenByHand follows a repository with a token that may only read.
func TestTokenByHand(t *testing.T) {
	w := newAppWorld(t)
	reader := w.Hub.User("reader")
	r := w.Hub.Repository("acme/policies")
	r.Grant(reader, "read")
	first := r.Push("main", policies("policies", 1, "one"))
	n := w.Start()
	token := w.connect("acme", w.Hub.PersonalToken(reader, "repo"))
	created := n.PolicySet(set{Org: "acme", Name: "production", Path: "policies", Repo: "acme/policies", Token: token})
	id := text(created, "data", "id")
	secret := text(created, "data", "attributes", "vcs-repo", "webhook-secret")
	w.Ready(id, first)
	vcs := w.hookStatus(id, "manual")
	if message := text(vcs, "webhook-message"); !strings.Contains(message, text(vcs, "webhook-url")) {
		t.Errorf("what to do by hand does not name the hook's address: %q", message)
	}
	r.AddHook(text(vcs, "webhook-url"), secret, "push")
	w.Ready(id, r.Push("main", policies("policies", 2, "by hand")))
	if got := w.Show(id)["degraded"]; got != nil {
		t.Errorf("a token that may not report is no loss of access: %v", got)
	}
}

// TestByHand runs commits and deliveries again.
func TestByHand(t *testing.T) {
	w := newAppWorld(t)
	r := w.Hub.Repository("acme/policies")
	first := r.Push("main", policies("policies", 1, "one"))
	n := w.Start()
	w.InstallFor("acme")
	id := w.Set("acme", "production", r)
	w.Ready(id, first)
	second := r.Push("main", policies("policies", 2, "two"))
	w.Ready(id, second)
	elsewhere := r.Push("other", policies("policies", 3, "other"))
	ingest := "/api/v2/policy-sets/" + id + "/actions/ingest"

	t.Run("a commit of the branch", func(t *testing.T) {
		d := n.must(202, "POST", ingest, resource("policy-set-ingestions", document{"commit": first}))
		if cause := text(d, "data", "attributes", "cause"); cause != "manual" {
			t.Errorf("cause %q", cause)
		}
		n.Settled(id, 30*time.Second)
		w.Ready(id, second) // the head stays in force
	})
	t.Run("a commit that is not on the branch", func(t *testing.T) {
		if code, d := n.Call("POST", ingest, resource("policy-set-ingestions", document{"commit": elsewhere})); code != 422 {
			t.Errorf("answered %d: %v", code, d)
		}
	})
	t.Run("the head", func(t *testing.T) {
		before := len(n.Ingestions(id))
		n.must(202, "POST", ingest, nil)
		if after := n.Settled(id, 30*time.Second); len(after) != before+1 {
			t.Errorf("%d ingestions, want %d", len(after), before+1)
		}
	})
	t.Run("a delivery that polset has", func(t *testing.T) {
		before := len(n.Ingestions(id))
		var guid string
		for _, d := range w.App.Deliveries() {
			if d.Event == "push" && strings.Contains(string(d.Body), `"after":"`+second) {
				guid = d.GUID
			}
		}
		out, err := command(t, w.env, "replay", "--delivery", guid)
		if err != nil || !strings.HasPrefix(out, "ing-") {
			t.Fatalf("replay: %v\n%s", err, out)
		}
		if after := n.Settled(id, 30*time.Second); len(after) != before+1 || text(after[0], "attributes", "cause") != "replay" {
			t.Errorf("%d ingestions after the replay, want %d: %v", len(after), before+1, after[0])
		}
	})
	t.Run("a delivery that never arrived", func(t *testing.T) {
		r.Push("feature", policies("policies", 3, "feature"))
		w.Hub.DropDeliveries(true)
		pr := r.OpenPullRequest(hub.PullRequestConfig{Branch: "feature"})
		w.Hub.DropDeliveries(false)
		all := w.App.Deliveries()
		if out, err := command(t, w.env, "replay", "--delivery", all[len(all)-1].GUID); err != nil {
			t.Fatalf("replay: %v\n%s", err, out)
		}
		w.Concluded(r, pr.Head(), "polset/acme/production (pull request)")
	})
	t.Run("a delivery that came too early", func(t *testing.T) {
		late := w.Hub.Repository("acme/late")
		commit := late.Push("main", policies("policies", 1, "late")) // ignored: nobody follows it yet
		all := w.App.Deliveries()
		other := w.Set("acme", "late", late)
		w.Ready(other, commit)
		before := len(n.Settled(other, 30*time.Second))
		if out, err := command(t, w.env, "replay", "--delivery", all[len(all)-1].GUID); err != nil {
			t.Fatalf("replay: %v\n%s", err, out)
		}
		eventually(t, 20*time.Second, "ingested by its delivery", func() bool { return len(n.Ingestions(other)) > before })
	})
	t.Run("a delivery that nobody knows", func(t *testing.T) {
		if out, err := command(t, w.env, "replay", "--delivery", uuid.NewString()); err == nil || !strings.Contains(out, "three days") {
			t.Errorf("replay: %v\n%s", err, out)
		}
	})
}

// TestTokenList shows the tokens with their last use, which a clean stop
// must not lose.
func TestTokenList(t *testing.T) {
	git := polsettest.NewGit(t)
	dir := t.TempDir()
	quiet := append(env(git, dir), "POLSET_LOG_LEVEL=error")
	n := start(t, env(git, dir))
	n.Organization("acme")
	made := func(args ...string) (id, secret string) {
		t.Helper()
		out, err := command(t, quiet, append([]string{"token", "create"}, args...)...)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return regexp.MustCompile(`at-\w{16}`).FindString(out), regexp.MustCompile(`polset_\S+`).FindString(out)
	}
	used, secret := made("--organization", "acme", "--permission", "manage-policies", "--description", "of the\tpipeline", "--expires-in", "24h")
	idle, _ := made("--site-admin", "--description", "spare")
	if code, _, err := n.TryCall("GET", "/api/v2/organizations/acme/policy-sets", secret, nil); err != nil || code != 200 {
		t.Fatalf("the token: %d, %v", code, err)
	}
	n.Stop()

	type line struct {
		ID           string     `json:"id"`
		Organization *string    `json:"organization"`
		Permissions  []string   `json:"permissions"`
		LastUsedAt   *time.Time `json:"last-used-at"`
		ExpiredAt    *time.Time `json:"expired-at"`
	}
	list := func(args ...string) map[string]line {
		t.Helper()
		out, err := command(t, quiet, append([]string{"token", "list", "--json"}, args...)...)
		var lines []line
		if err == nil {
			err = json.Unmarshal([]byte(out), &lines)
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		byID := map[string]line{}
		for _, l := range lines {
			byID[l.ID] = l
		}
		return byID
	}
	all := list()
	if l := all[used]; l.Organization == nil || *l.Organization != "acme" || l.ExpiredAt == nil || !slices.Equal(l.Permissions, []string{"read", "create-runs", "manage-policies"}) ||
		l.LastUsedAt == nil || time.Since(*l.LastUsedAt) > 5*time.Minute || l.LastUsedAt.Second() != 0 {
		t.Errorf("used %+v", l)
	}
	if l := all[idle]; l.Organization != nil || l.LastUsedAt != nil || l.ExpiredAt != nil || len(l.Permissions) != 4 {
		t.Errorf("idle %+v", l)
	}
	if only := list("--site-admin"); len(only) != 1 || only[idle].ID == "" {
		t.Errorf("of the site admin: %v", only)
	}
	if only := list("--organization", "acme"); len(only) != 1 || only[used].ID == "" {
		t.Errorf("of acme: %v", only)
	}
	if out, err := command(t, quiet, "token", "list", "--organization", "none"); err == nil {
		t.Errorf("tokens of no organization: %s", out)
	}
	out, err := command(t, quiet, "token", "list")
	rows := strings.Split(strings.TrimSpace(out), "\n")
	if err != nil || len(rows) != 3 || !strings.HasPrefix(rows[0], "ID") || strings.Contains(out, secret) ||
		!strings.Contains(out, `"of the\tpipeline"`) || !strings.Contains(out, "(site admin)") || !strings.Contains(out, "never") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := command(t, quiet, "token", "revoke", used); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if left := list(); len(left) != 1 {
		t.Errorf("after the revocation: %v", left)
	}
}
