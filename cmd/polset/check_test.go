package main_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// A checkResult is what polset check did.
type checkResult struct {
	code           int
	stdout, stderr string
}

// A checking is how it is asked.
type checking struct {
	dir   string // where it runs
	env   []string
	stdin string
	args  []string
}

// check runs polset check; whatever it says, it says no secret.
func check(t *testing.T, c checking) checkResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, polsetBinary, append([]string{"check"}, c.args...)...)
	cmd.Dir, cmd.Env, cmd.Stdin = c.dir, append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir()}, c.env...), strings.NewReader(c.stdin)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	got := checkResult{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	for _, secret := range []string{checkToken, uploadProof} {
		if strings.Contains(got.stdout+got.stderr, secret) {
			t.Errorf("a secret was printed:\n%s%s", got.stdout, got.stderr)
		}
	}
	return got
}

// lay writes the files of a txtar archive into a directory.
func lay(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range txtar.Parse([]byte(archive)).Files {
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var buildOfReport = regexp.MustCompile(`("version": )"devel[^"]*"`)

// golden compares with testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	got = buildOfReport.ReplaceAllString(got, `$1"VERSION"`)
	file := filepath.Join("testdata", "check", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

const checkPlan = `{"format_version":"1.2","terraform_version":"1.13.4","resource_changes":[
  {"address":"aws_s3_bucket.logs","type":"aws_s3_bucket","change":{"actions":["create"],"after":{"acl":"public-read"}}}]}
`

// checkPolicies are a policy of each way to end.
const checkPolicies = `-- plan.json --
` + checkPlan + `-- policies/policies.hcl --
policy "fine" {
  query             = "data.fine.deny"
  enforcement_level = "mandatory"
}

policy "public" {
  query             = "data.public.deny"
  enforcement_level = "LEVEL"
  description       = "Buckets are private."
}

policy "named" {
  query = "data.named.deny"
}
-- policies/fine.rego --
package fine

import rego.v1

deny contains "never" if input.plan.format_version == "0"
-- policies/public.rego --
package public

import rego.v1

deny contains msg if {
	some r in input.plan.resource_changes
	r.change.after.acl == "public-read"
	msg := sprintf("%s is public.\nMake it private.", [r.address])
}
-- policies/named.rego --
package named

import rego.v1

deny contains {"msg": "no owner"} if {
	print("looking for", input.parameters.key)
}
`

// at makes the time of an offline report known.
const at = "--at=2026-01-31T12:00:00Z"

func TestCheckDirectory(t *testing.T) {
	mandatory := strings.Replace(checkPolicies, "LEVEL", "mandatory", 1)
	for _, c := range []struct {
		name, archive string
		args          []string
		code          int
	}{
		{"advisory", strings.Replace(checkPolicies, "LEVEL", "advisory", 1), nil, 0},
		{"mandatory", mandatory, []string{"--parameter", "key=the, owner=me"}, 1},
		{"overridable", mandatory, []string{"--overridable"}, 1},
		{"compile-error", strings.Replace(mandatory, "r.address", "r.adress, x", 1), nil, 2},
		{"undefined-query", strings.Replace(mandatory, `data.fine.deny"`, `data.fine.allow"`, 1), nil, 2},
		{"errored-policy", strings.Replace(mandatory, `deny contains "never" if input`, `deny := true if not input`, 1), nil, 2},
		{"sentinel", `-- plan.json --
` + checkPlan + `-- policies/sentinel.hcl --
policy "p" {
  source = "./p.sentinel"
}
-- policies/p.sentinel --
main = rule { true }
`, nil, 2},
		{"no-policy-set", "-- plan.json --\n" + checkPlan + "-- policies/README.md --\nnothing\n", nil, 2},
		{"a-work-tree", strings.Replace(checkPolicies, "LEVEL", "advisory", 1) + `-- policies/.git/x.rego --
this is no Rego
-- policies/.terraform/modules/y.rego --
nor is this
`, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := lay(t, c.archive)
			for _, format := range []string{"table", "json", "sarif", "junit"} {
				got := check(t, checking{dir: dir, args: append([]string{"--dir", "policies", "--plan", "plan.json", at, "--format", format}, c.args...)})
				if got.code != c.code {
					t.Errorf("%s: exit code %d, want %d\n%s", format, got.code, c.code, got.stderr)
				}
				if got.stderr != "" {
					t.Errorf("%s: standard error holds %q", format, got.stderr)
				}
				judgeReport(t, format, got.stdout)
				golden(t, "dir-"+c.name+"."+format, got.stdout)
			}
		})
	}
}

// The table shows the first messages, and says how many there are in all.
func TestCheckCountsMessages(t *testing.T) {
	const policies = "-- p/policies.hcl --\npolicy \"many\" {\n  query = \"data.many.deny\"\n}\n-- p/many.rego --\npackage many\n\nimport rego.v1\n\n" +
		"deny := [sprintf(\"message %d\", [i]) | some i in numbers.range(1, TO)]\n-- plan.json --\n" + checkPlan
	for to, want := range map[string]string{
		"25":  "    - message 25\n    declared",
		"26":  "    - message 25\n    and 1 more message (--format json shows all)\n",
		"100": "    and 75 more messages (--format json shows all)\n",
		"250": "    and 225 more messages (--format json shows 75 of them)\n",
	} {
		got := check(t, checking{dir: lay(t, strings.Replace(policies, "TO", to, 1)), args: []string{"--dir", "p", "--plan", "plan.json"}})
		if got.code != 0 || !strings.Contains(got.stdout, want) {
			t.Errorf("of %s messages: exit code %d, want %q\n%s%s", to, got.code, want, got.stdout, got.stderr)
		}
	}
}

func TestCheckOutput(t *testing.T) {
	dir := lay(t, strings.Replace(checkPolicies, "LEVEL", "mandatory", 1))
	args := []string{"--dir", "policies", "--plan", "plan.json", at}
	table := check(t, checking{dir: dir, args: args}).stdout
	sarif := check(t, checking{dir: dir, args: append(args, "--sarif")}).stdout
	got := check(t, checking{dir: dir, args: append(args, "--sarif", "--output", "polset.sarif")})
	written, err := os.ReadFile(filepath.Join(dir, "polset.sarif"))
	if err != nil {
		t.Fatal(err)
	}
	if got.code != 1 || got.stdout != table || string(written) != sarif {
		t.Errorf("exit code %d\n%s\nthe file holds %s", got.code, got.stdout, written)
	}
	// Nobody may take the report of another check for this one's.
	got = check(t, checking{dir: dir, args: append(args, "--sarif", "--output", "none/polset.sarif")})
	if got.code != 2 || !strings.Contains(got.stderr, "write the report") {
		t.Errorf("exit code %d, %s", got.code, got.stderr)
	}
}

func TestCheckStandardInput(t *testing.T) {
	dir := lay(t, strings.Replace(checkPolicies, "LEVEL", "mandatory", 1))
	got := check(t, checking{dir: dir, stdin: checkPlan, args: []string{"--dir", "policies", "--plan", "-", at}})
	if got.code != 1 || !strings.Contains(got.stdout, "aws_s3_bucket.logs is public.") {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

func TestCheckRefusesWhatIsNoPlan(t *testing.T) {
	s := newCheckServer(t)
	for _, c := range []struct{ name, plan, want string }{
		{"nothing", " \n", "is empty"},
		{"the binary plan", "PK\x03\x04\x14\x00\x08\x00", "is no JSON plan, but the binary that terraform plan -out writes"},
		{"compressed", "\x1f\x8b\x08\x00", "compressed"},
		{"UTF-16", "\xff\xfe{\x00}\x00", "UTF-16"},
		{"text", "Terraform will perform the following actions", "is no JSON plan"},
		{"a list", "[1]", "is no JSON plan"},
		{"cut off", checkPlan[:len(checkPlan)-4], "ends in the middle"},
		{"two plans", checkPlan + checkPlan, "something follows"},
		{"the log of a plan", `{"@level":"info","@message":"Terraform 1.13.4","type":"version"}` + "\n" + `{"@level":"info"}`, "the log of terraform plan -json"},
		{"a state", `{"format_version":"1.0","values":{"root_module":{}}}`, "a state"},
		{"a raw state", `{"version":4,"serial":1,"lineage":"x","resources":[]}`, "a state"},
		{"something else", `{"name":"x","nested":{"resource_changes":[]},"text":"\"planned_values\":"}`, "none of planned_values"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := lay(t, strings.Replace(checkPolicies, "LEVEL", "mandatory", 1))
			if err := os.WriteFile(filepath.Join(dir, "plan.json"), []byte(c.plan), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, where := range [][]string{{"--dir", "policies"}, {"--workspace", checkWS}} {
				got := check(t, checking{dir: dir, env: s.env(), args: append(where, "--plan", "plan.json")})
				if got.code != 2 || got.stdout != "" || !strings.Contains(got.stderr, c.want) || !strings.Contains(got.stderr, "terraform show -json tfplan > plan.json") {
					t.Errorf("%s: exit code %d\n%s%s", where[0], got.code, got.stdout, got.stderr)
				}
			}
		})
	}
	if len(s.asked) > 0 {
		t.Errorf("the server was asked for %v", s.asked)
	}
}

func TestCheckUsage(t *testing.T) {
	dir := lay(t, strings.Replace(checkPolicies, "LEVEL", "mandatory", 1)+"-- array.json --\n[]\n")
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"neither", []string{"--plan", "plan.json"}, "--workspace=WORKSPACE or --dir=DIR"},
		{"both", []string{"--plan", "plan.json", "--dir", "policies", "--workspace", "w"}, "can't be used together"},
		{"no plan", []string{"--dir", "policies"}, "--plan"},
		{"a plan that is not there", []string{"--dir", "policies", "--plan", "none.json"}, "none.json"},
		{"a plan that is a directory", []string{"--dir", "policies", "--plan", "policies"}, "directory"},
		{"a directory that is not there", []string{"--dir", "none", "--plan", "plan.json"}, "none"},
		{"a directory that is none", []string{"--dir", "plan.json", "--plan", "plan.json"}, "plan.json"},
		{"no address", []string{"--workspace", checkWS, "--plan", "plan.json"}, "POLSET_ADDRESS"},
		{"no token", []string{"--workspace", checkWS, "--plan", "plan.json", "--address", "http://127.0.0.1:1"}, "POLSET_TOKEN"},
		{"an address that is none", []string{"--workspace", checkWS, "--plan", "plan.json", "--address", "polset.example.com", "--token", "x"}, "--address"},
		{"a name without an organization", []string{"--workspace", "network", "--plan", "plan.json"}, "--organization"},
		{"a parameter for a server", []string{"--workspace", "a/b", "--plan", "plan.json", "--parameter", "a=b"}, "--parameter goes with --dir"},
		{"no time at all", []string{"--dir", "policies", "--plan", "plan.json", "--timeout", "0s"}, "--timeout"},
		{"two formats", []string{"--dir", "policies", "--plan", "plan.json", "--json", "--sarif"}, "--json and --sarif"},
		{"two formats in two ways", []string{"--dir", "policies", "--plan", "plan.json", "--format=junit", "--sarif"}, "contradict"},
		{"a run that is an array", []string{"--dir", "policies", "--plan", "plan.json", "--run", "array.json"}, "as input.run: it is of type array\n"},
		{"a time that is none", []string{"--dir", "policies", "--plan", "plan.json", "--at", "noon"}, `--at: "noon" is no time such as 2026-01-31T12:00:00Z`},
		{"a run that is none", []string{"--dir", "policies", "--plan", "plan.json", "--run", "policies/fine.rego"}, "input.run"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := check(t, checking{dir: dir, args: c.args})
			if got.code != 2 || !strings.Contains(got.stderr, c.want) {
				t.Errorf("exit code %d, want 2 and an error with %q:\n%s%s", got.code, c.want, got.stdout, got.stderr)
			}
		})
	}
}
