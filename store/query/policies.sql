-- name: InsertPolicy :execrows
INSERT INTO policies (id, organization_id, name, description, kind, query, enforcement_level, digest, size, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, '', 0, sqlc.arg(now), sqlc.arg(now))
ON CONFLICT (organization_id, name) DO NOTHING;

-- name: Policy :one
SELECT sqlc.embed(policies), organizations.name AS organization
FROM policies JOIN organizations ON organizations.id = policies.organization_id
WHERE policies.id = sqlc.arg(id)
  AND (CAST(sqlc.arg(tenant) AS text) = '' OR policies.organization_id = sqlc.arg(tenant));

-- name: UpdatePolicy :exec
UPDATE policies SET description = $2, query = $3, enforcement_level = $4, updated_at = sqlc.arg(now) WHERE id = $1;

-- name: UploadPolicy :exec
UPDATE policies SET digest = sqlc.arg(digest), size = sqlc.arg(size), uploaded_at = sqlc.arg(now), updated_at = sqlc.arg(now)
WHERE id = sqlc.arg(id);

-- name: DeletePolicy :exec
DELETE FROM policies WHERE id = $1;

-- name: PolicySetsOfPolicy :many
SELECT policy_set_id FROM policy_set_policies WHERE policy_id = $1 ORDER BY sequence;

-- name: InsertPolicySetPolicy :execrows
INSERT INTO policy_set_policies (policy_set_id, policy_id) VALUES ($1, $2)
ON CONFLICT (policy_set_id, policy_id) DO NOTHING;

-- name: CodesOfPolicies :many
SELECT organization_id, id, digest FROM policies WHERE digest <> '' ORDER BY sequence;
