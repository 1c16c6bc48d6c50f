package store

import (
	"context"
	"fmt"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// App returns the GitHub App that the set-up stored, its secrets included.
// ErrNotFound says that there is none.
func (s *Store) App(ctx context.Context) (polset.App, error) {
	r, err := s.reads.App(ctx)
	if err != nil {
		return polset.App{}, fmt.Errorf("read GitHub App: %w", found(err))
	}
	a := polset.App{
		ID: r.AppID, ClientID: r.ClientID, Slug: r.Slug, Name: r.Name, Owner: r.Owner,
		HTMLURL: r.HTMLURL, HTTPURL: r.HTTPURL, CreatedAt: r.CreatedAt.UTC(),
	}
	for _, c := range []struct {
		column string
		sealed []byte
		into   *polset.Secret
	}{
		{appPrivateKey, r.SealedPrivateKey, &a.PrivateKey},
		{appWebhookSecret, r.SealedWebhookSecret, &a.WebhookSecret},
		{appClientSecret, r.SealedClientSecret, &a.ClientSecret},
	} {
		if *c.into, err = s.open(appPlace(c.column), c.sealed); err != nil {
			return polset.App{}, fmt.Errorf("read GitHub App: %w", err)
		}
	}
	return a, nil
}

// The sealed columns of the App's row.
const (
	appPrivateKey    = "private-key"
	appWebhookSecret = "webhook-secret"
	appClientSecret  = "client-secret"
)

// appHook is the hook at which GitHub delivers to the stored App. An App
// without a secret has none: nothing must ever verify with an empty one.
func (s *Store) appHook(ctx context.Context) (polset.Hook, error) {
	r, err := s.reads.App(ctx)
	if err != nil {
		return polset.Hook{}, fmt.Errorf("read hook of the GitHub App: %w", found(err))
	}
	secret, err := s.open(appPlace(appWebhookSecret), r.SealedWebhookSecret)
	if err != nil {
		return polset.Hook{}, err
	}
	if secret.Empty() {
		return polset.Hook{}, fmt.Errorf("the GitHub App has no webhook secret: %w", polset.ErrNotFound)
	}
	return polset.Hook{ID: polset.HookGitHubApp, Secrets: []polset.Secret{secret}}, nil
}

// SaveApp seals and stores the App that the holder of a link of SetupApp has
// just created, uses the link up, and returns the token of a link that
// installs the App for the same organization within the hour: all of it, or
// nothing. ErrUnauthorized says that the link is of no use, ErrConflict that
// there is an App already.
func (s *Store) SaveApp(ctx context.Context, token polset.Secret, a polset.App) (polset.Secret, error) {
	private, err := s.seal(appPlace(appPrivateKey), a.PrivateKey.Reveal())
	if err != nil {
		return polset.Secret{}, fmt.Errorf("save GitHub App: %w", err)
	}
	webhook, err := s.seal(appPlace(appWebhookSecret), a.WebhookSecret.Reveal())
	if err != nil {
		return polset.Secret{}, fmt.Errorf("save GitHub App: %w", err)
	}
	client, err := s.seal(appPlace(appClientSecret), a.ClientSecret.Reveal())
	if err != nil {
		return polset.Secret{}, fmt.Errorf("save GitHub App: %w", err)
	}
	var install polset.Secret
	err = s.write(ctx, setUp, func(ctx context.Context, tx *tx) error {
		link, err := tx.useSetupLink(ctx, token, polset.SetupApp)
		if err != nil {
			return err
		}
		n, err := tx.InsertApp(ctx, rows.InsertAppParams{
			AppID: a.ID, ClientID: a.ClientID, Slug: a.Slug, Name: a.Name, Owner: a.Owner, HTMLURL: a.HTMLURL, HTTPURL: a.HTTPURL,
			SealedPrivateKey: private, SealedWebhookSecret: webhook, SealedClientSecret: client, CreatedAt: tx.now,
		})
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("there is a GitHub App already: %w", polset.ErrConflict)
		}
		tx.note(polset.ChainSite, "github-app.created", fmt.Sprint(a.ID), map[string]string{
			"name": a.Name, "slug": a.Slug, "owner": a.Owner, "http-url": a.HTTPURL,
		})
		_, install, err = tx.createSetupLink(ctx, polset.SetupInstall, polset.Organization{
			ID: link.OrganizationID, Name: link.Organization,
		}, installLinkFor)
		return err
	})
	if err != nil {
		return polset.Secret{}, fmt.Errorf("save GitHub App: %w", err)
	}
	return install, nil
}
