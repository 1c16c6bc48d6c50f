package store

import (
	"context"
	"slices"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// The caller of what follows holds the repositories of the sets.

// degrade notes on policy sets why they cannot hear of, or read, what they
// follow, and audits it where the reason is another than before. Whether the
// reason says more than the one that stands is for the caller to know.
func (t *tx) degrade(ctx context.Context, sets []rows.PolicySet, reason, message string) error {
	for _, set := range sets {
		same := set.Degraded == reason
		if same && set.DegradedMessage == message {
			continue
		}
		since := nullTime(t.now)
		if same {
			since = set.DegradedAt
		}
		err := t.DegradePolicySet(ctx, rows.DegradePolicySetParams{
			ID: set.ID, Degraded: reason, DegradedMessage: message, DegradedAt: since,
		})
		if err != nil {
			return err
		}
		if !same {
			t.note(set.OrganizationID, "policy-set.degraded", set.ID, map[string]string{
				"reason": reason, "from": set.Degraded, "message": message,
			})
		}
	}
	return nil
}

// heal ends the degradation of policy sets, whatever its reason.
func (t *tx) heal(ctx context.Context, sets []rows.PolicySet) error {
	for _, set := range sets {
		if set.Degraded == "" {
			continue
		}
		if err := t.DegradePolicySet(ctx, rows.DegradePolicySetParams{ID: set.ID}); err != nil {
			return err
		}
		t.note(set.OrganizationID, "policy-set.healed", set.ID, map[string]string{"reason": set.Degraded})
	}
	return nil
}

// reconsider is for policy sets of which something has undone the reason that
// stands. Until they have read their repository, or failed to, that is all that
// can be said.
func (t *tx) reconsider(ctx context.Context, sets []rows.PolicySet, undone ...polset.DegradedReason) error {
	sets = slices.DeleteFunc(slices.Clone(sets), func(p rows.PolicySet) bool {
		return !slices.Contains(undone, polset.DegradedReason(p.Degraded))
	})
	return t.degrade(ctx, sets, string(polset.DegradedAccessLost),
		"What kept polset from reading the repository is over, and polset is about to look at it again.")
}

// lookAgain has policy sets look at their branch with their own credential.
// One that is about to look need not do so twice.
func (s *Store) lookAgain(ctx context.Context, tx *tx, sets ...rows.PolicySet) error {
	for _, set := range sets {
		if !set.RepositoryID.Valid {
			continue
		}
		n, err := tx.CountLooksToCome(ctx, rows.CountLooksToComeParams{PolicySetID: set.ID, Generation: set.Generation})
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		i, err := s.insertIngestion(ctx, tx, set, arrival{cause: polset.CauseHead})
		if err != nil {
			return err
		}
		if err := s.enqueue(ctx, tx, i); err != nil {
			return err
		}
	}
	return nil
}
