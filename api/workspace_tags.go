package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/polset/polset"
)

// WorkspaceTagger binds tags to workspaces.
type WorkspaceTagger interface {
	// EffectiveTags returns the tags that are in effect on each of the
	// workspaces, by the workspaces' ids.
	EffectiveTags(ctx context.Context, workspaces []polset.Workspace) (map[string][]polset.TagBinding, error)
	// BindWorkspaceTags adds tags, or changes their values. More than a
	// workspace may have are polset.ErrTooMany.
	BindWorkspaceTags(ctx context.Context, by polset.Principal, id string, tags []polset.TagBinding) (polset.Workspace, error)
	// UnbindWorkspaceTags takes tags away, by their keys or else their ids.
	UnbindWorkspaceTags(ctx context.Context, by polset.Principal, id string, tags []polset.TagBinding) (polset.Workspace, error)
}

func (a *API) listWorkspaceTags(r *request) error {
	w, err := a.workspace(r)
	if err != nil {
		return err
	}
	return a.sendTags(r, w.Tags, tagResource)
}

func (a *API) listEffectiveWorkspaceTags(r *request) error {
	w, err := a.workspace(r)
	if err != nil {
		return err
	}
	effective, err := a.Workspaces.EffectiveTags(r.ctx(), []polset.Workspace{w})
	if err != nil {
		return err
	}
	return a.sendTags(r, effective[w.ID], func(t polset.TagBinding) resource { return effectiveTagResource(w.ID, t) })
}

func (a *API) bindWorkspaceTags(r *request) error {
	w, err := a.workspace(r)
	if err != nil {
		return err
	}
	tags, err := decodeTags(r, "tag-bindings", false)
	if err != nil {
		return err
	}
	if w, err = a.Workspaces.BindWorkspaceTags(r.ctx(), r.by, w.ID, tags); err != nil {
		return tooManyTags(err)
	}
	return a.sendTags(r, w.Tags, tagResource)
}

// Tags that are keys only, in the shape that they had before there were values.

func tagNameResource(t polset.TagBinding) resource {
	return resource{ID: t.ID, Type: "tags", Attributes: tagNameAttributes{Name: t.Key}}
}

func (a *API) listTagNames(r *request) error {
	w, err := a.workspace(r)
	if err != nil {
		return err
	}
	names := slices.DeleteFunc(w.Tags, func(t polset.TagBinding) bool { return t.Value != "" })
	return a.sendTags(r, names, tagNameResource)
}

func (a *API) addTagNames(r *request) error {
	w, err := a.workspace(r)
	if err != nil {
		return err
	}
	tags, err := decodeTags(r, "tags", false)
	if err != nil {
		return err
	}
	if _, err := a.Workspaces.BindWorkspaceTags(r.ctx(), r.by, w.ID, tags); err != nil {
		return tooManyTags(err)
	}
	return r.NoContent(http.StatusNoContent)
}

func (a *API) removeTagNames(r *request) error {
	w, err := a.workspace(r)
	if err != nil {
		return err
	}
	tags, err := decodeTags(r, "tags", true)
	if err != nil {
		return err
	}
	if _, err := a.Workspaces.UnbindWorkspaceTags(r.ctx(), r.by, w.ID, tags); err != nil {
		return err
	}
	return r.NoContent(http.StatusNoContent)
}
