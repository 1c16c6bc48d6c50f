package store

import (
	"context"
	"slices"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// syncHook makes the row of a repository's own hook say what the policy sets
// need that follow it now: those without an installation need it. It reports
// whether nobody needed it before. The repository is held.
func (t *tx) syncHook(ctx context.Context, r rows.Repository) (isNew bool, err error) {
	sets, err := t.PolicySetsOfRepository(ctx, nullString(r.ID))
	if err != nil {
		return false, err
	}
	h, err := t.Hook(ctx, r.HookID)
	exists := err == nil
	if err != nil && !missing(err) {
		return false, err
	}
	sets = slices.DeleteFunc(sets, func(p rows.PolicySet) bool { return p.InstallationID.Valid })
	if len(sets) == 0 {
		if !exists || h.Removed {
			return false, nil
		}
		return false, t.removeHook(ctx, h)
	}
	token := tokenFor(h, sets)
	switch {
	case !exists:
		return true, t.InsertHook(ctx, rows.InsertHookParams{
			ID: r.HookID, OrganizationID: r.OrganizationID, RepositoryID: r.ID, HTTPURL: r.HTTPURL, Identifier: r.Identifier,
			RepositoryExternalID: r.ExternalID, TokenID: nullString(token), Now: t.now,
		})
	case h.Removed:
		if err := t.wantHook(ctx, h, r.ID, token, false, true); err != nil {
			return false, err
		}
		return true, t.nameHook(ctx, r)
	case h.TokenID.String != token:
		// What one token may not do another may.
		return false, t.wantHook(ctx, h, r.ID, token, false, h.Manual != "" && token != "")
	}
	return false, nil
}

// tokenFor is a token that sets follow the repository with: the one that has
// been used for the hook, if it is still among them.
func tokenFor(h rows.Hook, sets []rows.PolicySet) string {
	token := ""
	for _, set := range sets {
		if set.TokenID.Valid && (token == "" || set.TokenID == h.TokenID) {
			token = set.TokenID.String
		}
	}
	return token
}

// removeHook is for a hook that nobody needs any more. What GitHub cannot have
// yet, or what polset has no token to remove with, is forgotten at once.
func (t *tx) removeHook(ctx context.Context, h rows.Hook) error {
	if !h.TokenID.Valid {
		return t.DeleteHook(ctx, h.ID)
	}
	if n, err := t.DeleteUntouchedHook(ctx, h.ID); err != nil || n > 0 {
		return err
	}
	return t.wantHook(ctx, h, "", h.TokenID.String, true, true)
}

// wantHook changes what is wanted of a hook. One that somebody is at work on is
// due when that work ends.
func (t *tx) wantHook(ctx context.Context, h rows.Hook, repositoryID, token string, removed, news bool) error {
	p := rows.WantHookParams{
		ID: h.ID, RepositoryID: repositoryID, TokenID: nullString(token), Removed: removed, Now: t.now,
	}
	if news {
		p.News = 1
	}
	return t.WantHook(ctx, p)
}

// nameHook gives the row of a repository's own hook today's name.
func (t *tx) nameHook(ctx context.Context, r rows.Repository) error {
	return t.NameHook(ctx, rows.NameHookParams{RepositoryID: r.ID, Identifier: r.Identifier, RepositoryExternalID: r.ExternalID})
}

// syncHooksOf is syncHook for the repositories of policy sets whose connection
// was deleted, all of one organization.
func (t *tx) syncHooksOf(ctx context.Context, organizationID string, sets []rows.PolicySet) error {
	done := map[string]bool{}
	for _, set := range sets {
		if id := set.RepositoryID.String; !done[id] {
			done[id] = true
			r, err := t.Repository(ctx, id)
			if err != nil {
				return err
			}
			if _, err := t.syncHook(ctx, r); err != nil {
				return err
			}
		}
	}
	return t.DeleteLostHooks(ctx, organizationID)
}

// newestSecret is what a person needs to set up a repository's own hook by hand.
func (s *Store) newestSecret(r rows.Repository) (polset.Secret, error) {
	secrets, err := s.openHookSecrets(r)
	if err != nil {
		return polset.Secret{}, err
	}
	return secrets[0].value, nil
}
