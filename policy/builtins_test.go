package policy

import (
	"slices"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// TestCase90Capabilities fails when an OPA upgrade brings a builtin whose
// result depends on more than its arguments: somebody must then decide
// whether it reaches the network or the host.
func TestCase90Capabilities(t *testing.T) {
	harmless := []string{
		"io.jwt.decode_verify", "io.jwt.encode_sign", "io.jwt.encode_sign_raw", // the time, and randomness
		"rand.intn", "time.now_ns", "uuid.rfc4122",
	}
	for _, version := range []ast.RegoVersion{ast.RegoV0, ast.RegoV1} {
		c := capabilities(version)
		if c.AllowNet == nil || len(c.AllowNet) > 0 {
			t.Errorf("%s: AllowNet is %#v, want empty and not nil", version, c.AllowNet)
		}
		var got []string
		for _, b := range c.Builtins {
			if forbidden(b.Name) {
				t.Errorf("%s: %s is available", version, b.Name)
			}
			if b.Nondeterministic {
				got = append(got, b.Name)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, harmless) {
			t.Errorf("%s: nondeterministic builtins: got %v, want %v", version, got, harmless)
		}
		if !c.ContainsBuiltin("rego.parse_module") || !c.ContainsBuiltin("net.cidr_contains") {
			t.Errorf("%s: a harmless builtin is missing", version)
		}
	}
	if n := len(ast.CapabilitiesForThisVersion().Builtins) - len(capabilities(ast.RegoV1).Builtins); n != 5 {
		t.Errorf("%d builtins are left out, want 5: has OPA renamed one?", n)
	}
}
