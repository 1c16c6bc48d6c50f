package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"go.uber.org/zap"

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
	Name               optional[string] `json:"name"`
	ServiceProvider    optional[string] `json:"service-provider"`
	HTTPURL            optional[string] `json:"http-url"`
	APIURL             optional[string] `json:"api-url"`
	Key                optional[string] `json:"key"`
	Token              optional[string] `json:"oauth-token-string"`
	OrganizationScoped optional[bool]   `json:"organization-scoped"`
}

// oauthClientChange has no addresses: a token never goes to another host than
// the one that it was given for. The secret of an OAuth application is of no use
// without a browser's handshake, and is not kept.
type oauthClientChange struct {
	Name               optional[string] `json:"name"`
	Key                optional[string] `json:"key"`
	Token              optional[string] `json:"oauth-token-string"`
	OrganizationScoped optional[bool]   `json:"organization-scoped"`
}

// OAuthClients is what the oauth-client and oauth-token endpoints need besides
// Connections.
type OAuthClients interface {
	// Connections returns a page in the order of creation, and the count of all.
	Connections(ctx context.Context, by polset.Principal, organization string, page polset.Page) ([]polset.Connection, int, error)
	// ConnectionByToken finds a connection by the ot-… id of its token.
	ConnectionByToken(ctx context.Context, by polset.Principal, tokenID string) (polset.Connection, error)
	// UpdateConnection lets policy sets go on with a token that replaces another.
	UpdateConnection(ctx context.Context, by polset.Principal, id string, change polset.ConnectionChange) (polset.Connection, error)
}

var oauthClientIncludes = []string{"oauth_tokens", "projects"}

func (a *API) oauthClientRoutes() []Route {
	const (
		read   = polset.PermissionRead
		manage = polset.PermissionManagePolicies

		kind     = "oauth-clients"
		clients  = prefix + "/organizations/:organization/" + kind
		client   = prefix + "/" + kind + "/:oauth_client"
		projects = client + "/relationships/projects"
	)
	shown := oauthClientAttributes{}
	return []Route{
		{http.MethodGet, clients, AccessToken, read, a.listOAuthClients, lists(kind, shown, "List OAuth clients").including(oauthClientIncludes...)},
		{http.MethodPost, clients, AccessToken, manage, a.createOAuthClient, creates(kind, oauthClientDraft{}, shown, "Create an OAuth client with its token")},
		{http.MethodGet, client, AccessToken, read, a.showOAuthClient, shows(kind, shown, "Show an OAuth client").including(oauthClientIncludes...)},
		{http.MethodPatch, client, AccessToken, manage, a.updateOAuthClient, changes(kind, oauthClientChange{}, shown, "Change an OAuth client, or replace its token")},
		{http.MethodDelete, client, AccessToken, manage, a.deleteOAuthClient, answers204("Delete an OAuth client with its token")},
		{http.MethodPost, projects, AccessToken, manage, a.addOAuthClientProjects, relates("projects", "Give an OAuth client to projects")},
		{http.MethodDelete, projects, AccessToken, manage, a.removeOAuthClientProjects, relates("projects", "Take an OAuth client from projects")},
	}
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
			Key:                 orNull(c.Key),
			OrganizationScoped:  !c.ProjectScoped,
			CreatedAt:           iso8601(c.CreatedAt),
		},
		Relationships: map[string]relation{
			"organization": toOne("organizations", c.Organization),
			"projects":     toMany("projects", c.Projects...),
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
	draft, err := a.connectionDraft(org.Name, d)
	if err != nil {
		return err
	}
	if err := a.checkProjects(r, org.ID, draft.Projects); err != nil {
		return err
	}
	draft.ServiceProviderUser = a.holder(r, draft.HTTPURL, draft.APIURL, draft.Token)
	connection, err := a.Connections.CreateConnection(r.ctx(), r.by, draft)
	if err != nil {
		return nameTaken(err)
	}
	return r.send(http.StatusCreated, single(oauthClientResource(connection)))
}

func (a *API) listOAuthClients(r *request) error {
	page, err := r.pageOrAll()
	if err != nil {
		return err
	}
	want, err := r.include(oauthClientIncludes...)
	if err != nil {
		return err
	}
	connections, total, err := a.OAuthClients.Connections(r.ctx(), r.by, r.Param("organization"), page)
	if err != nil {
		return err
	}
	included, err := a.includedOfClients(r, want, connections...)
	if err != nil {
		return err
	}
	var data []resource
	for _, c := range connections {
		data = append(data, oauthClientResource(c))
	}
	return r.send(http.StatusOK, a.list(r, data, page, total, included...))
}

// includedOfClients finds what include asks for, for all clients at once.
func (a *API) includedOfClients(r *request, want includes, connections ...polset.Connection) ([]resource, error) {
	var included []resource
	var ids []string
	for _, c := range connections {
		if want["oauth_tokens"] {
			included = append(included, oauthTokenResource(c))
		}
		ids = append(ids, c.Projects...)
	}
	if !want["projects"] || len(ids) == 0 {
		return included, nil
	}
	projects, err := a.Projects.ProjectsByID(r.ctx(), r.by, ids)
	if err != nil {
		return nil, err
	}
	for _, p := range projects {
		included = append(included, projectResource(p))
	}
	return included, nil
}

func (a *API) showOAuthClient(r *request) error {
	want, err := r.include(oauthClientIncludes...)
	if err != nil {
		return err
	}
	connection, err := a.Connections.Connection(r.ctx(), r.by, r.Param("oauth_client"))
	if err != nil {
		return err
	}
	included, err := a.includedOfClients(r, want, connection)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(oauthClientResource(connection), included...))
}

func (a *API) updateOAuthClient(r *request) error {
	now, err := a.Connections.Connection(r.ctx(), r.by, r.Param("oauth_client"))
	if err != nil {
		return err
	}
	in, err := decode[oauthClientChange](r, "oauth-clients", now.ID)
	if err != nil {
		return err
	}
	change, err := connectionChange(in)
	if err != nil {
		return err
	}
	if change.Projects != nil {
		if err := a.checkProjects(r, now.OrganizationID, *change.Projects); err != nil {
			return err
		}
	}
	if change.Token != nil {
		change.ServiceProviderUser = a.holder(r, now.HTTPURL, now.APIURL, *change.Token)
	}
	connection, err := a.OAuthClients.UpdateConnection(r.ctx(), r.by, now.ID, change)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(oauthClientResource(connection)))
}

// connectionChange judges an update. Null clears a text and leaves a token.
func connectionChange(in draft[oauthClientChange]) (polset.ConnectionChange, error) {
	var change polset.ConnectionChange
	attrs := in.Attributes
	if attrs.Name.Present {
		name := attrs.Name.Or("")
		change.Name = &name
	}
	if attrs.Key.Present {
		key := attrs.Key.Or("")
		change.Key = &key
	}
	if scoped, ok := attrs.OrganizationScoped.Get(); ok {
		narrow := !scoped
		change.ProjectScoped = &narrow
	}
	wrong := checkConnection(attrs.Name.Or(""), attrs.Key.Or(""))
	if text, ok := attrs.Token.Get(); ok {
		token := polset.NewSecret(text)
		change.Token = &token
		wrong = append(wrong, checkTokenString(token)...)
	}
	projects, problems := toManyOf(in.Relationships, "projects", "projects")
	if projects != nil {
		change.Projects = &projects
	}
	return change, append(wrong, problems...).orNil()
}

// holder asks the git host whom a token belongs to; "" where it does not say
// so. What the token may read is seen when a policy set reads with it.
func (a *API) holder(r *request, httpURL, apiURL string, token polset.Secret) string {
	ctx, cancel := context.WithTimeout(r.ctx(), a.HeadTimeout)
	defer cancel()
	user, err := a.Repositories.User(ctx, polset.Remote{HTTPURL: httpURL, APIURL: apiURL, Token: token})
	if err != nil {
		a.Logger.Info("the holder of a token is not known", zap.String("class", string(polset.FailureOf(err).Class)), zap.Error(err))
		return ""
	}
	if len(user) > maxName || strings.ContainsFunc(user, unprintable) {
		return "" // whatever answers there is no GitHub
	}
	return user
}

func (a *API) deleteOAuthClient(r *request) error {
	if err := a.Connections.DeleteConnection(r.ctx(), r.by, r.Param("oauth_client")); err != nil {
		return err
	}
	return r.NoContent(http.StatusNoContent)
}

// connectionDraft judges the attributes of an oauth client.
func (a *API) connectionDraft(organization string, document draft[oauthClientDraft]) (polset.ConnectionDraft, error) {
	in := document.Attributes
	wrong := checkConnection(in.Name.Or(""), in.Key.Or(""))
	draft := polset.ConnectionDraft{
		Organization:    organization,
		Key:             in.Key.Or(""),
		ProjectScoped:   !in.OrganizationScoped.Or(true),
		Name:            in.Name.Or(""),
		ServiceProvider: in.ServiceProvider.Or(""),
		HTTPURL:         strings.TrimRight(in.HTTPURL.Or(""), "/"),
		APIURL:          strings.TrimRight(in.APIURL.Or(""), "/"),
		Token:           polset.NewSecret(in.Token.Or("")),
	}
	projects, problems := toManyOf(document.Relationships, "projects", "projects")
	draft.Projects = projects
	wrong = append(wrong, problems...)
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
	wrong = append(wrong, checkTokenString(draft.Token)...)
	return draft, wrong.orNil()
}

func checkConnection(name, key string) problems {
	var wrong problems
	if len(name) > maxName {
		wrong = append(wrong, invalid("name", "Name must not exceed %d bytes.", maxName))
	}
	if len(key) > maxName {
		wrong = append(wrong, invalid("key", "key must not exceed %d bytes.", maxName))
	}
	return wrong
}

func checkTokenString(token polset.Secret) problems {
	if text := token.Reveal(); text == "" || len(text) > maxToken || strings.ContainsFunc(text, unprintable) {
		return problems{invalid("oauth-token-string", "oauth-token-string is required: up to %d printable characters without spaces, such as a GitHub personal access token that may read the repositories' contents. polset has no other way to connect: there is no page to authorize it on.", maxToken)}
	}
	return nil
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
