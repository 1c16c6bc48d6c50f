package api

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/polset/polset"
)

// setupLinkLifetime is how long a link to install the App is good for.
const setupLinkLifetime = time.Hour

// A set-up link is shown once, to whoever asked for it: its URL holds the
// token.
type setupLinkAttributes struct {
	URL       string  `json:"url"`
	ExpiresAt iso8601 `json:"expires-at"`
}

// createSetupLink makes a link that installs the GitHub App on an account for
// the organization. HCP Terraform does so in its user interface only.
func (a *API) createSetupLink(r *request) error {
	org, err := a.Organizations.Organization(r.ctx(), r.by, r.Param("organization"))
	if err != nil {
		return err
	}
	switch app, err := a.Apps.App(r.ctx()); {
	case errors.Is(err, polset.ErrNotFound):
		return conflict("This polset has no GitHub App yet. Ask whoever operates it to create or configure one.")
	case err != nil:
		return err
	case app.ClientID == "" || app.ClientSecret.Empty():
		// The link could not tell who installed the App.
		return conflict("The GitHub App of this polset is configured without its client id and client secret, which a link needs. Ask a site admin to bind the installation to the organization.")
	}
	link, token, err := a.SetupLinks.CreateSetupLink(r.ctx(), r.by, polset.SetupInstall, org.Name, setupLinkLifetime)
	if err != nil {
		return err
	}
	return r.send(http.StatusCreated, single(resource{
		ID:   link.ID,
		Type: "github-app-setup-links",
		Attributes: setupLinkAttributes{
			URL:       a.PublicURL + "/setup/github?token=" + url.QueryEscape(token.Reveal()),
			ExpiresAt: iso8601(link.ExpiresAt),
		},
		Relationships: map[string]relation{"organization": toOne("organizations", org.Name)},
	}))
}
