package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The workflow of the examples: what it may do, that nobody can move what it
// runs, and that its step does what it says.
func TestCheckInWorkflow(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "deploy", "examples", "github-actions", "plan.yml"))
	if err != nil {
		t.Fatal(err)
	}
	type step struct {
		Name, Uses, Run string
		Env             map[string]string
	}
	var w struct {
		Permissions map[string]string
		Jobs        map[string]struct {
			Permissions map[string]string
			Steps       []step
		}
	}
	if err := yaml.Unmarshal(raw, &w); err != nil {
		t.Fatal(err)
	}
	if w.Permissions == nil || len(w.Permissions) != 0 {
		t.Errorf("the workflow asks for %v", w.Permissions)
	}
	pinned, expression := regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40}$`), regexp.MustCompile(`\$\{\{`)
	var checks *step
	for name, job := range w.Jobs {
		for permission, access := range job.Permissions {
			if access != "read" && (name != "report" || permission != "security-events") {
				t.Errorf("job %s asks for %s: %s", name, permission, access)
			}
		}
		for _, s := range job.Steps {
			if s.Uses != "" && !pinned.MatchString(s.Uses) {
				t.Errorf("%s is not pinned", s.Uses)
			}
			// What others may name reaches no shell but by a variable.
			if expression.MatchString(s.Run) {
				t.Errorf("step %s runs %s", s.Name, s.Run)
			}
			if strings.Contains(s.Run, "polset check") {
				checks = &s
			}
		}
	}
	if checks == nil || checks.Env["POLSET_TOKEN"] != "${{ secrets.POLSET_TOKEN }}" {
		t.Fatalf("the step that checks is %v", checks)
	}

	s := newCheckServer(t)
	s.Statuses = []string{"errored"}
	s.evaluation("poleval-1", "failed", outcome("production", false, said("public", "mandatory", "failed", "bucket a is public")))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "plan.json"), []byte(checkPlan), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-e", "-c", checks.Run)
	cmd.Dir = dir
	cmd.Env = append(s.env(), "PATH="+filepath.Dir(polsetBinary)+":"+os.Getenv("PATH"), "POLSET_WORKSPACE=acme/network", "MESSAGE=acme/network#7, abc", "TMPDIR="+t.TempDir())
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), "bucket a is public") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if len(s.runs) != 1 || text(s.runs[0], "data", "attributes", "message") != "acme/network#7, abc" {
		t.Errorf("runs %v", s.runs)
	}
	report, err := os.ReadFile(filepath.Join(dir, "polset.sarif"))
	if err != nil {
		t.Fatal(err)
	}
	judgeReport(t, "sarif", string(report))
}
