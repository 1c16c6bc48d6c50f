package source

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"go.uber.org/zap"

	"github.com/polset/polset"
)

// Changed returns a path that differs between another commit of the repository
// and this one and that a pattern matches; "" where there is none. The path is
// that of a file, a link or a submodule that was added, removed or made another,
// by its mode too.
//
// It costs one small request for the other commit and one for each level of the
// directories that differ and below which a pattern may match. Files are not
// obtained, except from a server that cannot leave them out. What exceeds
// Limits, and a commit that the server does not have any more, are failures that
// are not worth another attempt.
func (s *Snapshot) Changed(ctx context.Context, since string, patterns polset.Patterns) (string, error) {
	ctx, done, err := s.begin(ctx, "compare")
	if err != nil {
		return "", err
	}
	found, err := s.changed(ctx, since, patterns)
	if err == nil {
		s.log("compared commits", zap.String("since", since), zap.String("path", found))
	}
	return found, done(err)
}

func (s *Snapshot) changed(ctx context.Context, since string, patterns polset.Patterns) (string, error) {
	if !isObjectID(since) {
		return "", polset.Fail(polset.ClassCommitNotFound, "%s is not the full id of a commit.", quote(since))
	}
	commit := plumbing.NewHash(since)
	if commit == s.top.commit {
		return "", nil
	}
	then, err := s.other(ctx, commit)
	if err != nil {
		return "", err
	}
	root, err := then.commitTree(commit)
	if err != nil {
		return "", err
	}
	l := s.git.limits
	c := comparison{then: then, now: s.top, patterns: patterns, bytes: l.TreeBytes, entries: l.Objects}
	return c.search(ctx, sides{then: directory(root), now: directory(s.root)})
}

// other obtains another commit of the repository. Where the server sends a
// commit with all its files or not at all, that is a repository of its own.
func (s *Snapshot) other(ctx context.Context, commit plumbing.Hash) (*repository, error) {
	r := s.top
	if !r.plans[0].filter {
		r = s.git.repository(r.remote, commit, r.branch, &s.stats)
	}
	err := r.obtain(ctx, shapeCommit, "the commit", commit)
	var f *polset.Failure
	if errors.As(err, &f) && f.Class == polset.ClassCommitNotFound {
		gone := *f // replicas do not lag behind what they had before
		gone.Retry = false
		return nil, &gone
	}
	return r, err
}

// A comparison looks for a path that differs between two trees.
type comparison struct {
	then, now *repository // the same, unless the server sends whole commits only
	patterns  polset.Patterns
	bytes     int64 // of listings that there is room for
	entries   int   // that may still be found to differ
}

// sides are what a path is then and now; the mode is 0 where it does not exist.
type sides struct {
	path      string
	then, now entry
}

func directory(tree plumbing.Hash) entry { return entry{mode: modeDirectory, id: tree} }

// maxPath is more than any system can check out.
const maxPath = 4096

// search goes through the directories that differ, level by level, so that the
// listings of one level are obtained by one request.
func (c *comparison) search(ctx context.Context, root sides) (string, error) {
	level := []sides{root}
	for depth := 0; len(level) > 0; depth++ {
		if limit := c.now.git.limits.Depth; depth > limit {
			return "", c.tooMuch("directories that are more than %d deep, the limit on depth", limit)
		}
		if err := c.obtain(ctx, level); err != nil {
			return "", err
		}
		var below []sides
		for _, at := range level {
			if err := context.Cause(ctx); err != nil {
				return "", c.now.streamFailure(ctx, err)
			}
			differ, err := c.differ(at)
			if err != nil {
				return "", err
			}
			for _, d := range differ {
				if (isLeaf(d.then) || isLeaf(d.now)) && c.patterns.Match(d.path) {
					return d.path, nil
				}
				if (d.then.mode == modeDirectory || d.now.mode == modeDirectory) && c.patterns.MatchBelow(d.path) {
					below = append(below, d)
				}
			}
		}
		level = below
	}
	return "", nil
}

// isLeaf reports whether something is there that is no directory.
func isLeaf(e entry) bool { return e.mode != 0 && e.mode != modeDirectory }

func (c *comparison) obtain(ctx context.Context, level []sides) error {
	var then, now []plumbing.Hash
	for _, at := range level {
		if at.then.mode == modeDirectory {
			then = append(then, at.then.id)
		}
		if at.now.mode == modeDirectory {
			now = append(now, at.now.id)
		}
	}
	if c.then == c.now {
		return c.now.obtain(ctx, shapeTree, differences, append(then, now...)...)
	}
	if err := c.then.obtain(ctx, shapeTree, differences, then...); err != nil {
		return err
	}
	return c.now.obtain(ctx, shapeTree, differences, now...)
}

// differences completes the sentence "… is too large".
const differences = "what differs between the two commits"

// differ lists what of a directory differs, by name.
func (c *comparison) differ(at sides) ([]sides, error) {
	names := map[string]sides{}
	collect := func(r *repository, dir entry, into func(*sides) *entry) error {
		if dir.mode != modeDirectory {
			return nil
		}
		data, _ := r.objects.get(dir.id, plumbing.TreeObject)
		if c.bytes -= int64(len(data)); c.bytes < 0 {
			return c.tooMuch("listings of more than %s together, the limit on them", size(c.now.git.limits.TreeBytes))
		}
		entries, err := r.tree(dir.id, at.path)
		if err != nil {
			return err
		}
		for _, e := range entries {
			here := names[e.name]
			here.path = e.name
			if at.path != "" {
				here.path = at.path + "/" + e.name
			}
			side := into(&here)
			if side.mode != 0 {
				return twice(here.path)
			}
			*side = e
			names[e.name] = here
		}
		return nil
	}
	if err := collect(c.then, at.then, func(s *sides) *entry { return &s.then }); err != nil {
		return nil, err
	}
	if err := collect(c.now, at.now, func(s *sides) *entry { return &s.now }); err != nil {
		return nil, err
	}
	var list []sides
	for _, name := range slices.Sorted(maps.Keys(names)) {
		d := names[name]
		if d.then == d.now {
			continue
		}
		if c.entries--; c.entries < 0 {
			return nil, c.tooMuch("more than %d files and directories, the limit on both", c.now.git.limits.Objects)
		}
		if len(d.path) > maxPath {
			return nil, c.tooMuch("a path of more than %d bytes, the limit on one", maxPath)
		}
		list = append(list, d)
	}
	return list, nil
}

func (c *comparison) tooMuch(format string, args ...any) error {
	return c.now.limitFailure(nil, "Too much to compare: between the two commits of "+c.now.remote.shown+" differ "+format+".", args...)
}
