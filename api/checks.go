package api

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/polset/polset"
)

// CheckReader finds checks.
type CheckReader interface {
	Check(ctx context.Context, by polset.Principal, id string) (polset.Check, error)
	// ChecksOfRuns returns the checks of all of the runs, in a stable order:
	// policy evaluations first. Those of runs that are not the principal's are
	// left out.
	ChecksOfRuns(ctx context.Context, by polset.Principal, runIDs []string) ([]polset.Check, error)
}

// OutcomeReader finds what policy sets say in checks.
type OutcomeReader interface {
	// PolicySetOutcomes returns a page of a check's, in a stable order, and the
	// count of all that any of the filters lets through; without filters all.
	PolicySetOutcomes(ctx context.Context, by polset.Principal, checkID string, filters []polset.OutcomeFilter, page polset.Page) ([]polset.PolicySetOutcome, int, error)
	PolicySetOutcome(ctx context.Context, by polset.Principal, id string) (polset.PolicySetOutcome, error)
}

// CheckOverrider lets runs go on in spite of soft failures.
type CheckOverrider interface {
	// OverrideChecks overrides all of the checks, or none: it answers
	// polset.ErrConflict where one of them has nothing to override.
	OverrideChecks(ctx context.Context, by polset.Principal, ids []string, comment string) ([]polset.Check, error)
}

// Checks is what the endpoints of policy checks, policy evaluations and task
// stages need.
type Checks interface {
	CheckReader
	OutcomeReader
	CheckOverrider
}

// The prefixes of a check's id: as a policy evaluation, as a policy check, and
// as what Scalr calls one.
const (
	evaluationPrefix  = "poleval"
	policyCheckPrefix = "polchk"
	scalrCheckPrefix  = "pchk"
)

// renamed gives an id another prefix, and says whether it had the one that it
// should have: a run has one plan and one task stage, whose ids are its own but
// for the prefix.
func renamed(id, from, to string) (string, bool) {
	suffix, ok := strings.CutPrefix(id, from+"-")
	return to + "-" + suffix, ok && suffix != ""
}

// check finds a check that is shown under ids of a prefix.
func (a *API) check(r *request, id, prefix string) (polset.Check, error) {
	if !strings.HasPrefix(id, prefix+"-") {
		return polset.Check{}, polset.ErrNotFound
	}
	return a.Checks.Check(r.ctx(), r.by, id)
}

// checksOf finds the checks of runs, for all runs at once.
func (a *API) checksOf(r *request, runs ...polset.Run) (map[string][]polset.Check, error) {
	of := make(map[string][]polset.Check, len(runs))
	if len(runs) == 0 {
		return of, nil
	}
	ids := make([]string, len(runs))
	for i, run := range runs {
		ids[i] = run.ID
	}
	checks, err := a.Checks.ChecksOfRuns(r.ctx(), r.by, ids)
	for _, c := range checks {
		of[c.RunID] = append(of[c.RunID], c)
	}
	return of, err
}

// runWithChecks finds a run and its checks.
func (a *API) runWithChecks(r *request, id string) (polset.Run, []polset.Check, error) {
	run, err := a.Runs.Run(r.ctx(), r.by, id)
	if err != nil {
		return run, nil, err
	}
	of, err := a.checksOf(r, run)
	return run, of[run.ID], err
}

// those are the checks that are policy evaluations, or those that are not.
func those(checks []polset.Check, evaluations bool) []polset.Check {
	var list []polset.Check
	for _, c := range checks {
		if c.Evaluation == evaluations {
			list = append(list, c)
		}
	}
	return list
}

func checkIDs(checks []polset.Check) []string {
	ids := make([]string, len(checks))
	for i, c := range checks {
		ids[i] = c.ID
	}
	return ids
}

// outcomesOf finds all that the policy sets say in a check; nothing before it
// has ended.
func (a *API) outcomesOf(ctx context.Context, by polset.Principal, c polset.Check) ([]polset.PolicySetOutcome, error) {
	if !c.Status.Ended() {
		return nil, nil
	}
	var all []polset.PolicySetOutcome
	for page := (polset.Page{Number: 1, Size: maxPageSize}); ; page.Number++ {
		outcomes, total, err := a.Checks.PolicySetOutcomes(ctx, by, c.ID, nil, page)
		if err != nil {
			return nil, err
		}
		if all = append(all, outcomes...); len(outcomes) == 0 || len(all) >= total {
			return all, nil
		}
	}
}

// cut is a page of a list that is held whole.
func cut[T any](list []T, page polset.Page) []T {
	from := min(page.Offset(), len(list))
	return list[from:min(from+page.Size, len(list))]
}

// began says whether a check's evaluation has ever begun.
func began(c polset.Check) bool { return !c.ReachedAt[polset.CheckRunning].IsZero() }

// checkTimes are when a check came into its states, by the names that the
// states have where it is shown.
func checkTimes(c polset.Check, name func(polset.CheckStatus) string) map[string]time.Time {
	at := map[string]time.Time{"pending-at": c.CreatedAt}
	for status, t := range c.ReachedAt {
		at[strings.ReplaceAll(name(status), "_", "-")+"-at"] = t
	}
	return at
}

// checkError says why a check is errored: as a whole, or which of its policy
// sets and policies; "" of any other.
func checkError(c polset.Check, outcomes []polset.PolicySetOutcome) string {
	if c.Status != polset.CheckErrored {
		return ""
	}
	var why []string
	if c.ErrorMessage != "" {
		why = append(why, c.ErrorMessage)
	}
	for _, o := range outcomes {
		if o.ErrorMessage != "" {
			why = append(why, "Policy set "+o.PolicySetName+": "+o.ErrorMessage)
		}
		for _, p := range o.Policies {
			if p.Status == polset.OutcomeErrored && !o.Repeats(p) {
				why = append(why, "Policy "+p.Name+" of policy set "+o.PolicySetName+": "+strings.Join(p.Messages, " "))
			}
		}
	}
	return strings.Join(why, "\n")
}

// overridable says whether there is something to override in a check of the run.
func overridable(run polset.Run, c polset.Check) bool {
	return c.CanOverride() && run.Status.Overridable()
}

// checkOverride is who overrode a check.
type checkOverride struct {
	By      string  `json:"by"`
	Comment string  `json:"comment"`
	At      iso8601 `json:"at"`
}

func overrideOf(c polset.Check) *checkOverride {
	if c.Override == nil {
		return nil
	}
	return &checkOverride{By: c.Override.By, Comment: c.Override.Comment, At: iso8601(c.Override.At)}
}

// overrideComment is the whole body of an override.
type overrideComment struct {
	Comment optional[string] `json:"comment"`
}

// decodeComment reads the body of an override, which may be missing. It is no
// JSON:API document, in HCP Terraform either.
func decodeComment(r *request) (string, error) {
	body, err := actionBody(r)
	if err != nil || body == nil {
		return "", err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return "", malformedDocument("", `The body must be missing, or a JSON object such as {"comment": "why"}.`)
	}
	if _, ok := members["data"]; ok {
		return "", malformedDocument("/data", `The body is no JSON:API document: a comment is given as {"comment": "why"}.`)
	}
	var in overrideComment
	if err := json.Unmarshal(body, &in); err != nil {
		return "", wrongType("", body, err)
	}
	comment := strings.TrimSpace(in.Comment.Or(""))
	if len(comment) > polset.MaxOverrideComment {
		p := invalid("", "comment must not exceed %d bytes.", polset.MaxOverrideComment)
		p.Pointer = "/comment"
		return "", p
	}
	return comment, nil
}

// override overrides checks that a request has found, with the comment of its
// body.
func (a *API) override(r *request, what string, status string, checks ...polset.Check) ([]polset.Check, error) {
	comment, err := decodeComment(r)
	if err != nil {
		return nil, err
	}
	nothing := conflict("There is nothing to override: the %s is %s, and only a soft failure can be overridden.", what, status)
	var ids []string
	for _, c := range checks {
		if c.CanOverride() {
			ids = append(ids, c.ID)
		}
	}
	if len(ids) == 0 {
		return nil, nothing
	}
	overridden, err := a.Checks.OverrideChecks(r.ctx(), r.by, ids, comment)
	if errors.Is(err, polset.ErrConflict) {
		return nil, conflict("There is nothing to override any more: the %s was overridden meanwhile, or its run has ended.", what)
	}
	return overridden, err
}
