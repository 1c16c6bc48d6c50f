package main_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	checkToken  = "polset_secretOfTheChecks"
	checkWS     = "ws-0123456789abcdef"
	uploadProof = "secretProofOfTheUpload"
)

// A checkServer is the wire that polset check speaks, and strict about it: what
// a real server would refuse fails the test. What it answers of the checks is
// the test's to say.
type checkServer struct {
	t   *testing.T
	url string

	// Statuses are those of the run, one a look; the last one stays.
	Statuses []string
	// Stage is what the task stage holds: evaluations by id, each with its
	// outcomes; nil where there is none.
	Evaluations []document
	Outcomes    map[string][]document
	Checks      []document
	// Fault may answer in the place of the server, and says whether it did.
	Fault func(w http.ResponseWriter, r *http.Request, n int) bool

	mu       sync.Mutex
	asked    map[string]int // by method and path
	drafts   int
	runs     []document // what was asked for
	uploads  []string   // the plans
	canceled bool
	strange  []string
}

func newCheckServer(t *testing.T) *checkServer {
	s := &checkServer{t: t, Statuses: []string{"pending", "post_plan_running", "post_plan_completed"}, asked: map[string]int{}}
	server := httptest.NewServer(s)
	s.url = server.URL
	t.Cleanup(func() {
		server.Close()
		for _, what := range s.strange {
			t.Error(what)
		}
	})
	return s
}

// objection notes what a client must not do; the handler runs in another
// goroutine than the test.
func (s *checkServer) objection(format string, args ...any) {
	s.strange = append(s.strange, fmt.Sprintf(format, args...))
}

func (s *checkServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	what := r.Method + " " + r.URL.Path
	s.asked[what]++
	n, fault := s.asked[what], s.Fault
	s.mu.Unlock()
	if fault != nil && fault(w, r, n) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == "/upload" {
		s.upload(w, r)
		return
	}
	if got := r.Header.Get("Authorization"); got != "Bearer "+checkToken {
		s.objection("%s came with Authorization %q", what, got)
	}
	if r.Method == http.MethodPost && r.Header.Get("Content-Type") != "application/vnd.api+json" {
		s.objection("%s came as %q", what, r.Header.Get("Content-Type"))
	}
	if agent := r.Header.Get("User-Agent"); !strings.HasPrefix(agent, "polset/") {
		s.objection("%s came from %q", what, agent)
	}
	s.answer(w, r, what)
}

func (s *checkServer) answer(w http.ResponseWriter, r *http.Request, what string) {
	workspace := document{
		"id": checkWS, "type": "workspaces", "attributes": document{"name": "network"},
		"relationships": document{"organization": document{"data": document{"type": "organizations", "id": "acme"}}},
	}
	switch what {
	case "GET /api/v2/workspaces/" + checkWS, "GET /api/v2/organizations/acme/workspaces/network":
		send(w, 200, document{"data": workspace})
	case "POST /api/v2/workspaces/" + checkWS + "/configuration-versions":
		d := s.draft(r, "configuration-versions")
		if get(d, "data", "attributes", "auto-queue-runs") != false || get(d, "data", "attributes", "speculative") != true {
			s.objection("a configuration version of %v", d)
		}
		s.drafts++
		send(w, 201, document{"data": document{"id": "cv-1", "type": "configuration-versions", "attributes": document{
			"status": "pending", "upload-url": s.url + "/upload?proof=" + uploadProof,
		}}})
	case "GET /api/v2/configuration-versions/cv-1":
		status := "pending"
		if len(s.uploads) > 0 {
			status = "uploaded"
		}
		send(w, 200, document{"data": document{"id": "cv-1", "type": "configuration-versions", "attributes": document{"status": status}}})
	case "POST /api/v2/runs":
		s.createRun(w, r)
	case "GET /api/v2/workspaces/" + checkWS + "/runs":
		data := []any{}
		for range s.runs {
			data = append(data, s.run("pending"))
		}
		send(w, 200, paged(r, data))
	case "GET /api/v2/runs/run-1":
		at := min(s.asked[what], len(s.Statuses)) - 1
		send(w, 200, document{"data": s.run(s.Statuses[at])})
	case "POST /api/v2/runs/run-1/actions/cancel":
		s.canceled = true
		send(w, 202, document{"data": s.run("canceled")})
	case "GET /api/v2/runs/run-1/task-stages":
		data := []any{}
		if s.Evaluations != nil {
			data = append(data, document{"id": "ts-1", "type": "task-stages", "attributes": document{}})
		}
		send(w, 200, paged(r, data))
	case "GET /api/v2/task-stages/ts-1/policy-evaluations":
		send(w, 200, paged(r, s.Evaluations))
	case "GET /api/v2/runs/run-1/policy-checks":
		send(w, 200, paged(r, s.Checks))
	default:
		for id, outcomes := range s.Outcomes {
			if what == "GET /api/v2/policy-evaluations/"+id+"/policy-set-outcomes" {
				send(w, 200, paged(r, outcomes))
				return
			}
		}
		s.objection("polset check asks for %s", what)
		send(w, 404, document{"errors": []any{document{"status": "404", "title": "not found"}}})
	}
}

func (s *checkServer) run(status string) document {
	return document{
		"id": "run-1", "type": "runs", "attributes": document{"status": status, "created-at": "2026-01-31T12:00:00.000Z"},
		"relationships": document{"configuration-version": document{"data": document{"type": "configuration-versions", "id": "cv-1"}}},
	}
}

func (s *checkServer) createRun(w http.ResponseWriter, r *http.Request) {
	d := s.draft(r, "runs")
	want := document{
		"workspace":             document{"data": document{"type": "workspaces", "id": checkWS}},
		"configuration-version": document{"data": document{"type": "configuration-versions", "id": "cv-1"}},
	}
	if fmt.Sprint(get(d, "data", "relationships")) != fmt.Sprint(want) || get(d, "data", "attributes", "plan-only") != true {
		s.objection("a run of %v", d)
	}
	if len(s.uploads) == 0 {
		s.objection("a run before its upload")
	}
	s.runs = append(s.runs, d)
	send(w, 201, document{"data": s.run("pending")})
}

func (s *checkServer) draft(r *http.Request, kind string) document {
	var d document
	if err := json.NewDecoder(r.Body).Decode(&d); err != nil || text(d, "data", "type") != kind {
		s.objection("%s %s holds %v, %v", r.Method, r.URL.Path, d, err)
	}
	return d
}

// upload takes a tar.gz whose one file is the plan, once.
func (s *checkServer) upload(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut || r.URL.Query().Get("proof") != uploadProof || r.Header.Get("Content-Type") != "application/octet-stream" || r.ContentLength <= 0 {
		s.objection("an upload by %s, %q, of %d bytes", r.Method, r.Header.Get("Content-Type"), r.ContentLength)
	}
	if r.Header.Get("Authorization") != "" {
		s.objection("the upload came with the token")
	}
	if len(s.uploads) > 0 {
		send(w, 409, document{"errors": []any{document{"status": "409", "title": "conflict"}}})
		return
	}
	plan, err := unpackPlan(r.Body)
	if err != nil {
		s.objection("the upload: %v", err)
	}
	s.uploads = append(s.uploads, plan)
	w.WriteHeader(http.StatusOK)
}

func unpackPlan(upload io.Reader) (string, error) {
	gz, err := gzip.NewReader(upload)
	if err != nil {
		return "", err
	}
	archive := tar.NewReader(gz)
	header, err := archive.Next()
	if err != nil {
		return "", err
	}
	if header.Name != "tfplan.json" || header.Typeflag != tar.TypeReg {
		return "", fmt.Errorf("it holds %s", header.Name)
	}
	plan, err := io.ReadAll(archive)
	if err != nil {
		return "", err
	}
	if _, err := archive.Next(); !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("something follows the plan: %w", errors.Join(err, errors.ErrUnsupported))
	}
	return string(plan), nil
}

func send(w http.ResponseWriter, code int, d document) {
	w.Header().Set("Content-Type", "application/vnd.api+json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(d) // the client may be gone
}

// paged is the page of a list that a request asks for.
func paged[T any](r *http.Request, all []T) document {
	number, _ := strconv.Atoi(r.URL.Query().Get("page[number]"))
	size, _ := strconv.Atoi(r.URL.Query().Get("page[size]"))
	from := min((number-1)*size, len(all))
	to := min(from+size, len(all))
	var next any
	if to < len(all) {
		next = number + 1
	}
	return document{"data": append([]T{}, all[from:to]...), "meta": document{"pagination": document{"current-page": number, "next-page": next}}}
}

// evaluation is a policy evaluation with its outcomes.
func (s *checkServer) evaluation(id, status string, outcomes ...document) {
	s.Evaluations = append(s.Evaluations, document{"id": id, "type": "policy-evaluations", "attributes": document{
		"status": status, "policy-kind": "opa", "error-message": nil,
	}})
	if s.Outcomes == nil {
		s.Outcomes = map[string][]document{}
	}
	s.Outcomes[id] = outcomes
}

// outcome is what a policy set says, in HCP Terraform's form.
func outcome(name string, overridable bool, policies ...document) document {
	return document{
		"id": "psout-" + name, "type": "policy-set-outcomes",
		"attributes": document{
			"policy-set-name": name, "policy-set-description": "", "overridable": overridable, "error": nil, "outcomes": policies,
			"policy-tool-version": "1.22.2", "result_count": document{}, "warnings": []any{},
		},
		"relationships": document{
			"policy-evaluation":  document{"data": document{"type": "policy-evaluations", "id": "poleval-1"}},
			"policy-set-version": document{"data": document{"type": "policy-set-versions", "id": "polsetver-" + name}},
		},
	}
}

// said is what a policy says.
func said(name, level, status string, messages ...string) document {
	output := []any{}
	for _, m := range messages {
		output = append(output, document{"print": m})
	}
	return document{
		"policy_name": name, "enforcement_level": level, "status": status, "query": "data." + name + ".deny",
		"description": "What " + name + " is about.", "output": output,
	}
}

// env is how polset check finds the server.
func (s *checkServer) env() []string {
	return []string{"POLSET_ADDRESS=" + s.url, "POLSET_TOKEN=" + checkToken}
}

// runCount is how many runs were created.
func (s *checkServer) runCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.runs)
}

// lost makes the server work, and its answer vanish, the first time that a
// request comes.
func (s *checkServer) lost(what string) {
	s.Fault = func(w http.ResponseWriter, r *http.Request, n int) bool {
		if r.Method+" "+r.URL.Path != what || n > 1 {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		answer := httptest.NewRecorder()
		if r.URL.Path == "/upload" {
			s.upload(answer, r)
		} else {
			s.answer(answer, r, what)
		}
		hangUp(w)
		return true
	}
}

// hangUp ends the connection without an answer.
func hangUp(w http.ResponseWriter) {
	if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = c.Close()
	}
}

// bigPlan is a plan of about so many bytes.
func bigPlan(bytesOf int) string {
	var b bytes.Buffer
	b.WriteString(`{"format_version":"1.2","resource_changes":[`)
	for i := 0; b.Len() < bytesOf; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"address":"null_resource.n%d","change":{"actions":["create"],"after":{"text":"%s"}}}`, i, strings.Repeat("x", 500))
	}
	b.WriteString(`]}`)
	return b.String()
}

// count is how often a request came.
func (s *checkServer) count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[what]
}
