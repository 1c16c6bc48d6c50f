package conformance_test

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
)

//go:embed expected.txt
var expected string

// What can become of a test.
const (
	passes     = "pass"
	fails      = "fail"
	skips      = "skip"    // go-tfe skips it itself
	notRun     = "not-run" // it is left out, for a reason
	unfinished = "unfinished"
)

// An expectation is one line of expected.txt.
type expectation struct {
	outcome string
	server  bool // it asks the server
	reason  string
}

// expectations are those of all tests, by name. A subtest's name is that of
// its test, a slash and its own.
type expectations map[string]expectation

// parseExpectations reads lines of
//
//	OUTCOME WHOM TEST REASON
//
// Whatever does not pass needs a reason.
func parseExpectations(text string) (expectations, error) {
	all := expectations{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) < 3 {
			return nil, fmt.Errorf("line %d: want OUTCOME WHOM TEST REASON", n)
		}
		whom := fields[1]
		e := expectation{outcome: fields[0], server: whom == "server", reason: strings.Join(fields[3:], " ")}
		name := fields[2]
		if !slices.Contains([]string{passes, fails, skips, notRun}, e.outcome) {
			return nil, fmt.Errorf("line %d: there is no outcome %q", n, e.outcome)
		}
		if !slices.Contains([]string{"server", "client", "nobody"}, whom) {
			return nil, fmt.Errorf("line %d: a test asks server, client or nobody, not %q", n, whom)
		}
		if (e.outcome == passes) != (e.reason == "") {
			return nil, fmt.Errorf("line %d: a reason is for what does not pass, and for all of that", n)
		}
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("line %d: %s is there twice", n, name)
		}
		all[name] = e
	}
	return all, nil
}

func top(name string) bool { return !strings.Contains(name, "/") }

// names lists the tests, without their subtests, that are run or are not.
func (e expectations) names(run bool) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(e)) {
		if top(name) && (e[name].outcome != notRun) == run {
			names = append(names, name)
		}
	}
	return names
}

// A difference is a test of which something else became than expected.
type difference struct{ test, problem string }

// differences compares in both directions.
func (e expectations) differences(got map[string]string) []difference {
	var found []difference
	for _, name := range slices.Sorted(maps.Keys(e)) {
		want := e[name].outcome
		test, _, _ := strings.Cut(name, "/")
		switch outcome, ran := got[name]; {
		case !ran && name != test && got[test] != e[test].outcome:
			// Its test did not get so far, and is a difference.
		case !ran && want != notRun:
			found = append(found, difference{name, "did not run, want " + want})
		case ran && outcome != want:
			found = append(found, difference{name, outcome + ", want " + want})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, expected := e[name]; !expected {
			found = append(found, difference{name, got[name] + ", and expected.txt does not know it"})
		}
	}
	return found
}

// A tally counts outcomes.
type tally struct{ all, passed, skipped, notRun int }

func (t *tally) add(outcome string, expected expectation) {
	t.all++
	switch {
	case outcome == passes:
		t.passed++
	case outcome == skips:
		t.skipped++
	case outcome == "" && expected.outcome == notRun:
		t.notRun++
	}
}

func (t tally) String() string {
	text := fmt.Sprintf("%d of %d pass", t.passed, t.all)
	for _, part := range []struct {
		n    int
		what string
	}{{t.skipped, "skipped"}, {t.notRun, "not run"}, {t.all - t.passed - t.skipped - t.notRun, "failed"}} {
		if part.n > 0 {
			text += fmt.Sprintf(", %d %s", part.n, part.what)
		}
	}
	return text
}

// summary counts the tests, their subtests, and those of them that ask the
// server: the honest measure.
func (e expectations) summary(got map[string]string) string {
	var tests, subtests, server tally
	for name, expected := range e {
		if top(name) {
			tests.add(got[name], expected)
			continue
		}
		subtests.add(got[name], expected)
		if expected.server {
			server.add(got[name], expected)
		}
	}
	return fmt.Sprintf("tests: %s\nsubtests: %s\nsubtests that ask the server: %s", tests, subtests, server)
}
