package store

import (
	"slices"
	"testing"

	"github.com/polset/polset"
)

func TestPolicySets(t *testing.T) {
	onBoth(t, func(b *bench) {
		var names []string
		for _, d := range []polset.PolicySetDraft{
			{Name: "zeta", Kind: polset.KindSentinel},
			{Name: "alpha_50%", Kind: polset.KindOPA, Description: "d", Global: true, Overridable: new(bool), PoliciesPath: "/p/"},
			{Name: "Alpha", Kind: polset.KindOPA},
		} {
			d.Organization = b.org.Name
			p, err := b.CreatePolicySet(b.ctx(), admin, d)
			b.must(err)
			if got := b.set(p.ID); got.Name != d.Name || got.Kind != d.Kind || got.Description != d.Description ||
				got.Global != d.Global || (got.Overridable == nil) != (d.Kind == polset.KindSentinel) || got.PoliciesPath != d.PoliciesPath ||
				got.VCS != nil || got.Organization != b.org.Name || got.CreatedAt.IsZero() {
				b.Fatalf("got %+v", got)
			}
			names = append(names, d.Name)
		}
		b.want(second(b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{
			Organization: b.org.Name, Name: "Alpha", Kind: polset.KindOPA,
		})), polset.ErrConflict)

		list := func(f polset.PolicySetFilter, page polset.Page) ([]string, int) {
			b.Helper()
			sets, total, err := b.PolicySets(b.ctx(), admin, b.org.Name, f, page)
			b.must(err)
			var got []string
			for _, p := range sets {
				got = append(got, p.Name)
			}
			return got, total
		}
		whole := polset.Page{Number: 1, Size: 20}
		for _, c := range []struct {
			filter polset.PolicySetFilter
			page   polset.Page
			want   []string
			total  int
		}{
			{polset.PolicySetFilter{}, whole, names, 3},
			{polset.PolicySetFilter{}, polset.Page{Number: 2, Size: 2}, names[2:], 3},
			{polset.PolicySetFilter{}, polset.Page{Number: 9, Size: 2}, nil, 3},
			{polset.PolicySetFilter{Search: "ALPHA"}, whole, names[1:], 2},
			{polset.PolicySetFilter{Search: "_50%"}, whole, names[1:2], 1},
			{polset.PolicySetFilter{Search: "%"}, whole, names[1:2], 1},
			{polset.PolicySetFilter{Search: "!"}, whole, nil, 0},
			{polset.PolicySetFilter{Kind: polset.KindSentinel}, whole, names[:1], 1},
			{polset.PolicySetFilter{Versioned: new(bool)}, whole, names, 3},
		} {
			if got, total := list(c.filter, c.page); !slices.Equal(got, c.want) || total != c.total {
				b.Errorf("%+v %+v: got %q of %d, want %q of %d", c.filter, c.page, got, total, c.want, c.total)
			}
		}
		b.verify()
	})
}

func TestUpdatePolicySet(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		b.settled("other", "main", "c0")
		update := func(c polset.PolicySetChange) polset.PolicySet {
			b.Helper()
			got, err := b.UpdatePolicySet(b.ctx(), admin, p.ID, c)
			b.must(err)
			return got
		}
		text, taken, path, same := "renamed", "other", "else", "/policies"

		got := update(polset.PolicySetChange{Name: &text, Description: &text, PoliciesPath: &same})
		if got.Name != text || got.Description != text || got.PoliciesPath != same || len(b.history(p.ID)) != 1 || got.VCS.Generation != 1 {
			b.Fatalf("a change of nothing that is followed: %+v, %v", got, b.history(p.ID))
		}
		b.want(second(b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{Name: &taken})), polset.ErrConflict)

		got = update(polset.PolicySetChange{PoliciesPath: &path})
		if got.VCS.Generation != 2 || got.CurrentVersionID != p.CurrentVersionID || got.NewestVersionID == p.NewestVersionID {
			b.Fatalf("a change of the path: %+v", got)
		}
		batch := b.claim(p.VCS.RepositoryID, "")
		if len(batch.Claims) != 1 || batch.Claims[0].Ingestion.Path != "else" || batch.Claims[0].Ingestion.Cause != polset.CauseUpdate {
			b.Fatalf("batch %+v", batch)
		}
		// Before it ends, the set moves on to another repository.
		elsewhere := polset.VCSDraft{Identifier: "acme/else", TokenID: b.conn.TokenID, Head: polset.Head{Branch: "trunk", Commit: "e1"}}
		got = update(polset.PolicySetChange{VCS: &elsewhere})
		if got.VCS.Generation != 3 || got.VCS.Identifier != "acme/else" || got.VCS.HookSecret.Empty() {
			b.Fatalf("a change of the repository: %+v", got.VCS)
		}
		b.observe(batch, "main", "c0")
		b.must(b.Resolve(b.ctx(), batch.Claims[0].Lease, polset.Head{Branch: "main", Commit: "c0"}))
		b.finish(batch.Claims[0], "old")
		if now := b.set(p.ID); now.CurrentVersionID != p.CurrentVersionID {
			b.Fatal("a former generation came into force")
		}
		b.carry(got.VCS.RepositoryID, "e1", "e1")
		if b.current(p.ID) != "e1" {
			b.Fatalf("current %q", b.current(p.ID))
		}

		got = update(polset.PolicySetChange{RemoveVCS: true})
		if got.VCS != nil || b.current(p.ID) != "e1" || len(b.history(p.ID)) != 3 {
			b.Fatalf("without a repository: %+v", got)
		}
		if n := b.count("SELECT count(*) FROM repositories"); n != 1 {
			b.Fatalf("%d repository rows, want the one that other follows", n)
		}
		b.verify()
	})
}

func TestFormerGeneration(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		b.push("main", "c1")
		batch := b.claim(p.VCS.RepositoryID, "c1")
		b.observe(batch, "main", "c1")
		b.must(second(b.Start(b.ctx(), batch.Claims[0].Lease, contentOf("t1"))))
		path := "else"
		_, err := b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{PoliciesPath: &path})
		b.must(err)
		// c1 is the head, and was taken for the former path.
		b.finish(batch.Claims[0], "t1")
		if b.current(p.ID) != "c0" {
			b.Fatal("a version of the former path came into force")
		}
		batch = b.claim(p.VCS.RepositoryID, "")
		b.observe(batch, "main", "c1")
		b.must(b.Resolve(b.ctx(), batch.Claims[0].Lease, polset.Head{Branch: "main", Commit: "c1"}))
		b.finish(batch.Claims[0], "t2")
		v, err := b.Version(b.ctx(), admin, b.set(p.ID).CurrentVersionID)
		b.must(err)
		if v.ID != batch.Claims[0].Ingestion.VersionID || v.Commit != "c1" || v.Artifact.Content.Tree != "t2" {
			b.Fatalf("in force is %+v", v)
		}
		b.verify()
	})
}

func TestDelete(t *testing.T) {
	onBoth(t, func(b *bench) {
		p, q := b.settled("net", "main", "c0"), b.settled("two", "main", "c0")
		b.push("main", "c1")
		claims := b.claim(p.VCS.RepositoryID, "c1").Claims

		// A connection goes while sets use it.
		b.must(b.DeleteConnection(b.ctx(), admin, b.conn.ID))
		if got := b.set(p.ID); got.VCS == nil || got.VCS.TokenID != "" {
			b.Fatalf("after the connection: %+v", got.VCS)
		}
		b.expire()
		batch := b.claim(p.VCS.RepositoryID, "c1")
		if len(batch.Claims) != 2 || len(batch.Remotes) != 0 || batch.Claims[0].Ingestion.TokenID != "" {
			b.Fatalf("batch without a connection: %+v", batch)
		}
		b.want(b.Finish(b.ctx(), claims[0].Lease, artifactOf("t")), polset.ErrFenced)

		// A set goes while it is worked on.
		b.must(b.DeletePolicySet(b.ctx(), admin, p.ID))
		b.want(second(b.PolicySet(b.ctx(), admin, p.ID)), polset.ErrNotFound)
		for _, c := range batch.Claims {
			_, err := b.Start(b.ctx(), c.Lease, contentOf("t1"))
			if c.Ingestion.PolicySetID == p.ID {
				b.want(err, polset.ErrFenced)
			} else {
				b.must(err)
			}
		}
		var leases []polset.Lease
		for _, c := range batch.Claims {
			leases = append(leases, c.Lease)
		}
		b.must(b.Renew(b.ctx(), leases, 60e9))
		if _, err := b.Hook(b.ctx(), q.VCS.HookID); err != nil {
			b.Fatalf("the hook went with the first set: %v", err)
		}
		b.must(b.DeletePolicySet(b.ctx(), admin, q.ID))
		b.want(second(b.Hook(b.ctx(), q.VCS.HookID)), polset.ErrNotFound)
		b.want(b.Observe(b.ctx(), polset.Observation{
			RepositoryID: q.VCS.RepositoryID, Branch: "main", Head: polset.Head{Branch: "main", Commit: "c1"}, Look: 1000,
		}), polset.ErrFenced)
		if batch := b.claim(q.VCS.RepositoryID, "c1"); len(batch.Claims) != 0 {
			b.Fatal("work for what is gone")
		}
		b.verify()
	})
}

// What is wrong with a policy set may become another while its change waits.
func TestDegradedWhileItIsChanged(t *testing.T) {
	onBoth(t, func(b *bench) {
		if _, shared := b.dialect.(*postgresDialect); !shared {
			return // one writer at a time
		}
		p := b.settled("net", "main", "c0")
		hold, err := b.dialect.writer().BeginTx(b.ctx(), nil)
		b.must(err)
		_, err = hold.ExecContext(b.ctx(), "UPDATE repositories SET looks = looks WHERE id = $1", p.VCS.RepositoryID)
		b.must(err)
		_, err = hold.ExecContext(b.ctx(), `UPDATE policy_sets SET degraded = 'branch-deleted', degraded_message = 'Gone.' WHERE id = $1`, p.ID)
		b.must(err)
		done := make(chan error, 1)
		go func() {
			done <- second(b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{VCS: &polset.VCSDraft{
				Identifier: "acme/policies", Branch: "else", TokenID: b.conn.TokenID,
			}}))
		}()
		eventuallyBlocked(b)
		b.must(hold.Commit())
		b.must(<-done)
		b.degraded(p.ID, "")
		b.verify()
	})
}
