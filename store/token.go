package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// TokenPrefix begins every API token, so that secret scanners know them.
const TokenPrefix = "polset_"

// CreateToken assigns the token's id and returns its secret: the prefix and
// 256 random bits. It is kept nowhere; the rows hold its hash. The
// organization is given by name, or by id where the name is empty.
func (s *Store) CreateToken(ctx context.Context, by polset.Principal, t polset.Token) (polset.Token, polset.Secret, error) {
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return polset.Token{}, polset.Secret{}, fmt.Errorf("create token: %w", err)
	}
	secret := TokenPrefix + base64.RawURLEncoding.EncodeToString(random)
	permissions := t.Permissions
	if permissions == nil {
		permissions = []polset.Permission{}
	}
	encoded, err := json.Marshal(permissions)
	if err != nil {
		return polset.Token{}, polset.Secret{}, fmt.Errorf("create token: %w", err)
	}
	err = s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		chain := polset.ChainSite
		switch {
		case t.Organization != "":
			o, err := tx.organization(ctx, by, t.Organization)
			if err != nil {
				return err
			}
			t.OrganizationID, chain = o.ID, o.ID
		case by.OrganizationID != "" && t.OrganizationID != by.OrganizationID:
			return polset.ErrNotFound
		case t.OrganizationID != "":
			if err := tx.lock(ctx, organizationRow, t.OrganizationID); err != nil {
				return err
			}
			chain = t.OrganizationID
		}
		t.ID, t.CreatedAt = polset.NewID("at"), tx.now
		err := tx.InsertToken(ctx, rows.InsertTokenParams{
			ID: t.ID, OrganizationID: nullString(t.OrganizationID), Description: t.Description,
			Permissions: string(encoded), SecretHash: hashSecret(secret), CreatedAt: t.CreatedAt, ExpiresAt: nullTime(t.ExpiresAt.UTC()),
		})
		if err != nil {
			return err
		}
		tx.note(chain, "token.created", t.ID, map[string]string{
			"description": t.Description, "permissions": string(encoded), "expires-at": rfc3339(t.ExpiresAt),
		})
		return nil
	})
	if err != nil {
		return polset.Token{}, polset.Secret{}, fmt.Errorf("create token: %w", err)
	}
	return t, polset.NewSecret(secret), nil
}

// Token returns the record of a token that was not revoked. A site admin sees
// all, an organization's token itself only.
func (s *Store) Token(ctx context.Context, by polset.Principal, id string) (polset.Token, error) {
	if !by.SiteAdmin() && by.Actor != id {
		return polset.Token{}, fmt.Errorf("read token %s: %w", id, polset.ErrNotFound)
	}
	r, err := s.reads.Token(ctx, rows.TokenParams{ID: id, Tenant: by.OrganizationID})
	if err != nil {
		return polset.Token{}, fmt.Errorf("read token %s: %w", id, found(err))
	}
	return token(r)
}

// Tokens lists the tokens that were not revoked, the oldest first, and says how
// many there are in all. Only a site admin finds any.
func (s *Store) Tokens(ctx context.Context, by polset.Principal, f polset.TokenFilter, page polset.Page) ([]polset.Token, int, error) {
	if !by.SiteAdmin() {
		return nil, 0, fmt.Errorf("list tokens: %w", polset.ErrNotFound)
	}
	var q filter
	q.add("tokens.revoked_at IS NULL")
	switch {
	case f.SiteAdmin:
		q.add("tokens.organization_id IS NULL")
	case f.Organization != "":
		o, err := s.Organization(ctx, by, f.Organization)
		if err != nil {
			return nil, 0, fmt.Errorf("list tokens: %w", err)
		}
		q.add("tokens.organization_id = ?", o.ID)
	}
	const columns = `SELECT tokens.id, tokens.organization_id, tokens.description, tokens.permissions, tokens.created_at, tokens.expires_at,
		tokens.last_used_at, organizations.name FROM tokens LEFT JOIN organizations ON organizations.id = tokens.organization_id`
	return queryPage(ctx, s, "tokens", columns, q, "tokens.created_at, tokens.id", page, func(result *sql.Rows) (polset.Token, error) {
		var r rows.TokenRow
		err := result.Scan(&r.ID, &r.OrganizationID, &r.Description, &r.Permissions, &r.CreatedAt, &r.ExpiresAt, &r.LastUsedAt, &r.Organization)
		if err != nil {
			return polset.Token{}, err
		}
		return token(r)
	})
}

func token(r rows.TokenRow) (polset.Token, error) {
	t := polset.Token{
		ID: r.ID, OrganizationID: r.OrganizationID.String, Organization: r.Organization.String, Description: r.Description,
		CreatedAt: r.CreatedAt.UTC(), ExpiresAt: utc(r.ExpiresAt), LastUsedAt: utc(r.LastUsedAt),
	}
	if err := json.Unmarshal([]byte(r.Permissions), &t.Permissions); err != nil {
		return t, fmt.Errorf("read permissions of %s: %w", r.ID, err)
	}
	return t, nil
}

// Authenticate returns whom a secret belongs to. One that is unknown, expired
// or revoked is ErrUnauthorized. The look-up is by hash, whose time tells
// nothing of the secret.
func (s *Store) Authenticate(ctx context.Context, secret string) (polset.Principal, error) {
	if !strings.HasPrefix(secret, TokenPrefix) {
		return polset.Principal{}, polset.ErrUnauthorized
	}
	r, err := s.reads.TokenByHash(ctx, hashSecret(secret))
	if errors.Is(found(err), polset.ErrNotFound) {
		return polset.Principal{}, polset.ErrUnauthorized
	}
	if err != nil {
		return polset.Principal{}, fmt.Errorf("authenticate: %w", err)
	}
	if r.ExpiresAt.Valid {
		now, err := s.dialect.begin(ctx, s.dialect.reader())
		if err != nil {
			return polset.Principal{}, fmt.Errorf("authenticate: %w", err)
		}
		if !now.Before(r.ExpiresAt.Time) {
			return polset.Principal{}, polset.ErrUnauthorized
		}
	}
	p := polset.Principal{Actor: r.ID, OrganizationID: r.OrganizationID.String}
	if err := json.Unmarshal([]byte(r.Permissions), &p.Permissions); err != nil {
		return polset.Principal{}, fmt.Errorf("authenticate: read permissions of %s: %w", r.ID, err)
	}
	s.uses.note(r.ID, time.Now())
	return p, nil
}

// RevokeToken makes a token useless at once. Its record stays.
func (s *Store) RevokeToken(ctx context.Context, by polset.Principal, id string) error {
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		organization, err := tx.RevokeToken(ctx, rows.RevokeTokenParams{
			ID: id, Tenant: by.OrganizationID, Now: nullTime(tx.now),
		})
		if err != nil {
			return found(err)
		}
		chain := polset.ChainSite
		if organization.Valid {
			chain = organization.String
		}
		tx.note(chain, "token.revoked", id, nil)
		return nil
	})
	if err != nil {
		return fmt.Errorf("revoke token %s: %w", id, err)
	}
	return nil
}

func hashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
