package api

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// discovery says where Terraform finds which service.
type discovery struct {
	V2  string `json:"tfe.v2"`
	V21 string `json:"tfe.v2.1"`
	V22 string `json:"tfe.v2.2"`
}

// discover answers Terraform's remote service discovery. The provider insists
// on the plain media type, without a charset.
func (a *API) discover(r *request) error {
	return r.sendAs(echo.MIMEApplicationJSON, http.StatusOK, discovery{prefix + "/", prefix + "/", prefix + "/"})
}

// ping answers the first request of every go-tfe client, which learns the rate
// limit from it.
func (a *API) ping(r *request) error {
	a.nameLimit(r.Response().Header())
	r.Response().Header().Set("TFP-API-Version", "2.6")
	return r.NoContent(http.StatusNoContent)
}
