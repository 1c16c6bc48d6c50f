-- name: InsertOrganization :execrows
INSERT INTO organizations (id, name, email, settings, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (name) DO NOTHING;

-- name: OrganizationByName :one
SELECT sqlc.embed(organizations), COALESCE(projects.id, '') AS default_project_id
FROM organizations LEFT JOIN projects ON projects.organization_id = organizations.id AND projects.is_default
WHERE organizations.name = sqlc.arg(name) AND (CAST(sqlc.arg(tenant) AS text) = '' OR organizations.id = sqlc.arg(tenant));

-- name: ListOrganizations :many
SELECT sqlc.embed(organizations), COALESCE(projects.id, '') AS default_project_id
FROM organizations LEFT JOIN projects ON projects.organization_id = organizations.id AND projects.is_default
WHERE CAST(sqlc.arg(tenant) AS text) = '' OR organizations.id = sqlc.arg(tenant)
ORDER BY organizations.name LIMIT sqlc.arg(size) OFFSET sqlc.arg(start);

-- name: CountOrganizations :one
SELECT count(*) FROM organizations
WHERE CAST(sqlc.arg(tenant) AS text) = '' OR id = sqlc.arg(tenant);

-- name: UpdateOrganization :exec
UPDATE organizations SET name = $2, email = $3, settings = $4 WHERE id = $1;

-- name: DeleteOrganization :execrows
DELETE FROM organizations WHERE id = $1;
