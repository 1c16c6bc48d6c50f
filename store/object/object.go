// Package object turns the sha256 of some bytes into a place that remembers
// them: a directory, or a bucket of any S3-compatible storage.
//
// The key is the digest of what is stored, so that an object never changes, a
// second put of it changes nothing, and whoever reads it can tell whether it is
// what was put.
package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// A Bucket remembers bytes by the sha256 of them in lower-case hex. Its methods
// may be called from many goroutines and many processes at once, and refuse any
// other key. No error holds a credential.
type Bucket interface {
	// Put stores the size bytes of r, read from its start, under key. It returns
	// nil only once exactly these bytes are durable; until then none of them are
	// visible, whatever happens. An object that is there already is success,
	// and one that is there but damaged is replaced. Bytes that are not those
	// of key and size are ErrMismatch, and nothing is stored.
	//
	// Put does not touch r after it has returned. An error other than
	// ErrMismatch may heal with another attempt.
	Put(ctx context.Context, key string, size int64, r io.ReadSeeker) error

	// Open returns the object and its size in bytes. The error of an object that
	// is not there is fs.ErrNotExist, for errors.Is.
	//
	// The reader verifies: of an object that is not what its key says it never
	// gives the last bytes, but ErrMismatch in their place. ctx governs the
	// reading too. The caller closes it.
	Open(ctx context.Context, key string) (io.ReadCloser, int64, error)

	// Stat returns the size of the object in bytes without reading it;
	// fs.ErrNotExist, for errors.Is, if it is not there.
	Stat(ctx context.Context, key string) (int64, error)

	// Check says whether the storage can be reached and written to at the
	// moment. It is cheap enough for a readiness probe.
	Check(ctx context.Context) error
}

// ErrMismatch says that bytes are not those that their key or their size
// promises.
var ErrMismatch = errors.New("the bytes do not match their digest or size")

// Config tunes a Bucket. The zero value is useful.
type Config struct {
	// Logger takes what went unexpectedly well (a damaged object replaced, a
	// request tried again); nothing if nil.
	Logger *zap.Logger

	// The rest is for S3 only.

	// Wrap wraps the transport of S3 requests, for telemetry; not wrapped if
	// nil.
	Wrap func(http.RoundTripper) http.RoundTripper
	// MaxAttempts is how often a request is tried while the storage is busy,
	// broken or silent, the first time included; 5 if 0.
	MaxAttempts int
	// MaxBackoff bounds the wait between two attempts, which doubles from one to
	// the next and is drawn at random; 20 seconds if 0.
	MaxBackoff time.Duration
	// AttemptTimeout bounds the wait for the storage's answer once a request is
	// sent; 30 seconds if 0. It does not bound the transfer of the bytes.
	AttemptTimeout time.Duration
	// Timeout bounds a Put, Stat or Check with all its attempts; 10 minutes if 0.
	Timeout time.Duration
}

func (c Config) orDefaults() Config {
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.MaxAttempts <= 0 {
		c.MaxAttempts = 5
	}
	if c.MaxBackoff <= 0 {
		c.MaxBackoff = 20 * time.Second
	}
	if c.AttemptTimeout <= 0 {
		c.AttemptTimeout = 30 * time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Minute
	}
	return c
}

// Open returns the bucket that url names:
//
//	file:///absolute/directory
//	s3://bucket/prefix?region=eu-central-1&endpoint=https://minio.example.com&path-style=true
//
// The directory is made, readable by its owner only, if it is not there. The
// bucket must be there; the prefix and all parameters are optional. The region
// falls back to the environment's, the endpoint to Amazon's, and path-style to
// false. Credentials are never in the URL: they come from where every AWS tool
// takes them (environment, shared files, web identity, the machine's role).
//
// Open does not speak to S3; Check does.
func Open(ctx context.Context, url string, config Config) (Bucket, error) {
	config = config.orDefaults()
	at, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("object storage URL: %w", err)
	}
	if at.dir != "" {
		return openDir(at.dir, config)
	}
	return openS3(ctx, at, config)
}

// checkKey refuses what is not a sha256 in lower-case hex.
func checkKey(key string) error {
	ok := len(key) == 64
	for i := 0; ok && i < len(key); i++ {
		ok = key[i] >= '0' && key[i] <= '9' || key[i] >= 'a' && key[i] <= 'f'
	}
	if !ok {
		return fmt.Errorf("object key %.80q is not a sha256 in lower-case hex", key)
	}
	return nil
}

// notExist is the error of an object that is not there.
func notExist(op, key string) error {
	return &fs.PathError{Op: op + " object", Path: key, Err: fs.ErrNotExist}
}
