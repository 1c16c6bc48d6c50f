package policy

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/polset/polset"
)

// checkHCLNesting fails where src nests deeper than HCL's parser may be
// trusted with. HCL's own scanner, which does not recurse, tells brackets
// from those in strings and comments.
func checkHCLNesting(file string, src []byte) error {
	tokens, _ := hclsyntax.LexConfig(src, file, hcl.InitialPos) // the parser reports the same errors
	depth, operators := 0, 0
	for _, token := range tokens {
		switch token.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen,
			hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc,
			hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen,
			hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
			depth--
		case hclsyntax.TokenMinus, hclsyntax.TokenPlus, hclsyntax.TokenStar, hclsyntax.TokenSlash,
			hclsyntax.TokenPercent, hclsyntax.TokenBang, hclsyntax.TokenQuestion, hclsyntax.TokenDot,
			hclsyntax.TokenAnd, hclsyntax.TokenOr, hclsyntax.TokenEqualOp, hclsyntax.TokenNotEqual,
			hclsyntax.TokenLessThan, hclsyntax.TokenLessThanEq,
			hclsyntax.TokenGreaterThan, hclsyntax.TokenGreaterThanEq:
			operators++
		}
		switch {
		case depth > maxConfigNesting:
			return tooDeep(file, start(token.Range), maxConfigNesting)
		case operators > maxConfigOperators:
			return failAt(polset.ClassLimit, file, start(token.Range),
				"this file holds more than %d operators, the limit for a configuration", maxConfigOperators)
		}
	}
	return nil
}

// checkJSONNesting does the same for src that is known to be JSON.
func checkJSONNesting(file string, src []byte) error {
	if at := deeperThan(src, maxConfigNesting); at >= 0 {
		return tooDeep(file, positionAt(src, at), maxConfigNesting)
	}
	return nil
}

// deeperThan is the place of the first bracket in JSON that nests deeper than
// limit, -1 where none does. The JSON need not be valid.
func deeperThan(src []byte, limit int) int {
	depth, quoted := 0, false
	for i := 0; i < len(src); i++ {
		switch c := src[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return i
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return -1
}

func tooDeep(file string, at position, limit int) error {
	return failAt(polset.ClassLimit, file, at,
		"brackets and operators nest deeper than %d here, which is the limit; flatten the expression", limit)
}
