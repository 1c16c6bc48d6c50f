package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
	"github.com/polset/polset/policy"
	"github.com/polset/polset/policy/worker"
)

const (
	checkedPolicies = 20
	checkRounds     = 15
	coldRounds      = 2 // each starts opa once for every policy

	overStarts  = 20  // times as fast as opa eval for each policy
	overLibrary = 1.2 // of what OPA's library takes
)

// checked compares a check of a plan with the same policies in opa eval, and
// in OPA's library.
func checked(ctx context.Context, b *bench) error {
	c, err := b.prepareCheck()
	if err != nil {
		return err
	}
	cold, verdicts, err := c.cold(ctx, b)
	if err != nil {
		return err
	}
	warm, err := c.warm(ctx, verdicts)
	if err != nil {
		return err
	}
	ours, theirs, err := c.beside(ctx, verdicts)
	if err != nil {
		return err
	}
	b.section("A check of %d policies over a plan of %s", checkedPolicies, mebibytes(float64(len(c.plan))))
	b.table([]string{"", "p50"}, [][]string{
		{"opa eval for each policy", ms(median(cold))},
		{"a warm check", ms(median(warm))},
		{"its evaluation, the plan parsed before", ms(median(ours))},
		{"OPA's library, the plan parsed before", ms(median(theirs))},
	})
	b.checks(
		atLeast("a warm check, as fast as opa eval for each policy", ratio(cold, warm), overStarts, times),
		atMost("evaluation, beside OPA's library", ratio(ours, theirs), overLibrary, times),
	)
	return nil
}

func ratio(a, b []time.Duration) float64 { return float64(median(a)) / float64(median(b)) }

// A checkBench is what is checked, and with what.
type checkBench struct {
	opa   string // the binary
	dir   string // which holds the policy set
	input string // the file that holds what policies see as input
	plan  []byte
	names []string // of the policies
}

func (c *checkBench) query(name string) string { return "data.terraform.policies." + name + ".deny" }

func (b *bench) prepareCheck() (c *checkBench, err error) {
	c = &checkBench{dir: filepath.Join(b.temp, "policies"), input: filepath.Join(b.temp, "input.json")}
	if c.opa, err = polsettest.OPA(); err != nil {
		return nil, err
	}
	if c.plan, err = plan(); err != nil {
		return nil, err
	}
	input := slices.Concat([]byte(`{"plan":`), c.plan, []byte(`,"run":{},"parameters":{}}`))
	if err := os.WriteFile(c.input, input, 0o600); err != nil {
		return nil, fmt.Errorf("write the input: %w", err)
	}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a policy set: %w", err)
	}
	var declared strings.Builder
	for i := range checkedPolicies {
		resource, attribute := guarded[i%len(guarded)][0], guarded[i%len(guarded)][1]
		name := fmt.Sprintf("%s_rule_%02d", resource, i)
		c.names = append(c.names, name)
		fmt.Fprintf(&declared, "policy %q {\n  query = %q\n  enforcement_level = \"mandatory\"\n}\n", name, c.query(name))
		if err := os.WriteFile(filepath.Join(c.dir, name+".rego"), []byte(policyText(i, name, resource, attribute)), 0o600); err != nil {
			return nil, fmt.Errorf("make a policy set: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(c.dir, "policies.hcl"), []byte(declared.String()), 0o600); err != nil {
		return nil, fmt.Errorf("make a policy set: %w", err)
	}
	return c, nil
}

// cold asks opa eval for each policy, and returns how long all of them take
// together and what they say.
func (c *checkBench) cold(ctx context.Context, b *bench) (took []time.Duration, verdicts [][]string, err error) {
	defer b.progress("opa eval, %d times", coldRounds*checkedPolicies)()
	for range coldRounds {
		began := time.Now()
		verdicts = nil
		for _, name := range c.names {
			out, err := exec.CommandContext(ctx, c.opa, "eval", "--bundle", c.dir, "--input", c.input, "--format", "raw", c.query(name)).Output() //nolint:gosec // made above
			if err != nil {
				return nil, nil, fmt.Errorf("opa eval: %w", err)
			}
			var messages []string
			if err := json.Unmarshal(out, &messages); err != nil {
				return nil, nil, fmt.Errorf("opa eval says %.100q: %w", out, err)
			}
			verdicts = append(verdicts, messages)
		}
		took = append(took, time.Since(began))
	}
	return took, verdicts, nil
}

// warm asks worker processes, as a server does, that have met the policies
// before, and makes sure that they say what opa eval does.
func (c *checkBench) warm(ctx context.Context, verdicts [][]string) (took []time.Duration, err error) {
	pool, err := worker.New(worker.Config{})
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	e := policy.Evaluation{
		Plan: c.plan, Run: []byte("{}"), At: time.Now(),
		Sets: []policy.SetEvaluation{{
			Key: "bench", Kind: polset.KindOPA,
			Files: func(context.Context) (fs.FS, error) { return os.DirFS(c.dir), nil },
		}},
	}
	for i := range checkRounds + 1 {
		began := time.Now()
		results, err := pool.Evaluate(ctx, e)
		if err != nil {
			return nil, fmt.Errorf("evaluate: %w", err)
		}
		if i > 0 { // the first is not warm
			took = append(took, time.Since(began))
		}
		if results[0].Err != nil {
			return nil, fmt.Errorf("evaluate: %w", results[0].Err)
		}
		if err := same(results[0].Policies, verdicts); err != nil {
			return nil, err
		}
	}
	return took, nil
}

// same fails where outcomes are not those of opa eval.
func same(outcomes []polset.PolicyOutcome, verdicts [][]string) error {
	failed := 0
	for i, o := range outcomes {
		got, want := o.Messages, verdicts[i]
		if last := len(got) - 1; last > 0 && len(want) > last && got[last] == fmt.Sprintf("… and %d more", len(want)-last) {
			got, want = got[:last], want[:last] // polset keeps so many
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("policy %s says %.300q, and with opa eval %.300q", o.Name, got, want)
		}
		if o.Status == polset.OutcomeFailed {
			failed++
		}
	}
	if len(outcomes) != len(verdicts) || failed == 0 || failed == len(outcomes) {
		return fmt.Errorf("%d of %d policies fail, of %d: that measures too little", failed, len(outcomes), len(verdicts))
	}
	return nil
}

// beside evaluates a program and, with OPA's library, the same queries; the
// plan is parsed before. They take turns, so that whatever else the machine
// does meets both.
func (c *checkBench) beside(ctx context.Context, verdicts [][]string) (ours, theirs []time.Duration, err error) {
	files := os.DirFS(c.dir)
	set, err := policy.Read(files, "", polset.KindOPA)
	if err != nil {
		return nil, nil, err
	}
	program, err := set.Compile(ctx, files)
	if err != nil {
		return nil, nil, err
	}
	parsed, err := policy.ParsePlan(c.plan)
	if err != nil {
		return nil, nil, err
	}
	queries, input, err := c.library(ctx)
	if err != nil {
		return nil, nil, err
	}
	for range 3 * checkRounds {
		began := time.Now()
		if _, err := program.Evaluate(ctx, policy.Input{Plan: parsed, Run: []byte("{}")}); err != nil {
			return nil, nil, err
		}
		ours = append(ours, time.Since(began))
		began = time.Now()
		for i, query := range queries {
			result, err := query.Eval(ctx, rego.EvalParsedInput(input))
			if err != nil {
				return nil, nil, fmt.Errorf("OPA's library: %w", err)
			}
			if messages, ok := result[0].Expressions[0].Value.([]any); !ok || len(messages) != len(verdicts[i]) {
				return nil, nil, fmt.Errorf("OPA's library says something else than opa eval of policy %s", c.names[i])
			}
		}
		theirs = append(theirs, time.Since(began))
	}
	return ours, theirs, nil
}

// library makes ready what OPA's library evaluates.
func (c *checkBench) library(ctx context.Context) (queries []rego.PreparedEvalQuery, input ast.Value, err error) {
	for _, name := range c.names {
		query, err := rego.New(rego.LoadBundle(c.dir), rego.Query(c.query(name))).PrepareForEval(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("OPA's library: %w", err)
		}
		queries = append(queries, query)
	}
	file, err := os.Open(c.input)
	if err != nil {
		return nil, nil, fmt.Errorf("read the input: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	input, err = ast.ValueFromReader(file)
	return queries, input, err
}
