-- name: InsertParameter :execrows
INSERT INTO policy_set_parameters (id, policy_set_id, key, sensitive, value, sealed_value, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (policy_set_id, key) DO NOTHING;

-- name: Parameter :one
SELECT policy_set_parameters.sequence, policy_set_parameters.id, policy_set_parameters.policy_set_id, policy_set_parameters.key, policy_set_parameters.sensitive, policy_set_parameters.value, policy_set_parameters.sealed_value, policy_set_parameters.created_at
FROM policy_set_parameters JOIN policy_sets ON policy_sets.id = policy_set_parameters.policy_set_id
WHERE policy_set_parameters.id = sqlc.arg(id) AND policy_set_parameters.policy_set_id = sqlc.arg(policy_set_id)
  AND (CAST(sqlc.arg(tenant) AS text) = '' OR policy_sets.organization_id = sqlc.arg(tenant));

-- name: CountParameters :one
SELECT count(*) FROM policy_set_parameters WHERE policy_set_id = $1;

-- name: ParameterKeyTaken :one
SELECT count(*) FROM policy_set_parameters WHERE policy_set_id = $1 AND key = $2 AND id <> $3;

-- name: UpdateParameter :exec
UPDATE policy_set_parameters SET key = $2, sensitive = $3, value = $4, sealed_value = $5 WHERE id = $1;

-- name: DeleteParameter :exec
DELETE FROM policy_set_parameters WHERE id = $1;

-- name: SealedParameters :many
SELECT id, sealed_value FROM policy_set_parameters WHERE sensitive ORDER BY id;

-- name: UpdateSealedParameter :exec
UPDATE policy_set_parameters SET sealed_value = $2 WHERE id = $1;
