-- name: InsertToolVersion :execrows
INSERT INTO tool_versions (id, tool, version, url, sha, archs, official, enabled, beta, deprecated, deprecated_reason, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (tool, version) DO NOTHING;

-- name: ToolVersion :one
SELECT tool_versions.sequence, tool_versions.id, tool_versions.tool, tool_versions.version, tool_versions.url, tool_versions.sha, tool_versions.archs, tool_versions.official, tool_versions.enabled, tool_versions.beta, tool_versions.deprecated, tool_versions.deprecated_reason, tool_versions.created_at
FROM tool_versions WHERE id = $1 AND tool = $2;

-- name: PolicySetsWithTool :one
-- A set of OPA policies is pinned to versions of OPA, one of Sentinel to those of Sentinel.
SELECT count(*) FROM policy_sets WHERE kind = $1 AND policy_tool_version = $2;

-- name: UpdateToolVersion :exec
UPDATE tool_versions SET version = $2, url = $3, sha = $4, archs = $5, official = $6, enabled = $7, beta = $8, deprecated = $9, deprecated_reason = $10
WHERE id = $1;

-- name: DeleteToolVersion :execrows
DELETE FROM tool_versions WHERE id = $1;
