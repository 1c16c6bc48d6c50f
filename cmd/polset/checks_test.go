package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset/internal/polsettest"
)

// guard is a policy set about to be made for checks: OPA policies by name, each
// with its level and the body of its module.
type guard struct {
	name     string
	attrs    document
	policies map[string]guardPolicy
	sentinel bool
	empty    bool // no version is ever made
}

type guardPolicy struct{ level, rego string }

// Guard makes a policy set, with a version by upload, that applies to a
// workspace, and returns its id.
func (n *node) Guard(workspace string, g guard) string {
	n.t.Helper()
	attributes := document{"name": g.name, "kind": "opa"}
	if g.sentinel {
		attributes["kind"] = "sentinel"
	}
	for key, value := range g.attrs {
		attributes[key] = value
	}
	id := text(n.must(201, "POST", "/api/v2/organizations/acme/policy-sets", document{"data": document{
		"type": "policy-sets", "attributes": attributes,
		"relationships": document{"workspaces": document{"data": []document{{"type": "workspaces", "id": workspace}}}},
	}}), "data", "id")
	if !g.empty {
		n.Bring(id, g)
	}
	return id
}

// Bring uploads a version of a policy set, which must become ready.
func (n *node) Bring(setID string, g guard) {
	n.t.Helper()
	files := map[string]string{}
	for name, p := range g.policies {
		if g.sentinel {
			files["sentinel.hcl"] += fmt.Sprintf("policy %q {\n  enforcement_level = %q\n}\n", name, p.level)
			files[name+".sentinel"] = "main = rule { true }\n"
			continue
		}
		files["policies.hcl"] += fmt.Sprintf("policy %q {\n  query = \"data.%s.deny\"\n  enforcement_level = %q\n}\n", name, name, p.level)
		files[name+".rego"] = "package " + name + "\n\n" + p.rego + "\n"
	}
	version, path := n.Awaiting(setID)
	if code, err := n.Put(path, bytes.NewReader(pack(n.t, files))); err != nil || code != http.StatusOK {
		n.t.Fatalf("the upload was answered %d, %v", code, err)
	}
	if v := n.Version(version); text(v, "attributes", "status") != "ready" {
		n.t.Fatalf("version %v", v)
	}
}

// Workspace makes a workspace of acme.
func (n *node) Workspace(name string) string {
	n.t.Helper()
	return text(n.must(201, "POST", "/api/v2/organizations/acme/workspaces", resource("workspaces", document{"name": name})), "data", "id")
}

// Upload makes a configuration version of files.
func (n *node) Upload(workspace string, files map[string]string) string {
	n.t.Helper()
	d := n.must(201, "POST", "/api/v2/workspaces/"+workspace+"/configuration-versions",
		resource("configuration-versions", document{"auto-queue-runs": false}))
	path, ours := strings.CutPrefix(text(d, "data", "attributes", "upload-url"), n.URL)
	if !ours {
		n.t.Fatalf("the link is no URL of this server: %v", d)
	}
	if code, err := n.Put(path, bytes.NewReader(pack(n.t, files))); err != nil || code/100 != 2 {
		n.t.Fatalf("the upload was answered %d, %v", code, err)
	}
	return text(d, "data", "id")
}

// Queue makes a run.
func (n *node) Queue(workspace, configuration string) string {
	n.t.Helper()
	return text(n.must(201, "POST", "/api/v2/runs", document{"data": document{"type": "runs", "relationships": document{
		"workspace":             document{"data": document{"type": "workspaces", "id": workspace}},
		"configuration-version": document{"data": document{"type": "configuration-versions", "id": configuration}},
	}}}), "data", "id")
}

func (n *node) runStatus(run string) string {
	n.t.Helper()
	return text(n.must(200, "GET", "/api/v2/runs/"+run, nil), "data", "attributes", "status")
}

// AtRest waits until nothing of a run waits or runs any more.
func (n *node) AtRest(run string) (status string) {
	n.t.Helper()
	eventually(n.t, 2*time.Minute, "at rest", func() bool {
		status = n.runStatus(run)
		return !slices.Contains([]string{"pending", "post_plan_running", "policy_checking"}, status)
	})
	return status
}

// Evaluations lists a run's policy evaluations.
func (n *node) Evaluations(run string) (all []any) {
	n.t.Helper()
	for _, stage := range list(n.must(200, "GET", "/api/v2/runs/"+run+"/task-stages", nil), "data") {
		all = append(all, list(n.must(200, "GET", "/api/v2/task-stages/"+text(stage, "id")+"/policy-evaluations", nil), "data")...)
	}
	return all
}

// Outcomes lists what the policy sets of a run say, by their names.
func (n *node) Outcomes(run string) map[string]any {
	n.t.Helper()
	all := map[string]any{}
	for _, e := range n.Evaluations(run) {
		for _, o := range list(n.must(200, "GET", "/api/v2/policy-evaluations/"+text(e, "id")+"/policy-set-outcomes", nil), "data") {
			all[text(o, "attributes", "policy-set-name")] = o
		}
	}
	return all
}

// emptyPlan is a plan of nothing.
const emptyPlan = `{"planned_values":{}}`

const examplePlan = `{"format_version":"1.2","resource_changes":[{"address":"aws_s3_bucket.logs","change":{"actions":["create"],"after":{"acl":"public-read"}}}]}`

const publicBuckets = `deny contains msg if {
	some r in input.plan.resource_changes
	r.change.after.acl == "public-read"
	msg := sprintf("%s of %s is public", [r.address, input.run.workspace.name])
}`

// checked starts a node with an organization, for checks.
func checked(t *testing.T, more ...string) *node {
	t.Helper()
	n := start(t, env(polsettest.NewGit(t), t.TempDir(), append([]string{"POLSET_RETRY_BASE=200ms", "POLSET_LEASE=3s"}, more...)...))
	n.must(201, "POST", "/api/v2/organizations", resource("organizations", document{"name": "acme", "email": "a@example.com"}))
	return n
}

// A plan meets its policies, over the API.
func TestChecks(t *testing.T) {
	n := checked(t)
	plan := map[string]string{"main.tf": "", "tfplan.json": examplePlan}
	fine := guardPolicy{"mandatory", "deny := []"}
	for i, test := range []struct {
		label      string
		guards     []guard
		files      map[string]string
		run        string
		evaluation string // "" for none
		outcomes   map[string]string
	}{
		{label: "no policy set applies", files: plan, run: "planned"},
		{
			label: "passed", files: plan, run: "post_plan_completed", evaluation: "passed",
			guards:   []guard{{policies: map[string]guardPolicy{"a": fine, "b": fine}}},
			outcomes: map[string]string{"a": "passed", "b": "passed"},
		},
		{
			label: "advisory failed", files: plan, run: "post_plan_completed", evaluation: "passed",
			guards:   []guard{{policies: map[string]guardPolicy{"a": {"advisory", publicBuckets}}}},
			outcomes: map[string]string{"a": "failed aws_s3_bucket.logs of w2 is public"},
		},
		{
			label: "soft failed", files: plan, run: "post_plan_awaiting_decision", evaluation: "failed",
			guards:   []guard{{attrs: document{"overridable": true}, policies: map[string]guardPolicy{"a": {"mandatory", publicBuckets}}}},
			outcomes: map[string]string{"a": "failed aws_s3_bucket.logs of w3 is public"},
		},
		{
			label: "hard failed", files: plan, run: "errored", evaluation: "failed",
			guards:   []guard{{policies: map[string]guardPolicy{"a": {"mandatory", publicBuckets}, "b": fine}}},
			outcomes: map[string]string{"a": "failed aws_s3_bucket.logs of w4 is public", "b": "passed"},
		},
		{
			label: "no plan", files: map[string]string{"main.tf": ""}, run: "errored", evaluation: "errored",
			guards:   []guard{{policies: map[string]guardPolicy{"a": {"advisory", "deny := []"}}}},
			outcomes: map[string]string{"a": "errored The configuration version holds no plan."},
		},
		{
			label: "a plan that is none", files: map[string]string{"tfplan.json": "no JSON"}, run: "errored", evaluation: "errored",
			guards:   []guard{{policies: map[string]guardPolicy{"a": fine}}},
			outcomes: map[string]string{"a": "errored The plan is not the JSON object"},
		},
		{
			label: "JSON that is no plan", files: map[string]string{"tfplan.json": "{}"}, run: "errored", evaluation: "errored",
			guards:   []guard{{policies: map[string]guardPolicy{"a": {"mandatory", publicBuckets}}}},
			outcomes: map[string]string{"a": "errored The plan is not what terraform show -json gives"},
		},
		{
			label: "an undefined query", files: plan, run: "errored", evaluation: "errored",
			guards:   []guard{{attrs: document{"overridable": true}, policies: map[string]guardPolicy{"a": {"advisory", "deny := [] if input.nothing"}, "b": fine}}},
			outcomes: map[string]string{"a": "errored The query is undefined", "b": "passed"},
		},
		{
			label: "no ready version", files: plan, run: "errored", evaluation: "errored",
			guards:   []guard{{empty: true}, {name: "w8-other", policies: map[string]guardPolicy{"a": fine}}},
			outcomes: map[string]string{"a": "passed"},
		},
	} {
		t.Run(test.label, func(t *testing.T) {
			n.t = t
			name := fmt.Sprint("w", i)
			workspace := n.Workspace(name)
			for _, g := range test.guards {
				if g.name == "" {
					g.name = name
				}
				n.Guard(workspace, g)
			}
			run := n.Queue(workspace, n.Upload(workspace, test.files))
			if status := n.AtRest(run); status != test.run {
				t.Errorf("the run is %s, want %s", status, test.run)
			}
			evaluations := n.Evaluations(run)
			if test.evaluation == "" {
				if len(evaluations) != 0 {
					t.Errorf("evaluations %v", evaluations)
				}
				return
			}
			if len(evaluations) != 1 || text(evaluations[0], "attributes", "status") != test.evaluation {
				t.Fatalf("evaluations %v, want one that %s", evaluations, test.evaluation)
			}
			outcomes, seen := n.Outcomes(run), map[string]string{}
			if len(outcomes) != len(test.guards) {
				t.Errorf("%d outcomes", len(outcomes))
			}
			for _, o := range outcomes {
				for _, p := range list(o, "attributes", "outcomes") {
					said := text(p, "status")
					for _, line := range list(p, "output") {
						said += " " + text(line, "print")
					}
					seen[text(p, "policy_name")] = said
				}
			}
			for policy, want := range test.outcomes {
				if !strings.HasPrefix(seen[policy], want) {
					t.Errorf("policy %s: %q, want %q", policy, seen[policy], want)
				}
			}
			if test.label == "no ready version" {
				if said := text(outcomes[name], "attributes", "error"); !strings.Contains(said, "had no version that was ready") {
					t.Errorf("the error is %q", said)
				}
			}
		})
	}
	n.t = t
	t.Run("Sentinel", func(t *testing.T) {
		n.t = t
		workspace := n.Workspace("sentinel")
		n.Guard(workspace, guard{name: "sentinel", sentinel: true, policies: map[string]guardPolicy{"a": {level: "advisory"}}})
		run := n.Queue(workspace, n.Upload(workspace, plan))
		if status := n.AtRest(run); status != "errored" {
			t.Errorf("the run is %s", status)
		}
		checks := list(n.must(200, "GET", "/api/v2/runs/"+run+"/policy-checks", nil), "data")
		if len(checks) != 1 || text(checks[0], "attributes", "status") != "errored" {
			t.Fatalf("checks %v", checks)
		}
		_, output, err := n.TryCall("GET", "/api/v2/policy-checks/"+text(checks[0], "id")+"/output", bootstrap, nil)
		if err != nil || !strings.Contains(string(output), "needs Sentinel, and polset has no Sentinel engine yet") {
			t.Errorf("the output is %s, %v", output, err)
		}
	})
	if code, metrics, err := n.TryCall("GET", "/metrics", bootstrap, nil); err != nil || code != 200 ||
		!strings.Contains(string(metrics), `polset_checks_total{class="path-not-found",kind="opa",outcome="errored"} 1`) ||
		!strings.Contains(string(metrics), `polset_checks_total{class="engine-unsupported",kind="sentinel",outcome="errored"} 1`) {
		t.Errorf("metrics: %d, %v", code, err)
	}
}

// A parameter that is sensitive is in no answer and in no log.
func TestChecksHideSensitiveParameters(t *testing.T) {
	const secret = "s3cr3t-of-the-parameter"
	n := checked(t)
	workspace := n.Workspace("w")
	id := n.Guard(workspace, guard{name: "g", policies: map[string]guardPolicy{
		"a": {"advisory", "deny contains sprintf(\"%v\", [input.parameters]) if print(input.parameters.token)"},
		"b": {"advisory", "deny := [] if to_number(input.parameters.token) > 1"},
	}})
	n.must(201, "POST", "/api/v2/policy-sets/"+id+"/parameters", resource("vars", document{"key": "token", "value": secret, "category": "policy-set", "sensitive": true}))
	run := n.Queue(workspace, n.Upload(workspace, map[string]string{"tfplan.json": emptyPlan}))
	n.AtRest(run)
	_, raw, err := n.TryCall("GET", "/api/v2/policy-evaluations/"+text(n.Evaluations(run)[0], "id")+"/policy-set-outcomes", bootstrap, nil)
	if err != nil || strings.Count(string(raw), "(sensitive)") < 2 {
		t.Errorf("the outcomes are %s, %v", raw, err)
	}
	if strings.Contains(string(raw), secret) {
		t.Errorf("the outcomes hold the secret: %s", raw)
	}
	if strings.Contains(n.Log(), secret) {
		t.Error("the log holds the secret")
	}
}

// A run is judged by what applied when it was created, whatever changes before
// it is looked at.
func TestChecksUseTheSnapshot(t *testing.T) {
	git, dir := polsettest.NewGit(t), t.TempDir()
	environ := env(git, dir, "POLSET_CHECKS=1", "POLSET_CHECK_TIMEOUT=5m", "POLSET_LEASE=3s")
	n := start(t, environ)
	n.must(201, "POST", "/api/v2/organizations", resource("organizations", document{"name": "acme", "email": "a@example.com"}))
	busy, workspace := n.Workspace("busy"), n.Workspace("w")
	n.Guard(busy, guard{name: "slow", policies: map[string]guardPolicy{"slow": {"advisory", slowly(1)}}})
	g := guard{name: "g", policies: map[string]guardPolicy{"a": {"advisory", "deny contains input.parameters.word"}}}
	id := n.Guard(workspace, g)
	parameter := text(n.must(201, "POST", "/api/v2/policy-sets/"+id+"/parameters",
		resource("vars", document{"key": "word", "value": "before", "category": "policy-set"})), "data", "id")
	uploaded := n.Upload(workspace, map[string]string{"tfplan.json": emptyPlan})

	first := n.Queue(busy, n.Upload(busy, map[string]string{"tfplan.json": emptyPlan}))
	eventually(t, time.Minute, "running", func() bool { return n.runStatus(first) == "post_plan_running" })
	before := n.Queue(workspace, uploaded)
	n.must(200, "PATCH", "/api/v2/policy-sets/"+id+"/parameters/"+parameter, resource("vars", document{"value": "after"}))
	g.policies = map[string]guardPolicy{"b": {"mandatory", `deny contains concat(" ", ["now", input.parameters.word])`}}
	n.Bring(id, g)
	after := n.Queue(workspace, uploaded)
	if status := n.runStatus(before); status != "pending" {
		t.Fatalf("the run is %s already: the test shows nothing", status)
	}

	for run, want := range map[string]string{before: "post_plan_completed a before", after: "errored b now after"} {
		got := n.AtRest(run)
		for _, o := range n.Outcomes(run) {
			for _, p := range list(o, "attributes", "outcomes") {
				got += " " + text(p, "policy_name")
				for _, line := range list(p, "output") {
					got += " " + text(line, "print")
				}
			}
		}
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	n.Stop()
	if out, err := command(t, environ, "audit", "verify"); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}

// A version that nobody could evaluate is refused when it comes, and checks go
// on with the one in force.
func TestChecksOutliveABrokenVersion(t *testing.T) {
	n := checked(t)
	workspace := n.Workspace("w")
	id := n.Guard(workspace, guard{name: "g", policies: map[string]guardPolicy{"a": {"advisory", `deny contains "no"`}}})
	version, path := n.Awaiting(id)
	broken := map[string]string{
		"policies.hcl": "policy \"a\" {\n  query = \"data.a.deny\"\n}\n", "a.rego": "package a\n\ndeny contains \"never\"\n", "a/data.json": `{"deny": []}`,
	}
	if code, err := n.Put(path, bytes.NewReader(pack(t, broken))); err != nil || code/100 == 5 {
		t.Fatalf("the upload was answered %d, %v", code, err)
	}
	v := n.Version(version)
	if status, why := text(v, "attributes", "status"), text(v, "attributes", "error-message"); status != "errored" || !strings.HasPrefix(why, "a.rego:3:1: ") {
		t.Fatalf("the version is %s: %s", status, why)
	}
	run := n.Queue(workspace, n.Upload(workspace, map[string]string{"tfplan.json": emptyPlan}))
	if status := n.AtRest(run); status != "post_plan_completed" {
		t.Errorf("the run is %s", status)
	}
	for _, o := range n.Outcomes(run) {
		for _, p := range list(o, "attributes", "outcomes") {
			if got := text(list(p, "output")[0], "print"); got != "no" {
				t.Errorf("the policy says %q", got)
			}
		}
	}
}

// slowly is a policy that takes its time, n seconds or a few times as many. What
// looks for races is ten times slower.
func slowly(n int) string {
	most := 2000 * n
	if len(raceFlag) > 0 {
		most /= 10
	}
	return fmt.Sprintf(`deny contains "done" if {
	count([i | some i in numbers.range(1, %d); some j in numbers.range(1, 1000); i * j < 0]) == 0
}`, most)
}

func TestChecksCancel(t *testing.T) {
	n := checked(t, "POLSET_CHECK_TIMEOUT=10m")
	workspace := n.Workspace("w")
	n.Guard(workspace, guard{name: "g", policies: map[string]guardPolicy{"endless": {"advisory", slowly(10_000)}}})
	run := n.Queue(workspace, n.Upload(workspace, map[string]string{"tfplan.json": emptyPlan}))
	eventually(t, time.Minute, "running", func() bool { return n.runStatus(run) == "post_plan_running" })
	n.must(202, "POST", "/api/v2/runs/"+run+"/actions/cancel", nil)
	if status := n.AtRest(run); status != "canceled" {
		t.Errorf("the run is %s", status)
	}
	eventually(t, time.Minute, "let go", func() bool { return strings.Contains(n.Log(), "check canceled, or passed to another worker") })
}

// A run that is made right after a policy changed is judged by what it became.
func TestChecksAwaitPolicies(t *testing.T) {
	n := checked(t)
	workspace := n.Workspace("w")
	id := n.Guard(workspace, guard{name: "g", empty: true})
	policy := text(n.must(201, "POST", "/api/v2/organizations/acme/policies", document{"data": document{
		"type":          "policies",
		"attributes":    document{"name": "a", "kind": "opa", "query": "data.a.deny", "enforcement-level": "advisory"},
		"relationships": document{"policy-sets": document{"data": []document{{"type": "policy-sets", "id": id}}}},
	}}), "data", "id")
	uploaded := n.Upload(workspace, map[string]string{"tfplan.json": emptyPlan})
	for i := range 5 {
		n.upload(policy, fmt.Sprintf("package a\n\ndeny contains \"change %d\"\n", i))
		run := n.Queue(workspace, uploaded)
		if status := n.AtRest(run); status != "post_plan_completed" {
			t.Errorf("the run is %s", status)
		}
		said := list(list(n.Outcomes(run)["g"], "attributes", "outcomes")[0], "output")
		if len(said) != 1 || text(said[0], "print") != fmt.Sprint("change ", i) {
			t.Errorf("change %d: %v", i, said)
		}
	}
}

// Only go-tfe's own tests have runs without a plan.
func TestChecksOfConformance(t *testing.T) {
	n := checked(t, "POLSET_CONFORMANCE=true")
	workspace := n.Workspace("w")
	n.Guard(workspace, guard{name: "g", policies: map[string]guardPolicy{"a": {"mandatory", "deny := [] if input.plan == {\"planned_values\": {}}"}}})
	if status := n.AtRest(n.Queue(workspace, n.Upload(workspace, map[string]string{"main.tf": ""}))); status != "post_plan_completed" {
		t.Errorf("the run is %s", status)
	}
}

// case 95: what the object storage spoils is no plan.
func TestChecksOfSpoiledUploads(t *testing.T) {
	git, dir := polsettest.NewGit(t), t.TempDir()
	n := start(t, env(git, dir))
	n.must(201, "POST", "/api/v2/organizations", resource("organizations", document{"name": "acme", "email": "a@example.com"}))
	workspace := n.Workspace("w")
	n.Guard(workspace, guard{name: "g", policies: map[string]guardPolicy{"a": {"advisory", "deny := []"}}})
	for want, spoil := range map[string]func(file string) error{
		"damaged": func(file string) error {
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			b[len(b)/2] ^= 1
			return errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, b, 0o600))
		},
		"lost": os.Remove,
	} {
		known := objects(t, dir)
		uploaded := n.Upload(workspace, map[string]string{"tfplan.json": emptyPlan, "of.tf": want})
		for _, file := range objects(t, dir) {
			if slices.Contains(known, file) {
				continue
			}
			if err := spoil(file); err != nil {
				t.Fatal(err)
			}
		}
		run := n.Queue(workspace, uploaded)
		if status := n.AtRest(run); status != "errored" {
			t.Errorf("%s: the run is %s", want, status)
		}
		if said := text(n.Evaluations(run)[0], "attributes", "error-message"); !strings.Contains(said, "has "+want+" the upload") {
			t.Errorf("%s: %q", want, said)
		}
	}
}

// objects lists the files in which a node keeps objects.
func objects(t *testing.T, dataDir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dataDir, "objects"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// case 88: who takes too long pays for itself alone.
func TestChecksBudget(t *testing.T) {
	n := checked(t, "POLSET_CHECK_TIMEOUT=2s")
	workspace := n.Workspace("w")
	n.Guard(workspace, guard{name: "slow", policies: map[string]guardPolicy{"endless": {"advisory", slowly(10_000)}}})
	n.Guard(workspace, guard{name: "quick", policies: map[string]guardPolicy{"quick": {"advisory", "deny := []"}}})
	run := n.Queue(workspace, n.Upload(workspace, map[string]string{"tfplan.json": emptyPlan}))
	if status := n.AtRest(run); status != "errored" {
		t.Errorf("the run is %s", status)
	}
	outcomes := n.Outcomes(run)
	if said := text(outcomes["slow"], "attributes", "error"); !strings.Contains(said, "POLSET_CHECK_TIMEOUT") {
		t.Errorf("the error is %q", said)
	}
	if text(outcomes["quick"], "attributes", "error") != "" || text(list(outcomes["quick"], "attributes", "outcomes")[0], "status") != "passed" {
		t.Errorf("the other is %v", outcomes["quick"])
	}
}

// case 99: a check that was cut off is finished by the next start.
func TestChecksSurviveKill(t *testing.T) {
	git, dir := polsettest.NewGit(t), t.TempDir()
	environ := env(git, dir, "POLSET_CHECK_TIMEOUT=5m", "POLSET_LEASE=3s")
	n := start(t, environ)
	n.must(201, "POST", "/api/v2/organizations", resource("organizations", document{"name": "acme", "email": "a@example.com"}))
	workspace := n.Workspace("w")
	n.Guard(workspace, guard{name: "g", policies: map[string]guardPolicy{"slow": {"advisory", slowly(2)}}})
	run := n.Queue(workspace, n.Upload(workspace, map[string]string{"tfplan.json": emptyPlan}))
	eventually(t, time.Minute, "running", func() bool { return n.runStatus(run) == "post_plan_running" })
	n.Kill()
	if strings.Contains(n.Log(), "check ended") {
		t.Fatal("it ended before: the test shows nothing")
	}
	n = start(t, environ)
	if status := n.AtRest(run); status != "post_plan_completed" {
		t.Errorf("the run is %s", status)
	}
	if !strings.Contains(n.Log(), `"attempt":2`) {
		t.Error("it was not the second attempt that ended it")
	}
	n.Stop()
	if out, err := command(t, environ, "audit", "verify"); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}

// case 102: two nodes, one verdict for each run; and what one leaves behind the
// other finishes.
func TestChecksOnTwoNodes(t *testing.T) {
	git, bucket := polsettest.NewGit(t), polsettest.NewBucket(t)
	environ := cluster(t, git, bucket, polsettest.Postgres(t), bucket.URL("checks"), "POLSET_CHECK_TIMEOUT=5m")
	a, b := start(t, environ()), start(t, environ())
	a.must(201, "POST", "/api/v2/organizations", resource("organizations", document{"name": "acme", "email": "a@example.com"}))
	workspace := a.Workspace("w")
	a.Guard(workspace, guard{name: "g", policies: map[string]guardPolicy{"a": {"advisory", publicBuckets}}})
	uploaded := a.Upload(workspace, map[string]string{"tfplan.json": examplePlan})
	var runs []string
	for i := range 12 {
		runs = append(runs, []*node{a, b}[i%2].Queue(workspace, uploaded))
	}
	for _, run := range runs {
		if status := b.AtRest(run); status != "post_plan_completed" {
			t.Errorf("the run is %s", status)
		}
	}
	ended := func(n *node) int { return strings.Count(n.Log(), `"msg":"check ended"`) }
	eventually(t, time.Minute, "told of all", func() bool { return ended(a)+ended(b) >= len(runs) })
	if ended(a)+ended(b) != len(runs) {
		t.Errorf("%d and %d checks ended, want %d in all", ended(a), ended(b), len(runs))
	}

	slow := a.Workspace("slow")
	a.Guard(slow, guard{name: "slow", policies: map[string]guardPolicy{"slow": {"advisory", slowly(2)}}})
	run := a.Queue(slow, a.Upload(slow, map[string]string{"tfplan.json": emptyPlan}))
	eventually(t, time.Minute, "running", func() bool { return a.runStatus(run) == "post_plan_running" })
	// It is woken that made the run.
	a.Kill()
	if status := b.AtRest(run); status != "post_plan_completed" {
		t.Errorf("the run is %s", status)
	}
	if out, err := command(t, environ(), "audit", "verify"); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}
