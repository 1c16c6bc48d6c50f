package object

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
)

// A directory's layout: an object lies at its key's first two letters, a slash
// and the key; what is being written lies in tmp, in the same file system.
const (
	tmpDir   = "tmp"
	tmpStale = 24 * time.Hour // no Put takes this long
)

// A dirBucket is a directory. All of its names are resolved inside it, whatever
// links it may hold.
type dirBucket struct {
	root *os.Root
	log  *zap.Logger
	// create makes a new file; tests give disks that fail.
	create func(root *os.Root, name string) (spool, error)

	durable durable
}

// A spool is a file that is being written.
type spool interface {
	io.WriteCloser
	Sync() error
}

func createFile(root *os.Root, name string) (spool, error) {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err // not f, which would be a spool that is not nil
	}
	return f, nil
}

func openDir(dir string, config Config) (Bucket, error) {
	if err := makeDurable(dir); err != nil {
		return nil, fmt.Errorf("make object directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open object directory: %w", err)
	}
	b := &dirBucket{root: root, log: config.Logger, create: createFile}
	if err := b.makeDir(tmpDir); err != nil {
		return nil, errors.Join(fmt.Errorf("make object directory: %w", err), root.Close())
	}
	b.sweep()
	return b, nil
}

// Put writes a temporary file, syncs it, renames it to its key, and syncs the
// directories that now name it: at any crash the object is there whole, or is
// not there.
func (b *dirBucket) Put(ctx context.Context, key string, size int64, r io.ReadSeeker) error {
	if err := checkKey(key); err != nil {
		return err
	}
	unlock, err := b.durable.lock(ctx, key)
	if err != nil {
		return fmt.Errorf("put object: %w", err)
	}
	defer unlock()
	there, err := b.holds(ctx, key, size)
	switch {
	case err != nil:
		return fmt.Errorf("put object: %w", err)
	case there:
		err = checkBytes(ctx, key, size, r)
	default:
		err = b.write(ctx, key, size, r)
	}
	if err != nil {
		return fmt.Errorf("put object: %w", err)
	}
	// Even of an object that was there: the process that renamed it may have
	// crashed before it came to this.
	if err := b.syncBoth(key); err != nil {
		return fmt.Errorf("put object %s: %w", key, err)
	}
	return nil
}

// holds reports whether the object is there, undamaged.
func (b *dirBucket) holds(ctx context.Context, key string, size int64) (bool, error) {
	r, got, err := b.Open(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if got == size {
		_, err = io.Copy(io.Discard, r)
	} else {
		err = ErrMismatch
	}
	err = errors.Join(err, r.Close())
	if errors.Is(err, ErrMismatch) {
		b.log.Warn("replace damaged object", zap.String("object", key), zap.Int64("size", got), zap.Int64("want_size", size))
		return false, nil
	}
	return err == nil, err
}

func (b *dirBucket) write(ctx context.Context, key string, size int64, r io.ReadSeeker) (err error) {
	if err := b.makeDir(shard(key)); err != nil {
		return err
	}
	tmp := tmpName()
	f, err := b.create(b.root, tmp)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			if rerr := b.root.Remove(tmp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
				err = errors.Join(err, rerr)
			}
		}
	}()
	err = copyBytes(ctx, f, key, size, r)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	b.durable.forget(key)
	return b.root.Rename(tmp, objectName(key))
}

// Open implements Bucket.
func (b *dirBucket) Open(ctx context.Context, key string) (io.ReadCloser, int64, error) {
	if err := checkKey(key); err != nil {
		return nil, 0, err
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	f, err := b.root.Open(objectName(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, notExist("open", key)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("open object: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("object %s is not a file", key)
	}
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("open object: %w", err), f.Close())
	}
	r := struct {
		io.Reader
		io.Closer
	}{withContext{ctx, f}, f}
	return verifying(r, key, info.Size()), info.Size(), nil
}

// Stat implements Bucket.
func (b *dirBucket) Stat(ctx context.Context, key string) (int64, error) {
	if err := checkKey(key); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	info, err := b.root.Stat(objectName(key))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, notExist("stat", key)
	}
	if err != nil {
		return 0, fmt.Errorf("stat object: %w", err)
	}
	return info.Size(), nil
}

// Check writes a file and removes it.
func (b *dirBucket) Check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tmp := tmpName()
	f, err := b.create(b.root, tmp)
	if err != nil {
		return fmt.Errorf("check object directory: %w", err)
	}
	_, err = f.Write([]byte("polset"))
	if err = errors.Join(err, f.Close(), b.root.Remove(tmp)); err != nil {
		return fmt.Errorf("check object directory: %w", err)
	}
	return nil
}

// sweep removes what crashes have left. Whatever goes wrong costs disk space
// only.
func (b *dirBucket) sweep() {
	entries, err := fs.ReadDir(b.root.FS(), tmpDir)
	if err != nil {
		b.log.Warn("look for leftover temporary files", zap.Error(err))
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < tmpStale {
			continue
		}
		if err := b.root.Remove(filepath.Join(tmpDir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			b.log.Warn("remove leftover temporary file", zap.Error(err))
			continue
		}
		b.log.Info("removed leftover temporary file", zap.String("file", e.Name()), zap.Int64("size", info.Size()))
	}
}

// makeDir makes a directory in the bucket unless it is there.
func (b *dirBucket) makeDir(name string) error {
	if err := b.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// sync makes the names in a directory of the bucket durable.
func (b *dirBucket) sync(name string) error {
	d, err := b.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// makeDurable makes dir and its missing parents, and the names of all that it
// made durable.
func makeDurable(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && info.IsDir() {
		return nil
	}
	if err == nil {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: errors.New("it is not a directory")}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeDurable(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := os.Open(parent) // #nosec G304 -- the operator's own setting
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func shard(key string) string      { return key[:2] }
func objectName(key string) string { return filepath.Join(shard(key), key) }
func tmpName() string              { return filepath.Join(tmpDir, "put-"+rand.Text()) }
