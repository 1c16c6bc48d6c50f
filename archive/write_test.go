package archive_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/polset/polset/archive"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func write(t testing.TB, fsys fs.FS) (archive.Summary, []byte) {
	t.Helper()
	var out bytes.Buffer
	sum, err := archive.Write(t.Context(), &out, fsys, archive.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return sum, out.Bytes()
}

func unzip(t testing.TB, stored []byte) []byte {
	t.Helper()
	gz, err := gzip.NewReader(bytes.NewReader(stored))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(gz)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// The golden files pin the tar, not the gzip: its bytes must never change, on
// any machine and in any release, since TarDigest names a tree for ever.
func TestWriteGolden(t *testing.T) {
	exec := func(n *node, mode fs.FileMode) *node { n.mode = mode; return n }
	deep := nest(20, "a-directory-name")
	for _, tc := range []struct {
		name string
		fsys *tree
	}{
		{"empty", newTree()},
		{"one-file", newTree(file("policies.hcl", "policy \"a\" {}\n"))},
		{"order", newTree( // paths, not directories, are in byte order
			dir("a", file("z.rego", "z"), file("b.rego", "b")),
			file("a.rego", "dot sorts before slash"),
			file("a-b.rego", "dash too"),
			file("a0.rego", "nought does not"),
			file("B.rego", "capitals first"),
			file(".hidden", "hidden"),
			dir("empty", dir("emptier")),
		)},
		{"modes", newTree(
			exec(file("group.sh", "x"), 0o654),
			exec(file("other.sh", "x"), 0o645),
			exec(file("owner.sh", "x"), 0o700),
			exec(file("plain", "x"), 0o600),
			exec(file("setuid.sh", "x"), fs.ModeSetuid|fs.ModeSticky|0o777),
			exec(file("unreadable", "x"), 0),
		)},
		{"links", newTree(
			link("away", "lib/../lib/common.rego"),
			link("dangling", "no/such/file"),
			dir("lib", file("common.rego", "c"), link("up", "../policies")),
			dir("policies", link("common.rego", "../lib/common.rego"), link("here", "."), link("top", "..")),
		)},
		{"pax", newTree(
			file("größe.rego", "composed"),
			file("政策.rego", "Chinese"),
			file(strings.Repeat("n", 200)+".rego", "long name"),
			deep,
			link("long-link", strings.Repeat("t/", 80)+"end"),
			link("umlaut-link", "größe.rego"),
		)},
		{"blocks", newTree(
			file("0", ""), file("1", "x"),
			file("511", strings.Repeat("a", 511)), file("512", strings.Repeat("b", 512)),
			file("513", strings.Repeat("c", 513)), file("70000", strings.Repeat("d", 70000)),
		)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sum, stored := write(t, tc.fsys)
			plain := unzip(t, stored)

			if got := hexSum(stored); got != sum.Digest || sum.Size != int64(len(stored)) {
				t.Errorf("summary says %s and %d bytes, stored are %s and %d", sum.Digest, sum.Size, got, len(stored))
			}
			if got := hexSum(plain); got != sum.TarDigest || sum.TarSize != int64(len(plain)) {
				t.Errorf("summary says tar %s and %d bytes, it is %s and %d", sum.TarDigest, sum.TarSize, got, len(plain))
			}
			entries, err := archive.List(bytes.NewReader(stored))
			if err != nil {
				t.Fatal(err)
			}
			if sum.Files != len(entries) {
				t.Errorf("summary counts %d files, the archive has %d", sum.Files, len(entries))
			}
			if !slices.IsSortedFunc(entries, func(a, b archive.Entry) int { return strings.Compare(a.Path, b.Path) }) {
				t.Error("the entries are not in the byte order of their paths")
			}

			var got strings.Builder
			fmt.Fprintf(&got, "tar %s %d\n", sum.TarDigest, sum.TarSize)
			for _, e := range entries {
				fmt.Fprintf(&got, "%v %d %q", e.Mode, e.Size, e.Path)
				if e.Target != "" {
					fmt.Fprintf(&got, " -> %q", e.Target)
				}
				got.WriteByte('\n')
			}
			golden := filepath.Join("testdata", tc.name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("the tar changed (-want +got):\n%s", diff)
			}
		})
	}
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func TestGzipHeaderSaysNothing(t *testing.T) {
	write(t, newTree(file("warm", "the pooled compressor must not remember"))) // so that a used one is tried
	_, stored := write(t, newTree(file("a", "b")))
	want := []byte{0x1f, 0x8b, 8, 0 /* no name, no comment */, 0, 0, 0, 0 /* no time */, stored[8], 255 /* no system */}
	if !bytes.Equal(stored[:10], want) {
		t.Errorf("header % x, want % x", stored[:10], want)
	}
}

// What the operating system's tar unpacks is what went in.
func TestTarUnpacks(t *testing.T) {
	_, stored := write(t, newTree(
		dir("lib", file("größe.rego", "package a\n")),
		link("alias", "lib/größe.rego"),
		&node{name: "run.sh", mode: 0o700, data: []byte("#!/bin/sh\n")},
	))
	root := t.TempDir()
	out := untar(t, root, stored)
	if out != "" {
		t.Errorf("tar complains: %s", out)
	}
	for path, want := range map[string]string{"lib/größe.rego": "package a\n", "alias": "package a\n", "run.sh": "#!/bin/sh\n"} {
		got, err := os.ReadFile(filepath.Join(root, path))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	info, err := os.Stat(filepath.Join(root, "run.sh"))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("run.sh: %v, %v", info.Mode(), err)
	}
}

func TestCase64SameTreeSameDigest(t *testing.T) {
	t.Run("case 64 same commit twice", func(t *testing.T) {
		one, _ := write(t, newTree(file("b", "2"), dir("d", file("x", "x")), file("a", "1")))
		two, _ := write(t, newTree(file("a", "1"), file("b", "2"), dir("d", file("x", "x"))))
		if one != two {
			t.Errorf("%+v and %+v", one, two)
		}
	})
	for name, other := range map[string]*tree{
		"another byte":  newTree(file("a", "2")),
		"another name":  newTree(file("b", "1")),
		"another mode":  newTree(&node{name: "a", mode: 0o755, data: []byte("1")}),
		"a link":        newTree(link("a", "1")),
		"one file more": newTree(file("a", "1"), file("b", "")),
	} {
		t.Run(name, func(t *testing.T) {
			one, _ := write(t, newTree(file("a", "1")))
			two, _ := write(t, other)
			if one.TarDigest == two.TarDigest {
				t.Error("different trees have the same digest")
			}
		})
	}
}

func TestWriteStopsWithItsContext(t *testing.T) {
	t.Run("before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := archive.Write(ctx, io.Discard, newTree(file("a", "a")), archive.Limits{}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("inside a file", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		fsys := newTree(file("a", strings.Repeat("a", 1<<20)))
		reads := 0
		fsys.onRead = func(string) {
			if reads++; reads == 2 {
				cancel()
			}
		}
		if _, err := archive.Write(ctx, io.Discard, fsys, archive.Limits{}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if reads > 2 {
			t.Errorf("%d reads after the context ended", reads-2)
		}
	})
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestWriteReportsItsWriter(t *testing.T) {
	full := errors.New("disk full")
	for name, fsys := range map[string]*tree{
		"at the end": newTree(file("a", "a")),
		"on the way": newTree(file("a", noise(1<<20))),
	} {
		t.Run(name, func(t *testing.T) {
			sum, err := archive.Write(t.Context(), brokenWriter{full}, fsys, archive.Limits{})
			if !errors.Is(err, full) || sum != (archive.Summary{}) {
				t.Errorf("got %+v, %v", sum, err)
			}
		})
	}
}

func TestListRefusesWhatIsCutShort(t *testing.T) {
	_, stored := write(t, newTree(file("a", noise(1<<16))))
	for _, n := range []int{0, 5, len(stored) / 2, len(stored) - 1} {
		if _, err := archive.List(bytes.NewReader(stored[:n])); err == nil {
			t.Errorf("%d of %d bytes are listed without an error", n, len(stored))
		}
	}
}
