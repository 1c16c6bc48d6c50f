package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/polset/polset/archive"
	"pgregory.net/rapid"
)

// A thing is what a tree says at one path.
type thing struct {
	Exec   bool
	Data   string
	Target string
}

// drawTree draws a tree, and what it says at each path.
func drawTree(t *rapid.T) (*tree, map[string]thing) {
	name := rapid.StringMatching(`[a-z][a-z0-9._-]{0,8}( ü)?|[a-z]{90,120}`)
	paths := rapid.SliceOfN(rapid.SliceOfN(name, 1, 5), 0, 30).Draw(t, "paths")
	want := map[string]thing{}
	root := dir(".")
	for _, parts := range paths {
		at, path := root, ""
		for i, part := range parts {
			path = joinPath(path, part)
			next := child(at, part)
			switch {
			case next == nil && i < len(parts)-1:
				next = dir(part)
				at.children = append(at.children, next)
			case next == nil:
				leaf, is := drawLeaf(t, part)
				at.children = append(at.children, leaf)
				want[path] = is
			}
			if next == nil || !next.mode.IsDir() {
				break
			}
			at = next
		}
	}
	return &tree{root: root}, want
}

// Whatever the tree and the order in which its directories are listed: the
// digest is the same, and what comes out is what went in.
func TestAnyTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fsys, want := drawTree(t)
		root := fsys.root

		first, stored := mustWrite(t, fsys)
		if diff := cmp.Diff(want, unpack(t, stored)); diff != "" {
			t.Errorf("what comes out is not what went in (-want +got):\n%s", diff)
		}
		entries, err := archive.List(bytes.NewReader(stored))
		if err != nil {
			t.Fatal(err)
		}
		listed := make([]string, len(entries))
		for i, e := range entries {
			listed[i] = e.Path
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), listed); len(want) > 0 && diff != "" {
			t.Errorf("the paths are not those, or not in byte order (-want +got):\n%s", diff)
		}

		shuffle(t, root)
		again, _ := mustWrite(t, &tree{root: root})
		if first != again {
			t.Errorf("another order of insertion gives another archive: %+v and %+v", first, again)
		}
	})
}

func drawLeaf(t *rapid.T, name string) (*node, thing) {
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0: // a link that stays inside, to what no name can be
		target := rapid.StringMatching(`(no!/){0,3}no!`).Draw(t, "target")
		return link(name, target), thing{Target: target}
	case 1:
		data := string(rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "data"))
		return &node{name: name, mode: 0o755, data: []byte(data)}, thing{Exec: true, Data: data}
	default:
		data := rapid.String().Draw(t, "text")
		return file(name, data), thing{Data: data}
	}
}

func child(n *node, name string) *node {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

func joinPath(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

func shuffle(t *rapid.T, n *node) {
	if len(n.children) == 0 {
		return
	}
	n.children = rapid.Permutation(n.children).Draw(t, "order")
	for _, c := range n.children {
		shuffle(t, c)
	}
}

func mustWrite(t *rapid.T, fsys fs.FS) (archive.Summary, []byte) {
	var out bytes.Buffer
	sum, err := archive.Write(t.Context(), &out, fsys, archive.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return sum, out.Bytes()
}

func unpack(t *rapid.T, stored []byte) map[string]thing {
	gz, err := newGzipReader(stored)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]thing{}
	for in := tar.NewReader(gz); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.IsZero() && h.ModTime.Unix() != 0 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" {
			t.Errorf("%s tells of a time or an owner: %+v", h.Name, h)
		}
		got[h.Name] = thing{Exec: h.Mode == 0o755, Data: string(data), Target: h.Linkname}
	}
}
