package api_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

// An exception is something in which answers are other than HashiCorp's
// description of its API has them.
type exception struct {
	operation string // of the description
	at        string // in the document, or "status"; * is any index of a list
	reason    string
}

// exceptions are all. One that no answer needs any more fails the test.
var exceptions = []exception{
	{"GET /policy-checks/{id}/output", "status", "it says in words, and only there, that the answer is 204 while there is no result"},
}

// hashiCorps is HashiCorp's description of policies and of what leads to them, as
// make hashicorp-description has fetched it.
var hashiCorps = sync.OnceValues(func() (routers.Router, error) {
	text, err := os.ReadFile(filepath.Join("..", "testdata", "hashicorp", "openapi.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("run make hashicorp-description: %w", err)
	}
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, err
	}
	doc.Servers = openapi3.Servers{{URL: "/api/v2"}}
	for path := range doc.Paths.Map() {
		if !aboutPolicies.MatchString(path) {
			doc.Paths.Delete(path)
		}
	}
	return gorillamux.NewRouter(doc)
})

var aboutPolicies = regexp.MustCompile(`/(policies|policy-[a-z-]+|oauth-[a-z]+|task-stages|plans|github-app.*|authentication-tokens)(/|$)`)

// deviations are where an answer is other than HashiCorp's description has
// it, by where that is; nil for what is not about policies.
func deviations(req *http.Request, a answer) (operation string, found map[string]error, err error) {
	router, err := hashiCorps()
	if err != nil {
		return "", nil, err
	}
	again := req.Clone(req.Context())
	again.URL.Host, again.Host = "", ""
	route, params, err := router.FindRoute(again)
	if err != nil {
		return "", nil, nil //nolint:nilerr // HashiCorp does not describe it, or it has nothing to do with policies
	}
	operation, found = route.Method+" "+route.Path, map[string]error{}
	if a.status < 400 && route.Operation.Responses.Value(fmt.Sprint(a.status)) == nil {
		found["status"] = fmt.Errorf("the status is %d", a.status)
		return operation, found, nil
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: again, PathParams: params, Route: route},
		Status:                 a.status, Header: a.header, Body: io.NopCloser(bytes.NewReader([]byte(a.body))),
		Options: &openapi3filter.Options{MultiError: true, ExcludeResponseBody: !strings.HasSuffix(a.header.Get("Content-Type"), "json")},
	}
	collect(openapi3filter.ValidateResponse(again.Context(), input), found)
	return operation, found, nil
}

var index = regexp.MustCompile(`^[0-9]+$`)

// collect sorts an error's parts by where they are.
func collect(err error, found map[string]error) {
	var many openapi3.MultiError
	var response *openapi3filter.ResponseError
	var wrong *openapi3.SchemaError
	switch {
	case err == nil:
	case errors.As(err, &response) && response.Err != nil:
		collect(response.Err, found)
	case errors.As(err, &many):
		for _, one := range many {
			collect(one, found)
		}
	case errors.As(err, &wrong):
		at := wrong.JSONPointer()
		for i, part := range at {
			if index.MatchString(part) {
				at[i] = "*"
			}
		}
		found["/"+strings.Join(at, "/")] = wrong
	default:
		found["document"] = err
	}
}

// needed are the exceptions that answers of this process have needed.
var needed struct {
	sync.Mutex
	by map[exception]bool
}

// conforms holds an answer against HashiCorp's description.
func (s *server) conforms(req *http.Request, a answer) {
	s.t.Helper()
	operation, found, err := deviations(req, a)
	if err != nil {
		s.t.Fatal(err)
	}
	for at, wrong := range found {
		i := slices.IndexFunc(exceptions, func(e exception) bool { return e.operation == operation && e.at == at })
		if i < 0 {
			s.t.Errorf("%s: %s is not as HashiCorp describes it, and there is no exception: %v\n%d %.1500s", operation, at, wrong, a.status, a.body)
			continue
		}
		needed.Lock()
		if needed.by == nil {
			needed.by = map[exception]bool{}
		}
		needed.by[exceptions[i]] = true
		needed.Unlock()
	}
}

// TestHashiCorpsDescription asks every route about policies as its owner, so
// that each exception has an answer that needs it.
func TestHashiCorpsDescription(t *testing.T) {
	router, err := hashiCorps()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.app = theApp()
	described := 0
	for n, route := range w.api.Routes() {
		path := strings.TrimPrefix(route.Pattern, "/api/v2")
		if route.Access == api.AccessPublic || path == route.Pattern || !aboutPolicies.MatchString(path) {
			continue
		}
		e := w.estate(fmt.Sprintf("acme-%d", n))
		for _, name := range route.Params() {
			path = strings.Replace(path, ":"+name, e.thing(name), 1)
		}
		req, err := http.NewRequestWithContext(t.Context(), route.Method, w.url+"/api/v2"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Host = ""
		if _, _, err := router.FindRoute(req); err == nil {
			described++
		}
		for _, body := range append(probes[routeName(route)], "")[:max(1, len(probes[routeName(route)]))] {
			header := http.Header{}
			if route.Method == http.MethodPut {
				header.Set("Content-Type", "application/octet-stream")
			}
			w.askWith(e.token, route.Method, path, fill(body, e.thing), header) // which looks at the answer
		}
	}
	unchecked, f := fixture(t)
	f.add(fakeCheck, polset.KindSentinel)
	unchecked.ask(acme, "GET", "/policy-checks/"+fakeCheck+"/output", "")
	if described < 7 {
		t.Errorf("HashiCorp describes only %d of the routes: the test looks at the wrong paths", described)
	}
	for _, e := range exceptions {
		if !needed.by[e] {
			t.Errorf("no answer needs the exception of %s at %s (%s) any more", e.operation, e.at, e.reason)
		}
	}
}

// What the comparison would let pass, it need not make.
func TestDeviationsAreFound(t *testing.T) {
	w := newWorld(t)
	e := w.estate("acme")
	path := "/policy-sets/" + e.thing("policy_set")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/api/v2"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	good := w.ask(e.token, "GET", path, "")
	for at, change := range map[string][2]string{
		"/data/attributes/global":                      {`"global":false`, `"global":"no"`},
		"/data/attributes/kind":                        {`"kind":"sentinel"`, `"kind":"rego"`},
		"/data/attributes/created-at":                  {`"created-at":"2`, `"created-at":"x2`},
		"/data/relationships/organization/data/type":   {`"organization":{"data":{"id":"acme","type":"organizations"`, `"organization":{"data":{"id":"acme","type":"orgs"`},
		"/data/attributes/vcs-repo/ingress-submodules": {`"ingress-submodules":false`, `"ingress-submodules":null`},
	} {
		bad := good
		if bad.body = strings.Replace(good.body, change[0], change[1], 1); bad.body == good.body {
			t.Fatalf("%s is not in %s", change[0], good.body)
		}
		if _, found, err := deviations(req, bad); err != nil || found[at] == nil {
			t.Errorf("%s: %v %v", at, found, err)
		}
	}
	bad := good
	bad.status = http.StatusAccepted
	if _, found, err := deviations(req, bad); err != nil || found["status"] == nil {
		t.Errorf("%v %v", found, err)
	}
}
