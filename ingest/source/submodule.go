package source

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
)

// A link is a gitlink: the place of a submodule, and its commit.
type link struct {
	node   *archive.Node
	at     string // its path below its project's root
	full   string // its path below the snapshot's root
	commit plumbing.Hash
}

// fill puts the submodules of one project in their places, those in them too.
// depth is that of the project: 0 for the snapshot's own.
func (b *builder) fill(ctx context.Context, project *repository, root plumbing.Hash, links []link, depth int) error {
	if len(links) == 0 {
		return nil
	}
	l := b.snapshot.git.limits
	if depth >= l.SubmoduleDepth {
		return project.limitFailure(nil, "The submodule %s lies in more than %d others, the limit.", quote(links[0].full), l.SubmoduleDepth)
	}
	modules, err := b.gitmodules(project, root)
	if err != nil {
		return fmt.Errorf("read .gitmodules of %s: %w", project.remote.shown, err)
	}
	for _, at := range links {
		if b.submodules++; b.submodules > l.Submodules {
			return project.limitFailure(nil, "With %s there are more than %d submodules, the limit.", quote(at.full), l.Submodules)
		}
		m, ok := modules[at.at]
		if !ok || m.url == "" {
			return polset.Fail(polset.ClassContentInvalid,
				"The submodule %s has no entry with a url in the file .gitmodules of %s; add one, or remove the submodule.", quote(at.full), project.remote.shown)
		}
		r, tree, err := b.submodule(ctx, project, m, at.commit)
		if err != nil {
			return inSubmodule(err, at.full, m.url)
		}
		var nested []link
		children, err := b.directory(r, tree, at.full, "", &nested)
		if err != nil {
			return inSubmodule(err, at.full, m.url)
		}
		at.node.Children = children.Children
		if err := b.fill(ctx, r, tree, nested, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// inSubmodule names the submodule in a failure.
func inSubmodule(err error, full, url string) error {
	var f *polset.Failure
	if !errors.As(err, &f) {
		return fmt.Errorf("submodule %s: %w", full, err)
	}
	named := *f
	named.Message = fmt.Sprintf("The submodule %s (%s) cannot be used. %s", quote(full), quote(redact(url)), f.Message)
	return &named
}

// gitmodules reads the .gitmodules file of a project.
func (b *builder) gitmodules(project *repository, root plumbing.Hash) (map[string]module, error) {
	entries, err := project.tree(root, "")
	if err != nil {
		return nil, err
	}
	e, ok, err := lookUp(entries, gitmodulesFile)
	if err != nil || !ok {
		return nil, err
	}
	if !isFile(e.mode) {
		return nil, polset.Fail(polset.ClassContentInvalid, "The file .gitmodules of %s is %s; make it a file.", project.remote.shown, kindOf(e.mode))
	}
	data, ok := project.objects.get(e.id, plumbing.BlobObject)
	if !ok && project.oversize == 0 {
		return nil, project.corrupt("left out the file .gitmodules", errors.New("missing blob "+e.id.String()))
	}
	if !ok || len(data) > maxGitmodules {
		return nil, project.limitFailure(nil, "The file .gitmodules of %s is larger than %s, the limit.", project.remote.shown, size(maxGitmodules))
	}
	return parseGitmodules(data)
}

// submodule obtains a submodule with all its files, and returns its tree. The
// same commit of the same repository is obtained once.
func (b *builder) submodule(ctx context.Context, parent *repository, m module, commit plumbing.Hash) (*repository, plumbing.Hash, error) {
	s := b.snapshot
	at, err := s.submoduleRemote(parent, m.url)
	if err != nil {
		return nil, plumbing.ZeroHash, err
	}
	key := strings.TrimSuffix(at.url.String(), ".git") + "@" + commit.String()
	r, ok := s.modules[key]
	if !ok {
		r = s.git.repository(at, commit, "", &s.stats)
		if m.branch != "." { // "." is the superproject's own branch
			r.branch = m.branch
		}
		r.room = max(s.git.limits.Bytes-b.bytes, 0)
		if err := r.obtain(ctx, shapeFull, "the submodule", commit); err != nil {
			return nil, plumbing.ZeroHash, err
		}
		s.modules[key] = r
		s.log("fetched submodule", zap.String("submodule", at.shown), zap.String("submodule_commit", commit.String()))
	}
	tree, err := r.commitTree(commit)
	return r, tree, err
}

// submoduleRemote judges the URL of a submodule: where it leads, whether that
// may be dialed, and whether a credential may go there, which one may for the
// same owner on the same scheme, host and port only.
func (s *Snapshot) submoduleRemote(parent *repository, raw string) (*remote, error) {
	if strings.HasPrefix(raw, "./") || strings.HasPrefix(raw, "../") {
		raw = relativeTo(parent.remote.shown, raw)
	}
	forbidden := func(why string) error {
		return polset.Fail(polset.ClassURLForbidden, "polset does not dial its URL: %s.", why)
	}
	if strings.HasPrefix(raw, "-") {
		return nil, forbidden("it begins with a hyphen")
	}
	written, err := parseURL(raw)
	if err != nil {
		return nil, forbidden(err.Error())
	}
	written.Path = strings.TrimRight(written.Path, "/")
	segments := strings.Split(strings.TrimPrefix(written.Path, "/"), "/")
	for _, part := range segments {
		if !validSegment(part) {
			return nil, forbidden("its path is not that of a repository")
		}
	}
	if len(segments) < 2 {
		return nil, forbidden("its path is not that of a repository")
	}
	dialed, ok := s.git.dial(written)
	if !ok {
		return nil, forbidden("only https URLs are allowed")
	}
	at := &remote{url: dialed, shown: written.String(), base: s.home.base, credential: s.home.credential.elsewhere()}
	if originOf(dialed) == originOf(s.home.url) {
		if owner := ownerOf(s.home.url, at.base); ownerOf(dialed, at.base) == owner {
			at.credential, at.owner = s.credential(dialed), owner
		}
		return at, nil
	}
	if !s.git.hosts[originOf(written)] {
		return nil, forbidden("the host " + quote(written.Host) + " is another than the repository's; the operator can allow it by POLSET_SUBMODULE_HOSTS")
	}
	return at, nil
}

// credential returns what a repository of the snapshot's own owner and host is
// shown: the same for each of its commits.
func (s *Snapshot) credential(at *url.URL) *credential {
	identifier := identifierOf(at, s.home.base)
	key := strings.ToLower(identifier)
	if s.credentials == nil {
		home := strings.ToLower(identifierOf(s.home.url, s.home.base))
		s.credentials = map[string]*credential{home: s.home.credential}
	}
	c, ok := s.credentials[key]
	if !ok {
		c = s.home.credential.of(identifier)
		s.credentials[key] = c
	}
	return c
}

// relativeTo resolves a relative URL as git submodule does: against the URL of
// the superproject, as if that were a directory.
func relativeTo(base, relative string) string {
	base = strings.TrimRight(base, "/")
	for {
		if rest, ok := strings.CutPrefix(relative, "./"); ok {
			relative = rest
		} else if rest, ok := strings.CutPrefix(relative, "../"); ok {
			relative = rest
			scheme := strings.Index(base, "://") + len("://")
			i := strings.LastIndexByte(base[scheme:], '/')
			if i < 0 {
				return "" // above the host: no URL at all
			}
			base = base[:scheme+i]
		} else {
			return base + "/" + relative
		}
	}
}
