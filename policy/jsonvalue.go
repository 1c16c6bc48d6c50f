package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
)

// parseJSON turns JSON, which nests no deeper than the caller has made sure
// of, into the value that OPA makes of it. It goes there directly, without
// OPA's detour by Go's maps, and what occurs again and again, as keys do, is
// held once. Numbers keep their digits; of equal keys the last one counts.
func parseJSON(src []byte) (ast.Value, error) {
	if err := validJSON(src); err != nil {
		return nil, err
	}
	p := jsonParser{src: src, known: map[string]*ast.Term{}}
	return p.value()
}

// validJSON is json.Valid, but says what is wrong.
func validJSON(src []byte) error {
	if json.Valid(src) {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(src))
	var raw json.RawMessage
	if err := decoder.Decode(&raw); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	return errors.New("something follows the value")
}

// A jsonParser parses JSON that is known to be valid.
type jsonParser struct {
	src   []byte
	i     int
	known map[string]*ast.Term // short strings, by their form in the source
	held  int                  // bytes of them
}

const (
	// maxKnown is how long a string is that is worth a look for another one.
	maxKnown = 64
	// maxKnownBytes bounds what is remembered, where all strings differ.
	maxKnownBytes = 1 << 20
	// fewKeys is up to how many keys of an object are compared one by one.
	fewKeys = 16
)

// space skips white space and returns what comes then.
func (p *jsonParser) space() byte {
	for ; p.i < len(p.src); p.i++ {
		switch c := p.src[p.i]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

func (p *jsonParser) value() (ast.Value, error) {
	switch c := p.space(); c {
	case '{':
		return p.object()
	case '[':
		return p.array()
	case '"':
		term, err := p.text()
		if err != nil {
			return nil, err
		}
		return term.Value, nil
	case 't':
		p.i += len("true")
		return ast.InternedTerm(true).Value, nil
	case 'f':
		p.i += len("false")
		return ast.InternedTerm(false).Value, nil
	case 'n':
		p.i += len("null")
		return ast.NullValue, nil
	}
	begin := p.i
	for p.i < len(p.src) && isNumber(p.src[p.i]) {
		p.i++
	}
	return ast.InterfaceToValue(json.Number(p.src[begin:p.i]))
}

func isNumber(c byte) bool {
	return '0' <= c && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'
}

// term is value, or the term of a string that is held already.
func (p *jsonParser) term() (*ast.Term, error) {
	if p.space() == '"' {
		return p.text()
	}
	value, err := p.value()
	if err != nil {
		return nil, err
	}
	return ast.NewTerm(value), nil
}

func (p *jsonParser) array() (ast.Value, error) {
	p.i++
	var elements []*ast.Term
	for p.space() != ']' {
		element, err := p.term()
		if err != nil {
			return nil, err
		}
		elements = append(elements, element)
		if p.space() == ',' {
			p.i++
		}
	}
	p.i++
	if len(elements) == 0 {
		return ast.InternedEmptyArray.Value, nil
	}
	return ast.NewArray(elements...), nil
}

func (p *jsonParser) object() (ast.Value, error) {
	p.i++
	var members [][2]*ast.Term
	var index map[ast.Value]int // of the members, once there are many
	for p.space() != '}' {
		key, err := p.text()
		if err != nil {
			return nil, err
		}
		p.space()
		p.i++ // the colon
		value, err := p.term()
		if err != nil {
			return nil, err
		}
		at := len(members)
		switch {
		case len(members) < fewKeys:
			for i := range members {
				if members[i][0].Value == key.Value {
					at = i
				}
			}
		case index == nil:
			index = make(map[ast.Value]int, 2*fewKeys)
			for i := range members {
				index[members[i][0].Value] = i
			}
			fallthrough
		default:
			if i, ok := index[key.Value]; ok {
				at = i
			}
			index[key.Value] = at
		}
		if at < len(members) {
			members[at][1] = value
		} else {
			members = append(members, [2]*ast.Term{key, value})
		}
		if p.space() == ',' {
			p.i++
		}
	}
	p.i++
	if len(members) == 0 {
		return ast.InternedEmptyObject.Value, nil
	}
	return ast.NewObject(members...), nil
}

// text parses a string.
func (p *jsonParser) text() (*ast.Term, error) {
	begin := p.i
	p.i++
	plain := true
	for p.src[p.i] != '"' {
		if p.src[p.i] == '\\' {
			plain = false
			p.i++
		}
		p.i++
	}
	p.i++
	quoted := p.src[begin:p.i]
	if term := p.known[string(quoted)]; term != nil {
		return term, nil
	}
	var text string
	if inner := quoted[1 : len(quoted)-1]; plain && utf8.Valid(inner) {
		text = string(inner)
	} else if err := json.Unmarshal(quoted, &text); err != nil {
		return nil, fmt.Errorf("read a string: %w", err)
	}
	term := ast.NewTerm(ast.String(text))
	if len(quoted) <= maxKnown && p.held < maxKnownBytes {
		p.known[string(quoted)] = term
		p.held += len(quoted)
	}
	return term, nil
}
