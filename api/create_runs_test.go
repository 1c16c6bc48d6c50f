package api_test

import (
	"net/http"
	"slices"
	"testing"

	tfe "github.com/hashicorp/go-tfe"

	"github.com/polset/polset"
)

// TestCreateRunsOnly: what a CI job holds has plans checked, and moves nothing
// that checks them out of the way.
func TestCreateRunsOnly(t *testing.T) {
	w := newWorld(t)
	set := w.uploadable("net")
	workspace := workspaceOf(t, w.client(w.acme), "acme", "net")
	job := w.token(w.acmeID, polset.PermissionCreateRuns)
	client := w.client(job)

	read, err := client.Workspaces.ReadByID(t.Context(), workspace.ID)
	if err != nil || !read.Permissions.CanQueueRun || read.Permissions.CanUpdate {
		t.Fatalf("the workspace's permissions are %+v, %v", read.Permissions, err)
	}
	c, err := client.ConfigurationVersions.Create(t.Context(), workspace.ID, tfe.ConfigurationVersionCreateOptions{AutoQueueRuns: tfe.Bool(false)})
	if err != nil || c.UploadURL == "" {
		t.Fatalf("%+v, %v", c, err)
	}
	if a := w.put(c.UploadURL, packed(t, map[string]string{"tfplan.json": `{"planned_values": {}}`})); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	run, err := client.Runs.Create(t.Context(), tfe.RunCreateOptions{Workspace: workspace, ConfigurationVersion: c})
	if err != nil || !run.Permissions.CanCancel {
		t.Fatalf("%+v, %v", run, err)
	}
	if err := client.Runs.Discard(t.Context(), run.ID, tfe.RunDiscardOptions{}); err != nil {
		t.Error(err)
	}

	// What manages policies creates runs too, and what only reads does not.
	if !(polset.Principal{OrganizationID: "org-1", Permissions: []polset.Permission{polset.PermissionManagePolicies}}).Can(polset.PermissionCreateRuns) {
		t.Error("who manages policies creates no runs")
	}
	if a := w.ask(w.guest, http.MethodPost, "/workspaces/"+workspace.ID+"/configuration-versions", ""); a.status != http.StatusNotFound && a.status != http.StatusForbidden {
		t.Errorf("a reader made a configuration version: %d %s", a.status, a.body)
	}

	for _, refused := range [][2]string{
		{http.MethodPatch, "/policy-sets/" + set},
		{http.MethodDelete, "/policy-sets/" + set},
		{http.MethodPost, "/policy-sets/" + set + "/versions"},
		{http.MethodPost, "/policy-sets/" + set + "/relationships/workspace-exclusions"},
		{http.MethodPost, "/policy-sets/" + set + "/parameters"},
		{http.MethodPatch, "/workspaces/" + workspace.ID},
		{http.MethodPatch, "/workspaces/" + workspace.ID + "/tag-bindings"},
		{http.MethodPost, "/organizations/acme/policies"},
		{http.MethodPost, "/policy-checks/polchk-0123456789abcdef/actions/override"},
		{http.MethodPost, "/task-stages/ts-0123456789abcdef/actions/override"},
	} {
		may := w.ask(w.guest, refused[0], refused[1], "{}")
		if a := w.ask(job, refused[0], refused[1], "{}"); a.status != may.status || !slices.Contains([]int{http.StatusNotFound, http.StatusForbidden}, a.status) {
			t.Errorf("%v: %d %s, and a reader gets %d", refused, a.status, a.body, may.status)
		}
	}
}
