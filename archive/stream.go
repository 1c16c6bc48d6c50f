package archive

import (
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// errTooLarge says that a digester has let through all that it may.
var errTooLarge = errors.New("too large")

// A digester counts and hashes what it passes on, of which there may be most
// bytes unless that is 0.
type digester struct {
	w       io.Writer
	hash    hash.Hash
	n, most int64
}

func (d *digester) Write(p []byte) (int, error) {
	if d.most > 0 && int64(len(p)) > d.most-d.n {
		return 0, errTooLarge
	}
	n, err := d.w.Write(p)
	d.n += int64(n)
	d.hash.Write(p[:n]) // never fails
	return n, err
}

func (d *digester) sum() string { return hex.EncodeToString(d.hash.Sum(nil)) }

// The compressor's tables and the copy buffer are most of what a Write
// allocates, so they serve one Write after another.
var (
	gzips   = sync.Pool{New: func() any { return gzip.NewWriter(io.Discard) }}
	buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}
)

func borrowGzip(w io.Writer) *gzip.Writer {
	gz, ok := gzips.Get().(*gzip.Writer)
	if !ok {
		gz = gzip.NewWriter(io.Discard)
	}
	gz.Reset(w)
	gz.ModTime = time.Unix(0, 0) // the zero time.Time would be written as a date
	return gz
}

func returnGzip(gz *gzip.Writer) {
	gz.Reset(io.Discard) // lets go of the caller's writer
	gzips.Put(gz)
}

func borrowBuffer() *[]byte {
	b, ok := buffers.Get().(*[]byte)
	if !ok {
		s := make([]byte, 32<<10)
		b = &s
	}
	return b
}

func returnBuffer(b *[]byte) { buffers.Put(b) }
