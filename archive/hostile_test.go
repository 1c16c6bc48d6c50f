package archive_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
)

// noise is n bytes that do not compress.
func noise(n int) string {
	src := rand.NewChaCha8([32]byte{})
	b := make([]byte, n)
	if _, err := io.ReadFull(src, b); err != nil {
		panic(err)
	}
	return string(b)
}

// untar unpacks with the system's tar and returns what it said.
func untar(t *testing.T, root string, stored []byte) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "tar", "-xzf", "-", "-C", root)
	cmd.Stdin = bytes.NewReader(stored)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	return string(out)
}

func writeErr(t *testing.T, fsys fs.FS, limits archive.Limits) error {
	t.Helper()
	sum, err := archive.Write(t.Context(), io.Discard, fsys, limits)
	if err == nil {
		t.Fatalf("accepted: %+v", sum)
	}
	return err
}

func TestWriteRefusesNames(t *testing.T) {
	for _, tc := range refusedNames {
		t.Run(tc.label, func(t *testing.T) {
			for _, n := range []*node{file(tc.name, ""), dir(tc.name, file("a", "")), link(tc.name, "a")} {
				err := writeErr(t, newTree(dir("sub", n, file("a", ""))), archive.Limits{})
				wantFailure(t, err, polset.ClassContentInvalid, strconv.Quote("sub/"+tc.name))
			}
		})
	}
}

func TestWriteRefusesCollisions(t *testing.T) {
	for _, tc := range []struct{ label, a, b string }{
		{"case 49 case", "A.rego", "a.rego"},
		{"case 49 case beyond ASCII", "ÄRGER.rego", "ärger.rego"},
		{"case 49 full case folding", "straße.rego", "STRASSE.rego"},
		{"case 49 composed and decomposed", "\u00e9.rego", "e\u0301.rego"},
		{"case 49 case and form", "\u00c9.rego", "e\u0301.rego"},
		{"case 49 kelvin", "\u212a.rego", "k.rego"},
		{"case 49 ignorable", "a\u200c.rego", "a.rego"},
		{"case 47 duplicates", "a.rego", "a.rego"},
	} {
		t.Run(tc.label, func(t *testing.T) {
			for _, pair := range [][2]*node{
				{file(tc.a, "1"), file(tc.b, "2")},
				{dir(tc.a, file("x", "")), file(tc.b, "2")},
				{link(tc.a, "x"), dir(tc.b, file("x", ""))},
			} {
				for _, order := range [][]*node{{pair[0], pair[1]}, {pair[1], pair[0]}} {
					err := writeErr(t, newTree(dir("sub", order...)), archive.Limits{})
					why := "differ only"
					if tc.a == tc.b {
						why = "twice"
					}
					wantFailure(t, err, polset.ClassContentInvalid, why,
						strconv.Quote("sub/"+tc.a), strconv.Quote("sub/"+tc.b))
				}
			}
		})
	}
	t.Run("the same name in two directories is fine", func(t *testing.T) {
		write(t, newTree(dir("a", file("X", "")), dir("b", file("x", ""))))
	})
}

func TestWriteLinks(t *testing.T) {
	for _, tc := range []struct {
		label string
		fsys  *tree
		link  string // that the message names
	}{
		{"case 42 symlink to the parent", newTree(link("l", "..")), "l"},
		{"case 42 symlink escapes from below", newTree(dir("a", dir("b", link("l", "../../../etc/passwd")))), "a/b/l"},
		{"case 42 symlink escapes and returns", newTree(link("l", "../policies/x")), "l"},
		{"case 42 symlink escapes after a detour", newTree(link("l", "a/b/../../../x")), "l"},
		{"case 42 symlink escapes with empty parts", newTree(dir("a", link("l", ".//..//./../x"))), "a/l"},
		{"case 42 absolute symlink", newTree(link("l", "/etc/passwd")), "l"},
		{"case 42 symlink to the root", newTree(link("l", "/")), "l"},
		{"case 42 symlink to a Windows path", newTree(link("l", `..\..\x`)), "l"},
		{"case 42 symlink to a drive", newTree(link("l", "C:/x")), "l"},
		{"case 42 symlink to a repository", newTree(link("l", ".git/config")), "l"},
		{"case 42 symlink to nothing", newTree(link("l", "")), "l"},
		{"case 42 symlink target with NUL", newTree(link("l", "a\x00b")), "l"},
		{"case 42 symlink target not UTF-8", newTree(link("l", "a\xff")), "l"},
		{"case 42 symlink target too long", newTree(link("l", strings.Repeat("./", 2048))), "l"},
		{"case 42 symlink target too deep", newTree(link("l", strings.Repeat("a/", 1025))), "l"},
		{"case 42 symlink escapes by its words only", newTree(
			dir("a", dir("b", dir("c", file("f", "")))), link("d", "a/b/c"), link("l", "d/../..")), "l"},
		{"case 66 escape through another link", newTree(
			dir("a", dir("b", link("up", "../.."))), link("l", "a/b/up/../x")), "l"},
		{"case 66 escape through a later link", newTree(
			link("l", "z/../x"), link("z", "a/.."), dir("a", file("f", ""))), "l"},
		{"case 66 escape through a chain", newTree(
			dir("a", dir("b", link("one", "../two"), link("out", "one/../../x")), link("two", "..")), file("f", "")), "a/b/out"},
		{"case 66 escape through a link in other letters", newTree(
			dir("a", dir("b", dir("c", link("UP", "../../..")))), link("l", "a/b/c/up/../x")), "l"},
		{"case 66 escape through a link in another form", newTree(
			dir("a", dir("b", link("\u00e9", "../.."))), link("l", "A/b/e\u0301/../x")), "l"},
		{"case 66 link to itself", newTree(link("l", "l")), "l"},
		{"case 66 links to each other", newTree(link("l", "m"), link("m", "l")), "l"},
		{"case 66 link that grows", newTree(link("l", "l/x/y")), "l"},
	} {
		t.Run(tc.label, func(t *testing.T) {
			n, err := tc.fsys.find(tc.link)
			if err != nil {
				t.Fatal(err)
			}
			want := []string{strconv.Quote(tc.link), "symbolic link"}
			if len(n.target) < 300 {
				want = append(want, strconv.Quote(n.target))
			}
			wantFailure(t, writeErr(t, tc.fsys, archive.Limits{}), polset.ClassContentInvalid, want...)
		})
	}

	t.Run("case 42 symlink that stays inside is kept", func(t *testing.T) {
		fsys := newTree(
			dir("a", dir("b", link("up", "../.."), link("self", "../../a/b/f"), file("f", "f"))),
			link("l", "a/b/up/a/b/f"), link("dir", "a//b/"), link("dangling", "a/none/../f"),
		)
		_, stored := write(t, fsys)
		entries, err := archive.List(bytes.NewReader(stored))
		if err != nil {
			t.Fatal(err)
		}
		kept := map[string]string{}
		for _, e := range entries {
			if e.Mode.Type() == fs.ModeSymlink {
				kept[e.Path] = e.Target
			}
		}
		want := map[string]string{
			"a/b/up": "../..", "a/b/self": "../../a/b/f", "l": "a/b/up/a/b/f", "dir": "a//b/", "dangling": "a/none/../f",
		}
		if fmt.Sprint(kept) != fmt.Sprint(want) {
			t.Errorf("kept %v, want %v", kept, want)
		}
	})

	t.Run("case 66 links that take for ever", func(t *testing.T) {
		nodes := make([]*node, 0, 2000)
		long := strings.Repeat("a/../", 800) + "a"
		for i := range cap(nodes) {
			nodes = append(nodes, link(fmt.Sprintf("l%d", i), long))
		}
		wantFailure(t, writeErr(t, newTree(nodes...), archive.Limits{}), polset.ClassLimit, "1000000 steps")
	})

	t.Run("an fs that cannot read links", func(t *testing.T) {
		type bare struct{ fs.ReadDirFS }
		if err := writeErr(t, bare{newTree(link("l", "a"))}, archive.Limits{}); !strings.Contains(err.Error(), `"l"`) {
			t.Errorf("the error does not name the link: %v", err)
		}
	})
}

func TestWriteRefusesOtherTypes(t *testing.T) {
	for label, mode := range map[string]fs.FileMode{
		"case 67 FIFO":             fs.ModeNamedPipe,
		"case 67 block device":     fs.ModeDevice,
		"case 67 character device": fs.ModeDevice | fs.ModeCharDevice,
		"case 67 socket":           fs.ModeSocket,
		"case 67 irregular":        fs.ModeIrregular,
	} {
		t.Run(label, func(t *testing.T) {
			err := writeErr(t, newTree(dir("sub", &node{name: "x", mode: mode | 0o644})), archive.Limits{})
			wantFailure(t, err, polset.ClassContentInvalid, `"sub/x"`, "neither a file")
		})
	}
}

func TestWriteLimits(t *testing.T) {
	t.Run("case 50 huge file is never read", func(t *testing.T) {
		fsys := newTree(dir("d", &node{name: "huge", mode: 0o644, size: archive.DefaultFileBytes + 1}))
		fsys.onRead = func(path string) { t.Errorf("read %s", path) }
		wantFailure(t, writeErr(t, fsys, archive.Limits{}), polset.ClassLimit,
			`"d/huge"`, "10485761", "10485760", "POLSET_MAX_FILE_BYTES")
	})
	t.Run("a file of exactly the limit", func(t *testing.T) {
		if _, err := archive.Write(t.Context(), io.Discard, newTree(file("f", "12345")), archive.Limits{FileBytes: 5}); err != nil {
			t.Error(err)
		}
		wantFailure(t, writeErr(t, newTree(file("f", "123456")), archive.Limits{FileBytes: 5}), polset.ClassLimit, "limit of 5")
	})
	t.Run("bytes of the tar", func(t *testing.T) {
		fsys := newTree(file("a", "a"), file("b", "b")) // 2 × (header + block) + end
		if _, err := archive.Write(t.Context(), io.Discard, fsys, archive.Limits{Bytes: 3072}); err != nil {
			t.Error(err)
		}
		for _, most := range []int64{3071, 2048, 1536, 1535, 1} {
			wantFailure(t, writeErr(t, fsys, archive.Limits{Bytes: most}), polset.ClassLimit,
				strconv.FormatInt(most, 10), "POLSET_MAX_ARCHIVE_BYTES")
		}
	})
	t.Run("a file too large for the rest is never read", func(t *testing.T) {
		fsys := newTree(dir("d", file("f", strings.Repeat("x", 5000))))
		fsys.onRead = func(path string) { t.Errorf("read %s", path) }
		wantFailure(t, writeErr(t, fsys, archive.Limits{Bytes: 4096}), polset.ClassLimit, `"d/f"`, "4096")
	})
	t.Run("files", func(t *testing.T) {
		fsys := newTree(file("a", ""), link("b", "a"), dir("c", file("d", "")))
		if _, err := archive.Write(t.Context(), io.Discard, fsys, archive.Limits{Files: 3}); err != nil {
			t.Error(err)
		}
		wantFailure(t, writeErr(t, fsys, archive.Limits{Files: 2}), polset.ClassLimit,
			`"c/d"`, "2 files", "POLSET_MAX_ARCHIVE_FILES")
	})
	t.Run("case 51 git bomb of empty directories", func(t *testing.T) {
		fan := func(children ...*node) []*node {
			nodes := make([]*node, 30)
			for i := range nodes {
				nodes[i] = dir(fmt.Sprintf("d%d", i), children...)
			}
			return nodes
		}
		wantFailure(t, writeErr(t, newTree(fan(fan(fan(fan()...)...)...)...), archive.Limits{}), polset.ClassLimit,
			"20000 directories", "POLSET_MAX_ARCHIVE_FILES")
	})
	t.Run("case 51 depth", func(t *testing.T) {
		write(t, newTree(nest(archive.MaxDepth-1, "d")))
		wantFailure(t, writeErr(t, newTree(nest(archive.MaxDepth, "d")), archive.Limits{}), polset.ClassLimit, "1024")
	})
	t.Run("case 51 path too long to unpack", func(t *testing.T) {
		wantFailure(t, writeErr(t, newTree(nest(100, strings.Repeat("d", 100))), archive.Limits{}), polset.ClassLimit, "4095")
	})
}

func TestWriteRefusesLyingSizes(t *testing.T) {
	for _, tc := range []struct {
		label string
		size  int64
		want  string
	}{
		{"shorter", 9, "more than the 9 bytes"},
		{"longer", 11, "1 bytes short"},
		{"much longer", 1 << 20, "short of the 1048576"},
		{"negative", -1, "no longer the file"},
	} {
		t.Run(tc.label, func(t *testing.T) {
			err := writeErr(t, newTree(&node{name: "liar", mode: 0o644, data: []byte("0123456789"), size: tc.size}), archive.Limits{})
			if !strings.Contains(err.Error(), `"liar"`) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("the error %q does not hold the file and %q", err, tc.want)
			}
			if f := polset.FailureOf(err); f.Class != polset.ClassInternal {
				t.Errorf("class %s", f.Class)
			}
		})
	}
}

func TestWriteKeepsTheSourcesFailure(t *testing.T) {
	cause := polset.Fail(polset.ClassGitCorrupt, "An object is missing.")
	err := writeErr(t, failingFS{newTree(file("a", "a")), cause}, archive.Limits{})
	wantFailure(t, err, polset.ClassGitCorrupt, cause.Message)
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
}

type failingFS struct {
	*tree
	err error
}

func (f failingFS) Open(string) (fs.File, error) { return nil, f.err }
