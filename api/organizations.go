package api

import (
	"net/http"
	"strings"

	"github.com/polset/polset"
)

func (a *API) organizationRoutes() []Route {
	const org = prefix + "/organizations/:organization"
	return []Route{
		{http.MethodGet, prefix + "/organizations", AccessToken, polset.PermissionRead, a.listOrganizations, lists("organizations", organizationAttributes{}, "List organizations")},
		{http.MethodPost, prefix + "/organizations", AccessSiteAdmin, "", a.createOrganization, creates("organizations", organizationShape{}, organizationAttributes{}, "Create an organization")},
		{http.MethodGet, org, AccessToken, polset.PermissionRead, a.showOrganization, shows("organizations", organizationAttributes{}, "Show an organization").including("default_project")},
		{http.MethodPatch, org, AccessSiteAdmin, "", a.updateOrganization, changes("organizations", organizationShape{}, organizationAttributes{}, "Change an organization")},
		{http.MethodDelete, org, AccessSiteAdmin, "", a.deleteOrganization, answers204("Delete an organization with all that it owns")},
		{http.MethodGet, org + "/entitlement-set", AccessToken, polset.PermissionRead, a.showEntitlements, shows("entitlement-sets", entitlements{}, "Show what polset does for an organization")},
		{http.MethodGet, org + "/stacks", AccessToken, polset.PermissionRead, a.listStacks, lists("stacks", struct{}{}, "List stacks, of which polset has none")},
	}
}

// An organization is identified by its name; HCP Terraform shows the id that
// is never reused as external-id.
type organizationAttributes struct {
	Name        string                  `json:"name"`
	ExternalID  string                  `json:"external-id"`
	Email       *string                 `json:"email"`
	CreatedAt   iso8601                 `json:"created-at"`
	Permissions organizationPermissions `json:"permissions"`
	organizationSettings

	IsUnified           bool `json:"is-unified"`
	SAMLEnabled         bool `json:"saml-enabled"`
	TwoFactorConformant bool `json:"two-factor-conformant"`
}

type organizationPermissions struct {
	CanCreateProject   bool `json:"can-create-project"`
	CanCreateWorkspace bool `json:"can-create-workspace"`
	CanDestroy         bool `json:"can-destroy"`
	CanTraverse        bool `json:"can-traverse"`
	CanUpdate          bool `json:"can-update"`
	CanUpdateOAuth     bool `json:"can-update-oauth"`
	CanUpdateSentinel  bool `json:"can-update-sentinel"`
}

// organizationSettings are what polset only keeps of an organization, except
// for the execution mode, which its projects and workspaces show.
type organizationSettings struct {
	AggregatedCommitStatusEnabled    bool    `json:"aggregated-commit-status-enabled"`
	AllowForceDeleteWorkspaces       bool    `json:"allow-force-delete-workspaces"`
	AssessmentsEnforced              bool    `json:"assessments-enforced"`
	CollaboratorAuthPolicy           string  `json:"collaborator-auth-policy"`
	CostEstimationEnabled            bool    `json:"cost-estimation-enabled"`
	DefaultExecutionMode             string  `json:"default-execution-mode"`
	EnforceHYOK                      bool    `json:"enforce-hyok"`
	MaxTTLEnabled                    bool    `json:"max-ttl-enabled"`
	OwnersTeamSAMLRoleID             *string `json:"owners-team-saml-role-id"`
	RegistryMonorepoSupportEnabled   bool    `json:"registry-monorepo-support-enabled"`
	SendPassingStatuses              bool    `json:"send-passing-statuses-for-untriggered-speculative-plans"`
	SessionRemember                  *int32  `json:"session-remember"`
	SessionTimeout                   *int32  `json:"session-timeout"`
	SpeculativePlanManagementEnabled bool    `json:"speculative-plan-management-enabled"`
	StacksEnabled                    bool    `json:"stacks-enabled"`
	UserTokensEnabled                bool    `json:"user-tokens-enabled"`
}

func (organizationSettings) defaults() organizationSettings {
	return organizationSettings{
		CollaboratorAuthPolicy: "password", DefaultExecutionMode: executionRemote,
		AggregatedCommitStatusEnabled: true, SpeculativePlanManagementEnabled: true, UserTokensEnabled: true,
	}
}

func (s organizationSettings) check() problems {
	wrong := checkSettings(map[string]string{"owners-team-saml-role-id": orZero(s.OwnersTeamSAMLRoleID)})
	if s.CollaboratorAuthPolicy != "password" && s.CollaboratorAuthPolicy != "two_factor_mandatory" {
		wrong = append(wrong, invalid("collaborator-auth-policy", "collaborator-auth-policy must be password or two_factor_mandatory."))
	}
	for name, minutes := range map[string]*int32{"session-remember": s.SessionRemember, "session-timeout": s.SessionTimeout} {
		if minutes != nil && *minutes < 1 {
			wrong = append(wrong, invalid(name, "%s must be a number of minutes, at least 1.", name))
		}
	}
	return append(wrong, checkExecutionMode(defaultExecutionMode, s.DefaultExecutionMode)...)
}

type organizationDraft struct {
	Name  optional[string] `json:"name"`
	Email optional[string] `json:"email"`
}

// organizationShape is what a request for an organization may hold.
type organizationShape struct {
	organizationDraft
	organizationSettings
}

func organizationResource(by polset.Principal, org polset.Organization) resource {
	manages := by.Can(polset.PermissionManagePolicies)
	return resource{
		ID:   org.Name,
		Type: "organizations",
		Attributes: organizationAttributes{
			Name:       org.Name,
			ExternalID: org.ID,
			Email:      orNull(org.Email),
			CreatedAt:  iso8601(org.CreatedAt),
			Permissions: organizationPermissions{
				CanCreateProject: manages, CanCreateWorkspace: manages, CanUpdateOAuth: manages, CanUpdateSentinel: manages,
				CanDestroy: by.SiteAdmin(), CanUpdate: by.SiteAdmin(), CanTraverse: true,
			},
			organizationSettings: shown[organizationSettings](org.Settings),
			TwoFactorConformant:  true,
		},
		Relationships: map[string]relation{
			"default-project":    toOne("projects", org.DefaultProjectID),
			"default-agent-pool": toOne("agent-pools", ""),
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
	want, err := r.include("default_project")
	if err != nil {
		return err
	}
	org, err := a.Organizations.Organization(r.ctx(), r.by, r.Param("organization"))
	if err != nil {
		return err
	}
	var included []resource
	if want["default_project"] {
		project, err := a.Projects.Project(r.ctx(), r.by, org.DefaultProjectID)
		if err != nil {
			return err
		}
		included = append(included, projectResource(project))
	}
	return r.send(http.StatusOK, single(organizationResource(r.by, org), included...))
}

func (a *API) createOrganization(r *request) error {
	d, err := decode[keeping[organizationDraft, organizationSettings]](r, "organizations", "")
	if err != nil {
		return err
	}
	in := d.Attributes
	name, email := in.own.Name.Or(""), in.own.Email.Or("")
	wrong := append(checkOrganization(&name, &email), in.wrong...)
	wrong = append(wrong, noAgentPool(d.Relationships)...)
	if err := wrong.orNil(); err != nil {
		return err
	}
	org, err := a.Organizations.CreateOrganization(r.ctx(), r.by, polset.Organization{Name: name, Email: email, Settings: in.set()})
	if err != nil {
		return nameTaken(err)
	}
	return r.send(http.StatusCreated, single(organizationResource(r.by, org)))
}

func (a *API) updateOrganization(r *request) error {
	name := r.Param("organization")
	if _, err := a.Organizations.Organization(r.ctx(), r.by, name); err != nil {
		return err
	}
	d, err := decode[keeping[organizationDraft, organizationSettings]](r, "organizations", name)
	if err != nil {
		return err
	}
	in := d.Attributes
	change := polset.OrganizationChange{Name: in.own.Name.given(), Email: in.own.Email.given(), Settings: in.kept}
	wrong := append(checkOrganization(change.Name, change.Email), in.wrong...)
	wrong = append(wrong, noAgentPool(d.Relationships)...)
	if err := wrong.orNil(); err != nil {
		return err
	}
	org, err := a.Organizations.UpdateOrganization(r.ctx(), r.by, name, change)
	if err != nil {
		return nameTaken(err)
	}
	return r.send(http.StatusOK, single(organizationResource(r.by, org)))
}

// checkOrganization judges the texts that are given; nil is left alone.
func checkOrganization(name, email *string) problems {
	wrong := checkName(name, maxOrganizationName)
	if email != nil && *email != "" && (len(*email) > 254 || !strings.Contains(*email, "@")) {
		wrong = append(wrong, invalid("email", "Email must be an e-mail address."))
	}
	return wrong
}

func (a *API) deleteOrganization(r *request) error {
	if err := a.Organizations.DeleteOrganization(r.ctx(), r.by, r.Param("organization")); err != nil {
		return err
	}
	return r.NoContent(http.StatusNoContent)
}

// entitlements say what polset does for an organization, in HCP Terraform's
// words: it keeps policy sets and guards runs, and has no Terraform of its own.
type entitlements struct {
	Agents                     bool `json:"agents"`
	AuditLogging               bool `json:"audit-logging"`
	CostEstimation             bool `json:"cost-estimation"`
	GlobalRunTasks             bool `json:"global-run-tasks"`
	Operations                 bool `json:"operations"`
	PolicyEnforcement          bool `json:"policy-enforcement"`
	PrivateModuleRegistry      bool `json:"private-module-registry"`
	PrivateRunTasks            bool `json:"private-run-tasks"`
	RunTasks                   bool `json:"run-tasks"`
	Sentinel                   bool `json:"sentinel"`
	SSO                        bool `json:"sso"`
	StateStorage               bool `json:"state-storage"`
	Teams                      bool `json:"teams"`
	VCSIntegrations            bool `json:"vcs-integrations"`
	VersionedPolicySet         bool `json:"versioned-policy-set"`
	WaypointActions            bool `json:"waypoint-actions"`
	WaypointTemplatesAndAddons bool `json:"waypoint-templates-and-addons"`
}

func (a *API) showEntitlements(r *request) error {
	org, err := a.Organizations.Organization(r.ctx(), r.by, r.Param("organization"))
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(resource{
		ID:   org.ID,
		Type: "entitlement-sets",
		Attributes: entitlements{
			AuditLogging: true, PolicyEnforcement: true, Sentinel: true, VCSIntegrations: true, VersionedPolicySet: true,
		},
		Links: map[string]string{"self": prefix + "/organizations/" + org.Name + "/entitlement-set"},
	}))
}

// listStacks answers clients that look for stacks before they delete an
// organization.
func (a *API) listStacks(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	if _, err := a.Organizations.Organization(r.ctx(), r.by, r.Param("organization")); err != nil {
		return err
	}
	return r.send(http.StatusOK, a.list(r, nil, page, 0))
}

const maxOrganizationName = 63
