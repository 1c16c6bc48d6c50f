package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// maxShown is how many messages of a policy, or faults of a policy set, the
// table shows: who wants all of them reads the JSON.
const maxShown = 25

// writeTable writes the report for a person.
func (r report) writeTable(to io.Writer) error {
	w := bufio.NewWriter(to)
	say := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) } //nolint:errcheck // Flush tells

	if r.Run == nil {
		say("Plan %s, policy set %s, at %s", plain(r.Plan), plain(r.Dir), r.At.UTC().Format(time.RFC3339))
	} else {
		say("Plan %s, workspace %s", plain(r.Plan), plain(r.Run.workspace()))
		say("Run %s: %s", plain(r.Run.ID), plain(r.Run.URL))
	}
	if len(r.Sets) > 0 {
		say("")
		r.tableOfSets(say)
	}
	for _, c := range r.erroredChecks() {
		say("")
		say("Check %s is %s:", plain(c.ID), plain(c.Status))
		indented(say, "  ", c.ErrorMessage)
	}
	say("")
	say("%s", plain(r.summary()))
	say("%s", map[verdict]string{verdictPassed: "Passed.", verdictFailed: "Failed.", verdictErrored: "Errored: there is no verdict."}[r.verdict()])
	return w.Flush()
}

// tableOfSets writes a line for each policy, with its messages below.
func (r report) tableOfSets(say func(string, ...any)) {
	type row struct {
		cells []string
		set   *reportSet
		at    int // of the policy; -1 for the set as a whole
	}
	rows := []row{{cells: []string{"POLICY SET", "POLICY", "LEVEL", "RESULT"}}}
	for i := range r.Sets {
		s := &r.Sets[i]
		if s.Error != "" || len(s.Policies) == 0 {
			rows = append(rows, row{[]string{plain(s.PolicySetName), "", "", shownResults["errored"]}, s, -1})
		}
		for at, p := range s.Policies {
			rows = append(rows, row{[]string{plain(s.PolicySetName), plain(p.Name), plain(p.EnforcementLevel), shownResults[s.shown(p)]}, s, at})
		}
	}
	widths := make([]int, len(rows[0].cells))
	for _, row := range rows {
		for i, cell := range row.cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row.cells {
			fmt.Fprintf(&line, "%-*s  ", widths[i], cell)
		}
		say("%s", strings.TrimRight(line.String(), " "))
		switch {
		case row.set == nil:
		case row.at < 0:
			row.set.sayError(say)
		default:
			row.set.sayMessages(say, row.at)
		}
	}
	first := true
	for _, s := range r.Sets {
		if s.VersionID != "" && first {
			say("")
			first = false
		}
		if s.VersionID != "" {
			say("Policy set %s is of version %s.", plain(s.PolicySetName), plain(s.VersionID))
		}
	}
}

var shownResults = map[string]string{
	"passed":          "passed",
	"advisory-failed": "failed (advisory)",
	"soft-failed":     "FAILED (may be overridden)",
	"hard-failed":     "FAILED",
	"overridden":      "failed (overridden)",
	"errored":         "ERRORED",
}

// sayError says why a set as a whole has no result.
func (s *reportSet) sayError(say func(string, ...any)) {
	shown := s.Diagnostics[:min(len(s.Diagnostics), maxShown)]
	for _, d := range shown {
		say("    %s:%d:%d: %s", plain(s.file(d.File)), d.Line, d.Column, plain(d.Message))
	}
	if more := len(s.Diagnostics) - len(shown) + s.More; more > 0 {
		say("    and %d more", more)
	}
	if len(s.Diagnostics) == 0 {
		indented(say, "    ", firstOf(s.ErrorMessage, "the policy set has no result"))
	}
}

func (s *reportSet) sayMessages(say func(string, ...any), at int) {
	p := s.Policies[at]
	if s.Repeats(p) { // above it
		p.Messages = nil
	}
	shown := p.Messages[:min(len(p.Messages), maxShown)]
	for _, m := range shown {
		lines := plainLines(m)
		say("    - %s", lines[0])
		for _, line := range lines[1:] {
			say("      %s", line)
		}
	}
	if more := len(p.Messages) - len(shown); more > 0 {
		hint := "--format json shows all"
		var beyond int // of what the policy said, which the last message counts
		if _, err := fmt.Sscanf(p.Messages[len(p.Messages)-1], "… and %d more", &beyond); err == nil {
			more, hint = more-1+beyond, fmt.Sprintf("--format json shows %d of them", more-1)
		}
		say("    and %s (%s)", counted(more, "more message"), hint)
	}
	if len(p.Messages) > 0 && p.File != "" && s.Base != "" {
		say("    declared at %s:%d", plain(s.file(p.File)), p.Line)
	}
	for _, text := range p.Prints {
		indented(say, "    print: ", text)
	}
}

func indented(say func(string, ...any), by, text string) {
	for _, line := range plainLines(text) {
		say("%s%s", by, line)
	}
}
