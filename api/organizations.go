package api

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/polset/polset"
)

// An organization is identified by its name; HCP Terraform shows the id that
// is never reused as external-id.
type organizationAttributes struct {
	Name        string                  `json:"name"`
	ExternalID  string                  `json:"external-id"`
	Email       *string                 `json:"email"`
	CreatedAt   iso8601                 `json:"created-at"`
	Permissions organizationPermissions `json:"permissions"`
}

type organizationPermissions struct {
	CanDestroy  bool `json:"can-destroy"`
	CanTraverse bool `json:"can-traverse"`
}

type organizationDraft struct {
	Name  optional[string] `json:"name"`
	Email optional[string] `json:"email"`
}

func organizationResource(by polset.Principal, org polset.Organization) resource {
	return resource{
		ID:   org.Name,
		Type: "organizations",
		Attributes: organizationAttributes{
			Name:       org.Name,
			ExternalID: org.ID,
			Email:      orNull(org.Email),
			CreatedAt:  iso8601(org.CreatedAt),
			Permissions: organizationPermissions{
				CanDestroy:  by.SiteAdmin(),
				CanTraverse: true,
			},
		},
		Relationships: map[string]relation{
			"default-project": toOne("projects", org.DefaultProjectID),
		},
		Links: map[string]string{"self": prefix + "/organizations/" + org.Name},
	}
}

func (a *API) listOrganizations(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	orgs, total, err := a.Organizations.Organizations(r.ctx(), r.by, page)
	if err != nil {
		return err
	}
	var data []resource
	for _, org := range orgs {
		data = append(data, organizationResource(r.by, org))
	}
	return r.send(http.StatusOK, a.list(r, data, page, total))
}

func (a *API) showOrganization(r *request) error {
	org, err := a.Organizations.Organization(r.ctx(), r.by, r.Param("organization"))
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(organizationResource(r.by, org)))
}

func (a *API) createOrganization(r *request) error {
	d, err := decode[organizationDraft](r, "organizations", "")
	if err != nil {
		return err
	}
	var wrong problems
	name := d.Attributes.Name.Or("")
	if len(name) > maxOrganizationName || !validName.MatchString(name) {
		wrong = append(wrong, invalid("name", "Name must be 1 to %d letters, digits, hyphens and underscores.", maxOrganizationName))
	}
	email := d.Attributes.Email.Or("")
	if email != "" && (len(email) > 254 || !strings.Contains(email, "@")) {
		wrong = append(wrong, invalid("email", "Email must be an e-mail address."))
	}
	if err := wrong.orNil(); err != nil {
		return err
	}
	org, err := a.Organizations.CreateOrganization(r.ctx(), r.by, polset.Organization{Name: name, Email: email})
	if err != nil {
		return nameTaken(err)
	}
	return r.send(http.StatusCreated, single(organizationResource(r.by, org)))
}

func (a *API) deleteOrganization(r *request) error {
	if err := a.Organizations.DeleteOrganization(r.ctx(), r.by, r.Param("organization")); err != nil {
		return err
	}
	return r.NoContent(http.StatusNoContent)
}

const (
	maxOrganizationName = 63
	maxName             = 128
)

var validName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
