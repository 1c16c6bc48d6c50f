package api

import (
	"net/http"

	"github.com/polset/polset"
)

func (a *API) policyEvaluationRoutes() []Route {
	const (
		read = polset.PermissionRead

		one = prefix + "/policy-evaluations/:policy_evaluation"
	)
	return []Route{
		{http.MethodGet, one, AccessToken, read, a.showPolicyEvaluation, shows("policy-evaluations", policyEvaluationAttributes{}, "Show a policy evaluation")},
		{http.MethodGet, one + "/policy-set-outcomes", AccessToken, read, a.listPolicySetOutcomes, lists("policy-set-outcomes", policySetOutcomeAttributes{}, "List what the policy sets of a policy evaluation say").with(outcomeFilters...)},
		{http.MethodGet, prefix + "/policy-set-outcomes/:policy_set_outcome", AccessToken, read, a.showPolicySetOutcome, shows("policy-set-outcomes", policySetOutcomeAttributes{}, "Show what a policy set says")},
	}
}

// policyEvaluationAttributes is a check as HCP Terraform shows a policy
// evaluation, followed by what only polset knows.
type policyEvaluationAttributes struct {
	Status           string            `json:"status"`
	PolicyKind       polset.Kind       `json:"policy-kind"`
	StatusTimestamps map[string]string `json:"status-timestamps"`
	ResultCount      resultCount       `json:"result-count"`
	CreatedAt        iso8601           `json:"created-at"`
	UpdatedAt        iso8601           `json:"updated-at"`

	Error        *string        `json:"error"`
	ErrorMessage *string        `json:"error-message"`
	DurationMS   int64          `json:"duration-ms"`
	Override     *checkOverride `json:"override"`
}

type resultCount struct {
	AdvisoryFailed  int `json:"advisory-failed"`
	MandatoryFailed int `json:"mandatory-failed"`
	Passed          int `json:"passed"`
	Errored         int `json:"errored"`
}

func resultCountOf(c polset.ResultCounts) resultCount {
	return resultCount{AdvisoryFailed: c.AdvisoryFailed, MandatoryFailed: c.MandatoryFailed(), Passed: c.Passed, Errored: c.Errored}
}

// evaluationName is what a policy evaluation calls the state of a check.
func evaluationName(s polset.CheckStatus) string {
	if s == polset.CheckSoftFailed || s == polset.CheckHardFailed {
		return "failed"
	}
	return string(s)
}

func policyEvaluationResource(c polset.Check) resource {
	status := evaluationName(c.Status)
	if c.Status == polset.CheckCanceled && !began(c) {
		status = "unreachable"
	}
	return resource{
		ID:   c.ID,
		Type: "policy-evaluations",
		Attributes: policyEvaluationAttributes{
			Status:           status,
			PolicyKind:       c.Kind,
			StatusTimestamps: statusTimestamps(checkTimes(c, evaluationName)),
			ResultCount:      resultCountOf(c.Counts),
			CreatedAt:        iso8601(c.CreatedAt),
			UpdatedAt:        iso8601(c.UpdatedAt),
			Error:            orNull(string(c.Error)),
			ErrorMessage:     orNull(c.ErrorMessage),
			DurationMS:       c.Duration.Milliseconds(),
			Override:         overrideOf(c),
		},
		Relationships: map[string]relation{"policy-attachable": toOne("task-stages", taskStageOf(c.RunID))},
		Links:         map[string]string{"self": prefix + "/policy-evaluations/" + c.ID},
	}
}

func (a *API) listPolicyEvaluations(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	_, _, evaluations, err := a.stage(r)
	if err != nil {
		return err
	}
	var data []resource
	for _, e := range cut(evaluations, page) {
		data = append(data, policyEvaluationResource(e))
	}
	return r.send(http.StatusOK, a.list(r, data, page, len(evaluations)))
}

func (a *API) showPolicyEvaluation(r *request) error {
	c, err := a.check(r, r.Param("policy_evaluation"), evaluationPrefix)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(policyEvaluationResource(c)))
}
