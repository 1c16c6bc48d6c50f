package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// key returns the key of the secrets at rest. On a single node it is made at
// the first start; several nodes share one, so it must be given.
func (r rows) key(generate func() string) (string, error) {
	if r.EncryptionKey != "" {
		return r.EncryptionKey, nil
	}
	if r.postgres() {
		return "", errors.New("POLSET_ENCRYPTION_KEY is required with PostgreSQL: all nodes share it")
	}
	file := filepath.Join(r.DataDir, "encryption.key")
	b, err := os.ReadFile(file) //nolint:gosec // the operator's own path
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the encryption key: %w", err)
	}
	key := generate()
	if err := writeOnce(file, key); errors.Is(err, fs.ErrExist) {
		return r.key(generate) // the other process was first
	} else if err != nil {
		return "", err
	}
	return key, nil
}

// writeOnce writes a secret that must survive whatever follows: sealed rows
// are worthless without it. Of two processes that start at once the second gets
// fs.ErrExist.
func writeOnce(file, secret string) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".key-*") // 0600
	if err != nil {
		return fmt.Errorf("write the encryption key: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(tmp.Name())) }()
	if _, err := tmp.WriteString(secret + "\n"); err != nil {
		return errors.Join(fmt.Errorf("write the encryption key: %w", err), tmp.Close())
	}
	if err := errors.Join(tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write the encryption key: %w", err)
	}
	if err := os.Link(tmp.Name(), file); err != nil {
		return fmt.Errorf("write the encryption key: %w", err)
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return fmt.Errorf("write the encryption key: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
