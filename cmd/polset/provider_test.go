package main_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-tfe"
	svchost "github.com/hashicorp/terraform-svchost"
	"github.com/hashicorp/terraform-svchost/disco"
	"github.com/zclconf/go-cty/cty"

	"github.com/polset/polset/internal/polsettest/hub"
)

// TestProvider applies the examples of deploy/examples/terraform as Terraform
// and its tfe provider would: over TLS, from service discovery on, with the
// requests that the provider makes, in its order, through its client. What
// was applied must be read back as it was asked for: the next plan is empty.
func TestProvider(t *testing.T) {
	gh := hub.New(t, hub.Config{})
	repo := gh.Repository("acme/policies")
	repo.Push("main", policies("policies/prod", 2, ""))
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certify(t, cert, key, 1)
	n := start(t, env(gh.Git(), filepath.Join(dir, "data"),
		"POLSET_TLS_CERT="+cert, "POLSET_TLS_KEY="+key,
		"POLSET_GITHUB_URL="+gh.URL(), "POLSET_GITHUB_API_URL="+gh.APIURL()))

	tf := &terraform{
		t: t, dir: filepath.Join(dir, "examples"), provider: connect(t, strings.TrimPrefix(n.URL, "https://"), cert), state: map[string]attributes{},
		variables: map[string]cty.Value{
			"hostname":          cty.StringVal(strings.TrimPrefix(n.URL, "https://")),
			"github_token":      cty.StringVal(gh.PersonalToken(gh.User("octocat"), "repo", "admin:repo_hook")),
			"policy_repository": cty.StringVal("acme/policies"),
			"inventory_token":   cty.StringVal("secret-of-the-inventory"),
		},
	}
	if err := os.CopyFS(tf.dir, os.DirFS("../../deploy/examples/terraform")); err != nil {
		t.Fatal(err)
	}
	id := func(address string) string {
		t.Helper()
		id, _ := tf.state[address]["id"].(string)
		if id == "" {
			t.Fatalf("%s is not there", address)
		}
		return id
	}

	if changes := tf.plan(); len(changes) < 20 || slices.ContainsFunc(changes, func(c string) bool { return !strings.HasPrefix(c, "create ") }) {
		t.Fatalf("the first plan:\n%s", strings.Join(changes, "\n"))
	}
	tf.apply()
	tf.unchanged("after the first apply")
	for _, address := range []string{"tfe_policy_set.production", "tfe_policy_set.baseline"} {
		tf.provider.ready(t, id(address), "")
	}
	set, err := tf.provider.PolicySets.Read(t.Context(), id("tfe_policy_set.baseline"))
	if err != nil {
		t.Fatal(err)
	}
	uploaded := set.CurrentVersion.ID

	tf.provider.found(t, id("tfe_workspace.network"), id("tfe_policy_set.production"), func(s *tfe.PolicySet) bool {
		return slices.ContainsFunc(s.Workspaces, func(w *tfe.Workspace) bool { return w.Name == "network" })
	}, tfe.PolicySetWorkspaces)
	tf.provider.found(t, id("tfe_workspace.network"), id("tfe_policy_set.regions"), func(s *tfe.PolicySet) bool {
		return slices.ContainsFunc(s.WorkspaceExclusions, func(w *tfe.Workspace) bool { return w.Name == "ledger" })
	}, tfe.PolicySetWorkspaceExclusions)
	tf.provider.found(t, id("tfe_workspace.network"), id("tfe_policy_set.storage"), func(s *tfe.PolicySet) bool {
		return slices.ContainsFunc(s.Projects, func(p *tfe.Project) bool { return p.ID == id("tfe_project.payments") })
	}, tfe.PolicySetProjects)

	kept := id("tfe_policy.allowed_regions")
	tf.edit("policies.tf", `"soft-mandatory"`, `"hard-mandatory"`)
	tf.edit("policies.tf", `enforce_mode = "mandatory"`, `enforce_mode = "advisory"`)
	tf.edit("policies.tf", `\"eu-west-1\"`, `\"eu-north-1\"`)
	tf.edit("policies/private-buckets.rego", "makes its bucket public", "opens its bucket to everybody")
	tf.edit("policies/baseline/named-owner.rego", "has no owner", "belongs to nobody")
	tf.edit("github.tf", "What every change to production must satisfy.", "The rules of production.")
	tf.edit("github.tf", `overridable   = true`, `overridable   = false`)
	tf.edit("organization.tf", "VPCs and what connects them.", "Networks.")
	tf.edit("organization.tf", `"platform@acme.example"`, `"cloud@acme.example"`)
	tf.edit("organization.tf", "Everything that moves money.", "Money.")
	tf.edit("attachments.tf", "tfe_workspace.ledger.id", "tfe_workspace.network.id")
	var changed []string
	for _, c := range tf.plan() {
		address, _, _ := strings.Cut(c, ":")
		changed = append(changed, address)
	}
	slices.Sort(changed)
	if diff := cmp.Diff([]string{
		"tfe_organization.acme.email",
		"tfe_policy.allowed_regions.enforce_mode",
		"tfe_policy.private_buckets.enforce_mode",
		"tfe_policy.private_buckets.policy",
		"tfe_policy_set.baseline.slug",
		"tfe_policy_set.production.description",
		"tfe_policy_set.production.overridable",
		"tfe_policy_set_parameter.regions.value",
		"tfe_project.payments.description",
		"tfe_workspace.network.description",
		"tfe_workspace_policy_set_exclusion.ledger.workspace_id",
	}, changed); diff != "" {
		t.Errorf("the plan of the changes (-want +got):\n%s", diff)
	}
	tf.apply()
	tf.unchanged("after the changes")
	if id("tfe_policy.allowed_regions") != kept {
		t.Error("a change of its level made another policy")
	}
	tf.provider.ready(t, id("tfe_policy_set.baseline"), uploaded)

	// What somebody does behind Terraform's back is seen, and undone.
	if err := tf.provider.PolicySets.RemoveWorkspaces(t.Context(), id("tfe_policy_set.production"), tfe.PolicySetRemoveWorkspacesOptions{
		Workspaces: []*tfe.Workspace{{ID: id("tfe_workspace.network")}},
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"create tfe_workspace_policy_set.network"}, tf.plan()); diff != "" {
		t.Errorf("the plan after a detachment (-want +got):\n%s", diff)
	}
	tf.apply()
	tf.unchanged("after the detachment was undone")

	sets := []string{id("tfe_policy_set.production"), id("tfe_policy_set.baseline"), id("tfe_policy_set.storage"), id("tfe_policy_set.regions")}
	tf.destroy()
	for _, set := range sets {
		if _, err := tf.provider.PolicySets.Read(t.Context(), set); !errors.Is(err, tfe.ErrResourceNotFound) {
			t.Errorf("policy set %s after destroy: %v", set, err)
		}
	}
	if _, err := tf.provider.Organizations.Read(t.Context(), "acme"); !errors.Is(err, tfe.ErrResourceNotFound) {
		t.Errorf("the organization after destroy: %v", err)
	}
	if strings.Contains(n.Log(), "secret-of-the-inventory") {
		t.Error("a sensitive parameter is in the log")
	}
}

// unchanged expects an empty plan.
func (tf *terraform) unchanged(when string) {
	tf.t.Helper()
	if changes := tf.plan(); len(changes) > 0 {
		tf.t.Errorf("%s, the plan still holds:\n%s", when, strings.Join(changes, "\n"))
	}
}

// A provider is what terraform-provider-tfe is to polset: a client and its
// habits.
type provider struct {
	*tfe.Client
	ctx context.Context
}

// connect finds the API as the provider does, with the provider's own library:
// where service discovery says, over TLS that is trusted.
func connect(t *testing.T, host, cert string) *provider {
	t.Helper()
	pem, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate to trust")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	services := disco.New()
	services.Transport = transport
	name, err := svchost.ForComparison(host)
	if err != nil {
		t.Fatal(err)
	}
	service, err := services.DiscoverServiceURL(name, "tfe.v2.2")
	if err != nil {
		t.Fatal(err)
	}
	base := url.URL{Scheme: service.Scheme, Host: service.Host}
	c, err := tfe.NewClient(&tfe.Config{
		Address: base.String(), BasePath: service.Path, Token: bootstrap, HTTPClient: &http.Client{Transport: transport},
		Headers: http.Header{"User-Agent": {"terraform-provider-tfe"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &provider{Client: c, ctx: t.Context()}
}

// ready waits until a policy set has a current version other than one.
func (p *provider) ready(t *testing.T, set, other string) {
	t.Helper()
	eventually(t, 30*time.Second, "a ready version of "+set, func() bool {
		s, err := p.PolicySets.Read(p.ctx, set)
		if err != nil {
			t.Fatal(err)
		}
		return s.CurrentVersion != nil && s.CurrentVersion.ID != other
	})
}

// found looks for a policy set as imports and data sources do: page by page,
// by name, in a list that includes what the set is attached to.
func (p *provider) found(t *testing.T, workspace, set string, attached func(*tfe.PolicySet) bool, include ...tfe.PolicySetIncludeOpt) {
	t.Helper()
	w, err := p.Workspaces.ReadByID(p.ctx, workspace)
	if err != nil {
		t.Fatal(err)
	}
	if byName, err := p.Workspaces.Read(p.ctx, w.Organization.Name, w.Name); err != nil || byName.ID != workspace {
		t.Fatalf("workspace %s by its name: %v, %v", w.Name, byName, err)
	}
	wanted, err := p.PolicySets.Read(p.ctx, set)
	if err != nil {
		t.Fatal(err)
	}
	options := &tfe.PolicySetListOptions{Include: include, ListOptions: tfe.ListOptions{PageSize: 1}}
	for {
		page, err := p.PolicySets.List(p.ctx, w.Organization.Name, options)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Items {
			if s.Name != wanted.Name {
				continue
			}
			if s.ID != set || !attached(s) {
				t.Errorf("policy set %s in the list, with %v: %+v", s.Name, include, s)
			}
			return
		}
		if page.CurrentPage >= page.TotalPages {
			t.Fatalf("policy set %s is on none of %d pages", wanted.Name, page.TotalPages)
		}
		options.PageNumber = page.NextPage
	}
}
