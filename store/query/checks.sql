-- name: ApplyingPolicySets :many
-- The policy sets that apply to a workspace: by its organization, by name, by
-- its project or by a tag in effect on it, and not kept off it by any of them.
WITH tags AS (
    SELECT tag_bindings.tag_key, tag_bindings.tag_value FROM tag_bindings
    WHERE tag_bindings.workspace_id = CAST(sqlc.arg(workspace_id) AS text)
    UNION ALL
    SELECT tag_bindings.tag_key, tag_bindings.tag_value FROM tag_bindings
    WHERE tag_bindings.project_id = CAST(sqlc.arg(project_id) AS text) AND NOT EXISTS (
        SELECT 1 FROM tag_bindings AS own
        WHERE own.workspace_id = CAST(sqlc.arg(workspace_id) AS text) AND own.tag_key = tag_bindings.tag_key)
), chosen AS (
    SELECT everywhere.id FROM policy_sets AS everywhere
    WHERE everywhere.organization_id = sqlc.arg(organization_id) AND everywhere.global
    UNION
    SELECT named.policy_set_id FROM policy_set_workspaces AS named
    WHERE named.workspace_id = CAST(sqlc.arg(workspace_id) AS text) AND NOT named.excluded
    UNION
    SELECT grouped.policy_set_id FROM policy_set_projects AS grouped
    WHERE grouped.project_id = CAST(sqlc.arg(project_id) AS text) AND NOT grouped.excluded
    UNION
    SELECT tagged.id
    FROM policy_set_tag_selectors AS selectors
    JOIN tags ON tags.tag_key = selectors.tag_key AND (selectors.tag_value IS NULL OR selectors.tag_value = tags.tag_value)
    JOIN policy_sets AS tagged ON tagged.id = selectors.policy_set_id
    WHERE NOT selectors.excluded AND tagged.organization_id = sqlc.arg(organization_id)
      AND (tagged.tag_matching_logic <> 'all' OR NOT EXISTS (
        SELECT 1 FROM policy_set_tag_selectors AS others
        WHERE others.policy_set_id = tagged.id AND NOT others.excluded AND NOT EXISTS (
            SELECT 1 FROM tags AS bound
            WHERE bound.tag_key = others.tag_key AND (others.tag_value IS NULL OR others.tag_value = bound.tag_value))))
)
SELECT policy_sets.id FROM policy_sets JOIN chosen ON chosen.id = policy_sets.id
WHERE policy_sets.organization_id = sqlc.arg(organization_id)
  AND NOT EXISTS (
    SELECT 1 FROM policy_set_workspaces AS spared
    WHERE spared.policy_set_id = policy_sets.id AND spared.workspace_id = CAST(sqlc.arg(workspace_id) AS text) AND spared.excluded)
  AND NOT EXISTS (
    SELECT 1 FROM policy_set_projects AS kept
    WHERE kept.policy_set_id = policy_sets.id AND kept.project_id = CAST(sqlc.arg(project_id) AS text) AND kept.excluded)
  AND NOT EXISTS (
    SELECT 1 FROM policy_set_tag_selectors AS untagged
    JOIN tags AS worn ON worn.tag_key = untagged.tag_key AND (untagged.tag_value IS NULL OR untagged.tag_value = worn.tag_value)
    WHERE untagged.policy_set_id = policy_sets.id AND untagged.excluded)
ORDER BY policy_sets.name;

-- name: InsertCheck :exec
INSERT INTO checks (id, run_id, kind, evaluation, status, status_timestamps, passed, advisory_failed, soft_failed, hard_failed, errored,
    error, error_message, duration, overridden_by, override_comment, attempts, lease, due_at, created_at, updated_at)
VALUES ($1, $2, $3, $4, 'pending', '{}', 0, 0, 0, 0, 0, '', '', 0, '', '', 0, 0, sqlc.arg(now), sqlc.arg(now), sqlc.arg(now));

-- name: Check :one
SELECT sqlc.embed(checks), runs.workspace_id, workspaces.organization_id, organizations.name AS organization
FROM checks
JOIN runs ON runs.id = checks.run_id
JOIN workspaces ON workspaces.id = runs.workspace_id
JOIN organizations ON organizations.id = workspaces.organization_id
WHERE checks.id = sqlc.arg(id)
  AND (CAST(sqlc.arg(tenant) AS text) = '' OR workspaces.organization_id = sqlc.arg(tenant));

-- name: ChecksOfRun :many
SELECT sqlc.embed(checks), runs.workspace_id, workspaces.organization_id, organizations.name AS organization
FROM checks
JOIN runs ON runs.id = checks.run_id
JOIN workspaces ON workspaces.id = runs.workspace_id
JOIN organizations ON organizations.id = workspaces.organization_id
WHERE checks.run_id = sqlc.arg(run_id)
ORDER BY checks.evaluation DESC, checks.sequence;

-- name: ChecksDue :many
-- Not those with a set of whose policies a version is yet to be made. The
-- organizations take turns, so that the thousand runs of one hold up no other:
-- what is being evaluated for an organization counts as turns that it had.
WITH due AS (
    SELECT checks.id, checks.run_id, checks.due_at, checks.sequence, workspaces.organization_id,
        row_number() OVER (PARTITION BY workspaces.organization_id ORDER BY checks.due_at, checks.sequence) AS turn
    FROM checks JOIN runs ON runs.id = checks.run_id JOIN workspaces ON workspaces.id = runs.workspace_id
    WHERE checks.status IN ('pending', 'running') AND checks.due_at <= sqlc.arg(now) AND NOT EXISTS (
        SELECT 1 FROM policy_set_outcomes JOIN policy_sets ON policy_sets.id = policy_set_outcomes.policy_set_id
        WHERE policy_set_outcomes.check_id = checks.id AND policy_set_outcomes.awaited_revision > policy_sets.materialized_revision)
), busy AS (
    SELECT workspaces.organization_id, count(*) AS turns
    FROM checks JOIN runs ON runs.id = checks.run_id JOIN workspaces ON workspaces.id = runs.workspace_id
    WHERE checks.status IN ('pending', 'running') AND checks.status = 'running' AND checks.due_at > sqlc.arg(now)
    GROUP BY workspaces.organization_id
)
SELECT due.id, due.run_id FROM due LEFT JOIN busy ON busy.organization_id = due.organization_id
ORDER BY due.turn + COALESCE(busy.turns, 0), due.due_at, due.sequence LIMIT sqlc.arg(size);

-- name: ClaimCheck :execrows
-- Of two nodes the second finds the check no longer due. An attempt counts until
-- it says how it ended.
UPDATE checks SET status = 'running', status_timestamps = sqlc.arg(status_timestamps), lease = lease + 1, attempts = attempts + 1,
    due_at = sqlc.arg(leased_until), updated_at = sqlc.arg(now)
WHERE id = sqlc.arg(id) AND status IN ('pending', 'running') AND due_at <= sqlc.arg(now);

-- name: RenewCheck :execrows
UPDATE checks SET due_at = sqlc.arg(leased_until) WHERE id = sqlc.arg(id) AND lease = sqlc.arg(lease) AND status = 'running';

-- name: CheckAgain :exec
UPDATE checks SET attempts = sqlc.arg(attempts), due_at = sqlc.arg(due_at) WHERE id = sqlc.arg(id);

-- name: EndCheck :exec
UPDATE checks SET status = sqlc.arg(status), status_timestamps = sqlc.arg(status_timestamps),
    passed = sqlc.arg(passed), advisory_failed = sqlc.arg(advisory_failed), soft_failed = sqlc.arg(soft_failed),
    hard_failed = sqlc.arg(hard_failed), errored = sqlc.arg(errored), error = sqlc.arg(error), error_message = sqlc.arg(error_message),
    duration = sqlc.arg(duration), updated_at = sqlc.arg(now)
WHERE id = sqlc.arg(id);

-- name: CancelCheck :exec
-- Whoever works on it has lost it.
UPDATE checks SET status = 'canceled', status_timestamps = sqlc.arg(status_timestamps), lease = lease + 1, updated_at = sqlc.arg(now)
WHERE id = sqlc.arg(id);

-- name: OverrideCheck :exec
UPDATE checks SET status = 'overridden', status_timestamps = sqlc.arg(status_timestamps),
    overridden_by = sqlc.arg(overridden_by), override_comment = sqlc.arg(override_comment), updated_at = sqlc.arg(now)
WHERE id = sqlc.arg(id);

-- name: VoidChecks :exec
-- For a process that knows itself to be the only one: nobody holds a lease.
UPDATE checks SET lease = lease + 1, due_at = sqlc.arg(now) WHERE status = 'running';

-- name: CountUnfinishedChecks :one
SELECT count(*) FROM checks WHERE status IN ('pending', 'running');

-- name: EndedChecksAfter :many
SELECT checks.sequence, checks.id, checks.status, checks.overridden_by, workspaces.organization_id
FROM checks JOIN runs ON runs.id = checks.run_id JOIN workspaces ON workspaces.id = runs.workspace_id
WHERE checks.status NOT IN ('pending', 'running') AND checks.sequence > sqlc.arg(sequence)
ORDER BY checks.sequence LIMIT sqlc.arg(size);

-- name: OutcomesOfCheck :many
SELECT sqlc.embed(policy_set_outcomes) FROM policy_set_outcomes WHERE check_id = $1 ORDER BY sequence;

-- name: PolicySetOutcome :one
SELECT sqlc.embed(policy_set_outcomes), checks.kind
FROM policy_set_outcomes
JOIN checks ON checks.id = policy_set_outcomes.check_id
JOIN runs ON runs.id = checks.run_id
JOIN workspaces ON workspaces.id = runs.workspace_id
WHERE policy_set_outcomes.id = sqlc.arg(id)
  AND (CAST(sqlc.arg(tenant) AS text) = '' OR workspaces.organization_id = sqlc.arg(tenant));

-- name: ResolveOutcome :exec
UPDATE policy_set_outcomes SET awaited_revision = 0, version_id = sqlc.arg(version_id), digest = sqlc.arg(digest),
    policies_directory = sqlc.arg(policies_directory), policies = sqlc.arg(policies)
WHERE id = sqlc.arg(id);

-- name: SettleOutcome :exec
UPDATE policy_set_outcomes SET outcomes = sqlc.arg(outcomes), endings = sqlc.arg(endings),
    passed = sqlc.arg(passed), advisory_failed = sqlc.arg(advisory_failed), soft_failed = sqlc.arg(soft_failed),
    hard_failed = sqlc.arg(hard_failed), errored = sqlc.arg(errored), error = sqlc.arg(error), error_message = sqlc.arg(error_message)
WHERE id = sqlc.arg(id);

-- name: ForgetSealedParameters :exec
-- Secrets are kept for no longer than somebody needs them.
UPDATE policy_set_outcomes SET sealed_parameters = NULL WHERE check_id = $1;

-- name: SealedOutcomeParameters :many
SELECT policy_set_outcomes.id, policy_set_outcomes.sealed_parameters
FROM checks JOIN policy_set_outcomes ON policy_set_outcomes.check_id = checks.id
WHERE checks.status IN ('pending', 'running') AND policy_set_outcomes.sealed_parameters IS NOT NULL
ORDER BY policy_set_outcomes.id;

-- name: UpdateSealedOutcomeParameters :exec
UPDATE policy_set_outcomes SET sealed_parameters = $2 WHERE id = $1;

-- name: PolicySetIDByName :one
SELECT policy_sets.id FROM policy_sets JOIN organizations ON organizations.id = policy_sets.organization_id
WHERE organizations.name = sqlc.arg(organization) AND policy_sets.name = sqlc.arg(name)
  AND (CAST(sqlc.arg(tenant) AS text) = '' OR policy_sets.organization_id = sqlc.arg(tenant));
