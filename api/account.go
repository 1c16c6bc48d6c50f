package api

import (
	"net/http"

	"github.com/polset/polset"
)

func (a *API) accountRoutes() []Route {
	return []Route{
		{http.MethodGet, prefix + "/account/details", AccessToken, polset.PermissionRead, a.showAccount, shows("users", userAttributes{}, "Show who asks")},
	}
}

// userAttributes are those of who holds a token. polset has no users: a token
// stands for nobody but itself, which HCP Terraform calls a service account.
type userAttributes struct {
	Username         string          `json:"username"`
	Email            *string         `json:"email"`
	AvatarURL        *string         `json:"avatar-url"`
	IsServiceAccount bool            `json:"is-service-account"`
	IsSiteAdmin      bool            `json:"is-site-admin"`
	IsAdmin          bool            `json:"is-admin"`
	V2Only           bool            `json:"v2-only"`
	Permissions      userPermissions `json:"permissions"`
}

type userPermissions struct {
	CanCreateOrganizations bool `json:"can-create-organizations"`
	CanChangeEmail         bool `json:"can-change-email"`
	CanChangeUsername      bool `json:"can-change-username"`
	CanManageUserTokens    bool `json:"can-manage-user-tokens"`
}

func (a *API) showAccount(r *request) error {
	return r.send(http.StatusOK, single(resource{
		ID:   "user-" + r.by.Actor,
		Type: "users",
		Attributes: userAttributes{
			Username: r.by.Actor, IsServiceAccount: true, IsSiteAdmin: r.by.SiteAdmin(), IsAdmin: r.by.SiteAdmin(),
			Permissions: userPermissions{CanCreateOrganizations: r.by.SiteAdmin()},
		},
		Links: map[string]string{"self": prefix + "/account/details"},
	}))
}
