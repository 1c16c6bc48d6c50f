package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/polset/polset"
)

// What lookup may find instead of a file.
var (
	errEscapes = errors.New("is a link that leaves the repository")
	errLoop    = errors.New("is a link that leads to itself")
)

// maxLinks is how many links lookup follows, as many as Linux does.
const maxLinks = 40

// lookup returns where name leads once every link on the way is followed,
// whether or not fsys would follow them itself.
func lookup(fsys fs.FS, name string) (string, fs.FileInfo, error) {
	rest := strings.Split(name, "/")
	at := "."
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if at == "." {
				return "", nil, errEscapes
			}
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		info, err := fs.Lstat(fsys, next)
		if err != nil {
			return "", nil, err
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			if links++; links > maxLinks {
				return "", nil, errLoop
			}
			target, err := fs.ReadLink(fsys, next)
			if err != nil {
				return "", nil, err
			}
			if path.IsAbs(target) {
				return "", nil, errEscapes
			}
			rest = append(strings.Split(target, "/"), rest...)
		case !info.IsDir() && len(rest) > 0:
			return "", nil, fs.ErrNotExist // something below a file
		default:
			at = next
		}
	}
	info, err := fs.Stat(fsys, at)
	return at, info, err
}

// read returns the content of the regular file that lies at at and is called
// name in messages; what describes it where it is larger than limit.
func read(fsys fs.FS, at, name, what string, limit int64) (content []byte, err error) {
	f, err := fsys.Open(at)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	content, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(content)) > limit {
		return nil, tooLarge(name, what, limit)
	}
	return content, notLFS(name, content)
}

// lfsHeader begins every Git LFS pointer
// (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
const lfsHeader = "version https://git-lfs.github.com/spec/v1"

// notLFS fails where content is a Git LFS pointer. polset reads git objects
// and never asks an LFS server.
func notLFS(file string, content []byte) error {
	if !bytes.HasPrefix(content, []byte(lfsHeader)) {
		return nil
	}
	return failAt(polset.ClassLFSUnsupported, file, wholeFile,
		"this file is a Git LFS pointer, which polset does not resolve; commit the file itself instead of tracking it with LFS")
}
