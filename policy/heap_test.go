package policy_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

// atOpen is a file system that calls back when a file is opened.
type atOpen struct {
	fstest.MapFS
	name string
	then func()
}

func (a atOpen) Open(name string) (fs.File, error) {
	if name == a.name {
		a.then()
	}
	return a.MapFS.Open(name)
}

// live returns how much of the heap is in use.
func live() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // no heap is that large
}

// TestCase92DataIsBounded measures what is held of a set's data files when
// the last of them is opened. In git, many of them may be one and the same
// blob in one and the same directory, so that they cost their author nothing.
func TestCase92DataIsBounded(t *testing.T) {
	const last = "z/data.json"
	keys := func(n int, key string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"%s%d":0,`, key, i)
		}
		return "{" + b.String() + `"last":0}`
	}
	deep := strings.Repeat(strings.Repeat("d", 200)+"/", 19)
	for _, c := range []struct {
		name    string
		files   int
		dir     string // of the i-th
		content string
	}{
		{"case 92 keys below a long path", 200, deep + "%d", keys(999, "")},
		{"case 92 long keys", 40, "%d", keys(1, strings.Repeat("k", 1_000_000))},
		{"case 92 many keys", 300, "%d", keys(999, "")},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := repo("policies.hcl", `policy "a" { query = "data.a.x == data.z.last" }`,
				"a.rego", "package a\nx := 1\n", last, `{"last": 1}`)
			for i := range c.files {
				fsys[fmt.Sprintf(c.dir, i)+"/data.json"] = &fstest.MapFile{Data: []byte(c.content)}
			}
			set, err := policy.Limits{DataBytes: 1 << 30}.Read(fsys, "", polset.KindOPA)
			if err != nil {
				t.Fatal(err)
			}
			before, held := live(), int64(0)
			digest := func() string {
				list, err := set.Inspect(t.Context(), atOpen{fsys, last, func() { held = live() - before }})
				if err != nil {
					t.Fatal(err)
				}
				return list[0].Digest
			}
			was := digest()
			t.Logf("%d KiB held", held>>10)
			if held > 32<<20 {
				t.Errorf("%d MiB held of %d data files", held>>20, c.files)
			}
			// Where there was no room left to tell the last file apart, it counts.
			fsys[last] = &fstest.MapFile{Data: []byte(`{"last": 2}`)}
			if digest() == was {
				t.Error("a change of the last file goes unnoticed")
			}
		})
	}
}

// TestInspectStopsAnywhere cancels at each of the places that look at the
// context: nothing goes on behind any of them.
func TestInspectStopsAnywhere(t *testing.T) {
	fsys := repo("policies.hcl", `policy "a" { query = "data.a.x; data.d.k; data.b" }`,
		"a.rego", "package a\nx := data.b.x\ny := data.d.k\n", "b.rego", "package b\nx := data.c.x\n", "c.rego", "package c\nx := 1\n",
		"d/data.json", `{"k": 1}`, "e/data.yaml", "k: 1")
	set, err := policy.Read(fsys, "", polset.KindOPA)
	if err != nil {
		t.Fatal(err)
	}
	const most = 1000
	all := &countdown{context.Background(), most}
	if err := set.Validate(all, fsys); err != nil {
		t.Fatal(err)
	}
	looks := most - all.n
	for n := 1; n <= looks; n++ {
		ctx := &countdown{context.Background(), n}
		if err := set.Validate(ctx, fsys); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at look %d of %d: got %v", n, looks, err)
		}
		if ctx.n < -2 {
			t.Errorf("cancelled at look %d of %d: looked %d times more", n, looks, -ctx.n)
		}
	}
	// Listed are 9 files and directories, parsed 3 modules; data files are
	// read in at least 2 steps each, and then each module, each place that it
	// or the query names, and each step of the closure have their look.
	behind := 0
	all = &countdown{context.Background(), most}
	if err := set.Validate(all, atOpen{fsys, "e/data.yaml", func() { behind = all.n }}); err != nil {
		t.Fatal(err)
	}
	if behind -= all.n; behind < 15 {
		t.Errorf("%d looks behind the last data file", behind)
	}
}
