package polset_test

import (
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
)

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern  string
		yes, not string // paths, by spaces
	}{
		{"*.rego", "a.rego .rego", "a.rego.txt p/a.rego a.REGO"},
		{"policies/**", "policies/a.rego policies/a/b/c policies", "policy/a policies2/a a/policies/b"},
		{"/policies/**", "policies/a.rego policies/a/b/c", "a/policies/b"},
		{"policies/", "policies/a policies/a/b", "policies2/a a/policies/b"},
		{"policies", "policies", "policies/a"},
		{"**", "a a/b a/b/c", ""},
		{"**/*", "a a/b a/b/c", ""},
		{"*", "a", "a/b"},
		{"**/*.sentinel", "a.sentinel p/a.sentinel p/q/a.sentinel", "a.hcl p/sentinel"},
		{"a/**/z", "a/z a/b/z a/b/c/z", "a az a/b/zz z a/z/y"},
		{"a/**/b/**/c", "a/b/c a/x/b/y/c a/b/b/c a/b/c/b/c", "a/c a/b a/b/c/d b/c"},
		{"**/**/a", "a b/a b/c/a", "ab a/b"},
		{"a**", "a ab abc", "a/b b"},
		{"a/**.rego", "a/x.rego", "a/b/x.rego"},
		{"a?c", "abc a.c aéc", "ac abbc a/c"},
		{"[abc]x", "ax cx", "dx x"},
		{"[!abc]x", "dx !x", "ax cx"},
		{"[^abc]x", "dx", "ax"},
		{"[a!]x", "ax !x", "bx"},
		{"[{]", "{", "a"},
		{`\*`, "*", "a"},
		{`\[!a]`, "[!a]", "b"},
		{`\{a,b\}`, "{a,b}", "a"},
		{"deploy/*/main.tf", "deploy/prod/main.tf", "deploy/main.tf deploy/a/b/main.tf"},
		{"größe/*.rego", "größe/ä.rego", "grösse/ä.rego"},
	} {
		p, err := polset.ParsePatterns([]string{"never/matches", c.pattern})
		if err != nil {
			t.Errorf("%q: %v", c.pattern, err)
			continue
		}
		for _, name := range strings.Fields(c.yes) {
			if !p.Match(name) {
				t.Errorf("%q does not match %q", c.pattern, name)
			}
			for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
				if !p.MatchBelow(dir) {
					t.Errorf("%q matches %q, but nothing below %q", c.pattern, name, dir)
				}
			}
			if !p.MatchBelow("") {
				t.Errorf("%q matches nothing at all", c.pattern)
			}
		}
		for _, name := range strings.Fields(c.not) {
			if p.Match(name) {
				t.Errorf("%q matches %q", c.pattern, name)
			}
		}
	}
	if p, err := polset.ParsePatterns(nil); err != nil || p.Match("a") || p.MatchBelow("") {
		t.Errorf("no patterns: %v", err)
	}
}

func TestPatternsPrune(t *testing.T) {
	for _, c := range []struct {
		pattern  string
		yes, not string // directories
	}{
		{"policies/prod/**", "policies policies/prod policies/prod/a/b", "policies/dev docs policies2"},
		{"*.rego", "", "a a.rego"},
		{"*/*.rego", "a", "a/b"},
		{"a/*/c/x", "a a/b a/b/c", "b a/b/d a/b/c/x"},
		{"**/x", "a a/b x", ""},
		{"a/**/x", "a a/b/c", "b"},
	} {
		p, err := polset.ParsePatterns([]string{c.pattern})
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range strings.Fields(c.yes) {
			if !p.MatchBelow(dir) {
				t.Errorf("%q is not looked for below %q", c.pattern, dir)
			}
		}
		for _, dir := range strings.Fields(c.not) {
			if p.MatchBelow(dir) {
				t.Errorf("%q is looked for below %q", c.pattern, dir)
			}
		}
	}
}

func TestPatternsRefused(t *testing.T) {
	for bad, part := range map[string]string{
		"":                        "empty component",
		"/":                       "empty component",
		"//a":                     "empty component",
		"a//b":                    "empty component",
		"../a":                    `".."`,
		"a/./b":                   `"."`,
		"./a":                     `"."`,
		"[a":                      `"[a" that is not complete`,
		"a/[b/c]":                 "not complete",
		"[]a]":                    "not complete",
		`a\`:                      "not complete",
		`a\/b`:                    "not complete",
		"x*[":                     "not complete",
		"{a,b}":                   "braces",
		"a/*.{rego,hcl}":          "braces",
		"a}":                      "braces",
		"a\x00b":                  "character",
		"a\nb":                    "character",
		"a\xffb":                  "character",
		strings.Repeat("a", 1025): "longer than 1024 bytes",
	} {
		_, err := polset.ParsePatterns([]string{"good", bad})
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%.40q: got %v, want %q", bad, err, part)
		}
	}
	if _, err := polset.ParsePatterns([]string{strings.Repeat("a", 1024)}); err != nil {
		t.Error(err)
	}
	many := slices.Repeat([]string{"a"}, 101)
	if _, err := polset.ParsePatterns(many); err == nil || !strings.Contains(err.Error(), "at most 100") {
		t.Errorf("got %v, want the limit", err)
	}
	if _, err := polset.ParsePatterns(many[:100]); err != nil {
		t.Error(err)
	}
}

// TestHostilePatterns takes years where a matcher goes back for every star.
func TestHostilePatterns(t *testing.T) {
	p, err := polset.ParsePatterns([]string{
		strings.Repeat("**/a/", 200) + "b", strings.Repeat("*a", 500) + "b", strings.Repeat("**/", 340) + "z",
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	go func() {
		done <- p.Match(strings.TrimSuffix(strings.Repeat("a/", 500), "/")) || p.Match(strings.Repeat("a", 4000))
	}()
	select {
	case matched := <-done:
		if matched {
			t.Error("it matches")
		}
	case <-time.After(time.Minute):
		t.Fatal("it does not come to its end")
	}
}

func FuzzPatterns(f *testing.F) {
	for _, s := range []string{"**/a", "[!a]/*", "a/**/b", `\*`, "a?/", "{"} {
		f.Add(s, "a/b/c")
	}
	f.Fuzz(func(t *testing.T, glob, name string) {
		p, err := polset.ParsePatterns([]string{glob})
		if err != nil {
			return
		}
		if name = strings.Trim(path.Clean("/"+name), "/"); name == "" || !p.Match(name) {
			return
		}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if !p.MatchBelow(dir) {
				t.Errorf("%q matches %q, but nothing below %q", glob, name, dir)
			}
		}
	})
}
