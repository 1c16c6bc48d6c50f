package hub

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/polset/polset/internal/polsettest"
)

// A Repository is a repository of an account: private, unless made public.
type Repository struct {
	github  *GitHub
	id      int64
	parent  *Repository // of a fork
	created time.Time
	pushing sync.Mutex // one push at a time

	// The rest is kept under the lock of the GitHub.
	repo     *polsettest.Repo
	owner    *Account
	public   bool
	archived bool
	deleted  bool
	branch   string // the default one
	rights   map[*Account]string
	pulls    []*PullRequest
	checks   []*CheckRun
	statuses []*Status
	hooks    []*Hook
}

// Repository makes an empty, private repository. Its identifier is owner/name;
// an owner that does not exist becomes an organization of octocat's. Apps that
// have all of the owner's repositories hear repository created.
func (g *GitHub) Repository(identifier string, options ...polsettest.RepoOption) *Repository {
	g.t.Helper()
	login, _, _ := strings.Cut(identifier, "/")
	g.mu.Lock()
	owner := g.find(login)
	if owner == nil {
		owner = g.account(login, "Organization")
		owner.owners = append(owner.owners, g.find("octocat"))
	}
	g.mu.Unlock()
	r := g.create(owner, identifier, nil, options)
	g.mu.Lock()
	events := g.repositoryEvent(r, "repository", "created", nil)
	g.mu.Unlock()
	g.send(events...)
	return r
}

func (g *GitHub) create(owner *Account, identifier string, parent *Repository, options []polsettest.RepoOption) *Repository {
	g.t.Helper()
	repo := g.git.Create(identifier, options...)
	branch := strings.TrimPrefix(repo.Git("symbolic-ref", "HEAD"), "refs/heads/")
	r := &Repository{
		github: g, id: repo.ID, parent: parent, created: g.now(),
		repo: repo, owner: owner, branch: branch, rights: map[*Account]string{},
	}
	repo.OnPush(func(p polsettest.Push) { g.later(func() { r.pushed(p) }) })
	g.mu.Lock()
	defer g.mu.Unlock()
	g.repositories = append(g.repositories, r)
	delete(g.moved, strings.ToLower(identifier)) // a new owner of the name ends the redirect
	return r
}

// ID is GitHub's number of the repository; it never changes.
func (r *Repository) ID() int64 { return r.id }

// Identifier is owner/name of today.
func (r *Repository) Identifier() string { return r.Repo().Identifier }

// name is the identifier without the owner.
func (r *Repository) name() string {
	_, name, _ := strings.Cut(r.repo.Identifier, "/")
	return name
}

// Owner is the account that has it today.
func (r *Repository) Owner() *Account {
	r.github.mu.Lock()
	defer r.github.mu.Unlock()
	return r.owner
}

// URL is where it can be cloned from today.
func (r *Repository) URL() string { return r.Repo().URL() }

// Repo is the repository on the git server, for reading and for commits that
// nobody is told of. It is another one after a move.
func (r *Repository) Repo() *polsettest.Repo {
	r.github.mu.Lock()
	defer r.github.mu.Unlock()
	return r.repo
}

// Head is the commit of a branch, or "".
func (r *Repository) Head(branch string) string { return r.Repo().Head(branch) }

// Grant gives a user a right: read, write or admin; "" takes it away. Owners
// of the account have admin anyway.
func (r *Repository) Grant(user *Account, right string) {
	r.github.mu.Lock()
	defer r.github.mu.Unlock()
	r.rights[user] = right
}

// levels are the rights, and the levels of permissions, in their order.
var levels = []string{"", "read", "write", "admin"}

// atLeast reports whether a right includes another.
func atLeast(have, want string) bool {
	return slices.Index(levels, have) >= slices.Index(levels, want)
}

// right is what a user may do with the repository.
func (r *Repository) right(user *Account) string {
	switch {
	case user == nil:
		return ""
	case user.owns(r.owner):
		return "admin"
	}
	return r.rights[user]
}

// Commit adds a commit to a branch and tells nobody: a push whose delivery
// was never even tried. It returns the commit.
func (r *Repository) Commit(branch string, files map[string]string, options ...polsettest.CommitOption) string {
	r.github.t.Helper()
	return r.Repo().Commit(branch, files, options...)
}

// Push is Commit, and sends push. Open pull requests from the branch follow.
func (r *Repository) Push(branch string, files map[string]string, options ...polsettest.CommitOption) string {
	r.github.t.Helper()
	return r.push(branch, func(repo *polsettest.Repo) { repo.Commit(branch, files, options...) })
}

// PushTxtar is Push with the files of a txtar archive.
func (r *Repository) PushTxtar(branch, archive string, options ...polsettest.CommitOption) string {
	r.github.t.Helper()
	return r.push(branch, func(repo *polsettest.Repo) { repo.CommitTxtar(branch, archive, options...) })
}

// ForcePush moves a branch, which may be new, to any commit, and sends push.
func (r *Repository) ForcePush(branch, commit string) {
	r.github.t.Helper()
	r.push(branch, func(repo *polsettest.Repo) { repo.Reset(branch, commit) })
}

// DeleteBranch removes a branch and sends push.
func (r *Repository) DeleteBranch(branch string) {
	r.github.t.Helper()
	r.push(branch, func(repo *polsettest.Repo) { repo.DeleteBranch(branch) })
}

func (r *Repository) push(branch string, do func(*polsettest.Repo)) string {
	r.pushing.Lock()
	defer r.pushing.Unlock()
	repo := r.Repo()
	before := repo.Head(branch)
	do(repo)
	after := repo.Head(branch)
	if before != after {
		r.pushed(repo.Push(branch, before, after))
	}
	return after
}

// pushed tells those who listen, and lets pull requests follow.
func (r *Repository) pushed(p polsettest.Push) {
	g := r.github
	branch, isBranch := strings.CutPrefix(p.Ref, "refs/heads/")
	g.mu.Lock()
	events := g.pushEvents(r, p)
	var following []*PullRequest
	if isBranch && p.After != "" && p.After != polsettest.ZeroCommit {
		for _, base := range g.repositories {
			for _, pull := range base.pulls {
				if pull.from == r && pull.branch == branch && pull.open && !base.deleted {
					following = append(following, pull)
				}
			}
		}
	}
	for _, pull := range following {
		before := pull.head
		pull.take(p.After)
		events = append(events, g.pullEvents(pull, "synchronize", object{"before": before, "after": p.After})...)
	}
	g.mu.Unlock()
	g.send(events...)
}
