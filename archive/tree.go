package archive

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// The modes of nodes.
const (
	ModeFile       fs.FileMode = 0o644
	ModeExecutable fs.FileMode = 0o755
	ModeLink                   = fs.ModeSymlink | 0o777
	ModeDirectory              = fs.ModeDir | 0o755
)

// A Node is a file, a symbolic link or a directory in memory.
type Node struct {
	Name     string
	Mode     fs.FileMode // one of those above
	Data     []byte      // a file's content, a link's target
	Children []*Node     // of a directory, in any order
	Sys      any         // what the Sys of its fs.FileInfo is
}

// Place puts a node at a path below n, making the directories that lead there.
func (n *Node) Place(at string, leaf *Node) {
	for {
		name, rest, more := strings.Cut(at, "/")
		if !more {
			leaf.Name = name
			n.Children = append(n.Children, leaf)
			return
		}
		i := slices.IndexFunc(n.Children, func(c *Node) bool { return c.Name == name })
		if i < 0 {
			n.Children = append(n.Children, &Node{Name: name, Mode: ModeDirectory})
			i = len(n.Children) - 1
		}
		n, at = n.Children[i], rest
	}
}

// FS returns what lies below the directory n, which must not change any more.
// It also implements fs.ReadDirFS, fs.ReadFileFS, fs.StatFS and fs.ReadLinkFS,
// never fails later, and is safe for concurrent use. Directories are sorted by
// name, and nothing has a time. Links are links, wherever they point; Open and
// Stat follow them within n.
func (n *Node) FS() fs.FS {
	n.sort()
	return &fileSystem{n}
}

// sort brings all directories into lexical order.
func (n *Node) sort() {
	slices.SortFunc(n.Children, func(a, b *Node) int { return strings.Compare(a.Name, b.Name) })
	for _, c := range n.Children {
		c.sort()
	}
}

func (n *Node) child(name string) (*Node, bool) {
	i, ok := slices.BinarySearchFunc(n.Children, name, func(c *Node, name string) int { return strings.Compare(c.Name, name) })
	if !ok {
		return nil, false
	}
	return n.Children[i], true
}

// A fileSystem is a tree of nodes, sorted.
type fileSystem struct{ root *Node }

var (
	_ fs.ReadDirFS  = (*fileSystem)(nil)
	_ fs.ReadFileFS = (*fileSystem)(nil)
	_ fs.StatFS     = (*fileSystem)(nil)
	_ fs.ReadLinkFS = (*fileSystem)(nil)
)

var errLinks = errors.New("too many links")

// find returns the node at a name. Links on the way are followed, one at its
// end only if follow is set. A link that leads out of the tree leads nowhere.
func (f *fileSystem) find(op, name string, follow bool) (*Node, error) {
	fail := func(err error) (*Node, error) { return nil, &fs.PathError{Op: op, Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	hops := 0
	trail := []*Node{f.root}
	for rest := name; rest != "" && rest != "."; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		here := trail[len(trail)-1]
		switch {
		case !here.Mode.IsDir():
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
		if next.Mode != ModeLink || rest == "" && !follow {
			trail = append(trail, next)
			continue
		}
		target := string(next.Data)
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
	if n.Mode.IsDir() {
		return &openDir{node: n, name: path.Base(name)}, nil
	}
	return &openFile{Reader: bytes.NewReader(n.Data), node: n, name: path.Base(name)}, nil
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
	if n.Mode != ModeLink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return string(n.Data), nil
}

// ReadFile implements fs.ReadFileFS.
func (f *fileSystem) ReadFile(name string) ([]byte, error) {
	n, err := f.find("read", name, true)
	if err != nil {
		return nil, err
	}
	if n.Mode.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errIsDirectory}
	}
	return append(make([]byte, 0, len(n.Data)+1), n.Data...), nil
}

// ReadDir implements fs.ReadDirFS.
func (f *fileSystem) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if !n.Mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNotDirectory}
	}
	return entriesOf(n.Children), nil
}

var (
	errIsDirectory  = errors.New("is a directory")
	errNotDirectory = errors.New("not a directory")
)

func entriesOf(nodes []*Node) []fs.DirEntry {
	list := make([]fs.DirEntry, len(nodes))
	for i, n := range nodes {
		list[i] = fs.FileInfoToDirEntry(info{n, n.Name})
	}
	return list
}

// info is a node's fs.FileInfo.
type info struct {
	node *Node
	name string
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return int64(len(i.node.Data)) }
func (i info) Mode() fs.FileMode  { return i.node.Mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.node.Mode.IsDir() }
func (i info) Sys() any           { return i.node.Sys }

type openFile struct {
	*bytes.Reader
	node *Node
	name string
}

func (f *openFile) Stat() (fs.FileInfo, error) { return info{f.node, f.name}, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	node *Node
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
	left := d.node.Children[d.read:]
	if n > 0 {
		if len(left) == 0 {
			return nil, io.EOF
		}
		left = left[:min(n, len(left))]
	}
	d.read += len(left)
	return entriesOf(left), nil
}
