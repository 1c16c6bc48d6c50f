package object

import (
	"context"
	"errors"
	"sync"
)

// maxSynced bounds what durable remembers.
const maxSynced = 4096

// durable spares the disk what it has done already. Equal archives come in
// crowds: many policy sets follow one commit, and syncing is what a put costs.
// The zero value is ready.
type durable struct {
	mu     sync.Mutex
	busy   map[string]chan struct{} // keys that are being put; closed when done
	synced map[string]bool          // names that a directory holds for good
}

// lock waits until nobody else puts the key: the second of two finds the
// object there.
func (d *durable) lock(ctx context.Context, key string) (unlock func(), err error) {
	for {
		d.mu.Lock()
		other, taken := d.busy[key]
		if !taken {
			done := make(chan struct{})
			if d.busy == nil {
				d.busy = map[string]chan struct{}{}
			}
			d.busy[key] = done
			d.mu.Unlock()
			return func() {
				d.mu.Lock()
				delete(d.busy, key)
				d.mu.Unlock()
				close(done)
			}, nil
		}
		d.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// once syncs the directory that holds name, unless this process has done so
// since the name was last written.
func (d *durable) once(name string, sync func() error) error {
	d.mu.Lock()
	known := d.synced[name]
	d.mu.Unlock()
	if known {
		return nil
	}
	if err := sync(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.synced == nil || len(d.synced) >= maxSynced {
		d.synced = map[string]bool{}
	}
	d.synced[name] = true
	return nil
}

// forget is called before a name is written.
func (d *durable) forget(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.synced, name)
}

// syncBoth makes an object's name durable, and its shard's in the root.
func (b *dirBucket) syncBoth(key string) error {
	return errors.Join(
		b.durable.once(key, func() error { return b.sync(shard(key)) }),
		b.durable.once(shard(key), func() error { return b.sync(".") }),
	)
}
