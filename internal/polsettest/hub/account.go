package hub

import (
	"slices"
	"strings"
)

// An Account is a user or an organization.
type Account struct {
	github *GitHub
	id     int64
	kind   string // User or Organization

	// The rest is kept under the lock of the GitHub.
	login  string
	owners []*Account // of an organization
}

// User returns the user of a login, and makes the account when it is new.
func (g *GitHub) User(login string) *Account {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.account(login, "User")
}

// Organization returns the organization of a login, and makes it when it is
// new. The users become its owners, beside those that it has.
func (g *GitHub) Organization(login string, owners ...*Account) *Account {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.account(login, "Organization")
	a.owners = append(a.owners, owners...)
	return a
}

func (g *GitHub) account(login, kind string) *Account {
	g.t.Helper()
	if a := g.find(login); a != nil {
		if a.kind != kind {
			g.t.Fatalf("%s is no %s", login, kind)
		}
		return a
	}
	a := &Account{github: g, id: g.next(), kind: kind, login: login}
	if login == "octocat" {
		a.id = 583231 // as everywhere
	}
	g.accounts = append(g.accounts, a)
	return a
}

// find is the account of a login, nil where there is none.
func (g *GitHub) find(login string) *Account {
	for _, a := range g.accounts {
		if strings.EqualFold(a.login, login) {
			return a
		}
	}
	return nil
}

// Login is the account's name of today.
func (a *Account) Login() string {
	a.github.mu.Lock()
	defer a.github.mu.Unlock()
	return a.login
}

// ID is GitHub's number of the account.
func (a *Account) ID() int64 { return a.id }

// Type is User or Organization.
func (a *Account) Type() string { return a.kind }

// Rename gives the account another login; its repositories move along, and
// Apps that are installed hear installation_target if they asked for it.
func (a *Account) Rename(login string) {
	g := a.github
	g.t.Helper()
	g.mu.Lock()
	if taken := g.find(login); taken != nil && taken != a {
		g.mu.Unlock()
		g.t.Fatalf("rename %s: %s is taken", a.login, login)
	}
	before := a.login
	a.login = login
	for _, r := range g.repositories {
		if r.owner == a && !r.deleted {
			r.move(login + "/" + r.name())
		}
	}
	var events []*Delivery
	for _, i := range g.installations {
		if i.account != a || i.deleted || !slices.Contains(i.app.config.Events, "installation_target") {
			continue
		}
		account := g.accountObject(a)
		events = append(events, g.appEvent(i.app, i, nil, "installation_target", "renamed", object{
			"account": account, "target_type": a.kind,
			"changes":      object{"login": object{"from": before}},
			"installation": i.reference(),
		}))
	}
	g.mu.Unlock()
	g.send(events...)
}

// SignIn makes user the person at the browser, and the sender of events that
// methods cause; nil signs out. A new GitHub has octocat signed in.
func (g *GitHub) SignIn(user *Account) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.signedIn = user
}

// sender is who causes the events of methods.
func (g *GitHub) sender() *Account {
	if g.signedIn != nil {
		return g.signedIn
	}
	return g.accounts[0]
}

// owns reports whether a user decides over an account.
func (a *Account) owns(other *Account) bool {
	if a == nil || other == nil {
		return false
	}
	if a == other {
		return true
	}
	for _, owner := range other.owners {
		if owner == a {
			return true
		}
	}
	return false
}
