package hub_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-github/v60/github"

	"github.com/polset/polset/internal/polsettest/hub"
)

// A receiver is a polset that notes what it hears.
type receiver struct {
	*httptest.Server
	arrived chan struct{} // one value for each delivery, as long as there is room

	mu     sync.Mutex
	heard  []heard
	status int
}

// drain forgets what arrived.
func (r *receiver) drain() {
	for len(r.arrived) > 0 {
		<-r.arrived
	}
}

type heard struct {
	event, guid, signature string
	header                 http.Header
	body                   []byte
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{status: http.StatusOK, arrived: make(chan struct{}, 1000)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		h := request.Header
		r.heard = append(r.heard, heard{h.Get("X-GitHub-Event"), h.Get("X-GitHub-Delivery"), h.Get("X-Hub-Signature-256"), h, body})
		select {
		case r.arrived <- struct{}{}:
		default:
		}
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// events are "event action" of what was heard since the last call.
func (r *receiver) events() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, h := range r.heard {
		var head struct{ Action string }
		_ = json.Unmarshal(h.body, &head)
		names = append(names, strings.TrimSpace(h.event+" "+head.Action))
	}
	r.heard = nil
	return names
}

func (r *receiver) last(t *testing.T) heard {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.heard) == 0 {
		t.Fatal("nothing was heard")
	}
	return r.heard[len(r.heard)-1]
}

// A clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A world is a GitHub with an App on an organization with one repository.
type world struct {
	*hub.GitHub
	t            *testing.T
	clock        *clock
	receiver     *receiver
	acme         *hub.Account
	policies     *hub.Repository
	app          *hub.App
	installation *hub.Installation
	commit       string

	mu         sync.Mutex
	violations []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: newClock(), receiver: newReceiver(t)}
	w.GitHub = hub.New(t, hub.Config{Clock: w.clock.Now, Violation: func(problem string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.violations = append(w.violations, problem)
	}})
	t.Cleanup(func() {
		for _, v := range w.violated() {
			t.Errorf("unexpected violation: %s", v)
		}
	})
	w.acme = w.Organization("acme", w.User("octocat"))
	w.policies = w.Repository("acme/policies")
	w.commit = w.policies.Commit("main", map[string]string{"policies/policies.hcl": "# none\n"})
	w.app = w.CreateApp(hub.AppConfig{HookURL: w.receiver.URL, Permissions: map[string]string{
		"metadata": "read", "contents": "read", "pull_requests": "read", "checks": "write", "statuses": "write", "repository_hooks": "write",
	}})
	w.installation = w.app.Install(w.acme)
	w.receiver.events()
	return w
}

// violated returns the violations since the last call.
func (w *world) violated() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.violations
	w.violations = nil
	return v
}

// signed is an App's token with some claims changed.
func signed(t *testing.T, w *world, change func(jwt.MapClaims)) string {
	t.Helper()
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(w.app.PEM))
	if err != nil {
		t.Fatal(err)
	}
	return signedBy(t, w, key, change)
}

func signedBy(t *testing.T, w *world, key *rsa.PrivateKey, change func(jwt.MapClaims)) string {
	t.Helper()
	claims := jwt.MapClaims{
		"iss": fmt.Sprint(w.app.ID), "iat": w.clock.Now().Unix() - 30, "exp": w.clock.Now().Unix() + 540,
	}
	if change != nil {
		change(claims)
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// An answer of the REST API.
type answer struct {
	status int
	header http.Header
	text   string
	body   map[string]any
	list   []map[string]any
}

// ask sends a request as it should be: method and path, a token, a body and
// changes to the request.
func (w *world) ask(route, token string, body any, changes ...func(*http.Request)) answer {
	w.t.Helper()
	method, path, _ := strings.Cut(route, " ")
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, w.APIURL()+path, content)
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("Accept", "application/vnd.github+json")
	request.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	request.Header.Set("User-Agent", "polset-test")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for _, change := range changes {
		change(request)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return answer{text: err.Error()}
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{status: response.StatusCode, text: err.Error()}
	}
	a := answer{status: response.StatusCode, header: response.Header, text: string(text)}
	if bytes.HasPrefix(text, []byte("[")) {
		err = json.Unmarshal(text, &a.list)
	} else if len(text) > 0 && strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		err = json.Unmarshal(text, &a.body)
	}
	if err != nil {
		w.t.Fatalf("%s: %v", route, err)
	}
	return a
}

// want checks the status of an answer.
func (a answer) want(t *testing.T, status int, words ...string) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("the answer is %d, not %d: %s", a.status, status, a.text)
	}
	for _, word := range words {
		if !strings.Contains(a.text, word) {
			t.Errorf("the answer says nothing of %q: %s", word, a.text)
		}
	}
	return a
}

type object = map[string]any

// client is go-github on the stand-in, as the App (token "") or with a token.
func client(t *testing.T, w *world, base, token string) *github.Client {
	t.Helper()
	if token == "" {
		token = signed(t, w, nil)
	}
	c, err := github.NewClient(nil).WithAuthToken(token).WithEnterpriseURLs(base+"/", base+"/")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(base, "/api/v3") { // go-github adds it
		c.BaseURL.Path = "/"
	}
	return c
}

// TestGoGitHub walks through the whole API with the client that polset uses.
func TestGoGitHub(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	for _, base := range []string{w.APIURL(), w.RootAPIURL()} {
		t.Run(base, func(t *testing.T) {
			app := client(t, w, base, "")
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			me, _, err := app.Apps.Get(ctx, "")
			must(err)
			if me.GetID() != w.app.ID || me.GetSlug() != "polset" {
				t.Errorf("the App is %v", me)
			}
			installations, _, err := app.Apps.ListInstallations(ctx, nil)
			must(err)
			if len(installations) != 1 || installations[0].GetAccount().GetLogin() != "acme" || installations[0].GetRepositorySelection() != "all" {
				t.Errorf("the installations are %v", installations)
			}
			token, _, err := app.Apps.CreateInstallationToken(ctx, w.installation.ID(), &github.InstallationTokenOptions{
				RepositoryIDs: []int64{w.policies.ID()},
				Permissions:   &github.InstallationPermissions{Contents: github.String("read"), Checks: github.String("write")},
			})
			must(err)
			if len(token.GetToken()) != 300 || !token.GetExpiresAt().Time.Equal(w.clock.Now().Add(time.Hour)) || len(token.Repositories) != 1 {
				t.Errorf("the token is %v", token)
			}
			c := client(t, w, base, token.GetToken())
			repository, _, err := c.Repositories.Get(ctx, "acme", "policies")
			must(err)
			if repository.GetID() != w.policies.ID() || repository.GetDefaultBranch() != "main" || !repository.GetPrivate() {
				t.Errorf("the repository is %v", repository)
			}
			run, _, err := c.Checks.CreateCheckRun(ctx, "acme", "policies", github.CreateCheckRunOptions{
				Name: "polset/prod", HeadSHA: w.commit, Status: github.String("in_progress"), ExternalID: github.String("rep-1"),
			})
			must(err)
			run, _, err = c.Checks.UpdateCheckRun(ctx, "acme", "policies", run.GetID(), github.UpdateCheckRunOptions{
				Name: "polset/prod", Status: github.String("completed"), Conclusion: github.String("failure"),
				Output: &github.CheckRunOutput{
					Title: github.String("errored"), Summary: github.String("One policy is invalid."),
					Annotations: []*github.CheckRunAnnotation{{
						Path: github.String("policies/a.rego"), StartLine: github.Int(3), EndLine: github.Int(3),
						AnnotationLevel: github.String("failure"), Message: github.String("unexpected }"),
					}},
				},
			})
			must(err)
			if run.GetConclusion() != "failure" || run.GetOutput().GetAnnotationsCount() != 1 {
				t.Errorf("the check run is %v", run)
			}
			runs, _, err := c.Checks.ListCheckRunsForRef(ctx, "acme", "policies", w.commit, &github.ListCheckRunsOptions{
				CheckName: github.String("polset/prod"), AppID: github.Int64(w.app.ID), Filter: github.String("all"),
			})
			must(err)
			if runs.GetTotal() == 0 {
				t.Error("there are no check runs")
			}
			comparison, _, err := c.Repositories.CompareCommits(ctx, "acme", "policies", w.commit, "main", nil)
			must(err)
			if comparison.GetStatus() != "identical" {
				t.Errorf("the comparison is %v", comparison)
			}
			_, _, err = app.Apps.ListHookDeliveries(ctx, &github.ListCursorOptions{PerPage: 10})
			must(err)
			pat := client(t, w, base, w.PersonalToken(w.User("octocat"), "repo", "admin:repo_hook"))
			hook, _, err := pat.Repositories.CreateHook(ctx, "acme", "policies", &github.Hook{
				Name: github.String("web"), Active: github.Bool(true), Events: []string{"push", "pull_request"},
				Config: &github.HookConfig{
					URL: github.String(w.receiver.URL), ContentType: github.String("json"), Secret: github.String("s3cret"),
					InsecureSSL: github.String("0"),
				},
			})
			must(err)
			_, _, err = pat.Repositories.EditHookConfiguration(ctx, "acme", "policies", hook.GetID(), &github.HookConfig{Secret: github.String("new")})
			must(err)
			if hooks := w.policies.Hooks(); len(hooks) != 1 || hooks[0].Secret != "new" || hooks[0].ContentType != "json" {
				t.Errorf("the hooks are %+v", hooks)
			}
			_, err = pat.Repositories.DeleteHook(ctx, "acme", "policies", hook.GetID())
			must(err)
			_, _, err = pat.Repositories.CreateStatus(ctx, "acme", "policies", w.commit, &github.RepoStatus{
				State: github.String("success"), Context: github.String("polset/prod"), Description: github.String("1 policy"),
			})
			must(err)
			user, _, err := pat.Users.Get(ctx, "")
			must(err)
			if user.GetLogin() != "octocat" {
				t.Errorf("the user is %v", user)
			}
			w.Settle()
		})
	}
	latest := w.policies.LatestCheckRuns(w.commit)["polset/prod"]
	if latest.Conclusion != "failure" || latest.Updates != 1 || len(latest.Annotations) != 1 || latest.ExternalID != "rep-1" {
		t.Errorf("the check run is %+v", latest)
	}
	if all := w.policies.CheckRuns(w.commit); len(all) != 2 {
		t.Errorf("there are %d check runs", len(all))
	}
	if s := w.policies.LatestStatuses(w.commit)["polset/prod"]; s.State != "success" || s.Creator != "octocat" {
		t.Errorf("the status is %+v", s)
	}
	if events := w.receiver.events(); !slices.Equal(events, []string{"ping", "ping"}) {
		t.Errorf("the hooks heard %v", events)
	}
	for _, call := range w.Calls() {
		if call.Status < 200 || call.Status > 299 || call.Route == "" || call.Auth == "bad" {
			t.Errorf("a call went wrong: %+v", call)
		}
	}
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
