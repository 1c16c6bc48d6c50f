package polset

import (
	"fmt"
	"path"
	"strings"
)

// The limits on update patterns: HCP Terraform's on their number, and that of
// policies-path on their length.
const (
	maxPatterns     = 100
	maxPatternBytes = 1024
)

// Patterns are the update patterns of a policy set, ready to be matched.
type Patterns []pattern

// A pattern is a glob by its components, of which "**" stands for any number.
type pattern []string

// ParsePatterns reads globs of paths, relative to the root of the repository: *
// and ? stand for what is no slash, [a-z] and [!a-z] for one character, a
// component that is ** for any number of directories, none included, and \ takes
// the meaning from what follows it. A slash at the front changes nothing; one at
// the end stands for all that is below.
func ParsePatterns(globs []string) (Patterns, error) {
	if len(globs) > maxPatterns {
		return nil, fmt.Errorf("there are %d patterns, and at most %d are possible", len(globs), maxPatterns)
	}
	patterns := make(Patterns, len(globs))
	for i, glob := range globs {
		var err error
		if patterns[i], err = parsePattern(glob); err != nil {
			return nil, err
		}
	}
	return patterns, nil
}

func parsePattern(glob string) (pattern, error) {
	if len(glob) > maxPatternBytes {
		return nil, fmt.Errorf("the pattern %q… is longer than %d bytes", glob[:32], maxPatternBytes)
	}
	if strings.ContainsFunc(glob, func(r rune) bool { return r < 0x20 || r == 0x7f || r == 0xfffd }) {
		return nil, fmt.Errorf("the pattern %q contains a character that no path may hold", glob)
	}
	text := strings.TrimPrefix(glob, "/")
	if strings.HasSuffix(text, "/") {
		text += "**"
	}
	p := pattern(strings.Split(text, "/"))
	for i, component := range p {
		switch component {
		case "":
			return nil, fmt.Errorf("the pattern %q has an empty component", glob)
		case ".", "..":
			return nil, fmt.Errorf("the pattern %q must not contain %q: it is relative to the root of the repository", glob, component)
		}
		var err error
		if p[i], err = forMatch(component); err != nil {
			return nil, fmt.Errorf("the pattern %q %w", glob, err)
		}
	}
	return p, nil
}

// forMatch writes a component as path.Match wants it, which negates a class by ^
// and knows no alternatives: those would be taken for a name with braces, and
// never match.
func forMatch(component string) (string, error) {
	b := []byte(component)
	class := false
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '\\':
			i++
		case class:
			class = b[i] != ']'
		case b[i] == '[':
			class = true
			if i+1 < len(b) && b[i+1] == '!' {
				b[i+1] = '^'
			}
		case b[i] == '{', b[i] == '}':
			return "", fmt.Errorf(`has braces; give one pattern for each alternative, or write \%c for the character`, b[i])
		}
	}
	if _, err := path.Match(string(b), ""); err != nil {
		return "", fmt.Errorf("has a component %q that is not complete", component)
	}
	return string(b), nil
}

// Match reports whether a pattern matches a path of the repository, without a
// slash at its front.
func (p Patterns) Match(name string) bool {
	return p.any(name, func(one pattern, at []bool) bool { return at[len(one)] })
}

// MatchBelow reports whether a pattern may match something below a directory.
func (p Patterns) MatchBelow(directory string) bool {
	return p.any(directory, func(one pattern, at []bool) bool {
		for _, here := range at[:len(one)] {
			if here {
				return true
			}
		}
		return false
	})
}

func (p Patterns) any(name string, holds func(pattern, []bool) bool) bool {
	var components []string
	if name != "" {
		components = strings.Split(name, "/")
	}
	for _, one := range p {
		if holds(one, one.follow(components)) {
			return true
		}
	}
	return false
}

// follow says before which of its components a pattern may stand after it has
// matched others, its end being one more place. It takes no longer for many **
// than for one: whoever writes patterns need not be trusted.
func (p pattern) follow(components []string) []bool {
	at, next := make([]bool, len(p)+1), make([]bool, len(p)+1)
	at[0] = true
	p.skip(at)
	for _, c := range components {
		clear(next)
		for i, glob := range p {
			switch {
			case !at[i]:
			case glob == "**":
				next[i] = true
			default:
				ok, err := path.Match(glob, c)
				next[i+1] = next[i+1] || ok && err == nil // it was tried when it was parsed
			}
		}
		p.skip(next)
		at, next = next, at
	}
	return at
}

// skip adds the places behind each ** that stands for nothing.
func (p pattern) skip(at []bool) {
	for i, glob := range p {
		at[i+1] = at[i+1] || at[i] && glob == "**"
	}
}
