package api

import (
	"strings"
	"time"

	"github.com/polset/polset"
)

type runAttributes struct {
	Status                 polset.RunStatus  `json:"status"`
	StatusTimestamps       map[string]string `json:"status-timestamps"`
	Message                string            `json:"message"`
	Actions                runActions        `json:"actions"`
	Permissions            runPermissions    `json:"permissions"`
	CanceledAt             iso8601           `json:"canceled-at"`
	CreatedAt              iso8601           `json:"created-at"`
	UpdatedAt              iso8601           `json:"updated-at"`
	ForceCancelAvailableAt iso8601           `json:"force-cancel-available-at"`
	HasChanges             bool              `json:"has-changes"`
	PositionInQueue        int               `json:"position-in-queue"`
	Source                 string            `json:"source"`
	TriggerReason          string            `json:"trigger-reason"`
	runSettings
}

type runActions struct {
	IsCancelable      bool `json:"is-cancelable"`
	IsConfirmable     bool `json:"is-confirmable"`
	IsDiscardable     bool `json:"is-discardable"`
	IsForceCancelable bool `json:"is-force-cancelable"`
}

type runPermissions struct {
	CanApply        bool `json:"can-apply"`
	CanCancel       bool `json:"can-cancel"`
	CanDiscard      bool `json:"can-discard"`
	CanForceCancel  bool `json:"can-force-cancel"`
	CanForceExecute bool `json:"can-force-execute"`
	CanOverride     bool `json:"can-override-policy-check"`
}

// runSettings are what polset only keeps of a run.
type runSettings struct {
	AllowConfigGeneration bool          `json:"allow-config-generation"`
	AllowEmptyApply       bool          `json:"allow-empty-apply"`
	AutoApply             bool          `json:"auto-apply"`
	InvokeActionAddrs     []string      `json:"invoke-action-addrs"`
	IsDestroy             bool          `json:"is-destroy"`
	PlanOnly              bool          `json:"plan-only"`
	PolicyPaths           []string      `json:"policy-paths"`
	Refresh               bool          `json:"refresh"`
	RefreshOnly           bool          `json:"refresh-only"`
	ReplaceAddrs          []string      `json:"replace-addrs"`
	SavePlan              bool          `json:"save-plan"`
	TargetAddrs           []string      `json:"target-addrs"`
	TerraformVersion      string        `json:"terraform-version"`
	Variables             []runVariable `json:"variables"`
}

type runVariable struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func (runSettings) defaults() runSettings {
	return runSettings{
		InvokeActionAddrs: []string{}, PolicyPaths: []string{}, ReplaceAddrs: []string{}, TargetAddrs: []string{},
		Variables: []runVariable{}, Refresh: true,
	}
}

// runTimes are when a run came into its states. Clients know a run that waits
// for an override by another name.
func runTimes(run polset.Run) map[string]time.Time {
	at := map[string]time.Time{"queuing-at": run.CreatedAt, "policy-soft-failed-at": run.ReachedAt[polset.RunPolicyOverride]}
	for status, t := range run.ReachedAt {
		at[strings.ReplaceAll(string(status), "_", "-")+"-at"] = t
	}
	return at
}

// runResource is a run with its checks.
func (a *API) runResource(by polset.Principal, run polset.Run, checks []polset.Check) resource {
	creates := by.Can(polset.PermissionCreateRuns)
	source := "tfe-api"
	if text, ok := run.Settings["source"].(string); ok {
		source = text
	}
	stages := toMany("task-stages")
	if len(those(checks, true)) > 0 {
		stages = toMany("task-stages", taskStageOf(run.ID))
	}
	return resource{
		ID:   run.ID,
		Type: "runs",
		Attributes: runAttributes{
			Status:           run.Status,
			StatusTimestamps: statusTimestamps(runTimes(run)),
			Message:          run.Message,
			Actions:          runActions{IsCancelable: run.Status.Cancelable(), IsDiscardable: run.Status.Discardable()},
			Permissions:      runPermissions{CanCancel: creates, CanDiscard: creates, CanOverride: by.Can(polset.PermissionManageOverrides)},
			CanceledAt:       iso8601(run.ReachedAt[polset.RunCanceled]),
			CreatedAt:        iso8601(run.CreatedAt),
			UpdatedAt:        iso8601(run.UpdatedAt),
			Source:           source,
			TriggerReason:    "manual",
			runSettings:      shown[runSettings](run.Settings),
		},
		Relationships: map[string]relation{
			"workspace":             toOne("workspaces", run.WorkspaceID),
			"configuration-version": toOne(configurationKind, run.ConfigurationVersionID),
			"plan":                  toOne("plans", planOf(run.ID)),
			"policy-checks":         toMany("policy-checks", checkIDs(those(checks, false))...),
			"task-stages":           stages,
		},
		Links: map[string]string{"self": prefix + "/runs/" + run.ID},
	}
}
