-- name: InsertInstallation :execrows
INSERT INTO installations (id, external_id, app_id, http_url, account, account_id, account_type, icon_url, html_url, selection,
    permissions, installer_id, suspended_at, deleted_at, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (external_id) DO NOTHING;

-- name: Installation :one
SELECT id, external_id, app_id, http_url, account, account_id, account_type, icon_url, html_url, selection, permissions,
    installer_id, suspended_at, deleted_at, created_at, updated_at
FROM installations WHERE id = $1;

-- name: InstallationByNumber :one
SELECT id, external_id, app_id, http_url, account, account_id, account_type, icon_url, html_url, selection, permissions,
    installer_id, suspended_at, deleted_at, created_at, updated_at
FROM installations WHERE external_id = $1;

-- name: AllInstallations :many
SELECT id, external_id, app_id, http_url, account, account_id, account_type, icon_url, html_url, selection, permissions,
    installer_id, suspended_at, deleted_at, created_at, updated_at
FROM installations ORDER BY id;

-- name: InstallationOfOrganization :one
-- What an organization may use: it exists, and it is bound to it.
SELECT installations.id, installations.external_id, installations.app_id, installations.http_url, installations.account,
    installations.account_id, installations.account_type, installations.icon_url, installations.html_url,
    installations.selection, installations.permissions, installations.installer_id, installations.suspended_at,
    installations.deleted_at, installations.created_at, installations.updated_at
FROM installations
JOIN installation_organizations ON installation_organizations.installation_id = installations.id
WHERE installations.id = sqlc.arg(id) AND installation_organizations.organization_id = sqlc.arg(organization_id)
  AND installations.deleted_at IS NULL;

-- name: UpdateInstallation :exec
UPDATE installations SET app_id = $2, http_url = $3, account = $4, account_id = $5, account_type = $6, icon_url = $7, html_url = $8,
    selection = $9, permissions = $10, installer_id = $11, suspended_at = $12, deleted_at = $13, updated_at = $14
WHERE id = $1;

-- name: BindInstallation :execrows
INSERT INTO installation_organizations (installation_id, organization_id, bound_by, bound_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (installation_id, organization_id) DO NOTHING;

-- name: UnbindInstallation :execrows
DELETE FROM installation_organizations WHERE installation_id = $1 AND organization_id = $2;

-- name: OrganizationsOfInstallation :many
SELECT organizations.id, organizations.name, organizations.email, organizations.created_at FROM organizations
JOIN installation_organizations ON installation_organizations.organization_id = organizations.id
WHERE installation_organizations.installation_id = $1 ORDER BY organizations.name;

-- name: PolicySetsOfInstallation :many
-- Of the organizations that may use it.
SELECT policy_sets.sequence, policy_sets.id, policy_sets.organization_id, policy_sets.name, policy_sets.description, policy_sets.global, policy_sets.kind, policy_sets.overridable, policy_sets.policies_path, policy_sets.repository_id, policy_sets.branch, policy_sets.submodules, policy_sets.token_id, policy_sets.generation, policy_sets.newest_version_id, policy_sets.current_version_id, policy_sets.created_at, policy_sets.updated_at, policy_sets.installation_id, policy_sets.degraded, policy_sets.degraded_message, policy_sets.degraded_at, policy_sets.ingested_commit, policy_sets.ingested_at, policy_sets.settled_head, policy_sets.followed_at, policy_sets.agent_enabled, policy_sets.policy_tool_version, policy_sets.update_patterns, policy_sets.tag_matching_logic, policy_sets.policies_revision, policy_sets.materialized_revision, policy_sets.materialized_version_id, policy_sets.materialize_lease, policy_sets.materialize_failures, policy_sets.materialize_due_at
FROM policy_sets
JOIN installation_organizations ON installation_organizations.installation_id = policy_sets.installation_id
  AND installation_organizations.organization_id = policy_sets.organization_id
WHERE policy_sets.installation_id = $1 AND policy_sets.repository_id IS NOT NULL ORDER BY policy_sets.id;

-- name: PolicySetsOfInstallationOf :many
-- Of one organization, whether it may use it or not.
SELECT policy_sets.sequence, policy_sets.id, policy_sets.organization_id, policy_sets.name, policy_sets.description, policy_sets.global, policy_sets.kind, policy_sets.overridable, policy_sets.policies_path, policy_sets.repository_id, policy_sets.branch, policy_sets.submodules, policy_sets.token_id, policy_sets.generation, policy_sets.newest_version_id, policy_sets.current_version_id, policy_sets.created_at, policy_sets.updated_at, policy_sets.installation_id, policy_sets.degraded, policy_sets.degraded_message, policy_sets.degraded_at, policy_sets.ingested_commit, policy_sets.ingested_at, policy_sets.settled_head, policy_sets.followed_at, policy_sets.agent_enabled, policy_sets.policy_tool_version, policy_sets.update_patterns, policy_sets.tag_matching_logic, policy_sets.policies_revision, policy_sets.materialized_revision, policy_sets.materialized_version_id, policy_sets.materialize_lease, policy_sets.materialize_failures, policy_sets.materialize_due_at
FROM policy_sets
WHERE installation_id = $1 AND organization_id = $2 AND repository_id IS NOT NULL ORDER BY id;

-- name: PolicySetsOfToken :many
SELECT policy_sets.sequence, policy_sets.id, policy_sets.organization_id, policy_sets.name, policy_sets.description, policy_sets.global, policy_sets.kind, policy_sets.overridable, policy_sets.policies_path, policy_sets.repository_id, policy_sets.branch, policy_sets.submodules, policy_sets.token_id, policy_sets.generation, policy_sets.newest_version_id, policy_sets.current_version_id, policy_sets.created_at, policy_sets.updated_at, policy_sets.installation_id, policy_sets.degraded, policy_sets.degraded_message, policy_sets.degraded_at, policy_sets.ingested_commit, policy_sets.ingested_at, policy_sets.settled_head, policy_sets.followed_at, policy_sets.agent_enabled, policy_sets.policy_tool_version, policy_sets.update_patterns, policy_sets.tag_matching_logic, policy_sets.policies_revision, policy_sets.materialized_revision, policy_sets.materialized_version_id, policy_sets.materialize_lease, policy_sets.materialize_failures, policy_sets.materialize_due_at
FROM policy_sets WHERE token_id = $1 AND repository_id IS NOT NULL ORDER BY id;

-- name: PolicySetsOfPredecessors :many
-- Of an organization: those whose installation on the same account was deleted.
SELECT policy_sets.sequence, policy_sets.id, policy_sets.organization_id, policy_sets.name, policy_sets.description, policy_sets.global, policy_sets.kind, policy_sets.overridable, policy_sets.policies_path, policy_sets.repository_id, policy_sets.branch, policy_sets.submodules, policy_sets.token_id, policy_sets.generation, policy_sets.newest_version_id, policy_sets.current_version_id, policy_sets.created_at, policy_sets.updated_at, policy_sets.installation_id, policy_sets.degraded, policy_sets.degraded_message, policy_sets.degraded_at, policy_sets.ingested_commit, policy_sets.ingested_at, policy_sets.settled_head, policy_sets.followed_at, policy_sets.agent_enabled, policy_sets.policy_tool_version, policy_sets.update_patterns, policy_sets.tag_matching_logic, policy_sets.policies_revision, policy_sets.materialized_revision, policy_sets.materialized_version_id, policy_sets.materialize_lease, policy_sets.materialize_failures, policy_sets.materialize_due_at
FROM policy_sets JOIN installations ON installations.id = policy_sets.installation_id
WHERE policy_sets.organization_id = $1 AND policy_sets.repository_id IS NOT NULL
  AND installations.deleted_at IS NOT NULL AND installations.account_id = $2 AND installations.http_url = $3 AND installations.account_id <> 0
ORDER BY policy_sets.id;

-- name: LivePredecessors :many
-- Installations on an account that policy sets of an organization use and that
-- nobody has told to be deleted yet.
SELECT DISTINCT installations.id
FROM policy_sets JOIN installations ON installations.id = policy_sets.installation_id
WHERE policy_sets.organization_id = $1 AND policy_sets.repository_id IS NOT NULL
  AND installations.deleted_at IS NULL AND installations.account_id = $2 AND installations.http_url = $3 AND installations.account_id <> 0
ORDER BY installations.id;

-- name: Successors :many
-- What else the organizations may use, on the same account, whose policy sets
-- use an installation; the newest last.
SELECT installation_organizations.organization_id, installations.id
FROM installations
JOIN installation_organizations ON installation_organizations.installation_id = installations.id
WHERE installations.account_id = sqlc.arg(account_id) AND installations.http_url = sqlc.arg(http_url) AND installations.account_id <> 0
  AND installations.deleted_at IS NULL AND installations.id <> sqlc.arg(id)
  AND installation_organizations.organization_id IN (
    SELECT policy_sets.organization_id FROM policy_sets
    WHERE policy_sets.installation_id = sqlc.arg(id) AND policy_sets.repository_id IS NOT NULL)
ORDER BY installations.created_at, installations.id;

-- name: MoveToInstallation :exec
UPDATE policy_sets SET installation_id = $2, updated_at = sqlc.arg(now) WHERE id = $1;
