package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// scalr is where the other dialect is spoken.
const scalr = "/api/iacp/v3"

func TestScalrsDialect(t *testing.T) {
	s, _ := softFailed(t)
	show, list := s.url+scalr+"/policy-checks/pchk-0000000000000003", s.url+scalr+"/runs/"+fakeRun+"/policy-checks"
	for prefer, applied := range map[string]string{
		"profile=preview": "profile=preview", `respond-async, Profile = "preview"; x=1`: "profile=preview", "profile=other": "", "": "", "return=minimal": "",
	} {
		for _, path := range []string{show, list, show + "/output"} {
			a := s.askWith(acme, "GET", path, "", http.Header{"Prefer": {prefer}})
			if got := a.header.Get("Preference-Applied"); got != applied || a.status >= 400 {
				t.Errorf("%q: %d, applied %q, want %q", prefer, a.status, got, applied)
			}
		}
	}
	for _, path := range []string{
		s.url + scalr + "/policy-checks/pchk-0000000000009999", s.url + scalr + "/policy-checks/" + fakeCheck, s.url + scalr + "/policy-checks/pchk-",
		s.url + scalr + "/policy-checks/pchk.x", s.url + scalr + "/runs/run-0000000000009999/policy-checks",
	} {
		problemsOf(t, s.ask(acme, "GET", path, ""), http.StatusForbidden)
	}
	for _, path := range []string{show, list} {
		problemsOf(t, s.ask(evil, "GET", path, ""), http.StatusForbidden)
		problemsOf(t, s.ask("wrong", "GET", path, ""), http.StatusUnauthorized)
	}
	for _, ask := range [][2]string{{"GET", show + "/output"}, {"POST", show + "/actions/override"}} {
		problemsOf(t, s.ask(evil, ask[0], ask[1], ""), http.StatusNotFound)
		problemsOf(t, s.ask(acme, ask[0], strings.Replace(ask[1], "0003", "9999", 1), ""), http.StatusNotFound)
	}
	problemsOf(t, s.ask(acme, "GET", s.url+scalr+"/workspaces", ""), http.StatusNotFound)
	problemsOf(t, s.ask(acme, "DELETE", show, ""), http.StatusNotFound)

	a := s.ask(acme, "GET", list+"?page%5Bsize%5D=1&page%5Bnumber%5D=2", "")
	if !strings.Contains(a.body, `"id":"pchk-0000000000000003"`) || strings.Contains(a.body, "pchk-0000000000000001") || !strings.Contains(a.body, `"total-count":2`) || !strings.Contains(a.body, `"prev":"`+list+`?page%5Bnumber%5D=1`) {
		t.Error(a.body)
	}
}

// A link to a text says no more than its holder may see, and no longer.
func TestLinksToTexts(t *testing.T) {
	s, _ := softFailed(t)
	location := s.ask(guest, "GET", s.url+scalr+"/policy-checks/pchk-0000000000000003/output", "").header.Get("Location")
	whole := s.ask("", "GET", location, "")
	if whole.status != http.StatusOK || !strings.HasPrefix(whole.body, "1 policies evaluated") || whole.header.Get("Referrer-Policy") != "no-referrer" {
		t.Fatalf("%d %s", whole.status, whole.body)
	}
	if head := s.ask("", "HEAD", location, ""); head.status != http.StatusOK || head.body != "" {
		t.Errorf("%d %q", head.status, head.body)
	}
	for query, want := range map[string]string{
		"?offset=2&limit=8": "policies", "?offset=99999": "", "?limit=0": "", "?offset=0&limit=99999": whole.body,
	} {
		if a := s.ask("", "GET", location+query, ""); a.status != http.StatusOK || a.body != want {
			t.Errorf("%s: %d %q", query, a.status, a.body)
		}
	}
	for _, query := range []string{"?offset=-1", "?limit=x", "?limit=99999999999999999999"} {
		problemsOf(t, s.ask("", "GET", location+query, ""), http.StatusBadRequest)
	}
	problemsOf(t, s.askWith("", "PUT", location, "x", nil), http.StatusForbidden)
	delete(s.tokens, guest)
	problemsOf(t, s.ask("", "GET", location, ""), http.StatusForbidden)
	other := s.ask(acme, "GET", s.url+scalr+"/policy-checks/pchk-0000000000000003/output", "").header.Get("Location")
	s.clock.Store(int64(time.Hour))
	problemsOf(t, s.ask("", "GET", other, ""), http.StatusForbidden)
}
