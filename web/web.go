// Package web turns a person with a set-up link into a GitHub App that polset
// may use, and into its installation for an organization: plain HTML, without
// a script.
package web

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"github.com/polset/polset"
)

// The routes. Created and Installed are where GitHub sends people back to.
const (
	PathSetup     = "/setup/github"
	PathCreated   = "/setup/github/created"
	PathInstalled = "/setup/github/installed"
	PathBind      = "/setup/github/bind"
	pathStyle     = "/setup/style.css"
)

// Links knows what a set-up link is for.
type Links interface {
	// SetupLink returns the link of a token, or polset.ErrUnauthorized where it
	// is unknown, expired or used.
	SetupLink(ctx context.Context, token polset.Secret) (polset.SetupLink, error)
	// ChooseOrganization says for which organization the App is created. It
	// answers polset.ErrNotFound where the link may not name it.
	ChooseOrganization(ctx context.Context, token polset.Secret, name string) error
}

// Uses are what a link can be used up for, and what a person is shown before.
// SaveApp and BindByLink are one transaction each and answer
// polset.ErrUnauthorized for a link that is of no use any more.
type Uses interface {
	// SaveApp stores the App and returns the token of a link that installs it.
	// It answers polset.ErrConflict where there is an App already.
	SaveApp(ctx context.Context, token polset.Secret, app polset.App) (install polset.Secret, err error)
	// Installations returns a page of those that exist, and the count of all.
	Installations(ctx context.Context, by polset.Principal, filter polset.InstallationFilter, page polset.Page) ([]polset.Installation, int, error)
	// BindByLink lets the link's organization use an installation, by GitHub's
	// number, that the person has made. It answers polset.ErrNotFound where
	// polset has not heard of the installation, and polset.ErrConflict where it
	// has not heard who made it, or that somebody else did.
	BindByLink(ctx context.Context, token polset.Secret, installation, userID int64, login string) (polset.Installation, error)
}

// Apps knows the GitHub App.
type Apps interface {
	// App answers polset.ErrNotFound where there is none.
	App(ctx context.Context) (polset.App, error)
}

// Organizations lists them.
type Organizations interface {
	// Organizations returns a page in the order of the names, and the count of all.
	Organizations(ctx context.Context, by polset.Principal, page polset.Page) ([]polset.Organization, int, error)
}

// Places knows where on GitHub a person goes on.
type Places interface {
	// Manifest describes the App: the form field manifest of a POST to
	// NewAppURL. Only a public one can be installed on accounts other than its
	// owner's.
	Manifest(publicURL, name string, public bool) ([]byte, error)
	// NewAppURL is for an organization of GitHub's, or "" for the person's own
	// account.
	NewAppURL(organization string) string
	// InstallURL is "" where it is not known.
	InstallURL(app polset.App, state string) string
}

// GitHub takes the codes that a person brings back. Both methods answer
// polset.ErrUnauthorized for a code that GitHub does not accept; the messages
// of a *polset.Failure are shown to the person.
type GitHub interface {
	ConvertManifest(ctx context.Context, code string) (polset.App, error)
	Authorize(ctx context.Context, app polset.App, code string) (Person, error)
}

// A Person is somebody who authorized the App.
type Person struct {
	ID            int64
	Login         string
	Installations []int64 // the numbers of those that the person can reach
}

// Config is what New needs. The interfaces, PublicURL and StateKey are
// required; the zero value of everything else is useful.
type Config struct {
	Links         Links
	Uses          Uses
	Apps          Apps
	Organizations Organizations
	Places        Places
	GitHub        GitHub

	// PublicURL is how people and GitHub reach polset, such as
	// https://polset.example.com. Cookies are for https only where it is https.
	PublicURL string
	// GitHubURL is where the App is created. Empty: https://github.com.
	GitHubURL string
	// StateKey signs what a person carries to GitHub and back: 32 bytes, the
	// same on every node.
	StateKey []byte
	// Timeout bounds what is asked of GitHub and of the rows for one page.
	// Zero: 30 seconds.
	Timeout time.Duration
	Logger  *zap.Logger      // nil: silent
	Now     func() time.Time // nil: time.Now
}

// A Web serves the pages. It is safe for concurrent use.
type Web struct {
	Config
	prefix string // of the paths as the browser sees them
	secure bool   // the browser comes by https
	origin string // GitHub's
	host   string // GitHub's, as people know it

	pages        map[string]*template.Template
	stylesheet   []byte
	styleVersion string
}

const defaultGitHubURL = "https://github.com"

// New returns a Web, or an error that names what the configuration lacks.
func New(c Config) (*Web, error) {
	for _, part := range []struct {
		name    string
		missing bool
	}{
		{"Links", c.Links == nil},
		{"Uses", c.Uses == nil},
		{"Apps", c.Apps == nil},
		{"Organizations", c.Organizations == nil},
		{"Places", c.Places == nil},
		{"GitHub", c.GitHub == nil},
	} {
		if part.missing {
			return nil, fmt.Errorf("web configuration: %s is required", part.name)
		}
	}
	if len(c.StateKey) != 32 {
		return nil, fmt.Errorf("web configuration: StateKey is %d bytes, want 32", len(c.StateKey))
	}
	c.StateKey = append([]byte(nil), c.StateKey...)
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	public, err := httpURL(c.PublicURL)
	if err != nil {
		return nil, errors.New("web configuration: PublicURL must be an absolute http or https URL")
	}
	if c.GitHubURL == "" {
		c.GitHubURL = defaultGitHubURL
	}
	github, err := httpURL(c.GitHubURL)
	if err != nil {
		return nil, errors.New("web configuration: GitHubURL must be an absolute http or https URL")
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	w := &Web{
		Config: c,
		prefix: public.EscapedPath(),
		secure: public.Scheme == "https",
		origin: github.Scheme + "://" + github.Host,
		host:   github.Host,
	}
	if err := w.parse(); err != nil {
		return nil, err
	}
	return w, nil
}

func httpURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return nil, errors.New("not an absolute http or https URL")
	}
	return u, nil
}

// Register adds the routes. Methods that they do not have are answered 405
// here, so that no catch-all route gets to see them.
func (w *Web) Register(e *echo.Echo) {
	routes := []struct {
		method, path, step string
		do                 func(*visit) error
	}{
		{http.MethodGet, PathSetup, "begin", w.begin},
		{http.MethodPost, PathSetup, "describe", w.describe},
		{http.MethodGet, PathCreated, "created", w.created},
		{http.MethodGet, PathInstalled, "installed", w.installed},
		{http.MethodGet, PathBind, "confirm", w.confirm},
		{http.MethodPost, PathBind, "bind", w.bind},
		{http.MethodGet, pathStyle, "style", w.style},
	}
	allowed := map[string][]string{}
	for _, r := range routes {
		e.Add(r.method, r.path, w.serve(r.step, r.do))
		allowed[r.path] = append(allowed[r.path], r.method)
	}
	for path, methods := range allowed {
		e.Match(without(methods), path, w.serve("method", func(v *visit) error {
			v.response.Header().Set("Allow", strings.Join(methods, ", "))
			return trouble(http.StatusMethodNotAllowed, "This page cannot be asked for in that way", "Open the set-up link in a browser.")
		}))
	}
}

// without returns the methods that are not among those given.
func without(methods []string) []string {
	var others []string
	for _, m := range []string{
		http.MethodConnect, http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions,
		http.MethodPatch, http.MethodPost, http.MethodPut, http.MethodTrace,
	} {
		known := false
		for _, have := range methods {
			known = known || have == m
		}
		if !known {
			others = append(others, m)
		}
	}
	return others
}
