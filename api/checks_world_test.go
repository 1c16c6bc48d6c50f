package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	tfe "github.com/hashicorp/go-tfe"

	"github.com/polset/polset"
)

// What TestIsolation cannot know of checks by itself.
var (
	_ = thing("checked_run", func(e *estate) string { return e.checkedRun() })
	_ = thing("policy_check", func(e *estate) string { return e.checkOf(false).ID })
	_ = thing("policy_evaluation", func(e *estate) string { return e.checkOf(true).ID })
	_ = thing("policy_set_outcome", func(e *estate) string {
		outcomes, _, err := e.store.PolicySetOutcomes(e.t.Context(), polset.System, e.thing("policy_evaluation"), nil, polset.Page{Number: 1, Size: 1})
		if err != nil || len(outcomes) != 1 {
			e.t.Fatalf("%d outcomes: %v", len(outcomes), err)
		}
		return outcomes[0].ID
	})
	_ = thing("task_stage", func(e *estate) string { return "ts" + strings.TrimPrefix(e.thing("checked_run"), "run") })
	_ = thing("check", func(e *estate) string { return "pchk" + strings.TrimPrefix(e.thing("policy_evaluation"), "poleval") })
	_ = thing("plan", func(e *estate) string { return "plan" + strings.TrimPrefix(e.thing("checked_run"), "run") })

	_ = probe("POST /policy-checks/:policy_check/actions/override", `{"comment":"why not"}`)
	_ = probe("POST /task-stages/:task_stage/actions/override", `{"comment":"why not"}`)
	_ = probe("POST /api/iacp/v3/policy-checks/:check/actions/override", `{"comment":"why not"}`)
)

var sentinelPolicies = map[string]string{
	"sentinel.hcl":   "policy \"hours\" {\n  source = \"./hours.sentinel\"\n  enforcement_level = \"soft-mandatory\"\n}\n",
	"hours.sentinel": "main = rule { false }\n",
}

// global makes a policy set that applies to all of the estate's workspaces. It
// has a version, unless files are nil.
func (e *estate) global(name string, kind polset.Kind, files map[string]string) string {
	e.t.Helper()
	overridable := ""
	if kind == polset.KindOPA {
		overridable = `,"overridable":true`
	}
	id := e.create("/organizations/{organization}/policy-sets", `{"data":{"type":"policy-sets","attributes":{"name":"`+name+`","global":true,"kind":"`+string(kind)+`"`+overridable+`}}}`)
	if files == nil {
		return id
	}
	version, link := e.linkOf(e.ask(e.token, http.MethodPost, "/policy-sets/"+id+"/versions", ""))
	if a := e.put(link, packed(e.t, files)); a.status != http.StatusOK || e.status(version) != polset.VersionReady {
		e.t.Fatalf("%d %s", a.status, a.body)
	}
	return id
}

// checkedRun is a run that an OPA set and a Sentinel set have judged: both of
// them softly.
func (e *estate) checkedRun() string {
	e.t.Helper()
	e.global("checked-by-opa", polset.KindOPA, opaPolicies)
	e.global("checked-by-sentinel", polset.KindSentinel, sentinelPolicies)
	id := e.create("/runs", runOf)
	e.judge(func(polset.CheckTask) polset.OutcomeStatus { return polset.OutcomeFailed })
	return id
}

// checkOf is one of the two checks of the checked run.
func (e *estate) checkOf(evaluation bool) polset.Check {
	e.t.Helper()
	checks, err := e.store.ChecksOfRuns(e.t.Context(), polset.System, []string{e.thing("checked_run")})
	if err != nil {
		e.t.Fatal(err)
	}
	i := slices.IndexFunc(checks, func(c polset.Check) bool { return c.Evaluation == evaluation })
	if i < 0 {
		e.t.Fatalf("the run has no such check: %+v", checks)
	}
	return checks[i]
}

// judge ends all checks that wait, each policy in one way.
func (w *world) judge(verdict func(polset.CheckTask) polset.OutcomeStatus) {
	w.t.Helper()
	ctx := w.t.Context()
	for {
		tasks, err := w.store.ClaimChecks(ctx, 100, time.Minute)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(tasks) == 0 {
			return
		}
		for _, task := range tasks {
			result := polset.CheckResult{Duration: 3 * time.Millisecond}
			for _, set := range task.Sets {
				o := set.Outcome
				for _, p := range set.Policies {
					said := polset.PolicyOutcome{Name: p.Name, Query: p.Query, EnforcementLevel: p.EnforcementLevel, Description: p.Description, Status: verdict(task)}
					if said.Status != polset.OutcomePassed {
						said.Messages = []string{p.Name + " says no"}
					}
					o.Policies = append(o.Policies, said)
				}
				result.Outcomes = append(result.Outcomes, o)
			}
			if err := w.store.SettleCheck(ctx, task, result); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// The official client follows a run from its creation to the override.
func TestChecksWithOfficialClient(t *testing.T) {
	w := newWorld(t)
	e := w.estate("acme")
	client, ctx := w.client(e.token), t.Context()
	e.global("opa", polset.KindOPA, opaPolicies)
	e.global("sentinel", polset.KindSentinel, sentinelPolicies)
	created, err := client.Runs.Read(ctx, e.create("/runs", runOf))
	if err != nil || created.Status != tfe.RunPending || len(created.PolicyChecks) != 1 || len(created.TaskStages) != 1 || !created.Actions.IsCancelable || !created.Actions.IsDiscardable {
		t.Fatalf("%v %+v", err, created)
	}
	stages, err := client.TaskStages.List(ctx, created.ID, nil)
	if err != nil || len(stages.Items) != 1 || stages.Items[0].ID != created.TaskStages[0].ID || stages.Items[0].Status != tfe.TaskStagePending || len(stages.Items[0].PolicyEvaluations) != 1 {
		t.Fatalf("%v %+v", err, stages)
	}
	w.judge(func(polset.CheckTask) polset.OutcomeStatus { return polset.OutcomeFailed })

	evaluation := stages.Items[0].PolicyEvaluations[0].ID
	for _, c := range []struct {
		filter tfe.PolicySetOutcomeListFilter
		want   int
	}{
		{tfe.PolicySetOutcomeListFilter{Status: "failed", EnforcementLevel: "mandatory"}, 1},
		{tfe.PolicySetOutcomeListFilter{Status: "failed"}, 1},
		{tfe.PolicySetOutcomeListFilter{Status: "failed", EnforcementLevel: "advisory"}, 0},
		{tfe.PolicySetOutcomeListFilter{Status: "errored"}, 0},
	} {
		outcomes, err := client.PolicySetOutcomes.List(ctx, evaluation, &tfe.PolicySetOutcomeListOptions{Filter: map[string]tfe.PolicySetOutcomeListFilter{"0": c.filter}})
		if err != nil || len(outcomes.Items) != c.want || outcomes.TotalCount != c.want {
			t.Errorf("%+v: %v %+v", c.filter, err, outcomes)
		}
	}
	outcomes, err := client.PolicySetOutcomes.List(ctx, evaluation, nil)
	if err != nil || len(outcomes.Items) != 1 {
		t.Fatalf("%v %+v", err, outcomes)
	}
	outcome, err := client.PolicySetOutcomes.Read(ctx, outcomes.Items[0].ID)
	if err != nil || outcome.PolicySetName != "opa" || !*outcome.Overridable || outcome.ResultCount.MandatoryFailed != 1 || outcome.PolicyEvaluation.ID != evaluation ||
		len(outcome.Outcomes) != 1 || outcome.Outcomes[0].PolicyName != "a" || outcome.Outcomes[0].Query != "data.a.deny" || outcome.Outcomes[0].Output[0].Print != "a says no" {
		t.Errorf("%v %+v", err, outcome)
	}

	status := func(want tfe.RunStatus) *tfe.Run {
		t.Helper()
		run, err := client.Runs.Read(ctx, created.ID)
		if err != nil || run.Status != want {
			t.Fatalf("%v, the run is %s, want %s", err, run.Status, want)
		}
		return run
	}
	// Both stand in the way, and the policy check comes last.
	if waiting := status(tfe.RunPostPlanAwaitingDecision); waiting.Actions.IsCancelable || !waiting.Actions.IsDiscardable {
		t.Errorf("run %+v", waiting)
	}
	if err := client.Runs.Cancel(ctx, created.ID, tfe.RunCancelOptions{}); err == nil || !strings.Contains(err.Error(), "There is nothing to cancel: the run is post_plan_awaiting_decision. It can be discarded.") {
		t.Error(err)
	}
	stage, err := client.TaskStages.Override(ctx, created.TaskStages[0].ID, tfe.TaskStageOverrideOptions{Comment: tfe.String("the pager said so")})
	if err != nil || stage.Status != tfe.TaskStagePassed {
		t.Errorf("%v %+v", err, stage)
	}
	if waiting := status(tfe.RunPolicyOverride); waiting.StatusTimestamps.PolicySoftFailedAt.IsZero() {
		t.Errorf("run %+v", waiting.StatusTimestamps)
	}
	check, err := client.PolicyChecks.Override(ctx, created.PolicyChecks[0].ID)
	if err != nil || check.Status != tfe.PolicyOverridden || check.Result.SoftFailed != 1 || check.Result.Duration != 3 {
		t.Errorf("%v %+v", err, check)
	}
	status(tfe.RunPolicyChecked)
	if _, err := client.TaskStages.Override(ctx, created.TaskStages[0].ID, tfe.TaskStageOverrideOptions{}); err == nil || !strings.Contains(err.Error(), "There is nothing to override") {
		t.Error(err)
	}
	if a := w.ask(e.token, "GET", "/policy-evaluations/"+evaluation, ""); !strings.Contains(a.body, `"override":{"by":"`+e.tokenID+`","comment":"the pager said so"`) {
		t.Error(a.body)
	}
}

// What nobody can go on with, nobody can override.
func TestRunsThatEndBeforeTheirChecks(t *testing.T) {
	w := newWorld(t)
	e := w.estate("acme")
	client, ctx := w.client(e.token), t.Context()
	e.global("opa", polset.KindOPA, opaPolicies)

	t.Run("canceled", func(t *testing.T) {
		run, err := client.Runs.Read(ctx, e.create("/runs", runOf))
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Runs.Cancel(ctx, run.ID, tfe.RunCancelOptions{}); err != nil {
			t.Fatal(err)
		}
		stage, err := client.TaskStages.Read(ctx, run.TaskStages[0].ID, nil)
		if err != nil || stage.Status != tfe.TaskStageUnreachable || stage.StatusTimestamps.CanceledAt.IsZero() {
			t.Errorf("%v %+v", err, stage)
		}
		if err := client.Runs.Discard(ctx, run.ID, tfe.RunDiscardOptions{}); err == nil || !strings.Contains(err.Error(), "The run has ended: it is canceled, and can no longer be discarded.") {
			t.Error(err)
		}
	})
	t.Run("canceled while it runs", func(t *testing.T) {
		run, err := client.Runs.Read(ctx, e.create("/runs", runOf))
		if err != nil {
			t.Fatal(err)
		}
		if tasks, err := w.store.ClaimChecks(ctx, 100, time.Minute); err != nil || len(tasks) != 1 {
			t.Fatalf("%d tasks: %v", len(tasks), err)
		}
		if err := client.Runs.Discard(ctx, run.ID, tfe.RunDiscardOptions{}); err == nil || !strings.Contains(err.Error(), "The run is post_plan_running, and can only be canceled.") {
			t.Error(err)
		}
		if err := client.Runs.Cancel(ctx, run.ID, tfe.RunCancelOptions{}); err != nil {
			t.Fatal(err)
		}
		stage, err := client.TaskStages.Read(ctx, run.TaskStages[0].ID, nil)
		if err != nil || stage.Status != tfe.TaskStageCanceled {
			t.Errorf("%v %+v", err, stage)
		}
	})
	t.Run("discarded while it waits for an override", func(t *testing.T) {
		run, err := client.Runs.Read(ctx, e.create("/runs", runOf))
		if err != nil {
			t.Fatal(err)
		}
		w.judge(func(polset.CheckTask) polset.OutcomeStatus { return polset.OutcomeFailed })
		if err := client.Runs.Discard(ctx, run.ID, tfe.RunDiscardOptions{}); err != nil {
			t.Fatal(err)
		}
		stage, err := client.TaskStages.Read(ctx, run.TaskStages[0].ID, nil)
		if err != nil || stage.Status != tfe.TaskStageAwaitingOverride || *stage.Actions.IsOverridable {
			t.Errorf("%v %+v", err, stage)
		}
		p := problemsOf(t, w.ask(e.token, "POST", "/task-stages/"+stage.ID+"/actions/override", ""), http.StatusConflict)
		if !strings.Contains(p[0].Detail, "its run has ended") {
			t.Errorf("%+v", p)
		}
	})
}
