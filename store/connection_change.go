package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// UpdateConnection changes a connection. Where it gets another token, the
// policy sets that use it go on with that one: those that could not read their
// repository look again, and what GitHub refused is tried again.
func (s *Store) UpdateConnection(ctx context.Context, by polset.Principal, id string, c polset.ConnectionChange) (polset.Connection, error) {
	var sealed []byte
	if c.Token != nil {
		var err error
		if sealed, err = s.seal(connectionPlace(id), c.Token.Reveal()); err != nil {
			return polset.Connection{}, fmt.Errorf("update connection %s: %w", id, err)
		}
	}
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		r, err := tx.holdConnection(ctx, by, id)
		if err != nil {
			return err
		}
		changed, err := tx.applyConnectionChange(ctx, &r, c)
		if err != nil {
			return err
		}
		if c.Token != nil {
			r.SealedToken, r.ServiceProviderUser = sealed, c.ServiceProviderUser
			changed = append(changed, "token")
		}
		if len(changed) == 0 {
			return nil
		}
		err = tx.UpdateConnection(ctx, rows.UpdateConnectionParams{
			ID: r.ID, Name: r.Name, OAuthKey: r.OAuthKey, ServiceProviderUser: r.ServiceProviderUser,
			OrganizationScoped: r.OrganizationScoped, SealedToken: r.SealedToken,
		})
		if err != nil {
			return err
		}
		tx.note(r.OrganizationID, "connection.updated", r.ID, map[string]string{
			"changed": strings.Join(changed, ","), "name": r.Name, "token": r.TokenID,
		})
		if c.Token == nil {
			return nil
		}
		return s.tokenReplaced(ctx, tx, r)
	})
	if err != nil {
		return polset.Connection{}, fmt.Errorf("update connection %s: %w", id, err)
	}
	return s.Connection(ctx, by, id)
}

// holdConnection locks the organization of a connection, as whoever gives a
// policy set a connection does, and reads it as it is now.
func (t *tx) holdConnection(ctx context.Context, by polset.Principal, id string) (rows.Connection, error) {
	p := rows.ConnectionParams{ID: id, Tenant: by.OrganizationID}
	r, err := t.Connection(ctx, p)
	if err != nil {
		return rows.Connection{}, found(err)
	}
	if err := t.lock(ctx, organizationRow, r.Connection.OrganizationID); err != nil {
		return rows.Connection{}, err
	}
	r, err = t.Connection(ctx, p)
	return r.Connection, found(err)
}

// applyConnectionChange changes the row, and the projects, and tells what of
// them is another than before.
func (t *tx) applyConnectionChange(ctx context.Context, r *rows.Connection, c polset.ConnectionChange) (changed []string, err error) {
	if c.Name != nil && *c.Name != r.Name {
		r.Name = *c.Name
		changed = append(changed, "name")
	}
	if c.Key != nil && *c.Key != r.OAuthKey {
		r.OAuthKey = *c.Key
		changed = append(changed, "key")
	}
	if c.ProjectScoped != nil && *c.ProjectScoped == r.OrganizationScoped {
		r.OrganizationScoped = !*c.ProjectScoped
		changed = append(changed, "organization-scoped")
	}
	before, err := t.ConnectionProjects(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	slices.Sort(before) // a database's own order may be another
	wanted := slices.Clone(before)
	if c.Projects != nil {
		wanted = *c.Projects
	}
	wanted = slices.Concat(wanted, c.AddProjects)
	wanted = slices.DeleteFunc(wanted, func(id string) bool { return slices.Contains(c.RemoveProjects, id) })
	after, err := t.relateProjects(ctx, r.ID, r.OrganizationID, before, wanted)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(before, after) {
		changed = append(changed, "projects")
	}
	return changed, nil
}

// relateProjects makes the projects of a connection those that are wanted, all
// of its organization; any other is ErrNotFound. It returns them in their order.
func (t *tx) relateProjects(ctx context.Context, connectionID, organizationID string, before, wanted []string) ([]string, error) {
	wanted = slices.Clone(wanted)
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)
	for _, id := range before {
		if !slices.Contains(wanted, id) {
			if err := t.DeleteConnectionProject(ctx, rows.DeleteConnectionProjectParams{ConnectionID: connectionID, ProjectID: id}); err != nil {
				return nil, err
			}
		}
	}
	for _, id := range wanted {
		if slices.Contains(before, id) {
			continue
		}
		if _, err := t.Project(ctx, rows.ProjectParams{ID: id, Tenant: organizationID}); err != nil {
			return nil, fmt.Errorf("project %s: %w", id, found(err))
		}
		if err := t.InsertConnectionProject(ctx, rows.InsertConnectionProjectParams{ConnectionID: connectionID, ProjectID: id}); err != nil {
			return nil, err
		}
	}
	return wanted, nil
}

// tokenReplaced lets everything go on that the old token kept from going on.
func (s *Store) tokenReplaced(ctx context.Context, tx *tx, c rows.Connection) error {
	sets, err := tx.holdRepositories(ctx, func() ([]rows.PolicySet, error) { return tx.PolicySetsOfToken(ctx, nullString(c.TokenID)) })
	if err != nil {
		return err
	}
	if err := tx.reconsider(ctx, sets, polset.DegradedAccessLost); err != nil {
		return err
	}
	if err := tx.resumeReports(ctx, c.TokenID); err != nil {
		return err
	}
	if err := tx.retryHooks(ctx, c.TokenID, sets); err != nil {
		return err
	}
	sets = slices.DeleteFunc(sets, func(p rows.PolicySet) bool { return p.Degraded == "" })
	return s.lookAgain(ctx, tx, sets...)
}

// retryHooks has the hooks of the sets' repositories looked after again that a
// token had no success with.
func (t *tx) retryHooks(ctx context.Context, tokenID string, sets []rows.PolicySet) error {
	done := map[string]bool{}
	for _, set := range sets {
		id := set.RepositoryID.String
		if done[id] {
			continue
		}
		done[id] = true
		r, err := t.Repository(ctx, id)
		if err != nil {
			return err
		}
		h, err := t.Hook(ctx, r.HookID)
		if missing(err) {
			continue
		}
		if err != nil {
			return err
		}
		if h.TokenID.String == tokenID && (h.Manual != "" || h.Failures > 0) {
			if err := t.wantHook(ctx, h, r.ID, tokenID, h.Removed, h.Manual != ""); err != nil {
				return err
			}
		}
	}
	return nil
}
