package store

import (
	"testing"
	"time"

	"github.com/polset/polset"
)

func TestBindInstallation(t *testing.T) {
	onBoth(t, func(b *bench) {
		i := b.installed(51, "acme", b.org.Name)
		p := b.through(i, "net", "acme/policies", 42)
		b.must(b.BindInstallation(b.ctx(), admin, i.ID, b.org.Name))
		b.looking(p.ID, 0)
		if n := b.count("SELECT count(*) FROM audit_entries WHERE action = 'installation.bound'"); n != 2 {
			b.Fatalf("%d entries, want one in each chain", n)
		}
		b.must(b.UnbindInstallation(b.ctx(), admin, i.ID, b.org.Name))
		b.must(b.BindInstallation(b.ctx(), admin, i.ID, b.org.Name))
		b.degraded(p.ID, polset.DegradedAccessLost)
		b.seesAgain(p, "c1")
		b.degraded(p.ID, "")
		b.want(b.BindInstallation(b.ctx(), admin, "ghain-none", b.org.Name), polset.ErrNotFound)
		b.want(b.BindInstallation(b.ctx(), admin, i.ID, "nobody"), polset.ErrNotFound)
		b.want(b.UnbindInstallation(b.ctx(), admin, i.ID, "nobody"), polset.ErrNotFound)

		b.sub("what followed the deleted one goes on with the next", func(b *bench) {
			b.happened(polset.InstallationChange{Action: polset.InstallationDeleted, Installation: installationOf(51, "acme")})
			b.degraded(p.ID, polset.DegradedInstallationDeleted)
			b.want(b.BindInstallation(b.ctx(), admin, i.ID, b.org.Name), polset.ErrNotFound)
			elsewhere := b.installed(52, "beta", b.org.Name)
			if got := b.set(p.ID).VCS.InstallationID; got != i.ID || elsewhere.ID == i.ID {
				b.Fatal("it went to another account")
			}
			again := installationOf(53, "acme")
			again.AccountID = 1051
			b.happened(polset.InstallationChange{Action: polset.InstallationCreated, Installation: again, SenderID: 9})
			b.degraded(p.ID, polset.DegradedInstallationDeleted) // nobody has bound it
			next, _, err := b.Installations(b.ctx(), admin, polset.InstallationFilter{ExternalID: 53}, polset.Page{Number: 1, Size: 1})
			b.must(err)
			b.must(b.BindInstallation(b.ctx(), admin, next[0].ID, b.org.Name))
			if got := b.set(p.ID).VCS; got.InstallationID != next[0].ID || got.Generation != 1 {
				b.Fatalf("vcs %+v", got)
			}
			b.degraded(p.ID, polset.DegradedAccessLost)
			b.seesAgain(p, "c2")
			b.degraded(p.ID, "")
		})
		b.must(b.DeleteOrganization(b.ctx(), admin, b.org.Name))
		if n := b.count("SELECT count(*) FROM installation_organizations"); n != 0 {
			b.Fatalf("%d bindings of nobody", n)
		}
		b.verify()
	})
}

func TestBindByLink(t *testing.T) {
	onBoth(t, func(b *bench) {
		link := func() polset.Secret {
			b.Helper()
			_, token, err := b.CreateSetupLink(b.ctx(), admin, polset.SetupInstall, b.org.Name, time.Hour)
			b.must(err)
			return token
		}
		token := link()
		bind := func(token polset.Secret, number, user int64) error {
			b.Helper()
			return second(b.BindByLink(b.ctx(), token, number, user, "mona"))
		}
		b.want(bind(token, 51, 9), polset.ErrNotFound)
		b.must(b.SaveInstallations(b.ctx(), []polset.Installation{installationOf(51, "acme")}, false))
		b.want(bind(token, 51, 9), polset.ErrConflict) // the signed delivery has not come yet
		b.want(bind(token, 51, 0), polset.ErrConflict)
		b.happened(polset.InstallationChange{Action: polset.InstallationCreated, Installation: installationOf(51, "acme"), SenderID: 9})
		b.want(bind(token, 51, 8), polset.ErrConflict) // somebody else's
		if n := b.count("SELECT count(*) FROM installation_organizations"); n != 0 {
			b.Fatal("bound for somebody who did not install it")
		}
		i, err := b.BindByLink(b.ctx(), token, 51, 9, "mona")
		b.must(err)
		if got := b.installationRow(i.ID); len(got.Organizations) != 1 || got.Organizations[0] != b.org.Name {
			b.Fatalf("bound to %v", got.Organizations)
		}
		b.want(bind(token, 51, 9), polset.ErrUnauthorized)
		if n := b.count(`SELECT count(*) FROM audit_entries WHERE action = 'installation.bound' AND actor LIKE 'setup-%' AND details LIKE '%mona%'`); n != 2 {
			b.Fatalf("%d entries", n)
		}
		b.happened(polset.InstallationChange{Action: polset.InstallationDeleted, Installation: installationOf(51, "acme")})
		b.want(bind(link(), 51, 9), polset.ErrNotFound)

		free := b.installed(52, "free", "")
		_, none, err := b.CreateSetupLink(b.ctx(), admin, polset.SetupInstall, "", time.Hour)
		b.must(err)
		b.must(bind(none, 52, 9))
		if got := b.installationRow(free.ID); len(got.Organizations) != 0 {
			b.Fatalf("bound to %v", got.Organizations)
		}
		b.want(bind(none, 52, 9), polset.ErrUnauthorized)
		b.verify()
	})
}

// The next installation may be bound before polset hears that the one before is
// deleted.
func TestBoundBeforeTheDeletion(t *testing.T) {
	onBoth(t, func(b *bench) {
		i := b.installed(51, "acme", b.org.Name)
		b.organization("rivals")
		b.must(b.BindInstallation(b.ctx(), admin, i.ID, "rivals"))
		p := b.through(i, "net", "acme/policies", 42)
		theirs := i
		theirs.Organizations = []string{"rivals"}
		q := b.through(theirs, "net", "acme/policies", 42)
		install := func(number int64) polset.Installation {
			b.Helper()
			again := installationOf(number, "acme")
			again.AccountID = i.AccountID
			b.happened(polset.InstallationChange{Action: polset.InstallationCreated, Installation: again, SenderID: 9})
			list, _, err := b.Installations(b.ctx(), admin, polset.InstallationFilter{ExternalID: number}, polset.Page{Number: 1, Size: 1})
			b.must(err)
			return list[0]
		}
		next := install(53)
		b.must(b.BindInstallation(b.ctx(), admin, next.ID, b.org.Name))
		if got := b.set(p.ID).VCS.InstallationID; got != i.ID {
			b.Fatal("taken from one that exists")
		}
		r := b.happened(polset.InstallationChange{Action: polset.InstallationDeleted, Installation: installationOf(51, "acme")})
		if r.Effect != "installation deleted: 1 policy sets degraded" {
			b.Fatalf("receipt %+v", r)
		}
		if got := b.set(p.ID).VCS; got.InstallationID != next.ID || got.Generation != 1 {
			b.Fatalf("vcs %+v", got)
		}
		b.degraded(p.ID, "")
		b.looking(p.ID, 1)
		b.seesAgain(b.set(p.ID), "c1")
		b.degraded(q.ID, polset.DegradedInstallationDeleted) // that nobody has bound another to
		if got := b.set(q.ID).VCS.InstallationID; got != i.ID {
			b.Fatal("it went to one that its organization may not use")
		}

		b.sub("a binding that is repeated takes over what is left", func(b *bench) {
			b.exec("UPDATE policy_sets SET installation_id = $1, degraded = 'installation-deleted', degraded_message = 'Gone.' WHERE id = $2", i.ID, p.ID)
			b.must(b.BindInstallation(b.ctx(), admin, next.ID, b.org.Name))
			if got := b.set(p.ID).VCS.InstallationID; got != next.ID {
				b.Fatal("still with the deleted one")
			}
			b.degraded(p.ID, polset.DegradedAccessLost)
			b.seesAgain(b.set(p.ID), "c2")
			b.degraded(p.ID, "")
			b.must(b.BindInstallation(b.ctx(), admin, next.ID, b.org.Name))
			b.looking(p.ID, 0)
		})
		b.verify()
	})
}

// Bound while the one before is being deleted: one of the two sees the other.
func TestBoundDuringTheDeletion(t *testing.T) {
	onBoth(t, func(b *bench) {
		for n := range int64(8) {
			i := b.installed(100+n, "acme", b.org.Name)
			p := b.through(i, polset.NewID("set"), "acme/policies", 42)
			again := installationOf(200+n, "acme")
			again.AccountID = i.AccountID
			b.happened(polset.InstallationChange{Action: polset.InstallationCreated, Installation: again, SenderID: 9})
			list, _, err := b.Installations(b.ctx(), admin, polset.InstallationFilter{ExternalID: 200 + n}, polset.Page{Number: 1, Size: 1})
			b.must(err)
			told := make(chan error, 1)
			go func() {
				told <- second(b.RecordInstallation(b.ctx(), delivery(polset.HookGitHubApp), polset.InstallationChange{
					Action: polset.InstallationDeleted, Installation: installationOf(100+n, "acme"),
				}))
			}()
			b.must(b.BindInstallation(b.ctx(), admin, list[0].ID, b.org.Name))
			b.must(<-told)
			if got := b.set(p.ID).VCS.InstallationID; got != list[0].ID {
				b.Fatalf("round %d: still with the deleted one", n)
			}
		}
		b.verify()
	})
}
