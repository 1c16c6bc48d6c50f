package api_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestRefusalsNameTheField wants of every refusal a sentence that names the
// field: go-tfe shows people the detail, and keeps the pointer to itself.
func TestRefusalsNameTheField(t *testing.T) {
	w := newWorld(t)
	e := w.estate("refusals")
	set := e.thing("policy_set")

	tests := []struct {
		method, path, body string
		pointer, detail    string
	}{
		{"POST", "/organizations/refusals/policies", `{"data":{"type":"policies","attributes":{"name":5}}}`, "/data/attributes/name", "name must be a string, not a number."},
		{"POST", "/organizations/refusals/policies", `{"data":{"type":"policies","attributes":{"Name":true}}}`, "/data/attributes/name", "name must be a string, not a boolean."},
		{"POST", "/organizations/refusals/policies", `{"data":{"type":"policies","attributes":{"enforce":{}}}}`, "/data/attributes/enforce", "enforce must be an array, not an object."},
		{"POST", "/organizations/refusals/policies", `{"data":{"type":"policies","attributes":{"enforce":[{"mode":"advisory"},{"mode":7}]}}}`, "/data/attributes/enforce/1/mode", "enforce.1.mode must be a string, not a number."},
		{"POST", "/organizations/refusals/policies", `{"data":{"type":"policies","attributes":[]}}`, "/data/attributes", "data.attributes must be an object, not an array."},
		{"POST", "/organizations/refusals/policies", `{"data":[]}`, "/data", "data must be an object, not an array."},
		{"POST", "/organizations/refusals/policies", `{"data":{"type":"policies","attributes":{"name":"p","enforcement-level":"no"}}}`, "/data/attributes/enforcement-level", "enforcement-level must be one of advisory, soft-mandatory, hard-mandatory for a policy of kind sentinel."},
		{"POST", "/organizations/refusals/policies", `{"data":{"type":"policies","attributes":{"name":"p","enforce":[{"mode":"no"}]}}}`, "/data/attributes/enforce/0/mode", "enforce.0.mode must be one of advisory, soft-mandatory, hard-mandatory for a policy of kind sentinel."},
		{"POST", "/organizations/refusals/policies", `{"data":{"type":"policies","attributes":{"name":"p","enforcement-level":"advisory"},"relationships":{"policy-sets":{"data":{}}}}}`, "/data/relationships/policy-sets/data", "data.relationships.policy-sets.data must be an array of resource identifiers."},
		{"POST", "/organizations/refusals/policies", `{"data":{"type":"policies","attributes":{"name":"p","enforcement-level":"advisory"},"relationships":{"policy-sets":[]}}}`, "/data/relationships/policy-sets", "data.relationships.policy-sets must have an array of resource identifiers as its data."},
		{"POST", "/organizations/refusals/policies", `{"data":{"type":"policies","attributes":{"name":"p","enforcement-level":"advisory"},"relationships":{"policy-sets":{"data":[{"type":"policies","id":"x"}]}}}}`, "/data/relationships/policy-sets/data/0/type", `data.relationships.policy-sets.data.0.type must be "policy-sets".`},
		{"POST", "/organizations/refusals/policies", `{"data":{"type":"policies","attributes":{"name":"p","enforcement-level":"advisory"},"relationships":{"policy-sets":{"data":[{"type":"policy-sets","id":"polset-x"}]}}}}`, "/data/relationships/policy-sets/data/0", "data.relationships.policy-sets.data.0: The policy set was not found."},

		{"POST", "/organizations/refusals/policy-sets", `{"data":{"type":"policy-sets","attributes":{"name":"s","tag-selectors":[{"tag-key":"a"},{"tag-key":"b","is-exclude":"no"}]}}}`, "/data/attributes/tag-selectors/1/is-exclude", "tag-selectors.1.is-exclude must be a boolean, not a string."},
		{"POST", "/organizations/refusals/policy-sets", `{"data":{"type":"policy-sets","attributes":{"name":"s","policy-update-patterns":["a",1]}}}`, "/data/attributes/policy-update-patterns/1", "policy-update-patterns.1 must be a string, not a number."},
		{"POST", "/organizations/refusals/policy-sets", `{"data":{"type":"policy-sets","attributes":{"name":"s","vcs-repo":{"branch":[]}}}}`, "/data/attributes/vcs-repo/branch", "vcs-repo.branch must be a string, not an array."},
		{"POST", "/organizations/refusals/policy-sets", `{"data":{"type":"policy-sets","attributes":{"name":"s","vcs-repo":{"identifier":"a/b","oauth-token-id":"ot-aaaaaaaaaaaaaaaa"}}}}`, "/data/attributes/vcs-repo/oauth-token-id", "oauth-token-id names no OAuth token of the organization."},

		{"POST", "/policy-sets/" + set + "/relationships/policies", `{"data":[{"type":"policies","id":"pol-aaaaaaaaaaaaaaaa"}]}`, "/data/0", "data.0: The policy was not found."},
		{"POST", "/policy-sets/" + set + "/relationships/policies", `{"data":[{"type":"policies"}]}`, "/data/0", "data.0: The policy was not found."},
		{"POST", "/policy-sets/" + set + "/relationships/workspaces", `{"data":[{"type":"workspaces","id":"` + strings.Repeat("x", 999) + `"}]}`, "/data/0", "data.0: The workspace was not found."},
		{"POST", "/policy-sets/" + set + "/tag-selectors", `{"data":[{"tag-key":"a"},{"tag-key":5}]}`, "/data/1/tag-key", "data.1.tag-key must be a string, not a number."},
		{"POST", "/organizations/refusals/policy-sets", `{"data":{"type":"policy-sets","attributes":{"name":"s","policy-update-patterns":["a","b//c"]}}}`, "/data/attributes/policy-update-patterns/1", `policy-update-patterns.1: the pattern "b//c" has an empty component.`},
		{"POST", "/organizations/refusals/policy-sets", `{"data":{"type":"policy-sets","attributes":{"name":"s","tag-selectors":[{"tag-key":"a"},{"tag-key":""}]}}}`, "/data/attributes/tag-selectors/1/tag-key", "tag-selectors.1.tag-key must be 1 to 128 characters, without control characters and without spaces around it."},
		{"POST", "/policy-sets/" + set + "/tag-selectors", `{"data":[{"tag-key":"a","tag-value":" "}]}`, "/data/0/tag-value", "data.0.tag-value must be up to 256 characters, without control characters and without spaces around it."},
		{"POST", "/policy-sets/" + set + "/tag-selectors", `{"data":{}}`, "/data", "data must be an array, not an object."},

		{"POST", "/runs", `{"data":{"type":"runs"}}`, "/data/relationships/workspace", "data.relationships.workspace is required: it names the workspace of the run."},

		{"POST", "/runs", `{"data":{"type":"runs","relationships":{"workspace":{"data":{"type":"workspaces","id":5}}}}}`, "/data/relationships/workspace", "data.relationships.workspace must have a resource identifier, or null, as its data."},
		{"POST", "/organizations/refusals/workspaces", `{"data":{"type":"workspaces","attributes":{"name":"w"},"relationships":{"project":{"data":{"type":"projects","id":"prj-aaaaaaaaaaaaaaaa"}}}}}`, "/data/relationships/project", "data.relationships.project: The project was not found."},
		{"POST", "/organizations/refusals/workspaces", `{"data":{"type":"workspaces","attributes":{"name":"w","agent-pool-id":"apool-1"}}}`, "/data/attributes/agent-pool-id", "agent-pool-id names no agent pool: polset has none."},

		{"POST", "/admin/opa-versions", `{"data":{"type":"opa-versions","attributes":{"version":"1.0.0","url":"ftp:x","sha":"aa"}}}`, "/data/attributes/url", "url must be an http or https URL of up to 1024 bytes, without a user name."},
		{"POST", "/admin/opa-versions", `{"data":{"type":"opa-versions","attributes":{"version":"1.0.0","url":"https://a.example","sha":"zz"}}}`, "/data/attributes/sha", "sha must be up to 128 hexadecimal digits."},
		{"POST", "/admin/opa-versions", `{"data":{"type":"opa-versions","attributes":{"version":"1.0.0","archs":[{"url":"https://a.example","sha":"aa","os":"linux","arch":"amd64"},{"url":"https://a.example","sha":"zz","os":"linux","arch":"arm64"}]}}}`, "/data/attributes/archs/1/sha", "archs.1.sha must be up to 128 hexadecimal digits."},
		{"POST", "/admin/opa-versions", `{"data":{"type":"opa-versions","attributes":{"version":"1.0.0","archs":[{"url":"https://a.example","sha":"aa","os":5}]}}}`, "/data/attributes/archs/0/os", "archs.0.os must be a string, not a number."},
	}
	for _, tt := range tests {
		token := e.token
		if strings.HasPrefix(tt.path, "/admin/") {
			token = admin
		}
		a := w.ask(token, tt.method, w.url+"/api/v2"+tt.path, tt.body)
		var details []string
		found := false
		for _, p := range problemsOf(t, a, http.StatusUnprocessableEntity) {
			details = append(details, p.Source.Pointer+": "+p.Detail)
			found = found || p.Source.Pointer == tt.pointer && p.Detail == tt.detail
		}
		if !found {
			t.Errorf("%s %s %.200s:\n got %s\nwant %s: %s", tt.method, tt.path, tt.body, strings.Join(details, "\n     "), tt.pointer, tt.detail)
		}
	}
}
