-- name: InsertToken :exec
INSERT INTO tokens (id, organization_id, description, permissions, secret_hash, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: TokenByHash :one
SELECT id, organization_id, permissions, expires_at FROM tokens
WHERE secret_hash = $1 AND revoked_at IS NULL;

-- name: RevokeToken :one
UPDATE tokens SET revoked_at = sqlc.arg(now)
WHERE id = sqlc.arg(id) AND revoked_at IS NULL
  AND (CAST(sqlc.arg(tenant) AS text) = '' OR organization_id = sqlc.arg(tenant))
RETURNING organization_id;

-- name: Token :one
SELECT tokens.id, tokens.organization_id, tokens.description, tokens.permissions, tokens.created_at, tokens.expires_at,
  tokens.last_used_at, organizations.name AS organization
FROM tokens LEFT JOIN organizations ON organizations.id = tokens.organization_id
WHERE tokens.id = sqlc.arg(id) AND tokens.revoked_at IS NULL
  AND (CAST(sqlc.arg(tenant) AS text) = '' OR tokens.organization_id = sqlc.arg(tenant));

-- name: TokenUsed :exec
UPDATE tokens SET last_used_at = sqlc.arg(used)
WHERE id = sqlc.arg(id) AND (last_used_at IS NULL OR last_used_at < sqlc.arg(used));
