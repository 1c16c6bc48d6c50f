package main

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// What policies say is written by others, and so is the plan that they quote:
// nothing of it may reach a terminal as a command, or the log of a CI job as an
// instruction to its runner.

// runnerCommand is what runners obey anywhere in a line: ##[…] of GitHub's
// older ones, ##vso[…] of Azure's, ##teamcity[…].
var runnerCommand = regexp.MustCompile(`##([A-Za-z-]*\[)`)

// plain makes one line of s that is safe to print.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t':
			return ' '
		case hidden(r):
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = runnerCommand.ReplaceAllString(strings.TrimSpace(s), "# #$1")
	if rest, ok := strings.CutPrefix(s, "::"); ok { // GitHub's, at the begin of a line
		s = ": :" + rest
	}
	return s
}

// plainLines is plain for a text of several lines.
func plainLines(s string) []string {
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")), "\n")
	for i, line := range lines {
		lines[i] = plain(line)
	}
	return lines
}

// hidden reports whether r steers what shows it: control characters, direction
// marks, whatever has no width, and separators of lines.
func hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) || r == '\uFFFE' || r == '\uFFFF'
}

// escapeJSON writes the hidden characters of a JSON document, and what runners
// look for, as JSON's own escapes: its content stays what it is.
func escapeJSON(document []byte) []byte {
	var out strings.Builder
	out.Grow(len(document))
	s := string(document)
	for i, r := range s {
		switch {
		case r == '\n': // between the values; those of strings are escaped already
			out.WriteByte('\n')
		case r == '#' && i > 0 && s[i-1] == '#':
			out.WriteString(`\u0023`)
		case hidden(r):
			if high, low := utf16.EncodeRune(r); high != unicode.ReplacementChar {
				fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
			} else {
				fmt.Fprintf(&out, `\u%04x`, r)
			}
		default:
			out.WriteRune(r)
		}
	}
	return []byte(out.String())
}
