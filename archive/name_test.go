package archive_test

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
)

var (
	refusedNames = []struct{ label, name string }{
		{"case 46 empty", ""},
		{"case 46 this directory", "."},
		{"case 46 parent directory", ".."},
		{"case 46 parent directory with a space", ".. "},
		{"case 46 parent directory for HFS+", ".\u200c."},
		{"case 46 dots and spaces", ". . ."},
		{"case 46 dot git", ".git"},
		{"case 46 dot git in capitals", ".GiT"},
		{"case 46 short name", "git~1"},
		{"case 46 short name in capitals", "GIT~1"},
		{"case 46 zero-width non-joiner", ".g\u200cit"},
		{"case 46 zero-width joiner first", "\u200d.git"},
		{"case 46 direction mark", ".gi\u200ft"},
		{"case 46 override", ".gi\u202et"},
		{"case 46 isolate-like", ".gi\u206at"},
		{"case 46 byte order mark last", ".GIT\ufeff"},
		{"case 46 short name with joiner", "git\u200d~1"},
		{"case 46 trailing space", ".git "},
		{"case 46 trailing dots", ".git. . ."},
		{"case 46 stream", ".git::$INDEX_ALLOCATION"},
		{"case 46 stream after dot", ".git.:x"},
		{"case 46 stream of short name", "git~1 :x"},
		{"case 46 NUL", "a\x00b"},
		{"case 46 newline", "a\nb"},
		{"case 46 escape", "a\x1bb"},
		{"case 46 delete", "a\x7fb"},
		{"case 46 next line", "a\u0085b"},
		{"case 46 last of C1", "a\u009fb"},
		{"case 47 slash", "a/b"},
		{"case 47 backslash", `a\b`},
		{"case 47 drive", "C:x"},
		{"case 47 bare drive", "z:"},
		{"case 47 not UTF-8", "a\xffb"},
		{"case 47 overlong UTF-8", "a\xc0\xafb"},
		{"case 47 surrogate", "a\xed\xa0\x80b"},
		{"case 47 256 bytes", strings.Repeat("a", 256)},
		{"case 47 300 bytes", strings.Repeat("é", 150)},
	}
	acceptedNames = []struct{ label, name string }{
		{"case 48 aux", "aux.rego"},
		{"case 48 con", "con.rego"},
		{"case 48 bare NUL device", "nul"},
		{"plain", "policy.rego"},
		{"hidden", ".hidden"},
		{"gitignore", ".gitignore"},
		{"gitmodules", ".gitmodules"},
		{"git without dot", "git"},
		{"other short name", "git~2"},
		{"git in a longer name", ".git-policies"},
		{"git with an extension", ".git.rego"},
		{"three dots and more", "...a"},
		{"leading dash", "-rf"},
		{"space inside", "two words.rego"},
		{"colon", "urn:example.rego"},
		{"tilde", "~root"},
		{"umlaut", "größe.rego"},
		{"Chinese", "政策.rego"},
		{"emoji with joiner", "👩\u200d💻.rego"},
		{"255 bytes", strings.Repeat("a", 255)},
	}
)

func TestCheckName(t *testing.T) {
	for _, tc := range refusedNames {
		t.Run(tc.label, func(t *testing.T) {
			quoted := strconv.Quote(tc.name)
			wantFailure(t, archive.CheckName(tc.name), polset.ClassContentInvalid, quoted)
		})
	}
	for _, tc := range acceptedNames {
		t.Run(tc.label, func(t *testing.T) {
			if err := archive.CheckName(tc.name); err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

func TestCheckNameSaysWhy(t *testing.T) {
	for name, why := range map[string]string{
		"":                        "empty",
		"..":                      "only dots and spaces",
		".GIT":                    "as .git",
		"a/b":                     "a slash",
		`a\b`:                     "a backslash",
		"C:x":                     "a drive letter",
		"\x00":                    "a control character",
		"\xff":                    "not valid UTF-8",
		strings.Repeat("a", 1000): "more than 255 bytes",
	} {
		wantFailure(t, archive.CheckName(name), polset.ClassContentInvalid, why)
	}
}

func TestCheckNameBoundsItsMessage(t *testing.T) {
	err := archive.CheckName(strings.Repeat("\x00", 1<<20))
	wantFailure(t, err, polset.ClassContentInvalid)
	if n := len(err.Error()); n > 4096 {
		t.Errorf("the message has %d bytes", n)
	}
}

// FuzzCheckName holds what is accepted against rules written down another way.
func FuzzCheckName(f *testing.F) {
	for _, tc := range refusedNames {
		f.Add(tc.name)
	}
	for _, tc := range acceptedNames {
		f.Add(tc.name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		err := archive.CheckName(name)
		if again := archive.CheckName(name); fmt.Sprint(err) != fmt.Sprint(again) {
			t.Fatalf("two answers: %v and %v", err, again)
		}
		if err != nil {
			wantFailure(t, err, polset.ClassContentInvalid)
			return
		}
		if !fs.ValidPath(name) || !filepath.IsLocal(name) || strings.ContainsAny(name, "/\\\x00\n\r\x7f") {
			t.Errorf("accepted %q, which is no plain name", name)
		}
		if len(name) > 255 || !utf8.ValidString(name) {
			t.Errorf("accepted %q, which file systems cannot hold", name)
		}
		seen := strings.NewReplacer("\u200c", "", "\u200d", "", "\u200e", "", "\u200f", "", "\ufeff", "").Replace(name)
		seen, _, _ = strings.Cut(seen, ":")
		seen = strings.TrimRight(seen, ". ")
		if strings.EqualFold(seen, ".git") || strings.EqualFold(seen, "git~1") || seen == "" && !strings.Contains(name, ":") {
			t.Errorf("accepted %q, which may be read as %q", name, seen)
		}
	})
}
