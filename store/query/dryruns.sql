-- name: InsertDryRun :exec
INSERT INTO dry_runs (id, policy_set_id, repository_id, token_id, installation_id, number, base, commit_id, fork, path,
    submodules, kind, delivery_guid, told_at, status, reason, error, error_message, diagnostics, comparison, attempts, failures,
    lease, due_at, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, sqlc.narg(told_at), 'pending', '', '', '', '', '', 0, 0, 0,
    sqlc.arg(now), sqlc.arg(now));

-- name: DryRun :one
SELECT * FROM dry_runs WHERE id = $1;

-- name: LastDryRun :one
SELECT id, commit_id, status, told_at FROM dry_runs WHERE policy_set_id = $1 AND number = $2 ORDER BY sequence DESC LIMIT 1;

-- name: TellDryRun :exec
-- The pull request still proposes the commit.
UPDATE dry_runs SET told_at = sqlc.arg(told_at) WHERE id = $1;

-- name: UnfinishedDryRuns :many
-- Of one pull request, or of all where number is 0.
SELECT * FROM dry_runs
WHERE policy_set_id = sqlc.arg(policy_set_id) AND ended_at IS NULL
  AND (CAST(sqlc.arg(number) AS bigint) = 0 OR number = sqlc.arg(number)) ORDER BY sequence;

-- name: IgnoreDryRun :exec
-- Over the head of whoever holds its lease.
UPDATE dry_runs SET status = 'ignored', reason = $2, lease = lease + 1, ended_at = sqlc.arg(now) WHERE id = $1 AND ended_at IS NULL;

-- name: TrialsDue :many
-- Anybody can make a fork: those of commits of forks come last.
SELECT * FROM dry_runs WHERE ended_at IS NULL AND due_at <= sqlc.arg(now) ORDER BY fork, due_at, sequence LIMIT sqlc.arg(size);

-- name: ClaimDryRun :one
-- Of two nodes the second finds the row no longer due.
UPDATE dry_runs SET status = 'running', lease = lease + 1, attempts = attempts + 1, due_at = sqlc.arg(leased_until),
    started_at = COALESCE(started_at, sqlc.arg(now))
WHERE id = sqlc.arg(id) AND ended_at IS NULL AND due_at <= sqlc.arg(now)
RETURNING *;

-- name: RenewDryRun :execrows
UPDATE dry_runs SET due_at = sqlc.arg(leased_until) WHERE id = sqlc.arg(id) AND lease = sqlc.arg(lease) AND status = 'running';

-- name: ReleaseDryRun :execrows
-- What was merely cut short is neither a failure nor an attempt.
UPDATE dry_runs SET status = 'pending', due_at = sqlc.arg(due_at), reason = sqlc.arg(reason),
    failures = failures + sqlc.arg(failed), attempts = attempts - 1 + sqlc.arg(failed)
WHERE id = sqlc.arg(id) AND lease = sqlc.arg(lease) AND status = 'running';

-- name: EndDryRun :execrows
UPDATE dry_runs SET status = sqlc.arg(status), reason = '', error = sqlc.arg(error), error_message = sqlc.arg(error_message),
    diagnostics = sqlc.arg(diagnostics), comparison = sqlc.arg(comparison), ended_at = sqlc.arg(now)
WHERE id = sqlc.arg(id) AND lease = sqlc.arg(lease) AND status = 'running';

-- name: VoidTrials :exec
-- For a process that knows itself to be the only one: nobody holds a lease.
UPDATE dry_runs SET lease = lease + 1, due_at = sqlc.arg(now) WHERE status = 'running';

-- name: DeleteOldDryRuns :execrows
DELETE FROM dry_runs WHERE sequence < (SELECT MIN(oldest.sequence) FROM dry_runs AS oldest) + CAST(sqlc.arg(size) AS bigint)
  AND dry_runs.created_at < sqlc.arg(before);
