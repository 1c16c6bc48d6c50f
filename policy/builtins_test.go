package policy

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
)

// TestCase90Capabilities fails when an OPA upgrade brings a builtin, or says
// of one that its result depends on more than its arguments: somebody must
// then decide whether it reaches the network or the host, and whether it says
// the same tomorrow. Its name goes into testdata/builtins.txt, or into
// forbidden.
func TestCase90Capabilities(t *testing.T) {
	known, err := os.ReadFile("testdata/builtins.txt")
	if err != nil {
		t.Fatal(err)
	}
	pinned := []string{
		"io.jwt.decode_verify", // by the time that it is given, see TestCase93
		"rand.intn", "time.now_ns", "uuid.rfc4122",
	}
	for _, version := range []ast.RegoVersion{ast.RegoV0, ast.RegoV1} {
		c := capabilities(version)
		if c.AllowNet == nil || len(c.AllowNet) > 0 {
			t.Errorf("%s: AllowNet is %#v, want empty and not nil", version, c.AllowNet)
		}
		var names, unsettled []string
		for _, b := range c.Builtins {
			if forbidden(b.Name) != "" {
				t.Errorf("%s: %s is available", version, b.Name)
			}
			if b.Nondeterministic {
				unsettled = append(unsettled, b.Name)
			}
			names = append(names, b.Name)
		}
		slices.Sort(unsettled)
		if !slices.Equal(unsettled, pinned) {
			t.Errorf("%s: nondeterministic builtins: got %v, want %v", version, unsettled, pinned)
		}
		slices.Sort(names)
		if diff := cmp.Diff(strings.Fields(string(known)), names); diff != "" {
			t.Errorf("%s: builtins (-want +got):\n%s", version, diff)
		}
	}
	all := ast.CapabilitiesForThisVersion().Builtins
	if n := len(all) - len(capabilities(ast.RegoV1).Builtins); n != 9 {
		t.Errorf("%d builtins are left out, want 9: has OPA renamed one?", n)
	}
}
