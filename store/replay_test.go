package store

import (
	"slices"
	"testing"

	"github.com/polset/polset"
)

func TestReplay(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		also := b.settled("also", "main", "c0")
		repo := p.VCS.RepositoryID
		d := delivery(polset.HookGitHubApp)
		b.must(second(b.RecordPush(b.ctx(), d, pushOf("main", "c1"))))
		b.carry(repo, "c1", "c1")
		b.push("main", "c2")
		b.carry(repo, "c2", "c2")

		for n := range 2 { // a replay of a replay is no more than the first
			ids, err := b.Replay(b.ctx(), admin, d.GUID)
			b.must(err)
			if len(ids) != 2 {
				b.Fatalf("replay %d: %v", n, ids)
			}
		}
		want := []string{"replay c1 pending", "replay c1 pending"}
		if h := b.history(also.ID); !slices.Equal(h[len(h)-2:], want) {
			b.Fatalf("history %v", h)
		}
		b.carry(repo, "c1", "c2")
		b.carry(repo, "c1", "c2")
		if b.current(p.ID) != "c2" {
			b.Fatal("a replay rolled back")
		}
		// A push of the same commit afterwards is known.
		if r := b.push("main", "c2"); !r.Duplicate {
			b.Fatalf("receipt %+v", r)
		}

		b.must(second(b.UpdatePolicySet(b.ctx(), admin, also.ID, polset.PolicySetChange{
			VCS: &polset.VCSDraft{Identifier: "acme/else", TokenID: b.conn.TokenID},
		})))
		ids, err := b.Replay(b.ctx(), polset.Principal{Actor: "at-acme", OrganizationID: b.org.ID}, d.GUID)
		b.must(err)
		if len(ids) != 1 {
			b.Fatalf("%d replayed, one of two follows another repository", len(ids))
		}
		b.want(second(b.Replay(b.ctx(), admin, "no-such-delivery")), polset.ErrNotFound)
		ignored := delivery(polset.HookGitHubApp)
		b.must(second(b.RecordIgnored(b.ctx(), ignored, "a tag")))
		if ids, err := b.Replay(b.ctx(), admin, ignored.GUID); err != nil || len(ids) != 0 {
			b.Fatalf("replayed %v, %v", ids, err)
		}
		b.reportsEqual()
		b.verify()
	})
}

func TestIngest(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		repo := p.VCS.RepositoryID
		i, err := b.Ingest(b.ctx(), admin, p.ID, "")
		b.must(err)
		if i.Cause != polset.CauseManual || i.Commit != "" || i.Status != polset.IngestionPending {
			b.Fatalf("ingestion %+v", i)
		}
		batch := b.claim(repo, "")
		b.observe(batch, "main", "c1")
		b.must(b.Resolve(b.ctx(), batch.Claims[0].Lease, polset.Head{Branch: "main", Commit: "c1"}))
		b.finish(batch.Claims[0], "c1")
		if b.current(p.ID) != "c1" {
			b.Fatalf("current %q", b.current(p.ID))
		}
		jobs := b.jobs()
		b.must(second(b.Ingest(b.ctx(), admin, p.ID, "old")))
		if b.jobs() != jobs+1 {
			b.Fatal("no worker was woken")
		}
		b.carry(repo, "old", "c1")
		if b.current(p.ID) != "c1" {
			b.Fatal("a commit that is not the head is in force")
		}
		if n := b.count(`SELECT count(*) FROM audit_entries WHERE action = 'ingestion.created' AND actor = 'cli' AND details LIKE '%"cause":"manual"%'`); n != 2 {
			b.Fatalf("%d manual ingestions audited", n)
		}
		api, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{Organization: b.org.Name, Name: "api", Kind: polset.KindOPA})
		b.must(err)
		b.want(second(b.Ingest(b.ctx(), admin, api.ID, "c1")), polset.ErrConflict)
		b.want(second(b.Ingest(b.ctx(), admin, "polset-none", "c1")), polset.ErrNotFound)
		b.verify()
	})
}
