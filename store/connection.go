package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// CreateConnection assigns the ids of a connection and of its token, which is
// sealed. The answer never holds the token.
func (s *Store) CreateConnection(ctx context.Context, by polset.Principal, d polset.ConnectionDraft) (polset.Connection, error) {
	c := polset.Connection{
		ID: polset.NewID("oc"), TokenID: polset.NewID("ot"), Organization: d.Organization,
		Name: d.Name, ServiceProvider: d.ServiceProvider, HTTPURL: d.HTTPURL, APIURL: d.APIURL,
		Key: d.Key, ServiceProviderUser: d.ServiceProviderUser, ProjectScoped: d.ProjectScoped,
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
			OAuthKey: c.Key, ServiceProviderUser: c.ServiceProviderUser, OrganizationScoped: !c.ProjectScoped,
		})
		if err != nil {
			return err
		}
		if c.Projects, err = tx.relateProjects(ctx, c.ID, o.ID, nil, d.Projects); err != nil {
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
	return s.withProjects(ctx, connection(r.Connection, r.Organization))
}

// ConnectionByToken returns a connection by the ot-… id of its token.
func (s *Store) ConnectionByToken(ctx context.Context, by polset.Principal, tokenID string) (polset.Connection, error) {
	r, err := s.reads.ConnectionByToken(ctx, rows.ConnectionByTokenParams{TokenID: tokenID, Tenant: by.OrganizationID})
	if err != nil {
		return polset.Connection{}, fmt.Errorf("read connection of %s: %w", tokenID, found(err))
	}
	return s.withProjects(ctx, connection(r.Connection, r.Organization))
}

// DeleteConnection removes a connection. Policy sets that use it stay, without
// a token, and say so.
func (s *Store) DeleteConnection(ctx context.Context, by polset.Principal, id string) error {
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		r, err := tx.Connection(ctx, rows.ConnectionParams{ID: id, Tenant: by.OrganizationID})
		if err != nil {
			return found(err)
		}
		c := r.Connection
		// Whoever gives a policy set a connection holds the organization too.
		if err := tx.lock(ctx, organizationRow, c.OrganizationID); err != nil {
			return err
		}
		read := func() ([]rows.PolicySet, error) { return tx.PolicySetsOfToken(ctx, nullString(c.TokenID)) }
		sets, err := tx.holdRepositories(ctx, read)
		if err != nil {
			return err
		}
		if err := tx.DeleteConnection(ctx, id); err != nil {
			return err
		}
		tx.note(c.OrganizationID, "connection.deleted", id, map[string]string{"name": c.Name, "token": c.TokenID})
		err = tx.degrade(ctx, sets, string(polset.DegradedConnectionDeleted),
			"The connection "+c.Name+" was deleted, so polset cannot read the repository. Give the policy set another one.")
		if err != nil {
			return err
		}
		return tx.syncHooksOf(ctx, c.OrganizationID, sets)
	})
	if err != nil {
		return fmt.Errorf("delete connection %s: %w", id, err)
	}
	return nil
}

// Remote returns a repository as git reaches it with a credential: the token of
// a connection (ot-…), or an installation (ghain-…). One that the principal may
// not use is ErrNotFound.
func (s *Store) Remote(ctx context.Context, by polset.Principal, credential, identifier string) (polset.Remote, error) {
	remote, err := s.credentialRemote(ctx, s.reads, by.OrganizationID, credential)
	if err != nil {
		return polset.Remote{}, fmt.Errorf("read credential %s: %w", credential, err)
	}
	remote.Identifier = identifier
	return remote, nil
}

// errSealed says that a secret is sealed with a key that this process lacks.
var errSealed = errors.New("the token cannot be opened")

// credentialRemote is what a credential says of a remote; the tenant is "" for
// the site admin. That an installation is suspended is for GitHub to say.
func (s *Store) credentialRemote(ctx context.Context, q *rows.Queries, tenant, credential string) (polset.Remote, error) {
	if strings.HasPrefix(credential, installationPrefix) {
		i, err := usableInstallation(ctx, q, tenant, credential)
		if err != nil {
			return polset.Remote{}, err
		}
		return polset.Remote{HTTPURL: i.HTTPURL, Installation: i.ExternalID}, nil
	}
	r, err := q.ConnectionByToken(ctx, rows.ConnectionByTokenParams{TokenID: credential, Tenant: tenant})
	if err != nil {
		return polset.Remote{}, found(err)
	}
	token, err := s.open(connectionPlace(r.Connection.ID), r.Connection.SealedToken)
	if err != nil {
		return polset.Remote{}, fmt.Errorf("%w: %w", errSealed, err)
	}
	return polset.Remote{HTTPURL: r.Connection.HTTPURL, APIURL: r.Connection.APIURL, Token: token}, nil
}

func connection(r rows.Connection, organization string) polset.Connection {
	return polset.Connection{
		ID: r.ID, TokenID: r.TokenID, OrganizationID: r.OrganizationID, Organization: organization,
		Name: r.Name, ServiceProvider: r.ServiceProvider, HTTPURL: r.HTTPURL, APIURL: r.APIURL, CreatedAt: r.CreatedAt.UTC(),
		Key: r.OAuthKey, ServiceProviderUser: r.ServiceProviderUser, ProjectScoped: !r.OrganizationScoped,
	}
}
