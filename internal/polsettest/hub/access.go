package hub

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/polset/polset/internal/polsettest"
)

const hour = time.Hour

func contextWith(ctx context.Context, q *inquiry) context.Context {
	return context.WithValue(ctx, baseKey{}, q)
}

func inquiryOf(ctx context.Context) *inquiry {
	q, _ := ctx.Value(baseKey{}).(*inquiry)
	return q
}

// at is the repository of an identifier of today, nil where there is none.
func (g *GitHub) at(identifier string) *Repository {
	for _, r := range g.repositories {
		if !r.deleted && strings.EqualFold(r.repo.Identifier, identifier) {
			return r
		}
	}
	return nil
}

// scopesFor are the scopes of personal tokens that stand for a permission,
// weakest first; the scope repo stands for each.
var scopesFor = map[string]map[string][]string{
	"statuses": {"read": {"repo", "repo:status"}, "write": {"repo", "repo:status"}},
	"repository_hooks": {
		"read":  {"repo", "admin:repo_hook", "write:repo_hook", "read:repo_hook"},
		"write": {"repo", "admin:repo_hook", "write:repo_hook"},
		"admin": {"repo", "admin:repo_hook"},
	},
}

// repository is the one that the request is about, if whoever asks may do so
// much there; otherwise it is nil and the reply says no as GitHub does: 404
// for what must not be known to exist.
func (q *inquiry) repository(permission, level string) (*Repository, reply) {
	g := q.github
	identifier := q.request.PathValue("owner") + "/" + q.request.PathValue("repo")
	r := g.at(identifier)
	moved := r == nil
	if moved {
		r = g.moved[strings.ToLower(identifier)]
	}
	if r == nil || r.deleted || !q.sees(r, permission, level) {
		return nil, notFound()
	}
	if moved {
		return nil, q.redirect(r)
	}
	if no := q.may(r, permission, level); no.status != 0 {
		return nil, no
	}
	if r.archived && level != "read" {
		return nil, problem(http.StatusForbidden, "Repository was archived so is read-only.")
	}
	return r, reply{}
}

// sees reports whether the repository exists for whoever asks.
func (q *inquiry) sees(r *Repository, permission, level string) bool {
	t := q.token
	if t != nil && t.Kind == "personal" && t.scope(scopesFor[permission][level]...) && r.right(t.user) != "" {
		return true
	}
	return t.right(r) != ""
}

// may is the zero reply where the permission is given.
func (q *inquiry) may(r *Repository, permission, level string) reply {
	t := q.token
	switch {
	case t == nil:
		if level != "read" {
			return problem(http.StatusUnauthorized, "Requires authentication")
		}
	case t.Kind == "installation":
		needed := level
		if needed == "admin" {
			needed = "write" // the highest that permissions know
		}
		public := !t.covers(r) && level == "read" && permission != "repository_hooks" // as anybody
		if !public && (!t.covers(r) || !atLeast(t.Permissions[permission], needed)) {
			no := problem(http.StatusForbidden, "Resource not accessible by integration")
			no.header = http.Header{"X-Accepted-Github-Permissions": {permission + "=" + needed}}
			return no
		}
	case permission == "checks" && level != "read":
		return problem(http.StatusForbidden, "You must authenticate via a GitHub App.")
	case t.Kind == "user":
		if level != "read" || permission == "repository_hooks" {
			return problem(http.StatusForbidden, "Resource not accessible by integration")
		}
	case permission == "repository_hooks":
		if !t.scope(scopesFor[permission][level]...) || r.right(t.user) != "admin" {
			return notFound()
		}
	case permission == "statuses" && level == "write":
		if !t.scope(scopesFor[permission][level]...) || !atLeast(r.right(t.user), "write") {
			return notFound()
		}
	}
	return reply{}
}

// redirect leads from a former identifier to the repository's number.
func (q *inquiry) redirect(r *Repository) reply {
	former := "/repos/" + q.request.PathValue("owner") + "/" + q.request.PathValue("repo")
	path := fmt.Sprintf("/repositories/%d%s", r.id, strings.TrimPrefix(q.request.URL.Path, former))
	q.github.followed[path] = true
	location := q.base + path
	if query := q.request.URL.RawQuery; query != "" {
		location += "?" + query
	}
	status, message := http.StatusMovedPermanently, "Moved Permanently"
	if q.request.Method != http.MethodGet {
		status, message = http.StatusTemporaryRedirect, "Temporary Redirect"
	}
	return reply{
		status: status, header: http.Header{"Location": {location}},
		body: object{"message": message, "url": location, "documentation_url": "https://docs.github.com/rest"},
	}
}

type redirection int

const (
	ordinary  redirection = iota
	followed              // from a redirect
	notServed             // nobody was led there
)

// redirected lets requests through to where redirect led.
func (g *GitHub) redirected(r *http.Request, call *Call) (*http.Request, redirection) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/repositories/")
	if !ok {
		return r, ordinary
	}
	number, rest, _ := strings.Cut(rest, "/")
	id, _ := strconv.ParseInt(number, 10, 64)
	g.mu.Lock()
	defer g.mu.Unlock()
	at := slices.IndexFunc(g.repositories, func(r *Repository) bool { return r.id == id })
	if !g.followed[call.Path] || at < 0 {
		return r, notServed
	}
	moved := r.Clone(r.Context())
	moved.URL.Path, moved.URL.RawPath = strings.TrimSuffix("/repos/"+g.repositories[at].repo.Identifier+"/"+rest, "/"), ""
	return moved, followed
}

// gate decides about requests of git's.
func (g *GitHub) gate(w http.ResponseWriter, r *http.Request, repo *polsettest.Repo) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.outage.Git {
		down(w, g.outage)
		return false
	}
	_, password, given := r.BasicAuth()
	var token *Token
	if given {
		if token = g.token(password); token == nil {
			return refuseGit(w, http.StatusUnauthorized)
		}
	}
	level := "read"
	if strings.HasSuffix(r.URL.Path, "/git-receive-pack") || r.URL.Query().Get("service") == "git-receive-pack" {
		level = "write"
	}
	var target *Repository
	moved := false
	if repo != nil {
		target = g.at(repo.Identifier)
	} else if parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 3); len(parts) == 3 {
		target, moved = g.moved[strings.ToLower(parts[0]+"/"+strings.TrimSuffix(parts[1], ".git"))], true
	}
	switch {
	case target == nil || target.deleted || token.right(target) == "":
		if given {
			return refuseGit(w, http.StatusNotFound)
		}
		return refuseGit(w, http.StatusUnauthorized)
	case moved:
		parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 3)
		location := target.repo.URL() + "/" + parts[2]
		if r.URL.RawQuery != "" {
			location += "?" + r.URL.RawQuery
		}
		http.Redirect(w, r, location, http.StatusMovedPermanently)
		return false
	case !token.mayGit(target, level):
		if !given {
			return refuseGit(w, http.StatusUnauthorized)
		}
		return refuseGit(w, http.StatusForbidden)
	}
	return true
}

// mayGit reports whether the token may read, or write, the contents.
func (t *Token) mayGit(r *Repository, level string) bool {
	if r.public && level == "read" {
		return true
	}
	switch {
	case t == nil, r.archived && level == "write":
		return false
	case t.Kind == "installation":
		return t.covers(r) && atLeast(t.Permissions["contents"], level)
	}
	return atLeast(t.right(r), level)
}

func refuseGit(w http.ResponseWriter, status int) bool {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	text := "Repository not found.\n"
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		text = "Invalid username or token. Password authentication is not supported for Git operations.\n"
	case http.StatusForbidden:
		text = "Write access to repository not granted.\n"
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
	return false
}

// equal compares secrets.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
