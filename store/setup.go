package store

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// SetupPrefix begins the token of every set-up link. Such a token is no API
// token: it does what its link is for, once.
const SetupPrefix = TokenPrefix + "setup_"

// installLinkFor is how long whoever created the App has to install it.
const installLinkFor = time.Hour

// CreateSetupLink makes a link that lasts ttl, and returns its token, which is
// kept nowhere. A link of SetupApp is for the site admin to make, and is
// ErrConflict where there is an App already. The organization, a name, may be
// "" for the site admin only.
func (s *Store) CreateSetupLink(ctx context.Context, by polset.Principal, purpose polset.SetupPurpose, organization string, ttl time.Duration) (polset.SetupLink, polset.Secret, error) {
	var link polset.SetupLink
	var token polset.Secret
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		if (purpose == polset.SetupApp || organization == "") && !by.SiteAdmin() {
			return polset.ErrNotFound
		}
		if purpose == polset.SetupApp {
			_, err := tx.App(ctx)
			if err == nil {
				return fmt.Errorf("there is a GitHub App already: %w", polset.ErrConflict)
			}
			if !errors.Is(found(err), polset.ErrNotFound) {
				return err
			}
		}
		var o polset.Organization
		var err error
		if organization != "" {
			if o, err = tx.organization(ctx, by, organization); err != nil {
				return err
			}
		}
		link, token, err = tx.createSetupLink(ctx, purpose, o, ttl)
		return err
	})
	if err != nil {
		return polset.SetupLink{}, polset.Secret{}, fmt.Errorf("create set-up link: %w", err)
	}
	return link, token, nil
}

// FirstSetupLink makes the link that a first start prints: of SetupApp, for no
// organization yet. ErrConflict says that there was a link or an App before.
func (s *Store) FirstSetupLink(ctx context.Context, ttl time.Duration) (polset.Secret, error) {
	var token polset.Secret
	err := s.write(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		// Of several nodes that start at once one makes the link. The lock on
		// the chain is the last of the common order, and this needs no other.
		if err := tx.BeginChain(ctx, polset.ChainSite); err != nil {
			return err
		}
		if err := tx.lock(ctx, chainRow, polset.ChainSite); err != nil {
			return err
		}
		n, err := tx.CountSetups(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("it is not the first: %w", polset.ErrConflict)
		}
		_, token, err = tx.createSetupLink(ctx, polset.SetupApp, polset.Organization{}, ttl)
		return err
	})
	if err != nil {
		return polset.Secret{}, fmt.Errorf("create first set-up link: %w", err)
	}
	return token, nil
}

// SetupLink returns the link of a token. ErrUnauthorized says that it is
// unknown, expired or used.
func (s *Store) SetupLink(ctx context.Context, token polset.Secret) (polset.SetupLink, error) {
	now, err := s.dialect.begin(ctx, s.dialect.reader())
	if err != nil {
		return polset.SetupLink{}, fmt.Errorf("read set-up link: %w", err)
	}
	link, err := setupLink(ctx, s.reads, token, now)
	if err != nil {
		return polset.SetupLink{}, fmt.Errorf("read set-up link: %w", err)
	}
	return link, nil
}

// ChooseOrganization says for which organization, by name, the holder of a link
// of SetupApp creates the App. A link that was made for an organization is for
// that one only: another is ErrNotFound, as is one that does not exist.
func (s *Store) ChooseOrganization(ctx context.Context, token polset.Secret, name string) error {
	err := s.write(ctx, setUp, func(ctx context.Context, tx *tx) error {
		link, err := setupLink(ctx, tx.Queries, token, tx.now)
		if err != nil {
			return err
		}
		if link.Purpose != polset.SetupApp {
			return polset.ErrUnauthorized
		}
		o, err := tx.organization(ctx, polset.Principal{OrganizationID: link.OrganizationID}, name)
		if err != nil || link.OrganizationID != "" {
			return err
		}
		tx.actor = link.ID
		n, err := tx.SetSetupLinkOrganization(ctx, rows.SetSetupLinkOrganizationParams{ID: link.ID, OrganizationID: nullString(o.ID)})
		if err != nil {
			return err
		}
		if n == 0 {
			return polset.ErrUnauthorized
		}
		tx.note(polset.ChainSite, "setup-link.organization", link.ID, map[string]string{"organization": o.Name})
		return nil
	})
	if err != nil {
		return fmt.Errorf("choose organization %q: %w", name, err)
	}
	return nil
}

// setUp acts for whoever holds a set-up link, until it is known which.
var setUp = polset.Principal{Actor: "setup-link"}

func setupLink(ctx context.Context, q *rows.Queries, token polset.Secret, now time.Time) (polset.SetupLink, error) {
	if !strings.HasPrefix(token.Reveal(), SetupPrefix) {
		return polset.SetupLink{}, polset.ErrUnauthorized
	}
	r, err := q.SetupLinkByHash(ctx, rows.SetupLinkByHashParams{TokenHash: hashSecret(token.Reveal()), Now: now.UTC()})
	if errors.Is(found(err), polset.ErrNotFound) {
		return polset.SetupLink{}, polset.ErrUnauthorized
	}
	if err != nil {
		return polset.SetupLink{}, err
	}
	return polset.SetupLink{
		ID: r.ID, Purpose: polset.SetupPurpose(r.Purpose), OrganizationID: r.OrganizationID.String,
		Organization: r.Organization, ExpiresAt: r.ExpiresAt.UTC(),
	}, nil
}

// useSetupLink uses a link up. From here the transaction acts in its name.
func (t *tx) useSetupLink(ctx context.Context, token polset.Secret, purpose polset.SetupPurpose) (polset.SetupLink, error) {
	link, err := setupLink(ctx, t.Queries, token, t.now)
	if err != nil {
		return polset.SetupLink{}, err
	}
	if link.Purpose != purpose {
		return polset.SetupLink{}, polset.ErrUnauthorized
	}
	n, err := t.UseSetupLink(ctx, rows.UseSetupLinkParams{ID: link.ID, UsedAt: nullTime(t.now)})
	if err != nil {
		return polset.SetupLink{}, err
	}
	if n == 0 {
		return polset.SetupLink{}, polset.ErrUnauthorized // somebody was faster
	}
	t.actor = link.ID
	t.note(chainOf(link.OrganizationID), "setup-link.used", link.ID, map[string]string{"purpose": string(purpose)})
	return link, nil
}

func (t *tx) createSetupLink(ctx context.Context, purpose polset.SetupPurpose, o polset.Organization, ttl time.Duration) (polset.SetupLink, polset.Secret, error) {
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return polset.SetupLink{}, polset.Secret{}, err
	}
	token := polset.NewSecret(SetupPrefix + base64.RawURLEncoding.EncodeToString(random))
	link := polset.SetupLink{
		ID: polset.NewID("setup"), Purpose: purpose, OrganizationID: o.ID, Organization: o.Name, ExpiresAt: t.now.Add(ttl),
	}
	err := t.InsertSetupLink(ctx, rows.InsertSetupLinkParams{
		ID: link.ID, Purpose: string(purpose), OrganizationID: nullString(o.ID), TokenHash: hashSecret(token.Reveal()),
		CreatedAt: t.now, ExpiresAt: link.ExpiresAt,
	})
	if err != nil {
		return polset.SetupLink{}, polset.Secret{}, err
	}
	t.note(chainOf(o.ID), "setup-link.created", link.ID, map[string]string{
		"purpose": string(purpose), "organization": o.Name, "expires-at": rfc3339(link.ExpiresAt),
	})
	return link, token, nil
}

// chainOf is the audit chain of an organization, or of the site for "".
func chainOf(organizationID string) string {
	if organizationID == "" {
		return polset.ChainSite
	}
	return organizationID
}
