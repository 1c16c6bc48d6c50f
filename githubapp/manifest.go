package githubapp

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/polset/polset"
)

// maxAppName is GitHub's limit.
const maxAppName = 34

// Manifest returns the description of the App from which GitHub creates it: the
// form field manifest of a POST to NewAppURL. publicURL is where GitHub and
// people reach polset. The name is only a proposal; the person may change it.
//
// A public App can be installed by accounts other than its owner's. Who may use
// an installation is decided by polset's own bindings.
func (c *Client) Manifest(publicURL, name string, public bool) ([]byte, error) {
	u, err := parseBase(publicURL)
	if err != nil {
		return nil, fmt.Errorf("describe the GitHub App: polset's public URL: %w", err)
	}
	if name = strings.TrimSpace(name); name == "" {
		name = "polset"
	}
	if r := []rune(name); len(r) > maxAppName {
		name = strings.TrimSpace(string(r[:maxAppName]))
	}
	base := u.String()
	type hook struct {
		URL    string `json:"url"`
		Active bool   `json:"active"`
	}
	return json.Marshal(struct {
		Name           string            `json:"name"`
		URL            string            `json:"url"`
		Description    string            `json:"description"`
		Hook           hook              `json:"hook_attributes"`
		RedirectURL    string            `json:"redirect_url"`
		CallbackURLs   []string          `json:"callback_urls"`
		OAuthOnInstall bool              `json:"request_oauth_on_install"`
		Public         bool              `json:"public"`
		Events         []string          `json:"default_events"`
		Permissions    map[string]string `json:"default_permissions"`
	}{
		Name:           name,
		URL:            base,
		Description:    "Turns pushes into policy set versions, and says on each commit what became of it.",
		Hook:           hook{URL: base + "/webhooks/github", Active: true},
		RedirectURL:    base + "/setup/github/created",
		CallbackURLs:   []string{base + "/setup/github/installed"},
		OAuthOnInstall: true,
		Public:         public,
		Events:         polset.AppEvents(),
		Permissions:    polset.AppPermissions(),
	})
}

// NewAppURL is where GitHub takes a manifest: for an organization, or for the
// person's own account where that is "".
func (c *Client) NewAppURL(organization string) string {
	if organization == "" {
		return c.web.String() + "/settings/apps/new"
	}
	return c.web.String() + "/organizations/" + url.PathEscape(organization) + "/settings/apps/new"
}

// InstallURL is where a person installs the App; state comes back with them. It
// is "" where neither the App's page nor its slug is known.
func (c *Client) InstallURL(app polset.App, state string) string {
	page := strings.TrimRight(app.HTMLURL, "/")
	if u, err := parseBase(page); err != nil || originOf(u) != originOf(c.web) {
		if app.Slug == "" {
			return ""
		}
		apps := "/github-apps/" // where GitHub Enterprise Server has them
		if originOf(c.web) == publicWeb {
			apps = "/apps/"
		}
		page = c.web.String() + apps + url.PathEscape(app.Slug)
	}
	page += "/installations/new"
	if state != "" {
		page += "?" + url.Values{"state": {state}}.Encode()
	}
	return page
}

// wireApp is the App in GitHub's words. Only the conversion of a manifest
// tells the last four.
type wireApp struct {
	ID    int64  `json:"id"`
	Slug  string `json:"slug"`
	Name  string `json:"name"`
	Owner struct {
		Login string `json:"login"`
		Slug  string `json:"slug"` // of an enterprise
	} `json:"owner"`
	HTMLURL     string            `json:"html_url"`
	CreatedAt   time.Time         `json:"created_at"`
	Permissions map[string]string `json:"permissions"`
	ClientID    string            `json:"client_id"`

	ClientSecret  string `json:"client_secret"`
	WebhookSecret string `json:"webhook_secret"`
	PEM           string `json:"pem"`
}

// ConvertManifest exchanges the code that GitHub sent a person back with for
// the App that they created. ErrUnauthorized says that GitHub does not know the
// code, or that it is older than an hour or used. An App that lacks a
// permission of polset.AppPermissions, or a secret, is a *polset.Failure.
func (c *Client) ConvertManifest(ctx context.Context, code string) (polset.App, error) {
	var w wireApp
	_, err := c.send(ctx, c.api, credential{key: "anonymous " + originOf(c.api)}, question{
		operation: "convert-manifest", doing: "take over the new GitHub App",
		method: http.MethodPost, path: "/app-manifests/" + url.PathEscape(code) + "/conversions", into: &w,
	})
	switch statusOf(err) {
	case http.StatusNotFound, http.StatusUnprocessableEntity:
		return polset.App{}, fmt.Errorf("take over the new GitHub App: the code is not valid: %w", polset.ErrUnauthorized)
	}
	if err != nil {
		return polset.App{}, err
	}
	app := w.app(c.web.String())
	switch {
	case w.ID == 0, w.ClientID == "":
		return polset.App{}, polset.Fail(polset.ClassInternal, "%s answered without the new GitHub App's number; delete the App there and begin again.", c.api.Host)
	case w.WebhookSecret == "", w.PEM == "":
		return polset.App{}, polset.Fail(polset.ClassInternal, "%s answered without the secrets of the new GitHub App; delete the App there and begin again.", c.api.Host)
	}
	if _, err := parseKey(app); err != nil {
		return polset.App{}, err
	}
	if missing := missingPermission(w.Permissions); missing != "" && w.Permissions != nil {
		return polset.App{}, polset.Fail(polset.ClassAuth, "The new GitHub App lacks the permission %s; delete it on GitHub and begin again.", missing)
	}
	return app, nil
}

// Describe returns the configured App with what GitHub says of it: its slug,
// name, owner, page and client id. ErrNotFound says that there is no App.
func (c *Client) Describe(ctx context.Context) (polset.App, error) {
	app, err := c.apps.get(ctx, false)
	if err != nil {
		return polset.App{}, noApp(err)
	}
	var w wireApp
	_, err = c.asApp(ctx, question{
		operation: "read-app", doing: "read about the GitHub App",
		method: http.MethodGet, path: "/app", into: &w,
	})
	if err != nil {
		return polset.App{}, err
	}
	described := w.app(c.web.String())
	described.ID, described.HTTPURL = app.ID, app.HTTPURL
	described.PrivateKey, described.WebhookSecret, described.ClientSecret = app.PrivateKey, app.WebhookSecret, app.ClientSecret
	if described.ClientID == "" {
		described.ClientID = app.ClientID
	}
	return described, nil
}

// missingPermission names the first permission that polset needs and that is
// not among those granted, such as "checks: write"; "" where none is missing.
func missingPermission(granted map[string]string) string {
	needs := polset.AppPermissions()
	for _, name := range slices.Sorted(maps.Keys(needs)) {
		if have := granted[name]; have != needs[name] && (needs[name] != "read" || have != "write" && have != "admin") {
			return name + ": " + needs[name]
		}
	}
	return ""
}

func (w wireApp) app(httpURL string) polset.App {
	app := polset.App{
		ID:            w.ID,
		ClientID:      w.ClientID,
		Slug:          w.Slug,
		Name:          w.Name,
		Owner:         w.Owner.Login,
		HTMLURL:       w.HTMLURL,
		HTTPURL:       httpURL,
		PrivateKey:    polset.NewSecret(w.PEM),
		WebhookSecret: polset.NewSecret(w.WebhookSecret),
		ClientSecret:  polset.NewSecret(w.ClientSecret),
		CreatedAt:     w.CreatedAt,
	}
	if app.Owner == "" {
		app.Owner = w.Owner.Slug
	}
	return app
}
