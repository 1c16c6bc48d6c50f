-- name: ForgetDelivery :execrows
DELETE FROM deliveries WHERE guid = $1;

-- name: IngestionsOfDelivery :many
SELECT DISTINCT ingestions.policy_set_id, ingestions.repository_id, ingestions.commit_id, ingestions.pushed_branch
FROM ingestions JOIN policy_sets ON policy_sets.id = ingestions.policy_set_id
WHERE ingestions.delivery_guid = sqlc.arg(guid)
  AND (CAST(sqlc.arg(tenant) AS text) = '' OR policy_sets.organization_id = sqlc.arg(tenant))
ORDER BY ingestions.repository_id, ingestions.policy_set_id;
