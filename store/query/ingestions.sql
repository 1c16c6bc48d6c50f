-- name: InsertIngestion :exec
INSERT INTO ingestions (id, policy_set_id, repository_id, token_id, generation, branch, pushed_branch, commit_id, path,
    submodules, kind, cause, delivery_guid, installation_id, update_patterns, status, reason, version_id, attempts, failures, lease, due_at, enqueue_at, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 'pending', '', '', 0, 0, 0,
    sqlc.arg(now), sqlc.arg(enqueue_at), sqlc.arg(now));

-- name: Ingestion :one
SELECT ingestions.sequence, ingestions.id, ingestions.policy_set_id, ingestions.repository_id, ingestions.token_id, ingestions.generation, ingestions.branch, ingestions.pushed_branch, ingestions.commit_id, ingestions.path, ingestions.submodules, ingestions.kind, ingestions.cause, ingestions.delivery_guid, ingestions.status, ingestions.reason, ingestions.version_id, ingestions.attempts, ingestions.failures, ingestions.lease, ingestions.due_at, ingestions.enqueue_at, ingestions.created_at, ingestions.started_at, ingestions.ended_at, ingestions.installation_id, ingestions.update_patterns FROM ingestions WHERE id = $1;

-- name: IngestionsDue :many
-- What a worker may take of a commit: waiting or abandoned, and nothing
-- earlier of the same generation of its policy set unfinished.
SELECT ingestions.sequence, ingestions.id, ingestions.policy_set_id, ingestions.repository_id, ingestions.token_id, ingestions.generation, ingestions.branch, ingestions.pushed_branch, ingestions.commit_id, ingestions.path, ingestions.submodules, ingestions.kind, ingestions.cause, ingestions.delivery_guid, ingestions.status, ingestions.reason, ingestions.version_id, ingestions.attempts, ingestions.failures, ingestions.lease, ingestions.due_at, ingestions.enqueue_at, ingestions.created_at, ingestions.started_at, ingestions.ended_at, ingestions.installation_id, ingestions.update_patterns FROM ingestions
WHERE ingestions.repository_id = sqlc.arg(repository_id) AND ingestions.commit_id = sqlc.arg(commit_id)
  AND ingestions.ended_at IS NULL AND ingestions.due_at <= sqlc.arg(now)
  AND NOT EXISTS (
    SELECT 1 FROM ingestions AS earlier
    WHERE earlier.policy_set_id = ingestions.policy_set_id AND earlier.generation = ingestions.generation
      AND earlier.ended_at IS NULL AND earlier.sequence < ingestions.sequence)
ORDER BY ingestions.sequence LIMIT sqlc.arg(size);

-- name: CountClaimable :one
-- What of a commit waits for nothing but a worker, and maybe its time: the end
-- of the earlier wakes the rest.
SELECT count(*) FROM ingestions
WHERE ingestions.repository_id = sqlc.arg(repository_id) AND ingestions.commit_id = sqlc.arg(commit_id)
  AND ingestions.ended_at IS NULL
  AND NOT EXISTS (
    SELECT 1 FROM ingestions AS earlier
    WHERE earlier.policy_set_id = ingestions.policy_set_id AND earlier.generation = ingestions.generation
      AND earlier.ended_at IS NULL AND earlier.sequence < ingestions.sequence);

-- name: IngestionsToSweep :many
-- Due work that nothing woke for a while; the first of each policy set only,
-- since its end wakes the next.
SELECT ingestions.sequence, ingestions.id, ingestions.policy_set_id, ingestions.repository_id, ingestions.token_id, ingestions.generation, ingestions.branch, ingestions.pushed_branch, ingestions.commit_id, ingestions.path, ingestions.submodules, ingestions.kind, ingestions.cause, ingestions.delivery_guid, ingestions.status, ingestions.reason, ingestions.version_id, ingestions.attempts, ingestions.failures, ingestions.lease, ingestions.due_at, ingestions.enqueue_at, ingestions.created_at, ingestions.started_at, ingestions.ended_at, ingestions.installation_id, ingestions.update_patterns FROM ingestions
WHERE ingestions.ended_at IS NULL AND ingestions.due_at <= sqlc.arg(now) AND ingestions.enqueue_at <= sqlc.arg(now)
  AND ingestions.repository_id IS NOT NULL
  AND NOT EXISTS (
    SELECT 1 FROM ingestions AS earlier
    WHERE earlier.policy_set_id = ingestions.policy_set_id AND earlier.generation = ingestions.generation
      AND earlier.ended_at IS NULL AND earlier.sequence < ingestions.sequence)
ORDER BY ingestions.enqueue_at, ingestions.sequence LIMIT sqlc.arg(size);

-- name: NextIngestion :one
SELECT ingestions.sequence, ingestions.id, ingestions.policy_set_id, ingestions.repository_id, ingestions.token_id, ingestions.generation, ingestions.branch, ingestions.pushed_branch, ingestions.commit_id, ingestions.path, ingestions.submodules, ingestions.kind, ingestions.cause, ingestions.delivery_guid, ingestions.status, ingestions.reason, ingestions.version_id, ingestions.attempts, ingestions.failures, ingestions.lease, ingestions.due_at, ingestions.enqueue_at, ingestions.created_at, ingestions.started_at, ingestions.ended_at, ingestions.installation_id, ingestions.update_patterns FROM ingestions
WHERE policy_set_id = $1 AND generation = $2 AND ended_at IS NULL ORDER BY sequence LIMIT 1;

-- name: LastPush :one
SELECT commit_id FROM ingestions
WHERE policy_set_id = $1 AND pushed_branch = $2 AND generation = $3 AND cause = 'push'
ORDER BY sequence DESC LIMIT 1;

-- name: IngestionOfHead :one
-- The latest ingestion that has to do with a branch head: that of the commit,
-- or one that is about to look for the head itself.
SELECT ingestions.sequence, ingestions.id, ingestions.policy_set_id, ingestions.repository_id, ingestions.token_id, ingestions.generation, ingestions.branch, ingestions.pushed_branch, ingestions.commit_id, ingestions.path, ingestions.submodules, ingestions.kind, ingestions.cause, ingestions.delivery_guid, ingestions.status, ingestions.reason, ingestions.version_id, ingestions.attempts, ingestions.failures, ingestions.lease, ingestions.due_at, ingestions.enqueue_at, ingestions.created_at, ingestions.started_at, ingestions.ended_at, ingestions.installation_id, ingestions.update_patterns FROM ingestions
WHERE policy_set_id = sqlc.arg(policy_set_id) AND generation = sqlc.arg(generation)
  AND (commit_id = sqlc.arg(commit_id) OR (commit_id = '' AND ended_at IS NULL))
ORDER BY sequence DESC LIMIT 1;

-- name: ReadyIngestionOfHead :one
-- The latest ingestion of a commit that led to a ready version.
SELECT ingestions.sequence, ingestions.id, ingestions.policy_set_id, ingestions.repository_id, ingestions.token_id, ingestions.generation, ingestions.branch, ingestions.pushed_branch, ingestions.commit_id, ingestions.path, ingestions.submodules, ingestions.kind, ingestions.cause, ingestions.delivery_guid, ingestions.status, ingestions.reason, ingestions.version_id, ingestions.attempts, ingestions.failures, ingestions.lease, ingestions.due_at, ingestions.enqueue_at, ingestions.created_at, ingestions.started_at, ingestions.ended_at, ingestions.installation_id, ingestions.update_patterns FROM ingestions
WHERE ingestions.policy_set_id = sqlc.arg(policy_set_id) AND ingestions.generation = sqlc.arg(generation) AND ingestions.commit_id = sqlc.arg(commit_id)
  AND EXISTS (SELECT 1 FROM versions WHERE versions.id = ingestions.version_id AND versions.status = 'ready')
ORDER BY ingestions.sequence DESC LIMIT 1;

-- name: LastProcessed :one
-- The last of a policy set's commits that was brought to a version, and which
-- version is in force.
SELECT ingestions.commit_id, ingestions.version_id, policy_sets.current_version_id FROM ingestions
JOIN policy_sets ON policy_sets.id = ingestions.policy_set_id
WHERE ingestions.policy_set_id = sqlc.arg(policy_set_id) AND ingestions.generation = sqlc.arg(generation)
  AND ingestions.status IN ('versioned', 'unchanged', 'failed')
ORDER BY ingestions.sequence DESC LIMIT 1;

-- name: ClaimIngestion :execrows
UPDATE ingestions SET status = 'running', lease = lease + 1, attempts = attempts + 1,
    due_at = sqlc.arg(leased_until), enqueue_at = sqlc.arg(leased_until), started_at = COALESCE(started_at, sqlc.arg(now))
WHERE id = sqlc.arg(id) AND lease = sqlc.arg(lease) AND ended_at IS NULL;

-- name: RenewIngestion :execrows
UPDATE ingestions SET due_at = sqlc.arg(leased_until), enqueue_at = sqlc.arg(leased_until)
WHERE id = sqlc.arg(id) AND lease = sqlc.arg(lease) AND status = 'running';

-- name: ReleaseIngestion :execrows
UPDATE ingestions SET status = 'pending', due_at = sqlc.arg(due_at), enqueue_at = sqlc.arg(enqueue_at),
    reason = sqlc.arg(reason), failures = failures + sqlc.arg(failed)
WHERE id = sqlc.arg(id) AND lease = sqlc.arg(lease) AND status = 'running';

-- name: EnqueuedIngestion :exec
UPDATE ingestions SET enqueue_at = $2 WHERE id = $1;

-- name: ResolveIngestion :execrows
UPDATE ingestions SET commit_id = sqlc.arg(commit_id)
WHERE id = sqlc.arg(id) AND lease = sqlc.arg(lease) AND status = 'running';

-- name: GiveIngestionVersion :exec
UPDATE ingestions SET version_id = $2 WHERE id = $1;

-- name: EndIngestion :execrows
UPDATE ingestions SET status = sqlc.arg(status), reason = sqlc.arg(reason), version_id = sqlc.arg(version_id), ended_at = sqlc.arg(now)
WHERE id = sqlc.arg(id) AND lease = sqlc.arg(lease) AND status = 'running';

-- name: UnversionedIngestions :many
SELECT ingestions.sequence, ingestions.id, ingestions.policy_set_id, ingestions.repository_id, ingestions.token_id, ingestions.generation, ingestions.branch, ingestions.pushed_branch, ingestions.commit_id, ingestions.path, ingestions.submodules, ingestions.kind, ingestions.cause, ingestions.delivery_guid, ingestions.status, ingestions.reason, ingestions.version_id, ingestions.attempts, ingestions.failures, ingestions.lease, ingestions.due_at, ingestions.enqueue_at, ingestions.created_at, ingestions.started_at, ingestions.ended_at, ingestions.installation_id, ingestions.update_patterns FROM ingestions
WHERE policy_set_id = $1 AND ended_at IS NULL AND version_id = '' ORDER BY sequence;

-- name: IgnoreIngestion :exec
-- Over the head of whoever holds its lease.
UPDATE ingestions SET status = 'ignored', reason = $2, lease = lease + 1, ended_at = sqlc.arg(now) WHERE id = $1 AND ended_at IS NULL;

-- name: RepositoriesOfUnfinished :many
SELECT DISTINCT repository_id FROM ingestions
WHERE policy_set_id = $1 AND ended_at IS NULL AND repository_id IS NOT NULL ORDER BY repository_id;

-- name: VoidLeases :execrows
-- For a process that knows itself to be the only one: nobody holds a lease.
UPDATE ingestions SET status = 'pending', lease = lease + 1, due_at = sqlc.arg(now), enqueue_at = sqlc.arg(now)
WHERE status = 'running';

-- name: UnfinishedFirst :many
SELECT ingestions.sequence, ingestions.id, ingestions.policy_set_id, ingestions.repository_id, ingestions.token_id, ingestions.generation, ingestions.branch, ingestions.pushed_branch, ingestions.commit_id, ingestions.path, ingestions.submodules, ingestions.kind, ingestions.cause, ingestions.delivery_guid, ingestions.status, ingestions.reason, ingestions.version_id, ingestions.attempts, ingestions.failures, ingestions.lease, ingestions.due_at, ingestions.enqueue_at, ingestions.created_at, ingestions.started_at, ingestions.ended_at, ingestions.installation_id, ingestions.update_patterns FROM ingestions
WHERE ingestions.ended_at IS NULL AND ingestions.repository_id IS NOT NULL
  AND NOT EXISTS (
    SELECT 1 FROM ingestions AS earlier
    WHERE earlier.policy_set_id = ingestions.policy_set_id AND earlier.generation = ingestions.generation
      AND earlier.ended_at IS NULL AND earlier.sequence < ingestions.sequence)
ORDER BY ingestions.sequence;

-- name: CountUnfinished :one
SELECT count(*) FROM ingestions WHERE ended_at IS NULL;

-- name: LatestIngestion :one
SELECT ingestions.sequence, ingestions.id, ingestions.policy_set_id, ingestions.repository_id, ingestions.token_id, ingestions.generation, ingestions.branch, ingestions.pushed_branch, ingestions.commit_id, ingestions.path, ingestions.submodules, ingestions.kind, ingestions.cause, ingestions.delivery_guid, ingestions.status, ingestions.reason, ingestions.version_id, ingestions.attempts, ingestions.failures, ingestions.lease, ingestions.due_at, ingestions.enqueue_at, ingestions.created_at, ingestions.started_at, ingestions.ended_at, ingestions.installation_id, ingestions.update_patterns FROM ingestions
WHERE policy_set_id = sqlc.arg(policy_set_id) ORDER BY sequence DESC LIMIT 1;
