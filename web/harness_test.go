package web_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/polset/polset"
	"github.com/polset/polset/web"
)

// A site is a Web behind a real listener.
type site struct {
	*httptest.Server
	t    *testing.T
	rows *rows
	hub  *exchange
	logs *observer.ObservedLogs
	now  time.Time
	mu   sync.Mutex
}

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *site) wait(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func open(t *testing.T, change ...func(*web.Config)) *site {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	s := &site{
		t: t, logs: logs, now: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC),
		rows: &rows{
			links: map[string]polset.SetupLink{
				appToken:    {ID: "setup-1", Purpose: polset.SetupApp},
				secondToken: {ID: "setup-3", Purpose: polset.SetupInstall, OrganizationID: "org-2", Organization: "umbrella"},
			},
			organizations: []string{"acme", "umbrella"},
			installers:    map[int64]int64{51: octocat, 52: 99, 53: 0},
		},
		hub: &exchange{url: "https://github.example", used: map[string]bool{}, person: web.Person{ID: octocat, Login: "octocat", Installations: []int64{51, 52, 53, 54}}},
	}
	e := echo.New()
	s.Server = httptest.NewUnstartedServer(e)
	c := web.Config{
		Links: s.rows, Uses: s.rows, Apps: s.rows, Organizations: s.rows, Places: s.hub, GitHub: s.hub,
		PublicURL: "http://" + s.Listener.Addr().String(), GitHubURL: s.hub.url, StateKey: []byte("0123456789abcdef0123456789abcdef"),
		Logger: zap.New(core), Now: s.clock,
	}
	for _, f := range change {
		f(&c)
	}
	w, err := web.New(c)
	if err != nil {
		t.Fatal(err)
	}
	w.Register(e)
	s.Start()
	t.Cleanup(s.Close)
	t.Cleanup(s.nothingLeaks)
	return s
}

// nothingLeaks holds the log against everything that must not be in it.
func (s *site) nothingLeaks() {
	for _, entry := range s.logs.All() {
		line := fmt.Sprint(entry.Message, entry.ContextMap())
		for _, never := range secrets {
			if strings.Contains(line, never) {
				s.t.Errorf("the log holds %q: %s", never, line)
			}
		}
	}
}

var secrets = []string{appToken, installToken, secondToken, appCode, personCode, "PEM-secret", "hook-secret", "client-secret"}

// withApp is a polset that has its App.
func withApp(s *site) *site {
	s.rows.app = &polset.App{ID: 7, Slug: "polset-acme", Name: "polset acme", ClientSecret: polset.NewSecret("client-secret")}
	return s
}

// A browser keeps cookies and follows nothing by itself.
type browser struct {
	*http.Client
	site *site
}

func (s *site) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &browser{site: s, Client: &http.Client{
		Jar: jar, Transport: s.Client().Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// A view is a page as it arrived.
type view struct {
	code   int
	header http.Header
	html   string
	t      *testing.T
}

func (b *browser) get(path string) view {
	b.site.t.Helper()
	return b.send(http.MethodGet, path, nil)
}

func (b *browser) post(path string, form url.Values) view {
	b.site.t.Helper()
	return b.send(http.MethodPost, path, form)
}

func (b *browser) send(method, path string, form url.Values) view {
	t := b.site.t
	t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(t.Context(), method, b.site.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := b.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	html, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	v := view{code: res.StatusCode, header: res.Header, html: string(html), t: t}
	v.guarded()
	return v
}

// guarded checks what every answer must carry and must not show.
func (v view) guarded() {
	v.t.Helper()
	csp := v.header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "style-src 'self'", "img-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(csp, want) {
			v.t.Errorf("Content-Security-Policy %q lacks %s", csp, want)
		}
	}
	if strings.Contains(csp, "unsafe") {
		v.t.Errorf("Content-Security-Policy %q", csp)
	}
	for name, want := range map[string]string{"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"} {
		if got := v.header.Get(name); got != want {
			v.t.Errorf("%s is %q", name, got)
		}
	}
	if !strings.HasPrefix(v.header.Get("Content-Type"), "text/css") && v.header.Get("Cache-Control") != "no-store" {
		v.t.Errorf("Cache-Control is %q", v.header.Get("Cache-Control"))
	}
	for _, never := range secrets {
		if strings.Contains(v.html, never) || strings.Contains(v.header.Get("Location"), never) {
			v.t.Errorf("the page shows %q", never)
		}
	}
	if strings.HasPrefix(v.header.Get("Content-Type"), "text/html") {
		for _, never := range []string{"<script", "style=\"", "javascript:", " onclick", "ZgotmplZ"} {
			if strings.Contains(v.html, never) {
				v.t.Errorf("the page holds %q: %s", never, v.html)
			}
		}
	}
}

// says checks the status and some words of a page.
func (v view) says(code int, words ...string) view {
	v.t.Helper()
	if v.code != code {
		v.t.Errorf("status %d; want %d: %s", v.code, code, v.html)
	}
	for _, w := range words {
		if !strings.Contains(v.html, w) {
			v.t.Errorf("the page does not say %q: %s", w, v.html)
		}
	}
	return v
}

// sends checks that the browser is sent on, and returns where.
func (v view) sends(prefix string) *url.URL {
	v.t.Helper()
	to := v.header.Get("Location")
	if v.code != http.StatusSeeOther || !strings.HasPrefix(to, prefix) {
		v.t.Fatalf("status %d to %q; want %s: %s", v.code, to, prefix, v.html)
	}
	u, err := url.Parse(to)
	if err != nil {
		v.t.Fatal(err)
	}
	return u
}

var attribute = map[string]*regexp.Regexp{
	"form":     regexp.MustCompile(`name="form" value="([^"]+)"`),
	"manifest": regexp.MustCompile(`name="manifest" value="([^"]+)"`),
	"action":   regexp.MustCompile(`action="([^"]+)"`),
	"install":  regexp.MustCompile(`id="install-on-github" href="([^"]+)"`),
}

// holds returns an attribute of a page.
func (v view) holds(name string) string {
	v.t.Helper()
	m := attribute[name].FindStringSubmatch(v.html)
	if m == nil {
		v.t.Fatalf("the page has no %s: %s", name, v.html)
	}
	return htmlUnescape(m[1])
}
