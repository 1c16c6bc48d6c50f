package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/polset/polset"
)

// TokenReader finds the records of tokens. Those that were revoked are left out.
type TokenReader interface {
	// Token finds any for a site admin, and for a token itself.
	Token(ctx context.Context, by polset.Principal, id string) (polset.Token, error)
	// Tokens returns a page in the order of creation, and the count of all that
	// the filter lets through. Only a site admin finds any.
	Tokens(ctx context.Context, by polset.Principal, filter polset.TokenFilter, page polset.Page) ([]polset.Token, int, error)
}

// TokenWriter makes tokens and takes them back.
type TokenWriter interface {
	// CreateToken returns the record, and the secret, which is nowhere else.
	CreateToken(ctx context.Context, by polset.Principal, t polset.Token) (polset.Token, polset.Secret, error)
	RevokeToken(ctx context.Context, by polset.Principal, id string) error
}

// TokenRecords is what the authentication-token endpoints need.
type TokenRecords interface {
	TokenReader
	TokenWriter
}

// authenticationTokenAttributes is an API token as HCP Terraform shows it,
// followed by what it may do. Token is its secret, which only the answer to
// the creation has.
type authenticationTokenAttributes struct {
	CreatedAt   iso8601             `json:"created-at"`
	LastUsedAt  iso8601             `json:"last-used-at"`
	Description *string             `json:"description"`
	Token       *string             `json:"token"`
	ExpiredAt   iso8601             `json:"expired-at"`
	Permissions []polset.Permission `json:"permissions"`
}

type authenticationTokenDraft struct {
	Description optional[string]              `json:"description"`
	ExpiredAt   optional[string]              `json:"expired-at"`
	Permissions optional[[]polset.Permission] `json:"permissions"`
}

func authenticationTokenResource(t polset.Token, secret polset.Secret) resource {
	return resource{
		ID:   t.ID,
		Type: "authentication-tokens",
		Attributes: authenticationTokenAttributes{
			CreatedAt:   iso8601(t.CreatedAt),
			LastUsedAt:  iso8601(t.LastUsedAt),
			Description: orNull(t.Description),
			Token:       orNull(secret.Reveal()),
			ExpiredAt:   iso8601(t.ExpiresAt),
			Permissions: t.Effective(),
		},
		Relationships: map[string]relation{"organization": toOne("organizations", t.Organization)},
		Links:         map[string]string{"self": prefix + "/authentication-tokens/" + t.ID},
	}
}

// authenticationTokenRoutes are the site admin's, but for one: a token may
// look at itself.
func (a *API) authenticationTokenRoutes() []Route {
	const (
		kind  = "authentication-tokens"
		org   = prefix + "/organizations/:organization/" + kind
		site  = prefix + "/admin/" + kind
		token = prefix + "/" + kind + "/:authentication_token"
	)
	shown := authenticationTokenAttributes{}
	return []Route{
		{http.MethodGet, org, AccessSiteAdmin, "", a.listAuthenticationTokens, lists(kind, shown, "List the tokens of an organization")},
		{http.MethodPost, org, AccessSiteAdmin, "", a.createAuthenticationToken, creates(kind, authenticationTokenDraft{}, shown, "Create a token of an organization")},
		{http.MethodGet, site, AccessSiteAdmin, "", a.listSiteTokens, lists(kind, shown, "List the site admin's tokens")},
		{http.MethodPost, site, AccessSiteAdmin, "", a.createSiteToken, creates(kind, authenticationTokenDraft{}, shown, "Create a token of the site admin")},
		{http.MethodGet, token, AccessToken, polset.PermissionRead, a.showAuthenticationToken, shows(kind, shown, "Show a token: any to the site admin, to others their own")},
		{http.MethodDelete, token, AccessSiteAdmin, "", a.revokeAuthenticationToken, answers204("Revoke a token")},
	}
}

func (a *API) listAuthenticationTokens(r *request) error {
	return a.sendTokens(r, polset.TokenFilter{Organization: r.Param("organization")})
}

func (a *API) listSiteTokens(r *request) error {
	return a.sendTokens(r, polset.TokenFilter{SiteAdmin: true})
}

func (a *API) sendTokens(r *request, filter polset.TokenFilter) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	tokens, total, err := a.TokenRecords.Tokens(r.ctx(), r.by, filter, page)
	if err != nil {
		return err
	}
	var data []resource
	for _, t := range tokens {
		data = append(data, authenticationTokenResource(t, polset.Secret{}))
	}
	return r.send(http.StatusOK, a.list(r, data, page, total))
}

func (a *API) createAuthenticationToken(r *request) error {
	org, err := a.Organizations.Organization(r.ctx(), r.by, r.Param("organization"))
	if err != nil {
		return err
	}
	return a.createToken(r, polset.Token{Organization: org.Name})
}

func (a *API) createSiteToken(r *request) error { return a.createToken(r, polset.Token{}) }

func (a *API) createToken(r *request, t polset.Token) error {
	in, err := decode[authenticationTokenDraft](r, "authentication-tokens", "")
	if err != nil {
		return err
	}
	if err := a.judgeToken(&t, in.Attributes); err != nil {
		return err
	}
	t, secret, err := a.TokenRecords.CreateToken(r.ctx(), r.by, t)
	if err != nil {
		return err
	}
	return r.send(http.StatusCreated, single(authenticationTokenResource(t, secret)))
}

// judgeToken fills in what a draft says. A site admin's token may do
// everything, so that it has no permissions to choose from.
func (a *API) judgeToken(t *polset.Token, in authenticationTokenDraft) error {
	t.Description = in.Description.Or("")
	wrong := checkDescription(&t.Description)
	if text, ok := in.ExpiredAt.Get(); ok {
		at, err := time.Parse(time.RFC3339, text)
		switch {
		case err != nil:
			wrong = append(wrong, invalid("expired-at", "expired-at must be a time such as 2027-01-31T17:52:46Z, or null."))
		case !at.After(a.Now()):
			wrong = append(wrong, invalid("expired-at", "expired-at must lie in the future."))
		}
		t.ExpiresAt = at.Truncate(time.Microsecond)
	}
	if t.Organization == "" {
		if in.Permissions.Present && !in.Permissions.Null {
			wrong = append(wrong, invalid("permissions", "A token of the site admin may do everything: it takes no permissions."))
		}
		return wrong.orNil()
	}
	known := polset.Permissions()
	t.Permissions = []polset.Permission{polset.PermissionRead}
	for _, p := range in.Permissions.Or(nil) {
		if !slices.Contains(known, p) {
			wrong = append(wrong, invalid("permissions", "permissions takes %s.", listed(known)))
			break
		}
		if !slices.Contains(t.Permissions, p) {
			t.Permissions = append(t.Permissions, p)
		}
	}
	return wrong.orNil()
}

func listed(permissions []polset.Permission) string {
	names := make([]string, len(permissions))
	for i, p := range permissions {
		names[i] = string(p)
	}
	return strings.Join(names, ", ")
}

func (a *API) showAuthenticationToken(r *request) error {
	t, err := a.TokenRecords.Token(r.ctx(), r.by, r.Param("authentication_token"))
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(authenticationTokenResource(t, polset.Secret{})))
}

func (a *API) revokeAuthenticationToken(r *request) error {
	if err := a.TokenRecords.RevokeToken(r.ctx(), r.by, r.Param("authentication_token")); err != nil {
		return err
	}
	return r.NoContent(http.StatusNoContent)
}
