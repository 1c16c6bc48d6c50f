package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/go-github/v60/github"

	"github.com/polset/polset"
)

// A meaning is what a delivery asks for: a push, or nothing for a reason.
type meaning struct {
	push    *polset.Push
	ignored string
	sender  string

	// For the log, also of what was refused; printable.
	repo, ref, commit string
}

// read says what a signed body means under an event's name. The name itself is
// not signed, so a push is what has the shape of one. The meaning is filled as
// far as the body was understood when there is an error.
func read(event string, raw []byte) (meaning, error) {
	if err := wellFormed(raw); err != nil {
		return meaning{}, refuse(http.StatusBadRequest, codeMalformed, err.Error())
	}
	if event == "push" {
		return readPush(raw)
	}
	var b struct {
		Sender account `json:"sender"`
	}
	if err := decode(raw, &b); err != nil {
		return meaning{}, err
	}
	m := meaning{sender: printable(b.Sender.Login), ignored: "polset does not act on this event"}
	switch {
	case event == "ping":
		m.ignored = "ping: the hook works"
	case github.EventForType(event) == nil:
		m.ignored = "polset does not know this event"
	}
	return m, nil
}

// An account is a GitHub user as payloads name one. It may be null.
type account struct {
	Login string `json:"login"`
}

// decode fills v with the members that it names. encoding/json steps over the
// others, such as two thousand commits, without keeping them.
func decode(raw []byte, v any) error {
	err := json.Unmarshal(raw, v)
	var mismatch *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mismatch):
		// Not the error itself: it quotes numbers, whole ones.
		return unprocessable(fmt.Sprintf("the body is not that of the event: %s is a JSON %s", mismatch.Field, printable(mismatch.Value)))
	default:
		return refuse(http.StatusBadRequest, codeMalformed, "the body is not JSON").because(err)
	}
}

// maxDepth is how deep a payload may nest. GitHub's reach about ten;
// encoding/json would follow ten thousand.
const maxDepth = 100

// wellFormed bounds what the decoder will be given: an object that does not
// nest too deep. It reads each byte once and keeps nothing.
func wellFormed(raw []byte) error {
	if start := bytes.TrimLeft(raw, " \t\r\n"); len(start) == 0 || start[0] != '{' {
		return errors.New("the body is not a JSON object")
	}
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++ // whatever was escaped does not end the string
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("the body nests deeper than %d levels", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

const maxPrintable = 256

// printable returns s so that it can be shown and stored anywhere: cut after
// 256 bytes, with everything that does not print (controls, bidirectional
// marks) escaped as in a Go string.
func printable(s string) string {
	cut := ""
	if len(s) > maxPrintable {
		end := maxPrintable
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s, cut = s[:end], "…"
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String() + cut
}
