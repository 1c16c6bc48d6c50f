package hub_test

import (
	"crypto/rand"
	"crypto/rsa"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/polset/polset/internal/polsettest"
	"github.com/polset/polset/internal/polsettest/hub"
)

// TestMalformed checks that what no client may send is refused and told.
func TestMalformed(t *testing.T) {
	w := newWorld(t)
	token := w.installation.Token()
	header := func(key, value string) func(*http.Request) {
		return func(r *http.Request) {
			if value == "" {
				r.Header[key] = nil // not even Go's own
				return
			}
			r.Header.Set(key, value)
		}
	}
	annotations := func(n int, change object) []object {
		var list []object
		for range n {
			a := object{"path": "a", "start_line": 1, "end_line": 1, "annotation_level": "failure", "message": "m"}
			maps.Copy(a, change)
			list = append(list, a)
		}
		return list
	}
	run := func(output object) object {
		o := object{"title": "t", "summary": "s"}
		maps.Copy(o, output)
		return object{"name": "polset/a", "head_sha": w.commit, "output": o}
	}
	const runs = "POST /repos/acme/policies/check-runs"
	for name, test := range map[string]struct {
		route  string
		body   any
		change func(*http.Request)
		want   string
	}{
		"unknown route":      {"GET /repos/acme/policies/branches", nil, nil, "knows no GET /repos/acme/policies/branches"},
		"unknown method":     {"PUT /repos/acme/policies", nil, nil, "knows no PUT"},
		"by number":          {"GET /repositories/1296269", nil, nil, "only a redirect may lead there"},
		"GraphQL":            {"POST /graphql", object{"query": "{viewer{login}}"}, nil, "knows no POST /graphql"},
		"unknown parameter":  {"GET /repos/acme/policies?ref=main", nil, nil, "query.ref: GitHub knows no such parameter"},
		"parameter twice":    {"GET /installation/repositories?page=1&page=2", nil, nil, "query.page is given more than once"},
		"parameter's type":   {"GET /installation/repositories?page=one", nil, nil, "query.page"},
		"page too large":     {"GET /installation/repositories?per_page=101", nil, nil, "is more than 100"},
		"enumeration":        {"GET /repos/acme/policies/commits/main/check-runs?filter=newest", nil, nil, "query.filter"},
		"path's type":        {"GET /repos/acme/policies/hooks/seven", nil, nil, "path.hook_id"},
		"no accept":          {"GET /repos/acme/policies", nil, header("Accept", ""), "Accept"},
		"accept anything":    {"GET /repos/acme/policies", nil, header("Accept", "*/*"), "Accept"},
		"accept a diff":      {"GET /repos/acme/policies", nil, header("Accept", "application/vnd.github.diff"), "Accept"},
		"no version":         {"GET /repos/acme/policies", nil, header("X-Github-Api-Version", ""), "X-GitHub-Api-Version"},
		"other version":      {"GET /repos/acme/policies", nil, header("X-GitHub-Api-Version", "2019-01-01"), "X-GitHub-Api-Version"},
		"no agent":           {"GET /repos/acme/policies", nil, header("User-Agent", ""), "User-Agent"},
		"Go's agent":         {"GET /repos/acme/policies", nil, header("User-Agent", "Go-http-client/1.1"), "names nobody"},
		"no body":            {runs, nil, nil, "body: it is missing"},
		"body of a GET":      {"GET /repos/acme/policies", object{}, nil, "body: GitHub expects none"},
		"body's type":        {runs, run(nil), header("Content-Type", "text/plain"), "Content-Type"},
		"missing field":      {runs, object{"head_sha": w.commit}, nil, "body: name is missing"},
		"unknown field":      {runs, object{"name": "a", "head_sha": w.commit, "sha": "x"}, nil, "body.sha: GitHub knows no such field"},
		"unknown deep field": {runs, run(object{"titel": "x"}), nil, "body.output.titel: GitHub knows no such field"},
		"wrong type":         {runs, object{"name": 7, "head_sha": w.commit}, nil, "body.name: 7 is not of the type string"},
		"wrong value":        {runs, object{"name": "a", "head_sha": w.commit, "status": "done"}, nil, "body.status"},
		"wrong time":         {runs, object{"name": "a", "head_sha": w.commit, "started_at": "yesterday"}, nil, "is no date-time"},
		"51 annotations":     {runs, run(object{"annotations": annotations(51, nil)}), nil, "51 items are more than 50"},
		"line 0":             {runs, run(object{"annotations": annotations(1, object{"start_line": 0})}), nil, "lines 0 to 1 are none"},
		"columns over lines": {runs, run(object{"annotations": annotations(1, object{"end_line": 2, "start_column": 1})}), nil, "columns belong"},
		"absolute path":      {runs, run(object{"annotations": annotations(1, object{"path": "/a"})}), nil, "not relative"},
		"no summary":         {runs, object{"name": "a", "head_sha": w.commit, "output": object{"title": "t"}}, nil, "summary is missing"},
		"long summary":       {runs, run(object{"summary": strings.Repeat("s", 65536)}), nil, "65536 characters are more than 65535"},
		"completed by nothing": {
			runs, object{"name": "a", "head_sha": w.commit, "status": "completed"}, nil, "a completed check run needs one",
		},
		"untitled update": {
			"PATCH /repos/acme/policies/check-runs/1", object{"output": object{"summary": "s"}}, nil, "body.output.title is missing",
		},
		"long description": {
			"POST /repos/acme/policies/statuses/" + w.commit,
			object{"state": "success", "description": strings.Repeat("é", 141)},
			nil, "141 characters are more than 140",
		},
		"unknown permission": {
			"POST /app/installations/1/access_tokens",
			object{"permissions": object{"everything": "write"}},
			nil,
			"body.permissions.everything: GitHub knows no such field",
		},
		"unknown level": {
			"POST /app/installations/1/access_tokens", object{"permissions": object{"contents": "own"}}, nil, "body.permissions.contents",
		},
		"unknown hook field": {
			"POST /repos/acme/policies/hooks", object{"config": object{"url": "http://x", "ssl": "0"}}, nil, "body.config.ssl",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var changes []func(*http.Request)
			if test.change != nil {
				changes = append(changes, test.change)
			}
			a := w.ask(test.route, token, test.body, changes...)
			if a.status < 400 {
				t.Errorf("the answer is %d", a.status)
			}
			problems := w.violated()
			if len(problems) == 0 || !strings.Contains(strings.Join(problems, "\n"), test.want) {
				t.Errorf("the violations are %q and say nothing of %q", problems, test.want)
			}
		})
	}
	if n := len(w.policies.CheckRuns(w.commit)); n != 0 {
		t.Errorf("%d check runs were made by malformed requests", n)
	}
	w.ask(runs, token, run(object{"annotations": annotations(50, nil)})).want(t, http.StatusCreated)
}

func TestJWT(t *testing.T) {
	w := newWorld(t)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	at := func(key string, after time.Duration) func(jwt.MapClaims) {
		return func(c jwt.MapClaims) { c[key] = w.clock.Now().Add(after).Unix() }
	}
	symmetric, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": number(w.app.ID)}).SignedString([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		token string
		want  int
	}{
		"by number":      {signed(t, w, nil), 200},
		"by client id":   {signed(t, w, func(c jwt.MapClaims) { c["iss"] = w.app.ClientID }), 200},
		"ten minutes":    {signed(t, w, at("exp", 10*time.Minute)), 200},
		"a minute early": {signed(t, w, at("iat", time.Minute)), 200},
		"too long":       {signed(t, w, at("exp", 10*time.Minute+time.Second)), 401},
		"too early":      {signed(t, w, at("iat", 61*time.Second)), 401},
		"expired":        {signed(t, w, at("exp", -time.Second)), 401},
		"no expiry":      {signed(t, w, func(c jwt.MapClaims) { delete(c, "exp") }), 401},
		"no issue":       {signed(t, w, func(c jwt.MapClaims) { delete(c, "iat") }), 401},
		"stranger's key": {signedBy(t, w, stranger, nil), 401},
		"stranger":       {signed(t, w, func(c jwt.MapClaims) { c["iss"] = "17" }), 401},
		"HS256":          {symmetric, 401},
		"none":           {"", 401},
		"installation":   {w.installation.Token(), 401},
		"personal":       {w.PersonalToken(w.User("octocat"), "repo"), 401},
	} {
		t.Run(name, func(t *testing.T) { w.ask("GET /app", test.token, nil).want(t, test.want) })
	}
	w.ask("GET /repos/acme/policies", signed(t, w, nil), nil).want(t, http.StatusForbidden)
}

func TestInstallationTokens(t *testing.T) {
	w := newWorld(t)
	other := w.Repository("acme/other")
	foreign := w.Repository("globex/rules")
	route := "POST /app/installations/" + number(w.installation.ID()) + "/access_tokens"
	mint := func(body object) answer { return w.ask(route, signed(t, w, nil), body) }

	mint(object{"repositories": []string{"nothing"}}).want(t, 422, "There is at least one repository")
	mint(object{"repository_ids": []int64{foreign.ID()}}).want(t, 422, "There is at least one repository")
	mint(object{"permissions": object{"contents": "write"}}).want(t, 422, "not granted to this installation")
	mint(object{"permissions": object{"issues": "read"}}).want(t, 422, "not granted to this installation")
	w.ask("POST /app/installations/17/access_tokens", signed(t, w, nil), object{}).want(t, 404)
	w.ask("GET /app/installations/17", signed(t, w, nil), nil).want(t, 404)

	narrow := mint(object{"repository_ids": []int64{w.policies.ID()}, "permissions": object{"contents": "read"}}).want(t, 201)
	token, _ := narrow.body["token"].(string)
	w.ask("GET /repos/acme/policies", token, nil).want(t, 200)
	w.ask("GET /repos/acme/other", token, nil).want(t, 404)
	w.ask("GET /repos/globex/rules", token, nil).want(t, 404)
	w.ask("POST /repos/acme/policies/check-runs", token, object{"name": "a", "head_sha": w.commit}).
		want(t, 403, "Resource not accessible by integration")
	if a := w.ask("GET /installation/repositories", token, nil).want(t, 200); a.body["total_count"] != 1.0 {
		t.Errorf("the token sees %s", a.text)
	}
	other.Publicize()
	w.ask("GET /repos/acme/other", token, nil).want(t, 200) // as everybody
	w.ask("POST /repos/acme/other/check-runs", token, object{"name": "a", "head_sha": w.commit}).want(t, 403)
	other.Privatize()

	wide, _ := mint(object{}).want(t, 201).body["token"].(string)
	w.ask("GET /repos/acme/other", wide, nil).want(t, 200)
	w.installation.Remove(other)
	w.ask("GET /repos/acme/other", wide, nil).want(t, 404)
	w.policies.Archive()
	w.ask("GET /repos/acme/policies", wide, nil).want(t, 200, `"archived":true`)
	w.ask("POST /repos/acme/policies/check-runs", wide, object{"name": "a", "head_sha": w.commit}).want(t, 403, "read-only")
	w.policies.Unarchive()

	w.clock.Advance(time.Hour - time.Second)
	w.ask("GET /repos/acme/policies", wide, nil).want(t, 200)
	w.clock.Advance(time.Second)
	w.ask("GET /repos/acme/policies", wide, nil).want(t, 401, "Bad credentials")

	wide, _ = mint(object{}).want(t, 201).body["token"].(string)
	w.RevokeToken(wide)
	w.ask("GET /repos/acme/policies", wide, nil).want(t, 401)
	wide, _ = mint(object{}).want(t, 201).body["token"].(string)
	w.installation.Suspend()
	w.ask("GET /repos/acme/policies", wide, nil).want(t, 401)
	mint(object{}).want(t, 403, "This installation has been suspended")
	w.installation.Unsuspend()
	mint(object{}).want(t, 201)
	w.installation.Delete()
	w.ask("GET /repos/acme/policies", wide, nil).want(t, 401)
	mint(object{}).want(t, 404)
	if got := len(w.Tokens()); got != 5 {
		t.Errorf("%d tokens were issued", got)
	}
}

func TestChecks(t *testing.T) {
	w := newWorld(t)
	token := w.installation.Token()
	const runs = "POST /repos/acme/policies/check-runs"
	body := object{"name": "polset/a", "head_sha": w.commit, "status": "in_progress", "external_id": "rep-1"}
	w.ask(runs, w.PersonalToken(w.User("octocat"), "repo"), body).want(t, 403, "You must authenticate via a GitHub App")
	w.ask(runs, "", body).want(t, 404)
	w.ask(runs, token, object{"name": "a", "head_sha": strings.Repeat("1", 40)}).want(t, 422, "No commit found for SHA")
	w.ask(runs, token, object{"name": "a", "head_sha": "main"}).want(t, 422, "No commit found for SHA")
	for range 3 {
		w.ask(runs, token, body).want(t, 201)
	}
	w.ask(runs, token, object{"name": "polset/b", "head_sha": w.commit, "conclusion": "success"}).want(t, 201, "completed")
	const list = "GET /repos/acme/policies/commits/main/check-runs"
	count := func(query string, want float64) {
		t.Helper()
		if a := w.ask(list+query, token, nil).want(t, 200); a.body["total_count"] != want {
			t.Errorf("%s lists %v, not %v", query, a.body["total_count"], want)
		}
	}
	count("", 2)
	count("?filter=all", 4)
	count("?filter=all&check_name=polset/a", 3)
	count("?status=completed", 1)
	count("?app_id=17", 0)
	if a := w.ask(list+"?filter=all&per_page=3", token, nil); !strings.Contains(a.header.Get("Link"), `page=2`) {
		t.Errorf("the header Link is %q", a.header.Get("Link"))
	}
	all := w.policies.CheckRuns(w.commit)
	patch := "PATCH /repos/acme/policies/check-runs/" + number(all[0].ID)
	note := object{"path": "a", "start_line": 1, "end_line": 1, "annotation_level": "failure", "message": "m"}
	for range 2 {
		w.ask(patch, token, object{"status": "completed", "conclusion": "failure", "output": object{
			"title": "t", "summary": "s", "annotations": []object{note},
		}}).want(t, 200)
	}
	if c := w.policies.CheckRuns(w.commit)[0]; len(c.Annotations) != 2 || c.Conclusion != "failure" || c.ExternalID != "rep-1" || c.Updates != 2 {
		t.Errorf("the check run is %+v", c)
	}
	w.ask(patch, token, object{"status": "in_progress"}).want(t, 200, `"conclusion":null`)
	stranger := w.CreateApp(hub.AppConfig{Name: "other"}).Install(w.acme)
	w.ask(patch, stranger.Token(), object{"status": "in_progress"}).want(t, 403, "can only be modified by the GitHub App that created it")
	w.ask("PATCH /repos/acme/policies/check-runs/1", token, object{"status": "in_progress"}).want(t, 404)
}

func TestStatuses(t *testing.T) {
	w := newWorld(t)
	token := w.PersonalToken(w.User("octocat"), "repo:status")
	route := "POST /repos/acme/policies/statuses/" + w.commit
	body := object{"state": "pending", "context": "polset/a"}
	w.ask(route, w.PersonalToken(w.User("octocat"), "read:repo_hook"), body).want(t, 404)
	w.ask(route, w.PersonalToken(w.User("mallory"), "repo"), body).want(t, 404)
	w.policies.Grant(w.User("mallory"), "read")
	w.ask(route, w.PersonalToken(w.User("mallory"), "repo"), body).want(t, 404)
	w.ask("POST /repos/acme/policies/statuses/"+strings.Repeat("1", 40), token, body).want(t, 422, "No commit found")
	for range 1000 {
		w.ask(route, token, body).want(t, 201)
	}
	w.ask(route, token, body).want(t, 422, "maximum number of statuses")
	w.ask(route, token, object{"state": "success", "context": "polset/b"}).want(t, 201)
}

func TestHooks(t *testing.T) {
	w := newWorld(t)
	octocat := w.User("octocat")
	token := w.PersonalToken(octocat, "repo", "admin:repo_hook")
	const route = "POST /repos/acme/policies/hooks"
	config := object{"url": w.receiver.URL, "content_type": "json", "secret": "one", "insecure_ssl": "0"}
	body := object{"name": "web", "active": true, "events": []string{"push"}, "config": config}
	w.policies.Grant(w.User("mallory"), "write")
	w.ask(route, w.PersonalToken(w.User("mallory"), "repo", "admin:repo_hook"), body).want(t, 404)
	w.ask(route, w.PersonalToken(octocat, "repo:status"), body).want(t, 404)
	w.ask(route, token, object{"config": object{"content_type": "json"}}).want(t, 422)
	w.ask(route, token, object{"config": config, "events": []string{"pushes"}}).want(t, 422, "not a valid event")
	made := w.ask(route, token, body).want(t, 201, "********")
	w.Settle()
	if events := w.receiver.events(); len(events) != 1 || events[0] != "ping" {
		t.Errorf("the hook heard %v", events)
	}
	w.ask(route, token, body).want(t, 422, "Hook already exists on this repository")
	one := w.policies.Hooks()[0]
	path := " /repos/acme/policies/hooks/" + number(one.ID)
	w.ask("GET"+path, token, nil).want(t, 200)
	w.ask("GET"+path+"/config", token, nil).want(t, 200, "********")
	if a := w.ask("GET /repos/acme/policies/hooks", token, nil).want(t, 200); len(a.list) != 1 || a.list[0]["id"] != made.body["id"] {
		t.Errorf("the hooks are %s", a.text)
	}
	w.ask("PATCH"+path+"/config", token, object{"secret": "two"}).want(t, 200)
	if h := w.policies.Hooks()[0]; h.Secret != "two" || h.URL != w.receiver.URL || h.ContentType != "json" {
		t.Errorf("the hook is %+v", h)
	}
	w.ask("PATCH"+path, token, object{"events": []string{"push", "pull_request"}}).want(t, 200)
	if h := w.policies.Hooks()[0]; h.Secret != "two" || len(h.Events) != 2 {
		t.Errorf("the hook is %+v", h)
	}
	w.ask("PATCH"+path, token, object{"config": object{"url": w.receiver.URL}}).want(t, 200)
	if h := w.policies.Hooks()[0]; h.Secret != "" { // GitHub forgets what a whole config does not name
		t.Errorf("the hook is %+v", h)
	}
	w.ask("DELETE"+path, w.PersonalToken(octocat, "write:repo_hook"), nil).want(t, 404)
	w.ask("DELETE"+path, token, nil).want(t, 204)
	w.ask("DELETE"+path, token, nil).want(t, 404)
}

func TestCompare(t *testing.T) {
	w := newWorld(t)
	token := w.installation.Token()
	second := w.policies.Commit("main", map[string]string{"a": "2"})
	fork := w.policies.Commit("side", map[string]string{"a": "3"}, polsettest.From(w.commit))
	orphan := w.policies.Commit("orphan", map[string]string{"a": "4"}, polsettest.From(""))
	for _, test := range []struct {
		base, head, want string
		ahead, behind    float64
	}{
		{w.commit, second, "ahead", 1, 0},
		{second, w.commit, "behind", 0, 1},
		{"main", second, "identical", 0, 0},
		{second, fork, "diverged", 1, 1},
		{"side", "main", "diverged", 1, 1},
	} {
		a := w.ask("GET /repos/acme/policies/compare/"+test.base+"..."+test.head+"?per_page=1", token, nil).want(t, 200)
		if a.body["status"] != test.want || a.body["ahead_by"] != test.ahead || a.body["behind_by"] != test.behind {
			t.Errorf("%s...%s is %s by %v and %v", test.base, test.head, a.body["status"], a.body["ahead_by"], a.body["behind_by"])
		}
	}
	w.ask("GET /repos/acme/policies/compare/"+second+"..."+strings.Repeat("1", 40), token, nil).want(t, 404)
	w.ask("GET /repos/acme/policies/compare/"+second+"..."+orphan, token, nil).want(t, 404, "No common ancestor")
	w.ask("GET /repos/acme/policies/compare/main", token, nil).want(t, 404)
}

func TestMovedRepositories(t *testing.T) {
	w := newWorld(t)
	token := w.installation.Token()
	w.policies.Rename("rules")
	a := w.ask("GET /repos/acme/policies", token, nil).want(t, 301)
	location := strings.TrimPrefix(a.header.Get("Location"), w.APIURL())
	w.ask("GET "+location, token, nil).want(t, 200, `"full_name":"acme/rules"`)
	a = w.ask("POST /repos/acme/policies/check-runs", token, object{"name": "a", "head_sha": w.commit}).want(t, 307)
	location = strings.TrimPrefix(a.header.Get("Location"), w.APIURL())
	w.ask("POST "+location, token, object{"name": "a", "head_sha": w.commit}).want(t, 201)
	w.ask("GET /repos/acme/policies", w.PersonalToken(w.User("mallory"), "repo"), nil).want(t, 404)
	w.Repository("acme/policies") // ends the redirect
	w.ask("GET /repos/acme/policies", token, nil).want(t, 200, `"full_name":"acme/policies"`)
	w.policies.Delete()
	w.ask("GET /repos/acme/rules", token, nil).want(t, 404)
}

func TestPaging(t *testing.T) {
	w := newWorld(t)
	for _, login := range []string{"a", "b", "c", "d"} {
		w.app.Install(w.Organization(login))
	}
	seen := map[any]bool{}
	next := "/app/installations?per_page=2"
	for next != "" {
		a := w.ask("GET "+next, signed(t, w, nil), nil).want(t, 200)
		for _, i := range a.list {
			seen[i["id"]] = true
		}
		next = ""
		for link := range strings.SplitSeq(a.header.Get("Link"), ",") {
			if address, ok := strings.CutSuffix(strings.TrimSpace(link), `>; rel="next"`); ok {
				next = strings.TrimPrefix(address, "<"+w.APIURL())
			}
		}
	}
	if len(seen) != 5 {
		t.Errorf("the pages hold %d installations", len(seen))
	}
}
