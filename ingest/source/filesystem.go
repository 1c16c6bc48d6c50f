package source

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// A node is a file, a link or a directory. It never changes once its
// fileSystem was returned.
type node struct {
	name     string
	mode     fs.FileMode
	id       plumbing.Hash
	data     []byte  // a file's content, a link's target
	children []*node // sorted by name
}

// place puts a node at a path, making the directories that lead there.
func (n *node) place(at string, leaf *node) {
	for {
		name, rest, more := strings.Cut(at, "/")
		if !more {
			leaf.name = name
			n.children = append(n.children, leaf)
			return
		}
		i := slices.IndexFunc(n.children, func(c *node) bool { return c.name == name })
		if i < 0 {
			n.children = append(n.children, &node{name: name, mode: modeDirectory})
			i = len(n.children) - 1
		}
		n, at = n.children[i], rest
	}
}

// sort brings all directories into lexical order: git sorts a directory as if
// its name ended with a slash.
func (n *node) sort() {
	slices.SortFunc(n.children, func(a, b *node) int { return strings.Compare(a.name, b.name) })
	for _, c := range n.children {
		c.sort()
	}
}

func (n *node) child(name string) (*node, bool) {
	i, ok := slices.BinarySearchFunc(n.children, name, func(c *node, name string) int { return strings.Compare(c.name, name) })
	if !ok {
		return nil, false
	}
	return n.children[i], true
}

// A fileSystem is what Fetch returns.
type fileSystem struct{ root *node }

var (
	_ fs.ReadDirFS  = (*fileSystem)(nil)
	_ fs.ReadFileFS = (*fileSystem)(nil)
	_ fs.StatFS     = (*fileSystem)(nil)
	_ fs.ReadLinkFS = (*fileSystem)(nil)
)

// maxHops is how many links one name may lead through.
const maxHops = 40

var errLinks = errors.New("too many links")

// find returns the node at a name. Links on the way are followed, one at its
// end only if follow is set. A link that leads out of the tree leads nowhere.
func (f *fileSystem) find(op, name string, follow bool) (*node, error) {
	fail := func(err error) (*node, error) { return nil, &fs.PathError{Op: op, Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	hops := 0
	trail := []*node{f.root}
	for rest := name; rest != "" && rest != "."; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		here := trail[len(trail)-1]
		switch {
		case !here.mode.IsDir():
			return fail(fs.ErrNotExist)
		case part == "" || part == ".":
			continue
		case part == "..": // out of a link's target
			if len(trail) == 1 {
				return fail(fs.ErrNotExist)
			}
			trail = trail[:len(trail)-1]
			continue
		}
		next, ok := here.child(part)
		if !ok {
			return fail(fs.ErrNotExist)
		}
		if next.mode != modeLink || rest == "" && !follow {
			trail = append(trail, next)
			continue
		}
		target := string(next.data)
		if hops++; hops > maxHops {
			return fail(errLinks)
		}
		if target == "" || path.IsAbs(target) {
			return fail(fs.ErrNotExist)
		}
		if rest != "" {
			target += "/" + rest
		}
		rest = target
	}
	return trail[len(trail)-1], nil
}

// Open implements fs.FS.
func (f *fileSystem) Open(name string) (fs.File, error) {
	n, err := f.find("open", name, true)
	if err != nil {
		return nil, err
	}
	if n.mode.IsDir() {
		return &openDir{node: n, name: path.Base(name)}, nil
	}
	return &openFile{Reader: bytes.NewReader(n.data), node: n, name: path.Base(name)}, nil
}

// Stat implements fs.StatFS; it follows links.
func (f *fileSystem) Stat(name string) (fs.FileInfo, error) {
	n, err := f.find("stat", name, true)
	if err != nil {
		return nil, err
	}
	return info{n, path.Base(name)}, nil
}

// Lstat implements fs.ReadLinkFS.
func (f *fileSystem) Lstat(name string) (fs.FileInfo, error) {
	n, err := f.find("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return info{n, path.Base(name)}, nil
}

// ReadLink implements fs.ReadLinkFS.
func (f *fileSystem) ReadLink(name string) (string, error) {
	n, err := f.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if n.mode != modeLink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return string(n.data), nil
}

// ReadFile implements fs.ReadFileFS.
func (f *fileSystem) ReadFile(name string) ([]byte, error) {
	n, err := f.find("read", name, true)
	if err != nil {
		return nil, err
	}
	if n.mode.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errIsDirectory}
	}
	return append(make([]byte, 0, len(n.data)+1), n.data...), nil
}

// ReadDir implements fs.ReadDirFS.
func (f *fileSystem) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if !n.mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNotDirectory}
	}
	return entriesOf(n.children), nil
}

var (
	errIsDirectory  = errors.New("is a directory")
	errNotDirectory = errors.New("not a directory")
)

func entriesOf(nodes []*node) []fs.DirEntry {
	list := make([]fs.DirEntry, len(nodes))
	for i, n := range nodes {
		list[i] = fs.FileInfoToDirEntry(info{n, n.name})
	}
	return list
}

// info is a node's fs.FileInfo.
type info struct {
	node *node
	name string
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return int64(len(i.node.data)) }
func (i info) Mode() fs.FileMode  { return i.node.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.node.mode.IsDir() }
func (i info) Sys() any           { return i.node.id.String() }

type openFile struct {
	*bytes.Reader
	node *node
	name string
}

func (f *openFile) Stat() (fs.FileInfo, error) { return info{f.node, f.name}, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	node *node
	name string
	read int
}

func (d *openDir) Stat() (fs.FileInfo, error) { return info{d.node, d.name}, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errIsDirectory}
}

// ReadDir implements fs.ReadDirFile.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	left := d.node.children[d.read:]
	if n > 0 {
		if len(left) == 0 {
			return nil, io.EOF
		}
		left = left[:min(n, len(left))]
	}
	d.read += len(left)
	return entriesOf(left), nil
}
