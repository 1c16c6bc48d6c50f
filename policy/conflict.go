package policy

import (
	"context"
	"io/fs"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

// A dataFile is a data file and where in data its value belongs.
type dataFile struct {
	name  string
	at    []string
	dir   string // the same, each part with a slash behind it
	value any
}

func (s *Set) dataFile(name string, value any) dataFile {
	at := dataPath(s.below(name))
	return dataFile{name, at, strings.Join(append(slices.Clip(at), ""), "/"), value}
}

// checkData finds what is wrong with the data files: with each by itself, and
// where two of them, or one and a rule, define the same, which OPA does not
// load. It looks at a file after those in the directories above, and of what it
// has read it holds these alone: no others can define the same.
func (s *Set) checkData(ctx context.Context, fsys fs.FS, names []string, rules *ast.TreeNode, p *problems) error {
	var above []dataFile
	_, err := s.eachData(ctx, fsys, s.fromAbove(names), p, func(name string, _ []byte, value any) {
		f := s.dataFile(name, value)
		if _, ok := value.(map[string]any); !ok && len(f.at) == 0 {
			p.addf(name, wholeFile, "this file must hold an object, since it adds to data")
			return
		}
		above = slices.DeleteFunc(above, func(other dataFile) bool { return !strings.HasPrefix(f.dir, other.dir) })
		for _, other := range above {
			if at := other.conflict(f); at != nil {
				p.addf(name, wholeFile, "%s defines %s as well, and only objects of several files become one",
					other.name, strings.Join(append([]string{"data"}, at...), "."))
				return
			}
		}
		addRego(p, s.Config, f.taken(rules))
		above = append(above, f)
	})
	return err
}

// fromAbove returns data files in an order in which each comes after those in
// the directories above its own, and all that lie in or below one are together.
func (s *Set) fromAbove(names []string) []string {
	dirs := make(map[string]string, len(names))
	for _, name := range names {
		dirs[name] = s.dataFile(name, nil).dir
	}
	sorted := slices.Clone(names)
	slices.SortStableFunc(sorted, func(a, b string) int { return strings.Compare(dirs[a], dirs[b]) })
	return sorted
}

// conflict returns where f and a file at or below its place define the same,
// nil where they do not.
func (f dataFile) conflict(other dataFile) []string {
	value := f.value
	for i, part := range other.at[len(f.at):] {
		object, ok := value.(map[string]any)
		if !ok {
			return other.at[:len(f.at)+i]
		}
		if value, ok = object[part]; !ok {
			return nil
		}
	}
	return common(value, other.value, other.at)
}

// common returns the path of the first value that a and b, which both belong at
// a path, both have and that is not an object in both; nil where there is none.
func common(a, b any, at []string) []string {
	one, ok1 := a.(map[string]any)
	other, ok2 := b.(map[string]any)
	if !ok1 || !ok2 {
		return at
	}
	for _, key := range util.KeysSorted(other) {
		if value, ok := one[key]; ok {
			if found := common(value, other[key], append(slices.Clip(at), key)); found != nil {
				return found
			}
		}
	}
	return nil
}

// taken returns the rules in whose place f has something, in the words of OPA,
// which finds them when all data are loaded.
func (f dataFile) taken(rules *ast.TreeNode) ast.Errors {
	node := rules.Child(ast.DefaultRootDocument.Value)
	for i, part := range f.at {
		if node != nil {
			node = node.Child(ast.String(part))
		}
		switch {
		case node == nil:
			return nil
		case len(node.Values) > 0:
			return ast.Errors{conflictingRule(node.Values[0].Loc(), f.at[:i+1])}
		}
	}
	if node == nil {
		return nil
	}
	return takenBelow(node, f.value, f.at)
}

// takenBelow returns the rules below node whose place value takes, which
// belongs at a path.
func takenBelow(node *ast.TreeNode, value any, at []string) (errs ast.Errors) {
	object, ok := value.(map[string]any)
	for key, child := range node.Children {
		part, isString := key.(ast.String)
		member, has := object[string(part)]
		switch below := append(slices.Clip(at), string(part)); {
		case !isString, ok && !has: // no other keys can be data's
		case len(child.Values) > 0:
			errs = append(errs, conflictingRule(child.Values[0].Loc(), below))
		default:
			errs = append(errs, takenBelow(child, member, below)...)
		}
	}
	return errs
}

func conflictingRule(rule *ast.Location, at []string) *ast.Error {
	return ast.NewError(ast.CompileErr, rule, "conflicting rule for data path %s found", strings.Join(at, "/"))
}
