package api

import (
	"net/http"

	"github.com/polset/polset"
)

// oauthTokenAttributes is the one token of an OAuth client. Its secret is never
// shown.
type oauthTokenAttributes struct {
	UID                 *string `json:"uid"`
	CreatedAt           iso8601 `json:"created-at"`
	HasSSHKey           bool    `json:"has-ssh-key"`
	ServiceProviderUser *string `json:"service-provider-user"`
}

type oauthTokenDraft struct {
	SSHKey optional[string] `json:"ssh-key"`
}

func oauthTokenResource(c polset.Connection) resource {
	return resource{
		ID:            c.TokenID,
		Type:          "oauth-tokens",
		Attributes:    oauthTokenAttributes{CreatedAt: iso8601(c.CreatedAt), ServiceProviderUser: orNull(c.ServiceProviderUser)},
		Relationships: map[string]relation{"oauth-client": toOne("oauth-clients", c.ID)},
		Links:         map[string]string{"self": prefix + "/oauth-tokens/" + c.TokenID},
	}
}

func (a *API) oauthTokenRoutes() []Route {
	const (
		kind  = "oauth-tokens"
		token = prefix + "/" + kind + "/:oauth_token"

		manage = polset.PermissionManagePolicies
	)
	shown := oauthTokenAttributes{}
	return []Route{
		{http.MethodGet, prefix + "/organizations/:organization/" + kind, AccessToken, polset.PermissionRead, a.listOAuthTokens, lists(kind, shown, "List the tokens of all OAuth clients")},
		{http.MethodGet, prefix + "/oauth-clients/:oauth_client/" + kind, AccessToken, polset.PermissionRead, a.listOAuthTokensOfClient, lists(kind, shown, "List the token of an OAuth client")},
		{http.MethodGet, token, AccessToken, polset.PermissionRead, a.showOAuthToken, shows(kind, shown, "Show the token of an OAuth client")},
		{http.MethodPatch, token, AccessToken, manage, a.updateOAuthToken, changes(kind, oauthTokenDraft{}, shown, "Change the token of an OAuth client, of which nothing can be changed but its client's oauth-token-string")},
		{http.MethodDelete, token, AccessToken, manage, a.deleteOAuthToken, answers204("Delete a token with its OAuth client")},
	}
}

func (a *API) listOAuthTokens(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	connections, total, err := a.OAuthClients.Connections(r.ctx(), r.by, r.Param("organization"), page)
	if err != nil {
		return err
	}
	return a.sendOAuthTokens(r, page, total, connections...)
}

func (a *API) listOAuthTokensOfClient(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	c, err := a.Connections.Connection(r.ctx(), r.by, r.Param("oauth_client"))
	if err != nil {
		return err
	}
	if page.Number > 1 {
		return a.sendOAuthTokens(r, page, 1)
	}
	return a.sendOAuthTokens(r, page, 1, c)
}

func (a *API) sendOAuthTokens(r *request, page polset.Page, total int, connections ...polset.Connection) error {
	data := make([]resource, 0, len(connections))
	for _, c := range connections {
		data = append(data, oauthTokenResource(c))
	}
	return r.send(http.StatusOK, a.list(r, data, page, total))
}

func (a *API) showOAuthToken(r *request) error {
	c, err := a.OAuthClients.ConnectionByToken(r.ctx(), r.by, r.Param("oauth_token"))
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(oauthTokenResource(c)))
}

// updateOAuthToken takes nothing: the one attribute that HCP Terraform lets
// change is the key for ssh, and polset fetches over https only.
func (a *API) updateOAuthToken(r *request) error {
	c, err := a.OAuthClients.ConnectionByToken(r.ctx(), r.by, r.Param("oauth_token"))
	if err != nil {
		return err
	}
	in, err := decode[oauthTokenDraft](r, "oauth-tokens", c.TokenID)
	if err != nil {
		return err
	}
	if in.Attributes.SSHKey.Or("") != "" {
		return invalid("ssh-key", "polset fetches over https only, submodules too, and has no use for an ssh-key.")
	}
	return r.send(http.StatusOK, single(oauthTokenResource(c)))
}

// deleteOAuthToken takes the client with it, which is nothing without its token.
func (a *API) deleteOAuthToken(r *request) error {
	c, err := a.OAuthClients.ConnectionByToken(r.ctx(), r.by, r.Param("oauth_token"))
	if err != nil {
		return err
	}
	if err := a.Connections.DeleteConnection(r.ctx(), r.by, c.ID); err != nil {
		return err
	}
	return r.NoContent(http.StatusNoContent)
}
