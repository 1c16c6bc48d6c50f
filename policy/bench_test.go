package policy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

// forty is a set of forty ordinary policies, v0 and v1 in turn.
func forty() fstest.MapFS {
	var config strings.Builder
	fsys := fstest.MapFS{}
	for i := range 40 {
		fmt.Fprintf(&config, "policy \"p%d\" {\n  query             = \"data.terraform.policies.p%d.deny\"\n  enforcement_level = \"mandatory\"\n}\n", i, i)
		v1, head := "import rego.v1\n", "deny contains msg if"
		if i%2 == 0 {
			v1, head = "import input.plan as tfplan\n", "deny[msg]"
		}
		fsys[fmt.Sprintf("policies/p%d.rego", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, `package terraform.policies.p%d

%s
types := {"aws_instance", "aws_db_instance", "aws_s3_bucket"}

%s {
	r := input.plan.resource_changes[_]
	types[r.type]
	r.change.actions[_] == "create"
	not r.change.after.tags.owner
	msg := sprintf("%%s has no owner", [r.address])
}
`, i, v1, head)}
	}
	fsys["policies/policies.hcl"] = &fstest.MapFile{Data: []byte(config.String())}
	return fsys
}

func BenchmarkRead(b *testing.B) {
	fsys := forty()
	for b.Loop() {
		if _, err := policy.Read(fsys, "policies", polset.KindOPA); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	fsys := forty()
	set, err := policy.Read(fsys, "policies", polset.KindOPA)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := set.Validate(context.Background(), fsys); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	fsys := forty()
	set, err := policy.Read(fsys, "policies", polset.KindOPA)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := set.Compile(b.Context(), fsys); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParsePlan(b *testing.B) {
	raw := hundred(b)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.ParsePlan(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	fsys := forty()
	set, err := policy.Read(fsys, "policies", polset.KindOPA)
	if err != nil {
		b.Fatal(err)
	}
	program, err := set.Compile(b.Context(), fsys)
	if err != nil {
		b.Fatal(err)
	}
	in := policy.Input{Plan: plan(b, string(hundred(b)))}
	for b.Loop() {
		if _, err := program.Evaluate(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}
