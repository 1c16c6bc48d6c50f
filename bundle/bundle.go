// Package bundle turns the archive of a policy set's version into what OPA
// loads: a bundle, made when somebody first asks for it and kept in a cache.
//
// An archive is what somebody pushed, and stays as it is. A bundle is derived
// from it: it can be made again from the object storage at any time, so that
// losing the cache loses nothing, and a release may make it in another way.
package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
	"github.com/polset/polset/policy"
)

// format counts the ways in which bundles were made. Whoever makes them in
// another way counts on: the entity tags and the cache go by it.
const format = "1"

// Objects holds the archives by their sha256.
type Objects interface {
	Open(ctx context.Context, key string) (io.ReadCloser, int64, error)
}

// Config is what New needs. Objects and Dir are required; the zero value of
// everything else is useful.
type Config struct {
	Objects Objects
	// Dir is where bundles are kept: this process's own, made where it is not
	// there.
	Dir string
	// MaxBytes bounds what is kept. Zero: 512 MiB.
	MaxBytes int64
	// Limits are those that archives were written under.
	Limits archive.Limits
	// Signer signs the bundles. Nil: they are not signed.
	Signer *policy.Signer
	// Timeout bounds the making of a bundle. Zero: a minute.
	Timeout time.Duration
	// Logger receives one entry for each bundle that is made. Nil: none.
	Logger *zap.Logger
}

// Bundles makes bundles and keeps them. It is safe for concurrent use.
type Bundles struct {
	Config
	cache  *cache
	making singleflight.Group
	// slot is for the one bundle that is made at a time: its policies are parsed
	// in this process, whose memory is everybody's.
	slot chan struct{}

	mu      sync.Mutex
	refused map[string]*polset.Failure // what no bundle can be made of, by the key
}

// maxRefused is how many versions are remembered that no bundle can be made of.
const maxRefused = 1000

// New opens the cache. What a crash left there does no harm.
func New(cfg Config) (*Bundles, error) {
	if cfg.Objects == nil || cfg.Dir == "" {
		return nil, errors.New("bundle configuration: Objects and Dir are required")
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 512 << 20
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	kept, err := openCache(cfg.Dir, cfg.MaxBytes, cfg.Logger)
	if err != nil {
		return nil, err
	}
	return &Bundles{Config: cfg, cache: kept, slot: make(chan struct{}, 1), refused: map[string]*polset.Failure{}}, nil
}

// Tag names the bundle of a version: equal tags are equal bundles, on every
// node and before they are made. It is not the digest of the bytes, since two
// ECDSA signatures of the same bundle differ.
func (b *Bundles) Tag(v polset.Version) string {
	h := sha256.New()
	parts := []string{"polset bundle", format, v.ID, v.PolicySetID, v.Commit, v.Artifact.Digest, v.Artifact.PoliciesDirectory}
	if b.Signer != nil {
		parts = append(parts, b.Signer.KeyID(), b.Signer.Algorithm(), b.Signer.Fingerprint())
	}
	for _, part := range parts {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		_, _ = h.Write(size[:]) // a hash does not fail
		_, _ = h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Open returns the bundle of a ready version and its size in bytes. It is made
// once, however many ask for it. Where OPA would not load what the version
// holds, the error is a *polset.Failure of class policy-invalid or limit; where
// another attempt may succeed, one that says so.
func (b *Bundles) Open(ctx context.Context, v polset.Version) (io.ReadCloser, int64, error) {
	key := b.Tag(v)
	if kept, size, ok := b.cache.open(key); ok {
		return kept, size, nil
	}
	b.mu.Lock()
	refused := b.refused[key]
	b.mu.Unlock()
	if refused != nil {
		return nil, 0, refused
	}
	// Whoever asks first may leave; the others still want it.
	made := b.making.DoChan(key, func() (_ any, err error) {
		defer func() {
			if p := recover(); p != nil { // which nobody above could catch
				err = fmt.Errorf("make the bundle of version %s: panic: %v\n%s", v.ID, p, debug.Stack())
			}
		}()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.Timeout)
		defer cancel()
		return b.make(ctx, key, v)
	})
	select {
	case <-ctx.Done():
		return nil, 0, fmt.Errorf("wait for the bundle of version %s: %w", v.ID, ctx.Err())
	case result := <-made:
		if result.Err != nil {
			return nil, 0, result.Err
		}
		content, _ := result.Val.([]byte)
		return io.NopCloser(bytes.NewReader(content)), int64(len(content)), nil
	}
}

// make makes a bundle and keeps it, or remembers why there can be none.
func (b *Bundles) make(ctx context.Context, key string, v polset.Version) ([]byte, error) {
	select {
	case b.slot <- struct{}{}:
		defer func() { <-b.slot }()
	case <-ctx.Done():
		return nil, busy(ctx.Err())
	}
	began := time.Now()
	content, err := b.build(ctx, v)
	var failure *polset.Failure
	switch {
	case errors.As(err, &failure) && !failure.Retry:
		b.Logger.Info("version is no bundle", zap.String("version", v.ID), zap.String("error", string(failure.Class)), zap.String("error_message", failure.Message))
		b.refuse(key, failure)
		return nil, err
	case ctx.Err() != nil:
		return nil, busy(err)
	case err != nil:
		return nil, fmt.Errorf("make the bundle of version %s: %w", v.ID, err)
	}
	b.Logger.Info("bundle made", zap.String("version", v.ID), zap.String("policy_set", v.PolicySetID),
		zap.Int("size", len(content)), zap.Duration("elapsed", time.Since(began)))
	if err := b.cache.put(key, content); err != nil {
		b.Logger.Warn("bundle not kept", zap.String("version", v.ID), zap.Error(err)) // it is made again
	}
	return content, nil
}

func busy(err error) error {
	return &polset.Failure{
		Class: polset.ClassTimeout, Retry: true, RetryAfter: 5 * time.Second, Err: err,
		Message: "The bundle could not be made in time. Ask again later.",
	}
}

func (b *Bundles) refuse(key string, failure *polset.Failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.refused) >= maxRefused {
		clear(b.refused)
	}
	b.refused[key] = failure
}
