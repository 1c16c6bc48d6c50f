package store

import (
	"context"
	"fmt"
	"strconv"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// BindInstallation lets an organization, by name, use an installation; one that
// it may use already stays so. Its policy sets whose installation on the same
// account was deleted go on with this one. Only the site admin finds what
// to bind; an installation that does not exist any more is ErrNotFound.
func (s *Store) BindInstallation(ctx context.Context, by polset.Principal, id, organization string) error {
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		if !by.SiteAdmin() {
			return polset.ErrNotFound
		}
		o, i, err := tx.holdBinding(ctx, id, organization)
		if err != nil {
			return err
		}
		if i.DeletedAt.Valid {
			return polset.ErrNotFound
		}
		return s.bindInstallation(ctx, tx, i, o, nil)
	})
	if err != nil {
		return fmt.Errorf("bind installation %s to organization %q: %w", id, organization, err)
	}
	return nil
}

// UnbindInstallation takes an installation from an organization, whose policy
// sets stay and say so. One that it may not use changes nothing. Only the site
// admin finds what to unbind.
func (s *Store) UnbindInstallation(ctx context.Context, by polset.Principal, id, organization string) error {
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		if !by.SiteAdmin() {
			return polset.ErrNotFound
		}
		o, i, err := tx.holdBinding(ctx, id, organization)
		if err != nil {
			return err
		}
		sets, err := tx.holdRepositories(ctx, func() ([]rows.PolicySet, error) { return tx.setsOfInstallation(ctx, i, o) })
		if err != nil {
			return err
		}
		n, err := tx.UnbindInstallation(ctx, rows.UnbindInstallationParams{InstallationID: i.ID, OrganizationID: o.ID})
		if err != nil || n == 0 {
			return err
		}
		tx.noteBinding("installation.unbound", i, o, nil)
		return tx.degrade(ctx, sets, string(polset.DegradedInstallationUnbound),
			"This organization may not use the installation of the GitHub App on "+i.Account+" any more. "+
				"Ask a site admin to bind it again, or let the policy set use another credential.")
	})
	if err != nil {
		return fmt.Errorf("unbind installation %s from organization %q: %w", id, organization, err)
	}
	return nil
}

// BindByLink binds an installation, by GitHub's number, to the organization of
// a link of SetupInstall for the person who installed the App, and uses the
// link up; a link of no organization is used up without binding. That the
// person, whom GitHub vouches for, is the installer is what a signed delivery
// says: ErrConflict means that it names somebody else, or that it has not come
// yet. ErrUnauthorized says that the link is of no use, ErrNotFound that polset
// does not know the installation, or that it was deleted. Of a link that was
// not used nothing changes.
func (s *Store) BindByLink(ctx context.Context, token polset.Secret, installationExternalID, userID int64, login string) (polset.Installation, error) {
	var out polset.Installation
	err := s.write(ctx, setUp, func(ctx context.Context, tx *tx) error {
		link, err := setupLink(ctx, tx.Queries, token, tx.now)
		if err != nil {
			return err
		}
		if link.OrganizationID != "" {
			if err := tx.lock(ctx, organizationRow, link.OrganizationID); err != nil {
				return err
			}
		}
		i, err := tx.InstallationByNumber(ctx, installationExternalID)
		if err != nil {
			return found(err)
		}
		if err := tx.lock(ctx, installationRow, i.ID); err != nil {
			return err
		}
		if i, err = tx.Installation(ctx, i.ID); err != nil {
			return found(err)
		}
		switch {
		case i.DeletedAt.Valid:
			return polset.ErrNotFound
		case i.InstallerID == 0:
			return fmt.Errorf("no delivery has told yet who installed it: %w", polset.ErrConflict)
		case i.InstallerID != userID:
			return fmt.Errorf("somebody else installed it: %w", polset.ErrConflict)
		}
		if link, err = tx.useSetupLink(ctx, token, polset.SetupInstall); err != nil {
			return err
		}
		if out, err = installation(i); err != nil || link.OrganizationID == "" {
			return err
		}
		return s.bindInstallation(ctx, tx, i, polset.Organization{ID: link.OrganizationID, Name: link.Organization}, map[string]string{
			"login": login, "user": strconv.FormatInt(userID, 10),
		})
	})
	if err != nil {
		return polset.Installation{}, fmt.Errorf("bind installation %d by a link: %w", installationExternalID, err)
	}
	return out, nil
}

// holdBinding locks an organization and an installation.
func (t *tx) holdBinding(ctx context.Context, id, organization string) (o polset.Organization, i rows.Installation, err error) {
	if o, err = t.organization(ctx, polset.System, organization); err != nil {
		return o, i, err
	}
	if err := t.lock(ctx, organizationRow, o.ID); err != nil {
		return o, i, err
	}
	if err := t.lock(ctx, installationRow, id); err != nil {
		return o, i, err
	}
	i, err = t.Installation(ctx, id)
	return o, i, found(err)
}

// bindInstallation has what the organization follows through the installation
// look again, and what it followed through an earlier one on its account that
// was deleted, whether the binding is new or not.
func (s *Store) bindInstallation(ctx context.Context, tx *tx, i rows.Installation, o polset.Organization, details map[string]string) error {
	n, err := tx.BindInstallation(ctx, rows.BindInstallationParams{
		InstallationID: i.ID, OrganizationID: o.ID, BoundBy: tx.actor, BoundAt: tx.now,
	})
	if err != nil {
		return err
	}
	isNew := n > 0
	if isNew {
		tx.noteBinding("installation.bound", i, o, details)
	}
	if err := tx.holdPredecessors(ctx, i, o); err != nil {
		return err
	}
	sets, err := tx.holdRepositories(ctx, func() (sets []rows.PolicySet, err error) {
		if isNew {
			if sets, err = tx.setsOfInstallation(ctx, i, o); err != nil {
				return nil, err
			}
		}
		left, err := tx.PolicySetsOfPredecessors(ctx, rows.PolicySetsOfPredecessorsParams{
			OrganizationID: o.ID, AccountID: i.AccountID, HTTPURL: i.HTTPURL,
		})
		return append(sets, left...), err
	})
	if err != nil {
		return err
	}
	own, left := partition(sets, func(p rows.PolicySet) bool { return p.InstallationID.String == i.ID })
	if err := s.readAgain(ctx, tx, i, own, polset.DegradedInstallationUnbound, polset.DegradedInstallationDeleted); err != nil {
		return err
	}
	return s.succeed(ctx, tx, i, left)
}

func (t *tx) setsOfInstallation(ctx context.Context, i rows.Installation, o polset.Organization) ([]rows.PolicySet, error) {
	return t.PolicySetsOfInstallationOf(ctx, rows.PolicySetsOfInstallationOfParams{InstallationID: nullString(i.ID), OrganizationID: o.ID})
}

func (t *tx) noteBinding(action string, i rows.Installation, o polset.Organization, details map[string]string) {
	all := map[string]string{"account": i.Account, "installation": strconv.FormatInt(i.ExternalID, 10), "organization": o.Name}
	for k, v := range details {
		all[k] = v
	}
	t.note(polset.ChainSite, action, i.ID, all)
	t.note(o.ID, action, i.ID, all)
}
