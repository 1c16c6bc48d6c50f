package store

import (
	"context"
	"fmt"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// CreateConnection assigns the ids of a connection and of its token, which is
// sealed. The answer never holds the token.
func (s *Store) CreateConnection(ctx context.Context, by polset.Principal, d polset.ConnectionDraft) (polset.Connection, error) {
	c := polset.Connection{
		ID: polset.NewID("oc"), TokenID: polset.NewID("ot"), Organization: d.Organization,
		Name: d.Name, ServiceProvider: d.ServiceProvider, HTTPURL: d.HTTPURL, APIURL: d.APIURL,
	}
	sealed, err := s.seal(connectionPlace(c.ID), d.Token.Reveal())
	if err != nil {
		return polset.Connection{}, fmt.Errorf("create connection: %w", err)
	}
	err = s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		o, err := tx.organization(ctx, by, d.Organization)
		if err != nil {
			return err
		}
		c.OrganizationID, c.CreatedAt = o.ID, tx.now
		err = tx.InsertConnection(ctx, rows.InsertConnectionParams{
			ID: c.ID, TokenID: c.TokenID, OrganizationID: o.ID, Name: c.Name, ServiceProvider: c.ServiceProvider,
			HTTPURL: c.HTTPURL, APIURL: c.APIURL, SealedToken: sealed, CreatedAt: c.CreatedAt,
		})
		if err != nil {
			return err
		}
		tx.note(o.ID, "connection.created", c.ID, map[string]string{
			"name": c.Name, "service-provider": c.ServiceProvider, "http-url": c.HTTPURL, "token": c.TokenID,
		})
		return nil
	})
	if err != nil {
		return polset.Connection{}, fmt.Errorf("create connection: %w", err)
	}
	return c, nil
}

// Connection returns a connection by its oc-… id.
func (s *Store) Connection(ctx context.Context, by polset.Principal, id string) (polset.Connection, error) {
	r, err := s.reads.Connection(ctx, rows.ConnectionParams{ID: id, Tenant: by.OrganizationID})
	if err != nil {
		return polset.Connection{}, fmt.Errorf("read connection %s: %w", id, found(err))
	}
	return connection(r.Connection, r.Organization), nil
}

// ConnectionByToken returns a connection by the ot-… id of its token.
func (s *Store) ConnectionByToken(ctx context.Context, by polset.Principal, tokenID string) (polset.Connection, error) {
	r, err := s.reads.ConnectionByToken(ctx, rows.ConnectionByTokenParams{TokenID: tokenID, Tenant: by.OrganizationID})
	if err != nil {
		return polset.Connection{}, fmt.Errorf("read connection of %s: %w", tokenID, found(err))
	}
	return connection(r.Connection, r.Organization), nil
}

// DeleteConnection removes a connection. Policy sets that use it stay, without
// a token.
func (s *Store) DeleteConnection(ctx context.Context, by polset.Principal, id string) error {
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		r, err := tx.Connection(ctx, rows.ConnectionParams{ID: id, Tenant: by.OrganizationID})
		if err != nil {
			return found(err)
		}
		if err := tx.DeleteConnection(ctx, id); err != nil {
			return err
		}
		tx.note(r.Connection.OrganizationID, "connection.deleted", id, map[string]string{
			"name": r.Connection.Name, "token": r.Connection.TokenID,
		})
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete connection %s: %w", id, err)
	}
	return nil
}

// Remote returns a repository as git reaches it through a connection.
func (s *Store) Remote(ctx context.Context, by polset.Principal, tokenID, identifier string) (polset.Remote, error) {
	r, err := s.reads.ConnectionByToken(ctx, rows.ConnectionByTokenParams{TokenID: tokenID, Tenant: by.OrganizationID})
	if err != nil {
		return polset.Remote{}, fmt.Errorf("read connection of %s: %w", tokenID, found(err))
	}
	token, err := s.open(connectionPlace(r.Connection.ID), r.Connection.SealedToken)
	if err != nil {
		return polset.Remote{}, err
	}
	return polset.Remote{HTTPURL: r.Connection.HTTPURL, Identifier: identifier, Token: token}, nil
}

func connection(r rows.Connection, organization string) polset.Connection {
	return polset.Connection{
		ID: r.ID, TokenID: r.TokenID, OrganizationID: r.OrganizationID, Organization: organization,
		Name: r.Name, ServiceProvider: r.ServiceProvider, HTTPURL: r.HTTPURL, APIURL: r.APIURL, CreatedAt: r.CreatedAt.UTC(),
	}
}
