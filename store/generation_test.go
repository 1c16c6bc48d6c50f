package store

import (
	"slices"
	"testing"
	"time"

	"github.com/polset/polset"
)

func TestFormerGenerationDoesNotBlock(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		repo := p.VCS.RepositoryID
		b.push("main", "c1")
		started := b.claim(repo, "c1").Claims[0]
		old, err := b.Start(b.ctx(), started.Lease, contentOf("c1"))
		b.must(err)
		b.push("main", "c2")
		b.push("main", "c3")
		path := "else"
		set, err := b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{PoliciesPath: &path})
		b.must(err)
		want := []string{"create c0 versioned", "push c1 running", "push c2 ignored", "push c3 ignored", "update  pending"}
		if h := b.history(p.ID); !slices.Equal(h, want) {
			b.Fatalf("history %v", h)
		}
		list, _, err := b.Ingestions(b.ctx(), admin, p.ID, polset.VersionFilter{Commit: "c2"}, polset.Page{Number: 1, Size: 1})
		b.must(err)
		if list[0].Reason != "the settings of the policy set changed" || list[0].EndedAt.IsZero() {
			b.Fatalf("ended as %+v", list[0])
		}
		if n := b.count("SELECT count(*) FROM audit_entries WHERE action = 'ingestion.ignored'"); n != 2 {
			b.Fatalf("%d audit entries of it", n)
		}

		// Both generations are taken at once, and each compares with what
		// came before it.
		b.expire()
		if n, err := b.Sweep(b.ctx()); err != nil || n != 2 {
			b.Fatalf("swept %d, %v", n, err)
		}
		late := b.claim(repo, "c1").Claims[0]
		if late.Newest == nil || late.Newest.ID != p.CurrentVersionID {
			b.Fatalf("the former generation compares with %+v", late.Newest)
		}
		batch := b.claim(repo, "")
		if len(batch.Claims) != 1 || batch.Claims[0].Newest == nil || batch.Claims[0].Newest.ID != old.ID {
			b.Fatalf("batch %+v", batch)
		}
		b.observe(batch, "main", "c3")
		b.must(b.Resolve(b.ctx(), batch.Claims[0].Lease, polset.Head{Branch: "main", Commit: "c3"}))
		b.finish(batch.Claims[0], "c3")
		b.finish(late, "c1")
		if got := b.set(p.ID); got.NewestVersionID != set.NewestVersionID || got.CurrentVersionID != set.NewestVersionID {
			b.Fatalf("newest %s, current %s, want %s", got.NewestVersionID, got.CurrentVersionID, set.NewestVersionID)
		}
		b.verify()
	})
}

func TestChangeFencesWhatHasNoVersion(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		b.push("main", "c1")
		c := b.claim(p.VCS.RepositoryID, "c1").Claims[0]
		path := "else"
		set, err := b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{PoliciesPath: &path})
		b.must(err)
		b.want(second(b.Start(b.ctx(), c.Lease, contentOf("c1"))), polset.ErrFenced)
		b.want(b.Renew(b.ctx(), []polset.Lease{c.Lease}, time.Minute), polset.ErrFenced)
		if got := b.set(p.ID).NewestVersionID; got != set.NewestVersionID {
			b.Fatal("a late version of the former settings is the newest")
		}
		b.verify()
	})
}

func TestDeleteRetiresFormerRepositories(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		b.push("main", "c1")
		c := b.claim(p.VCS.RepositoryID, "c1").Claims[0]
		b.must(second(b.Start(b.ctx(), c.Lease, contentOf("c1"))))
		_, err := b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{
			VCS: &polset.VCSDraft{Identifier: "acme/else", TokenID: b.conn.TokenID},
		})
		b.must(err)
		if n := b.count("SELECT count(*) FROM repositories"); n != 2 {
			b.Fatalf("%d repository rows, want both until the push ends", n)
		}
		b.must(b.DeletePolicySet(b.ctx(), admin, p.ID))
		if n := b.count("SELECT count(*) FROM repositories"); n != 0 {
			b.Fatalf("%d repository rows that nobody follows", n)
		}
		if p := b.follower("anew", "main", polset.Head{}); p.VCS.HookSecret.Empty() {
			b.Fatal("a new set got a row without its secret")
		}
		b.verify()
	})
}
