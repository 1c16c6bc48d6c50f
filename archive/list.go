package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/gzip"
)

// An Entry is a file or a symbolic link in an archive.
type Entry struct {
	Path   string
	Mode   fs.FileMode // permissions, and fs.ModeSymlink for a link
	Size   int64       // bytes
	Target string      // of a symbolic link
}

// List returns the entries of an archive that Write wrote, in their order. It
// trusts the archive; it is not for what somebody else made.
func List(r io.Reader) ([]Entry, error) {
	gz, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	var entries []Entry
	for in := tar.NewReader(gz); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("list archive: %w", err)
		}
		entries = append(entries, Entry{Path: h.Name, Mode: h.FileInfo().Mode(), Size: h.Size, Target: h.Linkname})
	}
	// The compressor's checksum comes after the tar's end.
	if _, err := io.Copy(io.Discard, gz); err != nil { //nolint:gosec // trusted and discarded
		return nil, fmt.Errorf("list archive: %w", err)
	}
	if err := gz.Close(); err != nil {
		return nil, fmt.Errorf("close archive: %w", err)
	}
	return entries, nil
}
