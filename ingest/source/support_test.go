package source_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os/exec"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/ingest/source"
	"github.com/polset/polset/internal/polsettest"
)

// config allows the test's own server, and waits for nobody.
func config(g *polsettest.Git) source.Config {
	return source.Config{
		GitHubURL:    g.URL(),
		AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		IdleTimeout:  20 * time.Second,
		Timeout:      time.Minute,
	}
}

func newGit(t testing.TB, c source.Config) *source.Git {
	t.Helper()
	g, err := source.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// at is a remote as users write it.
func at(r *polsettest.Repo, token ...string) polset.Remote {
	return polset.Remote{HTTPURL: "https://github.com", Identifier: r.Identifier, Token: polset.NewSecret(strings.Join(token, ""))}
}

func open(t testing.TB, g *source.Git, r polset.Remote, commit string, hints ...source.OpenOption) *source.Snapshot {
	t.Helper()
	s, err := g.Open(t.Context(), r, commit, hints...)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// fetch opens, resolves and fetches.
func fetch(ctx context.Context, g *source.Git, r polset.Remote, commit string, want polset.Content, hints ...source.OpenOption) (fs.FS, *source.Snapshot, error) {
	s, err := g.Open(ctx, r, commit, hints...)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = s.Close() }()
	content, err := s.Resolve(ctx, want)
	if err != nil {
		return nil, s, err
	}
	files, err := s.Fetch(ctx, content)
	return files, s, err
}

func mustFetch(t testing.TB, g *source.Git, r polset.Remote, commit string, want polset.Content, hints ...source.OpenOption) (fs.FS, *source.Snapshot) {
	t.Helper()
	files, s, err := fetch(t.Context(), g, r, commit, want, hints...)
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	return files, s
}

// wantFailure checks class, message and whether it is worth another attempt.
func wantFailure(t testing.TB, err error, class polset.Class, retry bool, parts ...string) {
	t.Helper()
	_ = failureOf(t, err, class, retry, parts...)
}

// failureOf is wantFailure, for those who want to see more of it.
func failureOf(t testing.TB, err error, class polset.Class, retry bool, parts ...string) *polset.Failure {
	t.Helper()
	var f *polset.Failure
	if !errors.As(err, &f) {
		t.Fatalf("got %v, want a failure of class %s", err, class)
	}
	if f.Class != class || f.Retry != retry {
		t.Errorf("got class %s, retry %v; want %s, %v: %v", f.Class, f.Retry, class, retry, f)
	}
	for _, p := range parts {
		if !strings.Contains(f.Message, p) {
			t.Errorf("the message %q lacks %q", f.Message, p)
		}
	}
	return f
}

// list shows a file system as path → what is there.
func list(t testing.TB, files fs.FS) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == "." {
			return err
		}
		switch {
		case d.IsDir():
			got[p] = "dir"
		case d.Type() == fs.ModeSymlink:
			target, err := fs.ReadLink(files, p)
			if err != nil {
				return err
			}
			got[p] = "-> " + target
		default:
			data, err := fs.ReadFile(files, p)
			if err != nil {
				return err
			}
			i, err := d.Info()
			if err != nil {
				return err
			}
			got[p] = fmt.Sprintf("%o %s", i.Mode(), data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func wantList(t testing.TB, files fs.FS, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, list(t, files)); diff != "" {
		t.Errorf("files differ (-want +got):\n%s", diff)
	}
}

// sameAsGit compares a fetched path with what git itself says of it.
func sameAsGit(t interface{ Errorf(string, ...any) }, files fs.FS, r *polsettest.Repo, commit, at string) {
	want := map[string]string{}
	for _, e := range r.LsTree(commit, at) {
		want[path.Join(at, e.Name)] = e.Mode + " " + e.SHA
	}
	got := map[string]string{}
	err := fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			children, err := fs.ReadDir(files, p)
			if err != nil {
				return err
			}
			if len(children) == 0 && p != "." {
				got[p] = fmt.Sprint("160000 ", i.Sys())
			}
			return nil
		case i.Mode().Type() == fs.ModeSymlink:
			got[p] = fmt.Sprint("120000 ", i.Sys())
			target, err := fs.ReadLink(files, p)
			if err != nil {
				return err
			}
			if !bytes.Equal([]byte(target), r.Cat(commit, p)) {
				t.Errorf("%s: another target", p)
			}
			return nil
		case i.Mode() == 0o755:
			got[p] = fmt.Sprint("100755 ", i.Sys())
		default:
			got[p] = fmt.Sprint("100644 ", i.Sys())
		}
		data, err := fs.ReadFile(files, p)
		if err != nil {
			return err
		}
		if !bytes.Equal(data, r.Cat(commit, p)) {
			t.Errorf("%s: other bytes", p)
		}
		return nil
	})
	if err != nil {
		t.Errorf("walk: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tree differs from git ls-tree (-want +got):\n%s", diff)
	}
}

// git runs git in a directory that is not one of polsettest's.
func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = dir, polsettest.GitEnv()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}
