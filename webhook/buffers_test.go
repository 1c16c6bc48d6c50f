package webhook

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestBuffers(t *testing.T) {
	const limit = 4 << 20
	spaces := func(n int) io.Reader { return strings.NewReader(strings.Repeat(" ", n)) }

	t.Run("large bodies leave half of the memory", func(t *testing.T) {
		b := newBuffers(limit, 6*limit)
		large := 0
		for b.take(limit) {
			large++
		}
		if large != 3 {
			t.Errorf("%d large bodies at a time; want 3", large)
		}
		in, err := b.read(spaces(firstBuffer - 1))
		if err != nil {
			t.Fatalf("an ordinary body beside them: %v", err)
		}
		in.release()
		for b.take(ordinaryBody) {
			large++
		}
		if b.used != 6*limit {
			t.Errorf("%d bytes lent; want all %d", b.used, 6*limit)
		}
	})

	t.Run("whatever was lent comes back", func(t *testing.T) {
		b := newBuffers(limit, 6*limit)
		for _, size := range []int{0, 1, firstBuffer - 1, firstBuffer, firstBuffer + 1, limit} {
			in, err := b.read(spaces(size))
			if err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if len(in.bytes) != size || b.used != int64(cap(in.bytes)) {
				t.Errorf("%d bytes read of %d, %d lent", len(in.bytes), size, b.used)
			}
			in.release()
		}
		broken := io.MultiReader(spaces(firstBuffer+1), readerFunc(func([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }))
		for want, src := range map[int]io.Reader{http.StatusRequestEntityTooLarge: spaces(limit + 1), http.StatusBadRequest: broken} {
			var r *refusal
			if _, err := b.read(src); !errors.As(err, &r) || r.status != want {
				t.Errorf("read: %v; want status %d", err, want)
			}
		}
		if b.used != 0 {
			t.Errorf("%d bytes are still lent", b.used)
		}
	})

	t.Run("a body that finds no memory gives back what it had", func(t *testing.T) {
		b := newBuffers(limit, 6*limit)
		if !b.take(ordinaryBody) || !b.take(2*limit) || !b.take(2*ordinaryBody) {
			t.Fatal("there is no memory")
		}
		was := b.used
		var r *refusal
		if _, err := b.read(spaces(limit)); !errors.As(err, &r) || r.code != codeBusy || r.retryAfter == 0 {
			t.Errorf("read: %v", err)
		}
		if b.used != was {
			t.Errorf("%d bytes lent; before the refusal %d", b.used, was)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
