package api

import (
	"net/http"

	"github.com/polset/polset"
)

// HashiCorp's description of the API, and with it version 2 of go-tfe and
// today's Terraform provider, has the tags of workspaces and projects as a
// relationship; version 1 of go-tfe has them beside it.

func (a *API) tagRelationshipRoutes() []Route {
	const (
		read   = polset.PermissionRead
		manage = polset.PermissionManagePolicies

		workspace = prefix + "/workspaces/:workspace/relationships/tag-bindings"
		project   = prefix + "/projects/:project/relationships/tag-bindings"
	)
	return []Route{
		{http.MethodGet, workspace, AccessToken, read, a.listWorkspaceTags, listsWhole("tag-bindings", tagAttributes{}, "List the tags of a workspace")},
		{http.MethodPost, workspace, AccessToken, manage, a.addWorkspaceTags, answers204("Add tags to a workspace").takingMany("tag-bindings", tagDraft{})},
		{http.MethodPatch, workspace, AccessToken, manage, a.replaceWorkspaceTags, answers204("Give a workspace these tags and no others").takingMany("tag-bindings", tagDraft{})},
		{http.MethodGet, project, AccessToken, read, a.listProjectTags, listsWhole("tag-bindings", tagAttributes{}, "List the tags of a project")},
		{http.MethodPost, project, AccessToken, manage, a.addProjectTags, answers204("Add tags to a project").takingMany("tag-bindings", tagDraft{})},
		{http.MethodPatch, project, AccessToken, manage, a.replaceProjectTags, answers204("Give a project these tags and no others").takingMany("tag-bindings", tagDraft{})},
	}
}

func (a *API) addWorkspaceTags(r *request) error {
	return a.changeTags(r, a.workspaceID, func(id string, tags []polset.TagBinding) error {
		_, err := a.Workspaces.BindWorkspaceTags(r.ctx(), r.by, id, tags)
		return err
	})
}

func (a *API) replaceWorkspaceTags(r *request) error {
	return a.changeTags(r, a.workspaceID, func(id string, tags []polset.TagBinding) error {
		_, err := a.Workspaces.UpdateWorkspace(r.ctx(), r.by, id, polset.WorkspaceChange{TagBindings: &tags})
		return err
	})
}

func (a *API) addProjectTags(r *request) error {
	return a.changeTags(r, a.projectID, func(id string, tags []polset.TagBinding) error {
		_, err := a.Projects.BindProjectTags(r.ctx(), r.by, id, tags)
		return err
	})
}

func (a *API) replaceProjectTags(r *request) error {
	return a.changeTags(r, a.projectID, func(id string, tags []polset.TagBinding) error {
		_, err := a.Projects.UpdateProject(r.ctx(), r.by, id, polset.ProjectChange{TagBindings: &tags})
		return err
	})
}

// changeTags looks for what is tagged before it judges the tags, so that a
// stranger learns nothing from the answer.
func (a *API) changeTags(r *request, tagged func(*request) (string, error), change func(id string, tags []polset.TagBinding) error) error {
	id, err := tagged(r)
	if err != nil {
		return err
	}
	tags, err := decodeTags(r, "tag-bindings", false)
	if err != nil {
		return err
	}
	if err := change(id, tags); err != nil {
		return tooManyTags(err)
	}
	return r.NoContent(http.StatusNoContent)
}

func (a *API) workspaceID(r *request) (string, error) {
	w, err := a.workspace(r)
	return w.ID, err
}

func (a *API) projectID(r *request) (string, error) {
	p, err := a.Projects.Project(r.ctx(), r.by, r.Param("project"))
	return p.ID, err
}
