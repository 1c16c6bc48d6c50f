package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	tfe "github.com/hashicorp/go-tfe"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

const (
	fakeEvaluation = "poleval-0000000000000001"
	fakeSentinel   = "poleval-0000000000000002" // that runs in an agent
	fakeCheck      = "polchk-0000000000000003"
	fakeStage      = "ts-0000000000000007"
)

// fixture is a server with one run of acme's, of which nothing was checked yet.
func fixture(t *testing.T, adjust ...func(*api.Config)) (*server, *fakeChecks) {
	t.Helper()
	f := newFakeChecks()
	s := newServer(t, append(adjust, f.attach)...)
	f.organizationID = s.orgs[0].ID
	return s, f
}

// softFailed is a run of which two checks have a soft failure, and nothing worse.
func softFailed(t *testing.T) (*server, *fakeChecks) {
	t.Helper()
	s, f := fixture(t)
	f.run.Status = polset.RunPostPlanAwaitingDecision
	evaluation := f.add(fakeEvaluation, polset.KindOPA, polset.CheckRunning, polset.CheckSoftFailed)
	f.says(evaluation, polset.PolicySetOutcome{
		PolicySetName: "production", PolicySetDescription: "all of it", Overridable: true, PolicyToolVersion: "1.22.2",
		Policies: []polset.PolicyOutcome{
			{
				Name: "cost", Query: "data.cost.deny", EnforcementLevel: "mandatory", Description: "No more than $500.", Status: polset.OutcomeFailed,
				Messages: []string{"Plan is too expensive: $733.35", "Two\nlines and a \x1b[31mcolour"}, Prints: []string{"733.35"},
			},
			{Name: "types", Query: "data.types.deny", EnforcementLevel: "advisory", Status: polset.OutcomeFailed, Messages: []string{"t2.2xlarge"}},
			{Name: "tags", Query: "data.tags.deny", EnforcementLevel: "mandatory", Status: polset.OutcomePassed},
		},
	})
	check := f.add(fakeCheck, polset.KindSentinel, polset.CheckRunning, polset.CheckSoftFailed)
	f.says(check, polset.PolicySetOutcome{
		PolicySetName: "legacy",
		Policies: []polset.PolicyOutcome{
			{Name: "hours", EnforcementLevel: "soft-mandatory", Status: polset.OutcomeFailed, Messages: []string{"It is night."}, Prints: []string{"23:00"}},
		},
	})
	return s, f
}

func TestCheckDocuments(t *testing.T) {
	s, f := softFailed(t)
	f.add(fakeSentinel, polset.KindSentinel, polset.CheckRunning, polset.CheckPassed)
	for _, c := range []struct{ name, path string }{
		{"policy_check", "/policy-checks/" + fakeCheck},
		{"policy_checks", "/runs/" + fakeRun + "/policy-checks?include=run"},
		{"task_stage", "/task-stages/" + fakeStage + "?include=policy_evaluations"},
		{"task_stages", "/runs/" + fakeRun + "/task-stages"},
		{"policy_evaluations", "/task-stages/" + fakeStage + "/policy-evaluations"},
		{"policy_set_outcomes", "/policy-evaluations/" + fakeEvaluation + "/policy-set-outcomes"},
		{"scalr_policy_check", s.url + scalr + "/policy-checks/pchk-0000000000000001"},
		{"scalr_policy_checks", s.url + scalr + "/runs/" + fakeRun + "/policy-checks"},
		{"run_checked", "/runs/" + fakeRun},
	} {
		a := s.ask(acme, "GET", c.path, "")
		if a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", c.name, a.status, a.body)
		}
		golden(t, c.name, a, s.url)
	}
}

// Every state of a check has a name in each dialect that its clients know.
func TestStatusesOfChecks(t *testing.T) {
	pending, running := polset.CheckPending, polset.CheckRunning
	for _, c := range []struct {
		reached           []polset.CheckStatus
		evaluation, check string
		stage             string
		result            bool
	}{
		{nil, "pending", "pending", "pending", false},
		{[]polset.CheckStatus{running}, "running", "queued", "running", false},
		{[]polset.CheckStatus{running, pending}, "pending", "pending", "running", false}, // it is tried again
		{[]polset.CheckStatus{running, polset.CheckPassed}, "passed", "passed", "passed", true},
		{[]polset.CheckStatus{running, polset.CheckSoftFailed}, "failed", "soft_failed", "awaiting_override", true},
		{[]polset.CheckStatus{running, polset.CheckHardFailed}, "failed", "hard_failed", "failed", true},
		{[]polset.CheckStatus{running, polset.CheckSoftFailed, polset.CheckOverridden}, "overridden", "overridden", "passed", true},
		{[]polset.CheckStatus{running, polset.CheckErrored}, "errored", "errored", "errored", true},
		{[]polset.CheckStatus{running, polset.CheckCanceled}, "canceled", "canceled", "canceled", false},
		{[]polset.CheckStatus{polset.CheckCanceled}, "unreachable", "unreachable", "unreachable", false},
	} {
		name := c.evaluation
		t.Run(strings.Join(append([]string{"pending"}, words(c.reached)...), " "), func(t *testing.T) {
			s, f := fixture(t)
			f.add(fakeEvaluation, polset.KindOPA, c.reached...)
			f.add(fakeCheck, polset.KindSentinel, c.reached...)
			client, ctx := s.client(acme), t.Context()
			evaluations, err := client.PolicyEvaluations.List(ctx, fakeStage, nil)
			if err != nil || len(evaluations.Items) != 1 || string(evaluations.Items[0].Status) != name {
				t.Errorf("%v %+v, want %s", err, evaluations, name)
			}
			check, err := client.PolicyChecks.Read(ctx, fakeCheck)
			if err != nil || string(check.Status) != c.check || (check.Result != nil) != c.result {
				t.Errorf("%v %+v, want %s", err, check, c.check)
			}
			stage, err := client.TaskStages.Read(ctx, fakeStage, nil)
			if err != nil || string(stage.Status) != c.stage || *stage.Actions.IsOverridable != (c.stage == "awaiting_override") {
				t.Errorf("%v %+v, want %s", err, stage, c.stage)
			}
			if a := s.ask(acme, "GET", s.url+scalr+"/policy-checks/pchk-0000000000000003", ""); !strings.Contains(a.body, `"status":"`+c.check+`"`) || strings.Contains(a.body, `"result":null`) == c.result {
				t.Errorf("%d %s", a.status, a.body)
			}
			status := map[bool]int{true: http.StatusOK, false: http.StatusNoContent}[c.result]
			if a := s.ask(acme, "GET", "/policy-checks/"+fakeCheck+"/output", ""); a.status != status {
				t.Errorf("output: %d %s", a.status, a.body)
			}
		})
	}
}

func words(statuses []polset.CheckStatus) []string {
	list := make([]string, len(statuses))
	for i, s := range statuses {
		list[i] = string(s)
	}
	return list
}

// A stage is what its policy evaluations are together.
func TestStatusOfTaskStage(t *testing.T) {
	ended := func(s polset.CheckStatus) []polset.CheckStatus { return []polset.CheckStatus{polset.CheckRunning, s} }
	for _, c := range []struct {
		a, b []polset.CheckStatus
		want string
		at   string // of the timestamps, beside pending-at and running-at
	}{
		{nil, ended(polset.CheckPassed), "running", ""},
		{ended(polset.CheckErrored), []polset.CheckStatus{polset.CheckRunning}, "running", ""},
		{ended(polset.CheckSoftFailed), ended(polset.CheckPassed), "awaiting_override", "awaiting-override-at"},
		{ended(polset.CheckSoftFailed), ended(polset.CheckHardFailed), "failed", "failed-at"},
		{ended(polset.CheckHardFailed), ended(polset.CheckErrored), "errored", "errored-at"},
		{ended(polset.CheckErrored), ended(polset.CheckCanceled), "canceled", "canceled-at"},
		{append(ended(polset.CheckSoftFailed), polset.CheckOverridden), ended(polset.CheckPassed), "passed", "awaiting-override-at passed-at"},
		{append(ended(polset.CheckSoftFailed), polset.CheckOverridden), ended(polset.CheckHardFailed), "failed", "failed-at"},
	} {
		s, f := fixture(t)
		f.add(fakeEvaluation, polset.KindOPA, c.a...)
		f.add(fakeSentinel, polset.KindSentinel, c.b...)
		for _, order := range []string{"one way", "the other way"} {
			a := s.ask(acme, "GET", "/task-stages/"+fakeStage, "")
			if !strings.Contains(a.body, `"status":"`+c.want+`"`) {
				t.Errorf("%v and %v, %s: want %s: %s", c.a, c.b, order, c.want, a.body)
			}
			for _, name := range []string{"awaiting-override-at", "failed-at", "errored-at", "canceled-at", "passed-at"} {
				if strings.Contains(a.body, `"`+name+`":"20`) != strings.Contains(c.at, name) {
					t.Errorf("%v and %v, %s: %s: %s", c.a, c.b, order, name, a.body)
				}
			}
			f.checks[0], f.checks[1] = f.checks[1], f.checks[0]
		}
	}
}

func TestOutputOfPolicyCheck(t *testing.T) {
	s, f := softFailed(t)
	logs := s.ask(acme, "GET", "/policy-checks/"+fakeCheck+"/output", "")
	const want = `1 policies evaluated: 0 passed, 1 soft failed.
The check of the sentinel policy sets is soft failed.

Policy set legacy (polsetver-0000000000000001): 0 passed, 1 soft failed
  soft failed      hours (soft-mandatory)
      - It is night.
      print: 23:00
`
	if diff := cmp.Diff(want, logs.body); diff != "" || logs.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%v %s", logs.header, diff)
	}

	// Scalr's way leads through a link, and shows all checks.
	redirect := s.ask(acme, "GET", s.url+scalr+"/policy-checks/pchk-0000000000000001/output", "")
	location := redirect.header.Get("Location")
	if redirect.status != http.StatusFound || !strings.HasPrefix(location, s.url+"/v1/object/") {
		t.Fatalf("%d %s", redirect.status, location)
	}
	const evaluated = `3 policies evaluated: 1 passed, 1 soft failed, 1 advisory failed.
The check of the opa policy sets is soft failed.

Policy set production (polsetver-0000000000000001): 1 passed, 1 soft failed, 1 advisory failed
  soft failed      cost (mandatory)
      No more than $500.
      - Plan is too expensive: $733.35
      - Two
        lines and a ` + "\ufffd" + `[31mcolour
      print: 733.35
  advisory failed  types (advisory)
      - t2.2xlarge
  passed           tags (mandatory)
`
	if diff := cmp.Diff(evaluated, s.ask("", "GET", location, "").body); diff != "" {
		t.Error(diff)
	}
	f.checks[0].Status = polset.CheckErrored
	f.checks[0].Error, f.checks[0].ErrorMessage = polset.ClassPathNotFound, "There is no tfplan.json."
	if a := s.ask("", "GET", location, ""); !strings.Contains(a.body, "is errored.\nThere is no tfplan.json.\n") {
		t.Errorf("the link shows what was: %s", a.body)
	}
}

// What makes all policies of a set errored is said once.
func TestErrorOfPolicyCheckIsSaidOnce(t *testing.T) {
	s, f := softFailed(t)
	const why = "The policies need more than 1 GiB of memory."
	outcomes := f.outcomes[fakeCheck]
	outcomes[0].Error, outcomes[0].ErrorMessage = polset.ClassLimit, why
	outcomes[0].Policies = []polset.PolicyOutcome{
		{Name: "hours", Status: polset.OutcomeErrored, Messages: []string{why}},
		{Name: "days", Status: polset.OutcomeErrored, Messages: []string{why}},
		{Name: "years", Status: polset.OutcomeErrored, Messages: []string{"The query is undefined."}},
	}
	for i := range f.checks {
		f.checks[i].Status = polset.CheckErrored
	}
	logs := s.ask(acme, "GET", "/policy-checks/"+fakeCheck+"/output", "")
	if strings.Count(logs.body, why) != 1 || !strings.Contains(logs.body, "- The query is undefined.") {
		t.Errorf("the output is %s", logs.body)
	}
	const want = `"error-message":"Policy set legacy: ` + why + `\nPolicy years of policy set legacy: The query is undefined."`
	if a := s.ask(acme, "GET", "/policy-checks/"+fakeCheck, ""); !strings.Contains(a.body, want) {
		t.Errorf("%s does not hold %s", a.body, want)
	}
}

func TestOverride(t *testing.T) {
	ctx := t.Context()
	t.Run("a policy check", func(t *testing.T) {
		s, _ := softFailed(t)
		check, err := s.client(acme).PolicyChecks.Override(ctx, fakeCheck)
		if err != nil || check.Status != tfe.PolicyOverridden || check.Result == nil || check.Actions.IsOverridable || !check.Permissions.CanOverride {
			t.Errorf("%v %+v", err, check)
		}
		if _, err := s.client(acme).PolicyChecks.Override(ctx, fakeCheck); err == nil || !strings.Contains(err.Error(), "the policy check is overridden, and only a soft failure can be") {
			t.Errorf("overridden twice: %v", err)
		}
	})
	t.Run("a task stage, with a comment", func(t *testing.T) {
		s, f := softFailed(t)
		stage, err := s.client(acme).TaskStages.Override(ctx, fakeStage, tfe.TaskStageOverrideOptions{Comment: tfe.String("  the pager <said> so ")})
		if err != nil || stage.Status != tfe.TaskStagePassed || *stage.Actions.IsOverridable || f.comment != "the pager <said> so" {
			t.Errorf("%v %+v %q", err, stage, f.comment)
		}
		a := s.ask(acme, "GET", "/policy-evaluations/"+fakeEvaluation, "")
		if !strings.Contains(a.body, `"override":{"by":"at-acme","comment":"the pager <said> so","at":"2026-03-14T15:10:26.535Z"}`) {
			t.Error(a.body)
		}
		if f.checks[1].Status != polset.CheckSoftFailed {
			t.Error("the override of the stage overrode the policy check")
		}
	})
	t.Run("in Scalr's dialect", func(t *testing.T) {
		s, f := softFailed(t)
		path := s.url + scalr + "/policy-checks/pchk-0000000000000001/actions/override"
		a := s.ask(acme, "POST", path, `{"comment":"why not"}`)
		if a.status != http.StatusOK || !strings.Contains(a.body, `"status":"overridden"`) || !strings.Contains(a.body, `"overridden-at":"2026-03-14T15:10:26Z"`) || f.comment != "why not" {
			t.Errorf("%d %s", a.status, a.body)
		}
		problemsOf(t, s.ask(acme, "POST", path, ""), http.StatusConflict)
	})
	t.Run("a stage of which something failed for good", func(t *testing.T) {
		s, f := softFailed(t)
		f.add(fakeSentinel, polset.KindSentinel, polset.CheckRunning, polset.CheckHardFailed)
		p := problemsOf(t, s.ask(acme, "POST", "/task-stages/"+fakeStage+"/actions/override", ""), http.StatusConflict)
		if !strings.Contains(p[0].Detail, "the task stage is failed") || f.checks[0].Status != polset.CheckSoftFailed {
			t.Errorf("%+v %+v", p, f.checks[0])
		}
	})
	t.Run("a check of a run that is over", func(t *testing.T) {
		s, f := softFailed(t)
		if a := s.ask(acme, "GET", "/policy-checks/"+fakeCheck, ""); !strings.Contains(a.body, `"is-overridable":true`) || !strings.Contains(a.body, `/actions/override"`) {
			t.Error(a.body)
		}
		for _, status := range []polset.RunStatus{polset.RunErrored, polset.RunCanceled, polset.RunDiscarded} {
			f.run.Status = status
			for _, path := range []string{"/policy-checks/" + fakeCheck, "/runs/" + fakeRun + "/policy-checks", "/task-stages/" + fakeStage} {
				if a := s.ask(acme, "GET", path, ""); !strings.Contains(a.body, `"is-overridable":false`) || strings.Contains(a.body, "/actions/override") {
					t.Errorf("%s: %s", status, a.body)
				}
			}
		}
	})
	t.Run("a race that was lost", func(t *testing.T) {
		s, f := softFailed(t)
		f.lost = true
		if p := problemsOf(t, s.ask(acme, "POST", "/policy-checks/"+fakeCheck+"/actions/override", ""), http.StatusConflict); !strings.Contains(p[0].Detail, "meanwhile") {
			t.Errorf("%+v", p)
		}
	})
	for _, c := range []struct {
		name, body, pointer string
		status              int
	}{
		{"a comment that is too long", `{"comment":"` + strings.Repeat("c", polset.MaxOverrideComment+1) + `"}`, "/comment", http.StatusUnprocessableEntity},
		{"a comment that is a number", `{"comment":7}`, "/comment", http.StatusUnprocessableEntity},
		{"a comment with NUL", `{"comment":"\u0000"}`, "/comment", http.StatusUnprocessableEntity},
		{"a document of JSON:API", `{"data":{"attributes":{"comment":"why"}}}`, "/data", http.StatusUnprocessableEntity},
		{"a list", `[]`, "", http.StatusUnprocessableEntity},
		{"null", `null`, "", http.StatusUnprocessableEntity},
		{"half a body", `{"comment":`, "", http.StatusBadRequest},
	} {
		t.Run("case 85 "+c.name, func(t *testing.T) {
			s, f := softFailed(t)
			for _, path := range []string{"/policy-checks/" + fakeCheck, "/task-stages/" + fakeStage, s.url + scalr + "/policy-checks/pchk-0000000000000003"} {
				refused(t, s.ask(acme, "POST", path+"/actions/override", c.body), c.status, c.pointer)
			}
			if f.checks[0].Override != nil || f.checks[1].Override != nil {
				t.Error("it was overridden all the same")
			}
		})
	}
	t.Run("case 80 who may not override is told nothing", func(t *testing.T) {
		s, f := softFailed(t)
		s.tokens["managing"] = polset.Principal{Actor: "at-manager", OrganizationID: s.orgs[0].ID, Permissions: []polset.Permission{polset.PermissionManagePolicies}}
		for _, token := range []string{guest, "managing", evil} {
			for _, path := range []string{"/policy-checks/" + fakeCheck, "/task-stages/" + fakeStage, s.url + scalr + "/policy-checks/pchk-0000000000000003"} {
				problemsOf(t, s.ask(token, "POST", path+"/actions/override", ""), http.StatusNotFound)
			}
		}
		if a := s.ask("managing", "GET", "/policy-checks/"+fakeCheck, ""); !strings.Contains(a.body, `"can-override":false`) || f.checks[1].Override != nil {
			t.Error(a.body)
		}
	})
}

// A list of runs asks for the checks of all of them at once.
func TestChecksOfRuns(t *testing.T) {
	s, f := softFailed(t)
	client, ctx := s.client(acme), t.Context()
	f.batches = 0
	runs, err := client.Runs.List(ctx, f.run.WorkspaceID, &tfe.RunListOptions{Include: []tfe.RunIncludeOpt{tfe.RunTaskStages}})
	if err != nil || f.batches != 1 {
		t.Fatalf("%v, %d batches", err, f.batches)
	}
	run := runs.Items[0]
	if len(run.PolicyChecks) != 1 || run.PolicyChecks[0].ID != fakeCheck || len(run.TaskStages) != 1 || run.TaskStages[0].ID != fakeStage ||
		run.TaskStages[0].PolicyEvaluations[0].ID != fakeEvaluation || run.Actions.IsCancelable || !run.Actions.IsDiscardable {
		t.Errorf("run %+v", run)
	}
	checks, err := client.PolicyChecks.List(ctx, fakeRun, &tfe.PolicyCheckListOptions{Include: []tfe.PolicyCheckIncludeOpt{tfe.PolicyCheckRun}})
	if err != nil || len(checks.Items) != 1 || checks.TotalCount != 1 || checks.Items[0].Run.Status != tfe.RunPostPlanAwaitingDecision {
		t.Errorf("%v %+v", err, checks)
	}
	if a := s.ask(acme, "GET", "/runs/"+fakeRun, ""); !strings.Contains(a.body, `"can-override-policy-check":true`) {
		t.Error(a.body)
	}
}
