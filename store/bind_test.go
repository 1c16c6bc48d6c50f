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
