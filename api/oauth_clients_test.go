package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	tfe "github.com/hashicorp/go-tfe"

	"github.com/polset/polset"
)

var (
	_ = probe("PATCH /oauth-clients/:oauth_client",
		`{"data":{"type":"oauth-clients","attributes":{"name":"renamed","oauth-token-string":"ghp_y"},"relationships":{"projects":{"data":[{"type":"projects","id":"{project}"}]}}}}`)
	_ = probe("POST /oauth-clients/:oauth_client/relationships/projects", `{"data":[{"type":"projects","id":"{project}"}]}`)
	_ = probe("DELETE /oauth-clients/:oauth_client/relationships/projects", `{"data":[{"type":"projects","id":"{project}"}]}`)
	_ = probe("PATCH /oauth-tokens/:oauth_token", `{"data":{"type":"oauth-tokens","attributes":{}}}`)
)

// TestOAuthClients uses every call of the official client.
func TestOAuthClients(t *testing.T) {
	w := newWorld(t)
	w.users = map[string]string{"ghp_one": "octocat", "ghp_two": "hubot", "ghp_odd": "no login\n"}
	c, ctx := w.client(w.acme), t.Context()
	e := w.estate("acme")
	project := e.thing("project")
	made, err := c.OAuthClients.Create(ctx, "acme", tfe.OAuthClientCreateOptions{
		Name: tfe.String("github"), APIURL: tfe.String("https://api.github.com"), HTTPURL: tfe.String("https://github.com"), Key: tfe.String("Iv1.key"),
		OAuthToken: tfe.String("ghp_one"), ServiceProvider: tfe.ServiceProvider(tfe.ServiceProviderGithub),
		OrganizationScoped: tfe.Bool(false), Projects: []*tfe.Project{{ID: project}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(made.OAuthTokens) != 1 || *made.OrganizationScoped || len(made.Projects) != 1 || made.Projects[0].ID != project || made.Key != "Iv1.key" {
		t.Errorf("made %+v", made)
	}
	token := func() *tfe.OAuthToken {
		t.Helper()
		token, err := c.OAuthTokens.Read(ctx, made.OAuthTokens[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	if k := token(); k.ServiceProviderUser != "octocat" || k.HasSSHKey || k.OAuthClient == nil || k.OAuthClient.ID != made.ID || k.CreatedAt.IsZero() {
		t.Errorf("token %+v", k)
	}

	t.Run("lists", func(t *testing.T) {
		for range 21 { // more than a page
			e.create("/organizations/{organization}/oauth-clients", gitHubClient)
		}
		all, err := c.OAuthClients.List(ctx, "acme", &tfe.OAuthClientListOptions{Include: []tfe.OAuthClientIncludeOpt{tfe.OauthClientOauthTokens, tfe.OauthClientProjects}})
		if err != nil || len(all.Items) != 22 || all.TotalCount != 22 {
			t.Fatalf("%d clients, %v", len(all.Items), err)
		}
		for _, item := range all.Items {
			if item.ID == made.ID && (item.OAuthTokens[0].ServiceProviderUser != "octocat" || item.Projects[0].Name == "") {
				t.Errorf("nothing is included: %+v %+v", item.OAuthTokens[0], item.Projects[0])
			}
		}
		page, err := c.OAuthClients.List(ctx, "acme", &tfe.OAuthClientListOptions{ListOptions: tfe.ListOptions{PageNumber: 2, PageSize: 20}})
		if err != nil || len(page.Items) != 2 || page.CurrentPage != 2 {
			t.Errorf("%d clients, %v", len(page.Items), err)
		}
		tokens, err := c.OAuthTokens.List(ctx, "acme", nil)
		if err != nil || len(tokens.Items) != 20 || tokens.TotalCount != 22 {
			t.Errorf("%d tokens, %v", len(tokens.Items), err)
		}
		if a := w.ask(w.acme, "GET", "/oauth-clients/"+made.ID+"/oauth-tokens", ""); a.status != http.StatusOK || !strings.Contains(a.body, made.OAuthTokens[0].ID) {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := w.ask(w.acme, "GET", "/oauth-clients/"+made.ID+"/oauth-tokens?page%5Bnumber%5D=2", ""); !strings.Contains(a.body, `"data":[]`) {
			t.Error(a.body)
		}
	})
	t.Run("changes", func(t *testing.T) {
		now, err := c.OAuthClients.Update(ctx, made.ID, tfe.OAuthClientUpdateOptions{Name: tfe.String("renamed"), OrganizationScoped: tfe.Bool(true)})
		if err != nil || *now.Name != "renamed" || !*now.OrganizationScoped || now.Key != "Iv1.key" || token().ServiceProviderUser != "octocat" {
			t.Errorf("%+v, %v", now, err)
		}
		if _, err := c.OAuthClients.Update(ctx, made.ID, tfe.OAuthClientUpdateOptions{OAuthToken: tfe.String("ghp_two")}); err != nil || token().ServiceProviderUser != "hubot" {
			t.Errorf("another token is %+v's, %v", token(), err)
		}
		remote, err := w.store.Remote(ctx, polset.System, made.OAuthTokens[0].ID, "acme/policies")
		if err != nil || remote.Token.Reveal() != "ghp_two" {
			t.Errorf("the token was not replaced: %v", err)
		}
		for _, nobodys := range []string{"ghp_unknown", "ghp_odd"} {
			if _, err := c.OAuthClients.Update(ctx, made.ID, tfe.OAuthClientUpdateOptions{OAuthToken: tfe.String(nobodys)}); err != nil || token().ServiceProviderUser != "" {
				t.Errorf("%s is %q's, %v", nobodys, token().ServiceProviderUser, err)
			}
		}
		a := w.ask(w.acme, "PATCH", "/oauth-clients/"+made.ID, `{"data":{"type":"oauth-clients","attributes":{"name":null,"key":null,"oauth-token-string":null,"http-url":"https://evil.example"}}}`)
		if a.status != http.StatusOK || !strings.Contains(a.body, `"name":null`) || !strings.Contains(a.body, `"key":null`) || strings.Contains(a.body, "evil.example") {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("projects", func(t *testing.T) {
		other := e.create("/organizations/{organization}/projects", `{"data":{"type":"projects","attributes":{"name":"other"}}}`)
		if err := c.OAuthClients.AddProjects(ctx, made.ID, tfe.OAuthClientAddProjectsOptions{Projects: []*tfe.Project{{ID: other}, {ID: project}}}); err != nil {
			t.Error(err)
		}
		if now, err := c.OAuthClients.Read(ctx, made.ID); err != nil || len(now.Projects) != 2 {
			t.Errorf("%+v, %v", now, err)
		}
		for range 2 { // the second time there is nothing to take away
			if err := c.OAuthClients.RemoveProjects(ctx, made.ID, tfe.OAuthClientRemoveProjectsOptions{Projects: []*tfe.Project{{ID: project}}}); err != nil {
				t.Error(err)
			}
		}
		if now, err := c.OAuthClients.Read(ctx, made.ID); err != nil || len(now.Projects) != 1 || now.Projects[0].ID != other {
			t.Errorf("%+v, %v", now, err)
		}
	})
	t.Run("what cannot be", func(t *testing.T) {
		client := "/oauth-clients/" + made.ID
		const create = "/organizations/acme/oauth-clients"
		attributes := func(text string) string { return `{"data":{"type":"oauth-clients","attributes":{` + text + `}}}` }
		const whole = `"service-provider":"github","http-url":"https://github.com","api-url":"https://api.github.com"`
		for _, x := range []struct {
			method, path, body string
			status             int
			pointer            string
		}{
			{"POST", create, attributes(whole), 422, "/data/attributes/oauth-token-string"},
			{"POST", create, attributes(whole + `,"oauth-token-string":null`), 422, "/data/attributes/oauth-token-string"},
			{"POST", create, attributes(whole + `,"key":"` + strings.Repeat("k", 129) + `","oauth-token-string":"x"`), 422, "/data/attributes/key"},
			{"POST", create, fmt.Sprintf(`{"data":{"type":"oauth-clients","attributes":{%s,"oauth-token-string":"x"},"relationships":{"projects":{"data":[{"type":"projects","id":"prj-none"}]}}}}`, whole), 422, "/data/relationships/projects/data/0"},
			{"POST", create, fmt.Sprintf(`{"data":{"type":"oauth-clients","attributes":{%s,"oauth-token-string":"x"},"relationships":{"projects":{"data":[{"type":"teams","id":"x"}]}}}}`, whole), 409, "/data/relationships/projects/data/0/type"},
			{"PATCH", client, attributes(`"oauth-token-string":""`), 422, "/data/attributes/oauth-token-string"},
			{"PATCH", client, attributes(`"oauth-token-string":"two words"`), 422, "/data/attributes/oauth-token-string"},
			{"PATCH", client, attributes(`"name":"` + strings.Repeat("n", 129) + `"`), 422, "/data/attributes/name"},
			{"PATCH", client, `{"data":{"type":"oauth-clients","relationships":{"projects":{"data":7}}}}`, 422, "/data/relationships/projects/data"},
			{"PATCH", client, `{"data":{"type":"oauth-clients","relationships":{"projects":{}}}}`, 422, "/data/relationships/projects"},
			{"PATCH", client, `{"data":{"type":"oauth-clients","relationships":{"projects":{"data":null}}}}`, 422, "/data/relationships/projects/data"},
			{"POST", client + "/relationships/projects", `{"data":[{"type":"projects","id":"prj-none"}]}`, 422, "/data/0/id"},
			{"PATCH", "/oauth-tokens/" + made.OAuthTokens[0].ID, `{"data":{"type":"oauth-tokens","attributes":{"ssh-key":"-----BEGIN"}}}`, 422, "/data/attributes/ssh-key"},
		} {
			refused(t, w.ask(w.acme, x.method, x.path, x.body), x.status, x.pointer)
		}
		if _, err := c.OAuthTokens.Update(ctx, made.OAuthTokens[0].ID, tfe.OAuthTokenUpdateOptions{}); err != nil {
			t.Errorf("a change of nothing: %v", err)
		}
	})
	t.Run("no answer and no log holds a token", func(t *testing.T) {
		for _, entry := range w.logs.All() {
			if text := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(text, "ghp_") {
				t.Error(text)
			}
		}
	})
	t.Run("the token takes the client with it", func(t *testing.T) {
		if err := c.OAuthTokens.Delete(ctx, made.OAuthTokens[0].ID); err != nil {
			t.Error(err)
		}
		if _, err := c.OAuthClients.Read(ctx, made.ID); !errors.Is(err, tfe.ErrResourceNotFound) {
			t.Error(err)
		}
		if err := c.OAuthTokens.Delete(ctx, made.OAuthTokens[0].ID); !errors.Is(err, tfe.ErrResourceNotFound) {
			t.Error(err)
		}
	})
}
