-- name: InsertConnection :exec
INSERT INTO connections (id, token_id, organization_id, name, service_provider, http_url, api_url, sealed_token, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

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
