package policy_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

const askData = `policy "a" { query = "data.q.deny" }`

// TestData compares what policies see of data files with what opa eval
// --bundle shows of the same files.
func TestData(t *testing.T) {
	for _, c := range []struct {
		name string
		expr string
		fsys fstest.MapFS
		want string
	}{
		{"at the root", "data.a", repo("data.json", `{"a": {"n": 1.50}}`), `{"n":1.50}`},
		{"below", "data.x.y", repo("x/y/data.json", `{"a": 12345678901234567890}`), `{"a":12345678901234567890}`},
		{"no object", "data.x", repo("x/data.json", `[1, "2", null]`), `[1,"2",null]`},
		{"YAML", "data.x", repo("x/data.yaml", "a: &a [on, 1, 1.5, ~, true]\nb: *a\n"), `{"a":["on",1,1.5,null,true],"b":["on",1,1.5,null,true]}`},
		{"yml", "data.x", repo("x/data.yml", "a: 1"), `{"a":1}`},
		{"several in one directory", "data.x", repo("x/data.json", `{"a": {"b": 1}}`, "x/data.yaml", `a: {c: 2}`), `{"a":{"b":1,"c":2}}`},
		{"one above another", "data.x", repo("data.json", `{"x": {"a": 1}}`, "x/y/data.json", `{"b": 2}`, "x/data.json", `{"c": 3}`), `{"a":1,"c":3,"y":{"b":2}}`},
		{"beside rules", "data.q.list", repo("q/data.json", `{"list": [1]}`), `[1]`},
		{"of a byte order mark", "data.x", repo("x/data.json", "\xEF\xBB\xBF{}"), `{}`},
		{"other JSON is no data", "[x | x := data.x]", repo("x/other.json", `{}`), `[]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.fsys["policies.hcl"] = &fstest.MapFile{Data: []byte(askData)}
			c.fsys["q.rego"] = &fstest.MapFile{Data: []byte("package q\nimport rego.v1\ndeny := [" + c.expr + "]\n")}
			outcomes, err := compile(t, c.fsys).Evaluate(t.Context(), policy.Input{Plan: plan(t, emptyPlan)})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{c.want}, outcomes[0].Messages); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDataFaults(t *testing.T) {
	bomb := "a: &a " + strings.Repeat("x", 100_000) + "\nb: [" + strings.Repeat("*a, ", 1000) + "]\n"
	laughs := "a0: &a0 [x]\n"
	for _, i := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"} {
		was := string(i[0] - 1)
		laughs += "a" + i + ": &a" + i + " [" + strings.Repeat("*a"+was+", ", 20) + "]\n"
	}
	for _, c := range []struct {
		name   string
		limits policy.Limits
		fsys   fstest.MapFS
		class  polset.Class
		want   string
		// inspected is what Inspect says, which knows more; "" for the same.
		inspected string
	}{
		{"no JSON", policy.Limits{}, repo("x/data.json", "{\n  \"a\": ]}"), polset.ClassPolicyInvalid, "x/data.json:2:8: this is no JSON: invalid character ']' looking for beginning of value", ""},
		{"two values", policy.Limits{}, repo("x/data.json", "{} {}"), polset.ClassPolicyInvalid, "x/data.json:1:1: this is no JSON: ", ""},
		{"empty", policy.Limits{}, repo("x/data.json", ""), polset.ClassPolicyInvalid, "x/data.json:1:1: this is no JSON: ", ""},
		{"no YAML", policy.Limits{}, repo("x/data.yaml", "a: [\n"), polset.ClassPolicyInvalid, "x/data.yaml:1:1: this is no YAML: ", ""},
		{"YAML that contains itself", policy.Limits{}, repo("x/data.yaml", "a: &a [*a]"), polset.ClassPolicyInvalid, "x/data.yaml:1:1: this YAML stands for no JSON: yaml: anchor 'a' value contains itself", ""},
		{"a root that is no object", policy.Limits{}, repo("data.json", "[]"), polset.ClassPolicyInvalid, "data.json:1:1: this file must hold an object, since it adds to data", ""},
		{"a value twice", policy.Limits{}, repo("x/data.json", `{"a": {"b": 1}}`, "x/data.yaml", "a: {b: 1}"), polset.ClassPolicyInvalid, "x/data.yaml:1:1: another data file defines data.x.a.b as well", "x/data.yaml:1:1: x/data.json defines data.x.a.b as well, and only objects of several files become one"},
		{"below no object", policy.Limits{}, repo("data.json", `{"x": 1}`, "x/y/data.json", "{}"), polset.ClassPolicyInvalid, "x/y/data.json:1:1: another data file gives data.x a value that is no object", "x/y/data.json:1:1: data.json defines data.x as well"},
		{"no object beside an object", policy.Limits{}, repo("x/y/data.json", "{}", "x/data.json", "1"), polset.ClassPolicyInvalid, "x/y/data.json:1:1: another data file gives data.x a value that is no object", "x/y/data.json:1:1: x/data.json defines data.x as well"},
		{"where a rule is", policy.Limits{}, repo("q/data.json", `{"deny": []}`), polset.ClassPolicyInvalid, "q.rego:3:1: conflicting rule for data path q/deny found", ""},
		{"an LFS pointer", policy.Limits{}, repo("x/data.json", "version https://git-lfs.github.com/spec/v1\n"), polset.ClassLFSUnsupported, "x/data.json:1:1: ", ""},
		{"case 92 a file that is too large", policy.Limits{DataBytes: 10}, repo("x/data.json", `"123456789"`), polset.ClassLimit, "x/data.json:1:1: this file is larger than 10 bytes, the limit for the data files of a policy set", ""},
		{"case 92 files that are too large", policy.Limits{DataBytes: 20}, repo("x/data.json", `"123456789"`, "y/data.json", `"123456789"`), polset.ClassLimit, "y/data.json:1:1: with this file, the data files of the policy set exceed 20 bytes, the limit for all of them together", ""},
		{"case 92 nested JSON", policy.Limits{}, repo("x/data.json", strings.Repeat("[", 501)+strings.Repeat("]", 501)), polset.ClassLimit, "x/data.json:1:1: this file nests deeper than 500 levels, the limit for data", ""},
		{"case 92 nested YAML", policy.Limits{}, repo("x/data.yaml", strings.Repeat("[", 501)+strings.Repeat("]", 501)), polset.ClassLimit, "x/data.yaml:1:1: this file nests deeper than 500 levels, the limit for data", ""},
		{"case 92 a YAML bomb", policy.Limits{}, repo("x/data.yaml", bomb), polset.ClassLimit, "x/data.yaml:1:1: with this file, the data files of the policy set exceed 10 MiB", ""},
		{"case 92 laughs", policy.Limits{}, repo("x/data.yaml", laughs), polset.ClassLimit, "x/data.yaml:1:1: with this file", ""},
		{"a value in a list's place", policy.Limits{}, repo("data.json", `{"x": {"y": {"z": 1}}}`, "x/y/data.yaml", "z: [1]"), polset.ClassPolicyInvalid, "x/y/data.yaml:1:1: another data file defines data.x.y.z as well", "x/y/data.yaml:1:1: data.json defines data.x.y.z as well"},
		{"a file above that comes later", policy.Limits{}, repo("a/b/data.json", `{"k": 1}`, "a/data.json", `{"b": {"k": 1}}`), polset.ClassPolicyInvalid, "a/data.json:1:1: another data file defines data.a.b.k as well", "a/b/data.json:1:1: a/data.json defines data.a.b.k as well"},
		{"two files apart, and one above both", policy.Limits{}, repo("x/a/data.json", "{}", "x/b/data.json", `{"k": 1}`, "x/data.yaml", "b: {k: 1}"), polset.ClassPolicyInvalid, "x/data.yaml:1:1: another data file defines data.x.b.k as well", "x/b/data.json:1:1: x/data.yaml defines data.x.b.k as well"},
		{"where a package is", policy.Limits{}, repo("data.json", `{"q": 1}`), polset.ClassPolicyInvalid, "q.rego:3:1: conflicting rule for data path q/deny found", ""},
		{"below a rule", policy.Limits{}, repo("q/deny/x/y/data.json", "1"), polset.ClassPolicyInvalid, "q.rego:3:1: conflicting rule for data path q/deny found", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.fsys["policies.hcl"] = &fstest.MapFile{Data: []byte(askData)}
			c.fsys["q.rego"] = &fstest.MapFile{Data: []byte("package q\nimport rego.v1\ndeny := []\n")}
			set, err := c.limits.Read(c.fsys, "", polset.KindOPA)
			if err != nil {
				t.Fatal(err)
			}
			_, err = set.Compile(t.Context(), c.fsys)
			wantFailure(t, err, c.class, c.want)
			if c.inspected != "" {
				c.want = c.inspected
			}
			wantFailure(t, set.Validate(t.Context(), c.fsys), c.class, c.want)
		})
	}
}
