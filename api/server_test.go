package api_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	tfe "github.com/hashicorp/go-tfe"
	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

const (
	admin = "bootstrap-token" // the site admin
	acme  = "acme-token"      // may manage acme's policies
	guest = "acme-read-token" // may read acme
	evil  = "evil-token"      // may do everything in another organization
)

// A server is the API over real HTTP, with a fake store that holds the
// organizations acme and evilcorp.
type server struct {
	*fakeStore
	t     *testing.T
	api   *api.API
	url   string
	logs  *observer.ObservedLogs
	clock atomic.Int64 // nanoseconds since epoch
}

// noPolicies is for servers that are not asked for policies: those are on the
// world.
type noPolicies struct {
	api.PolicyReader
	api.PolicyWriter
	api.PolicyUploader
}

// noParameters is like noPolicies.
type noParameters struct {
	api.ParameterReader
	api.ParameterWriter
}

func newServer(t *testing.T, adjust ...func(*api.Config)) *server {
	t.Helper()
	s := &server{fakeStore: newFakeStore(), t: t}
	core, logs := observer.New(zapcore.DebugLevel)
	s.logs = logs
	e := echo.New()
	web := httptest.NewServer(e)
	t.Cleanup(web.Close)
	s.url = web.URL
	cfg := api.Config{
		Organizations: s, Connections: s, PolicySets: s, Versions: s, Tokens: s, Audit: s, Heads: s, Objects: s,
		Installations: s, Apps: s, SetupLinks: s, Actions: s, Repositories: s, Uploads: s, Uploader: struct{ api.Uploader }{},
		VersionsInForce: s, Bundles: &plainBundles{},
		Policies:     noPolicies{},
		TokenRecords: fakeTokens{fakeStore: s.fakeStore},
		Projects:     untested{}, Workspaces: untested{}, Configurations: untested{}, Runs: untested{}, Checks: struct{ api.Checks }{}, ToolVersions: untested{},
		OAuthClients: struct{ api.OAuthClients }{},
		Related:      struct{ api.Related }{},
		Parameters:   noParameters{},
		PublicURL:    web.URL, BootstrapToken: polset.NewSecret(admin), LinkKey: []byte(strings.Repeat("k", 32)),
		Logger: zap.New(core), Now: func() time.Time { return epoch.Add(time.Duration(s.clock.Load())) },
	}
	for _, f := range adjust {
		f(&cfg)
	}
	a, err := api.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.api = a
	a.Register(e)

	for _, name := range []string{"acme", "evilcorp"} {
		if _, err := s.CreateOrganization(t.Context(), polset.System, polset.Organization{Name: name, Email: "ops@" + name + ".example"}); err != nil {
			t.Fatal(err)
		}
	}
	s.tokens[acme] = polset.Principal{Actor: "at-acme", OrganizationID: s.orgs[0].ID, Permissions: polset.Permissions()}
	s.tokens[guest] = polset.Principal{Actor: "at-guest", OrganizationID: s.orgs[0].ID, Permissions: []polset.Permission{polset.PermissionRead}}
	s.tokens[evil] = polset.Principal{Actor: "at-evil", OrganizationID: s.orgs[1].ID, Permissions: polset.Permissions()}
	return s
}

// fakeTokens knows the tokens of a server as rows.
type fakeTokens struct {
	api.TokenRecords
	*fakeStore
}

func (f fakeTokens) Token(_ context.Context, _ polset.Principal, id string) (polset.Token, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, by := range f.tokens {
		if by.Actor == id {
			return polset.Token{ID: id, OrganizationID: by.OrganizationID, Permissions: by.Permissions}, nil
		}
	}
	return polset.Token{}, polset.ErrNotFound
}

// untested is what only the real store is tested on; see world.
type untested struct {
	api.ProjectReader
	api.ProjectWriter
	api.ProjectTagger
	api.WorkspaceReader
	api.WorkspaceNames
	api.WorkspaceWriter
	api.WorkspaceTagger
	api.ConfigurationReader
	api.ConfigurationWriter
	api.RunReader
	api.RunWriter
	api.ToolVersionReader
	api.ToolVersionWriter
}

// connect gives an organization a connection.
func (s *server) connect(org string) polset.Connection {
	s.t.Helper()
	c, err := s.CreateConnection(context.Background(), polset.System, polset.ConnectionDraft{
		Organization: org, ServiceProvider: "github", HTTPURL: "https://github.com", APIURL: "https://api.github.com", Token: polset.NewSecret("ghp_secret"),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// install gives organizations an installation of the App.
func (s *server) install(account string, number int64, orgs ...string) polset.Installation {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := polset.Installation{
		ID: s.id("ghain"), ExternalID: number, AppID: 1, HTTPURL: "https://github.com", Account: account, AccountID: number + 1,
		AccountType: "Organization", IconURL: "https://avatars.example/" + account, HTMLURL: "https://github.com/organizations/" + account + "/settings/installations/" + strconv.FormatInt(number, 10),
		Selection: "selected", CreatedAt: epoch, UpdatedAt: epoch, Organizations: orgs,
	}
	s.installations = append(s.installations, i)
	return i
}

// followByApp gives an organization an OPA policy set that follows a
// repository through an installation.
func (s *server) followByApp(org, name string) polset.PolicySet {
	s.t.Helper()
	set, err := s.CreatePolicySet(context.Background(), polset.System, polset.PolicySetDraft{
		Organization: org, Name: name, Kind: polset.KindOPA,
		VCS: &polset.VCSDraft{Identifier: org + "/policies", InstallationID: s.install(org, 42, org).ID, Head: polset.Head{Branch: "main", Commit: commit}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return set
}

// follow gives an organization an OPA policy set that follows a repository.
func (s *server) follow(org, name string) polset.PolicySet {
	s.t.Helper()
	overridable := false
	set, err := s.CreatePolicySet(context.Background(), polset.System, polset.PolicySetDraft{
		Organization: org, Name: name, Kind: polset.KindOPA, Overridable: &overridable, PoliciesPath: "/policies",
		VCS: &polset.VCSDraft{Identifier: org + "/policies", Branch: "main", TokenID: s.connect(org).TokenID, Head: polset.Head{Branch: "main", Commit: commit}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return set
}

// client is the official client, holding a token.
func (s *server) client(token string) *tfe.Client {
	s.t.Helper()
	c, err := tfe.NewClient(&tfe.Config{Address: s.url, Token: token, HTTPClient: &http.Client{Transport: watching{s}}})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// An answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask makes a request below /api/v2, with a body if it is not "".
func (s *server) ask(token, method, path, body string) answer {
	s.t.Helper()
	return s.askWith(token, method, path, body, nil)
}

func (s *server) askWith(token, method, path, body string, header http.Header) answer {
	s.t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = s.url + "/api/v2" + path
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/vnd.api+json")
	}
	for key, values := range header {
		req.Header[key] = values
	}
	once := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := once.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := answer{resp.StatusCode, resp.Header, string(b)}
	s.described(req, []byte(body), a)
	return a
}

// errorObject is JSON:API's error object.
type errorObject struct {
	Status, Title, Detail string
	Source                struct{ Pointer, Parameter string }
}

// problemsOf are the errors of an answer, which must have the status.
func problemsOf(t *testing.T, a answer, status int) []errorObject {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	if got := a.header.Get("Content-Type"); got != "application/vnd.api+json" {
		t.Errorf("content type %q of an error", got)
	}
	var doc struct{ Errors []errorObject }
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || len(doc.Errors) == 0 {
		t.Fatalf("no error document (%v): %s", err, a.body)
	}
	return doc.Errors
}

// refused checks the status and where the first error points.
func refused(t *testing.T, a answer, status int, pointer string) {
	t.Helper()
	p := problemsOf(t, a, status)[0]
	if p.Source.Pointer != pointer {
		t.Errorf("pointer %q, want %q: %s", p.Source.Pointer, pointer, a.body)
	}
}
