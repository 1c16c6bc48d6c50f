package object

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func newDir(t *testing.T) (*dirBucket, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new", "objects")
	b, err := Open(t.Context(), "file://"+dir, Config{})
	if err != nil {
		t.Fatal(err)
	}
	d, ok := b.(*dirBucket)
	if !ok {
		t.Fatalf("got %T", b)
	}
	return d, dir
}

// files lists what is not a directory, by path and permissions.
func files(t *testing.T, dir string) map[string]fs.FileMode {
	t.Helper()
	found := map[string]fs.FileMode{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if e.IsDir() {
			if info.Mode().Perm() != 0o700 {
				t.Errorf("directory %s has mode %v", path, info.Mode())
			}
			return nil
		}
		rel, err := filepath.Rel(dir, path)
		found[rel] = info.Mode()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func sample() (key string, data []byte) {
	data = bytes.Repeat([]byte("policy "), 10_000)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), data
}

func TestDirectoryLayout(t *testing.T) {
	b, dir := newDir(t)
	key, data := sample()
	if err := b.Put(t.Context(), key, int64(len(data)), bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	got := files(t, dir)
	want := filepath.Join(key[:2], key)
	if len(got) != 1 || got[want] != 0o600 {
		t.Errorf("got %v, want %s with mode 0600 alone", got, want)
	}
}

// A badDisk is a file on a disk that fails at one operation.
type badDisk struct {
	spool
	full         *os.File // takes the writes, if given
	sync, closed error
}

func (d *badDisk) Write(p []byte) (int, error) {
	if d.full != nil {
		return d.full.Write(p)
	}
	return d.spool.Write(p)
}

func (d *badDisk) Sync() error { return errors.Join(d.sync, d.spool.Sync()) }

func (d *badDisk) Close() error { return errors.Join(d.closed, d.spool.Close()) }

func TestDirectoryOnABadDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0) // where the kernel itself says ENOSPC
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = full.Close() })

	for _, tc := range []struct {
		label string
		disk  badDisk
		want  error
	}{
		{"case 96 ENOSPC", badDisk{full: full}, syscall.ENOSPC},
		{"case 96 EIO at fsync", badDisk{sync: syscall.EIO}, syscall.EIO},
		{"case 96 EDQUOT at close", badDisk{closed: syscall.EDQUOT}, syscall.EDQUOT},
	} {
		t.Run(tc.label, func(t *testing.T) {
			b, dir := newDir(t)
			key, data := sample()
			healthy := b.create
			b.create = func(root *os.Root, name string) (spool, error) {
				f, err := healthy(root, name)
				disk := tc.disk
				disk.spool = f
				return &disk, err
			}
			if err := b.Put(t.Context(), key, int64(len(data)), bytes.NewReader(data)); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if left := files(t, dir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if tc.disk.sync == nil {
				if err := b.Check(t.Context()); !errors.Is(err, tc.want) {
					t.Errorf("check says %v", err)
				}
				if left := files(t, dir); len(left) > 0 {
					t.Errorf("check left behind: %v", left)
				}
			}
			b.create = healthy // room was made
			if err := b.Put(t.Context(), key, int64(len(data)), bytes.NewReader(data)); err != nil {
				t.Errorf("another attempt: %v", err)
			}
			if err := Verify(t.Context(), b, key); err != nil {
				t.Error(err)
			}
		})
	}

	t.Run("case 96 no file can be made", func(t *testing.T) {
		b, _ := newDir(t)
		key, data := sample()
		b.create = func(*os.Root, string) (spool, error) { return nil, syscall.ENOSPC }
		if err := b.Put(t.Context(), key, int64(len(data)), bytes.NewReader(data)); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("put says %v", err)
		}
		if err := b.Check(t.Context()); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("check says %v", err)
		}
	})
}

// The directory must be synced after the rename, also by a Put that finds the
// object there: the one that renamed it may not have come to it. A shard that
// cannot be synced shows that it was tried.
func TestDirectorySyncsNames(t *testing.T) {
	b, dir := newDir(t)
	key, data := sample()
	if err := b.Put(t.Context(), key, int64(len(data)), bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	// Another process cannot know what the first one came to.
	other, err := Open(t.Context(), "file://"+dir, Config{})
	if err != nil {
		t.Fatal(err)
	}
	// Sync opens the directory, which no longer works once it is renamed away
	// between the look at the object and the sync: by the reader, here.
	r := &onRead{Reader: bytes.NewReader(data), do: func() {
		if err := os.Rename(filepath.Join(dir, key[:2]), filepath.Join(dir, "away")); err != nil {
			t.Error(err)
		}
	}}
	if err := other.Put(t.Context(), key, int64(len(data)), r); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("put did not try to sync the directory: %v", err)
	}
}

// What this process has made durable costs no second sync, until it is written
// again.
func TestDirectorySyncsOnce(t *testing.T) {
	b, dir := newDir(t)
	key, data := sample()
	put := func(do func()) error {
		return b.Put(t.Context(), key, int64(len(data)), &onRead{Reader: bytes.NewReader(data), do: do})
	}
	if err := put(nil); err != nil {
		t.Fatal(err)
	}
	away, back := filepath.Join(dir, "away"), filepath.Join(dir, key[:2])
	hide := func() {
		if err := os.Rename(back, away); err != nil {
			t.Error(err)
		}
	}
	if err := put(hide); err != nil {
		t.Errorf("put synced again: %v", err)
	}
	if err := errors.Join(os.Rename(away, back), os.Remove(filepath.Join(back, key))); err != nil {
		t.Fatal(err)
	}
	var again int
	create := b.create
	b.create = func(root *os.Root, name string) (spool, error) {
		again++
		return create(root, name)
	}
	if err := put(nil); err != nil || again != 1 || b.durable.synced[key] != true {
		t.Errorf("put of a lost object: %v, %d files", err, again)
	}
}

// Of two puts of a key at once, the second waits and finds the object there.
func TestDirectoryWritesOnce(t *testing.T) {
	b, _ := newDir(t)
	key, data := sample()
	var files atomic.Int32
	writing, release := make(chan struct{}), make(chan struct{})
	create := b.create
	b.create = func(root *os.Root, name string) (spool, error) {
		if files.Add(1) == 1 {
			close(writing)
			<-release
		}
		return create(root, name)
	}
	ended := make(chan error, 2)
	put := func() { ended <- b.Put(t.Context(), key, int64(len(data)), bytes.NewReader(data)) }
	go put()
	<-writing
	go put()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Put(ctx, key, int64(len(data)), bytes.NewReader(data)); !errors.Is(err, context.Canceled) {
		t.Errorf("a put that waits does not end with its context: %v", err)
	}
	close(release)
	if err := errors.Join(<-ended, <-ended); err != nil || files.Load() != 1 {
		t.Errorf("two puts: %v, %d files", err, files.Load())
	}
}

type onRead struct {
	*bytes.Reader
	do func()
}

func (r *onRead) Read(p []byte) (int, error) {
	if r.do != nil {
		r.do()
		r.do = nil
	}
	return r.Reader.Read(p)
}

func TestDirectorySweepsLeftovers(t *testing.T) {
	_, dir := newDir(t)
	for name, age := range map[string]time.Duration{"put-old": 25 * time.Hour, "put-young": 23 * time.Hour} {
		path := filepath.Join(dir, tmpDir, name)
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(t.Context(), "file://"+dir, Config{}); err != nil {
		t.Fatal(err)
	}
	got := files(t, dir)
	if _, young := got[filepath.Join(tmpDir, "put-young")]; !young || len(got) != 1 {
		t.Errorf("left are %v, want the young one alone", got)
	}
}

func TestDirectoryReplacesDamage(t *testing.T) {
	key, data := sample()
	for label, damaged := range map[string][]byte{
		"one bit":  append(bytes.Clone(data[:len(data)-1]), 'X'),
		"cut":      data[:len(data)/2],
		"emptied":  {},
		"appended": append(bytes.Clone(data), 'x'),
	} {
		t.Run("case 95 "+label, func(t *testing.T) {
			core, logged := observer.New(zap.WarnLevel)
			b, dir := newDir(t)
			b.log = zap.New(core)
			if err := b.Put(t.Context(), key, int64(len(data)), bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, key[:2], key), damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := Verify(t.Context(), b, key); !errors.Is(err, ErrMismatch) {
				t.Errorf("verify says %v", err)
			}
			if err := b.Put(t.Context(), key, int64(len(data)), bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
			if err := Verify(t.Context(), b, key); err != nil {
				t.Error(err)
			}
			if logged.FilterMessage("replace damaged object").Len() != 1 {
				t.Errorf("logged %v", logged.All())
			}
		})
	}
}

// Whatever a reader gets of a damaged object, it is not all of it: a client
// that was promised its length sees it cut short.
func TestReaderWithholdsTheEnd(t *testing.T) {
	key, data := sample()
	flipped := bytes.Clone(data)
	flipped[0] ^= 1
	for _, chunk := range []int{1, 1000, len(data), 2 * len(data)} {
		r := verifying(nopCloser{bytes.NewReader(flipped)}, key, int64(len(data)))
		got, p := 0, make([]byte, chunk)
		var err error
		for err == nil {
			var n int
			n, err = r.Read(p)
			got += n
		}
		if !errors.Is(err, ErrMismatch) || got >= len(data) {
			t.Errorf("by %d bytes: got %d of %d and %v", chunk, got, len(data), err)
		}
		if n, again := r.Read(p); n != 0 || !errors.Is(again, ErrMismatch) {
			t.Errorf("after the error: %d, %v", n, again)
		}
	}
}

// A storage that ends early must not look like one that is done.
func TestReaderNoticesAnEarlyEnd(t *testing.T) {
	key, data := sample()
	for _, n := range []int{0, 1, len(data) - 1} {
		r := verifying(nopCloser{bytes.NewReader(data[:n])}, key, int64(len(data)))
		if got, err := io.Copy(io.Discard, r); !errors.Is(err, ErrMismatch) || got != int64(n) {
			t.Errorf("got %d bytes of %d and %v", got, n, err)
		}
	}
}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

func TestDirectoryStaysInside(t *testing.T) {
	b, dir := newDir(t)
	key, data := sample()
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, key[:2])); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(t.Context(), key, int64(len(data)), bytes.NewReader(data)); err == nil {
		t.Error("a put followed a link out of the directory")
	}
	left, err := os.ReadDir(outside)
	if err != nil || len(left) > 0 {
		t.Errorf("outside are %v, %v", left, err)
	}
	for name := range files(t, dir) {
		if strings.HasPrefix(name, tmpDir) {
			t.Errorf("left behind: %s", name)
		}
	}
}
