package archive

import (
	"slices"
	"strings"

	"github.com/polset/polset"
)

const (
	// maxHops is how many links a link may lead through: Linux gives up (ELOOP)
	// after as many.
	maxHops = 40
	// maxSteps bounds the work of resolving all links of an archive together,
	// since a few links through each other make a long way.
	maxSteps = 1_000_000
)

// links are the symbolic links of one archive.
type links struct {
	root linkNode
	all  []*linkNode
}

// A linkNode is a symbolic link, or a directory with one somewhere below it.
// Children are found by their folded names, so that a link is judged as the
// most confounding file system would follow it.
type linkNode struct {
	parent   *linkNode
	children map[string]*linkNode
	path     string
	target   string // "" unless it is a link
}

// add remembers a link after judging what can be judged without the others:
// the target's characters, and whether by its words alone it leaves the root.
func (l *links) add(path, target string) error {
	switch {
	case target == "":
		return refuseLink(path, target, "has no target")
	case len(target) > maxPath:
		return refuseLink(path, target, "has a target longer than any path can be")
	case target[0] == '/':
		return refuseLink(path, target, "leads to an absolute path")
	}
	depth := strings.Count(path, "/")
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return refuseLink(path, target, "leads out of the archive")
			}
		default:
			if fault := nameFault(part); fault != "" {
				return refuseLink(path, target, "has a target that no archive can hold")
			}
			depth++
		}
	}

	node := &l.root
	for part := range strings.SplitSeq(path, "/") {
		key := fold(part)
		next := node.children[key]
		if next == nil {
			next = &linkNode{parent: node}
			if node.children == nil {
				node.children = make(map[string]*linkNode)
			}
			node.children[key] = next
		}
		node = next
	}
	node.path, node.target = path, target
	l.all = append(l.all, node)
	return nil
}

// check follows every link through the others, as an operating system would.
// A link to nothing is harmless and stays.
func (l *links) check() error {
	steps := 0
	for _, link := range l.all {
		if err := l.follow(link, &steps); err != nil {
			return err
		}
	}
	return nil
}

func (l *links) follow(link *linkNode, steps *int) error {
	// at is where we are: the components below the root, nil where no link is
	// in sight. todo are the components still to go, the next one last.
	var at []*linkNode
	for dir := link.parent; dir != &l.root; dir = dir.parent {
		at = append(at, dir)
	}
	slices.Reverse(at)
	todo := pushParts(nil, link.target)
	hops := 1

	for len(todo) > 0 {
		if *steps++; *steps > maxSteps {
			return polset.Fail(polset.ClassLimit,
				"The symbolic links take more than %d steps to follow; the limit was reached at %s. Leave links out.",
				maxSteps, quote(link.path))
		}
		part := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(at) == 0 {
				return refuseLink(link.path, link.target, "leads out of the archive through another link")
			}
			at = at[:len(at)-1]
			continue
		}
		dir := &l.root
		if len(at) > 0 {
			dir = at[len(at)-1]
		}
		var next *linkNode
		if dir != nil {
			next = dir.children[fold(part)]
		}
		if next != nil && next.target != "" {
			if hops++; hops > maxHops {
				return refuseLink(link.path, link.target, "leads back to itself or through too many other links")
			}
			todo = pushParts(todo, next.target)
			continue
		}
		if at = append(at, next); len(at) > MaxDepth {
			return refuseLink(link.path, link.target, "leads deeper than any archive goes")
		}
	}
	return nil
}

// pushParts puts the components of target on top of todo, the first one last.
func pushParts(todo []string, target string) []string {
	for rest := target; ; {
		i := strings.LastIndexByte(rest, '/')
		todo = append(todo, rest[i+1:])
		if i < 0 {
			return todo
		}
		rest = rest[:i]
	}
}

func refuseLink(path, target, why string) error {
	return polset.Fail(polset.ClassContentInvalid,
		"The symbolic link %s to %s %s. Links must stay inside the directory of the policies; replace it with a copy or remove it.",
		quote(path), quote(target), why)
}
