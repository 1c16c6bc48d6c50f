package main_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// attributes are those of a resource: strings, booleans, lists of strings,
// maps of strings, and lists of blocks. What is absent is not set.
type attributes map[string]any

// A kind is how the provider treats resources of a type.
type kind struct {
	required []string
	// defaults stand for what a configuration leaves out; what is neither
	// there nor computed is nothing.
	defaults attributes
	computed []string // what a configuration leaves out may be anything
	replace  []string // changing these makes another object
	// create returns the id. What follows gets the state as it was last read.
	create func(p *provider, want attributes) (id string, err error)
	// read returns nil where the object is gone.
	read   func(p *provider, state attributes) (attributes, error)
	update func(p *provider, state, want attributes) error
	remove func(p *provider, state attributes) error
}

// A terraform is as much of Terraform as the examples need: it evaluates a
// configuration, finds what differs from what the provider reads, and applies
// that in the order of the references.
type terraform struct {
	t         *testing.T
	dir       string
	variables map[string]cty.Value
	provider  *provider
	state     map[string]attributes // by address
	order     []string              // in which they were created
}

// A block is a resource or a data source of the configuration.
type block struct {
	address, kind, name string
	data                bool
	body                *hclsyntax.Body
}

// parse reads all of the configuration: what it declares in an order in which
// nothing comes before what it refers to, and the variables' defaults.
func (tf *terraform) parse() ([]block, map[string]cty.Value) {
	tf.t.Helper()
	files, err := filepath.Glob(filepath.Join(tf.dir, "*.tf"))
	if err != nil || len(files) == 0 {
		tf.t.Fatalf("no configuration in %s: %v", tf.dir, err)
	}
	var blocks []block
	variables := map[string]cty.Value{}
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			tf.t.Fatal(err)
		}
		file, problems := hclsyntax.ParseConfig(source, name, hcl.InitialPos)
		if problems.HasErrors() {
			tf.t.Fatal(problems)
		}
		for _, b := range file.Body.(*hclsyntax.Body).Blocks {
			switch b.Type {
			case "resource", "data":
				address := strings.Join(b.Labels, ".")
				if b.Type == "data" {
					address = "data." + address
				}
				blocks = append(blocks, block{address, b.Labels[0], b.Labels[1], b.Type == "data", b.Body})
			case "variable":
				if value, ok := b.Body.Attributes["default"]; ok {
					variables[b.Labels[0]], _ = value.Expr.Value(nil)
				}
				if given, ok := tf.variables[b.Labels[0]]; ok {
					variables[b.Labels[0]] = given
				}
				if _, set := variables[b.Labels[0]]; !set {
					tf.t.Fatalf("variable %s has no value", b.Labels[0])
				}
			case "output", "provider", "terraform":
			default:
				tf.t.Fatalf("%s: a block of type %s", name, b.Type)
			}
		}
	}
	return tf.sort(blocks), variables
}

func (tf *terraform) sort(blocks []block) []block {
	tf.t.Helper()
	var sorted []block
	placed := map[string]bool{}
	for len(sorted) < len(blocks) {
		before := len(sorted)
		for _, b := range blocks {
			waits := slices.ContainsFunc(references(b.body), func(r string) bool { return !placed[r] })
			if !placed[b.address] && !waits {
				sorted, placed[b.address] = append(sorted, b), true
			}
		}
		if len(sorted) == before {
			tf.t.Fatalf("%d of %d blocks refer to each other, or to what is not there", len(blocks)-before, len(blocks))
		}
	}
	return sorted
}

// references are the addresses that a body names.
func references(body *hclsyntax.Body) []string {
	var found []string
	for _, a := range body.Attributes {
		for _, r := range a.Expr.Variables() {
			var path []string
			for _, step := range r {
				switch s := step.(type) {
				case hcl.TraverseRoot:
					path = append(path, s.Name)
				case hcl.TraverseAttr:
					path = append(path, s.Name)
				}
			}
			switch path[0] {
			case "var", "path":
			case "data":
				found = append(found, strings.Join(path[:3], "."))
			default:
				found = append(found, strings.Join(path[:2], "."))
			}
		}
	}
	for _, b := range body.Blocks {
		found = append(found, references(b.Body)...)
	}
	return found
}

// evaluate returns what a block asks for.
func (tf *terraform) evaluate(b block, variables map[string]cty.Value) attributes {
	tf.t.Helper()
	scope := map[string]cty.Value{
		"var":  cty.ObjectVal(variables),
		"path": cty.ObjectVal(map[string]cty.Value{"module": cty.StringVal(tf.dir)}),
	}
	known := map[string]map[string]cty.Value{}
	for address, state := range tf.state {
		address, data := strings.CutPrefix(address, "data.")
		kind, name, _ := strings.Cut(address, ".")
		if data {
			kind = "data " + kind
		}
		if known[kind] == nil {
			known[kind] = map[string]cty.Value{}
		}
		known[kind][name] = toCty(state)
	}
	sources := map[string]cty.Value{}
	for kind, named := range known {
		if source, data := strings.CutPrefix(kind, "data "); data {
			sources[source] = cty.ObjectVal(named)
		} else {
			scope[kind] = cty.ObjectVal(named)
		}
	}
	scope["data"] = cty.ObjectVal(sources)
	want, problems := decodeBody(b.body, &hcl.EvalContext{Variables: scope, Functions: map[string]function.Function{"file": fileFunction}})
	if problems.HasErrors() {
		tf.t.Fatalf("%s: %v", b.address, problems)
	}
	return want
}

func decodeBody(body *hclsyntax.Body, scope *hcl.EvalContext) (attributes, hcl.Diagnostics) {
	want := attributes{}
	for name, a := range body.Attributes {
		value, problems := a.Expr.Value(scope)
		if problems.HasErrors() {
			return nil, problems
		}
		want[name] = fromCty(value)
	}
	for _, b := range body.Blocks {
		inner, problems := decodeBody(b.Body, scope)
		if problems.HasErrors() {
			return nil, problems
		}
		blocks, _ := want[b.Type].([]attributes)
		want[b.Type] = append(blocks, inner)
	}
	return want, nil
}

var fileFunction = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "path", Type: cty.String}},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		b, err := os.ReadFile(args[0].AsString())
		return cty.StringVal(string(b)), err
	},
})

func fromCty(v cty.Value) any {
	switch {
	case v.IsNull():
		return nil
	case v.Type() == cty.String:
		return v.AsString()
	case v.Type() == cty.Bool:
		return v.True()
	case v.Type().IsTupleType():
		list := []string{}
		for _, e := range v.AsValueSlice() {
			list = append(list, e.AsString())
		}
		slices.Sort(list) // all of them are sets
		return list
	case v.Type().IsObjectType():
		m := map[string]string{}
		for k, e := range v.AsValueMap() {
			m[k] = e.AsString()
		}
		return m
	}
	panic(fmt.Sprintf("a value of type %s", v.Type().FriendlyName()))
}

func toCty(a attributes) cty.Value {
	object := map[string]cty.Value{}
	for name, value := range a {
		switch v := value.(type) {
		case string:
			object[name] = cty.StringVal(v)
		case bool:
			object[name] = cty.BoolVal(v)
		}
	}
	return cty.ObjectVal(object)
}

// plan reads everything anew and says what differs from what is wanted, and
// what is no longer wanted.
func (tf *terraform) plan() []string {
	tf.t.Helper()
	tf.refresh()
	blocks, variables := tf.parse()
	var changes []string
	for _, b := range blocks {
		if b.data {
			tf.readData(b, variables)
			continue
		}
		state, exists := tf.state[b.address]
		if !exists {
			changes = append(changes, "create "+b.address)
			continue
		}
		changes = append(changes, tf.changes(b, state, tf.evaluate(b, variables))...)
	}
	for _, address := range tf.order {
		if !slices.ContainsFunc(blocks, func(b block) bool { return b.address == address }) {
			changes = append(changes, "remove "+address)
		}
	}
	return changes
}

// changes compares a resource with what is wanted of it.
func (tf *terraform) changes(b block, state, want attributes) []string {
	tf.t.Helper()
	k := tf.kind(b)
	var changes []string
	for _, name := range slices.Sorted(maps.Keys(attributesOf(k, state, want))) {
		wanted, set := want[name]
		if !set {
			wanted, set = k.defaults[name]
		}
		if !set && (name == "id" || slices.Contains(k.computed, name)) {
			continue
		}
		if got := state[name]; !same(got, wanted) {
			changes = append(changes, fmt.Sprintf("%s.%s: %v, want %v", b.address, name, got, wanted))
		}
	}
	return changes
}

func attributesOf(k kind, all ...attributes) map[string]bool {
	names := map[string]bool{}
	for _, a := range append(all, k.defaults) {
		for name := range a {
			names[name] = true
		}
	}
	return names
}

// same compares as Terraform's older providers do: nothing is the zero value.
func same(a, b any) bool {
	empty := func(v any) bool {
		return v == nil || reflect.ValueOf(v).IsZero() || reflect.ValueOf(v).Kind() == reflect.Slice && reflect.ValueOf(v).Len() == 0
	}
	if empty(a) || empty(b) {
		return empty(a) && empty(b)
	}
	blocksA, okA := a.([]attributes)
	blocksB, okB := b.([]attributes)
	if okA && okB {
		return slices.EqualFunc(blocksA, blocksB, func(a, b attributes) bool {
			for name := range attributesOf(kind{}, a, b) {
				if !same(a[name], b[name]) {
					return false
				}
			}
			return true
		})
	}
	return reflect.DeepEqual(a, b)
}

func (tf *terraform) kind(b block) kind {
	tf.t.Helper()
	k, ok := kinds[b.kind]
	if !ok {
		tf.t.Fatalf("%s: the provider of these tests has no %s", b.address, b.kind)
	}
	return k
}

// refresh reads what is there.
func (tf *terraform) refresh() {
	tf.t.Helper()
	for _, address := range slices.Clone(tf.order) {
		k := kinds[kindOf(address)]
		state, err := k.read(tf.provider, tf.state[address])
		if err != nil {
			tf.t.Fatalf("read %s: %v", address, err)
		}
		if state == nil {
			tf.forget(address)
			continue
		}
		tf.state[address] = state
	}
}

func kindOf(address string) string {
	kind, _, _ := strings.Cut(address, ".")
	return kind
}

func (tf *terraform) forget(address string) {
	delete(tf.state, address)
	tf.order = slices.DeleteFunc(tf.order, func(a string) bool { return a == address })
}

func (tf *terraform) readData(b block, variables map[string]cty.Value) {
	tf.t.Helper()
	state, err := tf.kind(b).read(tf.provider, tf.evaluate(b, variables))
	if err != nil {
		tf.t.Fatalf("read %s: %v", b.address, err)
	}
	tf.state[b.address] = state
}

// apply makes everything as it is wanted.
func (tf *terraform) apply() {
	tf.t.Helper()
	tf.refresh()
	blocks, variables := tf.parse()
	for _, address := range slices.Backward(slices.Clone(tf.order)) {
		if !slices.ContainsFunc(blocks, func(b block) bool { return b.address == address }) {
			tf.remove(address)
		}
	}
	for _, b := range blocks {
		if b.data {
			tf.readData(b, variables)
			continue
		}
		k, want := tf.kind(b), tf.evaluate(b, variables)
		for _, name := range k.required {
			if _, set := want[name]; !set {
				tf.t.Fatalf("%s: %s is required", b.address, name)
			}
		}
		state, exists := tf.state[b.address]
		changed := tf.changes(b, state, want)
		if exists && len(changed) == 0 {
			continue
		}
		for name, value := range k.defaults {
			if _, set := want[name]; !set {
				want[name] = value
			}
		}
		if exists && slices.ContainsFunc(k.replace, func(name string) bool { return !same(state[name], want[name]) }) {
			tf.remove(b.address)
			exists = false
		}
		if exists {
			if err := k.update(tf.provider, state, want); err != nil {
				tf.t.Fatalf("update %s: %v", b.address, err)
			}
			want["id"] = state["id"]
		} else {
			id, err := k.create(tf.provider, want)
			if err != nil {
				tf.t.Fatalf("create %s: %v", b.address, err)
			}
			want["id"] = id
			tf.order = append(tf.order, b.address)
		}
		got, err := k.read(tf.provider, want)
		if err != nil || got == nil {
			tf.t.Fatalf("read %s, which was just written: %v, %v", b.address, got, err)
		}
		tf.state[b.address] = got
	}
}

func (tf *terraform) remove(address string) {
	tf.t.Helper()
	if err := kinds[kindOf(address)].remove(tf.provider, tf.state[address]); err != nil {
		tf.t.Fatalf("remove %s: %v", address, err)
	}
	tf.forget(address)
}

// destroy removes everything, the newest first.
func (tf *terraform) destroy() {
	tf.t.Helper()
	for _, address := range slices.Backward(slices.Clone(tf.order)) {
		tf.remove(address)
	}
}

// edit replaces a text of the configuration, which must be there.
func (tf *terraform) edit(file, from, to string) {
	tf.t.Helper()
	name := filepath.Join(tf.dir, file)
	b, err := os.ReadFile(name)
	if err != nil {
		tf.t.Fatal(err)
	}
	if strings.Count(string(b), from) != 1 {
		tf.t.Fatalf("%s does not hold %q once", file, from)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(b), from, to, 1)), 0o600); err != nil {
		tf.t.Fatal(err)
	}
}
