package web_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/labstack/echo/v4"

	"github.com/polset/polset"
	"github.com/polset/polset/githubapp"
	"github.com/polset/polset/internal/polsettest/hub"
	"github.com/polset/polset/store"
	"github.com/polset/polset/web"
	"github.com/polset/polset/webhook"
)

// persons is GitHub's client as this room knows it.
type persons struct{ *githubapp.Client }

func (p persons) Authorize(ctx context.Context, app polset.App, code string) (web.Person, error) {
	person, err := p.Client.Authorize(ctx, app, code)
	return web.Person(person), err
}

// A world is the pages with the real rows and the real client of a GitHub, and
// the hook that hears of what happens there.
type world struct {
	github *hub.GitHub
	store  *store.Store
	url    string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	key, err := store.ParseKey(store.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{URL: filepath.Join(t.TempDir(), "polset.db"), Key: key, Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	gh := hub.New(t, hub.Config{})
	client, err := githubapp.New(githubapp.Config{Apps: s, HTTPURL: gh.URL(), APIURL: gh.APIURL()})
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	pages, err := web.New(web.Config{
		Links: s, Uses: s, Apps: s, Organizations: s, Places: client, GitHub: persons{client},
		PublicURL: server.URL, GitHubURL: gh.URL(), StateKey: key.Derive("setup state"),
	})
	if err != nil {
		t.Fatal(err)
	}
	pages.Register(e)
	receiver, err := webhook.New(webhook.Config{Recorder: s, Lifecycle: s, HTTPURLs: []string{gh.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	receiver.Register(e)
	return &world{github: gh, store: s, url: server.URL}
}

// A chrome is a real browser, and what it complained of.
type chrome struct {
	ctx context.Context
	t   *testing.T

	mu       sync.Mutex
	problems []string // what its console said
	requests []string
	referers []string
}

func newChrome(t *testing.T) *chrome {
	t.Helper()
	profile := t.TempDir()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(profile), chromedp.WindowSize(1000, 1200),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Env("HOME="+profile))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop) // waits for the browser's end
	ctx, end := chromedp.NewContext(ctx)
	t.Cleanup(end)
	c := &chrome{ctx: ctx, t: t}
	err := chromedp.Listen(ctx, c.hear)
	if err != nil {
		t.Fatalf("start Chromium (Debian's package chromium): %v", err)
	}
	return c
}

func (c *chrome) hear(event any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		c.problems = append(c.problems, e.Entry.Text+" "+e.Entry.URL)
	case *network.EventRequestWillBeSent:
		c.requests = append(c.requests, e.Request.URL)
		for name, value := range e.Request.Headers {
			if strings.EqualFold(name, "referer") {
				c.referers = append(c.referers, fmt.Sprint(value))
			}
		}
	}
}

// do runs steps and says where the browser stood when one of them failed.
func (c *chrome) do(steps ...chromedp.Action[chromedp.Void]) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		at, _ := chromedp.Run(c.ctx, chromedp.Location())
		html, _ := chromedp.Run(c.ctx, chromedp.OuterHTML(chromedp.CSS("html")))
		c.t.Fatalf("%v at %s: %s", err, at, html)
	}
}

// reads returns the text of an element once it is there.
func (c *chrome) reads(selector string) string {
	c.t.Helper()
	text, err := chromedp.Run(c.ctx, chromedp.Text(chromedp.CSS(selector)))
	if err != nil {
		c.t.Fatalf("read %s: %v", selector, err)
	}
	return text
}

// arrives waits for a page with the heading.
func (c *chrome) arrives(heading string) {
	c.t.Helper()
	c.do(chromedp.WaitVisible(fmt.Sprintf("//h1[.=%q]", heading)))
}

// quiet checks that no page offended its own policy, loaded anything from
// elsewhere, or told GitHub where it came from.
func (c *chrome) quiet(places ...string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.problems {
		if !strings.Contains(p, "favicon.ico") {
			c.t.Errorf("the console says %s", p)
		}
	}
	if len(c.requests) == 0 {
		c.t.Error("no request was seen")
	}
	for _, r := range c.requests {
		known := strings.HasPrefix(r, "data:")
		for _, place := range places {
			known = known || strings.HasPrefix(r, place)
		}
		if !known {
			c.t.Errorf("the browser asked for %s", r)
		}
	}
	for _, r := range c.referers {
		if strings.Contains(r, "/setup/") {
			c.t.Errorf("a referer tells %s", r)
		}
	}
}

// TestBrowserWalk goes from the printed link to a bound installation, in a
// real browser, with the real rows, GitHub's client and GitHub's part played by
// the stand-in.
func TestBrowserWalk(t *testing.T) {
	w := newWorld(t)
	octocat := w.github.User("octocat")
	acme := w.github.Organization("acme", octocat)
	w.github.Repository("acme/policies")
	if _, err := w.store.CreateOrganization(t.Context(), polset.System, polset.Organization{Name: "platform", Email: "platform@acme.example"}); err != nil {
		t.Fatal(err)
	}
	token, err := w.store.FirstSetupLink(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}

	c := newChrome(t)
	c.do(chromedp.Navigate(w.url + "/setup/github?token=" + token.Reveal()))
	c.arrives("Connect polset to GitHub")
	if at, err := chromedp.Run(c.ctx, chromedp.Location()); err != nil || at != w.url+"/setup/github" {
		t.Errorf("the address is %s, %v", at, err)
	}
	c.do(
		chromedp.SendKeys(chromedp.CSS("#owner"), "acme"),
		chromedp.SetValue(chromedp.CSS("#name"), "polset of acme"),
		chromedp.SetValue(chromedp.CSS("#organization"), "platform"),
		chromedp.Click(chromedp.CSS("#continue")),
	)
	c.arrives("Create the App on GitHub")
	if table := c.reads("table"); !strings.Contains(table, "checks") || !strings.Contains(table, "write") {
		t.Errorf("the permissions are %s", table)
	}
	c.do(chromedp.Click(chromedp.CSS("#create-on-github")))
	c.do(chromedp.Click(chromedp.CSS("#create"))) // on GitHub's page

	// polset saves the App and sends the person on to its installation page,
	// whose answer comes before the event does.
	c.do(chromedp.WaitVisible(chromedp.CSS("#install")))
	app, err := w.store.App(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	made := w.github.Apps()[0]
	if app.ID != made.ID || app.PrivateKey.Reveal() != made.PEM || app.WebhookSecret.Reveal() != made.WebhookSecret || app.Owner != "acme" {
		t.Errorf("the App is %+v", app)
	}
	w.github.HoldDeliveries(true)
	c.do(
		chromedp.Click(chromedp.CSS(`input[name=account][value=acme]`)),
		chromedp.Click(chromedp.CSS("#install")),
	)
	c.arrives("Waiting for GitHub")
	w.github.HoldDeliveries(false)
	c.arrives("Let platform use the installation?") // by itself
	if question := c.reads("main"); !strings.Contains(question, "the organization platform of polset use the installation on acme (Organization, all repositories)?") ||
		c.reads("#login") != "octocat" {
		t.Errorf("the question is %s", question)
	}
	list, _, err := w.store.Installations(t.Context(), polset.System, polset.InstallationFilter{}, polset.Page{Number: 1, Size: 10})
	if err != nil || len(list) != 1 || len(list[0].Organizations) != 0 {
		t.Errorf("before the answer the installations are %+v, %v", list, err)
	}
	c.do(chromedp.Click(chromedp.CSS("#confirm")))
	c.arrives("polset is connected")
	id := c.reads("#installation")
	c.quiet(w.url, w.github.URL())

	installation, err := w.store.Installation(t.Context(), polset.System, id)
	if err != nil {
		t.Fatal(err)
	}
	if installation.ExternalID != made.Installation(acme).ID() || installation.Account != "acme" || installation.InstallerID != octocat.ID() ||
		len(installation.Organizations) != 1 || installation.Organizations[0] != "platform" {
		t.Errorf("the installation is %+v", installation)
	}
	if _, err := w.store.SetupLink(t.Context(), token); err == nil {
		t.Error("the link still works")
	}
}
