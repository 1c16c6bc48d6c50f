package check

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

// hidden stands for the value of a sensitive parameter.
const hidden = "(sensitive)"

const (
	// leastSecret is how many characters a value has that is hidden wherever it
	// occurs. To hide a shorter one in the midst of words would spoil every
	// message and tell where it is; it is hidden where it is all that is said.
	leastSecret = 4
	// maxText is how many bytes a text may have: more is cut off, unseen. Engines
	// keep less of what policies say.
	maxText = 8 << 10
	// maxForms is how many forms are looked for. Where there are more, as of a
	// parameter that is a document of thousands of members, all that a policy
	// says is hidden: it would take too long to tell.
	maxForms = 2000
)

// secrets are the values of sensitive parameters, which policies see, and may
// say by accident. They are hidden in the forms in which policies and engines
// write values. A policy that means to give one away, encoded or in pieces,
// cannot be kept from it: whoever writes policies is trusted with parameters.
type secrets struct {
	forms []string // none where there are too many
	all   bool     // everything is hidden
}

// secretsOf returns the secrets of policy sets.
func secretsOf(sets ...polset.CheckSet) secrets {
	var s secrets
	for _, set := range sets {
		for _, p := range set.Parameters {
			if !p.Sensitive {
				continue
			}
			forms := formsOf(p.Value.Reveal())
			if len(s.forms)+len(forms) > maxForms {
				return secrets{all: true}
			}
			s.forms = append(s.forms, forms...)
		}
	}
	return s
}

// failure returns a failure whose sentence has no secret, and without its cause.
func (s secrets) failure(f *polset.Failure) *polset.Failure {
	safe := *f
	safe.Message, safe.Err = s.hide(f.Message), nil
	return &safe
}

// hideAll hides the secrets in texts, of which it makes a copy.
func (s secrets) hideAll(texts []string) []string {
	out := slices.Clone(texts)
	for i := range out {
		out[i] = s.hide(out[i])
	}
	return out
}

// hide hides the secrets in a text.
func (s secrets) hide(text string) string {
	switch {
	case s.all:
		return hidden
	case len(s.forms) == 0:
		return text
	case len(text) > maxText:
		text = strings.ToValidUTF8(text[:maxText], "") + cutOff
	}
	var spans []span
	for _, form := range s.forms {
		switch {
		case utf8.RuneCountInString(form) >= leastSecret:
			spans = append(spans, spansOf(text, form)...)
		case strings.TrimSpace(text) == form:
			return hidden
		}
	}
	return without(text, spans)
}

// formsOf are how a value may be written: as it is or trimmed; without what no
// message may hold; as a string of JSON, of Rego or of Go, and as that within
// another. Where the value is JSON itself, whatever it holds counts as well.
func formsOf(value string) []string {
	plain := []string{value, strings.TrimSpace(value)}
	if strings.ContainsAny(value, "{[") {
		decoder := json.NewDecoder(strings.NewReader(value))
		decoder.UseNumber()
		var document any
		if decoder.Decode(&document) == nil {
			plain = leaves(document, plain)
		}
	}
	if len(plain) > maxForms {
		return plain // too many already
	}
	list := slices.Clone(plain)
	for _, v := range plain {
		for _, quoted := range quotings(begin(v)) {
			list = append(list, quoted)
			list = append(list, quotings(begin(quoted))[:2]...)
		}
	}
	for _, v := range list[:len(list):len(list)] {
		list = append(list, policy.Printable(v))
	}
	for i, v := range list {
		list[i] = begin(v)
	}
	slices.Sort(list)
	list = slices.Compact(list)
	return slices.DeleteFunc(list, func(v string) bool { return strings.TrimSpace(v) == "" })
}

// begin is as much of a form as a text may hold, and a character more.
func begin(form string) string {
	end := maxText + 2*utf8.UTFMax
	if len(form) <= end {
		return form
	}
	for !utf8.RuneStart(form[end]) && end > maxText+utf8.UTFMax {
		end--
	}
	return form[:end]
}

// leaves adds the strings and numbers of a document that are long enough to be
// secrets.
func leaves(document any, list []string) []string {
	add := func(text string) {
		if utf8.RuneCountInString(text) >= leastSecret {
			list = append(list, text)
		}
	}
	switch d := document.(type) {
	case string:
		add(d)
	case json.Number:
		add(d.String())
	case []any:
		for _, member := range d {
			list = leaves(member, list)
		}
	case map[string]any:
		for _, member := range d {
			list = leaves(member, list)
		}
	}
	return list
}

// quotings are what stands between the quotes of a quoted value.
func quotings(value string) []string {
	inside := func(quoted string) string { return quoted[1 : len(quoted)-1] }
	var plain strings.Builder
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // a string has always a form
	html, _ := json.Marshal(value)
	return []string{
		inside(strings.TrimSuffix(plain.String(), "\n")), inside(string(html)),
		inside(strconv.Quote(value)), inside(strconv.QuoteToASCII(value)),
	}
}

// A span is a part of a text, from one byte to before another.
type span struct{ from, to int }

// cutOff ends a text that was too long to be kept whole.
const cutOff = "…"

// spansOf are the places of a form in a text, also those that overlap, and where
// the text was cut off the beginning of one at its end. It takes time in
// proportion to the text, whatever a policy makes of it.
func spansOf(text, form string) []span {
	cut := strings.HasSuffix(text, cutOff)
	if !strings.Contains(text, form[:min(len(form), leastSecret)]) || !cut && len(form) > len(text) {
		return nil
	}
	// As much of the form as may occur, and how much of its beginning each part
	// of it ends with (Knuth, Morris and Pratt).
	form = form[:min(len(form), len(text)+1)]
	border := make([]int, len(form))
	for i, k := 1, 0; i < len(form); i++ {
		for k > 0 && form[i] != form[k] {
			k = border[k-1]
		}
		if form[i] == form[k] {
			k++
		}
		border[i] = k
	}
	var spans []span
	matched := 0
	for i := range len(text) {
		if cut && i == len(text)-len(cutOff) && matched >= leastSecret {
			spans = append(spans, span{i - matched, i})
		}
		for matched > 0 && (matched == len(form) || text[i] != form[matched]) {
			matched = border[matched-1]
		}
		if text[i] == form[matched] {
			matched++
		}
		if matched == len(form) {
			spans = append(spans, span{i + 1 - matched, i + 1})
		}
	}
	return spans
}

// without returns a text with something else in the place of spans, of which
// those that touch are one.
func without(text string, spans []span) string {
	if len(spans) == 0 {
		return text
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	var out strings.Builder
	at, open := 0, spans[0]
	write := func(s span) {
		out.WriteString(text[at:s.from])
		out.WriteString(hidden)
		at = s.to
	}
	for _, s := range spans[1:] {
		if s.from > open.to {
			write(open)
			open = s
			continue
		}
		open.to = max(open.to, s.to)
	}
	write(open)
	out.WriteString(text[at:])
	return out.String()
}
