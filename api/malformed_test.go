package api_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset/api"
)

// TestEveryDocument sends, to every route that takes a document, as its owner,
// documents that none of them may take.
func TestEveryDocument(t *testing.T) {
	w := newWorld(t)
	w.app = theApp()
	tried := 0
	for n, route := range w.api.Routes() {
		bodies := probes[routeName(route)]
		if route.Access == api.AccessPublic || len(bodies) == 0 || !strings.HasPrefix(bodies[0], `{"data":`) {
			continue
		}
		tried++
		e := w.estate(fmt.Sprintf("acme-%d", n))
		path, token := route.Pattern, e.token
		if route.Access == api.AccessSiteAdmin {
			token = admin
		}
		for _, name := range route.Params() {
			path = strings.Replace(path, ":"+name, e.thing(name), 1)
		}
		good := fill(bodies[0], e.thing)
		ask := func(body string, header http.Header) answer {
			return w.askWith(token, route.Method, w.url+path, body, header)
		}
		t.Run(routeName(route), func(t *testing.T) {
			before := w.everything(t)
			list := strings.HasPrefix(good, `{"data":[`)
			members := strings.Contains(route.Pattern, "/policy-sets/:policy_set/relationships/")
			typeAt := "/data/type"
			if list {
				typeAt = "/data/0/type"
			}
			wrongType := regexp.MustCompile(`"type":"[a-z-]+"`).ReplaceAllString(good, `"type":"wrong"`)
			if wrongType != good {
				status := http.StatusConflict // case 84
				if members {
					status = http.StatusUnprocessableEntity // as HCP Terraform documents it
				}
				refused(t, ask(wrongType, nil), status, typeAt)
				untyped := strings.Replace(wrongType, `"type":"wrong"`, `"type":""`, 1)
				if a := ask(untyped, nil); a.status != http.StatusUnprocessableEntity && a.status != http.StatusConflict || !strings.Contains(a.body, `"pointer":"`+typeAt) {
					t.Errorf("case 84 no type: %d %s", a.status, a.body)
				}
			}
			for _, body := range []string{`{}`, `{"data":null}`, `{"data":7}`} {
				refused(t, ask(body, nil), http.StatusUnprocessableEntity, "/data")
			}
			problemsOf(t, ask(good[:len(good)-1], nil), http.StatusBadRequest) // case 86
			problemsOf(t, ask(good+good, nil), http.StatusBadRequest)
			problemsOf(t, ask(strings.Repeat("[", 100_000), nil), http.StatusBadRequest)
			limit := 1 << 20
			if members {
				limit = 8 << 20 // clients send whole resources
			}
			padded := good[:1] + `"meta":"` + strings.Repeat("x", limit) + `",` + good[1:]
			problemsOf(t, ask(padded, nil), http.StatusRequestEntityTooLarge) // case 87
			refused(t, ask(good[:1]+`"meta":"\u0000",`+good[1:], nil), http.StatusUnprocessableEntity, "/meta")
			problemsOf(t, ask(good, http.Header{"Content-Type": {"application/json"}}), http.StatusUnsupportedMediaType)
			problemsOf(t, ask(good, http.Header{"Content-Encoding": {"gzip"}}), http.StatusUnsupportedMediaType)
			if diff := cmp.Diff(before, w.everything(t)); diff != "" {
				t.Errorf("a document that was refused changed something: %s", diff)
			}
			if list {
				return
			}
			// case 83: what nobody may assign, beside what may be.
			more := strings.Replace(good, `"attributes":{`, `"attributes":{"organization":"evilcorp","external-id":"org-mine","created-at":"1999-01-01T00:00:00.000Z","updated-at":"1999-01-01T00:00:00.000Z","HookSecret":"x",`, 1)
			more = strings.Replace(more, `,}`, `}`, 1)
			a := ask(more, nil)
			if a.status >= 400 && a.status != http.StatusUnprocessableEntity || strings.Contains(a.body, "1999") || strings.Contains(a.body, "evilcorp") || strings.Contains(a.body, "org-mine") {
				t.Errorf("case 83: %d %s", a.status, a.body)
			}
		})
	}
	if tried < 10 {
		t.Errorf("only %d routes take a document: the test does not find them", tried)
	}
}

// TestEveryPage asks every list for pages that are none.
func TestEveryPage(t *testing.T) {
	w := newWorld(t)
	e := w.estate("acme")
	tried := 0
	for _, route := range w.api.Routes() {
		if !route.Paged() {
			continue
		}
		tried++
		path, token := route.Pattern, e.token
		if route.Access == api.AccessSiteAdmin {
			token = admin
		}
		for _, name := range route.Params() {
			path = strings.Replace(path, ":"+name, e.thing(name), 1)
		}
		t.Run("case 85 "+routeName(route), func(t *testing.T) {
			for query, status := range map[string]int{
				"size%5D=0": 200, "size%5D=-1": 200, "size%5D=1000000000": 200, "number%5D=-1": 200, "number%5D=999": 200,
				"number%5D=4611686018427387904": 200, "size%5D=x": 400, "number%5D=1e3": 400, "number%5D=99999999999999999999": 400,
			} {
				a := w.ask(token, route.Method, w.url+path+"?page%5B"+query, "")
				if a.status != status || status == 200 && query == "number%5D=999" && !strings.Contains(a.body, `"data":[]`) {
					t.Errorf("%s: %d %.300s", query, a.status, a.body)
				}
			}
		})
	}
	if tried < 8 {
		t.Errorf("only %d routes have pages: the test does not find them", tried)
	}
}
