package ingest_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
	"github.com/polset/polset/ingest"
)

// packed is a tar.gz of files as clients make it: with ./ and with directories.
func packed(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	w := tar.NewWriter(gz)
	now := time.Now()
	put := func(h tar.Header, data string) {
		h.ModTime, h.Uid, h.Uname, h.Size = now, 1000, "somebody", int64(len(data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, data); err != nil {
			t.Fatal(err)
		}
	}
	put(tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o700}, "")
	names := slices.Sorted(maps.Keys(files))
	slices.Reverse(names)
	for _, name := range names {
		put(tar.Header{Typeflag: tar.TypeReg, Name: "./" + name, Mode: 0o600}, files[name])
	}
	if err := errors.Join(w.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func goodUpload(t testing.TB) []byte {
	return packed(t, map[string]string{"policies.hcl": config, "a.rego": rego + "# a\n"})
}

// An uploads world is a world with an uploader, and a bucket that may fail.
type uploadsWorld struct {
	*world
	*ingest.Uploader
	bucket *bucket
	set    polset.PolicySet
}

// A bucket is an object storage whose next puts a test decides upon.
type bucket struct {
	ingest.Objects
	mu    sync.Mutex
	onPut func(context.Context) error
}

func (b *bucket) Put(ctx context.Context, key string, size int64, body io.ReadSeeker) error {
	b.mu.Lock()
	on := b.onPut
	b.mu.Unlock()
	if on != nil {
		if err := on(ctx); err != nil {
			return err
		}
	}
	return b.Objects.Put(ctx, key, size, body)
}

func (b *bucket) on(f func(context.Context) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.onPut = f
}

func newUploadsWorld(t *testing.T, adjust func(*ingest.Config), with ingest.UploaderConfig) *uploadsWorld {
	t.Helper()
	w := &uploadsWorld{bucket: &bucket{}}
	w.world = newWorld(t, func(c *ingest.Config) {
		w.bucket.Objects, c.Objects = c.Objects, w.bucket
		if adjust != nil {
			adjust(c)
		}
	})
	w.Uploader = w.uploader(with)
	var err error
	w.set, err = w.store.CreatePolicySet(w.ctx, admin, polset.PolicySetDraft{
		Organization: "acme", Name: "uploads", Kind: polset.KindOPA, PoliciesPath: "does/not/matter",
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// uploader is another process's, as far as the rows are concerned.
func (w *uploadsWorld) uploader(with ingest.UploaderConfig) *ingest.Uploader {
	w.t.Helper()
	with.Worker, with.Uploads = w.worker, w.store
	u, err := ingest.NewUploader(with)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(u.Close)
	return u
}

func (w *uploadsWorld) awaiting() string {
	w.t.Helper()
	v, err := w.store.CreateVersion(w.ctx, admin, w.set.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return v.ID
}

func (w *uploadsWorld) version(id string) polset.Version {
	w.t.Helper()
	v, err := w.store.Version(w.ctx, admin, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func (w *uploadsWorld) upload(id string, body []byte) polset.Version {
	w.t.Helper()
	v, err := w.Upload(w.ctx, admin, id, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// wantAgain checks for a failure after which the client sends the same again.
func wantAgain(t *testing.T, err error, class polset.Class) {
	t.Helper()
	var f *polset.Failure
	if !errors.As(err, &f) || !f.Retry || f.Class != class {
		t.Errorf("got %v, want a passing failure of class %s", err, class)
	}
}

func TestUploadIsWhatAPushIs(t *testing.T) {
	w := newUploadsWorld(t, nil, ingest.UploaderConfig{})
	w.follow(polset.Head{Branch: "main", Commit: commitA})
	w.work(commitA)
	_, pushed := w.last()
	v := w.upload(w.awaiting(), goodUpload(t))
	if v.Status != polset.VersionReady || v.Artifact.TarDigest != pushed.Artifact.TarDigest || v.Artifact.Digest != pushed.Artifact.Digest {
		t.Fatalf("uploaded %+v, pushed %+v", v, pushed)
	}
	// The files of a push lie below its policies-path.
	want := slices.Clone(pushed.Artifact.Policies)
	for n := range want {
		want[n].File = strings.TrimPrefix(want[n].File, "p/")
	}
	if got := v.Artifact.Policies; len(got) != 1 || got[0] != want[0] {
		t.Errorf("policies %+v, want %+v", got, want)
	}
	if v.Artifact.PoliciesDirectory != "" || v.Artifact.Content.Tree != "" || v.Artifact.Files != 2 {
		t.Errorf("artifact %+v", v.Artifact)
	}
	set, err := w.store.PolicySet(w.ctx, admin, w.set.ID)
	if err != nil || set.CurrentVersionID != v.ID {
		t.Errorf("current is %q, %v", set.CurrentVersionID, err)
	}
}

func TestUploadErrors(t *testing.T) {
	big := packed(t, map[string]string{"policies.hcl": config, "a.rego": rego, "big": strings.Repeat("x", 3000)})
	for _, c := range []struct {
		name   string
		adjust func(*ingest.Config)
		body   []byte
		class  polset.Class
		says   string
	}{
		{"case 69 too large", func(c *ingest.Config) { c.Limits = archive.Limits{Bytes: 4000} }, big, polset.ClassLimit, "POLSET_MAX_ARCHIVE_BYTES"},
		{"case 69 a file too large", func(c *ingest.Config) { c.Limits = archive.Limits{FileBytes: 2000} }, big, polset.ClassLimit, `"big"`},
		{"case 71 no archive", nil, []byte("no archive"), polset.ClassContentInvalid, "not a tar.gz"},
		{"case 65 a path that climbs out", nil, packed(t, map[string]string{"../../evil": "x"}), polset.ClassContentInvalid, "evil"},
		{"case 45 nothing to enforce", nil, packed(t, map[string]string{"sub/policies.hcl": config}), polset.ClassNoPolicies, "root directory"},
		{"a policy that does not compile", nil, packed(t, map[string]string{"policies.hcl": config, "a.rego": "package a\n\ndeny if {\n"}), polset.ClassPolicyInvalid, "a.rego:"},
		{"a source outside of the archive", nil, packed(t, map[string]string{"policies.hcl": "policy \"a\" {\n  source = \"../a.rego\"\n}\n"}), polset.ClassPolicyInvalid, "policies.hcl:"},
		{"too long to compile", func(c *ingest.Config) { c.ValidateTimeout = time.Nanosecond }, goodUpload(t), polset.ClassLimit, "POLSET_VALIDATE_TIMEOUT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newUploadsWorld(t, c.adjust, ingest.UploaderConfig{})
			id := w.awaiting()
			v := w.upload(id, c.body)
			if v.Status != polset.VersionErrored || v.Error != c.class || !strings.Contains(v.ErrorMessage, c.says) || v.IngressingAt.IsZero() {
				t.Errorf("version %+v", v)
			}
			if set, err := w.store.PolicySet(w.ctx, admin, w.set.ID); err != nil || set.CurrentVersionID != "" || set.NewestVersionID != id {
				t.Errorf("policy set %+v, %v", set, err)
			}
			if _, err := w.Upload(w.ctx, admin, id, bytes.NewReader(goodUpload(t))); !errors.Is(err, polset.ErrConflict) {
				t.Errorf("case 78 a second upload: %v", err)
			}
		})
	}
}

func TestUploadAgain(t *testing.T) {
	down := &polset.Failure{Class: polset.ClassStorage, Message: "It is down.", Retry: true}
	t.Run("case 94 while the storage is down, however long", func(t *testing.T) {
		w := newUploadsWorld(t, func(c *ingest.Config) { c.MaxAttempts = 2 }, ingest.UploaderConfig{})
		w.bucket.on(func(context.Context) error { return down })
		id := w.awaiting()
		for range 5 {
			_, err := w.Upload(w.ctx, admin, id, bytes.NewReader(goodUpload(t)))
			wantAgain(t, err, polset.ClassStorage)
			if v := w.version(id); v.Status != polset.VersionIngressing {
				t.Fatalf("version %+v", v)
			}
		}
		w.bucket.on(nil)
		if v := w.upload(id, goodUpload(t)); v.Status != polset.VersionReady {
			t.Errorf("version %+v", v)
		}
	})
	t.Run("case 103 what breaks polset itself, but not for ever", func(t *testing.T) {
		w := newUploadsWorld(t, func(c *ingest.Config) { c.MaxAttempts = 3 }, ingest.UploaderConfig{})
		w.bucket.on(func(context.Context) error { panic("a bug") })
		id := w.awaiting()
		for range 2 {
			_, err := w.Upload(w.ctx, admin, id, bytes.NewReader(goodUpload(t)))
			wantAgain(t, err, polset.ClassInternal)
		}
		if v := w.upload(id, goodUpload(t)); v.Status != polset.VersionErrored || v.Error != polset.ClassInternal {
			t.Errorf("version %+v", v)
		}
	})
	t.Run("case 97 when the rows go away at the end", func(t *testing.T) {
		broken := &brokenVersions{}
		w := newUploadsWorld(t, func(c *ingest.Config) { broken.Versions, c.Versions = c.Versions, broken }, ingest.UploaderConfig{})
		broken.err = errors.New("connection refused")
		id := w.awaiting()
		_, err := w.Upload(w.ctx, admin, id, bytes.NewReader(goodUpload(t)))
		wantAgain(t, err, polset.ClassInternal)
		broken.err = nil
		if v := w.upload(id, goodUpload(t)); v.Status != polset.VersionReady {
			t.Errorf("version %+v", v)
		}
	})
	t.Run("when the spool breaks", func(t *testing.T) {
		w := newUploadsWorld(t, nil, ingest.UploaderConfig{})
		id := w.awaiting()
		_, err := w.Upload(w.ctx, admin, id, io.MultiReader(bytes.NewReader(goodUpload(t)[:20]), broken{}))
		wantAgain(t, err, polset.ClassInternal)
		if v := w.upload(id, goodUpload(t)); v.Status != polset.VersionReady {
			t.Errorf("version %+v", v)
		}
	})
	t.Run("when the server stops", func(t *testing.T) {
		w := newUploadsWorld(t, nil, ingest.UploaderConfig{})
		arrived := make(chan struct{})
		w.bucket.on(func(ctx context.Context) error { close(arrived); <-ctx.Done(); return ctx.Err() })
		id, answer := w.awaiting(), make(chan error)
		go func() {
			_, err := w.Upload(w.ctx, admin, id, bytes.NewReader(goodUpload(t)))
			answer <- err
		}()
		<-arrived
		go w.Close()
		wantAgain(t, <-answer, polset.ClassInternal)
		w.Close()
		if _, err := w.Upload(w.ctx, admin, id, nil); err == nil {
			t.Error("an uploader that was closed works on")
		}
		// Nobody has to wait for the end of a lease.
		w.bucket.on(nil)
		v, err := w.uploader(ingest.UploaderConfig{}).Upload(w.ctx, admin, id, bytes.NewReader(goodUpload(t)))
		if err != nil || v.Status != polset.VersionReady {
			t.Errorf("version %+v, %v", v, err)
		}
	})
}

type brokenVersions struct {
	ingest.Versions
	err error
}

func (b *brokenVersions) Finish(ctx context.Context, l polset.Lease, a polset.Artifact) error {
	if b.err != nil {
		return b.err
	}
	return b.Versions.Finish(ctx, l, a)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("input/output error") }

func TestUploadsAtOnce(t *testing.T) {
	// held uploads in the background, and holds it where it puts its archive.
	type result struct {
		v   polset.Version
		err error
	}
	held := func(t *testing.T, w *uploadsWorld, ctx context.Context, id string) (goOn func(), answer chan result) { //nolint:revive // the test comes first
		t.Helper()
		arrived, wait := make(chan struct{}), make(chan struct{})
		var once sync.Once
		w.bucket.on(func(context.Context) error {
			once.Do(func() { close(arrived); <-wait })
			return nil
		})
		answer = make(chan result, 1)
		go func() {
			v, err := w.Upload(ctx, admin, id, bytes.NewReader(goodUpload(t)))
			answer <- result{v, err}
		}()
		<-arrived
		return func() { close(wait) }, answer
	}
	t.Run("case 78 another while one is worked on", func(t *testing.T) {
		w := newUploadsWorld(t, nil, ingest.UploaderConfig{})
		id := w.awaiting()
		goOn, answer := held(t, w, w.ctx, id)
		if _, err := w.Upload(w.ctx, admin, id, bytes.NewReader(goodUpload(t))); !errors.Is(err, polset.ErrConflict) {
			t.Errorf("a second upload: %v", err)
		}
		goOn()
		if r := <-answer; r.err != nil || r.v.Status != polset.VersionReady {
			t.Errorf("the first: %+v, %v", r.v, r.err)
		}
	})
	t.Run("a client that goes away once all is there", func(t *testing.T) {
		w := newUploadsWorld(t, nil, ingest.UploaderConfig{})
		id := w.awaiting()
		ctx, cancel := context.WithCancel(w.ctx)
		goOn, answer := held(t, w, ctx, id)
		cancel()
		goOn()
		if r := <-answer; r.err != nil || r.v.Status != polset.VersionReady {
			t.Errorf("%+v, %v", r.v, r.err)
		}
	})
	t.Run("the policy set is deleted meanwhile", func(t *testing.T) {
		w := newUploadsWorld(t, nil, ingest.UploaderConfig{})
		goOn, answer := held(t, w, w.ctx, w.awaiting())
		if err := w.store.DeletePolicySet(w.ctx, admin, w.set.ID); err != nil {
			t.Fatal(err)
		}
		goOn()
		if r := <-answer; !errors.Is(r.err, polset.ErrNotFound) {
			t.Errorf("%+v, %v", r.v, r.err)
		}
	})
	t.Run("the organization is deleted meanwhile", func(t *testing.T) {
		w := newUploadsWorld(t, nil, ingest.UploaderConfig{})
		goOn, answer := held(t, w, w.ctx, w.awaiting())
		if err := w.store.DeleteOrganization(w.ctx, admin, "acme"); err != nil {
			t.Fatal(err)
		}
		goOn()
		if r := <-answer; !errors.Is(r.err, polset.ErrNotFound) {
			t.Errorf("%+v, %v", r.v, r.err)
		}
	})
	t.Run("case 100 a lease that was lost", func(t *testing.T) {
		stolen := &stolenLedger{}
		w := newUploadsWorld(t, func(c *ingest.Config) { stolen.Ledger, c.Ledger = c.Ledger, stolen; c.Lease = 30 * time.Millisecond }, ingest.UploaderConfig{})
		id := w.awaiting()
		w.bucket.on(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		if _, err := w.Upload(w.ctx, admin, id, bytes.NewReader(goodUpload(t))); !errors.Is(err, polset.ErrConflict) {
			t.Errorf("%v", err)
		}
		if v := w.version(id); v.Status != polset.VersionIngressing {
			t.Errorf("version %+v", v)
		}
	})
	t.Run("one organization leaves a place to others", func(t *testing.T) {
		w := newUploadsWorld(t, nil, ingest.UploaderConfig{AtOnce: 2, Patience: 10 * time.Millisecond})
		o, err := w.store.CreateOrganization(w.ctx, admin, polset.Organization{Name: "other", Email: "ops@other.example"})
		if err != nil {
			t.Fatal(err)
		}
		set, err := w.store.CreatePolicySet(w.ctx, admin, polset.PolicySetDraft{Organization: o.Name, Name: "uploads", Kind: polset.KindOPA})
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := w.store.CreateVersion(w.ctx, admin, set.ID)
		if err != nil {
			t.Fatal(err)
		}
		goOn, answer := held(t, w, w.ctx, w.awaiting())
		w.bucket.on(func(context.Context) error { return nil })
		_, err = w.Upload(w.ctx, admin, w.awaiting(), bytes.NewReader(goodUpload(t)))
		wantAgain(t, err, polset.ClassLimit)
		other := polset.Principal{Actor: "at-other", OrganizationID: o.ID, Permissions: polset.Permissions()}
		if v, err := w.Upload(w.ctx, other, theirs.ID, bytes.NewReader(goodUpload(t))); err != nil || v.Status != polset.VersionReady {
			t.Errorf("%+v, %v", v, err)
		}
		goOn()
		<-answer
	})
	t.Run("more than have a place", func(t *testing.T) {
		w := newUploadsWorld(t, nil, ingest.UploaderConfig{AtOnce: 1, Patience: 10 * time.Millisecond})
		goOn, answer := held(t, w, w.ctx, w.awaiting())
		other := w.awaiting()
		_, err := w.Upload(w.ctx, admin, other, bytes.NewReader(goodUpload(t)))
		wantAgain(t, err, polset.ClassLimit)
		if v := w.version(other); v.Status != polset.VersionPending {
			t.Errorf("version %+v", v)
		}
		goOn()
		<-answer
		for { // the place is free in a moment
			v, err := w.Upload(w.ctx, admin, other, bytes.NewReader(goodUpload(t)))
			if err == nil {
				if v.Status != polset.VersionReady {
					t.Errorf("version %+v", v)
				}
				return
			}
			wantAgain(t, err, polset.ClassLimit)
		}
	})
}

// A stolenLedger finds at the first renewal that somebody else has the lease.
type stolenLedger struct{ ingest.Ledger }

func (s *stolenLedger) Renew(context.Context, []polset.Lease, time.Duration) error {
	return polset.ErrFenced
}
