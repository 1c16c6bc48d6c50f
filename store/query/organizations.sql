-- name: InsertOrganization :execrows
INSERT INTO organizations (id, name, email, created_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO NOTHING;

-- name: OrganizationByName :one
SELECT id, name, email, created_at, settings FROM organizations
WHERE name = sqlc.arg(name) AND (CAST(sqlc.arg(tenant) AS text) = '' OR id = sqlc.arg(tenant));

-- name: ListOrganizations :many
SELECT id, name, email, created_at, settings FROM organizations
WHERE CAST(sqlc.arg(tenant) AS text) = '' OR id = sqlc.arg(tenant)
ORDER BY name LIMIT sqlc.arg(size) OFFSET sqlc.arg(start);

-- name: CountOrganizations :one
SELECT count(*) FROM organizations
WHERE CAST(sqlc.arg(tenant) AS text) = '' OR id = sqlc.arg(tenant);

-- name: DeleteOrganization :execrows
DELETE FROM organizations WHERE id = $1;
