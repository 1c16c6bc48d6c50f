package api

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/polset/polset"
)

// installationAttributes is an installation as HCP Terraform shows it,
// followed by what tells why a repository may be out of its reach.
type installationAttributes struct {
	Name             string `json:"name"` // the login of the account
	InstallationID   int64  `json:"installation-id"`
	IconURL          string `json:"icon-url"`
	InstallationType string `json:"installation-type"`
	InstallationURL  string `json:"installation-url"`

	Suspended           bool   `json:"suspended"`
	Deleted             bool   `json:"deleted"`
	RepositorySelection string `json:"repository-selection"`
}

func (a *API) installationRoutes() []Route {
	const (
		read   = polset.PermissionRead
		manage = polset.PermissionManagePolicies

		org = prefix + "/organizations/:organization"
		// The plural and the singular are HCP Terraform's, and so are both paths.
		installations = prefix + "/github-app/installations"
		installation  = prefix + "/github-app/installation/:installation"
		again         = prefix + "/github-app-installations"
	)
	return []Route{
		{http.MethodGet, installations, AccessToken, read, a.listInstallations, lists("github-app-installations", installationAttributes{}, "List installations of the GitHub App").with("filter[name]", "filter[installation_id]")},
		{http.MethodGet, again, AccessToken, read, a.listInstallations, lists("github-app-installations", installationAttributes{}, "List installations of the GitHub App").with("filter[name]", "filter[installation_id]")},
		{http.MethodGet, org + "/github-app-installations", AccessToken, read, a.listInstallationsOf, lists("github-app-installations", installationAttributes{}, "List the installations that an organization may use").with("filter[name]", "filter[installation_id]")},
		{http.MethodGet, installation, AccessToken, read, a.showInstallation, shows("github-app-installations", installationAttributes{}, "Show an installation of the GitHub App")},
		{http.MethodPost, installation + "/relationships/organizations", AccessSiteAdmin, "", a.bindOrganizations, relates("organizations", "Let organizations use an installation")},
		{http.MethodDelete, installation + "/relationships/organizations", AccessSiteAdmin, "", a.unbindOrganizations, relates("organizations", "Take an installation from organizations")},
		{http.MethodPost, org + "/github-app/setup-links", AccessToken, manage, a.createSetupLink, shows("github-app-setup-links", setupLinkAttributes{}, "Make a link that installs the GitHub App").answering(http.StatusCreated)},
	}
}

func installationResource(by polset.Principal, i polset.Installation) resource {
	res := resource{
		ID:   i.ID,
		Type: "github-app-installations",
		Attributes: installationAttributes{
			Name:                i.Account,
			InstallationID:      i.ExternalID,
			IconURL:             i.IconURL,
			InstallationType:    i.AccountType,
			InstallationURL:     i.HTMLURL,
			Suspended:           !i.SuspendedAt.IsZero(),
			Deleted:             !i.DeletedAt.IsZero(),
			RepositorySelection: i.Selection,
		},
		Links: map[string]string{"self": prefix + "/github-app/installation/" + i.ID},
	}
	// Who else uses an installation is none of an organization's business.
	if by.SiteAdmin() {
		res.Relationships = map[string]relation{"organizations": toMany("organizations", i.Organizations...)}
	}
	return res
}

func (a *API) listInstallations(r *request) error { return a.sendInstallations(r, r.by) }

// listInstallationsOf shows what the organization sees, also to a site admin.
func (a *API) listInstallationsOf(r *request) error {
	org, err := a.Organizations.Organization(r.ctx(), r.by, r.Param("organization"))
	if err != nil {
		return err
	}
	as := r.by
	as.OrganizationID = org.ID
	return a.sendInstallations(r, as)
}

func (a *API) sendInstallations(r *request, as polset.Principal) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	filter, err := r.installationFilter()
	if err != nil {
		return err
	}
	installations, total, err := a.Installations.Installations(r.ctx(), as, filter, page)
	if err != nil {
		return err
	}
	var data []resource
	for _, i := range installations {
		data = append(data, installationResource(as, i))
	}
	return r.send(http.StatusOK, a.list(r, data, page, total))
}

func (r *request) installationFilter() (polset.InstallationFilter, error) {
	filter := polset.InstallationFilter{Account: r.query.Get("filter[name]")}
	if len(filter.Account) > maxName {
		return filter, badParameter("filter[name]", "filter[name] must not exceed %d bytes.", maxName)
	}
	if text := r.query.Get("filter[installation_id]"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n <= 0 {
			return filter, badParameter("filter[installation_id]", "filter[installation_id] takes GitHub's number of an installation.")
		}
		filter.ExternalID = n
	}
	return filter, nil
}

func (a *API) showInstallation(r *request) error {
	i, err := a.Installations.Installation(r.ctx(), r.by, r.Param("installation"))
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(installationResource(r.by, i)))
}

// bindOrganizations lets organizations use an installation. It adds to those
// that may.
func (a *API) bindOrganizations(r *request) error {
	i, names, err := a.binding(r)
	if err != nil {
		return err
	}
	if !i.DeletedAt.IsZero() {
		return conflict("The GitHub App was uninstalled from %s. Install it there again first.", i.Account)
	}
	for _, name := range names {
		if err := a.Installations.BindInstallation(r.ctx(), r.by, i.ID, name); err != nil {
			return fmt.Errorf("bind installation %s to %s: %w", i.ID, name, err)
		}
	}
	return r.NoContent(http.StatusNoContent)
}

// unbindOrganizations takes an installation from organizations. One that
// could not use it is none the worse.
func (a *API) unbindOrganizations(r *request) error {
	i, names, err := a.binding(r)
	if err != nil {
		return err
	}
	for _, name := range names {
		err := a.Installations.UnbindInstallation(r.ctx(), r.by, i.ID, name)
		if err != nil && !errors.Is(err, polset.ErrNotFound) {
			return fmt.Errorf("unbind installation %s from %s: %w", i.ID, name, err)
		}
	}
	return r.NoContent(http.StatusNoContent)
}

// binding reads which organizations the request is about. All of them are
// looked up before the first is changed.
func (a *API) binding(r *request) (polset.Installation, []string, error) {
	i, err := a.Installations.Installation(r.ctx(), r.by, r.Param("installation"))
	if err != nil {
		return i, nil, err
	}
	names, err := decodeLinkage(r, "organizations")
	if err != nil {
		return i, nil, err
	}
	var wrong problems
	for n, name := range names {
		switch _, err := a.Organizations.Organization(r.ctx(), r.by, name); {
		case errors.Is(err, polset.ErrNotFound):
			wrong = append(wrong, problem{
				Status:  http.StatusUnprocessableEntity,
				Title:   "invalid relationship",
				Detail:  fmt.Sprintf("data.%d.id names no organization.", n),
				Pointer: fmt.Sprintf("/data/%d/id", n),
			})
		case err != nil:
			return i, nil, err
		}
	}
	return i, names, wrong.orNil()
}
