package policy

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// forbidden says why a builtin is not available, "" where it is.
//
// Some reach the network or the host that the policy runs on.
// json.match_schema and json.verify_schema do, although AllowNet is empty: a
// $ref in the schema may be a file:// URL, and OPA reads that file.
//
// Others have no answer that is the same tomorrow, and OPA offers nothing to
// pin it with, as it does for time.now_ns, rand.intn and uuid.rfc4122:
// certificates are verified by the machine's clock, and signatures may hold
// random numbers of its own.
func forbidden(builtin string) string {
	switch builtin {
	case "http.send", "net.lookup_ip_addr", "opa.runtime", "json.match_schema", "json.verify_schema":
		return "where policies reach neither the network nor the host"
	case "crypto.x509.parse_and_verify_certificates", "crypto.x509.parse_and_verify_certificates_with_options",
		"io.jwt.encode_sign", "io.jwt.encode_sign_raw":
		return "where a policy says the same of a plan whenever it is asked"
	}
	return ""
}

// capabilities is what Rego of the given version may use: everything that
// this version of OPA has, without the forbidden builtins. They are left out,
// rather than listed as unsafe, since a with modifier once got around that
// list (GHSA-f524-rf33-2jjr).
func capabilities(version ast.RegoVersion) *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(version))
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool { return forbidden(b.Name) != "" })
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
	if name := string(loc.Text[:end]); forbidden(name) != "" {
		return name
	}
	return ""
}
