package hub

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// stamp is a time as GitHub writes it; null where it is zero.
func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

func node(kind string, id int64) string { return fmt.Sprintf("%s_kgDO%d", kind, id) }

// userObject is an account as answers and payloads name it.
func (g *GitHub) userObject(a *Account, api string) object {
	url := api + "/users/" + a.login
	return object{
		"login": a.login, "id": a.id, "node_id": node(a.kind[:1], a.id),
		"avatar_url": fmt.Sprintf("https://avatars.githubusercontent.com/u/%d?v=4", a.id), "gravatar_id": "",
		"url": url, "html_url": g.URL() + "/" + a.login,
		"followers_url": url + "/followers", "following_url": url + "/following{/other_user}",
		"gists_url": url + "/gists{/gist_id}", "starred_url": url + "/starred{/owner}{/repo}",
		"subscriptions_url": url + "/subscriptions", "organizations_url": url + "/orgs",
		"repos_url": url + "/repos", "events_url": url + "/events{/privacy}",
		"received_events_url": url + "/received_events",
		"type":                a.kind, "site_admin": false,
	}
}

// organizationObject is an organization beside its repository.
func (g *GitHub) organizationObject(a *Account) object {
	url := g.APIURL() + "/orgs/" + a.login
	return object{
		"login": a.login, "id": a.id, "node_id": node("O", a.id),
		"url": url, "repos_url": url + "/repos", "events_url": url + "/events", "hooks_url": url + "/hooks",
		"issues_url": url + "/issues", "members_url": url + "/members{/member}",
		"public_members_url": url + "/public_members{/member}",
		"avatar_url":         fmt.Sprintf("https://avatars.githubusercontent.com/u/%d?v=4", a.id), "description": "",
	}
}

// accountObject is an account as installation_target names it.
func (g *GitHub) accountObject(a *Account) object {
	if a.kind == "User" {
		return g.userObject(a, g.APIURL())
	}
	o := g.organizationObject(a)
	o["html_url"], o["type"] = g.URL()+"/"+a.login, a.kind
	return o
}

// events are those that GitHub lists of an App and of its installations: what
// is of no installation, or of its account, is left out.
func (c AppConfig) events() []string {
	return slices.DeleteFunc(append([]string{}, c.Events...), func(event string) bool {
		return event == "installation_target" || event == "meta" || event == "security_advisory"
	})
}

// object is the App without its secrets.
func (a *App) object(api string) object {
	return object{
		"id": a.ID, "slug": a.Slug, "node_id": node("A", a.ID), "client_id": a.ClientID,
		"owner": a.github.userObject(a.config.Owner, api), "name": a.Name, "description": a.config.Description,
		"external_url": a.config.URL, "html_url": a.htmlURL(),
		"created_at": stamp(a.created), "updated_at": stamp(a.created),
		"permissions": maps.Clone(a.config.Permissions), "events": a.config.events(),
	}
}

// object is the installation, in answers and in payloads.
func (i *Installation) object(api string) object {
	html := fmt.Sprintf("%s/settings/installations/%d", i.github.URL(), i.id)
	if i.account.kind == "Organization" {
		html = fmt.Sprintf("%s/organizations/%s/settings/installations/%d", i.github.URL(), i.account.login, i.id)
	}
	o := object{
		"id": i.id, "client_id": i.app.ClientID, "account": i.github.userObject(i.account, api),
		"repository_selection": i.selection(),
		"access_tokens_url":    fmt.Sprintf("%s/app/installations/%d/access_tokens", api, i.id),
		"repositories_url":     api + "/installation/repositories", "html_url": html,
		"app_id": i.app.ID, "app_slug": i.app.Slug, "target_id": i.account.id, "target_type": i.account.kind,
		"permissions": maps.Clone(i.permissions), "events": i.app.config.events(),
		"created_at": stamp(i.created), "updated_at": stamp(i.updated),
		"single_file_name": nil, "has_multiple_single_files": false, "single_file_paths": []string{},
		"suspended_by": nil, "suspended_at": stamp(i.suspended),
	}
	if i.suspendedBy != nil {
		o["suspended_by"] = i.github.userObject(i.suspendedBy, api)
	}
	return o
}

// reference is the installation as the events of repositories name it.
func (i *Installation) reference() object {
	return object{"id": i.id, "node_id": node("I", i.id)}
}

// repositoryReferences are repositories as installation events name them.
func (g *GitHub) repositoryReferences(repositories []*Repository) []object {
	references := []object{}
	for _, r := range repositories {
		references = append(references, object{
			"id": r.id, "node_id": node("R", r.id), "name": r.name(),
			"full_name": r.repo.Identifier, "private": !r.public,
		})
	}
	return references
}

// object is the repository in answers, made from the description's example.
func (r *Repository) object(api string) object {
	o := sub(r.github.description.example("full-repository-default-response"))
	for _, key := range []string{"template_repository", "organization", "parent", "source", "temp_clone_token"} {
		delete(o, key)
	}
	return r.fill(o, api)
}

// payload is the repository in events, made from octokit's example.
func (r *Repository) payload() object {
	o := sub(r.github.examplePayload("repository", "created")["repository"])
	delete(o, "custom_properties")
	return r.fill(o, r.github.APIURL())
}

// fill puts the repository in the place of the one in an example.
func (r *Repository) fill(o object, api string) object {
	g, identifier := r.github, r.repo.Identifier
	o = rebase(o,
		fmt.Sprint(o["url"]), api+"/repos/"+identifier,
		fmt.Sprint(o["html_url"]), g.URL()+"/"+identifier)
	visibility := "private"
	if r.public {
		visibility = "public"
	}
	host := strings.TrimPrefix(g.URL(), "http://")
	maps.Copy(o, object{
		"id": r.id, "node_id": node("R", r.id), "name": r.name(), "full_name": identifier,
		"owner": g.userObject(r.owner, api), "private": !r.public, "visibility": visibility,
		"html_url": g.URL() + "/" + identifier, "url": api + "/repos/" + identifier,
		"description": "Policies as code", "fork": r.parent != nil, "archived": r.archived, "disabled": false,
		"default_branch": r.branch, "language": nil, "homepage": nil, "mirror_url": nil, "license": nil, "has_discussions": false,
		"git_url": "git://" + host + "/" + identifier + ".git", "ssh_url": "git@" + host + ":" + identifier + ".git",
		"clone_url": g.URL() + "/" + identifier + ".git", "svn_url": g.URL() + "/" + identifier,
		"created_at": stamp(r.created), "updated_at": stamp(r.created), "pushed_at": stamp(r.created),
	})
	if r.owner.kind == "Organization" {
		if _, answer := o["network_count"]; answer {
			o["organization"] = g.userObject(r.owner, api)
		}
	}
	return o
}

// commitObject is a commit, made from the description's example.
func (r *Repository) commitObject(sha, api string) object {
	o := sub(sub(r.github.description.example("commit-comparison"))["base_commit"])
	old := fmt.Sprint(o["sha"])
	return rebase(o, old, sha,
		"https://api.github.com/repos/octocat/Hello-World", api+"/repos/"+r.repo.Identifier,
		"https://github.com/octocat/Hello-World", r.github.URL()+"/"+r.repo.Identifier)
}

// rebase replaces texts by others in all of an object: old, new, old, new …
// An old one that begins another must stand behind it.
func rebase(o object, pairs ...string) object {
	text, err := json.Marshal(o)
	if err != nil {
		return o // it came from JSON
	}
	return sub(decode([]byte(strings.NewReplacer(pairs...).Replace(string(text)))))
}

// examplePayload is a copy of octokit's first example of an event; of another
// action of the event where there is none, and empty where there is neither.
func (g *GitHub) examplePayload(event, action string) object {
	at := slices.IndexFunc(g.examples, func(e Example) bool { return e.Event == event && e.Action == action })
	if at < 0 {
		at = slices.IndexFunc(g.examples, func(e Example) bool { return e.Event == event })
	}
	if at < 0 {
		return object{}
	}
	return sub(decode(g.examples[at].Body))
}
