package policy_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
)

// rego returns about n bytes of a module, made of what each makes of numbers.
func rego(n int, each string) string {
	var b strings.Builder
	b.WriteString("package a\nimport rego.v1\ndeny := []\n")
	for i := 0; b.Len() < n; i++ {
		b.WriteString(strings.ReplaceAll(each, "#", fmt.Sprint(i)))
	}
	return b.String()
}

func list(n int, each string) string {
	return "[" + strings.Repeat(each+",", n/(len(each)+1)) + each + "]"
}

func object(n int, each string) string {
	var b strings.Builder
	b.WriteString("{")
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "\"%d\":%s,", i, each)
	}
	return b.String() + "\"last\":0}"
}

// TestProgramSize holds Program.Size against what a program takes.
func TestProgramSize(t *testing.T) {
	const n = 60_000
	for _, c := range []struct {
		name string
		fsys fstest.MapFS
	}{
		{"rego: ordinary policies", nil},
		{"rego: small rules", repo("a.rego", rego(n/2, "r# := #\n"))},
		{"rego: small functions", repo("a.rego", rego(n/2, "f#(x) := x+1\n"))},
		{"rego: comparisons", repo("a.rego", rego(n, "r# if { input.a.b==1;input.c.d==2;input.e.f==3;input.g.h==4;input.i.j==5 }\n"))},
		{"rego: references", repo("a.rego", rego(n, "r# if { input.a[r.b[c].d];input.e[data.f.g[_]] }\n")+"r := input.x\nc := input.y\n")},
		{"rego: a table", repo("a.rego", rego(1, "")+"t := "+list(n, "1"))},
		{"rego: nested brackets", repo("a.rego", rego(n, "r# := [[[[[[[]]]]]]]\n"))},
		{"rego: comprehensions", repo("a.rego", rego(n, "r# := [x|x:=input.a[_];x.b==#]\n"))},
		{"rego: comments", repo("a.rego", rego(1, "")+strings.Repeat("# x\n", n/4))},
		{"rego: messages", repo("a.rego", rego(n, "r# contains m if { some x in input.plan.resource_changes; m := sprintf(\"%v\", [x]) }\n"))},
		{"data: numbers", repo("x/data.json", list(n, "1"))},
		{"data: strings", repo("x/data.json", list(n, `""`))},
		{"data: empty arrays", repo("x/data.json", list(n, "[]"))},
		{"data: empty objects", repo("x/data.json", list(n, "{}"))},
		{"data: keys", repo("x/data.json", object(n, "1"))},
		{"data: small objects", repo("x/data.json", list(n, `{"a":1}`))},
		{"data: text", repo("x/data.json", list(n, `"`+strings.Repeat("text ", 20)+`"`))},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.fsys == nil {
				c.fsys = forty()
				for name, file := range c.fsys {
					c.fsys[strings.TrimPrefix(name, "policies/")] = file
				}
			} else {
				c.fsys["policies.hcl"] = &fstest.MapFile{Data: []byte(oneQuery)}
				if c.fsys["a.rego"] == nil {
					c.fsys["a.rego"] = &fstest.MapFile{Data: []byte("package a\ndeny := []\n")}
				}
			}
			bytes := 0
			for name, file := range c.fsys {
				if !strings.HasSuffix(name, ".hcl") {
					bytes += len(file.Data)
				}
			}
			before := live()
			program := compile(t, c.fsys)
			held := live() - before
			runtime.KeepAlive(program)
			t.Logf("%d KiB of %d KiB: %.1f times; Size says %d KiB", held>>10, bytes>>10, float64(held)/float64(bytes), program.Size()>>10)
			if held > program.Size() {
				t.Errorf("a program of %d KiB holds %d KiB, and says %d KiB", bytes>>10, held>>10, program.Size()>>10)
			}
		})
	}
}
