package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/polset/polset/internal/polsettest"
)

// Guarded makes a workspace, and a policy set that guards it and holds files.
func (n *node) Guarded(org, workspace, name string, attributes document, files map[string]string) (setID string) {
	n.t.Helper()
	d := n.must(201, "POST", "/api/v2/organizations/"+org+"/workspaces", resource("workspaces", document{"name": workspace}))
	attributes["name"] = name
	setID = text(n.must(201, "POST", "/api/v2/organizations/"+org+"/policy-sets", resource("policy-sets", attributes)), "data", "id")
	n.must(204, "POST", "/api/v2/policy-sets/"+setID+"/relationships/workspaces", document{"data": []document{{"type": "workspaces", "id": text(d, "data", "id")}}})
	if files == nil {
		return setID
	}
	id, path := n.Awaiting(setID)
	if code, err := n.Put(path, bytes.NewReader(pack(n.t, files))); err != nil || code != http.StatusOK {
		n.t.Fatalf("the upload was answered %d, %v", code, err)
	}
	if v := n.Version(id); text(v, "attributes", "status") != "ready" {
		n.t.Fatalf("the version is %v", v)
	}
	return setID
}

// uploadOf is the policies of an archive of these tests, as they are uploaded.
func uploadOf(archive string) map[string]string {
	files := map[string]string{}
	for _, f := range txtar.Parse([]byte(archive)).Files {
		if name, ok := strings.CutPrefix(f.Name, "policies/"); ok {
			files[name] = string(f.Data)
		}
	}
	return files
}

// TestCheckEndToEnd takes the real client to the real server.
func TestCheckEndToEnd(t *testing.T) {
	git, data := polsettest.NewGit(t), t.TempDir()
	n := start(t, env(git, data))
	n.must(201, "POST", "/api/v2/organizations", resource("organizations", document{"name": "acme", "email": "a@example.com"}))
	mandatory := strings.Replace(checkPolicies, "LEVEL", "mandatory", 1)
	n.Guarded("acme", "hard", "production", document{"kind": "opa"}, uploadOf(mandatory))
	n.Guarded("acme", "soft", "lenient", document{"kind": "opa", "overridable": true}, uploadOf(mandatory))
	n.Guarded("acme", "advised", "advice", document{"kind": "opa"}, uploadOf(strings.Replace(checkPolicies, "LEVEL", "advisory", 1)))
	n.Guarded("acme", "boolean", "boolean", document{"kind": "opa"}, uploadOf(strings.Replace(mandatory, `deny contains "never" if input`, `deny := true if not input`, 1)))
	n.Guarded("acme", "unready", "unready", document{"kind": "opa"}, nil)
	n.Guarded("acme", "sentinel", "guards", document{"kind": "sentinel"}, map[string]string{
		"sentinel.hcl": "policy \"p\" {\n  source = \"./p.sentinel\"\n}\n", "p.sentinel": "main = rule { true }\n",
	})
	n.must(201, "POST", "/api/v2/organizations/acme/workspaces", resource("workspaces", document{"name": "free"}))
	secret := n.Guarded("acme", "secret", "secretive", document{"kind": "opa"}, map[string]string{
		"policies.hcl": "policy \"p\" {\n  query = \"data.p.deny\"\n}\n",
		"p.rego":       "package p\n\nimport rego.v1\n\ndeny contains sprintf(\"the key is %s\", [input.parameters.key])\n",
	})
	n.must(201, "POST", "/api/v2/policy-sets/"+secret+"/parameters", resource("vars", document{"key": "key", "value": "hunter2hunter2", "category": "policy-set", "sensitive": true}))

	out, err := command(t, append(env(git, data), "POLSET_LOG_LEVEL=error"), "token", "create", "--organization", "acme", "--permission", "manage-policies")
	if err != nil {
		t.Fatal(err, out)
	}
	lines := strings.Fields(out)
	token := lines[len(lines)-1]
	dir := lay(t, mandatory)
	of := func(workspace string, args ...string) checkResult {
		t.Helper()
		return check(t, checking{
			dir: dir, env: []string{"POLSET_ADDRESS=" + n.URL, "POLSET_TOKEN=" + token},
			args: append([]string{"--workspace", "acme/" + workspace, "--plan", "plan.json"}, args...),
		})
	}

	for _, c := range []struct {
		workspace string
		code      int
		want      []string
	}{
		{"hard", 1, []string{"aws_s3_bucket.logs is public.", "production  public  mandatory  FAILED\n", "is of version polsetver-", "1 passed, 1 failed (advisory), 1 failed."}},
		{"soft", 1, []string{"lenient     public  mandatory  FAILED (may be overridden)\n", "1 failed (may be overridden)."}},
		{"advised", 0, []string{"public  advisory   failed (advisory)\n", "Passed."}},
		{"boolean", 2, []string{"ERRORED\n", "a set or an array is expected"}},
		{"unready", 2, []string{"ERRORED\n", "Errored: there is no verdict."}},
		{"sentinel", 2, []string{"entinel", "Errored: there is no verdict."}},
		{"free", 0, []string{"no policy set applies to the workspace acme/free"}},
		{"secret", 0, []string{"the key is "}},
	} {
		t.Run(c.workspace, func(t *testing.T) {
			for _, format := range []string{"table", "json", "sarif", "junit"} {
				got := of(c.workspace, "--format", format)
				if got.code != c.code {
					t.Errorf("%s: exit code %d, want %d\n%s%s", format, got.code, c.code, got.stdout, got.stderr)
				}
				judgeReport(t, format, got.stdout)
				if strings.Contains(got.stdout+got.stderr, "hunter2") || strings.Contains(got.stdout+got.stderr, token) {
					t.Errorf("%s: a secret was printed\n%s%s", format, got.stdout, got.stderr)
				}
				for _, want := range c.want {
					if format == "table" && !strings.Contains(got.stdout, want) {
						t.Errorf("the table does not say %q:\n%s", want, got.stdout)
					}
				}
			}
		})
	}

	t.Run("a directory has the outcomes that the server has", func(t *testing.T) {
		there := of("hard", "--json")
		here := check(t, checking{dir: dir, args: []string{"--dir", "policies", "--plan", "plan.json", "--json"}})
		if diff := cmp.Diff(verdicts(t, there.stdout), verdicts(t, here.stdout)); diff != "" {
			t.Errorf("server and directory differ (-server +directory):\n%s", diff)
		}
	})

	t.Run("what an override makes of it", func(t *testing.T) {
		var report document
		if err := json.Unmarshal([]byte(of("soft", "--json").stdout), &report); err != nil {
			t.Fatal(err)
		}
		run := text(report, "run", "id")
		stage := text(list(n.must(200, "GET", "/api/v2/runs/"+run+"/task-stages", nil), "data")[0], "id")
		n.must(200, "POST", "/api/v2/task-stages/"+stage+"/actions/override", nil)
		if status := text(n.must(200, "GET", "/api/v2/runs/"+run, nil), "data", "attributes", "status"); status != "post_plan_completed" {
			t.Errorf("the run is %s", status)
		}
	})

	t.Run("a token that may only read", func(t *testing.T) {
		out, err := command(t, append(env(git, data), "POLSET_LOG_LEVEL=error"), "token", "create", "--organization", "acme")
		if err != nil {
			t.Fatal(err, out)
		}
		lines := strings.Fields(out)
		got := check(t, checking{
			dir: dir, env: []string{"POLSET_ADDRESS=" + n.URL, "POLSET_TOKEN=" + lines[len(lines)-1]},
			args: []string{"--workspace", "acme/hard", "--plan", "plan.json"},
		})
		if got.code != 2 || got.stdout != "" {
			t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
		}
	})

	t.Run("the server dies on the way", func(t *testing.T) {
		cmd := exec.CommandContext(t.Context(), polsetBinary, "check", "--workspace", "acme/hard", "--plan", "plan.json")
		cmd.Dir, cmd.Env = dir, []string{"POLSET_ADDRESS=" + n.URL, "POLSET_TOKEN=" + token, "TMPDIR=" + t.TempDir()}
		var stdout bytes.Buffer
		cmd.Stdout = &stdout
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		n.Kill()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() }).Stop()
		var log strings.Builder
		restarts := 0
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			log.WriteString(lines.Text() + "\n")
			// Nobody is there at first, and later in the middle of it.
			if strings.Contains(lines.Text(), "trying again") && restarts == 0 {
				restarts++
				n = start(t, env(git, data, "POLSET_LISTEN="+strings.TrimPrefix(n.URL, "http://")))
			}
			if strings.Contains(lines.Text(), "creating the run") && restarts == 1 {
				restarts++
				n.Kill()
				n = start(t, env(git, data, "POLSET_LISTEN="+strings.TrimPrefix(n.URL, "http://")))
			}
		}
		_ = cmd.Wait() // its code is in ProcessState
		if code := cmd.ProcessState.ExitCode(); code != 1 || restarts != 2 || !strings.Contains(stdout.String(), "aws_s3_bucket.logs is public.") {
			t.Errorf("exit code %d after %d restarts\n%s%s", code, restarts, &stdout, &log)
		}
	})
	if left, err := os.ReadDir(filepath.Join(data, "spool")); err != nil || len(left) > 0 {
		t.Errorf("%v is left in the server's spool, %v", left, err)
	}
}
