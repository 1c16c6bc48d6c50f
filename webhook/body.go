package webhook

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	// firstBuffer holds nearly every push: a dozen commits are about 20 KiB.
	firstBuffer = 64 << 10
	// ordinaryBody is what a push of a thousand commits needs. Larger ones may
	// fill half of the memory only, so that a few of them, signed or not,
	// never keep the ordinary ones out.
	ordinaryBody = 1 << 20
)

// buffers lends the memory that bodies are read into and bounds it over all
// requests. Memory is charged as bytes arrive, not as lengths are declared:
// who sends nothing holds next to nothing.
type buffers struct {
	maxBody int64
	total   int64
	first   sync.Pool // *[]byte of the first size

	mu   sync.Mutex
	used int64
}

func newBuffers(maxBody, total int64) *buffers {
	// One byte more than the largest body tells "full" from "too large".
	size := min(int64(firstBuffer), maxBody+1)
	b := &buffers{maxBody: maxBody, total: total}
	b.first.New = func() any {
		buf := make([]byte, 0, size)
		return &buf
	}
	return b
}

func (b *buffers) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	limit := b.total
	if n > ordinaryBody {
		limit /= 2
	}
	if b.used+n > limit {
		return false
	}
	b.used += n
	return true
}

func (b *buffers) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
}

// A body is a request's body in lent memory. Nothing may refer to its bytes
// after release.
type body struct {
	bytes   []byte
	pooled  *[]byte
	buffers *buffers
}

func (b *body) release() {
	b.buffers.give(int64(cap(b.bytes)))
	if b.pooled != nil {
		b.buffers.first.Put(b.pooled)
	}
	b.bytes, b.pooled = nil, nil
}

// grow makes room for more, at most for one byte beyond the largest body.
func (b *body) grow() bool {
	size := min(2*int64(cap(b.bytes)), b.buffers.maxBody+1)
	if !b.buffers.take(size) {
		return false
	}
	larger := append(make([]byte, 0, size), b.bytes...)
	b.release() // both were held for the time of the copy
	b.bytes = larger
	return true
}

// read reads a whole body, whatever length the request declared. The caller
// releases it.
func (b *buffers) read(src io.Reader) (*body, error) {
	first, ok := b.first.Get().(*[]byte)
	if !ok {
		return nil, errors.New("the pool lent something that is no buffer")
	}
	if !b.take(int64(cap(*first))) {
		b.first.Put(first)
		return nil, busy()
	}
	in := &body{bytes: (*first)[:0], pooled: first, buffers: b}
	for {
		n, err := src.Read(in.bytes[len(in.bytes):cap(in.bytes)])
		in.bytes = in.bytes[:len(in.bytes)+n]
		switch {
		case int64(len(in.bytes)) > b.maxBody:
			in.release()
			return nil, tooLarge(b.maxBody)
		case errors.Is(err, io.EOF):
			return in, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			in.release()
			return nil, refuse(http.StatusRequestTimeout, codeTimeout, "the body did not arrive in time").because(err)
		case err != nil:
			in.release()
			return nil, refuse(http.StatusBadRequest, codeMalformed, "the body could not be read to its end").because(err)
		case len(in.bytes) == cap(in.bytes) && !in.grow():
			in.release()
			return nil, busy()
		}
	}
}

func tooLarge(limit int64) *refusal {
	return refuse(http.StatusRequestEntityTooLarge, codeTooLarge, fmt.Sprintf("the body is larger than %d bytes", limit))
}

func busy() *refusal {
	r := refuse(http.StatusServiceUnavailable, codeBusy, "too many bodies are being read at the moment: deliver again later")
	r.retryAfter = 5 * time.Second
	return r
}
