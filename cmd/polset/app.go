package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store"
	"github.com/polset/polset/webhook"
)

// appKeys is the GitHub App of those who manage Apps themselves.
type appKeys struct {
	GitHubURL             string `name:"github-url" env:"POLSET_GITHUB_URL" default:"https://github.com" placeholder:"URL" help:"Where git finds what https://github.com names (${default})."`
	GitHubAPIURL          string `name:"github-api-url" env:"POLSET_GITHUB_API_URL" placeholder:"URL" help:"GitHub's REST API. Default: https://api.github.com, and /api/v3 of another POLSET_GITHUB_URL."`
	GitHubAppID           int64  `name:"github-app-id" env:"POLSET_GITHUB_APP_ID" placeholder:"ID" help:"Id of the GitHub App."`
	GitHubAppPrivateKey   string `name:"github-app-private-key" env:"POLSET_GITHUB_APP_PRIVATE_KEY" placeholder:"PEM|FILE" help:"Private key of the GitHub App, or the path of its file."`
	GitHubAppClientID     string `name:"github-app-client-id" env:"POLSET_GITHUB_APP_CLIENT_ID" placeholder:"ID" help:"Client id of the GitHub App; with its secret, people can bind their installations by a link."`
	GitHubAppClientSecret string `name:"github-app-client-secret" env:"POLSET_GITHUB_APP_CLIENT_SECRET" placeholder:"SECRET" help:"Client secret of the GitHub App."`
	GitHubWebhookSecret   string `name:"github-webhook-secret" env:"POLSET_GITHUB_WEBHOOK_SECRET" placeholder:"SECRET,…" help:"Secrets of /webhooks/github, comma-separated, the newest first."`
}

const (
	publicGitHub    = "https://github.com"
	publicGitHubAPI = "https://api.github.com"
)

// checkApp completes the URLs and reads the App's key where a path was given,
// so that a wrong one is told at start and not at the first push.
func (k *appKeys) checkApp() (err error) {
	if k.GitHubURL, err = checkBaseURL("POLSET_GITHUB_URL", k.GitHubURL); err != nil {
		return err
	}
	if k.GitHubAPIURL == "" {
		// A token of one GitHub is nothing for another.
		if k.GitHubAPIURL = publicGitHubAPI; k.GitHubURL != publicGitHub {
			k.GitHubAPIURL = k.GitHubURL + "/api/v3"
		}
	}
	if k.GitHubAPIURL, err = checkBaseURL("POLSET_GITHUB_API_URL", k.GitHubAPIURL); err != nil {
		return err
	}
	if (k.GitHubAppID == 0) != (k.GitHubAppPrivateKey == "") {
		return errors.New("POLSET_GITHUB_APP_ID and POLSET_GITHUB_APP_PRIVATE_KEY go together")
	}
	if (k.GitHubAppClientID == "") != (k.GitHubAppClientSecret == "") {
		return errors.New("POLSET_GITHUB_APP_CLIENT_ID and POLSET_GITHUB_APP_CLIENT_SECRET go together")
	}
	if k.GitHubAppPrivateKey == "" {
		if k.GitHubAppClientID != "" {
			return errors.New("POLSET_GITHUB_APP_CLIENT_ID needs POLSET_GITHUB_APP_ID as well")
		}
		return nil
	}
	if k.GitHubAppPrivateKey, err = readPEM("POLSET_GITHUB_APP_PRIVATE_KEY", k.GitHubAppPrivateKey); err != nil {
		return err
	}
	if k.GitHubWebhookSecret == "" {
		return errors.New("POLSET_GITHUB_APP_ID needs POLSET_GITHUB_WEBHOOK_SECRET as well: without it nobody could tell GitHub's deliveries from others")
	}
	return nil
}

// readPEM returns the value of a setting that is PEM or the path of its file.
func readPEM(name, value string) (string, error) {
	if !strings.Contains(value, "-----BEGIN") {
		content, err := os.ReadFile(value) // #nosec G304 -- the operator's own setting
		if err != nil {
			return "", fmt.Errorf("read %s: %w", name, err)
		}
		value = string(content)
	}
	if block, _ := pem.Decode([]byte(value)); block == nil {
		return "", fmt.Errorf("%s holds no PEM block", name)
	}
	return value, nil
}

// apps finds the GitHub App: the operator's own, or the one that the manifest
// flow stored.
func (k *appKeys) apps(s *store.Store) apps { return apps{keys: *k, stored: s} }

type apps struct {
	keys   appKeys
	stored *store.Store
}

// App implements githubapp's and web's sources of the App.
func (a apps) App(ctx context.Context) (polset.App, error) {
	if a.keys.GitHubAppID == 0 {
		return a.stored.App(ctx)
	}
	app := polset.App{
		ID: a.keys.GitHubAppID, HTTPURL: a.keys.GitHubURL,
		ClientID:     a.keys.GitHubAppClientID,
		PrivateKey:   polset.NewSecret(a.keys.GitHubAppPrivateKey),
		ClientSecret: polset.NewSecret(a.keys.GitHubAppClientSecret),
	}
	secrets, err := webhook.ParseSecrets(a.keys.GitHubWebhookSecret)
	if err != nil {
		return polset.App{}, fmt.Errorf("POLSET_GITHUB_WEBHOOK_SECRET: %w", err)
	}
	if len(secrets) > 0 {
		app.WebhookSecret = secrets[0]
	}
	return app, nil
}
