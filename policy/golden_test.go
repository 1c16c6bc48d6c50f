package policy_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden evaluates whole policy sets. plan.json, run.json and
// parameters.json are what they see; what they say is in the .golden beside.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("golden sets: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			fsys := fstest.MapFS{}
			for _, member := range archive.Files {
				fsys[member.Name] = &fstest.MapFile{Data: member.Data, Mode: 0o644}
			}
			s := set(fsys)
			if err := json.Unmarshal(fsys["parameters.json"].Data, &s.Parameters); err != nil {
				t.Fatal(err)
			}
			results, err := policy.Evaluate(t.Context(), policy.Evaluation{
				Plan: fsys["plan.json"].Data, Run: fsys["run.json"].Data, At: created, Seed: "run-1",
				Sets: []policy.SetEvaluation{s},
			})
			if err != nil {
				t.Fatal(err)
			}
			if results[0].Err != nil {
				t.Fatal(results[0].Err)
			}
			goldenOutcomes(t, strings.TrimSuffix(file, ".txtar")+".golden", results[0].Policies)
		})
	}
}

func goldenOutcomes(t *testing.T, file string, outcomes []polset.PolicyOutcome) {
	t.Helper()
	var got bytes.Buffer
	encoder := json.NewEncoder(&got)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(outcomes); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}
