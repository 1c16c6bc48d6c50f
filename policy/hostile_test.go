package policy_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

const oneQuery = `policy "a" { query = "data.a.deny" }`

// repo builds a repository from path, content, path, content, …
func repo(pairs ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1]), Mode: 0o644}
	}
	return fsys
}

// check reads and validates the set at the root of fsys.
func check(ctx context.Context, l policy.Limits, fsys fs.FS, kind polset.Kind) error {
	set, err := l.Read(fsys, "", kind)
	if err != nil {
		return err
	}
	return set.Validate(ctx, fsys)
}

func TestCase92Nesting(t *testing.T) {
	const many = 5_000_000
	for _, c := range []struct {
		name string
		fsys fstest.MapFS
		want string
	}{
		{"case 92 Rego open brackets", repo("policies.hcl", oneQuery, "a.rego", "package a\nx := "+strings.Repeat("[", many)), "a.rego:2:205: "},
		{"case 92 Rego balanced brackets", repo("policies.hcl", oneQuery, "a.rego", "package a\nx := "+strings.Repeat("(", 1000)+"1"+strings.Repeat(")", 1000)), "a.rego:2:205: "},
		{"case 92 Rego operators", repo("policies.hcl", oneQuery, "a.rego", "package a\nx := 1"+strings.Repeat("+1", many)), "a.rego:2:405: "},
		{"case 92 Rego in", repo("policies.hcl", oneQuery, "a.rego", "package a\nx := 1"+strings.Repeat("\nin 1", 1000)), "a.rego:202:1: "},
		{"case 92 Rego calls", repo("policies.hcl", oneQuery, "a.rego", "package a\nx := f"+strings.Repeat("(1)", many/2)), "a.rego:2:601: "},
		{"case 92 Rego references", repo("policies.hcl", oneQuery, "a.rego", "package a"+strings.Repeat(".a", many)), "a.rego:1:410: "},
		{"case 92 Rego templates", repo("policies.hcl", oneQuery, "a.rego", "package a\nx := "+strings.Repeat(`$"{`, many/2)), "a.rego:2:603: "},
		{"case 92 Rego else", repo("policies.hcl", oneQuery, "a.rego", "package a\nx = 1 if 1"+strings.Repeat(" else = 1 if 1", 100_000)), "a.rego:2:14012: "},
		{"case 92 Rego every", repo("policies.hcl", oneQuery, "a.rego", "package a\nx if {"+strings.Repeat("every y in [1] {", 10_000)), "a.rego:2:"},
		{"case 92 Rego brackets behind brackets in strings", repo("policies.hcl", oneQuery, "a.rego", "package a\nx := "+strings.Repeat("[\"]\", `]`,#]\n", 1000)), "a.rego:201:1: "},
		{"case 92 Rego brackets behind quotes in strings", repo("policies.hcl", oneQuery, "a.rego", "package a\nx := "+strings.Repeat("[\"\\\"]\",\n", 1000)), "a.rego:201:1: "},
		{"case 92 query", repo("policies.hcl", `policy "a" { query = "`+strings.Repeat("[", 500_000)+`" }`, "a.rego", "package a"), "policies.hcl:1:22: "},
		{"case 92 HCL brackets", repo("policies.hcl", "a = "+strings.Repeat("[", 1_000_000)), "policies.hcl:1:1005: "},
		{"case 92 HCL parentheses", repo("policies.hcl", "a = "+strings.Repeat("(", 1_000_000)), "policies.hcl:1:1005: "},
		{"case 92 HCL blocks", repo("policies.hcl", strings.Repeat("a {\n", 200_000)), "policies.hcl:1001:3: "},
		{"case 92 HCL templates", repo("policies.hcl", "a = "+strings.Repeat(`"${`, 300_000)), "policies.hcl:1:1505: "},
		{"case 92 HCL negations", repo("policies.hcl", "a = "+strings.Repeat("!", 1_000_000)), "policies.hcl:1:10005: "},
		{"case 92 HCL conditions", repo("policies.hcl", "a = 1"+strings.Repeat("?1:1", 200_000)), "policies.hcl:1:40006: "},
		{"case 92 HCL brackets behind comments", repo("policies.hcl", "a = "+strings.Repeat("[/*]*/", 2000)), "policies.hcl:1:6005: "},
		{"case 92 JSON brackets", repo("policies.json", strings.Repeat("[", 5000)+strings.Repeat("]", 5000)), "policies.json:1:1001: "},
		{"case 92 JSON objects", repo("policies.json", strings.Repeat(`{"]\"}":`, 5000)+"1"+strings.Repeat("}", 5000)), "policies.json:1:8001: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			began := time.Now()
			err := check(context.Background(), policy.Limits{FileBytes: 1 << 30, RegoBytes: 1 << 30}, c.fsys, polset.KindOPA)
			wantFailure(t, err, polset.ClassLimit, c.want)
			if elapsed := time.Since(began); elapsed > 30*time.Second {
				t.Errorf("took %s", elapsed)
			}
		})
	}

	// JSON deeper than the standard library's own limit is no JSON to it.
	err := check(context.Background(), policy.Limits{}, repo("policies.json", strings.Repeat("[", 1_000_000)), polset.KindOPA)
	wantFailure(t, err, polset.ClassPolicyInvalid, "policies.json:1:10001: this is no JSON: invalid character '[' exceeded max depth")
}

// wantFailure checks class and the beginning of the message.
func wantFailure(t *testing.T, err error, class polset.Class, prefix string) {
	t.Helper()
	var failure *polset.Failure
	if !errors.As(err, &failure) {
		t.Fatalf("got %v, want a failure", err)
	}
	if failure.Class != class || !strings.HasPrefix(failure.Message, prefix) {
		t.Fatalf("got %s: %.300s\nwant %s: %s…", failure.Class, failure.Message, class, prefix)
	}
}

// A body of n expressions of each kind.
func body(n int, expressions ...string) string {
	return "package a\n\nallow if {\n\t" + strings.Repeat(strings.Join(expressions, "\n\t")+"\n\t", n) + "true\n}\n\ndeny := []\n"
}

func TestShape(t *testing.T) {
	rules := func(n int) string {
		var b strings.Builder
		b.WriteString("package a\ndeny := []")
		for i := range n {
			fmt.Fprintf(&b, "\nr%d := 1", i)
		}
		return b.String()
	}
	files := repo("policies.hcl", oneQuery, "a.rego", "package a\ndeny := []")
	for i := range 2000 {
		files[fmt.Sprintf("f%04d.rego", i)] = &fstest.MapFile{Data: []byte("package b")}
	}
	data := repo("policies.hcl", oneQuery, "a.rego", "package a\ndeny := []")
	for i := range 2001 {
		data[fmt.Sprintf("f%04d/data.json", i)] = &fstest.MapFile{Data: []byte("{}")}
	}
	for _, c := range []struct {
		name string
		fsys fstest.MapFS
		want string // "" is within the limits
	}{
		{"a long body", repo("policies.hcl", oneQuery, "a.rego", body(80,
			"some _ in input.xs", "not input.y", "every z in input.zs { z != 1; z != 2 }", "{1 | true}", "(1 + 1) == 2",
			"[a | a := input.a[_]][0] == 1", "count(input.x) == -1.5e3 with input as {}", "is_object({}) # {(([", `input.x != "}"`, "input.x[_].y in {1, 2}",
		)), ""},
		{"case 92 a body of too many expressions", repo("policies.hcl", oneQuery, "a.rego", body(500_000, "f(1)")), "a.rego:1005:2: this body holds more than 1000 expressions"},
		{"case 92 with semicolons", repo("policies.hcl", oneQuery, "a.rego", "package a\nx if {"+strings.Repeat("x;", 1002)+"x}"), "a.rego:2:2008: this body holds more than 1000 expressions"},
		{"case 92 of some", repo("policies.hcl", oneQuery, "a.rego", body(100_000, "some x in xs")), "a.rego:1005:2: this body holds more than 1000 expressions"},
		{"case 92 of not", repo("policies.hcl", oneQuery, "a.rego", body(100_000, "not x")), "a.rego:1005:2: this body holds more than 1000 expressions"},
		{"a large table", repo("policies.hcl", oneQuery, "a.rego", "package a\ndeny := []\nt := {\n"+strings.Repeat("\t\"k\": {\"a\": [1, 2]},\n", 20_000)+"}"), ""},
		{"template strings", repo("policies.hcl", oneQuery, "a.rego", "package a\ndeny := []"+strings.Repeat("\nx contains $\"{1 + 1} \\{ of {input.n}\"", 500)), ""},
		{"case 92 too many template strings", repo("policies.hcl", oneQuery, "a.rego", "package a"+strings.Repeat("\nx contains $`{1}`", 2000)), "a.rego:1002:12: this file holds more than 1000 expressions in template strings"},
		{"rules", repo("policies.hcl", oneQuery, "a.rego", rules(9_999)), ""},
		{"case 92 too many rules", repo("policies.hcl", oneQuery, "a.rego", rules(10_000)), "a.rego:1:1: with this file, the policy set holds more than 10000 rules"},
		{"case 92 too many data files", data, "f2000/data.json:1:1: with this file, the policy set holds more than 2000 data files"},
		{"case 92 a long path", repo("policies.hcl", oneQuery, strings.Repeat("d/", 2044)+"data.json", "{}"), "d/d/"},
		{"a path that fits", repo("policies.hcl", oneQuery, "a.rego", "package a\ndeny := []", strings.Repeat("d/", 2043)+"data.yml", "{}"), ""},
		{"case 92 a package of many parts", repo("policies.hcl", oneQuery, "a.rego", "package a"+strings.Repeat(".a", 31)), "a.rego:1:1: this path has more than 32 parts or 2048 bytes"},
		{"case 92 a package of a long part", repo("policies.hcl", oneQuery, "a.rego", "package a[\""+strings.Repeat("a", 3000)+"\"]"), "a.rego:1:1: this path has more than 32 parts"},
		{"case 92 an import of many parts", repo("policies.hcl", oneQuery, "a.rego", "package a\n\nimport data"+strings.Repeat(".a", 32)), "a.rego:3:1: this path has more than 32 parts"},
		{"case 92 an import of a long part", repo("policies.hcl", oneQuery, "a.rego", "package a\n\nimport input[\""+strings.Repeat("a", 3000)+"\"] as x"), "a.rego:3:1: this path has more than 32 parts"},
		{"paths that fit", repo("policies.hcl", oneQuery, "a.rego", "package a\nimport data"+strings.Repeat(".a", 31)+"\ndeny := []"), ""},
		{"case 92 a query of too many expressions", repo("policies.hcl", `policy "a" { query = "`+strings.Repeat("data.a;", 1100)+`true" }`, "a.rego", "package a"), "policies.hcl:1:22: the query of policy \"a\" holds more than 1000 expressions"},
		{"case 92 too many files", files, "f1999.rego:1:1: with this file, the policy set holds more than 2000 .rego files"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := check(context.Background(), policy.Limits{FileBytes: 1 << 30, RegoBytes: 1 << 30}, c.fsys, polset.KindOPA)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantFailure(t, err, polset.ClassLimit, c.want)
		})
	}
}

func TestLimits(t *testing.T) {
	rego := "package a\ndeny := []\n"
	for _, c := range []struct {
		name   string
		limits policy.Limits
		fsys   fstest.MapFS
		kind   polset.Kind
		want   string // "" is within the limits
	}{
		{"the configuration fits", policy.Limits{ConfigBytes: int64(len(oneQuery))}, repo("policies.hcl", oneQuery, "a.rego", rego), polset.KindOPA, ""},
		{
			"the configuration is too large",
			policy.Limits{ConfigBytes: int64(len(oneQuery)) - 1},
			repo("policies.hcl", oneQuery), polset.KindOPA,
			"policies.hcl:1:1: this file is larger than 35 bytes, the limit for a configuration file",
		},
		{
			"the default for a configuration",
			policy.Limits{},
			repo("sentinel.hcl", strings.Repeat("#", 1<<20+1)), polset.KindSentinel,
			"sentinel.hcl:1:1: this file is larger than 1 MiB, the limit for a configuration file",
		},
		{"a policy fits", policy.Limits{FileBytes: int64(len(rego))}, repo("policies.hcl", oneQuery, "a.rego", rego), polset.KindOPA, ""},
		{
			"a policy is too large",
			policy.Limits{FileBytes: int64(len(rego)) - 1},
			repo("policies.hcl", oneQuery, "x/a.rego", rego), polset.KindOPA,
			"x/a.rego:1:1: this file is larger than 20 bytes, the limit for a policy",
		},
		{
			"the default for a policy",
			policy.Limits{RegoBytes: 1 << 30},
			repo("policies.hcl", oneQuery, "a.rego", strings.Repeat("#", 10<<20+1)), polset.KindOPA,
			"a.rego:1:1: this file is larger than 10 MiB, the limit for a policy",
		},
		{"all policies fit", policy.Limits{RegoBytes: 2 * int64(len(rego))}, repo("policies.hcl", oneQuery, "a.rego", rego, "b.rego", "package b\ndeny := []\n"), polset.KindOPA, ""},
		{
			"all policies are too large",
			policy.Limits{RegoBytes: 2*int64(len(rego)) - 1},
			repo("policies.hcl", oneQuery, "a.rego", rego, "b.rego", "package b\ndeny := []\n"), polset.KindOPA,
			"b.rego:1:1: with this file, the Rego of the policy set exceeds 41 bytes, the limit for all of it together",
		},
		{
			"a module is too large",
			policy.Limits{FileBytes: 4 << 10},
			repo("sentinel.hcl", `policy "a" {}`, "a.sentinel", strings.Repeat("#", 5000)), polset.KindSentinel,
			"a.sentinel:1:1: this file is larger than 4 KiB, the limit for a policy or module",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := check(context.Background(), c.limits, c.fsys, c.kind)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantFailure(t, err, polset.ClassLimit, c.want)
		})
	}
}

func TestMessageIsBounded(t *testing.T) {
	var config strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&config, "policy \"%s%d\" { query = 1 }\n", strings.Repeat("x", 200), i)
	}
	_, err := policy.Read(repo("policies.hcl", strings.ReplaceAll(config.String(), "query = 1", "level = 1")), "", polset.KindOPA)
	wantFailure(t, err, polset.ClassPolicyInvalid, "policies.hcl:1:1: ")
	failure := polset.FailureOf(err)
	if n := len(failure.Message); n > 4<<10 {
		t.Errorf("the message has %d bytes", n)
	}
	var invalid *policy.Invalid
	if !errors.As(err, &invalid) {
		t.Fatal("no *Invalid")
	}
	// Each policy lacks its query, and has an argument too many.
	if n := len(invalid.Diagnostics); n != 100 || n+invalid.More != 6000 {
		t.Errorf("got %d diagnostics and %d more, want 100 and 5900", n, invalid.More)
	}
	lines := strings.Split(failure.Message, "\n")
	if last := lines[len(lines)-1]; last != fmt.Sprintf("and %d more", 6000-len(lines)+1) {
		t.Errorf("%d lines, the last is %q", len(lines), last)
	}

	// Ten long ones do not fit: fewer are shown.
	config.Reset()
	for i := range 12 {
		fmt.Fprintf(&config, "policy \"p%d\" {\n  query = \"data.a\"\n  enforcement_level = \"%s\"\n}\n", i, strings.Repeat("é", 1000))
	}
	_, err = policy.Read(repo("policies.hcl", config.String()), "", polset.KindOPA)
	message := polset.FailureOf(err).Message
	lines = strings.Split(message, "\n")
	if len(message) > 4<<10 || len(lines) != 7 || lines[6] != "and 6 more" {
		t.Errorf("%d bytes, %d lines, the last is %q", len(message), len(lines), lines[len(lines)-1])
	}
}

func TestMessageStaysOnItsLine(t *testing.T) {
	err := check(context.Background(), policy.Limits{},
		repo("policies.hcl", oneQuery, "a\u202e\x07ä.rego", "package a\ndeny := ["), polset.KindOPA)
	wantFailure(t, err, polset.ClassPolicyInvalid, "a\ufffd\ufffdä.rego:2:9: ")
}

func TestTenDiagnosticsAreShown(t *testing.T) {
	var config strings.Builder
	for i := range 13 {
		fmt.Fprintf(&config, "policy \"p%d\" {}\n", i)
	}
	_, err := policy.Read(repo("policies.hcl", config.String()), "", polset.KindOPA)
	lines := strings.Split(polset.FailureOf(err).Message, "\n")
	if len(lines) != 11 || lines[10] != "and 3 more" || !strings.HasPrefix(lines[9], "policies.hcl:10:1: ") {
		t.Errorf("got %q", lines)
	}
}

func TestValidateHonoursContext(t *testing.T) {
	for _, c := range []struct {
		kind polset.Kind
		fsys fstest.MapFS
	}{
		{polset.KindOPA, repo("policies.hcl", oneQuery, "a.rego", "package a\ndeny := []")},
		{polset.KindOPA, repo("policies.hcl", oneQuery)}, // nothing but the compiler looks
		{polset.KindSentinel, repo("sentinel.hcl", `policy "a" {}`, "a.sentinel", "main = rule { true }")},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := check(ctx, policy.Limits{}, c.fsys, c.kind); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want context.Canceled", c.kind, err)
		}
	}
}

// countdown is a context that is cancelled the n-th time that it is asked.
type countdown struct {
	context.Context
	n int
}

func (c *countdown) Err() error {
	if c.n--; c.n <= 0 {
		return context.Canceled
	}
	return nil
}

func TestValidateStopsBetweenStages(t *testing.T) {
	set, err := policy.Read(repo("policies.hcl", oneQuery), "", polset.KindOPA)
	if err != nil {
		t.Fatal(err)
	}
	ctx := &countdown{context.Background(), 6} // a directory, its file twice and three stages
	if err := set.Validate(ctx, repo("a.rego", "package a\ndeny := []")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if ctx.n < -2 {
		t.Errorf("the compiler went on for %d stages", -ctx.n)
	}
}
