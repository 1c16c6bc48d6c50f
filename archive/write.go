package archive

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/polset/polset"
)

// Write writes fsys to w as a tar.gz and says what it wrote.
//
// The entries are the files and the symbolic links, in the byte order of their
// full paths. Directories have no entries of their own: the paths imply them,
// and an empty one, which git cannot record either, says nothing. Contents are
// kept byte for byte. Modes become 0755 for a file that anyone may execute and
// 0644 otherwise; times, owners and the gzip header are blank. The tar is
// USTAR, and PAX for an entry that USTAR cannot hold (a name that is not ASCII,
// or too long). A symbolic link is kept only if it stays inside fsys, by its
// words as well as through the other links.
//
// Whatever cannot be kept is an error, never left out: a name that CheckName
// refuses, two names that some file system takes for one, a link that escapes,
// a device (each a *polset.Failure of class content-invalid), or more than the
// limits allow (class limit). An fsys without files is no error; the Summary
// then counts none.
//
// Write holds one directory's names at a time and a fixed amount of buffers,
// however large the archive. It stops with ctx's error when ctx ends. After an
// error, what w received is of no use.
func Write(ctx context.Context, w io.Writer, fsys fs.FS, limits Limits) (Summary, error) {
	limits = limits.OrDefaults()

	stored := digester{w: w, hash: sha256.New()}
	gz := borrowGzip(&stored)
	defer returnGzip(gz)
	plain := digester{w: gz, hash: sha256.New(), most: limits.Bytes}
	buf := borrowBuffer()
	defer returnBuffer(buf)

	a := &writer{
		fsys:   fsys,
		limits: limits,
		plain:  &plain,
		tar:    tar.NewWriter(&plain),
		buf:    buf,
	}
	if err := a.writeAll(ctx); err != nil {
		return Summary{}, err
	}
	if err := gz.Close(); err != nil {
		return Summary{}, fmt.Errorf("write archive: %w", err)
	}
	return Summary{
		Digest:    stored.sum(),
		TarDigest: plain.sum(),
		Size:      stored.n,
		TarSize:   plain.n,
		Files:     a.files,
	}, nil
}

// A writer is one Write under way.
type writer struct {
	fsys   fs.FS
	limits Limits
	plain  *digester // below tar
	tar    *tar.Writer
	buf    *[]byte

	files int
	dirs  int
	links links
}

func (a *writer) writeAll(ctx context.Context) error {
	if err := a.dir(ctx, "", 0); err != nil {
		return err
	}
	// A link may point to what comes after it, so all are judged at the end.
	if err := a.links.check(); err != nil {
		return err
	}
	if err := a.tar.Close(); err != nil {
		return a.writeError("", err)
	}
	return nil
}

// dir writes what lies below the directory dir ("" is the root), whose path
// has depth components.
func (a *writer) dir(ctx context.Context, dir string, depth int) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	if a.dirs++; a.dirs > a.limits.Files+1 { // the root is free
		return a.limits.tooManyDirectories(dir)
	}
	entries, err := fs.ReadDir(a.fsys, orDot(dir))
	if err != nil {
		return fmt.Errorf("read directory %s: %w", quote(dir), err)
	}
	if err := checkNames(dir, entries); err != nil {
		return err
	}
	// A directory sorts as if its name ended in a slash, as in a git tree: that
	// alone makes the order in which the tree is walked that of the full paths.
	// The slice may be fsys's own, so a copy is sorted.
	entries = slices.SortedFunc(slices.Values(entries), func(x, y fs.DirEntry) int {
		return strings.Compare(sortKey(x), sortKey(y))
	})
	if depth++; depth > MaxDepth && len(entries) > 0 {
		return tooDeep(dir)
	}
	for _, e := range entries {
		if err := a.entry(ctx, join(dir, e.Name()), depth, e); err != nil {
			return err
		}
	}
	return nil
}

func (a *writer) entry(ctx context.Context, path string, depth int, e fs.DirEntry) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	if len(path) > maxPath {
		return tooLong(path)
	}
	typ := e.Type()
	if typ.IsDir() {
		return a.dir(ctx, path, depth)
	}
	if a.files++; a.files > a.limits.Files {
		return a.limits.tooManyFiles(path)
	}
	switch {
	case typ.IsRegular():
		return a.file(ctx, path, e)
	case typ == fs.ModeSymlink:
		return a.link(path)
	}
	return otherType(path)
}

func (a *writer) file(ctx context.Context, path string, e fs.DirEntry) (err error) {
	info, err := e.Info()
	if err != nil {
		return fmt.Errorf("examine %s: %w", quote(path), err)
	}
	size := info.Size()
	switch {
	case !info.Mode().IsRegular() || size < 0:
		return fmt.Errorf("examine %s: it is no longer the file that its directory lists", quote(path))
	case size > a.limits.FileBytes:
		return a.limits.fileTooLarge(path, size)
	case size > a.limits.Bytes-a.plain.n:
		return a.writeError(path, errTooLarge) // before reading it
	}

	if err := a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path, Size: size, Mode: int64(fileMode(info.Mode()))}); err != nil {
		return a.writeError(path, err)
	}

	f, err := a.fsys.Open(path)
	if err != nil {
		return fmt.Errorf("open %s: %w", quote(path), err)
	}
	defer func() {
		if cerr := f.Close(); cerr != nil && err == nil {
			err = fmt.Errorf("close %s: %w", quote(path), cerr)
		}
	}()
	return a.copy(ctx, path, f, size)
}

// copy copies exactly size bytes. A file that holds less or more is an error:
// either the tree changed under us or its source is broken.
func (a *writer) copy(ctx context.Context, path string, f io.Reader, size int64) error {
	for left := size; ; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("write archive: %w", err)
		}
		n, err := f.Read(*a.buf)
		if int64(n) > left {
			return fmt.Errorf("read %s: it holds more than the %d bytes that it claims", quote(path), size)
		}
		if n > 0 {
			left -= int64(n)
			if _, werr := a.tar.Write((*a.buf)[:n]); werr != nil {
				return a.writeError(path, werr)
			}
		}
		switch {
		case errors.Is(err, io.EOF) && left == 0:
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("read %s: it ends %d bytes short of the %d that it claims: %w", quote(path), left, size, io.ErrUnexpectedEOF)
		case err != nil:
			return fmt.Errorf("read %s: %w", quote(path), err)
		}
	}
}

func (a *writer) link(path string) error {
	target, err := fs.ReadLink(a.fsys, path)
	if err != nil {
		return fmt.Errorf("read link %s: %w", quote(path), err)
	}
	if err := a.links.add(path, target); err != nil {
		return err
	}
	// 0777 is what a link's mode is everywhere; no system heeds it.
	err = a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: path, Linkname: target, Mode: 0o777})
	if err != nil {
		return a.writeError(path, err)
	}
	return nil
}

// writeError explains a failed write at path.
func (a *writer) writeError(path string, err error) error {
	if !errors.Is(err, errTooLarge) {
		return fmt.Errorf("write archive at %s: %w", quote(path), err)
	}
	at := ""
	if path != "" {
		at = "; it was reached at " + quote(path)
	}
	return polset.Fail(polset.ClassLimit,
		"The tree has more than %d bytes, the limit for an archive before compression (%s)%s. Leave files out, or raise the limit.",
		a.limits.Bytes, settingBytes, at)
}

// fileMode is what is kept of a file's mode.
func fileMode(m fs.FileMode) fs.FileMode {
	if m&0o111 != 0 {
		return ModeExecutable
	}
	return ModeFile
}

// checkNames judges the names in one directory: each by itself, and any two
// that some file system takes for one. Since no two siblings fold to the same
// name, no two paths do.
func checkNames(dir string, entries []fs.DirEntry) error {
	seen := make(map[string]string, len(entries))
	for _, e := range entries {
		name := e.Name()
		path := join(dir, name)
		if err := checkPath(path, name); err != nil {
			return err
		}
		key := fold(name)
		switch other, taken := seen[key]; {
		case taken && other == name:
			return twice(path)
		case taken:
			return polset.Fail(polset.ClassContentInvalid,
				"%s and %s differ only in case or in their Unicode form, so that macOS and Windows take them for one. Rename or remove one of them.",
				quote(join(dir, other)), quote(path))
		}
		seen[key] = name
	}
	return nil
}

func sortKey(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

func orDot(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}
