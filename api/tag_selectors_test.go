package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	tfe "github.com/hashicorp/go-tfe"
)

func TestTagSelectorsOfOfficialClient(t *testing.T) {
	w := newWorld(t)
	client, ctx := w.client(w.acme), t.Context()
	for _, global := range []bool{false, true} {
		name := "selects"
		if global {
			name = "excludes"
		}
		set, err := client.PolicySets.Create(ctx, "acme", tfe.PolicySetCreateOptions{Name: tfe.String(name), Global: tfe.Bool(global)})
		if err != nil {
			t.Fatal(err)
		}
		selectors := []*tfe.PolicySetTagSelector{
			{Key: "env", Value: tfe.String("prod"), IsExclude: global}, {Key: "team", IsExclude: global}, {Key: "env", IsExclude: true},
		}
		want := []*tfe.PolicySetTagSelectorAttr{
			{Key: "env", Value: tfe.String("prod"), IsExclude: global}, {Key: "team", IsExclude: global}, {Key: "env", IsExclude: true},
		}
		read := func(want []*tfe.PolicySetTagSelectorAttr) {
			t.Helper()
			got, err := client.PolicySets.Read(ctx, set.ID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.TagSelectors); diff != "" {
				t.Fatal(diff)
			}
		}
		for range 2 {
			if err := client.PolicySets.AddTagSelectors(ctx, set.ID, tfe.PolicySetAddTagSelectorsOptions{TagSelectors: selectors}); err != nil {
				t.Fatal(err)
			}
			read(want)
		}
		// What differs in one part is another selector.
		other := []*tfe.PolicySetTagSelector{{Key: "env", Value: tfe.String(""), IsExclude: global}, {Key: "team", IsExclude: !global}, {Key: "env", Value: tfe.String("Prod"), IsExclude: global}}
		if err := client.PolicySets.RemoveTagSelectors(ctx, set.ID, tfe.PolicySetRemoveTagSelectorsOptions{TagSelectors: other}); err != nil {
			t.Fatal(err)
		}
		read(want)
		for range 2 {
			if err := client.PolicySets.RemoveTagSelectors(ctx, set.ID, tfe.PolicySetRemoveTagSelectorsOptions{TagSelectors: selectors}); err != nil {
				t.Fatal(err)
			}
			read(nil)
		}
		if got := strings.Join(w.actions(set.ID), ", "); got != "created, tag-selectors-added, tag-selectors-removed" {
			t.Error(got)
		}
	}

	made, err := client.PolicySets.Create(ctx, "acme", tfe.PolicySetCreateOptions{
		Name: tfe.String("made"), Kind: tfe.OPA, TagSelectors: []*tfe.PolicySetTagSelector{{Key: "env", Value: tfe.String("prod")}, {Key: "team"}},
		TagSelectorMatchingLogic: tfe.NullableString("all"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(made.TagSelectors) != 2 || *made.TagSelectors[0].Value != "prod" || made.TagSelectors[1].Value != nil || *made.TagSelectorMatchingLogic != "all" {
		t.Errorf("made %+v", made)
	}
	for _, c := range []struct {
		options tfe.PolicySetUpdateOptions
		want    string
	}{
		{tfe.PolicySetUpdateOptions{TagSelectorMatchingLogic: tfe.NullableString("any")}, "any"},
		{tfe.PolicySetUpdateOptions{Description: tfe.String("x")}, "any"},
		{tfe.PolicySetUpdateOptions{TagSelectorMatchingLogic: tfe.NullString()}, ""},
	} {
		got, err := client.PolicySets.Update(ctx, made.ID, c.options)
		if err != nil {
			t.Fatal(err)
		}
		if logic := got.TagSelectorMatchingLogic; (logic == nil) != (c.want == "") || logic != nil && *logic != c.want {
			t.Errorf("%v, want %q", logic, c.want)
		}
		if len(got.TagSelectors) != 2 {
			t.Error("the selectors went")
		}
	}
	a := w.ask(w.acme, "GET", "/policy-sets/"+made.ID, "")
	if !strings.Contains(a.body, `"scoping-type":"tag"`) {
		t.Error(a.body)
	}
}

func TestRefusedTagSelectors(t *testing.T) {
	w := newWorld(t)
	id := w.setOf("net", "", "")
	long := strings.Repeat("x", 257)
	before := w.everything(t)
	for _, c := range []struct{ name, data, pointer string }{
		{"no list", `{"tag-key":"a"}`, "/data"},
		{"null", `null`, "/data"},
		{"a text", `["env"]`, "/data/0"},
		{"an element that is null", `[null]`, "/data/0/tag-key"},
		{"no key", `[{"tag-key":"a"},{"tag-value":"x"}]`, "/data/1/tag-key"},
		{"a long key", `[{"tag-key":"` + long + `"}]`, "/data/0/tag-key"},
		{"a long value", `[{"tag-key":"a","tag-value":"` + long + `"}]`, "/data/0/tag-value"},
		{"too many", `[` + strings.Repeat(`{"tag-key":"a"},`, 100) + `{"tag-key":"a"}]`, "/data"},
	} {
		for _, method := range []string{"POST", "DELETE"} {
			t.Run(method+" "+c.name, func(t *testing.T) {
				refused(t, w.ask(w.acme, method, "/policy-sets/"+id+"/tag-selectors", `{"data":`+c.data+`}`), http.StatusUnprocessableEntity, c.pointer)
			})
		}
	}
	refused(t, w.ask(w.acme, "POST", sets, `{"data":{"type":"policy-sets","attributes":{"name":"n","tag-selectors":[{"tag-value":"x"}]}}}`),
		http.StatusUnprocessableEntity, "/data/attributes/tag-selectors/0/tag-key")
	if diff := cmp.Diff(before, w.everything(t)); diff != "" {
		t.Errorf("something was changed: %s", diff)
	}
}
