-- name: InsertDelivery :execrows
INSERT INTO deliveries (hook_id, guid, event, body_sha256, sender, outcome, reason, received_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (hook_id, guid) DO NOTHING;

-- name: SettleDelivery :exec
UPDATE deliveries SET outcome = $3, reason = $4 WHERE hook_id = $1 AND guid = $2;

-- name: DeleteDeliveriesOfOrganization :exec
DELETE FROM deliveries WHERE hook_id IN (SELECT repositories.hook_id FROM repositories WHERE repositories.organization_id = $1);
