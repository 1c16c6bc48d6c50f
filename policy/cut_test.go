package policy

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCut(t *testing.T) {
	for _, character := range []string{"a", "é", "€", "😀"} {
		s := strings.Repeat(character, 10)
		for limit := range len(s) {
			want := strings.Repeat(character, limit/len(character)) + "…"
			if got := cut(s, limit); got != want {
				t.Errorf("%q cut to %d: got %q, want %q", s, limit, got, want)
			}
		}
		if got := cut(s, len(s)); got != s {
			t.Errorf("%q fits: got %q", s, got)
		}
	}
	if got := cut("\xff\xff\xff\xff\xff\xff", 5); !utf8.ValidString(got) {
		t.Errorf("not UTF-8: %q", got)
	}
}
