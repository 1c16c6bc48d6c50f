package policy

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// A reach knows which files of an OPA set each query can reach: those that
// define what it refers to, and whatever those refer to in their turn. A file
// counts as a whole, and a reference into the unknown (data.a[x]) reaches all
// that begins like it: rather one file too many than one too few.
type reach struct {
	modules []*ast.Module // the first of files, in the order of their names
	files   []sum         // of .rego files first, then of data files
	data    documents     // which file defines what
}

// A fileSet is a set of indices into reach.files.
type fileSet []uint64

func (f fileSet) add(i int)      { f[i/64] |= 1 << (i % 64) }
func (f fileSet) has(i int) bool { return f[i/64]&(1<<(i%64)) != 0 }
func (f fileSet) addAll(o fileSet) {
	for i, word := range o {
		f[i] |= word
	}
}

func (f fileSet) key() string {
	b := make([]byte, 0, 8*len(f))
	for _, word := range f {
		b = binary.BigEndian.AppendUint64(b, word)
	}
	return string(b)
}

// newReach takes compiled modules, in which every import is resolved, and the
// sums of their sources. The set's data files are still to be added.
func newReach(ctx context.Context, modules map[string]*ast.Module, contents map[string]sum) (*reach, error) {
	r := &reach{data: newDocuments()}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("digest policies: %w", err)
		}
		for _, rule := range modules[name].Rules {
			r.data.define(knownPath(rule.Ref()), len(r.files))
		}
		r.modules = append(r.modules, modules[name])
		r.files = append(r.files, contents[name])
	}
	return r, nil
}

// addData adds a data file that defines each of keys below dir or, where they
// are nil, all that lies there.
func (r *reach) addData(content sum, dir, keys []string) {
	if keys == nil {
		r.data.define(dir, len(r.files))
	}
	path := append(slices.Clip(dir), "")
	for _, key := range keys {
		path[len(dir)] = key
		r.data.define(path, len(r.files))
	}
	r.files = append(r.files, content)
}

// sums returns the sum of all files that each query reaches.
func (r *reach) sums(ctx context.Context, queries []ast.Body) ([]sum, error) {
	closure, err := r.closure(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]sum{} // by the set of files: many queries reach the same
	sums := make([]sum, len(queries))
	for i, query := range queries {
		first, all := r.none(), r.none()
		if err := r.follow(ctx, query, first, map[place]bool{}); err != nil {
			return nil, err
		}
		all.addAll(first)
		for k := range closure {
			if first.has(k) {
				all.addAll(closure[k])
			}
		}
		key := all.key()
		s, ok := known[key]
		if !ok {
			s = sumOfAll(r.pick(all))
			known[key] = s
		}
		sums[i] = s
	}
	return sums, nil
}

// closure returns what each .rego file reaches, itself included.
func (r *reach) closure(ctx context.Context) ([]fileSet, error) {
	closure := make([]fileSet, len(r.modules))
	for i, module := range r.modules {
		closure[i] = r.none()
		closure[i].add(i)
		seen := map[place]bool{}
		for _, rule := range module.Rules { // not the package, which is a reference too
			if err := r.follow(ctx, rule, closure[i], seen); err != nil {
				return nil, err
			}
		}
	}
	for k := range closure { // Warshall's algorithm
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("digest policies: %w", err)
		}
		for i := range closure {
			if closure[i].has(k) {
				closure[i].addAll(closure[k])
			}
		}
	}
	return closure, nil
}

// follow adds to files those that x, a rule or a query, refers to. What is in
// seen has been added before.
func (r *reach) follow(ctx context.Context, x any, files fileSet, seen map[place]bool) error {
	err := ctx.Err()
	ast.WalkRefs(x, func(ref ast.Ref) bool {
		if err != nil || !ref.HasPrefix(ast.DefaultRootRef) {
			return err != nil
		}
		if at := r.data.find(knownPath(ref)); !seen[at] {
			seen[at] = true
			r.add(at, files)
			err = ctx.Err()
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("digest policies: %w", err)
	}
	return nil
}

// manyDocuments is from how many documents on add remembers whose they are.
const manyDocuments = 64

// add adds the files that define something at, above or below a place.
func (r *reach) add(at place, files fileSet) {
	for d := at.document; d != nil; d = d.above {
		for _, i := range d.files {
			files.add(i)
		}
	}
	switch {
	case at.missing:
	case at.all != nil:
		files.addAll(at.all)
	default:
		all := r.none()
		if at.collect(all) >= manyDocuments {
			at.all = all
		}
		files.addAll(all)
	}
}

func (r *reach) none() fileSet { return make(fileSet, (len(r.files)+63)/64) }

// pick returns the sums of files.
func (r *reach) pick(files fileSet) []sum {
	var sums []sum
	for i, word := range files {
		for ; word != 0; word &= word - 1 {
			sums = append(sums, r.files[64*i+bits.TrailingZeros64(word)])
		}
	}
	return sums
}

// knownPath returns how ref, which begins with data, goes on, as far as that
// is known before a policy runs.
func knownPath(ref ast.Ref) []string {
	parts := make([]string, 0, len(ref))
	for _, term := range ref[1:] {
		part, ok := term.Value.(ast.String)
		if !ok {
			break
		}
		parts = append(parts, string(part))
	}
	return parts
}
