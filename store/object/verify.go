package object

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Verify reads the object and says whether it is what its key says:
// fs.ErrNotExist if it is not there, ErrMismatch if it is damaged.
func Verify(ctx context.Context, bucket Bucket, key string) error {
	r, _, err := bucket.Open(ctx, key)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

// A verifier reads an object and withholds the end of one that is damaged.
type verifier struct {
	io.ReadCloser
	key  string
	left int64
	hash hash.Hash
	err  error // what every further Read returns
}

// verifying wraps r, the reader of an object of size bytes.
func verifying(r io.ReadCloser, key string, size int64) io.ReadCloser {
	return &verifier{ReadCloser: r, key: key, left: size, hash: sha256.New()}
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n := 0
	if v.left > 0 {
		var err error
		n, err = v.ReadCloser.Read(p[:min(int64(len(p)), v.left)])
		v.left -= int64(n)
		v.hash.Write(p[:n]) // never fails
		switch {
		case v.left == 0: // judged below
		case errors.Is(err, io.EOF):
			v.err = fmt.Errorf("read object %s: it ends %d bytes early: %w", v.key, v.left, ErrMismatch)
			return n, v.err
		case err != nil:
			v.err = fmt.Errorf("read object %s: %w", v.key, err)
			return n, v.err
		default:
			return n, nil
		}
	}
	if got := hex.EncodeToString(v.hash.Sum(nil)); got != v.key {
		v.err = fmt.Errorf("read object %s: its sha256 is %s: %w", v.key, got, ErrMismatch)
		return 0, v.err // not even the bytes just read
	}
	v.err = io.EOF
	return n, v.err
}

// checkBytes reads r from its start and says whether it holds exactly size
// bytes with the sha256 key.
func checkBytes(ctx context.Context, key string, size int64, r io.ReadSeeker) error {
	return copyBytes(ctx, io.Discard, key, size, r)
}

// copyBytes copies r from its start to w, and fails unless these were exactly
// size bytes with the sha256 key.
func copyBytes(ctx context.Context, w io.Writer, key string, size int64, r io.ReadSeeker) error {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("rewind the bytes to store: %w", err)
	}
	digest := sha256.New()
	// One byte more than promised is enough to know better.
	n, err := io.Copy(io.MultiWriter(w, digest), withContext{ctx, io.LimitReader(r, max(size, 0)+1)})
	if err != nil {
		return err
	}
	if n != size {
		return fmt.Errorf("there are %d bytes or more to store under %s where %d were promised: %w", n, key, size, ErrMismatch)
	}
	if got := hex.EncodeToString(digest.Sum(nil)); got != key {
		return fmt.Errorf("the bytes to store under %s have the sha256 %s: %w", key, got, ErrMismatch)
	}
	return nil
}

// withContext is a reader that ends with its context.
type withContext struct {
	ctx context.Context // lives as long as one copy
	r   io.Reader
}

func (c withContext) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
