package check

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/polset/polset"
)

func withSecrets(values ...string) polset.CheckSet {
	var s polset.CheckSet
	for i, v := range values {
		s.Parameters = append(s.Parameters, polset.ParameterDraft{Key: fmt.Sprint("k", i), Value: polset.NewSecret(v), Sensitive: true})
	}
	return s
}

func TestHide(t *testing.T) {
	for _, test := range []struct {
		label   string
		secrets []string
		text    string
		want    string
	}{
		{"alone", []string{"hunter2"}, "hunter2", hidden},
		{"in a sentence, twice", []string{"hunter2"}, "not hunter2 but hunter2!", "not (sensitive) but (sensitive)!"},
		{"not there", []string{"hunter2"}, "hunter1", "hunter1"},
		{"nothing secret", nil, "hunter2", "hunter2"},
		{"one in another", []string{"hunter2", "hunter2000"}, "hunter2000 hunter2", "(sensitive) (sensitive)"},
		{"overlapping", []string{"abcd", "cdef"}, "xabcdefx", "x(sensitive)x"},
		{"overlapping itself", []string{"abab"}, "xabababx", "x(sensitive)x"},
		{"what is put in its place is not looked at", []string{"hunter2", "sensitive"}, "hunter2", hidden},
		{"no secret at all", []string{"", " \n"}, "a b\n", "a b\n"},
		{"too short in words", []string{"a", "abc"}, "a cat, abc", "a cat, abc"},
		{"too short alone", []string{"a", "abc"}, "abc ", hidden},
		{"four characters", []string{"wörd"}, "words and wörds", "words and (sensitive)s"},
		{"trimmed", []string{"  hunter2\n"}, "it is hunter2.", "it is (sensitive)."},
		{"in JSON", []string{`a"b<c`}, `{"x":"a\"b<c"} {"x":"a\"b\u003cc"}`, `{"x":"(sensitive)"} {"x":"(sensitive)"}`},
		{"in JSON in JSON", []string{"a\"b\nc"}, `{"x":"{\"y\":\"a\\\"b\\nc\"}"}`, `{"x":"{\"y\":\"(sensitive)\"}"}`},
		{"in quotes of Go", []string{"a\x01\u202eb"}, `"a\x01\u202eb" ` + `"a\u0001` + "\u202eb\"", `"(sensitive)" "(sensitive)"`},
		{"a member of a document", []string{`{"user":"u","password":"hunter2","pins":[12345,7]}`}, "u has hunter2, 12345 and 7", "u has (sensitive), (sensitive) and 7"},
		{"a document spelled otherwise", []string{`["hunter2"]`}, `[ "hunter2" ]`, `[ "(sensitive)" ]`},
		{"cut off", []string{"hunter2-and-more"}, "it is hunter2-a…", "it is (sensitive)…"},
		{"cut off after too little", []string{"hunter2"}, "it is hun…", "it is hun…"},
		{"cut off within a document", []string{`{"password":"hunter2"}`}, "it is hunte…", "it is (sensitive)…"},
		{"all of it and more", []string{strings.Repeat("x", 300)}, strings.Repeat("x", 100) + "…", "(sensitive)…"},
		{"line ends that messages lose", []string{"one\r\ntwo"}, "it is one\ntwo", "it is (sensitive)"},
		{"characters that messages lose", []string{"one\x1btwo"}, "it is one\uFFFDtwo", "it is (sensitive)"},
	} {
		if got := secretsOf(withSecrets(test.secrets...)).hide(test.text); got != test.want {
			t.Errorf("%s: %q, want %q", test.label, got, test.want)
		}
	}
	open := withSecrets("hunter2")
	open.Parameters[0].Sensitive = false
	if got := secretsOf(open).hide("hunter2"); got != "hunter2" {
		t.Errorf("what is not sensitive became %q", got)
	}
}

// No text shows a secret, however it is written and wherever it is cut off.
func TestHideAlways(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chars := rapid.SampledFrom([]rune("ab\"\\\n\t<é\u202e\x01 {}[]…"))
		value := rapid.StringOfN(chars, leastSecret, 12, -1).Filter(func(s string) bool {
			return len([]rune(strings.TrimSpace(s))) >= leastSecret
		}).Draw(t, "value")
		before, after := rapid.StringOf(chars).Draw(t, "before"), rapid.StringOf(chars).Draw(t, "after")
		write := rapid.SampledFrom([]func(string) string{
			func(s string) string { return s },
			strings.TrimSpace,
			strconv.Quote,
			func(s string) string { b, _ := json.Marshal(s); return string(b) },
			func(s string) string { b, _ := json.Marshal(s); b, _ = json.Marshal(string(b)); return string(b) },
		}).Draw(t, "write")
		written := write(value)
		if got := secretsOf(withSecrets(value)).hide(before + written + after); strings.Contains(got, written) {
			t.Fatalf("%q is in %q", written, got)
		}
		n := rapid.IntRange(leastSecret, len(value)).Draw(t, "cut")
		if got := secretsOf(withSecrets(value)).hide(before + value[:n] + cutOff); strings.HasSuffix(got, value[:n]+cutOff) {
			t.Fatalf("%q ends with %q", got, value[:n])
		}
	})
}

// Who writes both parameters and policies must not hold the server up: where a
// slip makes it quadratic, this does not come to its end.
func TestHideIsBounded(t *testing.T) {
	t.Run("a text of one letter", func(t *testing.T) {
		got := secretsOf(withSecrets(strings.Repeat("a", 8<<10))).hide(strings.Repeat("a", maxText))
		if got != hidden {
			t.Errorf("%.100q", got)
		}
	})
	t.Run("a document of many members", func(t *testing.T) {
		var members []string
		for i := range 30_000 {
			members = append(members, fmt.Sprintf("aaaa%d", i))
		}
		document, _ := json.Marshal(members)
		s := secretsOf(withSecrets(string(document), string(document)))
		if got := s.hide("aaaa29999"); got != hidden {
			t.Errorf("%q", got)
		}
		if len(s.forms) > maxForms {
			t.Errorf("%d forms are kept", len(s.forms))
		}
	})
	t.Run("many large values", func(t *testing.T) {
		values := make([]string, polset.MaxParameters)
		for i := range values {
			values[i] = strings.Repeat("\x01", 256<<10) + fmt.Sprint(i)
		}
		s := secretsOf(withSecrets(values...))
		if got := s.hide(strings.Repeat("x", maxText+10)); len(got) != maxText+len(cutOff) {
			t.Errorf("%d bytes", len(got))
		}
	})
}
