package polsettest

import (
	"context"
	"database/sql"
	"fmt"
)

// Populate gives an organization, which exists, n policy sets by SQL that both
// databases understand; to make them one by one would take a benchmark minutes.
// Each set holds a policy, guards two workspaces and a project, and excludes a
// workspace; every second one has a tag selector, every tenth a version. Their
// ids are polset-<organization>-1 and so on.
func Populate(ctx context.Context, db *sql.DB, organization string, n int) error {
	const things = 100 // workspaces, projects and policies, of which the sets choose
	for _, statement := range []string{
		`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)
		INSERT INTO workspaces (id, organization_id, project_id, name, description, settings, created_at, updated_at)
		SELECT 'ws-' || organizations.name || '-' || i, organizations.id, projects.id, 'ws-' || i, '', '{}', organizations.created_at, organizations.created_at
		FROM n, organizations JOIN projects ON projects.organization_id = organizations.id AND projects.is_default WHERE organizations.name = $1`,
		`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)
		INSERT INTO projects (id, organization_id, name, description, is_default, settings, created_at, updated_at)
		SELECT 'prj-' || name || '-' || i, id, 'prj-' || i, '', FALSE, '{}', created_at, created_at FROM n, organizations WHERE name = $1`,
		`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)
		INSERT INTO policies (id, organization_id, name, description, kind, query, enforcement_level, digest, size, created_at, updated_at)
		SELECT 'pol-' || name || '-' || i, id, 'pol-' || i, '', 'opa', 'data.p.deny', 'advisory', '', 0, created_at, created_at FROM n, organizations WHERE name = $1`,
	} {
		if _, err := db.ExecContext(ctx, statement, organization, things); err != nil {
			return fmt.Errorf("populate %s: %w", organization, err)
		}
	}
	_, err := db.ExecContext(ctx, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)
		INSERT INTO policy_sets (id, organization_id, name, description, global, kind, policies_path, branch, submodules, generation,
			newest_version_id, current_version_id, created_at, updated_at, followed_at)
		SELECT 'polset-' || name || '-' || i, id, 'set-' || i, '', FALSE, 'opa', '', '', FALSE, 1,
			CASE WHEN i % 10 = 0 THEN 'polsetver-' || name || '-' || i ELSE '' END, CASE WHEN i % 10 = 0 THEN 'polsetver-' || name || '-' || i ELSE '' END,
			created_at, created_at, created_at FROM n, organizations WHERE name = $1 ORDER BY i`, organization, n)
	if err != nil {
		return fmt.Errorf("populate %s: %w", organization, err)
	}
	const of = ` FROM policy_sets JOIN organizations ON organizations.id = policy_sets.organization_id WHERE organizations.name = $1`
	member := func(table, column, prefix, more, columns string, shift int) string {
		return fmt.Sprintf("INSERT INTO %s (policy_set_id, %s%s) SELECT policy_sets.id, '%s-' || organizations.name || '-' || (1 + (policy_sets.sequence + %d) %% %d)%s%s",
			table, column, columns, prefix, shift, things, more, of)
	}
	for _, statement := range []string{
		`INSERT INTO versions (id, policy_set_id, source, status, pending_at, ingressing_at, ready_at, error, error_message, commit_id, commit_url,
			identifier, branch, content, digest, tar_digest, size, tar_size, files, policies_directory, policies, created_at, updated_at)
		SELECT current_version_id, policy_sets.id, 'github', 'ready', policy_sets.created_at, policy_sets.created_at, policy_sets.created_at, '', '', '', '',
			'', '', '', 'd', 'd', 1, 1, 1, '', '[]', policy_sets.created_at, policy_sets.created_at` + of + ` AND current_version_id <> ''`,
		member("policy_set_policies", "policy_id", "pol", "", "", 0),
		member("policy_set_workspaces", "workspace_id", "ws", ", FALSE", ", excluded", 0),
		member("policy_set_workspaces", "workspace_id", "ws", ", FALSE", ", excluded", 7),
		member("policy_set_workspaces", "workspace_id", "ws", ", TRUE", ", excluded", 9),
		member("policy_set_projects", "project_id", "prj", ", FALSE", ", excluded", 0),
		`INSERT INTO policy_set_tag_selectors (policy_set_id, tag_key, tag_value, excluded)
		SELECT policy_sets.id, 'env', 'prod', TRUE` + of + ` AND policy_sets.sequence % 2 = 0`,
	} {
		if _, err := db.ExecContext(ctx, statement, organization); err != nil {
			return fmt.Errorf("populate %s: %w", organization, err)
		}
	}
	if _, err := db.ExecContext(ctx, "ANALYZE"); err != nil {
		return fmt.Errorf("populate %s: %w", organization, err)
	}
	return nil
}
