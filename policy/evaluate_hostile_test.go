package policy_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

// set is a set of an Evaluation, whose files are those.
func set(fsys fs.FS) policy.SetEvaluation {
	return policy.SetEvaluation{
		Kind:  polset.KindOPA,
		Files: func(context.Context) (fs.FS, error) { return fsys, nil },
	}
}

// wantBudget checks that a set ends soon after its budget.
func wantBudget(t *testing.T, rego string) {
	t.Helper()
	// The other one is compiled before: on a busy machine that alone may take as
	// long as the budget.
	programs := &policy.Programs{Bytes: 1 << 30, Count: 1}
	other := set(repo("policies.hcl", oneQuery, "a.rego", `package a deny["b"] { true }`))
	other.Key = "other"
	e := policy.Evaluation{Plan: []byte(emptyPlan), At: created, Sets: []policy.SetEvaluation{other}}
	if _, err := programs.Evaluate(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	e.Budget = 250 * time.Millisecond
	e.Sets = []policy.SetEvaluation{set(repo("policies.hcl", oneQuery, "a.rego", "package a\nimport rego.v1\n"+rego)), other}
	began := time.Now()
	results, err := programs.Evaluate(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	wantFailure(t, results[0].Err, polset.ClassLimit, "The policy set takes longer than 250ms to evaluate, the limit that POLSET_CHECK_TIMEOUT sets.")
	if results[0].Policies != nil {
		t.Errorf("there are outcomes besides: %v", results[0].Policies)
	}
	if results[0].Duration < 250*time.Millisecond {
		t.Errorf("it took %s only", results[0].Duration)
	}
	if elapsed := time.Since(began); elapsed > 20*time.Second {
		t.Errorf("it took %s", elapsed)
	}
	if results[1].Err != nil || len(results[1].Policies) != 1 || results[1].Policies[0].Status != polset.OutcomeFailed {
		t.Errorf("the other set: %+v", results[1])
	}
}

func TestCase88Loops(t *testing.T) {
	const numbers = "n := numbers.range(1, 10000)\n"
	for _, c := range []struct{ name, rego string }{
		{"case 88 a cartesian product", numbers + "deny contains 1 if { some a in n; some b in n; some c in n; some d in n; a + b + c + d == 0 }"},
		{"case 88 a cartesian product of a set", numbers + "deny contains [a, b, c] if { some a in n; some b in n; some c in n; a + b + c == 0 }"},
		{"case 88 in every", numbers + "deny := [] if { every a in n { every b in n { every c in n { a + b + c > 0 } } } }"},
		{"case 88 in a function", numbers + "f(x) := count([1 | some a in n; some b in n; a + b == x])\ndeny := [f(a) | some a in n]"},
		{"case 88 a long range", "deny := numbers.range(1, 1000000000000)"},
		{"case 88 a wide network", `deny := net.cidr_expand("::/1")`},
		{"case 88 printing", numbers + "deny := [] if { some a in n; some b in n; print(a, b); a + b < 0 }"},
	} {
		t.Run(c.name, func(t *testing.T) { wantBudget(t, c.rego) })
	}
}

func TestCase89ReplaceBombs(t *testing.T) {
	for _, c := range []struct{ name, function string }{
		{"case 89 replace", `replace(x, "a", "aaaaaaaaaaaaaaaa")`},
		{"case 89 strings.replace_n", `strings.replace_n({"a": "aaaaaaaaaaaaaaaa"}, x)`},
		{"case 89 regex.replace", `regex.replace(x, "a", "aaaaaaaaaaaaaaaa")`},
		{"case 89 concat", `concat("", [x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x])`},
	} {
		t.Run(c.name, func(t *testing.T) {
			chain := "f0(x) := x\n"
			for i := range 12 {
				chain += fmt.Sprintf("f%d(x) := f%d(%s)\n", i+1, i, c.function)
			}
			wantBudget(t, chain+`deny := [f12("a")]`)
		})
	}
}

// TestCase91Evaluated: what case 91's fixtures refuse at ingest is refused
// when it is compiled to be evaluated, too.
func TestCase91Evaluated(t *testing.T) {
	for _, rego := range []string{
		`deny contains x if x := is_object({"method": "get", "url": "http://169.254.169.254/"}) with is_object as http.send`,
		`deny contains x if x := http.send({"method": "get", "url": "http://169.254.169.254/"})`,
		`deny contains x if x := opa.runtime().env`,
	} {
		results, err := policy.Evaluate(t.Context(), policy.Evaluation{
			Plan: []byte(emptyPlan),
			Sets: []policy.SetEvaluation{set(repo("policies.hcl", oneQuery, "a.rego", "package a\nimport rego.v1\n"+rego))},
		})
		if err != nil {
			t.Fatal(err)
		}
		wantFailure(t, results[0].Err, polset.ClassPolicyInvalid, "a.rego:3:")
	}
}

// TestCase92Evaluated: what a value nests at is bounded wherever it comes from.
func TestCase92Evaluated(t *testing.T) {
	deep := strings.Repeat("[", 501) + strings.Repeat("]", 501)
	_, err := policy.ParsePlan([]byte(`{"configuration": ` + deep[1:1001] + `}`))
	wantFailure(t, err, polset.ClassLimit, "The plan nests deeper than 500 levels, the limit for a plan in JSON.")
	_, err = policy.ParsePlan([]byte(`{"configuration": ` + strings.Repeat("[", 5_000_000)))
	wantFailure(t, err, polset.ClassLimit, "The plan nests deeper than 500 levels")
	if _, err := policy.ParsePlan([]byte(`{"configuration": ` + deep[2:1000] + `}`)); err != nil {
		t.Error(err)
	}

	// What a policy makes itself may nest as deep as OPA lets it.
	results, err := policy.Evaluate(t.Context(), policy.Evaluation{
		Plan: []byte(emptyPlan),
		Sets: []policy.SetEvaluation{set(repo("policies.hcl", oneQuery, "a.rego", `package a
import rego.v1
n := numbers.range(1, 9999)
open := concat("", ["[" | some _ in n])
close := concat("", ["]" | some _ in n])
deny contains x if x := json.unmarshal(concat("", [open, close]))
deny contains sprintf("%v", [x]) if x := json.unmarshal(concat("", [open, close]))
deny contains json.marshal(x) if x := json.unmarshal(concat("", [open, close]))
deny contains x if x := count([p | walk(json.unmarshal(concat("", [open, close])), [p, _])])
`))},
	})
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	for _, m := range results[0].Policies[0].Messages {
		if len(m) > 4100 {
			t.Errorf("a message of %d bytes", len(m))
		}
	}
}

// TestCase93 asks each builtin whose result depends on more than its
// arguments twice.
func TestCase93(t *testing.T) {
	rego := `package a
import rego.v1
deny := [
	time.now_ns(),
	rand.intn("a", 1000000000),
	uuid.rfc4122("a"),
	time.clock(time.now_ns()),
	io.jwt.decode_verify(token, {"secret": "secret"})[0],
]
# {"alg":"HS256"}, {"exp":…}: valid until an hour after the run was created
token := "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOiAxNzk1ODk5NjAwfQ.qqYSQXjigNLlcgTHCUE3Tx3OaYIjOptn3LkwEIN_nkc"
other := [rand.intn("a", 1000000000), uuid.rfc4122("a")]
`
	ask := func(at time.Time, seed string) map[string][]string {
		t.Helper()
		program := compile(t, repo("policies.hcl", oneQuery+"\n"+`policy "b" { query = "data.a.other" }`, "a.rego", rego))
		outcomes, err := program.Evaluate(t.Context(), policy.Input{Plan: plan(t, emptyPlan), At: at, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		return map[string][]string{"a": outcomes[0].Messages, "b": outcomes[1].Messages}
	}
	was := ask(created, "run-1")
	if diff := cmp.Diff(was, ask(created, "run-1")); diff != "" {
		t.Errorf("twice the same (-first +second):\n%s", diff)
	}
	if got, want := was["a"][0], fmt.Sprint(created.UnixNano()); got != want {
		t.Errorf("time.now_ns: got %s, want %s", got, want)
	}
	if was["a"][4] != "true" {
		t.Error("a token that was valid when the run was created is not")
	}
	later := ask(created.Add(2*time.Hour), "run-1")
	if later["a"][0] == was["a"][0] || later["a"][4] != "false" {
		t.Errorf("two hours later: %v", later)
	}
	other := ask(created, "run-2")
	for i, builtin := range []string{1: "rand.intn", 2: "uuid.rfc4122"} {
		if builtin != "" && (other["a"][i] == was["a"][i] || was["b"][i-1] == was["a"][i]) {
			t.Errorf("%s is the same for another run, or another policy: %v, %v", builtin, was, other)
		}
	}
	if got := ask(time.Time{}, "")["a"][0]; got != "0" {
		t.Errorf("without a time it is %s", got)
	}
}

func TestEvaluateStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	program := compile(t, repo("policies.hcl", oneQuery, "a.rego", "package a\nimport rego.v1\nn := numbers.range(1, 100000)\ndeny contains 1 if { some a in n; some b in n; a + b == 0 }"))
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := program.Evaluate(ctx, policy.Input{Plan: plan(t, emptyPlan)}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if _, err := program.Evaluate(ctx, policy.Input{Plan: plan(t, emptyPlan)}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: got %v", err)
	}
	e := policy.Evaluation{Plan: []byte(emptyPlan), Budget: time.Minute, Sets: []policy.SetEvaluation{set(repo("policies.hcl", oneQuery, "a.rego", "package a\ndeny := []"))}}
	if _, err := policy.Evaluate(ctx, e); !errors.Is(err, context.Canceled) {
		t.Errorf("a whole evaluation: got %v", err)
	}
	// A deadline of the caller's is no budget of the set.
	ctx, cancel = context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if _, err := policy.Evaluate(ctx, e); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a deadline: got %v", err)
	}
}
