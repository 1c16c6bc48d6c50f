package api_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	tfe "github.com/hashicorp/go-tfe"
)

var _ = probe("PATCH /organizations/:organization", `{"data":{"type":"organizations","attributes":{"email":"new@ops.example"}}}`)

func TestOrganizations(t *testing.T) {
	w := newWorld(t)
	site, ctx := w.client(admin), t.Context()

	org, err := site.Organizations.Create(ctx, tfe.OrganizationCreateOptions{
		Name: tfe.String("tst-1"), Email: tfe.String("a@b.example"), CostEstimationEnabled: tfe.Bool(true), StacksEnabled: tfe.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	if !org.CostEstimationEnabled || !org.StacksEnabled || org.DefaultProject == nil || org.DefaultExecutionMode != "remote" ||
		org.CollaboratorAuthPolicy != tfe.AuthPolicyPassword || !org.SpeculativePlanManagementEnabled || !org.Permissions.CanUpdate || org.SessionTimeout != 0 {
		t.Errorf("organization %+v", org)
	}
	read, err := site.Organizations.Read(ctx, "tst-1")
	if diff := cmp.Diff(org, read); err != nil || diff != "" {
		t.Errorf("read: %v %s", err, diff)
	}
	list, err := site.Organizations.List(ctx, &tfe.OrganizationListOptions{})
	if err != nil || list.TotalCount != 3 || !cmp.Equal(list.Items[2], org) {
		t.Errorf("list: %v %s", err, cmp.Diff(org, list.Items[2]))
	}
	with, err := site.Organizations.ReadWithOptions(ctx, "tst-1", tfe.OrganizationReadOptions{Include: []tfe.OrganizationIncludeOpt{tfe.OrganizationDefaultProject}})
	if err != nil || with.DefaultProject.ID != org.DefaultProject.ID || with.DefaultProject.Name != "Default Project" {
		t.Errorf("read with its project: %v %+v", err, with.DefaultProject)
	}

	t.Run("what the provider sends comes back", func(t *testing.T) {
		changed, err := site.Organizations.Update(ctx, "tst-1", tfe.OrganizationUpdateOptions{
			Name: tfe.String("tst-1"), Email: tfe.String("c@d.example"), SessionTimeout: tfe.Int(30), SessionRemember: tfe.Int(60),
			CollaboratorAuthPolicy: tfe.AuthPolicy(tfe.AuthPolicyTwoFactor), OwnersTeamSAMLRoleID: tfe.String("owners"),
			CostEstimationEnabled: tfe.Bool(false), SendPassingStatusesForUntriggeredSpeculativePlans: tfe.Bool(true),
			AggregatedCommitStatusEnabled: tfe.Bool(false), SpeculativePlanManagementEnabled: tfe.Bool(false), AssessmentsEnforced: tfe.Bool(true),
			AllowForceDeleteWorkspaces: tfe.Bool(true), DefaultExecutionMode: tfe.String("local"), UserTokensEnabled: tfe.Bool(false), MaxTTLEnabled: tfe.Bool(true),
		})
		if err != nil {
			t.Fatal(err)
		}
		want := *org
		want.Email, want.SessionTimeout, want.SessionRemember = "c@d.example", 30, 60
		want.CollaboratorAuthPolicy, want.OwnersTeamSAMLRoleID = tfe.AuthPolicyTwoFactor, "owners"
		want.CostEstimationEnabled, want.SendPassingStatusesForUntriggeredSpeculativePlans = false, true
		want.AggregatedCommitStatusEnabled, want.SpeculativePlanManagementEnabled, want.AssessmentsEnforced = false, false, true
		want.AllowForceDeleteWorkspaces, want.DefaultExecutionMode, want.UserTokensEnabled, want.MaxTTLEnabled = true, "local", tfe.Bool(false), true
		if diff := cmp.Diff(&want, changed); diff != "" {
			t.Error(diff)
		}
		// An update of one thing leaves the others.
		changed, err = site.Organizations.Update(ctx, "tst-1", tfe.OrganizationUpdateOptions{Email: tfe.String("e@f.example")})
		want.Email = "e@f.example"
		if diff := cmp.Diff(&want, changed); err != nil || diff != "" {
			t.Error(err, diff)
		}
	})

	t.Run("a name may change, and the old one is free", func(t *testing.T) {
		if _, err := site.Organizations.Update(ctx, "tst-1", tfe.OrganizationUpdateOptions{Name: tfe.String("acme")}); err == nil {
			t.Error("a name was taken twice")
		}
		renamed, err := site.Organizations.Update(ctx, "tst-1", tfe.OrganizationUpdateOptions{Name: tfe.String("tst-2")})
		if err != nil || renamed.Name != "tst-2" || renamed.ExternalID != org.ExternalID {
			t.Fatalf("%v %+v", err, renamed)
		}
		if _, err := site.Organizations.Read(ctx, "tst-1"); !errors.Is(err, tfe.ErrResourceNotFound) {
			t.Errorf("the old name: %v", err)
		}
		project, err := site.Projects.Read(ctx, org.DefaultProject.ID)
		if err != nil || project.Organization.Name != "tst-2" {
			t.Errorf("%v %+v", err, project)
		}
		if _, err := site.Organizations.Create(ctx, tfe.OrganizationCreateOptions{Name: tfe.String("tst-1"), Email: tfe.String("a@b.example")}); err != nil {
			t.Error(err)
		}
	})

	entitlements, err := site.Organizations.ReadEntitlements(ctx, "acme")
	if err != nil || entitlements.ID != w.acmeID || !entitlements.Sentinel || !entitlements.VCSIntegrations || entitlements.StateStorage {
		t.Errorf("%v %+v", err, entitlements)
	}
	stacks, err := site.Stacks.List(ctx, "acme", &tfe.StackListOptions{ListOptions: tfe.ListOptions{PageSize: 100}})
	if err != nil || len(stacks.Items) != 0 || stacks.TotalPages != 1 {
		t.Errorf("%v %+v", err, stacks)
	}
	if err := site.Organizations.Delete(ctx, "tst-2"); err != nil {
		t.Error(err)
	}
}

func TestOrganizationsHostile(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name, attributes string
		status           int
		pointer          string
	}{
		{"a name that no URL holds", `"name":"a/b"`, 422, "/data/attributes/name"},
		{"a name of nothing", `"name":null`, 422, "/data/attributes/name"},
		{"another's name", `"name":"evilcorp"`, 422, "/data/attributes/name"},
		{"a mode that nothing runs in", `"default-execution-mode":"magic"`, 422, "/data/attributes/default-execution-mode"},
		{"agents", `"default-execution-mode":"agent"`, 422, "/data/attributes/default-execution-mode"},
		{"a text for a boolean", `"cost-estimation-enabled":"yes"`, 422, "/data/attributes/cost-estimation-enabled"},
		{"a fraction of minutes", `"session-timeout":1.5`, 422, "/data/attributes/session-timeout"},
		{"no minutes", `"session-timeout":0`, 422, "/data/attributes/session-timeout"},
		{"more minutes than there are", `"session-timeout":99999999999999999999`, 422, "/data/attributes/session-timeout"},
		{"an unknown policy", `"collaborator-auth-policy":"none"`, 422, "/data/attributes/collaborator-auth-policy"},
		{"no e-mail address", `"email":"nobody"`, 422, "/data/attributes/email"},
	} {
		t.Run("case 85 "+c.name, func(t *testing.T) {
			refused(t, w.ask(admin, "PATCH", "/organizations/acme", `{"data":{"type":"organizations","attributes":{`+c.attributes+`}}}`), c.status, c.pointer)
		})
	}
	t.Run("case 85 an agent pool", func(t *testing.T) {
		refused(t, w.ask(admin, "PATCH", "/organizations/acme", `{"data":{"type":"organizations","relationships":{"default-agent-pool":{"data":{"type":"agent-pools","id":"apool-1"}}}}}`),
			422, "/data/relationships/default-agent-pool")
	})
	t.Run("case 85 what nobody knows is ignored, and null takes a setting back", func(t *testing.T) {
		set := `{"data":{"type":"organizations","attributes":{"session-timeout":5,"cost-estimation-enabled":true,"unheard-of":{"a":[1]},"Session-Remember":7}}}`
		if a := w.ask(admin, "PATCH", "/organizations/acme", set); a.status != http.StatusOK {
			t.Fatal(a.body)
		}
		back := `{"data":{"type":"organizations","attributes":{"session-timeout":null,"cost-estimation-enabled":null}}}`
		if a := w.ask(admin, "PATCH", "/organizations/acme", back); a.status != http.StatusOK {
			t.Fatal(a.body)
		}
		org, err := w.client(admin).Organizations.Read(t.Context(), "acme")
		if err != nil || org.SessionTimeout != 0 || org.SessionRemember != 0 || org.CostEstimationEnabled {
			t.Errorf("%v %+v", err, org)
		}
	})
	t.Run("case 86 an organization's token changes no organization", func(t *testing.T) {
		for _, token := range []string{w.acme, w.evil, w.guest} {
			problemsOf(t, w.ask(token, "PATCH", "/organizations/acme", `{"data":{"type":"organizations","attributes":{"email":"x@y.example"}}}`), 404)
		}
	})
}
