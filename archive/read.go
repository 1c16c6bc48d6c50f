package archive

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"

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
	limits = limits.OrDefaults()
	src := &source{ctx: ctx, r: r}
	in := &reader{
		limits: limits,
		src:    bufio.NewReaderSize(src, 64<<10),
		nodes:  map[string]*Node{"": {Mode: ModeDirectory}},
		listed: map[string]bool{},
	}
	err := in.readAll()
	if src.err != nil {
		return nil, fmt.Errorf("read archive: %w", src.err) // whatever it was taken for
	}
	if err != nil {
		return nil, err
	}
	return in.nodes[""].FS(), nil
}

// A source is what an archive is read from. It remembers its own error: the
// parsers that read through it would blame the archive.
type source struct {
	ctx context.Context //nolint:containedctx // of one Read
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	if s.err = s.ctx.Err(); s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// A reader is one Read under way.
type reader struct {
	limits Limits
	src    *bufio.Reader
	plain  *inflated
	nodes  map[string]*Node // by path; "" is the root
	listed map[string]bool  // directories that have an entry of their own
	last   string           // the path that was read last

	files int
	dirs  int
	links links
}

func (in *reader) readAll() error {
	gz, err := gzip.NewReader(in.src)
	if err != nil {
		return polset.Fail(polset.ClassContentInvalid, "The upload is not a tar.gz archive: it does not begin as gzip does.")
	}
	// Whether several members are one file is a matter of opinion.
	gz.Multistream(false)
	in.plain = &inflated{r: gz, left: in.limits.Bytes}
	if err := in.entries(tar.NewReader(in.plain)); err != nil {
		return err
	}
	// The compressor's checksum comes after all that it holds.
	if _, err := io.Copy(io.Discard, in.plain); err != nil {
		return in.broken(err)
	}
	if err := in.nothingLeft(); err != nil {
		return err
	}
	if err := in.checkNames(); err != nil {
		return err
	}
	return in.links.check()
}

// inflated bounds what a decompressor gives.
type inflated struct {
	r    io.Reader
	left int64
}

func (i *inflated) Read(p []byte) (int, error) {
	// One byte more than may be tells the end from too much.
	if int64(len(p)) > i.left+1 {
		p = p[:i.left+1]
	}
	n, err := i.r.Read(p)
	if i.left -= int64(n); i.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

func (in *reader) entries(t *tar.Reader) error {
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return in.broken(err)
		}
		if err := in.entry(t, h); err != nil {
			return err
		}
	}
}

func (in *reader) entry(t *tar.Reader, h *tar.Header) error {
	if err := checkRecords(h); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // a comment: git archive names the commit so
	}
	path, err := cleanPath(h)
	if err != nil {
		return err
	}
	in.last = h.Name
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

// The PAX records that say where an entry lies, and how large it is.
const (
	paxPath     = "path"
	paxLinkpath = "linkpath"
	paxSize     = "size"
	paxSparse   = "GNU.sparse."
)

// ustarName is how many bytes a header itself holds of a name or a target.
const ustarName = 100

// checkRecords refuses the PAX records that make of an entry another than its
// header says. Those that exist because the header cannot say it are welcome.
func checkRecords(h *tar.Header) error {
	for key, value := range h.PAXRecords {
		switch {
		case strings.HasPrefix(key, paxSparse):
			return sparse(h)
		case key == paxSize,
			key == paxPath && !needsRecord(h, value),
			key == paxLinkpath && !needsRecord(h, value):
			return polset.Fail(polset.ClassContentInvalid,
				"A PAX record of %s says another %s than its header does, which some programs believe and others do not. Pack the archive anew.",
				quote(h.Name), key)
		}
	}
	return nil
}

// needsRecord says whether a name does not fit into a header. Of a global
// header, which speaks of all entries to come, none is needed.
func needsRecord(h *tar.Header, name string) bool {
	return h.Typeflag != tar.TypeXGlobalHeader && (len(name) > ustarName || !isASCII(name))
}

func sparse(h *tar.Header) error {
	return polset.Fail(polset.ClassContentInvalid,
		"%s is a sparse file, which an upload may not hold. Pack the archive without --sparse.", quote(h.Name))
}

// cleanPath is where an entry lies, "" for the root. "./" says nothing, and
// neither does a slash too many.
func cleanPath(h *tar.Header) (string, error) {
	name := h.Name
	switch {
	case name == "":
		return "", polset.Fail(polset.ClassContentInvalid, "An entry of the archive has no name. Pack the archive anew.")
	case name[0] == '/':
		return "", badPath(name, "it is absolute")
	case h.Typeflag != tar.TypeDir && strings.HasSuffix(name, "/"):
		return "", badPath(name, "it ends in a slash, and is no directory")
	}
	// No more is looked at than may be kept.
	if len(name) > 2*maxPath {
		return "", tooLong(name)
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
			continue
		case "..":
			return "", badPath(name, `it holds ".."`)
		}
		parts = append(parts, part)
	}
	path := strings.Join(parts, "/")
	switch {
	case path == "" && h.Typeflag != tar.TypeDir:
		return "", badPath(name, "it is that of the root, and is no directory")
	case len(path) > maxPath:
		return "", tooLong(path)
	case len(parts) > MaxDepth:
		return "", tooDeep(strings.Join(parts[:MaxDepth], "/"))
	}
	for i, part := range parts {
		if nameFault(part) != "" {
			return "", checkPath(strings.Join(parts[:i+1], "/"), part)
		}
	}
	return path, nil
}

func badPath(name, why string) error {
	return polset.Fail(polset.ClassContentInvalid,
		"The path %s is refused: %s. Pack the archive from inside the directory of the policies.", quote(name), why)
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
			return nil, polset.Fail(polset.ClassContentInvalid,
				"The archive holds something below %s, which is no directory. Pack the archive anew.", quote(path))
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

// broken explains an error of the parsers.
func (in *reader) broken(err error) error {
	if errors.Is(err, errTooLarge) {
		return polset.Fail(polset.ClassLimit,
			"The archive inflates to more than %d bytes, the limit for an archive before compression (%s)%s. Leave files out, or raise the limit.",
			in.limits.Bytes, settingBytes, in.where("; it was reached at or after "))
	}
	why := "it is damaged"
	if errors.Is(err, io.ErrUnexpectedEOF) {
		why = "it ends early"
	}
	return &polset.Failure{
		Class: polset.ClassContentInvalid, Err: err,
		Message: fmt.Sprintf("The upload is not a whole tar.gz archive: %s%s. Pack and upload it again.", why, in.where(" at or after ")),
	}
}

func (in *reader) where(intro string) string {
	if in.last == "" {
		return ""
	}
	return intro + quote(in.last)
}

// nothingLeft refuses what follows the compressed bytes.
func (in *reader) nothingLeft() error {
	next, err := in.src.Peek(2)
	if len(next) == 0 && errors.Is(err, io.EOF) {
		return nil
	}
	if len(next) == 2 && next[0] == 0x1f && next[1] == 0x8b {
		return polset.Fail(polset.ClassContentInvalid,
			"The upload consists of several gzip members, which some programs read as one archive and others do not. Pack it in one go.")
	}
	return polset.Fail(polset.ClassContentInvalid, "The upload goes on after the end of the archive. Pack and upload it again.")
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
