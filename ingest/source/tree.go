package source

import (
	"bytes"
	"errors"
	"io/fs"
	"path"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
)

// An entry is one line of a directory's listing.
type entry struct {
	mode  fs.FileMode // as the fs.FS will show it; modeSubmodule for a submodule, modeUnknown
	octal string      // as git has it
	name  string
	id    plumbing.Hash
}

// The modes that git gives its entries.
const (
	modeFile       = archive.ModeFile
	modeExecutable = archive.ModeExecutable
	modeLink       = archive.ModeLink
	modeDirectory  = archive.ModeDirectory
	modeSubmodule  = fs.ModeIrregular
	modeUnknown    = fs.ModeIrregular | fs.ModeDevice
)

// modeOf translates git's octal mode. Group-writable files are those of old
// repositories.
func modeOf(octal string) fs.FileMode {
	switch octal {
	case "100644", "100664":
		return modeFile
	case "100755":
		return modeExecutable
	case "120000":
		return modeLink
	case "40000":
		return modeDirectory
	case "160000":
		return modeSubmodule
	}
	return modeUnknown
}

func isFile(m fs.FileMode) bool { return m.IsRegular() }

var errTree = errors.New("a directory's listing is cut off")

// parseTree reads the content of a tree object. What it lists is not judged:
// in directories that are only passed through, it is nobody's business.
func parseTree(data []byte) ([]entry, error) {
	var entries []entry
	for len(data) > 0 {
		octal, rest, ok := bytes.Cut(data, []byte(" "))
		if !ok || len(octal) > 6 {
			return nil, errTree
		}
		name, rest, ok := bytes.Cut(rest, []byte{0})
		if !ok || len(rest) < 20 {
			return nil, errTree
		}
		entries = append(entries, entry{mode: modeOf(string(octal)), octal: string(octal), name: string(name), id: plumbing.Hash(rest[:20])})
		data = rest[20:]
	}
	return entries, nil
}

// judge refuses what no directory may list, if it is fetched: names that lead
// elsewhere, modes that git does not know, and names that occur twice.
func judge(entries []entry, dir string) error {
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		if err := archive.CheckName(e.name); err != nil {
			return inDirectory(err, dir)
		}
		if e.mode == modeUnknown {
			return polset.Fail(polset.ClassContentInvalid,
				"The entry %s has the mode %s, which polset does not know; commit it again as a file, a link or a directory.", quote(path.Join(dir, e.name)), quote(e.octal))
		}
		if seen[e.name] {
			return twice(path.Join(dir, e.name))
		}
		seen[e.name] = true
	}
	return nil
}

func twice(name string) error {
	return polset.Fail(polset.ClassContentInvalid,
		"The name %s occurs twice in its directory, as no working git would commit it; commit the directory again.", quote(name))
}

// tree returns a directory's listing, which was obtained. dir is its path, for
// failures.
func (r *repository) tree(id plumbing.Hash, dir string) ([]entry, error) {
	if entries, ok := r.trees[id]; ok {
		return entries, nil
	}
	data, ok := r.objects.get(id, plumbing.TreeObject)
	if !ok {
		return nil, r.corrupt("left out the directory "+quote("/"+dir), errors.New("missing tree "+id.String()))
	}
	entries, err := parseTree(data)
	if err != nil {
		return nil, polset.Fail(polset.ClassContentInvalid,
			"The directory %s of %s cannot be read, as no working git would commit it; commit it again.", quote("/"+dir), r.remote.shown)
	}
	r.trees[id] = entries
	return entries, nil
}

// lookUp finds a path's last component in its directory's listing.
func lookUp(entries []entry, p string) (found entry, ok bool, err error) {
	for _, e := range entries {
		if e.name != path.Base(p) {
			continue
		}
		if ok {
			return entry{}, false, twice(p)
		}
		found, ok = e, true
	}
	return found, ok, nil
}
