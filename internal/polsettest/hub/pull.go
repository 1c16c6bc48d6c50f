package hub

import (
	"cmp"
	"strconv"
	"time"

	"github.com/polset/polset/internal/polsettest"
)

// A PullRequestConfig describes a pull request.
type PullRequestConfig struct {
	From   *Repository // nil: the repository itself; a fork otherwise
	Branch string      // of From, that is to be merged
	Base   string      // the branch to merge into; "": the default branch
	Author *Account    // nil: the person who is signed in
}

// A PullRequest is a proposal to merge a branch.
type PullRequest struct {
	Number int

	repository *Repository // that it is to be merged into
	from       *Repository
	branch     string
	base       string
	author     *Account
	id         int64
	created    time.Time

	// The rest is kept under the lock of the GitHub.
	head string
	open bool
}

// OpenPullRequest opens one and sends pull_request opened. Its head can be
// fetched from the repository, also from a fork: refs/pull/<number>/head.
func (r *Repository) OpenPullRequest(config PullRequestConfig) *PullRequest {
	g := r.github
	g.t.Helper()
	from := config.From
	if from == nil {
		from = r
	}
	head := from.Head(config.Branch)
	if head == "" {
		g.t.Fatalf("%s has no branch %s", from.Identifier(), config.Branch)
	}
	g.mu.Lock()
	p := &PullRequest{
		Number: len(r.pulls) + 1, repository: r, from: from, branch: config.Branch,
		base: cmp.Or(config.Base, r.branch), author: config.Author, id: g.next(), created: g.now(), open: true,
	}
	if p.author == nil {
		p.author = g.sender()
	}
	r.pulls = append(r.pulls, p)
	p.take(head)
	events := g.pullEvents(p, "opened", nil)
	g.mu.Unlock()
	g.send(events...)
	return p
}

// take moves the pull request to a commit. The caller holds the lock.
func (p *PullRequest) take(commit string) {
	p.head = commit
	p.repository.repo.Take(p.from.repo, commit, "refs/pull/"+strconv.Itoa(p.Number)+"/head")
}

// Head is the proposed commit.
func (p *PullRequest) Head() string {
	p.repository.github.mu.Lock()
	defer p.repository.github.mu.Unlock()
	return p.head
}

// Push adds a commit to the pull request's branch, and sends push and
// pull_request synchronize. It returns the commit.
func (p *PullRequest) Push(files map[string]string, options ...polsettest.CommitOption) string {
	p.repository.github.t.Helper()
	return p.from.Push(p.branch, files, options...)
}

// Close closes it and sends pull_request closed.
func (p *PullRequest) Close() { p.set(false, "closed") }

// Reopen opens it again and sends pull_request reopened.
func (p *PullRequest) Reopen() { p.set(true, "reopened") }

func (p *PullRequest) set(open bool, action string) {
	g := p.repository.github
	g.mu.Lock()
	p.open = open
	events := g.pullEvents(p, action, nil)
	g.mu.Unlock()
	g.send(events...)
}
