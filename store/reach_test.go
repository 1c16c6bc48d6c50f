package store

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
)

// stranger makes another organization and a set of it that follows a
// repository with a token that has read nothing.
func (b *bench) stranger(organization, identifier string) polset.PolicySet {
	b.Helper()
	b.organization(organization)
	return b.followerOf(organization, identifier, b.connection(organization).TokenID, polset.Head{})
}

func (b *bench) followerOf(organization, identifier, token string, head polset.Head) polset.PolicySet {
	b.Helper()
	p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{
		Organization: organization, Name: polset.NewID("set"), Kind: polset.KindOPA,
		VCS: &polset.VCSDraft{Identifier: identifier, Branch: "main", TokenID: token, Head: head},
	})
	b.must(err)
	return p
}

// hears pushes at the App's hook, and demands how many ingestions that makes.
func (b *bench) hears(want int, p polset.Push) {
	b.Helper()
	r, err := b.RecordPush(b.ctx(), delivery(polset.HookGitHubApp), p)
	b.must(err)
	if len(r.Ingestions) != want || (want == 0) != (r.Ignored != "") {
		b.Fatalf("receipt %+v, want %d ingestions", r, want)
	}
}

// silent demands that nothing of a push came to a set: at most a look of its
// own, which names no commit.
func (b *bench) silent(p polset.PolicySet, identifier string) {
	b.Helper()
	for _, line := range b.history(p.ID)[1:] {
		if !strings.HasPrefix(line, "head  ") {
			b.Fatalf("the stranger's history has %q", line)
		}
	}
	if got := b.set(p.ID).VCS.Identifier; got != identifier {
		b.Fatalf("the stranger's identifier became %q", got)
	}
	n := b.count("SELECT count(*) FROM audit_entries WHERE chain = $1 AND action IN ('delivery.accepted', 'repository.renamed')",
		b.set(p.ID).OrganizationID)
	if n != 0 {
		b.Fatalf("the stranger's audit trail has %d entries of the push", n)
	}
}

func TestAppTellsNothingOfWhatATokenCannotRead(t *testing.T) {
	onBoth(t, func(b *bench) {
		victim := b.settled("net", "main", "c0")
		evil := b.stranger("evil", "acme/policies")
		b.hears(1, pushOf("main", "c1"))
		renamed := pushOf("main", "c2")
		renamed.Identifier = "acme/secret-project"
		b.hears(1, renamed)
		b.silent(evil, "acme/policies")
		if got := b.set(victim.ID).VCS.Identifier; got != "acme/secret-project" {
			b.Fatalf("the victim's identifier is %q", got)
		}

		b.verify()
	})
}

// A right that was granted later is found by looking with the set's own
// token; a stranger learns no more than that there was a push, and rarely.
func TestPushKnocksWhereNothingWasReached(t *testing.T) {
	onBoth(t, func(b *bench) {
		late := b.stranger("late", "acme/policies")
		refused := func() {
			b.Helper()
			c := b.claim(late.VCS.RepositoryID, "").Claims[0]
			b.must(b.Store.Fail(b.ctx(), c.Lease, polset.Fail(polset.ClassAuth, "No."), polset.Content{}))
		}
		count := func(want int) {
			b.Helper()
			all, _, err := b.Ingestions(b.ctx(), admin, late.ID, polset.VersionFilter{}, polset.Page{Number: 1, Size: 9})
			b.must(err)
			if len(all) != want {
				b.Fatalf("%d ingestions, want %d", len(all), want)
			}
			for _, i := range all {
				if i.Commit != "" && i.Commit != "c9" || i.DeliveryGUID != "" {
					b.Fatalf("an ingestion tells of the push: %+v", i)
				}
			}
		}
		b.hears(0, pushOf("main", "c1"))
		count(1) // the first look is still to come
		refused()
		b.hears(0, pushOf("main", "c2"))
		b.hears(0, pushOf("main", "c3"))
		count(2)
		refused()
		b.hears(0, pushOf("main", "c4"))
		count(2) // not again so soon

		b.exec("UPDATE ingestions SET ended_at = $1 WHERE policy_set_id = $2", time.Now().UTC().Add(-time.Hour), late.ID)
		b.hears(0, pushOf("main", "c5"))
		count(3)
		batch := b.claim(late.VCS.RepositoryID, "")
		b.must(b.Observe(b.ctx(), polset.Observation{
			RepositoryID: late.VCS.RepositoryID, Branch: "main", Head: polset.Head{Branch: "main", Commit: "c9"}, Look: batch.Look,
		}))
		b.must(b.Resolve(b.ctx(), batch.Claims[0].Lease, polset.Head{Branch: "main", Commit: "c9"}))
		count(3)
		b.hears(1, pushOf("main", "c10")) // reached
		b.verify()
	})
}

func TestNumberOfOwnHookIsNoProof(t *testing.T) {
	onBoth(t, func(b *bench) {
		b.settled("net", "main", "c0")
		evil := b.stranger("evil", "evil/own")
		batch := b.claim(evil.VCS.RepositoryID, "")
		b.observe(batch, "main", "e0") // its own repository it can read
		b.must(b.Resolve(b.ctx(), batch.Claims[0].Lease, polset.Head{Branch: "main", Commit: "e0"}))
		b.finish(batch.Claims[0], "e0")

		forged := pushOf("other", "e1") // the victim's number, signed with evil's own secret
		forged.Identifier = "evil/own"
		_, err := b.RecordPush(b.ctx(), delivery(evil.VCS.HookID), forged)
		b.must(err)
		b.hears(1, pushOf("main", "c1"))
		b.silent(evil, "evil/own")

		// And the victim's name as well, while a look is under way.
		b.exec(`UPDATE ingestions SET ended_at = NULL, status = 'pending', version_id = '' WHERE policy_set_id = $1`, evil.ID)
		b.expire()
		batch = b.claim(evil.VCS.RepositoryID, "e0")
		forged.Identifier = "acme/policies"
		_, err = b.RecordPush(b.ctx(), delivery(evil.VCS.HookID), forged)
		b.must(err)
		b.observe(batch, "main", "e0")
		b.hears(1, pushOf("main", "c2"))
		for _, line := range b.history(evil.ID)[1:] {
			if !strings.HasPrefix(line, "head  ") {
				b.Fatalf("the stranger's history has %q", line)
			}
		}
		b.verify()
	})
}

func TestReached(t *testing.T) {
	onBoth(t, func(b *bench) {
		numbered := func(identifier string, number int64, commit string) polset.Push {
			p := pushOf("main", commit)
			p.Identifier, p.RepositoryID = identifier, number
			return p
		}
		b.sub("a push before the first look is in that look", func(b *bench) {
			p := b.followerOf("acme", "acme/one", b.conn.TokenID, polset.Head{})
			b.hears(0, numbered("acme/one", 1, "c1"))
			batch := b.claim(p.VCS.RepositoryID, "")
			b.observe(batch, "main", "c1")
			b.must(b.Resolve(b.ctx(), batch.Claims[0].Lease, polset.Head{Branch: "main", Commit: "c1"}))
			b.finish(batch.Claims[0], "c1")
			if h := b.history(p.ID); !slices.Equal(h, []string{"create c1 versioned"}) || b.current(p.ID) != "c1" {
				b.Fatalf("history %v", h)
			}
			b.hears(1, numbered("acme/one", 1, "c2"))
		})
		b.sub("a push during the first look begins another", func(b *bench) {
			p := b.followerOf("acme", "acme/two", b.conn.TokenID, polset.Head{})
			batch := b.claim(p.VCS.RepositoryID, "")
			b.hears(0, numbered("acme/two", 2, "c1"))
			b.observe(batch, "main", "c0") // it came too early
			b.observe(batch, "main", "c0")
			b.must(b.Resolve(b.ctx(), batch.Claims[0].Lease, polset.Head{Branch: "main", Commit: "c0"}))
			b.finish(batch.Claims[0], "c0")
			batch = b.claim(p.VCS.RepositoryID, "")
			if len(batch.Claims) != 1 || len(b.history(p.ID)) != 2 {
				b.Fatalf("no second look: %v", b.history(p.ID))
			}
			b.observe(batch, "main", "c1")
			b.must(b.Resolve(b.ctx(), batch.Claims[0].Lease, polset.Head{Branch: "main", Commit: "c1"}))
			b.finish(batch.Claims[0], "c1")
			if b.current(p.ID) != "c1" {
				b.Fatal("the push was lost")
			}
		})
		b.sub("a head that was seen on creation reaches it", func(b *bench) {
			b.followerOf("acme", "acme/three", b.conn.TokenID, polset.Head{Branch: "main", Commit: "c0"})
			b.hears(1, numbered("acme/three", 3, "c1"))
		})
		b.sub("an empty repository was read too", func(b *bench) {
			p := b.followerOf("acme", "acme/four", b.conn.TokenID, polset.Head{})
			c := b.claim(p.VCS.RepositoryID, "").Claims[0]
			b.must(b.Store.Fail(b.ctx(), c.Lease, polset.Fail(polset.ClassEmptyRepository, "Push."), polset.Content{}))
			b.hears(1, numbered("acme/four", 4, "c1"))
		})
		b.sub("a head that was seen on a change reaches it", func(b *bench) {
			p := b.followerOf("acme", "acme/five", b.conn.TokenID, polset.Head{})
			_, err := b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{VCS: &polset.VCSDraft{
				Identifier: "acme/five", Branch: "main", TokenID: b.conn.TokenID, Head: polset.Head{Branch: "main", Commit: "c0"},
			}})
			b.must(err)
			b.hears(1, numbered("acme/five", 5, "c1"))
		})
		b.verify()
	})
}

func TestRenamedDefaultBranch(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.follower("net", "", polset.Head{Branch: "main", Commit: "c0"})
		b.carry(p.VCS.RepositoryID, "c0", "c0")
		push := pushOf("trunk", "c1")
		push.DefaultBranch = "trunk"
		b.hears(1, push)
		batch := b.claim(p.VCS.RepositoryID, "c1")
		b.must(b.Observe(b.ctx(), polset.Observation{
			RepositoryID: p.VCS.RepositoryID, Head: polset.Head{Branch: "trunk", Commit: "c1"}, Look: batch.Look,
		}))
		b.finish(batch.Claims[0], "c1")
		if b.current(p.ID) != "c1" {
			b.Fatalf("current %q", b.current(p.ID))
		}
		old := pushOf("main", "c2")
		old.DefaultBranch = "trunk"
		b.hears(0, old)
		b.verify()
	})
}

func TestForcedPushIsAudited(t *testing.T) {
	onBoth(t, func(b *bench) {
		b.settled("net", "main", "c0")
		entries := func() int { return b.count("SELECT count(*) FROM audit_entries WHERE action = 'delivery.accepted'") }
		forced := pushOf("main", "c1")
		forced.Forced = true
		b.hears(1, forced)
		if entries() != 1 || b.count("SELECT count(*) FROM audit_entries WHERE details LIKE '%\"forced\":\"true\"%'") != 1 {
			b.Fatal("the trail does not tell of the force")
		}
		if r := b.push("main", "c1"); !r.Duplicate || entries() != 1 {
			b.Fatalf("a repeated push was noted as accepted: %+v", r)
		}
		b.verify()
	})
}

func TestPushWhileItsConnectionIsDeleted(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		if _, shared := b.dialect.(*postgresDialect); !shared {
			return // one writer at a time
		}
		tx, err := b.dialect.writer().BeginTx(b.ctx(), nil)
		b.must(err)
		_, err = tx.ExecContext(b.ctx(), "DELETE FROM connections WHERE id = $1", b.conn.ID)
		b.must(err)
		done := make(chan error, 1)
		go func() { done <- second(b.RecordPush(b.ctx(), delivery(polset.HookGitHubApp), pushOf("main", "c1"))) }()
		eventuallyBlocked(b)
		b.must(tx.Commit())
		b.must(<-done)
		batch := b.claim(p.VCS.RepositoryID, "c1")
		if len(batch.Claims) != 1 || batch.Claims[0].Ingestion.TokenID != "" {
			b.Fatalf("batch %+v", batch)
		}
		b.verify()
	})
}

// eventuallyBlocked waits until a transaction waits for another.
func eventuallyBlocked(b *bench) {
	b.Helper()
	eventually(b, func(context.Context) bool {
		return b.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
	})
}
