package api_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

const sets = "/organizations/acme/policy-sets"

func TestPoliciesPath(t *testing.T) {
	s := newServer(t)
	set := s.follow("acme", "production")
	for _, path := range []string{`..`, `a/../../b`, `/..`, `a\u0000b`, `a\u0001`, `a\\b`, `\ud800`, strings.Repeat("x", 1025)} {
		t.Run("case 44 policies-path "+path[:min(len(path), 10)], func(t *testing.T) {
			body := `{"data":{"type":"policy-sets","attributes":{"name":"n","policies-path":"` + path + `"}}}`
			refused(t, s.ask(acme, "POST", sets, body), http.StatusUnprocessableEntity, "/data/attributes/policies-path")
			refused(t, s.ask(acme, "PATCH", "/policy-sets/"+set.ID, body), http.StatusUnprocessableEntity, "/data/attributes/policies-path")
		})
	}
	for i, path := range []string{"/p", "p/", "./p", ""} {
		t.Run("case 44 policies-path is echoed: "+path, func(t *testing.T) {
			a := s.ask(acme, "POST", sets, fmt.Sprintf(`{"data":{"type":"policy-sets","attributes":{"name":"n%d","policies-path":"%s"}}}`, i, path))
			want := `"policies-path":"` + path + `"`
			if path == "" {
				want = `"policies-path":null`
			}
			if a.status != http.StatusCreated || !strings.Contains(a.body, want) {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

func TestObjectLinks(t *testing.T) {
	s := newServer(t)
	set := s.follow("acme", "production")
	v := s.finish(set.ID, []byte("archive"))
	location := s.ask(acme, "GET", "/policy-set-versions/"+v.ID+"/download", "").header.Get("Location")
	token := location[strings.LastIndex(location, "/")+1:]
	payload, signature, _ := strings.Cut(token, ".")
	claims, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	if a := s.ask("", "GET", location, ""); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}

	repack := func(old, replacement string) string {
		return base64.RawURLEncoding.EncodeToString(bytes.Replace(claims, []byte(old), []byte(replacement), 1)) + "." + signature
	}
	for name, forged := range map[string]string{
		"another key":        repack(v.Artifact.Digest, strings.Repeat("0", 64)),
		"another operation":  repack(`"get"`, `"put"`),
		"a later expiry":     repack(`"exp":1`, `"exp":9`),
		"no signature":       payload,
		"an empty signature": payload + ".",
		"a second signature": token + "." + signature,
		"half a signature":   token[:len(token)-10],
		"another spelling":   token + "=",
		"nothing":            "x",
		"an API token":       acme,
	} {
		t.Run("case 77 forged link: "+name, func(t *testing.T) {
			problemsOf(t, s.ask("", "GET", s.url+"/v1/object/"+forged, ""), http.StatusForbidden)
		})
	}
	for _, method := range []string{"PUT", "POST", "DELETE", "PATCH"} {
		t.Run("case 77 wrong method: "+method, func(t *testing.T) {
			problemsOf(t, s.ask("", method, location, ""), http.StatusForbidden)
		})
	}
	t.Run("case 77 another server's key", func(t *testing.T) {
		other := newServer(t, func(c *api.Config) { c.LinkKey = []byte(strings.Repeat("o", 32)) })
		other.objects = s.objects
		problemsOf(t, other.ask("", "GET", other.url+"/v1/object/"+token, ""), http.StatusForbidden)
	})
	t.Run("case 77 expired link", func(t *testing.T) {
		s.clock.Store(int64(time.Hour - 2*time.Second))
		if a := s.ask("", "GET", location, ""); a.status != http.StatusOK {
			t.Errorf("within the hour: %d", a.status)
		}
		s.clock.Store(int64(time.Hour))
		problemsOf(t, s.ask("", "GET", location, ""), http.StatusForbidden)
	})
}

func TestMassAssignment(t *testing.T) {
	s := newServer(t)
	s.connect("evilcorp")
	body := `{"data":{"type":"policy-sets","id":"polset-mine","attributes":{"name":"n","status":"ready","organization":"evilcorp","versioned":true,
		"policy-count":7,"created-at":"1999-01-01T00:00:00Z","newest-version-id":"polsetver-x","HookSecret":"x","agent-enabled":true,"policy-tool-version":"1.0"},
		"relationships":{"organization":{"data":{"type":"organizations","id":"evilcorp"}},"current-version":{"data":{"type":"policy-set-versions","id":"polsetver-x"}}}}}`
	t.Run("case 83 mass assignment is ignored", func(t *testing.T) {
		a := s.ask(acme, "POST", sets, body)
		if a.status != http.StatusCreated || s.sets[0].Organization != "acme" || s.sets[0].ID == "polset-mine" ||
			strings.Contains(a.body, "1999") || strings.Contains(a.body, "polsetver-x") || strings.Contains(a.body, `"policy-count":7`) {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("case 83 mass assignment by PATCH", func(t *testing.T) {
		a := s.ask(acme, "PATCH", "/policy-sets/"+s.sets[0].ID, strings.Replace(body, `"id":"polset-mine",`, "", 1))
		if a.status != http.StatusOK || s.sets[0].Organization != "acme" || strings.Contains(a.body, "polsetver-x") {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

func TestMalformedRequests(t *testing.T) {
	s := newServer(t)
	set := s.follow("acme", "production")
	path := "/policy-sets/" + set.ID
	const attr = "/data/attributes/"
	for _, c := range []struct {
		name, body string
		status     int
		pointer    string
	}{
		{"case 84 wrong type", `{"data":{"type":"policies","attributes":{"name":"n"}}}`, 409, "/data/type"},
		{"case 84 wrong id", `{"data":{"type":"policy-sets","id":"polset-other"}}`, 409, "/data/id"},
		{"case 84 no type", `{"data":{"attributes":{"name":"n"}}}`, 422, "/data/type"},
		{"case 84 type is a number", `{"data":{"type":7}}`, 422, "/data/type"},
		{"case 84 no data", `{}`, 422, "/data"},
		{"case 84 data is null", `{"data":null}`, 422, "/data"},
		{"case 84 data is a list", `{"data":[]}`, 422, "/data"},
		{"case 84 the document is a list", `[]`, 422, ""},
		{"case 84 attributes are a list", `{"data":{"type":"policy-sets","attributes":[]}}`, 422, "/data/attributes"},
		{"case 86 malformed JSON", `{"data":`, 400, ""},
		{"case 86 two documents", `{} {}`, 400, ""},
		{"case 86 not UTF-8", "{\"data\":\"\xff\"}", 400, ""},
		{"case 86 deep nesting", strings.Repeat("[", 500_000), 400, ""},
		{"case 86 deep and balanced", strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33), 400, ""},
		{"case 87 oversize body", `{"data":"` + strings.Repeat("x", 1<<20) + `"}`, 413, ""},
		{"NUL in a text", `{"data":{"type":"policy-sets","attributes":{"description":"a\u0000"}}}`, 422, attr + "description"},
		{"NUL in an unknown member", `{"meta":["a\u0000"],"data":{}}`, 422, "/meta/0"},
		{"name is a number", `{"data":{"type":"policy-sets","attributes":{"name":7}}}`, 422, attr + "name"},
		{"global is a text", `{"data":{"type":"policy-sets","attributes":{"global":"yes"}}}`, 422, attr + "global"},
		{"vcs-repo is a text", `{"data":{"type":"policy-sets","attributes":{"vcs-repo":"x"}}}`, 422, attr + "vcs-repo"},
		{"branch is a list", `{"data":{"type":"policy-sets","attributes":{"vcs-repo":{"branch":[]}}}}`, 422, attr + "vcs-repo/branch"},
		{"name is empty", `{"data":{"type":"policy-sets","attributes":{"name":""}}}`, 422, attr + "name"},
		{"name is null", `{"data":{"type":"policy-sets","attributes":{"name":null}}}`, 422, attr + "name"},
		{"name is long", `{"data":{"type":"policy-sets","attributes":{"name":"` + strings.Repeat("x", 129) + `"}}}`, 422, attr + "name"},
		{"description is long", `{"data":{"type":"policy-sets","attributes":{"description":"` + strings.Repeat("x", 4097) + `"}}}`, 422, attr + "description"},
		{"kind changes", `{"data":{"type":"policy-sets","attributes":{"kind":"sentinel"}}}`, 422, attr + "kind"},
		{"both credentials", `{"data":{"type":"policy-sets","attributes":{"vcs-repo":{"oauth-token-id":"ot-1","github-app-installation-id":"ghain-1"}}}}`, 422, attr + "vcs-repo"},
		{"an unknown installation", `{"data":{"type":"policy-sets","attributes":{"vcs-repo":{"github-app-installation-id":"ghain-1"}}}}`, 422, attr + "vcs-repo/github-app-installation-id"},
		{"a token id that is none", `{"data":{"type":"policy-sets","attributes":{"vcs-repo":{"oauth-token-id":"ot 1"}}}}`, 422, attr + "vcs-repo/oauth-token-id"},
		{"relationship is a text", `{"data":{"type":"policy-sets","relationships":{"projects":7}}}`, 422, "/data/relationships/projects"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, s.ask(acme, "PATCH", path, c.body), c.status, c.pointer)
		})
	}
	if a := s.ask(acme, "PATCH", path, `{"data":{"type":"policy-sets","id":"`+set.ID+`"}}`); a.status != http.StatusOK {
		t.Errorf("a change of nothing: %d %s", a.status, a.body)
	}
	for name, header := range map[string]http.Header{
		"another content type": {"Content-Type": {"application/json"}},
		"no content type":      {"Content-Type": nil},
		"a compressed body":    {"Content-Encoding": {"gzip"}},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, s.askWith(acme, "PATCH", path, `{"data":{"type":"policy-sets"}}`, header), http.StatusUnsupportedMediaType, "")
		})
	}
	t.Run("case 87 a length that lies", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, s.url+"/api/v2"+path, &endless{})
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+acme)
		req.Header.Set("Content-Type", "application/vnd.api+json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
}

// endless is a chunked body without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestQueries(t *testing.T) {
	s := newServer(t)
	for i := range 3 {
		s.follow("acme", fmt.Sprintf("set-%d", i))
	}
	versions := "/policy-sets/" + s.sets[0].ID + "/versions"
	for _, c := range []struct {
		name, path string
		status     int
		contains   string
	}{
		{"case 85 page size 0 is clamped", sets + "?page[size]=0", 200, `"page-size":1,"prev-page":null,"next-page":2,"total-pages":3`},
		{"case 85 page size -1 is clamped", sets + "?page[size]=-1", 200, `"page-size":1,`},
		{"case 85 page size 1e9 is clamped", sets + "?page[size]=1000000000", 200, `"page-size":100,`},
		{"case 85 page size that is no number", sets + "?page[size]=1e9", 400, `"parameter":"page[size]"`},
		{"case 85 page size beyond 64 bits", sets + "?page[size]=99999999999999999999", 400, `"parameter":"page[size]"`},
		{"case 85 page number -1 is clamped", sets + "?page[number]=-1", 200, `"current-page":1,`},
		{"case 85 page number 2^62 is clamped", sets + "?page[number]=4611686018427387904&page[size]=100", 200, `"data":[]`},
		{"case 85 page number out of range", sets + "?page[number]=999", 200, `"current-page":999,`},
		{"the second page", sets + "?page[number]=2&page[size]=2", 200, `"prev-page":1,"next-page":null,"total-pages":2,"total-count":3`},
		{"links keep the query", sets + "?page[size]=2&search[name]=set", 200, `"next":"` + s.url + `/api/v2/organizations/acme/policy-sets?page%5Bnumber%5D=2&page%5Bsize%5D=2&search%5Bname%5D=set"`},
		{"counts after the search", sets + "?search[name]=set-1", 200, `"total-count":1`},
		{"counts after the filter", sets + "?filter[kind]=sentinel", 200, `"total-count":0`},
		{"a kind that does not exist", sets + "?filter[kind]=rego", 400, `"parameter":"filter[kind]"`},
		{"a filter that is no boolean", sets + "?filter[versioned]=maybe", 400, `"parameter":"filter[versioned]"`},
		{"a status", versions + "?filter[status]=pending", 200, `"total-count":1`},
		{"a status that does not exist", versions + "?filter[status]=redy", 400, `"parameter":"filter[status]"`},
		{"another list's status", "/policy-sets/" + s.sets[0].ID + "/ingestions?filter[status]=ready", 400, `"parameter":"filter[status]"`},
		{"half a commit", versions + "?filter[commit-sha]=abc", 400, `"parameter":"filter[commit-sha]"`},
		{"an unknown include", sets + "?include=newest_version,moon", 400, "include parameter"},
		{"NUL in a query", sets + "?search[name]=%00", 400, "bad request"},
		{"a query that is not UTF-8", sets + "?x=%ff", 400, "bad request"},
		{"a malformed query", sets + "?x=%zz", 400, "bad request"},
		{"NUL in a path", "/policy-sets/%00", 404, "not found"},
		{"a slash in a path", "/policy-sets/a%2Fb", 404, "not found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := strings.NewReplacer("[", "%5B", "]", "%5D").Replace(c.path)
			if a := s.ask(acme, "GET", path, ""); a.status != c.status || !strings.Contains(a.body, c.contains) {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	t.Run("an id that no row can have never reaches the store", func(t *testing.T) {
		s.broken = func() error { return errors.New("invalid byte sequence") }
		defer func() { s.broken = nil }()
		for _, id := range []string{"%00", "%ff", "a%2Fb", strings.Repeat("x", 129)} {
			problemsOf(t, s.ask(acme, "GET", "/policy-sets/"+id, ""), http.StatusNotFound)
		}
	})
	t.Run("one look-up serves a list with includes", func(t *testing.T) {
		s.batches = 0
		if a := s.ask(acme, "GET", sets+"?include=newest_version,current_version", ""); a.status != http.StatusOK || s.batches != 1 {
			t.Errorf("%d after %d look-ups", a.status, s.batches)
		}
	})
}

func TestFaults(t *testing.T) {
	s := newServer(t)
	set := s.follow("acme", "production")
	ask := func() answer { return s.ask(acme, "GET", "/policy-sets/"+set.ID, "") }
	for _, c := range []struct {
		name   string
		broken func() error
		status int
	}{
		{"a panic", func() error { panic("secret detail") }, 500},
		{"an error", func() error { return errors.New("dial tcp 10.0.0.1: secret detail") }, 500},
		{"a failure worth another attempt", func() error {
			return &polset.Failure{Class: polset.ClassStorage, Message: "The storage does not answer.", Retry: true, Err: errors.New("secret detail")}
		}, 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.broken = c.broken
			a := ask()
			p := problemsOf(t, a, c.status)[0]
			if strings.Contains(a.body, "secret detail") {
				t.Errorf("internals shown: %s", a.body)
			}
			id := a.header.Get("X-Request-Id")
			if c.status == 500 && !strings.Contains(p.Detail, id) {
				t.Errorf("no request id in %q", p.Detail)
			}
			if s.logs.FilterField(zap.String("request", id)).Len() != 1 {
				t.Error("the log does not tell the request")
			}
		})
	}
	s.broken = nil
	if a := ask(); a.status != http.StatusOK {
		t.Errorf("%d after a panic", a.status)
	}
	t.Run("somebody else changed the set meanwhile", func(t *testing.T) {
		s.changed = true
		refused(t, s.ask(acme, "PATCH", "/policy-sets/"+set.ID, `{"data":{"type":"policy-sets","attributes":{"name":"production","global":true}}}`), http.StatusConflict, "")
		s.changed = false
	})
	t.Run("a name that is taken", func(t *testing.T) {
		refused(t, s.ask(acme, "POST", sets, `{"data":{"type":"policy-sets","attributes":{"name":"production"}}}`), http.StatusUnprocessableEntity, "/data/attributes/name")
		refused(t, s.ask(admin, "POST", "/organizations", `{"data":{"type":"organizations","attributes":{"name":"acme"}}}`), http.StatusUnprocessableEntity, "/data/attributes/name")
		s.follow("acme", "other")
		refused(t, s.ask(acme, "PATCH", "/policy-sets/"+set.ID, `{"data":{"type":"policy-sets","attributes":{"name":"other"}}}`), http.StatusUnprocessableEntity, "/data/attributes/name")
	})
}
