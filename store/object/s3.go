package object

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"sync/atomic"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"go.uber.org/zap"
)

// An s3Bucket is a prefix in a bucket of an S3-compatible storage.
type s3Bucket struct {
	client  *s3.Client
	bucket  string
	prefix  string
	timeout time.Duration
	log     *zap.Logger
	// unconditional says that the storage knows no conditional puts.
	unconditional atomic.Bool
}

// Put sends the bytes in one request, with their digest as the signed payload
// hash and as the checksum: the storage refuses, before anything is visible,
// whatever differs on arrival. "If-None-Match: *" keeps what is there already.
func (b *s3Bucket) Put(ctx context.Context, key string, size int64, r io.ReadSeeker) error {
	if err := checkKey(key); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	// Not every storage checks what it is sent, so wrong bytes stay here.
	if err := checkBytes(ctx, key, size, r); err != nil {
		return fmt.Errorf("put object: %w", err)
	}
	there, err := b.putNew(ctx, key, size, r)
	if err != nil {
		return err
	}
	if there {
		err := b.confirm(ctx, key, size, true)
		if !errors.Is(err, ErrMismatch) {
			return err
		}
		b.log.Warn("replace damaged object", zap.String("object", key), zap.Int64("want_size", size), zap.Error(err))
		if err := b.send(ctx, key, size, r, false); err != nil {
			return b.explain("put", key, err)
		}
	}
	return b.confirm(ctx, key, size, false)
}

// putNew sends the object unless it is there, which it reports.
func (b *s3Bucket) putNew(ctx context.Context, key string, size int64, r io.ReadSeeker) (there bool, err error) {
	if !b.unconditional.Load() {
		err := b.send(ctx, key, size, r, true)
		switch status, code := answer(err); {
		case err == nil:
			return false, nil
		case status == http.StatusPreconditionFailed:
			return true, nil
		case status == http.StatusNotImplemented || code == "NotImplemented":
			b.unconditional.Store(true)
			b.log.Info("the object storage knows no conditional puts; it is asked for each object first", zap.String("bucket", b.bucket))
		default:
			return false, b.explain("put", key, err)
		}
	}
	_, err = b.head(ctx, key)
	switch status, _ := answer(err); {
	case err == nil:
		return true, nil
	case status != http.StatusNotFound:
		return false, b.explain("put", key, err)
	}
	if err := b.send(ctx, key, size, r, false); err != nil {
		return false, b.explain("put", key, err)
	}
	return false, nil
}

func (b *s3Bucket) send(ctx context.Context, key string, size int64, r io.ReadSeeker, conditional bool) error {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("rewind the bytes to store: %w", err)
	}
	sum, err := hex.DecodeString(key)
	if err != nil {
		return err
	}
	checksum := base64.StdEncoding.EncodeToString(sum)
	name, contentType, star := b.name(key), "application/octet-stream", "*"
	in := &s3.PutObjectInput{
		Bucket:         &b.bucket,
		Key:            &name,
		Body:           struct{ io.ReadSeeker }{r}, // which nobody can close
		ContentLength:  &size,
		ContentType:    &contentType,
		ChecksumSHA256: &checksum,
	}
	if conditional {
		in.IfNoneMatch = &star
	}
	_, err = b.client.PutObject(ctx, in, s3.WithAPIOptions(signPayload(key)))
	return err
}

// signPayload signs a request with the sha256 of its payload that is known
// already; the SDK would read the payload once more, or over TLS leave it
// unsigned.
func signPayload(digest string) func(*middleware.Stack) error {
	set := middleware.InitializeMiddlewareFunc("PolsetPayloadHash",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			return next.HandleInitialize(v4.SetPayloadHash(ctx, digest), in)
		})
	return func(stack *middleware.Stack) error { return stack.Initialize.Add(set, middleware.Before) }
}

// confirm asks the storage what it has now. What was there before is read where
// the storage cannot tell its sha256; what was just sent needs no such proof,
// since it was accepted with its digest.
func (b *s3Bucket) confirm(ctx context.Context, key string, size int64, before bool) error {
	out, err := b.head(ctx, key)
	if err != nil {
		return b.explain("confirm", key, err)
	}
	if out.ContentLength == nil || *out.ContentLength != size {
		got := int64(-1)
		if out.ContentLength != nil {
			got = *out.ContentLength
		}
		return fmt.Errorf("confirm object %s: the storage has %d bytes of %d: %w", key, got, size, ErrMismatch)
	}
	// A checksum of parts, which ends in their number, says nothing of the whole.
	if out.ChecksumSHA256 == nil || strings.Contains(*out.ChecksumSHA256, "-") {
		if before {
			return Verify(ctx, b, key)
		}
		return nil
	}
	if got, err := base64.StdEncoding.DecodeString(*out.ChecksumSHA256); err != nil || hex.EncodeToString(got) != key {
		return fmt.Errorf("confirm object %s: the storage has the sha256 %x: %w", key, got, ErrMismatch)
	}
	return nil
}

func (b *s3Bucket) head(ctx context.Context, key string) (*s3.HeadObjectOutput, error) {
	name := b.name(key)
	return b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.bucket, Key: &name, ChecksumMode: types.ChecksumModeEnabled})
}

// Open implements Bucket.
func (b *s3Bucket) Open(ctx context.Context, key string) (io.ReadCloser, int64, error) {
	if err := checkKey(key); err != nil {
		return nil, 0, err
	}
	name := b.name(key)
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.bucket, Key: &name})
	if _, code := answer(err); code == "NoSuchKey" {
		return nil, 0, notExist("open", key)
	}
	if err != nil {
		return nil, 0, b.explain("open", key, err)
	}
	if out.ContentLength == nil || *out.ContentLength < 0 {
		return nil, 0, errors.Join(fmt.Errorf("open object %s: the storage does not tell its size", key), out.Body.Close())
	}
	return verifying(out.Body, key, *out.ContentLength), *out.ContentLength, nil
}

// Stat implements Bucket.
func (b *s3Bucket) Stat(ctx context.Context, key string) (int64, error) {
	if err := checkKey(key); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	out, err := b.head(ctx, key)
	if status, _ := answer(err); status == http.StatusNotFound {
		// An answer to HEAD cannot say what it is that was not found: the
		// object, the bucket or, for some, the user.
		r, size, err := b.Open(ctx, key)
		if err != nil {
			return 0, err
		}
		return size, r.Close() // it was put in between
	}
	if err != nil {
		return 0, b.explain("stat", key, err)
	}
	if out.ContentLength == nil {
		return 0, fmt.Errorf("stat object %s: the storage does not tell its size", key)
	}
	return *out.ContentLength, nil
}

// Check puts the empty object, under its own key as any other: it needs the
// very permissions that a Put needs, and from the second time on it changes
// nothing.
func (b *s3Bucket) Check(ctx context.Context) error {
	empty := sha256.Sum256(nil)
	if err := b.Put(ctx, hex.EncodeToString(empty[:]), 0, bytes.NewReader(nil)); err != nil {
		return fmt.Errorf("check S3 bucket: %w", err)
	}
	return nil
}

func (b *s3Bucket) name(key string) string { return path.Join(b.prefix, key) }

// explain says what was being done. The SDK's errors name the operation, the
// server's answer and the request's id; credentials travel in headers, which
// they do not show.
func (b *s3Bucket) explain(op, key string, err error) error {
	return fmt.Errorf("%s object %s in S3 bucket %q: %w", op, key, b.bucket, err)
}

// answer is the HTTP status and the error code of the storage's answer, where
// err is one.
func answer(err error) (status int, code string) {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	return status, code
}
