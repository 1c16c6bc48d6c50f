package polsettest

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// A Gate reports whether a request of git's may use a repository, which is
// nil where the path names none; if not, it has answered.
type Gate func(w http.ResponseWriter, r *http.Request, repo *Repo) bool

// Guard puts a gate in the place of RequireToken and HideWithout.
func (g *Git) Guard(gate Gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gate = gate
}

// Handle serves the requests that are not git's at the same address. They are
// neither recorded nor intercepted.
func (g *Git) Handle(others http.Handler) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.others = others
}

// isGit reports whether a path is one of git's smart protocol.
func isGit(path string) bool {
	return strings.HasSuffix(path, "/info/refs") || strings.HasSuffix(path, "/git-upload-pack") ||
		strings.HasSuffix(path, "/git-receive-pack")
}

// SetDefaultBranch makes HEAD point at another branch.
func (r *Repo) SetDefaultBranch(name string) {
	r.Git("symbolic-ref", "HEAD", "refs/heads/"+name)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.defaultBranch = name
}

// Move gives the repository another identifier and returns it under that. The
// number, the contents and the push hook stay; the old Repo is of no more use.
func (r *Repo) Move(identifier string) *Repo {
	g := r.git
	owner, name, _ := strings.Cut(identifier, "/")
	r.moving.Lock()
	defer r.moving.Unlock()
	r.mu.Lock()
	moved := &Repo{
		Identifier: identifier, ID: r.ID, git: g, dir: filepath.Join(g.dir, owner, name+".git"),
		config: r.config, v0: r.v0, defaultBranch: r.defaultBranch, token: r.token, hidden: r.hidden, onPush: r.onPush,
	}
	r.mu.Unlock()
	err := func() error {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.repos[strings.ToLower(identifier)] != nil {
			return errors.New("it exists")
		}
		if err := os.MkdirAll(filepath.Dir(moved.dir), 0o750); err != nil {
			return err
		}
		if err := os.Rename(r.dir, moved.dir); err != nil {
			return err
		}
		delete(g.repos, strings.ToLower(r.Identifier))
		g.repos[strings.ToLower(identifier)] = moved
		return nil
	}()
	if err != nil {
		g.fatal(fmt.Errorf("move %s to %s: %w", r.Identifier, identifier, err))
	}
	return moved
}

// Destroy deletes the repository.
func (r *Repo) Destroy() {
	r.moving.Lock()
	defer r.moving.Unlock()
	r.git.mu.Lock()
	delete(r.git.repos, strings.ToLower(r.Identifier))
	r.git.mu.Unlock()
	if err := os.RemoveAll(r.dir); err != nil {
		r.git.fatal(fmt.Errorf("destroy %s: %w", r.Identifier, err))
	}
}

// Take copies a commit, with all that it needs, from another repository to a
// ref of this one.
func (r *Repo) Take(from *Repo, commit, ref string) {
	r.Git("fetch", "--quiet", "--no-tags", from.dir, "+"+commit+":"+ref)
}

// Try is Git for commands that may fail.
func (r *Repo) Try(args ...string) (string, error) {
	out, err := r.git.run(r.dir, nil, args...)
	return strings.TrimRight(string(out), " \t\r\n"), err
}
