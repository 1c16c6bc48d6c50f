package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

func TestIngest(t *testing.T) {
	s := newServer(t)
	set := s.follow("acme", "production")
	path := "/policy-sets/" + set.ID + "/actions/ingest"
	var asked []string
	held, fail := true, error(nil)
	s.reachable = func(ctx context.Context, r polset.Remote, commit, branch string) (bool, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("a question without a deadline")
		}
		asked = append(asked, r.Identifier+" "+branch+" "+commit[:4]+" "+r.Token.Reveal()+fmt.Sprint(r.Installation))
		return held, fail
	}
	ask := func(body string) answer {
		asked = nil
		return s.ask(acme, "POST", path, body)
	}
	last := func() polset.Ingestion { return s.ingestions[len(s.ingestions)-1] }
	named := `{"data":{"attributes":{"commit":"` + commit + `"}}}`

	for _, body := range []string{"", `{"data":{}}`, `{"data":{"type":"policy-set-ingestions","attributes":{"commit":null}}}`} {
		t.Run("the head, by "+body, func(t *testing.T) {
			n := len(s.ingestions)
			if a := ask(body); a.status != http.StatusAccepted || len(s.ingestions) != n+1 || last().Commit != "" || len(asked) != 0 {
				t.Errorf("%d %s %v", a.status, a.body, asked)
			}
		})
	}
	t.Run("the head, by an empty chunked body", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/v2"+path, struct{ *strings.Reader }{strings.NewReader("")})
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+acme)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusAccepted {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
	t.Run("a commit", func(t *testing.T) {
		a := ask(strings.Replace(named, "abcdef", "ABCDEF", 2))
		if a.status != http.StatusAccepted || last().Commit != commit || len(asked) != 1 || asked[0] != "acme/policies main 0123 ghp_secret0" {
			t.Errorf("%d %s %v", a.status, a.body, asked)
		}
		if !strings.Contains(a.body, `"cause":"manual"`) || !strings.Contains(a.body, `"type":"policy-set-ingestions"`) {
			t.Error(a.body)
		}
	})
	t.Run("a commit that the branch does not hold", func(t *testing.T) {
		held = false
		defer func() { held = true }()
		n := len(s.ingestions)
		a := ask(named)
		refused(t, a, http.StatusUnprocessableEntity, "/data/attributes/commit")
		if !strings.Contains(a.body, "not in the history of branch main of acme/policies") || len(s.ingestions) != n {
			t.Error(a.body)
		}
	})
	for _, c := range []struct {
		name       string
		err        error
		status     int
		retryAfter string
		contains   string
	}{
		{"a refused credential", polset.Fail(polset.ClassAuth, "GitHub refused the token."), 422, "", "GitHub refused the token."},
		{"a rate limit", &polset.Failure{Class: polset.ClassTimeout, Message: "GitHub's rate limit is used up.", Retry: true, RetryAfter: 90*time.Second + 1}, 503, "91", "rate limit is used up. Try again in a while"},
		{"a fault", errors.New("dial tcp 10.0.0.1: refused"), 503, "5", "Try again in a while"},
		{"a deadline", context.DeadlineExceeded, 503, "5", "Try again in a while"},
	} {
		t.Run("GitHub does not tell: "+c.name, func(t *testing.T) {
			fail = c.err
			defer func() { fail = nil }()
			n := len(s.ingestions)
			a := ask(named)
			p := problemsOf(t, a, c.status)[0]
			if !strings.Contains(p.Detail, c.contains) || strings.Contains(a.body, "10.0.0.1") || a.header.Get("Retry-After") != c.retryAfter || len(s.ingestions) != n {
				t.Errorf("%s %v", a.body, a.header)
			}
		})
	}
	t.Run("GitHub does not answer at all", func(t *testing.T) {
		s := newServer(t, func(c *api.Config) { c.HeadTimeout = time.Millisecond })
		set := s.follow("acme", "production")
		s.reachable = func(ctx context.Context, _ polset.Remote, _, _ string) (bool, error) {
			<-ctx.Done()
			return false, ctx.Err()
		}
		problemsOf(t, s.ask(acme, "POST", "/policy-sets/"+set.ID+"/actions/ingest", named), http.StatusServiceUnavailable)
	})
	for _, c := range []struct {
		name, body string
		status     int
		pointer    string
	}{
		{"an empty commit", `{"data":{"attributes":{"commit":""}}}`, 422, "/data/attributes/commit"},
		{"half a commit", `{"data":{"attributes":{"commit":"0123456"}}}`, 422, "/data/attributes/commit"},
		{"a branch", `{"data":{"attributes":{"commit":"main"}}}`, 422, "/data/attributes/commit"},
		{"a number", `{"data":{"attributes":{"commit":7}}}`, 422, "/data/attributes/commit"},
		{"another type", `{"data":{"type":"policy-sets"}}`, 409, "/data/type"},
		{"no type", `{"data":{"type":null}}`, 422, "/data/type"},
		{"no data", `{}`, 422, "/data"},
		{"no JSON", `commit`, 400, ""},
		{"too much", `{"data":"` + strings.Repeat("x", 1<<20) + `"}`, 413, ""},
	} {
		t.Run("refused: "+c.name, func(t *testing.T) { refused(t, ask(c.body), c.status, c.pointer) })
	}

	t.Run("the default branch", func(t *testing.T) {
		s.sets[0].VCS.Branch = ""
		defer func() { s.sets[0].VCS.Branch = "main" }()
		if a := ask(named); a.status != http.StatusAccepted || asked[0] != "acme/policies main 0123 ghp_secret0" {
			t.Errorf("%d %s %v", a.status, a.body, asked)
		}
		s.facts = func(context.Context, polset.Remote) (polset.RepositoryFacts, error) {
			return polset.RepositoryFacts{}, errors.New("gone fishing")
		}
		problemsOf(t, ask(named), http.StatusServiceUnavailable)
		if len(asked) != 0 {
			t.Errorf("asked for a branch without a name: %v", asked)
		}
		s.facts = func(context.Context, polset.Remote) (polset.RepositoryFacts, error) {
			return polset.RepositoryFacts{}, nil
		}
		problemsOf(t, ask(named), http.StatusUnprocessableEntity)
		if len(asked) != 0 {
			t.Errorf("asked for a branch without a name: %v", asked)
		}
	})
	t.Run("through the App", func(t *testing.T) {
		set := s.followByApp("acme", "by-app")
		path = "/policy-sets/" + set.ID + "/actions/ingest"
		s.sets[1].VCS.Branch = "main"
		if a := ask(named); a.status != http.StatusAccepted || asked[0] != "acme/policies main 0123 42" {
			t.Errorf("%d %s %v", a.status, a.body, asked)
		}
		s.installations[0].SuspendedAt = epoch
		if p := problemsOf(t, ask(named), http.StatusConflict)[0]; !strings.Contains(p.Detail, "suspended") {
			t.Error(p)
		}
		s.installations[0].Organizations = nil
		for _, token := range []string{acme, admin} {
			if p := problemsOf(t, s.ask(token, "POST", path, named), http.StatusConflict)[0]; !strings.Contains(p.Detail, "may not use its credential") {
				t.Error(p)
			}
		}
	})
	t.Run("nothing to read", func(t *testing.T) {
		path = "/policy-sets/" + set.ID + "/actions/ingest"
		s.sets[0].VCS.TokenID = ""
		for _, body := range []string{"", named} {
			if p := problemsOf(t, ask(body), http.StatusConflict)[0]; !strings.Contains(p.Detail, "was deleted") {
				t.Error(p)
			}
		}
		s.sets[0].VCS = nil
		for _, body := range []string{"", named} {
			if p := problemsOf(t, ask(body), http.StatusConflict)[0]; !strings.Contains(p.Detail, "follows no repository") {
				t.Error(p)
			}
		}
	})
}

func TestRotateWebhookSecret(t *testing.T) {
	s := newServer(t)
	set, byApp := s.follow("acme", "production"), s.followByApp("acme", "by-app")
	path := "/policy-sets/" + set.ID + "/actions/rotate-webhook-secret"
	a := s.ask(acme, "POST", path, "")
	if a.status != http.StatusOK || !strings.Contains(a.body, `"webhook-secret":"rotated-1"`) || !strings.Contains(a.body, `"webhook-status":"pending"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, read := range []string{"/policy-sets/" + set.ID, sets} {
		if a := s.ask(acme, "GET", read, ""); a.status != http.StatusOK || strings.Contains(a.body, "webhook-secret") || strings.Contains(a.body, "rotated-") {
			t.Errorf("%s: %d %s", read, a.status, a.body)
		}
	}
	for _, entry := range s.logs.All() {
		for _, field := range entry.Context {
			if strings.Contains(field.String, "rotated-") {
				t.Errorf("logged: %s", field.String)
			}
		}
	}
	if p := problemsOf(t, s.ask(acme, "POST", "/policy-sets/"+byApp.ID+"/actions/rotate-webhook-secret", ""), http.StatusConflict)[0]; !strings.Contains(p.Detail, "through the GitHub App") {
		t.Error(p)
	}
	s.sets[0].VCS = nil
	problemsOf(t, s.ask(acme, "POST", path, ""), http.StatusConflict)
	if s.rotations != 1 {
		t.Errorf("%d rotations", s.rotations)
	}
}
