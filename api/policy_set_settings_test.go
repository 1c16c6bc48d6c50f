package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	tfe "github.com/hashicorp/go-tfe"

	"github.com/polset/polset"
)

// The matrix of kind, agent-enabled, overridable and policy-tool-version, at
// creation and by PATCH.
func TestAgentSettings(t *testing.T) {
	w := newWorld(t)
	type settings struct {
		Agent       bool    `json:"agent-enabled"`
		Overridable *bool   `json:"overridable"`
		Version     *string `json:"policy-tool-version"`
	}
	yes, no := true, false
	text := func(s string) *string { return &s }
	read := func(a answer) settings {
		t.Helper()
		var doc struct{ Data struct{ Attributes settings } }
		if err := json.Unmarshal([]byte(a.body), &doc); err != nil || a.status >= 300 {
			t.Fatalf("%v: %d %s", err, a.status, a.body)
		}
		return doc.Data.Attributes
	}
	none := settings{}
	type step struct {
		patch string
		want  settings
	}
	for n, c := range []struct {
		attributes string
		want       settings
		then       []step
	}{
		{``, none, []step{
			{`"agent-enabled":true`, settings{true, &no, text("latest")}},
			{`"overridable":true,"policy-tool-version":"0.40.0"`, settings{true, &yes, text("0.40.0")}},
			{`"description":"x"`, settings{true, &yes, text("0.40.0")}},
			{`"agent-enabled":null`, settings{true, &yes, text("0.40.0")}},
			{`"policy-tool-version":null`, settings{true, &yes, text("latest")}},
			{`"overridable":null`, settings{true, &no, text("latest")}},
			{`"agent-enabled":false,"overridable":true,"policy-tool-version":"0.40.0"`, none},
			{`"overridable":true`, none},
		}},
		{`"kind":"sentinel","agent-enabled":false,"overridable":true,"policy-tool-version":"0.1"`, none, nil},
		{`"agent-enabled":true,"overridable":true,"policy-tool-version":"0.0.1"`, settings{true, &yes, text("0.0.1")}, []step{{`"agent-enabled":false`, none}}},
		{`"kind":"opa"`, settings{true, &no, nil}, []step{{`"overridable":true`, settings{true, &yes, nil}}, {`"agent-enabled":false`, settings{true, &yes, nil}}}},
		{`"kind":"opa","agent-enabled":false,"overridable":true,"policy-tool-version":"1.0.0"`, settings{true, &yes, text("1.0.0")}, nil},
	} {
		id := w.setOf(fmt.Sprint("set", n), c.attributes, "")
		for _, s := range append([]step{{want: c.want}}, c.then...) {
			if s.patch != "" {
				if diff := cmp.Diff(s.want, read(w.ask(w.acme, "PATCH", "/policy-sets/"+id, `{"data":{"type":"policy-sets","attributes":{`+s.patch+`}}}`))); diff != "" {
					t.Errorf("%d, the answer to %s: %s", n, s.patch, diff)
				}
			}
			if diff := cmp.Diff(s.want, read(w.ask(w.acme, "GET", "/policy-sets/"+id, ""))); diff != "" {
				t.Errorf("%d after %s: %s", n, s.patch, diff)
			}
		}
	}
}

func TestUpdatePatternsAreEchoed(t *testing.T) {
	w := newWorld(t)
	client, ctx := w.client(w.acme), t.Context()
	patterns := []string{"*.rego", "policies/**", "/a/[!b]/c?"}
	set, err := client.PolicySets.Create(ctx, "acme", tfe.PolicySetCreateOptions{Name: tfe.String("net"), Kind: tfe.OPA, PolicyUpdatePatterns: patterns})
	if err != nil || !slices.Equal(set.PolicyUpdatePatterns, patterns) {
		t.Fatal(err, set)
	}
	slices.Reverse(patterns)
	if set, err = client.PolicySets.Update(ctx, set.ID, tfe.PolicySetUpdateOptions{PolicyUpdatePatterns: patterns}); err != nil || !slices.Equal(set.PolicyUpdatePatterns, patterns) {
		t.Fatal(err, set)
	}
	patch := func(patterns string) answer {
		return w.ask(w.acme, "PATCH", "/policy-sets/"+set.ID, `{"data":{"type":"policy-sets","attributes":{"policy-update-patterns":`+patterns+`}}}`)
	}
	hundred := strings.TrimSuffix(strings.Repeat(`"a",`, 100), ",")
	for _, c := range []struct{ patterns, pointer string }{
		{`["a","[b"]`, "/1"}, {`[""]`, "/0"}, {`["../x"]`, "/0"}, {`["` + strings.Repeat("x", 1025) + `"]`, "/0"}, {`[` + hundred + `,"a"]`, ""}, {`"a"`, ""},
	} {
		refused(t, patch(c.patterns), http.StatusUnprocessableEntity, "/data/attributes/policy-update-patterns"+c.pointer)
	}
	if got, err := client.PolicySets.Read(ctx, set.ID); err != nil || !slices.Equal(got.PolicyUpdatePatterns, patterns) {
		t.Error(err, got)
	}
	for _, list := range []string{`[` + hundred + `]`, `null`} {
		if a := patch(list); a.status != http.StatusOK {
			t.Error(a.body)
		}
	}
	if got, err := client.PolicySets.Read(ctx, set.ID); err != nil || len(got.PolicyUpdatePatterns) != 0 {
		t.Error(err, got)
	}
}

func TestPolicySetFilters(t *testing.T) {
	w := newWorld(t)
	w.setOf("plain", "", "")
	w.setOf("rego", `"kind":"opa"`, "")
	connection, err := w.store.CreateConnection(t.Context(), polset.System, polset.ConnectionDraft{
		Organization: "acme", ServiceProvider: "github", HTTPURL: "https://github.com", APIURL: "https://api.github.com", Token: polset.NewSecret("ghp_x"),
	})
	if err != nil {
		t.Fatal(err)
	}
	left := w.setOf("left", `"vcs-repo":{"identifier":"acme/policies","oauth-token-id":"`+connection.TokenID+`"}`, "")
	w.setOf("follows", `"vcs-repo":{"identifier":"acme/policies","oauth-token-id":"`+connection.TokenID+`"}`, "")
	// Its versions stay, so it remains a set of versions.
	if a := w.ask(w.acme, "PATCH", "/policy-sets/"+left, `{"data":{"type":"policy-sets","attributes":{"vcs-repo":null}}}`); a.status != http.StatusOK || !strings.Contains(a.body, `"versioned":true`) {
		t.Fatal(a.body)
	}
	refused(t, w.ask(w.acme, "POST", "/organizations/acme/policies", `{"data":{"type":"policies","attributes":{"name":"late","enforcement-level":"advisory"},
		"relationships":{"policy-sets":{"data":[{"type":"policy-sets","id":"`+left+`"}]}}}}`), http.StatusUnprocessableEntity, "/data/relationships/policy-sets/data/0")
	for _, c := range []struct{ query, want string }{
		{"", "plain rego left follows"},
		{"filter[versioned]=true", "left follows"},
		{"filter[versioned]=false", "plain rego"},
		{"filter[versioned]=false&filter[kind]=opa", "rego"},
		{"filter[kind]=tfpolicy", ""},
		{"search[name]=LE", "left"},
		{"page[size]=2&page[number]=2", "left follows"},
		{"page[number]=999", ""},
	} {
		a := w.ask(w.acme, "GET", sets+"?"+c.query, "")
		var doc struct {
			Data []struct{ Attributes struct{ Name string } }
		}
		if err := json.Unmarshal([]byte(a.body), &doc); err != nil || a.status != http.StatusOK {
			t.Fatalf("%v: %s", err, a.body)
		}
		var names []string
		for _, d := range doc.Data {
			names = append(names, d.Attributes.Name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.query, got, c.want)
		}
	}
	for _, kind := range []string{"tfpolicy", "", "Sentinel"} {
		refused(t, w.ask(w.acme, "POST", sets, `{"data":{"type":"policy-sets","attributes":{"name":"x","kind":"`+kind+`"}}}`), http.StatusUnprocessableEntity, "/data/attributes/kind")
	}
	refused(t, w.ask(w.acme, "POST", sets, `{"data":{"type":"policy-sets","attributes":{"name":"x","policy-tool-version":"1 2"}}}`), http.StatusUnprocessableEntity, "/data/attributes/policy-tool-version")
	refused(t, w.ask(w.acme, "POST", sets, `{"data":{"type":"policy-sets","attributes":{"name":"x","tag-selector-matching-logic":"some"}}}`), http.StatusUnprocessableEntity, "/data/attributes/tag-selector-matching-logic")
}
