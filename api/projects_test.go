package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	tfe "github.com/hashicorp/go-tfe"
	"github.com/hashicorp/jsonapi"
)

var (
	_ = thing("project", func(e *estate) string {
		return e.create("/organizations/{organization}/projects", projectBody("ours"))
	})
	_ = probe("POST /organizations/:organization/projects", projectBody("another"))
	_ = probe("PATCH /projects/:project", `{"data":{"type":"projects","attributes":{"description":"changed"}}}`)
	_ = probe("PATCH /projects/:project/tag-bindings", tagsBody)
)

const tagsBody = `{"data":[{"type":"tag-bindings","attributes":{"key":"env","value":"prod"}}]}`

func projectBody(name string) string {
	return `{"data":{"type":"projects","attributes":{"name":"` + name + `"}}}`
}

func TestProjects(t *testing.T) {
	w := newWorld(t)
	client, ctx := w.client(w.acme), t.Context()

	project, err := client.Projects.Create(ctx, "acme", tfe.ProjectCreateOptions{
		Name: "the network", Description: tfe.String("all of it"), AutoDestroyActivityDuration: jsonapi.NewNullableAttrWithValue("14d"),
		DefaultExecutionMode: tfe.String("local"), TagBindings: []*tfe.TagBinding{{Key: "env", Value: "prod"}, {Key: "team"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if project.Name != "the network" || project.Organization.Name != "acme" || project.DefaultExecutionMode != "local" || !*project.SettingOverwrites.ExecutionMode ||
		value(project.AutoDestroyActivityDuration) != "14d" {
		t.Errorf("project %+v", project)
	}
	read, err := client.Projects.Read(ctx, project.ID)
	if diff := cmp.Diff(project, read); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for name, options := range map[string]*tfe.ProjectListOptions{
		"by name": {Name: "the network,nothing"}, "by a part of it": {Query: "NETW"}, "by tag": {TagBindings: []*tfe.TagBinding{{Key: "env", Value: "prod"}}},
		"by key": {TagBindings: []*tfe.TagBinding{{Key: "team"}}},
	} {
		list, err := client.Projects.List(ctx, "acme", options)
		if err != nil || list.TotalCount != 1 || !cmp.Equal(list.Items[0], project) {
			t.Errorf("%s: %v %+v", name, err, list)
		}
	}
	if list, err := client.Projects.List(ctx, "acme", nil); err != nil || list.TotalCount != 2 || list.Items[0].Name != "Default Project" {
		t.Errorf("%v %+v", err, list)
	}
	if list, err := client.Projects.List(ctx, "acme", &tfe.ProjectListOptions{TagBindings: []*tfe.TagBinding{{Key: "env", Value: "test"}}}); err != nil || list.TotalCount != 0 {
		t.Errorf("%v %+v", err, list)
	}

	changed, err := client.Projects.Update(ctx, project.ID, tfe.ProjectUpdateOptions{
		Name: tfe.String("net"), AutoDestroyActivityDuration: jsonapi.NewNullNullableAttr[string](),
		SettingOverwrites: &tfe.ProjectSettingOverwrites{ExecutionMode: tfe.Bool(false), AgentPool: tfe.Bool(false)},
		TagBindings:       []*tfe.TagBinding{{Key: "env", Value: "test"}},
	})
	if err != nil || changed.Name != "net" || changed.Description != "all of it" || changed.DefaultExecutionMode != "remote" || changed.AutoDestroyActivityDuration.IsSpecified() {
		t.Errorf("%v %+v", err, changed)
	}
	tags, err := client.Projects.ListTagBindings(ctx, project.ID)
	if err != nil || len(tags) != 1 || tags[0].Key != "env" || tags[0].Value != "test" {
		t.Errorf("%v %+v", err, tags)
	}
	if tags, err = client.Projects.AddTagBindings(ctx, project.ID, tfe.ProjectAddTagBindingsOptions{TagBindings: []*tfe.TagBinding{{Key: "env", Value: "dev"}, {Key: "a"}}}); err != nil ||
		len(tags) != 2 || tags[0].Key != "a" || tags[1].Value != "dev" {
		t.Errorf("%v %+v", err, tags)
	}
	effective, err := client.Projects.ListEffectiveTagBindings(ctx, project.ID)
	if err != nil || len(effective) != 2 || effective[1].Value != "dev" || effective[1].ID == "" {
		t.Errorf("%v %+v", err, effective)
	}
	with, err := client.Projects.ReadWithOptions(ctx, project.ID, tfe.ProjectReadOptions{Include: []tfe.ProjectIncludeOpt{tfe.ProjectEffectiveTagBindings}})
	if err != nil || !cmp.Equal(with.EffectiveTagBindings, effective) {
		t.Errorf("%v %s", err, cmp.Diff(effective, with.EffectiveTagBindings))
	}
	if err := client.Projects.DeleteAllTagBindings(ctx, project.ID); err != nil {
		t.Error(err)
	}
	if tags, err = client.Projects.ListTagBindings(ctx, project.ID); err != nil || len(tags) != 0 {
		t.Errorf("%v %+v", err, tags)
	}

	workspace, err := client.Workspaces.Create(ctx, "acme", tfe.WorkspaceCreateOptions{Name: tfe.String("ws"), Project: project})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Projects.Delete(ctx, project.ID); err == nil || !strings.Contains(err.Error(), "workspaces") {
		t.Errorf("a project with a workspace: %v", err)
	}
	org, err := client.Organizations.Read(ctx, "acme")
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Projects.Delete(ctx, org.DefaultProject.ID); err == nil || !strings.Contains(err.Error(), "default project") {
		t.Errorf("the default project: %v", err)
	}
	if err := client.Workspaces.DeleteByID(ctx, workspace.ID); err != nil {
		t.Fatal(err)
	}
	if err := client.Projects.Delete(ctx, project.ID); err != nil {
		t.Error(err)
	}
	if _, err := client.Projects.Read(ctx, project.ID); !errors.Is(err, tfe.ErrResourceNotFound) {
		t.Error(err)
	}
}

// value is what a client was told, the zero value where it was told nothing.
func value[T any](attribute jsonapi.NullableAttr[T]) T {
	v, _ := attribute.Get()
	return v
}

func TestProjectsHostile(t *testing.T) {
	w := newWorld(t)
	tags := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(`{"type":"tag-bindings","attributes":{"key":"k%d"}}`, i)
		}
		return `[` + strings.Join(list, ",") + `]`
	}
	for _, c := range []struct{ name, data, pointer string }{
		{"a name too long", `"attributes":{"name":"` + strings.Repeat("n", 41) + `"}`, "/data/attributes/name"},
		{"spaces around a name", `"attributes":{"name":" a"}`, "/data/attributes/name"},
		{"a name of control characters", `"attributes":{"name":"a\nb"}`, "/data/attributes/name"},
		{"no name", `"attributes":{}`, "/data/attributes/name"},
		{"a taken name", `"attributes":{"name":"Default Project"}`, "/data/attributes/name"},
		{"a long description", `"attributes":{"name":"a","description":"` + strings.Repeat("d", 4097) + `"}`, "/data/attributes/description"},
		{"a duration that is none", `"attributes":{"name":"a","auto-destroy-activity-duration":"soon"}`, "/data/attributes/auto-destroy-activity-duration"},
		{"an agent pool", `"attributes":{"name":"a","default-agent-pool-id":"apool-1"}`, "/data/attributes/default-agent-pool-id"},
		{"an object for a text", `"attributes":{"name":{}}`, "/data/attributes/name"},
		{"a tag without a key", `"attributes":{"name":"a"},"relationships":{"tag-bindings":{"data":[{"type":"tag-bindings","attributes":{"value":"v"}}]}}`, "/data/relationships/tag-bindings/data/0/attributes/key"},
		{"a tag with a long value", `"attributes":{"name":"a"},"relationships":{"tag-bindings":{"data":[{"type":"tag-bindings","attributes":{"key":"k","value":"` + strings.Repeat("v", 257) + `"}}]}}`, "/data/relationships/tag-bindings/data/0/attributes/value"},
		{"tags that are no list", `"attributes":{"name":"a"},"relationships":{"tag-bindings":{"data":{}}}`, "/data/relationships/tag-bindings/data"},
		{"tags that are nothing", `"attributes":{"name":"a"},"relationships":{"tag-bindings":7}`, "/data/relationships/tag-bindings"},
		{"too many tags", `"attributes":{"name":"a"},"relationships":{"tag-bindings":{"data":` + tags(101) + `}}`, "/data/relationships/tag-bindings/data"},
	} {
		t.Run("case 85 "+c.name, func(t *testing.T) {
			refused(t, w.ask(w.acme, "POST", "/organizations/acme/projects", `{"data":{"type":"projects",`+c.data+`}}`), 422, c.pointer)
		})
	}
	t.Run("case 85 more tags than a project may have", func(t *testing.T) {
		id := dataID(t, w.ask(w.acme, "POST", "/organizations/acme/projects", projectBody("full")))
		if a := w.ask(w.acme, "PATCH", "/projects/"+id+"/tag-bindings", `{"data":`+tags(100)+`}`); a.status != http.StatusOK {
			t.Fatal(a.body)
		}
		problemsOf(t, w.ask(w.acme, "PATCH", "/projects/"+id+"/tag-bindings", tagsBody), 422)
		if a := w.ask(w.acme, "GET", "/projects/"+id+"/tag-bindings", ""); strings.Count(a.body, `"key"`) != 100 {
			t.Errorf("the refused tag is bound: %s", a.body)
		}
	})
	for _, query := range []string{"filter%5Btagged%5D%5B0%5D%5Bvalue%5D=v", "filter%5Btagged%5D%5Bx%5D%5Bkey%5D=v", "q=" + strings.Repeat("q", 129)} {
		t.Run("case 85 "+query[:20], func(t *testing.T) {
			problemsOf(t, w.ask(w.acme, "GET", "/organizations/acme/projects?"+query, ""), 400)
		})
	}
}
