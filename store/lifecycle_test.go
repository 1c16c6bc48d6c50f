package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
)

func TestInstallationLifecycle(t *testing.T) {
	onBoth(t, func(b *bench) {
		i := b.installed(51, "acme", b.org.Name)
		p, q := b.through(i, "net", "acme/policies", 42), b.through(i, "two", "acme/other", 43)
		byToken := b.settled("token", "main", "c0") // the same row as net
		change := func(action polset.InstallationAction, edit ...func(*polset.InstallationChange)) polset.Receipt {
			b.Helper()
			c := polset.InstallationChange{Action: action, Installation: installationOf(51, "acme"), SenderID: 9}
			for _, f := range edit {
				f(&c)
			}
			return b.happened(c)
		}
		refs := []polset.RepositoryRef{{ID: 42, Identifier: "acme/policies"}, {ID: 99, Identifier: "acme/unknown"}}

		b.sub("suspend and unsuspend", func(b *bench) {
			if r := change(polset.InstallationSuspended); r.Effect != "installation suspend: 2 policy sets degraded" {
				b.Fatalf("receipt %+v", r)
			}
			b.degraded(p.ID, polset.DegradedInstallationSuspended)
			b.degraded(q.ID, polset.DegradedInstallationSuspended)
			b.degraded(byToken.ID, "")
			if b.installationRow(i.ID).SuspendedAt.IsZero() || b.current(p.ID) != "c0" {
				b.Fatalf("suspended: %+v, in force %q", b.installationRow(i.ID), b.current(p.ID))
			}
			change(polset.InstallationAdded, func(c *polset.InstallationChange) { c.Added = refs })
			b.looking(p.ID, 0) // a look would fail
			if r := change(polset.InstallationUnsuspended); r.Effect != "installation unsuspend: 2 policy sets look again" {
				b.Fatalf("receipt %+v", r)
			}
			change(polset.InstallationUnsuspended)
			b.looking(p.ID, 1)
			b.looking(q.ID, 1)
			b.looking(byToken.ID, 0)
			b.degraded(p.ID, polset.DegradedAccessLost) // until it has read something
			b.seesAgain(p, "c1")
			b.seesAgain(q, "c1")
			b.degraded(p.ID, "")
			if b.current(p.ID) != "c1" || !b.installationRow(i.ID).Active() {
				b.Fatalf("in force %q", b.current(p.ID))
			}
		})
		b.sub("repositories removed and added", func(b *bench) {
			change(polset.InstallationRemoved, func(c *polset.InstallationChange) { c.Removed = refs })
			b.degraded(p.ID, polset.DegradedRepositoryUnselected)
			b.degraded(q.ID, "")
			if m := b.set(p.ID).Degraded.Message; !strings.Contains(m, "acme/policies") || !strings.HasSuffix(m, ".") {
				b.Fatalf("message %q", m)
			}
			change(polset.InstallationAdded, func(c *polset.InstallationChange) { c.Added = refs })
			b.looking(q.ID, 0)
			b.degraded(p.ID, polset.DegradedAccessLost)
			b.seesAgain(p, "c2")
			b.degraded(p.ID, "")
		})
		b.sub("permissions accepted", func(b *bench) {
			change(polset.InstallationPermissions, func(c *polset.InstallationChange) {
				c.Installation.Permissions = map[string]string{"contents": "read", "checks": "write"}
			})
			if b.installationRow(i.ID).Permissions["checks"] != "write" {
				b.Fatal("the permissions stayed")
			}
			b.seesAgain(p, "c3")
			b.seesAgain(q, "c3")
		})
		b.sub("the account renamed", func(b *bench) {
			r := b.happened(polset.InstallationChange{
				Action: polset.InstallationRenamed, PreviousAccount: "acme",
				Installation: polset.Installation{ExternalID: 51, AccountID: 1051, Account: "acme-corp", AccountType: "Organization"},
			})
			if r.Ignored != "" || b.set(p.ID).VCS.Identifier != "acme-corp/policies" || b.set(q.ID).VCS.Identifier != "acme-corp/other" {
				b.Fatalf("receipt %+v: %+v", r, b.set(p.ID).VCS)
			}
			if got := b.installationRow(i.ID); got.Account != "acme-corp" || !got.Active() || got.Permissions["checks"] != "write" {
				b.Fatalf("installation %+v", got)
			}
			b.seesAgain(p, "c4")
			b.seesAgain(q, "c4")
		})
		b.sub("deleted", func(b *bench) {
			change(polset.InstallationDeleted)
			b.degraded(p.ID, polset.DegradedInstallationDeleted)
			b.degraded(q.ID, polset.DegradedInstallationDeleted)
			b.degraded(byToken.ID, "")
			if b.current(p.ID) != "c4" {
				b.Fatal("something was taken out of force")
			}
			b.want(second(b.Remote(b.ctx(), admin, i.ID, "acme-corp/policies")), polset.ErrNotFound)
			// Out of order, or replayed: GitHub never uses a number again.
			for _, action := range []polset.InstallationAction{
				polset.InstallationCreated, polset.InstallationUnsuspended, polset.InstallationAdded, polset.InstallationDeleted,
			} {
				if r := change(action, func(c *polset.InstallationChange) { c.Added = refs }); r.Ignored == "" || r.Effect != "" {
					b.Fatalf("%s after deletion: %+v", action, r)
				}
			}
			b.looking(p.ID, 0)
			b.degraded(p.ID, polset.DegradedInstallationDeleted)
		})
		for _, chain := range []string{polset.ChainSite, b.org.ID} {
			for _, action := range []string{"created", "suspend", "unsuspend", "removed", "added", "new_permissions_accepted", "renamed", "deleted"} {
				if chain == b.org.ID && action == "created" {
					continue // nobody was bound yet
				}
				if b.count("SELECT count(*) FROM audit_entries WHERE chain = $1 AND action = $2", chain, "installation."+action) == 0 {
					b.Errorf("%s has no entry of %s", chain, action)
				}
			}
		}
		b.verify()
	})
}

func TestInstallationDeliveries(t *testing.T) {
	onBoth(t, func(b *bench) {
		i := b.installed(51, "acme", b.org.Name)
		p := b.through(i, "net", "acme/policies", 42)
		d := delivery(polset.HookGitHubApp)
		suspend := polset.InstallationChange{Action: polset.InstallationSuspended, Installation: installationOf(51, "acme")}
		_, err := b.RecordInstallation(b.ctx(), d, suspend)
		b.must(err)
		b.happened(polset.InstallationChange{Action: polset.InstallationUnsuspended, Installation: installationOf(51, "acme")})
		b.seesAgain(p, "c1")
		b.sub("case 07 a known delivery changes nothing", func(b *bench) {
			r, err := b.RecordInstallation(b.ctx(), d, suspend)
			b.must(err)
			if !r.Duplicate || r.Effect != "" {
				b.Fatalf("receipt %+v", r)
			}
			b.degraded(p.ID, "")
		})
		b.sub("an older state changes nothing", func(b *bench) {
			now := installationOf(51, "acme")
			now.UpdatedAt = b.At()
			b.happened(polset.InstallationChange{Action: polset.InstallationUnsuspended, Installation: now})
			b.seesAgain(p, "c2")
			old := suspend
			old.Installation.UpdatedAt = now.UpdatedAt.Add(-time.Second)
			if r := b.happened(old); r.Ignored == "" {
				b.Fatalf("receipt %+v", r)
			}
			b.degraded(p.ID, "")
			if !b.installationRow(i.ID).Active() {
				b.Fatal("an older state was taken")
			}
		})
		b.sub("deleted before it was created", func(b *bench) {
			b.happened(polset.InstallationChange{Action: polset.InstallationDeleted, Installation: installationOf(60, "late")})
			r := b.happened(polset.InstallationChange{Action: polset.InstallationCreated, Installation: installationOf(60, "late"), SenderID: 9})
			if r.Ignored == "" {
				b.Fatalf("receipt %+v", r)
			}
			if _, n, err := b.Installations(b.ctx(), admin, polset.InstallationFilter{Account: "late"}, polset.Page{Number: 1, Size: 1}); err != nil || n != 0 {
				b.Fatalf("%d, %v", n, err)
			}
		})
		b.sub("created told late names the installer", func(b *bench) {
			b.must(b.SaveInstallations(b.ctx(), []polset.Installation{installationOf(61, "listed")}, false))
			b.happened(polset.InstallationChange{Action: polset.InstallationSuspended, Installation: installationOf(62, "missed"), SenderID: 4})
			for number, account := range map[int64]string{61: "listed", 62: "missed"} {
				c := polset.InstallationChange{Action: polset.InstallationCreated, Installation: installationOf(number, account), SenderID: 11}
				b.happened(c)
				c.SenderID = 12
				b.happened(c)
				list, _, err := b.Installations(b.ctx(), admin, polset.InstallationFilter{ExternalID: number}, polset.Page{Number: 1, Size: 1})
				b.must(err)
				if list[0].InstallerID != 11 {
					b.Fatalf("installer %d", list[0].InstallerID)
				}
			}
		})
		b.sub("a rename of an unknown one is ignored", func(b *bench) {
			r := b.happened(polset.InstallationChange{Action: polset.InstallationRenamed, Installation: polset.Installation{ExternalID: 99, Account: "x"}})
			if r.Ignored == "" {
				b.Fatalf("receipt %+v", r)
			}
		})
		b.verify()
	})
}

// What an organization may not use any more tells it nothing.
func TestUnboundHearsNothing(t *testing.T) {
	onBoth(t, func(b *bench) {
		i := b.installed(51, "acme", b.org.Name)
		p := b.through(i, "net", "acme/policies", 42)
		b.push("main", "c1")
		b.carry(p.VCS.RepositoryID, "c1", "c1")
		b.must(b.UnbindInstallation(b.ctx(), admin, i.ID, b.org.Name))
		b.must(b.UnbindInstallation(b.ctx(), admin, i.ID, b.org.Name))
		b.degraded(p.ID, polset.DegradedInstallationUnbound)
		told := b.count("SELECT count(*) FROM audit_entries WHERE chain = $1", b.org.ID)

		b.hears(0, pushOf("main", "c2"))
		renamed := pushOf("main", "c3")
		renamed.Identifier = "acme/secret"
		b.hears(0, renamed)
		for _, action := range []polset.RepositoryAction{polset.RepositoryRenamed, polset.RepositoryDeleted, polset.RepositoryArchived} {
			r := b.changed(polset.HookGitHubApp, polset.RepositoryChange{
				Action: action, Repository: polset.RepositoryRef{ID: 42, Identifier: "acme/secret"}, Previous: "acme/policies",
			})
			if r.Ignored == "" {
				b.Fatalf("%s: %+v", action, r)
			}
		}
		for _, action := range []polset.InstallationAction{polset.InstallationSuspended, polset.InstallationUnsuspended, polset.InstallationDeleted} {
			b.happened(polset.InstallationChange{Action: action, Installation: installationOf(51, "acme")})
		}
		b.degraded(p.ID, polset.DegradedInstallationUnbound)
		b.looking(p.ID, 0)
		if n := b.count("SELECT count(*) FROM audit_entries WHERE chain = $1", b.org.ID); n != told {
			b.Fatalf("%d entries of what it may not know", n-told)
		}
		if got := b.set(p.ID); !strings.EqualFold(got.VCS.Identifier, "acme/policies") || b.current(p.ID) != "c1" {
			b.Fatalf("set %+v", got.VCS)
		}
		b.verify()
	})
}

// One row, two credentials: what one may not use any more tells its set nothing.
func TestUnboundBesideAToken(t *testing.T) {
	onBoth(t, func(b *bench) {
		i := b.installed(51, "acme", b.org.Name)
		p, q := b.through(i, "net", "acme/policies", 42), b.settled("token", "main", "c0")
		b.must(b.UnbindInstallation(b.ctx(), admin, i.ID, b.org.Name))
		r := b.push("main", "c1")
		if len(r.Ingestions) != 1 || len(b.history(q.ID)) != 2 || len(b.history(p.ID)) != 1 {
			b.Fatalf("receipt %+v: %v, %v", r, b.history(p.ID), b.history(q.ID))
		}
		b.verify()
	})
}

// A policy set that is being made through an installation while that is deleted
// says so too.
func TestDeletedWhileASetIsMade(t *testing.T) {
	onBoth(t, func(b *bench) {
		if _, shared := b.dialect.(*postgresDialect); !shared {
			return // one writer at a time
		}
		i := b.installed(51, "acme", b.org.Name)
		other := b.follower("other", "main", polset.Head{})
		hold, err := b.dialect.writer().BeginTx(b.ctx(), nil)
		b.must(err)
		_, err = hold.ExecContext(b.ctx(), "UPDATE repositories SET looks = looks WHERE id = $1", other.VCS.RepositoryID)
		b.must(err)
		blocked := func(want int) {
			b.Helper()
			eventually(b, func(context.Context) bool {
				return b.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == want
			})
		}
		made, told := make(chan polset.PolicySet, 1), make(chan error, 1)
		go func() {
			p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{
				Organization: b.org.Name, Name: "net", Kind: polset.KindOPA,
				VCS: &polset.VCSDraft{Identifier: "acme/policies", Branch: "main", InstallationID: i.ID},
			})
			if err != nil {
				b.Error(err)
			}
			made <- p
		}()
		blocked(1)
		go func() {
			told <- second(b.RecordInstallation(b.ctx(), delivery(polset.HookGitHubApp), polset.InstallationChange{
				Action: polset.InstallationDeleted, Installation: installationOf(51, "acme"),
			}))
		}()
		blocked(2)
		b.must(hold.Commit())
		p := <-made
		b.must(<-told)
		b.degraded(p.ID, polset.DegradedInstallationDeleted)
		b.verify()
	})
}

// Everything that touches installations, policy sets and repositories at once:
// no order of locks is broken, and what has no access says so in the end.
func TestLifecycleRaces(t *testing.T) {
	onBoth(t, func(b *bench) {
		i := b.installed(51, "acme", b.org.Name)
		b.organization("rivals")
		b.must(b.BindInstallation(b.ctx(), admin, i.ID, "rivals"))
		kept := b.through(i, "kept", "acme/r0", 100)
		told := func(action polset.InstallationAction) func(int) error {
			return func(n int) error {
				d := delivery(polset.HookGitHubApp)
				return second(b.RecordInstallation(b.ctx(), d, polset.InstallationChange{
					Action: action, Installation: installationOf(51, "acme"), Removed: []polset.RepositoryRef{{ID: 100 + int64(n%3)}},
				}))
			}
		}
		work := []func(n int) error{
			func(n int) error {
				p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{
					Organization: []string{b.org.Name, "rivals"}[n%2], Name: polset.NewID("set"), Kind: polset.KindOPA,
					VCS: &polset.VCSDraft{
						Identifier: fmt.Sprintf("acme/r%d", n%3), Branch: "main", InstallationID: i.ID,
						Facts: polset.RepositoryFacts{RepositoryRef: polset.RepositoryRef{ID: 100 + int64(n%3)}},
					},
				})
				if errors.Is(err, polset.ErrNotFound) {
					return nil // unbound just now
				}
				if err != nil || n%2 == 0 {
					return err
				}
				return b.DeletePolicySet(b.ctx(), admin, p.ID)
			},
			func(n int) error {
				c, err := b.CreateConnection(b.ctx(), admin, polset.ConnectionDraft{Organization: b.org.Name, HTTPURL: host, APIURL: host})
				if err != nil {
					return err
				}
				_, err = b.UpdatePolicySet(b.ctx(), admin, kept.ID, polset.PolicySetChange{VCS: &polset.VCSDraft{
					Identifier: fmt.Sprintf("acme/r%d", n%3), Branch: "main", TokenID: c.TokenID,
				}})
				if err != nil {
					return err
				}
				if _, err := b.ClaimHooks(b.ctx(), 3, time.Nanosecond); err != nil {
					return err
				}
				return b.DeleteConnection(b.ctx(), admin, c.ID)
			},
			func(int) error { return b.UnbindInstallation(b.ctx(), admin, i.ID, "rivals") },
			func(int) error { return b.BindInstallation(b.ctx(), admin, i.ID, "rivals") },
			told(polset.InstallationSuspended), told(polset.InstallationUnsuspended), told(polset.InstallationRemoved),
			func(n int) error {
				return second(b.RecordRepository(b.ctx(), delivery(polset.HookGitHubApp), polset.RepositoryChange{
					Action: polset.RepositoryArchived, Repository: polset.RepositoryRef{ID: 100 + int64(n%3), Identifier: fmt.Sprintf("acme/r%d", n%3)},
				}))
			},
			func(n int) error {
				p := pushOf("main", fmt.Sprintf("c%d", n))
				p.RepositoryID, p.Identifier = 100+int64(n%3), fmt.Sprintf("acme/r%d", n%3)
				return second(b.RecordPush(b.ctx(), delivery(polset.HookGitHubApp), p))
			},
		}
		const rounds = 12
		errs := make(chan error, len(work)*rounds)
		for _, do := range work {
			go func() {
				for n := range rounds {
					errs <- do(n)
				}
			}()
		}
		for range cap(errs) {
			b.must(<-errs)
		}
		b.must(b.UnbindInstallation(b.ctx(), admin, i.ID, "rivals"))
		b.happened(polset.InstallationChange{Action: polset.InstallationDeleted, Installation: installationOf(51, "acme")})
		n := b.count("SELECT count(*) FROM policy_sets WHERE installation_id IS NOT NULL AND degraded NOT IN ('installation-unbound', 'installation-deleted')")
		if n != 0 || b.count("SELECT count(*) FROM policy_sets WHERE installation_id IS NOT NULL") == 0 {
			b.Fatalf("%d sets without access do not say so", n)
		}
		b.degraded(kept.ID, polset.DegradedConnectionDeleted)
		b.verify()
	})
}

// A rename that is told late, or again, does not give an old name back.
func TestAccountNamesDoNotRollBack(t *testing.T) {
	onBoth(t, func(b *bench) {
		i := b.installed(51, "acme", b.org.Name)
		p := b.through(i, "net", "acme/policies", 42)
		told := func(account int64, from, to string) polset.Receipt {
			b.Helper()
			return b.happened(polset.InstallationChange{
				Action: polset.InstallationRenamed, PreviousAccount: from,
				Installation: polset.Installation{ExternalID: 51, AccountID: account, Account: to, AccountType: "Organization"},
			})
		}
		is := func(r polset.Receipt, ignored bool, account string) {
			b.Helper()
			got, name := b.installationRow(i.ID).Account, b.set(p.ID).VCS.Identifier
			if (r.Ignored != "") != ignored || got != account || name != account+"/policies" {
				b.Fatalf("account %q, repository %q, want %q: %+v", got, name, account, r)
			}
		}
		is(told(1051, "ACME", "bcme"), false, "bcme")
		is(told(1051, "bcme", "ccme"), false, "ccme")
		is(told(1051, "acme", "bcme"), true, "ccme")
		is(told(7, "ccme", "dcme"), true, "ccme") // another host's 51
		is(told(1051, "bcme", "ccme"), false, "ccme")
		b.verify()
	})
}

// Every host counts its own installations.
func TestInstallationOfAnotherHost(t *testing.T) {
	onBoth(t, func(b *bench) {
		i := b.installed(51, "acme", b.org.Name)
		p := b.through(i, "net", "acme/policies", 42)
		for name, edit := range map[string]func(*polset.Installation){
			"host": func(i *polset.Installation) { i.HTTPURL = "https://ghes.example" },
			"App":  func(i *polset.Installation) { i.AppID = 8 },
		} {
			for _, action := range []polset.InstallationAction{polset.InstallationSuspended, polset.InstallationDeleted, polset.InstallationPermissions} {
				c := polset.InstallationChange{Action: action, Installation: installationOf(51, "other")}
				edit(&c.Installation)
				if r := b.happened(c); r.Ignored == "" || r.Effect != "" {
					b.Fatalf("%s of another %s: %+v", action, name, r)
				}
			}
		}
		if got := b.installationRow(i.ID); !got.Active() || got.Account != "acme" {
			b.Fatalf("installation %+v", got)
		}
		b.degraded(p.ID, "")
		same := installationOf(51, "acme")
		same.HTTPURL, same.AppID = "https://GitHub.com/", 0
		b.happened(polset.InstallationChange{Action: polset.InstallationSuspended, Installation: same})
		b.degraded(p.ID, polset.DegradedInstallationSuspended)
		b.verify()
	})
}
