package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// CreateWorkspace assigns the workspace's id. A name that is taken is
// ErrConflict; a project that the organization does not have is ErrNotFound.
func (s *Store) CreateWorkspace(ctx context.Context, by polset.Principal, d polset.WorkspaceDraft) (polset.Workspace, error) {
	var out polset.Workspace
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		o, err := tx.organization(ctx, by, d.Organization)
		if err != nil {
			return err
		}
		projectID := d.ProjectID
		if projectID == "" {
			projectID = o.DefaultProjectID
		} else if err := tx.inOrganization(ctx, projectID, o.ID); err != nil {
			return err
		}
		settings, err := keep(d.Settings)
		if err != nil {
			return err
		}
		id := polset.NewID("ws")
		n, err := tx.InsertWorkspace(ctx, rows.InsertWorkspaceParams{
			ID: id, OrganizationID: o.ID, ProjectID: projectID, Name: d.Name, Description: d.Description,
			Settings: settings, Now: tx.now,
		})
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("the name is taken: %w", polset.ErrConflict)
		}
		tx.note(o.ID, "workspace.created", id, map[string]string{"name": d.Name, "project": projectID})
		if err := tx.bindTags(ctx, o.ID, ofWorkspace(id), d.TagBindings); err != nil {
			return err
		}
		out, err = tx.workspace(ctx, by, id)
		return err
	})
	if err != nil {
		return polset.Workspace{}, fmt.Errorf("create workspace %q: %w", d.Name, err)
	}
	return out, nil
}

// inOrganization answers ErrNotFound for a project of another organization.
func (t *tx) inOrganization(ctx context.Context, projectID, organizationID string) error {
	if _, err := t.Project(ctx, rows.ProjectParams{ID: projectID, Tenant: organizationID}); err != nil {
		return fmt.Errorf("project %q: %w", projectID, found(err))
	}
	return nil
}

// Workspace returns a workspace by id.
func (s *Store) Workspace(ctx context.Context, by polset.Principal, id string) (polset.Workspace, error) {
	r, err := s.reads.Workspace(ctx, rows.WorkspaceParams{ID: id, Tenant: by.OrganizationID})
	if err != nil {
		return polset.Workspace{}, fmt.Errorf("read workspace %s: %w", id, found(err))
	}
	return withTags(ctx, s.reads, workspace(r))
}

// WorkspaceByName returns a workspace by its name in an organization.
func (s *Store) WorkspaceByName(ctx context.Context, by polset.Principal, organization, name string) (polset.Workspace, error) {
	id, err := s.reads.WorkspaceIDByName(ctx, rows.WorkspaceIDByNameParams{Organization: organization, Name: name, Tenant: by.OrganizationID})
	if err != nil {
		return polset.Workspace{}, fmt.Errorf("read workspace %s/%s: %w", organization, name, found(err))
	}
	return s.Workspace(ctx, by, id)
}

const workspaceList = `SELECT workspaces.sequence, workspaces.id, workspaces.organization_id, workspaces.project_id, workspaces.name,
	workspaces.description, workspaces.settings, workspaces.created_at, workspaces.updated_at,
	organizations.name, projects.settings, organizations.settings
FROM workspaces JOIN projects ON projects.id = workspaces.project_id
	JOIN organizations ON organizations.id = workspaces.organization_id`

func scanWorkspace(result *sql.Rows) (polset.Workspace, error) {
	var r rows.WorkspaceRow
	w := &r.Workspace
	err := result.Scan(&w.Sequence, &w.ID, &w.OrganizationID, &w.ProjectID, &w.Name,
		&w.Description, &w.Settings, &w.CreatedAt, &w.UpdatedAt,
		&r.Organization, &r.ProjectSettings, &r.OrganizationSettings)
	if err != nil {
		return polset.Workspace{}, err
	}
	return workspace(r), nil
}

// Workspaces lists an organization's workspaces in the order of their names,
// and says how many there are in all.
func (s *Store) Workspaces(ctx context.Context, by polset.Principal, organization string, f polset.WorkspaceFilter, page polset.Page) ([]polset.Workspace, int, error) {
	o, err := s.Organization(ctx, by, organization)
	if err != nil {
		return nil, 0, err
	}
	var q filter
	q.add("workspaces.organization_id = ?", o.ID)
	if f.ProjectID != "" {
		q.add("workspaces.project_id = ?", f.ProjectID)
	}
	if f.Search != "" {
		q.add("lower(workspaces.name) LIKE ? ESCAPE '!'", like(f.Search))
	}
	if f.Wildcard != "" {
		q.add("lower(workspaces.name) LIKE ? ESCAPE '!'", strings.ReplaceAll(literal(f.Wildcard), "*", "%"))
	}
	for _, t := range f.Tags {
		q.add(taggedWorkspace, t.Key, t.Value)
	}
	for _, t := range f.NotTagged {
		q.add("NOT "+taggedWorkspace, t.Key, t.Value)
	}
	list, total, err := queryPage(ctx, s, "workspaces", workspaceList, q, "workspaces.name", page, scanWorkspace)
	if err != nil {
		return nil, 0, err
	}
	return list, total, s.addTags(ctx, list)
}

// WorkspacesByID returns those of the workspaces that the principal may see,
// in any order.
func (s *Store) WorkspacesByID(ctx context.Context, by polset.Principal, ids []string) ([]polset.Workspace, error) {
	list, err := queryByID(ctx, s, "workspaces", workspaceList, by, ids, scanWorkspace)
	if err != nil {
		return nil, err
	}
	return list, s.addTags(ctx, list)
}

// UpdateWorkspace changes a workspace. Errors are those of CreateWorkspace.
func (s *Store) UpdateWorkspace(ctx context.Context, by polset.Principal, id string, c polset.WorkspaceChange) (polset.Workspace, error) {
	var out polset.Workspace
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		w, err := tx.holdWorkspace(ctx, by, id)
		if err != nil {
			return err
		}
		if c.ProjectID != nil {
			if err := tx.inOrganization(ctx, *c.ProjectID, w.OrganizationID); err != nil {
				return err
			}
		}
		var changed []string
		changed = change(changed, "project", &w.ProjectID, c.ProjectID)
		changed = change(changed, "name", &w.Name, c.Name)
		changed = change(changed, "description", &w.Description, c.Description)
		settings, err := keepChanged(w.Settings, c.Settings)
		if err != nil {
			return err
		}
		changed = change(changed, "settings", &w.Settings, &settings)
		if len(changed) > 0 {
			err := tx.UpdateWorkspace(ctx, rows.UpdateWorkspaceParams{
				ID: id, ProjectID: w.ProjectID, Name: w.Name, Description: w.Description, Settings: w.Settings, Now: tx.now,
			})
			if err != nil {
				return s.nameTaken(err)
			}
			tx.note(w.OrganizationID, "workspace.updated", id, map[string]string{
				"name": w.Name, "project": w.ProjectID, "changed": strings.Join(changed, " "),
			})
		}
		if c.TagBindings != nil {
			if err := tx.rebindTags(ctx, w.OrganizationID, ofWorkspace(id), *c.TagBindings); err != nil {
				return err
			}
		}
		out, err = tx.workspace(ctx, by, id)
		return err
	})
	if err != nil {
		return polset.Workspace{}, fmt.Errorf("update workspace %s: %w", id, err)
	}
	return out, nil
}

// DeleteWorkspace removes a workspace with its configuration versions and
// runs, and with it its place in policy sets.
func (s *Store) DeleteWorkspace(ctx context.Context, by polset.Principal, id string) error {
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		r, err := tx.Workspace(ctx, rows.WorkspaceParams{ID: id, Tenant: by.OrganizationID})
		if err != nil {
			return found(err)
		}
		if n, err := tx.DeleteWorkspace(ctx, id); err != nil || n == 0 {
			return cmp.Or(err, polset.ErrNotFound) // somebody else did
		}
		tx.note(r.Workspace.OrganizationID, "workspace.deleted", id, map[string]string{"name": r.Workspace.Name})
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete workspace %s: %w", id, err)
	}
	return nil
}

// holdWorkspace locks a workspace and reads it as it is now.
func (t *tx) holdWorkspace(ctx context.Context, by polset.Principal, id string) (rows.Workspace, error) {
	mine := rows.WorkspaceParams{ID: id, Tenant: by.OrganizationID}
	// Only the principal's own is locked.
	if _, err := t.Workspace(ctx, mine); err != nil {
		return rows.Workspace{}, fmt.Errorf("workspace %q: %w", id, found(err))
	}
	if err := t.lock(ctx, workspaceRow, id); err != nil {
		return rows.Workspace{}, err
	}
	r, err := t.Workspace(ctx, mine)
	return r.Workspace, found(err)
}

func (t *tx) workspace(ctx context.Context, by polset.Principal, id string) (polset.Workspace, error) {
	r, err := t.Workspace(ctx, rows.WorkspaceParams{ID: id, Tenant: by.OrganizationID})
	if err != nil {
		return polset.Workspace{}, fmt.Errorf("workspace %q: %w", id, found(err))
	}
	return withTags(ctx, t.Queries, workspace(r))
}

func withTags(ctx context.Context, q *rows.Queries, w polset.Workspace) (polset.Workspace, error) {
	tags, err := tagsOf(ctx, q, ofWorkspace(w.ID))
	w.Tags = tags
	return w, err
}

func (s *Store) addTags(ctx context.Context, list []polset.Workspace) error {
	ids := make([]string, len(list))
	for i, w := range list {
		ids[i] = w.ID
	}
	tags, err := s.tagsOfAll(ctx, "workspace_id", ids)
	for i := range list {
		list[i].Tags = tags[list[i].ID]
	}
	return err
}

func workspace(r rows.WorkspaceRow) polset.Workspace {
	w := r.Workspace
	return polset.Workspace{
		ID: w.ID, OrganizationID: w.OrganizationID, Organization: r.Organization, ProjectID: w.ProjectID,
		Name: w.Name, Description: w.Description, Settings: kept(w.Settings),
		ProjectSettings: kept(r.ProjectSettings), OrganizationSettings: kept(r.OrganizationSettings),
		CreatedAt: w.CreatedAt.UTC(), UpdatedAt: w.UpdatedAt.UTC(),
	}
}
