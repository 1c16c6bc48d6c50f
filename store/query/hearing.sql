-- name: PolicySetsThatHear :many
-- Those of a repository that may be told of it: what uses an installation does
-- so only as long as that exists and its organization may use it.
SELECT policy_sets.sequence, policy_sets.id, policy_sets.organization_id, policy_sets.name, policy_sets.description, policy_sets.global, policy_sets.kind, policy_sets.overridable, policy_sets.policies_path, policy_sets.repository_id, policy_sets.branch, policy_sets.submodules, policy_sets.token_id, policy_sets.generation, policy_sets.newest_version_id, policy_sets.current_version_id, policy_sets.created_at, policy_sets.updated_at, policy_sets.installation_id, policy_sets.degraded, policy_sets.degraded_message, policy_sets.degraded_at, policy_sets.ingested_commit, policy_sets.ingested_at, policy_sets.settled_head, policy_sets.followed_at, policy_sets.agent_enabled, policy_sets.policy_tool_version, policy_sets.update_patterns, policy_sets.tag_matching_logic, policy_sets.policies_revision, policy_sets.materialized_revision, policy_sets.materialized_version_id, policy_sets.materialize_lease, policy_sets.materialize_failures, policy_sets.materialize_due_at
FROM policy_sets
WHERE policy_sets.repository_id = $1
  AND (policy_sets.installation_id IS NULL OR EXISTS (
    SELECT 1 FROM installations
    JOIN installation_organizations ON installation_organizations.installation_id = installations.id
    WHERE installations.id = policy_sets.installation_id AND installations.deleted_at IS NULL
      AND installation_organizations.organization_id = policy_sets.organization_id))
ORDER BY policy_sets.id;

-- name: SetRepositoryArchived :exec
UPDATE repositories SET archived = $2 WHERE id = $1;

-- name: RepositoriesByNumber :many
SELECT id, organization_id, http_url, host, identifier, identifier_key, external_id, default_branch, hook_id, sealed_secrets, looks, proven, reached_key, named_look, missed_look, created_at, archived, look_due_at, look_failures
FROM repositories WHERE organization_id = $1 AND host = $2 AND external_id = $3
ORDER BY proven DESC, created_at, id;

-- name: RepositoryByNameOnly :one
-- Of those whose number nobody has told yet.
SELECT id, organization_id, http_url, host, identifier, identifier_key, external_id, default_branch, hook_id, sealed_secrets, looks, proven, reached_key, named_look, missed_look, created_at, archived, look_due_at, look_failures
FROM repositories WHERE organization_id = $1 AND host = $2 AND identifier_key = $3 AND external_id = 0
ORDER BY created_at DESC LIMIT 1;
