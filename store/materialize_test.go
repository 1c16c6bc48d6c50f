package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
)

// claimed claims the only set that is due.
func (b *bench) claimed(on *Store) polset.Materialization {
	b.Helper()
	list, err := on.ClaimMaterializations(b.ctx(), 10, time.Minute)
	b.must(err)
	if len(list) != 1 {
		b.Fatalf("%d sets are due, want one", len(list))
	}
	return list[0]
}

// idle checks that nothing is due.
func (b *bench) idle() {
	b.Helper()
	list, err := b.ClaimMaterializations(b.ctx(), 10, time.Minute)
	b.must(err)
	if len(list) != 0 {
		b.Fatalf("due: %+v", list)
	}
}

// lapse ends the leases of materializations, and the waits for another attempt.
func (b *bench) lapse() {
	b.exec("UPDATE policy_sets SET materialize_due_at = created_at")
}

func madeOf(salt string) polset.MaterializationOutcome {
	digest := strings.Repeat(salt, 64)
	return polset.MaterializationOutcome{Artifact: &polset.Artifact{
		Content: polset.Content{Tree: digest, Kind: polset.KindSentinel}, Digest: digest, TarDigest: digest, Size: 1, TarSize: 1, Files: 1,
		Policies: []polset.PolicySummary{{Name: "rule", EnforcementLevel: "advisory"}},
	}}
}

// settle settles a materialization and returns the set after it.
func (b *bench) settle(m polset.Materialization, o polset.MaterializationOutcome) polset.PolicySet {
	b.Helper()
	b.must(b.SettleMaterialization(b.ctx(), m, o))
	return b.set(m.PolicySetID)
}

// made lists what was made of a set's policies, and the outcomes, the newest first.
func (b *bench) made(set string) (versions []polset.Version, outcomes string) {
	b.Helper()
	page := polset.Page{Number: 1, Size: 100}
	versions, _, err := b.Versions(b.ctx(), admin, set, polset.VersionFilter{Sources: []string{polset.SourcePolicies}}, page)
	b.must(err)
	list, _, err := b.Ingestions(b.ctx(), admin, set, polset.VersionFilter{}, page)
	b.must(err)
	for _, i := range list {
		if i.Cause != polset.CausePolicies || i.Generation != 0 || i.EndedAt.IsZero() {
			b.Errorf("ingestion %+v", i)
		}
		outcomes += " " + string(i.Status)
	}
	return versions, strings.TrimSpace(outcomes)
}

func TestMaterialization(t *testing.T) {
	onBoth(t, func(b *bench) {
		set := b.plainSet("net", polset.KindSentinel)
		b.idle() // a set without policies
		first := b.policy("second-by-name", polset.KindSentinel, set.ID)
		digest := strings.Repeat("c", 64)
		b.must(second(b.UploadPolicy(b.ctx(), admin, first.ID, digest, 7)))
		b.policy("a", polset.KindSentinel, set.ID)

		m := b.claimed(b.Store)
		if m.PolicySetID != set.ID || m.Revision != 3 || m.Kind != polset.KindSentinel || m.Newest != nil || m.Attempts != 0 ||
			len(m.Policies) != 2 || m.Policies[0].ID != first.ID || m.Policies[0].Digest != digest || m.Policies[0].Size != 7 {
			b.Errorf("claimed %+v", m)
		}
		b.idle() // it is leased
		after := b.settle(m, madeOf("a"))
		versions, outcomes := b.made(set.ID)
		if len(versions) != 1 || outcomes != "versioned" || after.MaterializedVersionID != versions[0].ID || after.NewestVersionID != "" || after.CurrentVersionID != "" {
			b.Fatalf("%s %+v %+v", outcomes, versions, after)
		}
		v := versions[0]
		if v.Source != polset.SourcePolicies || v.Status != polset.VersionReady || v.PendingAt.IsZero() || v.IngressingAt.IsZero() || v.ReadyAt.IsZero() ||
			v.Commit != "" || v.Artifact.Digest != strings.Repeat("a", 64) || len(v.Artifact.Policies) != 1 || v.Artifact.Content.Kind != polset.KindSentinel {
			b.Errorf("version %+v", v)
		}
		b.must(b.SettleMaterialization(b.ctx(), m, madeOf("a"))) // whose answer was lost
		if versions, _ := b.made(set.ID); len(versions) != 1 {
			b.Fatalf("settled twice: %+v", versions)
		}
		if list, total, err := b.Versions(b.ctx(), admin, set.ID, polset.VersionFilter{}, polset.Page{Number: 1, Size: 10}); err != nil || total != 0 || len(list) != 0 {
			b.Errorf("the list shows what nobody asked for: %v, %v", list, err)
		}
		b.idle()

		// What changes while somebody works on it counts once more, and not
		// before that is over.
		level := "soft-mandatory"
		b.must(second(b.UpdatePolicy(b.ctx(), admin, first.ID, polset.PolicyUpdate{EnforcementLevel: &level})))
		m = b.claimed(b.Store)
		if m.Newest == nil || m.Newest.ID != v.ID || m.Policies[0].EnforcementLevel != level {
			b.Errorf("claimed %+v", m)
		}
		b.must(b.DeletePolicy(b.ctx(), admin, first.ID))
		b.idle()
		failed := b.settle(m, polset.MaterializationOutcome{
			Failure: &polset.Failure{Class: polset.ClassPolicyInvalid, Message: "It does not parse.", Diagnostics: []polset.Diagnostic{{File: "a.rego", Line: 3, Message: "no"}}},
			Content: polset.Content{Tree: "t", Kind: polset.KindSentinel},
		})
		versions, outcomes = b.made(set.ID)
		if e := versions[0]; outcomes != "failed versioned" || e.Status != polset.VersionErrored || e.Error != polset.ClassPolicyInvalid || e.ErrorMessage != "It does not parse." || len(e.Diagnostics) != 1 || e.Artifact.Content.Tree != "t" {
			b.Errorf("%s %+v", outcomes, versions)
		}
		if failed.MaterializedVersionID != v.ID {
			b.Errorf("a failure took %s out of force", v.ID)
		}

		// The same as the newest: that one goes on, whatever became of it.
		m = b.claimed(b.Store)
		if m.Newest.ID != versions[0].ID || len(m.Policies) != 1 {
			b.Errorf("claimed %+v", m)
		}
		if same := b.settle(m, polset.MaterializationOutcome{Unchanged: true}); same.MaterializedVersionID != v.ID {
			b.Errorf("unchanged put %q in force", same.MaterializedVersionID)
		}

		// Without policies nothing is in force; with the same ones again, the same version.
		again := b.claimAfter(set.ID)
		if ready := b.settle(again, madeOf("b")); ready.MaterializedVersionID == v.ID {
			b.Fatal("the new version is not in force")
		}
		inForce := b.set(set.ID).MaterializedVersionID
		m = b.claimAfter(set.ID)
		m.Policies = nil
		if empty := b.settle(m, polset.MaterializationOutcome{}); empty.MaterializedVersionID != "" {
			b.Errorf("%q is in force of a set without policies", empty.MaterializedVersionID)
		}
		b.verify()
		if back := b.settle(b.claimAfter(set.ID), polset.MaterializationOutcome{Unchanged: true}); back.MaterializedVersionID != inForce {
			b.Errorf("%q is in force, want %q", back.MaterializedVersionID, inForce)
		}
		if _, outcomes := b.made(set.ID); outcomes != "unchanged ignored versioned unchanged failed versioned" {
			b.Errorf("history: %s", outcomes)
		}
		b.verify()

		b.exec("UPDATE policy_sets SET materialized_version_id = $1 WHERE id = $2", v.ID, set.ID)
		var broken *BrokenChain
		if _, err := b.VerifyAudit(b.ctx(), nil); !errors.As(err, &broken) || !strings.Contains(broken.Why, inForce) {
			b.Errorf("audit does not see another version in force: %v", err)
		}
		b.exec("UPDATE policy_sets SET materialized_version_id = '' WHERE id = $1", set.ID)
		if _, err := b.VerifyAudit(b.ctx(), nil); !errors.As(err, &broken) {
			b.Errorf("audit does not see that nothing is in force: %v", err)
		}
		b.must(b.DeletePolicySet(b.ctx(), admin, set.ID))
		b.verify()
	})
}

// claimAfter claims a set after a change of its policies.
func (b *bench) claimAfter(set string) polset.Materialization {
	b.Helper()
	b.exec("UPDATE policy_sets SET policies_revision = policies_revision + 1 WHERE id = $1", set)
	return b.claimed(b.Store)
}

// A node that slept through its lease writes nothing, and what it left another
// one finishes.
func TestMaterializationLease(t *testing.T) {
	onBoth(t, func(b *bench) {
		set := b.plainSet("net", polset.KindSentinel)
		b.policy("rule", polset.KindSentinel, set.ID)
		other := b.node()
		leases := func(m polset.Materialization) []polset.Lease { return []polset.Lease{m.Lease} }

		slow := b.claimed(b.Store)
		b.must(b.RenewMaterializations(b.ctx(), leases(slow), time.Minute))
		b.lapse() // it crashed, or sleeps
		fast := b.claimed(other)
		if fast.Lease.Number <= slow.Lease.Number || fast.Attempts != 1 {
			b.Errorf("leases %+v, %+v", slow, fast)
		}
		b.want(b.RenewMaterializations(b.ctx(), leases(slow), time.Minute), polset.ErrFenced)
		for _, o := range []polset.MaterializationOutcome{madeOf("a"), {Again: true}, {Failure: polset.Fail(polset.ClassInternal, "no")}, {}} {
			b.want(b.SettleMaterialization(b.ctx(), slow, o), polset.ErrFenced)
		}
		if versions, outcomes := b.made(set.ID); len(versions) != 0 || outcomes != "" {
			b.Fatalf("a lost lease wrote %+v, %s", versions, outcomes)
		}
		b.must(other.SettleMaterialization(b.ctx(), fast, madeOf("b")))
		b.must(b.RenewMaterializations(b.ctx(), leases(fast), time.Minute)) // it has ended
		if versions, _ := b.made(set.ID); len(versions) != 1 || versions[0].Artifact.Digest[0] != 'b' {
			b.Fatalf("versions %+v", versions)
		}

		// Passing faults wait, and show nothing, however many they are.
		m := b.claimAfter(set.ID)
		for n := range 40 {
			if want := min(n, faultyMaterializations); m.Attempts != want {
				b.Fatalf("attempt %d counts as %d", n, m.Attempts)
			}
			b.must(b.SettleMaterialization(b.ctx(), m, polset.MaterializationOutcome{Again: true, Fault: true, After: time.Hour}))
			b.idle()
			b.lapse()
			m = b.claimed(b.Store)
		}
		b.must(b.SettleMaterialization(b.ctx(), m, polset.MaterializationOutcome{Again: true})) // the server stops
		if m = b.claimed(b.Store); m.Attempts != faultyMaterializations {
			b.Errorf("an interruption counts: %d", m.Attempts)
		}
		if versions, _ := b.made(set.ID); len(versions) != 1 {
			b.Errorf("versions %+v", versions)
		}
		// The only process knows that nobody holds a lease.
		b.must(b.takeOver(b.ctx()))
		b.want(b.SettleMaterialization(b.ctx(), m, madeOf("c")), polset.ErrFenced)
		b.settle(b.claimed(b.Store), madeOf("c"))

		// Policies that take their workers down are given up.
		b.exec("UPDATE policy_sets SET policies_revision = policies_revision + 1")
		for range silentMaterializations {
			b.lapse()
			m = b.claimed(b.Store)
		}
		b.lapse()
		b.idle()
		versions, _ := b.made(set.ID)
		if v := versions[0]; v.Status != polset.VersionErrored || v.Error != polset.ClassInternal || !strings.Contains(v.ErrorMessage, fmt.Sprint(silentMaterializations)) {
			b.Errorf("given up: %+v", v)
		}
		if got := b.set(set.ID).MaterializedVersionID; got != versions[1].ID {
			b.Errorf("%q is in force, want %q", got, versions[1].ID)
		}

		m = b.claimAfter(set.ID)
		b.must(b.DeletePolicySet(b.ctx(), admin, set.ID))
		b.want(b.SettleMaterialization(b.ctx(), m, madeOf("d")), polset.ErrFenced)
		b.want(b.RenewMaterializations(b.ctx(), leases(m), time.Minute), polset.ErrFenced)
		b.verify()
	})
}

// Two nodes that look at once do not take the same set, and a process that
// changes policies wakes its own loop.
func TestMaterializationClaims(t *testing.T) {
	onBoth(t, func(b *bench) {
		const sets = 6
		for n := range sets {
			b.policy(fmt.Sprintf("rule-%d", n), polset.KindSentinel, b.plainSet(fmt.Sprintf("set-%d", n), polset.KindSentinel).ID)
		}
		select {
		case <-b.MaterializationDue():
		default:
			b.Error("nobody was woken")
		}
		b.plainSet("more", polset.KindSentinel)
		select {
		case <-b.MaterializationDue():
			b.Error("woken for nothing")
		default:
		}
		found := make(chan []polset.Materialization)
		for _, s := range []*Store{b.Store, b.node()} {
			go func() {
				var all []polset.Materialization
				for range sets {
					list, err := s.ClaimMaterializations(b.ctx(), 1, time.Minute)
					if err != nil {
						b.Error(err)
					}
					all = append(all, list...)
				}
				found <- all
			}()
		}
		seen := map[string]int{}
		for _, m := range append(<-found, <-found...) {
			seen[m.PolicySetID]++
			b.must(b.SettleMaterialization(b.ctx(), m, madeOf("a")))
		}
		for id, n := range seen {
			if n != 1 {
				b.Errorf("%s was claimed %d times", id, n)
			}
		}
		if len(seen) != sets {
			b.Errorf("%d of %d sets were claimed", len(seen), sets)
		}
		b.verify()
	})
}

// What was made of a set's policies is not what a commit is compared with.
func TestMaterializedVersionIsNoNewest(t *testing.T) {
	onBoth(t, func(b *bench) {
		set := b.plainSet("net", polset.KindSentinel)
		p := b.policy("rule", polset.KindSentinel, set.ID)
		b.settle(b.claimed(b.Store), madeOf("a"))
		b.must(b.DeletePolicy(b.ctx(), admin, p.ID))
		b.must(second(b.UpdatePolicySet(b.ctx(), admin, set.ID, polset.PolicySetChange{
			VCS: &polset.VCSDraft{Identifier: "acme/policies", TokenID: b.conn.TokenID, Head: polset.Head{Branch: "main", Commit: "c0"}},
		})))
		batch, err := b.Claim(b.ctx(), b.set(set.ID).VCS.RepositoryID, "c0", time.Minute)
		b.must(err)
		if len(batch.Claims) != 1 || batch.Claims[0].Newest != nil {
			b.Errorf("claims %+v", batch.Claims)
		}
	})
}

// A set that begins to follow a repository while a change of its policies waits
// keeps what was made of them in force until it has something in its place.
func TestFollowingWhileAChangeWaits(t *testing.T) {
	onBoth(t, func(b *bench) {
		installed := b.installed(51, "acme", b.org.Name)
		set := b.plainSet("net", polset.KindOPA)
		p := b.policy("rule", polset.KindOPA, set.ID)
		made := b.settle(b.claimed(b.Store), madeOf("a")).MaterializedVersionID
		query := "data.rule.more"
		b.must(second(b.UpdatePolicy(b.ctx(), admin, p.ID, polset.PolicyUpdate{Query: &query})))
		b.must(second(b.UpdatePolicySet(b.ctx(), admin, set.ID, polset.PolicySetChange{
			VCS: &polset.VCSDraft{
				Identifier: "acme/policies", InstallationID: installed.ID, Branch: "main", Head: polset.Head{Branch: "main", Commit: "c0"},
				Facts: polset.RepositoryFacts{RepositoryRef: polset.RepositoryRef{ID: 42, Identifier: "acme/policies"}, DefaultBranch: "main"},
			},
			Members: map[polset.Relation][]string{polset.RelationPolicies: {}},
		})))
		m := b.claimed(b.Store)
		if len(m.Policies) != 0 {
			b.Fatalf("claimed %+v", m)
		}
		if after := b.settle(m, polset.MaterializationOutcome{}); after.MaterializedVersionID != made {
			b.Fatalf("%q is in force, and nothing has come in the place of %s", after.MaterializedVersionID, made)
		}
		b.idle()

		b.pull(7, "d0")
		if list := b.trials("7 d0"); list[0].Current == nil || list[0].Current.ID != made {
			b.Errorf("a dry run is compared with %+v", list[0].Current)
		}

		// What the policies were is lifted when nothing comes any more.
		b.must(second(b.UpdatePolicySet(b.ctx(), admin, set.ID, polset.PolicySetChange{RemoveVCS: true})))
		if after := b.settle(b.claimed(b.Store), polset.MaterializationOutcome{}); after.MaterializedVersionID != "" {
			b.Errorf("%s is in force for ever", after.MaterializedVersionID)
		}
		b.verify()
	})
}

// Not to follow what is not followed changes nothing.
func TestNothingIsLeft(t *testing.T) {
	onBoth(t, func(b *bench) {
		set := b.plainSet("net", polset.KindOPA)
		b.policy("rule", polset.KindOPA, set.ID)
		b.settle(b.claimed(b.Store), madeOf("a"))
		b.must(second(b.UpdatePolicySet(b.ctx(), admin, set.ID, polset.PolicySetChange{RemoveVCS: true})))
		b.idle()
	})
}
