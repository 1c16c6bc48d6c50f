-- name: PoliciesChanged :exec
-- What a policy set's own policies are became another.
UPDATE policy_sets SET policies_revision = policies_revision + 1, materialize_due_at = sqlc.arg(now), materialize_failures = 0
WHERE id = sqlc.arg(id);

-- name: PolicyChanged :exec
UPDATE policy_sets SET policies_revision = policies_revision + 1, materialize_due_at = sqlc.arg(now), materialize_failures = 0
WHERE id IN (SELECT policy_set_policies.policy_set_id FROM policy_set_policies WHERE policy_set_policies.policy_id = sqlc.arg(policy_id));
