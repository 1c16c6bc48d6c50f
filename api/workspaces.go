package api

import (
	"regexp"
	"time"

	"github.com/polset/polset"
)

// workspaceAttributes is a workspace as HCP Terraform shows it. polset runs no
// Terraform, so that what tells of runs and resources stays at nothing.
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

	Actions              workspaceActions `json:"actions"`
	CanQueueDestroyPlan  bool             `json:"can-queue-destroy-plan"`
	Environment          string           `json:"environment"`
	Locked               bool             `json:"locked"`
	ResourceCount        int              `json:"resource-count"`
	ApplyDurationAverage int              `json:"apply-duration-average"`
	PlanDurationAverage  int              `json:"plan-duration-average"`
	PolicyCheckFailures  int              `json:"policy-check-failures"`
	RunFailures          int              `json:"run-failures"`
	RunsCount            int              `json:"workspace-kpis-runs-count"`
	Source               string           `json:"source"`
	VCSRepo              *vcsRepo         `json:"vcs-repo"`
	VCSRepoIdentifier    *string          `json:"vcs-repo-identifier"`
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

// workspaceSettings are what polset only keeps of a workspace.
type workspaceSettings struct {
	AllowDestroyPlan            bool     `json:"allow-destroy-plan"`
	AssessmentsEnabled          bool     `json:"assessments-enabled"`
	AutoApply                   bool     `json:"auto-apply"`
	AutoApplyRunTrigger         bool     `json:"auto-apply-run-trigger"`
	AutoDestroyActivityDuration *string  `json:"auto-destroy-activity-duration"`
	AutoDestroyAt               *instant `json:"auto-destroy-at"`
	FileTriggersEnabled         bool     `json:"file-triggers-enabled"`
	GlobalRemoteState           bool     `json:"global-remote-state"`
	HYOKEnabled                 bool     `json:"hyok-enabled"`
	InheritsProjectAutoDestroy  bool     `json:"inherits-project-auto-destroy"`
	MigrationEnvironment        string   `json:"migration-environment"`
	ProjectRemoteState          bool     `json:"project-remote-state"`
	QueueAllRuns                bool     `json:"queue-all-runs"`
	SourceName                  *string  `json:"source-name"`
	SourceURL                   *string  `json:"source-url"`
	SpeculativeEnabled          bool     `json:"speculative-enabled"`
	StructuredRunOutputEnabled  bool     `json:"structured-run-output-enabled"`
	TerraformVersion            string   `json:"terraform-version"`
	TriggerPatterns             []string `json:"trigger-patterns"`
	TriggerPrefixes             []string `json:"trigger-prefixes"`
	WorkingDirectory            string   `json:"working-directory"`
}

func (workspaceSettings) defaults() workspaceSettings {
	return workspaceSettings{
		AllowDestroyPlan: true, FileTriggersEnabled: true, InheritsProjectAutoDestroy: true,
		QueueAllRuns: false, SpeculativeEnabled: true, StructuredRunOutputEnabled: true,
		TerraformVersion: "latest", TriggerPatterns: []string{}, TriggerPrefixes: []string{},
	}
}

// maxTriggers bounds the patterns, and the prefixes, of a workspace.
const maxTriggers = 100

func (s workspaceSettings) check() problems {
	wrong := checkSettings(map[string]string{
		"migration-environment": s.MigrationEnvironment, "terraform-version": s.TerraformVersion, "working-directory": s.WorkingDirectory,
		"source-name": orEmpty(s.SourceName), "source-url": orEmpty(s.SourceURL),
	})
	for name, list := range map[string][]string{"trigger-patterns": s.TriggerPatterns, "trigger-prefixes": s.TriggerPrefixes} {
		if len(list) > maxTriggers {
			wrong = append(wrong, invalid(name, "%s must not exceed %d entries.", name, maxTriggers))
		}
		for _, text := range list {
			wrong = append(wrong, checkSettings(map[string]string{name: text})...)
		}
	}
	return append(wrong, checkActivityDuration(s.AutoDestroyActivityDuration)...)
}

var activityDuration = regexp.MustCompile(`^[0-9]{1,4}[dh]$`)

func checkActivityDuration(text *string) problems {
	if text != nil && !activityDuration.MatchString(*text) {
		return problems{invalid("auto-destroy-activity-duration", "auto-destroy-activity-duration must be 1 to 4 digits and d or h, such as 14d.")}
	}
	return nil
}

// An instant is a time that a client set. Clients refuse a whole document for
// one that is not in this form.
type instant time.Time

// UnmarshalJSON implements json.Unmarshaler.
func (t *instant) UnmarshalJSON(b []byte) error { return (*time.Time)(t).UnmarshalJSON(b) }

// MarshalJSON implements json.Marshaler.
func (t instant) MarshalJSON() ([]byte, error) { return iso8601(t).MarshalJSON() }

// workspaceResource is a workspace as every answer shows it.
func workspaceResource(w polset.Workspace) resource {
	_, own := w.Settings[ownExecutionMode].(string)
	mode := executionMode(w.Settings[ownExecutionMode], w.ProjectSettings[defaultExecutionMode], w.OrganizationSettings[defaultExecutionMode])
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
			"current-run":  toOne("runs", ""),
			"tag-bindings": toMany("tag-bindings", tagIDs(w.Tags)...),
		},
		Links: map[string]string{"self": prefix + "/organizations/" + w.Organization + "/workspaces/" + w.Name},
	}
}

func orEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
