package polset_test

import (
	"strings"
	"testing"

	"github.com/polset/polset"
)

func TestCheckStatusOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		counts polset.ResultCounts
		want   polset.CheckStatus
	}{
		{polset.ResultCounts{}, polset.CheckPassed},
		{polset.ResultCounts{Passed: 3}, polset.CheckPassed},
		{polset.ResultCounts{AdvisoryFailed: 3}, polset.CheckPassed},
		{polset.ResultCounts{Passed: 1, AdvisoryFailed: 1, SoftFailed: 1}, polset.CheckSoftFailed},
		{polset.ResultCounts{Passed: 1, SoftFailed: 1, HardFailed: 1}, polset.CheckHardFailed},
		{polset.ResultCounts{SoftFailed: 1, HardFailed: 1, Errored: 1}, polset.CheckErrored},
		{polset.ResultCounts{Passed: 9, Errored: 1}, polset.CheckErrored},
	} {
		if got := polset.CheckStatusOf(c.counts); got != c.want {
			t.Errorf("%+v is %s, want %s", c.counts, got, c.want)
		}
	}
}

// TestRunStatusOf gives a run an evaluation and a check, "" for none, in both
// orders.
func TestRunStatusOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		evaluation, check polset.CheckStatus
		want              polset.RunStatus
	}{
		{"", "", polset.RunPlanned},

		{polset.CheckPending, "", polset.RunPending},
		{polset.CheckRunning, "", polset.RunPostPlanRunning},
		{polset.CheckPassed, "", polset.RunPostPlanCompleted},
		{polset.CheckOverridden, "", polset.RunPostPlanCompleted},
		{polset.CheckSoftFailed, "", polset.RunPostPlanAwaitingDecision},
		{polset.CheckHardFailed, "", polset.RunErrored},
		{polset.CheckErrored, "", polset.RunErrored},
		{polset.CheckCanceled, "", polset.RunCanceled},

		{"", polset.CheckPending, polset.RunPending},
		{"", polset.CheckRunning, polset.RunPolicyChecking},
		{"", polset.CheckPassed, polset.RunPolicyChecked},
		{"", polset.CheckOverridden, polset.RunPolicyChecked},
		{"", polset.CheckSoftFailed, polset.RunPolicyOverride},
		{"", polset.CheckHardFailed, polset.RunErrored},
		{"", polset.CheckErrored, polset.RunErrored},
		{"", polset.CheckCanceled, polset.RunCanceled},

		{polset.CheckPending, polset.CheckPending, polset.RunPending},
		{polset.CheckRunning, polset.CheckPending, polset.RunPostPlanRunning},
		{polset.CheckPending, polset.CheckRunning, polset.RunPostPlanRunning}, // the one to come first is not through
		{polset.CheckRunning, polset.CheckRunning, polset.RunPostPlanRunning},
		{polset.CheckPassed, polset.CheckPending, polset.RunPolicyChecking},
		{polset.CheckPassed, polset.CheckRunning, polset.RunPolicyChecking},
		{polset.CheckRunning, polset.CheckPassed, polset.RunPostPlanRunning},
		// What goes on is waited for, whatever the other came to.
		{polset.CheckHardFailed, polset.CheckRunning, polset.RunPolicyChecking},
		{polset.CheckSoftFailed, polset.CheckPending, polset.RunPolicyChecking},
		{polset.CheckRunning, polset.CheckErrored, polset.RunPostPlanRunning},
		{polset.CheckPassed, polset.CheckPassed, polset.RunPolicyChecked},
		{polset.CheckOverridden, polset.CheckPassed, polset.RunPolicyChecked},
		{polset.CheckSoftFailed, polset.CheckPassed, polset.RunPostPlanAwaitingDecision},
		{polset.CheckPassed, polset.CheckSoftFailed, polset.RunPolicyOverride},
		{polset.CheckSoftFailed, polset.CheckSoftFailed, polset.RunPostPlanAwaitingDecision},
		{polset.CheckOverridden, polset.CheckSoftFailed, polset.RunPolicyOverride},
		{polset.CheckHardFailed, polset.CheckSoftFailed, polset.RunErrored},
		{polset.CheckPassed, polset.CheckErrored, polset.RunErrored},
		{polset.CheckSoftFailed, polset.CheckCanceled, polset.RunCanceled},
		{polset.CheckErrored, polset.CheckCanceled, polset.RunCanceled},
	} {
		var checks []polset.Check
		if c.evaluation != "" {
			checks = append(checks, polset.Check{Evaluation: true, Status: c.evaluation})
		}
		if c.check != "" {
			checks = append(checks, polset.Check{Status: c.check})
		}
		if got := polset.RunStatusOf(checks); got != c.want {
			t.Errorf("evaluation %q, check %q: %s, want %s", c.evaluation, c.check, got, c.want)
		}
		if len(checks) == 2 {
			checks[0], checks[1] = checks[1], checks[0]
			if got := polset.RunStatusOf(checks); got != c.want {
				t.Errorf("check %q, evaluation %q: %s, want %s", c.check, c.evaluation, got, c.want)
			}
		}
	}
}

// Whoever may end a run does it in a state from which it may be ended, and a run
// that has ended stays so.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	var cancelable, discardable []string
	for _, s := range []polset.RunStatus{
		polset.RunPending, polset.RunPostPlanRunning, polset.RunPolicyChecking, polset.RunPostPlanAwaitingDecision, polset.RunPolicyOverride,
		polset.RunPlanned, polset.RunPostPlanCompleted, polset.RunPolicyChecked, polset.RunErrored, polset.RunCanceled, polset.RunDiscarded,
	} {
		if s.Cancelable() {
			cancelable = append(cancelable, string(s))
		}
		if s.Discardable() {
			discardable = append(discardable, string(s))
		}
	}
	if got := strings.Join(cancelable, " "); got != "pending post_plan_running policy_checking" {
		t.Errorf("to be canceled: %s", got)
	}
	if got := strings.Join(discardable, " "); got != "pending post_plan_awaiting_decision policy_override planned post_plan_completed policy_checked" {
		t.Errorf("to be discarded: %s", got)
	}
	var going []polset.CheckStatus
	for _, s := range []polset.CheckStatus{
		polset.CheckPending, polset.CheckRunning, polset.CheckPassed, polset.CheckSoftFailed, polset.CheckHardFailed,
		polset.CheckOverridden, polset.CheckErrored, polset.CheckCanceled,
	} {
		if !s.Ended() {
			going = append(going, s)
		}
		if c := (polset.Check{Status: s}); c.CanOverride() != (s == polset.CheckSoftFailed) {
			t.Errorf("override of %s: %v", s, c.CanOverride())
		}
	}
	if len(going) != 2 {
		t.Errorf("not ended: %v", going)
	}
}

func TestPolicySetOutcomeCount(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policies    string // each status/level
		overridable bool
		class       polset.Class
		want        polset.ResultCounts
	}{
		{"", false, "", polset.ResultCounts{}},
		{"", false, polset.ClassLimit, polset.ResultCounts{Errored: 1}},
		{"passed/mandatory passed/advisory", false, "", polset.ResultCounts{Passed: 2}},
		{"passed/mandatory", false, polset.ClassLimit, polset.ResultCounts{Passed: 1, Errored: 1}},
		{"errored/advisory errored/mandatory", false, polset.ClassLimit, polset.ResultCounts{Errored: 2}},
		{"failed/advisory", true, "", polset.ResultCounts{AdvisoryFailed: 1}},
		{"failed/mandatory", false, "", polset.ResultCounts{HardFailed: 1}},
		{"failed/mandatory", true, "", polset.ResultCounts{SoftFailed: 1}},
		{"failed/soft-mandatory failed/hard-mandatory", false, "", polset.ResultCounts{SoftFailed: 1, HardFailed: 1}},
		{"failed/hard-mandatory", true, "", polset.ResultCounts{HardFailed: 1}},
		{"failed/unheard-of", true, "", polset.ResultCounts{HardFailed: 1}},
		{"unheard-of/advisory /mandatory", true, "", polset.ResultCounts{Errored: 2}}, // no word is no pass
	} {
		o := polset.PolicySetOutcome{Overridable: c.overridable, Error: c.class}
		for _, p := range strings.Fields(c.policies) {
			status, level, _ := strings.Cut(p, "/")
			o.Policies = append(o.Policies, polset.PolicyOutcome{Status: polset.OutcomeStatus(status), EnforcementLevel: level})
		}
		got := o.Count()
		if got != c.want {
			t.Errorf("%q, overridable %v, %q: %+v, want %+v", c.policies, c.overridable, c.class, got, c.want)
		}
		sum := c.want
		sum.Add(got)
		if sum.Failed() != 2*got.Failed() || sum.Passed != 2*got.Passed || sum.Errored != 2*got.Errored || got.Failed() != got.AdvisoryFailed+got.MandatoryFailed() {
			t.Errorf("%+v and as much again are %+v", got, sum)
		}
	}
}
