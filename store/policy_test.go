package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// policy makes a policy of acme, a member of sets.
func (b *bench) policy(name string, kind polset.Kind, sets ...string) polset.Policy {
	b.Helper()
	d := polset.PolicyDraft{Organization: "acme", Name: name, Kind: kind, EnforcementLevel: "advisory", PolicySetIDs: sets}
	if kind == polset.KindOPA {
		d.Query = "data." + name + ".deny"
	}
	p, err := b.CreatePolicy(b.ctx(), admin, d)
	b.must(err)
	return p
}

// plainSet makes a policy set of acme that follows nothing.
func (b *bench) plainSet(name string, kind polset.Kind) polset.PolicySet {
	b.Helper()
	p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{Organization: "acme", Name: name, Kind: kind})
	b.must(err)
	return p
}

// revision is the count of the changes of a set's own policies.
func (b *bench) revision(set string) int {
	b.Helper()
	return b.count("SELECT policies_revision FROM policy_sets WHERE id = $1", set)
}

func TestPolicies(t *testing.T) {
	onBoth(t, func(b *bench) {
		one, two := b.plainSet("one", polset.KindSentinel), b.plainSet("two", polset.KindSentinel)
		p := b.policy("rule", polset.KindSentinel, two.ID, one.ID)
		other := b.policy("Other_rule", polset.KindSentinel)
		if !slices.Equal(p.PolicySetIDs, slices.Sorted(slices.Values([]string{one.ID, two.ID}))) || p.Digest != "" || !p.UploadedAt.IsZero() {
			b.Errorf("made %+v", p)
		}
		revisions := func(want ...int) {
			b.Helper()
			if got := []int{b.revision(one.ID), b.revision(two.ID)}; !slices.Equal(got, want) {
				b.Errorf("revisions %v, want %v", got, want)
			}
		}
		revisions(1, 1)
		digest := strings.Repeat("a", 64)
		p, err := b.UploadPolicy(b.ctx(), admin, p.ID, digest, 7)
		b.must(err)
		if p.Digest != digest || p.Size != 7 || p.UploadedAt.IsZero() || len(p.PolicySetIDs) != 2 {
			b.Errorf("uploaded %+v", p)
		}
		revisions(2, 2)
		b.must(second(b.UploadPolicy(b.ctx(), admin, p.ID, digest, 7)))
		revisions(3, 3) // the same code, which may have been lost
		level, same := "hard-mandatory", ""
		p, err = b.UpdatePolicy(b.ctx(), admin, p.ID, polset.PolicyUpdate{EnforcementLevel: &level, Description: &same})
		b.must(err)
		revisions(4, 4)
		b.must(second(b.UpdatePolicy(b.ctx(), admin, p.ID, polset.PolicyUpdate{EnforcementLevel: &level})))
		b.must(second(b.UpdatePolicy(b.ctx(), admin, other.ID, polset.PolicyUpdate{EnforcementLevel: &level})))
		revisions(4, 4)
		if got, err := b.Policy(b.ctx(), admin, p.ID); err != nil || fmt.Sprint(got) != fmt.Sprint(p) {
			b.Errorf("read %+v, want %+v, %v", got, p, err)
		}
		for filter, want := range map[polset.PolicyFilter]string{
			{}:                                   "rule Other_rule",
			{Search: "R_R"}:                      "Other_rule",
			{Search: "%"}:                        "",
			{Kind: polset.KindOPA}:               "",
			{Sort: polset.SortUpdated}:           "Other_rule rule",
			{Sort: polset.SortUpdatedDescending}: "rule Other_rule",
		} {
			list, total, err := b.Policies(b.ctx(), admin, "acme", filter, polset.Page{Number: 1, Size: 10})
			b.must(err)
			var names []string
			for _, p := range list {
				names = append(names, p.Name)
			}
			if got := strings.Join(names, " "); got != want || total != len(names) {
				b.Errorf("%+v: %s (%d), want %s", filter, got, total, want)
			}
		}
		list, err := b.PoliciesByID(b.ctx(), admin, []string{p.ID, other.ID, "pol-0000000000009999"})
		if err != nil || len(list) != 2 {
			b.Errorf("by id: %v, %v", list, err)
		}

		b.must(b.DeletePolicy(b.ctx(), admin, p.ID))
		revisions(5, 5)
		b.want(b.DeletePolicy(b.ctx(), admin, p.ID), polset.ErrNotFound)
		if n := b.count("SELECT count(*) FROM policy_set_policies"); n != 0 {
			b.Errorf("%d members are left of a policy that is gone", n)
		}
		for _, d := range []polset.PolicyDraft{
			{Name: "Other_rule", Kind: polset.KindSentinel},
			{Name: "x", Kind: polset.KindOPA, PolicySetIDs: []string{one.ID}},
			{Name: "x", Kind: polset.KindSentinel, PolicySetIDs: []string{b.follower("net", "main", polset.Head{}).ID}},
		} {
			d.Organization, d.EnforcementLevel = "acme", "advisory"
			b.want(second(b.CreatePolicy(b.ctx(), admin, d)), polset.ErrConflict)
		}
		var actions []string
		b.each("SELECT action FROM audit_entries WHERE action LIKE 'policy.%' ORDER BY sequence", func(v []any) { actions = append(actions, fmt.Sprintf("%s", v[0])) })
		if got, want := strings.Join(actions, " "), "policy.created policy.created policy.uploaded policy.uploaded policy.updated policy.updated policy.deleted"; got != want {
			b.Errorf("audit %s, want %s", got, want)
		}
	})
}

// No set misses a change of a policy that it takes at the same time: the change
// waits until the set is a member that can be told.
func TestPolicyTakenWhileItChanges(t *testing.T) {
	onBoth(t, func(b *bench) {
		p, set := b.policy("rule", polset.KindSentinel), b.plainSet("net", polset.KindSentinel)
		digest := strings.Repeat("a", 64)
		tried := false
		b.must(b.write(b.ctx(), admin, func(ctx context.Context, tx *tx) error {
			if _, err := tx.holdPolicy(ctx, b.org.ID, p.ID); err != nil {
				return err
			}
			if !tried {
				tried = true
				meanwhile, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
				defer cancel()
				if _, err := b.UploadPolicy(meanwhile, admin, p.ID, digest, 1); err == nil {
					b.Error("the policy changed under the eyes of the set that takes it")
				}
			}
			if err := tx.lock(ctx, policySetRow, set.ID); err != nil {
				return err
			}
			if _, err := tx.InsertPolicySetPolicy(ctx, rows.InsertPolicySetPolicyParams{PolicySetID: set.ID, PolicyID: p.ID}); err != nil {
				return err
			}
			return tx.policiesChanged(ctx, set.ID)
		}))
		b.must(second(b.UploadPolicy(b.ctx(), admin, p.ID, digest, 1)))
		if got := b.revision(set.ID); got != 2 {
			b.Errorf("revision %d, want 2", got)
		}
		b.must(b.write(b.ctx(), admin, func(ctx context.Context, tx *tx) error {
			b.want(second(tx.holdPolicy(ctx, "org-0000000000009999", p.ID)), polset.ErrNotFound)
			return nil
		}))
	})
}
