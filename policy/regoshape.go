package policy

import (
	"bytes"
	"strings"

	"github.com/polset/polset"
)

// checkRegoShape fails where Rego is of a shape that OPA's compiler is slow
// or recurses without bound on: see maxRegoNesting and those below it.
//
// Brackets are not all that nests: a+b+c is (a+b)+c to the compiler, which
// recurses into it as it does into brackets, and the parser's own limit does
// not count operators. OPA does not export its scanner, so this is one that
// knows just enough of the language. Where src is not Rego the two may
// disagree; then parsing fails anyway, under the parser's limit.
func checkRegoShape(file string, src []byte) error {
	s := regoScanner{src: src, frames: []regoFrame{{}}}
	for s.i < len(s.src) {
		next := s.next()
		at := s.i
		s.i = next
		over := func(format string, limit int) error {
			return failAt(polset.ClassLimit, file, positionAt(src, at), format, limit)
		}
		switch {
		case s.depth > maxRegoNesting:
			return tooDeep(file, positionAt(src, at), maxRegoNesting)
		case s.elses > maxRegoElse:
			return over("this file holds more than %d else branches, the limit; split it or use a lookup table", maxRegoElse)
		case s.templates > maxRegoTemplates:
			return over("this file holds more than %d expressions in template strings, the limit; split it or use sprintf", maxRegoTemplates)
		case s.frames[len(s.frames)-1].exprs > maxRegoBody:
			return over("this body holds more than %d expressions, the limit; split the rule", maxRegoBody)
		}
	}
	return nil
}

type regoScanner struct {
	src       []byte
	i         int // the offset of the present token
	frames    []regoFrame
	depth     int // of brackets and of the operators around them
	elses     int
	templates int
}

// A regoFrame is what lies between two brackets.
type regoFrame struct {
	open     byte // the bracket, 0 outside all
	template byte // the quote of the template string whose expression this is; 0 for brackets
	chain    int  // operators since the expression began
	exprs    int  // expressions that began behind another one, about
	operand  bool // the last token was (the end of) an operand
	keyword  bool // which was a keyword that an operand follows
	end      int  // the offset behind that operand
}

// next takes the token at s.i and returns the offset behind it.
func (s *regoScanner) next() int {
	next := s.i + 1
	top := &s.frames[len(s.frames)-1]
	switch c := s.src[s.i]; {
	case c == ' ' || c == '\t' || c == '\r' || c == '\n':
	case c == '#':
		return s.after('\n')
	case c == '"' || c == '`':
		next = s.quoted(next, c)
		s.operand(next)
	case c == '$' && next < len(s.src) && (s.src[next] == '"' || s.src[next] == '`'):
		return s.template(next+1, s.src[next])
	case c == '(' || c == '[' || c == '{':
		if top.operand && top.end == s.i && c != '{' {
			s.operator() // a call or an index
		} else if top.operand {
			s.juxtaposed()
		}
		s.push(regoFrame{open: c})
	case c == ')' || c == ']' || c == '}':
		if template := s.pop(); template != 0 {
			return s.template(next, template)
		}
		s.operand(next)
	case c == ';':
		s.juxtaposed()
		top.operand = false
	case c == ',', c == ':' && (next == len(s.src) || s.src[next] != '='):
		s.reset()
		top.operand = false
	case strings.IndexByte("+-*/%&|<>=!:.", c) >= 0:
		if next < len(s.src) && s.src[next] == '=' {
			next++
		}
		s.operator()
	case isWord(c):
		for next < len(s.src) && isWord(s.src[next]) {
			next++
		}
		s.word(string(s.src[s.i:next]), next)
	default:
		s.operand(next)
	}
	return next
}

// word takes a keyword, a variable or a number.
func (s *regoScanner) word(word string, end int) {
	top := &s.frames[len(s.frames)-1]
	switch word {
	case "in", "and", "or":
		s.operator()
		return
	case "else", "with", "as", "if", "contains":
		if word == "else" {
			s.elses++
		}
		s.reset() // goes on with the expression or rule before it
		top.operand, top.keyword, top.end = true, true, end
	case "some", "every", "not":
		s.operand(end)
		top.keyword = true
	default:
		s.operand(end)
	}
}

// operand ends the expression before it where no operator connects the two.
func (s *regoScanner) operand(end int) {
	top := &s.frames[len(s.frames)-1]
	if top.operand {
		s.juxtaposed()
	}
	top.operand, top.keyword, top.end = true, false, end
}

// juxtaposed begins an expression right behind another one.
func (s *regoScanner) juxtaposed() {
	top := &s.frames[len(s.frames)-1]
	if top.open == '{' && !top.keyword {
		top.exprs++
	}
	s.reset()
}

func (s *regoScanner) operator() {
	top := &s.frames[len(s.frames)-1]
	top.chain++
	top.operand, top.keyword = false, false
	s.depth++
}

// reset begins another expression between the same brackets.
func (s *regoScanner) reset() {
	top := &s.frames[len(s.frames)-1]
	s.depth -= top.chain
	top.chain = 0
}

func (s *regoScanner) push(frame regoFrame) {
	s.frames = append(s.frames, frame)
	s.depth++
}

// pop leaves the innermost brackets and returns the quote of the template
// string that goes on behind them, 0 where there is none.
func (s *regoScanner) pop() byte {
	if len(s.frames) == 1 {
		return 0 // unbalanced, which is for the parser to say
	}
	s.reset()
	s.depth--
	template := s.frames[len(s.frames)-1].template
	s.frames = s.frames[:len(s.frames)-1]
	// What was in the brackets belongs to the operand before them.
	s.frames[len(s.frames)-1].operand = false
	return template
}

// template goes through a template string from offset i on, until it ends or
// an expression begins, and returns the offset behind that.
func (s *regoScanner) template(i int, quote byte) int {
	for ; i < len(s.src); i++ {
		switch c := s.src[i]; {
		case c == '\\':
			i++
		case c == quote, c == '\n' && quote == '"':
			s.operand(i + 1)
			return i + 1
		case c == '{':
			s.templates++
			s.push(regoFrame{template: quote})
			return i + 1
		}
	}
	return i
}

// quoted returns the offset behind the string whose content begins at i.
func (s *regoScanner) quoted(i int, quote byte) int {
	for ; i < len(s.src); i++ {
		switch c := s.src[i]; {
		case c == '\\' && quote == '"':
			i++
		case c == quote, c == '\n' && quote == '"':
			return i + 1
		}
	}
	return i
}

// after returns the offset behind the next b.
func (s *regoScanner) after(b byte) int {
	if n := bytes.IndexByte(s.src[s.i:], b); n >= 0 {
		return s.i + n + 1
	}
	return len(s.src)
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
