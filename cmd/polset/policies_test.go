package main_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset/internal/polsettest"
)

// upload gives a policy its code.
func (n *node) upload(policyID, code string) {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodPut, n.URL+"/api/v2/policies/"+policyID+"/upload", strings.NewReader(code))
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bootstrap)
	req.Header.Set("Content-Type", "application/octet-stream")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		n.t.Fatalf("the upload was answered %s", res.Status)
	}
}

// materialized lists what was made of a set's own policies, the newest first.
func (n *node) materialized(setID string) []any {
	n.t.Helper()
	return list(n.must(200, "GET", "/api/v2/policy-sets/"+setID+"/versions?filter%5Bsource%5D=policies", nil), "data")
}

// A set of policies that are managed one by one is a version like any other,
// within a moment, and after a crash too.
func TestPoliciesBecomeVersion(t *testing.T) {
	git := polsettest.NewGit(t)
	dir := t.TempDir()
	n := start(t, env(git, dir))
	n.Organization("acme")
	setID := text(n.must(201, "POST", "/api/v2/organizations/acme/policy-sets", resource("policy-sets", document{"name": "single", "kind": "opa"})), "data", "id")
	policy := func(name string) string {
		return text(n.must(201, "POST", "/api/v2/organizations/acme/policies", document{"data": document{
			"type":          "policies",
			"attributes":    document{"name": name, "kind": "opa", "query": "data." + name + ".deny", "enforcement-level": "advisory"},
			"relationships": document{"policy-sets": document{"data": []document{{"type": "policy-sets", "id": setID}}}},
		}}), "data", "id")
	}
	code := func(name string) string { return "package " + name + "\n\ndeny contains \"no\" if input.no\n" }
	// inForce waits for a ready version that is newer than those known.
	known := 0
	inForce := func() any {
		t.Helper()
		var versions []any
		eventually(t, 10*time.Second, "materialized", func() bool {
			versions = n.materialized(setID)
			return len(versions) > known && text(versions[0], "attributes", "status") == "ready"
		})
		known = len(versions)
		return versions[0]
	}

	b := policy("b")
	n.upload(b, code("b"))
	inForce()
	a := policy("a")
	n.upload(a, code("a"))
	v := inForce()
	files := entries(t, n.Download(v))
	var names []string
	for name := range files {
		names = append(names, name)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"a.rego", "b.rego", "policies.hcl"}) || files["a.rego"] != "100644 "+code("a") {
		t.Errorf("the archive holds %q", files)
	}
	if text(v, "attributes", "source") != "policies" || get(v, "attributes", "ingress-attributes") != nil {
		t.Errorf("version %v", v)
	}
	if shown := n.must(200, "GET", "/api/v2/policy-set-versions/"+text(v, "id"), nil); text(shown, "data", "id") != text(v, "id") {
		t.Errorf("show: %v", shown)
	}

	// Clients take the set for one that is managed policy by policy.
	set := n.must(200, "GET", "/api/v2/policy-sets/"+setID, nil)
	if get(set, "data", "attributes", "versioned") != false || n.Current(setID) != "" || len(n.Versions(setID)) != 0 {
		t.Errorf("set %v", set)
	}
	if code, _ := n.Call("GET", "/api/v2/policy-sets/"+setID+"/versions?filter%5Bsource%5D=git", nil); code != 400 {
		t.Errorf("an unknown source was answered %d", code)
	}

	// A level makes another version; the name of the set and the same level do not.
	level := func(level string) {
		n.must(200, "PATCH", "/api/v2/policies/"+a, resource("policies", document{"enforcement-level": level}))
	}
	level("mandatory")
	v = inForce()
	if !strings.Contains(entries(t, n.Download(v))["policies.hcl"], `enforcement_level = "mandatory"`) {
		t.Error("the level is not in the archive")
	}
	history := len(n.Ingestions(setID))
	n.must(200, "PATCH", "/api/v2/policy-sets/"+setID, resource("policy-sets", document{"name": "renamed", "description": "changed"}))
	level("mandatory")
	n.upload(b, code("b"))
	eventually(t, 10*time.Second, "looked at", func() bool { return len(n.Ingestions(setID)) > history })
	if i := n.Ingestions(setID)[0]; text(i, "attributes", "status") != "unchanged" || text(i, "attributes", "cause") != "policies" {
		t.Errorf("the same code once more: %v", i)
	}
	if got := n.materialized(setID); len(got) != known {
		t.Errorf("%d versions, want %d", len(got), known)
	}

	n.upload(a, code("a")+"# after a crash\n")
	n.Kill()
	n = start(t, env(git, dir))
	eventually(t, 10*time.Second, "finished after the crash", func() bool {
		v := n.materialized(setID)[0]
		return text(v, "attributes", "status") == "ready" && strings.Contains(entries(t, n.Download(v))["a.rego"], "after a crash")
	})
	n.Stop()
	if out, err := command(t, env(git, dir), "audit", "verify"); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}
