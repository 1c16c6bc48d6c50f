package api

import (
	"net/http"
	"time"

	"github.com/polset/polset"
)

func (a *API) policyCheckRoutes() []Route {
	const (
		read     = polset.PermissionRead
		override = polset.PermissionManageOverrides

		one = prefix + "/policy-checks/:policy_check"
	)
	return []Route{
		{http.MethodGet, prefix + "/runs/:run/policy-checks", AccessToken, read, a.listPolicyChecks, lists("policy-checks", policyCheckAttributes{}, "List the policy checks of a run").including(policyCheckIncludes...)},
		{http.MethodGet, one, AccessToken, read, a.showPolicyCheck, shows("policy-checks", policyCheckAttributes{}, "Show a policy check")},
		{http.MethodGet, one + "/output", AccessToken, read, a.showPolicyCheckOutput, sendsBytes("Read what a policy check came to, as text").orNothing()},
		{http.MethodPost, one + "/actions/override", AccessToken, override, a.overridePolicyCheck, shows("policy-checks", policyCheckAttributes{}, "Override the soft failure of a policy check").takingPlain(overrideComment{})},
	}
}

// policyCheckIncludes are the values of include.
var policyCheckIncludes = []string{"run", "run.workspace"}

// policyCheckAttributes is a check as HCP Terraform shows a policy check,
// followed by what only polset knows.
type policyCheckAttributes struct {
	Result           *policyCheckResult     `json:"result"`
	Scope            string                 `json:"scope"`
	Status           string                 `json:"status"`
	StatusTimestamps map[string]string      `json:"status-timestamps"`
	Actions          policyCheckActions     `json:"actions"`
	Permissions      policyCheckPermissions `json:"permissions"`

	ErrorMessage *string        `json:"error-message"`
	Override     *checkOverride `json:"override"`
}

type policyCheckActions struct {
	IsOverridable bool `json:"is-overridable"`
}

type policyCheckPermissions struct {
	CanOverride bool `json:"can-override"`
}

// checkCounts is how the policies of a check ended, in HCP Terraform's words
// and Scalr's.
type checkCounts struct {
	Result         bool  `json:"result"` // not a single failure
	Passed         int   `json:"passed"`
	TotalFailed    int   `json:"total-failed"`
	HardFailed     int   `json:"hard-failed"`
	SoftFailed     int   `json:"soft-failed"`
	AdvisoryFailed int   `json:"advisory-failed"`
	DurationMS     int64 `json:"duration-ms"`
}

// policyCheckResult has the duration in HashiCorp's description and in its
// client, and the policies as Scalr shows them.
type policyCheckResult struct {
	checkCounts
	Duration int64           `json:"duration"`
	Sentinel sentinelResult  `json:"sentinel"`
	Policies []checkedPolicy `json:"policies"`
}

// checkedPolicy is a policy as Scalr shows it in a check, and whose it is.
type checkedPolicy struct {
	Name      string   `json:"name"`
	Result    string   `json:"result"`
	Messages  []string `json:"messages"`
	PolicySet string   `json:"policy-set"`
}

// policyCheckStatus is the status of a check that is shown as a policy check.
// There is no "running": clients wait for what is pending or queued.
func policyCheckStatus(c polset.Check) string {
	switch {
	case c.Status == polset.CheckRunning:
		return "queued"
	case c.Status == polset.CheckCanceled && !began(c):
		return "unreachable"
	}
	return string(c.Status)
}

// policyCheckTimes are named as the states are; one that did not begin was
// canceled all the same.
func policyCheckTimes(c polset.Check) map[string]time.Time {
	return checkTimes(c, func(s polset.CheckStatus) string {
		if s == polset.CheckRunning {
			return "queued"
		}
		return string(s)
	})
}

func countsOf(c polset.Check) checkCounts {
	return checkCounts{
		Result: c.Error == "" && c.Counts.Failed() == 0 && c.Counts.Errored == 0,
		Passed: c.Counts.Passed, TotalFailed: c.Counts.Failed(),
		HardFailed: c.Counts.HardFailed, SoftFailed: c.Counts.SoftFailed, AdvisoryFailed: c.Counts.AdvisoryFailed,
		DurationMS: c.Duration.Milliseconds(),
	}
}

// hasResult says whether a check came to something.
func hasResult(c polset.Check) bool { return c.Status.Ended() && c.Status != polset.CheckCanceled }

func policyCheckResultOf(c polset.Check, outcomes []polset.PolicySetOutcome) *policyCheckResult {
	if !hasResult(c) {
		return nil
	}
	return &policyCheckResult{
		checkCounts: countsOf(c), Duration: c.Duration.Milliseconds(),
		Sentinel: sentinelOf(outcomes), Policies: checkedPolicies(outcomes),
	}
}

func checkedPolicies(outcomes []polset.PolicySetOutcome) []checkedPolicy {
	policies := []checkedPolicy{}
	for _, o := range outcomes {
		for _, p := range o.Policies {
			policies = append(policies, checkedPolicy{
				Name: p.Name, Result: string(o.Result(p)), Messages: append([]string{}, p.Messages...), PolicySet: o.PolicySetName,
			})
		}
	}
	return policies
}

// policyCheckResource is a check of a run with all that its policy sets say.
func policyCheckResource(by polset.Principal, run polset.Run, c polset.Check, outcomes []polset.PolicySetOutcome) resource {
	self := prefix + "/policy-checks/" + c.ID
	links := map[string]string{"self": self, "output": self + "/output"}
	if overridable(run, c) {
		links["override"] = self + "/actions/override"
	}
	return resource{
		ID:   c.ID,
		Type: "policy-checks",
		Attributes: policyCheckAttributes{
			Result:           policyCheckResultOf(c, outcomes),
			Scope:            "organization",
			Status:           policyCheckStatus(c),
			StatusTimestamps: statusTimestamps(policyCheckTimes(c)),
			Actions:          policyCheckActions{IsOverridable: overridable(run, c)},
			Permissions:      policyCheckPermissions{CanOverride: by.Can(polset.PermissionManageOverrides)},
			ErrorMessage:     orNull(checkError(c, outcomes)),
			Override:         overrideOf(c),
		},
		Relationships: map[string]relation{"run": toOne("runs", c.RunID)},
		Links:         links,
	}
}

// sendPolicyCheck answers with a check, for which its run and its outcomes are
// looked up.
func (a *API) sendPolicyCheck(r *request, c polset.Check) error {
	run, err := a.Runs.Run(r.ctx(), r.by, c.RunID)
	if err != nil {
		return err
	}
	outcomes, err := a.outcomesOf(r.ctx(), r.by, c)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(policyCheckResource(r.by, run, c, outcomes)))
}

func (a *API) listPolicyChecks(r *request) error {
	page, err := r.pageOrAll()
	if err != nil {
		return err
	}
	want, err := r.include(policyCheckIncludes...)
	if err != nil {
		return err
	}
	run, all, err := a.runWithChecks(r, r.Param("run"))
	if err != nil {
		return err
	}
	checks := those(all, false)
	var data []resource
	for _, c := range cut(checks, page) {
		outcomes, err := a.outcomesOf(r.ctx(), r.by, c)
		if err != nil {
			return err
		}
		data = append(data, policyCheckResource(r.by, run, c, outcomes))
	}
	included, err := a.includedRun(r, want, run, all)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, a.list(r, data, page, len(checks), included...))
}

func (a *API) showPolicyCheck(r *request) error {
	c, err := a.check(r, r.Param("policy_check"), policyCheckPrefix)
	if err != nil {
		return err
	}
	return a.sendPolicyCheck(r, c)
}

// showPolicyCheckOutput answers with the text itself: HCP Terraform redirects
// to where it lies, and clients take both.
func (a *API) showPolicyCheckOutput(r *request) error {
	c, err := a.check(r, r.Param("policy_check"), policyCheckPrefix)
	if err != nil {
		return err
	}
	if !hasResult(c) {
		return r.NoContent(http.StatusNoContent)
	}
	text, err := a.checkOutput(r.ctx(), r.by, c)
	if err != nil {
		return err
	}
	return r.sendText(text)
}

func (a *API) overridePolicyCheck(r *request) error {
	c, err := a.check(r, r.Param("policy_check"), policyCheckPrefix)
	if err != nil {
		return err
	}
	overridden, err := a.override(r, "policy check", policyCheckStatus(c), c)
	if err != nil {
		return err
	}
	return a.sendPolicyCheck(r, overridden[0])
}
