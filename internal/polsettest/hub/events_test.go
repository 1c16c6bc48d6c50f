package hub_test

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v60/github"

	"github.com/polset/polset/internal/polsettest"
	"github.com/polset/polset/internal/polsettest/hub"
)

// TestEvents checks which events each thing that can happen causes, in which
// order. That the payloads are as GitHub describes them, the stand-in checks
// itself.
func TestEvents(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(*world)
		want []string
	}{
		"push":           {func(w *world) { w.policies.Push("main", map[string]string{"a": "b"}) }, []string{"push"}},
		"forced push":    {func(w *world) { w.policies.ForcePush("other", w.commit) }, []string{"push"}},
		"push of naught": {func(w *world) { w.policies.ForcePush("main", w.commit) }, nil},
		"branch deleted": {func(w *world) { w.policies.DeleteBranch("main") }, []string{"push"}},
		"commit":         {func(w *world) { w.policies.Commit("main", map[string]string{"a": "b"}) }, nil},
		"renamed":        {func(w *world) { w.policies.Rename("rules") }, []string{"repository renamed"}},
		"transferred away": {
			func(w *world) { w.policies.Transfer(w.User("mallory")) },
			[]string{"installation_repositories removed"},
		},
		"transferred to another installation": {
			func(w *world) {
				globex := w.Organization("globex")
				w.app.Install(globex)
				w.policies.Transfer(globex)
			},
			[]string{"installation created", "installation_repositories removed", "repository transferred", "installation_repositories added"},
		},
		"deleted":        {func(w *world) { w.policies.Delete() }, []string{"repository deleted"}},
		"archived":       {func(w *world) { w.policies.Archive(); w.policies.Unarchive() }, []string{"repository archived", "repository unarchived"}},
		"privatized":     {func(w *world) { w.policies.Publicize(); w.policies.Privatize() }, []string{"repository publicized", "repository privatized"}},
		"default branch": {func(w *world) { w.policies.SetDefaultBranch("trunk") }, []string{"repository edited"}},
		"account renamed": {
			func(w *world) { w.acme.Rename("acme-corp") },
			[]string{"installation_target renamed"},
		},
		"account renamed, which nobody asked to hear": {
			func(w *world) {
				globex := w.Organization("globex")
				deaf := w.CreateApp(hub.AppConfig{Name: "deaf", HookURL: w.receiver.URL, Events: []string{"push"}, Public: true})
				deaf.Install(globex)
				globex.Rename("initech")
			},
			[]string{"installation created"},
		},
		"user renamed": {
			func(w *world) { w.app.Install(w.User("hubot")); w.User("hubot").Rename("robot") },
			[]string{"installation created", "installation_target renamed"},
		},
		"repositories": {
			func(w *world) {
				w.installation.Remove(w.policies)
				w.policies.Push("main", map[string]string{"a": "b"})
				w.installation.Add(w.policies)
			},
			[]string{"installation_repositories removed", "installation_repositories added"},
		},
		"suspended": {
			func(w *world) {
				w.installation.Suspend()
				w.policies.Push("main", map[string]string{"a": "b"})
				w.installation.Unsuspend()
			},
			[]string{"installation suspend", "installation unsuspend"},
		},
		"uninstalled": {
			func(w *world) { w.installation.Delete(); w.policies.Push("main", map[string]string{"a": "b"}) },
			[]string{"installation deleted"},
		},
		"permissions": {
			func(w *world) {
				w.app.SetPermissions(map[string]string{"contents": "write"})
				w.installation.AcceptPermissions()
			},
			[]string{"installation new_permissions_accepted"},
		},
		"pull request": {
			func(w *world) {
				w.policies.ForcePush("feature", w.commit)
				p := w.policies.OpenPullRequest(hub.PullRequestConfig{Branch: "feature"})
				p.Push(map[string]string{"a": "b"})
				p.Close()
				w.policies.Push("feature", map[string]string{"a": "c"})
				p.Reopen()
			},
			[]string{"push", "pull_request opened", "push", "pull_request synchronize", "pull_request closed", "push", "pull_request reopened"},
		},
		"pull request from a fork": {
			func(w *world) {
				fork := w.policies.Fork(w.User("mallory"))
				fork.Push("evil", map[string]string{"a": "b"})
				p := w.policies.OpenPullRequest(hub.PullRequestConfig{From: fork, Branch: "evil", Author: w.User("mallory")})
				p.Push(map[string]string{"a": "c"})
			},
			[]string{"pull_request opened", "pull_request synchronize"},
		},
		"new repository":    {func(w *world) { w.Repository("acme/more") }, []string{"repository created"}},
		"hook of one's own": {func(w *world) { w.policies.AddHook(w.receiver.URL, "s"); w.policies.Rename("x") }, []string{"ping", "repository renamed"}},
		"a user's repository": {
			func(w *world) {
				r := w.Repository("octocat/rules")
				w.app.Install(w.User("octocat"), r)
				r.Push("main", map[string]string{"a": "b"})
				r.Rename("policies")
			},
			[]string{"installation created", "push", "repository renamed"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			test.do(w)
			if diff := cmp.Diff(test.want, w.receiver.events()); diff != "" {
				t.Errorf("the events (-want +got):\n%s", diff)
			}
			for _, d := range w.Deliveries() {
				if d.Failed() {
					t.Errorf("a delivery failed: %+v", d)
				}
				if _, err := github.ParseWebHook(d.Event, d.Body); err != nil {
					t.Errorf("go-github cannot read %s: %v", d.Event, err)
				}
			}
		})
	}
}

func TestDeliveriesAreSigned(t *testing.T) {
	w := newWorld(t)
	w.policies.Push("main", map[string]string{"a": "b"})
	h := w.receiver.last(t)
	if h.signature != polsettest.Sign(w.app.WebhookSecret, h.body) {
		t.Error("the signature is not the App's")
	}
	if got := h.header.Get("X-GitHub-Hook-Installation-Target-Type"); got != "integration" {
		t.Errorf("the target is %q", got)
	}
	w.policies.AddHook(w.receiver.URL, "s3cret")
	h = w.receiver.last(t)
	if h.signature != polsettest.Sign("s3cret", h.body) {
		t.Error("the signature is not the hook's")
	}
}

// TestPayloads reads with go-github what polset needs of the events.
func TestPayloads(t *testing.T) {
	w := newWorld(t)
	read := func(event any) {
		t.Helper()
		if err := json.Unmarshal(w.receiver.last(t).body, event); err != nil {
			t.Fatal(err)
		}
	}
	w.policies.Rename("rules")
	var repository github.RepositoryEvent
	read(&repository)
	if repository.GetChanges().GetRepo().GetName().GetFrom() != "policies" || repository.GetRepo().GetFullName() != "acme/rules" ||
		repository.GetRepo().GetID() != w.policies.ID() || repository.GetInstallation().GetID() != w.installation.ID() {
		t.Errorf("renamed says %s", w.receiver.last(t).body)
	}
	fork := w.policies.Fork(w.User("mallory"))
	head := fork.Push("evil", map[string]string{"a": "b"})
	w.policies.OpenPullRequest(hub.PullRequestConfig{From: fork, Branch: "evil", Author: w.User("mallory")})
	var pull github.PullRequestEvent
	read(&pull)
	if p := pull.GetPullRequest(); p.GetHead().GetSHA() != head || p.GetHead().GetRepo().GetID() != fork.ID() ||
		p.GetBase().GetRepo().GetID() != w.policies.ID() || p.GetBase().GetRef() != "main" || p.GetUser().GetLogin() != "mallory" {
		t.Errorf("opened says %s", w.receiver.last(t).body)
	}
	if got := w.policies.Repo().Git("rev-parse", "refs/pull/1/head"); got != head {
		t.Errorf("refs/pull/1/head is %s, not %s", got, head)
	}
	w.acme.Rename("acme-corp")
	var target github.InstallationTargetEvent
	read(&target)
	if target.GetChanges().GetLogin().GetFrom() != "acme" || target.GetAccount().GetLogin() != "acme-corp" ||
		target.GetInstallation().GetID() != w.installation.ID() {
		t.Errorf("installation_target says %s", w.receiver.last(t).body)
	}
	w.policies.SetDefaultBranch("trunk")
	read(&repository)
	if repository.GetChanges().GetDefaultBranch().GetFrom() != "main" || repository.GetRepo().GetDefaultBranch() != "trunk" {
		t.Errorf("edited says %s", w.receiver.last(t).body)
	}
}

func TestDeliveriesAPI(t *testing.T) {
	w := newWorld(t)
	jwt := func() string { return signed(t, w, nil) }
	w.receiver.answer(http.StatusInternalServerError)
	for range 4 {
		w.installation.Suspend()
		w.installation.Unsuspend()
	}
	w.receiver.answer(http.StatusOK)
	w.DropDeliveries(true)
	w.installation.Suspend()
	w.DropDeliveries(false)
	w.installation.Unsuspend()

	var ids []float64
	next := "/app/hook/deliveries?per_page=4&status=failure"
	for pages := 0; next != ""; pages++ {
		a := w.ask("GET "+next, jwt(), nil).want(t, http.StatusOK)
		for _, d := range a.list {
			if d["event"] != "installation" || d["guid"] == "" || d["redelivery"] != false {
				t.Errorf("a delivery is %v", d)
			}
			ids = append(ids, d["status_code"].(float64))
		}
		_, link, _ := strings.Cut(a.header.Get("Link"), "<")
		link, _, _ = strings.Cut(link, ">")
		next = strings.TrimPrefix(link, w.APIURL())
		if pages == 0 {
			w.installation.Suspend() // what comes meanwhile moves no page
		}
	}
	if want := []float64{502, 500, 500, 500, 500, 500, 500, 500, 500}; !slices.Equal(ids, want) {
		t.Errorf("the statuses are %v, not %v", ids, want)
	}
	w.ask("GET /app/hook/deliveries?cursor=rubbish", jwt(), nil).want(t, http.StatusBadRequest)

	w.receiver.events()
	dropped := w.Deliveries()[9]
	route := "/app/hook/deliveries/" + number(dropped.ID)
	w.ask("POST "+route+"/attempts", jwt(), nil).want(t, http.StatusAccepted)
	w.Settle()
	h := w.receiver.last(t)
	if h.guid != dropped.GUID || !slices.Equal(h.body, dropped.Body) {
		t.Errorf("redelivered is %s, not %s", h.guid, dropped.GUID)
	}
	last := w.Deliveries()[len(w.Deliveries())-1]
	if last.ID == dropped.ID || !last.Redelivery || last.StatusCode != http.StatusOK {
		t.Errorf("the redelivery is %+v", last)
	}
	w.ask("GET "+route, jwt(), nil).want(t, http.StatusOK, dropped.GUID)
	w.ask("POST /app/hook/deliveries/17/attempts", jwt(), nil).want(t, http.StatusNotFound)
	w.clock.Advance(73 * time.Hour)
	if a := w.ask("GET /app/hook/deliveries", jwt(), nil).want(t, http.StatusOK); len(a.list) != 0 {
		t.Errorf("after three days there are still %d deliveries", len(a.list))
	}
}

func TestHeldDeliveries(t *testing.T) {
	w := newWorld(t)
	w.HoldDeliveries(true)
	w.policies.Push("main", map[string]string{"a": "b"})
	w.policies.Rename("rules")
	if events := w.receiver.events(); len(events) != 0 {
		t.Errorf("heard %v", events)
	}
	w.HoldDeliveries(false)
	if events := w.receiver.events(); !slices.Equal(events, []string{"push", "repository renamed"}) {
		t.Errorf("heard %v", events)
	}
}

// TestExamples sends all of octokit's payloads.
func TestExamples(t *testing.T) {
	w := newWorld(t)
	examples := hub.Examples(t)
	if len(examples) < 300 {
		t.Fatalf("there are only %d examples", len(examples))
	}
	for _, e := range examples {
		if d := w.Deliver(w.app, e.Event, e.Body); d.Failed() || d.Action != e.Action {
			t.Errorf("%s %s: %+v", e.Event, e.Action, d)
		}
	}
	if n := len(w.receiver.events()); n != len(examples) {
		t.Errorf("%d of %d were heard", n, len(examples))
	}
}

// TestGitPush checks that what a person pushes is told too.
func TestGitPush(t *testing.T) {
	w := newWorld(t)
	w.receiver.drain()
	token := w.PersonalToken(w.User("octocat"), "repo")
	dir := t.TempDir()
	url := strings.Replace(w.policies.URL(), "http://", "http://octocat:"+token+"@", 1)
	for _, args := range [][]string{
		{"clone", "--quiet", url, dir},
		{"-C", dir, "commit", "--quiet", "--allow-empty", "-m", "by hand"},
		{"-C", dir, "push", "--quiet", "origin", "HEAD:main"},
	} {
		cmd := exec.Command("git", args...)
		cmd.Env = polsettest.GitEnv()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	<-w.receiver.arrived // git's answer comes before its hook runs
	if events := w.receiver.events(); !slices.Equal(events, []string{"push"}) {
		t.Errorf("heard %v", events)
	}
}
