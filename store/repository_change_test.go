package store

import (
	"slices"
	"strings"
	"testing"

	"github.com/polset/polset"
)

// changed records what happened to a repository.
func (b *bench) changed(hook string, c polset.RepositoryChange) polset.Receipt {
	b.Helper()
	d := delivery(hook)
	d.Event = "repository"
	r, err := b.RecordRepository(b.ctx(), d, c)
	b.must(err)
	return r
}

func TestRepositoryLifecycle(t *testing.T) {
	onBoth(t, func(b *bench) {
		i := b.installed(51, "acme", b.org.Name)
		p := b.through(i, "net", "acme/policies", 42)
		byToken := b.settled("token", "main", "c0")
		floating := b.followerOf("acme", "acme/policies", b.conn.TokenID, polset.Head{Branch: "main", Commit: "c0"})
		_, err := b.UpdatePolicySet(b.ctx(), admin, floating.ID, polset.PolicySetChange{VCS: &polset.VCSDraft{
			Identifier: "acme/policies", TokenID: b.conn.TokenID, Head: polset.Head{Branch: "main", Commit: "c0"},
		}})
		b.must(err)
		b.carry(p.VCS.RepositoryID, "c0", "c0")
		all := []string{p.ID, byToken.ID, floating.ID}
		if p.VCS.RepositoryID != byToken.VCS.RepositoryID {
			b.Fatal("not one row")
		}
		ref := polset.RepositoryRef{ID: 42, Identifier: "acme/policies"}
		change := func(action polset.RepositoryAction, edit ...func(*polset.RepositoryChange)) polset.Receipt {
			b.Helper()
			c := polset.RepositoryChange{Action: action, Repository: ref, DefaultBranch: "main", Installation: 51}
			for _, f := range edit {
				f(&c)
			}
			return b.changed(polset.HookGitHubApp, c)
		}
		heals := func(commit string) {
			b.Helper()
			b.seesAgain(p, commit)
			for _, id := range all {
				b.degraded(id, "")
				b.looking(id, 0)
			}
		}

		b.sub("renamed", func(b *bench) {
			ref.Identifier = "acme/rules"
			r := change(polset.RepositoryRenamed, func(c *polset.RepositoryChange) { c.Previous = "acme/policies" })
			if r.Effect != "repository renamed: 3 policy sets look again" || b.set(p.ID).VCS.Identifier != "acme/rules" {
				b.Fatalf("receipt %+v: %+v", r, b.set(p.ID).VCS)
			}
			heals("c1")
			// Another repository may have the old name now.
			other := pushOf("main", "x1")
			other.RepositoryID, other.Identifier = 77, "acme/policies"
			b.hears(0, other)
		})
		b.sub("case 21 transferred", func(b *bench) {
			ref.Identifier = "beta/rules"
			change(polset.RepositoryTransferred, func(c *polset.RepositoryChange) { c.Previous = "acme/rules" })
			b.degraded(p.ID, polset.DegradedRepositoryTransferred)
			b.degraded(byToken.ID, "")
			b.looking(p.ID, 0)
			b.looking(byToken.ID, 1)
			if b.set(p.ID).VCS.Identifier != "beta/rules" {
				b.Fatalf("vcs %+v", b.set(p.ID).VCS)
			}
			b.seesAgain(byToken, "c2")
			b.degraded(p.ID, polset.DegradedRepositoryTransferred) // read by others
			for _, c := range b.claim(p.VCS.RepositoryID, "c2").Claims {
				b.must(b.Store.Fail(b.ctx(), c.Lease, polset.Fail(polset.ClassAuth, "No."), polset.Content{}))
			}
			b.degraded(p.ID, polset.DegradedRepositoryTransferred) // which says more
			ref.Identifier = "acme/rules"
			change(polset.RepositoryTransferred, func(c *polset.RepositoryChange) { c.Previous = "beta/rules" })
			heals("c3")
		})
		b.sub("deleted", func(b *bench) {
			change(polset.RepositoryDeleted)
			for _, id := range all {
				b.degraded(id, polset.DegradedRepositoryDeleted)
				if b.current(id) != "c3" {
					b.Fatalf("in force %q", b.current(id))
				}
			}
			change(polset.RepositoryPublicized) // it is back
			b.degraded(p.ID, polset.DegradedAccessLost)
			heals("c4")
		})
		b.sub("archived and unarchived", func(b *bench) {
			change(polset.RepositoryArchived)
			for _, id := range all {
				b.degraded(id, polset.DegradedRepositoryArchived)
			}
			change(polset.RepositoryPrivatized, func(c *polset.RepositoryChange) { c.Archived = true })
			b.seesAgain(p, "c5")
			b.degraded(p.ID, polset.DegradedRepositoryArchived) // still
			late := b.followerOf("acme", "acme/rules", b.conn.TokenID, polset.Head{Branch: "main", Commit: "c5"})
			b.degraded(late.ID, polset.DegradedRepositoryArchived)
			b.must(b.DeletePolicySet(b.ctx(), admin, late.ID))
			change(polset.RepositoryUnarchived)
			for _, id := range all {
				b.degraded(id, "")
			}
			heals("c6")
		})
		b.sub("another default branch", func(b *bench) {
			change(polset.RepositoryDefaultBranch, func(c *polset.RepositoryChange) { c.DefaultBranch = "trunk" })
			b.looking(p.ID, 0)
			b.looking(floating.ID, 1)
			b.seesAgain(floating, "c6")
		})
		b.sub("case 18 the branch deleted", func(b *bench) {
			change(polset.RepositoryBranchDeleted, func(c *polset.RepositoryChange) { c.Branch = "else" })
			b.degraded(p.ID, "")
			change(polset.RepositoryBranchDeleted, func(c *polset.RepositoryChange) { c.Branch = "main" })
			b.degraded(p.ID, polset.DegradedBranchDeleted)
			b.degraded(floating.ID, "")
			b.looking(floating.ID, 1)
			if b.current(p.ID) != "c6" {
				b.Fatalf("in force %q", b.current(p.ID))
			}
			b.seesAgain(floating, "c6") // main is back where it was
			b.degraded(p.ID, "")
		})
		for _, action := range []string{"renamed", "transferred", "deleted", "publicized", "archived", "privatized", "unarchived", "default-branch", "branch-deleted"} {
			if b.count("SELECT count(*) FROM audit_entries WHERE chain = $1 AND action = $2", b.org.ID, "repository."+action) == 0 {
				b.Errorf("no entry of %s", action)
			}
		}
		b.verify()
	})
}

func TestRepositoryDeliveries(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		ref := polset.RepositoryRef{ID: 42, Identifier: "acme/policies"}
		b.sub("case 07 a known delivery changes nothing", func(b *bench) {
			d := delivery(polset.HookGitHubApp)
			c := polset.RepositoryChange{Action: polset.RepositoryDeleted, Repository: ref}
			_, err := b.RecordRepository(b.ctx(), d, c)
			b.must(err)
			b.degraded(p.ID, polset.DegradedRepositoryDeleted)
			b.changed(polset.HookGitHubApp, polset.RepositoryChange{Action: polset.RepositoryPublicized, Repository: ref})
			b.seesAgain(p, "c1")
			r, err := b.RecordRepository(b.ctx(), d, c)
			b.must(err)
			if !r.Duplicate {
				b.Fatalf("receipt %+v", r)
			}
			b.degraded(p.ID, "")
		})
		b.sub("the App tells nothing of what a token cannot read", func(b *bench) {
			evil := b.stranger("evil", "acme/policies")
			b.changed(polset.HookGitHubApp, polset.RepositoryChange{
				Action: polset.RepositoryRenamed, Repository: polset.RepositoryRef{ID: 42, Identifier: "acme/secret"}, Previous: "acme/policies",
			})
			b.changed(polset.HookGitHubApp, polset.RepositoryChange{Action: polset.RepositoryArchived, Repository: polset.RepositoryRef{ID: 42, Identifier: "acme/secret"}})
			b.degraded(evil.ID, "")
			b.silent(evil, "acme/policies")
			b.degraded(p.ID, polset.DegradedRepositoryArchived)
			// Nor where the stranger has claimed the number with its own hook.
			forged := pushOf("other", "e1")
			b.must(second(b.RecordPush(b.ctx(), delivery(evil.VCS.HookID), forged)))
			b.changed(polset.HookGitHubApp, polset.RepositoryChange{
				Action: polset.RepositoryRenamed, Repository: polset.RepositoryRef{ID: 42, Identifier: "acme/secret2"}, Previous: "acme/secret",
			})
			if got := b.set(evil.ID).VCS.Identifier; !strings.EqualFold(got, "acme/policies") {
				b.Fatalf("the stranger was told %q", got)
			}
		})
		b.sub("a hook speaks for its own repository only", func(b *bench) {
			mine := b.followerOf("acme", "acme/mine", b.conn.TokenID, polset.Head{Branch: "main", Commit: "m0"})
			c := polset.RepositoryChange{Action: polset.RepositoryDeleted, Repository: polset.RepositoryRef{ID: 43, Identifier: "acme/else"}}
			before := b.count("SELECT count(*) FROM deliveries")
			b.want(second(b.RecordRepository(b.ctx(), delivery(mine.VCS.HookID), c)), polset.ErrNotFound)
			b.want(second(b.RecordRepository(b.ctx(), delivery("b9bd3c8a-0000-4000-8000-000000000000"), c)), polset.ErrNotFound)
			if b.count("SELECT count(*) FROM deliveries") != before {
				b.Fatal("it left a trace")
			}
			// Of a rename before the number was known it tells both names.
			c = polset.RepositoryChange{
				Action: polset.RepositoryRenamed, Previous: "acme/mine", Repository: polset.RepositoryRef{ID: 43, Identifier: "acme/ours"},
			}
			b.changed(mine.VCS.HookID, c)
			if got := b.set(mine.ID).VCS.Identifier; got != "acme/ours" {
				b.Fatalf("identifier %q", got)
			}
			b.want(second(b.RecordRepository(b.ctx(), delivery(mine.VCS.HookID), polset.RepositoryChange{
				Action: polset.RepositoryDeleted, Repository: polset.RepositoryRef{ID: 44, Identifier: "acme/ours"},
			})), polset.ErrNotFound)
		})
		b.sub("of what nobody follows it is ignored", func(b *bench) {
			if r := b.changed(polset.HookGitHubApp, polset.RepositoryChange{
				Action: polset.RepositoryDeleted, Repository: polset.RepositoryRef{ID: 99, Identifier: "acme/nothing"},
			}); r.Ignored == "" {
				b.Fatalf("receipt %+v", r)
			}
		})
		b.verify()
	})
}

// A branch that was pushed again, at the commit where it was deleted, is looked at.
func TestRepeatedPushOfADegradedSet(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		b.push("main", "c1")
		b.carry(p.VCS.RepositoryID, "c1", "c1")
		if r := b.push("main", "c1"); !r.Duplicate {
			b.Fatalf("receipt %+v", r)
		}
		b.changed(polset.HookGitHubApp, polset.RepositoryChange{
			Action: polset.RepositoryBranchDeleted, Branch: "main", DefaultBranch: "trunk", Repository: polset.RepositoryRef{ID: 42, Identifier: "acme/policies"},
		})
		if r := b.push("main", "c1"); len(r.Ingestions) != 1 {
			b.Fatalf("receipt %+v", r)
		}
		batch := b.claim(p.VCS.RepositoryID, "c1")
		b.must(b.Observe(b.ctx(), polset.Observation{
			RepositoryID: p.VCS.RepositoryID, Branch: "main", Head: polset.Head{Branch: "main", Commit: "c1"}, Look: batch.Look, Credential: b.conn.TokenID,
		}))
		b.degraded(p.ID, "")
		b.verify()
	})
}

// What GitHub itself said of a repository, to the credential that follows it.
func TestFacts(t *testing.T) {
	onBoth(t, func(b *bench) {
		facts := func(number int64, identifier string) polset.RepositoryFacts {
			return polset.RepositoryFacts{RepositoryRef: polset.RepositoryRef{ID: number, Identifier: identifier}, DefaultBranch: "main"}
		}
		create := func(name, token string, f polset.RepositoryFacts, identifier string) polset.PolicySet {
			b.Helper()
			p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{
				Organization: b.org.Name, Name: name, Kind: polset.KindOPA,
				VCS: &polset.VCSDraft{Identifier: identifier, Branch: "main", TokenID: token, Facts: f},
			})
			b.must(err)
			return p
		}
		b.sub("bind at once", func(b *bench) {
			p := create("net", b.conn.TokenID, facts(42, "Acme/Policies"), "acme/policies")
			if p.VCS.Identifier != "Acme/Policies" {
				b.Fatalf("vcs %+v", p.VCS)
			}
			renamed := pushOf("main", "c1") // before any other word of it
			renamed.Identifier = "acme/renamed"
			b.hears(1, renamed)
			if got := b.set(p.ID).VCS.Identifier; got != "acme/renamed" {
				b.Fatalf("identifier %q", got)
			}
			// By its number, whatever its name.
			same := create("same", b.conn.TokenID, facts(42, "acme/third-name"), "acme/third-name")
			if same.VCS.RepositoryID != p.VCS.RepositoryID || same.VCS.HookSecret.Reveal() != "" {
				b.Fatalf("vcs %+v", same.VCS)
			}
			if got := b.set(p.ID).VCS.Identifier; got != "acme/third-name" {
				b.Fatalf("identifier %q", got)
			}
			// Another that took the name is another.
			if other := create("other", b.conn.TokenID, facts(43, "acme/third-name"), "acme/third-name"); other.VCS.RepositoryID == p.VCS.RepositoryID {
				b.Fatal("two repositories share a row")
			}
		})
		b.sub("a row of the name without a number", func(b *bench) {
			p := create("unknown", b.conn.TokenID, polset.RepositoryFacts{}, "acme/unknown")
			missed := pushOf("main", "c0")
			missed.RepositoryID, missed.Identifier = 50, "acme/unknown"
			b.hears(0, missed)
			q := create("known", b.conn.TokenID, facts(50, "acme/unknown"), "acme/unknown")
			if p.VCS.RepositoryID != q.VCS.RepositoryID {
				b.Fatal("not one row")
			}
			b.looking(p.ID, 1) // for what it missed
			push := pushOf("main", "c1")
			push.RepositoryID, push.Identifier = 50, "acme/unknown"
			b.hears(2, push)
		})
		b.sub("an archived one", func(b *bench) {
			f := facts(60, "acme/archived")
			f.Archived = true
			p := create("archived", b.conn.TokenID, f, "acme/archived")
			b.degraded(p.ID, polset.DegradedRepositoryArchived)
			f.Archived = false
			q := create("unarchived", b.conn.TokenID, f, "acme/archived")
			b.degraded(p.ID, "")
			b.degraded(q.ID, "")
		})
		b.sub("of an API that the organization chose prove nothing", func(b *bench) {
			c, err := b.CreateConnection(b.ctx(), admin, polset.ConnectionDraft{
				Organization: b.org.Name, Name: "lies", ServiceProvider: "github", HTTPURL: host,
				APIURL: "https://lies.example", Token: polset.NewSecret("t"),
			})
			b.must(err)
			p := create("liar", c.TokenID, facts(70, "victim/policies"), "evil/own")
			push := pushOf("main", "c1")
			push.RepositoryID, push.Identifier = 70, "victim/policies"
			b.hears(0, push)
			if got := b.set(p.ID).VCS.Identifier; got != "evil/own" || slices.Contains(b.history(p.ID), "push c1 pending") {
				b.Fatalf("identifier %q, history %v", got, b.history(p.ID))
			}
		})
		b.verify()
	})
}

func TestSameServer(t *testing.T) {
	for _, c := range []struct {
		web, api string
		want     bool
	}{
		{"https://github.com", "https://api.github.com", true},
		{"https://GitHub.com/", "https://api.github.com/", true},
		{"https://acme.ghe.com", "https://api.acme.ghe.com", true},
		{"https://git.example", "https://git.example/api/v3", true},
		{"https://git.example", "https://git.example:443/api/v3", true},
		{"http://localhost:8080", "http://localhost:8080/api/v3", true},
		{"https://git.example", "https://git.example:8443/api/v3", false},
		{"https://git.example", "http://git.example/api/v3", false},
		{"https://github.com", "https://api.github.com.evil.example", false},
		{"https://github.com", "https://evil.example/api.github.com", false},
		{"https://github.com", "https://api.github.com:8443", false},
		{"https://github.com", "https://user@evil.example", false},
		{"https://github.com", "", false},
		{"", "", false},
	} {
		if got := sameServer(c.web, c.api); got != c.want {
			t.Errorf("sameServer(%q, %q) = %v", c.web, c.api, got)
		}
	}
}

// A delivery that was missed: whatever else is told of a repository, and
// describes it, says whether it is archived.
func TestArchivedByTheWay(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		told := func(action polset.RepositoryAction, archived bool) {
			b.Helper()
			b.changed(polset.HookGitHubApp, polset.RepositoryChange{
				Action: action, Repository: polset.RepositoryRef{ID: 42, Identifier: "acme/policies"}, Branch: "gone", Archived: archived,
			})
		}
		told(polset.RepositoryPublicized, true)
		b.degraded(p.ID, polset.DegradedRepositoryArchived)
		b.seesAgain(p, "c1")
		b.degraded(p.ID, polset.DegradedRepositoryArchived)
		told(polset.RepositoryBranchDeleted, false) // says nothing of it
		b.degraded(p.ID, polset.DegradedRepositoryArchived)
		told(polset.RepositoryPrivatized, false)
		b.degraded(p.ID, "")
		b.seesAgain(p, "c2")
		told(polset.RepositoryBranchDeleted, true)
		b.degraded(p.ID, "")
		told(polset.RepositoryArchived, false)
		b.degraded(p.ID, polset.DegradedRepositoryArchived)
		told(polset.RepositoryUnarchived, true)
		b.degraded(p.ID, "")
		b.verify()
	})
}

// A rename or transfer that is told late, or again, does not give an old name back.
func TestRepositoryNamesDoNotRollBack(t *testing.T) {
	onBoth(t, func(b *bench) {
		i := b.installed(51, "acme", b.org.Name)
		p := b.through(i, "net", "acme/policies", 42)
		told := func(action polset.RepositoryAction, from, to, want string) {
			b.Helper()
			r := b.changed(polset.HookGitHubApp, polset.RepositoryChange{
				Action: action, Repository: polset.RepositoryRef{ID: 42, Identifier: to}, Previous: from, DefaultBranch: "main",
			})
			if got := b.set(p.ID).VCS.Identifier; r.Ignored != "" || got != want {
				b.Fatalf("identifier %q, want %q: %+v", got, want, r)
			}
		}
		told(polset.RepositoryRenamed, "Acme/Policies", "acme/rules", "acme/rules")
		told(polset.RepositoryRenamed, "acme/rules", "acme/laws", "acme/laws")
		b.seesAgain(p, "c1")
		told(polset.RepositoryRenamed, "acme/policies", "acme/rules", "acme/laws")
		b.looking(p.ID, 1)
		b.seesAgain(p, "c2")
		told(polset.RepositoryTransferred, "acme/policies", "beta/policies", "acme/laws")
		b.degraded(p.ID, "")
		b.looking(p.ID, 1)
		b.seesAgain(p, "c3")
		// A push told the new name first.
		renamed := pushOf("main", "c4")
		renamed.Identifier = "acme/Orders"
		b.hears(1, renamed)
		told(polset.RepositoryRenamed, "acme/laws", "acme/orders", "acme/orders")
		b.verify()
	})
}
