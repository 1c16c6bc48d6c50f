package archive

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/polset/polset"
)

// A parcel is a tar.gz that somebody else made, while it is opened.
type parcel struct {
	limits Limits
	src    *bufio.Reader
	plain  *inflated
	last   string // the path that was read last
}

// An entryFunc takes an entry of a parcel, whose path is clean and "" for the
// root. Names are not judged yet.
type entryFunc func(t *tar.Reader, path string, h *tar.Header) error

// open hands over the entries in their order, and sees to it that there is
// nothing else. An error that is no *polset.Failure is one of reading r, or of
// ctx, or the entryFunc's own.
func (p *parcel) open(ctx context.Context, r io.Reader, entry entryFunc) error {
	src := &source{ctx: ctx, r: r}
	err := p.readAll(src, entry)
	if src.err != nil {
		return fmt.Errorf("read archive: %w", src.err) // whatever it was taken for
	}
	return err
}

func (p *parcel) readAll(src io.Reader, entry entryFunc) error {
	p.src = bufio.NewReaderSize(src, 64<<10)
	gz, err := gzip.NewReader(p.src)
	if err != nil {
		return polset.Fail(polset.ClassContentInvalid, "The upload is not a tar.gz archive: it does not begin as gzip does.")
	}
	// Whether several members are one file is a matter of opinion.
	gz.Multistream(false)
	p.plain = &inflated{r: gz, left: p.limits.Bytes}
	if err := p.entries(tar.NewReader(p.plain), entry); err != nil {
		return err
	}
	// The compressor's checksum comes after all that it holds.
	if _, err := io.Copy(io.Discard, p.plain); err != nil {
		return p.broken(err)
	}
	return p.nothingLeft()
}

func (p *parcel) entries(t *tar.Reader, entry entryFunc) error {
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return p.broken(err)
		}
		if err := checkRecords(h); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue // a comment: git archive names the commit so
		}
		path, err := cleanPath(h)
		if err != nil {
			return err
		}
		p.last = h.Name
		if err := entry(t, path, h); err != nil {
			return err
		}
	}
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
	return path, nil
}

func badPath(name, why string) error {
	return polset.Fail(polset.ClassContentInvalid,
		"The path %s is refused: %s. Pack the archive from inside its directory.", quote(name), why)
}

// broken explains an error of the parsers.
func (p *parcel) broken(err error) error {
	if errors.Is(err, errTooLarge) {
		return polset.Fail(polset.ClassLimit,
			"The archive inflates to more than %d bytes, the limit for an archive before compression (%s)%s. Leave files out, or raise the limit.",
			p.limits.Bytes, settingBytes, p.where("; it was reached at or after "))
	}
	why := "it is damaged"
	if errors.Is(err, io.ErrUnexpectedEOF) {
		why = "it ends early"
	}
	return &polset.Failure{
		Class: polset.ClassContentInvalid, Err: err,
		Message: fmt.Sprintf("The upload is not a whole tar.gz archive: %s%s. Pack and upload it again.", why, p.where(" at or after ")),
	}
}

func (p *parcel) where(intro string) string {
	if p.last == "" {
		return ""
	}
	return intro + quote(p.last)
}

// nothingLeft refuses what follows the compressed bytes.
func (p *parcel) nothingLeft() error {
	next, err := p.src.Peek(2)
	if len(next) == 0 && errors.Is(err, io.EOF) {
		return nil
	}
	if len(next) == 2 && next[0] == 0x1f && next[1] == 0x8b {
		return polset.Fail(polset.ClassContentInvalid,
			"The upload consists of several gzip members, which some programs read as one archive and others do not. Pack it in one go.")
	}
	return polset.Fail(polset.ClassContentInvalid, "The upload goes on after the end of the archive. Pack and upload it again.")
}
