package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// A report is written as it comes to be, and remembers what was missed.
type report struct {
	out      io.Writer
	began    time.Time
	asserted int
	missed   []string
}

func newReport(out io.Writer) *report { return &report{out: out, began: time.Now()} }

func (r *report) print(format string, args ...any) { _, _ = fmt.Fprintf(r.out, format, args...) }

// section begins a part of the report.
func (r *report) section(format string, args ...any) {
	title := fmt.Sprintf(format, args...)
	r.print("\n%s\n%s\n", title, strings.Repeat("─", len([]rune(title))))
}

// table prints rows in aligned columns, the first one to the left and the
// others to the right.
func (r *report) table(header []string, rows [][]string) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	width := 0
	for _, row := range append([][]string{header}, rows...) {
		width = max(width, len([]rune(row[0])))
	}
	for _, row := range append([][]string{header}, rows...) {
		_, _ = fmt.Fprintf(w, "  %-*s\t%s\t\n", width, row[0], strings.Join(row[1:], "\t"))
	}
	_ = w.Flush() // into memory
	for line := range strings.Lines(text.String()) {
		r.print("%s\n", strings.TrimRight(strings.TrimPrefix(line, "  "), " \n"))
	}
	r.print("\n")
}

// A check is one target and what was measured of it.
type check struct {
	what            string
	measured, limit string
	ok              bool
}

// checks prints targets and remembers which were missed.
func (r *report) checks(list ...check) {
	rows := make([][]string, 0, len(list))
	for _, c := range list {
		r.asserted++
		verdict := "ok"
		if !c.ok {
			verdict = "MISSED"
			r.missed = append(r.missed, fmt.Sprintf("%s: %s, must be %s", c.what, c.measured, c.limit))
		}
		rows = append(rows, []string{c.what, c.measured, c.limit, verdict})
	}
	r.table([]string{"target", "measured", "limit", ""}, rows)
}

// end sums up.
func (r *report) end() {
	r.print("%d of %d targets met, after %.0f s.\n", r.asserted-len(r.missed), r.asserted, time.Since(r.began).Seconds())
	for _, m := range r.missed {
		r.print("  MISSED  %s\n", m)
	}
}

// progress tells of a long step, beside the report; what it returns tells of
// its end.
func (r *report) progress(format string, args ...any) func() {
	began := time.Now()
	_, _ = fmt.Fprintf(os.Stderr, "… "+format, args...)
	return func() { _, _ = fmt.Fprintf(os.Stderr, " (%.1f s)\n", time.Since(began).Seconds()) }
}

// atMost is met by a value that does not exceed the limit.
func atMost(what string, value, limit float64, show func(float64) string) check {
	return check{what, show(value), "≤ " + show(limit), value <= limit}
}

// atLeast is met by a value that reaches the limit.
func atLeast(what string, value, limit float64, show func(float64) string) check {
	return check{what, show(value), "≥ " + show(limit), value >= limit}
}

// bytesOf writes a number with a comma between thousands.
func bytesOf(n float64) string {
	digits := strconv.FormatInt(int64(n), 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

func mebibytes(n float64) string { return fmt.Sprintf("%.1f MiB", n/(1<<20)) }

func times(n float64) string {
	if n >= 100 {
		return fmt.Sprintf("%.0f×", n)
	}
	return fmt.Sprintf("%.3f×", n)
}

func ms(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
