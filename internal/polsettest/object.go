package polsettest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// An Entry is one entry of a tree.
type Entry struct {
	Mode string // 100644, 100755, 120000, 160000, 40000, or any other text
	Name string // any bytes but NUL
	SHA  string
	Size int64 // of a file or link; set by LsTree
}

// Blob stores a blob and returns its id.
func (r *Repo) Blob(content string) string { return r.object("blob", []byte(content)) }

// Tree stores a tree of exactly these entries, in this order and unchecked:
// names such as .., .git, a\b or bytes that are no UTF-8, doubles and modes
// that git would refuse to write are all written.
func (r *Repo) Tree(entries ...Entry) string {
	var raw bytes.Buffer
	for _, e := range entries {
		id, err := hex.DecodeString(e.SHA)
		if err != nil || len(id) != 20 {
			r.git.fatal(fmt.Errorf("write tree: %q is no object id", e.SHA))
			return ""
		}
		fmt.Fprintf(&raw, "%s %s\x00%s", e.Mode, e.Name, id)
	}
	return r.object("tree", raw.Bytes())
}

// CommitTree makes a commit of a tree that was stored before, as a child of
// the branch's tip, and moves the branch to it.
func (r *Repo) CommitTree(branch, tree string) string {
	r.moving.Lock()
	defer r.moving.Unlock()
	parent := r.Head(branch)
	var raw strings.Builder
	fmt.Fprintf(&raw, "tree %s\n", tree)
	if parent != "" {
		fmt.Fprintf(&raw, "parent %s\n", parent)
	}
	who := fmt.Sprintf("%s <%s> %s", AuthorName, AuthorEmail, gitDate)
	fmt.Fprintf(&raw, "author %s\ncommitter %s\n\nChange policies\n", who, who)
	commit := r.object("commit", []byte(raw.String()))
	r.Reset(branch, commit)
	return commit
}

func (r *Repo) object(kind string, content []byte) string {
	out, err := r.git.run(r.dir, bytes.NewReader(content),
		"hash-object", "--literally", "-w", "-t", kind, "--stdin")
	if err != nil {
		r.git.fatal(fmt.Errorf("write %s of %s: %w", kind, r.Identifier, err))
		return ""
	}
	return string(bytes.TrimSpace(out))
}

// Pack returns a packfile of exactly these objects, for ServePack: what it
// leaves out is missing for whoever receives it.
func (r *Repo) Pack(ids ...string) []byte {
	out, err := r.git.run(r.dir, strings.NewReader(strings.Join(ids, "\n")+"\n"),
		"pack-objects", "--stdout", "--quiet", "--window=0")
	if err != nil {
		r.git.fatal(fmt.Errorf("pack objects of %s: %w", r.Identifier, err))
	}
	return out
}

// Objects lists the ids of everything that a commit reaches, itself first.
func (r *Repo) Objects(commit string) []string {
	return strings.Fields(r.Git("rev-list", "--objects", "--no-object-names", commit))
}

// Remove deletes an object from the repository, as damage on the server's
// disk would. The object must lie loose: Blob, Tree and a Commit of fewer than
// a hundred objects leave it so, Stream and Zeros do not.
func (r *Repo) Remove(id string) {
	if err := os.Remove(filepath.Join(r.dir, "objects", id[:2], id[2:])); err != nil {
		r.git.fatal(fmt.Errorf("remove object of %s: %w", r.Identifier, err))
	}
}
