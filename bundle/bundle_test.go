package bundle_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	opa "github.com/open-policy-agent/opa/v1/bundle"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
	"github.com/polset/polset/bundle"
	"github.com/polset/polset/policy"
)

// objects are archives in memory. Nobody has them while broken says why.
type objects struct {
	mu     sync.Mutex
	held   map[string][]byte
	opened int
	broken error
	wait   chan struct{} // not nil: until it is closed
}

func (o *objects) Open(ctx context.Context, key string) (io.ReadCloser, int64, error) {
	o.mu.Lock()
	o.opened++
	content, err, wait := o.held[key], o.broken, o.wait
	o.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	if err != nil {
		return nil, 0, err
	}
	if content == nil {
		return nil, 0, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(content)), int64(len(content)), nil
}

// version stores an archive of files: names and contents in turn.
func (o *objects) version(t *testing.T, id, dir string, files ...string) polset.Version {
	t.Helper()
	fsys := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		fsys[files[i]] = &fstest.MapFile{Data: []byte(files[i+1]), Mode: 0o644}
	}
	var out bytes.Buffer
	summary, err := archive.Write(t.Context(), &out, fsys, archive.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.held == nil {
		o.held = map[string][]byte{}
	}
	o.held[summary.Digest] = out.Bytes()
	return polset.Version{
		ID: id, PolicySetID: "polset-1", Commit: "abc", Status: polset.VersionReady,
		Artifact: polset.Artifact{Digest: summary.Digest, PoliciesDirectory: dir},
	}
}

func (o *objects) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.opened
}

func open(t *testing.T, o *objects, adjust ...func(*bundle.Config)) *bundle.Bundles {
	t.Helper()
	cfg := bundle.Config{Objects: o, Dir: t.TempDir()}
	for _, f := range adjust {
		f(&cfg)
	}
	b, err := bundle.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func in(dir string) func(*bundle.Config) { return func(c *bundle.Config) { c.Dir = dir } }

// get reads a bundle to its end.
func get(t *testing.T, b *bundle.Bundles, v polset.Version) []byte {
	t.Helper()
	r, size, err := b.Open(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if int64(len(content)) != size {
		t.Errorf("%d bytes, and %d were promised", len(content), size)
	}
	return content
}

const (
	rego   = "package a\n\ndeny contains 1 if data.limits.n > 0\n"
	limits = `{"limits": {"n": 1}}`
)

func ordinary(t *testing.T, o *objects, id string) polset.Version {
	t.Helper()
	return o.version(t, id, "", "policies.hcl", "x", "a.rego", rego, "data.json", limits)
}

func TestBundle(t *testing.T) {
	var o objects
	v := o.version(t, "polsetver-1", "policies/aws",
		"policies/aws/policies.hcl", "x", "policies/aws/a.rego", rego, "policies/aws/data.json", limits, "policies/common.rego", "package common\n")
	b := open(t, &o)
	content := get(t, b, v)
	read, err := opa.NewCustomReader(opa.NewTarballLoaderWithBaseURL(bytes.NewReader(content), "")).Read()
	if err != nil {
		t.Fatal(err)
	}
	m := read.Manifest
	if m.Revision != "polsetver-1" || !slices.Equal(*m.Roots, []string{"a", "limits"}) || *m.RegoVersion != 1 {
		t.Errorf("manifest %s", m)
	}
	if diff := cmp.Diff(map[string]any{"policy_set": "polset-1", "version": "polsetver-1", "commit": "abc"}, m.Metadata); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	entries, err := archive.List(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Path)
	}
	if !slices.Equal(names, []string{".manifest", "a.rego", "data.json"}) {
		t.Errorf("the bundle holds %v", names)
	}

	// Another node makes the same bytes, under the same tag.
	other := open(t, &o)
	if !bytes.Equal(content, get(t, other, v)) || b.Tag(v) != other.Tag(v) {
		t.Error("two nodes make two bundles")
	}
	for what, change := range map[string]func(*polset.Version){
		"another version":   func(v *polset.Version) { v.ID = "polsetver-2" },
		"another archive":   func(v *polset.Version) { v.Artifact.Digest = "x" },
		"another directory": func(v *polset.Version) { v.Artifact.PoliciesDirectory = "policies" },
		"another commit":    func(v *polset.Version) { v.Commit = "abd" },
	} {
		changed := v
		change(&changed)
		if b.Tag(changed) == b.Tag(v) {
			t.Errorf("%s has the same tag", what)
		}
	}
}

func TestSignedBundle(t *testing.T) {
	var o objects
	v := ordinary(t, &o, "polsetver-1")
	signer := newSigner(t, "ours")
	signed := func(s *policy.Signer) func(*bundle.Config) { return func(c *bundle.Config) { c.Signer = s } }
	b, other, unsigned := open(t, &o, signed(signer)), open(t, &o, signed(signer)), open(t, &o)
	content := get(t, b, v)
	if err := policy.CheckBundle(bytes.NewReader(content), signer); err != nil {
		t.Error(err)
	}
	// ECDSA signs the same in another way each time.
	if b.Tag(v) != other.Tag(v) {
		t.Error("two nodes with one key have two tags")
	}
	if bytes.Equal(content, get(t, other, v)) {
		t.Error("two signatures are one: is this test of any use?")
	}
	if b.Tag(v) == unsigned.Tag(v) || b.Tag(v) == open(t, &o, signed(newSigner(t, "ours"))).Tag(v) {
		t.Error("another key, or none, has the same tag")
	}
}

func newSigner(t *testing.T, id string) *policy.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s, err := policy.NewSigner(polset.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))), id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// However many ask, a bundle is made once; those who leave do not stop it.
func TestMadeOnce(t *testing.T) {
	o := objects{wait: make(chan struct{})}
	v := ordinary(t, &o, "polsetver-1")
	b := open(t, &o)
	impatient, leave := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, _, err := b.Open(impatient, v)
		gone <- err
	}()
	leave()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("whoever left was told %v", err)
	}
	var group sync.WaitGroup
	var right atomic.Int32
	for range 20 {
		group.Go(func() {
			r, _, err := b.Open(t.Context(), v)
			if err != nil {
				t.Error(err)
				return
			}
			if err := errors.Join(policy.CheckBundle(r, nil), r.Close()); err != nil {
				t.Error(err)
				return
			}
			right.Add(1)
		})
	}
	close(o.wait)
	group.Wait()
	if n := o.count(); n != 1 || right.Load() != 20 {
		t.Errorf("the archive was read %d times for %d answers", n, right.Load())
	}
}

// files are the names in a directory.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, filepath.Join(dir, e.Name()))
	}
	return names
}

func TestCache(t *testing.T) {
	var o objects
	v := ordinary(t, &o, "polsetver-1")
	dir := filepath.Join(t.TempDir(), "bundles")
	content := get(t, open(t, &o, in(dir)), v)

	// What a crash leaves: half a file under its name, and what was being written.
	if err := os.WriteFile(filepath.Join(dir, "tmp-XYZ"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := open(t, &o, in(dir)) // the next start
	if !bytes.Equal(get(t, b, v), content) || o.count() != 1 {
		t.Errorf("a kept bundle was made again: %d archives read", o.count())
	}
	kept := files(t, dir)
	if len(kept) != 1 {
		t.Fatalf("kept: %v", kept)
	}
	for what, damage := range map[string]func() error{
		"cut short": func() error { return os.Truncate(kept[0], int64(len(content)/2)) },
		"changed":   func() error { return os.WriteFile(kept[0], append([]byte{1}, content[1:]...), 0o600) },
		"gone":      func() error { return os.Remove(kept[0]) },
		"empty":     func() error { return os.Truncate(kept[0], 0) },
	} {
		for _, restarted := range []bool{false, true} {
			before := o.count()
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			if restarted {
				b = open(t, &o, in(dir))
			}
			if !bytes.Equal(get(t, b, v), content) || o.count() != before+1 {
				t.Errorf("a file that was %s (restarted %t): %d archives read", what, restarted, o.count()-before)
			}
			if !bytes.Equal(get(t, b, v), content) || o.count() != before+1 {
				t.Errorf("after a file was %s (restarted %t), what was made again is not kept", what, restarted)
			}
		}
	}
}

// A cache that is full gives up what was not used for the longest time.
func TestCacheIsBounded(t *testing.T) {
	var o objects
	versions := make([]polset.Version, 6)
	for i := range versions {
		versions[i] = ordinary(t, &o, fmt.Sprintf("polsetver-%d", i))
	}
	dir := t.TempDir()
	room := int64(len(get(t, open(t, &o), versions[0]))*3 + 20)
	b := open(t, &o, in(dir), func(c *bundle.Config) { c.MaxBytes = room })
	for i := range versions {
		get(t, b, versions[i])
		get(t, b, versions[0]) // is used all the time
	}
	if n := len(files(t, dir)); n != 3 {
		t.Errorf("%d bundles are kept, want 3", n)
	}
	before := o.count()
	get(t, b, versions[0])
	get(t, b, versions[5])
	if o.count() != before {
		t.Error("what was used is gone")
	}
	get(t, b, versions[1])
	if o.count() != before+1 {
		t.Error("what was not used is still there")
	}
	// A smaller cache after a restart, and one that has room for nothing.
	open(t, &o, in(dir), func(c *bundle.Config) { c.MaxBytes = room / 2 })
	if n := len(files(t, dir)); n != 1 {
		t.Errorf("%d bundles are kept, want 1", n)
	}
	b = open(t, &o, in(dir), func(c *bundle.Config) { c.MaxBytes = 1 })
	get(t, b, versions[0])
	if n := len(files(t, dir)); n != 0 {
		t.Errorf("%d bundles are kept, want none", n)
	}
}

// A disk that takes nothing costs time only.
func TestCacheThatCannotKeep(t *testing.T) {
	var o objects
	v := ordinary(t, &o, "polsetver-1")
	dir := filepath.Join(t.TempDir(), "bundles")
	b := open(t, &o, in(dir))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	get(t, b, v)
	get(t, b, v)
	if o.count() != 2 {
		t.Errorf("%d archives read", o.count())
	}
}

func TestFailures(t *testing.T) {
	var o objects
	b := open(t, &o)
	twice := o.version(t, "polsetver-1", "", "a.rego", "package a\n\nx := 1\n", "data.json", `{"b": 1}`, "b/data.json", `{}`)
	for range 2 {
		_, _, err := b.Open(t.Context(), twice)
		var failure *polset.Failure
		if !errors.As(err, &failure) || failure.Retry || failure.Class != polset.ClassPolicyInvalid || !strings.Contains(failure.Message, "data.json") {
			t.Errorf("got %v", err)
		}
	}
	if o.count() != 1 {
		t.Errorf("what can be no bundle was tried %d times", o.count())
	}

	v := ordinary(t, &o, "polsetver-2")
	o.broken = errors.New("connection refused by 10.0.0.1")
	_, _, err := b.Open(t.Context(), v)
	var failure *polset.Failure
	if !errors.As(err, &failure) || !failure.Retry || failure.Class != polset.ClassStorage || strings.Contains(failure.Message, "10.0.0.1") {
		t.Errorf("got %v", err)
	}
	o.broken = nil
	get(t, b, v) // healed

	o.wait = make(chan struct{}) // an object storage that hangs
	slow := open(t, &o, func(c *bundle.Config) { c.Timeout = 10 * time.Millisecond })
	if _, _, err := slow.Open(t.Context(), v); !errors.As(err, &failure) || !failure.Retry {
		t.Errorf("got %v", err)
	}
	if _, err := bundle.New(bundle.Config{Objects: &o}); err == nil {
		t.Error("a cache without a place is accepted")
	}
}
