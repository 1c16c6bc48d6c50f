package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/polset/polset"
)

// RunReader finds runs.
type RunReader interface {
	Run(ctx context.Context, by polset.Principal, id string) (polset.Run, error)
	// Runs returns a page, the newest first, and the count of all that the
	// filter lets through.
	Runs(ctx context.Context, by polset.Principal, workspaceID string, filter polset.RunFilter, page polset.Page) ([]polset.Run, int, error)
}

// RunWriter makes and ends runs.
type RunWriter interface {
	// CreateRun answers polset.ErrNotFound for a configuration version that the
	// workspace does not have, and polset.ErrConflict for one without its bytes.
	CreateRun(ctx context.Context, by polset.Principal, draft polset.RunDraft) (polset.Run, error)
	// EndRun answers polset.ErrConflict for a run that has ended.
	EndRun(ctx context.Context, by polset.Principal, id string, status polset.RunStatus) (polset.Run, error)
}

// Runs is what the run endpoints need.
type Runs interface {
	RunReader
	RunWriter
}

func (a *API) runRoutes() []Route {
	const (
		read   = polset.PermissionRead
		create = polset.PermissionCreateRuns

		one = prefix + "/runs/:run"
	)
	return []Route{
		{http.MethodGet, prefix + "/workspaces/:workspace/runs", AccessToken, read, a.listRuns, lists("runs", runAttributes{}, "List runs, the newest first").with("filter[status]").including(runIncludes...)},
		{http.MethodPost, prefix + "/runs", AccessToken, create, a.createRun, creates("runs", runShape{}, runAttributes{}, "Create a run")},
		{http.MethodGet, one, AccessToken, read, a.showRun, shows("runs", runAttributes{}, "Show a run").including(runIncludes...)},
		{http.MethodPost, one + "/actions/cancel", AccessToken, create, a.endRun(polset.RunCanceled), shows("runs", runAttributes{}, "Cancel a run whose checks have not ended").answering(http.StatusAccepted)},
		{http.MethodPost, one + "/actions/discard", AccessToken, create, a.endRun(polset.RunDiscarded), shows("runs", runAttributes{}, "Discard a run that waits for something").answering(http.StatusAccepted)},
	}
}

const (
	// maxRunList bounds each list of a run's settings.
	maxRunList = 100
	// maxRunVariables bounds the variables of a run, all of which a list of runs
	// shows.
	maxRunVariables = 64 << 10
)

func (s runSettings) check() problems {
	wrong := checkSettings(map[string]string{"terraform-version": s.TerraformVersion})
	for name, list := range map[string][]string{
		"target-addrs": s.TargetAddrs, "replace-addrs": s.ReplaceAddrs, "policy-paths": s.PolicyPaths, "invoke-action-addrs": s.InvokeActionAddrs,
	} {
		if len(list) > maxRunList {
			wrong = append(wrong, invalid(name, "%s must not exceed %d entries.", name, maxRunList))
		}
		for _, text := range list {
			wrong = append(wrong, checkSettings(map[string]string{name: text})...)
		}
	}
	if len(s.Variables) > maxRunList {
		wrong = append(wrong, invalid("variables", "variables must not exceed %d entries.", maxRunList))
	}
	size := 0
	for _, v := range s.Variables {
		size += len(v.Key) + len(v.Value)
	}
	if size > maxRunVariables {
		wrong = append(wrong, invalid("variables", "variables must not exceed %d bytes together.", maxRunVariables))
	}
	return wrong
}

type runDraft struct {
	Message optional[string] `json:"message"`
}

// runShape is what a request for a run may hold.
type runShape struct {
	runDraft
	runSettings
}

// runIncludes are the values of include. polset has nothing of what the last
// ones name.
var runIncludes = []string{
	"workspace", "configuration_version", "plan", "task_stages",
	"apply", "comments", "configuration_version.ingress_attributes", "cost_estimate", "created_by", "run_events", "tf_policy_evaluations",
}

// sendRun answers with a run, and what include asks for.
func (a *API) sendRun(r *request, status int, run polset.Run, want includes) error {
	of, err := a.checksOf(r, run)
	if err != nil {
		return err
	}
	included, err := a.includedInRuns(r, want, of, run)
	if err != nil {
		return err
	}
	return r.send(status, single(a.runResource(r.by, run, of[run.ID]), included...))
}

// includedRun is what include asks for of something that a run has: the run,
// or its workspace with it.
func (a *API) includedRun(r *request, want includes, run polset.Run, checks []polset.Check) ([]resource, error) {
	if !want["run"] && !want["run.workspace"] {
		return nil, nil
	}
	workspace, err := a.includedInRuns(r, includes{"workspace": want["run.workspace"]}, nil, run)
	return slices.Concat([]resource{a.runResource(r.by, run, checks)}, workspace), err
}

// includedInRuns finds what include asks for, for all runs at once, of which the
// checks are known.
func (a *API) includedInRuns(r *request, want includes, of map[string][]polset.Check, runs ...polset.Run) ([]resource, error) {
	var included []resource
	var workspaces []string
	seen := map[string]bool{"": true}
	for _, run := range runs {
		if !slices.Contains(workspaces, run.WorkspaceID) {
			workspaces = append(workspaces, run.WorkspaceID)
		}
		if want["plan"] {
			included = append(included, a.planResource(r.by, run))
		}
		if evaluations := those(of[run.ID], true); want["task_stages"] && len(evaluations) > 0 {
			included = append(included, taskStageResource(r.by, run, evaluations))
		}
		if id := run.ConfigurationVersionID; want["configuration_version"] && !seen[id] {
			seen[id] = true
			c, err := a.Configurations.ConfigurationVersion(r.ctx(), r.by, id)
			if errors.Is(err, polset.ErrNotFound) {
				continue // it was deleted since
			}
			if err != nil {
				return nil, err
			}
			included = append(included, a.configurationResource(r.by, c))
		}
	}
	if want["workspace"] {
		list, err := a.Workspaces.WorkspacesByID(r.ctx(), r.by, workspaces)
		if err != nil {
			return nil, err
		}
		for _, w := range list {
			included = append(included, workspaceResource(w))
		}
	}
	return included, nil
}

func (a *API) listRuns(r *request) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	want, err := r.include(runIncludes...)
	if err != nil {
		return err
	}
	filter, err := r.runFilter()
	if err != nil {
		return err
	}
	runs, total, err := a.Runs.Runs(r.ctx(), r.by, r.Param("workspace"), filter, page)
	if err != nil {
		return err
	}
	of, err := a.checksOf(r, runs...)
	if err != nil {
		return err
	}
	included, err := a.includedInRuns(r, want, of, runs...)
	if err != nil {
		return err
	}
	var data []resource
	for _, run := range runs {
		data = append(data, a.runResource(r.by, run, of[run.ID]))
	}
	return r.send(http.StatusOK, a.list(r, data, page, total, included...))
}

// runFilter reads filter[status]; a status of HCP Terraform's that no run of
// polset's has is found nowhere.
func (r *request) runFilter() (filter polset.RunFilter, err error) {
	for _, status := range strings.Split(r.query.Get("filter[status]"), ",") {
		if status = strings.TrimSpace(status); status != "" {
			filter.Statuses = append(filter.Statuses, status)
		}
	}
	if len(filter.Statuses) > maxRunList {
		return filter, badParameter("filter[status]", "filter[status] takes at most %d statuses.", maxRunList)
	}
	for _, name := range []string{"search[user]", "search[commit]", "search[basic]", "filter[source]", "filter[operation]"} {
		if r.query.Get(name) != "" {
			return filter, badParameter(name, "%s is not supported: filter[status] is.", name)
		}
	}
	return filter, nil
}

func (a *API) showRun(r *request) error {
	want, err := r.include(runIncludes...)
	if err != nil {
		return err
	}
	run, err := a.Runs.Run(r.ctx(), r.by, r.Param("run"))
	if err != nil {
		return err
	}
	return a.sendRun(r, http.StatusOK, run, want)
}

func (a *API) createRun(r *request) error {
	d, err := decode[keeping[runDraft, runSettings]](r, "runs", "")
	if err != nil {
		return err
	}
	in := d.Attributes
	workspaceID, wrong := toOneOf(d.Relationships, "workspace", "workspaces")
	configurationID, problems := toOneOf(d.Relationships, "configuration-version", configurationKind)
	wrong = append(append(wrong, problems...), in.wrong...)
	draft := polset.RunDraft{WorkspaceID: workspaceID, ConfigurationVersionID: configurationID, Message: in.own.Message.Or(""), Settings: in.set()}
	if len(draft.Message) > maxDescription {
		wrong = append(wrong, invalid("message", "message must not exceed %d bytes.", maxDescription))
	}
	if err := wrong.orNil(); err != nil {
		return err
	}
	if workspaceID == "" {
		return problem{
			Status: http.StatusUnprocessableEntity, Title: "invalid relationship", Pointer: "/data/relationships/workspace",
			Detail: "data.relationships.workspace is required: it names the workspace of the run.",
		}
	}
	w, err := a.namedWorkspace(r, workspaceID)
	if err != nil {
		return err
	}
	// What the request does not say, the workspace says.
	settings := shown[workspaceSettings](w.Settings)
	for name, value := range map[string]any{"auto-apply": settings.AutoApply, "terraform-version": settings.TerraformVersion} {
		if _, ok := draft.Settings[name]; !ok {
			draft.Settings[name] = value
		}
	}
	run, err := a.Runs.CreateRun(r.ctx(), r.by, draft)
	const pointer = "/data/relationships/configuration-version"
	switch {
	case errors.Is(err, polset.ErrNotFound) && configurationID == "":
		return problem{
			Status: http.StatusUnprocessableEntity, Title: "invalid relationship", Pointer: pointer,
			Detail: "The workspace has no configuration version that was uploaded and is not provisional. Upload one first.",
		}
	case errors.Is(err, polset.ErrNotFound):
		return errNoSuchConfiguration
	case errors.Is(err, polset.ErrConflict):
		return problem{
			Status: http.StatusUnprocessableEntity, Title: "invalid relationship", Pointer: pointer,
			Detail: "The configuration version waits for its upload. Upload it first.",
		}
	case err != nil:
		return err
	}
	return a.sendRun(r, http.StatusCreated, run, nil)
}

// errNoSuchConfiguration answers for both relationships of a run: it must not tell
// which of the two exists in another organization.
var errNoSuchConfiguration = problem{
	Status: http.StatusUnprocessableEntity, Title: "invalid relationship", Pointer: "/data/relationships",
	Detail: "The workspace was not found, or has no such configuration version.",
}

// namedWorkspace is the workspace that a request relates to.
func (a *API) namedWorkspace(r *request, id string) (polset.Workspace, error) {
	if !plausibleID.MatchString(id) {
		return polset.Workspace{}, errNoSuchConfiguration
	}
	w, err := a.Workspaces.Workspace(r.ctx(), r.by, id)
	if errors.Is(err, polset.ErrNotFound) {
		return w, errNoSuchConfiguration
	}
	return w, err
}

// endRun ends a run that still has something before it. Clients may send a
// comment, which HCP Terraform shows beside the run, and polset does not read.
func (a *API) endRun(status polset.RunStatus) func(*request) error {
	return func(r *request) error {
		run, err := a.Runs.EndRun(r.ctx(), r.by, r.Param("run"), status)
		if errors.Is(err, polset.ErrConflict) {
			return a.cannotEnd(r, status)
		}
		if err != nil {
			return err
		}
		return a.sendRun(r, http.StatusAccepted, run, nil)
	}
}

// cannotEnd says why a run could not be ended.
func (a *API) cannotEnd(r *request, status polset.RunStatus) error {
	run, err := a.Runs.Run(r.ctx(), r.by, r.Param("run"))
	switch {
	case err != nil:
		return err
	case status == polset.RunCanceled && run.Status.Discardable():
		return conflict("There is nothing to cancel: the run is %s. It can be discarded.", run.Status)
	case status == polset.RunDiscarded && run.Status.Cancelable():
		return conflict("The run is %s, and can only be canceled.", run.Status)
	}
	return conflict("The run has ended: it is %s, and can no longer be %s.", run.Status, status)
}
