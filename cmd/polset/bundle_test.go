package main_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/polset/polset/internal/polsettest"
)

// opaSet is a policy set in a directory of a repository, whose policy says word.
func opaSet(dir, pkg, word string) map[string]string {
	return map[string]string{
		dir + "/policies.hcl":            "policy \"" + pkg + "\" {\n  query = \"data.terraform." + pkg + ".deny\"\n  enforcement_level = \"mandatory\"\n}\n",
		dir + "/deny.rego":               "package terraform." + pkg + "\n\ndeny contains sprintf(\"" + word + ": %s\", [data.terraform." + pkg + "_limits.name]) if input.plan.bad\n",
		dir + "/old.rego":                "package terraform." + pkg + "_v0\n\ndeny[msg] { msg := \"v0 " + word + "\" }\n",
		dir + "/deny_test.rego":          "package terraform." + pkg + "_test\n\nimport data.terraform." + pkg + "\n\ntest_deny if count(" + pkg + ".deny) == 1 with input.plan.bad as true\n",
		dir + "/terraform/data.json":     `{"` + pkg + `_limits": {"name": "` + pkg + `"}}`,
		dir + "/" + pkg + "/README.md":   "Not for OPA.",
		dir + "/" + pkg + "/policy.json": "{}",
	}
}

// merged is several sets in one commit.
func merged(sets ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, set := range sets {
		for name, content := range set {
			all[name] = content
		}
	}
	return all
}

// A push reaches a real opa within seconds, and so does no broken one; what an
// agent has outlives polset and its own token.
func TestAgentFollowsPushes(t *testing.T) {
	git := polsettest.NewGit(t)
	repo := git.Create("acme/policies")
	repo.RequireToken(gitToken)
	last := repo.Commit("main", merged(opaSet("security", "security", "one"), opaSet("costs", "costs", "cheap")))
	dir := t.TempDir()
	n := start(t, env(git, dir))
	connection := n.Organization("acme")
	ids := map[string]string{}
	for _, name := range []string{"security", "costs"} {
		ids[name] = text(n.PolicySet(set{Org: "acme", Name: name, Path: name, Repo: "acme/policies", Branch: "main", Token: connection}), "data", "id")
	}
	for _, id := range ids {
		n.Settled(id, time.Minute)
	}
	tokenID, token := n.Token("acme")
	// One of the two requests waits for longer than a stop may take.
	a := startAgent(t, agentExample(t, "config.yaml", "min_delay_seconds: 5", "min_delay_seconds: 1", "max_delay_seconds: 30", "max_delay_seconds: 2",
		"allow (nginx and AWS: 60); polset answers after 120 in\n      # any case.\n      long_polling_timeout_seconds: 50", "allow.\n      long_polling_timeout_seconds: 2"), n.URL, token)
	a.Loads("security")
	a.Loads("costs")
	bad := document{"plan": document{"bad": true}}
	a.answers("terraform/security/deny", bad, []string{"one: security"})
	a.answers("terraform/security/deny", document{}, []string{})
	a.answers("terraform/security_v0/deny", bad, []string{"v0 one"})
	a.answers("terraform/security_test/test_deny", nil, true)
	a.answers("terraform/costs/deny", bad, []string{"cheap: costs"})
	eventually(t, time.Minute, "a wait that ended without news", func() bool {
		for line := range strings.Lines(n.Log()) {
			if strings.Contains(line, `"route":"/bundles/`) && strings.Contains(line, `"status":304`) {
				return true
			}
		}
		return false
	})

	push := func(files map[string]string) {
		t.Helper()
		before := last
		last = repo.Commit("main", files)
		n.push(202, repo.Push("main", before, last))
	}
	push(opaSet("security", "security", "two"))
	began := time.Now()
	a.Loads("security")
	// A second of looking, and the ingestion; the race detector takes its time.
	if elapsed := time.Since(began); elapsed > 30*time.Second {
		t.Errorf("the push took %s to reach the agent", elapsed)
	}
	a.answers("terraform/security/deny", bad, []string{"two: security"})

	// A broken push is no version in force: nothing for an agent to load, be it a
	// file that is wrong or two that only OPA would not load together.
	for _, broken := range [][2]string{
		{"security/deny.rego", "package terraform.security\n\ndeny contains if\n"},
		{"security/terraform/data.json", `{"security": {"deny": []}}`},
	} {
		files := opaSet("security", "security", "three")
		files[broken[0]] = broken[1]
		push(files)
		n.Settled(ids["security"], time.Minute)
		newest := n.Newest(ids["security"])
		if status, why := text(newest, "attributes", "status"), text(newest, "attributes", "error-message"); status != "errored" || !strings.Contains(why, "security/deny.rego:3:") {
			t.Fatalf("the push with a broken %s is %s: %s", broken[0], status, why)
		}
		a.answers("terraform/security/deny", bad, []string{"two: security"})
	}
	push(opaSet("security", "security", "four"))
	a.Loads("security")
	a.answers("terraform/security/deny", bad, []string{"four: security"})
	if loaded := a.Loaded("security"); loaded != 3 {
		t.Errorf("the agent loaded %d versions, want 3", loaded)
	}
	if loaded := a.Loaded("costs"); loaded != 1 {
		t.Errorf("the agent loaded the other set %d times, although it did not change", loaded)
	}

	// polset goes while the agent waits, which does not keep it; and comes back.
	if code := n.Stop(); code != 0 || strings.Contains(n.Log(), "requests cut off") {
		t.Errorf("polset stopped with %d", code)
	}
	a.answers("terraform/security/deny", bad, []string{"four: security"})
	n = start(t, env(git, dir, "POLSET_LISTEN="+strings.TrimPrefix(n.URL, "http://")))
	push(opaSet("security", "security", "five"))
	a.Loads("security")
	a.answers("terraform/security/deny", bad, []string{"five: security"})

	n.must(204, "DELETE", "/api/v2/authentication-tokens/"+tokenID, nil)
	a.Says("Unauthorized")
	a.answers("terraform/security/deny", bad, []string{"five: security"})
	push(opaSet("security", "security", "six"))
	n.Settled(ids["security"], time.Minute)
	a.Hears()
	a.Says("Unauthorized")
	a.answers("terraform/security/deny", bad, []string{"five: security"})
}

// An agent that knows the public key takes what polset signed, and nothing that
// was changed on the way.
func TestAgentVerifiesBundles(t *testing.T) {
	git := polsettest.NewGit(t)
	repo := git.Create("acme/policies")
	repo.RequireToken(gitToken)
	repo.Commit("main", opaSet("security", "security", "one"))
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(dir, "bundle.pem")
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600); err != nil {
		t.Fatal(err)
	}
	n := start(t, env(git, dir, "POLSET_BUNDLE_SIGNING_KEY="+keyFile))
	if !strings.Contains(n.Log(), "bundles are signed") || strings.Contains(n.Log(), "PRIVATE") {
		t.Error("the log does not name the key, or shows it")
	}
	id := text(n.PolicySet(set{Org: "acme", Name: "security", Path: "security", Repo: "acme/policies", Branch: "main", Token: n.Organization("acme")}), "data", "id")
	n.Settled(id, time.Minute)
	_, token := n.Token("acme")

	var indented strings.Builder
	for line := range strings.Lines(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))) {
		indented.WriteString("      " + line)
	}
	const placeholder = "      -----BEGIN PUBLIC KEY-----\n      MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE…\n      -----END PUBLIC KEY-----\n"
	config := agentExample(t, "signed.yaml", placeholder, indented.String())
	bad := document{"plan": document{"bad": true}}
	a := startAgent(t, config, n.URL, token)
	a.Loads("security")
	a.answers("terraform/security/deny", bad, []string{"one: security"})

	// Somebody between the two changes a policy, and puts the rest through.
	target, err := url.Parse(n.URL)
	if err != nil {
		t.Fatal(err)
	}
	var tampered atomic.Int32
	between := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(res *http.Response) error {
			if res.StatusCode != http.StatusOK {
				return nil
			}
			content, err := io.ReadAll(res.Body)
			if err = errors.Join(err, res.Body.Close()); err != nil {
				return err
			}
			changed := tamper(t, content)
			tampered.Add(1)
			res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(changed)), int64(len(changed))
			res.Header.Del("Content-Length")
			return nil
		},
	}
	web := httptest.NewServer(between)
	t.Cleanup(web.Close)
	b := startAgent(t, config, web.URL, token)
	b.Says("deny.rego: digest mismatch")
	if b.Answer("terraform/security", bad) != nil || b.Loaded("security") != 0 || tampered.Load() == 0 {
		t.Errorf("a bundle that was changed %d times on the way was loaded: %v", tampered.Load(), b.Answer("terraform/security", bad))
	}
	// One that was not told the key takes no signed bundle for an unsigned one.
	c := startAgent(t, agentExample(t, "config.yaml"), n.URL, token)
	c.Says("verification key not provided")
}

// tamper makes every policy of a bundle deny nothing.
func tamper(t *testing.T, bundle []byte) []byte {
	t.Helper()
	gz, err := gzip.NewReader(bytes.NewReader(bundle))
	if err != nil {
		t.Error(err)
		return nil
	}
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for r := tar.NewReader(gz); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Error(err)
			return nil
		}
		content, err := io.ReadAll(r)
		if h.Name == "deny.rego" {
			content = bytes.ReplaceAll(content, []byte("input.plan.bad"), []byte("false"))
		}
		h.Size = int64(len(content))
		if err = errors.Join(err, w.WriteHeader(h)); err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Error(err)
			return nil
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		t.Error(err)
	}
	return out.Bytes()
}

// A key that cannot sign is told at start.
func TestBundleKeyIsChecked(t *testing.T) {
	git := polsettest.NewGit(t)
	for key, want := range map[string]string{
		"/nonexistent.pem": "read POLSET_BUNDLE_SIGNING_KEY",
		"-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n": "POLSET_BUNDLE_SIGNING_KEY",
	} {
		n, err := tryStart(t, env(git, t.TempDir(), "POLSET_BUNDLE_SIGNING_KEY="+key))
		if err == nil || !strings.Contains(n.Log(), want) || strings.Contains(n.Log(), "hunter2") {
			t.Errorf("started with %v: %s", err, n.Log())
		}
	}
}
