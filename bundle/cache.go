package bundle

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"
)

// A cache keeps bundles in a directory, each as KEY.DIGEST, where the digest is
// that of its bytes: a file that a crash cut short, or that the disk changed,
// is found out when it is opened, and made again. So nothing needs to be synced.
type cache struct {
	root *os.Root
	most int64
	log  *zap.Logger

	mu    sync.Mutex
	kept  map[string]*keptBundle // by the key
	size  int64                  // of all of them
	clock int64                  // of uses
}

type keptBundle struct {
	key, digest string
	size        int64
	used        int64
}

func (k *keptBundle) name() string { return k.key + "." + k.digest }

// tmpPrefix begins the names of what is being written.
const tmpPrefix = "tmp-"

func openCache(dir string, most int64, log *zap.Logger) (*cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of bundles: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the directory of bundles: %w", err)
	}
	c := &cache{root: root, most: most, log: log, kept: map[string]*keptBundle{}}
	if err := c.list(); err != nil {
		return nil, errors.Join(fmt.Errorf("list the directory of bundles: %w", err), root.Close())
	}
	return c, nil
}

// list finds what an earlier process kept, the oldest first, and removes what it
// did not come to an end with.
func (c *cache) list() error {
	entries, err := fs.ReadDir(c.root.FS(), ".")
	if err != nil {
		return err
	}
	type found struct {
		keptBundle
		at int64
	}
	var all []found
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		key, digest, ok := strings.Cut(e.Name(), ".")
		if !ok || !isDigest(key) || !isDigest(digest) {
			if strings.HasPrefix(e.Name(), tmpPrefix) {
				c.remove(e.Name())
			}
			continue
		}
		all = append(all, found{keptBundle{key: key, digest: digest, size: info.Size()}, info.ModTime().UnixNano()})
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Compare(a.at, b.at) })
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range all {
		c.add(&all[i].keptBundle)
	}
	return nil
}

func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size
}

// open returns the bundle that is kept under a key, if it is what it was.
func (c *cache) open(key string) (io.ReadCloser, int64, bool) {
	c.mu.Lock()
	entry := c.kept[key]
	if entry != nil {
		c.clock++
		entry.used = c.clock
	}
	c.mu.Unlock()
	if entry == nil {
		return nil, 0, false
	}
	f, err := c.verified(entry)
	if err != nil {
		c.log.Warn("kept bundle is made again", zap.String("file", entry.name()), zap.Error(err))
		c.drop(entry)
		return nil, 0, false
	}
	return f, entry.size, true
}

// verified opens a file whose bytes are those that its name promises. It stays
// readable when it is removed meanwhile.
func (c *cache) verified(entry *keptBundle) (_ *os.File, err error) {
	f, err := c.root.Open(entry.name())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return nil, err
	}
	if n != entry.size || hex.EncodeToString(h.Sum(nil)) != entry.digest {
		return nil, errors.New("its bytes are not those that were kept")
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, err
}

// put keeps a bundle, and removes those that were not used for the longest time
// where there is no room.
func (c *cache) put(key string, content []byte) (err error) {
	digest := sha256.Sum256(content)
	entry := &keptBundle{key: key, digest: hex.EncodeToString(digest[:]), size: int64(len(content))}
	if entry.size > c.most {
		return nil
	}
	tmp := tmpPrefix + rand.Text()
	defer func() {
		if err != nil {
			c.remove(tmp)
		}
	}()
	if err := c.write(tmp, content); err != nil {
		return fmt.Errorf("keep bundle: %w", err)
	}
	if err := c.root.Rename(tmp, entry.name()); err != nil {
		return fmt.Errorf("keep bundle: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(entry)
	return nil
}

func (c *cache) write(name string, content []byte) (err error) {
	f, err := c.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, bytes.NewReader(content))
	return err
}

// add takes a file that is there into account. The caller holds the lock.
func (c *cache) add(entry *keptBundle) {
	if old := c.kept[entry.key]; old != nil {
		c.size -= old.size
		if old.digest != entry.digest {
			c.remove(old.name()) // two signatures of one bundle
		}
	}
	c.clock++
	entry.used = c.clock
	c.kept[entry.key] = entry
	c.size += entry.size
	for c.size > c.most {
		var oldest *keptBundle
		for _, k := range c.kept {
			if oldest == nil || k.used < oldest.used {
				oldest = k
			}
		}
		c.forget(oldest)
	}
}

// drop forgets an entry, unless another has taken its place.
func (c *cache) drop(entry *keptBundle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept[entry.key] == entry {
		c.forget(entry)
	}
}

// forget removes a file and its entry. The caller holds the lock.
func (c *cache) forget(entry *keptBundle) {
	delete(c.kept, entry.key)
	c.size -= entry.size
	c.remove(entry.name())
}

func (c *cache) remove(name string) {
	if err := c.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.log.Warn("remove kept bundle", zap.String("file", name), zap.Error(err)) // which costs room only
	}
}
