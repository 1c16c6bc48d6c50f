-- name: InsertVersion :exec
INSERT INTO versions (id, policy_set_id, source, status, pending_at, error, error_message, commit_id, commit_url,
    identifier, branch, content, digest, tar_digest, size, tar_size, files, policies_directory, policies, created_at, updated_at)
VALUES ($1, $2, $3, 'pending', sqlc.arg(now), '', '', $4, $5, $6, $7, '', '', '', 0, 0, 0, '', '[]', sqlc.arg(now), sqlc.arg(now));

-- name: Version :one
SELECT versions.sequence, versions.id, versions.policy_set_id, versions.source, versions.status, versions.pending_at, versions.ingressing_at, versions.ready_at, versions.errored_at, versions.error, versions.error_message, versions.commit_id, versions.commit_url, versions.identifier, versions.branch, versions.content, versions.digest, versions.tar_digest, versions.size, versions.tar_size, versions.files, versions.policies_directory, versions.policies, versions.created_at, versions.updated_at, versions.diagnostics FROM versions WHERE id = $1;

-- name: VersionOfTenant :one
SELECT versions.sequence, versions.id, versions.policy_set_id, versions.source, versions.status, versions.pending_at, versions.ingressing_at, versions.ready_at, versions.errored_at, versions.error, versions.error_message, versions.commit_id, versions.commit_url, versions.identifier, versions.branch, versions.content, versions.digest, versions.tar_digest, versions.size, versions.tar_size, versions.files, versions.policies_directory, versions.policies, versions.created_at, versions.updated_at, versions.diagnostics FROM versions JOIN policy_sets ON policy_sets.id = versions.policy_set_id
WHERE versions.id = sqlc.arg(id)
  AND (CAST(sqlc.arg(tenant) AS text) = '' OR policy_sets.organization_id = sqlc.arg(tenant));

-- name: NewestVersionBefore :one
-- Of an ingestion without a version, the policy set's newest; of one with,
-- the newest before it: a change of the set may have added a later one. What
-- was made of the set's own policies is none of them.
SELECT versions.sequence, versions.id, versions.policy_set_id, versions.source, versions.status, versions.pending_at, versions.ingressing_at, versions.ready_at, versions.errored_at, versions.error, versions.error_message, versions.commit_id, versions.commit_url, versions.identifier, versions.branch, versions.content, versions.digest, versions.tar_digest, versions.size, versions.tar_size, versions.files, versions.policies_directory, versions.policies, versions.created_at, versions.updated_at, versions.diagnostics FROM versions
WHERE versions.policy_set_id = sqlc.arg(policy_set_id) AND versions.source <> 'policies'
  AND (CAST(sqlc.arg(id) AS text) = '' OR versions.sequence < (SELECT own.sequence FROM versions AS own WHERE own.id = sqlc.arg(id)))
ORDER BY versions.sequence DESC LIMIT 1;

-- name: ResolveVersion :exec
UPDATE versions SET commit_id = $2, commit_url = $3, branch = $4, updated_at = sqlc.arg(now) WHERE id = $1;

-- name: StartVersion :exec
UPDATE versions SET status = 'ingressing', ingressing_at = sqlc.arg(now), content = sqlc.arg(content), updated_at = sqlc.arg(now)
WHERE id = sqlc.arg(id) AND status = 'pending';

-- name: FinishVersion :exec
UPDATE versions SET status = 'ready', ready_at = sqlc.arg(now), content = sqlc.arg(content), digest = sqlc.arg(digest),
    tar_digest = sqlc.arg(tar_digest), size = sqlc.arg(size), tar_size = sqlc.arg(tar_size), files = sqlc.arg(files),
    policies_directory = sqlc.arg(policies_directory), policies = sqlc.arg(policies), updated_at = sqlc.arg(now)
WHERE id = sqlc.arg(id) AND status = 'ingressing';

-- name: FailVersion :exec
UPDATE versions SET status = 'errored', errored_at = sqlc.arg(now), content = sqlc.arg(content), error = sqlc.arg(error),
    error_message = sqlc.arg(error_message), diagnostics = sqlc.arg(diagnostics), updated_at = sqlc.arg(now)
WHERE id = sqlc.arg(id) AND status = 'ingressing';

-- name: ReadyVersionsAfter :many
SELECT versions.sequence, versions.id, versions.policy_set_id, versions.source, versions.status, versions.pending_at, versions.ingressing_at, versions.ready_at, versions.errored_at, versions.error, versions.error_message, versions.commit_id, versions.commit_url, versions.identifier, versions.branch, versions.content, versions.digest, versions.tar_digest, versions.size, versions.tar_size, versions.files, versions.policies_directory, versions.policies, versions.created_at, versions.updated_at, versions.diagnostics FROM versions WHERE status = 'ready' AND sequence > $1 ORDER BY sequence LIMIT sqlc.arg(size);
