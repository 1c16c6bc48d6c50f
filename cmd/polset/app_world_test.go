package main_test

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/polset/polset/internal/polsettest/hub"
)

// An appWorld is a GitHub whose App is polset, installed on acme.
type appWorld struct {
	t   *testing.T
	Hub *hub.GitHub
	// Clock is GitHub's.
	Clock *clock
	App   *hub.App
	Acme  *hub.Account
	env   []string

	Node    *node
	Install *hub.Installation
	ID      string // ghain-… of Install
}

// A clock is off by as much as a test wants.
type clock struct{ off atomic.Int64 }

func (c *clock) Now() time.Time      { return time.Now().Add(time.Duration(c.off.Load())) }
func (c *clock) Set(d time.Duration) { c.off.Store(int64(d)) }

// newAppWorld makes a GitHub with an App and no polset yet. Later values of the
// environment win.
func newAppWorld(t *testing.T, more ...string) *appWorld {
	t.Helper()
	clock := &clock{}
	gh := hub.New(t, hub.Config{Clock: clock.Now})
	w := &appWorld{t: t, Hub: gh, Clock: clock, Acme: gh.Organization("acme", gh.User("octocat"))}
	w.App = gh.CreateApp(hub.AppConfig{Owner: w.Acme, HookURL: "http://127.0.0.1:1/webhooks/github", WebhookSecret: webhookSecret})
	c := w.App.Credentials()
	w.env = append(env(gh.Git(), t.TempDir(),
		"POLSET_GITHUB_URL="+gh.URL(), "POLSET_GITHUB_API_URL="+gh.APIURL(),
		"POLSET_GITHUB_APP_ID="+strconv.FormatInt(c.ID, 10),
		"POLSET_GITHUB_APP_PRIVATE_KEY="+c.PrivateKey.Reveal(),
		"POLSET_RETRY_BASE=200ms",
	), more...)
	return w
}

// Start runs polset; GitHub delivers to it from then on.
func (w *appWorld) Start() *node {
	w.t.Helper()
	w.Node = start(w.t, w.env)
	w.App.SetHookURL(w.Node.URL + "/webhooks/github")
	return w.Node
}

// InstallFor makes an organization of polset's that may use the installation
// on acme.
func (w *appWorld) InstallFor(organization string, selected ...*hub.Repository) {
	w.t.Helper()
	w.Node.must(201, "POST", "/api/v2/organizations", resource("organizations", document{"name": organization, "email": organization + "@example.com"}))
	w.Install = w.App.Install(w.Acme, selected...)
	all := list(w.Node.must(200, "GET", "/api/v2/github-app/installations", nil), "data")
	if len(all) != 1 {
		w.t.Fatalf("%d installations, want the one that GitHub told of", len(all))
	}
	w.ID = text(all[0], "id")
	w.Bind(organization)
}

// Bind lets an organization use the installation.
func (w *appWorld) Bind(organization string) {
	w.t.Helper()
	w.Node.must(204, "POST", "/api/v2/github-app/installation/"+w.ID+"/relationships/organizations",
		document{"data": []any{document{"type": "organizations", "id": organization}}})
}

// draft is a policy set that reads with the installation.
func (w *appWorld) draft(name, repository, branch, path string) document {
	return resource("policy-sets", document{
		"name": name, "kind": "opa", "policies-path": path,
		"vcs-repo": document{
			"identifier": repository, "branch": branch, "ingress-submodules": true,
			"github-app-installation-id": w.ID, "oauth-token-id": "",
		},
	})
}

// Set makes a policy set of an organization and returns its id.
func (w *appWorld) Set(organization, name string, r *hub.Repository) string {
	w.t.Helper()
	return text(w.Node.must(201, "POST", "/api/v2/organizations/"+organization+"/policy-sets",
		w.draft(name, r.Identifier(), "", "policies")), "data", "id")
}

// Show reads a policy set's attributes.
func (w *appWorld) Show(id string) document {
	w.t.Helper()
	d, _ := get(w.Node.must(200, "GET", "/api/v2/policy-sets/"+id, nil), "data", "attributes").(document)
	return d
}

// Degraded waits until a policy set is degraded for a reason; "" until it is
// well.
func (w *appWorld) Degraded(id, reason string) {
	w.t.Helper()
	eventually(w.t, 30*time.Second, "degraded for "+strconv.Quote(reason), func() bool {
		return text(w.Show(id), "degraded", "reason") == reason
	})
}

// Ready waits until a commit is in force.
func (w *appWorld) Ready(id, commit string) {
	w.t.Helper()
	// What a killed node took from the queue and had not begun is put there
	// again after a minute.
	eventually(w.t, 2*time.Minute, "in force: "+commit, func() bool {
		version := w.Node.Current(id)
		if version == "" {
			return false
		}
		d := w.Node.must(200, "GET", "/api/v2/policy-set-versions/"+version, nil)
		return text(d, "data", "attributes", "ingress-attributes", "commit-sha") == commit
	})
}

// Concluded waits until a commit has a completed check run of a name and
// returns it.
func (w *appWorld) Concluded(r *hub.Repository, commit, name string) hub.CheckRun {
	w.t.Helper()
	var run hub.CheckRun
	eventually(w.t, 30*time.Second, "a concluded check run "+name, func() bool {
		run = r.LatestCheckRuns(commit)[name]
		return run.Status == "completed"
	})
	return run
}

// Restart ends polset as a crash does and starts it anew.
func (w *appWorld) Restart() {
	w.t.Helper()
	w.Node.Kill()
	w.Start()
}

// secretsOf are what must never be found in a log.
func (w *appWorld) secretsOf() []string {
	c := w.App.Credentials()
	secrets := []string{c.PrivateKey.Reveal()[40:100], webhookSecret, bootstrap}
	for _, token := range w.Hub.Tokens() {
		secrets = append(secrets, token.Token)
	}
	return secrets
}
