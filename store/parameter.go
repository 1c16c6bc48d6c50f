package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// CreateParameter gives a policy set a parameter. A key that the set has
// already is ErrConflict; one parameter too many is a Failure of class limit.
func (s *Store) CreateParameter(ctx context.Context, by polset.Principal, policySetID string, d polset.ParameterDraft) (polset.Parameter, error) {
	var out polset.Parameter
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		set, err := tx.holdPolicySet(ctx, by, policySetID)
		if err != nil {
			return err
		}
		n, err := tx.CountParameters(ctx, policySetID)
		if err != nil {
			return err
		}
		if n >= polset.MaxParameters {
			return polset.Fail(polset.ClassLimit, "A policy set may have %d parameters, and this one has them.", polset.MaxParameters)
		}
		p := rows.PolicySetParameter{ID: polset.NewID("var"), PolicySetID: policySetID, Key: d.Key, Sensitive: d.Sensitive, CreatedAt: tx.now}
		if err := s.putParameterValue(&p, d.Value); err != nil {
			return err
		}
		inserted, err := tx.InsertParameter(ctx, rows.InsertParameterParams{
			ID: p.ID, PolicySetID: p.PolicySetID, Key: p.Key, Sensitive: p.Sensitive, Value: p.Value,
			SealedValue: p.SealedValue, CreatedAt: p.CreatedAt,
		})
		if err != nil {
			return err
		}
		if inserted == 0 {
			return fmt.Errorf("the key is taken: %w", polset.ErrConflict)
		}
		out = parameter(p)
		tx.noteParameter(set.OrganizationID, "parameter.created", out, nil)
		return nil
	})
	if err != nil {
		return polset.Parameter{}, fmt.Errorf("create parameter of %s: %w", policySetID, err)
	}
	return out, nil
}

// putParameterValue puts a value where the row keeps one of its kind.
func (s *Store) putParameterValue(p *rows.PolicySetParameter, value polset.Secret) (err error) {
	if !p.Sensitive {
		p.Value, p.SealedValue = value.Reveal(), nil
		return nil
	}
	p.Value = ""
	p.SealedValue, err = s.seal(parameterPlace(p.ID), value.Reveal())
	return err
}

// Parameter returns a parameter of a policy set.
func (s *Store) Parameter(ctx context.Context, by polset.Principal, policySetID, id string) (polset.Parameter, error) {
	r, err := s.reads.Parameter(ctx, rows.ParameterParams{ID: id, PolicySetID: policySetID, Tenant: by.OrganizationID})
	if err != nil {
		return polset.Parameter{}, fmt.Errorf("read parameter %s of %s: %w", id, policySetID, found(err))
	}
	return parameter(r), nil
}

// Parameters lists a policy set's parameters in the order of their creation,
// and says how many there are in all.
func (s *Store) Parameters(ctx context.Context, by polset.Principal, policySetID string, page polset.Page) ([]polset.Parameter, int, error) {
	if _, err := s.PolicySet(ctx, by, policySetID); err != nil {
		return nil, 0, err
	}
	var q filter
	q.add("policy_set_id = ?", policySetID)
	// Not the sealed values: nobody who lists is to have them.
	return queryPage(ctx, s, "policy_set_parameters", "SELECT id, policy_set_id, key, sensitive, value, created_at FROM policy_set_parameters", q, "sequence", page,
		func(result *sql.Rows) (polset.Parameter, error) {
			var r rows.PolicySetParameter
			err := result.Scan(&r.ID, &r.PolicySetID, &r.Key, &r.Sensitive, &r.Value, &r.CreatedAt)
			return parameter(r), err
		})
}

// UpdateParameter changes a parameter. What is sensitive stays so. Errors are
// those of CreateParameter.
func (s *Store) UpdateParameter(ctx context.Context, by polset.Principal, policySetID, id string, c polset.ParameterChange) (polset.Parameter, error) {
	var out polset.Parameter
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		set, p, err := tx.holdParameter(ctx, by, policySetID, id)
		if err != nil {
			return err
		}
		out = parameter(p)
		var changed []string
		if c.Key != nil && *c.Key != p.Key {
			p.Key = *c.Key
			changed = append(changed, "key")
		}
		value := polset.NewSecret(p.Value) // of a sensitive one it is not asked for below
		if c.Value != nil && (p.Sensitive || c.Value.Reveal() != p.Value) {
			value = *c.Value
			changed = append(changed, "value")
		}
		hide := c.Sensitive && !p.Sensitive
		if hide {
			p.Sensitive = true
			changed = append(changed, "sensitive")
		}
		if len(changed) == 0 {
			return nil
		}
		if c.Value != nil || hide {
			if err := s.putParameterValue(&p, value); err != nil {
				return err
			}
		}
		taken, err := tx.ParameterKeyTaken(ctx, rows.ParameterKeyTakenParams{PolicySetID: policySetID, Key: p.Key, ID: id})
		if err != nil {
			return err
		}
		if taken > 0 {
			return fmt.Errorf("the key is taken: %w", polset.ErrConflict)
		}
		err = tx.UpdateParameter(ctx, rows.UpdateParameterParams{
			ID: id, Key: p.Key, Sensitive: p.Sensitive, Value: p.Value, SealedValue: p.SealedValue,
		})
		out = parameter(p)
		tx.noteParameter(set.OrganizationID, "parameter.updated", out, changed)
		return err
	})
	if err != nil {
		return polset.Parameter{}, fmt.Errorf("update parameter %s of %s: %w", id, policySetID, err)
	}
	return out, nil
}

// holdParameter locks the policy set of a parameter, and reads both.
func (t *tx) holdParameter(ctx context.Context, by polset.Principal, policySetID, id string) (set rows.PolicySet, p rows.PolicySetParameter, err error) {
	if set, err = t.holdPolicySet(ctx, by, policySetID); err != nil {
		return set, p, err
	}
	p, err = t.Parameter(ctx, rows.ParameterParams{ID: id, PolicySetID: policySetID, Tenant: by.OrganizationID})
	return set, p, found(err)
}

// DeleteParameter removes a parameter of a policy set.
func (s *Store) DeleteParameter(ctx context.Context, by polset.Principal, policySetID, id string) error {
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		set, p, err := tx.holdParameter(ctx, by, policySetID, id)
		if err != nil {
			return err
		}
		tx.noteParameter(set.OrganizationID, "parameter.deleted", parameter(p), nil)
		return tx.DeleteParameter(ctx, id)
	})
	if err != nil {
		return fmt.Errorf("delete parameter %s of %s: %w", id, policySetID, err)
	}
	return nil
}

// noteParameter tells the audit chain everything but values, which may be
// secrets that nobody marked.
func (t *tx) noteParameter(organizationID, action string, p polset.Parameter, changed []string) {
	t.note(organizationID, action, p.ID, map[string]string{
		"policy-set": p.PolicySetID, "key": p.Key, "sensitive": strconv.FormatBool(p.Sensitive), "changed": strings.Join(changed, " "),
	})
}

func parameter(r rows.PolicySetParameter) polset.Parameter {
	return polset.Parameter{
		ID: r.ID, PolicySetID: r.PolicySetID, Key: r.Key, Value: r.Value, Sensitive: r.Sensitive, CreatedAt: r.CreatedAt.UTC(),
	}
}
