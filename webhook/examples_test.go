package webhook_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset/internal/polsettest/hub"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestExamples delivers every example payload of octokit's to the App's hook.
// The golden file holds what each of them means, or why it is ignored.
func TestExamples(t *testing.T) {
	const golden = "testdata/examples.golden"
	examples := hub.Examples(t)
	if len(examples) != 329 {
		t.Errorf("%d examples; octokit has 329", len(examples))
	}
	var all strings.Builder
	for i, example := range examples {
		name := strings.TrimSpace(example.Event + " " + example.Action)
		t.Run(fmt.Sprint(i, " ", name), func(t *testing.T) {
			s := serve(t)
			got := s.send(delivery(example.Event, example.Body))
			deliveries, pushes, _ := s.memory.recorded()
			if got.code != 200 || len(deliveries) != 1 || len(pushes) != 0 {
				t.Fatalf("answer %d %s; recorded %d deliveries and %d pushes", got.code, got.raw, len(deliveries), len(pushes))
			}
			meant := s.memory.meant()
			switch {
			case got.Status == "ignored" && got.Reason != "" && len(meant) == 0:
				fmt.Fprintf(&all, "%s: ignored: %s\n", name, got.Reason)
			case got.Status == "accepted" && got.Effect != "" && len(meant) == 1:
				line, err := json.Marshal(meant[0])
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&all, "%s: %T %s\n", name, meant[0], line)
			default:
				t.Errorf("answer %s, recorded %+v", got.raw, meant)
			}
		})
	}
	if *update {
		if err := os.WriteFile(golden, []byte(all.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(all.String(), "\n")); diff != "" {
		t.Error(diff)
	}
}

// TestExamplesUnderOtherNames shows that the name of the event, which nobody
// signs, cannot give a payload another meaning.
func TestExamplesUnderOtherNames(t *testing.T) {
	s := serve(t)
	for _, example := range hub.Examples(t) {
		for _, event := range []string{"push", "pull_request", "repository", "installation", "installation_repositories", "installation_target"} {
			if event == example.Event {
				continue
			}
			got := s.send(delivery(event, example.Body))
			if got.Status != "ignored" && got.code != 400 && got.code != 422 {
				t.Errorf("case 17 %s %s as %s: %d %s", example.Event, example.Action, event, got.code, got.raw)
			}
		}
	}
	if meant := s.memory.meant(); len(meant) != 0 {
		t.Errorf("recorded %+v", meant)
	}
}

// meant is everything that was told of other than pushes.
func (m *memory) meant() []any {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []any
	for _, c := range m.installations {
		all = append(all, c)
	}
	for _, c := range m.repositories {
		all = append(all, c)
	}
	for _, p := range m.pulls {
		all = append(all, p)
	}
	return all
}
