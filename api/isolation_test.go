package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

// Routes that name nothing of an organization's. Whoever adds one has to
// think about what a stranger sees there.
var withoutTenant = []string{
	"GET /.well-known/terraform.json",
	"GET /api/v2/ping",
	"GET /v1/object/:token",
	"HEAD /v1/object/:token",
	"PUT /v1/object/:token",
	"GET /api/v2/organizations",
	"POST /api/v2/organizations",
	"GET /api/v2/organization/audit-trail",
	"GET /api/v2/github-app/installations",
}

// requestBodies are bodies that the owner may send; a route without one here
// takes none.
var requestBodies = map[string]string{
	"POST /api/v2/organizations/:organization/oauth-clients": `{"data":{"type":"oauth-clients","attributes":{"service-provider":"github",
		"http-url":"https://github.com","api-url":"https://api.github.com","oauth-token-string":"ghp_x"}}}`,
	"POST /api/v2/organizations/:organization/policy-sets": `{"data":{"type":"policy-sets","attributes":{"name":"another"}}}`,
	"PATCH /api/v2/policy-sets/:policy_set":                `{"data":{"type":"policy-sets","attributes":{"description":"changed"}}}`,

	"POST /api/v2/policy-sets/:policy_set/actions/ingest": `{"data":{"attributes":{"commit":"` + commit + `"}}}`,

	"POST /api/v2/github-app/installation/:installation/relationships/organizations":   `{"data":[{"type":"organizations","id":"evilcorp"}]}`,
	"DELETE /api/v2/github-app/installation/:installation/relationships/organizations": `{"data":[{"type":"organizations","id":"acme"}]}`,
}

var routeIncludes = map[string]string{
	"GET /api/v2/organizations/:organization/policy-sets": "?include=newest_version,current_version,policies,workspaces,projects,workspace_exclusions,project_exclusions",
	"GET /api/v2/policy-sets/:policy_set":                 "?include=newest_version,current_version,policies,workspaces,projects,workspace_exclusions,project_exclusions",
	"GET /api/v2/policy-set-versions/:version":            "?include=policy_set",
}

func TestIsolation(t *testing.T) {
	for _, route := range newServer(t).api.Routes() {
		name := route.Method + " " + route.Pattern
		if route.Access == api.AccessToken && route.Permission == polset.PermissionRead && route.Method != http.MethodGet {
			t.Errorf("%s needs no more than the permission to read", name)
		}
		if route.Tenant == "" {
			if !slices.Contains(withoutTenant, name) {
				t.Errorf("%s has no tenant parameter and is not known to need none", name)
			}
			continue
		}
		t.Run("case 80 "+name, func(t *testing.T) { isolated(t, route, name) })
	}
}

// isolated asks for acme's things as somebody else and compares the answer
// with that for things that do not exist.
func isolated(t *testing.T, route api.Route, name string) {
	s := newServer(t)
	set := s.follow("acme", "production")
	s.finish(set.ID, []byte("archive"))
	s.app = theApp()
	exists := map[string]string{
		"organization": "acme", "policy_set": set.ID, "version": set.NewestVersionID, "oauth_client": s.connections[0].ID,
		"installation": s.install("acme-on-github", 42, "acme").ID,
	}[route.Tenant]
	if exists == "" {
		t.Fatalf("the test knows nothing of the tenant parameter %q", route.Tenant)
	}
	ask := func(token, id, query, body string) answer {
		path := s.url + strings.Replace(route.Pattern, ":"+route.Tenant, id, 1) + query
		a := s.ask(token, route.Method, path, body)
		a.header.Del("X-Request-Id")
		a.header.Del("Date")
		return a
	}
	same := func(token, body string) {
		t.Helper()
		for _, query := range []string{"", routeIncludes[name]} {
			foreign, missing := ask(token, exists, query, body), ask(token, "polset-0000000000009999", query, body)
			if foreign.status != http.StatusNotFound || missing.status != foreign.status || missing.body != foreign.body || !cmp.Equal(missing.header, foreign.header) {
				t.Errorf("%s foreign: %d %s %v\nmissing: %d %s %v", query, foreign.status, foreign.body, foreign.header, missing.status, missing.body, missing.header)
			}
		}
	}
	rows := func() string {
		return fmt.Sprint(len(s.connections), len(s.sets), len(s.ingestions), len(s.links), s.rotations, s.installations, s.sets[0].Description)
	}
	before := rows()
	bodies := []string{requestBodies[name], "{", `{"data":{"type":"wrong","id":"x"}}`}
	for _, body := range bodies {
		same(evil, body)
		// A token that lacks the permission is a stranger as well.
		if route.Access == api.AccessSiteAdmin {
			same(acme, body)
		} else if route.Permission != polset.PermissionRead {
			same(guest, body)
		}
	}
	if after := rows(); after != before {
		t.Errorf("a stranger changed something: %s\n%s", before, after)
	}
	owner := acme
	if route.Access == api.AccessSiteAdmin {
		owner = admin
	}
	if a := ask(owner, exists, routeIncludes[name], requestBodies[name]); a.status >= 400 {
		t.Errorf("not even the owner may: %d %s", a.status, a.body)
	}
}

func TestIsolationOfReferences(t *testing.T) {
	s := newServer(t)
	theirs := s.connect("evilcorp").TokenID
	set := s.follow("acme", "production")
	gone := s.install("gone", 43, "acme")
	for i := range s.installations {
		s.installations[i].DeletedAt = epoch
	}
	ask := func(token, method, path, attribute, id string) answer {
		return s.ask(token, method, path, `{"data":{"type":"policy-sets","attributes":{"name":"new","vcs-repo":{"identifier":"acme/policies","`+attribute+`":"`+id+`"}}}}`)
	}
	for _, c := range []struct{ name, attribute, foreign, missing string }{
		{"another organization's oauth token", "oauth-token-id", theirs, "ot-0000000000009999"},
		{"another organization's installation", "github-app-installation-id", s.install("evil", 44, "evilcorp").ID, "ghain-0000000000009999"},
		{"an installation of no organization", "github-app-installation-id", s.install("nobody", 45).ID, "ghain-0000000000009999"},
		{"an installation that was deleted", "github-app-installation-id", gone.ID, "ghain-0000000000009999"},
		{"an oauth token as an installation", "github-app-installation-id", set.VCS.TokenID, "ghain-0000000000009999"},
		{"an installation as an oauth token", "oauth-token-id", s.install("acme", 46, "acme").ID, "ot-0000000000009999"},
	} {
		for _, token := range []string{acme, admin} { // not even the site admin may lend it
			for _, path := range []string{"POST /organizations/acme/policy-sets", "PATCH /policy-sets/" + set.ID} {
				t.Run("case 80 "+c.name+", "+path, func(t *testing.T) {
					method, path, _ := strings.Cut(path, " ")
					foreign, missing := ask(token, method, path, c.attribute, c.foreign), ask(token, method, path, c.attribute, c.missing)
					refused(t, foreign, http.StatusUnprocessableEntity, "/data/attributes/vcs-repo/"+c.attribute)
					if foreign.body != missing.body {
						t.Errorf("foreign: %s\nmissing: %s", foreign.body, missing.body)
					}
				})
			}
		}
	}
	t.Run("case 80 the list of installations holds one's own", func(t *testing.T) {
		for _, query := range []string{"", "?filter%5Bname%5D=evil", "?filter%5Binstallation_id%5D=44"} {
			if a := s.ask(acme, "GET", "/github-app/installations"+query, ""); a.status != http.StatusOK || strings.Contains(a.body, "evil/") || strings.Contains(a.body, `"name":"nobody"`) || strings.Contains(a.body, "evilcorp") {
				t.Errorf("%s: %d %s", query, a.status, a.body)
			}
		}
		if a := s.ask(evil, "GET", "/github-app/installations", ""); !strings.Contains(a.body, `"total-count":1`) {
			t.Error(a.body)
		}
	})
	t.Run("case 80 the list of organizations holds one's own", func(t *testing.T) {
		if a := s.ask(acme, "GET", "/organizations", ""); strings.Contains(a.body, "evilcorp") || !strings.Contains(a.body, `"total-count":1`) {
			t.Error(a.body)
		}
	})
	t.Run("case 80 only the site admin makes organizations", func(t *testing.T) {
		body := `{"data":{"type":"organizations","attributes":{"name":"mine"}}}`
		problemsOf(t, s.ask(acme, "POST", "/organizations", body), http.StatusNotFound)
		if a := s.ask(admin, "POST", "/organizations", body); a.status != http.StatusCreated {
			t.Error(a.body)
		}
	})
}
