-- name: PoliciesChanged :exec
-- What a policy set's own policies are became another. A set that is leased, or
-- waits for another attempt, keeps its time.
UPDATE policy_sets SET policies_revision = policies_revision + 1,
    materialize_due_at = CASE WHEN materialized_revision < policies_revision THEN materialize_due_at ELSE sqlc.arg(now) END
WHERE id = sqlc.arg(id);

-- name: PolicyChanged :exec
UPDATE policy_sets SET policies_revision = policies_revision + 1,
    materialize_due_at = CASE WHEN materialized_revision < policies_revision THEN materialize_due_at ELSE sqlc.arg(now) END
WHERE id IN (SELECT policy_set_policies.policy_set_id FROM policy_set_policies WHERE policy_set_policies.policy_id = sqlc.arg(policy_id));

-- name: MaterializationsDue :many
SELECT id FROM policy_sets
WHERE materialized_revision < policies_revision AND materialize_due_at <= sqlc.arg(now)
ORDER BY materialize_due_at, sequence LIMIT sqlc.arg(size);

-- name: ClaimMaterialization :one
-- Of two nodes the second finds the set no longer due. An attempt counts until
-- it says how it ended.
UPDATE policy_sets SET materialize_lease = materialize_lease + 1, materialize_failures = materialize_failures + 1,
    materialize_due_at = sqlc.arg(leased_until)
WHERE id = sqlc.arg(id) AND materialized_revision < policies_revision AND materialize_due_at <= sqlc.arg(now)
RETURNING organization_id, kind, policies_revision, materialize_lease, materialize_failures;

-- name: RenewMaterialization :execrows
UPDATE policy_sets SET materialize_due_at = sqlc.arg(leased_until)
WHERE id = sqlc.arg(id) AND materialize_lease = sqlc.arg(lease) AND materialized_revision < policies_revision;

-- name: MaterializeAgain :exec
UPDATE policy_sets SET materialize_failures = sqlc.arg(failures), materialize_due_at = sqlc.arg(due_at) WHERE id = sqlc.arg(id);

-- name: Materialized :exec
UPDATE policy_sets SET materialized_revision = sqlc.arg(revision), materialized_version_id = sqlc.arg(version_id),
    materialize_failures = 0, materialize_due_at = sqlc.arg(now)
WHERE id = sqlc.arg(id);

-- name: VoidMaterializations :exec
-- For a process that knows itself to be the only one: nobody holds a lease.
UPDATE policy_sets SET materialize_lease = materialize_lease + 1, materialize_due_at = sqlc.arg(now)
WHERE materialized_revision < policies_revision;

-- name: MembersOfSet :many
SELECT sqlc.embed(policies) FROM policies JOIN policy_set_policies ON policy_set_policies.policy_id = policies.id
WHERE policy_set_policies.policy_set_id = sqlc.arg(policy_set_id) ORDER BY policy_set_policies.sequence;

-- name: NewestMaterialized :many
SELECT versions.sequence, versions.id, versions.policy_set_id, versions.source, versions.status, versions.pending_at, versions.ingressing_at, versions.ready_at, versions.errored_at, versions.error, versions.error_message, versions.commit_id, versions.commit_url, versions.identifier, versions.branch, versions.content, versions.digest, versions.tar_digest, versions.size, versions.tar_size, versions.files, versions.policies_directory, versions.policies, versions.created_at, versions.updated_at, versions.diagnostics FROM versions
WHERE versions.policy_set_id = sqlc.arg(policy_set_id) AND versions.source = 'policies' ORDER BY versions.sequence DESC LIMIT 1;

-- name: InsertEndedIngestion :exec
-- Of no repository, and ended as soon as it is there.
INSERT INTO ingestions (id, policy_set_id, repository_id, token_id, generation, branch, pushed_branch, commit_id, path,
    submodules, kind, cause, delivery_guid, status, reason, version_id, attempts, failures, lease, due_at, enqueue_at, created_at, started_at, ended_at)
VALUES ($1, $2, NULL, NULL, 0, '', '', '', '', FALSE, $3, $4, '', $5, $6, $7, $8, 0, $9,
    sqlc.arg(now), sqlc.arg(now), sqlc.arg(now), sqlc.arg(now), sqlc.arg(now));

-- name: MaterializedVersions :many
SELECT organization_id, id, materialized_version_id FROM policy_sets WHERE materialized_version_id <> '' ORDER BY sequence;
