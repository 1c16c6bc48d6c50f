-- name: App :one
SELECT id, app_id, client_id, slug, name, owner, html_url, http_url, sealed_private_key, sealed_webhook_secret, sealed_client_secret, created_at
FROM github_app;

-- name: InsertApp :execrows
INSERT INTO github_app (id, app_id, client_id, slug, name, owner, html_url, http_url, sealed_private_key, sealed_webhook_secret, sealed_client_secret, created_at)
VALUES ('app', $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (id) DO NOTHING;

-- name: UpdateSealedApp :exec
UPDATE github_app SET sealed_private_key = $1, sealed_webhook_secret = $2, sealed_client_secret = $3;

-- name: InsertSetupLink :exec
INSERT INTO setup_links (id, purpose, organization_id, token_hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6);

-- name: SetupLinkByHash :one
SELECT setup_links.id, setup_links.purpose, setup_links.organization_id, setup_links.expires_at, COALESCE(organizations.name, '') AS organization
FROM setup_links LEFT JOIN organizations ON organizations.id = setup_links.organization_id
WHERE setup_links.token_hash = sqlc.arg(token_hash) AND setup_links.used_at IS NULL AND setup_links.expires_at > sqlc.arg(now);

-- name: UseSetupLink :execrows
UPDATE setup_links SET used_at = sqlc.arg(used_at) WHERE id = sqlc.arg(id) AND used_at IS NULL;

-- name: SetSetupLinkOrganization :execrows
UPDATE setup_links SET organization_id = $2 WHERE id = $1 AND used_at IS NULL;

-- name: CountSetups :one
-- The set-up links and Apps that ever were.
SELECT (SELECT count(*) FROM setup_links) + (SELECT count(*) FROM github_app) AS total;
