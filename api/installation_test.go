package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/polset/polset"
)

func TestInstallationList(t *testing.T) {
	s := newServer(t)
	for n := range int64(3) {
		s.install(fmt.Sprintf("Account-%d", n), 40+n, "acme")
	}
	s.install("theirs", 50, "evilcorp")
	s.install("gone", 51, "acme")
	s.installations[4].DeletedAt = epoch
	list := "/github-app/installations"
	for _, c := range []struct {
		token, query string
		status       int
		contains     string
	}{
		{acme, "", 200, `"total-count":3`},
		{guest, "", 200, `"total-count":3`},
		{admin, "", 200, `"total-count":4`},
		{evil, "", 200, `"total-count":1`},
		{acme, "?page[size]=2&page[number]=2", 200, `"current-page":2,"page-size":2,"prev-page":1,"next-page":null,"total-pages":2,"total-count":3`},
		{acme, "?filter[name]=account-1", 200, `"name":"Account-1"`},
		{acme, "?filter[name]=account-1", 200, `"total-count":1`},
		{acme, "?filter[name]=account", 200, `"total-count":0`},
		{acme, "?filter[installation_id]=42", 200, `"name":"Account-2"`},
		{acme, "?filter[installation_id]=42&filter[name]=Account-1", 200, `"total-count":0`},
		{acme, "?filter[installation_id]=ghain-1", 400, `"parameter":"filter[installation_id]"`},
		{acme, "?filter[installation_id]=-1", 400, `"parameter":"filter[installation_id]"`},
		{acme, "?filter[installation_id]=99999999999999999999", 400, `"parameter":"filter[installation_id]"`},
		{acme, "?filter[name]=" + strings.Repeat("x", 129), 400, `"parameter":"filter[name]"`},
		{"", "", 401, "unauthorized"},
	} {
		lists := []string{list, "/github-app-installations"}
		if c.token == acme || c.token == guest {
			lists = append(lists, "/organizations/acme/github-app-installations")
		}
		for _, list := range lists {
			path := list + strings.NewReplacer("[", "%5B", "]", "%5D").Replace(c.query)
			if a := s.ask(c.token, "GET", path, ""); a.status != c.status || !strings.Contains(a.body, c.contains) {
				t.Errorf("%s %s %s: %d %s", c.token, list, c.query, a.status, a.body)
			}
		}
	}
	a := s.ask(admin, "GET", "/organizations/acme/github-app-installations", "")
	if a.status != http.StatusOK || !strings.Contains(a.body, `"total-count":3`) || strings.Contains(a.body, "evilcorp") {
		t.Errorf("acme's, to the site admin: %d %s", a.status, a.body)
	}
	gone := "/github-app/installation/" + s.installations[4].ID
	problemsOf(t, s.ask(acme, "GET", gone, ""), http.StatusNotFound)
	if a := s.ask(admin, "GET", gone, ""); a.status != http.StatusOK || !strings.Contains(a.body, `"deleted":true`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestBindingInstallations(t *testing.T) {
	s := newServer(t)
	path := "/github-app/installation/" + s.install("acme", 42).ID + "/relationships/organizations"
	linkage := func(names ...string) string {
		members := make([]string, len(names))
		for i, name := range names {
			// Clients send the whole resource.
			members[i] = `{"type":"organizations","id":"` + name + `","attributes":{"name":7},"relationships":[]}`
		}
		return `{"data":[` + strings.Join(members, ",") + `]}`
	}
	for _, c := range []struct {
		name, method, body string
		want               []string
	}{
		{"one", "POST", linkage("acme"), []string{"acme"}},
		{"one again", "POST", linkage("acme"), []string{"acme"}},
		{"another", "POST", linkage("evilcorp"), []string{"acme", "evilcorp"}},
		{"none", "POST", linkage(), []string{"acme", "evilcorp"}},
		{"take one", "DELETE", linkage("acme"), []string{"evilcorp"}},
		{"take it again", "DELETE", linkage("acme"), []string{"evilcorp"}},
		{"both, twice", "POST", linkage("acme", "evilcorp", "acme"), []string{"acme", "evilcorp"}},
		{"take both", "DELETE", linkage("acme", "evilcorp"), []string{}},
	} {
		if a := s.ask(admin, c.method, path, c.body); a.status != http.StatusNoContent || !slices.Equal(s.installations[0].Organizations, c.want) {
			t.Errorf("%s: %d %s %v", c.name, a.status, a.body, s.installations[0].Organizations)
		}
	}
	for _, method := range []string{"POST", "DELETE"} {
		for _, c := range []struct {
			name, body string
			status     int
			pointer    string
		}{
			{"an unknown organization", linkage("acme", "nobody"), 422, "/data/1/id"},
			{"an organization without a name", linkage(""), 422, "/data/0/id"},
			{"a name that none can have", linkage("a/b"), 422, "/data/0/id"},
			{"another type", `{"data":[{"type":"policy-sets","id":"acme"}]}`, 409, "/data/0/type"},
			{"no type", `{"data":[{"id":"acme"}]}`, 422, "/data/0/type"},
			{"no list", `{"data":{"type":"organizations","id":"acme"}}`, 422, "/data"},
			{"no data", `{}`, 422, "/data"},
			{"too many", linkage(slices.Repeat([]string{"acme"}, 101)...), 422, "/data"},
			{"NUL", linkage(`a\u0000`), 422, "/data/0/id"},
			{"no JSON", `x`, 400, ""},
		} {
			t.Run(method+" "+c.name, func(t *testing.T) {
				refused(t, s.ask(admin, method, path, c.body), c.status, c.pointer)
				if len(s.installations[0].Organizations) != 0 {
					t.Error("half of it was done")
				}
			})
		}
	}
	t.Run("an installation that was deleted", func(t *testing.T) {
		s.installations[0].DeletedAt, s.installations[0].Organizations = epoch, []string{"acme"}
		problemsOf(t, s.ask(admin, "POST", path, linkage("evilcorp")), http.StatusConflict)
		if a := s.ask(admin, "DELETE", path, linkage("acme")); a.status != http.StatusNoContent || len(s.installations[0].Organizations) != 0 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

func TestSetupLinks(t *testing.T) {
	s := newServer(t)
	ask := func(token, org string) answer {
		return s.ask(token, "POST", "/organizations/"+org+"/github-app/setup-links", "")
	}
	if p := problemsOf(t, ask(acme, "acme"), http.StatusConflict)[0]; !strings.Contains(p.Detail, "no GitHub App yet") {
		t.Error(p)
	}
	// Whether there is an App is nothing that a stranger learns.
	problemsOf(t, ask(acme, "evilcorp"), http.StatusNotFound)
	problemsOf(t, ask(guest, "acme"), http.StatusNotFound)

	s.app = &polset.App{ID: 1, PrivateKey: polset.NewSecret("private-key")}
	if p := problemsOf(t, ask(acme, "acme"), http.StatusConflict)[0]; !strings.Contains(p.Detail, "client secret") {
		t.Error(p)
	}
	if len(s.links) != 0 {
		t.Errorf("links were made: %v", s.links)
	}

	s.app = theApp()
	want := `"url":"` + s.url + "/setup/github?token=" + url.QueryEscape(setupToken) + `"`
	for _, token := range []string{acme, admin} {
		a := ask(token, "acme")
		if a.status != http.StatusCreated || !strings.Contains(a.body, want) || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%d %s %v", a.status, a.body, a.header)
		}
	}
	if !slices.Equal(s.links, []string{"acme", "acme"}) {
		t.Errorf("links of %v", s.links)
	}
	for _, entry := range s.logs.All() {
		for _, field := range entry.Context {
			if text := fmt.Sprint(field.String, field.Interface); strings.Contains(text, setupToken) || strings.Contains(text, url.QueryEscape(setupToken)) {
				t.Errorf("logged: %s", text)
			}
		}
	}
}
