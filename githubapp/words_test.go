package githubapp

import (
	"encoding/json"
	"fmt"
	"html"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/zap/zaptest/observer"

	"github.com/polset/polset"
)

func holds(t *testing.T, s, part string) {
	t.Helper()
	if !strings.Contains(s, part) {
		t.Errorf("%q does not hold %q", s, part)
	}
}

func noneOf(t *testing.T, s string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if secret != "" && strings.Contains(s, secret) {
			t.Errorf("%q shows the secret %.20q…", s, secret)
		}
	}
}

// shown is everything that an entry puts into a log.
func shown(entry observer.LoggedEntry) string {
	fields, err := json.Marshal(entry.ContextMap())
	if err != nil {
		fields = fmt.Append(nil, entry.ContextMap())
	}
	return entry.Message + " " + string(fields)
}

func unescape(s string) string { return html.UnescapeString(s) }

// ignoreTime leaves out when an App was made.
func ignoreTime() cmp.Option { return cmpopts.IgnoreFields(polset.App{}, "CreatedAt") }
