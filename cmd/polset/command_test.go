package main_test

import (
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/polset/polset/internal/polsettest"
)

var clusterKeys sync.Map

// clusterKey is one key for all nodes of a test.
func clusterKey(t *testing.T) string {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	key, _ := clusterKeys.LoadOrStore(strings.Split(t.Name(), "/")[0], base64.StdEncoding.EncodeToString(b))
	return key.(string)
}

func TestConfigurationIsJudgedAtStart(t *testing.T) {
	git := polsettest.NewGit(t)
	for _, c := range []struct{ name, env, want string }{
		{"case 5 an empty secret in the list", "POLSET_GITHUB_WEBHOOK_SECRET=a,,b", "POLSET_GITHUB_WEBHOOK_SECRET"},
		{"a GitHub URL without a host", "POLSET_GITHUB_URL=github.com", "POLSET_GITHUB_URL"},
		{"a lease of nothing", "POLSET_LEASE=1ns", "POLSET_LEASE"},
		{"a limit of nothing", "POLSET_MAX_FILE_BYTES=0", "POLSET_MAX_FILE_BYTES"},
		{"too few workers", "POLSET_POLICY_WORKERS=1", "POLSET_POLICY_WORKERS"},
		{"workers without memory", "POLSET_WORKER_MEMORY=1000000", "POLSET_WORKER_MEMORY"},
		{"a network that is none", "POLSET_ALLOW_PRIVATE_NETWORKS=everything", "allow-private-networks"},
		{"PostgreSQL without a key", "POLSET_DATABASE_URL=postgres://127.0.0.1:1/none", "POLSET_ENCRYPTION_KEY"},
		{"a database that polset does not know", "POLSET_DATABASE_URL=mysql://u:secretofs3@host/db", "POLSET_DATABASE_URL"},
		{"credentials in the object URL", "POLSET_OBJECTS_URL=s3://key:secretofs3@bucket", "credentials"},
		{"a rate limit that no client can keep to", "POLSET_RATE_LIMIT=3", "POLSET_RATE_LIMIT"},
		{"a rate limit below nothing", "POLSET_RATE_LIMIT=-1", "POLSET_RATE_LIMIT"},
		{"a certificate without a key", "POLSET_TLS_CERT=cert.pem", "POLSET_TLS_KEY"},
		{"an App key that is none", "POLSET_GITHUB_APP_ID=1\x00POLSET_GITHUB_APP_PRIVATE_KEY=/nonexistent", "POLSET_GITHUB_APP_PRIVATE_KEY"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := command(t, append(env(git, t.TempDir()), strings.Split(c.env, "\x00")...), "serve")
			if err == nil || !strings.Contains(out, c.want) {
				t.Errorf("serve said %v, want an error that names %s:\n%s", err, c.want, out)
			}
			if strings.Contains(out, "secretofs3") {
				t.Error("a secret was printed")
			}
		})
	}
}

func TestOneServerForADataDirectory(t *testing.T) {
	git := polsettest.NewGit(t)
	dir := t.TempDir()
	n := start(t, env(git, dir))
	if _, err := tryStart(t, env(git, dir)); err == nil {
		t.Error("a second server took the same data directory")
	}
	if code := n.Stop(); code != 0 {
		t.Errorf("polset ended with %d", code)
	}
	if n := start(t, env(git, dir)); n.Stop() != 0 {
		t.Error("polset does not start again")
	}
	out, err := command(t, append(env(git, dir), "POLSET_ENCRYPTION_KEY="+clusterKey(t)), "serve")
	if err == nil || !strings.Contains(out, "POLSET_ENCRYPTION_KEY") {
		t.Errorf("with a wrong key polset said %v:\n%s", err, out)
	}
}

func TestTokenCreate(t *testing.T) {
	git := polsettest.NewGit(t)
	dir := t.TempDir()
	n := start(t, env(git, dir))
	n.Organization("acme")
	n.Organization("other")
	out, err := command(t, append(env(git, dir), "POLSET_LOG_LEVEL=error"), "token", "create", "--organization", "acme", "--permission", "manage-policies")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	token := lines[len(lines)-1]
	for path, want := range map[string]int{
		"/api/v2/organizations/acme/policy-sets":  200,
		"/api/v2/organizations/other/policy-sets": 404,
		"/api/v2/organizations/none/policy-sets":  404,
	} {
		if code, _, err := n.TryCall("GET", path, token, nil); err != nil || code != want {
			t.Errorf("GET %s answered %d, %v; want %d", path, code, err, want)
		}
	}
	if code, _, err := n.TryCall("GET", "/api/v2/organizations/acme/policy-sets", "polset_wrong", nil); err != nil || code != http.StatusUnauthorized {
		t.Errorf("a wrong token was answered %d, %v", code, err)
	}
	id := regexp.MustCompile(`at-\w+`).FindString(out)
	if out, err := command(t, env(git, dir), "token", "revoke", id); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if code, _, err := n.TryCall("GET", "/api/v2/organizations/acme/policy-sets", token, nil); err != nil || code != http.StatusUnauthorized {
		t.Errorf("case 82: a revoked token was answered %d, %v", code, err)
	}
	if _, err := command(t, env(git, dir), "token", "revoke", "at-none"); err == nil {
		t.Error("a token that does not exist was revoked")
	}
	if _, err := command(t, env(git, dir), "token", "create", "--organization", "none"); err == nil {
		t.Error("a token for no organization was made")
	}
}

func TestAuditVerifyFindsTampering(t *testing.T) {
	git := polsettest.NewGit(t)
	repo := git.Create("acme/policies")
	repo.Commit("main", policies("policies", 2, "start"))
	dir := t.TempDir()
	n := start(t, env(git, dir))
	token := n.Organization("acme")
	id := text(n.PolicySet(set{Org: "acme", Name: "prod", Path: "policies", Repo: "acme/policies", Token: token}), "data", "id")
	n.Settled(id, time.Minute)
	digest := text(n.Newest(id), "attributes", "archive-sha256")
	n.Stop()
	quiet := append(env(git, dir), "POLSET_LOG_LEVEL=error")
	if out, err := command(t, quiet, "audit", "verify"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	t.Run("an object that is not what its row says", func(t *testing.T) {
		var file string
		err := filepath.WalkDir(filepath.Join(dir, "objects"), func(p string, _ os.DirEntry, err error) error {
			if strings.Contains(filepath.Base(p), digest) || strings.HasSuffix(digest, filepath.Base(p)) {
				file = p
			}
			return err
		})
		if err != nil || file == "" {
			t.Fatalf("the object %s is nowhere: %v", digest, err)
		}
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		whole[len(whole)/2] ^= 1
		if err := os.WriteFile(file, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := command(t, quiet, "audit", "verify"); err == nil || !strings.Contains(out, "polsetver-") {
			t.Errorf("audit verify: %v\n%s", err, out)
		}
		if out, err := command(t, quiet, "audit", "verify", "--no-objects"); err != nil {
			t.Errorf("audit verify --no-objects: %v\n%s", err, out)
		}
	})
	t.Run("a row that was changed", func(t *testing.T) {
		db, err := sql.Open("sqlite", filepath.Join(dir, "polset.db"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(`UPDATE audit_entries SET actor = 'nobody' WHERE chain <> 'site' AND sequence = 3`); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if out, err := command(t, quiet, "audit", "verify", "--no-objects"); err == nil || !strings.Contains(out, "row 3") {
			t.Errorf("audit verify: %v\n%s", err, out)
		}
	})
}

func TestStopInterruptsAHangingFetch(t *testing.T) {
	t.Parallel() // waits more than it works: a stop has 15 s
	git := polsettest.NewGit(t)
	repo := git.Create("acme/policies")
	first := repo.Commit("main", policies("policies", 2, "start"))
	dir := t.TempDir()
	n := start(t, env(git, dir))
	token := n.Organization("acme")
	id := text(n.PolicySet(set{Org: "acme", Name: "prod", Path: "policies", Repo: "acme/policies", Branch: "main", Token: token}), "data", "id")
	n.Settled(id, time.Minute)
	arrived := make(chan *http.Request, 1)
	git.Intercept(polsettest.When(polsettest.IsFetch, polsettest.FirstOf(polsettest.Signal(arrived), polsettest.Hang())))
	second := repo.Commit("main", policies("policies", 2, "hangs"))
	n.push(202, repo.Push("main", first, second))
	<-arrived
	if code := n.Stop(); code != 0 {
		t.Errorf("polset ended with %d", code)
	}
	git.Intercept(nil)
	n = start(t, env(git, dir))
	n.Settled(id, time.Minute)
	if v := n.Newest(id); text(v, "attributes", "status") != "ready" || text(v, "attributes", "ingress-attributes", "commit-sha") != second {
		t.Errorf("newest is %v", get(v, "attributes"))
	}
}
