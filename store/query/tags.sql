-- name: BindTagToWorkspace :exec
INSERT INTO tag_bindings (workspace_id, tag_key, tag_value) VALUES ($1, $2, $3)
ON CONFLICT (workspace_id, tag_key) WHERE workspace_id IS NOT NULL DO UPDATE SET tag_value = excluded.tag_value;

-- name: BindTagToProject :exec
INSERT INTO tag_bindings (project_id, tag_key, tag_value) VALUES ($1, $2, $3)
ON CONFLICT (project_id, tag_key) WHERE project_id IS NOT NULL DO UPDATE SET tag_value = excluded.tag_value;

-- name: UnbindTagOfWorkspace :exec
DELETE FROM tag_bindings WHERE workspace_id = $1 AND tag_key = $2;

-- name: UnbindTagOfProject :exec
DELETE FROM tag_bindings WHERE project_id = $1 AND tag_key = $2;

-- name: CountTagsOfWorkspace :one
SELECT count(*) FROM tag_bindings WHERE workspace_id = $1;

-- name: CountTagsOfProject :one
SELECT count(*) FROM tag_bindings WHERE project_id = $1;

-- name: TagsOfWorkspace :many
SELECT tag_key, tag_value FROM tag_bindings WHERE workspace_id = $1 ORDER BY tag_key;

-- name: TagsOfProject :many
SELECT tag_key, tag_value FROM tag_bindings WHERE project_id = $1 ORDER BY tag_key;
