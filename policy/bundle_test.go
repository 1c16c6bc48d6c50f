package policy_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

// packed is a bundle as an agent downloads it.
func packed(t *testing.T, b *policy.Bundle) []byte {
	t.Helper()
	manifest, err := b.Manifest("polsetver-1", map[string]string{"commit": "abc"})
	if err != nil {
		t.Fatal(err)
	}
	files := maps.Clone(b.Files)
	files[policy.ManifestFile] = manifest
	return tarball(t, files)
}

func tarball(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	w := tar.NewWriter(gz)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// loaded reads and activates bundles as an agent that holds all of them does.
func loaded(t *testing.T, bundles map[string][]byte) (map[string]*bundle.Bundle, error) {
	t.Helper()
	read := map[string]*bundle.Bundle{}
	for name, content := range bundles {
		b, err := bundle.NewCustomReader(bundle.NewTarballLoaderWithBaseURL(bytes.NewReader(content), "")).WithProcessAnnotations(true).Read()
		if err != nil {
			return nil, err
		}
		read[name] = &b
	}
	store := inmem.New()
	return read, storage.Txn(t.Context(), store, storage.WriteParams, func(txn storage.Transaction) error {
		return bundle.Activate(&bundle.ActivateOpts{
			Ctx: t.Context(), Store: store, Txn: txn, Bundles: read, Metrics: metrics.New(),
			Compiler: ast.NewCompiler().WithPathConflictsCheck(storage.NonEmpty(t.Context(), store, txn)),
		})
	})
}

func TestBundle(t *testing.T) {
	fsys := repo(
		"set/policies.hcl", `policy "a" { query = "data.terraform.a.deny" }`,
		"set/a.rego", "package terraform.a\n\ndeny contains data.terraform.limits.n if input.x\n",
		"set/a_test.rego", "package terraform.a_test\n\ntest_deny if data.terraform.a.deny\n",
		"set/old[1]*{x}.rego", "package terraform.old\n\ndeny[msg] { msg := input.x }\n",
		"set/compat.rego", "package terraform.compat\n\nimport rego.v1\n\ndeny contains 1 if input.x\n",
		"set/deeper/odd.rego", "package terraform[\"b/c\"].d\n\nx := 1\n",
		"set/terraform/data.json", `{"limits": {"n": 1}, "b": {}}`,
		"set/terraform/more/data.yml", "n: 2\n",
		"set/.hidden/data.yaml", "k: 1\n",
		"set/data.json", `{"top": [1], "odd key": {"x": 1}}`,
		"set/README.md", "no policy",
		"set/policy.wasm", "no policy either",
		"set/other.manifest", "nor this",
		"elsewhere/b.rego", "package elsewhere\n",
	)
	b, err := policy.ReadBundle(t.Context(), fsys, "set")
	if err != nil {
		t.Fatal(err)
	}
	// terraform["b/c"] has no root of its own, and takes all of terraform.
	if diff := cmp.Diff([]string{""}, b.Roots); diff != "" {
		t.Errorf("roots with an odd key at the top (-want +got):\n%s", diff)
	}
	fsys["set/data.json"].Data = []byte(`{"top": [1]}`)
	if b, err = policy.ReadBundle(t.Context(), fsys, "set"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"hidden/k", "terraform", "top"}, b.Roots); diff != "" {
		t.Errorf("roots with an odd package (-want +got):\n%s", diff)
	}
	delete(fsys, "set/deeper/odd.rego")
	if b, err = policy.ReadBundle(t.Context(), fsys, "set"); err != nil {
		t.Fatal(err)
	}
	want := []string{"hidden/k", "terraform/a", "terraform/a_test", "terraform/b", "terraform/compat", "terraform/limits", "terraform/more/n", "terraform/old", "top"}
	if diff := cmp.Diff(want, b.Roots); diff != "" {
		t.Errorf("roots (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"old[1]*{x}.rego"}, b.V0); diff != "" {
		t.Errorf("files of Rego v0 (-want +got):\n%s", diff)
	}
	want = []string{".hidden/data.yaml", "a.rego", "a_test.rego", "compat.rego", "data.json", "old[1]*{x}.rego", "terraform/data.json", "terraform/more/data.yml"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(b.Files))); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}

	content := packed(t, b)
	if err := policy.CheckBundle(bytes.NewReader(content), nil); err != nil {
		t.Fatal(err)
	}
	other, err := policy.ReadBundle(t.Context(), repo("b.rego", "package terraform.b2\n\nx := 1\n", "terraform/data.json", `{"other": 1}`), "")
	if err != nil {
		t.Fatal(err)
	}
	read, err := loaded(t, map[string][]byte{"one": content, "two": packed(t, other)})
	if err != nil {
		t.Fatalf("an agent activates neither: %v", err)
	}
	one := read["one"]
	wantData := map[string]any{
		"hidden": map[string]any{"k": json.Number("1")}, "top": []any{json.Number("1")},
		"terraform": map[string]any{"limits": map[string]any{"n": json.Number("1")}, "b": map[string]any{}, "more": map[string]any{"n": json.Number("2")}},
	}
	if diff := cmp.Diff(wantData, one.Data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	for _, m := range one.Modules {
		if v0 := m.Parsed.RegoVersionSpan().Min() == ast.RegoV0; v0 != strings.HasPrefix(m.Path, "old") {
			t.Errorf("%s is read as Rego %s", m.Path, m.Parsed.RegoVersionSpan().Min())
		}
	}
	if m := one.Manifest; m.Revision != "polsetver-1" || m.Metadata["commit"] != "abc" {
		t.Errorf("manifest %s", m)
	}
}

// A bundle that an agent refuses is refused here first, with a place.
func TestBundleThatNoAgentLoads(t *testing.T) {
	for _, test := range []struct {
		name  string
		files []string
		class polset.Class
		want  string
		opa   bool // refuses the files as well
	}{
		{
			"two data files define one document",
			[]string{"a.rego", "package a\n\nx := 1\n", "b/data.json", `{"c": {"d": 1}}`, "b/c/data.yaml", "d: 2\n"},
			polset.ClassPolicyInvalid, "another data file defines data.b.c.d as well", true,
		},
		{
			"a data file beside another",
			[]string{"a.rego", "package a\n\nx := 1\n", "b/data.json", `{"c": 1}`, "b/data.yml", "c: 1\n"},
			polset.ClassPolicyInvalid, "another data file defines data.b.c as well", true,
		},
		{
			"a rule where a data file is",
			[]string{"a.rego", "package a\n\nx := 1\n", "a/data.json", `{"x": 1}`},
			polset.ClassPolicyInvalid, "conflicting rule for data path a/x", true,
		},
		{
			"a partial object where a data file is",
			[]string{"a.rego", "package a\n\nx[r.address] := 1 if some r in input.all\n", "a/x/data.json", `{}`},
			polset.ClassPolicyInvalid, "a.rego:3:1: conflicting rule for data path a/x", true,
		},
		{
			"a package below a value",
			[]string{"a.rego", "package a.b\n\nx := 1\n", "data.json", `{"a": 1}`},
			polset.ClassPolicyInvalid, "conflicting rule for data path a/b/x", true,
		},
		{
			"data that is no object",
			[]string{"a.rego", "package a\n\nx := 1\n", "data.json", `[1]`},
			polset.ClassPolicyInvalid, "must hold an object", true,
		},
		{
			"data that is no JSON",
			[]string{"a.rego", "package a\n\nx := 1\n", "b/data.json", `{`},
			polset.ClassPolicyInvalid, "this is no JSON", true,
		},
		{
			"Rego that is none",
			[]string{"a.rego", "package a\n\nx :=\n"},
			polset.ClassPolicyInvalid, "a.rego:4:1", true,
		},
		{
			"case 92 more data than fits",
			[]string{"a.rego", "package a\n\nx := 1\n", "b/data.json", `{"c": "` + strings.Repeat("x", 9<<20) + `"}`, "c/data.json", `{"c": "` + strings.Repeat("x", 9<<20) + `"}`},
			polset.ClassLimit, "exceed 10 MiB", false,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			fsys := repo(test.files...)
			_, err := policy.ReadBundle(t.Context(), fsys, "")
			var failure *polset.Failure
			if !errors.As(err, &failure) || failure.Class != test.class || !strings.Contains(failure.Message, test.want) {
				t.Fatalf("got %v, want %s: %s", err, test.class, test.want)
			}
			files := map[string][]byte{}
			for name, f := range fsys {
				files[name] = f.Data
			}
			if _, err := loaded(t, map[string][]byte{"it": tarball(t, files)}); (err != nil) != test.opa {
				t.Errorf("OPA itself says %v", err)
			}
		})
	}
}

// OPA leaves out the dots that a path begins with, and so does an evaluation.
func TestDataOfAHiddenDirectory(t *testing.T) {
	fsys := repo(
		"policies.hcl", `policy "a" { query = "data.a.deny" }`,
		"a.rego", "package a\n\ndeny contains data.hidden.k if true\n", ".hidden/data.yaml", "k: because\n",
	)
	set, err := policy.Read(fsys, "", polset.KindOPA)
	if err != nil {
		t.Fatal(err)
	}
	program, err := set.Compile(t.Context(), fsys)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := policy.ParsePlan([]byte(emptyPlan))
	if err != nil {
		t.Fatal(err)
	}
	outcomes, err := program.Evaluate(t.Context(), policy.Input{Plan: plan, Run: []byte("{}")})
	if err != nil || len(outcomes) != 1 || !slices.Equal(outcomes[0].Messages, []string{"because"}) {
		t.Errorf("got %+v, %v", outcomes, err)
	}
	before := inspect(t, fsys, "", polset.KindOPA)
	fsys[".hidden/data.yaml"].Data = []byte("k: why\n")
	if changed(before, inspect(t, fsys, "", polset.KindOPA), "a") == "" {
		t.Error("a change of the data goes unnoticed")
	}
}

func TestBundleEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := policy.ReadBundle(ctx, repo("a.rego", "package a\n"), ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// What a tree that nothing has bounded may cost is bounded here.
func TestCase92BundleIsBounded(t *testing.T) {
	fsys := fstest.MapFS{"a.rego": {Data: []byte("package a\n\nx := 1\n")}}
	for i := range 2001 {
		fsys[strings.Repeat("d/", 1+i%30)+string(rune('a'+i%26))+strings.Repeat("x", i/26)+"/data.json"] = &fstest.MapFile{Data: []byte("{}")}
	}
	_, err := policy.ReadBundle(t.Context(), fsys, "")
	var failure *polset.Failure
	if !errors.As(err, &failure) || failure.Class != polset.ClassLimit {
		t.Errorf("got %v", err)
	}
}
