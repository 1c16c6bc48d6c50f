package archive

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/polset/polset"
)

// A TooLargeError says that the file that Find looked for is larger than it may
// be. The file was not read.
type TooLargeError struct {
	Path       string
	Size, Most int64
}

// Error implements error.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s has %d bytes, more than %d", quote(e.Path), e.Size, e.Most)
}

// Find returns the content of one file, of no more than most bytes, in a tar.gz
// that somebody else made. A leading "./" of its path there says nothing.
//
// The archive is read to its end, and what Read refuses of the whole of it is
// refused: whatever leaves it open which bytes some program would take for the
// file. Of the other entries only the paths are looked at, since nobody unpacks
// them: their names, and where their links lead, are their own affair.
//
// Memory is bounded by most, and work by limits, whose FileBytes do not count.
// The error of a file that is not there is fs.ErrNotExist, of one that is larger
// a *TooLargeError, of an archive that is refused a *polset.Failure; any other
// is one of reading r, or of ctx.
func Find(ctx context.Context, r io.Reader, path string, most int64, limits Limits) ([]byte, error) {
	f := &finder{parcel: parcel{limits: limits.OrDefaults()}, path: path, most: most}
	if err := f.open(ctx, r, f.entry); err != nil {
		return nil, err
	}
	if !f.found {
		return nil, &fs.PathError{Op: "find", Path: path, Err: fs.ErrNotExist}
	}
	return f.data, nil
}

// A finder is one Find under way.
type finder struct {
	parcel
	path string
	most int64

	files int
	dirs  int
	found bool
	data  []byte
}

func (f *finder) entry(t *tar.Reader, path string, h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeDir:
		if f.dirs++; f.dirs > f.limits.Files {
			return f.limits.tooManyDirectories(path)
		}
	case tar.TypeReg, tar.TypeSymlink, tar.TypeLink:
		if f.files++; f.files > f.limits.Files {
			return f.limits.tooManyFiles(path)
		}
	case tar.TypeGNUSparse:
		return sparse(h)
	default:
		return otherType(path)
	}
	if strings.HasPrefix(path, f.path+"/") {
		return below(f.path)
	}
	if path != f.path {
		return nil
	}
	if f.found {
		return twice(path)
	}
	if h.Typeflag != tar.TypeReg {
		return polset.Fail(polset.ClassContentInvalid, "%s is a directory or a link. Replace it with a file.", quote(path))
	}
	return f.take(t, h)
}

func (f *finder) take(t *tar.Reader, h *tar.Header) error {
	switch {
	case h.Size > f.most:
		return &TooLargeError{Path: f.path, Size: h.Size, Most: f.most}
	case h.Size > f.plain.left:
		return f.broken(errTooLarge)
	}
	f.found, f.data = true, make([]byte, h.Size)
	if _, err := io.ReadFull(t, f.data); err != nil {
		return f.broken(err)
	}
	return nil
}
