package main_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset/internal/polsettest"
)

// policies are n policies that compile, below dir; salt makes them differ.
func policies(dir string, n int, salt string) map[string]string {
	files := map[string]string{}
	var hcl strings.Builder
	for i := range n {
		fmt.Fprintf(&hcl, "policy \"p%d\" {\n  query = \"data.policies.p%d.deny\"\n  enforcement_level = \"mandatory\"\n}\n", i, i)
		files[fmt.Sprintf("%s/p%d.rego", dir, i)] = fmt.Sprintf(
			"package policies.p%d\n\n# %s\ndeny contains msg if {\n\tsome r in input.plan.resource_changes\n\tr.type == \"aws_%d\"\n\tmsg := r.address\n}\n", i, salt, i)
	}
	files[dir+"/policies.hcl"] = hcl.String()
	return files
}

// entries lists an archive as git ls-tree -r lists a tree: files and links
// only, with the bytes of each.
func entries(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	gz, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for r := tar.NewReader(gz); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			mode := "100644"
			if h.Mode&0o100 != 0 {
				mode = "100755"
			}
			found[h.Name] = mode + " " + string(b)
		case tar.TypeSymlink:
			found[h.Name] = "120000 " + h.Linkname
		case tar.TypeDir:
		default:
			t.Fatalf("%s has type %c", h.Name, h.Typeflag)
		}
	}
}

// sameAsGit compares the archive of a ready version with what git itself says
// of the commit.
func (n *node) sameAsGit(repo *polsettest.Repo, version any, path string) {
	n.t.Helper()
	commit := text(version, "attributes", "ingress-attributes", "commit-sha")
	got := entries(n.t, n.Download(version))
	want := repo.LsTree(commit, path)
	if len(got) != len(want) {
		n.t.Errorf("version of %s holds %d files, git lists %d", commit, len(got), len(want))
	}
	for _, e := range want {
		content := e.Mode + " " + string(repo.Cat(commit, path+"/"+e.Name))
		if got[e.Name] != content {
			n.t.Errorf("%s of %s differs from git's: %.80q, want %.80q", e.Name, commit, got[e.Name], content)
		}
	}
}

func TestPushBecomesVersion(t *testing.T) {
	git := polsettest.NewGit(t)
	repo := git.Create("acme/policies")
	repo.RequireToken(gitToken)
	first := repo.Commit("main", policies("policies/prod", 3, "one"))
	dir := t.TempDir()
	n := start(t, env(git, dir))
	token := n.Organization("acme")
	created := n.PolicySet(set{Org: "acme", Name: "prod", Path: "/policies/prod/", Repo: "acme/policies", Branch: "main", Token: token})
	id := text(created, "data", "id")
	if secret := text(created, "data", "attributes", "vcs-repo", "webhook-secret"); len(secret) < 20 {
		t.Errorf("webhook-secret is %q", secret)
	}

	// HCP Terraform's clients look at once, and want the commit.
	newest := n.Newest(id)
	if got := text(newest, "attributes", "ingress-attributes", "commit-sha"); got != first {
		t.Errorf("the first version is of commit %q, want %s", got, first)
	}
	n.Settled(id, time.Minute)
	newest = n.Newest(id)
	if got := text(newest, "attributes", "status"); got != "ready" {
		t.Fatalf("the first version is %s: %v", got, newest)
	}
	n.sameAsGit(repo, newest, "policies/prod")
	firstID := text(newest, "id")
	if n.Current(id) != firstID {
		t.Errorf("current is %s, want %s", n.Current(id), firstID)
	}

	t.Run("a push makes a version", func(t *testing.T) {
		commit := repo.Commit("main", policies("policies/prod", 4, "two"), polsettest.Exec("policies/prod/p0.rego"))
		n.push(202, repo.Push("main", first, commit))
		n.Settled(id, time.Minute)
		v := n.Newest(id)
		if text(v, "attributes", "status") != "ready" || text(v, "attributes", "ingress-attributes", "commit-sha") != commit {
			t.Fatalf("newest is %v", v)
		}
		n.sameAsGit(repo, v, "policies/prod")
		if n.Current(id) != text(v, "id") {
			t.Error("the new version is not current")
		}
	})
	t.Run("a push elsewhere is unchanged", func(t *testing.T) {
		before := n.Newest(id)
		commit := repo.Commit("main", map[string]string{"README.md": "changed"})
		n.push(202, repo.Push("main", first, commit))
		i := n.Settled(id, time.Minute)[0]
		if text(i, "attributes", "status") != "unchanged" || text(i, "relationships", "policy-set-version", "data", "id") != text(before, "id") {
			t.Errorf("the ingestion is %v", i)
		}
		if text(n.Newest(id), "id") != text(before, "id") {
			t.Error("there is a new version")
		}
	})
	t.Run("a broken push errors, and its revert heals", func(t *testing.T) {
		good := n.Current(id)
		broken := repo.Commit("main", map[string]string{"policies/prod/p1.rego": "package policies.p1\n\ndeny if {\n\tx == \n}\n"})
		n.push(202, repo.Push("main", first, broken))
		n.Settled(id, time.Minute)
		v := n.Newest(id)
		if text(v, "attributes", "status") != "errored" || text(v, "attributes", "error") != "policy-invalid" ||
			!strings.Contains(text(v, "attributes", "error-message"), "policies/prod/p1.rego:") {
			t.Errorf("newest is %v", get(v, "attributes"))
		}
		if n.Current(id) != good {
			t.Error("a broken version replaced the current one")
		}
		reverted := repo.Commit("main", policies("policies/prod", 4, "two"))
		n.push(202, repo.Push("main", broken, reverted))
		n.Settled(id, time.Minute)
		if v := n.Newest(id); text(v, "attributes", "status") != "ready" || n.Current(id) != text(v, "id") {
			t.Errorf("the revert did not heal the set: %v", get(v, "attributes"))
		}
	})
	t.Run("case 27 a replayed delivery changes nothing that is in force", func(t *testing.T) {
		current := n.Current(id)
		n.push(202, repo.Push("main", "", first))
		n.Settled(id, time.Minute)
		if n.Current(id) != current {
			t.Error("a replay rolled the policies back")
		}
	})
	t.Run("case 20 a forced push is followed", func(t *testing.T) {
		before := repo.Head("main")
		repo.Reset("main", first)
		forced := repo.Commit("main", policies("policies/prod", 2, "forced"))
		n.push(202, repo.Push("main", before, forced))
		n.Settled(id, time.Minute)
		v := n.Newest(id)
		if text(v, "attributes", "ingress-attributes", "commit-sha") != forced || n.Current(id) != text(v, "id") {
			t.Errorf("newest is %v", get(v, "attributes"))
		}
	})
	t.Run("case 58 a commit on no branch is never in force", func(t *testing.T) {
		// Objects of a fork can be fetched from the repository it was forked
		// from; only a signed push names one, and it becomes history at most.
		current := n.Current(id)
		foreign := repo.Commit("fork", policies("policies/prod", 2, "of a fork"))
		repo.DeleteBranch("fork")
		n.push(202, repo.Push("main", "", foreign))
		n.Settled(id, time.Minute)
		if n.Current(id) != current {
			t.Error("a commit that is on no branch is in force")
		}
		body := resource("policy-set-versions", document{"commit-sha": foreign})
		if code, _ := n.Call("POST", "/api/v2/policy-sets/"+id+"/versions", body); code != 422 {
			t.Errorf("the API took a commit by its id: %d", code)
		}
	})
	t.Run("the audit trail tells it all", func(t *testing.T) {
		trail := fmt.Sprint(n.must(200, "GET", "/api/v2/organization/audit-trail?organization=acme&page%5Bsize%5D=100", nil))
		for _, want := range []string{first, firstID, id} {
			if !strings.Contains(trail, want) {
				t.Errorf("the audit trail does not name %s", want)
			}
		}
	})
	t.Run("no secret in the log", func(t *testing.T) {
		for _, secret := range []string{bootstrap, webhookSecret, gitToken, "/v1/object/ey", text(created, "data", "attributes", "vcs-repo", "webhook-secret")} {
			if strings.Contains(n.Log(), secret) {
				t.Errorf("the log holds %q", secret)
			}
		}
	})
	if code := n.Stop(); code != 0 {
		t.Errorf("polset ended with %d", code)
	}
	out, err := command(t, env(git, dir), "audit", "verify")
	if err != nil || !strings.Contains(out, "0 bad") {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}

func TestOneFetchServesManySets(t *testing.T) {
	git := polsettest.NewGit(t)
	repo := git.Create("acme/policies")
	files := policies("policies/prod", 3, "one")
	for name, content := range policies("policies/staging", 2, "one") {
		files[name] = content
	}
	first := repo.Commit("main", files)
	n := start(t, env(git, t.TempDir()))
	token := n.Organization("acme")
	var ids []string
	for i := range 6 {
		path := []string{"policies/prod", "policies/staging"}[i%2]
		ids = append(ids, text(n.PolicySet(set{Org: "acme", Name: fmt.Sprint("set", i), Path: path, Repo: "acme/policies", Branch: "main", Token: token}), "data", "id"))
	}
	for _, id := range ids {
		n.Settled(id, time.Minute)
	}
	git.ResetRequests()
	for name, content := range policies("policies/prod", 3, "two") {
		files[name] = content
	}
	for name, content := range policies("policies/staging", 3, "two") {
		files[name] = content
	}
	second := repo.Commit("main", files)
	n.push(202, repo.Push("main", first, second))
	for _, id := range ids {
		n.Settled(id, time.Minute)
		if v := n.Newest(id); text(v, "attributes", "status") != "ready" || text(v, "attributes", "ingress-attributes", "commit-sha") != second {
			t.Errorf("newest of %s is %v", id, get(v, "attributes"))
		}
	}
	// The head, the commit, the root, policies, prod and staging.
	requests := 0
	for _, r := range git.Requests() {
		if !strings.HasPrefix(r.Path, "/api/") { // where this server has nothing
			requests++
		}
	}
	if requests > 6 {
		t.Errorf("six sets cost %d requests, want at most 6", requests)
	}
}

func TestOutsideSources(t *testing.T) {
	git := polsettest.NewGit(t)
	repo := git.Create("acme/sentinel")
	library := map[string]string{
		"aws/sentinel.hcl": `module "functions" {
  source = "../common/functions.sentinel"
}

policy "restrict-ec2" {
  source            = "./restrict-ec2.sentinel"
  enforcement_level = "hard-mandatory"
}
`,
		"aws/restrict-ec2.sentinel":   "import \"functions\"\nmain = rule { functions.ok }\n",
		"common/functions.sentinel":   "ok = true\n",
		"common/unrelated.sentinel":   "ok = false\n",
		"azure/not-of-this-set.md":    "no\n",
		"aws/nested/deeper/README.md": "yes\n",
	}
	first := repo.Commit("main", library)
	n := start(t, env(git, t.TempDir()))
	token := n.Organization("acme")
	id := text(n.PolicySet(set{Org: "acme", Name: "aws", Kind: "sentinel", Path: "aws", Repo: "acme/sentinel", Token: token}), "data", "id")
	n.Settled(id, time.Minute)
	v := n.Newest(id)
	if text(v, "attributes", "status") != "ready" {
		t.Fatalf("newest is %v", get(v, "attributes"))
	}
	if dir := text(v, "attributes", "policies-directory"); dir != "aws" {
		t.Errorf("policies-directory is %q, want aws", dir)
	}
	got := entries(t, n.Download(v))
	for _, name := range []string{"aws/sentinel.hcl", "aws/restrict-ec2.sentinel", "aws/nested/deeper/README.md", "common/functions.sentinel"} {
		if _, ok := got[name]; !ok {
			t.Errorf("the archive lacks %s", name)
		}
	}
	if len(got) != 4 {
		t.Errorf("the archive holds %d files, want 4: %v", len(got), got)
	}
	t.Run("a change of the outside file counts", func(t *testing.T) {
		commit := repo.Commit("main", map[string]string{"common/functions.sentinel": "ok = false\n"})
		n.push(202, repo.Push("main", first, commit))
		if i := n.Settled(id, time.Minute)[0]; text(i, "attributes", "status") != "versioned" {
			t.Errorf("the ingestion is %v", get(i, "attributes"))
		}
	})
	t.Run("a change of another file does not", func(t *testing.T) {
		commit := repo.Commit("main", map[string]string{"common/unrelated.sentinel": "ok = true\n"})
		n.push(202, repo.Push("main", first, commit))
		if i := n.Settled(id, time.Minute)[0]; text(i, "attributes", "status") != "unchanged" {
			t.Errorf("the ingestion is %v", get(i, "attributes"))
		}
	})
	t.Run("a missing one is an error with its place", func(t *testing.T) {
		commit := repo.Commit("main", nil, polsettest.Delete("common/functions.sentinel"))
		n.push(202, repo.Push("main", first, commit))
		n.Settled(id, time.Minute)
		if v := n.Newest(id); text(v, "attributes", "error") != "policy-invalid" || !strings.Contains(text(v, "attributes", "error-message"), "aws/sentinel.hcl:2") {
			t.Errorf("newest is %v", get(v, "attributes"))
		}
	})
}
