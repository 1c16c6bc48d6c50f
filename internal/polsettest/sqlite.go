package polsettest

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// SQLite returns what gives each test a copy of the file that build made, and
// must have closed, at a path. build runs once: to make polset's tables takes
// longer than most tests, under the race detector by far.
func SQLite(build func(path string) error) func(t testing.TB) (path string) {
	built := sync.OnceValues(func() (file []byte, err error) {
		dir, err := os.MkdirTemp("", "polset-sqlite-")
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		path := filepath.Join(dir, "polset.db")
		if err := build(path); err != nil {
			return nil, err
		}
		return os.ReadFile(path)
	})
	return func(t testing.TB) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "polset.db")
		file, err := built()
		if err == nil {
			err = os.WriteFile(path, file, 0o600)
		}
		if err != nil {
			t.Fatalf("copy a SQLite file: %v", err)
		}
		return path
	}
}
