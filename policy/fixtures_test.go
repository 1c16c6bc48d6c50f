package policy_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

// A fixture is a repository in txtar form whose comment says what is
// expected of it, a line each:
//
//	kind opa            the kind of the set
//	dir aws             where it lies
//	read CLASS          Read fails with the class
//	validate CLASS      Validate fails with the class
//	! file:line:col: …  a diagnostic, in order
//	outside FILES       what Outside returns
//	policy NAME LEVEL QUERY
//
// Whatever else the comment says is for people.
type fixture struct {
	fsys           fstest.MapFS
	kind           polset.Kind
	dir            string
	read, validate polset.Class
	diagnostics    []string
	outside        []string
	policies       []string
}

func parseFixture(t *testing.T, file string) fixture {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f := fixture{fsys: fstest.MapFS{}}
	for _, member := range archive.Files {
		f.fsys[member.Name] = &fstest.MapFile{Data: member.Data, Mode: 0o644}
	}
	for line := range strings.Lines(string(archive.Comment)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "kind":
			f.kind = polset.Kind(value)
		case "dir":
			f.dir = value
		case "read":
			f.read = polset.Class(value)
		case "validate":
			f.validate = polset.Class(value)
		case "!":
			f.diagnostics = append(f.diagnostics, value)
		case "outside":
			f.outside = strings.Fields(value)
		case "policy":
			f.policies = append(f.policies, value)
		}
	}
	return f
}

func TestFixtures(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("fixtures: %v, %v", files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		if rest, ok := strings.CutPrefix(name, "case-"); ok {
			name = "case " + strings.ReplaceAll(rest, "-", " ")
		}
		t.Run(name, func(t *testing.T) {
			f := parseFixture(t, file)
			set, err := policy.Read(f.fsys, f.dir, f.kind)
			if f.read != "" || err != nil {
				checkFailure(t, err, f.read, f.diagnostics)
				return
			}
			if f.policies != nil {
				checkPolicies(t, set, f.policies)
			}
			if got := set.Outside(); !slices.Equal(got, f.outside) {
				t.Errorf("outside: got %v, want %v", got, f.outside)
			}
			checkFailure(t, set.Validate(context.Background(), f.fsys), f.validate, f.diagnostics)
		})
	}
}

func checkPolicies(t *testing.T, set *policy.Set, want []string) {
	t.Helper()
	var got []string
	for _, s := range set.Summaries() {
		got = append(got, strings.TrimSpace(s.Name+" "+s.EnforcementLevel+" "+strings.TrimSpace(s.Query)))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("policies (-want +got):\n%s", diff)
	}
}

// checkFailure compares err with a failure of class that consists of the
// given diagnostics; class "" is no error.
func checkFailure(t *testing.T, err error, class polset.Class, diagnostics []string) {
	t.Helper()
	if class == "" {
		if err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
		return
	}
	var failure *polset.Failure
	if !errors.As(err, &failure) {
		t.Fatalf("got %v, want a failure of class %s", err, class)
	}
	if failure.Class != class {
		t.Errorf("got class %s, want %s", failure.Class, class)
	}
	if failure.Retry {
		t.Error("a failure of the content is marked for another attempt")
	}
	var invalid *policy.Invalid
	if !errors.As(err, &invalid) {
		t.Fatalf("%v holds no *Invalid", err)
	}
	if diff := cmp.Diff(invalid.Diagnostics, failure.Diagnostics); diff != "" {
		t.Errorf("the failure's diagnostics (-want +got):\n%s", diff)
	}
	var got []string
	for _, d := range invalid.Diagnostics {
		got = append(got, fmt.Sprintf("%s:%d:%d: %s", d.File, d.Line, d.Column, d.Message))
	}
	if diff := cmp.Diff(diagnostics, got); diff != "" {
		t.Errorf("diagnostics (-want +got):\n%s", diff)
	}
	if len(got) > 0 && !strings.HasPrefix(failure.Message, got[0]) {
		t.Errorf("message %q does not begin with %q", failure.Message, got[0])
	}
}
