package api_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tfe "github.com/hashicorp/go-tfe"

	"github.com/polset/polset"
)

// The official client walks through everything that it knows and polset has.
func TestOfficialClient(t *testing.T) {
	s := newServer(t)
	site, ctx := s.client(admin), t.Context()

	org, err := site.Organizations.Create(ctx, tfe.OrganizationCreateOptions{Name: tfe.String("tst-org"), Email: tfe.String("a@b.example")})
	if err != nil {
		t.Fatal(err)
	}
	if org.Name != "tst-org" || org.Email != "a@b.example" || org.ExternalID == "" || !org.CreatedAt.Equal(epoch) {
		t.Errorf("organization %+v", org)
	}
	if got, err := site.Organizations.Read(ctx, "tst-org"); err != nil || !cmp.Equal(got, org) {
		t.Errorf("read organization: %v, %s", err, cmp.Diff(org, got))
	}
	if list, err := site.Organizations.List(ctx, nil); err != nil || len(list.Items) != 3 || list.TotalCount != 3 {
		t.Errorf("list organizations: %v, %+v", err, list)
	}

	oauth, err := site.OAuthClients.Create(ctx, "tst-org", tfe.OAuthClientCreateOptions{
		APIURL: tfe.String("https://api.github.com"), HTTPURL: tfe.String("https://github.com"),
		OAuthToken: tfe.String("ghp_secret"), ServiceProvider: tfe.ServiceProvider(tfe.ServiceProviderGithub),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(oauth.OAuthTokens) != 1 || oauth.Organization.Name != "tst-org" || oauth.ServiceProviderName != "GitHub" {
		t.Errorf("oauth client %+v", oauth)
	}
	if got, err := site.OAuthClients.Read(ctx, oauth.ID); err != nil || !cmp.Equal(got, oauth) {
		t.Errorf("read oauth client: %v, %s", err, cmp.Diff(oauth, got))
	}

	set, err := site.PolicySets.Create(ctx, "tst-org", tfe.PolicySetCreateOptions{
		Name: tfe.String("production"), Description: tfe.String("all of it"), Kind: tfe.OPA, PoliciesPath: tfe.String("/policy-sets/foo"),
		VCSRepo: &tfe.VCSRepoOptions{
			Branch: tfe.String("policies"), Identifier: tfe.String("acme/policies"),
			IngressSubmodules: tfe.Bool(true), OAuthTokenID: tfe.String(oauth.OAuthTokens[0].ID),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	webhook := regexp.MustCompile("^" + regexp.QuoteMeta(s.url) + "/webhooks/vcs/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
	if v := set.VCSRepo; v.DisplayIdentifier != v.Identifier || v.RepositoryHTTPURL != "https://github.com/acme/policies" ||
		v.ServiceProvider != "github" || !webhook.MatchString(v.WebhookURL) || !v.IngressSubmodules || v.Branch != "policies" {
		t.Errorf("vcs-repo %+v", v)
	}
	if set.PoliciesPath != "/policy-sets/foo" || !set.AgentEnabled || set.Overridable == nil || *set.Overridable {
		t.Errorf("policy set %+v", set)
	}

	plain, err := site.PolicySets.Create(ctx, "tst-org", tfe.PolicySetCreateOptions{Name: tfe.String("plain"), Overridable: tfe.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	if plain.Kind != tfe.Sentinel || plain.Overridable != nil || plain.AgentEnabled || plain.VCSRepo != nil || plain.NewestVersion != nil {
		t.Errorf("a sentinel set by default: %+v", plain)
	}

	read, err := site.PolicySets.ReadWithOptions(ctx, set.ID, &tfe.PolicySetReadOptions{
		Include: []tfe.PolicySetIncludeOpt{tfe.PolicySetNewestVersion, tfe.PolicySetCurrentVersion, tfe.PolicySetWorkspaces},
	})
	if err != nil {
		t.Fatal(err)
	}
	if v := read.NewestVersion; v == nil || v.IngressAttributes == nil || v.IngressAttributes.CommitSHA != commit ||
		v.IngressAttributes.CommitURL == "" || v.IngressAttributes.Identifier != "acme/policies" || v.PolicySet.ID != set.ID {
		t.Fatalf("newest version %+v", read.NewestVersion)
	}
	if read.CurrentVersion != nil {
		t.Error("a pending version is current")
	}

	list, err := site.PolicySets.List(ctx, "tst-org", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]*tfe.PolicySet{set, plain}, list.Items); diff != "" {
		t.Errorf("created and listed differ: %s", diff)
	}

	changed, err := site.PolicySets.Update(ctx, plain.ID, tfe.PolicySetUpdateOptions{Name: tfe.String("renamed"), Global: tfe.Bool(true)})
	if err != nil || changed.Name != "renamed" || !changed.Global || changed.UpdatedAt.Equal(plain.UpdatedAt) {
		t.Errorf("update: %v, %+v", err, changed)
	}

	s.finish(set.ID, []byte("archive"))
	version, err := site.PolicySetVersions.Read(ctx, read.NewestVersion.ID)
	if err != nil {
		t.Fatal(err)
	}
	if version.Status != tfe.PolicySetVersionReady || !version.StatusTimestamps.ReadyAt.Equal(epoch.Truncate(time.Second).Add(2*time.Second)) ||
		!version.StatusTimestamps.ErroredAt.IsZero() || version.PolicySet == nil {
		t.Errorf("version %+v", version)
	}

	if trail, err := s.client(acme).AuditTrails.List(ctx, &tfe.AuditTrailListOptions{Since: epoch.Add(-time.Hour)}); err != nil ||
		trail.TotalCount != 1 || trail.Items[0].Resource.Action != "create" {
		t.Errorf("audit trail: %v, %+v", err, trail)
	}

	for _, remove := range []func() error{
		func() error { return site.OAuthClients.Delete(ctx, oauth.ID) },
		func() error { return site.PolicySets.Delete(ctx, set.ID) },
		func() error { return site.Organizations.Delete(ctx, "tst-org") },
	} {
		if err := remove(); err != nil {
			t.Error(err)
		}
		if err := remove(); !errors.Is(err, tfe.ErrResourceNotFound) {
			t.Errorf("removed twice: %v", err)
		}
	}
	if _, err := s.client("nonsense").Organizations.List(ctx, nil); !errors.Is(err, tfe.ErrUnauthorized) {
		t.Errorf("a wrong token: %v", err)
	}
	if _, err := site.PolicySets.ReadWithOptions(ctx, plain.ID, &tfe.PolicySetReadOptions{Include: []tfe.PolicySetIncludeOpt{"moon"}}); !errors.Is(err, tfe.ErrInvalidIncludeValue) {
		t.Errorf("an unknown include: %v", err)
	}
}

// The official client finds the installation and lets a policy set follow a
// repository through it.
func TestOfficialClientWithTheApp(t *testing.T) {
	s := newServer(t)
	bound := s.install("acme-on-github", 42, "acme")
	s.install("theirs", 43, "evilcorp")
	client, ctx := s.client(acme), t.Context()

	list, err := client.GHAInstallations.List(ctx, &tfe.GHAInstallationListOptions{ListOptions: tfe.ListOptions{PageNumber: 1, PageSize: 10}})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 || list.TotalCount != 1 || list.CurrentPage != 1 {
		t.Fatalf("list %+v", list)
	}
	got, err := client.GHAInstallations.Read(ctx, bound.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := &tfe.GHAInstallation{
		ID: &bound.ID, IconURL: &bound.IconURL, InstallationID: tfe.Int(42), InstallationType: tfe.String("Organization"),
		InstallationURL: &bound.HTMLURL, Name: tfe.String("acme-on-github"),
	}
	if diff := cmp.Diff(want, got) + cmp.Diff(want, list.Items[0]); diff != "" {
		t.Error(diff)
	}
	for _, id := range []string{s.installations[1].ID, "ghain-0000000000009999"} {
		if _, err := client.GHAInstallations.Read(ctx, id); !errors.Is(err, tfe.ErrResourceNotFound) {
			t.Errorf("%s: %v", id, err)
		}
	}

	set, err := client.PolicySets.Create(ctx, "acme", tfe.PolicySetCreateOptions{
		Name: tfe.String("by-app"), Kind: tfe.OPA,
		VCSRepo: &tfe.VCSRepoOptions{
			Branch: tfe.String("policies"), Identifier: tfe.String("acme/policies"), IngressSubmodules: tfe.Bool(true),
			OAuthTokenID: tfe.String(""), GHAInstallationID: &bound.ID,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&tfe.VCSRepo{
		Branch: "policies", DisplayIdentifier: "acme/policies", Identifier: "acme/policies", IngressSubmodules: true,
		GHAInstallationID: bound.ID, RepositoryHTTPURL: "https://github.com/acme/policies", ServiceProvider: "github_app",
	}, set.VCSRepo); diff != "" {
		t.Error(diff)
	}
	read, err := client.PolicySets.Read(ctx, set.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(set, read); diff != "" {
		t.Errorf("created and read differ: %s", diff)
	}

	token := s.connect("acme").TokenID
	moved, err := client.PolicySets.Update(ctx, set.ID, tfe.PolicySetUpdateOptions{VCSRepo: &tfe.VCSRepoOptions{
		Branch: tfe.String(""), Identifier: tfe.String("acme/policies"), OAuthTokenID: &token, GHAInstallationID: tfe.String(""),
	}})
	if err != nil || moved.VCSRepo.OAuthTokenID != token || moved.VCSRepo.GHAInstallationID != "" || moved.VCSRepo.ServiceProvider != "github" || moved.VCSRepo.WebhookURL == "" {
		t.Errorf("moved to a token: %v, %+v", err, moved)
	}
}

// The client that made a connection must never see its secret again.
func TestTokenStringIsNeverShown(t *testing.T) {
	s := newServer(t)
	body := `{"data":{"type":"oauth-clients","attributes":{"service-provider":"github","http-url":"https://github.com","api-url":"https://api.github.com","oauth-token-string":"ghp_topsecret"}}}`
	a := s.ask(acme, "POST", "/organizations/acme/oauth-clients", body)
	if a.status != http.StatusCreated || bytes.Contains([]byte(a.body), []byte("topsecret")) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if got := s.secrets[s.connections[0].TokenID].Reveal(); got != "ghp_topsecret" {
		t.Errorf("the store was given %q", got)
	}
	for _, entry := range s.logs.All() {
		for _, field := range entry.Context {
			if bytes.Contains([]byte(field.String), []byte("topsecret")) {
				t.Errorf("logged: %s", field.String)
			}
		}
	}
}

// A hook's secret is shown to whoever made the hook, and never again.
func TestWebhookSecretIsShownOnce(t *testing.T) {
	s := newServer(t)
	token := s.connect("acme").TokenID
	body := `{"data":{"type":"policy-sets","attributes":{"name":"p","vcs-repo":{"identifier":"acme/policies","oauth-token-id":"` + token + `"}}}}`
	created := s.ask(acme, "POST", "/organizations/acme/policy-sets", body)
	if created.status != http.StatusCreated || !bytes.Contains([]byte(created.body), []byte(`"webhook-secret":"hook-secret"`)) {
		t.Errorf("create: %d %s", created.status, created.body)
	}
	for _, path := range []string{"/policy-sets/" + s.sets[0].ID, "/organizations/acme/policy-sets"} {
		if a := s.ask(acme, "GET", path, ""); a.status != http.StatusOK || bytes.Contains([]byte(a.body), []byte("hook-secret")) {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

// An archive is reached through the API by whoever holds a token, and from
// there by a link alone.
func TestDownload(t *testing.T) {
	s := newServer(t)
	set := s.follow("acme", "production")
	path := "/policy-set-versions/" + set.NewestVersionID + "/download"
	problemsOf(t, s.ask(acme, "GET", path, ""), http.StatusNotFound) // not ready

	v := s.finish(set.ID, []byte("archive"))
	redirect := s.ask(acme, "GET", path, "")
	if redirect.status != http.StatusFound {
		t.Fatalf("%d %s", redirect.status, redirect.body)
	}
	location := redirect.header.Get("Location")
	got := s.ask("", "GET", location, "")
	want := map[string]string{
		"Content-Type": "application/gzip", "Content-Length": "7", "Etag": `"` + v.Artifact.Digest + `"`,
		"Content-Disposition": `attachment; filename="` + v.ID + `.tar.gz"`,
	}
	for name, value := range want {
		if got.header.Get(name) != value {
			t.Errorf("%s: %q, want %q", name, got.header.Get(name), value)
		}
	}
	if got.status != http.StatusOK || got.body != "archive" {
		t.Errorf("%d %q", got.status, got.body)
	}
	head := s.ask("", "HEAD", location, "")
	if head.status != http.StatusOK || head.header.Get("Content-Length") != "7" {
		t.Errorf("HEAD: %d %v", head.status, head.header)
	}
	again := s.askWith("", "GET", location, "", http.Header{"If-None-Match": {`"other", "` + v.Artifact.Digest + `"`}})
	if again.status != http.StatusNotModified || again.body != "" {
		t.Errorf("If-None-Match: %d %q", again.status, again.body)
	}
	// A standard client follows the redirect by itself.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/v2"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+acme)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "archive" {
		t.Errorf("followed: %q, %v", b, err)
	}
	for _, entry := range s.logs.All() {
		for _, field := range entry.Context {
			if bytes.Contains([]byte(location), []byte(field.String)) && len(field.String) > 20 {
				t.Errorf("logged a signed link: %s", field.String)
			}
		}
	}
}

func TestPublicEndpoints(t *testing.T) {
	s := newServer(t)
	ping := s.ask("", "GET", "/ping", "")
	if ping.status != http.StatusNoContent || ping.header.Get("TFP-API-Version") != "2.6" || ping.header.Get("X-RateLimit-Limit") != "" {
		t.Errorf("ping: %d %v", ping.status, ping.header)
	}
	found := s.ask("", "GET", s.url+"/.well-known/terraform.json", "")
	if found.header.Get("Content-Type") != "application/json" || found.body != `{"tfe.v2":"/api/v2/","tfe.v2.1":"/api/v2/","tfe.v2.2":"/api/v2/"}`+"\n" {
		t.Errorf("discovery: %v %s", found.header, found.body)
	}
	for _, ask := range [][2]string{
		{"GET", "/nothing"}, {"GET", ""}, {"POST", "/ping"}, {"PUT", "/organizations/acme"}, {"OPTIONS", "/policy-sets/polset-1"}, {"BREW", "/policy-sets/x"},
	} {
		problemsOf(t, s.ask(acme, ask[0], ask[1], ""), http.StatusNotFound)
	}
}

func TestFirstPageOfAuditTrail(t *testing.T) {
	s := newServer(t)
	acmeID, evilID := s.orgs[0].ID, s.orgs[1].ID
	by := polset.Principal{Actor: "at-acme"}
	s.append(acmeID, by, "policy-set.create", "polset-1", map[string]string{"delivery": "guid"})
	s.append(polset.ChainSite, polset.System, "node.start", "n1", nil)

	golden(t, "audit_trail", s.ask(acme, "GET", "/organization/audit-trail", ""), s.url)
	for _, c := range []struct {
		token, query string
		status       int
		chain        string
	}{
		{admin, "", 200, `"chain":"site"`},
		{admin, "?organization=acme", 200, `"chain":"` + acmeID + `"`},
		{admin, "?organization=" + acmeID, 200, `"chain":"` + acmeID + `"`},
		{admin, "?organization=org-gone000000000001", 200, `"data":[]`},
		{acme, "?organization=acme", 200, `"chain":"` + acmeID + `"`},
		{acme, "?organization=evilcorp", 404, "not found"},
		{acme, "?organization=" + evilID, 404, "not found"},
		{acme, "?organization=nobody", 404, "not found"},
		{acme, "?since=yesterday", 400, `"parameter":"since"`},
		{acme, "?since=2027-01-01T00:00:00.123Z", 200, `"data":[]`},
		{acme, "?page%5Bsize%5D=1&page%5Bnumber%5D=2", 200, `"current_page":2,"prev_page":1,"next_page":null,"total_pages":2,"total_count":2`},
	} {
		if a := s.ask(c.token, "GET", "/organization/audit-trail"+c.query, ""); a.status != c.status || !bytes.Contains([]byte(a.body), []byte(c.chain)) {
			t.Errorf("%s: %d %s", c.query, a.status, a.body)
		}
	}
}
