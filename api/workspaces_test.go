package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tfe "github.com/hashicorp/go-tfe"
	"github.com/hashicorp/jsonapi"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

var (
	_ = thing("workspace", func(e *estate) string {
		return e.create("/organizations/{organization}/workspaces", inProject("ours"))
	})
	// The name is another in each organization, so that it tells them apart.
	_ = thing("workspace_name", func(e *estate) string {
		e.create("/organizations/{organization}/workspaces", inProject("of-"+e.name))
		return "of-" + e.name
	})
	_ = probe("POST /organizations/:organization/workspaces", inProject("another"))
	_ = probe("PATCH /workspaces/:workspace", moved)
	_ = probe("PATCH /organizations/:organization/workspaces/:workspace_name", moved)
	_ = probe("PATCH /workspaces/:workspace/tag-bindings", tagsBody)
	_ = probe("POST /workspaces/:workspace/relationships/tags", `{"data":[{"type":"tags","attributes":{"name":"blue"}}]}`)
	_ = probe("DELETE /workspaces/:workspace/relationships/tags", `{"data":[{"type":"tags","attributes":{"name":"blue"}}]}`)
)

const moved = `{"data":{"type":"workspaces","attributes":{"description":"changed"},"relationships":{"project":{"data":{"type":"projects","id":"{project}"}}}}}`

func inProject(name string) string {
	return `{"data":{"type":"workspaces","attributes":{"name":"` + name + `"},"relationships":{"project":{"data":{"type":"projects","id":"{project}"}}}}}`
}

func TestWorkspaces(t *testing.T) {
	w := newWorld(t)
	client, ctx := w.client(w.acme), t.Context()
	org, err := client.Organizations.Read(ctx, "acme")
	if err != nil {
		t.Fatal(err)
	}

	plain, err := client.Workspaces.Create(ctx, "acme", tfe.WorkspaceCreateOptions{Name: tfe.String("plain")})
	if err != nil {
		t.Fatal(err)
	}
	if plain.Project.ID != org.DefaultProject.ID || plain.ExecutionMode != "remote" || !plain.Operations || *plain.SettingOverwrites.ExecutionMode ||
		!plain.AllowDestroyPlan || !plain.FileTriggersEnabled || !plain.SpeculativeEnabled || plain.TerraformVersion == "" || plain.Locked ||
		plain.Organization.Name != "acme" || plain.Permissions.CanForceDelete == nil || !plain.Permissions.CanUpdate || plain.VCSRepo != nil || plain.AutoDestroyAt.IsSpecified() {
		t.Errorf("workspace %+v", plain)
	}

	project, err := client.Projects.Create(ctx, "acme", tfe.ProjectCreateOptions{Name: "net", TagBindings: []*tfe.TagBinding{{Key: "env", Value: "prod"}, {Key: "owner", Value: "net"}}})
	if err != nil {
		t.Fatal(err)
	}
	doomed := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	full, err := client.Workspaces.Create(ctx, "acme", tfe.WorkspaceCreateOptions{
		Name: tfe.String("full"), Description: tfe.String("all of it"), Project: project, AllowDestroyPlan: tfe.Bool(false), AssessmentsEnabled: tfe.Bool(true),
		AutoApply: tfe.Bool(true), AutoApplyRunTrigger: tfe.Bool(true), AutoDestroyAt: jsonapi.NewNullableAttrWithValue(doomed),
		AutoDestroyActivityDuration: jsonapi.NewNullableAttrWithValue("14d"), InheritsProjectAutoDestroy: tfe.Bool(false), ExecutionMode: tfe.String("local"),
		SettingOverwrites:   &tfe.WorkspaceSettingOverwritesOptions{ExecutionMode: tfe.Bool(true), AgentPool: tfe.Bool(true)},
		FileTriggersEnabled: tfe.Bool(false), GlobalRemoteState: tfe.Bool(true), QueueAllRuns: tfe.Bool(true), SpeculativeEnabled: tfe.Bool(false),
		SourceName: tfe.String("factory"), SourceURL: tfe.String("https://factory.example"), StructuredRunOutputEnabled: tfe.Bool(false),
		TerraformVersion: tfe.String("1.9.0"), TriggerPatterns: []string{"a/**", "b"}, WorkingDirectory: tfe.String("infra"),
		TagBindings: []*tfe.TagBinding{{Key: "env", Value: "test"}}, Tags: []*tfe.Tag{{Name: "blue"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if full.Description != "all of it" || full.Project.ID != project.ID || full.AllowDestroyPlan || !full.AssessmentsEnabled || !full.AutoApply || !full.AutoApplyRunTrigger ||
		!value(full.AutoDestroyAt).Equal(doomed) || value(full.AutoDestroyActivityDuration) != "14d" || full.InheritsProjectAutoDestroy || full.ExecutionMode != "local" ||
		full.Operations || !*full.SettingOverwrites.ExecutionMode || full.FileTriggersEnabled || !full.GlobalRemoteState || !full.QueueAllRuns || full.SpeculativeEnabled ||
		full.SourceName != "factory" || full.SourceURL != "https://factory.example" || full.StructuredRunOutputEnabled || full.TerraformVersion != "1.9.0" ||
		!slices.Equal(full.TriggerPatterns, []string{"a/**", "b"}) || full.WorkingDirectory != "infra" || !slices.Equal(full.TagNames, []string{"blue"}) {
		t.Errorf("workspace %+v", full)
	}

	same := func(name string, got *tfe.Workspace, err error) {
		t.Helper()
		if diff := cmp.Diff(full, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	got, err := client.Workspaces.ReadByID(ctx, full.ID)
	same("by id", got, err)
	got, err = client.Workspaces.Read(ctx, "acme", "full")
	same("by name", got, err)
	got, err = client.Workspaces.UpdateByID(ctx, full.ID, tfe.WorkspaceUpdateOptions{})
	same("an update of nothing", got, err)
	for name, options := range map[string]*tfe.WorkspaceListOptions{
		"by name": {Search: "FUL"}, "by a pattern": {WildcardName: "*ll"}, "by project": {ProjectID: project.ID}, "by a name of a tag": {Tags: "blue"},
		"by two": {Tags: "blue,owner"}, "by its own tag": {TagBindings: []*tfe.TagBinding{{Key: "env", Value: "test"}}},
		"by its project's tag": {TagBindings: []*tfe.TagBinding{{Key: "owner", Value: "net"}}}, "by sorting": {Search: "full", Sort: "name"},
	} {
		list, err := client.Workspaces.List(ctx, "acme", options)
		if err != nil || list.TotalCount != 1 {
			t.Errorf("%s: %v %+v", name, err, list)
			continue
		}
		same(name, list.Items[0], nil)
	}
	for name, options := range map[string]*tfe.WorkspaceListOptions{
		"a tag of the project that the workspace overrides": {TagBindings: []*tfe.TagBinding{{Key: "env", Value: "prod"}}}, "another's project": {ProjectID: "prj-0000000000000000"},
		"a pattern with a part of the name": {WildcardName: "ul"},
	} {
		if list, err := client.Workspaces.List(ctx, "acme", options); err != nil || list.TotalCount != 0 {
			t.Errorf("%s: %v %+v", name, err, list)
		}
	}
	if list, err := client.Workspaces.List(ctx, "acme", &tfe.WorkspaceListOptions{ExcludeTags: "blue"}); err != nil || list.TotalCount != 1 || list.Items[0].ID != plain.ID {
		t.Errorf("excluding a tag: %v %+v", err, list)
	}

	t.Run("tags", func(t *testing.T) {
		with, err := client.Workspaces.ReadByIDWithOptions(ctx, full.ID, &tfe.WorkspaceReadOptions{Include: []tfe.WSIncludeOpt{tfe.WSEffectiveTagBindings, tfe.WSProject, tfe.WSOrganization}})
		if err != nil {
			t.Fatal(err)
		}
		effective, err := client.Workspaces.ListEffectiveTagBindings(ctx, full.ID)
		if err != nil || !cmp.Equal(with.EffectiveTagBindings, effective) {
			t.Errorf("%v %s", err, cmp.Diff(with.EffectiveTagBindings, effective))
		}
		var seen []string
		for _, tag := range effective {
			text := tag.Key + "=" + tag.Value
			if tag.Links["inherited-from"] != nil {
				text += " inherited"
			}
			seen = append(seen, text)
		}
		if want := []string{"blue=", "env=test", "owner=net inherited"}; !slices.Equal(seen, want) {
			t.Errorf("in effect are %q, want %q", seen, want)
		}
		if with.Project.Name != "net" || with.Organization.Email == "" {
			t.Errorf("included %+v %+v", with.Project, with.Organization)
		}
		own, err := client.Workspaces.AddTagBindings(ctx, full.ID, tfe.WorkspaceAddTagBindingsOptions{TagBindings: []*tfe.TagBinding{{Key: "owner", Value: "me"}, {Key: "env", Value: "dev"}}})
		if err != nil || len(own) != 3 || own[1].Value != "dev" || own[2].Value != "me" {
			t.Errorf("%v %+v", err, own)
		}
		if list, err := client.Workspaces.ListTagBindings(ctx, full.ID); err != nil || !cmp.Equal(list, own) {
			t.Errorf("%v %s", err, cmp.Diff(own, list))
		}
		if err := client.Workspaces.AddTags(ctx, full.ID, tfe.WorkspaceAddTagsOptions{Tags: []*tfe.Tag{{Name: "green"}}}); err != nil {
			t.Error(err)
		}
		if err := client.Workspaces.RemoveTags(ctx, full.ID, tfe.WorkspaceRemoveTagsOptions{Tags: []*tfe.Tag{{Name: "blue"}, {Name: "never"}}}); err != nil {
			t.Error(err)
		}
		names, err := client.Workspaces.ListTags(ctx, full.ID, nil)
		if err != nil || len(names.Items) != 1 || names.Items[0].Name != "green" {
			t.Fatalf("%v %+v", err, names)
		}
		if err := client.Workspaces.RemoveTags(ctx, full.ID, tfe.WorkspaceRemoveTagsOptions{Tags: []*tfe.Tag{{ID: names.Items[0].ID}}}); err != nil {
			t.Error(err)
		}
		if err := client.Workspaces.DeleteAllTagBindings(ctx, full.ID); err != nil {
			t.Error(err)
		}
		if list, err := client.Workspaces.ListTagBindings(ctx, full.ID); err != nil || len(list) != 0 {
			t.Errorf("%v %+v", err, list)
		}
	})

	t.Run("execution mode", func(t *testing.T) {
		if _, err := w.client(admin).Organizations.Update(ctx, "acme", tfe.OrganizationUpdateOptions{DefaultExecutionMode: tfe.String("local")}); err != nil {
			t.Fatal(err)
		}
		mode := func(want string, own bool) {
			t.Helper()
			got, err := client.Workspaces.ReadByID(ctx, full.ID)
			if err != nil || got.ExecutionMode != want || *got.SettingOverwrites.ExecutionMode != own || got.Operations != (want == "remote") {
				t.Errorf("%v: %s %v %v", err, got.ExecutionMode, *got.SettingOverwrites.ExecutionMode, got.Operations)
			}
		}
		update := func(options tfe.WorkspaceUpdateOptions) {
			t.Helper()
			if _, err := client.Workspaces.UpdateByID(ctx, full.ID, options); err != nil {
				t.Fatal(err)
			}
		}
		update(tfe.WorkspaceUpdateOptions{ExecutionMode: tfe.String("remote")})
		mode("remote", true)
		update(tfe.WorkspaceUpdateOptions{SettingOverwrites: &tfe.WorkspaceSettingOverwritesOptions{ExecutionMode: tfe.Bool(false)}})
		mode("local", false)
		if _, err := client.Projects.Update(ctx, project.ID, tfe.ProjectUpdateOptions{DefaultExecutionMode: tfe.String("remote")}); err != nil {
			t.Fatal(err)
		}
		mode("remote", false)
		update(tfe.WorkspaceUpdateOptions{Operations: tfe.Bool(false)})
		mode("local", true)
	})

	t.Run("null takes a setting back", func(t *testing.T) {
		got, err := client.Workspaces.UpdateByID(ctx, full.ID, tfe.WorkspaceUpdateOptions{
			AutoDestroyAt: jsonapi.NewNullNullableAttr[time.Time](), AutoDestroyActivityDuration: jsonapi.NewNullNullableAttr[string](),
			Description: tfe.String(""), TriggerPatterns: []string{}, AutoApply: tfe.Bool(false),
		})
		if err != nil || got.AutoDestroyAt.IsSpecified() || got.AutoDestroyActivityDuration.IsSpecified() || got.Description != "" || got.AutoApply || !got.AutoApplyRunTrigger {
			t.Errorf("%v %+v", err, got)
		}
	})

	renamed, err := client.Workspaces.Update(ctx, "acme", "full", tfe.WorkspaceUpdateOptions{Name: tfe.String("new"), Project: org.DefaultProject})
	if err != nil || renamed.ID != full.ID || renamed.Name != "new" || renamed.Project.ID != org.DefaultProject.ID || !renamed.UpdatedAt.After(full.UpdatedAt) || !renamed.CreatedAt.Equal(full.CreatedAt) {
		t.Errorf("%v %+v", err, renamed)
	}
	if _, err := client.Workspaces.Update(ctx, "acme", "new", tfe.WorkspaceUpdateOptions{Name: tfe.String("plain")}); err == nil {
		t.Error("a name was taken twice")
	}
	if consumers, err := client.Workspaces.ListRemoteStateConsumers(ctx, full.ID, nil); err != nil || len(consumers.Items) != 0 {
		t.Errorf("%v %+v", err, consumers)
	}
	if _, err := client.Workspaces.RemoveVCSConnectionByID(ctx, full.ID); err != nil {
		t.Error(err)
	}
	if err := client.Workspaces.SafeDelete(ctx, "acme", "new"); err != nil {
		t.Error(err)
	}
	if err := client.Workspaces.SafeDeleteByID(ctx, plain.ID); err != nil {
		t.Error(err)
	}
	if _, err := client.Workspaces.ReadByID(ctx, plain.ID); !errors.Is(err, tfe.ErrResourceNotFound) {
		t.Error(err)
	}
	if err := client.Workspaces.DeleteByID(ctx, plain.ID); !errors.Is(err, tfe.ErrResourceNotFound) {
		t.Error(err)
	}
	if reader, err := w.client(w.guest).Workspaces.List(ctx, "acme", nil); err != nil || len(reader.Items) != 0 {
		t.Errorf("%v %+v", err, reader)
	}
}

func TestWorkspacesHostile(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ name, data, pointer string }{
		{"a name too long", `"attributes":{"name":"` + strings.Repeat("n", 91) + `"}`, "/data/attributes/name"},
		{"a name that no path holds", `"attributes":{"name":"a/../b"}`, "/data/attributes/name"},
		{"a repository", `"attributes":{"name":"a","vcs-repo":{"identifier":"a/b"}}`, "/data/attributes/vcs-repo"},
		{"agents", `"attributes":{"name":"a","execution-mode":"agent"}`, "/data/attributes/execution-mode"},
		{"an agent pool", `"attributes":{"name":"a","agent-pool-id":"apool-1"}`, "/data/attributes/agent-pool-id"},
		{"a time that is none", `"attributes":{"name":"a","auto-destroy-at":"tomorrow"}`, "/data/attributes/auto-destroy-at"},
		{"a time that is a number", `"attributes":{"name":"a","auto-destroy-at":7}`, "/data/attributes/auto-destroy-at"},
		{"patterns that are texts of numbers", `"attributes":{"name":"a","trigger-patterns":[7]}`, "/data/attributes/trigger-patterns/0"},
		{"a long directory", `"attributes":{"name":"a","working-directory":"` + strings.Repeat("d", 1025) + `"}`, "/data/attributes/working-directory"},
		{"a project that is none", `"attributes":{"name":"a"},"relationships":{"project":{"data":{"type":"projects","id":"prj-0000000000000000"}}}`, "/data/relationships/project"},
		{"a project that is a list", `"attributes":{"name":"a"},"relationships":{"project":{"data":[]}}`, "/data/relationships/project"},
		{"a tag without a name", `"attributes":{"name":"a"},"relationships":{"tags":{"data":[{"type":"tags","id":"tag-1"}]}}`, "/data/relationships/tags/data/0/attributes/name"},
	} {
		t.Run("case 85 "+c.name, func(t *testing.T) {
			refused(t, w.ask(w.acme, "POST", "/organizations/acme/workspaces", `{"data":{"type":"workspaces",`+c.data+`}}`), 422, c.pointer)
		})
	}
	t.Run("case 85 a project of another type", func(t *testing.T) {
		refused(t, w.ask(w.acme, "POST", "/organizations/acme/workspaces", `{"data":{"type":"workspaces","attributes":{"name":"a"},"relationships":{"project":{"data":{"type":"workspaces","id":"x"}}}}}`),
			http.StatusConflict, "/data/relationships/project/data/type")
	})
	if a := w.ask(w.acme, "GET", "/organizations/acme/workspaces", ""); !strings.Contains(a.body, `"total-count":0`) {
		t.Error(a.body)
	}
	for _, query := range []string{"sort=-name", "filter%5Bcurrent-run%5D%5Bstatus%5D=applied", "include=secrets", "search%5Bname%5D=" + strings.Repeat("n", 129)} {
		t.Run("case 85 "+query[:10], func(t *testing.T) {
			problemsOf(t, w.ask(w.acme, "GET", "/organizations/acme/workspaces?"+query, ""), 400)
		})
	}
	t.Run("case 85 a pattern that is all stars and signs of SQL", func(t *testing.T) {
		w.ask(w.acme, "POST", "/organizations/acme/workspaces", `{"data":{"type":"workspaces","attributes":{"name":"a_b"}}}`)
		for pattern, want := range map[string]string{"%25": `"total-count":0`, "a%25": `"total-count":0`, "*_*": `"total-count":1`, "%2A%2A%2A": `"total-count":1`, "'--": `"total-count":0`, "!": `"total-count":0`} {
			if a := w.ask(w.acme, "GET", "/organizations/acme/workspaces?search%5Bwildcard-name%5D="+pattern, ""); !strings.Contains(a.body, want) {
				t.Errorf("%s: %s", pattern, a.body)
			}
		}
	})
}

// noProjects are the projects of a database that does not answer.
type noProjects struct{ projects }

type projects = api.Projects // whose method Projects the field must not hide

func (noProjects) Project(context.Context, polset.Principal, string) (polset.Project, error) {
	return polset.Project{}, errors.New("the database is away")
}

// That nobody could look is no "not found".
func TestProjectsAway(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.Projects = noProjects{c.Projects} })
	client, err := w.store.CreateConnection(t.Context(), polset.System, polset.ConnectionDraft{
		Organization: "acme", ServiceProvider: "github", HTTPURL: "https://github.com", APIURL: "https://api.github.com", Token: polset.NewSecret("ghp_x"),
	})
	if err != nil {
		t.Fatal(err)
	}
	relation := `"relationships":{"project%s":{"data":%s}}`
	one := fmt.Sprintf(relation, "", `{"type":"projects","id":"prj-0000000000009999"}`)
	many := fmt.Sprintf(relation, "s", `[{"type":"projects","id":"prj-0000000000009999"}]`)
	for _, c := range [][3]string{
		{"POST", "/organizations/acme/workspaces", `{"data":{"type":"workspaces","attributes":{"name":"net"},` + one + `}}`},
		{"PATCH", "/oauth-clients/" + client.ID, `{"data":{"type":"oauth-clients",` + many + `}}`},
	} {
		problemsOf(t, w.ask(w.acme, c[0], c[1], c[2]), http.StatusInternalServerError)
	}
}
