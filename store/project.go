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

// CreateProject assigns the project's id. A name that is taken is ErrConflict.
func (s *Store) CreateProject(ctx context.Context, by polset.Principal, d polset.ProjectDraft) (polset.Project, error) {
	var out polset.Project
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		o, err := tx.organization(ctx, by, d.Organization)
		if err != nil {
			return err
		}
		id, err := tx.insertProject(ctx, o.ID, d, false)
		if err != nil {
			return err
		}
		out, err = tx.project(ctx, by, id)
		return err
	})
	if err != nil {
		return polset.Project{}, fmt.Errorf("create project %q: %w", d.Name, err)
	}
	return out, nil
}

func (t *tx) insertProject(ctx context.Context, organizationID string, d polset.ProjectDraft, isDefault bool) (id string, err error) {
	settings, err := keep(d.Settings)
	if err != nil {
		return "", err
	}
	id = polset.NewID("prj")
	n, err := t.InsertProject(ctx, rows.InsertProjectParams{
		ID: id, OrganizationID: organizationID, Name: d.Name, Description: d.Description,
		IsDefault: isDefault, Settings: settings, Now: t.now,
	})
	if err != nil {
		return "", err
	}
	if n == 0 {
		return "", fmt.Errorf("the name is taken: %w", polset.ErrConflict)
	}
	t.note(organizationID, "project.created", id, map[string]string{"name": d.Name})
	return id, t.bindTags(ctx, organizationID, ofProject(id), d.TagBindings)
}

// Project returns a project by id.
func (s *Store) Project(ctx context.Context, by polset.Principal, id string) (polset.Project, error) {
	r, err := s.reads.Project(ctx, rows.ProjectParams{ID: id, Tenant: by.OrganizationID})
	if err != nil {
		return polset.Project{}, fmt.Errorf("read project %s: %w", id, found(err))
	}
	return withProjectTags(ctx, s.reads, project(r))
}

const projectList = `SELECT projects.sequence, projects.id, projects.organization_id, projects.name, projects.description,
	projects.is_default, projects.settings, projects.created_at, projects.updated_at, organizations.name, organizations.settings
FROM projects JOIN organizations ON organizations.id = projects.organization_id`

func scanProject(result *sql.Rows) (polset.Project, error) {
	var r rows.ProjectRow
	p := &r.Project
	err := result.Scan(&p.Sequence, &p.ID, &p.OrganizationID, &p.Name, &p.Description,
		&p.IsDefault, &p.Settings, &p.CreatedAt, &p.UpdatedAt, &r.Organization, &r.OrganizationSettings)
	if err != nil {
		return polset.Project{}, err
	}
	return project(r), nil
}

// Projects lists an organization's projects in the order of their creation,
// and says how many there are in all.
func (s *Store) Projects(ctx context.Context, by polset.Principal, organization string, f polset.ProjectFilter, page polset.Page) ([]polset.Project, int, error) {
	o, err := s.Organization(ctx, by, organization)
	if err != nil {
		return nil, 0, err
	}
	var q filter
	q.add("projects.organization_id = ?", o.ID)
	q.in("projects.name", f.Names)
	if f.Search != "" {
		q.add("lower(projects.name) LIKE ? ESCAPE '!'", like(f.Search))
	}
	for _, t := range f.Tags {
		q.add("EXISTS (SELECT 1 FROM tag_bindings WHERE tag_bindings.project_id = projects.id AND tag_key = ? AND ? IN ('', tag_value))", t.Key, t.Value)
	}
	list, total, err := queryPage(ctx, s, "projects", projectList, q, "projects.sequence", page, scanProject)
	if err != nil {
		return nil, 0, err
	}
	return list, total, s.addProjectTags(ctx, list)
}

// ProjectsByID returns those of the projects that the principal may see, in
// any order.
func (s *Store) ProjectsByID(ctx context.Context, by polset.Principal, ids []string) ([]polset.Project, error) {
	list, err := queryByID(ctx, s, "projects", projectList, by, ids, scanProject)
	if err != nil {
		return nil, err
	}
	return list, s.addProjectTags(ctx, list)
}

// UpdateProject changes a project. A name that is taken is ErrConflict.
func (s *Store) UpdateProject(ctx context.Context, by polset.Principal, id string, c polset.ProjectChange) (polset.Project, error) {
	var out polset.Project
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		p, err := tx.holdProject(ctx, by, id)
		if err != nil {
			return err
		}
		var changed []string
		changed = change(changed, "name", &p.Name, c.Name)
		changed = change(changed, "description", &p.Description, c.Description)
		settings, err := keepChanged(p.Settings, c.Settings)
		if err != nil {
			return err
		}
		changed = change(changed, "settings", &p.Settings, &settings)
		if len(changed) > 0 {
			err := tx.UpdateProject(ctx, rows.UpdateProjectParams{
				ID: id, Name: p.Name, Description: p.Description, Settings: p.Settings, Now: tx.now,
			})
			if err != nil {
				return s.nameTaken(err)
			}
			tx.note(p.OrganizationID, "project.updated", id, map[string]string{"name": p.Name, "changed": strings.Join(changed, " ")})
		}
		if c.TagBindings != nil {
			if err := tx.rebindTags(ctx, p.OrganizationID, ofProject(id), *c.TagBindings); err != nil {
				return err
			}
		}
		out, err = tx.project(ctx, by, id)
		return err
	})
	if err != nil {
		return polset.Project{}, fmt.Errorf("update project %s: %w", id, err)
	}
	return out, nil
}

// DeleteProject removes a project, and with it its place in policy sets and
// connections. One that has workspaces, or is its organization's default, is
// ErrConflict.
func (s *Store) DeleteProject(ctx context.Context, by polset.Principal, id string) error {
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		r, err := tx.Project(ctx, rows.ProjectParams{ID: id, Tenant: by.OrganizationID})
		if err != nil {
			return found(err)
		}
		if r.Project.IsDefault {
			return fmt.Errorf("it is the default project: %w", polset.ErrConflict)
		}
		n, err := tx.CountWorkspacesOfProject(ctx, id)
		if err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("it has workspaces: %w", polset.ErrConflict)
		}
		// A workspace that came since violates a constraint here, and the
		// transaction begins anew.
		if n, err := tx.DeleteProject(ctx, id); err != nil || n == 0 {
			return cmp.Or(err, polset.ErrNotFound) // somebody else did
		}
		tx.note(r.Project.OrganizationID, "project.deleted", id, map[string]string{"name": r.Project.Name})
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete project %s: %w", id, err)
	}
	return nil
}

// holdProject locks a project and reads it as it is now.
func (t *tx) holdProject(ctx context.Context, by polset.Principal, id string) (rows.Project, error) {
	mine := rows.ProjectParams{ID: id, Tenant: by.OrganizationID}
	// Only the principal's own is locked.
	if _, err := t.Project(ctx, mine); err != nil {
		return rows.Project{}, fmt.Errorf("project %q: %w", id, found(err))
	}
	if err := t.lock(ctx, projectRow, id); err != nil {
		return rows.Project{}, err
	}
	r, err := t.Project(ctx, mine)
	return r.Project, found(err)
}

func (t *tx) project(ctx context.Context, by polset.Principal, id string) (polset.Project, error) {
	r, err := t.Project(ctx, rows.ProjectParams{ID: id, Tenant: by.OrganizationID})
	if err != nil {
		return polset.Project{}, fmt.Errorf("project %q: %w", id, found(err))
	}
	return withProjectTags(ctx, t.Queries, project(r))
}

func withProjectTags(ctx context.Context, q *rows.Queries, p polset.Project) (polset.Project, error) {
	tags, err := tagsOf(ctx, q, ofProject(p.ID))
	p.Tags = tags
	return p, err
}

func (s *Store) addProjectTags(ctx context.Context, list []polset.Project) error {
	ids := make([]string, len(list))
	for i, p := range list {
		ids[i] = p.ID
	}
	tags, err := s.tagsOfAll(ctx, "project_id", ids)
	for i := range list {
		list[i].Tags = tags[list[i].ID]
	}
	return err
}

func project(r rows.ProjectRow) polset.Project {
	p := r.Project
	return polset.Project{
		ID: p.ID, OrganizationID: p.OrganizationID, Organization: r.Organization, Name: p.Name, Description: p.Description,
		Default: p.IsDefault, Settings: kept(p.Settings), OrganizationSettings: kept(r.OrganizationSettings),
		CreatedAt: p.CreatedAt.UTC(), UpdatedAt: p.UpdatedAt.UTC(),
	}
}

// change sets a value that is given and another one, and notes what changed.
func change[T comparable](changed []string, what string, value, to *T) []string {
	if to == nil || *value == *to {
		return changed
	}
	*value = *to
	return append(changed, what)
}

// nameTaken says of the violation of a unique constraint that the name is
// taken; any other error passes.
func (s *Store) nameTaken(err error) error {
	if s.dialect.taken(err) {
		return fmt.Errorf("the name is taken: %w", polset.ErrConflict)
	}
	return err
}
