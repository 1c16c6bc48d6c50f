package object_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/polset/polset/internal/polsettest"
	"github.com/polset/polset/store/object"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// quick keeps the waits between attempts out of the tests.
var quick = object.Config{MaxBackoff: time.Millisecond}

// A front stands before the S3 server and may meddle.
type front struct {
	*httptest.Server
	bucket polsettest.Bucket
	// meddle answers a request itself and reports true, or changes it.
	meddle func(w http.ResponseWriter, r *http.Request) bool

	mu   sync.Mutex
	seen []string // the requests, as method and whether they are conditional
}

func newFront(t *testing.T, start func(http.Handler) *httptest.Server, meddle func(http.ResponseWriter, *http.Request) bool) *front {
	t.Helper()
	f := &front{bucket: polsettest.NewBucket(t), meddle: meddle}
	t.Setenv("AWS_ACCESS_KEY_ID", f.bucket.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", f.bucket.SecretKey)
	to, err := url.Parse(f.bucket.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // which is signed
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	f.Server = start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note := r.Method
		if r.Header.Get("If-None-Match") != "" {
			note += " if none"
		}
		f.mu.Lock()
		f.seen = append(f.seen, note)
		f.mu.Unlock()
		if !f.meddle(w, r) {
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(f.Close)
	return f
}

// open opens the bucket through the front.
func (f *front) open(t *testing.T, config object.Config) object.Bucket {
	t.Helper()
	through := f.bucket
	through.Endpoint = f.URL
	return open(t, through.URL("prefix"), config)
}

// direct opens the bucket past the front.
func (f *front) direct(t *testing.T) object.Bucket {
	t.Helper()
	return open(t, f.bucket.URL("prefix"), object.Config{})
}

func (f *front) requests() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := strings.Join(f.seen, ", ")
	f.seen = nil
	return all
}

func refuse(w http.ResponseWriter, status int, code string) bool {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code><Message>as told</Message></Error>")
	return true
}

// times does something the first n times.
func times(n int, do func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	var done atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool {
		return done.Add(1) <= int64(n) && do(w, r)
	}
}

func TestS3Retries(t *testing.T) {
	key, data := content(1, 300_000)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	for label, trouble := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"case 94 SlowDown": func(w http.ResponseWriter, _ *http.Request) bool { return refuse(w, 503, "SlowDown") },
		"case 94 bare 503": func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		},
		"case 94 500":         func(w http.ResponseWriter, _ *http.Request) bool { return refuse(w, 500, "InternalError") },
		"case 94 conflict":    func(w http.ResponseWriter, _ *http.Request) bool { return refuse(w, 409, "ConditionalRequestConflict") },
		"case 94 broken line": func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
		"case 94 timeout": func(_ http.ResponseWriter, r *http.Request) bool {
			_, _ = io.Copy(io.Discard, r.Body)
			select {
			case <-release:
			case <-r.Context().Done():
			}
			return true
		},
	} {
		t.Run(label, func(t *testing.T) {
			f := newFront(t, httptest.NewServer, times(2, trouble))
			config := quick
			config.AttemptTimeout = 2 * time.Second
			if strings.HasSuffix(label, "timeout") {
				config.AttemptTimeout = 100 * time.Millisecond
			}
			b := f.open(t, config)
			put(t, b, key, data)
			if got, want := f.requests(), "PUT if none, PUT if none, PUT if none, HEAD"; got != want {
				t.Errorf("requests: %s; want %s", got, want)
			}
			wantObject(t, b, key, data)
		})
	}

	t.Run("case 94 the number of attempts is bounded", func(t *testing.T) {
		core, logged := observer.New(zap.DebugLevel)
		f := newFront(t, httptest.NewServer, func(w http.ResponseWriter, _ *http.Request) bool { return refuse(w, 503, "SlowDown") })
		config := quick
		config.MaxAttempts, config.Logger = 4, zap.New(core)
		b := f.open(t, config)
		err := b.Put(t.Context(), key, int64(len(data)), bytes.NewReader(data))
		if err == nil || !strings.Contains(err.Error(), "SlowDown") {
			t.Errorf("got %v", err)
		}
		if got, want := f.requests(), "PUT if none, PUT if none, PUT if none, PUT if none"; got != want {
			t.Errorf("requests: %s; want %s", got, want)
		}
		if logged.Len() == 0 {
			t.Error("nothing was logged of the retries")
		}
		wantNothing(t, f.direct(t), key)
	})

	t.Run("case 94 the time of all attempts is bounded", func(t *testing.T) {
		f := newFront(t, httptest.NewServer, func(_ http.ResponseWriter, r *http.Request) bool {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			return true
		})
		b := f.open(t, object.Config{Timeout: 200 * time.Millisecond})
		if err := b.Put(t.Context(), key, int64(len(data)), bytes.NewReader(data)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})

	t.Run("case 94 nobody listens", func(t *testing.T) {
		f := newFront(t, httptest.NewServer, func(http.ResponseWriter, *http.Request) bool { return false })
		b := f.open(t, quick)
		f.Close()
		err := b.Check(t.Context())
		if err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("got %v", err)
		}
		wantNoCredentials(t, f.bucket, err)
	})
}

func TestS3LostAnswer(t *testing.T) {
	key, data := content(1, 1000)
	// The first put arrives, but its answer does not.
	var f *front
	f = newFront(t, httptest.NewServer, times(1, func(http.ResponseWriter, *http.Request) bool {
		put(t, f.direct(t), key, data)
		panic(http.ErrAbortHandler)
	}))
	b := f.open(t, quick)
	put(t, b, key, data)
	if got, want := f.requests(), "PUT if none, PUT if none, HEAD"; got != want {
		t.Errorf("requests: %s; want %s", got, want)
	}
	wantObject(t, b, key, data)
}

func TestS3RefusesBytesThatChangeOnTheWay(t *testing.T) {
	key, data := content(1, 100_000)
	for label, change := range map[string]func(*http.Request){
		"case 95 one bit": func(r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			body[50_000] ^= 1
			r.Body = io.NopCloser(bytes.NewReader(body))
		},
		"case 95 cut": func(r *http.Request) {
			r.Body = io.NopCloser(io.LimitReader(r.Body, 50_000))
			r.ContentLength = 50_000
		},
	} {
		t.Run(label, func(t *testing.T) {
			f := newFront(t, httptest.NewServer, func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPut {
					change(r)
				}
				return false
			})
			err := f.open(t, quick).Put(t.Context(), key, int64(len(data)), bytes.NewReader(data))
			if err == nil {
				t.Error("stored")
			}
			wantNothing(t, f.direct(t), key)
		})
	}

	// A storage that checks nothing is found out by its own word.
	t.Run("case 95 a storage that keeps half", func(t *testing.T) {
		f := newFront(t, httptest.NewServer, nil)
		f.meddle = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut {
				return false
			}
			_, _ = io.Copy(io.Discard, r.Body)
			store(t, f.bucket, "prefix/"+key, data[:len(data)/2])
			w.WriteHeader(http.StatusOK)
			return true
		}
		err := f.open(t, quick).Put(t.Context(), key, int64(len(data)), bytes.NewReader(data))
		if !errors.Is(err, object.ErrMismatch) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("case 95 a storage that keeps nothing", func(t *testing.T) {
		f := newFront(t, httptest.NewServer, func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusOK)
				return true
			}
			return false
		})
		if err := f.open(t, quick).Put(t.Context(), key, int64(len(data)), bytes.NewReader(data)); err == nil {
			t.Error("believed")
		}
	})
}

// store puts bytes under a name, past every check of ours.
func store(t *testing.T, b polsettest.Bucket, name string, data []byte, algorithm ...types.ChecksumAlgorithm) {
	t.Helper()
	in := &s3.PutObjectInput{Bucket: &b.Name, Key: &name, Body: bytes.NewReader(data)}
	for _, a := range algorithm {
		in.ChecksumAlgorithm = a
	}
	_, err := b.Client().PutObject(context.Background(), in)
	if err != nil {
		t.Errorf("store: %v", err)
	}
}

func TestS3ReplacesDamage(t *testing.T) {
	key, data := content(1, 100_000)
	for label, damaged := range damages(data) {
		// The storage knows the sha256 of what it holds, or it must be read.
		for _, algorithm := range []types.ChecksumAlgorithm{types.ChecksumAlgorithmSha256, types.ChecksumAlgorithmCrc32} {
			t.Run("case 95 "+label+" with "+string(algorithm), func(t *testing.T) {
				bucket := polsettest.NewBucket(t)
				t.Setenv("AWS_ACCESS_KEY_ID", bucket.AccessKey)
				t.Setenv("AWS_SECRET_ACCESS_KEY", bucket.SecretKey)
				store(t, bucket, "prefix/"+key, damaged, algorithm)
				wantDamage(t, open(t, bucket.URL("prefix"), object.Config{}), key, data)
			})
		}
	}
}

// What is there with the right bytes is not sent again, whatever the storage
// can tell of it.
func TestS3KeepsWhatIsThere(t *testing.T) {
	key, data := content(1, 1000)
	for algorithm, want := range map[types.ChecksumAlgorithm]string{
		types.ChecksumAlgorithmSha256: "PUT if none, HEAD",
		types.ChecksumAlgorithmCrc32:  "PUT if none, HEAD, GET",
	} {
		t.Run(string(algorithm), func(t *testing.T) {
			f := newFront(t, httptest.NewServer, func(http.ResponseWriter, *http.Request) bool { return false })
			store(t, f.bucket, "prefix/"+key, data, algorithm)
			put(t, f.open(t, quick), key, data)
			if got := f.requests(); got != want {
				t.Errorf("requests: %s; want %s", got, want)
			}
		})
	}
}

func TestS3WithoutConditionalPuts(t *testing.T) {
	for label, status := range map[string]int{"501": 501, "400": 400} {
		t.Run(label, func(t *testing.T) {
			f := newFront(t, httptest.NewServer, func(w http.ResponseWriter, r *http.Request) bool {
				return r.Header.Get("If-None-Match") != "" && refuse(w, status, "NotImplemented")
			})
			b := f.open(t, quick)
			one, data := content(1, 1000)
			put(t, b, one, data)
			if got, want := f.requests(), "PUT if none, HEAD, PUT, HEAD"; got != want {
				t.Errorf("the first put: %s; want %s", got, want)
			}
			wantObject(t, b, one, data)
			f.requests()

			put(t, b, one, data)
			if got, want := f.requests(), "HEAD, HEAD"; got != want {
				t.Errorf("a put of what is there: %s; want %s", got, want)
			}
			two, more := content(2, 1000)
			put(t, b, two, more)
			if got, want := f.requests(), "HEAD, PUT, HEAD"; got != want {
				t.Errorf("it was not remembered: %s; want %s", got, want)
			}
			wantObject(t, b, two, more)

			three, rest := content(3, 1000)
			store(t, f.bucket, "prefix/"+three, rest[:10])
			wantDamage(t, b, three, rest)
		})
	}
}

// Over TLS the payload stays signed with its digest, and the environment's CA
// bundle holds.
func TestS3OverTLS(t *testing.T) {
	var hash, checksum atomic.Value
	f := newFront(t, httptest.NewTLSServer, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			hash.Store(r.Header.Get("X-Amz-Content-Sha256"))
			checksum.Store(r.Header.Get("X-Amz-Checksum-Sha256"))
		}
		return false
	})
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
	if err := os.WriteFile(bundle, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", bundle)
	var wrapped atomic.Int64
	config := quick
	config.Wrap = func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			wrapped.Add(1)
			return next.RoundTrip(r)
		})
	}
	b := f.open(t, config)
	key, data := content(1, 100_000)
	put(t, b, key, data)
	wantObject(t, b, key, data)
	if hash.Load() != key {
		t.Errorf("the payload is signed as %v, want %s", hash.Load(), key)
	}
	if checksum.Load() == "" {
		t.Error("no checksum was sent")
	}
	if wrapped.Load() == 0 {
		t.Error("the transport was not wrapped")
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestS3Credentials(t *testing.T) {
	bucket := polsettest.NewBucket(t)
	key, data := content(1, 10)
	for label, tc := range map[string]struct{ access, secret, want string }{
		"wrong secret": {bucket.AccessKey, "a-wrong-secret", "SignatureDoesNotMatch"},
		"unknown key":  {"AKIAUNKNOWN", bucket.SecretKey, "access key ID"},
	} {
		t.Run(label, func(t *testing.T) {
			t.Setenv("AWS_ACCESS_KEY_ID", tc.access)
			t.Setenv("AWS_SECRET_ACCESS_KEY", tc.secret)
			b := open(t, bucket.URL("prefix"), quick)
			_, serr := b.Stat(t.Context(), key)
			_, _, oerr := b.Open(t.Context(), key)
			for verb, err := range map[string]error{
				"check": b.Check(t.Context()),
				"put":   b.Put(t.Context(), key, 10, bytes.NewReader(data)),
				"open":  oerr,
			} {
				if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), bucket.Name) {
					t.Errorf("%s says %v, want %s and the bucket", verb, err, tc.want)
				}
				wantNoCredentials(t, polsettest.Bucket{AccessKey: tc.access, SecretKey: tc.secret}, err)
			}
			if serr == nil || errors.Is(serr, fs.ErrNotExist) {
				t.Errorf("stat says %v", serr)
			}
		})
	}

	t.Run("none", func(t *testing.T) {
		for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"} {
			t.Setenv(name, "")
		}
		none := filepath.Join(t.TempDir(), "none")
		t.Setenv("AWS_CONFIG_FILE", none)
		t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
		t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
		err := open(t, bucket.URL("prefix"), quick).Check(t.Context())
		if err == nil || !strings.Contains(err.Error(), "credentials") {
			t.Errorf("got %v", err)
		}
	})
}

func wantNoCredentials(t *testing.T, b polsettest.Bucket, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, secret := range []string{b.SecretKey, b.AccessKey, "Authorization", "Signature="} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows %q: %v", secret, err)
		}
	}
}

func TestS3MissingBucket(t *testing.T) {
	bucket := polsettest.NewBucket(t)
	t.Setenv("AWS_ACCESS_KEY_ID", bucket.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", bucket.SecretKey)
	bucket.Name += "-gone"
	b := open(t, bucket.URL("prefix"), quick)
	key, data := content(1, 10)
	_, _, oerr := b.Open(t.Context(), key)
	_, serr := b.Stat(t.Context(), key)
	for verb, err := range map[string]error{
		"check": b.Check(t.Context()),
		"put":   b.Put(t.Context(), key, 10, bytes.NewReader(data)),
		"open":  oerr,
		"stat":  serr,
	} {
		if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "NoSuchBucket") {
			t.Errorf("%s says %v", verb, err)
		}
	}
}

func TestS3Addresses(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_REGION", "eu-west-1")
	key, _ := content(1, 10)
	for url, want := range map[string]string{
		"s3://bucket?endpoint=http://storage.example.com":                      "http://bucket.storage.example.com/" + key,
		"s3://bucket?endpoint=http://storage.example.com&path-style=false":     "http://bucket.storage.example.com/" + key,
		"s3://bucket/a/b?endpoint=https://storage.example.com&path-style=true": "https://storage.example.com/bucket/a/b/" + key,
		"s3://bucket/a":                     "https://bucket.s3.eu-west-1.amazonaws.com/a/" + key,
		"s3://bucket/a?region=eu-central-1": "https://bucket.s3.eu-central-1.amazonaws.com/a/" + key,
	} {
		t.Run(url, func(t *testing.T) {
			var got string
			config := quick
			config.MaxAttempts = 1
			config.Wrap = func(http.RoundTripper) http.RoundTripper {
				return roundTripper(func(r *http.Request) (*http.Response, error) {
					got = r.URL.Scheme + "://" + r.URL.Host + r.URL.Path
					return nil, errors.New("nobody is asked")
				})
			}
			if _, err := open(t, url, config).Stat(t.Context(), key); err == nil {
				t.Error("no error")
			}
			if got != want {
				t.Errorf("asked %s, want %s", got, want)
			}
		})
	}
}

func TestS3Prefix(t *testing.T) {
	bucket := polsettest.NewBucket(t)
	t.Setenv("AWS_ACCESS_KEY_ID", bucket.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", bucket.SecretKey)
	key, data := content(1, 10)
	for _, prefix := range []string{"", "a", "a/b/"} {
		put(t, open(t, bucket.URL(prefix), object.Config{}), key, data)
	}
	list, err := bucket.Client().ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket.Name})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, o := range list.Contents {
		got[*o.Key] = true
	}
	for _, want := range []string{key, "a/" + key, "a/b/" + key} {
		if !got[want] {
			t.Errorf("%s is missing from %v", want, got)
		}
	}
}
