package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// runSettings are the settings of a run that policies see.
type runSettings struct {
	IsDestroy    bool     `json:"is-destroy"`
	PlanOnly     bool     `json:"plan-only"`
	Refresh      *bool    `json:"refresh"` // nil: true
	RefreshOnly  bool     `json:"refresh-only"`
	ReplaceAddrs []string `json:"replace-addrs"`
	TargetAddrs  []string `json:"target-addrs"`
	Variables    []struct {
		Key string `json:"key"`
	} `json:"variables"`
}

// defaultExecutionMode is what holds where neither the workspace nor what it is
// in says another.
const defaultExecutionMode = "remote"

// runInput is what policies see of a run, JSON. Its settings are given as the
// row keeps them.
func (t *tx) runInput(ctx context.Context, w polset.Workspace, id, message, settings string) (string, error) {
	var own runSettings
	if err := json.Unmarshal([]byte(settings), &own); err != nil {
		return "", fmt.Errorf("read the settings of the run: %w", err)
	}
	p, err := t.Project(ctx, rows.ProjectParams{ID: w.ProjectID, Tenant: w.OrganizationID})
	if err != nil {
		return "", err
	}
	tags, err := t.effectiveTags(ctx, w)
	if err != nil {
		return "", err
	}
	in := polset.RunInput{
		ID: id, CreatedAt: t.now, CreatedBy: t.actor, Message: message,
		IsDestroy: own.IsDestroy, Refresh: own.Refresh == nil || *own.Refresh, RefreshOnly: own.RefreshOnly, Speculative: own.PlanOnly,
		ReplaceAddrs: orEmpty(own.ReplaceAddrs), TargetAddrs: orEmpty(own.TargetAddrs), Variables: map[string]polset.RunVariable{},
		Project:      polset.RunProject{ID: p.Project.ID, Name: p.Project.Name},
		Organization: polset.RunOrganization{Name: w.Organization},
		Workspace: polset.RunWorkspace{
			ID: w.ID, Name: w.Name, CreatedAt: w.CreatedAt, Description: w.Description,
			ExecutionMode: cmp.Or(
				setting[string](w.Settings, "execution-mode"), setting[string](w.ProjectSettings, "default-execution-mode"),
				setting[string](w.OrganizationSettings, "default-execution-mode"), defaultExecutionMode),
			AutoApply:        setting[bool](w.Settings, "auto-apply"),
			WorkingDirectory: setting[string](w.Settings, "working-directory"),
			Tags:             []string{}, TagBindings: []polset.RunTag{},
		},
	}
	for _, v := range own.Variables {
		in.Variables[v.Key] = polset.RunVariable{Category: "terraform"}
	}
	for _, tag := range tags {
		in.Workspace.Tags = append(in.Workspace.Tags, tag.Key)
		in.Workspace.TagBindings = append(in.Workspace.TagBindings, polset.RunTag{Key: tag.Key, Value: tag.Value})
	}
	text, err := json.Marshal(in)
	return string(text), err
}

// effectiveTags are the tags in effect on a workspace, by key.
func (t *tx) effectiveTags(ctx context.Context, w polset.Workspace) ([]polset.TagBinding, error) {
	inherited, err := tagsOf(ctx, t.Queries, ofProject(w.ProjectID))
	if err != nil {
		return nil, err
	}
	return inEffect(w, inherited), nil
}

// setting reads one setting; of another type it is as if it were not there.
func setting[T any](settings map[string]any, name string) T {
	value, _ := settings[name].(T)
	return value
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return slices.Clone(list)
}
