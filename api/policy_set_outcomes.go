package api

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/polset/polset"
)

// policySetOutcomeAttributes is what a policy set says, as HCP Terraform shows
// it. HashiCorp's client reads result_count where its description has
// result-count.
type policySetOutcomeAttributes struct {
	Outcomes             []policyOutcome `json:"outcomes"`
	Error                *string         `json:"error"`
	Warnings             []string        `json:"warnings"`
	Overridable          bool            `json:"overridable"`
	PolicySetName        string          `json:"policy-set-name"`
	PolicySetDescription string          `json:"policy-set-description"`
	PolicyToolVersion    string          `json:"policy-tool-version"`
	ResultCount          resultCount     `json:"result-count"`
	ResultCountOfClient  resultCount     `json:"result_count"`
}

// policyOutcome has underscores in its names, in HCP Terraform too. What follows
// output only polset tells: there, messages and prints are one.
type policyOutcome struct {
	PolicyName       string          `json:"policy_name"`
	EnforcementLevel string          `json:"enforcement_level"`
	Status           string          `json:"status"`
	Query            *string         `json:"query"`
	Description      string          `json:"description"`
	Output           []outcomeOutput `json:"output,omitempty"`
	Messages         []string        `json:"messages,omitempty"`
	Prints           []string        `json:"prints,omitempty"`
	File             *string         `json:"file"` // that declares it, in the repository
	Line             *int            `json:"line"`
}

type outcomeOutput struct {
	Print string `json:"print"`
}

func policySetOutcomeResource(o polset.PolicySetOutcome) resource {
	attributes := policySetOutcomeAttributes{
		Outcomes: make([]policyOutcome, 0, len(o.Policies)), Error: orNull(o.ErrorMessage), Warnings: []string{},
		Overridable: o.Overridable, PolicySetName: o.PolicySetName, PolicySetDescription: o.PolicySetDescription,
		PolicyToolVersion: o.PolicyToolVersion, ResultCount: resultCountOf(o.Counts), ResultCountOfClient: resultCountOf(o.Counts),
	}
	for _, p := range o.Policies {
		shown := policyOutcome{
			PolicyName: p.Name, EnforcementLevel: p.EnforcementLevel, Status: string(p.Status),
			Query: orNull(p.Query), Description: p.Description,
			Messages: p.Messages, Prints: p.Prints, File: orNull(p.File), Line: orNull(p.Line),
		}
		for _, text := range slices.Concat(p.Messages, p.Prints) {
			shown.Output = append(shown.Output, outcomeOutput{text})
		}
		attributes.Outcomes = append(attributes.Outcomes, shown)
	}
	return resource{
		ID:         o.ID,
		Type:       "policy-set-outcomes",
		Attributes: attributes,
		Relationships: map[string]relation{
			"policy-evaluation": toOne("policy-evaluations", o.CheckID),
			// Which may both be gone meanwhile.
			"policy-set":         toOne("policy-sets", o.PolicySetID),
			"policy-set-version": toOne("policy-set-versions", o.VersionID),
		},
		Links: map[string]string{"self": prefix + "/policy-set-outcomes/" + o.ID},
	}
}

func (a *API) listPolicySetOutcomes(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	filters, err := r.outcomeFilters()
	if err != nil {
		return err
	}
	c, err := a.check(r, r.Param("policy_evaluation"), evaluationPrefix)
	if err != nil {
		return err
	}
	outcomes, total, err := a.Checks.PolicySetOutcomes(r.ctx(), r.by, c.ID, filters, page)
	if err != nil {
		return err
	}
	var data []resource
	for _, o := range outcomes {
		data = append(data, policySetOutcomeResource(o))
	}
	return r.send(http.StatusOK, a.list(r, data, page, total))
}

// showPolicySetOutcome shows those of policy evaluations only, as HCP Terraform
// does: a policy check has what its policy sets say in itself.
func (a *API) showPolicySetOutcome(r *request) error {
	o, err := a.Checks.PolicySetOutcome(r.ctx(), r.by, r.Param("policy_set_outcome"))
	if err != nil {
		return err
	}
	if !strings.HasPrefix(o.CheckID, evaluationPrefix+"-") {
		return polset.ErrNotFound
	}
	return r.send(http.StatusOK, single(policySetOutcomeResource(o)))
}

// outcomeFilters are the parameters that narrow a list of outcomes. HashiCorp's
// client and its documentation spell the level in two ways.
var outcomeFilters = []string{"filter[n][status]", "filter[n][enforcement_level]", "filter[n][enforcementLevel]"}

// maxOutcomeFilters bounds how many a request may have.
const maxOutcomeFilters = 20

var outcomeFilter = regexp.MustCompile(`^filter\[([0-9]{1,9})\]\[(status|enforcement_level|enforcementLevel)\]$`)

// outcomeLevels are the levels that a filter takes, and what each lets through:
// of Sentinel, mandatory is soft or hard, as in the counts.
var outcomeLevels = map[string][]string{
	"advisory": {"advisory"}, "mandatory": {"mandatory", "soft-mandatory", "hard-mandatory"},
	"soft-mandatory": {"soft-mandatory"}, "hard-mandatory": {"hard-mandatory"},
}

// outcomeFilters reads filter[n][…]: what has one n must all be so, and of
// several n any.
func (r *request) outcomeFilters() ([]polset.OutcomeFilter, error) {
	given := map[string]*polset.OutcomeFilter{}
	for _, name := range slices.Sorted(maps.Keys(r.query)) {
		if name != "filter" && !strings.HasPrefix(name, "filter[") {
			continue
		}
		parts := outcomeFilter.FindStringSubmatch(name)
		if parts == nil {
			return nil, badParameter(name, "%s is not supported: filter[0][status] and filter[0][enforcement_level] are, with any number in the place of 0.", name)
		}
		value := strings.Join(r.query[name], ",")
		if value == "" {
			continue
		}
		f := given[parts[1]]
		if f == nil {
			f = &polset.OutcomeFilter{}
			given[parts[1]] = f
		}
		switch {
		case parts[2] == "status":
			if !slices.Contains([]string{"passed", "failed", "errored"}, value) {
				return nil, badParameter(name, "%s takes passed, failed, errored.", name)
			}
			f.Status = polset.OutcomeStatus(value)
		case outcomeLevels[value] == nil:
			return nil, badParameter(name, "%s takes advisory, mandatory, soft-mandatory, hard-mandatory.", name)
		case f.EnforcementLevel != "" && f.EnforcementLevel != value:
			return nil, badParameter(name, "%s contradicts the same filter in another spelling.", name)
		default:
			f.EnforcementLevel = value
		}
	}
	if len(given) > maxOutcomeFilters {
		return nil, badParameter("filter", "At most %d filters are taken at once.", maxOutcomeFilters)
	}
	var filters []polset.OutcomeFilter
	for _, n := range slices.Sorted(maps.Keys(given)) {
		levels := outcomeLevels[given[n].EnforcementLevel]
		if levels == nil {
			levels = []string{""}
		}
		for _, level := range levels {
			filters = append(filters, polset.OutcomeFilter{Status: given[n].Status, EnforcementLevel: level})
		}
	}
	return filters, nil
}
