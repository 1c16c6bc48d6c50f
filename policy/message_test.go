package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

// outcomes evaluates the policies whose queries are data.a.<name>.
func outcomes(t *testing.T, rego string, names ...string) []polset.PolicyOutcome {
	t.Helper()
	config := ""
	for _, name := range names {
		config += fmt.Sprintf("policy %q { query = \"data.a.%s\" }\n", name, name)
	}
	got, err := compile(t, repo("policies.hcl", config, "a.rego", "package a\nimport rego.v1\n"+rego)).
		Evaluate(t.Context(), policy.Input{Plan: plan(t, emptyPlan)})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestPrints(t *testing.T) {
	got := outcomes(t, `deny contains "m" if { print("one", 1, {"a": [true]}, input.nothing); some x in [1, 2]; print(x); x > 5 }
deny contains "n" if print("last")`, "deny")
	want := []string{`one 1 {"a": [true]} <undefined>`, "1", "2", "last"}
	if diff := cmp.Diff(want, got[0].Prints); diff != "" {
		t.Errorf("prints (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"n"}, got[0].Messages); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func TestMessagesAreBounded(t *testing.T) {
	got := outcomes(t, `deny := numbers.range(1, 1000)
array := [x | some i in numbers.range(1, 101); x := sprintf("%d", [i])]
fits := numbers.range(1, 100)
prints := [] if every i in numbers.range(1, 150) { print(i) }
long := [concat("", ["é" | some _ in numbers.range(1, 3000)]), [["\"" | some _ in numbers.range(1, 100000)]]]
`, "deny", "array", "fits", "prints", "long")
	check := func(name string, lines []string, n int, last string) {
		t.Helper()
		if len(lines) != n || lines[n-1] != last {
			t.Errorf("%s: %d lines, want %d; the last is %q, want %q", name, len(lines), n, lines[len(lines)-1], last)
		}
	}
	check("a long array", got[0].Messages, 101, "… and 900 more")
	check("one too many", got[1].Messages, 101, "… and 1 more")
	check("as many as fit", got[2].Messages, 100, "100")
	check("prints", got[3].Prints, 101, "… and 50 more")
	if got[3].Status != polset.OutcomePassed {
		t.Errorf("prints are no failure: %+v", got[3])
	}
	check("a long message", got[4].Messages[:1], 1, strings.Repeat("é", 2048)+"…")
	if m := got[4].Messages[1]; !strings.HasPrefix(m, `[["\"","\"",`) || len(m) != 4096+len("…") {
		t.Errorf("a large value: %d bytes: %.50s", len(m), m)
	}
}

func TestASetSaysSoMuch(t *testing.T) {
	rego, names := "", []string(nil)
	for i := range 5 {
		rego += fmt.Sprintf("p%d contains concat(\"\", [y, sprintf(\"%%d\", [x])]) if { some x in numbers.range(1, 99); y := concat(\"\", [\"é\" | some _ in numbers.range(1, 2000)]); print(y) }\n", i)
		names = append(names, fmt.Sprintf("p%d", i))
	}
	total := 0
	got := outcomes(t, rego, names...)
	for _, o := range got {
		if o.Status != polset.OutcomeFailed || len(o.Messages) == 0 {
			t.Errorf("%s: %s with %d messages", o.Name, o.Status, len(o.Messages))
		}
		for _, line := range append(o.Messages, o.Prints...) {
			total += len(line)
			if !utf8.ValidString(line) || strings.ContainsRune(line, utf8.RuneError) {
				t.Errorf("%s: a line is cut within a character", o.Name)
			}
		}
	}
	if total > 1<<20+1000 || total < 1<<20-5000 {
		t.Errorf("%d bytes, want about %d", total, 1<<20)
	}
	if diff := cmp.Diff([]string{"… and 99 more"}, got[4].Messages); diff != "" {
		t.Errorf("the last policy (-want +got):\n%s", diff)
	}
}
