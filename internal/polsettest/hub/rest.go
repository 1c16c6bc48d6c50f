package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/polset/polset/internal/polsettest"
)

// An inquiry is one REST request on its way through the stand-in.
type inquiry struct {
	github    *GitHub
	request   *http.Request
	base      string // of the API that was asked, without a trailing slash
	operation object // of the description
	call      *Call
	app       *App   // that asks by its JWT
	token     *Token // that was shown
	body      object // the decoded body, empty where there is none
	query     url.Values
}

// A reply is what GitHub answers.
type reply struct {
	status int
	body   any // nil: none
	header http.Header
}

// problem is how GitHub says no.
func problem(status int, message string) reply {
	return reply{status: status, body: object{
		"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status),
	}}
}

// invalid is a 422 about a field. A code of custom has a message.
func invalid(resource, field, code, message string) reply {
	detail := object{"resource": resource, "field": field, "code": code}
	if message != "" {
		detail["message"] = message
	}
	return reply{status: http.StatusUnprocessableEntity, body: object{
		"message": "Validation Failed", "errors": []object{detail},
		"documentation_url": "https://docs.github.com/rest", "status": "422",
	}}
}

func notFound() reply { return problem(http.StatusNotFound, "Not Found") }

// A route answers the requests for one operation of GitHub's description.
type route struct {
	pattern string // method and path of the description
	auth    string // who may ask: app, installation, person, repository (a token of any kind), or anybody
	answer  func(*inquiry) reply
}

// routes are all that the stand-in serves.
func (g *GitHub) routes() *http.ServeMux {
	mux := http.NewServeMux()
	g.routed = map[string]bool{}
	for _, r := range []route{
		{"GET /app", "app", (*inquiry).getApp},
		{"GET /app/installations", "app", (*inquiry).listInstallations},
		{"GET /app/installations/{installation_id}", "app", (*inquiry).getInstallation},
		{"POST /app/installations/{installation_id}/access_tokens", "app", (*inquiry).createToken},
		{"GET /app/hook/deliveries", "app", (*inquiry).listDeliveries},
		{"GET /app/hook/deliveries/{delivery_id}", "app", (*inquiry).getDelivery},
		{"POST /app/hook/deliveries/{delivery_id}/attempts", "app", (*inquiry).redeliver},
		{"POST /app-manifests/{code}/conversions", "anybody", (*inquiry).convertManifest},
		{"GET /installation/repositories", "installation", (*inquiry).listInstallationRepositories},
		{"DELETE /installation/token", "installation", (*inquiry).revokeToken},
		{"GET /user", "person", (*inquiry).getUser},
		{"GET /user/installations", "person", (*inquiry).listUserInstallations},
		{"GET /repos/{owner}/{repo}", "repository", (*inquiry).getRepository},
		{"GET /repos/{owner}/{repo}/installation", "app", (*inquiry).getRepositoryInstallation},
		{"GET /repos/{owner}/{repo}/compare/{basehead}", "repository", (*inquiry).compare},
		{"POST /repos/{owner}/{repo}/check-runs", "repository", (*inquiry).createCheckRun},
		{"GET /repos/{owner}/{repo}/check-runs/{check_run_id}", "repository", (*inquiry).getCheckRun},
		{"PATCH /repos/{owner}/{repo}/check-runs/{check_run_id}", "repository", (*inquiry).updateCheckRun},
		{"GET /repos/{owner}/{repo}/commits/{ref}/check-runs", "repository", (*inquiry).listCheckRuns},
		{"POST /repos/{owner}/{repo}/statuses/{sha}", "repository", (*inquiry).createStatus},
		{"GET /repos/{owner}/{repo}/hooks", "repository", (*inquiry).listHooks},
		{"POST /repos/{owner}/{repo}/hooks", "repository", (*inquiry).createHook},
		{"GET /repos/{owner}/{repo}/hooks/{hook_id}", "repository", (*inquiry).getHook},
		{"PATCH /repos/{owner}/{repo}/hooks/{hook_id}", "repository", (*inquiry).updateHook},
		{"DELETE /repos/{owner}/{repo}/hooks/{hook_id}", "repository", (*inquiry).deleteHook},
		{"GET /repos/{owner}/{repo}/hooks/{hook_id}/config", "repository", (*inquiry).getHookConfig},
		{"PATCH /repos/{owner}/{repo}/hooks/{hook_id}/config", "repository", (*inquiry).updateHookConfig},
	} {
		method, path, _ := strings.Cut(r.pattern, " ")
		if g.description.operation(method, path) == nil {
			g.t.Fatalf("GitHub's description has no %s", r.pattern)
		}
		g.routed[r.pattern] = true
		mux.HandleFunc(r.pattern, func(w http.ResponseWriter, request *http.Request) {
			g.serveRoute(w, request, r)
		})
	}
	return mux
}

type baseKey struct{}

// serveREST serves the REST API whose base has been stripped from the path.
func (g *GitHub) serveREST(w http.ResponseWriter, r *http.Request, base string) {
	call := &Call{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Token: bearer(r.Header), Auth: "none", At: g.clock(),
	}
	g.mu.Lock()
	g.calls = append(g.calls, call)
	outage := g.outage
	g.mu.Unlock()
	recorder := &callRecorder{ResponseWriter: w, github: g, call: call}
	q := &inquiry{github: g, base: base, call: call}
	r = r.WithContext(contextWith(r.Context(), q))
	if outage.REST {
		down(recorder, outage)
		return
	}
	r, moved := g.redirected(r, call)
	if moved == notServed {
		g.violation(fmt.Sprintf("%s %s is not in its description; only a redirect may lead there", call.Method, call.Path))
		q.write(recorder, notFound())
		return
	}
	if _, pattern := g.rest.Handler(r); pattern == "" {
		g.violation(fmt.Sprintf("the stand-in knows no %s %s", r.Method, r.URL.Path))
		q.write(recorder, notFound())
		return
	}
	g.rest.ServeHTTP(recorder, r)
}

// serveRoute checks the form of a request, lets faults at it, and answers.
func (g *GitHub) serveRoute(w http.ResponseWriter, r *http.Request, route route) {
	q := inquiryOf(r.Context())
	method, path, _ := strings.Cut(route.pattern, " ")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	q.request, q.query, q.operation = r, r.URL.Query(), g.description.operation(method, path)
	auth, app, token, refusal := g.authenticate(r.Header.Get("Authorization"))
	q.app, q.token = app, token
	g.mu.Lock()
	q.call.Route, q.call.Auth, q.call.Body = route.pattern, auth, body
	if token != nil {
		q.call.Installation = token.Installation
	}
	if repository := g.at(r.PathValue("owner") + "/" + r.PathValue("repo")); repository != nil {
		q.call.Repository = repository.id
	}
	fault := first(g.faults[route.pattern], g.faults[""])
	g.mu.Unlock()
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q.write(w, q.proceed(route, auth, refusal, body))
	})
	// What is malformed fails the test, whatever fault stands in its way.
	wrong := q.malformed(body)
	for _, w := range wrong {
		g.violation(route.pattern + ": " + w)
	}
	if len(wrong) > 0 {
		q.write(w, invalidForm(wrong))
		return
	}
	if fault != nil && fault(w, r, next) {
		return
	}
	next.ServeHTTP(w, r)
}

func first(faults ...polsettest.Fault) polsettest.Fault {
	var given []polsettest.Fault
	for _, f := range faults {
		if f != nil {
			given = append(given, f)
		}
	}
	if len(given) == 0 {
		return nil
	}
	return polsettest.FirstOf(given...)
}

// proceed answers a well-formed request.
func (q *inquiry) proceed(route route, auth string, refusal error, body []byte) reply {
	if refusal != nil {
		return problem(http.StatusUnauthorized, refusal.Error())
	}
	q.body = object{}
	if fields, ok := decode(body).(object); ok {
		q.body = fields
	}
	switch {
	case route.auth == "app" && auth == "none":
		return problem(http.StatusUnauthorized, "A JSON web token could not be decoded")
	case route.auth == "app" && auth != "app":
		return problem(http.StatusUnauthorized, "A JSON web token could not be decoded")
	case route.auth == "repository" && auth == "app":
		return problem(http.StatusForbidden, "Resource not accessible by integration")
	case route.auth == "installation" && auth == "none", route.auth == "person" && auth == "none":
		return problem(http.StatusUnauthorized, "Requires authentication")
	case route.auth == "installation" && auth != "installation":
		return problem(http.StatusForbidden, "You must authenticate with an installation access token in order to list repositories for an installation.")
	case route.auth == "person" && auth != "personal" && auth != "user":
		return problem(http.StatusForbidden, "Resource not accessible by integration")
	}
	return route.answer(q)
}

// write sends a reply, which must be as GitHub describes it.
func (q *inquiry) write(w http.ResponseWriter, a reply) {
	var text []byte
	if a.body != nil {
		var err error
		if text, err = json.Marshal(a.body); err != nil {
			q.github.t.Errorf("the stand-in's answer: %v", err)
		}
	}
	if q.operation != nil {
		if err := q.described(a.status, text); err != nil {
			q.github.t.Errorf("the stand-in's %d to %s is not GitHub's: %v", a.status, q.call.Route, err)
		}
	}
	h := w.Header()
	for key, values := range a.header {
		h[key] = values
	}
	h.Set("X-GitHub-Api-Version-Selected", apiVersion)
	h.Set("X-RateLimit-Limit", "5000")
	h.Set("X-RateLimit-Remaining", "4999")
	h.Set("X-RateLimit-Used", "1")
	h.Set("X-RateLimit-Resource", "core")
	h.Set("X-RateLimit-Reset", strconv.FormatInt(q.github.now().Add(hour).Unix(), 10))
	if text != nil {
		h.Set("Content-Type", "application/json; charset=utf-8")
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(text)
}

// described checks an answer against the description. Refusals that it does
// not list must have the form of GitHub's errors.
func (q *inquiry) described(status int, text []byte) error {
	d := q.github.description
	answers := sub(q.operation["responses"])
	answer, listed := answers[strconv.Itoa(status)].(object)
	s := schema{"$ref": "#/components/schemas/basic-error"}
	switch {
	case listed:
		s = jsonSchema(d.follow(answer))
	case status < 400 && status != http.StatusMovedPermanently && status != http.StatusTemporaryRedirect:
		return errors.New("the description has no such status")
	}
	switch {
	case s == nil && text != nil:
		return errors.New("the description has no body for it")
	case s == nil:
		return nil
	case text == nil:
		return errors.New("the description has a body for it")
	}
	if wrong := d.check(s, decode(text), "answer"); len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}
