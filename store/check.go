package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// Check returns a check by id.
func (s *Store) Check(ctx context.Context, by polset.Principal, id string) (polset.Check, error) {
	r, err := s.reads.Check(ctx, rows.CheckParams{ID: id, Tenant: by.OrganizationID})
	if err != nil {
		return polset.Check{}, fmt.Errorf("read check %s: %w", id, found(err))
	}
	return check(r), nil
}

const checkList = `SELECT checks.id, checks.run_id, checks.kind, checks.evaluation, checks.status, checks.status_timestamps,
	checks.passed, checks.advisory_failed, checks.soft_failed, checks.hard_failed, checks.errored, checks.error, checks.error_message,
	checks.duration, checks.overridden_by, checks.override_comment, checks.created_at, checks.updated_at,
	runs.workspace_id, workspaces.organization_id, organizations.name
FROM checks JOIN runs ON runs.id = checks.run_id
	JOIN workspaces ON workspaces.id = runs.workspace_id
	JOIN organizations ON organizations.id = workspaces.organization_id`

// ChecksOfRuns returns the checks of those of the runs that the principal may
// see: of each run the policy evaluations first.
func (s *Store) ChecksOfRuns(ctx context.Context, by polset.Principal, runIDs []string) ([]polset.Check, error) {
	var out []polset.Check
	for chunk := range slices.Chunk(runIDs, maxPage) {
		var q filter
		q.in("checks.run_id", chunk)
		if by.OrganizationID != "" {
			q.add("workspaces.organization_id = ?", by.OrganizationID)
		}
		list, err := queryAll(ctx, s, "checks", checkList+q.where()+" ORDER BY runs.sequence, checks.evaluation DESC, checks.sequence", q.args, scanCheck)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

func scanCheck(result *sql.Rows) (polset.Check, error) {
	var r rows.CheckRow
	c := &r.Check
	err := result.Scan(&c.ID, &c.RunID, &c.Kind, &c.Evaluation, &c.Status, &c.StatusTimestamps,
		&c.Passed, &c.AdvisoryFailed, &c.SoftFailed, &c.HardFailed, &c.Errored, &c.Error, &c.ErrorMessage,
		&c.Duration, &c.OverriddenBy, &c.OverrideComment, &c.CreatedAt, &c.UpdatedAt,
		&r.WorkspaceID, &r.OrganizationID, &r.Organization)
	if err != nil {
		return polset.Check{}, err
	}
	return check(r), nil
}

// checksOfRun reads the checks of a run as the transaction leaves them.
func (t *tx) checksOfRun(ctx context.Context, runID string) ([]polset.Check, error) {
	list, err := t.ChecksOfRun(ctx, runID)
	if err != nil {
		return nil, err
	}
	out := make([]polset.Check, len(list))
	for n, r := range list {
		out[n] = check(rows.CheckRow(r))
	}
	return out, nil
}

func check(r rows.CheckRow) polset.Check {
	c := r.Check
	out := polset.Check{
		ID: c.ID, OrganizationID: r.OrganizationID, Organization: r.Organization, WorkspaceID: r.WorkspaceID, RunID: c.RunID,
		Kind: polset.Kind(c.Kind), Evaluation: c.Evaluation, Status: polset.CheckStatus(c.Status),
		ReachedAt: reachedAt[polset.CheckStatus](c.StatusTimestamps), Duration: time.Duration(c.Duration),
		Counts: polset.ResultCounts{
			Passed: int(c.Passed), AdvisoryFailed: int(c.AdvisoryFailed), SoftFailed: int(c.SoftFailed),
			HardFailed: int(c.HardFailed), Errored: int(c.Errored),
		},
		Error: polset.Class(c.Error), ErrorMessage: c.ErrorMessage,
		CreatedAt: c.CreatedAt.UTC(), UpdatedAt: c.UpdatedAt.UTC(),
	}
	if c.OverriddenBy != "" {
		out.Override = &polset.Override{By: c.OverriddenBy, Comment: c.OverrideComment, At: out.ReachedAt[polset.CheckOverridden]}
	}
	return out
}

// noteCheck tells the audit chain where a check has come to.
func (t *tx) noteCheck(c polset.Check, status polset.CheckStatus, details map[string]string) {
	all := map[string]string{"run": c.RunID, "workspace": c.WorkspaceID}
	for k, v := range details {
		all[k] = v
	}
	t.note(c.OrganizationID, "check."+string(status), c.ID, all)
}
