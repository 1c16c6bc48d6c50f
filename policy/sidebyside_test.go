package policy_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
	"github.com/polset/polset/policy"
)

// What both see as input.
const (
	sidePlan = `{"planned_values": {}, "n": 1, "zero": 0, "none": null, "no": false, "empty": "", "list": [], "tree": {"a": {"b": ["c"]}},
		"resource_changes": [
			{"address": "aws_s3_bucket.a", "type": "aws_s3_bucket", "change": {"actions": ["create"], "after": {"acl": "public-read", "tags": null}}},
			{"address": "aws_s3_bucket.b", "type": "aws_s3_bucket", "change": {"actions": ["no-op"], "after": {"acl": "private", "tags": {"owner": "me"}}}},
			{"address": "aws_instance.c", "type": "aws_instance", "change": {"actions": ["delete", "create"], "after": {"size": 12345678901234567890.5}}}
		]}`
	sideRun        = `{"id": "run-1"}`
	sideParameters = `{"who": "me"}`
)

// A sideCase is a policy set and a query that is put to it.
type sideCase struct {
	name, query string
	spoken      spoken
	files       string // as txtar, or a.rego alone
}

// spoken is what a case is written in: one version, or what both read alike.
type spoken int

const (
	v1 spoken = iota
	v0
	both
	// refused is v1 that polset alone refuses, on purpose.
	refused
)

func (s spoken) flags() []string {
	switch s {
	case v0:
		return []string{"--v0-compatible"}
	case both:
		return []string{"--v0-compatible", "--v1-compatible"}
	}
	return []string{"--v1-compatible"}
}

// A said is what somebody says of a set: passed, failed or nothing.
type said struct {
	Verdict  string
	Messages []string
}

// TestSideBySide asks OPA itself what polset is asked. Nothing else tells a
// verdict that is wrong from one that polset's own tests are wrong about.
func TestSideBySide(t *testing.T) {
	program, err := polsettest.OPA()
	if err != nil {
		t.Fatal(err)
	}
	input := filepath.Join(t.TempDir(), "input.json")
	document := `{"plan": ` + sidePlan + `, "run": ` + sideRun + `, "parameters": ` + sideParameters + `}`
	if err := os.WriteFile(input, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range sideCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fsys := fstest.MapFS{"a.rego": {Data: []byte(c.files)}}
			if strings.HasPrefix(c.files, "-- ") {
				delete(fsys, "a.rego")
				for _, f := range txtar.Parse([]byte(c.files)).Files {
					fsys[f.Name] = &fstest.MapFile{Data: f.Data}
				}
			}
			dir := t.TempDir()
			if err := os.CopyFS(dir, fsys); err != nil {
				t.Fatal(err)
			}
			fsys["policies.hcl"] = &fstest.MapFile{Data: []byte("policy \"a\" {\n  query = " + strconv.Quote(c.query) + "\n}\n")}
			got := ofPolset(t, fsys)
			for _, flag := range c.spoken.flags() {
				want := ofOPA(t, program, flag, "--bundle", dir, "--input", input, "--format", "json", c.query)
				if c.spoken == refused {
					if want.Verdict == "" || got.Verdict != "" {
						t.Errorf("OPA says %+v, and polset %+v", want, got)
					}
					continue
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("what is said (-opa eval %s +polset):\n%s", flag, diff)
				}
			}
		})
	}
}

// ofPolset is what polset says. Whatever Inspect passes can be evaluated, and
// becomes a bundle that agents load.
func ofPolset(t *testing.T, fsys fstest.MapFS) said {
	t.Helper()
	read, err := policy.Read(fsys, "", polset.KindOPA)
	if err != nil {
		t.Fatal(err)
	}
	_, failure := read.Inspect(t.Context(), fsys)
	if failure != nil {
		t.Logf("polset refuses the set: %s", sentence(failure))
	}
	asked := set(fsys)
	if err := json.Unmarshal([]byte(sideParameters), &asked.Parameters); err != nil {
		t.Fatal(err)
	}
	results, fault := policy.Evaluate(t.Context(), policy.Evaluation{
		Plan: []byte(sidePlan), Run: []byte(sideRun), At: created, Seed: "run-1", Sets: []policy.SetEvaluation{asked},
	})
	if fault != nil {
		t.Fatal(fault)
	}
	result := results[0]
	switch {
	case failure != nil:
		return said{}
	case result.Err != nil:
		t.Fatalf("Inspect passes what cannot be evaluated: %v", result.Err)
	}
	b, err := policy.ReadBundle(t.Context(), fsys, "")
	if err == nil {
		_, err = loaded(t, map[string][]byte{"it": packed(t, b)})
	}
	if err != nil {
		t.Errorf("no agent loads the bundle: %v", err)
	}
	o := result.Policies[0]
	if o.Status == polset.OutcomeErrored {
		t.Logf("polset: %s", o.Messages[0])
		return said{}
	}
	return said{string(o.Status), o.Messages}
}

// sentence is what people read of a failure.
func sentence(err error) string {
	var failure *polset.Failure
	if errors.As(err, &failure) {
		return failure.Message
	}
	return fmt.Sprint(err)
}

// ofOPA is what HCP Terraform makes of what opa eval says.
func ofOPA(t *testing.T, program string, args ...string) said {
	t.Helper()
	var out, log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, append([]string{"eval"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &log
	runErr := cmd.Run()
	var answer struct {
		Errors []struct{ Message string }
		Result []struct {
			Expressions []struct{ Value json.RawMessage }
		}
	}
	decoder := json.NewDecoder(&out)
	if err := decoder.Decode(&answer); err != nil {
		t.Fatalf("opa eval: %v, %v\n%s", runErr, err, log.String())
	}
	if runErr != nil && len(answer.Errors) == 0 {
		t.Fatalf("opa eval: %v\n%s", runErr, log.String())
	}
	for _, e := range answer.Errors {
		t.Logf("opa: %s", e.Message)
	}
	if len(answer.Errors) > 0 || len(answer.Result) != 1 || len(answer.Result[0].Expressions) != 1 {
		return said{}
	}
	var elements []json.RawMessage
	if value := answer.Result[0].Expressions[0].Value; value[0] != '[' {
		return said{}
	} else if err := json.Unmarshal(value, &elements); err != nil {
		t.Fatal(err)
	}
	if len(elements) == 0 {
		return said{Verdict: "passed"}
	}
	s := said{Verdict: "failed"}
	for _, e := range elements {
		s.Messages = append(s.Messages, sideMessage(t, e))
	}
	return s
}

// sideMessage is what an element says, from its JSON.
func sideMessage(t *testing.T, element json.RawMessage) string {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(element))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	if text, ok := value.(string); ok && text != "" {
		return text
	}
	if object, ok := value.(map[string]any); ok {
		for _, key := range []string{"msg", "message"} {
			if text, ok := object[key].(string); ok {
				return text
			}
		}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(out.String(), "\n")
}
