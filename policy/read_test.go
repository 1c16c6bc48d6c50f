package policy_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

func TestNoConfiguration(t *testing.T) {
	for _, c := range []struct {
		name string
		fsys fstest.MapFS
		dir  string
		kind polset.Kind
		want string
	}{
		{"case 45 opa", repo("x/a.rego", "package a"), "x", polset.KindOPA, "There is no policies.hcl or policies.json in x. Add one, or correct policies-path."},
		{"case 45 sentinel", repo("a", ""), "", polset.KindSentinel, "There is no sentinel.hcl in the root directory. Add one there, or, where the policies lie elsewhere in a repository, set policies-path."},
		{"the other kind", repo("x/sentinel.hcl", ""), "x", polset.KindOPA, "There is no policies.hcl or policies.json in x. There is a sentinel.hcl, though: is the kind of this policy set sentinel?"},
		{"the other other kind", repo("policies.hcl", ""), "", polset.KindSentinel, "There is no sentinel.hcl in the root directory. There is a policies.hcl, though: is the kind of this policy set opa?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := policy.Read(c.fsys, c.dir, c.kind)
			var failure *polset.Failure
			if !errors.As(err, &failure) || failure.Class != polset.ClassNoPolicies || failure.Message != c.want {
				t.Errorf("got %v, want no-policies: %s", err, c.want)
			}
		})
	}
}

func TestReadOtherErrors(t *testing.T) {
	if _, err := policy.Read(repo("a", ""), "", "cue"); err == nil || errors.As(err, new(*polset.Failure)) {
		t.Errorf("unknown kind: got %v", err)
	}
	broken := brokenFS{repo("policies.hcl", oneQuery)}
	if _, err := policy.Read(broken, "", polset.KindOPA); !errors.Is(err, errBroken) || errors.As(err, new(*polset.Failure)) {
		t.Errorf("broken file system: got %v", err)
	}
	_, err := policy.Read(fstest.MapFS{"policies.hcl": {Mode: fs.ModeDir | 0o755}}, "", polset.KindOPA)
	wantFailure(t, err, polset.ClassPolicyInvalid, "policies.hcl:1:1: this is not a regular file")
}

var errBroken = errors.New("input/output error")

// brokenFS knows its files and cannot open them.
type brokenFS struct{ fstest.MapFS }

func (brokenFS) Open(string) (fs.File, error) { return nil, errBroken }

func TestReadTakesAnySpellingOfTheRoot(t *testing.T) {
	for _, dir := range []string{"", ".", "/", "./"} {
		set, err := policy.Read(repo("policies.hcl", oneQuery), dir, polset.KindOPA)
		if err != nil || set.Dir != "" || set.Config != "policies.hcl" {
			t.Errorf("%q: got %+v, %v", dir, set, err)
		}
	}
}

func TestReadOpensNothingElse(t *testing.T) {
	fsys := repo("aws/sentinel.hcl", `
policy "a" {}
import "module" "x" { source = "../common/x.sentinel" }
import "module" "again" { source = "./../common/./x.sentinel" }
import "static" "y" { source = "../../repo/y.json" }
`)
	set, err := policy.Read(fsys, "aws/", polset.KindSentinel)
	if err == nil {
		t.Fatalf("got %+v, want a failure: ../../repo climbs out", set)
	}
	wantFailure(t, err, polset.ClassPolicyInvalid, `aws/sentinel.hcl:5:32: the source "../../repo/y.json" of static "y" climbs out of the repository`)

	fsys = repo("sets/aws/sentinel.hcl", `
policy "a" {}
policy "b" { source = "../aws/b.sentinel" }
policy "c" { source = "../aws-old/c.sentinel" }
import "module" "x" { source = "../../common/x.sentinel" }
import "module" "again" { source = "./../../common/./x.sentinel" }
`)
	set, err = policy.Read(fsys, "sets/aws", polset.KindSentinel)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(set.Outside(), " "); got != "common/x.sentinel sets/aws-old/c.sentinel" {
		t.Errorf("outside: %s", got)
	}
	if set.Policies[0].Source != "./a.sentinel" || len(set.Modules) != 2 || set.Modules[0].Source != "../../common/x.sentinel" {
		t.Errorf("got %+v, %+v", set.Policies, set.Modules)
	}
}

// TestCase42Links runs on a real directory and in memory, where the file
// system follows links by itself or does not.
func TestCase42Links(t *testing.T) {
	for _, c := range []struct {
		name  string
		kind  polset.Kind
		files []string
		links map[string]string
		want  string
	}{
		{"case 42 a link to the configuration", polset.KindOPA, []string{"real/policies.hcl", oneQuery, "a.rego", "package a\ndeny := []"}, map[string]string{"policies.hcl": "real/policies.hcl"}, ""},
		{
			"case 42 a link to a configuration that is an LFS pointer", polset.KindOPA,
			[]string{"real/policies.hcl", "version https://git-lfs.github.com/spec/v1\n"},
			map[string]string{"policies.hcl": "real/policies.hcl"},
			"lfs-unsupported: policies.hcl:1:1: ",
		},
		{"case 42 a configuration outside", polset.KindOPA, nil, map[string]string{"policies.hcl": "../policies.hcl"}, "policy-invalid: policies.hcl:1:1: this file is a link that leaves the repository"},
		{"case 42 a configuration elsewhere", polset.KindOPA, nil, map[string]string{"policies.hcl": "/etc/passwd"}, "policy-invalid: policies.hcl:1:1: this file is a link that leaves the repository"},
		{"case 42 a configuration nowhere", polset.KindOPA, nil, map[string]string{"policies.hcl": "gone"}, "no-policies: There is no policies.hcl"},
		{"case 42 a loop", polset.KindOPA, nil, map[string]string{"policies.hcl": "b", "b": "policies.hcl"}, "policy-invalid: policies.hcl:1:1: this file is a link that leads to itself"},
		{"case 42 links to Rego are not followed", polset.KindOPA, []string{"policies.hcl", oneQuery, "a.rego", "package a\ndefault deny := false"}, map[string]string{"again.rego": "a.rego", "dir": "."}, ""},
		{"case 42 a linked source", polset.KindSentinel, []string{"sentinel.hcl", `policy "a" { source = "./dir/a.sentinel" }`, "x/y/b.sentinel", "main = 1"}, map[string]string{"dir": "x/y/../z", "x/z": "y", "x/y/a.sentinel": "./b.sentinel"}, ""},
		{
			"a source below a file", polset.KindSentinel,
			[]string{"sentinel.hcl", `policy "a" { source = "./b.sentinel/a.sentinel" }`, "b.sentinel", "main = 1"},
			nil, "policy-invalid: sentinel.hcl:1:23: the source of policy \"a\", b.sentinel/a.sentinel, does not exist",
		},
		{
			"case 42 a source that leaves", polset.KindSentinel,
			[]string{"sentinel.hcl", `policy "a" {}`},
			map[string]string{"a.sentinel": "x/../../a.sentinel"},
			"policy-invalid: sentinel.hcl:1:1: the source of policy \"a\", a.sentinel, ",
		},
		{
			"case 42 a source that is nowhere", polset.KindSentinel,
			[]string{"sentinel.hcl", `policy "a" {}`},
			map[string]string{"a.sentinel": "gone"},
			"policy-invalid: sentinel.hcl:1:1: the source of policy \"a\", a.sentinel, does not exist",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			memory := repo(c.files...)
			dir := t.TempDir()
			if err := os.CopyFS(dir, memory); err != nil {
				t.Fatal(err)
			}
			for name, target := range c.links {
				memory[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			for where, fsys := range map[string]fs.FS{"memory": memory, "disk": os.DirFS(dir)} {
				err := check(context.Background(), policy.Limits{}, fsys, c.kind)
				if c.want == "" {
					if err != nil {
						t.Errorf("%s: %v", where, err)
					}
					continue
				}
				if err == nil || !strings.HasPrefix(err.Error(), c.want) {
					t.Errorf("%s: got %v, want %s", where, err, c.want)
				}
			}
		})
	}
}
