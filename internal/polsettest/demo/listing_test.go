package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/polset/polset/internal/polsettest"
)

// pack makes an archive of files with the mode 0644.
func pack(t *testing.T, files ...[2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	archive := tar.NewWriter(zipped)
	for _, f := range files {
		if err := archive.WriteHeader(&tar.Header{Name: f[0], Mode: 0o644, Size: int64(len(f[1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The demo's own eyes must be good: what differs from git has to be seen.
func TestCompareSeesEveryDifference(t *testing.T) {
	git := polsettest.NewGit(t)
	helpers := git.Create("acme/policy-lib")
	policies := git.Create("acme/policies")
	at := helpers.Commit("main", map[string]string{"plan.rego": "package plan\n"})
	commit := policies.Commit("main", map[string]string{
		"README.md": "outside\n", "policies/prod/a.rego": "package a\n", "policies/prod/run.sh": "#!/bin/sh\n",
	}, polsettest.Submodule("policies/prod/lib", at), polsettest.Exec("policies/prod/run.sh"))
	want := lsTree(policies, helpers, commit, policiesPath)
	a, lib, run := [2]string{"a.rego", "package a\n"}, [2]string{"lib/plan.rego", "package plan\n"}, [2]string{"run.sh", "#!/bin/sh\n"}
	for _, test := range []struct {
		name  string
		files [][2]string
		err   string
	}{
		{"mode", [][2]string{a, lib, run}, "run.sh has mode 644"},
		{"content", [][2]string{{"a.rego", "package b\n"}, lib}, "a.rego is not what git has"},
		{"submodule missing", [][2]string{a}, "which is not in the archive"},
		{"from outside", [][2]string{a, lib, {"README.md", "outside\n"}}, "README.md, which git does not list"},
	} {
		t.Run(test.name, func(t *testing.T) {
			entries, _, err := untar(pack(t, test.files...))
			if err != nil {
				t.Fatal(err)
			}
			if err := compare(entries, want); err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %v, want %q", err, test.err)
			}
		})
	}
	delete(want, "run.sh")
	entries, _, err := untar(pack(t, a, lib))
	if err != nil {
		t.Fatal(err)
	}
	if err := compare(entries, want); err != nil {
		t.Errorf("equal, yet %v", err)
	}
}

// A developer's clone brings the submodule, and a push of it tells the hook.
func TestCheckoutPushes(t *testing.T) {
	lib, err := readLibrary(testdata)
	if err != nil {
		t.Fatal(err)
	}
	const token = "ghp_secret"
	git := polsettest.NewGit(t)
	helpers, policies := git.Create("acme/policy-lib"), git.Create("acme/policies")
	at := helpers.Commit("main", lib.helpers)
	policies.Commit("main", lib.policies, polsettest.Submodule(policiesPath+"/lib", at))
	helpers.RequireToken(token)
	policies.RequireToken(token)
	pushes := make(chan polsettest.Push, 1)
	policies.OnPush(func(p polsettest.Push) { pushes <- p })

	ctx := t.Context()
	if _, err := clone(ctx, policies.URL(), "wrong", filepath.Join(t.TempDir(), "clone")); err == nil {
		t.Error("a wrong token clones a private repository")
	}
	dev, err := clone(ctx, policies.URL(), token, filepath.Join(t.TempDir(), "clone"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dev.dir, policiesPath, "lib", "plan.rego")); err != nil || string(got) != lib.helpers["plan.rego"] {
		t.Errorf("the clone lacks its submodule: %v", err)
	}
	if err := dev.commit(ctx, "Improve", lib.improvement()); err != nil {
		t.Fatal(err)
	}
	commit, err := dev.push(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if p := <-pushes; p.After != commit || policies.Head("main") != commit {
		t.Errorf("pushed %s, the hook says %s", commit, p.After)
	}
}
