package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// CreatePolicy makes a policy without code, as a member of the policy sets that
// the draft names. An organization or a policy set that the principal does not
// have is ErrNotFound; a name that is taken, and a policy set of another kind,
// that follows a repository or that has versions, is ErrConflict.
func (s *Store) CreatePolicy(ctx context.Context, by polset.Principal, d polset.PolicyDraft) (polset.Policy, error) {
	var out polset.Policy
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		o, err := tx.organization(ctx, by, d.Organization)
		if err != nil {
			return err
		}
		id := polset.NewID("pol")
		n, err := tx.InsertPolicy(ctx, rows.InsertPolicyParams{
			ID: id, OrganizationID: o.ID, Name: d.Name, Description: d.Description, Kind: string(d.Kind),
			Query: d.Query, EnforcementLevel: d.EnforcementLevel, Now: tx.now,
		})
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("the name is taken: %w", polset.ErrConflict)
		}
		sets := slices.Compact(slices.Sorted(slices.Values(d.PolicySetIDs)))
		for _, set := range sets {
			if err := tx.join(ctx, o.ID, set, id, d.Kind); err != nil {
				return fmt.Errorf("policy set %q: %w", set, err)
			}
		}
		tx.note(o.ID, "policy.created", id, map[string]string{
			"name": d.Name, "kind": string(d.Kind), "query": d.Query, "enforcement-level": d.EnforcementLevel,
			"policy-sets": strings.Join(sets, " "),
		})
		out, err = tx.policy(ctx, id)
		return err
	})
	if err != nil {
		return polset.Policy{}, fmt.Errorf("create policy %q: %w", d.Name, err)
	}
	return out, nil
}

// join makes a policy of this transaction a member of a policy set.
func (t *tx) join(ctx context.Context, organizationID, policySetID, policyID string, kind polset.Kind) error {
	if err := t.lock(ctx, policySetRow, policySetID); err != nil {
		return err
	}
	r, err := t.PolicySet(ctx, rows.PolicySetParams{ID: policySetID, Tenant: organizationID})
	if err != nil {
		return found(err)
	}
	if r.PolicySet.Kind != string(kind) || r.PolicySet.RepositoryID.Valid || r.PolicySet.NewestVersionID != "" {
		return fmt.Errorf("it takes no such policy: %w", polset.ErrConflict)
	}
	if _, err := t.InsertPolicySetPolicy(ctx, rows.InsertPolicySetPolicyParams{PolicySetID: policySetID, PolicyID: policyID}); err != nil {
		return err
	}
	return t.policiesChanged(ctx, policySetID)
}

// holdPolicy locks a policy, so that neither its code nor what it says changes
// until the end of the transaction; the tenant is "" for the site admin. Whoever
// gives a set policies holds them too: a change of a policy then tells of itself
// to every set that has it.
func (t *tx) holdPolicy(ctx context.Context, tenant, id string) (rows.PolicyRow, error) {
	// Found first: a stranger must not wait for the lock.
	r, err := t.Policy(ctx, rows.PolicyParams{ID: id, Tenant: tenant})
	if err != nil {
		return r, found(err)
	}
	if err := t.lock(ctx, policyRow, id); err != nil {
		return r, err
	}
	r, err = t.Policy(ctx, rows.PolicyParams{ID: id, Tenant: tenant})
	return r, found(err)
}

// Policy returns a policy by id.
func (s *Store) Policy(ctx context.Context, by polset.Principal, id string) (polset.Policy, error) {
	r, err := s.reads.Policy(ctx, rows.PolicyParams{ID: id, Tenant: by.OrganizationID})
	if err != nil {
		return polset.Policy{}, fmt.Errorf("read policy %s: %w", id, found(err))
	}
	list := []polset.Policy{policy(r.Policy, r.Organization)}
	err = s.addPolicySets(ctx, list)
	return list[0], err
}

const policyList = `SELECT policies.sequence, policies.id, policies.organization_id, policies.name, policies.description,
	policies.kind, policies.query, policies.enforcement_level, policies.digest, policies.size, policies.uploaded_at,
	policies.created_at, policies.updated_at, organizations.name
FROM policies JOIN organizations ON organizations.id = policies.organization_id`

// policyOrders are the orders of a list, each with a last word of its own.
var policyOrders = map[polset.PolicySort]string{
	"":                           "policies.sequence",
	polset.SortName:              "policies.name",
	polset.SortNameDescending:    "policies.name DESC",
	polset.SortUpdated:           "(policies.uploaded_at IS NOT NULL), policies.uploaded_at, policies.sequence",
	polset.SortUpdatedDescending: "(policies.uploaded_at IS NULL), policies.uploaded_at DESC, policies.sequence DESC",
}

// Policies lists an organization's policies, and says how many there are in all.
func (s *Store) Policies(ctx context.Context, by polset.Principal, organization string, f polset.PolicyFilter, page polset.Page) ([]polset.Policy, int, error) {
	o, err := s.Organization(ctx, by, organization)
	if err != nil {
		return nil, 0, err
	}
	var q filter
	q.add("policies.organization_id = ?", o.ID)
	if f.Kind != "" {
		q.add("policies.kind = ?", string(f.Kind))
	}
	if f.Search != "" {
		q.add("lower(policies.name) LIKE ? ESCAPE '!'", like(f.Search))
	}
	out, total, err := queryPage(ctx, s, "policies", policyList, q, policyOrders[f.Sort], page, scanPolicy)
	if err != nil {
		return nil, 0, err
	}
	return out, total, s.addPolicySets(ctx, out)
}

// PoliciesByID returns those of the policies that the principal may see, in
// any order.
func (s *Store) PoliciesByID(ctx context.Context, by polset.Principal, ids []string) ([]polset.Policy, error) {
	list, err := queryByID(ctx, s, "policies", policyList, by, ids, scanPolicy)
	if err != nil {
		return nil, err
	}
	return list, s.addPolicySets(ctx, list)
}

func scanPolicy(result *sql.Rows) (polset.Policy, error) {
	var r rows.Policy
	var organization string
	err := result.Scan(&r.Sequence, &r.ID, &r.OrganizationID, &r.Name, &r.Description, &r.Kind, &r.Query,
		&r.EnforcementLevel, &r.Digest, &r.Size, &r.UploadedAt, &r.CreatedAt, &r.UpdatedAt, &organization)
	return policy(r, organization), err
}

// addPolicySets tells each of the policies what sets it is a member of, with
// one statement for a thousand of them.
func (s *Store) addPolicySets(ctx context.Context, list []polset.Policy) error {
	at := make(map[string]int, len(list))
	for i := range list {
		at[list[i].ID] = i
	}
	for chunk := range slices.Chunk(list, maxPage) {
		ids := make([]string, len(chunk))
		for i, p := range chunk {
			ids[i] = p.ID
		}
		var q filter
		q.in("policy_id", ids)
		members, err := queryAll(ctx, s, "policy sets of policies", "SELECT policy_id, policy_set_id FROM policy_set_policies"+q.where()+" ORDER BY sequence", q.args,
			func(result *sql.Rows) (m [2]string, err error) { return m, result.Scan(&m[0], &m[1]) })
		if err != nil {
			return err
		}
		for _, m := range members {
			p := &list[at[m[0]]]
			p.PolicySetIDs = append(p.PolicySetIDs, m[1])
		}
	}
	return nil
}

// policy reads a policy as this transaction left it.
func (t *tx) policy(ctx context.Context, id string) (polset.Policy, error) {
	r, err := t.Policy(ctx, rows.PolicyParams{ID: id})
	if err != nil {
		return polset.Policy{}, err
	}
	out := policy(r.Policy, r.Organization)
	out.PolicySetIDs, err = t.PolicySetsOfPolicy(ctx, id)
	return out, err
}

// UpdatePolicy changes what a policy says of its code. The sets that hold it
// get a version of their own where that makes a difference to them.
func (s *Store) UpdatePolicy(ctx context.Context, by polset.Principal, id string, c polset.PolicyUpdate) (polset.Policy, error) {
	var out polset.Policy
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		r, err := tx.holdPolicy(ctx, by.OrganizationID, id)
		if err != nil {
			return err
		}
		p := r.Policy
		var changed []string
		changed = change(changed, "description", &p.Description, c.Description)
		changed = change(changed, "query", &p.Query, c.Query)
		changed = change(changed, "enforcement-level", &p.EnforcementLevel, c.EnforcementLevel)
		if len(changed) > 0 {
			err := tx.UpdatePolicy(ctx, rows.UpdatePolicyParams{
				ID: id, Description: p.Description, Query: p.Query, EnforcementLevel: p.EnforcementLevel, Now: tx.now,
			})
			if err != nil {
				return err
			}
			if err := tx.policyChanged(ctx, id); err != nil {
				return err
			}
			tx.note(p.OrganizationID, "policy.updated", id, map[string]string{
				"changed": strings.Join(changed, " "), "name": p.Name, "query": p.Query, "enforcement-level": p.EnforcementLevel,
			})
		}
		out, err = tx.policy(ctx, id)
		return err
	})
	if err != nil {
		return polset.Policy{}, fmt.Errorf("update policy %s: %w", id, err)
	}
	return out, nil
}

// UploadPolicy gives a policy the code that lies in the object storage under
// its digest.
func (s *Store) UploadPolicy(ctx context.Context, by polset.Principal, id, digest string, size int64) (polset.Policy, error) {
	var out polset.Policy
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		r, err := tx.holdPolicy(ctx, by.OrganizationID, id)
		if err != nil {
			return err
		}
		if err := tx.UploadPolicy(ctx, rows.UploadPolicyParams{ID: id, Digest: digest, Size: size, Now: nullTime(tx.now)}); err != nil {
			return err
		}
		// The same code counts, too: it may have been lost in the object storage.
		if err := tx.policyChanged(ctx, id); err != nil {
			return err
		}
		tx.note(r.Policy.OrganizationID, "policy.uploaded", id, map[string]string{"name": r.Policy.Name, "digest": digest})
		out, err = tx.policy(ctx, id)
		return err
	})
	if err != nil {
		return polset.Policy{}, fmt.Errorf("upload policy %s: %w", id, err)
	}
	return out, nil
}

// DeletePolicy removes a policy from the organization and from the sets that
// hold it.
func (s *Store) DeletePolicy(ctx context.Context, by polset.Principal, id string) error {
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		r, err := tx.holdPolicy(ctx, by.OrganizationID, id)
		if err != nil {
			return err
		}
		sets, err := tx.PolicySetsOfPolicy(ctx, id)
		if err != nil {
			return err
		}
		if err := tx.policyChanged(ctx, id); err != nil {
			return err
		}
		if err := tx.DeletePolicy(ctx, id); err != nil {
			return err
		}
		tx.note(r.Policy.OrganizationID, "policy.deleted", id, map[string]string{
			"name": r.Policy.Name, "policy-sets": strings.Join(sets, " "),
		})
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete policy %s: %w", id, err)
	}
	return nil
}

func policy(r rows.Policy, organization string) polset.Policy {
	return polset.Policy{
		ID: r.ID, OrganizationID: r.OrganizationID, Organization: organization, Name: r.Name, Description: r.Description,
		Kind: polset.Kind(r.Kind), Query: r.Query, EnforcementLevel: r.EnforcementLevel,
		Digest: r.Digest, Size: r.Size, UploadedAt: utc(r.UploadedAt),
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
}
