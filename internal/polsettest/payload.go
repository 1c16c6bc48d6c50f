package polsettest

import (
	"fmt"
	"strings"
)

// object is a JSON object of a payload.
type object = map[string]any

func (p Push) webURL() string { return p.URL + "/" + p.Repository }

// apiURL is the repository in the REST API: of GitHub's own host, or of an
// Enterprise server's.
func (p Push) apiURL() string {
	if p.URL == "https://github.com" {
		return "https://api.github.com/repos/" + p.Repository
	}
	return p.URL + "/api/v3/repos/" + p.Repository
}

func (p Push) commit(c PushCommit) object {
	list := func(files []string) []string { return append([]string{}, files...) } // [], never null
	who := object{"name": AuthorName, "email": AuthorEmail, "username": p.Pusher, "date": "2026-01-02T03:04:05Z"}
	return object{
		"id": c.ID, "tree_id": c.TreeID, "distinct": true, "message": c.Message,
		"timestamp": "2026-01-02T03:04:05Z", "url": p.webURL() + "/commit/" + c.ID,
		"author": who, "committer": who,
		"added": list(c.Added), "removed": list(c.Removed), "modified": list(c.Modified),
	}
}

func (p Push) user(login string, id int64, kind string) object {
	host := strings.TrimSuffix(p.apiURL(), "/repos/"+p.Repository)
	api := host + "/users/" + login
	return object{
		"login": login, "id": id, "node_id": fmt.Sprintf("MDQ6VXNlcj%d", id),
		"avatar_url": fmt.Sprintf("https://avatars.githubusercontent.com/u/%d?v=4", id), "gravatar_id": "",
		"url": api, "html_url": p.URL + "/" + login,
		"followers_url": api + "/followers", "following_url": api + "/following{/other_user}",
		"gists_url": api + "/gists{/gist_id}", "starred_url": api + "/starred{/owner}{/repo}",
		"subscriptions_url": api + "/subscriptions", "organizations_url": api + "/orgs",
		"repos_url": api + "/repos", "events_url": api + "/events{/privacy}",
		"received_events_url": api + "/received_events",
		"type":                kind, "user_view_type": "public", "site_admin": false,
	}
}

// pushRepository is a repository as push events alone describe it: with the
// fields of the API's earliest days.
func (p Push) pushRepository() object {
	r := p.repository()
	login, _, _ := strings.Cut(p.Repository, "/")
	owner := p.user(login, p.OwnerID, "Organization")
	owner["name"], owner["email"] = login, login+"@example.com"
	r["owner"], r["organization"] = owner, login
	r["url"], r["master_branch"], r["stargazers"] = p.webURL(), p.DefaultBranch, 0
	r["created_at"], r["pushed_at"] = commitTime, commitTime
	return r
}

// organization is the repository's owner as events name it beside the
// repository.
func (p Push) organization() object {
	login, _, _ := strings.Cut(p.Repository, "/")
	api := strings.TrimSuffix(p.apiURL(), "/repos/"+p.Repository) + "/orgs/" + login
	return object{
		"login": login, "id": p.OwnerID, "node_id": fmt.Sprintf("O_kgDO%d", p.OwnerID),
		"url": api, "repos_url": api + "/repos", "events_url": api + "/events", "hooks_url": api + "/hooks",
		"issues_url": api + "/issues", "members_url": api + "/members{/member}",
		"public_members_url": api + "/public_members{/member}",
		"avatar_url":         fmt.Sprintf("https://avatars.githubusercontent.com/u/%d?v=4", p.OwnerID), "description": "",
	}
}

func (p Push) repository() object {
	ownerLogin, name, _ := strings.Cut(p.Repository, "/")
	owner := p.user(ownerLogin, p.OwnerID, "Organization")
	web, api := p.webURL(), p.apiURL()
	visibility := "public"
	if p.Private {
		visibility = "private"
	}
	host := p.URL[strings.Index(p.URL, "://")+len("://"):]
	r := object{
		"id": p.RepositoryID, "node_id": fmt.Sprintf("R_kgDO%d", p.RepositoryID),
		"name": name, "full_name": p.Repository, "private": p.Private, "owner": owner,
		"html_url": web, "description": "Policies as code", "fork": false, "url": api,
		"created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:05Z", "pushed_at": "2026-01-02T03:04:05Z",
		"git_url":   "git://" + host + "/" + p.Repository + ".git",
		"ssh_url":   "git@" + host + ":" + p.Repository + ".git",
		"clone_url": web + ".git", "svn_url": web, "homepage": nil, "size": 42,
		"stargazers_count": 0, "watchers_count": 0, "language": "Open Policy Agent",
		"has_issues": true, "has_projects": true, "has_downloads": true, "has_wiki": false,
		"has_pages": false, "has_discussions": false, "forks_count": 0, "mirror_url": nil,
		"archived": false, "disabled": false, "open_issues_count": 0, "license": nil,
		"allow_forking": true, "is_template": false, "web_commit_signoff_required": false,
		"has_pull_requests": true, "pull_request_creation_policy": "all",
		"topics": []string{}, "visibility": visibility, "forks": 0, "open_issues": 0,
		"watchers": 0, "default_branch": p.DefaultBranch, "custom_properties": object{},
	}
	for key, path := range map[string]string{
		"forks_url": "/forks", "keys_url": "/keys{/key_id}", "collaborators_url": "/collaborators{/collaborator}",
		"teams_url": "/teams", "hooks_url": "/hooks", "issue_events_url": "/issues/events{/number}",
		"events_url": "/events", "assignees_url": "/assignees{/user}", "branches_url": "/branches{/branch}",
		"tags_url": "/tags", "blobs_url": "/git/blobs{/sha}", "git_tags_url": "/git/tags{/sha}",
		"git_refs_url": "/git/refs{/sha}", "trees_url": "/git/trees{/sha}", "statuses_url": "/statuses/{sha}",
		"languages_url": "/languages", "stargazers_url": "/stargazers", "contributors_url": "/contributors",
		"subscribers_url": "/subscribers", "subscription_url": "/subscription", "commits_url": "/commits{/sha}",
		"git_commits_url": "/git/commits{/sha}", "comments_url": "/comments{/number}",
		"issue_comment_url": "/issues/comments{/number}", "contents_url": "/contents/{+path}",
		"compare_url": "/compare/{base}...{head}", "merges_url": "/merges",
		"archive_url": "/{archive_format}{/ref}", "downloads_url": "/downloads", "issues_url": "/issues{/number}",
		"pulls_url": "/pulls{/number}", "milestones_url": "/milestones{/number}",
		"notifications_url": "/notifications{?since,all,participating}", "labels_url": "/labels{/name}",
		"releases_url": "/releases{/id}", "deployments_url": "/deployments",
	} {
		r[key] = api + path
	}
	return r
}
