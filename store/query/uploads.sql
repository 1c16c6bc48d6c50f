-- name: UploadOfVersion :one
-- The ingestion that an upload of a version began.
SELECT ingestions.sequence, ingestions.id, ingestions.policy_set_id, ingestions.repository_id, ingestions.token_id, ingestions.generation, ingestions.branch, ingestions.pushed_branch, ingestions.commit_id, ingestions.path, ingestions.submodules, ingestions.kind, ingestions.cause, ingestions.delivery_guid, ingestions.status, ingestions.reason, ingestions.version_id, ingestions.attempts, ingestions.failures, ingestions.lease, ingestions.due_at, ingestions.enqueue_at, ingestions.created_at, ingestions.started_at, ingestions.ended_at, ingestions.installation_id, ingestions.update_patterns FROM ingestions
WHERE policy_set_id = sqlc.arg(policy_set_id) AND version_id = sqlc.arg(version_id) AND cause = 'upload'
ORDER BY sequence DESC LIMIT 1;

-- name: UploadOfGeneration :exec
-- It was interrupted before the policy set followed something for a while.
UPDATE ingestions SET generation = sqlc.arg(generation) WHERE id = sqlc.arg(id);

-- name: AbandonedUploads :many
-- Uploads that nobody works on since a time, the oldest first.
SELECT ingestions.sequence, ingestions.id, ingestions.policy_set_id, ingestions.repository_id, ingestions.token_id, ingestions.generation, ingestions.branch, ingestions.pushed_branch, ingestions.commit_id, ingestions.path, ingestions.submodules, ingestions.kind, ingestions.cause, ingestions.delivery_guid, ingestions.status, ingestions.reason, ingestions.version_id, ingestions.attempts, ingestions.failures, ingestions.lease, ingestions.due_at, ingestions.enqueue_at, ingestions.created_at, ingestions.started_at, ingestions.ended_at, ingestions.installation_id, ingestions.update_patterns FROM ingestions
WHERE cause = 'upload' AND ended_at IS NULL AND due_at <= sqlc.arg(since)
ORDER BY sequence LIMIT sqlc.arg(size);

-- name: RunningUploads :many
SELECT ingestions.sequence, ingestions.id, ingestions.policy_set_id, ingestions.repository_id, ingestions.token_id, ingestions.generation, ingestions.branch, ingestions.pushed_branch, ingestions.commit_id, ingestions.path, ingestions.submodules, ingestions.kind, ingestions.cause, ingestions.delivery_guid, ingestions.status, ingestions.reason, ingestions.version_id, ingestions.attempts, ingestions.failures, ingestions.lease, ingestions.due_at, ingestions.enqueue_at, ingestions.created_at, ingestions.started_at, ingestions.ended_at, ingestions.installation_id, ingestions.update_patterns FROM ingestions
WHERE cause = 'upload' AND status = 'running' ORDER BY sequence;
