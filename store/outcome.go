package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

const outcomeList = `SELECT policy_set_outcomes.id, policy_set_outcomes.check_id, policy_set_outcomes.policy_set_id, policy_set_outcomes.policy_set_name,
	policy_set_outcomes.policy_set_description, policy_set_outcomes.overridable, policy_set_outcomes.policy_tool_version,
	policy_set_outcomes.version_id, policy_set_outcomes.digest, policy_set_outcomes.policies_directory, policy_set_outcomes.outcomes,
	policy_set_outcomes.passed, policy_set_outcomes.advisory_failed, policy_set_outcomes.soft_failed, policy_set_outcomes.hard_failed,
	policy_set_outcomes.errored, policy_set_outcomes.error, policy_set_outcomes.error_message, policy_set_outcomes.created_at
FROM policy_set_outcomes`

// PolicySetOutcomes lists what the policy sets of a check say, by the name of
// the set, and says how many outcomes there are in all. Filters let through an
// outcome in which one policy, or the set as a whole, fits one of them; none
// let through all.
func (s *Store) PolicySetOutcomes(ctx context.Context, by polset.Principal, checkID string, filters []polset.OutcomeFilter, page polset.Page) ([]polset.PolicySetOutcome, int, error) {
	c, err := s.Check(ctx, by, checkID)
	if err != nil {
		return nil, 0, err
	}
	var q filter
	q.add("policy_set_outcomes.check_id = ?", checkID)
	if len(filters) > 0 {
		args := make([]any, len(filters))
		for n, f := range filters {
			args[n] = ending(f)
		}
		q.add("("+strings.Join(slices.Repeat([]string{"policy_set_outcomes.endings LIKE ? ESCAPE '!'"}, len(filters)), " OR ")+")", args...)
	}
	return queryPage(ctx, s, "policy_set_outcomes", outcomeList, q, "policy_set_outcomes.sequence", page, func(result *sql.Rows) (polset.PolicySetOutcome, error) {
		var r rows.PolicySetOutcome
		err := result.Scan(&r.ID, &r.CheckID, &r.PolicySetID, &r.PolicySetName, &r.PolicySetDescription, &r.Overridable, &r.PolicyToolVersion,
			&r.VersionID, &r.Digest, &r.PoliciesDirectory, &r.Outcomes, &r.Passed, &r.AdvisoryFailed, &r.SoftFailed, &r.HardFailed,
			&r.Errored, &r.Error, &r.ErrorMessage, &r.CreatedAt)
		if err != nil {
			return polset.PolicySetOutcome{}, err
		}
		return outcome(r, string(c.Kind))
	})
}

// endings are how the policies of an outcome ended, and at which level, each
// once: what filters look for. A set that could not be evaluated ended errored,
// at no level.
func endings(o polset.PolicySetOutcome) string {
	var list []string
	for _, p := range o.Policies {
		list = append(list, string(p.Status)+"/"+p.EnforcementLevel)
	}
	if o.Error != "" {
		list = append(list, string(polset.OutcomeErrored)+"/")
	}
	slices.Sort(list)
	return " " + strings.Join(slices.Compact(list), " ") + " "
}

// ending is the pattern of the endings that a filter lets through.
func ending(f polset.OutcomeFilter) string {
	status, level := " %", "% "
	if f.Status != "" {
		status = " " + literal(string(f.Status))
	}
	if f.EnforcementLevel != "" {
		level = literal(f.EnforcementLevel) + " "
	}
	return "%" + status + "/" + level + "%"
}

// PolicySetOutcome returns an outcome by id.
func (s *Store) PolicySetOutcome(ctx context.Context, by polset.Principal, id string) (polset.PolicySetOutcome, error) {
	r, err := s.reads.PolicySetOutcome(ctx, rows.PolicySetOutcomeParams{ID: id, Tenant: by.OrganizationID})
	if err != nil {
		return polset.PolicySetOutcome{}, fmt.Errorf("read policy set outcome %s: %w", id, found(err))
	}
	return outcome(r.PolicySetOutcome, r.Kind)
}

func outcome(r rows.PolicySetOutcome, kind string) (polset.PolicySetOutcome, error) {
	o := polset.PolicySetOutcome{
		ID: r.ID, CheckID: r.CheckID, PolicySetID: r.PolicySetID, PolicySetName: r.PolicySetName,
		PolicySetDescription: r.PolicySetDescription, Kind: polset.Kind(kind), Overridable: r.Overridable,
		PolicyToolVersion: r.PolicyToolVersion, VersionID: r.VersionID, Digest: r.Digest, PoliciesDirectory: r.PoliciesDirectory,
		Counts: polset.ResultCounts{
			Passed: int(r.Passed), AdvisoryFailed: int(r.AdvisoryFailed), SoftFailed: int(r.SoftFailed),
			HardFailed: int(r.HardFailed), Errored: int(r.Errored),
		},
		Error: polset.Class(r.Error), ErrorMessage: r.ErrorMessage, CreatedAt: r.CreatedAt.UTC(),
	}
	if err := json.Unmarshal([]byte(r.Outcomes), &o.Policies); err != nil {
		return o, fmt.Errorf("read policies of outcome %s: %w", r.ID, err)
	}
	return o, nil
}
