package webhook_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
)

// An object is a JSON object in the making.
type object = map[string]any

func ourRepository() object {
	return object{"id": repository, "full_name": "acme-platform/guardrails", "default_branch": "main", "archived": false, "private": true}
}

func repositoryEvent() object {
	return object{
		"action": "archived", "repository": ourRepository(), "installation": object{"id": 51},
		"sender": object{"id": 9, "login": "mara-lindqvist"}, "organization": object{"login": "acme-platform"},
	}
}

func renamedEvent() object {
	e := repositoryEvent()
	e["action"], e["changes"] = "renamed", object{"repository": object{"name": object{"from": "rules"}}}
	return e
}

func transferredEvent() object {
	e := repositoryEvent()
	e["action"], e["changes"] = "transferred", object{"owner": object{"from": object{"organization": object{"login": "acme", "id": 4}}}}
	return e
}

func installationEvent() object {
	return object{
		"action": "created",
		"installation": object{
			"id": 51, "app_id": 7, "account": object{"id": 4, "login": "acme-platform", "type": "Organization", "avatar_url": "https://avatars.github.com/u/4?v=4"},
			"target_type": "Organization", "html_url": "https://github.com/organizations/acme-platform/settings/installations/51",
			"repository_selection": "selected", "permissions": object{"contents": "read", "checks": "write"},
			"created_at": 1557933591, "suspended_at": nil,
		},
		"repositories": []any{object{"id": repository, "full_name": "acme-platform/guardrails", "private": true}},
		"sender":       object{"id": 9, "login": "mara-lindqvist"},
	}
}

func addedEvent() object {
	e := installationEvent()
	e["action"], e["repositories_added"], e["repositories_removed"] = "added", e["repositories"], []any{}
	e["repository_selection"] = "selected"
	delete(e, "repositories")
	return e
}

func targetEvent() object {
	return object{
		"action": "renamed", "account": object{"id": 4, "login": "acme-platform", "avatar_url": "https://avatars.github.com/u/4?v=4"},
		"target_type": "Organization", "installation": object{"id": 51}, "changes": object{"login": object{"from": "acme"}},
		"sender": object{"id": 9, "login": "mara-lindqvist"},
	}
}

func pullEvent() object {
	return object{
		"action": "opened", "number": 12, "repository": ourRepository(), "installation": object{"id": 51},
		"pull_request": object{
			"number": 12, "user": object{"login": "sven"},
			"head": object{"ref": "feature", "sha": after, "repo": object{"id": repository}},
			"base": object{"ref": "main", "sha": before, "repo": object{"id": repository}},
		},
		"sender": object{"id": 9, "login": "mara-lindqvist"},
	}
}

func marshal(t testing.TB, e object, edits ...func(object)) []byte {
	t.Helper()
	for _, edit := range edits {
		edit(e)
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRepositoryEvents(t *testing.T) {
	ref := polset.RepositoryRef{ID: repository, Identifier: "acme-platform/guardrails"}
	for name, test := range map[string]struct {
		event object
		edit  func(object)
		want  polset.RepositoryChange
	}{
		"archived":    {repositoryEvent(), set(true, "repository", "archived"), polset.RepositoryChange{Action: polset.RepositoryArchived, Archived: true}},
		"unarchived":  {repositoryEvent(), set("unarchived", "action"), polset.RepositoryChange{Action: polset.RepositoryUnarchived}},
		"privatized":  {repositoryEvent(), set("privatized", "action"), polset.RepositoryChange{Action: polset.RepositoryPrivatized}},
		"publicized":  {repositoryEvent(), set("publicized", "action"), polset.RepositoryChange{Action: polset.RepositoryPublicized}},
		"deleted":     {repositoryEvent(), set("deleted", "action"), polset.RepositoryChange{Action: polset.RepositoryDeleted}},
		"renamed":     {renamedEvent(), set(1, "x"), polset.RepositoryChange{Action: polset.RepositoryRenamed, Previous: "acme-platform/rules"}},
		"transferred": {transferredEvent(), set(1, "x"), polset.RepositoryChange{Action: polset.RepositoryTransferred, Previous: "acme/guardrails"}},
		"case 21 transferred from a user, under another name": {
			transferredEvent(), set(object{
				"owner":      object{"from": object{"user": object{"login": "mara-lindqvist"}}},
				"repository": object{"name": object{"from": "old.rules"}},
			}, "changes"),
			polset.RepositoryChange{Action: polset.RepositoryTransferred, Previous: "mara-lindqvist/old.rules"},
		},
		"another default branch": {
			repositoryEvent(), func(e object) {
				e["action"], e["changes"] = "edited", object{"default_branch": object{"from": "main"}}
				set("trunk", "repository", "default_branch")(e)
			}, polset.RepositoryChange{Action: polset.RepositoryDefaultBranch, DefaultBranch: "trunk"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			body := marshal(t, test.event, test.edit)
			want := test.want
			want.Repository, want.Installation = ref, 51
			if want.DefaultBranch == "" {
				want.DefaultBranch = "main"
			}
			got := s.answered(delivery("repository", body), 200, "accepted")
			if got.Effect != "repository "+string(want.Action) {
				t.Errorf("effect %q", got.Effect)
			}
			s.answered(delivery("repository", body).to(ownID, body), 200, "accepted")
			// Whoever has the secret of one repository speaks for no installation.
			own := want
			own.Installation = 0
			if diff := cmp.Diff([]polset.RepositoryChange{want, own}, s.memory.repositories); diff != "" {
				t.Error(diff)
			}
		})
	}

	t.Run("case 18 a branch deleted", func(t *testing.T) {
		for name, edit := range map[string]func(object){
			"flag and zeros": func(m object) { m["deleted"], m["after"], m["head_commit"] = true, zero, nil },
			"zeros":          set(zero, "after"),
			"flag":           set(true, "deleted"),
		} {
			s := serve(t)
			body := payload(t, func(m object) {
				edit(m)
				m["installation"] = object{"id": 51}
			})
			got := s.answered(delivery("push", body), 200, "accepted")
			want := []polset.RepositoryChange{{
				Action: polset.RepositoryBranchDeleted, Repository: ref, DefaultBranch: "main", Branch: "main", Installation: 51,
			}}
			if diff := cmp.Diff(want, s.memory.repositories); diff != "" || got.Effect == "" {
				t.Errorf("%s: %s, effect %q", name, diff, got.Effect)
			}
		}
	})

	t.Run("case 22 another repository at an own hook", func(t *testing.T) {
		s := serve(t)
		body := marshal(t, repositoryEvent(), set(99, "repository", "id"))
		s.refused(delivery("repository", body).to(ownID, body), 404, "not-found")
		body = marshal(t, pullEvent(), set(99, "repository", "id"), set(object{"ref": "main", "repo": object{"id": 99}}, "pull_request", "base"))
		s.refused(delivery("pull_request", body).to(ownID, body), 404, "not-found")
	})

	t.Run("case 07 the same again", func(t *testing.T) {
		s := serve(t)
		body := marshal(t, repositoryEvent())
		r := delivery("repository", body)
		guid := r.header.Get("X-Github-Delivery")
		s.answered(r, 200, "accepted")
		s.answered(delivery("repository", body).with("X-Github-Delivery", guid), 200, "duplicate")
	})

	t.Run("case 28 database down", func(t *testing.T) {
		for event, body := range map[string]object{"repository": repositoryEvent(), "installation": installationEvent(), "pull_request": pullEvent()} {
			s := serve(t)
			s.memory.before = func(context.Context) error { return errDown }
			s.refused(delivery(event, marshal(t, body)), 503, "unavailable")
		}
	})
}

func TestInstallationEvents(t *testing.T) {
	acme := polset.Installation{
		ExternalID: 51, AppID: 7, HTTPURL: "https://github.com", Account: "acme-platform", AccountID: 4, AccountType: "Organization",
		IconURL:   "https://avatars.github.com/u/4?v=4",
		HTMLURL:   "https://github.com/organizations/acme-platform/settings/installations/51",
		Selection: "selected", Permissions: map[string]string{"contents": "read", "checks": "write"},
	}
	installed, suspended, all, dated := acme, acme, acme, acme
	dated.UpdatedAt = time.Unix(1557933591, 0).UTC()
	installed.InstallerID = 9
	suspended.SuspendedAt = time.Date(2026, 4, 29, 2, 32, 50, 0, time.UTC)
	all.Selection = "all"
	elsewhere := acme
	elsewhere.HTTPURL, elsewhere.HTMLURL = "", "https://ghe.example/x"
	repos := []polset.RepositoryRef{{ID: repository, Identifier: "acme-platform/guardrails"}}

	for name, test := range map[string]struct {
		event string
		body  object
		edit  func(object)
		want  polset.InstallationChange
	}{
		"created":   {"installation", installationEvent(), set(1, "x"), polset.InstallationChange{Action: "created", Installation: installed, Added: repos}},
		"deleted":   {"installation", installationEvent(), set("deleted", "action"), polset.InstallationChange{Action: "deleted", Installation: acme}},
		"unsuspend": {"installation", installationEvent(), set("unsuspend", "action"), polset.InstallationChange{Action: "unsuspend", Installation: acme}},
		"suspend": {"installation", installationEvent(), func(e object) {
			e["action"] = "suspend"
			set("2026-04-28T22:32:50.000-04:00", "installation", "suspended_at")(e)
		}, polset.InstallationChange{Action: "suspend", Installation: suspended}},
		"deleted at a time in seconds": {
			"installation", installationEvent(), func(e object) {
				e["action"] = "deleted"
				set(1557933591, "installation", "updated_at")(e)
			}, polset.InstallationChange{Action: "deleted", Installation: dated},
		},
		"deleted at a time in words": {
			"installation", installationEvent(), func(e object) {
				e["action"] = "deleted"
				set("2019-05-15T17:19:51+02:00", "installation", "updated_at")(e)
			}, polset.InstallationChange{Action: "deleted", Installation: dated},
		},
		"new permissions": {
			"installation", installationEvent(), set("new_permissions_accepted", "action"),
			polset.InstallationChange{Action: "new_permissions_accepted", Installation: acme},
		},
		"on a host that the hook does not speak for": {"installation", installationEvent(), func(e object) {
			e["action"] = "deleted"
			set("https://ghe.example/x", "installation", "html_url")(e)
		}, polset.InstallationChange{Action: "deleted", Installation: elsewhere}},
		"added": {"installation_repositories", addedEvent(), set(1, "x"), polset.InstallationChange{Action: "added", Installation: acme, Added: repos}},
		"all from now on": {
			"installation_repositories", addedEvent(), set("all", "repository_selection"),
			polset.InstallationChange{Action: "added", Installation: all, Added: repos},
		},
		"removed": {"installation_repositories", addedEvent(), func(e object) {
			e["action"], e["repositories_removed"], e["repositories_added"] = "removed", e["repositories_added"], []any{}
		}, polset.InstallationChange{Action: "removed", Installation: acme, Removed: repos}},
		"renamed": {"installation_target", targetEvent(), set(1, "x"), polset.InstallationChange{
			Action: "renamed", PreviousAccount: "acme",
			Installation: polset.Installation{ExternalID: 51, AccountID: 4, Account: "acme-platform", AccountType: "Organization"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			body := marshal(t, test.body, test.edit)
			got := s.answered(delivery(test.event, body), 200, "accepted")
			test.want.SenderID = 9
			if diff := cmp.Diff([]polset.InstallationChange{test.want}, s.memory.installations); diff != "" || got.Effect == "" {
				t.Errorf("effect %q, %s", got.Effect, diff)
			}
			entry := s.logs.All()[0].ContextMap()
			if entry["action"] != string(test.want.Action) || entry["account"] != "acme-platform" || entry["effect"] != got.Effect {
				t.Errorf("log %v", entry)
			}
			own := s.answered(delivery(test.event, body).to(ownID, body), 200, "ignored")
			if !strings.Contains(own.Reason, "only the hook of the GitHub App") || len(s.memory.installations) != 1 {
				t.Errorf("reason %q", own.Reason)
			}
		})
	}
}

func TestPullRequests(t *testing.T) {
	want := polset.PullRequest{
		Repository:    polset.RepositoryRef{ID: repository, Identifier: "acme-platform/guardrails"},
		DefaultBranch: "main", Number: 12, Action: "opened", Base: "main", Head: after, Author: "sven", Installation: 51,
	}
	for name, test := range map[string]struct {
		edit   func(object)
		expect func(*polset.PullRequest)
	}{
		"opened":                       {set(1, "x"), func(*polset.PullRequest) {}},
		"synchronize":                  {set("synchronize", "action"), func(p *polset.PullRequest) { p.Action = "synchronize" }},
		"reopened":                     {set("reopened", "action"), func(p *polset.PullRequest) { p.Action = "reopened" }},
		"from a fork":                  {set(object{"id": 99}, "pull_request", "head", "repo"), func(p *polset.PullRequest) { p.Fork = true }},
		"from a fork that was deleted": {set(nil, "pull_request", "head", "repo"), func(p *polset.PullRequest) { p.Fork = true }},
		"at a time": {set("2026-05-15T17:20:33+02:00", "pull_request", "updated_at"), func(p *polset.PullRequest) {
			p.UpdatedAt = time.Date(2026, 5, 15, 15, 20, 33, 0, time.UTC)
		}},
		"of somebody who is gone": {set(nil, "pull_request", "user"), func(p *polset.PullRequest) { p.Author = "" }},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			body := marshal(t, pullEvent(), test.edit)
			s.answered(delivery("pull_request", body), 200, "accepted")
			s.answered(delivery("pull_request", body).to(ownID, body), 200, "accepted")
			app := want
			test.expect(&app)
			own := app
			own.Installation = 0
			if diff := cmp.Diff([]polset.PullRequest{app, own}, s.memory.pulls); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLifecycleIgnored(t *testing.T) {
	for name, test := range map[string]struct {
		event  string
		body   object
		edit   func(object)
		reason string
	}{
		"a closed pull request": {"pull_request", pullEvent(), set("closed", "action"), "polset acts on pull requests that are opened, reopened or pushed to"},
		"a new repository":      {"repository", repositoryEvent(), set("created", "action"), "does not act on this action of a repository"},
		"another description": {"repository", repositoryEvent(), func(e object) {
			e["action"], e["changes"] = "edited", object{"description": object{"from": nil}}
		}, "default branch only"},
		"edited, changes null":    {"repository", repositoryEvent(), func(e object) { e["action"], e["changes"] = "edited", nil }, "default branch only"},
		"an unknown installation": {"installation", installationEvent(), set("painted", "action"), "does not act on this action"},
		"unknown repositories":    {"installation_repositories", addedEvent(), set("painted", "action"), "does not act on this action"},
		"an unknown target":       {"installation_target", targetEvent(), set("painted", "action"), "does not act on this action"},
		"a renamed enterprise":    {"installation_target", targetEvent(), set("Enterprise", "target_type"), "on an enterprise"},
		"installed on an enterprise": {"installation", installationEvent(), func(e object) {
			set("Enterprise", "installation", "target_type")(e)
			set(object{"id": 4, "slug": "acme"}, "installation", "account")(e)
		}, "on an enterprise"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			got := s.answered(delivery(test.event, marshal(t, test.body, test.edit)), 200, "ignored")
			if !strings.Contains(got.Reason, test.reason) {
				t.Errorf("reason %q", got.Reason)
			}
			if _, _, reasons := s.memory.recorded(); len(reasons) != 1 {
				t.Errorf("recorded %q", reasons)
			}
		})
	}
}
