package api

import "github.com/polset/polset"

// workspaceAttributes is a workspace as HCP Terraform shows it. polset runs no
// Terraform, so that what tells of resources stays at nothing.
type workspaceAttributes struct {
	Name              string              `json:"name"`
	Description       *string             `json:"description"`
	ExecutionMode     string              `json:"execution-mode"`
	Operations        bool                `json:"operations"`
	SettingOverwrites workspaceOverwrites `json:"setting-overwrites"`
	TagNames          []string            `json:"tag-names"`
	CreatedAt         iso8601             `json:"created-at"`
	UpdatedAt         iso8601             `json:"updated-at"`
	workspaceSettings

	Actions             workspaceActions `json:"actions"`
	CanQueueDestroyPlan bool             `json:"can-queue-destroy-plan"`
	Environment         string           `json:"environment"`
	Locked              bool             `json:"locked"`
	ResourceCount       int              `json:"resource-count"`
	Source              string           `json:"source"`
	VCSRepo             *vcsRepo         `json:"vcs-repo"`
	VCSRepoIdentifier   *string          `json:"vcs-repo-identifier"`

	Permissions *workspacePermissions `json:"permissions,omitempty"`
}

type workspacePermissions struct {
	CanDestroy           bool `json:"can-destroy"`
	CanForceDelete       bool `json:"can-force-delete"`
	CanForceUnlock       bool `json:"can-force-unlock"`
	CanLock              bool `json:"can-lock"`
	CanManageRunTasks    bool `json:"can-manage-run-tasks"`
	CanQueueApply        bool `json:"can-queue-apply"`
	CanQueueDestroy      bool `json:"can-queue-destroy"`
	CanQueueRun          bool `json:"can-queue-run"`
	CanReadSettings      bool `json:"can-read-settings"`
	CanReadStateVersions bool `json:"can-read-state-versions"`
	CanReadVariable      bool `json:"can-read-variable"`
	CanUnlock            bool `json:"can-unlock"`
	CanUpdate            bool `json:"can-update"`
	CanUpdateVariable    bool `json:"can-update-variable"`
}

// workspaceOverwrites says which settings are the workspace's own, and not its
// project's.
type workspaceOverwrites struct {
	ExecutionMode bool `json:"execution-mode"`
	AgentPool     bool `json:"agent-pool"`
}

type workspaceActions struct {
	IsDestroyable bool `json:"is-destroyable"`
}

type workspaceDraft struct {
	Name              optional[string]                   `json:"name"`
	Description       optional[string]                   `json:"description"`
	ExecutionMode     optional[string]                   `json:"execution-mode"`
	Operations        optional[bool]                     `json:"operations"` // what execution-mode was once
	AgentPoolID       optional[string]                   `json:"agent-pool-id"`
	SettingOverwrites optional[workspaceOverwritesDraft] `json:"setting-overwrites"`
	VCSRepo           optional[vcsRepoDraft]             `json:"vcs-repo"`
}

type workspaceOverwritesDraft struct {
	ExecutionMode optional[bool] `json:"execution-mode"`
}

// workspaceShape is what a request for a workspace may hold.
type workspaceShape struct {
	workspaceDraft
	workspaceSettings
}

func (d workspaceDraft) mode() modeDraft {
	mode := d.ExecutionMode
	if operations, ok := d.Operations.Get(); ok && !mode.Present {
		mode = optional[string]{Present: true, Value: executionLocal}
		if operations {
			mode.Value = executionRemote
		}
	}
	return modeDraft{ownExecutionMode, mode, d.SettingOverwrites.Value.ExecutionMode, d.AgentPoolID}
}

// workspaceIncludes are the values of include. polset has nothing of what the
// last ones name.
var workspaceIncludes = []string{
	"organization", "project", "effective_tag_bindings",
	"current_configuration_version", "current_configuration_version.ingress_attributes",
	"current_run", "current_run.plan", "current_run.configuration_version", "current_run.configuration_version.ingress_attributes",
	"current_state_version", "locked_by", "outputs", "readme",
}

// workspaceMode is how Terraform would run in a workspace.
func workspaceMode(w polset.Workspace) string {
	return executionMode(w.Settings[ownExecutionMode], w.ProjectSettings[defaultExecutionMode], w.OrganizationSettings[defaultExecutionMode])
}

// workspaceResource is a workspace as it is included in other documents.
func workspaceResource(w polset.Workspace) resource {
	_, own := w.Settings[ownExecutionMode].(string)
	mode := workspaceMode(w)
	names := []string{}
	for _, t := range w.Tags {
		if t.Value == "" {
			names = append(names, t.Key)
		}
	}
	return resource{
		ID:   w.ID,
		Type: "workspaces",
		Attributes: workspaceAttributes{
			Name:              w.Name,
			Description:       orNull(w.Description),
			ExecutionMode:     mode,
			Operations:        mode != executionLocal,
			SettingOverwrites: workspaceOverwrites{ExecutionMode: own, AgentPool: own},
			TagNames:          names,
			CreatedAt:         iso8601(w.CreatedAt),
			UpdatedAt:         iso8601(w.UpdatedAt),
			workspaceSettings: shown[workspaceSettings](w.Settings),
			Actions:           workspaceActions{IsDestroyable: true},
			Environment:       "default",
			Source:            "tfe-api",
		},
		Relationships: map[string]relation{
			"organization": toOne("organizations", w.Organization),
			"project":      toOne("projects", w.ProjectID),
			"agent-pool":   toOne("agent-pools", ""),
			"ssh-key":      toOne("ssh-keys", ""),
			"tag-bindings": toMany("tag-bindings", tagIDs(w.Tags)...),
		},
		Links: map[string]string{"self": prefix + "/organizations/" + w.Organization + "/workspaces/" + w.Name},
	}
}
