package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

func TestOAuthClientAddresses(t *testing.T) {
	s := newServer(t, func(c *api.Config) { c.GitHubURL = "http://ghe.internal:8080/" })
	ask := func(provider, httpURL, apiURL, token string) answer {
		return s.ask(acme, "POST", "/organizations/acme/oauth-clients", fmt.Sprintf(
			`{"data":{"type":"oauth-clients","attributes":{"name":null,"service-provider":%q,"http-url":%q,"api-url":%q,"oauth-token-string":%q}}}`, provider, httpURL, apiURL, token))
	}
	for _, c := range [][3]string{
		{"github", "https://github.com", "https://api.github.com"},
		{"github", "https://github.com/", "https://api.github.com/"},
		{"github", "http://ghe.internal:8080", "http://ghe.internal:8080/api/v3"},
		{"github_enterprise", "https://ghe.example:8443", "https://ghe.example:8443/api/v3"},
	} {
		if a := ask(c[0], c[1], c[2], "ghp_x"); a.status != http.StatusCreated {
			t.Errorf("%v: %d %s", c, a.status, a.body)
		}
	}
	const enterprise = "github_enterprise"
	for _, c := range []struct{ provider, httpURL, apiURL, token, attribute string }{
		{"gitlab_hosted", "https://gitlab.com", "https://gitlab.com/api", "x", "service-provider"},
		{"", "https://github.com", "https://api.github.com", "x", "service-provider"},
		{"github", "https://ghe.example", "https://ghe.example/api/v3", "x", "http-url"},
		{enterprise, "http://ghe.example", "https://ghe.example/api/v3", "x", "http-url"},
		{enterprise, "http://ghe.internal:8080.evil.example", "https://ghe.example", "x", "http-url"},
		{enterprise, "http://ghe.internal", "https://ghe.example", "x", "http-url"},
		{enterprise, "https://user@ghe.example", "https://ghe.example", "x", "http-url"},
		{enterprise, "https://:pw@ghe.example", "https://ghe.example", "x", "http-url"},
		{enterprise, "https://ghe.example/path", "https://ghe.example", "x", "http-url"},
		{enterprise, "https://ghe.example?", "https://ghe.example", "x", "http-url"},
		{enterprise, "https://", "https://ghe.example", "x", "http-url"},
		{enterprise, "file:///etc", "https://ghe.example", "x", "http-url"},
		{enterprise, "https://ghe.example\\@evil", "https://ghe.example", "x", "http-url"},
		{enterprise, "", "https://ghe.example", "x", "http-url"},
		{enterprise, "https://ghe.example", "http://ghe.example/api", "x", "api-url"},
		{enterprise, "https://ghe.example", "http://ghe.internal:8080@evil.example", "x", "api-url"},
		{enterprise, "https://ghe.example", "https://ghe.example/api#x", "x", "api-url"},
		{"github", "https://github.com", "https://api.github.com", "", "oauth-token-string"},
		{"github", "https://github.com", "https://api.github.com", "a\nb", "oauth-token-string"},
	} {
		t.Run(c.provider+" "+c.httpURL+" "+c.apiURL, func(t *testing.T) {
			refused(t, ask(c.provider, c.httpURL, c.apiURL, c.token), http.StatusUnprocessableEntity, "/data/attributes/"+c.attribute)
		})
	}
}

func TestFollowing(t *testing.T) {
	s := newServer(t)
	token := s.connect("acme").TokenID
	var looks []string
	known := s.facts
	facts, err := known(t.Context(), polset.Remote{Identifier: "acme/policies"})
	if err != nil {
		t.Fatal(err)
	}
	head, fail := polset.Head{Branch: "main", Commit: commit}, error(nil)
	s.head = func(ctx context.Context, remote polset.Remote, branch string) (polset.Head, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("a look without a deadline")
		}
		looks = append(looks, remote.Identifier+"@"+branch+" "+remote.Token.Reveal())
		return head, fail
	}
	create := func(name, vcs string) answer {
		return s.ask(acme, "POST", sets, `{"data":{"type":"policy-sets","attributes":{"name":"`+name+`","vcs-repo":`+vcs+`}}}`)
	}
	repo := `{"identifier":"acme/policies","oauth-token-id":"` + token + `"}`
	if a := create("a", repo); a.status != http.StatusCreated || s.lastDraft.VCS.Head != head || s.lastDraft.VCS.Facts != facts || looks[0] != "acme/policies@ ghp_secret" {
		t.Fatalf("%d %s %v", a.status, a.body, looks)
	}
	for name, outcome := range map[string]struct {
		head polset.Head
		err  error
	}{
		"auth":           {err: polset.Fail(polset.ClassAuth, "no")},
		"timeout":        {err: context.DeadlineExceeded},
		"missing-branch": {head: polset.Head{Branch: "gone"}},
		"odd":            {head: head, err: errors.New("both")},
	} {
		t.Run("a set is made although its head is not seen: "+name, func(t *testing.T) {
			head, fail = outcome.head, outcome.err
			if a := create(name, repo); a.status != http.StatusCreated || s.lastDraft.VCS.Head != (polset.Head{}) {
				t.Errorf("%d %s %+v", a.status, a.body, s.lastDraft.VCS)
			}
		})
	}
	head, fail = polset.Head{Branch: "main", Commit: commit}, nil

	path := "/policy-sets/" + s.sets[0].ID
	patch := func(attributes string) answer {
		looks = nil
		return s.ask(acme, "PATCH", path, `{"data":{"type":"policy-sets","attributes":{`+attributes+`}}}`)
	}
	t.Run("a partial vcs-repo is merged", func(t *testing.T) {
		a := patch(`"vcs-repo":{"branch":"next","ingress-submodules":true,"oauth-token-id":""}`)
		want := polset.VCSDraft{Identifier: "acme/policies", Branch: "next", Submodules: true, TokenID: token, Head: head, Facts: facts}
		if a.status != http.StatusOK || *s.lastChange.VCS != want || len(looks) != 1 {
			t.Errorf("%d %s %+v %v", a.status, a.body, s.lastChange.VCS, looks)
		}
		if strings.Contains(a.body, "webhook-secret") {
			t.Error("the secret of a known hook was shown again")
		}
	})
	t.Run("the same vcs-repo needs no look", func(t *testing.T) {
		s.facts = func(context.Context, polset.Remote) (polset.RepositoryFacts, error) {
			t.Error("GitHub was asked")
			return facts, nil
		}
		defer func() { s.facts = known }()
		if a := patch(`"vcs-repo":{"branch":"next"}`); a.status != http.StatusOK || s.lastChange.VCS == nil || len(looks) != 0 {
			t.Errorf("%d %s %+v %v", a.status, a.body, s.lastChange.VCS, looks)
		}
	})
	t.Run("null is the default branch", func(t *testing.T) {
		if a := patch(`"vcs-repo":{"branch":null}`); a.status != http.StatusOK || s.lastChange.VCS.Branch != "" {
			t.Errorf("%d %s %+v", a.status, a.body, s.lastChange.VCS)
		}
	})
	t.Run("another attribute leaves vcs-repo alone", func(t *testing.T) {
		if a := patch(`"global":true`); a.status != http.StatusOK || s.lastChange.VCS != nil || s.lastChange.RemoveVCS || s.lastChange.Name != nil {
			t.Errorf("%d %s %+v", a.status, a.body, s.lastChange)
		}
	})
	t.Run("null stops following", func(t *testing.T) {
		if a := patch(`"vcs-repo":null`); a.status != http.StatusOK || !s.lastChange.RemoveVCS || !strings.Contains(a.body, `"vcs-repo":null`) {
			t.Errorf("%d %s %+v", a.status, a.body, s.lastChange)
		}
	})
	for _, bad := range []string{"policies", "a/b/c", "-a/b", "a/..", "a/b.git", "a b/c", "https://github.com/a/b", "a/" + strings.Repeat("x", 101)} {
		t.Run("identifier "+bad[:min(len(bad), 12)], func(t *testing.T) {
			refused(t, create("x", `{"identifier":"`+bad+`","oauth-token-id":"`+token+`"}`), http.StatusUnprocessableEntity, "/data/attributes/vcs-repo/identifier")
		})
	}
	for _, bad := range []string{"-x", "a..b", "a.lock", "a/.b", "/a", "a/", "a//b", "a b", "a~1", "a^", "a:b", "@", "a@{1}", `a\u202eb`, "a\\u0007", "a.", "a*"} {
		t.Run("branch "+bad, func(t *testing.T) {
			refused(t, create("x", `{"identifier":"a/b","branch":"`+bad+`","oauth-token-id":"`+token+`"}`), http.StatusUnprocessableEntity, "/data/attributes/vcs-repo/branch")
		})
	}
	if a := create("slashes", `{"identifier":"a/b","branch":"feature/über-1.2","oauth-token-id":"`+token+`"}`); a.status != http.StatusCreated {
		t.Errorf("a branch with a slash: %d %s", a.status, a.body)
	}
}
