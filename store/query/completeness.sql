-- name: SettleIngested :exec
-- An ingestion came to its end. The head of the branch is settled with it if
-- that is its commit; one of settings that are no longer in force tells nothing.
UPDATE policy_sets SET ingested_commit = sqlc.arg(commit_id), ingested_at = sqlc.arg(now),
    settled_head = CASE WHEN EXISTS (
        SELECT 1 FROM repositories JOIN branches ON branches.repository_id = repositories.id
            AND branches.name = COALESCE(NULLIF(policy_sets.branch, ''), repositories.default_branch)
        WHERE repositories.id = policy_sets.repository_id AND branches.head = sqlc.arg(commit_id)
    ) THEN sqlc.arg(commit_id) ELSE settled_head END
WHERE policy_sets.id = sqlc.arg(id) AND policy_sets.generation = sqlc.arg(generation);

-- name: SettleHead :exec
UPDATE policy_sets SET settled_head = sqlc.arg(commit_id) WHERE policy_sets.id = sqlc.arg(id);

-- name: HeadOutcomes :many
-- How the ingestions of a commit ended, the latest first. One that was ignored
-- for its update patterns names the version that stays in force.
SELECT ingestions.ended_at, COALESCE(versions.error, '') AS error FROM ingestions
LEFT JOIN versions ON versions.id = ingestions.version_id
WHERE ingestions.policy_set_id = sqlc.arg(policy_set_id) AND ingestions.generation = sqlc.arg(generation)
  AND ingestions.commit_id = sqlc.arg(commit_id) AND ingestions.ended_at IS NOT NULL AND ingestions.version_id <> ''
ORDER BY ingestions.sequence DESC;

-- name: OldestGap :one
-- The head that has waited longest of those that are not ingested. It waits for
-- a policy set since both were there.
SELECT branches.changed_at, policy_sets.followed_at FROM policy_sets
JOIN repositories ON repositories.id = policy_sets.repository_id
JOIN branches ON branches.repository_id = repositories.id
    AND branches.name = COALESCE(NULLIF(policy_sets.branch, ''), repositories.default_branch)
WHERE branches.head <> '' AND branches.head <> policy_sets.settled_head AND branches.changed_at IS NOT NULL
ORDER BY CASE WHEN policy_sets.followed_at > branches.changed_at THEN policy_sets.followed_at ELSE branches.changed_at END LIMIT 1;

-- name: OldestLook :one
-- What is degraded says so itself.
SELECT branches.seen_at, policy_sets.created_at FROM policy_sets
JOIN repositories ON repositories.id = policy_sets.repository_id
LEFT JOIN branches ON branches.repository_id = repositories.id
    AND branches.name = COALESCE(NULLIF(policy_sets.branch, ''), repositories.default_branch)
WHERE policy_sets.degraded = ''
ORDER BY COALESCE(branches.seen_at, policy_sets.created_at) LIMIT 1;
