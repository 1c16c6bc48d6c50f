package api

import (
	"github.com/polset/polset"
)

type projectAttributes struct {
	Name                 string              `json:"name"`
	Description          *string             `json:"description"`
	DefaultExecutionMode string              `json:"default-execution-mode"`
	IsUnified            bool                `json:"is-unified"`
	WorkspaceCount       *int                `json:"workspace-count,omitempty"`
	SettingOverwrites    projectOverwrites   `json:"setting-overwrites"`
	Permissions          *projectPermissions `json:"permissions,omitempty"`
	CreatedAt            iso8601             `json:"created-at"`
	projectSettings
}

// projectOverwrites says which settings are the project's own, and not its
// organization's.
type projectOverwrites struct {
	ExecutionMode bool `json:"default-execution-mode"`
	AgentPool     bool `json:"default-agent-pool"`
}

type projectPermissions struct {
	CanRead            bool `json:"can-read"`
	CanUpdate          bool `json:"can-update"`
	CanDestroy         bool `json:"can-destroy"`
	CanCreateWorkspace bool `json:"can-create-workspace"`
}

// projectSettings are what polset only keeps of a project.
type projectSettings struct {
	AutoDestroyActivityDuration *string `json:"auto-destroy-activity-duration"`
}

func (projectSettings) defaults() projectSettings { return projectSettings{} }

func (s projectSettings) check() problems {
	return checkActivityDuration(s.AutoDestroyActivityDuration)
}

// projectResource is a project as every answer shows it.
func projectResource(p polset.Project) resource {
	_, own := p.Settings[defaultExecutionMode].(string)
	return resource{
		ID:   p.ID,
		Type: "projects",
		Attributes: projectAttributes{
			Name:                 p.Name,
			Description:          orNull(p.Description),
			DefaultExecutionMode: executionMode(p.Settings[defaultExecutionMode], p.OrganizationSettings[defaultExecutionMode]),
			SettingOverwrites:    projectOverwrites{ExecutionMode: own, AgentPool: own},
			CreatedAt:            iso8601(p.CreatedAt),
			projectSettings:      shown[projectSettings](p.Settings),
		},
		Relationships: map[string]relation{
			"organization":       toOne("organizations", p.Organization),
			"default-agent-pool": toOne("agent-pools", ""),
			"tag-bindings":       toMany("tag-bindings", tagIDs(p.Tags)...),
		},
		Links: map[string]string{"self": prefix + "/projects/" + p.ID},
	}
}
