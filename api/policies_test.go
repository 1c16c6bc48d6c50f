package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tfe "github.com/hashicorp/go-tfe"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

// The official client does with policies what its own tests do, and a little more.
//
//nolint:staticcheck // the deprecated enforce is what older clients send
func TestPoliciesWithOfficialClient(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(w.acme).Policies, t.Context()

	old, err := c.Create(ctx, "acme", tfe.PolicyCreateOptions{
		Name: tfe.String("old"), Description: tfe.String("a sample"),
		Enforce: []*tfe.EnforcementOptions{{Path: tfe.String("old.sentinel"), Mode: tfe.EnforcementMode(tfe.EnforcementSoft)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if old.Kind != tfe.Sentinel || old.Query != nil || old.Description != "a sample" || old.EnforcementLevel != tfe.EnforcementSoft ||
		len(old.Enforce) != 0 || old.PolicySetCount != 0 || !old.UpdatedAt.IsZero() || old.Organization.Name != "acme" {
		t.Errorf("sentinel policy %+v", old)
	}
	opa, err := c.Create(ctx, "acme", tfe.PolicyCreateOptions{
		Name: tfe.String("new_OPA"), Kind: tfe.OPA, Query: tfe.String("terraform.main"), EnforcementLevel: tfe.EnforcementMode(tfe.EnforcementMandatory),
	})
	if err != nil {
		t.Fatal(err)
	}
	if opa.Kind != tfe.OPA || *opa.Query != "terraform.main" || opa.EnforcementLevel != tfe.EnforcementMandatory || len(opa.Enforce) != 0 {
		t.Errorf("opa policy %+v", opa)
	}
	for _, p := range []*tfe.Policy{old, opa} {
		if got, err := c.Read(ctx, p.ID); err != nil || !cmp.Equal(got, p) {
			t.Errorf("read: %v, %s", err, cmp.Diff(p, got))
		}
	}

	if _, err := c.Download(ctx, old.ID); !errors.Is(err, tfe.ErrResourceNotFound) {
		t.Errorf("download before the upload: %v", err)
	}
	for _, code := range [][]byte{nil, {}, []byte("main = rule { true }"), {0, 0xff, '\r', '\n'}} {
		if err := c.Upload(ctx, old.ID, code); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Download(ctx, old.ID); err != nil || !bytes.Equal(got, code) {
			t.Errorf("uploaded %q, downloaded %q, %v", code, got, err)
		}
	}
	uploaded, err := c.Read(ctx, old.ID)
	if err != nil || len(uploaded.Enforce) != 1 || uploaded.Enforce[0].Path != "old.sentinel" || uploaded.Enforce[0].Mode != tfe.EnforcementSoft || uploaded.UpdatedAt.IsZero() {
		t.Errorf("uploaded %+v, %v", uploaded, err)
	}

	list, err := c.List(ctx, "acme", nil)
	if err != nil || list.TotalCount != 2 || list.CurrentPage != 1 || !cmp.Equal(list.Items, []*tfe.Policy{uploaded, opa}) {
		t.Errorf("list %+v, %v", list, err)
	}
	if got, err := c.List(ctx, "acme", &tfe.PolicyListOptions{ListOptions: tfe.ListOptions{PageNumber: 999, PageSize: 100}}); err != nil || len(got.Items) != 0 || got.CurrentPage != 999 || got.TotalCount != 2 {
		t.Errorf("a page out of range: %+v, %v", got, err)
	}
	for name, o := range map[string]*tfe.PolicyListOptions{"search": {Search: "w_opa"}, "kind": {Kind: tfe.OPA}} {
		if got, err := c.List(ctx, "acme", o); err != nil || got.TotalCount != 1 || len(got.Items) != 1 || !cmp.Equal(got.Items[0], opa) {
			t.Errorf("list by %s: %+v, %v", name, got, err)
		}
	}

	changed, err := c.Update(ctx, old.ID, tfe.PolicyUpdateOptions{
		Enforce: []*tfe.EnforcementOptions{{Path: &uploaded.Enforce[0].Path, Mode: tfe.EnforcementMode(tfe.EnforcementAdvisory)}},
	})
	if err != nil || changed.Enforce[0].Mode != tfe.EnforcementAdvisory || changed.EnforcementLevel != tfe.EnforcementAdvisory || changed.Description != "a sample" {
		t.Errorf("mode %+v, %v", changed, err)
	}
	changed, err = c.Update(ctx, old.ID, tfe.PolicyUpdateOptions{Description: tfe.String("new"), Query: tfe.String("terraform.policy1.deny")})
	if err != nil || changed.Description != "new" || changed.Query != nil || changed.EnforcementLevel != tfe.EnforcementAdvisory || !cmp.Equal(changed.UpdatedAt, uploaded.UpdatedAt) {
		t.Errorf("description, and the query of a sentinel policy: %+v, %v", changed, err)
	}
	changed, err = c.Update(ctx, opa.ID, tfe.PolicyUpdateOptions{Query: tfe.String("terraform.policy1.deny"), EnforcementLevel: tfe.EnforcementMode(tfe.EnforcementAdvisory)})
	if err != nil || *changed.Query != "terraform.policy1.deny" || changed.EnforcementLevel != tfe.EnforcementAdvisory {
		t.Errorf("query and level: %+v, %v", changed, err)
	}
	if got, err := c.Read(ctx, opa.ID); err != nil || !cmp.Equal(got, changed) {
		t.Errorf("read: %v, %s", err, cmp.Diff(changed, got))
	}
	if same, err := c.Update(ctx, opa.ID, tfe.PolicyUpdateOptions{}); err != nil || !cmp.Equal(same, changed) {
		t.Errorf("nothing: %v, %s", err, cmp.Diff(changed, same))
	}

	if err := c.Delete(ctx, old.ID); err != nil {
		t.Fatal(err)
	}
	_, err = c.Read(ctx, old.ID)
	if again := c.Delete(ctx, old.ID); !errors.Is(err, tfe.ErrResourceNotFound) || !errors.Is(again, tfe.ErrResourceNotFound) {
		t.Errorf("after the deletion: %v, %v", err, again)
	}
}

// policySet makes a policy set of acme and returns its id.
func (w *world) policySet(name, kind string) string {
	w.t.Helper()
	return w.made("/organizations/acme/policy-sets", fmt.Sprintf(`{"data":{"type":"policy-sets","attributes":{"name":%q,"kind":%q}}}`, name, kind))
}

// policy makes a policy of acme, a member of sets, and returns its id.
func (w *world) policy(name, kind string, sets ...string) string {
	w.t.Helper()
	attributes := `"enforcement-level":"advisory"`
	if kind == "opa" {
		attributes += `,"query":"data.terraform.` + name + `.deny"`
	}
	return w.made("/organizations/acme/policies", fmt.Sprintf(`{"data":{"type":"policies","attributes":{"name":%q,"kind":%q,%s},"relationships":{"policy-sets":{"data":%s}}}}`,
		name, kind, attributes, linkage("policy-sets", sets...)))
}

// linkage is the data of a relationship.
func linkage(kind string, ids ...string) string {
	members := make([]string, len(ids))
	for i, id := range ids {
		members[i] = fmt.Sprintf(`{"type":%q,"id":%q}`, kind, id)
	}
	return "[" + strings.Join(members, ",") + "]"
}

// made posts a document and returns the id of what was made.
func (w *world) made(path, body string) string {
	w.t.Helper()
	a := w.ask(w.acme, "POST", path, body)
	if a.status != http.StatusCreated {
		w.t.Fatal(a.body)
	}
	return w.decoded(a).Data.ID
}

// A policyDocument is the document of one resource, as far as tests ask.
type policyDocument struct {
	Data struct {
		ID            string
		Attributes    map[string]any
		Relationships map[string]struct{ Data any }
		Links         map[string]string
	}
	Included []struct{ ID, Type string }
}

func (w *world) decoded(a answer) (doc policyDocument) {
	w.t.Helper()
	if a.status >= 300 {
		w.t.Fatal(a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		w.t.Fatal(err, a.body)
	}
	return doc
}

func TestPolicyAttributes(t *testing.T) {
	w := newWorld(t)
	post := func(attributes string) answer {
		return w.ask(w.acme, "POST", "/organizations/acme/policies", `{"data":{"type":"policies","attributes":{`+attributes+`}}}`)
	}
	for _, c := range []struct{ name, attributes, level string }{
		{"enforce of another file", `"name":"a","enforce":[{"path":"b.sentinel","mode":"advisory"}]`, "hard-mandatory"},
		{"enforce without a mode", `"name":"b","enforce":[{"path":"b.sentinel"}]`, "hard-mandatory"},
		{"enforce without a path", `"name":"c","enforce":[{"mode":"soft-mandatory"}]`, "soft-mandatory"},
		{"enforce of another rego file", `"name":"d","kind":"opa","query":"data.d","enforce":[{"path":"d.sentinel","mode":"mandatory"}]`, "advisory"},
		{"a null level beside enforce", `"name":"e","enforcement-level":null,"enforce":[{"path":"e.sentinel","mode":"advisory"}]`, "advisory"},
		{"the query of a sentinel policy", `"name":"f","query":"data.f","enforcement-level":"advisory"`, "advisory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if doc := w.decoded(post(c.attributes)); doc.Data.Attributes["enforcement-level"] != c.level {
				t.Error(doc)
			}
		})
	}
	for _, c := range []struct{ name, attributes, pointer string }{
		{"no name", `"enforcement-level":"advisory"`, "name"},
		{"a name with a space", `"name":"a b","enforcement-level":"advisory"`, "name"},
		{"a name that is a path", `"name":"../a","enforcement-level":"advisory"`, "name"},
		{"a name with a line feed", `"name":"x\n","enforcement-level":"advisory"`, "name"},
		{"a long name", `"name":"` + strings.Repeat("n", 129) + `","enforcement-level":"advisory"`, "name"},
		{"a name that is taken", `"name":"a","enforcement-level":"advisory"`, "name"},
		{"another kind", `"name":"x","kind":"tfpolicy","enforcement-level":"advisory"`, "kind"},
		{"no level", `"name":"x"`, "enforcement-level"},
		{"both forms", `"name":"x","enforcement-level":"advisory","enforce":[{"path":"x.sentinel","mode":"advisory"}]`, "enforce"},
		{"two files", `"name":"x","enforce":[{"path":"x.sentinel"},{"path":"y.sentinel"}]`, "enforce"},
		{"no file", `"name":"x","enforce":[]`, "enforce"},
		{"an unknown mode", `"name":"x","enforce":[{"path":"x.sentinel","mode":"harder"}]`, "enforce/0/mode"},
		{"a level of the other kind", `"name":"x","enforcement-level":"mandatory"`, "enforcement-level"},
		{"a level of the other kind, opa", `"name":"x","kind":"opa","query":"data.x","enforcement-level":"soft-mandatory"`, "enforcement-level"},
		{"opa without a query", `"name":"x","kind":"opa","enforcement-level":"advisory"`, "query"},
		{"a blank query", `"name":"x","kind":"opa","query":" \t","enforcement-level":"advisory"`, "query"},
		{"a query of two lines", `"name":"x","kind":"opa","query":"data.x\ndata.y","enforcement-level":"advisory"`, "query"},
		{"a long query", `"name":"x","kind":"opa","query":"` + strings.Repeat("q", 1025) + `","enforcement-level":"advisory"`, "query"},
		{"a long description", `"name":"x","enforcement-level":"advisory","description":"` + strings.Repeat("d", 4097) + `"`, "description"},
		{"a name that is a number", `"name":1,"enforcement-level":"advisory"`, "name"},
		{"enforce that is an object", `"name":"x","enforce":{"path":"x.sentinel"}`, "enforce"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, post(c.attributes), http.StatusUnprocessableEntity, "/data/attributes/"+c.pointer)
		})
	}

	t.Run("case 83 what is not the client's to say", func(t *testing.T) {
		a := w.ask(w.acme, "POST", "/organizations/acme/policies", `{"data":{"type":"policies","id":"pol-0000000000000001","attributes":{"name":"mine","enforcement-level":"advisory",
			"policy-set-count":7,"updated-at":"2020-01-01T00:00:00.000Z","digest":"x","organization":"evilcorp"},
			"relationships":{"organization":{"data":{"type":"organizations","id":"evilcorp"}}}}}`)
		doc := w.decoded(a)
		if doc.Data.ID == "pol-0000000000000001" || doc.Data.Attributes["policy-set-count"] != 0.0 || doc.Data.Attributes["updated-at"] != nil || strings.Contains(a.body, "evilcorp") {
			t.Error(a.body)
		}
	})

	id := w.policy("fixed", "opa")
	patch := func(attributes string) answer {
		return w.ask(w.acme, "PATCH", "/policies/"+id, `{"data":{"type":"policies","attributes":{`+attributes+`}}}`)
	}
	t.Run("the name never changes", func(t *testing.T) {
		if doc := w.decoded(patch(`"name":"other"`)); doc.Data.Attributes["name"] != "fixed" {
			t.Error(doc)
		}
	})
	t.Run("null clears the description and leaves the query", func(t *testing.T) {
		w.decoded(patch(`"description":"something"`))
		if doc := w.decoded(patch(`"description":null,"query":null`)); doc.Data.Attributes["description"] != nil || doc.Data.Attributes["query"] != "data.terraform.fixed.deny" {
			t.Error(doc)
		}
	})
	refused(t, patch(`"kind":"sentinel"`), http.StatusUnprocessableEntity, "/data/attributes/kind")
	refused(t, patch(`"query":""`), http.StatusUnprocessableEntity, "/data/attributes/query")
	refused(t, patch(`"enforcement-level":"hard-mandatory"`), http.StatusUnprocessableEntity, "/data/attributes/enforcement-level")
	refused(t, w.ask(w.acme, "PATCH", "/policies/"+id, `{"data":{"type":"policies","id":"pol-0000000000009999"}}`), http.StatusConflict, "/data/id")
}

func TestPolicyMembership(t *testing.T) {
	w := newWorld(t)
	one, two, rego := w.policySet("one", "sentinel"), w.policySet("two", "sentinel"), w.policySet("rego", "opa")
	id := w.policy("both", "sentinel", two, one, two)
	for _, spelling := range []string{"policy_sets", "policy-sets"} {
		doc := w.decoded(w.ask(w.guest, "GET", "/policies/"+id+"?include="+spelling, ""))
		if got := fmt.Sprint(doc.Included); got != fmt.Sprintf("[{%s policy-sets} {%s policy-sets}]", one, two) || doc.Data.Attributes["policy-set-count"] != 2.0 {
			t.Errorf("included %s: %+v", got, doc)
		}
	}
	alone := w.policy("alone", "sentinel")
	var list struct {
		Data     []struct{ ID string }
		Included []struct{ ID string }
	}
	for _, sort := range []string{"", "&sort=-name", "&sort=updated-at"} {
		a := w.ask(w.guest, "GET", "/organizations/acme/policies?include=policy_sets"+sort, "")
		if err := json.Unmarshal([]byte(a.body), &list); err != nil || len(list.Included) != 2 {
			t.Errorf("list: %v, %s", err, a.body)
		}
		if first := list.Data[0].ID; first != id {
			t.Errorf("sorted by %q, the first is %s", sort, first)
		}
	}
	if a := w.ask(w.guest, "GET", "/organizations/acme/policies?sort=name", ""); strings.Index(a.body, alone) > strings.Index(a.body, id) {
		t.Error(a.body)
	}
	refusedQuery(t, w.ask(w.guest, "GET", "/organizations/acme/policies?sort=kind", ""), "sort")
	refusedQuery(t, w.ask(w.guest, "GET", "/organizations/acme/policies?filter%5Bkind%5D=rego", ""), "filter[kind]")
	if p := problemsOf(t, w.ask(w.guest, "GET", "/policies/"+id+"?include=runs", ""), http.StatusBadRequest); !strings.Contains(p[0].Title, "include parameter") {
		t.Error(p)
	}

	theirs, err := w.store.CreatePolicySet(t.Context(), polset.System, polset.PolicySetDraft{Organization: "evilcorp", Name: "theirs", Kind: polset.KindSentinel})
	if err != nil {
		t.Fatal(err)
	}
	connection, err := w.store.CreateConnection(t.Context(), polset.System, polset.ConnectionDraft{Organization: "acme", ServiceProvider: "github", HTTPURL: "https://github.com", APIURL: "https://api.github.com"})
	if err != nil {
		t.Fatal(err)
	}
	follows, err := w.store.CreatePolicySet(t.Context(), polset.System, polset.PolicySetDraft{
		Organization: "acme", Name: "follows", Kind: polset.KindSentinel,
		VCS: &polset.VCSDraft{Identifier: "acme/policies", TokenID: connection.TokenID},
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(token string, sets ...string) answer {
		return w.ask(token, "POST", "/organizations/acme/policies", `{"data":{"type":"policies","attributes":{"name":"refused","enforcement-level":"advisory"},
			"relationships":{"policy-sets":{"data":`+linkage("policy-sets", sets...)+`}}}}`)
	}
	missing := ask(w.acme, one, "polset-0000000000009999")
	refused(t, missing, http.StatusUnprocessableEntity, "/data/relationships/policy-sets/data/1")
	refused(t, ask(w.acme, one, one, "polset-0000000000009999"), http.StatusUnprocessableEntity, "/data/relationships/policy-sets/data/2")
	for _, token := range []string{w.acme, admin} { // not even the site admin may mix them up
		for name, set := range map[string]string{"another organization's set": theirs.ID, "no id": "../../x", "an empty id": ""} {
			t.Run("case 80 "+name, func(t *testing.T) {
				if a := ask(token, one, set); a.status != missing.status || a.body != missing.body {
					t.Errorf("%s\nmissing: %s", a.body, missing.body)
				}
			})
		}
	}
	refused(t, ask(w.acme, rego), http.StatusUnprocessableEntity, "/data/relationships/policy-sets/data/0")
	refused(t, ask(w.acme, follows.ID), http.StatusUnprocessableEntity, "/data/relationships/policy-sets/data/0")
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprintf("polset-%016d", i)
	}
	refused(t, ask(w.acme, many...), http.StatusUnprocessableEntity, "/data/relationships/policy-sets/data")
	if a := w.ask(w.acme, "GET", "/organizations/acme/policies?search%5Bname%5D=refused", ""); !strings.Contains(a.body, `"total-count":0`) {
		t.Error("a refused policy was made:", a.body)
	}

	if a := w.ask(w.acme, "DELETE", "/policies/"+id, ""); a.status != http.StatusNoContent {
		t.Error(a.body)
	}
	w.decoded(w.ask(w.acme, "GET", "/policy-sets/"+one, ""))
}

// refusedQuery checks a 400 about a query parameter.
func refusedQuery(t *testing.T, a answer, parameter string) {
	t.Helper()
	if p := problemsOf(t, a, http.StatusBadRequest)[0]; p.Source.Parameter != parameter {
		t.Errorf("parameter %q, want %q: %s", p.Source.Parameter, parameter, a.body)
	}
}

// putCode uploads a body as octets, or with what the header says.
func (w *world) putCode(token, path string, body io.Reader, header http.Header) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPut, w.url+"/api/v2"+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/octet-stream")
	for key, values := range header {
		req.Header[key] = values
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func TestPolicyUploadLimits(t *testing.T) {
	w := newWorld(t)
	id := w.policy("large", "sentinel")
	const limit = 10 << 20
	at := "/policies/" + id + "/upload"
	whole := bytes.Repeat([]byte("a"), limit)
	if a := w.putCode(w.acme, at, bytes.NewReader(whole), nil); a.status != http.StatusOK || !strings.Contains(a.body, id) {
		t.Fatal(a.status, a.body)
	}
	download := func() answer { return w.ask(w.guest, "GET", "/policies/"+id+"/download", "") }
	for name, body := range map[string]io.Reader{
		"with its length":    bytes.NewReader(append(whole, 'b')),
		"without its length": io.MultiReader(bytes.NewReader(whole), strings.NewReader("b")),
	} {
		t.Run("case 87 one byte too many, "+name, func(t *testing.T) {
			p := problemsOf(t, w.putCode(w.acme, at, body, nil), http.StatusRequestEntityTooLarge)
			if !strings.Contains(p[0].Detail, "10 MB") {
				t.Error(p)
			}
			if a := download(); a.status != http.StatusOK || len(a.body) != limit {
				t.Errorf("status %d, %d bytes", a.status, len(a.body))
			}
		})
	}
	for name, header := range map[string]http.Header{
		"a form":          {"Content-Type": {"multipart/form-data; boundary=x"}},
		"json":            {"Content-Type": {"application/vnd.api+json"}},
		"compressed code": {"Content-Encoding": {"gzip"}},
	} {
		t.Run(name, func(t *testing.T) {
			problemsOf(t, w.putCode(w.acme, at, strings.NewReader("main = rule { true }"), header), http.StatusUnsupportedMediaType)
			if a := download(); len(a.body) != limit {
				t.Errorf("%d bytes", len(a.body))
			}
		})
	}
	t.Run("case 79 the client goes away", func(t *testing.T) {
		c := w.beginCode(at)
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if status := answered(t, c); status != http.StatusBadRequest {
			t.Errorf("status %d", status)
		}
		if a := download(); len(a.body) != limit {
			t.Errorf("%d bytes", len(a.body))
		}
	})
	w.emptied()
	a := download()
	if a.header.Get("Content-Type") != "application/octet-stream" || a.header.Get("Content-Disposition") != `attachment; filename="large.sentinel"` || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Error(a.header)
	}
}

// beginCode sends the beginning of an upload, by hand.
func (w *world) beginCode(path string) *net.TCPConn {
	w.t.Helper()
	c, err := (&net.Dialer{}).DialContext(w.t.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	_, err = fmt.Fprintf(c, "PUT /api/v2%s HTTP/1.1\r\nHost: polset\r\nAuthorization: Bearer %s\r\nContent-Type: application/octet-stream\r\nContent-Length: 100\r\n\r\nmain = ", path, w.acme)
	if err != nil {
		w.t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func TestPolicyUploadThatStops(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.UploadIdle = 300 * time.Millisecond })
	id := w.policy("silent", "sentinel")
	if status := answered(t, w.beginCode("/policies/"+id+"/upload")); status != http.StatusRequestTimeout {
		t.Errorf("status %d", status)
	}
	w.emptied()
	if a := w.ask(w.acme, "GET", "/policies/"+id+"/download", ""); a.status != http.StatusNotFound {
		t.Errorf("status %d", a.status)
	}
}

// brokenBucket takes nothing.
type brokenBucket struct{ api.Objects }

func (brokenBucket) Put(context.Context, string, int64, io.ReadSeeker) error {
	return errors.New("disk full")
}

func TestPolicyUploadWithoutStorage(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.Objects = brokenBucket{c.Objects} })
	id := w.policy("code", "sentinel")
	a := w.putCode(w.acme, "/policies/"+id+"/upload", strings.NewReader("main = rule { true }"), nil)
	problemsOf(t, a, http.StatusServiceUnavailable)
	if strings.Contains(a.body, "disk") || a.header.Get("Retry-After") == "" {
		t.Error(a.header, a.body)
	}
	if a := w.ask(w.acme, "GET", "/policies/"+id+"/download", ""); a.status != http.StatusNotFound {
		t.Error("a row points to code that nobody has:", a.status)
	}
}

// What TestIsolation cannot know of policies by itself.
var (
	_ = thing("policy", func(e *estate) string {
		id := e.create("/organizations/{organization}/policies", aPolicy)
		header := http.Header{"Content-Type": {"application/octet-stream"}}
		if a := e.askWith(e.token, http.MethodPut, "/policies/"+id+"/upload", "main = rule { true }", header); a.status != http.StatusOK {
			e.t.Fatal(a.body)
		}
		return id
	})
	_ = probe("POST /organizations/:organization/policies", strings.Replace(aPolicy, "ours", "another", 1))
	_ = probe("PATCH /policies/:policy", `{"data":{"type":"policies","attributes":{"description":"changed"}}}`)
)

const aPolicy = `{"data":{"type":"policies","attributes":{"name":"ours","enforcement-level":"advisory"}}}`
