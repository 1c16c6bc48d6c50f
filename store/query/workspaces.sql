-- name: InsertWorkspace :execrows
INSERT INTO workspaces (id, organization_id, project_id, name, description, settings, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, sqlc.arg(now), sqlc.arg(now))
ON CONFLICT (organization_id, name) DO NOTHING;

-- name: Workspace :one
SELECT sqlc.embed(workspaces), organizations.name AS organization,
    projects.settings AS project_settings, organizations.settings AS organization_settings
FROM workspaces
JOIN projects ON projects.id = workspaces.project_id
JOIN organizations ON organizations.id = workspaces.organization_id
WHERE workspaces.id = sqlc.arg(id)
  AND (CAST(sqlc.arg(tenant) AS text) = '' OR workspaces.organization_id = sqlc.arg(tenant));

-- name: WorkspaceIDByName :one
SELECT workspaces.id FROM workspaces JOIN organizations ON organizations.id = workspaces.organization_id
WHERE organizations.name = sqlc.arg(organization) AND workspaces.name = sqlc.arg(name)
  AND (CAST(sqlc.arg(tenant) AS text) = '' OR workspaces.organization_id = sqlc.arg(tenant));

-- name: UpdateWorkspace :exec
UPDATE workspaces SET project_id = $2, name = $3, description = $4, settings = $5, updated_at = sqlc.arg(now) WHERE id = $1;

-- name: DeleteWorkspace :execrows
DELETE FROM workspaces WHERE id = $1;
