package store

import (
	"slices"
	"testing"
	"time"

	"github.com/polset/polset"
)

func installationOf(number int64, account string) polset.Installation {
	return polset.Installation{
		ExternalID: number, AppID: 7, HTTPURL: host, Account: account, AccountID: 1000 + number, AccountType: "Organization",
		IconURL: "https://avatars.example/" + account, HTMLURL: host + "/organizations/" + account + "/settings/installations",
		Selection: "all", Permissions: map[string]string{"contents": "read"},
	}
}

func (b *bench) happened(c polset.InstallationChange) polset.Receipt {
	b.Helper()
	d := delivery(polset.HookGitHubApp)
	d.Event = "installation"
	r, err := b.RecordInstallation(b.ctx(), d, c)
	b.must(err)
	return r
}

// installed has person 9 install the App on an account, and an organization use it.
func (b *bench) installed(number int64, account, organization string) polset.Installation {
	b.Helper()
	b.happened(polset.InstallationChange{Action: polset.InstallationCreated, Installation: installationOf(number, account), SenderID: 9})
	list, _, err := b.Installations(b.ctx(), admin, polset.InstallationFilter{ExternalID: number}, polset.Page{Number: 1, Size: 2})
	b.must(err)
	if len(list) != 1 {
		b.Fatalf("installations %+v", list)
	}
	if organization != "" {
		b.must(b.BindInstallation(b.ctx(), admin, list[0].ID, organization))
	}
	return b.installationRow(list[0].ID)
}

func (b *bench) installationRow(id string) polset.Installation {
	b.Helper()
	i, err := b.Installation(b.ctx(), admin, id)
	b.must(err)
	return i
}

// through makes a policy set that follows main of a repository through an
// installation, and carries its first commit.
func (b *bench) through(i polset.Installation, name, identifier string, number int64) polset.PolicySet {
	b.Helper()
	p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{
		Organization: i.Organizations[0], Name: name, Kind: polset.KindOPA, PoliciesPath: "policies",
		VCS: &polset.VCSDraft{
			Identifier: identifier, Branch: "main", InstallationID: i.ID, Head: polset.Head{Branch: "main", Commit: "c0"},
			Facts: polset.RepositoryFacts{RepositoryRef: polset.RepositoryRef{ID: number, Identifier: identifier}, DefaultBranch: "main"},
		},
	})
	b.must(err)
	b.carry(p.VCS.RepositoryID, "c0", "c0")
	return b.set(p.ID)
}

// degraded demands the reason for which a set is degraded; "" for none.
func (b *bench) degraded(id string, reason polset.DegradedReason) {
	b.Helper()
	got := b.set(id).Degraded
	switch {
	case got == nil && reason == "":
	case got == nil, got.Reason != reason, got.Message == "", got.Since.IsZero():
		b.Fatalf("degraded %+v, want %q", got, reason)
	}
}

// looks demands how many looks a set is about to take.
func (b *bench) looking(id string, want int) {
	b.Helper()
	n := b.count("SELECT count(*) FROM ingestions WHERE policy_set_id = $1 AND cause = 'head' AND commit_id = '' AND ended_at IS NULL", id)
	if n != want {
		b.Fatalf("%d looks to come, want %d: %v", n, want, b.history(id))
	}
}

// seesAgain is what a look with a set's credential finds.
func (b *bench) seesAgain(p polset.PolicySet, commit string) {
	b.Helper()
	batch := b.claim(p.VCS.RepositoryID, "")
	if len(batch.Claims) == 0 {
		b.Fatal("nothing to look for")
	}
	for _, c := range batch.Claims {
		b.must(b.Observe(b.ctx(), polset.Observation{
			RepositoryID: p.VCS.RepositoryID, Branch: c.Ingestion.Branch, Head: polset.Head{Branch: "main", Commit: commit}, Look: batch.Look,
			Credential: c.Ingestion.Credential(),
		}))
		b.must(b.Resolve(b.ctx(), c.Lease, polset.Head{Branch: "main", Commit: commit}))
		b.finish(c, commit)
	}
}

func TestInstallations(t *testing.T) {
	onBoth(t, func(b *bench) {
		theirs := b.organization("rivals")
		own := polset.Principal{Actor: "at-own", OrganizationID: b.org.ID}
		rival := polset.Principal{Actor: "at-rival", OrganizationID: theirs.ID}
		acme := b.installed(51, "Acme", b.org.Name)
		b.installed(52, "beta", b.org.Name)
		b.must(b.BindInstallation(b.ctx(), admin, acme.ID, theirs.Name))
		gone := b.installed(53, "zeta", b.org.Name)
		b.happened(polset.InstallationChange{Action: polset.InstallationDeleted, Installation: installationOf(53, "zeta")})
		b.installed(54, "free", "")

		got := b.installationRow(acme.ID)
		if got.Account != "Acme" || got.ExternalID != 51 || got.AppID != 7 || got.AccountID != 1051 || got.AccountType != "Organization" ||
			got.Selection != "all" || got.Permissions["contents"] != "read" || got.InstallerID != 9 || got.CreatedAt.IsZero() ||
			got.HTTPURL != host || got.IconURL == "" || got.HTMLURL == "" || !got.Active() ||
			!slices.Equal(got.Organizations, []string{"acme", "rivals"}) {
			b.Fatalf("got %+v", got)
		}
		for _, c := range []struct {
			by     polset.Principal
			filter polset.InstallationFilter
			page   polset.Page
			want   []string
			total  int
		}{
			{admin, polset.InstallationFilter{}, polset.Page{Number: 1, Size: 9}, []string{"Acme", "beta", "free"}, 3},
			{admin, polset.InstallationFilter{}, polset.Page{Number: 2, Size: 2}, []string{"free"}, 3},
			{admin, polset.InstallationFilter{Account: "aCME"}, polset.Page{Number: 1, Size: 9}, []string{"Acme"}, 1},
			{admin, polset.InstallationFilter{ExternalID: 53}, polset.Page{Number: 1, Size: 9}, nil, 0},
			{own, polset.InstallationFilter{}, polset.Page{Number: 1, Size: 9}, []string{"Acme", "beta"}, 2},
			{own, polset.InstallationFilter{ExternalID: 54}, polset.Page{Number: 1, Size: 9}, nil, 0},
			{rival, polset.InstallationFilter{}, polset.Page{Number: 1, Size: 9}, []string{"Acme"}, 1},
			{rival, polset.InstallationFilter{Account: "beta"}, polset.Page{Number: 1, Size: 9}, nil, 0},
		} {
			list, total, err := b.Installations(b.ctx(), c.by, c.filter, c.page)
			b.must(err)
			var names []string
			for _, i := range list {
				names = append(names, i.Account)
				if (len(i.Organizations) > 0) != (c.by.SiteAdmin() && i.Account != "free") {
					b.Errorf("%s was told of %v", c.by.Actor, i.Organizations)
				}
			}
			if !slices.Equal(names, c.want) || total != c.total {
				b.Errorf("%+v: got %q of %d", c, names, total)
			}
		}
		if i := b.installationRow(gone.ID); i.DeletedAt.IsZero() || i.Active() {
			b.Fatalf("deleted: %+v", i)
		}
		b.want(second(b.Installation(b.ctx(), own, gone.ID)), polset.ErrNotFound)
		if i, err := b.Installation(b.ctx(), own, acme.ID); err != nil || i.Organizations != nil {
			b.Fatalf("own: %+v, %v", i, err)
		}
		b.verify()
	})
}

// TestInstallationTenancy names an installation in every place where an
// organization could, and demands the answer for one that does not exist.
func TestInstallationTenancy(t *testing.T) {
	onBoth(t, func(b *bench) {
		theirs := b.organization("rivals")
		b.connection("rivals")
		bound := b.installed(51, "acme", b.org.Name)
		deleted := b.installed(52, "gone", "rivals")
		b.happened(polset.InstallationChange{Action: polset.InstallationDeleted, Installation: installationOf(52, "gone")})
		left := b.installed(53, "left", "rivals")
		b.must(b.UnbindInstallation(b.ctx(), admin, left.ID, "rivals"))
		rival := polset.Principal{Actor: "at-rival", OrganizationID: theirs.ID, Permissions: polset.Permissions()}
		set, err := b.CreatePolicySet(b.ctx(), rival, polset.PolicySetDraft{Organization: "rivals", Name: "theirs", Kind: polset.KindOPA})
		b.must(err)
		follow := func(id string) *polset.VCSDraft {
			return &polset.VCSDraft{Identifier: "acme/policies", InstallationID: id}
		}

		var unknown []string
		for _, id := range []string{"ghain-doesnotexist0000", bound.ID, deleted.ID, left.ID} {
			var answers []string
			answer := func(err error) {
				b.Helper()
				b.want(err, polset.ErrNotFound)
				answers = append(answers, err.Error()[:10])
			}
			for _, by := range []polset.Principal{rival, admin} {
				d := polset.PolicySetDraft{Organization: "rivals", Name: "stolen", Kind: polset.KindOPA, VCS: follow(id)}
				answer(second(b.CreatePolicySet(b.ctx(), by, d)))
				answer(second(b.UpdatePolicySet(b.ctx(), by, set.ID, polset.PolicySetChange{VCS: follow(id)})))
			}
			answer(second(b.Remote(b.ctx(), rival, id, "acme/policies")))
			answer(second(b.Installation(b.ctx(), rival, id)))
			answer(b.BindInstallation(b.ctx(), rival, id, "rivals"))
			answer(b.UnbindInstallation(b.ctx(), rival, id, "rivals"))
			if unknown == nil {
				unknown = answers
			}
			if !slices.Equal(answers, unknown) {
				b.Errorf("%s is answered %q, an unknown one %q", id, answers, unknown)
			}
		}
		if n := b.count("SELECT count(*) FROM policy_sets WHERE installation_id IS NOT NULL"); n != 0 {
			b.Fatalf("%d sets use what they may not", n)
		}
		b.verify()
	})
}

func TestRemoteOfAnInstallation(t *testing.T) {
	onBoth(t, func(b *bench) {
		i := b.installed(51, "acme", b.org.Name)
		p := b.through(i, "net", "acme/policies", 42)
		own := polset.Principal{Actor: "at-own", OrganizationID: b.org.ID}
		for _, by := range []polset.Principal{own, admin} {
			r, err := b.Remote(b.ctx(), by, i.ID, "acme/else")
			b.must(err)
			if (r != polset.Remote{HTTPURL: host, Identifier: "acme/else", Installation: 51}) {
				b.Fatalf("remote %+v", r)
			}
		}
		r, err := b.Remote(b.ctx(), own, b.conn.TokenID, "acme/else")
		b.must(err)
		if r.APIURL != "https://api.github.com" || r.Token.Empty() || r.Installation != 0 {
			b.Fatalf("remote %+v", r)
		}
		remotes := func(commit string) map[string]polset.Remote {
			b.Helper()
			b.push("main", commit)
			batch := b.claim(p.VCS.RepositoryID, commit)
			if len(batch.Claims) != 1 || batch.Claims[0].Ingestion.Credential() != i.ID {
				b.Fatalf("batch %+v", batch)
			}
			b.finish(batch.Claims[0], commit)
			return batch.Remotes
		}
		want := polset.Remote{HTTPURL: host, Identifier: "Acme/Policies", ExternalID: 42, Installation: 51}
		if got := remotes("c1")[i.ID]; got != want {
			b.Fatalf("remote %+v, want %+v", got, want)
		}
		b.happened(polset.InstallationChange{Action: polset.InstallationSuspended, Installation: installationOf(51, "acme")})
		if got := remotes("c2")[i.ID]; got != want {
			b.Fatalf("remote of a suspended installation %+v, want %+v", got, want)
		}
		b.push("main", "c3")
		b.must(b.UnbindInstallation(b.ctx(), admin, i.ID, b.org.Name))
		if batch := b.claim(p.VCS.RepositoryID, "c3"); len(batch.Claims) != 1 || len(batch.Remotes) != 0 {
			b.Fatalf("batch %+v", batch)
		}
		b.verify()
	})
}

func TestSaveInstallations(t *testing.T) {
	onBoth(t, func(b *bench) {
		i := b.installed(51, "acme", b.org.Name)
		p := b.through(i, "net", "acme/policies", 42)
		b.exec("UPDATE installations SET created_at = $1", b.At().Add(-time.Hour))
		save := func(complete bool, list ...polset.Installation) {
			b.Helper()
			b.must(b.SaveInstallations(b.ctx(), list, complete))
		}
		entries := func() int { return b.count("SELECT count(*) FROM audit_entries") }
		listed := installationOf(51, "acme")
		listed.UpdatedAt = b.At().Add(-30 * time.Minute)
		save(true, listed)
		before := entries()
		save(true, listed)
		if entries() != before || b.installationRow(i.ID).InstallerID != 9 {
			b.Fatalf("a list that tells nothing new changed %+v", b.installationRow(i.ID))
		}

		suspended := listed
		suspended.SuspendedAt, suspended.UpdatedAt = b.At(), listed.UpdatedAt.Add(time.Minute)
		save(true, suspended)
		b.degraded(p.ID, polset.DegradedInstallationSuspended)
		save(true, listed) // read before that
		b.degraded(p.ID, polset.DegradedInstallationSuspended)
		if b.installationRow(i.ID).Active() {
			b.Fatal("an older list unsuspended it")
		}
		active := listed
		active.UpdatedAt = suspended.UpdatedAt.Add(time.Minute)
		save(true, active)
		b.looking(p.ID, 1)
		b.seesAgain(p, "c1")
		b.degraded(p.ID, "")

		renamed := active
		renamed.Account = "acme-corp"
		save(true, renamed)
		if got := b.set(p.ID).VCS.Identifier; got != "acme-corp/policies" {
			b.Fatalf("identifier %q", got)
		}

		save(false, installationOf(60, "other"))
		b.degraded(p.ID, "")
		save(true, installationOf(60, "other"))
		b.degraded(p.ID, polset.DegradedInstallationDeleted)
		save(true, active) // may have been read before it was deleted
		b.degraded(p.ID, polset.DegradedInstallationDeleted)
		b.exec("UPDATE installations SET deleted_at = $1 WHERE external_id = 51", b.At().Add(-time.Hour))
		save(true, active)
		b.looking(p.ID, 1)
		b.seesAgain(p, "c2")
		b.degraded(p.ID, "")
		if b.current(p.ID) != "c2" {
			b.Fatalf("current %q", b.current(p.ID))
		}

		// What has just come need not be in the list yet.
		b.installed(70, "young", "")
		save(true)
		if _, n, err := b.Installations(b.ctx(), admin, polset.InstallationFilter{Account: "young"}, polset.Page{Number: 1, Size: 1}); err != nil || n != 1 {
			b.Fatalf("the young one is gone: %d, %v", n, err)
		}
		b.verify()
	})
}
