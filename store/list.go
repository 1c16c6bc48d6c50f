package store

import (
	"fmt"
	"strings"

	"github.com/polset/polset"
)

// maxPage bounds a page whatever the caller asks for.
const maxPage = 1000

// window turns a page into LIMIT and OFFSET.
func window(p polset.Page) (limit, offset int32) {
	p.Size, p.Number = min(max(p.Size, 1), maxPage), min(max(p.Number, 1), 1_000_000)
	return int32(p.Size), int32(p.Offset()) //nolint:gosec // bounded
}

// A filter collects the conditions of a list query and their arguments.
type filter struct {
	conditions []string
	args       []any
}

// add appends a condition in which each ? stands for the next argument.
func (f *filter) add(condition string, args ...any) {
	for _, a := range args {
		f.args = append(f.args, a)
		condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(f.args)), 1)
	}
	f.conditions = append(f.conditions, condition)
}

// in appends the condition that a column has one of the values.
func (f *filter) in(column string, values []string) {
	if len(values) == 0 {
		return
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	f.add(column+" IN (?"+strings.Repeat(", ?", len(values)-1)+")", args...)
}

func (f *filter) where() string { return " WHERE " + strings.Join(f.conditions, " AND ") }

// page appends the window of a page, and its arguments to a copy of f's.
func (f *filter) page(p polset.Page) (clause string, args []any) {
	limit, offset := window(p)
	n := len(f.args)
	return fmt.Sprintf(" LIMIT $%d OFFSET $%d", n+1, n+2), append(f.args[:n:n], limit, offset)
}

// like turns a text into the pattern that matches it anywhere; the condition
// must say ESCAPE '!'.
func like(text string) string {
	return "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(strings.ToLower(text)) + "%"
}
