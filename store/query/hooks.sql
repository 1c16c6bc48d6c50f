-- name: Hook :one
SELECT id, organization_id, repository_id, http_url, identifier, repository_external_id, token_id, external_id, removed, revision,
    sent, manual, failures, lease, claimed, due_at, created_at
FROM hooks WHERE id = $1;

-- name: InsertHook :exec
INSERT INTO hooks (id, organization_id, repository_id, http_url, identifier, repository_external_id, token_id, external_id,
    removed, revision, sent, manual, failures, lease, claimed, due_at, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, 0, FALSE, 1, 0, '', 0, 0, 0, sqlc.arg(now), sqlc.arg(now));

-- name: WantHook :exec
-- What is wanted of a hook. A change of it is a new revision, for whose sake
-- nobody who is at work on the hook is overtaken: it is due when that work ends.
-- Hooks are claimed without their repository's lock, so only this can know.
UPDATE hooks SET repository_id = sqlc.arg(repository_id), token_id = sqlc.arg(token_id), removed = sqlc.arg(removed),
    revision = revision + sqlc.arg(news), failures = 0, due_at = CASE WHEN claimed = 0 THEN sqlc.arg(now) ELSE due_at END
WHERE id = sqlc.arg(id);

-- name: NameHook :exec
UPDATE hooks SET identifier = $2, repository_external_id = $3 WHERE repository_id = $1;

-- name: DeleteUntouchedHook :execrows
-- One that nobody ever worked on.
DELETE FROM hooks WHERE id = $1 AND lease = 0;

-- name: DeleteHook :exec
DELETE FROM hooks WHERE id = $1;

-- name: HooksDue :many
-- Without a token nothing can be done.
SELECT id FROM hooks
WHERE sent < revision AND token_id IS NOT NULL AND due_at <= sqlc.arg(now)
ORDER BY due_at, id LIMIT sqlc.arg(size);

-- name: ClaimHook :execrows
UPDATE hooks SET lease = lease + 1, claimed = revision, due_at = sqlc.arg(leased_until)
WHERE id = sqlc.arg(id) AND sent < revision AND token_id IS NOT NULL AND due_at <= sqlc.arg(now);

-- name: DeleteLostHooks :exec
-- Those that are wanted no more and that there is no token to remove with.
DELETE FROM hooks WHERE organization_id = $1 AND removed AND token_id IS NULL;

-- name: SettleHook :exec
UPDATE hooks SET external_id = $2, sent = $3, manual = $4, failures = $5, due_at = $6, claimed = 0 WHERE id = $1;
