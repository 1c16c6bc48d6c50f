package githubapp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
)

func isNotFound(err error) bool { return errors.Is(err, polset.ErrNotFound) }

func TestManifest(t *testing.T) {
	client := newClient(t, Config{})
	b, err := client.Manifest("https://polset.example.com/base/", "polset", true)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	permissions := map[string]any{}
	for name, level := range polset.AppPermissions() {
		permissions[name] = level
	}
	want := map[string]any{
		"name": "polset", "url": "https://polset.example.com/base", "description": got["description"],
		"hook_attributes":          map[string]any{"url": "https://polset.example.com/base/webhooks/github", "active": true},
		"redirect_url":             "https://polset.example.com/base/setup/github/created",
		"callback_urls":            []any{"https://polset.example.com/base/setup/github/installed"},
		"request_oauth_on_install": true, "public": true,
		"default_events":      []any{"push", "pull_request", "repository", "installation_target"},
		"default_permissions": permissions,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{
		"": "polset", "  ": "polset", strings.Repeat("ü", 40): strings.Repeat("ü", 34), "a b": "a b",
	} {
		b, err := client.Manifest("https://polset.example.com", name, true)
		var m struct{ Name string }
		if err != nil || json.Unmarshal(b, &m) != nil || m.Name != want {
			t.Errorf("%q is named %q (%v), want %q", name, m.Name, err, want)
		}
	}
	if b, err = client.Manifest("https://polset.example.com", "x", false); err != nil {
		t.Fatal(err)
	}
	var private struct{ Public *bool }
	if err := json.Unmarshal(b, &private); err != nil || private.Public == nil || *private.Public {
		t.Errorf("an App that is not public is described by %s (%v)", b, err)
	}
	if _, err := client.Manifest("polset.example.com", "x", true); err == nil {
		t.Error("a public URL without a scheme is accepted")
	}
}

func TestPages(t *testing.T) {
	github := newClient(t, Config{})
	server := newClient(t, Config{HTTPURL: "https://ghe.example.com"})
	for _, test := range []struct{ got, want string }{
		{github.NewAppURL(""), "https://github.com/settings/apps/new"},
		{github.NewAppURL("acme"), "https://github.com/organizations/acme/settings/apps/new"},
		{github.NewAppURL("a/../b"), "https://github.com/organizations/a%2F..%2Fb/settings/apps/new"},
		{server.NewAppURL("acme"), "https://ghe.example.com/organizations/acme/settings/apps/new"},
		{github.InstallURL(polset.App{Slug: "polset"}, "a&b"), "https://github.com/apps/polset/installations/new?state=a%26b"},
		{server.InstallURL(polset.App{Slug: "polset"}, ""), "https://ghe.example.com/github-apps/polset/installations/new"},
		{server.InstallURL(polset.App{Slug: "p", HTMLURL: "https://ghe.example.com/enterprises/x/apps/p"}, "s"), "https://ghe.example.com/enterprises/x/apps/p/installations/new?state=s"},
		{github.InstallURL(polset.App{Slug: "polset", HTMLURL: "https://evil.example.com/apps/polset"}, ""), "https://github.com/apps/polset/installations/new"},
		{github.InstallURL(polset.App{ID: 1}, "s"), ""},
	} {
		if test.got != test.want {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
}

// TestSetUp walks the manifest flow as a browser does, up to who installed it.
func TestSetUp(t *testing.T) {
	w := newWorld(t)
	manifest, err := w.client.Manifest("https://polset.example.com", "polset-acme", true)
	if err != nil {
		t.Fatal(err)
	}
	form := submit(t, w.client.NewAppURL("acme")+"?state=s1", url.Values{"manifest": {string(manifest)}})
	form.values.Set("name", "polset-acme") // a person may change it
	back := form.confirm(t)
	if back.Query().Get("state") != "s1" || back.Path != "/setup/github/created" {
		t.Fatalf("GitHub leads to %s", back)
	}
	code := back.Query().Get("code")
	app, err := w.client.ConvertManifest(t.Context(), code)
	if err != nil {
		t.Fatal(err)
	}
	made := w.github.Apps()[1]
	if diff := cmp.Diff(made.Credentials(), app, cmp.AllowUnexported(polset.Secret{}), ignoreTime()); diff != "" {
		t.Errorf("App (-want +got):\n%s", diff)
	}
	if app.Owner != "acme" || app.HTMLURL == "" || app.CreatedAt.IsZero() {
		t.Errorf("App %+v", app)
	}
	if _, err := w.client.ConvertManifest(t.Context(), code); !errors.Is(err, polset.ErrUnauthorized) {
		t.Errorf("a code twice: %v", err)
	}
	noneOf(t, fmt.Sprint(err), code)

	w.apps.set(app)
	w.client.apps.known = nil
	described, err := w.client.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(app, described, cmp.AllowUnexported(polset.Secret{})); diff != "" {
		t.Errorf("described (-want +got):\n%s", diff)
	}

	page := submit(t, w.client.InstallURL(app, "s2"), nil)
	page.values.Set("account", "acme")
	back = page.confirm(t)
	if back.Path != "/setup/github/installed" {
		t.Fatalf("GitHub leads to %s", back)
	}
	person, err := w.client.Authorize(t.Context(), app, back.Query().Get("code"))
	if err != nil {
		t.Fatal(err)
	}
	want := Person{ID: w.github.User("octocat").ID(), Login: "octocat", Installations: []int64{made.Installation(w.acme).ID()}}
	if diff := cmp.Diff(want, person); diff != "" {
		t.Errorf("person (-want +got):\n%s", diff)
	}
	if _, err := w.client.Authorize(t.Context(), app, "nonsense"); !errors.Is(err, polset.ErrUnauthorized) {
		t.Errorf("a code that GitHub does not know: %v", err)
	}
	wrong := app
	wrong.ClientSecret = polset.NewSecret("wr0ng-s3cret")
	_, err = w.client.Authorize(t.Context(), wrong, "nonsense")
	failureWith(t, err, polset.ClassAuth, false, "incorrect_client_credentials")
	noneOf(t, err.Error(), "wr0ng-s3cret")
	_, err = w.client.Authorize(t.Context(), polset.App{}, "x")
	failureWith(t, err, polset.ClassAuth, false, "client secret")
	for _, entry := range w.logs.All() {
		noneOf(t, shown(entry), made.PEM, made.ClientSecret, made.WebhookSecret, code)
	}
}

func TestAnAppThatLacksSomething(t *testing.T) {
	w := newWorld(t)
	whole := map[string]any{
		"id": 1, "client_id": "Iv1.x", "slug": "s", "owner": map[string]string{"login": "acme"},
		"pem": w.app.PEM, "webhook_secret": "w", "client_secret": "c", "permissions": polset.AppPermissions(),
	}
	less := polset.AppPermissions()
	less["contents"] = "none"
	for name, change := range map[string]map[string]any{
		"number":         {"id": 0},
		"webhook secret": {"webhook_secret": nil},
		"key":            {"pem": "nonsense"},
		"permission":     {"permissions": less},
		"":               {},
	} {
		t.Run("without "+name, func(t *testing.T) {
			client := answering(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
				given := maps.Clone(whole)
				maps.Copy(given, change)
				_ = json.NewEncoder(w).Encode(given) // the client tells
			})
			_, err := client.ConvertManifest(t.Context(), "code")
			if (err == nil) != (name == "") {
				t.Errorf("%v", err)
			}
			noneOf(t, fmt.Sprint(err), w.app.PEM)
		})
	}
}

func TestMissing(t *testing.T) {
	if got := missingPermission(polset.AppPermissions()); got != "" {
		t.Errorf("%q", got)
	}
	more := polset.AppPermissions()
	more["contents"], more["issues"] = "write", "read"
	if got := missingPermission(more); got != "" {
		t.Errorf("%q", got)
	}
	less := polset.AppPermissions()
	less["checks"] = "read"
	if got := missingPermission(less); got != "checks: write" {
		t.Errorf("%q", got)
	}
	if got := missingPermission(nil); got == "" {
		t.Error("nothing is missing of nothing")
	}
}

func TestReachable(t *testing.T) {
	w := newWorld(t)
	first := w.repo.Commit("main", map[string]string{"a": "1"})
	second := w.repo.Commit("main", map[string]string{"a": "2"})
	w.repo.ForcePush("release/1.x", first)
	third := w.repo.Commit("release/1.x", map[string]string{"a": "3"})
	for _, test := range []struct {
		commit, branch string
		want           bool
	}{
		{second, "main", true},
		{first, "main", true},
		{first, "", true},
		{third, "main", false},
		{third, "release/1.x", true},
		{first, "release/1.x", true},
		{second, "release/1.x", false},
		{strings.Repeat("0", 40), "main", false},
		{first, "nothing", false},
	} {
		for name, r := range map[string]polset.Remote{"App": w.remote(), "token": w.connection("repo")} {
			got, err := w.client.Reachable(t.Context(), r, test.commit, test.branch)
			if err != nil || got != test.want {
				t.Errorf("%s: %.8s is reachable from %q: %t (%v), want %t", name, test.commit, test.branch, got, err, test.want)
			}
		}
	}
	w.inst.Delete()
	w.client.tokens = newTokenMemory()
	_, err := w.client.Reachable(t.Context(), w.remote(), first, "main")
	failureWith(t, err, polset.ClassAuth, false)
	hidden := w.connection("repo")
	hidden.Identifier = "acme/hidden"
	_, err = w.client.Reachable(t.Context(), hidden, first, "main")
	failureWith(t, err, polset.ClassAuth, false, "404")
}

func TestRepositoryFacts(t *testing.T) {
	w := newWorld(t)
	w.repo.Commit("main", map[string]string{"a": "1"})
	w.repo.Archive()
	w.repo.Publicize()
	for name, r := range map[string]polset.Remote{
		"App": w.remote(), "token": w.connection("repo"), "anonymous": {HTTPURL: w.github.URL(), Identifier: "acme/policies"},
	} {
		facts, err := w.client.Repository(t.Context(), r)
		want := polset.RepositoryFacts{RepositoryRef: polset.RepositoryRef{ID: w.repo.ID(), Identifier: "acme/policies"}, DefaultBranch: "main", Archived: true}
		if diff := cmp.Diff(want, facts); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// A webForm is a page of GitHub's with one form, as a browser has it.
type webForm struct {
	action string
	values url.Values
}

var (
	formAction = regexp.MustCompile(`<form[^>]*action="([^"]*)"`)
	hidden     = regexp.MustCompile(`<input[^>]*type="?hidden"?[^>]*>`)
	attribute  = regexp.MustCompile(`(name|value)="([^"]*)"`)
)

// submit asks for a page: a POST where there are values.
func submit(t *testing.T, address string, values url.Values) *webForm {
	t.Helper()
	get := func() (*http.Response, error) { return http.Get(address) }
	if values != nil {
		get = func() (*http.Response, error) { return http.PostForm(address, values) }
	}
	response, err := get()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s answers %d, %v: %s", address, response.StatusCode, err, b)
	}
	page := string(b)
	action := formAction.FindStringSubmatch(page)
	if action == nil {
		t.Fatalf("%s has no form: %s", address, page)
	}
	to, err := response.Request.URL.Parse(unescape(action[1]))
	if err != nil {
		t.Fatal(err)
	}
	form := &webForm{action: to.String(), values: url.Values{}}
	for _, input := range hidden.FindAllString(page, -1) {
		var name, value string
		for _, a := range attribute.FindAllStringSubmatch(input, -1) {
			if a[1] == "name" {
				name = a[2]
			} else {
				value = unescape(a[2])
			}
		}
		form.values.Set(name, value)
	}
	return form
}

// confirm presses the button, and returns where GitHub leads to.
func (f *webForm) confirm(t *testing.T) *url.URL {
	t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.PostForm(f.action, f.values)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	to, err := response.Location()
	if err != nil {
		b, _ := io.ReadAll(response.Body)
		t.Fatalf("%s leads nowhere: %d %v %s", f.action, response.StatusCode, err, b)
	}
	return to
}
