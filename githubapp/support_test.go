package githubapp

import (
	"context"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest/hub"
)

// clock is a time that only tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Now().Truncate(time.Second)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// oneApp is a store that holds an App, or none.
type oneApp struct {
	mu    sync.Mutex
	app   polset.App
	none  bool
	asked int
}

func (a *oneApp) App(context.Context) (polset.App, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	if a.none {
		return polset.App{}, polset.ErrNotFound
	}
	return a.app, nil
}

func (a *oneApp) set(app polset.App) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.app, a.none = app, false
}

// world is a GitHub with one installed App, one repository, and a client.
type world struct {
	t      *testing.T
	clock  *clock
	github *hub.GitHub
	acme   *hub.Account
	repo   *hub.Repository
	app    *hub.App
	inst   *hub.Installation
	apps   *oneApp
	client *Client
	logs   *observer.ObservedLogs
	log    *zap.Logger
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: newClock(), apps: &oneApp{}}
	w.github = hub.New(t, hub.Config{Clock: w.clock.now})
	w.acme = w.github.Organization("acme", w.github.User("octocat"))
	w.repo = w.github.Repository("acme/policies")
	w.app = w.github.CreateApp(hub.AppConfig{})
	w.inst = w.app.Install(w.acme)
	w.apps.set(w.app.Credentials())
	core, logs := observer.New(zap.DebugLevel)
	w.logs, w.log = logs, zap.New(core)
	w.client = newClient(t, Config{
		Apps: w.apps, HTTPURL: w.github.URL(), APIURL: w.github.APIURL(), Now: w.clock.now, Logger: w.log,
	})
	t.Cleanup(func() { w.noSecrets() })
	return w
}

func newClient(t *testing.T, c Config) *Client {
	t.Helper()
	client, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// remote is the repository, through the installation.
func (w *world) remote() polset.Remote {
	return polset.Remote{
		HTTPURL: w.github.URL(), Identifier: w.repo.Identifier(), ExternalID: w.repo.ID(), Installation: w.inst.ID(),
	}
}

// connection is the repository, through a token of its own.
func (w *world) connection(scopes ...string) polset.Remote {
	return polset.Remote{
		HTTPURL: w.github.URL(), APIURL: w.github.APIURL(), Identifier: w.repo.Identifier(), ExternalID: w.repo.ID(),
		Token: polset.NewSecret(w.github.PersonalToken(w.github.User("octocat"), scopes...)),
	}
}

// token is one that the client gave out.
func (w *world) token(r polset.Remote) polset.Secret {
	w.t.Helper()
	token, err := w.client.Token(w.t.Context(), r, polset.Secret{})
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// issued is the newest token that GitHub made.
func (w *world) issued() hub.Token {
	w.t.Helper()
	tokens := w.github.Tokens()
	if len(tokens) == 0 {
		w.t.Fatal("GitHub issued no token")
	}
	return tokens[len(tokens)-1]
}

// routes are the routes that were asked for since the last reset, in order.
func (w *world) routes() []string {
	var routes []string
	for _, c := range w.github.Calls() {
		routes = append(routes, c.Route)
	}
	return routes
}

// noSecrets looks for every secret of the world in everything that was logged.
func (w *world) noSecrets() {
	w.t.Helper()
	secrets := []string{w.app.PEM, w.app.ClientSecret, w.app.WebhookSecret, "eyJ"}
	for _, token := range w.github.Tokens() {
		secrets = append(secrets, token.Token)
	}
	for _, entry := range w.logs.All() {
		noneOf(w.t, shown(entry), secrets...)
	}
}

// failureWith expects a failure whose sentence holds each of the parts.
func failureWith(t *testing.T, err error, class polset.Class, retry bool, parts ...string) {
	t.Helper()
	_ = failureIn(t, err, class, retry, parts...)
}

// failureIn is failureWith, for those who want to know more of it.
func failureIn(t *testing.T, err error, class polset.Class, retry bool, parts ...string) *polset.Failure {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	f := polset.FailureOf(err)
	if f.Class != class || f.Retry != retry {
		t.Fatalf("failure is %s (retry %t), want %s (retry %t): %v", f.Class, f.Retry, class, retry, err)
	}
	for _, part := range parts {
		holds(t, f.Message, part)
	}
	return f
}

// answering is a server of one handler, and a client whose GitHub it is.
func answering(t *testing.T, config Config, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	config.HTTPURL, config.APIURL = server.URL, server.URL+"/api/v3"
	return newClient(t, config)
}

// say writes an answer; the client tells what it got.
func say(w io.Writer, s string) { _, _ = io.WriteString(w, s) }

func pool(server *httptest.Server) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(server.Certificate())
	return p
}
