package source

import (
	"bytes"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
)

// An object is what a git object id stands for.
type object struct {
	kind plumbing.ObjectType
	data []byte
}

// emptyTree is the id of a tree without entries, which git knows without
// having it, and so never sends.
const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

// objects are those received so far, by the hash of their content. What
// arrives under a wrong name is therefore never found.
type objects map[plumbing.Hash]object

func (o objects) has(id plumbing.Hash) bool {
	_, ok := o[id]
	return ok || id.String() == emptyTree
}

// get returns an object of a kind.
func (o objects) get(id plumbing.Hash, kind plumbing.ObjectType) ([]byte, bool) {
	if kind == plumbing.TreeObject && id.String() == emptyTree {
		return nil, true
	}
	obj, ok := o[id]
	return obj.data, ok && obj.kind == kind
}

// missing returns those of ids that are not here, each once.
func (o objects) missing(ids []plumbing.Hash) []plumbing.Hash {
	var list []plumbing.Hash
	seen := map[plumbing.Hash]bool{}
	for _, id := range ids {
		if !seen[id] && !o.has(id) {
			seen[id] = true
			list = append(list, id)
		}
	}
	return list
}

// treeOf reads the first line of a commit, which names its tree.
func treeOf(commit []byte) (plumbing.Hash, error) {
	line, _, _ := bytes.Cut(commit, []byte("\n"))
	id, ok := bytes.CutPrefix(line, []byte("tree "))
	if !ok || !isObjectID(string(id)) {
		return plumbing.ZeroHash, fmt.Errorf("the commit does not begin with its tree")
	}
	return plumbing.NewHash(string(id)), nil
}

// isObjectID reports whether s is a SHA-1 object id in lower-case hex.
func isObjectID(s string) bool {
	if len(s) != 40 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
