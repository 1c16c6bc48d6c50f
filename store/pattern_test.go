package store

import (
	"slices"
	"testing"

	"github.com/polset/polset"
)

const nothing = "nothing matches"

// patterned makes a follower with update patterns whose first ingestion has
// ended at c0, where its branch is.
func (b *bench) patterned(name, branch string) polset.PolicySet {
	b.Helper()
	p := b.settled(name, branch, "c0")
	b.must(second(b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{UpdatePatterns: &[]string{"policies/**"}})))
	return b.set(p.ID)
}

// only claims the one ingestion of a commit that is due.
func (b *bench) only(repository, commit string) (polset.Batch, polset.Claim) {
	b.Helper()
	batch := b.claim(repository, commit)
	if len(batch.Claims) != 1 {
		b.Fatalf("%d claims of %s, want 1", len(batch.Claims), commit)
	}
	return batch, batch.Claims[0]
}

// ignore works on a commit, the branch's head, that changes nothing.
func (b *bench) ignore(repository, branch, commit, since string) {
	b.Helper()
	batch, c := b.only(repository, commit)
	if c.Processed != since {
		b.Fatalf("commit %s is compared with %q, want %q", commit, c.Processed, since)
	}
	b.observe(batch, branch, commit)
	b.must(b.Ignore(b.ctx(), c.Lease, since, nothing))
}

// looked is a batch whose look comes after all others.
func (b *bench) looked(repository string) polset.Batch {
	b.Helper()
	return polset.Batch{Repository: polset.Repository{ID: repository}, Look: b.looks(repository)}
}

func (b *bench) last(setID string) polset.Ingestion {
	b.Helper()
	list, _, err := b.Ingestions(b.ctx(), admin, setID, polset.VersionFilter{}, polset.Page{Number: 1, Size: 1})
	b.must(err)
	return list[0]
}

func TestIgnoredIsAnOutcome(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.patterned("net", "main")
		repo, first := p.VCS.RepositoryID, p.CurrentVersionID
		b.push("main", "c1")
		batch, c := b.only(repo, "c1")
		if c.Processed != "c0" || !slices.Equal(c.Ingestion.UpdatePatterns, []string{"policies/**"}) {
			b.Fatalf("claim %+v", c)
		}
		b.observe(batch, "main", "c1")
		b.past()
		b.complete(p.ID, "c1", "c0", true)
		b.must(b.Ignore(b.ctx(), c.Lease, "c0", nothing))
		b.must(b.Ignore(b.ctx(), c.Lease, "c0", nothing)) // repeated by its own holder
		b.complete(p.ID, "c1", "c1", false)
		if i := b.last(p.ID); i.Status != polset.IngestionIgnored || i.Reason != nothing || i.VersionID != first || i.EndedAt.IsZero() {
			b.Fatalf("ingestion %+v", i)
		}
		if now := b.set(p.ID); now.CurrentVersionID != first || now.NewestVersionID != first {
			b.Fatalf("set %+v, want %s in force", now, first)
		}
		b.want(b.Unchanged(b.ctx(), c.Lease, first), polset.ErrFenced)
		b.reportsEqual()
		list, told := b.reports()
		if n := slices.Index(told, "c1 ignored"); n < 0 || list[n].Reason != nothing {
			b.Fatalf("reports %v %+v", told, list)
		}

		// Seen again as the head, it is not ingested again.
		b.observe(b.looked(repo), "main", "c1")
		if h := b.history(p.ID); !slices.Equal(h, []string{"create c0 versioned", "push c1 ignored"}) {
			b.Fatalf("history %v", h)
		}

		// The next is compared with what was processed, not with what was ignored.
		b.push("main", "c2")
		b.ignore(repo, "main", "c2", "c0")
		b.push("main", "c3")
		batch, c = b.only(repo, "c3")
		if c.Processed != "c0" {
			b.Fatalf("claim %+v", c)
		}
		b.observe(batch, "main", "c3")
		b.finish(c, "c3")
		b.push("main", "c4")
		batch, c = b.only(repo, "c4")
		if c.Processed != "c3" {
			b.Fatalf("claim %+v", c)
		}
		b.observe(batch, "main", "c4")
		b.must(b.Unchanged(b.ctx(), c.Lease, b.set(p.ID).NewestVersionID))
		b.push("main", "c5")
		b.ignore(repo, "main", "c5", "c4") // what was confirmed counts too
		b.complete(p.ID, "c5", "c5", false)
		if b.current(p.ID) != "c3" {
			b.Fatalf("current %s", b.current(p.ID))
		}
		b.verify()
	})
}

// Back by force to what was ignored: what was in force then is again.
func TestBackToWhatWasIgnored(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.patterned("net", "main")
		repo := p.VCS.RepositoryID
		b.push("main", "c1")
		b.ignore(repo, "main", "c1", "c0")
		b.push("main", "c2")
		b.carry(repo, "c2", "c2")
		if b.current(p.ID) != "c2" {
			b.Fatalf("current %s", b.current(p.ID))
		}
		b.observe(b.looked(repo), "main", "c1") // by a look: no delivery told of it
		b.past()
		if b.current(p.ID) != "c0" {
			b.Fatalf("current %s, want what c1 was taken for", b.current(p.ID))
		}
		b.complete(p.ID, "c1", "c2", false)

		// A delivery, if it comes, finds that what was processed last is not in
		// force, and that nothing may be ignored.
		b.push("main", "c1")
		_, c := b.only(repo, "c1")
		if c.Processed != "" {
			b.Fatalf("claim %+v", c)
		}
		b.want(b.Ignore(b.ctx(), c.Lease, "c2", nothing), polset.ErrConflict)
		b.finish(c, "c1")
		if b.current(p.ID) != "c1" {
			b.Fatalf("current %s", b.current(p.ID))
		}
	})
}

// Only what is in force can be left in force.
func TestNothingIsIgnored(t *testing.T) {
	onBoth(t, func(b *bench) {
		p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{
			Organization: b.org.Name, Name: "net", Kind: polset.KindOPA, UpdatePatterns: []string{"*.rego"},
			VCS: &polset.VCSDraft{Identifier: "acme/policies", Branch: "main", TokenID: b.conn.TokenID, Head: polset.Head{Branch: "main", Commit: "c0"}},
		})
		b.must(err)
		repo := p.VCS.RepositoryID
		refused := func(c polset.Claim, since string) {
			b.Helper()
			if c.Processed != "" {
				b.Fatalf("claim %+v: nothing may be ignored", c)
			}
			b.want(b.Ignore(b.ctx(), c.Lease, since, nothing), polset.ErrConflict)
		}

		// The first has a version of its own.
		_, c := b.only(repo, "c0")
		refused(c, "")
		b.observe(b.looked(repo), "main", "c0")
		b.finish(c, "c0")

		// The newest version is errored, of whatever class.
		for _, f := range []*polset.Failure{polset.Fail(polset.ClassTimeout, "no"), polset.Fail(polset.ClassPolicyInvalid, "no")} {
			b.push("main", "bad"+string(f.Class))
			_, c = b.only(repo, "bad"+string(f.Class))
			if c.Processed == "" {
				b.Fatalf("claim %+v", c)
			}
			b.must(b.Store.Fail(b.ctx(), c.Lease, f, contentOf("bad")))
			b.push("main", "after"+string(f.Class))
			batch, c := b.only(repo, "after"+string(f.Class))
			refused(c, "bad"+string(f.Class))
			b.observe(batch, "main", "after"+string(f.Class))
			b.finish(c, "after"+string(f.Class))
		}

		// An old commit by hand: its version is the newest, and not in force.
		b.must(second(b.Ingest(b.ctx(), admin, p.ID, "c0")))
		_, c = b.only(repo, "c0")
		b.finish(c, "c0")
		b.push("main", "c1")
		_, c = b.only(repo, "c1")
		refused(c, "c0")
		b.finish(c, "c1")

		// Other settings: what was processed was so by those before.
		b.observe(b.looked(repo), "main", "c1")
		path := "elsewhere"
		b.must(second(b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{PoliciesPath: &path})))
		batch, c := b.only(repo, "")
		refused(c, "c1")
		b.must(b.Resolve(b.ctx(), c.Lease, polset.Head{Branch: "main", Commit: "c1"}))
		b.observe(batch, "main", "c1")
		b.finish(c, "elsewhere")
		b.push("main", "c2")
		_, c = b.only(repo, "c2")
		if c.Processed != "c1" {
			b.Fatalf("claim %+v", c)
		}

		// Another comes into force between the claim and the end of it.
		b.exec(`UPDATE policy_sets SET current_version_id = newest_version_id || '-another'`)
		b.want(b.Ignore(b.ctx(), c.Lease, "c1", nothing), polset.ErrConflict)
		b.exec(`UPDATE policy_sets SET current_version_id = newest_version_id`)
		b.want(b.Ignore(b.ctx(), c.Lease, "c0", nothing), polset.ErrConflict)
		stale := c.Lease
		stale.Number--
		b.want(b.Ignore(b.ctx(), stale, "c1", nothing), polset.ErrFenced)
		b.must(b.Ignore(b.ctx(), c.Lease, "c1", nothing))

		// Without patterns nobody compares.
		b.must(second(b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{UpdatePatterns: &[]string{}})))
		b.push("main", "c3")
		if _, c = b.only(repo, "c3"); c.Processed != "" {
			b.Fatalf("claim %+v", c)
		}
		b.verify()
	})
}
