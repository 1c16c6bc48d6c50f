package main_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

// verdicts are the policies of a JSON report, as a server keeps them.
func verdicts(t *testing.T, report string) []polset.PolicyOutcome {
	t.Helper()
	var d struct {
		Sets []struct {
			Policies []struct {
				Name, Query, Description, Result, File string
				Level                                  string `json:"enforcement-level"`
				Messages, Prints                       []string
				Line                                   int
			}
		} `json:"policy-sets"`
	}
	if err := json.Unmarshal([]byte(report), &d); err != nil {
		t.Fatalf("%v\n%s", err, report)
	}
	var all []polset.PolicyOutcome
	for _, s := range d.Sets {
		for _, p := range s.Policies {
			status := polset.OutcomeFailed
			if p.Result == "passed" || p.Result == "errored" {
				status = polset.OutcomeStatus(p.Result)
			}
			o := polset.PolicyOutcome{
				Name: p.Name, Query: p.Query, EnforcementLevel: p.Level, Description: p.Description, Status: status, File: p.File, Line: p.Line,
			}
			if len(p.Messages) > 0 {
				o.Messages = p.Messages
			}
			if len(p.Prints) > 0 {
				o.Prints = p.Prints
			}
			all = append(all, o)
		}
	}
	return all
}

// What a server is given for the run: the same set, plan, parameters and time
// have the same outcomes here, random numbers included.
func TestCheckDirectoryIsWhatTheServerSays(t *testing.T) {
	plans := t.TempDir()
	plan := func(name string) string {
		raw, err := os.ReadFile(filepath.Join("..", "..", "testdata", "demo", "plans", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var input struct{ Plan json.RawMessage }
		if err := json.Unmarshal(raw, &input); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(plans, name+".json")
		if err := os.WriteFile(file, input.Plan, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	// The demo's policies, with the library that is a submodule of theirs.
	demo := t.TempDir()
	for from, to := range map[string]string{"policies/policies/prod": ".", "policy-lib": "lib"} {
		if err := os.CopyFS(filepath.Join(demo, to), os.DirFS(filepath.Join("..", "..", "testdata", "demo", from))); err != nil {
			t.Fatal(err)
		}
	}
	input := lay(t, `-- run.json --
{"id":"run-abcdefghijklmnop","created_at":"2026-01-31T12:00:00Z","workspace":{"name":"network"}}
-- policies/policies.hcl --
policy "says" {
  query = "data.says.what"
}
-- policies/limits/data.json --
{"most": 3}
-- policies/says.rego --
package says

import rego.v1

what contains sprintf("%d %d %s %s %s %d", [
	time.now_ns(), rand.intn("x", 1000000), uuid.rfc4122("x"), input.run.workspace.name, input.parameters.region, data.limits.most,
])
`)
	run := filepath.Join(input, "run.json")
	runInput, err := os.ReadFile(run)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, dir, plan string
		failed          bool
	}{
		{"careful", demo, plan("careful"), false},
		{"careless", demo, plan("careless"), true},
		{"what the run says", filepath.Join(input, "policies"), plan("careful"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw, err := os.ReadFile(c.plan)
			if err != nil {
				t.Fatal(err)
			}
			results, err := policy.Evaluate(t.Context(), policy.Evaluation{
				Plan: raw, Run: runInput, At: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), Seed: "run-abcdefghijklmnop",
				Sets: []policy.SetEvaluation{{
					Kind: polset.KindOPA, Parameters: map[string]string{"region": "eu-central-1"},
					Files: func(context.Context) (fs.FS, error) { return os.DirFS(c.dir), nil },
				}},
			})
			if err != nil || results[0].Err != nil {
				t.Fatal(err, results)
			}
			got := check(t, checking{args: []string{"--dir", c.dir, "--plan", c.plan, "--run", run, "--parameter", "region=eu-central-1", "--json"}})
			if want := map[bool]int{true: 1}[c.failed]; got.code != want {
				t.Errorf("exit code %d, want %d\n%s", got.code, want, got.stderr)
			}
			if diff := cmp.Diff(results[0].Policies, verdicts(t, got.stdout)); diff != "" {
				t.Errorf("the server and polset check differ (-server +check):\n%s", diff)
			}
		})
	}
}
