package store

import (
	"context"
	"fmt"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// CreateOrganization assigns the organization's id. Only the site admin finds
// the place where organizations are made; a name that is taken is ErrConflict.
func (s *Store) CreateOrganization(ctx context.Context, by polset.Principal, o polset.Organization) (polset.Organization, error) {
	if !by.SiteAdmin() {
		return polset.Organization{}, fmt.Errorf("create organization %q: %w", o.Name, polset.ErrNotFound)
	}
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		o.ID, o.CreatedAt = polset.NewID("org"), tx.now
		n, err := tx.InsertOrganization(ctx, rows.InsertOrganizationParams{
			ID: o.ID, Name: o.Name, Email: o.Email, CreatedAt: o.CreatedAt,
		})
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("the name is taken: %w", polset.ErrConflict)
		}
		tx.note(polset.ChainSite, "organization.created", o.ID, map[string]string{"name": o.Name})
		return nil
	})
	if err != nil {
		return polset.Organization{}, fmt.Errorf("create organization %q: %w", o.Name, err)
	}
	return o, nil
}

// Organization returns an organization by name.
func (s *Store) Organization(ctx context.Context, by polset.Principal, name string) (polset.Organization, error) {
	r, err := s.reads.OrganizationByName(ctx, rows.OrganizationByNameParams{Name: name, Tenant: by.OrganizationID})
	if err != nil {
		return polset.Organization{}, fmt.Errorf("read organization %q: %w", name, found(err))
	}
	return organization(r), nil
}

// Organizations lists what the principal may see, by name, and says how many
// there are in all.
func (s *Store) Organizations(ctx context.Context, by polset.Principal, page polset.Page) ([]polset.Organization, int, error) {
	total, err := s.reads.CountOrganizations(ctx, by.OrganizationID)
	if err != nil {
		return nil, 0, fmt.Errorf("count organizations: %w", err)
	}
	limit, offset := window(page)
	list, err := s.reads.ListOrganizations(ctx, rows.ListOrganizationsParams{
		Tenant: by.OrganizationID, Size: limit, Start: offset,
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list organizations: %w", err)
	}
	out := make([]polset.Organization, len(list))
	for i, r := range list {
		out[i] = organization(r)
	}
	return out, int(total), nil
}

// DeleteOrganization removes an organization with everything that belongs to
// it, except its audit chain.
func (s *Store) DeleteOrganization(ctx context.Context, by polset.Principal, name string) error {
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		o, err := tx.organization(ctx, by, name)
		if err != nil {
			return err
		}
		if err := tx.lock(ctx, organizationRow, o.ID); err != nil {
			return err
		}
		if err := tx.DeleteDeliveriesOfOrganization(ctx, o.ID); err != nil {
			return err
		}
		if _, err := tx.DeleteOrganization(ctx, o.ID); err != nil {
			return err
		}
		details := map[string]string{"name": o.Name}
		tx.note(o.ID, "organization.deleted", o.ID, details)
		tx.note(polset.ChainSite, "organization.deleted", o.ID, details)
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete organization %q: %w", name, err)
	}
	return nil
}

func (t *tx) organization(ctx context.Context, by polset.Principal, name string) (polset.Organization, error) {
	r, err := t.OrganizationByName(ctx, rows.OrganizationByNameParams{Name: name, Tenant: by.OrganizationID})
	if err != nil {
		return polset.Organization{}, fmt.Errorf("organization %q: %w", name, found(err))
	}
	return organization(r), nil
}

func organization(r rows.Organization) polset.Organization {
	return polset.Organization{ID: r.ID, Name: r.Name, Email: r.Email, CreatedAt: r.CreatedAt.UTC()}
}
