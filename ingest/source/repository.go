package source

import (
	"context"
	"errors"

	"github.com/go-git/go-git/v5/plumbing"
	"go.uber.org/zap"

	"github.com/polset/polset"
)

// A repository is one repository as one snapshot sees it: its objects at one
// commit, and the way in which its server gives them out. It is used by one
// goroutine at a time.
type repository struct {
	git    *Git
	remote *remote
	commit plumbing.Hash
	branch string // where the commit should be found, "" if nobody knows
	stats  *counter

	plans []plan // the one in use first, then those that are left
	known bool   // the plans come from the server, not from an assumption

	objects  objects
	complete map[plumbing.Hash]bool // trees that were seen to be here with all below them
	whole    bool                   // everything that the commit holds is here
	oversize int                    // blobs that were too large to be kept
	room     int64                  // bytes of content that there is room for
	trees    map[plumbing.Hash][]entry
}

func (g *Git) repository(at *remote, commit plumbing.Hash, branch string, stats *counter) *repository {
	r := &repository{
		git: g, remote: at, commit: commit, branch: branch, stats: stats,
		objects: objects{}, complete: map[plumbing.Hash]bool{}, trees: map[plumbing.Hash][]entry{}, room: g.limits.Bytes,
	}
	r.plans, r.known = g.plans.recall(at.url.String())
	return r
}

func (r *repository) count(requests, received int64) {
	for _, c := range []*counter{r.stats, &r.git.stats} {
		c.requests.Add(requests)
		c.received.Add(received)
	}
	r.git.metrics.requests.Add(float64(requests))
	r.git.metrics.received.Add(float64(received))
}

// A shape says how much of what is wanted shall come.
type shape int

const (
	shapeCommit shape = iota // the commit alone
	shapeTree                // a directory's listing, without what it lists
	shapeAll                 // the wanted objects and all below them
	shapeFull                // the commit and all its files
)

// obtain makes objects present: from here if they are here, otherwise from the
// server, by the best plan that it knows. An object that is still missing then
// is a failure, except for one that shapeAll names and that may have been too
// large to be kept. of completes the sentence "… is too large" for people.
func (r *repository) obtain(ctx context.Context, s shape, of string, wants ...plumbing.Hash) error {
	missing := r.missing(s, wants)
	if len(missing) == 0 {
		return nil
	}
	for {
		err := r.attempt(ctx, r.plans[0], s, of, missing)
		if err == nil {
			break
		}
		var refused *refusal
		if !errors.As(err, &refused) {
			return err
		}
		if err := r.nextPlan(ctx, refused); err != nil {
			return err
		}
	}
	for _, id := range r.objects.missing(missing) {
		if s == shapeAll && r.oversize > 0 {
			continue // whoever knows its name will say so
		}
		return r.corrupt("left out an object that was asked for", errors.New("missing object "+id.String()))
	}
	r.git.plans.remember(r.remote.url.String(), r.plans)
	r.whole = r.whole || s == shapeFull
	return nil
}

func (r *repository) missing(s shape, wants []plumbing.Hash) []plumbing.Hash {
	if r.whole {
		return r.objects.missing(wants)
	}
	var list []plumbing.Hash
	for _, id := range wants {
		switch {
		case s == shapeFull, s == shapeAll && !r.complete[id] && !r.isBlob(id):
			if id.String() != emptyTree {
				list = append(list, id)
			}
		default:
			list = append(list, r.objects.missing([]plumbing.Hash{id})...)
		}
	}
	return list
}

func (r *repository) isBlob(id plumbing.Hash) bool {
	_, ok := r.objects.get(id, plumbing.BlobObject)
	return ok
}

// attempt asks for objects in one way.
func (r *repository) attempt(ctx context.Context, p plan, s shape, of string, wants []plumbing.Hash) error {
	l := r.git.limits
	u := upload{wants: wants, limits: packLimits{
		objects: l.Objects, kept: r.room + l.TreeBytes, file: l.FileBytes, skipped: max(8*l.FileBytes, maxMeta),
	}}
	switch {
	case !p.filter:
		if r.whole {
			return nil // there is no more to be had
		}
		// All files of the repository come, wanted or not: those that are too
		// large are skipped, within what the pack itself may have.
		u.limits.skipped = max(u.limits.skipped, 4*l.PackBytes)
		return r.fetchWhole(ctx, p, u, of)
	case s == shapeCommit:
		u.depth, u.filter, u.commit = 1, "tree:0", true
	case s == shapeTree:
		u.filter = "tree:0"
	case s == shapeFull:
		u.depth = 1
	}
	if s != shapeFull {
		u.limits.objects = min(u.limits.objects, 2*l.Files+16)
	}
	return r.fetch(ctx, p, u, of)
}

// fetch sends one request for a pack.
func (r *repository) fetch(ctx context.Context, p plan, u upload, of string) error {
	send := r.fetchV2
	if p.version == 0 {
		send = r.fetchV0
	}
	err := send(ctx, u)
	var large *packTooLargeError
	var refused *refusal
	switch {
	case errors.As(err, &large):
		return r.tooLarge(large, p, of)
	case errors.As(err, &refused) && refused.notFound:
		return r.notFound(p, u, refused)
	}
	return err
}

// notFound judges "not our ref". Protocol 2 gives out any object that is
// there, and so do servers of protocol 0 that filter, trees sometimes excepted;
// others of protocol 0 may have it and not give it out.
func (r *repository) notFound(p plan, u upload, refused *refusal) error {
	failure, isCommit := refused.failure, false
	for _, id := range u.wants {
		if id == r.commit || u.commit {
			failure, isCommit = r.commitNotFound(id, refused.failure.Err), true
		}
	}
	if p.version == 2 || isCommit && p.filter {
		return failure
	}
	return &refusal{failure: failure, notFound: true}
}

// fetchWhole obtains everything that the commit holds.
func (r *repository) fetchWhole(ctx context.Context, p plan, u upload, of string) error {
	u.filter = ""
	u.wants, u.depth = []plumbing.Hash{r.commit}, 1
	if p.deepen {
		return r.deepen(ctx, p, u, of)
	}
	if err := r.fetch(ctx, p, u, of); err != nil {
		return err
	}
	r.whole = r.objects.has(r.commit)
	return nil
}

// deepen obtains the branch, and more and more of its history, until the
// commit is there.
func (r *repository) deepen(ctx context.Context, p plan, u upload, of string) error {
	t, err := r.tip(ctx)
	if err != nil {
		return err
	}
	if t.isRef {
		t.id = r.commit.String()
	}
	if t.id == "" {
		return r.commitNotFound(r.commit, errors.New("no branch to deepen"))
	}
	u.wants = []plumbing.Hash{plumbing.NewHash(t.id)}
	limit := r.git.limits.History
	for depth := 1; ; depth = min(depth*8, limit) {
		u.depth = depth
		r.git.log.Debug("deepening branch", zap.String("repo", r.remote.shown), zap.Int("depth", depth))
		if err := r.fetch(ctx, p, u, of); err != nil {
			return err
		}
		if r.objects.has(r.commit) {
			r.whole = true
			return nil
		}
		if depth >= limit {
			f := r.commitNotFound(r.commit, nil)
			f.Message += " Its git server gives out branches only, and the commit is not among the branch's latest."
			return f
		}
	}
}

// tooLarge says for people which limit a pack exceeds.
func (r *repository) tooLarge(e *packTooLargeError, p plan, of string) error {
	l := r.git.limits
	if !p.filter {
		of = "the repository " + r.remote.shown + " as a whole, of which its git server cannot send a part,"
	}
	switch e.limit {
	case limitObjects:
		n := l.Objects
		if p.filter {
			n = min(n, 2*l.Files+16)
		}
		return r.limitFailure(e, "Too much to fetch: %s has more than %d files and directories, the limit that POLSET_MAX_ARCHIVE_FILES sets.", of, n)
	case limitFile:
		return r.limitFailure(e, "Too much to fetch: %s has files that are larger than %s, the limit for one file that POLSET_MAX_FILE_BYTES sets.", of, size(l.FileBytes))
	case limitMeta:
		return r.limitFailure(e, "Too much to fetch: %s has a commit or a directory whose listing is larger than %s, the limit on one listing.", of, size(maxMeta))
	}
	return r.limitFailure(e, "Too much to fetch: %s has more than %s, the limit that POLSET_MAX_ARCHIVE_BYTES sets.", of, size(l.Bytes))
}

// commitTree returns the root tree of a commit, which was obtained.
func (r *repository) commitTree(commit plumbing.Hash) (plumbing.Hash, error) {
	data, ok := r.objects.get(commit, plumbing.CommitObject)
	if !ok {
		return plumbing.ZeroHash, polset.Fail(polset.ClassCommitNotFound,
			"The object %s of %s is not a commit.", commit, r.remote.shown)
	}
	tree, err := treeOf(data)
	if err != nil {
		return tree, r.corrupt("sent a commit that cannot be read", err)
	}
	return tree, nil
}
