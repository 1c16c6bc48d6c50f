package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/polset/polset"
)

const textType = "text/plain; charset=utf-8"

// sendText answers with text for people.
func (r *request) sendText(text string) error {
	return r.Blob(http.StatusOK, textType, []byte(text))
}

// checkOutput is what a check came to, as people read it.
func (a *API) checkOutput(ctx context.Context, by polset.Principal, c polset.Check) (string, error) {
	outcomes, err := a.outcomesOf(ctx, by, c)
	if err != nil {
		return "", err
	}
	var t checkText
	t.check(c, outcomes)
	return t.String(), nil
}

// checkText writes the output of checks.
type checkText struct{ strings.Builder }

// line writes a line.
func (t *checkText) line(indent int, format string, args ...any) {
	t.item(indent, "", fmt.Sprintf(format, args...))
}

// item writes what a policy says behind a mark. It may have several lines, all of
// which are indented, and may not speak to the terminal that shows them.
func (t *checkText) item(indent int, mark, text string) {
	margin := strings.Repeat("  ", indent)
	for n, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if n > 0 {
			mark = strings.Repeat(" ", len(mark))
		}
		t.WriteString(strings.TrimRight(margin+mark+visibleText(line), " "))
		t.WriteByte('\n')
	}
}

// visibleText replaces what a terminal would obey.
func visibleText(line string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf) {
			return unicode.ReplacementChar
		}
		return r
	}, line)
}

func (t *checkText) check(c polset.Check, outcomes []polset.PolicySetOutcome) {
	if !hasResult(c) {
		t.line(0, "No policies were evaluated: the check of the %s policy sets is %s.", c.Kind, c.Status)
		return
	}
	n := 0
	for _, o := range outcomes {
		n += len(o.Policies)
	}
	t.line(0, "%d policies evaluated: %s.", n, counted(c.Counts))
	t.line(0, "The check of the %s policy sets is %s.", c.Kind, words(string(c.Status)))
	if c.ErrorMessage != "" {
		t.line(0, "%s", c.ErrorMessage)
	}
	if o := c.Override; o != nil {
		t.line(0, "Overridden by %s at %s.", o.By, o.At.UTC().Format(time.RFC3339))
		if o.Comment != "" {
			t.line(1, "%s", o.Comment)
		}
	}
	for _, o := range outcomes {
		t.set(o)
	}
}

func (t *checkText) set(o polset.PolicySetOutcome) {
	t.WriteByte('\n')
	version := o.VersionID
	if version == "" {
		version = "no version"
	}
	t.line(0, "Policy set %s (%s): %s", o.PolicySetName, version, counted(o.Counts))
	if o.ErrorMessage != "" {
		t.line(1, "%s", o.ErrorMessage)
	}
	for _, p := range o.Policies {
		t.line(1, "%-15s  %s (%s)", words(string(o.Result(p))), p.Name, p.EnforcementLevel)
		if p.Status != polset.OutcomePassed && p.Description != "" {
			t.line(3, "%s", p.Description)
		}
		if !o.Repeats(p) {
			for _, message := range p.Messages {
				t.item(3, "- ", message)
			}
		}
		for _, text := range p.Prints {
			t.item(3, "print: ", text)
		}
	}
}

// words are a status as people write it.
func words(status string) string { return strings.ReplaceAll(status, "_", " ") }

// counted says how policies ended.
func counted(c polset.ResultCounts) string {
	parts := []string{fmt.Sprintf("%d passed", c.Passed)}
	for _, part := range []struct {
		n    int
		what string
	}{{c.HardFailed, "hard failed"}, {c.SoftFailed, "soft failed"}, {c.AdvisoryFailed, "advisory failed"}, {c.Errored, "errored"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	return strings.Join(parts, ", ")
}
