package archive

import (
	"archive/tar"
	"context"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/polset/polset"
)

// Read reads a tar.gz that somebody else made, and returns what it holds as a
// file system of the kind that Node.FS describes. Write accepts it.
//
// Directories, files and symbolic links are read, as the official client packs
// them; times, owners and all of a mode but whether a file is executable are
// dropped. A link is kept only if it stays inside, as Write has it. What some
// program could read otherwise than polset is refused with a *polset.Failure of
// class content-invalid that names the entry: paths that are absolute or hold
// "..", names that CheckName refuses, a path that is there twice or lies below a
// file, hard links, devices, sparse files, PAX records that give an entry
// another path or size than its header, several gzip members, and bytes after
// the last one. What comes after the end of the tar, in the one gzip member, is
// not part of it, and is dropped. A tar without an end is accepted.
//
// Memory is bounded by limits, which count the bytes as they are inflated:
// whatever exceeds them is a failure of class limit. An error that is no
// *polset.Failure is one of reading r, or of ctx.
func Read(ctx context.Context, r io.Reader, limits Limits) (fs.FS, error) {
	in := &reader{
		parcel: parcel{limits: limits.OrDefaults()},
		nodes:  map[string]*Node{"": {Mode: ModeDirectory}},
		listed: map[string]bool{},
	}
	if err := in.open(ctx, r, in.entry); err != nil {
		return nil, err
	}
	if err := in.checkNames(); err != nil {
		return nil, err
	}
	if err := in.links.check(); err != nil {
		return nil, err
	}
	return in.nodes[""].FS(), nil
}

// A reader is one Read under way.
type reader struct {
	parcel
	nodes  map[string]*Node // by path; "" is the root
	listed map[string]bool  // directories that have an entry of their own

	files int
	dirs  int
	links links
}

func (in *reader) entry(t *tar.Reader, path string, h *tar.Header) error {
	if err := checkParts(path); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return in.directory(path)
	case tar.TypeReg:
		return in.file(t, path, h)
	case tar.TypeSymlink:
		return in.link(path, h.Linkname)
	case tar.TypeLink:
		return polset.Fail(polset.ClassContentInvalid,
			"%s is a hard link to %s, which an upload may not hold. Replace it with a copy.", quote(path), quote(h.Linkname))
	case tar.TypeGNUSparse:
		return sparse(h)
	}
	return otherType(path)
}

// directory takes the entry of a directory.
func (in *reader) directory(path string) error {
	if path == "" {
		return nil
	}
	if in.listed[path] || in.nodes[path] != nil && !in.nodes[path].Mode.IsDir() {
		return twice(path)
	}
	in.listed[path] = true
	_, err := in.dir(path)
	return err
}

// dir returns the directory at a path, which it makes where it is not there
// yet.
func (in *reader) dir(path string) (*Node, error) {
	if n := in.nodes[path]; n != nil {
		if !n.Mode.IsDir() {
			return nil, below(path)
		}
		return n, nil
	}
	if in.dirs++; in.dirs > in.limits.Files {
		return nil, in.limits.tooManyDirectories(path)
	}
	return in.place(path, &Node{Mode: ModeDirectory})
}

// place puts a node where nothing is yet.
func (in *reader) place(path string, n *Node) (*Node, error) {
	dir, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, name = path[:i], path[i+1:]
	}
	parent, err := in.dir(dir)
	if err != nil {
		return nil, err
	}
	n.Name = name
	parent.Children = append(parent.Children, n)
	in.nodes[path] = n
	return n, nil
}

// leaf takes the entry of a file or a link.
func (in *reader) leaf(path string, n *Node) error {
	if in.nodes[path] != nil {
		return twice(path)
	}
	if in.files++; in.files > in.limits.Files {
		return in.limits.tooManyFiles(path)
	}
	_, err := in.place(path, n)
	return err
}

func (in *reader) file(t *tar.Reader, path string, h *tar.Header) error {
	switch {
	case h.Size > in.limits.FileBytes:
		return in.limits.fileTooLarge(path, h.Size)
	case h.Size > in.plain.left:
		return in.broken(errTooLarge)
	}
	n := &Node{Mode: fileMode(fs.FileMode(h.Mode & 0o777))} //nolint:gosec // the permissions only
	if err := in.leaf(path, n); err != nil {
		return err
	}
	n.Data = make([]byte, h.Size)
	if _, err := io.ReadFull(t, n.Data); err != nil {
		return in.broken(err)
	}
	return nil
}

func (in *reader) link(path, target string) error {
	if err := in.leaf(path, &Node{Mode: ModeLink, Data: []byte(target)}); err != nil {
		return err
	}
	return in.links.add(path, target)
}

// checkParts judges each component of a path.
func checkParts(path string) error {
	if path == "" {
		return nil
	}
	at := 0
	for part := range strings.SplitSeq(path, "/") {
		at += len(part)
		if nameFault(part) != "" {
			return checkPath(path[:at], part)
		}
		at++ // the slash
	}
	return nil
}

// checkNames judges the names in each directory against each other.
func (in *reader) checkNames() error {
	for _, path := range slices.Sorted(maps.Keys(in.nodes)) {
		if err := checkNames(path, entriesOf(in.nodes[path].Children)); err != nil {
			return err
		}
	}
	return nil
}
