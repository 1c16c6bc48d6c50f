package object_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/polset/polset/internal/polsettest"
	"github.com/polset/polset/store/object"
)

func TestDirectory(t *testing.T) {
	conformance(t, func(t *testing.T) string { return "file://" + t.TempDir() + "/a/b/objects" })
}

func TestS3(t *testing.T) {
	conformance(t, func(t *testing.T) string { return polsettest.S3(t) })
}

func open(t *testing.T, url string, config object.Config) object.Bucket {
	t.Helper()
	b, err := object.Open(t.Context(), url, config)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// content is n bytes of their own for each seed, and their key.
func content(seed byte, n int) (key string, data []byte) {
	data = make([]byte, n)
	if _, err := io.ReadFull(rand.NewChaCha8([32]byte{seed}), data); err != nil {
		panic(err)
	}
	return keyOf(data), data
}

func keyOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func put(t *testing.T, b object.Bucket, key string, data []byte) {
	t.Helper()
	if err := b.Put(t.Context(), key, int64(len(data)), bytes.NewReader(data)); err != nil {
		t.Fatalf("put: %v", err)
	}
}

// wantObject checks that the object is there and what it should be.
func wantObject(t *testing.T, b object.Bucket, key string, want []byte) {
	t.Helper()
	r, size, err := b.Open(t.Context(), key)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	got, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("read: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if !bytes.Equal(got, want) || size != int64(len(want)) {
		t.Errorf("got %d bytes, said to be %d, want %d; equal: %t", len(got), size, len(want), bytes.Equal(got, want))
	}
	if size, err := b.Stat(t.Context(), key); err != nil || size != int64(len(want)) {
		t.Errorf("stat: %d, %v", size, err)
	}
	if err := object.Verify(t.Context(), b, key); err != nil {
		t.Errorf("verify: %v", err)
	}
}

// wantNothing checks that there is no such object.
func wantNothing(t *testing.T, b object.Bucket, key string) {
	t.Helper()
	if _, err := b.Stat(context.Background(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat says %v, want that it does not exist", err)
	}
	if r, _, err := b.Open(context.Background(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open says %v, want that it does not exist", err)
		if err == nil {
			_ = r.Close()
		}
	}
	if err := object.Verify(context.Background(), b, key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("verify says %v, want that it does not exist", err)
	}
}

// conformance is what every driver promises. newURL names an empty storage.
func conformance(t *testing.T, newURL func(*testing.T) string) {
	fresh := func(t *testing.T) object.Bucket { return open(t, newURL(t), object.Config{}) }

	t.Run("put and open", func(t *testing.T) {
		b := fresh(t)
		for i, n := range []int{0, 1, 512, 100_000, 6 << 20} {
			key, data := content(byte(i), n)
			put(t, b, key, data)
			wantObject(t, b, key, data)
		}
	})

	t.Run("the reader's position does not matter", func(t *testing.T) {
		b := fresh(t)
		key, data := content(1, 1000)
		r := bytes.NewReader(data)
		if _, err := r.Seek(500, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if err := b.Put(t.Context(), key, 1000, r); err != nil {
			t.Fatal(err)
		}
		wantObject(t, b, key, data)
	})

	t.Run("a second put changes nothing", func(t *testing.T) {
		b := fresh(t)
		key, data := content(1, 1000)
		put(t, b, key, data)
		put(t, b, key, data)
		wantObject(t, b, key, data)
	})

	t.Run("what was put outlives the bucket", func(t *testing.T) {
		url := newURL(t)
		key, data := content(1, 1000)
		put(t, open(t, url, object.Config{}), key, data)
		wantObject(t, open(t, url, object.Config{}), key, data)
	})

	t.Run("missing", func(t *testing.T) {
		key, _ := content(1, 10)
		wantNothing(t, fresh(t), key)
	})

	t.Run("keys", func(t *testing.T) {
		b := fresh(t)
		key, data := content(1, 10)
		for _, bad := range []string{"", "a", key[:63], key + "0", strings.ToUpper(key), "../" + key[3:], key[:63] + "/", key[:63] + "g"} {
			err := b.Put(t.Context(), bad, 10, bytes.NewReader(data))
			_, serr := b.Stat(t.Context(), bad)
			_, _, oerr := b.Open(t.Context(), bad)
			for verb, err := range map[string]error{"put": err, "stat": serr, "open": oerr} {
				if err == nil || !strings.Contains(err.Error(), "not a sha256") {
					t.Errorf("%s of key %q: %v", verb, bad, err)
				}
			}
		}
	})

	t.Run("case 95 bytes that are not those promised", func(t *testing.T) {
		b := fresh(t)
		key, data := content(1, 100_000)
		flipped := bytes.Clone(data)
		flipped[70_000] ^= 1
		for label, lie := range map[string]struct {
			size int64
			data []byte
		}{
			"one bit":          {int64(len(data)), flipped},
			"one byte less":    {int64(len(data)), data[:len(data)-1]},
			"one byte more":    {int64(len(data)), append(bytes.Clone(data), 0)},
			"a smaller size":   {int64(len(data)) - 1, data},
			"a larger size":    {int64(len(data)) + 1, data},
			"a negative size":  {-1, data},
			"nothing":          {int64(len(data)), nil},
			"nothing promised": {0, nil},
		} {
			check := func(t *testing.T) {
				t.Helper()
				if err := b.Put(t.Context(), key, lie.size, bytes.NewReader(lie.data)); !errors.Is(err, object.ErrMismatch) {
					t.Errorf("%s: got %v", label, err)
				}
			}
			check(t)
			wantNothing(t, b, key)
		}
		put(t, b, key, data)
		for _, size := range []int64{0, int64(len(data)) - 1, int64(len(data)) + 1} {
			if err := b.Put(t.Context(), key, size, bytes.NewReader(data)); !errors.Is(err, object.ErrMismatch) {
				t.Errorf("size %d of an object that is there: %v", size, err)
			}
		}
		if err := b.Put(t.Context(), key, int64(len(data)), bytes.NewReader(flipped)); !errors.Is(err, object.ErrMismatch) {
			t.Errorf("one bit of an object that is there: %v", err)
		}
		wantObject(t, b, key, data)
	})

	t.Run("case 95 reader that fails", func(t *testing.T) {
		b := fresh(t)
		key, data := content(1, 100_000)
		broken := errors.New("disk on fire")
		r := &spoiled{ReadSeeker: bytes.NewReader(data), after: 50_000, fail: func() error { return broken }}
		if err := b.Put(t.Context(), key, int64(len(data)), r); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		wantNothing(t, b, key)
	})

	t.Run("case 95 cancelled on the way", func(t *testing.T) {
		const size = 8 << 20
		key, data := content(1, size)
		fired := 0
		// Some drivers read twice, once to check and once to send.
		for _, after := range []int{0, size / 2, size + size/2} {
			b := fresh(t)
			ctx, cancel := context.WithCancel(t.Context())
			r := &spoiled{ReadSeeker: bytes.NewReader(data), after: after}
			cancelled := false
			r.fail = func() error { cancelled = true; cancel(); return nil }
			err := b.Put(ctx, key, size, r)
			cancel()
			if !cancelled { // there was no second reading
				wantObject(t, b, key, data)
				continue
			}
			fired++
			if !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled after %d bytes: got %v", after, err)
			}
			wantNothing(t, b, key)
			put(t, b, key, data)
			wantObject(t, b, key, data)
		}
		if fired < 2 {
			t.Errorf("only %d puts were cancelled on the way", fired)
		}
	})

	t.Run("a context that has ended", func(t *testing.T) {
		b := fresh(t)
		key, data := content(1, 10)
		put(t, b, key, data)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, serr := b.Stat(ctx, key)
		_, _, oerr := b.Open(ctx, key)
		for verb, err := range map[string]error{
			"put":    b.Put(ctx, key, 10, bytes.NewReader(data)),
			"stat":   serr,
			"open":   oerr,
			"check":  b.Check(ctx),
			"verify": object.Verify(ctx, b, key),
		} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v", verb, err)
			}
		}
	})

	t.Run("the context governs reading", func(t *testing.T) {
		b := fresh(t)
		key, data := content(1, 6<<20)
		put(t, b, key, data)
		ctx, cancel := context.WithCancel(t.Context())
		r, _, err := b.Open(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})

	t.Run("many puts of one object at once", func(t *testing.T) {
		url := newURL(t)
		key, data := content(1, 200_000)
		errs := make([]error, 12)
		var all sync.WaitGroup
		for i := range errs {
			b := open(t, url, object.Config{}) // as another process would
			all.Go(func() { errs[i] = b.Put(t.Context(), key, int64(len(data)), bytes.NewReader(data)) })
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
		wantObject(t, open(t, url, object.Config{}), key, data)
	})

	t.Run("many objects at once", func(t *testing.T) {
		b := fresh(t)
		var all sync.WaitGroup
		for i := range byte(12) {
			key, data := content(i, 20_000)
			all.Go(func() {
				if err := b.Put(t.Context(), key, int64(len(data)), bytes.NewReader(data)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for i := range byte(12) {
			key, data := content(i, 20_000)
			wantObject(t, b, key, data)
		}
	})

	t.Run("check", func(t *testing.T) {
		b := fresh(t)
		for range 2 {
			if err := b.Check(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

// wantDamage checks that a damaged object is noticed by every reader, that
// nobody gets all of it, and that the next put replaces it.
func wantDamage(t *testing.T, b object.Bucket, key string, data []byte) {
	t.Helper()
	if err := object.Verify(t.Context(), b, key); !errors.Is(err, object.ErrMismatch) {
		t.Errorf("verify says %v", err)
	}
	r, size, err := b.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if !errors.Is(err, object.ErrMismatch) {
		t.Errorf("read says %v", err)
	}
	if size > 0 && int64(len(got)) >= size {
		t.Errorf("the reader gave all %d bytes", size)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	put(t, b, key, data)
	wantObject(t, b, key, data)
}

// damages are what may become of data.
func damages(data []byte) map[string][]byte {
	flipped := bytes.Clone(data)
	flipped[len(flipped)-1] ^= 0x80
	return map[string][]byte{
		"one bit":  flipped,
		"cut":      data[:len(data)/2],
		"emptied":  {},
		"appended": append(bytes.Clone(data), 'x'),
	}
}

// A spoiled reader does something before it reads on after so many bytes.
type spoiled struct {
	io.ReadSeeker
	after int
	read  int
	once  bool
	fail  func() error
}

func (s *spoiled) Read(p []byte) (int, error) {
	if s.read >= s.after && !s.once {
		s.once = true
		if err := s.fail(); err != nil {
			return 0, err
		}
	}
	n, err := s.ReadSeeker.Read(p[:min(len(p), 32<<10)])
	s.read += n
	return n, err
}
