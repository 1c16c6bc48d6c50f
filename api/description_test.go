package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/polset/polset/api"
)

// Every answer that a test gets, and every request that succeeds, is held
// against polset's description of itself; see askWith.

// descriptionOf reads the description.
func descriptionOf(a *api.API) (routers.Router, error) {
	strict, err := forbidUnknown(a.Description())
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromData(strict)
	if err != nil {
		return nil, err
	}
	return gorillamux.NewRouter(doc)
}

// theDescriptions are read once each: they are the same for every server, but
// for what is there for conformance tests only.
var theDescriptions [2]struct {
	sync.Once
	router routers.Router
	err    error
}

// forbidUnknown makes a description of what answers hold one of what they may
// hold: a member that it does not name is wrong. Clients must not rely on that.
func forbidUnknown(description []byte) ([]byte, error) {
	var doc map[string]any
	if err := json.Unmarshal(description, &doc); err != nil {
		return nil, err
	}
	var shut func(v any)
	shut = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				shut(item)
			}
		case map[string]any:
			if _, ok := v["properties"]; ok && v["type"] == "object" && v["additionalProperties"] == nil {
				v["additionalProperties"] = false
			}
			for key, item := range v {
				if key != "requestBody" {
					shut(item)
				}
			}
		}
	}
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	for name, s := range schemas {
		if !strings.HasSuffix(name, "-taken") {
			shut(s)
		}
	}
	shut(doc["paths"])
	return json.Marshal(doc)
}

// described holds an exchange against the description.
func (s *server) described(req *http.Request, sent []byte, a answer) {
	s.t.Helper()
	s.conforms(req, a)
	if err := s.disagreement(req, sent, a); err != nil {
		s.t.Errorf("%s %s, answered %d, is not as /openapi.json says: %v\nsent: %.500s\nanswer: %.2000s", req.Method, req.URL.Path, a.status, err, sent, a.body)
	}
}

func (s *server) disagreement(req *http.Request, sent []byte, a answer) error {
	the := &theDescriptions[0]
	if s.api.Conformance {
		the = &theDescriptions[1]
	}
	the.Do(func() { the.router, the.err = descriptionOf(s.api) })
	router, err := the.router, the.err
	if err != nil {
		return err
	}
	again := req.Clone(req.Context())
	again.URL.Host, again.Host = "", ""
	again.Body = io.NopCloser(bytes.NewReader(sent))
	route, params, err := router.FindRoute(again)
	if err != nil {
		if a.status >= 400 {
			return nil // there is no such route, and the answer says so
		}
		return err
	}
	input := &openapi3filter.RequestValidationInput{
		Request: again, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, MultiError: true,
		},
	}
	if a.status < 400 {
		known := slices.Concat(route.PathItem.Parameters, route.Operation.Parameters)
		for name := range again.URL.Query() {
			if slices.Contains(slips, name) {
				continue
			}
			name = indexed.ReplaceAllString(name, "[n]")
			if !slices.ContainsFunc(known, func(p *openapi3.ParameterRef) bool { return p.Value.In == "query" && p.Value.Name == name }) {
				return fmt.Errorf("the parameter %s is not described", name)
			}
		}
		input.Options.ExcludeRequestBody = again.Header.Get("Content-Type") == "application/octet-stream"
		if err := openapi3filter.ValidateRequest(again.Context(), input); err != nil {
			return fmt.Errorf("request: %w", err)
		}
	}
	described := route.Operation.Responses.Value(fmt.Sprint(a.status))
	if described == nil && a.status < 400 && a.status != http.StatusNotModified {
		return fmt.Errorf("the status is not described")
	}
	kind := a.header.Get("Content-Type")
	input.Options.ExcludeResponseBody = !strings.HasSuffix(kind, "json") || req.Method == http.MethodHead
	if a.status == http.StatusNotModified {
		return nil
	}
	if described != nil && described.Value.Content == nil && a.body != "" && a.status != http.StatusFound {
		return fmt.Errorf("there is a body")
	}
	return openapi3filter.ValidateResponse(again.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: a.status, Header: a.header, Body: io.NopCloser(strings.NewReader(a.body)), Options: input.Options,
	})
}

// slips are parameters that go-tfe sends by mistake: fields of its own that
// have no tag.
var slips = []string{"ListOptions", "TagBindings"}

// indexed is the number in a parameter such as filter[tagged][0][key].
var indexed = regexp.MustCompile(`\[[0-9]+\]`)

// A watching transport holds the exchanges of the official client against the
// description.
type watching struct{ *server }

func (w watching) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent []byte
	if req.Body != nil {
		var err error
		if sent, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(sent))
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	w.described(req, sent, answer{resp.StatusCode, resp.Header, string(body)})
	return resp, nil
}

func TestDescription(t *testing.T) {
	s := newServer(t)
	a := s.ask("", "GET", s.url+"/openapi.json", "")
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" || a.body != string(s.api.Description()) {
		t.Errorf("%d %v", a.status, a.header)
	}
	doc, err := openapi3.NewLoader().LoadFromData([]byte(a.body))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Errorf("the description is no valid one: %v", err)
	}
	ids := map[string]bool{}
	operations := 0
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			operations++
			if ids[op.OperationID] {
				t.Errorf("two operations are %s", op.OperationID)
			}
			ids[op.OperationID] = true
		}
	}
	if operations != len(s.api.Routes()) {
		t.Errorf("%d operations, and %d routes", operations, len(s.api.Routes()))
	}
	for _, route := range s.api.Routes() {
		if !route.Described() {
			t.Errorf("%s %s does not say what it does", route.Method, route.Pattern)
		}
	}
}

// What the harness would let pass, it need not look for.
func TestDescriptionIsHeldAgainstAnswers(t *testing.T) {
	s := newServer(t)
	set := s.follow("acme", "production")
	ask := func(path string) (*http.Request, answer) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/v2"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return req, s.ask(acme, "GET", path, "")
	}
	req, good := ask("/policy-sets/" + set.ID)
	if err := s.disagreement(req, nil, good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"a member that nobody describes":  {`"global":`, `"secret":"x","global":`},
		"a member that is missing":        {`"global":false,`, ``},
		"a member of another type":        {`"global":false`, `"global":"false"`},
		"null where there is always one":  {`"global":false`, `"global":null`},
		"another type":                    {`"type":"policy-sets"`, `"type":"policies"`},
		"a member deep inside":            {`"ingress-submodules":`, `"x":1,"ingress-submodules":`},
		"a relationship without its data": {`"organization":{"data":{`, `"organization":{"dat":{`},
		"no time":                         {`"created-at":"2026`, `"created-at":"year 2026`},
	} {
		t.Run(name, func(t *testing.T) {
			bad := good
			if bad.body = strings.Replace(good.body, change[0], change[1], 1); bad.body == good.body {
				t.Fatalf("%s is not in %s", change[0], good.body)
			}
			if err := s.disagreement(req, nil, bad); err == nil {
				t.Error("passed")
			}
		})
	}
	t.Run("another status", func(t *testing.T) {
		bad := good
		bad.status = http.StatusAccepted
		if err := s.disagreement(req, nil, bad); err == nil {
			t.Error("passed")
		}
	})
	t.Run("a parameter that nobody describes", func(t *testing.T) {
		req := req.Clone(t.Context())
		req.URL.RawQuery = "filter%5Bx%5D=1"
		if err := s.disagreement(req, nil, good); err == nil {
			t.Error("passed")
		}
	})
	t.Run("an error of another form", func(t *testing.T) {
		req, bad := ask("/policy-sets/polset-none")
		bad.body = `{"errors":[{"status":404,"title":"not found"}]}`
		if err := s.disagreement(req, nil, bad); err == nil {
			t.Error("passed")
		}
	})
	t.Run("a request of another form", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, s.url+"/api/v2/policy-sets/"+set.ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/vnd.api+json")
		if err := s.disagreement(req, []byte(`{"data":{"type":"policy-sets","attributes":{"name":7}}}`), good); err == nil {
			t.Error("passed")
		}
	})
}
