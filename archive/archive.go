// Package archive turns an fs.FS into a deterministic tar.gz, and an untrusted
// tar.gz into an fs.FS.
//
// The same tree gives the same tar on every machine and in every release, so
// that its digest names the tree. What could differ between two machines, or
// harm the one that unpacks it, is either normalised (times, owners, modes,
// order) or refused with a sentence that names the file.
package archive

// A Summary says what Write wrote.
type Summary struct {
	// Digest is the sha256 of the bytes written, in lower-case hex.
	Digest string
	// TarDigest is the sha256 of the uncompressed tar, in lower-case hex. Unlike
	// Digest it does not depend on the compressor: equal trees have equal
	// TarDigests.
	TarDigest string
	Size      int64 // bytes written
	TarSize   int64 // bytes of the tar
	Files     int   // entries: files and symbolic links
}

// The limits that apply where Limits says nothing.
const (
	DefaultBytes     = 100 << 20
	DefaultFiles     = 20_000
	DefaultFileBytes = 10 << 20
)

// MaxDepth is how many components a path in an archive may have: far beyond any
// real tree, and few enough for every tool that walks one recursively.
const MaxDepth = 1024

// maxPath is how many bytes a path may have: Linux resolves no longer one, so
// that an archive that holds it could not be unpacked.
const maxPath = 4095

// The settings by which an operator sets the limits; messages name them.
const (
	settingBytes     = "POLSET_MAX_ARCHIVE_BYTES"
	settingFiles     = "POLSET_MAX_ARCHIVE_FILES"
	settingFileBytes = "POLSET_MAX_FILE_BYTES"
)

// Limits bound what Read and Write accept. A field that is zero or negative means its
// default.
type Limits struct {
	// Bytes bounds the uncompressed tar, its headers and padding included
	// (DefaultBytes, 100 MiB).
	Bytes int64
	// Files bounds the entries, that is files and symbolic links, and on its
	// own count the directories that hold them (DefaultFiles, 20,000).
	Files int
	// FileBytes bounds a single file (DefaultFileBytes, 10 MiB).
	FileBytes int64
}

// OrDefaults returns l with the defaults in place of what it leaves open.
func (l Limits) OrDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = DefaultBytes
	}
	if l.Files <= 0 {
		l.Files = DefaultFiles
	}
	if l.FileBytes <= 0 {
		l.FileBytes = DefaultFileBytes
	}
	return l
}
