package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// A printer writes the commentary: numbered steps, and below each what was
// done and seen.
type printer struct {
	w      io.Writer
	colour bool
	steps  int
	start  time.Time
}

func newPrinter(f *os.File) *printer {
	return &printer{
		w:      f,
		colour: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd())),
		start:  time.Now(),
	}
}

// The styles, as parameters of an escape sequence.
const (
	bold = "1"
	dim  = "2"
	good = "32"
	bad  = "31"
)

func (p *printer) paint(style, text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (p *printer) print(text string) { _, _ = io.WriteString(p.w, text) } // nobody is left to tell

// step begins the next step.
func (p *printer) step(format string, args ...any) {
	p.steps++
	p.print(fmt.Sprintf("\n%2d  %s\n", p.steps, p.paint(bold, fmt.Sprintf(format, args...))))
}

// say tells what was done.
func (p *printer) say(format string, args ...any) {
	p.print("    " + strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\n    ") + "\n")
}

// checked tells what was promised and holds.
func (p *printer) checked(format string, args ...any) {
	p.print("    " + p.paint(good, "ok") + "  " + fmt.Sprintf(format, args...) + "\n")
}

// quote shows the words of another program.
func (p *printer) quote(text string) {
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		p.print("    " + p.paint(dim, "| "+line) + "\n")
	}
}

// failed ends the commentary.
func (p *printer) failed(err error) {
	p.print("\n" + p.paint(bad, "FAILED") + "  " + err.Error() + "\n")
}

// A progress is one line that grows while something moves on.
type progress struct {
	*printer
	began time.Time
	last  string
	mark  time.Time // of the last sign of life
}

// track begins a line.
func (p *printer) track(what string) *progress {
	p.print("    " + what + ": ")
	now := time.Now()
	return &progress{printer: p, began: now, mark: now}
}

// at tells the state now; the line grows where it is new, and by a dot for
// each second in which it is not.
func (p *progress) at(state string) {
	now := time.Now()
	if state == p.last {
		if now.Sub(p.mark) >= time.Second {
			p.print(".")
			p.mark = now
		}
		return
	}
	if p.last != "" {
		p.print(" → ")
	}
	p.print(fmt.Sprintf("%s (%s)", state, ms(now.Sub(p.began))))
	p.last, p.mark = state, now
}

func (p *progress) end() { p.print("\n") }

func ms(d time.Duration) string {
	if d >= 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

// plural counts in words: 1 file, 2 files.
func plural(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(noun, "y"))
	default:
		return fmt.Sprintf("%d %ss", n, noun)
	}
}

// short is the beginning of a hash.
func short(hash string) string { return hash[:min(12, len(hash))] }
