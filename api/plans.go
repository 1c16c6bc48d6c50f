package api

import (
	"context"
	"net/http"
	"time"

	"github.com/polset/polset"
)

// A run of polset's has no plan of its own making: it was given one. That is
// what a plan resource says, so that clients which look at the plan of a run
// that errored learn there what the policies say.

func (a *API) planRoutes() []Route {
	return []Route{
		{http.MethodGet, prefix + "/plans/:plan", AccessToken, polset.PermissionRead, a.showPlan, shows("plans", planAttributes{}, "Show the plan that a run was given")},
	}
}

// planAttributes has null for what polset does not read in a plan.
type planAttributes struct {
	Status               string            `json:"status"`
	StatusTimestamps     map[string]string `json:"status-timestamps"`
	HasChanges           bool              `json:"has-changes"` // as the run says
	ResourceAdditions    *int              `json:"resource-additions"`
	ResourceChanges      *int              `json:"resource-changes"`
	ResourceDestructions *int              `json:"resource-destructions"`
	ResourceImports      *int              `json:"resource-imports"`
	LogReadURL           string            `json:"log-read-url"`
}

const planPrefix = "plan"

// planOf is the id of the plan of a run.
func planOf(runID string) string {
	id, _ := renamed(runID, "run", planPrefix)
	return id
}

func (a *API) planResource(by polset.Principal, run polset.Run) resource {
	id := planOf(run.ID)
	return resource{
		ID:   id,
		Type: "plans",
		Attributes: planAttributes{
			Status:           "finished", // before the run was there
			StatusTimestamps: statusTimestamps(map[string]time.Time{"finished-at": run.CreatedAt}),
			LogReadURL:       a.objectURL(link{Operation: linkGet, Kind: "plans", ID: run.ID, By: by.Actor}),
		},
		Links: map[string]string{"self": prefix + "/plans/" + id},
	}
}

func (a *API) showPlan(r *request) error {
	id, ok := renamed(r.Param("plan"), planPrefix, "run")
	if !ok {
		return polset.ErrNotFound
	}
	run, err := a.Runs.Run(r.ctx(), r.by, id)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(a.planResource(r.by, run)))
}

// planLog is what there is to say of the plan of a run: what its checks say.
func (a *API) planLog(ctx context.Context, by polset.Principal, runID string) (string, error) {
	checks, err := a.Checks.ChecksOfRuns(ctx, by, []string{runID})
	if err != nil {
		return "", err
	}
	var t checkText
	t.line(0, "The plan was made before the run, and polset does not apply it.")
	for _, c := range checks {
		outcomes, err := a.outcomesOf(ctx, by, c)
		if err != nil {
			return "", err
		}
		t.WriteByte('\n')
		t.check(c, outcomes)
	}
	return t.String(), nil
}
