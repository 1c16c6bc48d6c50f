package store

import (
	"slices"
	"testing"
	"time"

	"github.com/polset/polset"
)

func TestConnections(t *testing.T) {
	onBoth(t, func(b *bench) {
		project := func(organization, name string) string {
			b.Helper()
			p, err := b.CreateProject(b.ctx(), admin, polset.ProjectDraft{Organization: organization, Name: name})
			b.must(err)
			return p.ID
		}
		b.organization("evilcorp")
		one, two, theirs := project("acme", "one"), project("acme", "two"), project("evilcorp", "one")
		draft := polset.ConnectionDraft{
			Organization: "acme", Name: "scoped", ServiceProvider: "github", HTTPURL: host, APIURL: "https://api.github.com",
			Key: "Iv1.key", ServiceProviderUser: "octocat", ProjectScoped: true, Projects: []string{one}, Token: polset.NewSecret("ghp_scoped"),
		}
		c, err := b.CreateConnection(b.ctx(), admin, draft)
		b.must(err)
		same := func(got polset.Connection, err error) {
			b.Helper()
			b.must(err)
			if got.ID != c.ID || got.Name != c.Name || got.Key != c.Key || got.ServiceProviderUser != c.ServiceProviderUser ||
				got.ProjectScoped != c.ProjectScoped || !slices.Equal(got.Projects, c.Projects) || !got.CreatedAt.Equal(c.CreatedAt) {
				b.Errorf("got %+v\nwant %+v", got, c)
			}
		}
		same(b.Connection(b.ctx(), admin, c.ID))
		same(b.ConnectionByToken(b.ctx(), admin, c.TokenID))
		list, total, err := b.Connections(b.ctx(), admin, "acme", polset.Page{Number: 1, Size: 10})
		b.must(err)
		if total != 2 || len(list) != 2 {
			b.Fatalf("%d of %d connections", len(list), total)
		}
		same(list[slices.IndexFunc(list, func(l polset.Connection) bool { return l.ID == c.ID })], nil)

		update := func(change polset.ConnectionChange) {
			b.Helper()
			c, err = b.UpdateConnection(b.ctx(), admin, c.ID, change)
			same(c, err)
			same(b.Connection(b.ctx(), admin, c.ID))
		}
		name, key, scoped := "renamed", "Iv1.other", false
		update(polset.ConnectionChange{Name: &name, Key: &key, ProjectScoped: &scoped, AddProjects: []string{two, two, one}})
		want := []string{one, two}
		slices.Sort(want)
		if c.Name != name || c.Key != key || c.ProjectScoped || !slices.Equal(c.Projects, want) {
			b.Errorf("updated %+v", c)
		}
		entries := b.audited("connection.updated")
		update(polset.ConnectionChange{Name: &name, RemoveProjects: []string{theirs}})
		if b.audited("connection.updated") != entries {
			b.Error("a change of nothing was audited")
		}
		update(polset.ConnectionChange{RemoveProjects: []string{one}})
		if !slices.Equal(c.Projects, []string{two}) {
			b.Errorf("projects %v", c.Projects)
		}
		update(polset.ConnectionChange{Projects: &[]string{one}})
		if !slices.Equal(c.Projects, []string{one}) {
			b.Errorf("projects %v", c.Projects)
		}

		for _, change := range []polset.ConnectionChange{{AddProjects: []string{theirs}}, {Projects: &[]string{one, theirs}}, {AddProjects: []string{"prj-none"}}} {
			b.want(second(b.UpdateConnection(b.ctx(), admin, c.ID, change)), polset.ErrNotFound)
		}
		same(b.Connection(b.ctx(), admin, c.ID))
		draft.Projects = []string{theirs}
		b.want(second(b.CreateConnection(b.ctx(), admin, draft)), polset.ErrNotFound)
		rival := polset.Principal{Actor: "at-rival", OrganizationID: b.organization("rival").ID, Permissions: polset.Permissions()}
		b.want(second(b.UpdateConnection(b.ctx(), rival, c.ID, polset.ConnectionChange{Name: &name})), polset.ErrNotFound)
		_, _, err = b.Connections(b.ctx(), rival, "acme", polset.Page{Number: 1, Size: 10})
		b.want(err, polset.ErrNotFound)

		b.must(b.DeleteProject(b.ctx(), admin, one))
		c.Projects = nil
		same(b.Connection(b.ctx(), admin, c.ID))
		b.verify()
	})
}

// Another token under the same id: what could not be done with the old one is
// done again.
func TestTokenIsReplaced(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		well := b.connection("acme")
		other := b.of("other", "acme/other", "main", well.TokenID)
		b.must(b.SettleHook(b.ctx(), polset.HookOutcome{Lease: b.taskOf(p.VCS.HookID).Lease, Manual: "Add it by hand."}))
		b.hookState(p.ID, polset.HookManual)

		// A look with the old token is refused.
		ing, err := b.Ingest(b.ctx(), admin, p.ID, "c1")
		b.must(err)
		batch := b.claim(p.VCS.RepositoryID, "c1")
		b.must(b.Store.Fail(b.ctx(), batch.Claims[0].Lease, polset.Fail(polset.ClassAuth, "The git server refused the token."), polset.Content{}))
		if b.reason(p.ID) != polset.DegradedAccessLost {
			b.Fatalf("degraded %q after %s", b.reason(p.ID), ing.ID)
		}
		b.looking(p.ID, 0)

		token := polset.NewSecret("ghp_new")
		c, err := b.UpdateConnection(b.ctx(), admin, b.conn.ID, polset.ConnectionChange{Token: &token, ServiceProviderUser: "hubot"})
		b.must(err)
		if c.TokenID != b.conn.TokenID || c.ServiceProviderUser != "hubot" {
			b.Errorf("connection %+v", c)
		}
		if r, err := b.Remote(b.ctx(), admin, c.TokenID, "acme/policies"); err != nil || r.Token.Reveal() != "ghp_new" {
			b.Errorf("the old token is still there: %v", err)
		}
		if got := b.set(p.ID); got.VCS.TokenID != c.TokenID || got.VCS.Generation != p.VCS.Generation {
			b.Errorf("the policy set follows with %+v", got.VCS)
		}
		b.looking(p.ID, 1)
		b.looking(other.ID, 0) // it has another connection
		b.done(b.taskOf(p.VCS.HookID), 700)
		b.hookState(p.ID, polset.HookActive)
		b.seesAgain(p, "c2")
		b.degraded(p.ID, "")
		if b.audited("connection.updated") != 1 {
			b.Errorf("%d entries", b.audited("connection.updated"))
		}
		again := polset.NewSecret("ghp_newer")
		_, err = b.UpdateConnection(b.ctx(), admin, b.conn.ID, polset.ConnectionChange{Token: &again})
		b.must(err)
		b.looking(p.ID, 0) // it was well
		b.verify()
	})
}

// taskOf claims what is to be done about a hook.
func (b *bench) taskOf(hookID string) polset.HookTask {
	b.Helper()
	tasks, err := b.ClaimHooks(b.ctx(), 10, time.Minute)
	b.must(err)
	for _, task := range tasks {
		if task.HookID == hookID {
			return task
		}
	}
	b.Fatalf("nothing is to be done about %s: %+v", hookID, tasks)
	return polset.HookTask{}
}
