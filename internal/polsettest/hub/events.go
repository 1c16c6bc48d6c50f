package hub

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/polset/polset/internal/polsettest"
)

// A listener is a hook that hears of a repository.
type listener struct {
	installation *Installation // of an App; nil:
	hook         *Hook         // the repository's own
}

// permissionFor is what an installation needs to hear an event. Events that
// are not here are not for Apps to subscribe to.
var permissionFor = map[string]string{
	"push": "contents", "create": "contents", "delete": "contents", "release": "contents", "commit_comment": "contents",
	"pull_request": "pull_requests", "pull_request_review": "pull_requests", "pull_request_review_comment": "pull_requests",
	"pull_request_review_thread": "pull_requests",
	"repository":                 "metadata", "installation_target": "metadata", "meta": "metadata", "public": "metadata", "fork": "contents", "star": "metadata", "watch": "metadata",
	"label": "metadata", "check_run": "checks", "check_suite": "checks", "status": "statuses",
	"issues": "issues", "issue_comment": "issues", "member": "members", "membership": "members", "organization": "members",
	"team": "members", "team_add": "members", "deployment": "deployments", "deployment_status": "deployments",
	"workflow_run": "actions", "workflow_job": "actions", "deploy_key": "administration",
	"branch_protection_rule": "administration", "gollum": "contents", "milestone": "issues",
}

// listeners hear an event of a repository, Apps first.
func (g *GitHub) listeners(r *Repository, event string) []listener {
	var found []listener
	for _, i := range g.including(r) {
		if i.suspended.IsZero() && slices.Contains(i.app.config.Events, event) && i.permissions[permissionFor[event]] != "" {
			found = append(found, listener{installation: i})
		}
	}
	for _, h := range r.hooks {
		if h.Active && (slices.Contains(h.Events, event) || slices.Contains(h.Events, "*")) {
			found = append(found, listener{hook: h})
		}
	}
	return found
}

// repositoryEvent describes an event of a repository to each who listens. The
// payload is octokit's example with the fields in their places. The caller
// holds the lock.
func (g *GitHub) repositoryEvent(r *Repository, event, action string, fields object) []*Delivery {
	var deliveries []*Delivery
	for _, l := range g.listeners(r, event) {
		payload := g.examplePayload(event, action)
		delete(payload, "installation")
		delete(payload, "organization")
		delete(payload, "requester")
		delete(payload, "changes")
		payload["repository"] = r.payload()
		if r.owner.kind == "Organization" {
			payload["organization"] = g.organizationObject(r.owner)
		}
		maps.Copy(payload, fields)
		deliveries = append(deliveries, g.tell(l, r, event, action, payload))
	}
	return slices.DeleteFunc(deliveries, func(d *Delivery) bool { return d == nil })
}

// tell makes the delivery of an event to one listener.
func (g *GitHub) tell(l listener, r *Repository, event, action string, payload object) *Delivery {
	if l.installation != nil {
		payload["installation"] = l.installation.reference()
		return g.appEvent(l.installation.app, l.installation, r, event, action, payload)
	}
	d := g.delivery(event, action, payload)
	d.Hook, d.Repository, d.URL, d.secret = l.hook.ID, r.id, l.hook.URL, l.hook.Secret
	return d
}

// appEvent makes the delivery of an event to an App's hook; nil where it has
// none. The caller holds the lock.
func (g *GitHub) appEvent(app *App, i *Installation, r *Repository, event, action string, payload object) *Delivery {
	if app.config.HookURL == "" {
		return nil
	}
	d := g.delivery(event, action, payload)
	d.App, d.Installation, d.URL, d.secret = app.ID, i.id, app.config.HookURL, app.WebhookSecret
	if r != nil {
		d.Repository = r.id
	}
	return d
}

// delivery completes a payload, which must be as GitHub describes it.
func (g *GitHub) delivery(event, action string, payload object) *Delivery {
	payload["sender"] = g.userObject(g.sender(), g.APIURL())
	if action != "" {
		payload["action"] = action
	}
	body, err := json.Marshal(payload)
	if err != nil {
		g.t.Errorf("the stand-in's %s %s: %v", event, action, err)
	}
	if s := g.description.payload(event, action); s != nil {
		for _, wrong := range g.description.check(s, decode(body), "payload") {
			g.t.Errorf("the stand-in's %s %s is not GitHub's: %s", event, action, wrong)
		}
	} else {
		g.t.Errorf("GitHub describes no event %s %s", event, action)
	}
	return &Delivery{GUID: uuid.NewString(), Event: event, Action: action, Body: body}
}

// pushEvents describes a push to each who listens.
func (g *GitHub) pushEvents(r *Repository, p polsettest.Push) []*Delivery {
	p.Repository, p.RepositoryID, p.OwnerID, p.URL = r.repo.Identifier, r.id, r.owner.id, g.URL()
	p.Private, p.DefaultBranch, p.Pusher = !r.public, r.branch, g.sender().login
	var deliveries []*Delivery
	for _, l := range g.listeners(r, "push") {
		deliveries = append(deliveries, g.tell(l, r, "push", "", g.pushPayload(r, p)))
	}
	return slices.DeleteFunc(deliveries, func(d *Delivery) bool { return d == nil })
}

func (g *GitHub) pushPayload(r *Repository, p polsettest.Push) object {
	payload := sub(decode(polsettest.PushEvent(p)))
	if r.owner.kind == "User" {
		delete(payload, "organization")
		repository := sub(payload["repository"])
		delete(repository, "organization")
		sub(repository["owner"])["type"] = "User"
	}
	return payload
}

// pullEvents describes what happened to a pull request to each who listens.
func (g *GitHub) pullEvents(p *PullRequest, action string, fields object) []*Delivery {
	payload := object{"number": p.Number, "pull_request": p.object()}
	maps.Copy(payload, fields)
	return g.repositoryEvent(p.repository, "pull_request", action, payload)
}

// object is the pull request in events, made from octokit's example.
func (p *PullRequest) object() object {
	g, base := p.repository.github, p.repository
	o := sub(g.examplePayload("pull_request", "opened")["pull_request"])
	number := strconv.Itoa(p.Number)
	o = rebase(o,
		fmt.Sprint(o["url"]), g.APIURL()+"/repos/"+base.repo.Identifier+"/pulls/"+number,
		fmt.Sprint(o["html_url"]), g.URL()+"/"+base.repo.Identifier+"/pull/"+number,
		fmt.Sprint(o["issue_url"]), g.APIURL()+"/repos/"+base.repo.Identifier+"/issues/"+number,
		"https://api.github.com/repos/Codertocat/Hello-World", g.APIURL()+"/repos/"+base.repo.Identifier)
	state, closed := "open", any(nil)
	if !p.open {
		state, closed = "closed", stamp(g.now())
	}
	side := func(r *Repository, ref, sha string) object {
		side := object{
			"label": r.owner.login + ":" + ref, "ref": ref, "sha": sha,
			"user": g.userObject(r.owner, g.APIURL()), "repo": nil,
		}
		if !r.deleted {
			repository := r.payload()
			maps.Copy(repository, object{
				"allow_squash_merge": true, "allow_merge_commit": true, "allow_rebase_merge": true,
				"delete_branch_on_merge": false,
			})
			side["repo"] = repository
		}
		return side
	}
	association := "CONTRIBUTOR"
	if p.author.owns(base.owner) {
		association = "OWNER"
	}
	maps.Copy(o, object{
		"id": p.id, "node_id": node("PR", p.id), "number": p.Number, "state": state, "locked": false,
		"title": "Change policies", "body": nil, "user": g.userObject(p.author, g.APIURL()),
		"author_association": association, "draft": false, "merged": false, "mergeable": nil,
		"head": side(p.from, p.branch, p.head), "base": side(base, p.base, base.repo.Head(p.base)),
		"created_at": stamp(p.created), "updated_at": stamp(g.now()), "closed_at": closed, "merged_at": nil,
		"auto_merge": nil, "active_lock_reason": nil,
		"assignees": []object{}, "requested_reviewers": []object{}, "labels": []object{},
	})
	return o
}
