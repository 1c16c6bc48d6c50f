package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
)

var update = flag.Bool("update", false, "write the golden documents")

// golden compares a document with testdata/<name>.json, the server's address
// replaced by a fixed one.
func golden(t *testing.T, name string, a answer, url string) {
	t.Helper()
	var got bytes.Buffer
	if err := json.Indent(&got, []byte(strings.ReplaceAll(a.body, url, "https://polset.example")), "", "  "); err != nil {
		t.Fatalf("%s: %v: %s", name, err, a.body)
	}
	file := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

func TestDocuments(t *testing.T) {
	s := newServer(t)
	set := s.follow("acme", "production")
	version := "/policy-set-versions/" + set.NewestVersionID
	path := "/policy-sets/" + set.ID

	for _, c := range []struct{ name, method, path, body string }{
		{"organization", "GET", "/organizations/acme", ""},
		{"oauth_client", "GET", "/oauth-clients/" + s.connections[0].ID, ""},
		{"policy_set_create", "POST", "/organizations/acme/policy-sets", `{"data":{"type":"policy-sets","attributes":{"name":"next",
			"vcs-repo":{"identifier":"acme/policies","oauth-token-id":"` + s.connections[0].TokenID + `","github-app-installation-id":"","branch":null}}}}`},
		{"policy_set_bare", "POST", "/organizations/acme/policy-sets", `{"data":{"type":"policy-sets","attributes":{"name":"bare"}}}`},
		{"policy_set_update", "PATCH", path, `{"data":{"type":"policy-sets","attributes":{"description":"<b>&</b>","overridable":true}}}`},
		{"policy_set", "GET", path, ""},
		{"policy_set_include", "GET", path + "?include=newest-version,current_version", ""},
		{"policy_set_list", "GET", "/organizations/acme/policy-sets?page%5Bsize%5D=2&include=newest_version", ""},
		{"policy_set_list_beyond", "GET", "/organizations/acme/policy-sets?page%5Bnumber%5D=999", ""},
		{"version_pending", "GET", version, ""},
		{"ingestions", "GET", path + "/ingestions", ""},
		{"error_many", "POST", "/organizations/acme/policy-sets", `{"data":{"type":"policy-sets","attributes":{"name":"a b","kind":"tfpolicy","policies-path":"a/../b","vcs-repo":{"branch":"-x"}}}}`},
		{"error_not_found", "GET", "/policy-sets/polset-none", ""},
	} {
		golden(t, c.name, s.ask(acme, c.method, c.path, c.body), s.url)
	}
	s.finish(set.ID, []byte("archive"))
	golden(t, "version_ready", s.ask(acme, "GET", version+"?include=policy_set", ""), s.url)
	golden(t, "versions", s.ask(acme, "GET", path+"/versions?filter%5Bstatus%5D=ready,errored&filter%5Bcommit-sha%5D="+strings.ToUpper(commit), ""), s.url)

	for i := range s.versions {
		if s.versions[i].ID == set.NewestVersionID {
			s.versions[i].Status, s.versions[i].ErroredAt = polset.VersionErrored, epoch
			s.versions[i].Error, s.versions[i].ErrorMessage = polset.ClassPathNotFound, "policies-path does not exist."
			s.versions[i].Commit = ""
			s.versions[i].Diagnostics = []polset.Diagnostic{{File: "policies/policies.hcl", Line: 3, Column: 7, Message: "unclosed block"}}
		}
	}
	golden(t, "version_errored", s.ask(acme, "GET", version, ""), s.url)
}

func TestDocumentsOfTheApp(t *testing.T) {
	s := newServer(t)
	s.app = theApp()
	set := s.followByApp("acme", "production")
	s.install("evilcorp", 43, "evilcorp")
	installation := "/github-app/installation/" + s.installations[0].ID
	path := "/policy-sets/" + set.ID
	s.sets[0].Degraded = &polset.Degradation{
		Reason: polset.DegradedInstallationSuspended, Message: "The installation on acme is suspended. Unsuspend it on GitHub.", Since: epoch,
	}
	s.sets[0].Completeness = &polset.Completeness{
		Head: strings.Repeat("1", 40), HeadAt: epoch, LookedAt: epoch.Add(time.Minute),
		Ingested: commit, IngestedAt: epoch.Add(-time.Hour), Gap: 60*time.Second + time.Millisecond,
	}
	for _, c := range []struct{ name, token, method, path, body string }{
		{"installation", acme, "GET", installation, ""},
		{"installation_admin", admin, "GET", installation, ""},
		{"installation_list", acme, "GET", "/github-app/installations", ""},
		{"installation_list_admin", admin, "GET", "/github-app/installations?page%5Bsize%5D=1", ""},
		{"setup_link", acme, "POST", "/organizations/acme/github-app/setup-links", ""},
		{"policy_set_app", acme, "GET", path, ""},
		{"ingestion", acme, "POST", path + "/actions/ingest", `{"data":{"attributes":{"commit":"` + commit + `"}}}`},
		{"ingestions_app", acme, "GET", path + "/ingestions", ""},
	} {
		golden(t, c.name, s.ask(c.token, c.method, c.path, c.body), s.url)
	}
	s.follow("acme", "by-token")
	hook := s.sets[1].VCS
	hook.HookState, hook.HookMessage = polset.HookManual, "Add the webhook by hand."
	golden(t, "policy_set_manual_hook", s.ask(acme, "GET", "/policy-sets/"+s.sets[1].ID, ""), s.url)
}
