package githubapp

import (
	"fmt"
	"strings"
)

// A page is Markdown that stays below GitHub's limit for a summary: what does
// not fit is left out as a whole, and said to be.
type page struct {
	b strings.Builder
}

// room is what is kept free for the words that rows were left out.
const room = 100

// add adds a paragraph, if it fits. Its arguments are Markdown already.
func (p *page) add(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	if p.b.Len() > 0 {
		s = "\n\n" + s
	}
	if p.b.Len()+len(s) <= maxSummary-room {
		p.b.WriteString(s)
	}
}

// table begins a table.
func (p *page) table(columns ...string) *table {
	t := &table{page: p}
	p.add("| %s |\n|%s", strings.Join(columns, " | "), strings.Repeat(" --- |", len(columns)))
	return t
}

func (p *page) String() string { return p.b.String() }

// A table is one under way.
type table struct {
	page *page
	out  int // rows that did not fit
}

// row adds a row. Its cells are Markdown already.
func (t *table) row(cells ...string) {
	s := "\n| " + strings.Join(cells, " | ") + " |"
	if t.out > 0 || t.page.b.Len()+len(s) > maxSummary-room {
		t.out++
		return
	}
	t.page.b.WriteString(s)
}

// end says how many rows did not fit.
func (t *table) end() {
	if t.out > 0 {
		fmt.Fprintf(&t.page.b, "\n\nAnd %d more, for which there is no room here.", t.out)
	}
}
