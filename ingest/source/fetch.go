package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
)

// Fetch obtains what Resolve found: the files below content.Path, those of
// submodules too if content.Submodules is set, and the files that
// content.Outside names. The fs.FS is rooted at the repository's root and holds
// nothing else. It also implements fs.ReadDirFS, fs.ReadFileFS, fs.StatFS and
// fs.ReadLinkFS, never fails later, and is safe for concurrent use.
//
// Directories are sorted by name. Files have the mode 0644 or 0755 and no time;
// the Sys of their fs.FileInfo is their git object id in hex. Links are links,
// wherever they point; Open and Stat follow them within the fs.FS. A submodule
// is an empty directory unless content.Submodules is set, as git archive has
// it. A submodule's own links and submodules are treated alike.
//
// Objects that were obtained before, for this or another path, are not
// obtained again.
func (s *Snapshot) Fetch(ctx context.Context, content polset.Content) (fs.FS, error) {
	ctx, done, err := s.begin(ctx, "fetch")
	if err != nil {
		return nil, err
	}
	files, err := s.fetch(ctx, content)
	if err != nil {
		return nil, done(err)
	}
	s.notePlan()
	s.git.metrics.fetches.WithLabelValues(s.Stats().Plan).Inc()
	s.log("fetched tree", zap.String("path", content.Path))
	return files, done(nil)
}

func (s *Snapshot) fetch(ctx context.Context, content polset.Content) (fs.FS, error) {
	resolved, err := s.resolve(ctx, content)
	if err != nil {
		return nil, err
	}
	if content.Tree != "" && content.Tree != resolved.Tree {
		return nil, fmt.Errorf("fetch %s at %s: its tree is %s, not %s", content.Path, s.top.commit, resolved.Tree, content.Tree)
	}
	outside := map[string]entry{}
	paths := slices.Sorted(maps.Keys(content.Outside))
	if content.Submodules {
		paths = append(paths, gitmodulesFile)
	}
	found, err := s.find(ctx, paths)
	if err != nil {
		return nil, err
	}
	tree := plumbing.NewHash(resolved.Tree)
	wants := []plumbing.Hash{tree}
	for _, p := range paths {
		e, ok := found[p]
		if !ok || !isFile(e.mode) || below(content.Path, p) {
			continue
		}
		wants = append(wants, e.id)
		if _, ok := content.Outside[p]; ok {
			outside[p] = e
		}
	}
	of := "the path " + quote("/"+content.Path)
	if err := s.top.obtain(ctx, shapeAll, of, wants...); err != nil {
		return nil, err
	}
	b := &builder{snapshot: s, of: of, submodulesToo: content.Submodules}
	return b.build(ctx, content.Path, tree, outside)
}

// below reports whether p is dir, or lies below it.
func below(dir, p string) bool {
	return dir == "" || p == dir || strings.HasPrefix(p, dir+"/")
}

// A builder makes an fs.FS of objects, and counts what it holds: objects that
// occur in many places count in each.
type builder struct {
	snapshot      *Snapshot
	of            string // completes the sentence "… is too large"
	submodulesToo bool

	files, directories, submodules int
	bytes                          int64
}

func (b *builder) build(ctx context.Context, at string, tree plumbing.Hash, outside map[string]entry) (fs.FS, error) {
	var links []link
	top := b.snapshot.top
	dir, err := b.directory(top, tree, at, at, &links)
	if err != nil {
		return nil, err
	}
	if b.submodulesToo {
		if err := b.fill(ctx, top, b.snapshot.root, links, 0); err != nil {
			return nil, err
		}
	}
	root := dir
	if at != "" {
		root = &archive.Node{Mode: modeDirectory}
		root.Place(at, dir)
	}
	for _, p := range slices.Sorted(maps.Keys(outside)) {
		for _, dir := range parents(p) {
			if err := archive.CheckName(path.Base(dir)); err != nil {
				return nil, err
			}
		}
		e := outside[p]
		file, err := b.file(top, e, p)
		if err != nil {
			return nil, err
		}
		root.Place(p, file)
	}
	return root.FS(), nil
}

// directory makes the node of a tree. full is its path below the snapshot's
// root, at that below its own project's. Submodules are added to links.
func (b *builder) directory(r *repository, tree plumbing.Hash, full, at string, links *[]link) (*archive.Node, error) {
	l := b.snapshot.git.limits
	if b.directories++; b.directories > l.Files {
		return nil, r.limitFailure(nil, "%s has more than %d directories, the limit that POLSET_MAX_ARCHIVE_FILES sets.", upper(b.of), l.Files)
	}
	if full != "" && strings.Count(full, "/")+1 > l.Depth {
		return nil, r.limitFailure(nil, "%s has directories that are more than %d deep, the limit on depth.", upper(b.of), l.Depth)
	}
	entries, err := r.tree(tree, full)
	if err != nil {
		return nil, err
	}
	if err := judge(entries, full); err != nil {
		return nil, err
	}
	dir := &archive.Node{Mode: modeDirectory, Sys: tree.String(), Children: make([]*archive.Node, 0, len(entries))}
	for _, e := range entries {
		child, err := b.entry(r, e, path.Join(full, e.name), path.Join(at, e.name), links)
		if err != nil {
			return nil, err
		}
		child.Name = e.name
		dir.Children = append(dir.Children, child)
	}
	r.complete[tree] = true
	return dir, nil
}

func (b *builder) entry(r *repository, e entry, full, at string, links *[]link) (*archive.Node, error) {
	switch e.mode {
	case modeDirectory:
		return b.directory(r, e.id, full, at, links)
	case modeSubmodule:
		if l := b.snapshot.git.limits; b.directories >= l.Files {
			return nil, r.limitFailure(nil, "%s has more than %d directories, the limit that POLSET_MAX_ARCHIVE_FILES sets.", upper(b.of), l.Files)
		}
		b.directories++
		n := &archive.Node{Mode: modeDirectory, Sys: e.id.String()}
		*links = append(*links, link{node: n, at: at, full: full, commit: e.id})
		return n, nil
	}
	return b.file(r, e, full)
}

// file makes the node of a blob, be it a file or a link.
func (b *builder) file(r *repository, e entry, full string) (*archive.Node, error) {
	l := b.snapshot.git.limits
	data, ok := r.objects.get(e.id, plumbing.BlobObject)
	switch {
	case !ok && r.oversize > 0:
		return nil, r.limitFailure(nil, "The file %s is larger than %s, the limit for one file that POLSET_MAX_FILE_BYTES sets.", quote(full), size(l.FileBytes))
	case !ok:
		return nil, r.corrupt("left out the file "+quote(full), errors.New("missing blob "+e.id.String()))
	}
	if b.files++; b.files > l.Files {
		return nil, r.limitFailure(nil, "%s has more than %d files, the limit that POLSET_MAX_ARCHIVE_FILES sets.", upper(b.of), l.Files)
	}
	if b.bytes += int64(len(data)); b.bytes > l.Bytes {
		return nil, r.limitFailure(nil, "%s has files of more than %s together, the limit that POLSET_MAX_ARCHIVE_BYTES sets.", upper(b.of), size(l.Bytes))
	}
	return &archive.Node{Mode: e.mode, Sys: e.id.String(), Data: data}, nil
}

// inDirectory names the directory in a failure over a name.
func inDirectory(err error, full string) error {
	var f *polset.Failure
	if !errors.As(err, &f) {
		return fmt.Errorf("directory %s: %w", full, err)
	}
	named := *f
	named.Message = fmt.Sprintf("In the directory %s: %s", quote("/"+full), f.Message)
	return &named
}

// upper begins a sentence.
func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
