package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	tfe "github.com/hashicorp/go-tfe"

	"github.com/polset/polset"
)

// The official client does with parameters what its own tests do, and a little more.
func TestParametersWithOfficialClient(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(w.acme).PolicySetParameters, t.Context()
	set := w.policySet("guarded", "sentinel")
	category := tfe.Category(tfe.CategoryPolicySet)

	var all []*tfe.PolicySetParameter
	for _, o := range []tfe.PolicySetParameterCreateOptions{
		{Key: tfe.String("size"), Value: tfe.String("t3.micro"), Category: category},
		{Key: tfe.String("empty"), Value: tfe.String(""), Category: category},
		{Key: tfe.String("none at all"), Category: category},
		{Key: tfe.String("secret"), Value: tfe.String("hunter2"), Category: category, Sensitive: tfe.Bool(true)},
	} {
		p, err := c.Create(ctx, set, o)
		if err != nil {
			t.Fatal(err)
		}
		value := ""
		if o.Value != nil && o.Sensitive == nil {
			value = *o.Value
		}
		if p.Key != *o.Key || p.Value != value || p.Category != tfe.CategoryPolicySet || p.Sensitive != (o.Sensitive != nil) || p.PolicySet.ID != set {
			t.Errorf("created %+v", p)
		}
		if got, err := c.Read(ctx, set, p.ID); err != nil || !cmp.Equal(got, p) {
			t.Errorf("read: %v, %s", err, cmp.Diff(p, got))
		}
		all = append(all, p)
	}
	if list, err := c.List(ctx, set, nil); err != nil || !cmp.Equal(list.Items, all) {
		t.Errorf("list: %v, %s", err, cmp.Diff(all, list.Items))
	}
	page, err := c.List(ctx, set, &tfe.PolicySetParameterListOptions{ListOptions: tfe.ListOptions{PageNumber: 2, PageSize: 3}})
	if err != nil || len(page.Items) != 1 || page.CurrentPage != 2 || page.TotalCount != 4 || !cmp.Equal(page.Items[0], all[3]) {
		t.Errorf("page: %+v, %v", page, err)
	}
	page, err = c.List(ctx, set, &tfe.PolicySetParameterListOptions{ListOptions: tfe.ListOptions{PageNumber: 999, PageSize: 100}})
	if err != nil || len(page.Items) != 0 || page.CurrentPage != 999 || page.TotalCount != 4 {
		t.Errorf("a page out of range: %+v, %v", page, err)
	}

	if same, err := c.Update(ctx, set, all[0].ID, tfe.PolicySetParameterUpdateOptions{}); err != nil || !cmp.Equal(same, all[0]) {
		t.Errorf("nothing: %v, %s", err, cmp.Diff(all[0], same))
	}
	p, err := c.Update(ctx, set, all[0].ID, tfe.PolicySetParameterUpdateOptions{Key: tfe.String("newname"), Value: tfe.String("newvalue")})
	if err != nil || p.Key != "newname" || p.Value != "newvalue" {
		t.Errorf("key and value: %+v, %v", p, err)
	}
	if p, err = c.Update(ctx, set, all[0].ID, tfe.PolicySetParameterUpdateOptions{Key: tfe.String("someothername")}); err != nil || p.Key != "someothername" || p.Value != "newvalue" {
		t.Errorf("key: %+v, %v", p, err)
	}
	if p, err = c.Update(ctx, set, all[0].ID, tfe.PolicySetParameterUpdateOptions{Sensitive: tfe.Bool(true)}); err != nil || !p.Sensitive || p.Value != "" {
		t.Errorf("sensitive: %+v, %v", p, err)
	}

	if err := c.Delete(ctx, set, all[0].ID); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{all[0].ID, "nonexisting"} {
		_, err := c.Read(ctx, set, id)
		if again := c.Delete(ctx, set, id); !errors.Is(err, tfe.ErrResourceNotFound) || !errors.Is(again, tfe.ErrResourceNotFound) {
			t.Errorf("after the deletion: %v, %v", err, again)
		}
	}
}

func TestParameterAttributes(t *testing.T) {
	w := newWorld(t)
	set := w.policySet("guarded", "opa")
	at := "/policy-sets/" + set + "/parameters"
	post := func(attributes string) answer {
		return w.ask(w.acme, "POST", at, `{"data":{"type":"vars","attributes":{`+attributes+`}}}`)
	}
	open := w.decoded(post(`"key":"open","value":"a","category":"policy-set"`)).Data.ID
	hidden := w.decoded(post(`"key":"hidden","value":"hunter2-secret","category":"policy-set","sensitive":true`)).Data.ID
	for _, c := range []struct{ name, attributes, pointer string }{
		{"no key", `"category":"policy-set"`, "key"},
		{"a null key", `"key":null,"category":"policy-set"`, "key"},
		{"an empty key", `"key":"","category":"policy-set"`, "key"},
		{"a long key", `"key":"` + strings.Repeat("k", 129) + `","category":"policy-set"`, "key"},
		{"a key of two lines", `"key":"a\nb","category":"policy-set"`, "key"},
		{"a key that is taken", `"key":"open","category":"policy-set"`, "key"},
		{"a long value", `"key":"x","category":"policy-set","value":"` + strings.Repeat("v", 256<<10+1) + `"`, "value"},
		{"a value that is a list", `"key":"x","category":"policy-set","value":["a"]`, "value"},
		{"no category", `"key":"x"`, "category"},
		{"another category", `"key":"x","category":"terraform"`, "category"},
		{"sensitive that is a text", `"key":"x","category":"policy-set","sensitive":"yes"`, "sensitive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, post(c.attributes), http.StatusUnprocessableEntity, "/data/attributes/"+c.pointer)
		})
	}
	patch := func(id, attributes string) answer {
		return w.ask(w.acme, "PATCH", at+"/"+id, `{"data":{"type":"vars","attributes":{`+attributes+`}}}`)
	}
	refused(t, patch(open, `"key":"hidden"`), http.StatusUnprocessableEntity, "/data/attributes/key")
	refused(t, patch(open, `"category":"env"`), http.StatusUnprocessableEntity, "/data/attributes/category")
	refused(t, w.ask(w.acme, "PATCH", at+"/"+open, `{"data":{"type":"parameters"}}`), http.StatusConflict, "/data/type")
	if doc := w.decoded(patch(open, `"value":null`)); doc.Data.Attributes["value"] != "" {
		t.Error(doc)
	}

	t.Run("a sensitive value is one-way", func(t *testing.T) {
		refused(t, patch(hidden, `"sensitive":false`), http.StatusUnprocessableEntity, "/data/attributes/sensitive")
		for _, a := range []answer{
			patch(hidden, `"key":"renamed"`),
			patch(hidden, `"sensitive":null`),
			patch(hidden, `"sensitive":true,"value":"hunter2-other"`),
			w.ask(w.acme, "GET", at+"/"+hidden, ""),
			w.ask(w.acme, "GET", at, ""),
			w.ask(w.acme, "GET", "/organization/audit-trail", ""),
			post(`"key":"renamed","value":"hunter2-third","category":"policy-set","sensitive":true`),
		} {
			if strings.Contains(a.body, "hunter2") {
				t.Error(a.body)
			}
		}
		if doc := w.decoded(w.ask(w.acme, "GET", at+"/"+hidden, "")); doc.Data.Attributes["value"] != nil || doc.Data.Attributes["sensitive"] != true || doc.Data.Attributes["key"] != "renamed" {
			t.Error(doc)
		}
		for _, e := range w.logs.All() {
			if strings.Contains(fmt.Sprint(e.Message, e.ContextMap()), "hunter2") {
				t.Error("logged:", e)
			}
		}
	})

	t.Run("case 80 under the path of another set", func(t *testing.T) {
		other := "/policy-sets/" + w.policySet("other", "opa") + "/parameters/"
		missing := w.ask(w.acme, "GET", other+"var-0000000000009999", "")
		for _, method := range []string{"GET", "PATCH", "DELETE"} {
			for _, id := range []string{open, "%00", "..%2f" + open} {
				if a := w.ask(w.acme, method, other+id, ""); a.status != http.StatusNotFound || a.body != missing.body {
					t.Errorf("%s %s: %d %s", method, id, a.status, a.body)
				}
			}
		}
		w.decoded(w.ask(w.acme, "GET", at+"/"+open, ""))
	})

	t.Run("one parameter too many", func(t *testing.T) {
		var a answer
		made := 2
		for ; made <= polset.MaxParameters+1; made++ {
			if a = post(fmt.Sprintf(`"key":"p%d","category":"policy-set"`, made)); a.status != http.StatusCreated {
				break
			}
		}
		p := problemsOf(t, a, http.StatusUnprocessableEntity)
		if made != polset.MaxParameters || !strings.Contains(p[0].Detail, "100") {
			t.Errorf("after %d: %s", made, a.body)
		}
		if doc := w.ask(w.acme, "GET", at, ""); strings.Count(doc.body, `"type":"vars"`) != polset.MaxParameters {
			t.Error("the list without a page is not whole")
		}
	})

	a := w.ask(w.acme, "GET", "/organization/audit-trail", "")
	for _, action := range []string{"created", "updated"} {
		if !strings.Contains(a.body, `"type":"parameter","action":"`+action+`"`) {
			t.Errorf("that a parameter was %s is not in the audit trail", action)
		}
	}
}

// What TestIsolation cannot know of parameters by itself.
var (
	_ = thing("parameter", func(e *estate) string {
		return e.create("/policy-sets/{policy_set}/parameters", `{"data":{"type":"vars","attributes":{"key":"ours","category":"policy-set"}}}`)
	})
	_ = probe("POST /policy-sets/:policy_set/parameters", `{"data":{"type":"vars","attributes":{"key":"another","category":"policy-set"}}}`)
	_ = probe("PATCH /policy-sets/:policy_set/parameters/:parameter", `{"data":{"type":"vars","attributes":{"key":"changed"}}}`)
)
