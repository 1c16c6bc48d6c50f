package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/polset/polset"
)

// The service providers, in HCP Terraform's words.
const (
	providerGitHub           = "github"
	providerGitHubEnterprise = "github_enterprise"
	providerGitHubApp        = "github_app" // of a policy set on an installation
)

// An OAuth client and its one token are a connection. The token's secret goes
// in and never comes out.
type oauthClientAttributes struct {
	Name                *string `json:"name"`
	ServiceProvider     string  `json:"service-provider"`
	ServiceProviderName string  `json:"service-provider-display-name"`
	HTTPURL             string  `json:"http-url"`
	APIURL              string  `json:"api-url"`
	Key                 *string `json:"key"`
	CallbackURL         *string `json:"callback-url"`
	ConnectPath         *string `json:"connect-path"`
	OrganizationScoped  bool    `json:"organization-scoped"`
	CreatedAt           iso8601 `json:"created-at"`
}

type oauthClientDraft struct {
	Name            optional[string] `json:"name"`
	ServiceProvider optional[string] `json:"service-provider"`
	HTTPURL         optional[string] `json:"http-url"`
	APIURL          optional[string] `json:"api-url"`
	Token           optional[string] `json:"oauth-token-string"`
}

func oauthClientResource(c polset.Connection) resource {
	display := "GitHub"
	if c.ServiceProvider == providerGitHubEnterprise {
		display = "GitHub Enterprise"
	}
	return resource{
		ID:   c.ID,
		Type: "oauth-clients",
		Attributes: oauthClientAttributes{
			Name:                orNull(c.Name),
			ServiceProvider:     c.ServiceProvider,
			ServiceProviderName: display,
			HTTPURL:             c.HTTPURL,
			APIURL:              c.APIURL,
			OrganizationScoped:  true,
			CreatedAt:           iso8601(c.CreatedAt),
		},
		Relationships: map[string]relation{
			"organization": toOne("organizations", c.Organization),
			"projects":     toMany("projects"),
			"agent-pool":   toOne("agent-pools", ""),
			"oauth-tokens": toMany("oauth-tokens", c.TokenID),
		},
		Links: map[string]string{"self": prefix + "/oauth-clients/" + c.ID},
	}
}

func (a *API) createOAuthClient(r *request) error {
	// Before the body is judged, so that the answer depends on nothing that
	// a stranger to the organization sends.
	org, err := a.Organizations.Organization(r.ctx(), r.by, r.Param("organization"))
	if err != nil {
		return err
	}
	d, err := decode[oauthClientDraft](r, "oauth-clients", "")
	if err != nil {
		return err
	}
	draft, err := a.connectionDraft(org.Name, d.Attributes)
	if err != nil {
		return err
	}
	connection, err := a.Connections.CreateConnection(r.ctx(), r.by, draft)
	if err != nil {
		return nameTaken(err)
	}
	return r.send(http.StatusCreated, single(oauthClientResource(connection)))
}

func (a *API) showOAuthClient(r *request) error {
	connection, err := a.Connections.Connection(r.ctx(), r.by, r.Param("oauth_client"))
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(oauthClientResource(connection)))
}

func (a *API) deleteOAuthClient(r *request) error {
	if err := a.Connections.DeleteConnection(r.ctx(), r.by, r.Param("oauth_client")); err != nil {
		return err
	}
	return r.NoContent(http.StatusNoContent)
}

// connectionDraft judges the attributes of an oauth client.
func (a *API) connectionDraft(organization string, in oauthClientDraft) (polset.ConnectionDraft, error) {
	var wrong problems
	draft := polset.ConnectionDraft{
		Organization:    organization,
		Name:            in.Name.Or(""),
		ServiceProvider: in.ServiceProvider.Or(""),
		HTTPURL:         strings.TrimRight(in.HTTPURL.Or(""), "/"),
		APIURL:          strings.TrimRight(in.APIURL.Or(""), "/"),
		Token:           polset.NewSecret(in.Token.Or("")),
	}
	if len(draft.Name) > maxName {
		wrong = append(wrong, invalid("name", "Name must not exceed %d bytes.", maxName))
	}
	if err := a.checkHTTPURL(draft.HTTPURL); err != nil {
		wrong = append(wrong, invalid("http-url", "http-url %s.", err))
	}
	if err := a.checkAPIURL(draft.APIURL); err != nil {
		wrong = append(wrong, invalid("api-url", "api-url %s.", err))
	}
	switch draft.ServiceProvider {
	case providerGitHub:
		// What a policy set shows as its service provider follows from the host.
		if len(wrong) == 0 && a.serviceProvider(draft.HTTPURL) != providerGitHub {
			wrong = append(wrong, invalid("http-url", "http-url must be %s for the service provider github; for your own GitHub Enterprise Server use github_enterprise.", defaultGitHubURL))
		}
	case providerGitHubEnterprise:
	default:
		wrong = append(wrong, invalid("service-provider", "service-provider must be %s or %s; polset supports no other.", providerGitHub, providerGitHubEnterprise))
	}
	if token := draft.Token.Reveal(); token == "" || len(token) > maxToken || strings.ContainsFunc(token, unprintable) {
		wrong = append(wrong, invalid("oauth-token-string", "oauth-token-string is required: up to %d printable characters without spaces, such as a GitHub personal access token that may read the repositories' contents.", maxToken))
	}
	return draft, wrong.orNil()
}

// serviceProvider tells what a host is in HCP Terraform's words. The
// operator's GitHub stands in for github.com.
func (a *API) serviceProvider(httpURL string) string {
	if strings.EqualFold(httpURL, defaultGitHubURL) || httpURL == a.GitHubURL {
		return providerGitHub
	}
	return providerGitHubEnterprise
}

// checkHTTPURL says what is wrong with the address of a git host. Whether it
// may be dialled at all is decided when it is dialled.
func (a *API) checkHTTPURL(text string) error {
	if text == a.GitHubURL {
		return nil
	}
	u, err := checkURL(text)
	if err == nil && u.Path != "" {
		err = fmt.Errorf("must name a host only, such as %s", defaultGitHubURL)
	}
	return err
}

func (a *API) checkAPIURL(text string) error {
	if text == a.GitHubURL || strings.HasPrefix(text, a.GitHubURL+"/") || (a.GitHubAPIURL != "" && text == a.GitHubAPIURL) {
		// The prefix alone may end inside a longer path; the rest is judged below.
		if u, err := url.Parse(text); err == nil && plainURL(u) {
			return nil
		}
	}
	_, err := checkURL(text)
	return err
}

func checkURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, fmt.Errorf("is required")
	}
	if len(text) > 255 || strings.ContainsFunc(text, unprintable) || strings.Contains(text, `\`) {
		return nil, fmt.Errorf("is not a URL")
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("is not a URL") // the error would repeat what may be a credential
	}
	if u.Scheme != "https" {
		return nil, fmt.Errorf("must begin with https://")
	}
	if !plainURL(u) {
		return nil, fmt.Errorf("must have a host, and no user name, password, query or fragment")
	}
	return u, nil
}

// plainURL says that a URL is an origin with at most a path.
func plainURL(u *url.URL) bool {
	return u.Hostname() != "" && u.User == nil && u.RawQuery == "" && !u.ForceQuery && u.Fragment == ""
}

// unprintable says that a character is not printable ASCII.
func unprintable(r rune) bool { return r <= ' ' || r > '~' }
