// Package githubapp turns what polset knows into what GitHub shows, and what
// GitHub knows into polset's terms: it mints the App's tokens, asks about
// repositories and installations, and keeps check runs, commit statuses and
// webhooks equal to the rows.
//
// The Client makes single calls. Three loops use it: the Reporter says on a
// commit what became of it, the HookKeeper keeps the webhooks of repositories
// that are followed with a token, and the Sweeper finds installations and
// events that no delivery brought. Each of them makes GitHub equal to a row
// and may be stopped at any line: the next attempt begins by looking, where
// repeating would do something twice.
//
// Failures for people are *polset.Failure. No call sleeps: where GitHub asks
// for patience, for its rate limits above all, the call fails at once with
// Retry and RetryAfter, and so does every other with the same credential until
// the time has come.
package githubapp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/polset/polset"
)

// Apps tells which App polset is.
type Apps interface {
	// App returns the App with its secrets; ErrNotFound says that there is none.
	App(ctx context.Context) (polset.App, error)
}

// Config says how GitHub is reached. The zero value is a client of
// https://github.com without an App.
type Config struct {
	// Apps is asked again at most once a minute, and at once when GitHub
	// refuses the App's key. nil: there is no App.
	Apps Apps
	// HTTPURL is the operator's GitHub as people see it, https://github.com by
	// default, and APIURL its REST API: https://api.github.com, or /api/v3
	// below another HTTPURL. They alone may be plain http. A remote that says
	// https://api.github.com is dialed at APIURL.
	HTTPURL, APIURL string
	// DialContext makes connections. It is the place of the guard against
	// private addresses: a tenant can name any host as that of its token. nil
	// dials every address.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// RootCAs are the certificate authorities to trust; nil for the system's.
	RootCAs *x509.CertPool
	// Timeout bounds one request and its answer; 20 s.
	Timeout time.Duration
	// Now is the clock by which tokens age and limits pass; nil: time.Now.
	Now func() time.Time

	Logger     *zap.Logger           // nil logs nothing
	Registerer prometheus.Registerer // nil registers no metrics
	UserAgent  string                // polset
}

// Client speaks to GitHub's REST API. It is safe for concurrent use.
type Client struct {
	apps    *appMemory
	web     *url.URL // of the operator's GitHub, without a trailing slash
	api     *url.URL // its REST API, likewise
	http    *http.Client
	timeout time.Duration
	now     func() time.Time
	log     *zap.Logger
	agent   string

	tokens    *tokenMemory
	patience  *patience
	mutations *turns
	requests  *prometheus.CounterVec
}

// New returns a client. An error names the setting that is wrong.
func New(c Config) (*Client, error) {
	web, api, err := bases(c.HTTPURL, c.APIURL)
	if err != nil {
		return nil, err
	}
	if c.Timeout <= 0 {
		c.Timeout = 20 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.UserAgent == "" {
		c.UserAgent = "polset"
	}
	if c.DialContext == nil {
		c.DialContext = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	client := &Client{
		apps: &appMemory{apps: c.Apps, now: c.Now},
		web:  web,
		api:  api,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:                  nil, // a proxy would dial in the guard's place
				DialContext:            c.DialContext,
				TLSClientConfig:        &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12},
				TLSHandshakeTimeout:    10 * time.Second,
				ForceAttemptHTTP2:      true,
				MaxIdleConnsPerHost:    16,
				IdleConnTimeout:        90 * time.Second,
				MaxResponseHeaderBytes: 64 << 10,
			},
			// send judges redirects itself.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		timeout:   c.Timeout,
		now:       c.Now,
		log:       c.Logger,
		agent:     c.UserAgent,
		tokens:    newTokenMemory(),
		patience:  newPatience(c.Now),
		mutations: newTurns(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polset_github_requests_total",
			Help: "Requests to GitHub's API by the status of the answer: none where there was no answer, held where a rate limit forbade the request.",
		}, []string{"operation", "code"}),
	}
	if c.Registerer != nil {
		if err := c.Registerer.Register(client.requests); err != nil {
			return nil, fmt.Errorf("register the metrics of GitHub's API: %w", err)
		}
	}
	return client, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }
