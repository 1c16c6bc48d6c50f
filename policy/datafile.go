package policy

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// What is told apart inside a data file, by its size and its keys; a larger
// one counts as a whole.
const (
	maxDataBytes = 1 << 20
	maxDataKeys  = 1000
)

// readData adds the set's data files to r. Where a file lies says where in
// data its content appears; of a JSON file the first level of keys is told
// apart.
func (s *Set) readData(ctx context.Context, fsys fs.FS, names []string, r *reach) error {
	for _, name := range names {
		if err := s.readDataFile(ctx, fsys, name, r); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) readDataFile(ctx context.Context, fsys fs.FS, name string, r *reach) (err error) {
	file, err := fsys.Open(name)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	h := sha256.New()
	from := io.TeeReader(contextReader{ctx, file}, h)
	content, err := io.ReadAll(io.LimitReader(from, maxDataBytes+1))
	if err == nil {
		_, err = io.Copy(io.Discard, from)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}

	dir := dataPath(s.below(name))
	written := ""
	if len(dir) > 0 {
		written = strings.Join(dir, "\x00") + "\x00"
	}
	r.addData(sumOf("data", written, string(h.Sum(nil))), dir, dataKeys(name, content))
	return nil
}

// dataKeys returns the keys of a data file whose first bytes are content,
// sorted; nil where the file counts as a whole.
func dataKeys(name string, content []byte) []string {
	var values map[string]json.RawMessage
	if path.Ext(name) != ".json" || len(content) > maxDataBytes || json.Unmarshal(content, &values) != nil || len(values) > maxDataKeys {
		return nil
	}
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	slices.Sort(keys) // there may not be room for all
	return keys
}

// A contextReader reads until its context is done.
type contextReader struct {
	ctx  context.Context
	from io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}
