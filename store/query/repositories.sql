-- name: InsertRepository :exec
INSERT INTO repositories (id, organization_id, http_url, host, identifier, identifier_key, external_id, default_branch, hook_id, sealed_secrets, looks,
    proven, reached_key, named_look, missed_look, created_at)
VALUES ($1, $2, $3, $4, $5, $6, 0, '', $7, $8, 0, false, '', 0, 0, $9);

-- name: Repository :one
SELECT id, organization_id, http_url, host, identifier, identifier_key, external_id, default_branch, hook_id, sealed_secrets, looks, proven, reached_key, named_look, missed_look, created_at, archived, look_due_at, look_failures FROM repositories WHERE id = $1;

-- name: RepositoryByHook :one
SELECT id, organization_id, http_url, host, identifier, identifier_key, external_id, default_branch, hook_id, sealed_secrets, looks, proven, reached_key, named_look, missed_look, created_at, archived, look_due_at, look_failures FROM repositories WHERE hook_id = $1;

-- name: RepositoryByName :one
-- Of several rows that had the name in turn, the one that a delivery bound
-- last is likeliest to have it still.
SELECT id, organization_id, http_url, host, identifier, identifier_key, external_id, default_branch, hook_id, sealed_secrets, looks, proven, reached_key, named_look, missed_look, created_at, archived, look_due_at, look_failures FROM repositories
WHERE organization_id = $1 AND host = $2 AND identifier_key = $3
ORDER BY external_id DESC, created_at DESC LIMIT 1;

-- name: RepositoriesOfPush :many
-- The repository's number counts; its name only as long as no number is known.
SELECT id, organization_id, http_url, host, identifier, identifier_key, external_id, default_branch, hook_id, sealed_secrets, looks, proven, reached_key, named_look, missed_look, created_at, archived, look_due_at, look_failures FROM repositories
WHERE host = sqlc.arg(host)
  AND ((external_id = sqlc.arg(external_id) AND external_id <> 0)
    OR (external_id = 0 AND identifier_key = sqlc.arg(identifier_key)))
ORDER BY id;

-- name: BindRepository :exec
UPDATE repositories SET external_id = $2, identifier = $3, identifier_key = $4, default_branch = $5, proven = $6, named_look = $7
WHERE id = $1;

-- name: ReachRepository :exec
UPDATE repositories SET reached_key = $2 WHERE id = $1;

-- name: MissPush :exec
-- Only a look that is claimed from now on is sure to see the push.
UPDATE repositories SET missed_look = looks + 1 WHERE id = $1;

-- name: NextLook :one
UPDATE repositories SET looks = looks + 1 WHERE id = $1 RETURNING looks;

-- name: SetDefaultBranch :exec
UPDATE repositories SET default_branch = $2 WHERE id = $1;

-- name: RetireRepository :execrows
-- A repository row lives while a policy set follows it or work refers to it.
DELETE FROM repositories WHERE repositories.id = $1
  AND NOT EXISTS (SELECT 1 FROM policy_sets WHERE policy_sets.repository_id = repositories.id)
  AND NOT EXISTS (SELECT 1 FROM ingestions WHERE ingestions.repository_id = repositories.id AND ingestions.ended_at IS NULL);

-- name: SealedSecrets :many
SELECT id, sealed_secrets FROM repositories ORDER BY id;

-- name: UpdateSealedSecrets :exec
UPDATE repositories SET sealed_secrets = $2 WHERE id = $1;
