package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

// sameAsOPA fails where parseJSON and OPA's own way differ.
func sameAsOPA(t *testing.T, src []byte) {
	t.Helper()
	got, err := parseJSON(src)
	var native any
	wantErr := util.UnmarshalJSON(src, &native)
	var want ast.Value
	if wantErr == nil {
		want, wantErr = ast.InterfaceToValue(native)
	}
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%q: got %v, OPA says %v", src, err, wantErr)
	}
	if err == nil && (got.Compare(want) != 0 || got.Hash() != want.Hash() || got.String() != want.String()) {
		t.Fatalf("%q: got %v, OPA makes %v of it", src, got, want)
	}
}

func jsonSeeds() []string {
	many := make([]string, 0, 60)
	for i := range 60 {
		many = append(many, fmt.Sprintf(`"k%d": %d`, i%40, i))
	}
	return []string{
		`{}`, `[]`, `null`, `true`, `false`, `0`, `-0`, `1e3`, `-1.50E-7`, `12345678901234567890.12345678901234567890`,
		`""`, `"a"`, `"\u0000\n\"\\\/é😀\ud83d\ude00\ud800"`, "\"\xff\"", ` { "a" : [ 1 , "b" , { } , [ ] , null ] } `,
		`{"a": 1, "a": 2, "\u0061": 3, "b": {"a": "a"}}`, `{` + strings.Join(many, ",") + `}`,
		`[1,2`, `{"a"}`, `{"a":1,}`, `[1,]`, `1 2`, `01`, `1.`, `+1`, `tru`, `"`, `"\x"`, ``, ` `, `1e999999999999`, `{"a":1}{}`, "\"a\nb\"",
		`"` + strings.Repeat("long", 100) + `"`,
	}
}

func TestParseJSONIsOPAs(t *testing.T) {
	for _, src := range jsonSeeds() {
		sameAsOPA(t, []byte(src))
	}
}

func FuzzParseJSON(f *testing.F) {
	for _, src := range jsonSeeds() {
		f.Add([]byte(src))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if deeper(src) {
			t.Skip()
		}
		sameAsOPA(t, src)
	})
}
