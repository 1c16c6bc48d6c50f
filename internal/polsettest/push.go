package polsettest

import (
	"fmt"
	"strings"
)

// ZeroCommit is what a push names where there is no commit: before a branch
// was created and after it was deleted.
const ZeroCommit = "0000000000000000000000000000000000000000"

// A Push is what a push event tells. Zero values stand for a push to main of
// octocat/policies.
type Push struct {
	Repository    string // owner/name; octocat/policies
	RepositoryID  int64  // 1296269
	OwnerID       int64  // 583231
	URL           string // the web host; https://github.com
	Private       bool
	DefaultBranch string // main
	Ref           string // refs/heads/main; a name without refs/ is a branch
	Before        string // ZeroCommit
	After         string // ZeroCommit
	Forced        bool
	Pusher        string // octocat
	Installation  int64  // the GitHub App's installation; absent if 0
	Commits       []PushCommit
	// Edit changes the payload last, to make what GitHub never sends.
	Edit func(payload map[string]any)
}

// A PushCommit is one commit that a push brought.
type PushCommit struct {
	ID       string
	TreeID   string
	Message  string
	Added    []string
	Removed  []string
	Modified []string
}

// Push describes a push of this repository that moved ref from before to
// after ("" where there is none). A ref without refs/ is a branch.
func (r *Repo) Push(ref, before, after string) Push {
	p, err := r.push(ref, before, after)
	if err != nil {
		r.git.fatal(fmt.Errorf("describe push to %s: %w", r.Identifier, err))
	}
	return p
}

func (r *Repo) push(ref, before, after string) (Push, error) {
	p := Push{
		Repository: r.Identifier, RepositoryID: r.ID, URL: r.git.URL(),
		Ref: fullRef(ref), Before: before, After: after,
	}
	r.mu.Lock()
	p.Private, p.DefaultBranch = r.token != "", r.defaultBranch
	r.mu.Unlock()
	if after == "" {
		return p, nil
	}
	log := []string{"log", "--reverse", "--max-count=2048", "--format=%H %T", after}
	if before != "" {
		log = append(log, "^"+before)
		lost, err := r.git.run(r.dir, nil, "rev-list", "--max-count=1", before, "^"+after)
		if err != nil {
			return p, err
		}
		p.Forced = len(lost) > 0 // the new history does not hold the old
	}
	out, err := r.git.run(r.dir, nil, log...)
	if err != nil {
		return p, err
	}
	for line := range strings.Lines(string(out)) {
		id, tree, _ := strings.Cut(strings.TrimSpace(line), " ")
		p.Commits = append(p.Commits, PushCommit{ID: id, TreeID: tree, Message: "Change policies"})
	}
	return p, nil
}

func fullRef(ref string) string {
	if strings.HasPrefix(ref, "refs/") {
		return ref
	}
	return "refs/heads/" + ref
}
