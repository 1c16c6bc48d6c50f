package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"

	"github.com/polset/polset"
)

// Invalid is the cause of a polset.Failure of this package: everything that
// is wrong, sorted by file, line and column. It is found with errors.As. The
// Failure holds the same diagnostics.
type Invalid struct { //nolint:errname // it is a list first, and an error only as a cause
	Diagnostics []polset.Diagnostic // at most 100; each message is one line
	More        int                 // how many there are besides
}

// failure is what i becomes; err is its cause, i itself where it has no other.
func (i *Invalid) failure(class polset.Class, err error) *polset.Failure {
	if err == nil {
		err = i
	}
	return &polset.Failure{Class: class, Message: i.message(), Diagnostics: i.Diagnostics, Err: err}
}

// Error implements error. The details are in Diagnostics, and for people in
// the message of the Failure.
func (i *Invalid) Error() string {
	if len(i.Diagnostics) == 0 {
		return "no diagnostics"
	}
	first := i.Diagnostics[0]
	return fmt.Sprintf("%d diagnostics, the first at %s:%d:%d",
		len(i.Diagnostics)+i.More, oneLine(first.File), first.Line, first.Column)
}

const (
	maxDiagnostics = 100     // kept
	maxShown       = 10      // in a failure's message
	maxShownBytes  = 4 << 10 // of a failure's message
	maxMessage     = 600     // bytes of one diagnostic
)

// message is the people-facing sentence: the first diagnostics, a line each,
// and how many more there are.
func (i *Invalid) message() string {
	var b strings.Builder
	shown := 0
	for _, d := range i.Diagnostics {
		line := fmt.Sprintf("%s:%d:%d: %s", oneLine(d.File), d.Line, d.Column, d.Message)
		// Room is kept for the last line.
		if shown == maxShown || shown > 0 && b.Len()+len(line) > maxShownBytes-64 {
			break
		}
		if shown > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(line)
		shown++
	}
	if more := len(i.Diagnostics) - shown + i.More; more > 0 {
		fmt.Fprintf(&b, "\nand %d more", more)
	}
	return b.String()
}

// failAt returns the failure that consists of one diagnostic.
func failAt(class polset.Class, file string, at position, format string, args ...any) error {
	invalid := &Invalid{Diagnostics: []polset.Diagnostic{{
		File: file, Line: at.line, Column: at.column,
		Message: oneLine(fmt.Sprintf(format, args...)),
	}}}
	return invalid.failure(class, nil)
}

// problems collects diagnostics. The zero value is ready to use.
type problems struct {
	found   []polset.Diagnostic
	dropped int
}

// maxCollected is where problems stops keeping what it is told: enough to
// sort by position before the rest is dropped, too little to matter.
const maxCollected = 10 * maxDiagnostics

func (p *problems) add(file string, line, column int, message string) {
	if len(p.found) == maxCollected {
		p.dropped++
		return
	}
	p.found = append(p.found, polset.Diagnostic{
		File: file, Line: max(line, 1), Column: max(column, 1),
		Message: oneLine(message),
	})
}

func (p *problems) addf(file string, at position, format string, args ...any) {
	p.add(file, at.line, at.column, fmt.Sprintf(format, args...))
}

// addHCL adds what HCL's parser or decoder found in file.
func (p *problems) addHCL(file string, diags hcl.Diagnostics) {
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		var at position
		if d.Subject != nil {
			at = start(*d.Subject)
		}
		message := strings.TrimSuffix(d.Summary, ".")
		if d.Detail != "" {
			message += ": " + d.Detail
		}
		p.add(file, at.line, at.column, strings.TrimSuffix(message, "."))
	}
}

func (p *problems) any() bool { return len(p.found) > 0 }

func (p *problems) count() int { return len(p.found) + p.dropped }

// failure returns the collected problems as a policy-invalid failure, nil
// where there are none.
func (p *problems) failure() error {
	if !p.any() {
		return nil
	}
	slices.SortFunc(p.found, func(a, b polset.Diagnostic) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Message, b.Message),
		)
	})
	found := slices.Compact(p.found)
	kept := min(len(found), maxDiagnostics)
	invalid := &Invalid{Diagnostics: found[:kept:kept], More: len(found) - kept + p.dropped}
	return invalid.failure(polset.ClassPolicyInvalid, nil)
}

// wholeFile is the position of what concerns a file as a whole.
var wholeFile = position{1, 1}

// start is where r begins.
func start(r hcl.Range) position { return position{r.Start.Line, r.Start.Column} }

// oneLine makes s fit for a message: valid UTF-8, no control or direction
// characters, white space collapsed, at most maxMessage bytes and an ellipsis.
func oneLine(s string) string {
	if len(s) > 2*maxMessage {
		s = s[:2*maxMessage] // what follows would be cut anyway
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= maxMessage {
		return s
	}
	cut := maxMessage
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
