package api_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	tfe "github.com/hashicorp/go-tfe"

	"github.com/polset/polset"
)

// The official client looks at the plan of a run that errored.
func TestPlanOfRun(t *testing.T) {
	s, f := fixture(t)
	f.run.Status = polset.RunErrored
	c := f.add(fakeEvaluation, polset.KindOPA, polset.CheckRunning, polset.CheckErrored)
	c.Error, c.ErrorMessage = polset.ClassPathNotFound, "The configuration version holds no tfplan.json."
	client, ctx := s.client(acme), t.Context()
	run, err := client.Runs.Read(ctx, fakeRun)
	if err != nil || run.Plan == nil {
		t.Fatalf("%v %+v", err, run)
	}
	plan, err := client.Plans.Read(ctx, run.Plan.ID)
	if err != nil || plan.Status != tfe.PlanFinished || !plan.StatusTimestamps.FinishedAt.Equal(epoch.Truncate(time.Second)) {
		t.Errorf("%v %+v", err, plan)
	}
	logs, err := client.Plans.Logs(ctx, run.Plan.ID)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(logs); err != nil || !strings.Contains(string(text), "is errored.\nThe configuration version holds no tfplan.json.\n") {
		t.Errorf("%v %s", err, text)
	}
	with, err := client.Runs.ReadWithOptions(ctx, fakeRun, &tfe.RunReadOptions{Include: []tfe.RunIncludeOpt{tfe.RunPlan, tfe.RunTaskStages}})
	if err != nil || with.Plan.Status != tfe.PlanFinished || with.TaskStages[0].Status != tfe.TaskStageErrored {
		t.Errorf("%v %+v", err, with)
	}
	for _, id := range []string{"plan-0000000000009999", fakeRun, "plan-"} {
		problemsOf(t, s.ask(acme, "GET", "/plans/"+id, ""), http.StatusNotFound)
	}
}
