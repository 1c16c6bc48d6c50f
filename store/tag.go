package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// taggedWorkspace is the condition that a tag is in effect on a workspace: its
// own, or its project's where it does not bind the key itself. An empty value
// stands for any.
const taggedWorkspace = `EXISTS (SELECT 1 FROM tag_bindings WHERE tag_key = ? AND ? IN ('', tag_value)
	AND (tag_bindings.workspace_id = workspaces.id OR (tag_bindings.project_id = workspaces.project_id AND NOT EXISTS (
		SELECT 1 FROM tag_bindings AS own WHERE own.workspace_id = workspaces.id AND own.tag_key = tag_bindings.tag_key))))`

// A tagged is what tags are bound to: a workspace or a project.
type tagged struct{ workspaceID, projectID string }

func ofWorkspace(id string) tagged { return tagged{workspaceID: id} }

func ofProject(id string) tagged { return tagged{projectID: id} }

func (t tagged) id() string { return t.workspaceID + t.projectID }

// tagsOf reads the tags that are bound to a workspace or a project, by key.
func tagsOf(ctx context.Context, q *rows.Queries, to tagged) ([]polset.TagBinding, error) {
	tags := []polset.TagBinding{}
	add := func(key, value string) {
		tags = append(tags, polset.TagBinding{ID: tagID(to, key), Key: key, Value: value})
	}
	if to.workspaceID != "" {
		list, err := q.TagsOfWorkspace(ctx, nullString(to.workspaceID))
		if err != nil {
			return nil, fmt.Errorf("read tags of %s: %w", to.id(), err)
		}
		for _, r := range list {
			add(r.TagKey, r.TagValue)
		}
	} else {
		list, err := q.TagsOfProject(ctx, nullString(to.projectID))
		if err != nil {
			return nil, fmt.Errorf("read tags of %s: %w", to.id(), err)
		}
		for _, r := range list {
			add(r.TagKey, r.TagValue)
		}
	}
	slices.SortFunc(tags, byKey)
	return tags, nil
}

// tagsOfAll is tagsOf for many, by what they are bound to; column says whether
// those are workspaces or projects.
func (s *Store) tagsOfAll(ctx context.Context, column string, ids []string) (map[string][]polset.TagBinding, error) {
	out := make(map[string][]polset.TagBinding, len(ids))
	for chunk := range slices.Chunk(ids, maxPage) {
		var q filter
		q.in(column, chunk)
		list, err := queryAll(ctx, s, "tags", "SELECT "+column+", tag_key, tag_value FROM tag_bindings"+q.where(), q.args, // #nosec G202 -- constants; values are arguments
			func(result *sql.Rows) (owned, error) {
				var o owned
				err := result.Scan(&o.owner, &o.Key, &o.Value)
				return o, err
			})
		if err != nil {
			return nil, err
		}
		for _, id := range chunk {
			out[id] = []polset.TagBinding{}
		}
		for _, o := range list {
			o.ID = tagID(tagged{workspaceID: o.owner}, o.Key)
			out[o.owner] = append(out[o.owner], o.TagBinding)
		}
	}
	for _, tags := range out {
		slices.SortFunc(tags, byKey)
	}
	return out, nil
}

// An owned tag comes with the id of what it is bound to.
type owned struct {
	owner string
	polset.TagBinding
}

// EffectiveTags lists the tags that are in effect on each of the workspaces, by
// key: its own and, where it does not bind the key, its project's. Whoever has
// the workspaces may see their tags.
func (s *Store) EffectiveTags(ctx context.Context, workspaces []polset.Workspace) (map[string][]polset.TagBinding, error) {
	var projects []string
	for _, w := range workspaces {
		if !slices.Contains(projects, w.ProjectID) {
			projects = append(projects, w.ProjectID)
		}
	}
	inherited, err := s.tagsOfAll(ctx, "project_id", projects)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]polset.TagBinding, len(workspaces))
	for _, w := range workspaces {
		out[w.ID] = inEffect(w, inherited[w.ProjectID])
	}
	return out, nil
}

// inEffect are a workspace's own tags and, of keys that it does not bind, its
// project's.
func inEffect(w polset.Workspace, inherited []polset.TagBinding) []polset.TagBinding {
	tags := slices.Clone(w.Tags)
	for _, t := range inherited {
		if !slices.ContainsFunc(w.Tags, func(own polset.TagBinding) bool { return own.Key == t.Key }) {
			t.ProjectID = w.ProjectID
			tags = append(tags, t)
		}
	}
	slices.SortFunc(tags, byKey)
	return tags
}

func byKey(a, b polset.TagBinding) int { return strings.Compare(a.Key, b.Key) }

// tagID names a binding. It follows from what is bound to what: clients see
// the binding of a key stay the same one while its value changes.
func tagID(to tagged, key string) string {
	sum := sha256.Sum256([]byte(to.id() + "\n" + key))
	return "tb-" + hex.EncodeToString(sum[:8])
}

// BindWorkspaceTags adds tags to a workspace, or changes their values. More
// than polset.MaxTagBindings in all are ErrTooMany.
func (s *Store) BindWorkspaceTags(ctx context.Context, by polset.Principal, workspaceID string, tags []polset.TagBinding) (polset.Workspace, error) {
	var out polset.Workspace
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		w, err := tx.holdWorkspace(ctx, by, workspaceID)
		if err != nil {
			return err
		}
		if err := tx.bindTags(ctx, w.OrganizationID, ofWorkspace(workspaceID), tags); err != nil {
			return err
		}
		out, err = tx.workspace(ctx, by, workspaceID)
		return err
	})
	if err != nil {
		return polset.Workspace{}, fmt.Errorf("bind tags to workspace %s: %w", workspaceID, err)
	}
	return out, nil
}

// UnbindWorkspaceTags takes tags from a workspace, by their keys or, where those
// are empty, their ids. What is not bound is passed over.
func (s *Store) UnbindWorkspaceTags(ctx context.Context, by polset.Principal, workspaceID string, tags []polset.TagBinding) (polset.Workspace, error) {
	var out polset.Workspace
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		if _, err := tx.holdWorkspace(ctx, by, workspaceID); err != nil {
			return err
		}
		now, err := tx.workspace(ctx, by, workspaceID)
		if err != nil {
			return err
		}
		gone := map[string]string{}
		for _, have := range now.Tags {
			if slices.ContainsFunc(tags, func(t polset.TagBinding) bool {
				return t.Key == have.Key || (t.Key == "" && t.ID == have.ID)
			}) {
				gone[have.Key] = have.Value
				err := tx.UnbindTagOfWorkspace(ctx, rows.UnbindTagOfWorkspaceParams{WorkspaceID: nullString(workspaceID), TagKey: have.Key})
				if err != nil {
					return err
				}
			}
		}
		if err := tx.noteTags(now.OrganizationID, "tags.unbound", ofWorkspace(workspaceID), gone); err != nil {
			return err
		}
		out, err = tx.workspace(ctx, by, workspaceID)
		return err
	})
	if err != nil {
		return polset.Workspace{}, fmt.Errorf("take tags from workspace %s: %w", workspaceID, err)
	}
	return out, nil
}

// BindProjectTags is BindWorkspaceTags for a project.
func (s *Store) BindProjectTags(ctx context.Context, by polset.Principal, projectID string, tags []polset.TagBinding) (polset.Project, error) {
	var out polset.Project
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		p, err := tx.holdProject(ctx, by, projectID)
		if err != nil {
			return err
		}
		if err := tx.bindTags(ctx, p.OrganizationID, ofProject(projectID), tags); err != nil {
			return err
		}
		out, err = tx.project(ctx, by, projectID)
		return err
	})
	if err != nil {
		return polset.Project{}, fmt.Errorf("bind tags to project %s: %w", projectID, err)
	}
	return out, nil
}

// bindTags adds tags to what the transaction has locked or made; those that are
// bound already are passed over.
func (t *tx) bindTags(ctx context.Context, organizationID string, to tagged, tags []polset.TagBinding) error {
	if len(tags) == 0 {
		return nil
	}
	now, err := tagsOf(ctx, t.Queries, to)
	if err != nil {
		return err
	}
	bound := map[string]string{}
	for _, tag := range tags {
		_, again := bound[tag.Key] // the last of a key counts
		if !again && slices.ContainsFunc(now, func(have polset.TagBinding) bool { return have.Key == tag.Key && have.Value == tag.Value }) {
			continue
		}
		if to.workspaceID != "" {
			err = t.BindTagToWorkspace(ctx, rows.BindTagToWorkspaceParams{WorkspaceID: nullString(to.workspaceID), TagKey: tag.Key, TagValue: tag.Value})
		} else {
			err = t.BindTagToProject(ctx, rows.BindTagToProjectParams{ProjectID: nullString(to.projectID), TagKey: tag.Key, TagValue: tag.Value})
		}
		if err != nil {
			return err
		}
		bound[tag.Key] = tag.Value
	}
	count, err := t.countTags(ctx, to)
	if err != nil {
		return err
	}
	if count > polset.MaxTagBindings {
		return fmt.Errorf("%d tags would be bound, and %d are the most: %w", count, polset.MaxTagBindings, polset.ErrTooMany)
	}
	return t.noteTags(organizationID, "tags.bound", to, bound)
}

// rebindTags makes the tags all that are bound.
func (t *tx) rebindTags(ctx context.Context, organizationID string, to tagged, tags []polset.TagBinding) error {
	now, err := tagsOf(ctx, t.Queries, to)
	if err != nil {
		return err
	}
	gone := map[string]string{}
	for _, have := range now {
		if slices.ContainsFunc(tags, func(tag polset.TagBinding) bool { return tag.Key == have.Key }) {
			continue
		}
		if to.workspaceID != "" {
			err = t.UnbindTagOfWorkspace(ctx, rows.UnbindTagOfWorkspaceParams{WorkspaceID: nullString(to.workspaceID), TagKey: have.Key})
		} else {
			err = t.UnbindTagOfProject(ctx, rows.UnbindTagOfProjectParams{ProjectID: nullString(to.projectID), TagKey: have.Key})
		}
		if err != nil {
			return err
		}
		gone[have.Key] = have.Value
	}
	if err := t.noteTags(organizationID, "tags.unbound", to, gone); err != nil {
		return err
	}
	return t.bindTags(ctx, organizationID, to, tags)
}

// noteTags tells the audit chain of tags, as JSON: one may have no value.
func (t *tx) noteTags(organizationID, action string, to tagged, tags map[string]string) error {
	if len(tags) == 0 {
		return nil
	}
	text, err := json.Marshal(tags)
	if err != nil {
		return err
	}
	t.note(organizationID, action, to.id(), map[string]string{"tags": string(text)})
	return nil
}

func (t *tx) countTags(ctx context.Context, to tagged) (int64, error) {
	if to.workspaceID != "" {
		return t.CountTagsOfWorkspace(ctx, nullString(to.workspaceID))
	}
	return t.CountTagsOfProject(ctx, nullString(to.projectID))
}
