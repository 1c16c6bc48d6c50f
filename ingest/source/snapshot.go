package source

import (
	"context"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"go.uber.org/zap"

	"github.com/polset/polset"
)

// A Snapshot is one commit of one repository, of which no more is obtained
// than was asked for. What was obtained is kept in memory until nobody holds
// the Snapshot or what Fetch returned any more. It is safe for concurrent use;
// calls take turns.
type Snapshot struct {
	git    *Git
	stats  counter
	life   context.Context
	cancel context.CancelCauseFunc

	turn    chan struct{} // holds one token; a mutex that gives way to a context
	top     *repository
	home    *remote // the top's, as it was before any redirect
	root    plumbing.Hash
	modules map[string]*repository // submodules by address and commit
	// credentials are those of repositories of home's owner, by owner/name in
	// lower case; nil until there is a submodule.
	credentials map[string]*credential

	planMu sync.Mutex
	plan   string
}

// An OpenOption is a hint to Open.
type OpenOption func(*repository)

// OnBranch tells where the commit should be found: a branch's short name, or
// the full name of another ref, such as refs/pull/7/head. It matters for
// servers that give out nothing but what their refs point at.
func OnBranch(branch string) OpenOption {
	return func(r *repository) { r.branch = branch }
}

// Open obtains a commit, by its full id in lower-case hex: that one or none. A
// commit that the server does not know is a failure of class commit-not-found
// that is worth another attempt for a while, since replicas lag.
func (g *Git) Open(ctx context.Context, at polset.Remote, commit string, hints ...OpenOption) (*Snapshot, error) {
	ctx, done := g.begin(ctx, "open")
	to, err := g.remote(at)
	if err != nil {
		return nil, done(err)
	}
	if !isObjectID(commit) {
		return nil, done(polset.Fail(polset.ClassCommitNotFound, "%s is not the full id of a commit.", quote(commit)))
	}
	s := &Snapshot{git: g, turn: make(chan struct{}, 1), modules: map[string]*repository{}}
	s.life, s.cancel = context.WithCancelCause(context.Background())
	s.home = to
	s.top = g.repository(to, plumbing.NewHash(commit), "", &s.stats)
	for _, hint := range hints {
		hint(s.top)
	}
	err = s.top.obtain(ctx, shapeCommit, "the commit", s.top.commit)
	if err == nil {
		s.root, err = s.top.commitTree(s.top.commit)
	}
	s.notePlan()
	if err != nil {
		s.cancel(errClosed)
		return nil, done(err)
	}
	s.log("opened commit")
	return s, done(nil)
}

// Close ends what the Snapshot is doing. What Fetch returned stays good.
func (s *Snapshot) Close() error {
	s.cancel(errClosed)
	return nil
}

// Stats is what the Snapshot has cost so far, its submodules included.
func (s *Snapshot) Stats() Stats {
	stats := s.stats.stats()
	s.planMu.Lock()
	defer s.planMu.Unlock()
	stats.Plan = s.plan
	return stats
}

func (s *Snapshot) notePlan() {
	s.planMu.Lock()
	defer s.planMu.Unlock()
	s.plan = s.top.plans[0].name
}

func (s *Snapshot) log(message string, fields ...zap.Field) {
	stats := s.Stats()
	s.git.log.Debug(message, append(fields,
		zap.String("repo", s.top.remote.shown), zap.String("commit", s.top.commit.String()),
		zap.String("plan", stats.Plan), zap.Int64("requests", stats.Requests), zap.Int64("received", stats.Received))...)
}

// begin waits for the Snapshot's turn.
func (s *Snapshot) begin(outer context.Context, step string) (context.Context, func(error) error, error) {
	ctx, done := s.git.begin(outer, step)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.life, func() { cancel(context.Cause(s.life)) })
	end := func(err error) error {
		stop()
		if err != nil && s.life.Err() != nil {
			err = errClosed
		}
		err = done(err)
		cancel(nil)
		return err
	}
	select {
	case s.turn <- struct{}{}:
		if s.life.Err() == nil {
			return ctx, func(err error) error {
				s.notePlan()
				<-s.turn
				return end(err)
			}, nil
		}
		<-s.turn
		return nil, nil, end(errClosed)
	case <-ctx.Done():
		return nil, nil, end(context.Cause(ctx))
	}
}

// Resolve says what counts at this commit: it fills in Tree, Gitmodules (where
// Submodules is set; "" where there is none) and the values of Outside ("" for
// what is missing or not a regular file). It costs one small request for each
// level of the paths, and nothing for what it has seen before.
func (s *Snapshot) Resolve(ctx context.Context, want polset.Content) (polset.Content, error) {
	ctx, done, err := s.begin(ctx, "resolve")
	if err != nil {
		return polset.Content{}, err
	}
	content, err := s.resolve(ctx, want)
	if err == nil {
		s.log("resolved path", zap.String("path", want.Path), zap.String("tree", content.Tree))
	}
	return content, done(err)
}

const gitmodulesFile = ".gitmodules"

func (s *Snapshot) resolve(ctx context.Context, want polset.Content) (polset.Content, error) {
	content := want
	content.Gitmodules = ""
	content.Outside = nil
	paths := []string{want.Path}
	if want.Submodules {
		paths = append(paths, gitmodulesFile)
	}
	paths = append(paths, slices.Sorted(maps.Keys(want.Outside))...)
	found, err := s.find(ctx, paths)
	if err != nil {
		return polset.Content{}, err
	}
	if content.Tree, err = s.subtree(found, want.Path); err != nil {
		return polset.Content{}, err
	}
	if want.Submodules {
		// Links and the like count too: Fetch will refuse them.
		if e, ok := found[gitmodulesFile]; ok {
			content.Gitmodules = e.id.String()
		}
	}
	if want.Outside != nil {
		content.Outside = make(map[string]string, len(want.Outside))
	}
	for p := range want.Outside {
		content.Outside[p] = ""
		if e, ok := found[p]; ok && isFile(e.mode) {
			content.Outside[p] = e.id.String()
		}
	}
	return content, nil
}

// subtree judges what was found at policies-path.
func (s *Snapshot) subtree(found map[string]entry, at string) (string, error) {
	for _, dir := range parents(at) {
		e, ok := found[dir]
		switch {
		case !ok:
			return "", polset.Fail(polset.ClassPathNotFound,
				"The path %s does not exist in %s at %s; create it, or change policies-path.", quote(at), s.top.remote.shown, s.top.commit)
		case e.mode != modeDirectory:
			return "", polset.Fail(polset.ClassPathNotDirectory,
				"The path %s of %s at %s is %s, not a directory; change policies-path.", quote(dir), s.top.remote.shown, s.top.commit, kindOf(e.mode))
		}
	}
	return found[at].id.String(), nil
}

func kindOf(m fs.FileMode) string {
	switch {
	case m == modeLink:
		return "a symbolic link"
	case m == modeSubmodule:
		return "a submodule"
	case m.IsRegular():
		return "a file"
	case m.IsDir():
		return "a directory"
	}
	return "of no kind that polset knows"
}

// parents returns the directories that lead to a path and the path itself,
// from the root: "a/b" gives "a" and "a/b".
func parents(p string) []string {
	var list []string
	for i, c := range p {
		if c == '/' {
			list = append(list, p[:i])
		}
	}
	if p != "" {
		list = append(list, p)
	}
	return list
}

// find looks up clean paths and all directories that lead to them. The listings
// of one level are obtained by one request. What does not exist is absent.
func (s *Snapshot) find(ctx context.Context, paths []string) (map[string]entry, error) {
	found := map[string]entry{"": {mode: modeDirectory, id: s.root}}
	levels := map[int]map[string]bool{}
	for _, p := range paths {
		if p != "" && (path.Clean(p) != p || strings.HasPrefix(p, "/") || p == ".." || strings.HasPrefix(p, "../")) {
			continue // no tree holds it
		}
		for i, dir := range parents(p) {
			if levels[i] == nil {
				levels[i] = map[string]bool{}
			}
			levels[i][dir] = true
		}
	}
	if len(levels) > s.git.limits.Depth {
		return nil, s.top.limitFailure(nil, "The path has more than %d components, the limit.", s.git.limits.Depth)
	}
	for i := range len(levels) {
		wanted := slices.Sorted(maps.Keys(levels[i]))
		var trees []plumbing.Hash
		for _, p := range wanted {
			if parent, ok := found[parentOf(p)]; ok && parent.mode == modeDirectory {
				trees = append(trees, parent.id)
			}
		}
		if err := s.top.obtain(ctx, shapeTree, "the repository", trees...); err != nil {
			return nil, err
		}
		for _, p := range wanted {
			parent, ok := found[parentOf(p)]
			if !ok || parent.mode != modeDirectory {
				continue
			}
			entries, err := s.top.tree(parent.id, parentOf(p))
			if err != nil {
				return nil, err
			}
			e, ok, err := lookUp(entries, p)
			if err != nil {
				return nil, err
			}
			if ok {
				found[p] = e
			}
		}
	}
	return found, nil
}

func parentOf(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return ""
}
