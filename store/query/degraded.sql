-- name: DegradePolicySet :exec
UPDATE policy_sets SET degraded = $2, degraded_message = $3, degraded_at = $4 WHERE id = $1;

-- name: CountLooksToCome :one
-- Ingestions of a policy set that are about to look at the branch and that
-- nobody has begun.
SELECT count(*) FROM ingestions
WHERE policy_set_id = $1 AND generation = $2 AND commit_id = '' AND ended_at IS NULL AND attempts = 0;
