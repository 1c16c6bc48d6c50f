-- name: Branch :one
SELECT repository_id, name, head, look, seen_at, changed_at FROM branches WHERE repository_id = $1 AND name = $2;

-- name: ObserveBranch :execrows
-- Of two looks the one with the greater number counts, whichever arrives first.
INSERT INTO branches (repository_id, name, head, look, seen_at, changed_at)
VALUES (sqlc.arg(repository_id), sqlc.arg(name), sqlc.arg(head), sqlc.arg(look), sqlc.arg(now), sqlc.arg(now))
ON CONFLICT (repository_id, name) DO UPDATE SET head = excluded.head, look = excluded.look, seen_at = excluded.seen_at,
    changed_at = CASE WHEN branches.head = excluded.head THEN COALESCE(branches.changed_at, excluded.changed_at) ELSE excluded.changed_at END
WHERE branches.look <= excluded.look;

-- name: ObserveBranchFirst :exec
INSERT INTO branches (repository_id, name, head, look, seen_at, changed_at)
VALUES (sqlc.arg(repository_id), sqlc.arg(name), sqlc.arg(head), 0, sqlc.arg(now), sqlc.arg(now))
ON CONFLICT (repository_id, name) DO NOTHING;

-- name: LooksDue :many
-- Repositories that policy sets follow, those first that were looked at
-- longest ago.
SELECT repositories.id FROM repositories
WHERE repositories.look_due_at <= sqlc.arg(now)
  AND EXISTS (SELECT 1 FROM policy_sets WHERE policy_sets.repository_id = repositories.id)
ORDER BY repositories.look_due_at,
    COALESCE((SELECT MIN(branches.seen_at) FROM branches WHERE branches.repository_id = repositories.id), repositories.created_at),
    repositories.id
LIMIT sqlc.arg(size);

-- name: ClaimLook :one
-- Of two nodes the second finds the row no longer due.
UPDATE repositories SET looks = looks + 1, look_due_at = sqlc.arg(next)
WHERE id = sqlc.arg(id) AND look_due_at <= sqlc.arg(now) RETURNING looks;

-- name: ResumeLooks :exec
UPDATE repositories SET look_due_at = sqlc.arg(now) WHERE look_due_at > sqlc.arg(now);

-- name: LookFailed :exec
UPDATE repositories SET look_failures = look_failures + 1, look_due_at = sqlc.arg(next) WHERE id = sqlc.arg(id);

-- name: LookSucceeded :exec
UPDATE repositories SET look_failures = 0 WHERE id = $1;
