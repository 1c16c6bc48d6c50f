package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/util"
	"go.yaml.in/yaml/v3"

	"github.com/polset/polset"
)

// loadData reads the set's data files as OPA does when it loads a bundle: what
// a file holds appears in data where its directory lies in the set. It returns
// how large it all is besides.
func (s *Set) loadData(ctx context.Context, fsys fs.FS, names []string, p *problems) (storage.Store, int64, error) {
	root := map[string]any{}
	total, err := s.eachData(ctx, fsys, names, p, func(name string, _ []byte, value any) {
		if !p.any() {
			s.insertData(root, name, value, p)
		}
	})
	if err != nil || p.any() {
		return nil, 0, err
	}
	data, err := ast.InterfaceToValue(root)
	if err != nil {
		return nil, 0, fmt.Errorf("load data: %w", err)
	}
	object, ok := data.(ast.Object)
	if !ok {
		return nil, 0, fmt.Errorf("load data: unexpected value %T", data)
	}
	return inmem.NewFromASTObject(object), total, nil
}

// eachData calls f with each data file that can be read and what it stands for,
// and returns how large they are together.
func (s *Set) eachData(ctx context.Context, fsys fs.FS, names []string, p *problems, f func(name string, src []byte, value any)) (total int64, err error) {
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return 0, fmt.Errorf("load data: %w", err)
		}
		src, err := read(fsys, name, name, "the data files of a policy set", s.limits.DataBytes)
		if err != nil {
			return 0, err
		}
		err = guard(name, func() error {
			wrong := p.count()
			value, used, err := s.parseData(name, src, s.limits.DataBytes-total, p)
			total += used
			if err == nil && p.count() == wrong {
				f(name, src, value)
			}
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return total, nil
}

// parseData parses a data file that may take up to room bytes, and returns how
// many it does.
func (s *Set) parseData(name string, src []byte, room int64, p *problems) (value any, used int64, err error) {
	used = int64(len(src))
	if path.Ext(name) != ".json" {
		var node yaml.Node
		if err := yaml.Unmarshal(src, &node); err != nil {
			p.addf(name, wholeFile, "this is no YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
			return nil, used, nil
		}
		m := yamlMeasure{known: map[*yaml.Node]int64{}, most: room}
		used = max(used, m.size(&node, 0))
		if m.deep {
			return nil, used, dataTooDeep(name)
		}
	}
	if used > room {
		return nil, used, failAt(polset.ClassLimit, name, wholeFile,
			"with this file, the data files of the policy set exceed %s, the limit for all of them together; make them smaller or split the set",
			size(s.limits.DataBytes))
	}
	if path.Ext(name) != ".json" {
		if err := util.Unmarshal(src, &value); err != nil {
			p.addf(name, wholeFile, "this YAML stands for no JSON: %v", err)
		}
		return value, used, nil
	}
	src = bytes.TrimPrefix(src, []byte("\xEF\xBB\xBF")) // as OPA does
	if deeper(src) {
		return nil, used, dataTooDeep(name)
	}
	if err := util.UnmarshalJSON(src, &value); err != nil {
		at := wholeFile
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			at = positionAt(src, int(syntax.Offset)-1)
		}
		p.addf(name, at, "this is no JSON: %v", err)
	}
	return value, used, nil
}

func dataTooDeep(name string) error {
	return failAt(polset.ClassLimit, name, wholeFile, "this file nests deeper than %d levels, the limit for data", maxDocumentNesting)
}

// dataPath returns where in data a data file belongs, by its path from the set's
// directory on: where it lies, but OPA leaves out the dots that this begins with.
func dataPath(name string) []string {
	dir := strings.TrimLeft(path.Dir(name), "/.")
	if dir == "" {
		return nil
	}
	return strings.Split(dir, "/")
}

// insertData puts a value where its file says, into what others put there.
func (s *Set) insertData(root map[string]any, name string, value any, p *problems) {
	at, parts := root, dataPath(s.below(name))
	for i, part := range parts {
		below, ok := at[part]
		switch object, isObject := below.(map[string]any); {
		case !ok && i == len(parts)-1:
			at[part] = value
			return
		case !ok:
			object = map[string]any{}
			at[part] = object
			at = object
		case !isObject:
			p.addf(name, wholeFile, "another data file gives data.%s a value that is no object, which this one would add to", strings.Join(parts[:i+1], "."))
			return
		default:
			at = object
		}
	}
	object, ok := value.(map[string]any)
	if !ok {
		p.addf(name, wholeFile, "this file must hold an object, since it adds to data%s", strings.Join(append([]string{""}, parts...), "."))
		return
	}
	if conflict := merge(at, object); conflict != "" {
		p.addf(name, wholeFile, "another data file defines %s as well", strings.Join(append(append([]string{"data"}, parts...), conflict), "."))
	}
}

// merge adds the members of b to a, which it changes, and returns the path of
// the first that both have and that is not an object in both; "" where there
// is none.
func merge(a, b map[string]any) string {
	for _, key := range util.KeysSorted(b) {
		was, ok := a[key]
		if !ok {
			a[key] = b[key]
			continue
		}
		wasObject, ok1 := was.(map[string]any)
		isObject, ok2 := b[key].(map[string]any)
		if !ok1 || !ok2 {
			return key
		}
		if conflict := merge(wasObject, isObject); conflict != "" {
			return key + "." + conflict
		}
	}
	return ""
}

// A yamlMeasure measures what YAML stands for: an alias is few bytes, but
// stands for all that its anchor has, aliases included.
type yamlMeasure struct {
	known map[*yaml.Node]int64
	most  int64 // beyond which it does not count
	deep  bool
}

// size returns how many bytes node stands for, more than most where they are
// more.
func (m *yamlMeasure) size(node *yaml.Node, depth int) int64 {
	if n, ok := m.known[node]; ok {
		return n
	}
	if depth > maxDocumentNesting {
		m.deep = true
		return 0
	}
	m.known[node] = 0 // what contains itself is for the decoder to refuse
	n := int64(len(node.Value)) + 1
	if node.Kind == yaml.AliasNode && node.Alias != nil {
		n = m.size(node.Alias, depth+1)
	}
	for _, child := range node.Content {
		if n > m.most {
			break
		}
		n += m.size(child, depth+1)
	}
	m.known[node] = n
	return n
}
