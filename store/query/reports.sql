-- name: ReportIngestion :exec
-- What GitHub shall show of an ingestion, from its row. A report that is
-- leased, or waits for another attempt, keeps its time.
INSERT INTO reports (id, organization_id, policy_set_id, policy_set, subject, ordinal, number, http_url, identifier, external_id,
    repository_id, token_id, installation_id, commit_id, status, reason, version_id, revision, sent, check_run_id,
    uncertain, annotated, given_up, failures, lease, claimed, due_at, created_at, started_at, ended_at)
SELECT sqlc.arg(id), policy_sets.organization_id, policy_sets.id, policy_sets.name, ingestions.id, ingestions.sequence, 0, repositories.http_url,
    repositories.identifier, repositories.external_id, repositories.id, ingestions.token_id, ingestions.installation_id,
    ingestions.commit_id, ingestions.status, ingestions.reason, ingestions.version_id, 1, 0, 0,
    FALSE, 0, '', 0, 0, 0, sqlc.arg(now), sqlc.arg(now), ingestions.started_at, ingestions.ended_at
FROM ingestions
JOIN policy_sets ON policy_sets.id = ingestions.policy_set_id
JOIN repositories ON repositories.id = ingestions.repository_id
WHERE ingestions.id = sqlc.arg(subject) AND ingestions.commit_id <> ''
  AND (ingestions.token_id IS NOT NULL OR ingestions.installation_id IS NOT NULL)
ON CONFLICT (subject) DO UPDATE SET status = excluded.status, reason = excluded.reason, version_id = excluded.version_id,
    started_at = excluded.started_at, ended_at = excluded.ended_at, revision = reports.revision + 1,
    given_up = '', failures = CASE WHEN reports.given_up <> '' THEN 0 ELSE reports.failures END, -- something new is worth another try
    due_at = CASE WHEN reports.sent < reports.revision THEN reports.due_at ELSE excluded.due_at END
WHERE reports.status <> excluded.status OR reports.reason <> excluded.reason;

-- name: ReportDryRun :exec
INSERT INTO reports (id, organization_id, policy_set_id, policy_set, subject, ordinal, number, http_url, identifier, external_id,
    repository_id, token_id, installation_id, commit_id, status, reason, version_id, revision, sent, check_run_id,
    uncertain, annotated, given_up, failures, lease, claimed, due_at, created_at, started_at, ended_at)
SELECT sqlc.arg(id), policy_sets.organization_id, policy_sets.id, policy_sets.name, dry_runs.id, dry_runs.sequence, dry_runs.number,
    repositories.http_url, repositories.identifier, repositories.external_id, repositories.id, dry_runs.token_id,
    dry_runs.installation_id, dry_runs.commit_id, dry_runs.status, dry_runs.reason, '', 1, 0, 0,
    FALSE, 0, '', 0, 0, 0, sqlc.arg(now), sqlc.arg(now), dry_runs.started_at, dry_runs.ended_at
FROM dry_runs
JOIN policy_sets ON policy_sets.id = dry_runs.policy_set_id
JOIN repositories ON repositories.id = dry_runs.repository_id
WHERE dry_runs.id = sqlc.arg(subject) AND (dry_runs.token_id IS NOT NULL OR dry_runs.installation_id IS NOT NULL)
ON CONFLICT (subject) DO UPDATE SET status = excluded.status, reason = excluded.reason,
    started_at = excluded.started_at, ended_at = excluded.ended_at, revision = reports.revision + 1,
    given_up = '', failures = CASE WHEN reports.given_up <> '' THEN 0 ELSE reports.failures END, -- something new is worth another try
    due_at = CASE WHEN reports.sent < reports.revision THEN reports.due_at ELSE excluded.due_at END
WHERE reports.status <> excluded.status OR reports.reason <> excluded.reason;

-- name: ReportsDue :many
SELECT * FROM reports
WHERE sent < revision AND given_up = '' AND due_at <= sqlc.arg(now)
ORDER BY due_at, sequence LIMIT sqlc.arg(size);

-- name: ClaimReport :one
-- Of two nodes the second finds the row no longer due.
UPDATE reports SET lease = lease + 1, claimed = revision, due_at = sqlc.arg(leased_until)
WHERE id = sqlc.arg(id) AND sent < revision AND given_up = '' AND due_at <= sqlc.arg(now)
RETURNING *;

-- name: NewerReport :one
-- Whether a later report speaks of the same policy set and commit in the same place.
SELECT count(*) FROM reports
WHERE policy_set_id = sqlc.arg(policy_set_id) AND commit_id = sqlc.arg(commit_id) AND ordinal > sqlc.arg(ordinal)
  AND (number = 0) = (CAST(sqlc.arg(number) AS bigint) = 0);

-- name: EarlierReportDue :many
-- When the earlier reports of the same place that somebody may be sending right
-- now are through at the latest.
SELECT due_at FROM reports
WHERE policy_set_id = sqlc.arg(policy_set_id) AND commit_id = sqlc.arg(commit_id) AND ordinal < sqlc.arg(ordinal)
  AND (number = 0) = (CAST(sqlc.arg(number) AS bigint) = 0)
  AND sent < revision AND given_up = '' AND lease > 0 AND due_at > sqlc.arg(now)
ORDER BY due_at DESC LIMIT 1;

-- name: PostponeReport :exec
UPDATE reports SET due_at = $3 WHERE id = $1 AND lease = $2;

-- name: WakeLaterReports :exec
-- What waited for an earlier report of the same place.
UPDATE reports SET due_at = sqlc.arg(now)
WHERE policy_set_id = sqlc.arg(policy_set_id) AND commit_id = sqlc.arg(commit_id) AND ordinal > sqlc.arg(ordinal)
  AND (number = 0) = (CAST(sqlc.arg(number) AS bigint) = 0)
  AND sent < revision AND given_up = '' AND lease = 0 AND due_at > sqlc.arg(now);

-- name: GiveUpReport :exec
UPDATE reports SET given_up = $3 WHERE id = $1 AND lease = $2;

-- name: SettleReport :execrows
UPDATE reports SET sent = sqlc.arg(sent), check_run_id = sqlc.arg(check_run_id), uncertain = sqlc.arg(uncertain),
    annotated = sqlc.arg(annotated), failures = sqlc.arg(failures), given_up = sqlc.arg(given_up), due_at = sqlc.arg(due_at)
WHERE id = sqlc.arg(id) AND lease = sqlc.arg(lease);

-- name: Report :one
SELECT * FROM reports WHERE id = $1;

-- name: ResumeReports :exec
UPDATE reports SET given_up = '', failures = 0, due_at = sqlc.arg(now)
WHERE given_up <> '' AND sent < revision AND (token_id = sqlc.arg(credential) OR installation_id = sqlc.arg(credential))
  AND created_at > sqlc.arg(since);

-- name: DropUnbegunReports :exec
-- Nobody was ever told of these.
DELETE FROM reports WHERE policy_set_id = $1 AND lease = 0;

-- name: ReportsDeleted :exec
UPDATE reports SET status = 'deleted', reason = '', version_id = '', ended_at = sqlc.arg(now), revision = revision + 1,
    due_at = CASE WHEN sent < revision THEN due_at ELSE sqlc.arg(now) END
WHERE policy_set_id = sqlc.arg(policy_set_id) AND (ended_at IS NULL OR sent < revision);

-- name: DeleteOldReports :execrows
-- Of the oldest rows only, so that it costs little whatever there is.
DELETE FROM reports WHERE sequence < (SELECT MIN(oldest.sequence) FROM reports AS oldest) + CAST(sqlc.arg(size) AS bigint)
  AND reports.created_at < sqlc.arg(before);

-- name: OrganizationName :one
SELECT name FROM organizations WHERE id = $1;

-- name: CountUnsentReports :one
SELECT count(*) FROM reports WHERE sent < revision AND given_up = '';
