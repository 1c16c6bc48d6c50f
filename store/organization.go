package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// CreateOrganization assigns the organization's id and makes its default
// project. Only the site admin finds the place where organizations are made; a
// name that is taken is ErrConflict.
func (s *Store) CreateOrganization(ctx context.Context, by polset.Principal, o polset.Organization) (polset.Organization, error) {
	if !by.SiteAdmin() {
		return polset.Organization{}, fmt.Errorf("create organization %q: %w", o.Name, polset.ErrNotFound)
	}
	var out polset.Organization
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		settings, err := keep(o.Settings)
		if err != nil {
			return err
		}
		id := polset.NewID("org")
		n, err := tx.InsertOrganization(ctx, rows.InsertOrganizationParams{
			ID: id, Name: o.Name, Email: o.Email, Settings: settings, CreatedAt: tx.now,
		})
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("the name is taken: %w", polset.ErrConflict)
		}
		tx.note(polset.ChainSite, "organization.created", id, map[string]string{"name": o.Name})
		if _, err := tx.insertProject(ctx, id, polset.ProjectDraft{Name: polset.DefaultProject}, true); err != nil {
			return err
		}
		out, err = tx.organization(ctx, by, o.Name)
		return err
	})
	if err != nil {
		return polset.Organization{}, fmt.Errorf("create organization %q: %w", o.Name, err)
	}
	return out, nil
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
		out[i] = organization(rows.OrganizationByNameRow(r))
	}
	return out, int(total), nil
}

// UpdateOrganization changes an organization, for the site admin. A name that
// is taken is ErrConflict; the old name is free from then on.
func (s *Store) UpdateOrganization(ctx context.Context, by polset.Principal, name string, c polset.OrganizationChange) (polset.Organization, error) {
	if !by.SiteAdmin() {
		return polset.Organization{}, fmt.Errorf("update organization %q: %w", name, polset.ErrNotFound)
	}
	var out polset.Organization
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		before, err := tx.organization(ctx, by, name)
		if err != nil {
			return err
		}
		if err := tx.lock(ctx, organizationRow, before.ID); err != nil {
			return err
		}
		r, err := tx.OrganizationByName(ctx, rows.OrganizationByNameParams{Name: name, Tenant: before.ID})
		if missing(err) {
			return errAgain // it was renamed before it was locked
		}
		if err != nil {
			return err
		}
		o := r.Organization
		var changed []string
		changed = change(changed, "name", &o.Name, c.Name)
		changed = change(changed, "email", &o.Email, c.Email)
		settings, err := keepChanged(o.Settings, c.Settings)
		if err != nil {
			return err
		}
		changed = change(changed, "settings", &o.Settings, &settings)
		if len(changed) > 0 {
			err := tx.UpdateOrganization(ctx, rows.UpdateOrganizationParams{ID: o.ID, Name: o.Name, Email: o.Email, Settings: o.Settings})
			if err != nil {
				return s.nameTaken(err)
			}
			details := map[string]string{"name": o.Name, "before": name, "changed": strings.Join(changed, " ")}
			tx.note(o.ID, "organization.updated", o.ID, details)
			tx.note(polset.ChainSite, "organization.updated", o.ID, details)
		}
		out, err = tx.organization(ctx, by, o.Name)
		return err
	})
	if err != nil {
		return polset.Organization{}, fmt.Errorf("update organization %q: %w", name, err)
	}
	return out, nil
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

func organization(r rows.OrganizationByNameRow) polset.Organization {
	o := r.Organization
	return polset.Organization{
		ID: o.ID, Name: o.Name, Email: o.Email, Settings: kept(o.Settings),
		DefaultProjectID: r.DefaultProjectID, CreatedAt: o.CreatedAt.UTC(),
	}
}
