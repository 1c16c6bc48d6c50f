package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/web"
)

func htmlUnescape(s string) string { return html.UnescapeString(s) }

// begun is a browser that has opened the link.
func (s *site) begun(token string) *browser {
	s.t.Helper()
	b := s.browser()
	if to := b.get("/setup/github?token=" + token).sends("/setup/github"); to.String() != "/setup/github" {
		s.t.Errorf("sent to %s", to)
	}
	return b
}

// described fills in the form and returns the page that posts to GitHub.
func (b *browser) described(owner, name, organization string) view {
	b.site.t.Helper()
	form := b.get("/setup/github").says(200, "Connect polset to GitHub").holds("form")
	return b.post("/setup/github", url.Values{"form": {form}, "owner": {owner}, "name": {name}, "organization": {organization}})
}

// confirmed answers the question, and returns where that led.
func (b *browser) confirmed() view {
	b.site.t.Helper()
	form := b.get(web.PathBind).says(200, "close this page").holds("form")
	if len(b.site.rows.bound) != 0 {
		b.site.t.Error("bound without an answer")
	}
	b.post(web.PathBind, url.Values{"form": {form}}).sends(web.PathBind)
	return b.get(web.PathBind)
}

func stateOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	state := u.Query().Get("state")
	if state == "" || len(state) > 512 {
		t.Fatalf("state %q in %s", state, address)
	}
	return state
}

func back(path string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return path + "?" + q.Encode()
}

func TestWholeWay(t *testing.T) {
	s := open(t)
	b := s.begun(appToken)
	page := b.described("acme-corp", "polset acme", "acme").says(200, "Create the App on GitHub", "contents", "to fetch policies", "push", "/webhooks/github", "acme-corp")
	if csp := page.header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' https://github.example;") {
		t.Errorf("the form cannot post to GitHub: %s", csp)
	}
	var manifest struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal([]byte(page.holds("manifest")), &manifest); err != nil || manifest.Name != "polset acme" {
		t.Errorf("manifest %+v, %v", manifest, err)
	}
	action := page.holds("action")
	if !strings.HasPrefix(action, "https://github.example/organizations/acme-corp/settings/apps/new?state=") {
		t.Errorf("action %s", action)
	}

	install := b.get(back(web.PathCreated, "code", appCode, "state", stateOf(t, action))).
		sends("https://github.example/apps/polset-acme/installations/new?state=")
	if s.rows.app == nil || s.rows.app.PrivateKey.Reveal() != "PEM-secret" {
		t.Errorf("saved %+v", s.rows.app)
	}

	// The page shows the rest of the way to somebody who comes back too.
	again := b.get("/setup/github").says(200, "Install the App", "polset acme", "acme")
	stateOf(t, again.holds("install"))
	b.get(back(web.PathCreated, "code", appCode, "state", stateOf(t, action))).sends("/setup/github")

	b.get(back(web.PathInstalled, "code", personCode, "installation_id", "51", "setup_action", "install", "state", stateOf(t, install.String()))).
		sends("/setup/github/bind")
	b.get(web.PathBind).says(200, "Let the organization <strong>acme</strong> of polset use the installation on <strong>acme</strong> (Organization, selected repositories)?", "octocat", "github.example")
	b.confirmed().says(200, "polset is connected", "ghain-0000000000000001", "acme")
	b.get(web.PathBind).says(200, "polset is connected")   // once more, from the browser's own cookie
	b.post(web.PathBind, url.Values{}).sends(web.PathBind) // answered twice
	if len(s.rows.bound) != 1 || s.rows.bound[0].ExternalID != 51 || s.rows.by[0] != "octocat" {
		t.Errorf("bound %+v by %v", s.rows.bound, s.rows.by)
	}
	b.get("/setup/github").says(403, "no set-up link")
	if diff := cmp.Diff([]polset.Principal{polset.System}, s.rows.asked); diff != "" {
		t.Error(diff)
	}
}

func TestLinks(t *testing.T) {
	t.Run("unknown, expired or used", func(t *testing.T) {
		s := open(t)
		b := s.browser()
		for _, token := range []string{"", "x", "polset_setup_unknown", "a b", "a\nb", "a;b", strings.Repeat("a", 300), "\u202e"} {
			v := b.get("/setup/github?token="+url.QueryEscape(token)).says(403, "does not work", "polset github setup")
			if v.header.Get("Set-Cookie") != "" {
				t.Errorf("%q was kept", token)
			}
		}
		for _, path := range []string{"/setup/github", back(web.PathCreated, "code", appCode, "state", "x"), back(web.PathInstalled, "code", personCode, "installation_id", "51", "state", "x"), web.PathBind} {
			b.get(path).says(403)
		}
		b.post("/setup/github", url.Values{}).says(403)
		b.post(web.PathBind, url.Values{}).says(403)
	})

	t.Run("that ends on the way", func(t *testing.T) {
		s := open(t)
		b := s.begun(appToken)
		form := b.get("/setup/github").holds("form")
		state := stateOf(t, b.described("", "polset", "").holds("action"))
		s.rows.set(func(r *rows) { delete(r.links, appToken) })
		b.get("/setup/github").says(403, "does not work")
		b.post("/setup/github", url.Values{"form": {form}, "name": {"polset"}}).says(403, "does not work")
		b.get(back(web.PathCreated, "code", appCode, "state", state)).says(403, "does not work")
		if s.hub.used[appCode] {
			t.Error("the code was used for a link that is of no use")
		}
	})

	t.Run("cookie", func(t *testing.T) {
		for _, secure := range []bool{false, true} {
			s := open(t, func(c *web.Config) {
				if secure {
					c.PublicURL = "https://polset.example/base/"
				}
			})
			v := s.browser().get("/setup/github?token=" + appToken)
			want := "^polset_setup=" + appToken + "~[A-Z2-7]{26}; Path=/setup; HttpOnly; SameSite=Lax$"
			location := "/setup/github"
			if secure {
				want, location = "^polset_setup="+appToken+"~[A-Z2-7]{26}; Path=/base/setup; HttpOnly; Secure; SameSite=Lax$", "/base/setup/github"
			}
			if got := v.header.Values("Set-Cookie")[0]; !regexp.MustCompile(want).MatchString(got) || v.header.Get("Location") != location {
				t.Errorf("cookie %q, location %q", got, v.header.Get("Location"))
			}
		}
	})

	t.Run("an App already", func(t *testing.T) {
		s := withApp(open(t))
		b := s.begun(appToken)
		b.get("/setup/github").says(409, "polset acme", "already", "polset github setup")
	})

	t.Run("other methods", func(t *testing.T) {
		s := open(t)
		for path, allow := range map[string]string{"/setup/github": "GET, POST", web.PathCreated: "GET", web.PathInstalled: "GET", web.PathBind: "GET, POST", "/setup/style.css": "GET"} {
			for _, method := range []string{"PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"} {
				if v := s.browser().send(method, path, nil); v.code != 405 || v.header.Get("Allow") != allow {
					t.Errorf("%s %s: %d, allow %q", method, path, v.code, v.header.Get("Allow"))
				}
			}
		}
	})

	t.Run("stylesheet", func(t *testing.T) {
		s := open(t)
		b := s.begun(appToken)
		page := b.get("/setup/github")
		_, rest, _ := strings.Cut(page.html, `<link rel="stylesheet" href="`)
		href, _, _ := strings.Cut(rest, `"`)
		v := b.get(href).says(200, "prefers-color-scheme")
		if !strings.HasPrefix(v.header.Get("Content-Type"), "text/css") || !strings.Contains(v.header.Get("Cache-Control"), "max-age") {
			t.Errorf("headers %v", v.header)
		}
		if v := b.get("/setup/style.css?v=old"); v.header.Get("Cache-Control") != "no-store" {
			t.Errorf("another version may be kept: %v", v.header)
		}
	})

	t.Run("database down", func(t *testing.T) {
		s := open(t)
		b := s.begun(appToken)
		s.rows.set(func(r *rows) { r.err = errors.New("dial tcp 10.1.2.3:5432: connection refused") })
		v := b.get("/setup/github").says(503, "Reload this page")
		if strings.Contains(v.html, "10.1.2.3") {
			t.Error("the page shows internals")
		}
		last := s.logs.All()[s.logs.Len()-1]
		if text, _ := last.ContextMap()["error"].(string); !strings.Contains(text, "connection refused") {
			t.Errorf("the log does not say why: %v", last.ContextMap())
		}
	})
}

func TestCreated(t *testing.T) {
	begin := func(t *testing.T) (*site, *browser, string) {
		s := open(t)
		b := s.begun(appToken)
		return s, b, stateOf(t, b.described("acme", "polset", "acme").holds("action"))
	}
	come := func(b *browser, code, state string) view {
		return b.get(back(web.PathCreated, "code", code, "state", state))
	}

	t.Run("forged state", func(t *testing.T) {
		s, b, state := begin(t)
		other := open(t, func(c *web.Config) { c.StateKey = []byte("another key of thirty-two bytes!") })
		foreign := stateOf(t, other.begun(appToken).described("", "polset", "").holds("action"))
		s.rows.links["polset_setup_mallory"] = polset.SetupLink{ID: "setup-9", Purpose: polset.SetupApp}
		mallory := stateOf(t, s.begun("polset_setup_mallory").described("", "polset", "").holds("action"))
		form := b.get("/setup/github").holds("form")
		for name, forged := range map[string]string{"none": "", "junk": "x.y", "changed": "A" + state[1:], "another key": foreign, "another link's": mallory, "a form's": form} {
			t.Run(name, func(t *testing.T) { come(b, appCode, forged).says(403, "not where this browser left") })
		}
		if s.hub.used[appCode] || s.rows.app != nil {
			t.Error("a forged state was followed")
		}
		s.wait(time.Hour)
		come(b, appCode, state).says(403, "longer than an hour")
		s.browser().get(back(web.PathCreated, "code", appCode, "state", state)).says(403, "no set-up link")
	})

	t.Run("codes", func(t *testing.T) {
		s, b, state := begin(t)
		for _, code := range []string{"", "a/../b", "a b", "a\x00", strings.Repeat("a", 300)} {
			come(b, code, state).says(400, "no code", "Begin again")
		}
		come(b, "unknowncode", state).says(400, "does not know this code", "delete it on github.example")
		if s.rows.app != nil {
			t.Error("an App was saved")
		}
		come(b, appCode, state).sends("https://github.example/apps/")
	})

	t.Run("GitHub down", func(t *testing.T) {
		s, b, state := begin(t)
		s.hub.err = &polset.Failure{Class: polset.ClassTimeout, Message: "github.example did not answer in time.", Retry: true, Err: errors.New("dial 10.1.2.3")}
		v := come(b, appCode, state).says(502, "github.example did not answer in time.", "Reload this page")
		if strings.Contains(v.html, "10.1.2.3") {
			t.Error("the page shows internals")
		}
		s.hub.err = nil
		come(b, appCode, state).sends("https://github.example/apps/") // the reload
	})

	t.Run("an App that polset cannot use", func(t *testing.T) {
		s, b, state := begin(t)
		s.hub.err = polset.Fail(polset.ClassAuth, "The new GitHub App lacks the permission checks: write.")
		v := come(b, appCode, state).says(502, "lacks the permission checks", "Delete the App on github.example", "new link", "polset github setup")
		if strings.Contains(v.html, "Reload") {
			t.Error("the page advises to do the same again")
		}
	})

	t.Run("not saved", func(t *testing.T) {
		for name, test := range map[string]struct {
			err  error
			code int
			says string
		}{
			"there is one":    {polset.ErrConflict, 409, "There is a GitHub App already"},
			"the link is old": {polset.ErrUnauthorized, 403, "does not work"},
			"database down":   {errors.New("dial tcp 10.1.2.3"), 503, "could not store"},
		} {
			t.Run(name, func(t *testing.T) {
				s, b, state := begin(t)
				s.rows.set(func(r *rows) { r.saveErr = test.err })
				v := come(b, appCode, state).says(test.code, test.says, "Delete the App “polset acme” on github.example")
				if strings.Contains(v.html, "10.1.2.3") || v.header.Get("Set-Cookie") != "" {
					t.Errorf("page %s, headers %v", v.html, v.header)
				}
			})
		}
	})

	t.Run("somebody who leaves does not stop it", func(t *testing.T) {
		s, b, state := begin(t)
		entered, left := make(chan struct{}), make(chan struct{})
		s.hub.waiting = func(context.Context) {
			close(entered)
			<-left
		}
		ctx, leave := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+back(web.PathCreated, "code", appCode, "state", state), nil)
		if err != nil {
			t.Fatal(err)
		}
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			if res, err := b.Do(req); err == nil {
				_ = res.Body.Close()
				t.Error("answered")
			}
		}()
		<-entered
		leave()
		<-gone
		close(left)
		s.Close() // waits for the handler
		if s.rows.app == nil {
			t.Error("the App's keys are lost")
		}
	})

	t.Run("nowhere to install", func(t *testing.T) {
		s, b, state := begin(t)
		s.hub.noPlace = true
		come(b, appCode, state).sends("/setup/github")
		b.get("/setup/github").says(409, "does not know where")
	})
}

func TestLog(t *testing.T) {
	s, b := open(t), (*browser)(nil)
	b = s.begun(appToken)
	b.described("acme", "polset", "acme")
	entries := s.logs.All()
	if len(entries) != 3 {
		t.Fatalf("%d lines for 3 requests", len(entries))
	}
	for i, want := range []map[string]any{{"step": "begin", "status": int64(303), "link": "setup-1"}, {"step": "begin", "status": int64(200)}, {"step": "describe", "owner": "acme"}} {
		for name, value := range want {
			if got := entries[i].ContextMap()[name]; got != value {
				t.Errorf("line %d: %s is %v", i, name, got)
			}
		}
	}
}

func TestConfig(t *testing.T) {
	r, h := &rows{}, &exchange{}
	good := web.Config{Links: r, Uses: r, Apps: r, Organizations: r, Places: h, GitHub: h, PublicURL: "https://polset.example", StateKey: make([]byte, 32)}
	if _, err := web.New(good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*web.Config){
		"Links":         func(c *web.Config) { c.Links = nil },
		"Uses":          func(c *web.Config) { c.Uses = nil },
		"Apps":          func(c *web.Config) { c.Apps = nil },
		"Organizations": func(c *web.Config) { c.Organizations = nil },
		"Places":        func(c *web.Config) { c.Places = nil },
		"GitHub is":     func(c *web.Config) { c.GitHub = nil },
		"StateKey":      func(c *web.Config) { c.StateKey = make([]byte, 31) },
		"PublicURL":     func(c *web.Config) { c.PublicURL = "polset.example" },
		"GitHubURL":     func(c *web.Config) { c.GitHubURL = "ftp://github.com" },
	} {
		c := good
		change(&c)
		if _, err := web.New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
