-- name: CountPoliciesOfSet :one
SELECT count(*) FROM policy_set_policies WHERE policy_set_id = $1;

-- name: InsertTagSelector :exec
INSERT INTO policy_set_tag_selectors (policy_set_id, tag_key, tag_value, excluded) VALUES ($1, $2, $3, $4);

-- name: DeleteTagSelector :exec
DELETE FROM policy_set_tag_selectors
WHERE policy_set_id = sqlc.arg(policy_set_id) AND tag_key = sqlc.arg(tag_key) AND excluded = sqlc.arg(excluded)
  AND COALESCE(tag_value, '') = CAST(sqlc.arg(tag_value) AS text) AND (tag_value IS NULL) = CAST(sqlc.arg(keyed) AS boolean);
