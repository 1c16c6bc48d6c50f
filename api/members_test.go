package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	tfe "github.com/hashicorp/go-tfe"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

// What TestIsolation cannot know of members by itself.
var (
	_ = thing("workspace", func(e *estate) string { return e.guarded(e.name, "guarded").ID })
	_ = thing("project", func(e *estate) string { return e.grouping(e.name, "grouping").ID })

	_ = probe("POST /policy-sets/:policy_set/relationships/policies", `{"data":[]}`, `{"data":[{"type":"policies","id":"{policy}"}]}`)
	_ = probe("DELETE /policy-sets/:policy_set/relationships/policies", `{"data":[{"type":"policies","id":"{policy}"}]}`)
	_ = probe("POST /policy-sets/:policy_set/relationships/workspaces", `{"data":[{"type":"workspaces","id":"{workspace}"}]}`)
	_ = probe("DELETE /policy-sets/:policy_set/relationships/workspaces", `{"data":[{"type":"workspaces","id":"{workspace}"}]}`)
	_ = probe("POST /policy-sets/:policy_set/relationships/projects", `{"data":[{"type":"projects","id":"{project}"}]}`)
	_ = probe("DELETE /policy-sets/:policy_set/relationships/projects", `{"data":[{"type":"projects","id":"{project}"}]}`)
	_ = probe("POST /policy-sets/:policy_set/relationships/workspace-exclusions", `{"data":[{"type":"workspaces","id":"{workspace}"}]}`)
	_ = probe("DELETE /policy-sets/:policy_set/relationships/workspace-exclusions", `{"data":[{"type":"workspaces","id":"{workspace}"}]}`)
	_ = probe("POST /policy-sets/:policy_set/relationships/project-exclusions", `{"data":[{"type":"projects","id":"{project}"}]}`)
	_ = probe("DELETE /policy-sets/:policy_set/relationships/project-exclusions", `{"data":[{"type":"projects","id":"{project}"}]}`)
	_ = probe("POST /policy-sets/:policy_set/tag-selectors", `{"data":[{"tag-key":"env","tag-value":"prod","is-exclude":false}]}`)
	_ = probe("DELETE /policy-sets/:policy_set/tag-selectors", `{"data":[{"tag-key":"env","tag-value":"prod","is-exclude":false}]}`)
)

// guarded makes a workspace.
func (w *world) guarded(organization, name string) polset.Workspace {
	w.t.Helper()
	made, err := w.store.CreateWorkspace(w.t.Context(), polset.System, polset.WorkspaceDraft{Organization: organization, Name: name, Description: "guarded"})
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

// grouping makes a project.
func (w *world) grouping(organization, name string) polset.Project {
	w.t.Helper()
	made, err := w.store.CreateProject(w.t.Context(), polset.System, polset.ProjectDraft{Organization: organization, Name: name})
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

// ruling makes a policy.
func (w *world) ruling(organization, name string, kind polset.Kind) polset.Policy {
	w.t.Helper()
	draft := polset.PolicyDraft{Organization: organization, Name: name, Kind: kind, EnforcementLevel: "advisory"}
	if kind == polset.KindOPA {
		draft.Query = "data.p.deny"
	}
	made, err := w.store.CreatePolicy(w.t.Context(), polset.System, draft)
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

// setOf makes a policy set of acme of attributes and relationships in JSON.
func (w *world) setOf(name, attributes, relationships string) string {
	w.t.Helper()
	if attributes != "" {
		attributes = "," + attributes
	}
	a := w.ask(w.acme, http.MethodPost, sets, `{"data":{"type":"policy-sets","attributes":{"name":"`+name+`"`+attributes+`},"relationships":{`+relationships+`}}}`)
	if a.status != http.StatusCreated {
		w.t.Fatalf("%d %s", a.status, a.body)
	}
	return dataID(w.t, a)
}

// identifiers are resource identifiers in JSON, without the brackets.
func identifiers(kind string, ids ...string) string {
	list := make([]string, len(ids))
	for n, id := range ids {
		list[n] = `{"type":"` + kind + `","id":"` + id + `"}`
	}
	return strings.Join(list, ",")
}

// actions are what acme's audit chain tells of a subject, the oldest first.
func (w *world) actions(subject string) []string {
	w.t.Helper()
	entries, _, err := w.store.AuditTrail(w.t.Context(), polset.Principal{Actor: "cli", OrganizationID: w.acmeID}, epoch, polset.Page{Number: 1, Size: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	var told []string
	for _, e := range slices.Backward(entries) {
		if e.Subject == subject {
			told = append(told, strings.TrimSpace(strings.TrimPrefix(e.Action, "policy-set.")+" "+e.Details["relation"]+" "+e.Details["members"]))
		}
	}
	return told
}

// The official client adds and removes members of every relation.
func TestMembersOfOfficialClient(t *testing.T) {
	w := newWorld(t)
	client, ctx := w.client(w.acme), t.Context()
	first, second := w.guarded("acme", "first"), w.guarded("acme", "second")
	red, blue := w.grouping("acme", "red"), w.grouping("acme", "blue")
	rule, law := w.ruling("acme", "rule", polset.KindSentinel), w.ruling("acme", "law", polset.KindSentinel)
	policies := []*tfe.Policy{{ID: rule.ID}, {ID: law.ID}}
	// Whole resources, as they came from the server: the client sends them back.
	workspaces := []*tfe.Workspace{{ID: first.ID, Name: "not what it is called", CreatedAt: epoch, Organization: &tfe.Organization{Name: "evilcorp"}}, {ID: second.ID}}
	projects := []*tfe.Project{{ID: red.ID, Name: "red"}, {ID: blue.ID}}
	ids := func(set *tfe.PolicySet, relation string) (got []string, count int) {
		switch relation {
		case "policies":
			for _, p := range set.Policies {
				got = append(got, p.ID)
			}
			return got, set.PolicyCount
		case "workspaces", "workspace-exclusions":
			list, count := set.Workspaces, set.WorkspaceCount
			if relation == "workspace-exclusions" {
				list, count = set.WorkspaceExclusions, len(set.WorkspaceExclusions)
			}
			for _, w := range list {
				got = append(got, w.ID)
			}
			return got, count
		}
		list, count := set.Projects, set.ProjectCount
		if relation == "project-exclusions" {
			list, count = set.ProjectExclusions, len(set.ProjectExclusions)
		}
		for _, p := range list {
			got = append(got, p.ID)
		}
		return got, count
	}
	for _, c := range []struct {
		relation    string
		global      bool
		want        []string
		add, remove func(set string) error
	}{
		{
			"policies", false,
			[]string{rule.ID, law.ID},
			func(set string) error {
				return client.PolicySets.AddPolicies(ctx, set, tfe.PolicySetAddPoliciesOptions{Policies: policies})
			},
			func(set string) error {
				return client.PolicySets.RemovePolicies(ctx, set, tfe.PolicySetRemovePoliciesOptions{Policies: policies})
			},
		},
		{
			"workspaces", false,
			[]string{first.ID, second.ID},
			func(set string) error {
				return client.PolicySets.AddWorkspaces(ctx, set, tfe.PolicySetAddWorkspacesOptions{Workspaces: workspaces})
			},
			func(set string) error {
				return client.PolicySets.RemoveWorkspaces(ctx, set, tfe.PolicySetRemoveWorkspacesOptions{Workspaces: workspaces})
			},
		},
		{
			"workspace-exclusions", false,
			[]string{first.ID, second.ID},
			func(set string) error {
				return client.PolicySets.AddWorkspaceExclusions(ctx, set, tfe.PolicySetAddWorkspaceExclusionsOptions{WorkspaceExclusions: workspaces})
			},
			func(set string) error {
				return client.PolicySets.RemoveWorkspaceExclusions(ctx, set, tfe.PolicySetRemoveWorkspaceExclusionsOptions{WorkspaceExclusions: workspaces})
			},
		},
		{
			"projects", false,
			[]string{red.ID, blue.ID},
			func(set string) error {
				return client.PolicySets.AddProjects(ctx, set, tfe.PolicySetAddProjectsOptions{Projects: projects})
			},
			func(set string) error {
				return client.PolicySets.RemoveProjects(ctx, set, tfe.PolicySetRemoveProjectsOptions{Projects: projects})
			},
		},
		{
			"project-exclusions", true,
			[]string{red.ID, blue.ID},
			func(set string) error {
				return client.PolicySets.AddProjectExclusions(ctx, set, tfe.PolicySetAddProjectExclusionsOptions{ProjectExclusions: projects})
			},
			func(set string) error {
				return client.PolicySets.RemoveProjectExclusions(ctx, set, tfe.PolicySetRemoveProjectExclusionsOptions{ProjectExclusions: projects})
			},
		},
	} {
		t.Run(c.relation, func(t *testing.T) {
			set, err := client.PolicySets.Create(ctx, "acme", tfe.PolicySetCreateOptions{Name: tfe.String("of-" + c.relation), Global: tfe.Bool(c.global)})
			if err != nil {
				t.Fatal(err)
			}
			read := func() *tfe.PolicySet {
				t.Helper()
				got, err := client.PolicySets.Read(ctx, set.ID)
				if err != nil {
					t.Fatal(err)
				}
				return got
			}
			for range 2 { // to add what is there, and to remove what is not, changes nothing
				if err := c.add(set.ID); err != nil {
					t.Fatal(err)
				}
				got := read()
				if ids, count := ids(got, c.relation); !slices.Equal(ids, c.want) || count != 2 {
					t.Fatalf("%d: %q, want %q", count, ids, c.want)
				}
			}
			var docs []string
			for _, path := range []string{"/policy-sets/" + set.ID, sets + "?search[name]=of-" + c.relation} {
				a := w.ask(w.acme, http.MethodGet, path, "")
				var doc struct{ Data json.RawMessage }
				if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
					t.Fatal(err, a.body)
				}
				docs = append(docs, strings.Trim(string(doc.Data), "[]"))
			}
			if docs[0] != docs[1] {
				t.Errorf("shown and listed differ: %s", cmp.Diff(docs[0], docs[1]))
			}
			for range 2 {
				if err := c.remove(set.ID); err != nil {
					t.Fatal(err)
				}
			}
			if ids, count := ids(read(), c.relation); len(ids) != 0 || count != 0 {
				t.Fatalf("left: %d, %q", count, ids)
			}
			want := []string{"created", "members-added " + c.relation + " " + strings.Join(c.want, " "), "members-removed " + c.relation + " " + strings.Join(c.want, " ")}
			if got := w.actions(set.ID); !slices.Equal(got, want) {
				t.Errorf("the audit chain tells %q, want %q", got, want)
			}
		})
	}
}

// A set is made with everything, and what its members are goes along when asked.
func TestIncludedMembers(t *testing.T) {
	w := newWorld(t)
	client, ctx := w.client(w.acme), t.Context()
	in, out := w.guarded("acme", "in"), w.guarded("acme", "out")
	red, blue := w.grouping("acme", "red"), w.grouping("acme", "blue")
	rule := w.ruling("acme", "rule", polset.KindSentinel)
	made, err := client.PolicySets.Create(ctx, "acme", tfe.PolicySetCreateOptions{
		Name: tfe.String("populated"), Policies: []*tfe.Policy{{ID: rule.ID}}, Workspaces: []*tfe.Workspace{{ID: in.ID}},
		WorkspaceExclusions: []*tfe.Workspace{{ID: out.ID}}, Projects: []*tfe.Project{{ID: red.ID}}, ProjectExclusions: []*tfe.Project{{ID: blue.ID}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if made.PolicyCount != 1 || made.WorkspaceCount != 1 || made.ProjectCount != 1 || made.Policies[0].ID != rule.ID ||
		made.Workspaces[0].ID != in.ID || made.WorkspaceExclusions[0].ID != out.ID || made.Projects[0].ID != red.ID || made.ProjectExclusions[0].ID != blue.ID {
		t.Fatalf("made %+v", made)
	}
	list, err := client.PolicySets.List(ctx, "acme", nil)
	if err != nil || len(list.Items) != 1 {
		t.Fatal(err, list)
	}
	if diff := cmp.Diff(made, list.Items[0]); diff != "" {
		t.Errorf("created and listed differ: %s", diff)
	}
	all := []tfe.PolicySetIncludeOpt{
		tfe.PolicySetPolicies, tfe.PolicySetWorkspaces, tfe.PolicySetProjects, tfe.PolicySetWorkspaceExclusions,
		tfe.PolicySetProjectExclusions, tfe.PolicySetCurrentVersion, tfe.PolicySetNewestVersion,
	}
	shown, err := client.PolicySets.ReadWithOptions(ctx, made.ID, &tfe.PolicySetReadOptions{Include: all})
	if err != nil {
		t.Fatal(err)
	}
	listed, err := client.PolicySets.List(ctx, "acme", &tfe.PolicySetListOptions{Include: all})
	if err != nil {
		t.Fatal(err)
	}
	for name, set := range map[string]*tfe.PolicySet{"shown": shown, "listed": listed.Items[0]} {
		if got := set.Workspaces[0]; got.Name != "in" || !got.CreatedAt.Equal(in.CreatedAt.Truncate(1e6)) || got.Description != "guarded" {
			t.Errorf("%s: workspace %+v", name, got)
		}
		if got := set.WorkspaceExclusions[0]; got.Name != "out" || !got.CreatedAt.Equal(out.CreatedAt.Truncate(1e6)) {
			t.Errorf("%s: workspace exclusion %+v", name, got)
		}
		if set.Projects[0].Name != "red" || set.ProjectExclusions[0].Name != "blue" || set.Policies[0].Name != "rule" {
			t.Errorf("%s: %+v %+v %+v", name, set.Projects[0], set.ProjectExclusions[0], set.Policies[0])
		}
	}
	a := w.ask(w.acme, http.MethodGet, "/policy-sets/"+made.ID+"?include=workspace-exclusions,project_exclusions,policies", "")
	var doc struct{ Included []struct{ Type, ID string } }
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range doc.Included {
		got = append(got, r.Type+" "+r.ID)
	}
	if want := []string{"policies " + rule.ID, "workspaces " + out.ID, "projects " + blue.ID}; !slices.Equal(got, want) {
		t.Errorf("included %q, want %q", got, want)
	}

	// What goes away is no member any more, and is not in the way.
	for _, remove := range []func() error{
		func() error { return w.store.DeleteWorkspace(ctx, polset.System, in.ID) },
		func() error { return w.store.DeletePolicy(ctx, polset.System, rule.ID) },
		func() error { return w.store.DeleteProject(ctx, polset.System, red.ID) },
	} {
		if err := remove(); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := client.PolicySets.ReadWithOptions(ctx, made.ID, &tfe.PolicySetReadOptions{Include: all}); err != nil ||
		got.PolicyCount+got.WorkspaceCount+got.ProjectCount != 0 || len(got.WorkspaceExclusions) != 1 {
		t.Errorf("%v %+v", err, got)
	}
}

// PATCH replaces whole relations, and leaves alone what it does not name.
func TestMembersByUpdate(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.guarded("acme", "a"), w.guarded("acme", "b"), w.guarded("acme", "c")
	id := w.setOf("net", "", `"workspaces":{"data":[`+identifiers("workspaces", a.ID, b.ID)+`]},"workspace-exclusions":{"data":[`+identifiers("workspaces", c.ID)+`]}`)
	patch := func(relationships string) answer {
		return w.ask(w.acme, http.MethodPatch, "/policy-sets/"+id, `{"data":{"type":"policy-sets","relationships":{`+relationships+`}}}`)
	}
	for _, step := range []struct {
		relationships string
		want          []string
	}{
		{`"workspaces":{"data":[` + identifiers("workspaces", b.ID, c.ID, c.ID) + `]}`, []string{b.ID, c.ID}},
		{``, []string{b.ID, c.ID}},
		{`"workspaces":{"data":[]}`, nil},
	} {
		if got := patch(step.relationships); got.status != http.StatusOK {
			t.Fatal(got.body)
		}
		set, err := w.store.PolicySet(t.Context(), polset.System, id)
		if err != nil || !slices.Equal(set.Members.Workspaces, step.want) || !slices.Equal(set.Members.WorkspaceExclusions, []string{c.ID}) {
			t.Fatalf("%v: %+v after %s", err, set.Members, step.relationships)
		}
	}
	want := []string{
		"created", "members-added workspaces " + a.ID + " " + b.ID, "members-added workspace-exclusions " + c.ID,
		"members-removed workspaces " + a.ID, "members-added workspaces " + c.ID, "members-removed workspaces " + b.ID + " " + c.ID,
	}
	if got := w.actions(id); !slices.Equal(got, want) {
		t.Errorf("the audit chain tells %q, want %q", got, want)
	}
}

// What cannot be a member is refused at its place, the same whether it is
// nobody's or somebody else's, and nothing is done by half.
func TestRefusedMembers(t *testing.T) {
	w := newWorld(t)
	mine, theirs := w.guarded("acme", "mine"), w.guarded("evilcorp", "theirs")
	id := w.setOf("net", "", "")
	rego := w.ruling("acme", "rego", polset.KindOPA)
	foreign := map[string]string{
		"policies": w.ruling("evilcorp", "p", polset.KindSentinel).ID, "workspaces": theirs.ID, "projects": w.grouping("evilcorp", "p").ID,
		"workspace-exclusions": theirs.ID, "project-exclusions": w.grouping("evilcorp", "q").ID,
	}
	kind := func(relation string) string {
		switch {
		case strings.HasPrefix(relation, "workspace"):
			return "workspaces"
		case strings.HasPrefix(relation, "project"):
			return "projects"
		}
		return relation
	}
	before := w.everything(t)
	for relation, theirs := range foreign {
		prefix, _, _ := strings.Cut(theirs, "-")
		missing := prefix + "-0000000000009999"
		for _, token := range []string{w.acme, admin} { // not even the site admin may mix them
			for _, c := range []struct{ name, method, path, body, pointer string }{
				{"POST", "POST", "/policy-sets/" + id + "/relationships/" + relation, `{"data":[%s]}`, "/data/0"},
				{"PATCH", "PATCH", "/policy-sets/" + id, `{"data":{"type":"policy-sets","attributes":{"description":"x"},"relationships":{"` + relation + `":{"data":[%s]}}}}`, "/data/relationships/" + relation + "/data/0"},
				{"create", "POST", sets, `{"data":{"type":"policy-sets","attributes":{"name":"new"},"relationships":{"` + relation + `":{"data":[%s]}}}}`, "/data/relationships/" + relation + "/data/0"},
			} {
				t.Run("case 80 "+relation+" "+c.name, func(t *testing.T) {
					ask := func(id string) answer {
						return w.ask(token, c.method, c.path, fmt.Sprintf(c.body, identifiers(kind(relation), id)))
					}
					got, absent := ask(theirs), ask(missing)
					refused(t, got, http.StatusUnprocessableEntity, c.pointer)
					if got.body != absent.body {
						t.Errorf("foreign: %s\nmissing: %s", got.body, absent.body)
					}
				})
			}
		}
		if a := w.ask(w.acme, "DELETE", "/policy-sets/"+id+"/relationships/"+relation, `{"data":[`+identifiers(kind(relation), theirs)+`]}`); a.status != http.StatusNoContent {
			t.Errorf("to remove what is no member: %d %s", a.status, a.body)
		}
	}
	path := "/policy-sets/" + id + "/relationships/workspaces"
	for _, c := range []struct {
		name, path, body string
		status           int
		pointer          string
	}{
		{"the second of two", path, `{"data":[` + identifiers("workspaces", mine.ID, theirs.ID) + `]}`, 422, "/data/1"},
		{"an id that none can have", path, `{"data":[` + identifiers("workspaces", "a/b") + `]}`, 422, "/data/0"},
		{"no id", path, `{"data":[{"type":"workspaces"}]}`, 422, "/data/0"},
		{"another type", path, `{"data":[` + identifiers("workspaces", mine.ID) + "," + identifiers("projects", mine.ID) + `]}`, 422, "/data/1/type"},
		{"no list", path, `{"data":` + identifiers("workspaces", mine.ID) + `}`, 422, "/data"},
		{"null", path, `{"data":null}`, 422, "/data"},
		{"an id that is a number", path, `{"data":[{"type":"workspaces","id":7}]}`, 422, "/data"},
		{"too many", path, `{"data":[` + identifiers("workspaces", slices.Repeat([]string{mine.ID}, 1001)...) + `]}`, 422, "/data"},
		{"a policy of another kind", "/policy-sets/" + id + "/relationships/policies", `{"data":[` + identifiers("policies", rego.ID) + `]}`, 422, "/data/0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, w.ask(w.acme, "POST", c.path, c.body), c.status, c.pointer)
		})
	}
	for name, relationship := range map[string]string{"null": `null`, "no data": `{}`, "data is null": `{"data":null}`} {
		t.Run("a relation that clears nothing: "+name, func(t *testing.T) {
			a := w.ask(w.acme, "PATCH", "/policy-sets/"+id, `{"data":{"type":"policy-sets","relationships":{"workspaces":`+relationship+`}}}`)
			if problemsOf(t, a, http.StatusUnprocessableEntity); !strings.Contains(a.body, "/data/relationships/workspaces") {
				t.Error(a.body)
			}
		})
	}
	if diff := cmp.Diff(before, w.everything(t)); diff != "" {
		t.Errorf("something was changed: %s", diff)
	}
}

// go-tfe sends whole resources: a hundred of several KB, and more than a
// megabyte, are taken; a body beyond the limit is told it.
func TestLargeMembers(t *testing.T) {
	w := newWorld(t)
	id := w.setOf("net", "", "")
	var elements []string
	for n := range 100 {
		elements = append(elements, `{"type":"workspaces","id":"`+w.guarded("acme", fmt.Sprint("ws", n)).ID+`","attributes":{"description":"`+strings.Repeat("x", 16<<10)+`"}}`)
	}
	path := "/policy-sets/" + id + "/relationships/workspaces"
	if a := w.ask(w.acme, "POST", path, `{"data":[`+strings.Join(elements, ",")+`]}`); a.status != http.StatusNoContent {
		t.Fatal(a.body)
	}
	a := w.ask(w.acme, "POST", path, `{"data":[],"x":"`+strings.Repeat("x", 8<<20)+`"}`)
	if p := problemsOf(t, a, http.StatusRequestEntityTooLarge)[0]; !strings.Contains(p.Detail, "8388608") {
		t.Error(a.body)
	}
	set, err := w.store.PolicySet(t.Context(), polset.System, id)
	if err != nil || len(set.Members.Workspaces) != 100 {
		t.Errorf("%v: %d members", err, len(set.Members.Workspaces))
	}
}

// What a set cannot be at once is refused where the request brings it.
func TestContradictions(t *testing.T) {
	w := newWorld(t)
	ws, prj, rule := w.guarded("acme", "ws").ID, w.grouping("acme", "prj").ID, w.ruling("acme", "rule", polset.KindSentinel).ID
	client, err := w.store.CreateConnection(t.Context(), polset.System, polset.ConnectionDraft{
		Organization: "acme", ServiceProvider: "github", HTTPURL: "https://github.com", APIURL: "https://api.github.com", Token: polset.NewSecret("ghp_x"),
	})
	if err != nil {
		t.Fatal(err)
	}
	follow := `"vcs-repo":{"identifier":"acme/policies","oauth-token-id":"` + client.TokenID + `"}`
	const selectors, exclusion = `"tag-selectors":[{"tag-key":"env","tag-value":null,"is-exclude":false}]`, `"tag-selectors":[{"tag-key":"env","tag-value":null,"is-exclude":true}]`
	workspaces, projects := `"workspaces":{"data":[`+identifiers("workspaces", ws)+`]}`, `"projects":{"data":[`+identifiers("projects", prj)+`]}`
	policies := `"policies":{"data":[` + identifiers("policies", rule) + `]}`
	document := func(name, attributes, relationships string) string {
		return `{"data":{"type":"policy-sets","attributes":{"name":"` + name + `"` + attributes + `},"relationships":{` + relationships + `}}}`
	}
	for n, c := range []struct{ attributes, relationships, pointer string }{
		{follow, policies, "/data/relationships/policies/data"},
		{`"global":true`, workspaces, "/data/relationships/workspaces/data"},
		{`"global":true`, projects, "/data/relationships/projects/data"},
		{`"global":true,` + selectors, "", "/data/attributes/tag-selectors"},
		{selectors, workspaces, "/data/relationships/workspaces/data"},
		{exclusion, projects, "/data/relationships/projects/data"},
	} {
		refused(t, w.ask(w.acme, "POST", sets, document(fmt.Sprint("no", n), ","+c.attributes, c.relationships)), http.StatusUnprocessableEntity, c.pointer)
	}
	for n, c := range []struct{ made, related, method, path, body, pointer string }{
		{"", policies, "PATCH", "", document("%s", ","+follow, ""), "/data/attributes/vcs-repo"},
		{"", workspaces, "PATCH", "", document("%s", `,"global":true`, ""), "/data/attributes/global"},
		{selectors, "", "PATCH", "", document("%s", `,"global":true`, ""), "/data/attributes/global"},
		{follow, "", "POST", "/relationships/policies", `{"data":[` + identifiers("policies", rule) + `]}`, "/data"},
		{`"global":true`, "", "POST", "/relationships/workspaces", `{"data":[` + identifiers("workspaces", ws) + `]}`, "/data"},
		{selectors, "", "POST", "/relationships/projects", `{"data":[` + identifiers("projects", prj) + `]}`, "/data"},
		{"", workspaces, "POST", "/tag-selectors", `{"data":[{"tag-key":"env","tag-value":null,"is-exclude":false}]}`, "/data"},
		{`"global":true`, "", "POST", "/tag-selectors", `{"data":[{"tag-key":"env","is-exclude":false}]}`, "/data"},
	} {
		name := fmt.Sprint("set", n)
		id := w.setOf(name, c.made, c.related)
		before := w.everything(t)
		refused(t, w.ask(w.acme, c.method, "/policy-sets/"+id+c.path, strings.ReplaceAll(c.body, "%s", name)), http.StatusUnprocessableEntity, c.pointer)
		if diff := cmp.Diff(before, w.everything(t)); diff != "" {
			t.Errorf("case %d changed something: %s", n, diff)
		}
	}
	// One request may take away what stands in the way.
	for n, c := range []struct{ made, related, attributes, relationships string }{
		{"", policies, follow, `"policies":{"data":[]}`},
		{"", workspaces, `"global":true`, `"workspaces":{"data":[]}`},
		{selectors, "", `"global":true,"tag-selectors":[]`, ""},
		{selectors, "", `"tag-selectors":null`, workspaces},
		{"", workspaces, selectors, `"workspaces":{"data":[]}`},
		{`"global":true`, "", `"global":false`, workspaces},
	} {
		name := fmt.Sprint("moves", n)
		id := w.setOf(name, c.made, c.related)
		if a := w.ask(w.acme, "PATCH", "/policy-sets/"+id, document(name, ","+c.attributes, c.relationships)); a.status != http.StatusOK {
			t.Errorf("%d: %s", n, a.body)
		}
	}
	// Exclusions go with every scope.
	exclusions := `"workspace-exclusions":{"data":[` + identifiers("workspaces", ws) + `]},"project-exclusions":{"data":[` + identifiers("projects", prj) + `]}`
	for n, attributes := range []string{"", `"global":true`, selectors, `"global":true,` + exclusion} {
		w.setOf(fmt.Sprint("excludes", n), attributes, exclusions)
	}
}

// A counter counts the calls that includes make.
type counter struct {
	api.Related
	versionsOf
	calls int
}

// versionsOf is api.Versions under a name that is none of its methods'.
type versionsOf interface{ api.Versions }

func (c *counter) PoliciesByID(ctx context.Context, by polset.Principal, ids []string) ([]polset.Policy, error) {
	c.calls++
	return c.Related.PoliciesByID(ctx, by, ids)
}

func (c *counter) WorkspacesByID(ctx context.Context, by polset.Principal, ids []string) ([]polset.Workspace, error) {
	c.calls++
	return c.Related.WorkspacesByID(ctx, by, ids)
}

func (c *counter) ProjectsByID(ctx context.Context, by polset.Principal, ids []string) ([]polset.Project, error) {
	c.calls++
	return c.Related.ProjectsByID(ctx, by, ids)
}

func (c *counter) VersionsByID(ctx context.Context, by polset.Principal, ids []string) ([]polset.Version, error) {
	c.calls++
	return c.versionsOf.VersionsByID(ctx, by, ids)
}

// The store is asked once for each type, however many sets are listed; what one
// call costs it, TestStatementsOfLists counts.
func TestIncludesAskOnce(t *testing.T) {
	var c counter
	w := newWorld(t, func(cfg *api.Config) {
		c = counter{Related: cfg.Related, versionsOf: cfg.Versions}
		cfg.Related, cfg.Versions = &c, &c
	})
	for n := range 25 {
		name := fmt.Sprint("n", n)
		relations := `"policies":{"data":[` + identifiers("policies", w.ruling("acme", name, polset.KindSentinel).ID) + `]},
			"workspaces":{"data":[` + identifiers("workspaces", w.guarded("acme", name).ID) + `]},
			"projects":{"data":[` + identifiers("projects", w.grouping("acme", name).ID) + `]}`
		w.setOf(name, "", relations)
	}
	for _, size := range []string{"1", "25"} {
		c.calls = 0
		a := w.ask(w.acme, "GET", sets+"?page[size]="+size+"&include=policies,workspaces,projects,workspace_exclusions,project_exclusions,current_version,newest_version", "")
		if a.status != http.StatusOK || c.calls != 3 {
			t.Errorf("a page of %s: %d calls, %d", size, c.calls, a.status)
		}
		var doc struct{ Included []any }
		if err := json.Unmarshal([]byte(a.body), &doc); err != nil || fmt.Sprint(len(doc.Included)/3) != size {
			t.Errorf("a page of %s includes %d resources (%v)", size, len(doc.Included), err)
		}
	}
}
