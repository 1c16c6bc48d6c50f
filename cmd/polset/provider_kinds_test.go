package main_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"

	"github.com/hashicorp/go-tfe"
)

// gone is nil for what is not there, and for what was.
func gone(err error) error {
	if errors.Is(err, tfe.ErrResourceNotFound) {
		return nil
	}
	return err
}

func (a attributes) text(name string) string {
	s, _ := a[name].(string)
	return s
}

func (a attributes) flag(name string) bool {
	b, _ := a[name].(bool)
	return b
}

// given is a text that is sent only if it is there.
func (a attributes) given(name string) *string {
	if a.text(name) == "" {
		return nil
	}
	return tfe.String(a.text(name))
}

// kinds are what the examples use.
var kinds = map[string]kind{
	"tfe_organization": {
		required: []string{"name", "email"},
		defaults: attributes{
			"collaborator_auth_policy": "password", "allow_force_delete_workspaces": false, "speculative_plan_management_enabled": true,
			"user_tokens_enabled": true, "enforce_hyok": false, "max_ttl_enabled": false,
		},
		computed: []string{"cost_estimation_enabled", "send_passing_statuses", "aggregated_commit_status_enabled", "default_project_id"},
		create: func(p *provider, want attributes) (string, error) {
			o, err := p.Organizations.Create(p.ctx, tfe.OrganizationCreateOptions{Name: tfe.String(want.text("name")), Email: tfe.String(want.text("email"))})
			if err != nil {
				return "", err
			}
			return o.Name, updateOrganization(p, attributes{"id": o.Name}, want)
		},
		read: func(p *provider, state attributes) (attributes, error) {
			o, err := p.Organizations.Read(p.ctx, state.text("id"))
			if err != nil {
				return nil, gone(err)
			}
			a := attributes{
				"id": o.Name, "name": o.Name, "email": o.Email, "collaborator_auth_policy": string(o.CollaboratorAuthPolicy),
				"cost_estimation_enabled": o.CostEstimationEnabled, "send_passing_statuses": o.SendPassingStatusesForUntriggeredSpeculativePlans,
				"assessments_enforced": o.AssessmentsEnforced, "allow_force_delete_workspaces": o.AllowForceDeleteWorkspaces,
				"owners_team_saml_role_id": o.OwnersTeamSAMLRoleID, "aggregated_commit_status_enabled": o.AggregatedCommitStatusEnabled,
				"speculative_plan_management_enabled": o.SpeculativePlanManagementEnabled, "stacks_enabled": o.StacksEnabled,
				"enforce_hyok": o.EnforceHYOK, "max_ttl_enabled": o.MaxTTLEnabled, "user_tokens_enabled": o.UserTokensEnabled == nil || *o.UserTokensEnabled,
				"session_timeout_minutes": o.SessionTimeout, "session_remember_minutes": o.SessionRemember,
			}
			if o.DefaultProject != nil {
				a["default_project_id"] = o.DefaultProject.ID
			}
			return a, nil
		},
		update: updateOrganization,
		remove: func(p *provider, state attributes) error {
			return gone(p.Organizations.Delete(p.ctx, state.text("id")))
		},
	},
	"tfe_project": {
		required: []string{"name"},
		replace:  []string{"organization"},
		create: func(p *provider, want attributes) (string, error) {
			r, err := p.Projects.Create(p.ctx, want.text("organization"), tfe.ProjectCreateOptions{
				Name: want.text("name"), Description: tfe.String(want.text("description")),
			})
			if err != nil {
				return "", err
			}
			return r.ID, updateProject(p, attributes{"id": r.ID}, want)
		},
		read: func(p *provider, state attributes) (attributes, error) {
			r, err := p.Projects.Read(p.ctx, state.text("id"))
			if err != nil {
				return nil, gone(err)
			}
			a := attributes{"id": r.ID, "name": r.Name, "description": r.Description, "organization": r.Organization.Name}
			tags, err := p.Projects.ListTagBindings(p.ctx, r.ID)
			if err != nil {
				return nil, err
			}
			if len(tags) > 0 {
				a["tags"] = tags
			}
			return a, nil
		},
		update: updateProject,
		remove: func(p *provider, state attributes) error { return gone(p.Projects.Delete(p.ctx, state.text("id"))) },
	},
	"tfe_workspace": {
		required: []string{"name"},
		defaults: attributes{
			"allow_destroy_plan": true, "file_triggers_enabled": true, "queue_all_runs": true, "speculative_enabled": true,
			"structured_run_output_enabled": true, "inherits_project_auto_destroy": true,
		},
		computed: []string{"project_id", "execution_mode", "operations", "terraform_version", "global_remote_state", "resource_count"},
		replace:  []string{"organization"},
		create: func(p *provider, want attributes) (string, error) {
			// Today's provider names a project by its id alone, without a type.
			type identifier struct {
				ID string `json:"id"`
			}
			type relation struct {
				Data identifier `json:"data"`
			}
			type resource struct {
				Type          string              `json:"type"`
				Attributes    map[string]any      `json:"attributes"`
				Relationships map[string]relation `json:"relationships,omitempty"`
			}
			body := struct {
				Data resource `json:"data"`
			}{resource{Type: "workspaces", Attributes: map[string]any{
				"name": want.text("name"), "allow-destroy-plan": want.flag("allow_destroy_plan"), "auto-apply": false, "auto-apply-run-trigger": false,
				"file-triggers-enabled": want.flag("file_triggers_enabled"), "queue-all-runs": want.flag("queue_all_runs"),
				"speculative-enabled": want.flag("speculative_enabled"), "working-directory": "",
				"structured-run-output-enabled": want.flag("structured_run_output_enabled"),
				"setting-overwrites":            map[string]bool{"execution-mode": false, "agent-pool": false},
			}}}
			if text := want.text("description"); text != "" {
				body.Data.Attributes["description"] = text
			}
			if id := want.text("project_id"); id != "" {
				body.Data.Relationships = map[string]relation{"project": {identifier{id}}}
			}
			req, err := p.NewRequest(http.MethodPost, "organizations/"+want.text("organization")+"/workspaces", &body)
			if err != nil {
				return "", err
			}
			r := &tfe.Workspace{}
			if err := req.Do(p.ctx, r); err != nil {
				return "", err
			}
			return r.ID, nil
		},
		read: func(p *provider, state attributes) (attributes, error) {
			r, err := p.Workspaces.ReadByID(p.ctx, state.text("id"))
			if err != nil {
				return nil, gone(err)
			}
			a := attributes{
				"id": r.ID, "name": r.Name, "description": r.Description, "organization": r.Organization.Name,
				"allow_destroy_plan": r.AllowDestroyPlan, "assessments_enabled": r.AssessmentsEnabled, "auto_apply": r.AutoApply,
				"auto_apply_run_trigger": r.AutoApplyRunTrigger, "file_triggers_enabled": r.FileTriggersEnabled, "operations": r.Operations,
				"execution_mode": r.ExecutionMode, "queue_all_runs": r.QueueAllRuns, "source_name": r.SourceName, "source_url": r.SourceURL,
				"speculative_enabled": r.SpeculativeEnabled, "structured_run_output_enabled": r.StructuredRunOutputEnabled,
				"terraform_version": r.TerraformVersion, "trigger_prefixes": r.TriggerPrefixes, "trigger_patterns": r.TriggerPatterns,
				"working_directory": r.WorkingDirectory, "inherits_project_auto_destroy": r.InheritsProjectAutoDestroy,
				"global_remote_state": r.GlobalRemoteState, "tag_names": r.TagNames,
			}
			if r.Project != nil {
				a["project_id"] = r.Project.ID
			}
			if !r.GlobalRemoteState {
				if _, err := p.Workspaces.ListRemoteStateConsumers(p.ctx, r.ID, &tfe.RemoteStateConsumersListOptions{}); gone(err) != nil {
					return nil, err
				}
			}
			return a, nil
		},
		update: func(p *provider, state, want attributes) error {
			o := tfe.WorkspaceUpdateOptions{
				Name: tfe.String(want.text("name")), Description: tfe.String(want.text("description")),
				AllowDestroyPlan: tfe.Bool(want.flag("allow_destroy_plan")), AutoApply: tfe.Bool(false), AutoApplyRunTrigger: tfe.Bool(false),
				FileTriggersEnabled: tfe.Bool(want.flag("file_triggers_enabled")), GlobalRemoteState: tfe.Bool(state.flag("global_remote_state")),
				QueueAllRuns: tfe.Bool(want.flag("queue_all_runs")), SpeculativeEnabled: tfe.Bool(want.flag("speculative_enabled")),
				StructuredRunOutputEnabled: tfe.Bool(want.flag("structured_run_output_enabled")), WorkingDirectory: tfe.String(""),
				TerraformVersion: state.given("terraform_version"),
			}
			if id := want.text("project_id"); id != "" && id != state.text("project_id") {
				o.Project = &tfe.Project{ID: id}
			}
			if err := clearTags(p, "workspaces/"+state.text("id")); err != nil {
				return err
			}
			_, err := p.Workspaces.UpdateByID(p.ctx, state.text("id"), o)
			return err
		},
		remove: func(p *provider, state attributes) error {
			r, err := p.Workspaces.ReadByID(p.ctx, state.text("id"))
			if err != nil {
				return gone(err)
			}
			if r.Permissions == nil || r.Permissions.CanForceDelete == nil {
				return errors.New("this version does not support safe-delete")
			}
			return p.Workspaces.SafeDeleteByID(p.ctx, r.ID)
		},
	},
	"tfe_oauth_client": {
		required: []string{"api_url", "http_url", "service_provider"},
		defaults: attributes{"organization_scoped": true},
		computed: []string{"oauth_token_id"},
		replace:  []string{"organization", "name", "api_url", "http_url", "service_provider"},
		create: func(p *provider, want attributes) (string, error) {
			c, err := p.OAuthClients.Create(p.ctx, want.text("organization"), tfe.OAuthClientCreateOptions{
				Name: tfe.String(want.text("name")), APIURL: tfe.String(want.text("api_url")), HTTPURL: tfe.String(want.text("http_url")),
				OAuthToken: tfe.String(want.text("oauth_token")), Key: tfe.String(""),
				ServiceProvider:    tfe.ServiceProvider(tfe.ServiceProviderType(want.text("service_provider"))),
				OrganizationScoped: tfe.Bool(want.flag("organization_scoped")),
			})
			if err != nil {
				return "", err
			}
			return c.ID, nil
		},
		read: func(p *provider, state attributes) (attributes, error) {
			c, err := p.OAuthClients.Read(p.ctx, state.text("id"))
			if err != nil {
				return nil, gone(err)
			}
			if len(c.OAuthTokens) != 1 {
				return nil, fmt.Errorf("%d tokens", len(c.OAuthTokens))
			}
			return attributes{
				"id": c.ID, "name": state["name"], "oauth_token": state["oauth_token"], // these are never read
				"organization": c.Organization.Name, "api_url": c.APIURL, "http_url": c.HTTPURL, "service_provider": string(c.ServiceProvider),
				"organization_scoped": *c.OrganizationScoped, "oauth_token_id": c.OAuthTokens[0].ID,
			}, nil
		},
		update: func(p *provider, state, want attributes) error {
			_, err := p.OAuthClients.Update(p.ctx, state.text("id"), tfe.OAuthClientUpdateOptions{
				OrganizationScoped: tfe.Bool(want.flag("organization_scoped")), OAuthToken: tfe.String(want.text("oauth_token")),
			})
			return err
		},
		remove: func(p *provider, state attributes) error { return gone(p.OAuthClients.Delete(p.ctx, state.text("id"))) },
	},
	"tfe_policy":               policyKind,
	"tfe_policy_set":           policySetKind,
	"tfe_policy_set_parameter": parameterKind,
	"tfe_workspace_policy_set": attachment("workspace_id",
		func(p *provider, set, id string) error {
			return p.PolicySets.AddWorkspaces(p.ctx, set, tfe.PolicySetAddWorkspacesOptions{Workspaces: []*tfe.Workspace{{ID: id}}})
		},
		func(p *provider, set string) (ids []string, err error) {
			s, err := p.PolicySets.Read(p.ctx, set)
			if err != nil {
				return nil, err
			}
			for _, w := range s.Workspaces {
				ids = append(ids, w.ID)
			}
			return ids, nil
		},
		func(p *provider, set, id string) error {
			return p.PolicySets.RemoveWorkspaces(p.ctx, set, tfe.PolicySetRemoveWorkspacesOptions{Workspaces: []*tfe.Workspace{{ID: id}}})
		}),
	"tfe_workspace_policy_set_exclusion": attachment("workspace_id",
		func(p *provider, set, id string) error {
			return p.PolicySets.AddWorkspaceExclusions(p.ctx, set, tfe.PolicySetAddWorkspaceExclusionsOptions{WorkspaceExclusions: []*tfe.Workspace{{ID: id}}})
		},
		func(p *provider, set string) (ids []string, err error) {
			s, err := p.PolicySets.Read(p.ctx, set)
			if err != nil {
				return nil, err
			}
			for _, w := range s.WorkspaceExclusions {
				ids = append(ids, w.ID)
			}
			return ids, nil
		},
		func(p *provider, set, id string) error {
			return p.PolicySets.RemoveWorkspaceExclusions(p.ctx, set, tfe.PolicySetRemoveWorkspaceExclusionsOptions{WorkspaceExclusions: []*tfe.Workspace{{ID: id}}})
		}),
	"tfe_project_policy_set": attachment("project_id",
		func(p *provider, set, id string) error {
			return p.PolicySets.AddProjects(p.ctx, set, tfe.PolicySetAddProjectsOptions{Projects: []*tfe.Project{{ID: id}}})
		},
		func(p *provider, set string) (ids []string, err error) {
			s, err := p.PolicySets.ReadWithOptions(p.ctx, set, &tfe.PolicySetReadOptions{Include: []tfe.PolicySetIncludeOpt{tfe.PolicySetProjects}})
			if err != nil {
				return nil, err
			}
			for _, r := range s.Projects {
				ids = append(ids, r.ID)
			}
			return ids, nil
		},
		func(p *provider, set, id string) error {
			return p.PolicySets.RemoveProjects(p.ctx, set, tfe.PolicySetRemoveProjectsOptions{Projects: []*tfe.Project{{ID: id}}})
		}),
	"tfe_project_policy_set_exclusion": attachment("project_id",
		func(p *provider, set, id string) error {
			if _, err := p.Projects.Read(p.ctx, id); err != nil {
				return err
			}
			return p.PolicySets.AddProjectExclusions(p.ctx, set, tfe.PolicySetAddProjectExclusionsOptions{ProjectExclusions: []*tfe.Project{{ID: id}}})
		},
		func(p *provider, set string) (ids []string, err error) {
			s, err := p.PolicySets.ReadWithOptions(p.ctx, set, &tfe.PolicySetReadOptions{Include: []tfe.PolicySetIncludeOpt{tfe.PolicySetProjectExclusions}})
			if err != nil {
				return nil, err
			}
			for _, r := range s.ProjectExclusions {
				ids = append(ids, r.ID)
			}
			return ids, nil
		},
		func(p *provider, set, id string) error {
			return p.PolicySets.RemoveProjectExclusions(p.ctx, set, tfe.PolicySetRemoveProjectExclusionsOptions{ProjectExclusions: []*tfe.Project{{ID: id}}})
		}),
	"tfe_slug": {
		required: []string{"source_path"},
		read: func(_ *provider, want attributes) (attributes, error) {
			// Any fingerprint of the files will do: it is never sent.
			sum, dir := sha256.New(), os.DirFS(want.text("source_path"))
			err := fs.WalkDir(dir, ".", func(name string, entry fs.DirEntry, err error) error {
				if err != nil || entry.IsDir() {
					return err
				}
				content, err := fs.ReadFile(dir, name)
				_, _ = fmt.Fprintf(sum, "%s %d\n%s", name, len(content), content)
				return err
			})
			if err != nil {
				return nil, err
			}
			return attributes{"id": hex.EncodeToString(sum.Sum(nil)), "source_path": want.text("source_path")}, nil
		},
	},
}

func updateOrganization(p *provider, state, want attributes) error {
	o, err := p.Organizations.Update(p.ctx, state.text("id"), tfe.OrganizationUpdateOptions{
		Name: tfe.String(want.text("name")), Email: tfe.String(want.text("email")),
		CollaboratorAuthPolicy:           tfe.AuthPolicy(tfe.AuthPolicyType(want.text("collaborator_auth_policy"))),
		AllowForceDeleteWorkspaces:       tfe.Bool(want.flag("allow_force_delete_workspaces")),
		SpeculativePlanManagementEnabled: tfe.Bool(want.flag("speculative_plan_management_enabled")),
	})
	if err != nil {
		return err
	}
	// What the newest client of HashiCorp does not know is sent by the old one.
	_, err = p.Organizations.Update(p.ctx, o.Name, tfe.OrganizationUpdateOptions{
		UserTokensEnabled: tfe.Bool(want.flag("user_tokens_enabled")), EnforceHYOK: tfe.Bool(want.flag("enforce_hyok")),
		MaxTTLEnabled: tfe.Bool(want.flag("max_ttl_enabled")),
	})
	return err
}

// clearTags takes away all tags, at the path that HashiCorp's description of
// the API has, which is not that of go-tfe.
func clearTags(p *provider, path string) error {
	req, err := p.NewRequest(http.MethodPatch, path+"/relationships/tag-bindings", &struct {
		Data []struct{} `json:"data"`
	}{[]struct{}{}})
	if err != nil {
		return err
	}
	return req.Do(p.ctx, nil)
}

func updateProject(p *provider, state, want attributes) error {
	if err := p.Projects.DeleteAllTagBindings(p.ctx, state.text("id")); err != nil {
		return err
	}
	_, err := p.Projects.Update(p.ctx, state.text("id"), tfe.ProjectUpdateOptions{
		Name: tfe.String(want.text("name")), Description: tfe.String(want.text("description")),
	})
	return err
}

// A policy is created and changed in the form of 2019, which is what the
// provider still sends, and its code is downloaded whenever it is read.
var policyKind = kind{
	required: []string{"name", "policy"},
	defaults: attributes{"kind": "sentinel"},
	computed: []string{"enforce_mode"},
	replace:  []string{"name", "organization", "kind"},
	create: func(p *provider, want attributes) (string, error) {
		extension := ".sentinel"
		if want.text("kind") == "opa" {
			extension = ".rego"
		}
		o, err := p.Policies.Create(p.ctx, want.text("organization"), tfe.PolicyCreateOptions{
			Name: tfe.String(want.text("name")), Kind: tfe.PolicyKind(want.text("kind")), Description: want.given("description"), Query: want.given("query"),
			//nolint:staticcheck // deprecated, and sent by the provider
			Enforce: []*tfe.EnforcementOptions{{
				Path: tfe.String(want.text("name") + extension), Mode: tfe.EnforcementMode(tfe.EnforcementLevel(want.text("enforce_mode"))),
			}},
		})
		if err != nil {
			return "", err
		}
		return o.ID, p.Policies.Upload(p.ctx, o.ID, []byte(want.text("policy")))
	},
	read: func(p *provider, state attributes) (attributes, error) {
		o, err := p.Policies.Read(p.ctx, state.text("id"))
		if err != nil {
			return nil, gone(err)
		}
		a := attributes{
			"id": o.ID, "name": o.Name, "description": o.Description, "kind": string(o.Kind),
			"organization": state["organization"], "query": state["query"], // the provider does not read these
		}
		//nolint:staticcheck // as above
		if len(o.Enforce) == 1 {
			a["enforce_mode"] = string(o.Enforce[0].Mode)
		}
		content, err := p.Policies.Download(p.ctx, o.ID)
		a["policy"] = string(content)
		return a, err
	},
	update: func(p *provider, state, want attributes) error {
		if !same(state["description"], want["description"]) || !same(state["enforce_mode"], want["enforce_mode"]) {
			o := tfe.PolicyUpdateOptions{Description: want.given("description")}
			if !same(state["enforce_mode"], want["enforce_mode"]) {
				//nolint:staticcheck // as above; the extension is what the provider sends for OPA, too
				o.Enforce = []*tfe.EnforcementOptions{{
					Path: tfe.String(want.text("name") + ".sentinel"), Mode: tfe.EnforcementMode(tfe.EnforcementLevel(want.text("enforce_mode"))),
				}}
			}
			if _, err := p.Policies.Update(p.ctx, state.text("id"), o); err != nil {
				return err
			}
		}
		if same(state["policy"], want["policy"]) {
			return nil
		}
		return p.Policies.Upload(p.ctx, state.text("id"), []byte(want.text("policy")))
	},
	remove: func(p *provider, state attributes) error { return gone(p.Policies.Delete(p.ctx, state.text("id"))) },
}

var policySetKind = kind{
	required: []string{"name"},
	defaults: attributes{"kind": "sentinel", "global": false, "overridable": false},
	computed: []string{"description", "agent_enabled", "policy_tool_version", "policy_update_patterns", "workspace_ids", "tag_match_logic"},
	replace:  []string{"organization", "kind", "policies_path", "vcs_repo"},
	create: func(p *provider, want attributes) (string, error) {
		o := tfe.PolicySetCreateOptions{
			Name: tfe.String(want.text("name")), Global: tfe.Bool(want.flag("global")), Kind: tfe.PolicyKind(want.text("kind")),
			Description: want.given("description"), PoliciesPath: want.given("policies_path"),
		}
		if want.flag("overridable") {
			o.Overridable = tfe.Bool(true)
		}
		ids, _ := want["policy_ids"].([]string)
		for _, id := range ids {
			o.Policies = append(o.Policies, &tfe.Policy{ID: id})
		}
		o.VCSRepo = repositoryOf(want)
		if o.VCSRepo != nil && *o.VCSRepo.Branch == "" {
			o.VCSRepo.Branch = nil
		}
		s, err := p.PolicySets.Create(p.ctx, want.text("organization"), o)
		if err != nil || want["slug"] == nil {
			return idOf(s), err
		}
		return s.ID, upload(p, s.ID, want)
	},
	read: func(p *provider, state attributes) (attributes, error) {
		s, err := p.PolicySets.Read(p.ctx, state.text("id"))
		if err != nil {
			return nil, gone(err)
		}
		a := attributes{
			"id": s.ID, "name": s.Name, "description": s.Description, "global": s.Global, "policies_path": s.PoliciesPath,
			"policy_update_patterns": s.PolicyUpdatePatterns, "agent_enabled": s.AgentEnabled, "organization": s.Organization.Name,
			"kind": string(s.Kind), "overridable": state["overridable"], "policy_tool_version": s.PolicyToolVersion,
			"slug": state["slug"],
		}
		if s.Overridable != nil {
			a["overridable"] = *s.Overridable
		}
		if r := s.VCSRepo; r != nil {
			a["vcs_repo"] = []attributes{{
				"identifier": r.Identifier, "branch": r.Branch, "ingress_submodules": r.IngressSubmodules,
				"oauth_token_id": r.OAuthTokenID, "github_app_installation_id": r.GHAInstallationID,
			}}
		}
		policies, workspaces := []string{}, []string{}
		for _, policy := range s.Policies {
			policies = append(policies, policy.ID)
		}
		for _, w := range s.Workspaces {
			workspaces = append(workspaces, w.ID)
		}
		slices.Sort(policies)
		a["policy_ids"], a["workspace_ids"] = policies, workspaces
		return a, nil
	},
	update: func(p *provider, state, want attributes) error {
		o := tfe.PolicySetUpdateOptions{
			Name: tfe.String(want.text("name")), Global: tfe.Bool(want.flag("global")), Description: want.given("description"),
			PolicyToolVersion: state.given("policy_tool_version"), VCSRepo: repositoryOf(want),
		}
		if state.flag("overridable") != want.flag("overridable") {
			o.Overridable = tfe.Bool(want.flag("overridable"))
		}
		if _, err := p.PolicySets.Update(p.ctx, state.text("id"), o); err != nil {
			return err
		}
		if want["slug"] == nil || same(state["slug"], want["slug"]) {
			return nil
		}
		return upload(p, state.text("id"), want)
	},
	remove: func(p *provider, state attributes) error {
		return gone(p.PolicySets.Delete(p.ctx, state.text("id")))
	},
}

func idOf(s *tfe.PolicySet) string {
	if s == nil {
		return ""
	}
	return s.ID
}

// repositoryOf names both kinds of credentials, one of them by nothing.
func repositoryOf(want attributes) *tfe.VCSRepoOptions {
	blocks, _ := want["vcs_repo"].([]attributes)
	if len(blocks) != 1 {
		return nil
	}
	return &tfe.VCSRepoOptions{
		Identifier: tfe.String(blocks[0].text("identifier")), Branch: tfe.String(blocks[0].text("branch")),
		IngressSubmodules: tfe.Bool(blocks[0].flag("ingress_submodules")),
		OAuthTokenID:      tfe.String(blocks[0].text("oauth_token_id")),
		GHAInstallationID: tfe.String(blocks[0].text("github_app_installation_id")),
	}
}

// upload makes a version of a local directory, and does not wait for it.
func upload(p *provider, set string, want attributes) error {
	v, err := p.PolicySetVersions.Create(p.ctx, set)
	if err != nil {
		return err
	}
	slug, _ := want["slug"].(map[string]string)
	return p.PolicySetVersions.Upload(p.ctx, *v, slug["source_path"])
}

// The parameters of a policy set are read after the set, and a set that is not
// there is an error.
var parameterKind = kind{
	required: []string{"key", "policy_set_id"},
	defaults: attributes{"sensitive": false},
	replace:  []string{"policy_set_id"},
	create: func(p *provider, want attributes) (string, error) {
		v, err := p.PolicySetParameters.Create(p.ctx, want.text("policy_set_id"), tfe.PolicySetParameterCreateOptions{
			Key: tfe.String(want.text("key")), Value: tfe.String(want.text("value")), Category: tfe.Category(tfe.CategoryPolicySet),
			Sensitive: tfe.Bool(want.flag("sensitive")),
		})
		if err != nil {
			return "", err
		}
		return v.ID, nil
	},
	read: func(p *provider, state attributes) (attributes, error) {
		if _, err := p.PolicySets.Read(p.ctx, state.text("policy_set_id")); err != nil {
			return nil, err
		}
		v, err := p.PolicySetParameters.Read(p.ctx, state.text("policy_set_id"), state.text("id"))
		if err != nil {
			return nil, gone(err)
		}
		a := attributes{"id": v.ID, "key": v.Key, "value": v.Value, "sensitive": v.Sensitive, "policy_set_id": v.PolicySet.ID}
		if v.Sensitive {
			if v.Value != "" {
				return nil, errors.New("a sensitive value was told")
			}
			a["value"] = state["value"]
		}
		return a, nil
	},
	update: func(p *provider, state, want attributes) error {
		o := tfe.PolicySetParameterUpdateOptions{Key: tfe.String(want.text("key")), Sensitive: tfe.Bool(want.flag("sensitive"))}
		if !same(state["value"], want["value"]) {
			o.Value = tfe.String(want.text("value"))
		}
		_, err := p.PolicySetParameters.Update(p.ctx, state.text("policy_set_id"), state.text("id"), o)
		return err
	},
	remove: func(p *provider, state attributes) error {
		if _, err := p.PolicySets.Read(p.ctx, state.text("policy_set_id")); err != nil {
			return err
		}
		return gone(p.PolicySetParameters.Delete(p.ctx, state.text("policy_set_id"), state.text("id")))
	},
}

// attachment is a kind that is a place in one of a policy set's lists. It is
// there as long as the list holds it.
func attachment(member string, add func(p *provider, set, id string) error, list func(p *provider, set string) ([]string, error), remove func(p *provider, set, id string) error) kind {
	return kind{
		required: []string{"policy_set_id", member},
		replace:  []string{"policy_set_id", member},
		create: func(p *provider, want attributes) (string, error) {
			return want.text(member) + "_" + want.text("policy_set_id"), add(p, want.text("policy_set_id"), want.text(member))
		},
		read: func(p *provider, state attributes) (attributes, error) {
			ids, err := list(p, state.text("policy_set_id"))
			if err != nil || !slices.Contains(ids, state.text(member)) {
				return nil, gone(err)
			}
			return state, nil
		},
		remove: func(p *provider, state attributes) error {
			return remove(p, state.text("policy_set_id"), state.text(member))
		},
	}
}
