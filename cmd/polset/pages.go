package main

import (
	"context"

	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/githubapp"
	"github.com/polset/polset/store"
	"github.com/polset/polset/web"
)

func (c config) registerPages(n *node, key store.Key, log *zap.Logger) error {
	pages, err := web.New(web.Config{
		Links: n.store, Uses: n.store, Organizations: n.store,
		Apps: described{c.apps(n.store), n.github}, Places: n.github, GitHub: people{n.github},
		PublicURL: c.PublicURL, GitHubURL: c.GitHubURL, StateKey: key.Derive("setup state"),
		Logger: log.Named("web"),
	})
	if err != nil {
		return err
	}
	pages.Register(n.echo)
	return nil
}

// described is the App with what only GitHub knows of one that the operator
// configured: where its page is.
type described struct {
	apps
	github *githubapp.Client
}

// App implements web.Apps.
func (d described) App(ctx context.Context) (polset.App, error) {
	app, err := d.apps.App(ctx)
	if err != nil || app.Slug != "" {
		return app, err
	}
	known, err := d.github.Describe(ctx)
	if err != nil {
		return polset.App{}, err
	}
	app.Slug, app.Name, app.HTMLURL, app.Owner = known.Slug, known.Name, known.HTMLURL, known.Owner
	return app, nil
}

// people is GitHub as web knows it.
type people struct{ *githubapp.Client }

// Authorize implements web.GitHub.
func (p people) Authorize(ctx context.Context, app polset.App, code string) (web.Person, error) {
	person, err := p.Client.Authorize(ctx, app, code)
	return web.Person(person), err
}
