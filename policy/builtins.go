package policy

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// forbidden reports whether a builtin reaches the network or the host that
// the policy runs on. json.match_schema and json.verify_schema do, although
// AllowNet is empty: a $ref in the schema may be a file:// URL, and OPA reads
// that file.
func forbidden(builtin string) bool {
	switch builtin {
	case "http.send", "net.lookup_ip_addr", "opa.runtime", "json.match_schema", "json.verify_schema":
		return true
	}
	return false
}

// capabilities is what Rego of the given version may use: everything that
// this version of OPA has, without the forbidden builtins. They are left out,
// rather than listed as unsafe, since a with modifier once got around that
// list (GHSA-f524-rf33-2jjr).
func capabilities(version ast.RegoVersion) *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(version))
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool { return forbidden(b.Name) })
	c.AllowNet = []string{} // nil would allow every host
	return c
}

// forbiddenAt returns the forbidden builtin that the code at loc names, ""
// where there is none.
func forbiddenAt(loc *ast.Location) string {
	if loc == nil {
		return ""
	}
	end := 0
	for end < len(loc.Text) && (loc.Text[end] == '.' || isWord(loc.Text[end])) {
		end++
	}
	if name := string(loc.Text[:end]); forbidden(name) {
		return name
	}
	return ""
}
