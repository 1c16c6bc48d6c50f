-- name: InsertProject :execrows
INSERT INTO projects (id, organization_id, name, description, is_default, settings, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, sqlc.arg(now), sqlc.arg(now))
ON CONFLICT (organization_id, name) DO NOTHING;

-- name: Project :one
SELECT sqlc.embed(projects), organizations.name AS organization, organizations.settings AS organization_settings
FROM projects JOIN organizations ON organizations.id = projects.organization_id
WHERE projects.id = sqlc.arg(id)
  AND (CAST(sqlc.arg(tenant) AS text) = '' OR projects.organization_id = sqlc.arg(tenant));

-- name: UpdateProject :exec
UPDATE projects SET name = $2, description = $3, settings = $4, updated_at = sqlc.arg(now) WHERE id = $1;

-- name: DeleteProject :execrows
DELETE FROM projects WHERE id = $1;

-- name: CountWorkspacesOfProject :one
SELECT count(*) FROM workspaces WHERE project_id = $1;
