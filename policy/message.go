package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
)

// What policies say is kept, and shown, as far as this goes.
const (
	maxMessages     = 100     // of a policy; and as many prints
	maxMessageBytes = 4 << 10 // of each
	maxSetBytes     = 1 << 20 // of all messages and prints of a set
)

// lines are what a policy says, up to a limit.
type lines struct {
	kept []string
	more int
	room *int // bytes, that the set has left
}

// full reports whether nothing more is kept.
func (l *lines) full() bool { return len(l.kept) == maxMessages || *l.room <= 0 }

// add adds a line.
func (l *lines) add(line string) {
	if l.full() {
		l.more++
		return
	}
	line = cut(line, min(maxMessageBytes, *l.room))
	*l.room -= len(line)
	l.kept = append(l.kept, line)
}

// addElement adds what an element of a result says, and reports whether there
// is no room for another.
func (l *lines) addElement(element *ast.Term) bool {
	if !l.full() {
		l.add(messageOf(element.Value))
	}
	return l.full()
}

// list returns the lines, the last of which says how many there are besides.
func (l *lines) list() []string {
	if l.more > 0 {
		return append(l.kept, fmt.Sprintf("… and %d more", l.more))
	}
	return l.kept
}

// cut makes s fit to be shown and stored: Printable, at most limit bytes and an
// ellipsis.
func cut(s string, limit int) string {
	long := len(s) > limit
	if long {
		s = s[:limit]
		for range utf8.UTFMax - 1 { // what is left of a character
			if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n != 1 {
				break
			}
			s = s[:len(s)-1]
		}
	}
	s = Printable(s)
	if long {
		s += "…"
	}
	return s
}

// Printable is s as the messages and prints of policies show it: valid UTF-8,
// without characters that control a terminal or the direction of text.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case r == '\r':
			return -1
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// messageOf is what an element of a result says: a string as it is, an object
// by its msg or message, and anything else in JSON.
func messageOf(value ast.Value) string {
	switch value := value.(type) {
	case ast.String:
		if strings.TrimSpace(string(value)) != "" {
			return string(value)
		}
	case ast.Object:
		for _, key := range []string{"msg", "message"} {
			if member := value.Get(ast.StringTerm(key)); member != nil {
				if text, ok := member.Value.(ast.String); ok {
					return string(text)
				}
			}
		}
	}
	w := jsonWriter{most: maxMessageBytes}
	w.value(value)
	return w.String()
}

// A jsonWriter writes compact JSON until it has written more than most bytes.
// A value may be as large as the plan, of which nobody reads more.
type jsonWriter struct {
	bytes.Buffer
	most int
}

func (w *jsonWriter) full() bool { return w.Len() > w.most }

func (w *jsonWriter) value(value ast.Value) {
	switch value := value.(type) {
	case ast.String:
		w.text(string(value))
	case ast.Object:
		w.WriteByte('{')
		next := w.commas()
		value.Until(func(key, member *ast.Term) bool {
			next()
			w.key(key.Value)
			w.WriteByte(':')
			w.value(member.Value)
			return w.full()
		})
		w.WriteByte('}')
	case *ast.Array:
		w.elements(value)
	case ast.Set:
		w.elements(value)
	default: // null, a boolean or a number, which Rego writes as JSON does
		w.WriteString(value.String())
	}
}

// elements writes an array, or a set, which JSON does not have, in its order.
func (w *jsonWriter) elements(value interface {
	Until(func(*ast.Term) bool) bool
},
) {
	w.WriteByte('[')
	next := w.commas()
	value.Until(func(element *ast.Term) bool {
		next()
		w.value(element.Value)
		return w.full()
	})
	w.WriteByte(']')
}

// commas returns what writes a comma each time but the first.
func (w *jsonWriter) commas() func() {
	first := true
	return func() {
		if !first {
			w.WriteByte(',')
		}
		first = false
	}
}

// key writes the key of an object, which in JSON is a string.
func (w *jsonWriter) key(key ast.Value) {
	if text, ok := key.(ast.String); ok {
		w.text(string(text))
		return
	}
	inner := jsonWriter{most: w.most}
	inner.value(key)
	w.text(inner.String())
}

func (w *jsonWriter) text(s string) {
	encoder := json.NewEncoder(&w.Buffer)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s[:min(len(s), w.most+1)]) // a string has always a form
	w.Truncate(w.Len() - 1)                       // a newline
}
