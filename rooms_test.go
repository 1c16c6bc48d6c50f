package polset_test

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/polset/polset"

// rooms says who may know whom. Every room may also know the root package.
// What lies in a room's own internal folder is a part of the room.
var rooms = map[string][]string{
	".":             nil,
	"webhook":       nil,
	"ingest":        {"archive", "policy", "lease"},
	"ingest/source": {"archive"},
	"archive":       nil,
	"policy":        nil,
	"policy/worker": {"policy"},
	"check":         {"policy", "lease"},
	"lease":         nil,
	"bundle":        {"archive", "policy"},
	"store":         {"store/queue"},
	"store/queue":   nil,
	"store/object":  nil,
	"githubapp":     nil,
	"api":           nil,
	"web":           nil,
	"cmd/polset": {
		"webhook", "ingest", "ingest/source", "archive", "policy", "policy/worker", "check", "lease", "bundle", "store",
		"store/queue", "store/object", "githubapp", "api", "web",
	},
}

// exempt folders may know everything, and only tests may know them.
var exempt = []string{"internal/polsettest"}

// tools says which rooms may use what comes from elsewhere; what is not listed
// is anybody's.
var tools = []struct {
	what    string
	imports []string // whole path elements
	rooms   []string
}{
	{"go-git", []string{"github.com/go-git"}, []string{"ingest/source"}},
	{"River", []string{"github.com/riverqueue"}, []string{"store/queue"}},
	{
		"SQL",
		[]string{"database/sql", "github.com/jackc/pgx", "modernc.org/sqlite", "github.com/pressly/goose"},
		[]string{"store", "store/queue"},
	},
	{"the AWS SDK", []string{"github.com/aws"}, []string{"store/object"}},
	{"Echo", []string{"github.com/labstack/echo"}, []string{"webhook", "api", "web", "cmd/polset"}},
	{
		// Those that serve it, and those that are a client of somebody.
		"HTTP",
		[]string{"net/http"},
		[]string{"webhook", "api", "web", "cmd/polset", "ingest/source", "githubapp", "store/object"},
	},
	{
		"the network",
		[]string{"net"},
		[]string{
			"webhook", "api", "web", "cmd/polset", "ingest/source", "githubapp", "store/object",
			"store", "store/queue",
		},
	},
	{"GitHub's client", []string{"github.com/google/go-github"}, []string{"webhook", "githubapp"}},
	{"OPA", []string{"github.com/open-policy-agent"}, []string{"policy"}},
	{"HCL", []string{"github.com/hashicorp/hcl"}, []string{"policy"}},
	{"JSON:API clients", []string{"github.com/hashicorp/go-tfe", "github.com/hashicorp/jsonapi"}, nil},
	{"the command line", []string{"github.com/alecthomas/kong", "flag"}, []string{"cmd/polset"}},
}

// noWords are names that say nothing about what is inside.
var noWords = []string{"util", "utils", "common", "helper", "helpers", "misc"}

// TestRooms reads the imports of every file in the module, whatever its build
// constraints. It does not ask go list, whose answer may be a cached one.
func TestRooms(t *testing.T) {
	found, err := violations(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		t.Error(v)
	}
}

// TestRoomsAreWatched shows that each rule is one.
func TestRoomsAreWatched(t *testing.T) {
	for _, test := range []struct {
		file, imports string
		want          string // "" where all is well
	}{
		{"failure.go", `"errors"`, ""},
		{"failure.go", `"go.uber.org/zap"`, "failure.go: the root package may import the standard library only, not go.uber.org/zap"},
		{"failure.go", module + "/archive", "failure.go: the root package may import the standard library only, not " + module + "/archive"},
		{"failure.go", "os/exec", ""},
		{"archive/write.go", module, ""},
		{"archive/write.go", "archive/tar", ""},
		{"archive/write.go", module + "/policy", "archive/write.go: archive may not import policy"},
		{"archive/write.go", "net/http", "archive/write.go: archive may not use HTTP (net/http)"},
		{"archive/write.go", "net", "archive/write.go: archive may not use the network (net)"},
		{"archive/write.go", "net/url", ""},
		{"archive/write.go", "database/sql", "archive/write.go: archive may not use SQL (database/sql)"},
		{"policy/rego.go", "github.com/open-policy-agent/opa/v1/ast", ""},
		{"policy/rego.go", "github.com/go-git/go-git/v5/plumbing", "policy/rego.go: policy may not use go-git (github.com/go-git/go-git/v5/plumbing)"},
		{"ingest/run.go", module + "/archive", ""},
		{"ingest/run.go", module + "/policy", ""},
		{"ingest/run.go", module + "/ingest/source", "ingest/run.go: ingest may not import ingest/source"},
		{"ingest/run.go", module + "/store", "ingest/run.go: ingest may not import store"},
		{"ingest/run_test.go", module + "/store", ""},
		{"ingest/source/fetch.go", "github.com/go-git/go-git/v5/plumbing", ""},
		{"ingest/source/fetch.go", module + "/archive", ""},
		{"ingest/source/fetch.go", module + "/policy", "ingest/source/fetch.go: ingest/source may not import policy"},
		{"ingest/source/internal/wire/wire.go", "github.com/go-git/go-git/v5/plumbing", ""},
		{"ingest/source/internal/wire/wire.go", module + "/ingest", "ingest/source/internal/wire/wire.go: ingest/source may not import ingest"},
		{"check/run.go", module + "/policy", ""},
		{"check/run.go", module + "/lease", ""},
		{"lease/loop.go", module + "/ingest", "lease/loop.go: lease may not import ingest"},
		{"check/run.go", module + "/archive", "check/run.go: check may not import archive"},
		{"store/push.go", module + "/store/queue", ""},
		{"store/push.go", module + "/store/internal/rows", ""},
		{"store/push.go", "github.com/riverqueue/river", "store/push.go: store may not use River (github.com/riverqueue/river)"},
		{"store/push.go", module + "/api", "store/push.go: store may not import api"},
		{"store/queue/queue.go", "github.com/riverqueue/river", ""},
		{"store/queue/queue.go", module + "/store", "store/queue/queue.go: store/queue may not import store"},
		{"store/queue/queue.go", module + "/store/internal/rows", "store/queue/queue.go: store/queue may not import store"},
		{"store/object/s3.go", "github.com/aws/aws-sdk-go-v2/service/s3", ""},
		{"store/object/s3.go", "github.com/jackc/pgx/v5", "store/object/s3.go: store/object may not use SQL (github.com/jackc/pgx/v5)"},
		{"api/sets.go", "github.com/labstack/echo/v4", ""},
		{"api/sets.go", module + "/web", "api/sets.go: api may not import web"},
		{"web/pages.go", module + "/api", "web/pages.go: web may not import api"},
		{"githubapp/token.go", "github.com/labstack/echo/v4", "githubapp/token.go: githubapp may not use Echo (github.com/labstack/echo/v4)"},
		{"cmd/polset/serve.go", module + "/store/object", ""},
		{"cmd/polset/serve.go", module + "/internal/polsettest", "cmd/polset/serve.go: only tests may import internal/polsettest"},
		{"cmd/polset/serve_test.go", module + "/internal/polsettest", ""},
		{"internal/polsettest/services/main.go", module + "/internal/polsettest", ""},
		{"internal/polsettest/git.go", "github.com/jackc/pgx/v5", ""},
		{"garage/car.go", "errors", "garage/car.go: there is no room garage"},
		{"garage/car_test.go", "errors", "garage/car_test.go: there is no room garage"},
		{"store/rows/rows.go", "errors", "store/rows/rows.go: there is no room store/rows"},
		{"api/sets.go", module + "/garage", "api/sets.go: api may not import garage"},
		{"api/utils.go", "errors", "api/utils.go: the file's name says nothing"},
		{"api/page_helpers_test.go", "errors", "api/page_helpers_test.go: the file's name says nothing"},
		{"api/internal/common/x.go", "errors", "api/internal/common/x.go: package common's name says nothing"},
		{"api/testdata/utils.go", "errors", ""},
	} {
		t.Run(test.file+" imports "+test.imports, func(t *testing.T) {
			source := fmt.Sprintf("package %s\n\nimport _ %q\n", path.Base(path.Dir(test.file)), strings.Trim(test.imports, `"`))
			if path.Dir(test.file) == "." {
				source = strings.Replace(source, "package .", "package polset", 1)
			}
			got, err := violations(fstest.MapFS{test.file: {Data: []byte(source)}})
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			if test.want != "" {
				want = []string{test.want}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
}

// violations lists every breach of the rules, by file.
func violations(module fs.FS) ([]string, error) {
	var found []string
	err := fs.WalkDir(module, ".", func(name string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // somebody removed it meanwhile
		}
		if err != nil {
			return err
		}
		base := path.Base(name)
		if entry.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata") {
				return fs.SkipDir // the go command does not look there either
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		source, err := fs.ReadFile(module, name)
		if err != nil {
			return err
		}
		file, err := inspect(name, source)
		found = append(found, file...)
		return err
	})
	return found, err
}

// inspect lists the breaches of one file.
func inspect(name string, source []byte) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	var found []string
	breach := func(format string, args ...any) {
		found = append(found, name+": "+fmt.Sprintf(format, args...))
	}
	for word := range strings.SplitSeq(strings.TrimSuffix(path.Base(name), ".go"), "_") {
		if slices.Contains(noWords, strings.ToLower(word)) {
			breach("the file's name says nothing")
		}
	}
	if slices.Contains(noWords, strings.TrimSuffix(file.Name.Name, "_test")) {
		breach("package %s's name says nothing", file.Name.Name)
	}
	room := roomOf(path.Dir(name))
	if isExempt(room) {
		return found, nil
	}
	known, ok := rooms[room]
	if !ok {
		breach("there is no room %s", room)
		return found, nil
	}
	if strings.HasSuffix(name, "_test.go") {
		return found, nil
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		own, ours := inModule(imported)
		switch {
		case room == ".":
			if ours || strings.Contains(strings.Split(imported, "/")[0], ".") {
				breach("the root package may import the standard library only, not %s", imported)
			}
		case ours && isExempt(own):
			breach("only tests may import %s", own)
		case ours:
			if own != "." && own != room && !slices.Contains(known, own) {
				breach("%s may not import %s", room, own)
			}
		default:
			for _, tool := range tools {
				if matches(tool.imports, imported) && !slices.Contains(tool.rooms, room) {
					breach("%s may not use %s (%s)", room, tool.what, imported)
				}
			}
		}
	}
	return found, nil
}

// inModule returns the room of an import path, if it is one of ours.
func inModule(imported string) (string, bool) {
	if imported == module {
		return ".", true
	}
	dir, ok := strings.CutPrefix(imported, module+"/")
	return roomOf(dir), ok
}

// roomOf leaves out the internal folder of a room, which belongs to it.
func roomOf(dir string) string {
	if room, _, ok := strings.Cut(dir, "/internal/"); ok {
		return room
	}
	return dir
}

func isExempt(room string) bool {
	for _, e := range exempt {
		if room == e || strings.HasPrefix(room, e+"/") {
			return true
		}
	}
	return false
}

// matches compares whole elements, but net means package net alone: net/url
// and net/netip speak to nobody.
func matches(imports []string, imported string) bool {
	for _, i := range imports {
		if imported == i || i != "net" && strings.HasPrefix(imported, i+"/") {
			return true
		}
	}
	return false
}
