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

// A meaning is what a delivery asks for: one of the four, or nothing for a
// reason.
type meaning struct {
	push         *polset.Push
	pull         *polset.PullRequest
	repository   *polset.RepositoryChange
	installation *polset.InstallationChange
	ignored      string
	sender       string
	link         string // where the repository says it is, with its host

	// For the log, also of what was refused; printable.
	action, account, repo, ref, commit string
}

// read says what a signed body means under an event's name. The name itself is
// not signed, so a body means what its event says only where it has that
// event's shape. The meaning is filled as far as the body was understood when
// there is an error.
func read(event string, raw []byte) (meaning, error) {
	if err := wellFormed(raw); err != nil {
		return meaning{}, refuse(http.StatusBadRequest, codeMalformed, err.Error())
	}
	switch event {
	case "push":
		return readPush(raw)
	case "pull_request":
		return readPullRequest(raw)
	case "repository":
		return readRepository(raw)
	case "installation":
		return readInstallation(raw)
	case "installation_repositories":
		return readInstallationRepositories(raw)
	case "installation_target":
		return readInstallationTarget(raw)
	}
	return readIgnored(event, raw)
}

func readIgnored(event string, raw []byte) (meaning, error) {
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

// heardBy narrows what a delivery means to what its hook may say, and returns
// the hosts that it says it for. Whoever knows the secret of one repository's
// hook speaks for no installation. Names and numbers mean something on their
// own host only.
func (m *meaning) heardBy(h hook) (httpURLs []string) {
	if h.id != polset.HookGitHubApp {
		if m.installation != nil {
			m.installation, m.ignored = nil, "only the hook of the GitHub App is told of installations"
		}
		if m.repository != nil {
			m.repository.Installation = 0
		}
		if m.pull != nil {
			m.pull.Installation = 0
		}
	}
	if m.installation != nil {
		m.installation.Installation.HTTPURL = hostAmong(h.httpURLs, m.installation.Installation.HTMLURL)
	}
	if h.id != polset.HookGitHubApp || m.push == nil && m.pull == nil && m.repository == nil {
		return h.httpURLs
	}
	httpURLs = hostsOf(h.httpURLs, m.link)
	if len(httpURLs) == 0 && len(h.httpURLs) > 0 {
		m.push, m.pull, m.repository = nil, nil, nil
		m.ignored = "the repository is at none of polset's hosts"
	}
	return httpURLs
}

// An account is a GitHub user as payloads name one. It may be null.
type account struct {
	ID    int64  `json:"id"`
	Login string `json:"login"`
}

// decode fills v with the members that it names. encoding/json steps over the
// others, such as two thousand commits, without keeping them.
func decode(raw []byte, v any) error {
	err := json.Unmarshal(raw, v)
	var mismatch *json.UnmarshalTypeError
	var refused *refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused): // by a type of ours
		return refused
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
