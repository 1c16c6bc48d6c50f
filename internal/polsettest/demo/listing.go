package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha1" // #nosec G505 -- git's object ids
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/polset/polset/internal/polsettest"
)

// An entry is one file of an archive.
type entry struct {
	header *tar.Header
	blob   string // the id that git gives its content
}

// untar lists an archive, and returns the sha256 of the tar inside.
func untar(archive []byte) (entries []entry, digest string, err error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, "", fmt.Errorf("open the archive: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(unzipped, answerSize))
	if err != nil {
		return nil, "", fmt.Errorf("decompress the archive: %w", err)
	}
	for reader := tar.NewReader(bytes.NewReader(plain)); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return entries, sum(plain), nil
		}
		if err != nil {
			return nil, "", fmt.Errorf("read the archive: %w", err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			return nil, "", fmt.Errorf("read %s in the archive: %w", header.Name, err)
		}
		hash := sha1.New() // #nosec G401 -- as above
		hash.Write(fmt.Appendf(nil, "blob %d\x00", len(content)))
		hash.Write(content)
		entries = append(entries, entry{header, hex.EncodeToString(hash.Sum(nil))})
	}
}

func sum(b []byte) string {
	digest := sha256.Sum256(b)
	return hex.EncodeToString(digest[:])
}

// lsTree lists the files below a directory as git does, those of its
// submodules among them.
func lsTree(repo, submodule *polsettest.Repo, commit, dir string) map[string]polsettest.Entry {
	files := map[string]polsettest.Entry{}
	for _, e := range repo.LsTree(commit, dir) {
		if e.Mode != "160000" {
			files[e.Name] = e
			continue
		}
		for _, inner := range submodule.LsTree(e.SHA, "") {
			files[e.Name+"/"+inner.Name] = inner
		}
	}
	return files
}

// compare says where an archive differs from what git lists: in a name, a
// byte of content or the mode.
func compare(entries []entry, want map[string]polsettest.Entry) error {
	seen := map[string]bool{}
	for _, e := range entries {
		w, ok := want[e.header.Name]
		mode := map[string]int64{"100644": 0o644, "100755": 0o755}[w.Mode]
		switch {
		case !ok:
			return fmt.Errorf("the archive holds %s, which git does not list", e.header.Name)
		case w.SHA != e.blob:
			return fmt.Errorf("%s is not what git has: blob %s, expected %s", e.header.Name, e.blob, w.SHA)
		case mode != e.header.Mode:
			return fmt.Errorf("%s has mode %o, git says %s", e.header.Name, e.header.Mode, w.Mode)
		}
		seen[e.header.Name] = true
	}
	for name := range want {
		if !seen[name] {
			return fmt.Errorf("git lists %s, which is not in the archive", name)
		}
	}
	return nil
}
