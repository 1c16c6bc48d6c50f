package store

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// maxHookSecrets bounds the secrets that wait for GitHub to get the newest.
const maxHookSecrets = 8

// RotateHookSecret gives the own hook of a policy set's repository a new
// secret, which is in the answer. Those before may sign until an hour after
// GitHub has got it; where that is done by hand, the last one may sign until
// the next rotation. ErrConflict says that the set has no own hook, as with an
// installation, or that too many secrets wait for GitHub to get the newest.
func (s *Store) RotateHookSecret(ctx context.Context, by polset.Principal, policySetID string) (polset.PolicySet, error) {
	secret, err := newHookSecret()
	if err != nil {
		return polset.PolicySet{}, err
	}
	var out polset.PolicySet
	err = s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		before, err := tx.PolicySet(ctx, rows.PolicySetParams{ID: policySetID, Tenant: by.OrganizationID})
		if err != nil {
			return found(err)
		}
		set := before.PolicySet
		if !set.RepositoryID.Valid || set.InstallationID.Valid {
			return fmt.Errorf("it has no hook of its own: %w", polset.ErrConflict)
		}
		r, err := tx.lockRepository(ctx, set.RepositoryID.String)
		if err != nil {
			return err
		}
		h, err := tx.Hook(ctx, r.HookID)
		if missing(err) || err == nil && h.Removed {
			return errAgain // the set has left the repository meanwhile
		}
		if err != nil {
			return err
		}
		if err := s.addSecret(ctx, tx, r, h, secret); err != nil {
			return err
		}
		tx.note(r.OrganizationID, "hook.rotated", h.ID, map[string]string{"repository": r.Identifier, "policy-set": set.ID})
		if err := tx.wantHook(ctx, h, h.RepositoryID, h.TokenID.String, false, true); err != nil {
			return err
		}
		if out, err = tx.wholePolicySet(ctx, policySetID); err != nil {
			return err
		}
		if out.VCS == nil || out.VCS.RepositoryID != r.ID {
			return errAgain
		}
		out.VCS.HookSecret = secret
		return nil
	})
	if err != nil {
		return polset.PolicySet{}, fmt.Errorf("rotate hook secret of policy set %s: %w", policySetID, err)
	}
	return out, nil
}

func (s *Store) addSecret(ctx context.Context, tx *tx, r rows.Repository, h rows.Hook, secret polset.Secret) error {
	secrets, err := s.openHookSecrets(r)
	if err != nil {
		return err
	}
	secrets = valid(secrets, tx.now)
	if h.Manual != "" {
		secrets = secrets[:min(1, len(secrets))]
	}
	if len(secrets) >= maxHookSecrets {
		return fmt.Errorf("the last %d secrets wait for GitHub to get the newest: %w", len(secrets), polset.ErrConflict)
	}
	sealed, err := s.sealHookSecrets(r.ID, append([]hookSecret{{value: secret}}, secrets...))
	if err != nil {
		return err
	}
	return tx.UpdateSealedSecrets(ctx, rows.UpdateSealedSecretsParams{ID: r.ID, SealedSecrets: sealed})
}

// oldSecretFor is how long the secrets before may still sign after GitHub has
// got the newest: deliveries are repeated that were signed before.
const oldSecretFor = time.Hour

// retireSecrets lets the secrets before the newest, which GitHub has now, sign
// for a while yet.
func (s *Store) retireSecrets(ctx context.Context, tx *tx, h rows.Hook) error {
	r, err := tx.Repository(ctx, h.RepositoryID)
	if err != nil {
		return err
	}
	secrets, err := s.openHookSecrets(r)
	if err != nil {
		s.logger.Error("secrets of a hook cannot be opened; is POLSET_ENCRYPTION_KEY complete?", zap.String("hook", h.ID), zap.Error(err))
		return nil
	}
	kept := valid(secrets, tx.now)
	changed := len(kept) != len(secrets)
	for n := range kept {
		if n > 0 && kept[n].until.IsZero() {
			kept[n].until, changed = tx.now.Add(oldSecretFor), true
		}
	}
	if !changed {
		return nil
	}
	sealed, err := s.sealHookSecrets(r.ID, kept)
	if err != nil {
		return err
	}
	return tx.UpdateSealedSecrets(ctx, rows.UpdateSealedSecretsParams{ID: r.ID, SealedSecrets: sealed})
}
