-- name: InsertConnection :exec
INSERT INTO connections (id, token_id, organization_id, name, service_provider, http_url, api_url, sealed_token, created_at,
    oauth_key, service_provider_user, organization_scoped)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- name: UpdateConnection :exec
UPDATE connections SET name = $2, oauth_key = $3, service_provider_user = $4, organization_scoped = $5, sealed_token = $6
WHERE id = $1;

-- name: InsertConnectionProject :exec
INSERT INTO connection_projects (connection_id, project_id) VALUES ($1, $2) ON CONFLICT DO NOTHING;

-- name: ConnectionProjects :many
SELECT project_id FROM connection_projects WHERE connection_id = $1 ORDER BY project_id;

-- name: DeleteConnectionProject :exec
DELETE FROM connection_projects WHERE connection_id = $1 AND project_id = $2;

-- name: Connection :one
SELECT sqlc.embed(connections), organizations.name AS organization
FROM connections JOIN organizations ON organizations.id = connections.organization_id
WHERE connections.id = sqlc.arg(id)
  AND (CAST(sqlc.arg(tenant) AS text) = '' OR connections.organization_id = sqlc.arg(tenant));

-- name: ConnectionByToken :one
SELECT sqlc.embed(connections), organizations.name AS organization
FROM connections JOIN organizations ON organizations.id = connections.organization_id
WHERE connections.token_id = sqlc.arg(token_id)
  AND (CAST(sqlc.arg(tenant) AS text) = '' OR connections.organization_id = sqlc.arg(tenant));

-- name: DeleteConnection :exec
DELETE FROM connections WHERE id = $1;

-- name: SealedTokens :many
SELECT id, sealed_token FROM connections ORDER BY id;

-- name: UpdateSealedToken :exec
UPDATE connections SET sealed_token = $2 WHERE id = $1;
