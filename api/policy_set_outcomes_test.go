package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
)

func TestFiltersOfOutcomes(t *testing.T) {
	s, f := softFailed(t)
	const path = "/policy-evaluations/" + fakeEvaluation + "/policy-set-outcomes"
	type filter = polset.OutcomeFilter
	for query, want := range map[string][]filter{
		"":                                     nil,
		"filter[0][status]=":                   nil,
		"filter[0][status]=passed":             {{Status: "passed"}},
		"filter[7][enforcementLevel]=advisory": {{EnforcementLevel: "advisory"}},
		"filter[0][status]=failed&filter[0][enforcement_level]=mandatory": {
			{Status: "failed", EnforcementLevel: "mandatory"}, {Status: "failed", EnforcementLevel: "soft-mandatory"}, {Status: "failed", EnforcementLevel: "hard-mandatory"},
		},
		"filter[0][status]=errored&filter[1][status]=passed&filter[1][enforcementLevel]=advisory": {{Status: "errored"}, {Status: "passed", EnforcementLevel: "advisory"}},
		"filter[0][enforcementLevel]=advisory&filter[0][enforcement_level]=advisory":              {{EnforcementLevel: "advisory"}},
	} {
		a := s.ask(acme, "GET", path+"?"+escape(query), "")
		if diff := cmp.Diff(want, f.filters); diff != "" || a.status != http.StatusOK {
			t.Errorf("%s: %d %s %s", query, a.status, a.body, diff)
		}
	}
	many := ""
	for n := range 21 {
		many += "&filter[" + string(rune('1'+n%9)) + strings.Repeat("0", n/9) + "][status]=passed"
	}
	for query, parameter := range map[string]string{
		"filter[0][status]=soft_failed":     "filter[0][status]",
		"filter[0][status]=passed,failed":   "filter[0][status]",
		"filter[0][enforcement_level]=must": "filter[0][enforcement_level]",
		"filter[0][name]=x":                 "filter[0][name]",
		"filter[status]=passed":             "filter[status]",
		"filter[-1][status]=passed":         "filter[-1][status]",
		"filter[9999999999][status]=passed": "filter[9999999999][status]",
		"filter=passed":                     "filter",
		many[1:]:                            "filter",
		"filter[0][enforcementLevel]=advisory&filter[0][enforcement_level]=mandatory": "filter[0][enforcement_level]",
	} {
		t.Run("case 85 "+query, func(t *testing.T) {
			if p := problemsOf(t, s.ask(acme, "GET", path+"?"+escape(query), ""), http.StatusBadRequest); p[0].Source.Parameter != parameter {
				t.Errorf("%+v, want %s", p, parameter)
			}
		})
	}
	// Whatever a policy check's policy sets say belongs to no policy evaluation.
	f.outcomes[fakeCheck][0].ID = "psout-0000000000000009"
	for _, path := range []string{"/policy-set-outcomes/psout-0000000000000009", "/policy-evaluations/" + fakeCheck, "/policy-evaluations/" + fakeCheck + "/policy-set-outcomes", "/policy-checks/" + fakeEvaluation, "/task-stages/" + fakeRun} {
		problemsOf(t, s.ask(acme, "GET", path, ""), http.StatusNotFound)
	}
}

// escape makes a query of one that can be read.
func escape(query string) string { return strings.NewReplacer("[", "%5B", "]", "%5D").Replace(query) }
