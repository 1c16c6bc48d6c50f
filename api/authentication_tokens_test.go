package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
)

var (
	_ = thing("authentication_token", func(e *estate) string { return e.tokenID })
	_ = probe("POST /organizations/:organization/authentication-tokens",
		`{"data":{"type":"authentication-tokens","attributes":{"description":"of the pipeline","permissions":["manage-policies"]}}}`)
	_ = probe("POST /admin/authentication-tokens", `{"data":{"type":"authentication-tokens","attributes":{"description":"another admin"}}}`)
)

type tokenDocument struct {
	Data struct {
		ID         string
		Attributes map[string]any
	}
}

func TestAuthenticationTokens(t *testing.T) {
	w := newWorld(t)
	create := func(path, attributes string) tokenDocument {
		t.Helper()
		a := w.ask(admin, "POST", path, `{"data":{"type":"authentication-tokens","attributes":`+attributes+`}}`)
		if a.status != http.StatusCreated {
			t.Fatalf("%d %s", a.status, a.body)
		}
		var doc tokenDocument
		if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
			t.Fatal(err)
		}
		return doc
	}
	const path = "/organizations/acme/authentication-tokens"
	expiry := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	made := create(path, `{"description":"of the pipeline","permissions":["manage-policies"],"expired-at":"`+expiry.Format(time.RFC3339)+`"}`)
	secret, _ := made.Data.Attributes["token"].(string)
	if !strings.HasPrefix(secret, "polset_") {
		t.Fatalf("created %v", made)
	}
	own := "/authentication-tokens/" + made.Data.ID

	t.Run("the secret is shown once", func(t *testing.T) {
		for _, p := range []string{own, path} {
			if a := w.ask(admin, "GET", p, ""); a.status != http.StatusOK || !strings.Contains(a.body, `"description":"of the pipeline","token":null,"expired-at":"`+expiry.Format("2006-01-02T15:04:05.000Z")+`","permissions":["read","create-runs","manage-policies"]`) || strings.Contains(a.body, secret) {
				t.Errorf("%s: %d %s", p, a.status, a.body)
			}
		}
	})
	t.Run("it may do what it may", func(t *testing.T) {
		if a := w.ask(secret, "GET", "/organizations/acme", ""); a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := w.ask(secret, "POST", "/organizations/acme/policy-sets", `{"data":{"type":"policy-sets","attributes":{"name":"made"}}}`); a.status != http.StatusCreated {
			t.Errorf("%d %s", a.status, a.body)
		}
		problemsOf(t, w.ask(secret, "POST", path, `{"data":{"type":"authentication-tokens"}}`), http.StatusNotFound)
		problemsOf(t, w.ask(secret, "DELETE", own, ""), http.StatusNotFound)
	})
	t.Run("a token sees itself and no other", func(t *testing.T) {
		if a := w.ask(secret, "GET", own, ""); a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.body)
		}
		problemsOf(t, w.ask(w.acme, "GET", own, ""), http.StatusNotFound)
		problemsOf(t, w.ask(w.acme, "GET", path, ""), http.StatusNotFound)
	})
	t.Run("when it was used", func(t *testing.T) {
		if a := w.ask(admin, "GET", own, ""); !strings.Contains(a.body, `"last-used-at":null`) {
			t.Error(a.body)
		}
		if err := w.store.RecordTokenUse(t.Context()); err != nil {
			t.Fatal(err)
		}
		if a := w.ask(admin, "GET", own, ""); !strings.Contains(a.body, `"last-used-at":"`+time.Now().UTC().Format("2006-01-02T")) || !strings.Contains(a.body, `:00.000Z","description"`) {
			t.Error(a.body)
		}
	})
	t.Run("a page of many", func(t *testing.T) {
		a := w.ask(admin, "GET", path+"?page%5Bsize%5D=1&page%5Bnumber%5D=3", "")
		// Those of the world, and this one.
		if a.status != http.StatusOK || !strings.Contains(a.body, `"current-page":3,"page-size":1,"prev-page":2,"next-page":null,"total-pages":3,"total-count":3`) {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("a site admin's", func(t *testing.T) {
		site := create("/admin/authentication-tokens", `{"description":"another admin"}`)
		theirs := site.Data.Attributes["token"].(string)
		for _, p := range []string{"/admin/authentication-tokens", path, "/authentication-tokens/" + site.Data.ID} {
			if a := w.ask(theirs, "GET", p, ""); a.status != http.StatusOK {
				t.Errorf("%s: %d %s", p, a.status, a.body)
			}
		}
		if a := w.ask(theirs, "GET", "/admin/authentication-tokens", ""); !strings.Contains(a.body, `"total-count":1`) || !strings.Contains(a.body, `"organization":{"data":null}`) {
			t.Error(a.body)
		}
		if a := w.ask(theirs, "DELETE", "/authentication-tokens/"+site.Data.ID, ""); a.status != http.StatusNoContent {
			t.Errorf("%d %s", a.status, a.body)
		}
		problemsOf(t, w.ask(theirs, "GET", "/organizations", ""), http.StatusUnauthorized)
	})
	t.Run("what cannot be", func(t *testing.T) {
		for _, c := range []struct{ path, attributes, pointer string }{
			{path, `{"expired-at":"2020-01-01T00:00:00Z"}`, "expired-at"},
			{path, `{"expired-at":"tomorrow"}`, "expired-at"},
			{path, `{"expired-at":7}`, "expired-at"},
			{path, `{"permissions":["everything"]}`, "permissions"},
			{path, `{"permissions":"read"}`, "permissions"},
			{path, `{"description":"` + strings.Repeat("x", 4097) + `"}`, "description"},
			{"/admin/authentication-tokens", `{"permissions":["read"]}`, "permissions"},
		} {
			refused(t, w.ask(admin, "POST", c.path, `{"data":{"type":"authentication-tokens","attributes":`+c.attributes+`}}`),
				http.StatusUnprocessableEntity, "/data/attributes/"+c.pointer)
		}
		problemsOf(t, w.ask(admin, "POST", "/organizations/nobody/authentication-tokens", `{"data":{"type":"authentication-tokens"}}`), http.StatusNotFound)
		problemsOf(t, w.ask(admin, "GET", "/organizations/nobody/authentication-tokens", ""), http.StatusNotFound)
	})
	t.Run("case 82 a revoked token", func(t *testing.T) {
		if a := w.ask(admin, "DELETE", own, ""); a.status != http.StatusNoContent {
			t.Fatalf("%d %s", a.status, a.body)
		}
		problemsOf(t, w.ask(secret, "GET", "/organizations/acme", ""), http.StatusUnauthorized)
		problemsOf(t, w.ask(admin, "GET", own, ""), http.StatusNotFound)
		problemsOf(t, w.ask(admin, "DELETE", own, ""), http.StatusNotFound)
		if a := w.ask(admin, "GET", path, ""); strings.Contains(a.body, made.Data.ID) {
			t.Error(a.body)
		}
	})
	t.Run("case 82 an expired token", func(t *testing.T) {
		soon := time.Now().Add(time.Second)
		_, short, err := w.store.CreateToken(t.Context(), polset.System, polset.Token{Organization: "acme", ExpiresAt: soon})
		if err != nil {
			t.Fatal(err)
		}
		if a := w.ask(short.Reveal(), "GET", "/organizations/acme", ""); a.status != http.StatusOK {
			t.Fatalf("before it expired: %d %s", a.status, a.body)
		}
		<-time.After(time.Until(soon) + 10*time.Millisecond) // the database's clock cannot be set
		problemsOf(t, w.ask(short.Reveal(), "GET", "/organizations/acme", ""), http.StatusUnauthorized)
	})
	t.Run("the audit trail tells", func(t *testing.T) {
		a := w.ask(admin, "GET", "/organization/audit-trail?organization=acme", "")
		for _, action := range []string{"created", "revoked"} {
			want := `"resource":{"id":"` + made.Data.ID + `","type":"token","action":"` + action + `"`
			if !strings.Contains(a.body, want) || strings.Contains(a.body, secret) {
				t.Errorf("no %s in %s", want, a.body)
			}
		}
	})
}
