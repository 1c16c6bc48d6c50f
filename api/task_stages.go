package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/polset/polset"
)

func (a *API) taskStageRoutes() []Route {
	const (
		read     = polset.PermissionRead
		override = polset.PermissionManageOverrides

		one = prefix + "/task-stages/:task_stage"
	)
	return []Route{
		{http.MethodGet, prefix + "/runs/:run/task-stages", AccessToken, read, a.listTaskStages, lists("task-stages", taskStageAttributes{}, "List the task stages of a run")},
		{http.MethodGet, one, AccessToken, read, a.showTaskStage, shows("task-stages", taskStageAttributes{}, "Show a task stage").including(taskStageIncludes...)},
		{http.MethodPost, one + "/actions/override", AccessToken, override, a.overrideTaskStage, shows("task-stages", taskStageAttributes{}, "Override the soft failures of a task stage's policy evaluations").takingPlain(overrideComment{})},
		{http.MethodGet, one + "/policy-evaluations", AccessToken, read, a.listPolicyEvaluations, lists("policy-evaluations", policyEvaluationAttributes{}, "List the policy evaluations of a task stage")},
	}
}

// taskStageIncludes are the values of include. There are no run tasks, and so
// no task results.
var taskStageIncludes = []string{"run", "run.workspace", "policy_evaluations", "task_results"}

// A run has one task stage where it has policy evaluations, and none otherwise.
// It is what these are together.
type taskStageAttributes struct {
	Stage            string               `json:"stage"`
	Status           string               `json:"status"`
	StatusTimestamps map[string]string    `json:"status-timestamps"`
	Actions          policyCheckActions   `json:"actions"`
	Permissions      taskStagePermissions `json:"permissions"`
	CreatedAt        iso8601              `json:"created-at"`
	UpdatedAt        iso8601              `json:"updated-at"`
}

type taskStagePermissions struct {
	CanOverride       bool `json:"can-override"`
	CanOverridePolicy bool `json:"can-override-policy"`
	CanOverrideTasks  bool `json:"can-override-tasks"`
}

const taskStagePrefix = "ts"

// taskStageOf is the id of the task stage of a run.
func taskStageOf(runID string) string {
	id, _ := renamed(runID, "run", taskStagePrefix)
	return id
}

// The states of a task stage that have no name of a check's.
const (
	stageAwaitingOverride = "awaiting_override"
	stageFailed           = "failed"
	stageUnreachable      = "unreachable"
)

// taskStageStatus is the state of a stage that has these policy evaluations, in
// the order of what weighs most; see polset.RunStatusOf.
func taskStageStatus(evaluations []polset.Check) string {
	has, anyBegan := map[polset.CheckStatus]bool{}, false
	for _, e := range evaluations {
		has[e.Status] = true
		anyBegan = anyBegan || began(e)
	}
	switch {
	case has[polset.CheckRunning], has[polset.CheckPending] && anyBegan:
		return string(polset.CheckRunning)
	case has[polset.CheckPending]:
		return string(polset.CheckPending)
	case has[polset.CheckCanceled] && !anyBegan:
		return stageUnreachable
	case has[polset.CheckCanceled]:
		return string(polset.CheckCanceled)
	case has[polset.CheckErrored]:
		return string(polset.CheckErrored)
	case has[polset.CheckHardFailed]:
		return stageFailed
	case has[polset.CheckSoftFailed]:
		return stageAwaitingOverride
	}
	return string(polset.CheckPassed)
}

// taskStageTimes are when the stage came into its states: it runs with the first
// of its policy evaluations, and ends with the last.
func taskStageTimes(evaluations []polset.Check) map[string]time.Time {
	at := map[string]time.Time{"pending-at": evaluations[0].CreatedAt}
	var ended, overridden time.Time
	before := slices.Clone(evaluations) // as they were before anybody overrode them
	for i, e := range evaluations {
		if t := e.ReachedAt[polset.CheckRunning]; at["running-at"].IsZero() || !t.IsZero() && t.Before(at["running-at"]) {
			at["running-at"] = t
		}
		if e.Status == polset.CheckOverridden {
			before[i].Status, overridden = polset.CheckSoftFailed, later(overridden, e.ReachedAt[polset.CheckOverridden])
		}
		ended = later(ended, e.ReachedAt[before[i].Status])
	}
	reach := func(status string, t time.Time) {
		switch status {
		case string(polset.CheckPending), string(polset.CheckRunning): // it has not ended
		case stageUnreachable:
			at["canceled-at"] = t
		default:
			at[strings.ReplaceAll(status, "_", "-")+"-at"] = t
		}
	}
	first, now := taskStageStatus(before), taskStageStatus(evaluations)
	reach(first, ended)
	if now != first {
		reach(now, overridden)
	}
	return at
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// taskStageResource is the stage of the policy evaluations of a run, of which
// there is one at least.
func taskStageResource(by polset.Principal, run polset.Run, evaluations []polset.Check) resource {
	created, updated := evaluations[0].CreatedAt, evaluations[0].UpdatedAt
	for _, e := range evaluations {
		updated = later(updated, e.UpdatedAt)
	}
	status, can := taskStageStatus(evaluations), by.Can(polset.PermissionManageOverrides)
	id := taskStageOf(run.ID)
	return resource{
		ID:   id,
		Type: "task-stages",
		Attributes: taskStageAttributes{
			Stage:            "post_plan",
			Status:           status,
			StatusTimestamps: statusTimestamps(taskStageTimes(evaluations)),
			Actions:          policyCheckActions{IsOverridable: status == stageAwaitingOverride && run.Status.Overridable()},
			Permissions:      taskStagePermissions{CanOverride: can, CanOverridePolicy: can},
			CreatedAt:        iso8601(created),
			UpdatedAt:        iso8601(updated),
		},
		Relationships: map[string]relation{
			"run":                toOne("runs", run.ID),
			"task-results":       toMany("task-results"),
			"policy-evaluations": toMany("policy-evaluations", checkIDs(evaluations)...),
		},
		Links: map[string]string{"self": prefix + "/task-stages/" + id},
	}
}

// stage finds a run that has a task stage, with its checks, and which of them
// are the stage.
func (a *API) stage(r *request) (run polset.Run, checks, evaluations []polset.Check, err error) {
	id, ok := renamed(r.Param("task_stage"), taskStagePrefix, "run")
	if !ok {
		return run, nil, nil, polset.ErrNotFound
	}
	if run, checks, err = a.runWithChecks(r, id); err != nil {
		return run, nil, nil, err
	}
	if evaluations = those(checks, true); len(evaluations) == 0 {
		return run, nil, nil, polset.ErrNotFound
	}
	return run, checks, evaluations, nil
}

func (a *API) listTaskStages(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	run, checks, err := a.runWithChecks(r, r.Param("run"))
	if err != nil {
		return err
	}
	var stages []resource
	if evaluations := those(checks, true); len(evaluations) > 0 {
		stages = append(stages, taskStageResource(r.by, run, evaluations))
	}
	return r.send(http.StatusOK, a.list(r, cut(stages, page), page, len(stages)))
}

func (a *API) showTaskStage(r *request) error {
	want, err := r.include(taskStageIncludes...)
	if err != nil {
		return err
	}
	run, checks, evaluations, err := a.stage(r)
	if err != nil {
		return err
	}
	included, err := a.includedRun(r, want, run, checks)
	if err != nil {
		return err
	}
	if want["policy_evaluations"] {
		for _, e := range evaluations {
			included = append(included, policyEvaluationResource(e))
		}
	}
	return r.send(http.StatusOK, single(taskStageResource(r.by, run, evaluations), included...))
}

// overrideTaskStage overrides whatever stands in the way of the run at this
// stage, or nothing.
func (a *API) overrideTaskStage(r *request) error {
	_, _, evaluations, err := a.stage(r)
	if err != nil {
		return err
	}
	status, soft := taskStageStatus(evaluations), evaluations
	if status != stageAwaitingOverride {
		soft = nil
	}
	if _, err := a.override(r, "task stage", status, soft...); err != nil {
		return err
	}
	run, _, evaluations, err := a.stage(r)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(taskStageResource(r.by, run, evaluations)))
}
