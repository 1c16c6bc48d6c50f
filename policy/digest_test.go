package policy_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

// inspect returns the summaries of the set at dir, by name.
func inspect(t *testing.T, fsys fstest.MapFS, dir string, kind polset.Kind) map[string]polset.PolicySummary {
	t.Helper()
	set, err := policy.Read(fsys, dir, kind)
	if err != nil {
		t.Fatal(err)
	}
	list, err := set.Inspect(t.Context(), fsys)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]polset.PolicySummary{}
	for i, s := range list {
		if len(s.Digest) != 64 {
			t.Errorf("policy %s has the digest %q", s.Name, s.Digest)
		}
		if declared := set.Summaries()[i]; declared.Digest != "" || declared.Name != s.Name {
			t.Errorf("the configuration alone says %+v", declared)
		}
		byName[s.Name] = s
	}
	return byName
}

// changed returns the names of the policies whose digest is another, sorted
// by their order in names.
func changed(was, is map[string]polset.PolicySummary, names string) string {
	var list []string
	for _, name := range strings.Fields(names) {
		if was[name].Digest != is[name].Digest {
			list = append(list, name)
		}
	}
	return strings.Join(list, " ")
}

func opaSet() fstest.MapFS {
	return repo(
		"set/policies.hcl", `
policy "a" { query = "data.a.deny" }
policy "b" { query = "count(data.b.deny) > data.limits.b" }
policy "c" { query = "data.c" }
policy "d" {
  query       = "data.d.deny[_]"
  description = "d"
}
policy "e" { query = "data.e[\"deny\"]" }
`,
		"set/a.rego", "package a\nimport data.lib.tags\ndeny contains 1 if tags.missing(input)\n",
		"set/a_test.rego", "package a\ntest_deny if deny\n",
		"set/lib/tags.rego", "package lib.tags\nmissing(x) if not data.lib.names.known[x]\n",
		"set/lib/names.rego", "package lib.names\nimport rego.v1\nknown := data.names.list\n",
		"set/lib/other.rego", "package lib.other\nx := 1\n",
		"set/b.rego", "package b\ndeny[x] { x := input.x }\n",
		"set/c.rego", "package c\ndeny := 1\n",
		"set/c_more.rego", "package c.more\ndeny := 1\n",
		"set/d.rego", "package d\ndeny contains x if x := data.lib[input.which].x\n",
		"set/e.rego", "package e\ndeny if { every x in [1] { data.d.deny[x] with data.mocked as 2 } }\n",
		"set/data.json", `{"limits": {"b": 1}, "unused": 1}`,
		"set/names/data.yaml", "list: [a]\n",
		"set/mocked/data.json", `{"x": 1}`,
		"set/README.md", "x",
		"elsewhere/x.rego", "package lib.tags\n",
	)
}

func TestDigestOPA(t *testing.T) {
	const names = "a b c d e"
	was := inspect(t, opaSet(), "set", polset.KindOPA)
	for _, c := range []struct {
		what, file string
		change     func(string) string
		want       string
	}{
		{"a rule", "set/a.rego", add("\n# x"), "a"},
		{"a test of the same package, which defines nothing that a query names", "set/a_test.rego", add("\n# x"), ""},
		{"an imported library", "set/lib/tags.rego", add("\n# x"), "a d e"},
		{"what the library refers to", "set/lib/names.rego", add("\n# x"), "a d e"},
		{"a library that a reference into the unknown may reach", "set/lib/other.rego", add("\n# x"), "d e"},
		{"what only one query reaches", "set/b.rego", add("\n# x"), "b"},
		{"a package below the one that the query names", "set/c_more.rego", add("\n# x"), "c"},
		{"what an every block refers to", "set/d.rego", add("\n# x"), "d e"},
		{"a value in a data file", "set/data.json", replace(`"b": 1`, `"b": 2`), "b"},
		{"a value that nobody reads, in the file of one that is read", "set/data.json", replace(`"unused": 1`, `"unused": 2`), "b"},
		{"a data file that a library reads", "set/names/data.yaml", add("more: 1\n"), "a d e"},
		{"what a with modifier replaces", "set/mocked/data.json", replace("1", "2"), "e"},
		{"a file that is no policy", "set/README.md", add("x"), ""},
		{"a file elsewhere", "elsewhere/x.rego", add("x := 1"), ""},
		{"a level", "set/policies.hcl", replace(`description = "d"`, "description = \"d\"\nenforcement_level = \"mandatory\""), ""},
		{"a description", "set/policies.hcl", replace(`"d"`+"\n}", `"D"`+"\n}"), "d"},
		{"a query", "set/policies.hcl", replace(`"data.c"`, `"data.c.deny"`), "c"},
		{"the order of the declarations", "set/policies.hcl", func(s string) string {
			return strings.Replace(s, `policy "a" { query = "data.a.deny" }`, "", 1) + `policy "a" { query = "data.a.deny" }`
		}, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			fsys := maps.Clone(opaSet())
			after := c.change(string(fsys[c.file].Data))
			if after == string(fsys[c.file].Data) {
				t.Fatal("nothing was changed")
			}
			fsys[c.file] = &fstest.MapFile{Data: []byte(after), Mode: 0o644}
			is := inspect(t, fsys, "set", polset.KindOPA)
			if got := changed(was, is, names); got != c.want {
				t.Errorf("changed: %q, want %q", got, c.want)
			}
		})
	}

	t.Run("another directory", func(t *testing.T) {
		moved := fstest.MapFS{}
		for name, f := range opaSet() {
			if rest, ok := strings.CutPrefix(name, "set/"); ok {
				moved["very/deep/"+rest], moved[rest] = f, f
			}
		}
		if got := changed(was, inspect(t, moved, "very/deep", polset.KindOPA), names); got != "" {
			t.Errorf("changed: %q", got)
		}
		for name := range moved {
			if strings.HasPrefix(name, "very/") {
				delete(moved, name)
			}
		}
		if got := changed(was, inspect(t, moved, "", polset.KindOPA), names); got != "" {
			t.Errorf("changed at the root: %q", got)
		}
	})
	t.Run("a renamed file", func(t *testing.T) {
		fsys := opaSet()
		fsys["set/z.rego"] = fsys["set/a.rego"]
		delete(fsys, "set/a.rego")
		if got := changed(was, inspect(t, fsys, "set", polset.KindOPA), names); got != "" {
			t.Errorf("changed: %q", got)
		}
	})
	if s := was["d"]; s.File != "set/policies.hcl" || s.Line != 5 {
		t.Errorf("d is declared at %s:%d, want set/policies.hcl:5", s.File, s.Line)
	}
}

func add(text string) func(string) string { return func(s string) string { return s + text } }

func replace(before, after string) func(string) string {
	return func(s string) string { return strings.Replace(s, before, after, 1) }
}

// A query may name everything; a rule may not, since it would name itself.
func TestDigestOfAQueryForEverything(t *testing.T) {
	for _, query := range []string{"data", "x := input.x; data[x]", "x := data; x.a"} {
		fsys := repo("policies.hcl", fmt.Sprintf("policy \"a\" { query = %q }", query), "a.rego", "package a\nx := 1\n", "b/data.json", `{"c": 1}`)
		was := inspect(t, fsys, "", polset.KindOPA)
		fsys["b/data.json"].Data = []byte(`{"c": 2}`)
		if changed(was, inspect(t, fsys, "", polset.KindOPA), "a") == "" {
			t.Errorf("query %s: a change of the data goes unnoticed", query)
		}
		fsys["b/data.json"].Data = []byte(`{"c": 1}`)
		fsys["a.rego"].Data = []byte("package a\nx := 2\n")
		if changed(was, inspect(t, fsys, "", polset.KindOPA), "a") == "" {
			t.Errorf("query %s: a change of a rule goes unnoticed", query)
		}
	}
}

// Large data files count as a whole, from their first byte to their last.
func TestDigestOfLargeData(t *testing.T) {
	large := `{"limits": "` + strings.Repeat("x", 2<<20) + `", "other": 1}`
	fsys := repo("policies.hcl", `policy "a" { query = "count(data.a.x) > data.limits" }`, "a.rego", "package a\nx := [1]\n", "data.json", large)
	was := inspect(t, fsys, "", polset.KindOPA)
	fsys["data.json"].Data = []byte(strings.Replace(large, `"other": 1`, `"other": 2`, 1))
	if changed(was, inspect(t, fsys, "", polset.KindOPA), "a") == "" {
		t.Error("a change at the end goes unnoticed")
	}
}

func sentinelSet() fstest.MapFS {
	return repo(
		"set/sentinel.hcl", `
import "module" "lib" { source = "../common/lib.sentinel" }
import "static" "json" {
  source = "./x.json"
  format = "json"
}
param "p" { value = 1 }
policy "a" {
  params = { n = 1 }
}
policy "b" {
  source            = "./policies/b.sentinel"
  enforcement_level = "soft-mandatory"
}
policy "r" { source = "https://example.com/r.sentinel" }
mock "tfplan/v2" {
  module { source = "./mock.sentinel" }
}
test { rules = { main = true } }
`,
		"common/lib.sentinel", "x = 1\n", "set/x.json", "{}", "set/mock.sentinel", "y = 1\n",
		"set/a.sentinel", "main = rule { true }\n", "set/policies/b.sentinel", "main = rule { true }\n",
		"set/unused.sentinel", "main = 1",
	)
}

func TestDigestSentinel(t *testing.T) {
	was := inspect(t, sentinelSet(), "set", polset.KindSentinel)
	if was["a"].Digest == was["b"].Digest {
		t.Error("two policies have one digest")
	}
	for _, c := range []struct {
		what, file string
		change     func(string) string
		want       string
	}{
		{"a policy", "set/a.sentinel", add("#"), "a"},
		{"another policy", "set/policies/b.sentinel", add("#"), "b"},
		{"a module outside", "common/lib.sentinel", add("#"), "a b r"},
		{"a static import", "set/x.json", add(" "), "a b r"},
		{"a mock", "set/mock.sentinel", add(" "), "a b r"},
		{"a file that nothing names", "set/unused.sentinel", add(" "), ""},
		{"a parameter of the set", "set/sentinel.hcl", replace("value = 1", "value = 2"), "a b r"},
		{"a parameter of a policy", "set/sentinel.hcl", replace("n = 1", "n = 2"), "a"},
		{"a remote source", "set/sentinel.hcl", replace("/r.sentinel", "/s.sentinel"), "r"},
		{"a level", "set/sentinel.hcl", replace("soft-mandatory", "hard-mandatory"), ""},
		{"a test", "set/sentinel.hcl", replace("main = true", "main = false"), ""},
		{"an import's settings", "set/sentinel.hcl", replace(`format = "json"`, `format = "yaml"`), "a b r"},
	} {
		t.Run(c.what, func(t *testing.T) {
			fsys := sentinelSet()
			before := string(fsys[c.file].Data)
			fsys[c.file].Data = []byte(c.change(before))
			if string(fsys[c.file].Data) == before {
				t.Fatal("nothing was changed")
			}
			if got := changed(was, inspect(t, fsys, "set", polset.KindSentinel), "a b r"); got != c.want {
				t.Errorf("changed: %q, want %q", got, c.want)
			}
		})
	}
	if s := was["b"]; s.File != "set/sentinel.hcl" || s.Line != 11 {
		t.Errorf("b is declared at %s:%d", s.File, s.Line)
	}
}

// TestCase92DigestIsBounded has about as many files and policies as fit, each of which
// reaches many others.
func TestCase92DigestIsBounded(t *testing.T) {
	const files, policies = 1000, 10_000
	fsys := fstest.MapFS{}
	for i := range files {
		fsys[fmt.Sprintf("f%d.rego", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "package a.p%d\nx := data.a.p%d.x if data.b[input.x]\ny := 1\n", i, i+1)}
	}
	fsys[fmt.Sprintf("f%d.rego", files)] = &fstest.MapFile{Data: fmt.Appendf(nil, "package a.p%d\nx := 1\n", files)}
	for i := range 1000 {
		fsys[fmt.Sprintf("b/d%d/data.json", i)] = &fstest.MapFile{Data: []byte("{}")}
	}
	var config strings.Builder
	for i := range policies {
		fmt.Fprintf(&config, "policy \"p%d\" { query = \"data.a.p%d.x\" }\n", i, i%files)
	}
	fsys["policies.hcl"] = &fstest.MapFile{Data: []byte(config.String())}
	set, err := policy.Read(fsys, "", polset.KindOPA)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := set.Inspect(context.Background(), fsys); err != nil {
		t.Fatal(err)
	}
	t.Logf("took %s", time.Since(began))
	if elapsed := time.Since(began); elapsed > 30*time.Second {
		t.Errorf("took %s", elapsed)
	}
}
