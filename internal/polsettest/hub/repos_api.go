package hub

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

func (q *inquiry) getRepository() reply {
	defer q.lock()()
	r, no := q.repository("metadata", "read")
	if r == nil {
		return no
	}
	o := r.object(q.base)
	if q.token == nil || q.token.Kind == "installation" {
		delete(o, "permissions")
	} else {
		right := q.token.right(r)
		o["permissions"] = object{
			"admin": right == "admin", "maintain": right == "admin", "push": atLeast(right, "write"),
			"triage": atLeast(right, "write"), "pull": true,
		}
	}
	return reply{status: http.StatusOK, body: o}
}

var commitID = regexp.MustCompile(`^[0-9a-f]{40}$`)

// commit is what a branch, a tag or a commit's whole id means, "" where
// nothing.
func (r *Repository) commit(name string) string {
	if commitID.MatchString(name) {
		return r.repo.Git("rev-list", "--no-walk", "--ignore-missing", name)
	}
	for _, ref := range []string{"refs/heads/" + name, "refs/tags/" + name} {
		if r.repo.Git("for-each-ref", "--format=%(refname)", ref) == ref {
			return r.repo.Git("rev-list", "--no-walk", ref)
		}
	}
	return ""
}

// compare says how two commits stand to each other.
func (q *inquiry) compare() reply {
	defer q.lock()()
	r, no := q.repository("contents", "read")
	if r == nil {
		return no
	}
	before, after, ok := strings.Cut(q.request.PathValue("basehead"), "...")
	if !ok {
		return notFound()
	}
	base, head := r.commit(before), r.commit(after)
	if base == "" || head == "" {
		return notFound()
	}
	merge, err := r.repo.Try("merge-base", base, head)
	if err != nil {
		return problem(http.StatusNotFound, "No common ancestor between "+before+" and "+after+".")
	}
	behind, ahead := r.apart(base, head)
	status := "diverged"
	switch {
	case ahead == 0 && behind == 0:
		status = "identical"
	case behind == 0:
		status = "ahead"
	case ahead == 0:
		status = "behind"
	}
	url := "/repos/" + r.repo.Identifier + "/compare/" + q.request.PathValue("basehead")
	web := q.github.URL() + "/" + r.repo.Identifier + "/compare/" + q.request.PathValue("basehead")
	commits := []object{}
	var shas []string
	if ahead > 0 {
		shas = strings.Fields(r.repo.Git("rev-list", "--reverse", "--max-count=250", head, "^"+base))
	}
	shas, header := page(q, shas)
	for _, sha := range shas {
		commits = append(commits, r.commitObject(sha, q.base))
	}
	return reply{status: http.StatusOK, header: header, body: object{
		"url": q.base + url, "html_url": web, "permalink_url": web, "diff_url": web + ".diff", "patch_url": web + ".patch",
		"base_commit": r.commitObject(base, q.base), "merge_base_commit": r.commitObject(merge, q.base),
		"status": status, "ahead_by": ahead, "behind_by": behind, "total_commits": ahead, "commits": commits, "files": []object{},
	}}
}

// apart counts the commits that only one of two has.
func (r *Repository) apart(base, head string) (behind, ahead int) {
	left, right, _ := strings.Cut(r.repo.Git("rev-list", "--left-right", "--count", base+"..."+head), "\t")
	behind, _ = strconv.Atoi(left)
	ahead, _ = strconv.Atoi(right)
	return behind, ahead
}

// statusesLimit is how many statuses a commit can have of one context.
const statusesLimit = 1000

func (q *inquiry) createStatus() reply {
	defer q.lock()()
	g := q.github
	r, no := q.repository("statuses", "write")
	if r == nil {
		return no
	}
	sha := q.request.PathValue("sha")
	if len(sha) != 40 || r.commit(sha) == "" {
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+sha)
	}
	s := &Status{
		ID: g.next(), State: text(q.body["state"]), Context: "default", Description: text(q.body["description"]),
		TargetURL: text(q.body["target_url"]), CreatedAt: g.now(), commit: sha, Creator: q.actor().login,
	}
	if context := text(q.body["context"]); context != "" {
		s.Context = context
	}
	same := 0
	for _, other := range r.statuses {
		if other.commit == sha && other.Context == s.Context {
			same++
		}
	}
	if same >= statusesLimit {
		return invalid("Status", "base", "custom", "This SHA and context has reached the maximum number of statuses.")
	}
	r.statuses = append(r.statuses, s)
	null := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	creator := g.userObject(q.actor(), q.base)
	return reply{status: http.StatusCreated, body: object{
		"url": q.base + "/repos/" + r.repo.Identifier + "/statuses/" + sha, "avatar_url": creator["avatar_url"],
		"id": s.ID, "node_id": node("SC", s.ID), "state": s.State, "description": null(s.Description),
		"target_url": null(s.TargetURL), "context": s.Context,
		"created_at": stamp(s.CreatedAt), "updated_at": stamp(s.CreatedAt), "creator": creator,
	}}
}

// actor is who asks with a token: a person, or the owner of the App.
func (q *inquiry) actor() *Account {
	if q.token.user != nil {
		return q.token.user
	}
	return q.token.installation.app.config.Owner
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// A Status is a commit status.
type Status struct {
	ID          int64
	State       string // error, failure, pending, success
	Context     string
	Description string
	TargetURL   string
	Creator     string // the login
	CreatedAt   time.Time

	commit string
}

// Statuses returns all statuses of a commit, oldest first.
func (r *Repository) Statuses(commit string) []Status {
	r.github.mu.Lock()
	defer r.github.mu.Unlock()
	var found []Status
	for _, s := range r.statuses {
		if s.commit == commit {
			found = append(found, *s)
		}
	}
	return found
}

// LatestStatuses returns the newest status of each context.
func (r *Repository) LatestStatuses(commit string) map[string]Status {
	latest := map[string]Status{}
	for _, s := range r.Statuses(commit) {
		latest[s.Context] = s
	}
	return latest
}
