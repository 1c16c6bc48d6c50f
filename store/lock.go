package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockServer takes the lock of the one process that may serve a SQLite file.
func lockServer(database string) (unlock func() error, err error) {
	unlock, err = lockFile(database + ".lock")
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("another polset serves %s: stop it first, or use PostgreSQL to run several", database)
	}
	if err != nil {
		return nil, fmt.Errorf("lock SQLite database %s: %w", database, err)
	}
	return unlock, nil
}

// waitFileLock takes a lock as soon as it is free.
func waitFileLock(ctx context.Context, name string) (unlock func() error, err error) {
	const pause = 20 * time.Millisecond
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		unlock, err = lockFile(name)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// lockFile takes an exclusive lock that ends with the process. The file stays:
// removing it would let two processes lock two files of one name.
func lockFile(name string) (unlock func() error, err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator names the database
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) //nolint:gosec // file descriptors are small
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}
