package api

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/polset/polset"
)

// ProjectReader finds projects.
type ProjectReader interface {
	Project(ctx context.Context, by polset.Principal, id string) (polset.Project, error)
	// Projects returns a page in a stable order, and the count of all that the
	// filter lets through.
	Projects(ctx context.Context, by polset.Principal, organization string, filter polset.ProjectFilter, page polset.Page) ([]polset.Project, int, error)
	// ProjectsByID returns those of the ids that exist, in any order.
	ProjectsByID(ctx context.Context, by polset.Principal, ids []string) ([]polset.Project, error)
}

// ProjectWriter makes, changes and removes projects.
type ProjectWriter interface {
	CreateProject(ctx context.Context, by polset.Principal, draft polset.ProjectDraft) (polset.Project, error)
	UpdateProject(ctx context.Context, by polset.Principal, id string, change polset.ProjectChange) (polset.Project, error)
	// DeleteProject answers polset.ErrConflict for one that has workspaces, and
	// for the default project.
	DeleteProject(ctx context.Context, by polset.Principal, id string) error
}

// ProjectTagger binds tags to projects.
type ProjectTagger interface {
	// BindProjectTags adds tags, or changes their values. More than a project
	// may have are polset.ErrTooMany.
	BindProjectTags(ctx context.Context, by polset.Principal, id string, tags []polset.TagBinding) (polset.Project, error)
}

// Projects is what the project endpoints need.
type Projects interface {
	ProjectReader
	ProjectWriter
	ProjectTagger
}

func (a *API) projectRoutes() []Route {
	const (
		read   = polset.PermissionRead
		manage = polset.PermissionManagePolicies

		projects = prefix + "/organizations/:organization/projects"
		project  = prefix + "/projects/:project"
	)
	return []Route{
		{http.MethodGet, projects, AccessToken, read, a.listProjects, lists("projects", projectAttributes{}, "List projects").
			with("filter[names]", "q", "filter[tagged][n][key]", "filter[tagged][n][value]").including(projectIncludes...)},
		{http.MethodPost, projects, AccessToken, manage, a.createProject, creates("projects", projectShape{}, projectAttributes{}, "Create a project")},
		{http.MethodGet, project, AccessToken, read, a.showProject, shows("projects", projectAttributes{}, "Show a project").including(projectIncludes...)},
		{http.MethodPatch, project, AccessToken, manage, a.updateProject, changes("projects", projectShape{}, projectAttributes{}, "Change a project")},
		{http.MethodDelete, project, AccessToken, manage, a.deleteProject, answers204("Delete a project that has no workspaces")},
		{http.MethodGet, project + "/tag-bindings", AccessToken, read, a.listProjectTags, listsWhole("tag-bindings", tagAttributes{}, "List the tags of a project")},
		{http.MethodPatch, project + "/tag-bindings", AccessToken, manage, a.bindProjectTags, listsWhole("tag-bindings", tagAttributes{}, "Add tags to a project").takingMany("tag-bindings", tagDraft{})},
		{http.MethodGet, project + "/effective-tag-bindings", AccessToken, read, a.listEffectiveProjectTags, listsWhole("effective-tag-bindings", tagAttributes{}, "List the tags that are in effect on a project")},
	}
}

type projectAttributes struct {
	Name                 string              `json:"name"`
	Description          *string             `json:"description"`
	DefaultExecutionMode string              `json:"default-execution-mode"`
	IsUnified            bool                `json:"is-unified"`
	SettingOverwrites    projectOverwrites   `json:"setting-overwrites"`
	Permissions          *projectPermissions `json:"permissions,omitempty"`
	CreatedAt            iso8601             `json:"created-at"`
	projectSettings
}

// projectOverwrites says which settings are the project's own, and not its
// organization's.
type projectOverwrites struct {
	ExecutionMode bool `json:"default-execution-mode"`
	AgentPool     bool `json:"default-agent-pool"`
}

type projectPermissions struct {
	CanRead            bool `json:"can-read"`
	CanUpdate          bool `json:"can-update"`
	CanDestroy         bool `json:"can-destroy"`
	CanCreateWorkspace bool `json:"can-create-workspace"`
}

// projectSettings are what polset only keeps of a project.
type projectSettings struct {
	AutoDestroyActivityDuration idleness `json:"auto-destroy-activity-duration"`
}

func (projectSettings) defaults() projectSettings { return projectSettings{} }

func (s projectSettings) check() problems {
	return s.AutoDestroyActivityDuration.check()
}

type projectDraft struct {
	Name                 optional[string]                 `json:"name"`
	Description          optional[string]                 `json:"description"`
	DefaultExecutionMode optional[string]                 `json:"default-execution-mode"`
	DefaultAgentPoolID   optional[string]                 `json:"default-agent-pool-id"`
	SettingOverwrites    optional[projectOverwritesDraft] `json:"setting-overwrites"`
}

type projectOverwritesDraft struct {
	ExecutionMode optional[bool] `json:"default-execution-mode"`
}

// projectShape is what a request for a project may hold.
type projectShape struct {
	projectDraft
	projectSettings
}

func (d projectDraft) mode() modeDraft {
	return modeDraft{defaultExecutionMode, d.DefaultExecutionMode, d.SettingOverwrites.Value.ExecutionMode, d.DefaultAgentPoolID}
}

var projectIncludes = []string{"effective_tag_bindings"}

// projectResource is a project as it is included in other documents.
func projectResource(p polset.Project) resource {
	_, own := p.Settings[defaultExecutionMode].(string)
	return resource{
		ID:   p.ID,
		Type: "projects",
		Attributes: projectAttributes{
			Name:                 p.Name,
			Description:          orNull(p.Description),
			DefaultExecutionMode: executionMode(p.Settings[defaultExecutionMode], p.OrganizationSettings[defaultExecutionMode]),
			SettingOverwrites:    projectOverwrites{ExecutionMode: own, AgentPool: own},
			CreatedAt:            iso8601(p.CreatedAt),
			projectSettings:      shown[projectSettings](p.Settings),
		},
		Relationships: map[string]relation{
			"organization":       toOne("organizations", p.Organization),
			"default-agent-pool": toOne("agent-pools", ""),
			"tag-bindings":       toMany("tag-bindings", tagIDs(p.Tags)...),
		},
		Links: map[string]string{"self": prefix + "/projects/" + p.ID},
	}
}

// shownProject is a project as its own endpoints show it, with what the
// principal may do.
func shownProject(by polset.Principal, p polset.Project, want includes) (shown resource, included []resource) {
	res := projectResource(p)
	attributes := res.Attributes.(projectAttributes)
	manages := by.Can(polset.PermissionManagePolicies)
	attributes.Permissions = &projectPermissions{CanRead: true, CanUpdate: manages, CanDestroy: manages && !p.Default, CanCreateWorkspace: manages}
	res.Attributes = attributes
	if want["effective_tag_bindings"] {
		ids := make([]string, 0, len(p.Tags))
		for _, t := range p.Tags {
			tag := effectiveTagResource("", t)
			included, ids = append(included, tag), append(ids, tag.ID)
		}
		res.Relationships["effective-tag-bindings"] = toMany("effective-tag-bindings", ids...)
	}
	return res, included
}

func (a *API) listProjects(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	want, err := r.include(projectIncludes...)
	if err != nil {
		return err
	}
	filter, err := r.projectFilter()
	if err != nil {
		return err
	}
	projects, total, err := a.Projects.Projects(r.ctx(), r.by, r.Param("organization"), filter, page)
	if err != nil {
		return err
	}
	var data, included []resource
	for _, p := range projects {
		res, more := shownProject(r.by, p, want)
		data, included = append(data, res), append(included, more...)
	}
	return r.send(http.StatusOK, a.list(r, data, page, total, included...))
}

func (r *request) projectFilter() (filter polset.ProjectFilter, err error) {
	filter.Search = r.query.Get("q")
	if len(filter.Search) > maxName {
		return filter, badParameter("q", "q must not exceed %d bytes.", maxName)
	}
	for _, name := range strings.Split(r.query.Get("filter[names]"), ",") {
		if name != "" {
			filter.Names = append(filter.Names, name)
		}
	}
	if len(filter.Names) > maxPageSize {
		return filter, badParameter("filter[names]", "filter[names] takes at most %d names.", maxPageSize)
	}
	filter.Tags, err = r.taggedFilter()
	return filter, err
}

func (a *API) showProject(r *request) error {
	want, err := r.include(projectIncludes...)
	if err != nil {
		return err
	}
	project, err := a.Projects.Project(r.ctx(), r.by, r.Param("project"))
	if err != nil {
		return err
	}
	return r.sendProject(http.StatusOK, project, want)
}

func (r *request) sendProject(status int, p polset.Project, want includes) error {
	res, included := shownProject(r.by, p, want)
	return r.send(status, single(res, included...))
}

func (a *API) createProject(r *request) error {
	// Before the body is judged, as for every tenant.
	org, err := a.Organizations.Organization(r.ctx(), r.by, r.Param("organization"))
	if err != nil {
		return err
	}
	d, err := decode[keeping[projectDraft, projectSettings]](r, "projects", "")
	if err != nil {
		return err
	}
	in := d.Attributes
	draft := polset.ProjectDraft{
		Organization: org.Name, Name: in.own.Name.Or(""), Description: in.own.Description.Or(""),
	}
	wrong := append(checkProject(&draft.Name, &draft.Description), in.wrong...)
	wrong = append(wrong, in.own.mode().keepIn(in.kept, executionMode(org.Settings[defaultExecutionMode]))...)
	tags, problems := relatedTags(d.Relationships, "tag-bindings", "tag-bindings")
	if err := append(wrong, problems...).orNil(); err != nil {
		return err
	}
	if tags != nil {
		draft.TagBindings = *tags
	}
	draft.Settings = in.set()
	project, err := a.Projects.CreateProject(r.ctx(), r.by, draft)
	if err != nil {
		return tooManyTags(nameTaken(err))
	}
	return r.sendProject(http.StatusCreated, project, nil)
}

func (a *API) updateProject(r *request) error {
	now, err := a.Projects.Project(r.ctx(), r.by, r.Param("project"))
	if err != nil {
		return err
	}
	d, err := decode[keeping[projectDraft, projectSettings]](r, "projects", now.ID)
	if err != nil {
		return err
	}
	in := d.Attributes
	change := polset.ProjectChange{Name: in.own.Name.given(), Description: in.own.Description.given(), Settings: in.kept}
	wrong := append(checkProject(change.Name, change.Description), in.wrong...)
	wrong = append(wrong, in.own.mode().keepIn(in.kept, executionMode(now.Settings[defaultExecutionMode], now.OrganizationSettings[defaultExecutionMode]))...)
	tags, problems := relatedTags(d.Relationships, "tag-bindings", "tag-bindings")
	if err := append(wrong, problems...).orNil(); err != nil {
		return err
	}
	change.TagBindings = tags
	project, err := a.Projects.UpdateProject(r.ctx(), r.by, now.ID, change)
	if err != nil {
		return tooManyTags(nameTaken(err))
	}
	return r.sendProject(http.StatusOK, project, nil)
}

func (a *API) deleteProject(r *request) error {
	err := a.Projects.DeleteProject(r.ctx(), r.by, r.Param("project"))
	if errors.Is(err, polset.ErrConflict) {
		return conflict("A project that has workspaces, and the default project of an organization, cannot be deleted. Move or delete the workspaces first.")
	}
	if err != nil {
		return err
	}
	return r.NoContent(http.StatusNoContent)
}

func (a *API) listProjectTags(r *request) error {
	project, err := a.Projects.Project(r.ctx(), r.by, r.Param("project"))
	if err != nil {
		return err
	}
	return a.sendTags(r, project.Tags, tagResource)
}

func (a *API) listEffectiveProjectTags(r *request) error {
	project, err := a.Projects.Project(r.ctx(), r.by, r.Param("project"))
	if err != nil {
		return err
	}
	return a.sendTags(r, project.Tags, func(t polset.TagBinding) resource { return effectiveTagResource("", t) })
}

func (a *API) bindProjectTags(r *request) error {
	id := r.Param("project")
	if _, err := a.Projects.Project(r.ctx(), r.by, id); err != nil {
		return err
	}
	tags, err := decodeTags(r, "tag-bindings", false)
	if err != nil {
		return err
	}
	project, err := a.Projects.BindProjectTags(r.ctx(), r.by, id, tags)
	if err != nil {
		return tooManyTags(err)
	}
	return a.sendTags(r, project.Tags, tagResource)
}

const maxProjectName = 40

var validProjectName = regexp.MustCompile(`^[A-Za-z0-9_-]([A-Za-z0-9 _-]*[A-Za-z0-9_-])?$`)

// checkProject judges the texts that are given; nil is left alone.
func checkProject(name, description *string) problems {
	var wrong problems
	if name != nil && (len(*name) > maxProjectName || !validProjectName.MatchString(*name)) {
		wrong = append(wrong, invalid("name", "Name must be 1 to %d letters, digits, spaces, hyphens and underscores, without spaces around it.", maxProjectName))
	}
	return append(wrong, checkDescription(description)...)
}
