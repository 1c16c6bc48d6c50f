package policy_test

import (
	"io/fs"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

// compile compiles the set at the root of fsys.
func compile(t testing.TB, fsys fs.FS) *policy.Program {
	t.Helper()
	set, err := policy.Read(fsys, "", polset.KindOPA)
	if err != nil {
		t.Fatal(err)
	}
	program, err := set.Compile(t.Context(), fsys)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func plan(t testing.TB, raw string) *policy.Plan {
	t.Helper()
	p, err := policy.ParsePlan([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var created = time.Date(2026, 11, 28, 20, 0, 0, 0, time.UTC)

// TestEvaluateVerdicts is the table of what a query may give.
func TestEvaluateVerdicts(t *testing.T) {
	const (
		expected = "; a set or an array is expected, which is empty where the policy passes."
		v0, v1   = "package example\n", "package example\nimport rego.v1\n"
	)
	for _, c := range []struct {
		name, rego, query string
		status            polset.OutcomeStatus
		messages          []string
	}{
		{"go-tfe's passes", `package example rule["not allowed"] { false }`, "data.example.rule", polset.OutcomePassed, nil},
		{"go-tfe's fails", `package example rule["not allowed"] { true }`, "data.example.rule", polset.OutcomeFailed, []string{"not allowed"}},
		{"an empty array", v1 + "deny := []", "data.example.deny", polset.OutcomePassed, nil},
		{"an array in its order", v1 + `deny := ["b", "a", "b"]`, "data.example.deny", polset.OutcomeFailed, []string{"b", "a", "b"}},
		{"a set in OPA's order", v1 + `deny contains x if some x in ["b", "a", "b"]`, "data.example.deny", polset.OutcomeFailed, []string{"a", "b"}},
		{"objects", v0 + `deny[{"msg": "m", "n": 1}] { true } deny[{"message": "n"}] { true } deny[{"msg": 1, "message": "o"}] { true } deny[{"b": {1, "x"}, "a": [null, true, 1.50]}] { true }`, "data.example.deny", polset.OutcomeFailed, []string{`{"a":[null,true,1.50],"b":[1,"x"]}`, "n", "o", "m"}},
		{"scalars", v1 + `deny := [1, true, null, "", ["<&>"], 12345678901234567890.10]`, "data.example.deny", polset.OutcomeFailed, []string{"1", "true", "null", `""`, `["<&>"]`, "12345678901234567890.10"}},
		{"a comprehension", v1 + `deny := ["a"]`, "[upper(m) | some m in data.example.deny]", polset.OutcomeFailed, []string{"A"}},
		{"a call", v1 + `deny := ["a"]`, "array.concat(data.example.deny, [input.parameters.who])", polset.OutcomeFailed, []string{"a", "me"}},
		{"with", v1 + `deny contains input.x`, `data.example.deny with input as {"x": "y"}`, polset.OutcomeFailed, []string{"y"}},
		{"what the input is", v1 + `deny := [input.plan.n, input.run.id, input.parameters.who]`, "data.example.deny", polset.OutcomeFailed, []string{"12345678901234567890.123456789012345678", "run-1", "me"}},
		{"a builtin error is undefined", v1 + `deny contains "x" if to_number("y")`, "data.example.deny", polset.OutcomePassed, nil},
		{"undefined", v1 + `deny := [] if input.nothing`, "data.example.deny", polset.OutcomeErrored, []string{"The query is undefined for this plan" + expected}},
		{"undefined in it", v1 + `deny := input.plan.x`, "data.example.deny[0]", polset.OutcomeErrored, []string{"The query is undefined for this plan" + expected}},
		{"a boolean", v1 + `deny := []`, "count(data.example.deny) == 0", polset.OutcomeErrored, []string{"The query gives a value of type boolean" + expected}},
		{"a boolean rule", v1 + `allow if true`, "data.example.allow", polset.OutcomeErrored, []string{"The query gives a value of type boolean" + expected}},
		{"an object", v1 + `deny := {}`, "data.example.deny", polset.OutcomeErrored, []string{"The query gives a value of type object" + expected}},
		{"a package", v1 + `deny := []`, "data.example", polset.OutcomeErrored, []string{"The query gives a value of type object" + expected}},
		{"a string", v1 + `deny := "x"`, "data.example.deny", polset.OutcomeErrored, []string{"The query gives a value of type string" + expected}},
		{"null", v1 + `deny := null`, "data.example.deny", polset.OutcomeErrored, []string{"The query gives a value of type null" + expected}},
		{"several values", v1 + `deny := [[], []]`, "data.example.deny[_]", polset.OutcomeErrored, []string{"The query gives more than one value" + expected}},
		{"several expressions", v1 + `deny := []`, "data.example.deny; data.example.deny", polset.OutcomeErrored, []string{"The query holds no single expression that has a value" + expected}},
		{"not", v1 + `deny if false`, "not data.example.deny", polset.OutcomeErrored, []string{"The query holds no single expression that has a value" + expected}},
		{"an assignment", v1 + `deny := []`, "x := data.example.deny", polset.OutcomeErrored, []string{"The query holds no single expression that has a value" + expected}},
		{"an equality", v1 + `deny := []`, "x = data.example.deny", polset.OutcomeErrored, []string{"The query holds no single expression that has a value" + expected}},
		{"a conflict", v1 + "deny := [x] if some x in [1, 2]", "data.example.deny", polset.OutcomeErrored, []string{"OPA could not evaluate the policy: a.rego:3: eval_conflict_error: rule data.example.deny produced conflicting values:\n  [1] at a.rego:3\n  [2] at a.rego:3"}},
		{"what a terminal obeys", v1 + `deny := ["\u001b[31mred\r\n\tnext\u0000\u202e"]`, "data.example.deny", polset.OutcomeFailed, []string{"\uFFFD[31mred\n\tnext\uFFFD\uFFFD"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			program := compile(t, repo("policies.hcl", "policy \"a\" {\n  query = "+strconv.Quote(c.query)+"\n  enforcement_level = \"mandatory\"\n  description = \"about a\"\n}", "a.rego", c.rego))
			got, err := program.Evaluate(t.Context(), policy.Input{
				Plan: plan(t, `{"planned_values": {}, "n": 12345678901234567890.123456789012345678}`), Run: []byte(`{"id": "run-1"}`),
				Parameters: map[string]string{"who": "me"}, At: created, Seed: "run-1",
			})
			if err != nil {
				t.Fatal(err)
			}
			want := []polset.PolicyOutcome{{
				Name: "a", Query: c.query, EnforcementLevel: "mandatory", Description: "about a",
				Status: c.status, Messages: c.messages, File: "policies.hcl", Line: 1,
			}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
		})
	}
}
