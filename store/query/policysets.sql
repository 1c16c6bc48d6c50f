-- name: InsertPolicySet :execrows
INSERT INTO policy_sets (id, organization_id, name, description, global, kind, overridable, policies_path,
    repository_id, branch, submodules, token_id, installation_id, agent_enabled, policy_tool_version, update_patterns, tag_matching_logic,
    generation, newest_version_id, current_version_id, created_at, updated_at, followed_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
    1, '', '', sqlc.arg(now), sqlc.arg(now), sqlc.arg(now))
ON CONFLICT (organization_id, name) DO NOTHING;

-- name: PolicySet :one
SELECT sqlc.embed(policy_sets), organizations.name AS organization,
    COALESCE(repositories.http_url, '') AS http_url,
    COALESCE(repositories.identifier, '') AS identifier,
    COALESCE(repositories.hook_id, '') AS hook_id,
    COALESCE(branches.head, '') AS head, branches.seen_at AS looked_at, branches.changed_at AS head_at,
    COALESCE(hooks.revision, 0) AS hook_revision, COALESCE(hooks.sent, 0) AS hook_sent, COALESCE(hooks.manual, '') AS hook_manual
FROM policy_sets
JOIN organizations ON organizations.id = policy_sets.organization_id
LEFT JOIN repositories ON repositories.id = policy_sets.repository_id
LEFT JOIN hooks ON hooks.id = repositories.hook_id
LEFT JOIN branches ON branches.repository_id = repositories.id
    AND branches.name = COALESCE(NULLIF(policy_sets.branch, ''), repositories.default_branch)
WHERE policy_sets.id = sqlc.arg(id)
  AND (CAST(sqlc.arg(tenant) AS text) = '' OR policy_sets.organization_id = sqlc.arg(tenant));

-- name: PolicySetsOfRepository :many
SELECT policy_sets.sequence, policy_sets.id, policy_sets.organization_id, policy_sets.name, policy_sets.description, policy_sets.global, policy_sets.kind, policy_sets.overridable, policy_sets.policies_path, policy_sets.repository_id, policy_sets.branch, policy_sets.submodules, policy_sets.token_id, policy_sets.generation, policy_sets.newest_version_id, policy_sets.current_version_id, policy_sets.created_at, policy_sets.updated_at, policy_sets.installation_id, policy_sets.degraded, policy_sets.degraded_message, policy_sets.degraded_at, policy_sets.ingested_commit, policy_sets.ingested_at, policy_sets.settled_head, policy_sets.followed_at, policy_sets.agent_enabled, policy_sets.policy_tool_version, policy_sets.update_patterns, policy_sets.tag_matching_logic, policy_sets.policies_revision, policy_sets.materialized_revision, policy_sets.materialized_version_id, policy_sets.materialize_lease, policy_sets.materialize_failures, policy_sets.materialize_due_at FROM policy_sets WHERE repository_id = $1 ORDER BY id;

-- name: PolicySetNameTaken :one
SELECT count(*) FROM policy_sets WHERE organization_id = $1 AND name = $2 AND id <> $3;

-- name: UpdatePolicySet :exec
-- With the generation begins what is told of its progress.
UPDATE policy_sets SET
    settled_head = CASE WHEN generation = $11 THEN settled_head ELSE '' END,
    ingested_commit = CASE WHEN generation = $11 THEN ingested_commit ELSE '' END,
    ingested_at = CASE WHEN generation = $11 THEN ingested_at END,
    followed_at = CASE WHEN generation = $11 THEN followed_at ELSE sqlc.arg(now) END,
    name = $2, description = $3, global = $4, overridable = $5, policies_path = $6,
    repository_id = $7, branch = $8, submodules = $9, token_id = $10, generation = $11, installation_id = $12,
    agent_enabled = $13, policy_tool_version = $14, update_patterns = $15, tag_matching_logic = $16, updated_at = sqlc.arg(now)
WHERE id = $1;

-- name: TouchPolicySet :exec
UPDATE policy_sets SET updated_at = sqlc.arg(now) WHERE id = sqlc.arg(id);

-- name: SetNewestVersion :exec
UPDATE policy_sets SET newest_version_id = $2 WHERE id = $1;

-- name: SetCurrentVersion :exec
UPDATE policy_sets SET current_version_id = $2 WHERE id = $1;

-- name: DeletePolicySet :execrows
DELETE FROM policy_sets WHERE id = $1;

-- name: CurrentVersions :many
SELECT organization_id, id, current_version_id FROM policy_sets WHERE current_version_id <> '' ORDER BY sequence;
