package hub

import (
	"slices"
	"strings"

	"github.com/polset/polset/internal/polsettest"
)

// change changes the repository, and sends the event that do returns the
// fields of.
func (r *Repository) change(action string, do func() object) {
	g := r.github
	g.t.Helper()
	g.mu.Lock()
	if r.deleted {
		g.mu.Unlock()
		g.t.Fatalf("%s is deleted", r.repo.Identifier)
	}
	fields := do()
	events := g.repositoryEvent(r, "repository", action, fields)
	g.mu.Unlock()
	g.send(events...)
}

// move gives the repository another identifier. The caller holds the lock.
func (r *Repository) move(identifier string) {
	g := r.github
	if r.repo.Identifier == identifier {
		return
	}
	g.moved[strings.ToLower(r.repo.Identifier)] = r
	delete(g.moved, strings.ToLower(identifier))
	r.repo = r.repo.Move(identifier)
}

// Rename gives it another name (without the owner) and sends repository
// renamed. The old address leads to the new one, as on GitHub.
func (r *Repository) Rename(name string) {
	r.github.t.Helper()
	r.change("renamed", func() object {
		before := r.name()
		r.move(r.owner.login + "/" + name)
		return object{"changes": object{"repository": object{"name": object{"from": before}}}}
	})
}

// Transfer gives it to another account. Installations on the old account lose
// it and hear installation_repositories removed. Those on the new one that
// have all repositories gain it: they hear repository transferred, as GitHub
// tells the new owner alone, and installation_repositories added.
func (r *Repository) Transfer(to *Account) {
	g := r.github
	g.t.Helper()
	g.mu.Lock()
	from := r.owner
	losing := g.including(r)
	r.owner = to
	r.move(to.login + "/" + r.name())
	r.rights = map[*Account]string{}
	var events []*Delivery
	for _, i := range losing {
		i.selected = slices.DeleteFunc(i.selected, func(s *Repository) bool { return s == r })
		events = append(events, i.reselected("removed", []*Repository{r}))
	}
	origin := object{"user": g.userObject(from, g.APIURL())}
	if from.kind == "Organization" {
		origin = object{"organization": g.organizationObject(from)}
	}
	changes := object{"changes": object{"owner": object{"from": origin}}}
	events = append(events, g.repositoryEvent(r, "repository", "transferred", changes)...)
	for _, i := range g.including(r) {
		events = append(events, i.reselected("added", []*Repository{r}))
	}
	g.mu.Unlock()
	g.send(events...)
}

// including are the installations that include a repository.
func (g *GitHub) including(r *Repository) []*Installation {
	return slices.DeleteFunc(slices.Clone(g.installations), func(i *Installation) bool {
		return i.deleted || !i.includes(r)
	})
}

// Delete removes it and sends repository deleted.
func (r *Repository) Delete() {
	g := r.github
	g.t.Helper()
	g.mu.Lock()
	events := g.repositoryEvent(r, "repository", "deleted", nil) // while it is known who listens
	r.deleted = true
	r.repo.Destroy()
	g.mu.Unlock()
	g.send(events...)
}

// Archive makes it read-only and sends repository archived.
func (r *Repository) Archive() {
	r.github.t.Helper()
	r.change("archived", func() object { r.archived = true; return nil })
}

// Unarchive ends it and sends repository unarchived.
func (r *Repository) Unarchive() {
	r.github.t.Helper()
	r.change("unarchived", func() object { r.archived = false; return nil })
}

// Privatize hides it from strangers and sends repository privatized.
func (r *Repository) Privatize() {
	r.github.t.Helper()
	r.change("privatized", func() object { r.public = false; return nil })
}

// Publicize shows it to everybody and sends repository publicized.
func (r *Repository) Publicize() {
	r.github.t.Helper()
	r.change("publicized", func() object { r.public = true; return nil })
}

// SetDefaultBranch changes the default branch and sends repository edited.
func (r *Repository) SetDefaultBranch(branch string) {
	r.github.t.Helper()
	r.change("edited", func() object {
		before := r.branch
		r.branch = branch
		r.repo.SetDefaultBranch(branch)
		return object{"changes": object{"default_branch": object{"from": before}}}
	})
}

// Fork copies the repository to another account.
func (r *Repository) Fork(to *Account) *Repository {
	g := r.github
	g.t.Helper()
	g.mu.Lock()
	repo, branch, public := r.repo, r.branch, r.public
	identifier := to.login + "/" + r.name()
	g.mu.Unlock()
	fork := g.create(to, identifier, r, []polsettest.RepoOption{polsettest.DefaultBranch(branch)})
	for ref := range strings.Lines(repo.Git("for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags")) {
		ref = strings.TrimSpace(ref)
		fork.repo.Take(repo, ref, ref)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	fork.public = public
	return fork
}
