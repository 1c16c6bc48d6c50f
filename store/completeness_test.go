package store

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/polset/polset"
)

// complete demands how far a policy set is: the head, the last commit that came
// to its end, and whether there is a gap; in the list as well as by itself.
func (b *bench) complete(setID, head, ingested string, gap bool) {
	b.Helper()
	c := b.set(setID).Completeness
	if c.Head != head || c.Ingested != ingested || (c.Gap > 0) != gap || c.IngestedAt.IsZero() != (ingested == "") || c.HeadAt.IsZero() != (head == "") {
		b.Fatalf("completeness %+v, want %s, %s, %t", c, head, ingested, gap)
	}
	d, err := b.gap(b.ctx())
	b.must(err)
	if (d > 0) != gap {
		b.Fatalf("the metric says %s", d)
	}
	list, _, err := b.PolicySets(b.ctx(), admin, b.org.Name, polset.PolicySetFilter{}, polset.Page{Number: 1, Size: 10})
	b.must(err)
	for _, p := range list {
		if l := p.Completeness; p.ID == setID && (l.Head != head || l.Ingested != ingested || (l.Gap > 0) != gap || l.LookedAt != c.LookedAt) {
			b.Fatalf("list %+v, show %+v", l, c)
		}
	}
}

// past moves what was seen a while back, so that a gap can be told from none.
func (b *bench) past() {
	b.Helper()
	b.exec(`UPDATE branches SET changed_at = $1`, b.At().Add(-time.Hour))
	b.exec(`UPDATE policy_sets SET followed_at = $1`, b.At().Add(-time.Hour))
}

func TestCompleteness(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.follower("net", "main", polset.Head{Branch: "main", Commit: "c0"})
		repo, number := p.VCS.RepositoryID, int64(100)
		see := func(head string) {
			b.Helper()
			number++
			b.seen(polset.Look{Repository: polset.Repository{ID: repo}, Credential: b.conn.TokenID, Number: number}, "main", head)
			b.past()
		}
		work := func(commit string) {
			b.Helper()
			for _, c := range b.claim(repo, commit).Claims {
				b.finish(c, commit)
			}
		}
		b.past()
		b.complete(p.ID, "c0", "", true)
		work("c0")
		b.complete(p.ID, "c0", "c0", false)

		// The same head again was not seen anew.
		at := b.set(p.ID).Completeness
		b.observe(polset.Batch{Repository: polset.Repository{ID: repo}, Look: number}, "main", "c0")
		if c := b.set(p.ID).Completeness; c.HeadAt != at.HeadAt || !c.LookedAt.After(at.LookedAt) {
			b.Fatalf("completeness %+v after %+v", c, at)
		}
		b.observe(polset.Batch{Repository: polset.Repository{ID: repo}, Look: number}, "main", "b1")
		if c := b.set(p.ID).Completeness; !c.HeadAt.After(at.HeadAt.Add(59 * time.Minute)) {
			b.Fatalf("completeness %+v after %+v", c, at)
		}
		work("b1")
		b.observe(polset.Batch{Repository: polset.Repository{ID: repo}, Look: number}, "main", "c0")
		b.complete(p.ID, "c0", "b1", false)
		b.must(second(b.Ingest(b.ctx(), admin, p.ID, "c0")))
		work("c0")

		b.push("main", "c1")
		b.push("main", "c2")
		b.complete(p.ID, "c0", "c0", false) // told of, but not seen
		see("c2")
		b.complete(p.ID, "c2", "c0", true)
		if g := b.set(p.ID).Completeness.Gap; g < time.Hour || g > time.Hour+time.Minute {
			b.Fatalf("gap %s, want an hour", g)
		}
		work("c1")
		b.complete(p.ID, "c2", "c1", true) // not the head
		b.claimFail(repo, "c2")
		b.complete(p.ID, "c2", "c2", false) // a failure is an outcome
		if b.current(p.ID) != "c0" {
			b.Fatal("what nobody saw as the head is in force")
		}

		// Back by force to what was ingested before: settled at once.
		see("c1")
		b.complete(p.ID, "c1", "c2", false)
		see("c2")
		b.complete(p.ID, "c2", "c2", false)
		// An old commit by hand changes the last that was ingested, no more.
		b.must(second(b.Ingest(b.ctx(), admin, p.ID, "c1")))
		work("c1")
		b.complete(p.ID, "c2", "c1", false)

		// Other settings begin anew; work of the old ones does not count.
		b.push("main", "c3")
		c := b.claim(repo, "c3").Claims[0]
		b.must(second(b.Start(b.ctx(), c.Lease, contentOf("c3"))))
		path := "elsewhere"
		b.must(second(b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{PoliciesPath: &path})))
		b.complete(p.ID, "c2", "", true)
		b.must(b.Finish(b.ctx(), c.Lease, artifactOf("c3")))
		b.complete(p.ID, "c2", "", true)
		again := b.claim(repo, "").Claims[0]
		b.must(b.Resolve(b.ctx(), again.Lease, polset.Head{Branch: "main", Commit: "c2"}))
		b.finish(again, "c2")
		b.complete(p.ID, "c2", "c2", false)

		name := "renamed"
		b.must(second(b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{Name: &name})))
		b.complete(p.ID, "c2", "c2", false)
		b.verify()
	})
}

func (b *bench) claimFail(repository, commit string) {
	b.Helper()
	for _, c := range b.claim(repository, commit).Claims {
		b.must(b.Store.Fail(b.ctx(), c.Lease, polset.Fail(polset.ClassPolicyInvalid, "No."), polset.Content{}))
	}
}

func TestCompletenessOfNothing(t *testing.T) {
	onBoth(t, func(b *bench) {
		p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{Organization: b.org.Name, Name: "api", Kind: polset.KindOPA})
		b.must(err)
		if p.Completeness != nil || p.Degraded != nil || b.set(p.ID).Completeness != nil {
			b.Fatalf("policy set %+v", p)
		}
		d, err := b.lookAge(b.ctx())
		b.must(err)
		if d != 0 {
			b.Fatalf("nothing is followed, and its look is %s old", d)
		}
	})
}

func TestGapMetrics(t *testing.T) {
	onBoth(t, func(b *bench) {
		registry := prometheus.NewRegistry()
		c := b.config
		c.Registerer = registry
		node, err := Open(b.ctx(), c)
		b.must(err)
		p := b.follower("net", "main", polset.Head{Branch: "main", Commit: "c0"})
		b.follower("new", "next", polset.Head{})
		read := func(name string) float64 {
			b.Helper()
			families, err := registry.Gather()
			b.must(err)
			for _, f := range families {
				if f.GetName() == name {
					return f.GetMetric()[0].GetGauge().GetValue()
				}
			}
			b.Fatalf("no metric %s", name)
			return 0
		}
		between := func(name string, from, to time.Duration) {
			b.Helper()
			if got := time.Duration(read(name) * float64(time.Second)); got < from || got > to {
				b.Fatalf("%s is %s, want %s to %s", name, got, from, to)
			}
		}
		b.past()
		between("polset_ingest_gap_seconds", time.Hour, 61*time.Minute)
		between("polset_reports_unsent", time.Second, time.Second)
		b.carry(p.VCS.RepositoryID, "c0", "c0")
		between("polset_ingest_gap_seconds", 0, 0)
		// A branch that nobody ever looked at ages from its policy set's creation.
		between("polset_ingest_look_age_seconds", 0, time.Minute)
		b.exec(`UPDATE policy_sets SET created_at = $1`, b.At().Add(-3*time.Hour))
		between("polset_ingest_look_age_seconds", 3*time.Hour, 181*time.Minute)
		b.exec(`UPDATE policy_sets SET degraded = 'access-lost' WHERE branch = 'next'`)
		between("polset_ingest_look_age_seconds", 0, time.Minute)
		b.exec(`UPDATE branches SET seen_at = $1`, b.At().Add(-2*time.Hour))
		between("polset_ingest_look_age_seconds", 2*time.Hour, 121*time.Minute)
		b.must(node.Close())
	})
}

// TestGapBegins: a gap is no older than what a policy set follows now.
func TestGapBegins(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		b.exec(`UPDATE branches SET changed_at = $1`, b.At().Add(-90*24*time.Hour))
		gap := func(id string, from, to time.Duration) {
			b.Helper()
			metric, err := b.gap(b.ctx())
			b.must(err)
			for _, g := range []time.Duration{b.set(id).Completeness.Gap, metric} {
				if g < from || g > to {
					b.Fatalf("gap %s, want %s to %s", g, from, to)
				}
			}
		}
		path := "elsewhere"
		b.must(second(b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{PoliciesPath: &path})))
		gap(p.ID, 1, time.Minute)
		b.exec(`UPDATE policy_sets SET followed_at = $1`, b.At().Add(-time.Hour))
		name := "renamed"
		b.must(second(b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{Name: &name})))
		gap(p.ID, time.Hour, 61*time.Minute)

		b.must(b.DeletePolicySet(b.ctx(), admin, b.follower("stays", "next", polset.Head{}).ID))
		n := b.follower("new", "main", polset.Head{Branch: "main", Commit: "c0"})
		b.exec(`UPDATE policy_sets SET settled_head = 'c0' WHERE id = $1`, p.ID)
		gap(n.ID, 1, time.Minute)
		// The oldest gap is not that of the oldest head.
		b.exec(`UPDATE policy_sets SET settled_head = '' WHERE id = $1`, p.ID)
		b.exec(`UPDATE policy_sets SET followed_at = $1 WHERE id = $2`, b.At().Add(-2*time.Hour), n.ID)
		gap(n.ID, 2*time.Hour, 121*time.Minute)
	})
}
