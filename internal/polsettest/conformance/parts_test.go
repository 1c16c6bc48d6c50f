package conformance_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseExpectations(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"pass server TestA", ""},
		{"# a comment\n\n  pass  client  TestA/x", ""},
		{"skip server TestA it is told to", ""},
		{"pass server", "line 1: want OUTCOME WHOM TEST REASON"},
		{"# why\nmaybe server TestA", `line 2: there is no outcome "maybe"`},
		{"pass somebody TestA", `line 1: a test asks server, client or nobody, not "somebody"`},
		{"skip server TestA", "line 1: a reason is for what does not pass, and for all of that"},
		{"not-run server TestA", "line 1: a reason is for what does not pass, and for all of that"},
		{"pass server TestA because", "line 1: a reason is for what does not pass, and for all of that"},
		{"pass server TestA\npass server TestA", "line 2: TestA is there twice"},
	} {
		got := ""
		if _, err := parseExpectations(test.text); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%q: %q, want %q", test.text, got, test.want)
		}
	}
}

// TestExpected counts what expected.txt says of: all of go-tfe's tests, as
// they were counted by hand once.
func TestExpected(t *testing.T) {
	want, err := parseExpectations(expected)
	if err != nil {
		t.Fatal(err)
	}
	tests, subtests, server := 0, 0, 0
	for name, e := range want {
		if top(name) {
			tests++
			continue
		}
		subtests++
		if e.server {
			server++
		}
		parent, _, _ := strings.Cut(name, "/")
		// A test that fails may not get as far as all of its subtests.
		p, ok := want[parent]
		if !ok || p.outcome == notRun && e.outcome != notRun || e.outcome == notRun && p.outcome != notRun && p.outcome != fails {
			t.Errorf("%s is run or not otherwise than %s", name, parent)
		}
	}
	if tests != 49 || subtests != 184 || server != 96 {
		t.Errorf("%d tests, %d subtests, %d that ask the server, want 49, 184 and 96", tests, subtests, server)
	}
}

func TestDifferences(t *testing.T) {
	want, err := parseExpectations("pass server A\npass server A/x\nskip server A/y told to\nnot-run server B later\nfail client C broken")
	if err != nil {
		t.Fatal(err)
	}
	as := func(changes ...string) map[string]string {
		got := map[string]string{"A": passes, "A/x": passes, "A/y": skips, "C": fails}
		for i := 0; i < len(changes); i += 2 {
			if got[changes[i]] = changes[i+1]; changes[i+1] == "" {
				delete(got, changes[i])
			}
		}
		return got
	}
	for _, test := range []struct {
		got  map[string]string
		want []difference
	}{
		{as(), nil},
		{as("A/x", fails), []difference{{"A/x", "fail, want pass"}}},
		{as("A/x", skips), []difference{{"A/x", "skip, want pass"}}},
		{as("A/x", unfinished), []difference{{"A/x", "unfinished, want pass"}}},
		{as("A/x", ""), []difference{{"A/x", "did not run, want pass"}}},
		{as("A", fails, "A/x", fails, "A/y", ""), []difference{{"A", "fail, want pass"}, {"A/x", "fail, want pass"}}},
		{as("A/y", passes), []difference{{"A/y", "pass, want skip"}}},
		{as("C", passes), []difference{{"C", "pass, want fail"}}},
		{as("B", passes), []difference{{"B", "pass, want not-run"}}},
		{as("D", passes), []difference{{"D", "pass, and expected.txt does not know it"}}},
	} {
		if diff := cmp.Diff(test.want, want.differences(test.got), cmp.AllowUnexported(difference{})); diff != "" {
			t.Errorf("%v: (-want +got):\n%s", test.got, diff)
		}
	}
	if got, want := want.summary(as("A/x", fails)), "tests: 1 of 3 pass, 1 not run, 1 failed\nsubtests: 0 of 2 pass, 1 skipped, 1 failed\nsubtests that ask the server: 0 of 2 pass, 1 skipped, 1 failed"; got != want {
		t.Errorf("summary:\n%s\nwant:\n%s", got, want)
	}
}

// TestReport reads what go test -json says of a program that a panic ended.
func TestReport(t *testing.T) {
	r := report{outcomes: map[string]string{}, output: map[string]*bytes.Buffer{}}
	for line := range strings.Lines(`{"Action":"start"}
{"Action":"run","Test":"A"}
{"Action":"run","Test":"A/x"}
{"Action":"pass","Test":"A/x"}
{"Action":"run","Test":"B"}
{"Action":"output","Test":"A","Output":"panic: index out of range\n"}
{"Action":"fail","Test":"A"}
{"Action":"fail"}`) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		r.add(e)
	}
	if diff := cmp.Diff(map[string]string{"A": fails, "A/x": passes, "B": unfinished}, r.outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if r.finished("B") || r.finished("C") || !r.finished("A") {
		t.Error("A alone came to its end")
	}
	if got := r.printed("A"); got != "panic: index out of range\n" {
		t.Errorf("A printed %q", got)
	}
	r.forget("A")
	if diff := cmp.Diff(map[string]string{"B": unfinished}, r.outcomes); diff != "" {
		t.Errorf("after forgetting A (-want +got):\n%s", diff)
	}
}

// TestPanics runs tests of which one ends the program.
func TestPanics(t *testing.T) {
	s := goTFE()
	s.module, s.pkg = "testdata/panics", "panics"
	report, err := s.run([]string{"TestPolicyAfter", "TestPolicyBefore", "TestPolicyPanics", "TestPolicySkips"}, []string{"TestPolicyLeftOut"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{
		"TestPolicyBefore":              passes,
		"TestPolicyBefore/passes":       passes,
		"TestPolicyPanics":              fails,
		"TestPolicyPanics/passes_first": passes,
		"TestPolicyPanics/then_panics":  fails,
		"TestPolicyAfter":               fails,
		"TestPolicyAfter/passes":        passes,
		"TestPolicyAfter/fails":         fails,
		"TestPolicySkips":               skips,
	}, report.outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if text := report.printed("TestPolicyPanics"); !strings.Contains(text, "panic: as it is told to") {
		t.Errorf("the panic is not shown: %q", text)
	}
	s.pkg = "nowhere"
	if _, err := s.run(nil, nil); err == nil {
		t.Error("tests that cannot be built are no error")
	}
}
