package hub_test

import (
	"context"
	"encoding/json"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/polset/polset/internal/polsettest/hub"
)

// A browser follows forms, but no redirect to another site.
type browser struct {
	t    *testing.T
	gh   *hub.GitHub
	page string
	at   *url.URL // where a redirect led
	code int
}

func (b *browser) do(method, path string, form url.Values) {
	b.t.Helper()
	request, err := http.NewRequest(method, b.gh.URL()+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	b.page, b.code = string(text), response.StatusCode
	b.at, _ = response.Location()
}

var (
	formAction = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	input      = regexp.MustCompile(`<input[^>]*name="([^"]*)"[^>]*value="([^"]*)"`)
)

// press submits the page's form, with some fields changed.
func (b *browser) press(button string, changes url.Values) {
	b.t.Helper()
	action := formAction.FindStringSubmatch(b.page)
	if action == nil || !strings.Contains(b.page, ">"+button+"<") {
		b.t.Fatalf("there is no button %s: %d %s", button, b.code, b.page)
	}
	form := url.Values{}
	for _, field := range input.FindAllStringSubmatch(b.page, -1) {
		if !form.Has(field[1]) { // the first radio button is the chosen one
			form.Set(field[1], html.UnescapeString(field[2]))
		}
	}
	maps.Copy(form, changes)
	b.do("POST", action[1], form)
}

func ordinaryManifest(w *world) object {
	return object{
		"name": "polset acme", "url": "https://polset.example.com",
		"hook_attributes":     object{"url": w.receiver.URL + "/webhooks/github", "active": true},
		"redirect_url":        "https://polset.example.com/setup/github/created",
		"callback_urls":       []string{"https://polset.example.com/setup/github/installed"},
		"public":              false,
		"default_permissions": object{"contents": "read", "metadata": "read", "pull_requests": "read", "checks": "write"},
		"default_events":      []string{"push", "pull_request", "repository", "installation_target"}, "request_oauth_on_install": true,
	}
}

func form(t *testing.T, manifest object) url.Values {
	t.Helper()
	text, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	return url.Values{"manifest": {string(text)}}
}

// TestManifestFlow walks from the manifest to a person's token.
func TestManifestFlow(t *testing.T) {
	w := newWorld(t)
	b := &browser{t: t, gh: w.GitHub}
	b.do("POST", "/organizations/acme/settings/apps/new?state=abc", form(t, ordinaryManifest(w)))
	b.press("Create GitHub App", nil)
	if b.code != http.StatusFound || b.at.Query().Get("state") != "abc" || !strings.HasPrefix(b.at.String(), "https://polset.example.com/setup/github/created?") {
		t.Fatalf("%d leads to %v", b.code, b.at)
	}
	code := b.at.Query().Get("code")
	anybody, err := github.NewClient(nil).WithEnterpriseURLs(w.APIURL()+"/", w.APIURL()+"/")
	if err != nil {
		t.Fatal(err)
	}
	config, _, err := anybody.Apps.CompleteAppManifest(context.Background(), code)
	if err != nil {
		t.Fatal(err)
	}
	app := w.Apps()[1]
	if config.GetID() != app.ID || config.GetPEM() != app.PEM || config.GetWebhookSecret() != app.WebhookSecret ||
		config.GetClientSecret() != app.ClientSecret || config.GetSlug() != "polset-acme" || config.GetOwner().GetLogin() != "acme" {
		t.Errorf("the conversion is %v", config)
	}
	if _, _, err := anybody.Apps.CompleteAppManifest(context.Background(), code); err == nil {
		t.Error("a code can be converted twice")
	}

	b.do("GET", "/apps/polset-acme/installations/new?state=xyz", nil)
	if strings.Contains(b.page, `value="octocat"`) || !strings.Contains(b.page, `value="acme"`) {
		t.Errorf("an App that is not public can be installed elsewhere: %s", b.page)
	}
	b.press("Install", nil)
	q := b.at.Query()
	installation := app.Installation(w.acme)
	if installation == nil || q.Get("installation_id") != number(installation.ID()) || q.Get("setup_action") != "install" || q.Get("state") != "xyz" {
		t.Fatalf("%d leads to %v", b.code, b.at)
	}
	var created github.InstallationEvent
	if err := json.Unmarshal(w.receiver.last(t).body, &created); err != nil {
		t.Fatal(err)
	}
	if created.GetAction() != "created" || created.GetSender().GetLogin() != "octocat" || created.GetInstallation().GetID() != installation.ID() {
		t.Errorf("the App heard %s", w.receiver.last(t).body)
	}
	redeem := func(client, secret, code string) object {
		t.Helper()
		request, err := http.NewRequest(http.MethodPost, w.URL()+"/login/oauth/access_token", strings.NewReader(url.Values{
			"client_id": {client}, "client_secret": {secret}, "code": {code},
		}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", "application/json")
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		var answer object
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	if a := redeem(app.ClientID, "wrong", q.Get("code")); a["error"] != "incorrect_client_credentials" {
		t.Errorf("a wrong secret is answered %v", a)
	}
	if a := redeem(w.app.ClientID, w.app.ClientSecret, q.Get("code")); a["error"] != "bad_verification_code" {
		t.Errorf("another App's code is answered %v", a)
	}
	a := redeem(app.ClientID, app.ClientSecret, q.Get("code"))
	token, _ := a["access_token"].(string)
	if !strings.HasPrefix(token, "ghu_") {
		t.Fatalf("the answer is %v", a)
	}
	if a := redeem(app.ClientID, app.ClientSecret, q.Get("code")); a["error"] != "bad_verification_code" {
		t.Errorf("a used code is answered %v", a)
	}
	w.ask("GET /user", token, nil).want(t, 200, `"login":"octocat"`)
	// Only the installations of the App that was authorized.
	if a := w.ask("GET /user/installations", token, nil).want(t, 200); a.body["total_count"] != 1.0 {
		t.Errorf("the person has %s", a.text)
	}
	w.ask("GET /user/installations", w.installation.Token(), nil).want(t, 403)
	w.clock.Advance(8 * time.Hour)
	w.ask("GET /user", token, nil).want(t, 401)

	b.do("GET", "/apps/polset-acme/installations/new", nil)
	b.press("Install", nil)
	if got := b.at.Query().Get("setup_action"); got != "update" {
		t.Errorf("installing again is the action %q", got)
	}
}

func TestManifestIsRefused(t *testing.T) {
	w := newWorld(t)
	b := &browser{t: t, gh: w.GitHub}
	for name, test := range map[string]struct {
		change func(object)
		want   string
	}{
		"no url":             {func(m object) { delete(m, "url") }, "url"},
		"no redirect":        {func(m object) { delete(m, "redirect_url") }, "redirect_url"},
		"relative redirect":  {func(m object) { m["redirect_url"] = "/created" }, "redirect_url"},
		"no hook url":        {func(m object) { m["hook_attributes"] = object{"active": true} }, "hook_attributes.url"},
		"long name":          {func(m object) { m["name"] = strings.Repeat("n", 35) }, "name"},
		"unknown field":      {func(m object) { m["webhook_secret"] = "s" }, "webhook_secret: GitHub knows no such field"},
		"unknown permission": {func(m object) { m["default_permissions"] = object{"code": "read"} }, "default_permissions.code"},
		"event without":      {func(m object) { m["default_permissions"] = object{"contents": "read"} }, "pull_request needs the permission pull_requests"},
		"event of all":       {func(m object) { m["default_events"] = []string{"installation"} }, "none that an App can subscribe to"},
		"setup and oauth":    {func(m object) { m["setup_url"] = "https://polset.example.com/s" }, "setup_url"},
		"oauth to nowhere":   {func(m object) { delete(m, "callback_urls") }, "callback_urls"},
		"public by a word":   {func(m object) { m["public"] = "no" }, "public: it is no boolean"},
	} {
		t.Run(name, func(t *testing.T) {
			m := ordinaryManifest(w)
			test.change(m)
			b.do("POST", "/settings/apps/new?state=abc", form(t, m))
			if problems := strings.Join(w.violated(), "\n"); b.code != 422 || !strings.Contains(problems, test.want) {
				t.Errorf("%d and the violations %q", b.code, problems)
			}
		})
	}
	b.do("POST", "/settings/apps/new", form(t, ordinaryManifest(w)))
	first := b.page
	b.press("Create GitHub App", nil)
	b.page = first
	b.press("Create GitHub App", nil)
	if b.code != 422 || !strings.Contains(b.page, "taken by another App") {
		t.Errorf("a taken name is answered %d", b.code)
	}
	w.SignIn(w.User("mallory"))
	b.do("POST", "/organizations/acme/settings/apps/new", form(t, ordinaryManifest(w)))
	if b.code != 404 {
		t.Errorf("a stranger is answered %d", b.code)
	}
	b.do("GET", "/apps/polset/installations/new", nil)
	if b.code != 404 {
		t.Errorf("a stranger is answered %d", b.code)
	}
	w.SignIn(nil)
	b.do("POST", "/settings/apps/new", form(t, ordinaryManifest(w)))
	if b.code != 404 {
		t.Errorf("nobody is answered %d", b.code)
	}
}

// TestSetupURL leads to the setup URL where no person is to be authorized.
func TestSetupURL(t *testing.T) {
	w := newWorld(t)
	w.CreateApp(hub.AppConfig{Name: "second", Public: true, SetupURL: "https://polset.example.com/setup?a=b"})
	b := &browser{t: t, gh: w.GitHub}
	b.do("GET", "/apps/second/installations/new?state=s", nil)
	b.press("Install", url.Values{"account": {"acme"}})
	if q := b.at.Query(); q.Get("a") != "b" || q.Get("state") != "s" || q.Has("code") || !q.Has("installation_id") {
		t.Errorf("it leads to %v", b.at)
	}
}

func TestAuthorize(t *testing.T) {
	w := newWorld(t)
	app := w.CreateApp(hub.AppConfig{Name: "second", CallbackURLs: []string{"https://polset.example.com/cb"}})
	b := &browser{t: t, gh: w.GitHub}
	b.do("GET", "/login/oauth/authorize?client_id="+app.ClientID+"&state=s", nil)
	b.press("Authorize second", nil)
	if b.at == nil || b.at.Query().Get("state") != "s" || b.at.Query().Get("code") == "" {
		t.Errorf("it leads to %v", b.at)
	}
	b.do("GET", "/login/oauth/authorize?client_id="+app.ClientID+"&redirect_uri=https://evil.example.com/", nil)
	if b.code != 404 {
		t.Errorf("a stranger's address is answered %d", b.code)
	}
	if !slices.ContainsFunc(w.Apps(), func(a *hub.App) bool { return a == app }) {
		t.Error("the App is not listed")
	}
}
