package archive_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
)

// A node is a file, directory or link of a tree that keeps no rule: its names
// may be anything, in any order and more than once. Whatever differs between
// two machines (times, the order of a directory) differs here too.
type node struct {
	name     string
	mode     fs.FileMode
	data     []byte
	size     int64 // what Info says; len(data) where it is 0
	target   string
	children []*node
}

func file(name, data string) *node { return &node{name: name, mode: 0o644, data: []byte(data)} }
func link(name, target string) *node {
	return &node{name: name, mode: fs.ModeSymlink | 0o777, target: target}
}

func dir(name string, children ...*node) *node {
	return &node{name: name, mode: fs.ModeDir | 0o755, children: children}
}

// nest puts a file below n directories named name.
func nest(n int, name string) *node {
	inner := file("deep.rego", "")
	for range n {
		inner = dir(name, inner)
	}
	return inner
}

// A tree is an fs.FS over nodes.
type tree struct {
	root   *node
	onRead func(path string) // called before each read of a file
}

func newTree(children ...*node) *tree { return &tree{root: dir(".", children...)} }

func (t *tree) find(path string) (*node, error) {
	at := t.root
	if path == "." {
		return at, nil
	}
	for part := range strings.SplitSeq(path, "/") {
		i := slices.IndexFunc(at.children, func(c *node) bool { return c.name == part })
		if i < 0 {
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		at = at.children[i]
	}
	return at, nil
}

func (t *tree) Open(path string) (fs.File, error) {
	n, err := t.find(path)
	if err != nil {
		return nil, err
	}
	return &openNode{node: n, Reader: bytes.NewReader(n.data), path: path, tree: t}, nil
}

func (t *tree) ReadDir(path string) ([]fs.DirEntry, error) {
	n, err := t.find(path)
	if err != nil {
		return nil, err
	}
	entries := make([]fs.DirEntry, len(n.children))
	for i, c := range n.children {
		entries[i] = fs.FileInfoToDirEntry(nodeInfo{c})
	}
	return entries, nil
}

func (t *tree) ReadLink(path string) (string, error) {
	n, err := t.find(path)
	if err != nil {
		return "", err
	}
	return n.target, nil
}

func (t *tree) Lstat(path string) (fs.FileInfo, error) {
	n, err := t.find(path)
	return nodeInfo{n}, err
}

type openNode struct {
	*bytes.Reader
	node *node
	path string
	tree *tree
}

func (o *openNode) Stat() (fs.FileInfo, error) { return nodeInfo{o.node}, nil }
func (o *openNode) Close() error               { return nil }
func (o *openNode) Read(p []byte) (int, error) {
	if o.tree.onRead != nil {
		o.tree.onRead(o.path)
	}
	return o.Reader.Read(p)
}

type nodeInfo struct{ *node }

func (i nodeInfo) Name() string       { return i.name }
func (i nodeInfo) Mode() fs.FileMode  { return i.mode }
func (i nodeInfo) IsDir() bool        { return i.mode.IsDir() }
func (i nodeInfo) ModTime() time.Time { return time.Now() }
func (i nodeInfo) Sys() any           { return nil }
func (i nodeInfo) Size() int64 {
	if i.size != 0 {
		return i.size
	}
	return int64(len(i.data))
}

var (
	_ fs.ReadDirFS  = (*tree)(nil)
	_ fs.ReadLinkFS = (*tree)(nil)
	_ io.Reader     = (*openNode)(nil)
)

// wantFailure checks err's class and that its sentence holds all of parts.
func wantFailure(t *testing.T, err error, class polset.Class, parts ...string) {
	t.Helper()
	var f *polset.Failure
	if !errors.As(err, &f) {
		t.Fatalf("got error %v, want a failure of class %s", err, class)
	}
	if f.Class != class {
		t.Errorf("got class %s (%s), want %s", f.Class, f.Message, class)
	}
	if f.Retry {
		t.Errorf("another attempt cannot heal %q, yet Retry is set", f.Message)
	}
	for _, part := range parts {
		if !strings.Contains(f.Message, part) {
			t.Errorf("the message %q does not hold %q", f.Message, part)
		}
	}
}
