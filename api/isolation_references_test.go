package api_test

import (
	"net/http"
	"strings"
	"testing"
)

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
