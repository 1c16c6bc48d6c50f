package policy_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/tools/txtar"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

// seeds returns the content of every fixture's files that end in suffix.
func seeds(f *testing.F, suffix string) [][]byte {
	f.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	var found [][]byte
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, member := range archive.Files {
			if strings.HasSuffix(member.Name, suffix) {
				found = append(found, member.Data)
			}
		}
	}
	return found
}

// FuzzRead feeds one content to all three configuration files.
func FuzzRead(f *testing.F) {
	for _, suffix := range []string{".hcl", ".json"} {
		for _, seed := range seeds(f, suffix) {
			f.Add(seed)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		for file, kind := range map[string]polset.Kind{
			"set/policies.hcl": polset.KindOPA, "set/policies.json": polset.KindOPA, "set/sentinel.hcl": polset.KindSentinel,
		} {
			set, err := policy.Read(repo(file, string(src)), "set", kind)
			if err != nil {
				checkSound(t, err)
				continue
			}
			if len(set.Policies) == 0 || len(set.Summaries()) != len(set.Policies) {
				t.Errorf("%s: a set without policies: %+v", file, set)
			}
			for _, name := range set.Outside() {
				if strings.HasPrefix(name, "../") || strings.HasPrefix(name, "/") || strings.HasPrefix(name, "set/") {
					t.Errorf("%s: outside names %q", file, name)
				}
			}
		}
	})
}

// FuzzValidate feeds one content to OPA.
func FuzzValidate(f *testing.F) {
	for _, seed := range seeds(f, ".rego") {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		err := check(context.Background(), policy.Limits{}, repo("policies.hcl", oneQuery, "b.rego", "package a\ndeny := []", "c.rego", string(src)), polset.KindOPA)
		if err != nil {
			checkSound(t, err)
		}
	})
}

// checkSound checks what holds for every failure of content.
func checkSound(t *testing.T, err error) {
	t.Helper()
	var failure *polset.Failure
	var invalid *policy.Invalid
	if !errors.As(err, &failure) || !errors.As(err, &invalid) || len(invalid.Diagnostics) == 0 {
		t.Fatalf("not a failure with diagnostics: %v", err)
	}
	if strings.Contains(err.Error(), "panic: ") {
		t.Errorf("a parser broke down: %v", err)
	}
	if len(failure.Message) > 4<<10 || !utf8.ValidString(failure.Message) {
		t.Errorf("message of %d bytes: %q", len(failure.Message), failure.Message)
	}
	for _, d := range invalid.Diagnostics {
		if d.File == "" || d.Line < 1 || d.Column < 1 || d.Message == "" || strings.ContainsAny(d.Message, "\r\n") {
			t.Errorf("diagnostic %+v", d)
		}
	}
}
