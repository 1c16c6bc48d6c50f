package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// AddMembers relates a policy set to more of what its organization has; what is
// a member already is passed over. Where anything is refused the error is a
// polset.RefusedError, whose indices count in ids, and nothing changes.
func (s *Store) AddMembers(ctx context.Context, by polset.Principal, policySetID string, relation polset.Relation, ids []string) error {
	var policies []string
	if relation == polset.RelationPolicies {
		policies = ids
	}
	err := s.rearrange(ctx, by, policySetID, policies, func(now polset.PolicySet) arrangement {
		return arrangement{members: map[polset.Relation][]string{relation: append(slices.Clone(*now.Members.Of(relation)), ids...)}, given: ids}
	})
	if err != nil {
		return fmt.Errorf("add %s to policy set %s: %w", relation, policySetID, err)
	}
	return nil
}

// RemoveMembers ends relations of a policy set; what is no member is passed over.
func (s *Store) RemoveMembers(ctx context.Context, by polset.Principal, policySetID string, relation polset.Relation, ids []string) error {
	err := s.rearrange(ctx, by, policySetID, nil, func(now polset.PolicySet) arrangement {
		return arrangement{members: map[polset.Relation][]string{relation: without(*now.Members.Of(relation), ids)}}
	})
	if err != nil {
		return fmt.Errorf("remove %s from policy set %s: %w", relation, policySetID, err)
	}
	return nil
}

// rearrange changes the members and tag selectors of a policy set, which is
// held meanwhile, to what f makes of those that it has. The policies are those
// that it may take.
func (s *Store) rearrange(ctx context.Context, by polset.Principal, policySetID string, policies []string, f func(now polset.PolicySet) arrangement) error {
	return s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		before, err := tx.PolicySet(ctx, rows.PolicySetParams{ID: policySetID, Tenant: by.OrganizationID})
		if err != nil {
			return found(err)
		}
		if err := tx.holdThose(ctx, before.PolicySet.OrganizationID, policies); err != nil {
			return err
		}
		if err := tx.lock(ctx, policySetRow, policySetID); err != nil {
			return err
		}
		r, err := tx.PolicySet(ctx, rows.PolicySetParams{ID: policySetID})
		if err != nil {
			return found(err)
		}
		now, err := wholePolicySet(ctx, tx.jobs, r, tx.now)
		if err != nil {
			return err
		}
		changed, err := tx.arrange(ctx, r.PolicySet, now, f(now))
		if err != nil || !changed {
			return err
		}
		return tx.TouchPolicySet(ctx, rows.TouchPolicySetParams{ID: policySetID, Now: tx.now})
	})
}

// An arrangement is what the members and the tag selectors of a policy set
// shall become.
type arrangement struct {
	members   map[polset.Relation][]string // as a whole; a relation that is missing stays
	given     []string                     // what the client sent of the one relation, where members holds more
	selectors *[]polset.TagSelector        // as a whole; nil leaves them alone
}

// place is where the client named a member.
func (a arrangement) place(r polset.Relation, id string) int {
	if a.given != nil {
		return slices.Index(a.given, id)
	}
	return slices.Index(a.members[r], id)
}

// arrange makes the members and selectors of a policy set, which is held and
// had those of now, what they shall be, and says whether they became others.
// The row is as the transaction leaves it.
func (t *tx) arrange(ctx context.Context, set rows.PolicySet, now polset.PolicySet, a arrangement) (changed bool, err error) {
	after := now
	added := map[polset.Relation][]string{}
	var refused polset.RefusedError
	for _, r := range polset.Relations() {
		wanted, ok := a.members[r]
		if !ok {
			continue
		}
		*after.Members.Of(r) = wanted
		added[r] = without(wanted, *now.Members.Of(r))
		unfit, err := t.unfit(ctx, set, r, added[r], a)
		if err != nil {
			return false, err
		}
		refused = append(refused, unfit...)
	}
	if a.selectors != nil {
		after.TagSelectors = *a.selectors
	}
	if refused = append(refused, contradictions(set, after, added, a)...); len(refused) > 0 {
		return false, refused
	}
	for _, r := range polset.Relations() {
		if wanted, ok := a.members[r]; ok {
			removed := without(*now.Members.Of(r), wanted)
			if err := t.exchange(ctx, set, r, added[r], removed); err != nil {
				return false, err
			}
			changed = changed || len(added[r])+len(removed) > 0
		}
	}
	if a.selectors != nil {
		exchanged, err := t.exchangeSelectors(ctx, set, now.TagSelectors, *a.selectors)
		return changed || exchanged, err
	}
	return changed, nil
}

// holdThose holds those of the policies that the organization has, as
// holdPolicies does; what it does not have is for unfit to say.
func (t *tx) holdThose(ctx context.Context, organizationID string, ids []string) error {
	var there []string
	for chunk := range slices.Chunk(ids, maxPage) {
		var q filter
		q.add("organization_id = ?", organizationID)
		q.in("id", chunk)
		list, err := selectAll(ctx, t.jobs, "policies", "SELECT id FROM policies"+q.where(), q.args, func(result *sql.Rows) (id string, err error) {
			return id, result.Scan(&id)
		})
		if err != nil {
			return err
		}
		there = append(there, list...)
	}
	slices.Sort(there)
	for _, id := range there {
		if err := t.lock(ctx, policyRow, id); err != nil && !errors.Is(err, polset.ErrNotFound) {
			return err
		}
	}
	return nil
}

// unfit says which of the ids cannot become members: what the organization does
// not have, whoever else has it, and policies of another kind.
func (t *tx) unfit(ctx context.Context, set rows.PolicySet, r polset.Relation, ids []string, a arrangement) (refused polset.RefusedError, err error) {
	m := membershipOf(r)
	kind := "''"
	if r == polset.RelationPolicies {
		kind = "kind"
	}
	type fact struct{ id, kind string }
	kinds := make(map[string]string, len(ids))
	for chunk := range slices.Chunk(ids, maxPage) {
		var q filter
		q.add("organization_id = ?", set.OrganizationID)
		q.in("id", chunk)
		facts, err := selectAll(ctx, t.jobs, m.members, "SELECT id, "+kind+" FROM "+m.members+q.where(), q.args, func(result *sql.Rows) (f fact, err error) {
			return f, result.Scan(&f.id, &f.kind)
		})
		if err != nil {
			return nil, err
		}
		for _, f := range facts {
			kinds[f.id] = f.kind
		}
	}
	for _, id := range ids {
		message := ""
		switch kind, ok := kinds[id]; {
		case !ok:
			message = "The " + m.noun + " was not found."
		case kind != "" && kind != set.Kind:
			message = fmt.Sprintf("The policy is of the kind %s, and the policy set is of the kind %s.", kind, set.Kind)
		default:
			continue
		}
		refused = append(refused, polset.Refusal{Field: string(r), Index: a.place(r, id), Message: message})
	}
	return refused, nil
}

// exchange writes which members came and went, and what follows from it.
func (t *tx) exchange(ctx context.Context, set rows.PolicySet, r polset.Relation, added, removed []string) error {
	for chunk := range slices.Chunk(removed, maxPage) {
		if err := t.removeMembers(ctx, set, r, chunk); err != nil {
			return fmt.Errorf("remove %s: %w", r, err)
		}
	}
	for chunk := range slices.Chunk(added, maxPage) {
		if err := t.addMembers(ctx, set, r, chunk); err != nil {
			return fmt.Errorf("add %s: %w", r, err)
		}
	}
	// What was made of the policies of a set that now follows a repository stays
	// in force until the first version from there is ready.
	if r != polset.RelationPolicies || len(added)+len(removed) == 0 || set.RepositoryID.Valid {
		return nil
	}
	return t.policiesChanged(ctx, set.ID)
}

func (t *tx) removeMembers(ctx context.Context, set rows.PolicySet, r polset.Relation, ids []string) error {
	m := membershipOf(r)
	var q filter
	q.add("policy_set_id = ?", set.ID)
	if m.excluded != "" {
		q.add("excluded = " + m.excluded)
	}
	q.in(m.column, ids)
	if _, err := t.jobs.ExecContext(ctx, "DELETE FROM "+m.table+q.where(), q.args...); err != nil {
		return err
	}
	t.noteMembers(set, "policy-set.members-removed", r, ids)
	return nil
}

func (t *tx) addMembers(ctx context.Context, set rows.PolicySet, r polset.Relation, ids []string) error {
	m := membershipOf(r)
	columns, value := "policy_set_id, "+m.column, "($1, $%d)"
	if m.excluded != "" {
		columns, value = columns+", excluded", "($1, $%d, "+m.excluded+")"
	}
	args, values := make([]any, 1+len(ids)), make([]string, len(ids))
	args[0] = set.ID
	for n, id := range ids {
		args[n+1], values[n] = id, fmt.Sprintf(value, n+2)
	}
	query := "INSERT INTO " + m.table + " (" + columns + ") VALUES " + strings.Join(values, ", ") // #nosec G202 -- constants; values are arguments
	if _, err := t.jobs.ExecContext(ctx, query, args...); err != nil {
		return err
	}
	t.noteMembers(set, "policy-set.members-added", r, ids)
	return nil
}

func (t *tx) noteMembers(set rows.PolicySet, action string, r polset.Relation, ids []string) {
	t.note(set.OrganizationID, action, set.ID, map[string]string{"relation": string(r), "members": strings.Join(ids, " ")})
}

// without are the ids that are not among others, each once, in their order.
func without(ids, others []string) []string {
	seen := make(map[string]bool, len(ids)+len(others))
	for _, id := range others {
		seen[id] = true
	}
	kept := []string{}
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			kept = append(kept, id)
		}
	}
	return kept
}
