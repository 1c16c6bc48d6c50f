package policy_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

// keyed is a set whose files are opened under its key, and counted.
func keyed(key string, opened *int) policy.SetEvaluation {
	fsys := repo("policies.hcl", oneQuery, "a.rego", fmt.Sprintf("package a\nimport rego.v1\ndeny := [%q]", key))
	s := set(fsys)
	s.Key = key
	s.Files = func(context.Context) (fs.FS, error) { *opened++; return fsys, nil }
	return s
}

func TestProgramsKeep(t *testing.T) {
	size := compile(t, repo("policies.hcl", oneQuery, "a.rego", "package a\nimport rego.v1\ndeny := [\"1\"]")).Size()
	for _, c := range []struct {
		name   string
		bytes  int64
		count  int
		keys   string // in turn
		opened int
		has    string // of 1, 2, 3, in the end
	}{
		{"nothing", 0, 0, "11", 2, ""},
		{"no count", 1 << 30, 0, "11", 2, ""},
		{"all", 1 << 30, 10, "123123", 3, "123"},
		{"as many as may be", 1 << 30, 2, "121312", 4, "12"},
		{"as large as may be", 2 * size, 10, "121312", 4, "12"},
		{"none is larger", size - 1, 10, "11", 2, ""},
		{"no key", 1 << 30, 10, "  ", 2, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			opened, programs := 0, policy.Programs{Bytes: c.bytes, Count: c.count}
			for _, key := range strings.Split(c.keys, "") {
				key = strings.TrimSpace(key)
				results, err := programs.Evaluate(t.Context(), policy.Evaluation{Plan: []byte(emptyPlan), Sets: []policy.SetEvaluation{keyed(key, &opened)}})
				if err != nil || results[0].Err != nil {
					t.Fatal(err, results)
				}
				if diff := cmp.Diff([]string{key}, results[0].Policies[0].Messages); key != "" && diff != "" {
					t.Errorf("set %s (-want +got):\n%s", key, diff)
				}
			}
			if opened != c.opened {
				t.Errorf("opened %d times, want %d", opened, c.opened)
			}
			has := ""
			for _, key := range []string{"", "1", "2", "3"} {
				if programs.Has(keyed(key, &opened)) {
					has += key
				}
			}
			if has != c.has {
				t.Errorf("keeps %q, want %q", has, c.has)
			}
		})
	}
}

// TestProgramsTellSetsApart: the same archive may hold several sets.
func TestProgramsTellSetsApart(t *testing.T) {
	programs := policy.Programs{Bytes: 1 << 30, Count: 10}
	fsys := repo("x/policies.hcl", oneQuery, "x/a.rego", `package a deny["x"] { true }`, "y/policies.hcl", oneQuery, "y/a.rego", `package a deny["y"] { true }`, "y/sentinel.hcl", `policy "a" {}`)
	x, y, sentinel := set(fsys), set(fsys), set(fsys)
	x.Key, y.Key, sentinel.Key, x.Dir, y.Dir, sentinel.Dir, sentinel.Kind = "k", "k", "k", "x", "/y/", "y", polset.KindSentinel
	for range 2 {
		results, err := programs.Evaluate(t.Context(), policy.Evaluation{Plan: []byte(emptyPlan), Sets: []policy.SetEvaluation{x, y, sentinel}})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"x", "y"} {
			if results[i].Err != nil || results[i].Policies[0].Messages[0] != want {
				t.Errorf("%s: %+v", want, results[i])
			}
		}
		wantFailure(t, results[2].Err, polset.ClassEngineUnsupported, "polset has no engine for sentinel policies yet: it evaluates those of kind opa.")
	}
}

// TestEvaluation: a fault of one set is no fault of the others, and a fault of
// what they share is one of the whole.
func TestEvaluation(t *testing.T) {
	broken := errors.New("the disk is broken")
	e := policy.Evaluation{
		Plan: []byte(`{"resource_changes": []}`), Run: []byte(`{"id": "run-1"}`), At: created, Seed: "run-1",
		Sets: []policy.SetEvaluation{
			set(repo("policies.hcl", oneQuery+"\n"+`policy "b" { query = "data.a.b" }`, "a.rego", "package a\nimport rego.v1\ndeny := [input.parameters.p]\nb := [input.run.id]")),
			set(repo("policies.hcl", oneQuery, "a.rego", "package a\ndeny := [")),
			{Kind: polset.KindOPA, Files: func(context.Context) (fs.FS, error) { return nil, broken }},
			set(repo()),
		},
	}
	e.Sets[0].Parameters = map[string]string{"p": "v"}
	results, err := policy.Evaluate(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	want := []polset.PolicyOutcome{
		{Name: "a", Query: "data.a.deny", EnforcementLevel: "advisory", Status: polset.OutcomeFailed, Messages: []string{"v"}, File: "policies.hcl", Line: 1},
		{Name: "b", Query: "data.a.b", EnforcementLevel: "advisory", Status: polset.OutcomeFailed, Messages: []string{"run-1"}, File: "policies.hcl", Line: 2},
	}
	if diff := cmp.Diff(want, results[0].Policies); diff != "" || results[0].Err != nil || results[0].Duration <= 0 {
		t.Errorf("the first set: %v (-want +got):\n%s", results[0].Err, diff)
	}
	wantFailure(t, results[1].Err, polset.ClassPolicyInvalid, "a.rego:2:")
	if !errors.Is(results[2].Err, broken) {
		t.Errorf("a broken disk: got %v", results[2].Err)
	}
	wantFailure(t, results[3].Err, polset.ClassNoPolicies, "There is no policies.hcl or policies.json")

	e.Plan = []byte("[]")
	_, err = policy.Evaluate(t.Context(), e)
	wantFailure(t, err, polset.ClassContentInvalid, "The plan is not the JSON object")
	e.Plan, e.Run = []byte(emptyPlan), []byte("[]")
	if _, err = policy.Evaluate(t.Context(), e); err == nil {
		t.Error("the run's data are no object, and nobody says so")
	}
}

// TestEvaluateIsTheSame: at once or one after the other, of a program that is
// kept or a new one.
func TestEvaluateIsTheSame(t *testing.T) {
	e := policy.Evaluation{Plan: hundred(t), At: created, Seed: "run-1", Sets: []policy.SetEvaluation{set(subset(t, "policies"))}}
	e.Sets[0].Key = "k"
	programs := &policy.Programs{Bytes: 1 << 30, Count: 1}
	want, err := policy.Evaluate(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(want[0].Policies); n != 40 || want[0].Policies[7].Status != polset.OutcomeFailed {
		t.Fatalf("%d policies: %+v", n, want[0])
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 3 {
				got, err := programs.Evaluate(t.Context(), e)
				if err != nil {
					t.Error(err)
					return
				}
				if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(policy.SetResult{}, "Duration")); diff != "" {
					t.Errorf("not the same (-first +now):\n%s", diff)
				}
			}
		})
	}
	all.Wait()
}

// subset is the set of forty policies.
func subset(t *testing.T, dir string) fs.FS {
	t.Helper()
	fsys, err := fs.Sub(forty(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

// hundred is a plan that creates a hundred resources without owners.
func hundred(t testing.TB) []byte {
	t.Helper()
	var changes []string
	for i := range 100 {
		changes = append(changes, fmt.Sprintf(`{"address": "aws_instance.i%02d", "type": "aws_instance", "change": {"actions": ["create"], "after": {"tags": {}}}}`, i))
	}
	return []byte(`{"format_version": "1.2", "resource_changes": [` + strings.Join(changes, ",") + `]}`)
}
