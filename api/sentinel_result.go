package api

import (
	"strings"

	"github.com/polset/polset"
)

// sentinelResult is what HCP Terraform's engine says, as far as another can.
type sentinelResult struct {
	SchemaVersion int                    `json:"schema-version"`
	Data          map[string]sentinelSet `json:"data"` // by the name of the policy set
}

type sentinelSet struct {
	CanOverride bool             `json:"can-override"`
	Error       *string          `json:"error"`
	Policies    []sentinelPolicy `json:"policies"`
	Result      bool             `json:"result"`
}

type sentinelPolicy struct {
	AllowedFailure bool          `json:"allowed-failure"`
	Error          *string       `json:"error"`
	Policy         string        `json:"policy"`
	Result         bool          `json:"result"`
	Trace          sentinelTrace `json:"trace"`
}

type sentinelTrace struct {
	Description string  `json:"description"`
	Error       *string `json:"error"`
	Print       string  `json:"print"`
	Result      bool    `json:"result"`
}

func sentinelOf(outcomes []polset.PolicySetOutcome) sentinelResult {
	all := sentinelResult{SchemaVersion: 1, Data: make(map[string]sentinelSet, len(outcomes))}
	for _, o := range outcomes {
		set := sentinelSet{
			CanOverride: o.Counts.SoftFailed > 0 && o.Counts.HardFailed+o.Counts.Errored == 0,
			Error:       orNull(o.ErrorMessage), Policies: make([]sentinelPolicy, 0, len(o.Policies)),
			Result: o.Counts.Failed()+o.Counts.Errored == 0,
		}
		for _, p := range o.Policies {
			passed, errored := p.Status == polset.OutcomePassed, p.Status == polset.OutcomeErrored
			trace := sentinelTrace{Description: p.Description, Print: strings.Join(p.Prints, "\n"), Result: passed}
			if errored {
				trace.Error = orNull(strings.Join(p.Messages, "\n"))
			}
			set.Policies = append(set.Policies, sentinelPolicy{
				AllowedFailure: p.Status == polset.OutcomeFailed && p.EnforcementLevel == "advisory",
				Error:          trace.Error, Policy: o.PolicySetName + "/" + p.Name, Result: passed, Trace: trace,
			})
		}
		all.Data[o.PolicySetName] = set
	}
	return all
}
