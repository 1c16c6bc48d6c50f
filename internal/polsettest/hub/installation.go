package hub

import (
	"maps"
	"slices"
	"time"
)

// An Installation is an App on an account.
type Installation struct {
	github  *GitHub
	app     *App
	account *Account
	id      int64
	created time.Time

	// The rest is kept under the lock of the GitHub.
	updated     time.Time
	all         bool
	selected    []*Repository
	permissions map[string]string
	suspended   time.Time // zero: active
	suspendedBy *Account
	deleted     bool
}

// Install installs the App on an account, with the repositories that are
// named, or with all of the account's, and sends installation created.
func (a *App) Install(account *Account, repositories ...*Repository) *Installation {
	g := a.github
	g.t.Helper()
	g.mu.Lock()
	if a.installation(account) != nil {
		g.mu.Unlock()
		g.t.Fatalf("%s is installed on %s already", a.Name, account.login)
	}
	i, events := a.install(account, repositories)
	g.mu.Unlock()
	g.send(events...)
	return i
}

func (a *App) install(account *Account, repositories []*Repository) (*Installation, []*Delivery) {
	g := a.github
	i := &Installation{
		github: g, app: a, account: account, id: g.next(), created: g.now(), updated: g.now(),
		all: len(repositories) == 0, selected: slices.Clone(repositories), permissions: maps.Clone(a.config.Permissions),
	}
	g.installations = append(g.installations, i)
	return i, []*Delivery{i.event("created", object{"repositories": g.repositoryReferences(i.repositories())})}
}

// Installation is the App's installation on an account, nil where it has none.
func (a *App) Installation(account *Account) *Installation {
	a.github.mu.Lock()
	defer a.github.mu.Unlock()
	return a.installation(account)
}

func (a *App) installation(account *Account) *Installation {
	for _, i := range a.github.installations {
		if i.app == a && i.account == account && !i.deleted {
			return i
		}
	}
	return nil
}

// ID is GitHub's number of the installation.
func (i *Installation) ID() int64 { return i.id }

// Account is where the App is installed.
func (i *Installation) Account() *Account { return i.account }

// repositories are those that the installation includes, oldest first.
func (i *Installation) repositories() []*Repository {
	var included []*Repository
	for _, r := range i.github.repositories {
		if i.includes(r) {
			included = append(included, r)
		}
	}
	return included
}

func (i *Installation) includes(r *Repository) bool {
	return !r.deleted && r.owner == i.account && (i.all || slices.Contains(i.selected, r))
}

// event describes what happened to the installation to its App.
func (i *Installation) event(action string, fields object) *Delivery {
	payload := object{"installation": i.object(i.github.APIURL())}
	maps.Copy(payload, fields)
	return i.github.appEvent(i.app, i, nil, "installation", action, payload)
}

// change changes the installation and tells its App.
func (i *Installation) change(do func() *Delivery) {
	g := i.github
	g.t.Helper()
	g.mu.Lock()
	if i.deleted {
		g.mu.Unlock()
		g.t.Fatalf("installation %d is deleted", i.id)
	}
	i.updated = g.now()
	event := do()
	g.mu.Unlock()
	g.send(event)
}

// Add selects more repositories and sends installation_repositories added.
// After it the installation has selected repositories only.
func (i *Installation) Add(repositories ...*Repository) {
	i.github.t.Helper()
	i.change(func() *Delivery {
		if i.all {
			i.selected = i.repositories()
		}
		i.all = false
		for _, r := range repositories {
			if !slices.Contains(i.selected, r) {
				i.selected = append(i.selected, r)
			}
		}
		return i.reselected("added", repositories)
	})
}

// Remove deselects repositories and sends installation_repositories removed.
// After it the installation has selected repositories only.
func (i *Installation) Remove(repositories ...*Repository) {
	i.github.t.Helper()
	i.change(func() *Delivery {
		i.selected = i.repositories()
		i.all = false
		i.selected = slices.DeleteFunc(i.selected, func(r *Repository) bool { return slices.Contains(repositories, r) })
		return i.reselected("removed", repositories)
	})
}

func (i *Installation) reselected(action string, repositories []*Repository) *Delivery {
	changed, none := i.github.repositoryReferences(repositories), []object{}
	payload := object{
		"installation": i.object(i.github.APIURL()), "repository_selection": i.selection(),
		"repositories_added": none, "repositories_removed": none, "requester": nil,
	}
	payload["repositories_"+action] = changed
	return i.github.appEvent(i.app, i, nil, "installation_repositories", action, payload)
}

func (i *Installation) selection() string {
	if i.all {
		return "all"
	}
	return "selected"
}

// Suspend makes all tokens worthless, refuses new ones and sends suspend.
func (i *Installation) Suspend() {
	i.github.t.Helper()
	i.change(func() *Delivery {
		i.suspended, i.suspendedBy = i.github.now(), i.github.sender()
		return i.event("suspend", nil)
	})
}

// Unsuspend ends it and sends unsuspend.
func (i *Installation) Unsuspend() {
	i.github.t.Helper()
	i.change(func() *Delivery {
		i.suspended, i.suspendedBy = time.Time{}, nil
		return i.event("unsuspend", nil)
	})
}

// Delete uninstalls the App and sends deleted.
func (i *Installation) Delete() {
	i.github.t.Helper()
	i.change(func() *Delivery {
		event := i.event("deleted", object{"repositories": i.github.repositoryReferences(i.repositories())})
		i.deleted = true
		return event
	})
}

// AcceptPermissions grants what the App asks for today and sends
// new_permissions_accepted.
func (i *Installation) AcceptPermissions() {
	i.github.t.Helper()
	i.change(func() *Delivery {
		i.permissions = maps.Clone(i.app.config.Permissions)
		return i.event("new_permissions_accepted", nil)
	})
}
