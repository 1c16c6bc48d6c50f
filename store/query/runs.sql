-- name: InsertConfigurationVersion :exec
INSERT INTO configuration_versions (id, workspace_id, status, auto_queue_runs, speculative, provisional, digest, size, created_at)
VALUES ($1, $2, 'pending', $3, $4, $5, '', 0, $6);

-- name: ConfigurationVersion :one
SELECT sqlc.embed(configuration_versions), workspaces.organization_id
FROM configuration_versions JOIN workspaces ON workspaces.id = configuration_versions.workspace_id
WHERE configuration_versions.id = sqlc.arg(id)
  AND (CAST(sqlc.arg(tenant) AS text) = '' OR workspaces.organization_id = sqlc.arg(tenant));

-- name: LatestConfigurationVersion :one
SELECT configuration_versions.id FROM configuration_versions
WHERE workspace_id = $1 AND status = 'uploaded' AND NOT provisional ORDER BY sequence DESC LIMIT 1;

-- name: UploadConfigurationVersion :execrows
UPDATE configuration_versions SET status = 'uploaded', digest = sqlc.arg(digest), size = sqlc.arg(size), uploaded_at = sqlc.arg(now)
WHERE id = sqlc.arg(id) AND status = 'pending';

-- name: InsertRun :exec
INSERT INTO runs (id, workspace_id, configuration_version_id, status, message, settings, status_timestamps, created_by, created_at, updated_at, plan_digest, input)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, sqlc.arg(now), sqlc.arg(now), $9, $10);

-- name: Run :one
SELECT sqlc.embed(runs), workspaces.organization_id
FROM runs JOIN workspaces ON workspaces.id = runs.workspace_id
WHERE runs.id = sqlc.arg(id)
  AND (CAST(sqlc.arg(tenant) AS text) = '' OR workspaces.organization_id = sqlc.arg(tenant));

-- name: MoveRun :execrows
UPDATE runs SET status = sqlc.arg(status), status_timestamps = sqlc.arg(status_timestamps), updated_at = sqlc.arg(now)
WHERE id = sqlc.arg(id) AND status = sqlc.arg(before);

