// Package source turns a commit of a git repository into an fs.FS of the files
// below one directory, for kilobytes, whatever the size of the repository.
//
// It speaks git's smart HTTP protocol by itself, version 2 first, and asks the
// server for exactly the trees and blobs that are wanted. Servers that cannot
// do this are served by a chain of fallbacks, each visible in logs, metrics
// and Stats:
//
//	v2-filter  protocol 2 with filters: GitHub
//	v0-filter  protocol 0 with filters, where any object may be asked for
//	depth1     the commit with all its files and no history
//	deepen     the branch, deepened until the commit is found
//
// What comes back is always the commit that was asked for, or an error: never
// another commit, never a full clone, nothing on disk. Everything received is
// taken for hostile: bytes, objects, declared sizes, depth and time are
// bounded, every object is known by the hash of its content, and a missing one
// is an error. Attributes, filters and Git LFS are not applied: the bytes of a
// file are those of its blob.
//
// Failures for people are *polset.Failure. A server that answers 429, 5xx or
// nothing at all is ClassTimeout, worth another attempt; polset.Failure says
// when.
package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Config says how git servers are reached. The zero value is useful.
type Config struct {
	// GitHubURL is dialed where a remote or a submodule says
	// https://github.com. It alone may be plain http, and it may have a path.
	// The default is https://github.com.
	GitHubURL string
	// AllowPrivate are the networks that may be dialed although they are not
	// public. Without it every loopback, private, link-local, shared,
	// multicast, reserved or embedded address is refused, for every host, after
	// its name was resolved. Proxies of the environment are never used: behind
	// one, nobody would know which address is dialed.
	AllowPrivate []netip.Prefix
	// SubmoduleHosts are other hosts (host or host:port, exactly as in the URL)
	// whose repositories may be submodules: by https, without credentials.
	SubmoduleHosts []string
	// Tokens gives out the tokens of the remotes that name an Installation and
	// no Token; nil refuses them. It is asked before the first request of a
	// Head, Heads or Open, and once more where the server answers 401 to what
	// it gave, by Resolve, Changed and Fetch too.
	Tokens Tokens
	// RootCAs are the certificate authorities to trust; nil for the system's.
	RootCAs *x509.CertPool

	Limits Limits

	// ConnectTimeout bounds the making of a connection, and of its TLS; 10 s.
	ConnectTimeout time.Duration
	// IdleTimeout is the time in which a server must send its whole answer, or
	// at least a kibibyte more of it; 30 s.
	IdleTimeout time.Duration
	// Timeout bounds each call of Head, Heads, Open, Resolve, Changed and Fetch; 5 min.
	Timeout time.Duration
	// Remember is how long it is remembered which plan a repository's server
	// knows; 1 h.
	Remember time.Duration

	Logger     *zap.Logger           // nil logs nothing
	Registerer prometheus.Registerer // nil registers no metrics
	UserAgent  string                // polset; GitHub wants "git/" at its front for git requests
}

// Limits bound what one repository may cost. Zero values stand for the
// defaults.
type Limits struct {
	Bytes          int64 // of all files that one Fetch returns; 100 MiB
	Files          int   // files and links that one Fetch returns, and as many directories; 20,000
	FileBytes      int64 // of one file; 10 MiB
	TreeBytes      int64 // of all of git's directory listings in one pack, and of all that one Changed compares; 32 MiB
	PackBytes      int64 // of one pack, as it is received; Bytes + TreeBytes
	Objects        int   // in one pack, where the server cannot send a part of a commit, and what one Changed finds to differ; 200,000
	Depth          int   // of directories; 1,024
	Submodules     int   // in one Fetch, nested ones too; 100
	SubmoduleDepth int   // of submodules in submodules; 10
	Refs           int   // in one answer; 250,000
	History        int   // commits of a branch, where the server gives its tip only; 512
	ErrorBytes     int64 // of an error's body that are read; 64 KiB
}

func (l Limits) withDefaults() Limits {
	def := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	num := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&l.Bytes, 100<<20)
	num(&l.Files, 20_000)
	def(&l.FileBytes, 10<<20)
	def(&l.TreeBytes, 32<<20)
	def(&l.PackBytes, l.Bytes+l.TreeBytes)
	num(&l.Objects, 200_000)
	num(&l.Depth, 1024)
	num(&l.Submodules, 100)
	num(&l.SubmoduleDepth, 10)
	num(&l.Refs, 250_000)
	num(&l.History, 512)
	def(&l.ErrorBytes, 64<<10)
	return l
}

// Git reaches git servers. It is safe for concurrent use and keeps connections
// alive between calls.
type Git struct {
	github  *url.URL // no trailing slash
	hosts   map[string]bool
	tokens  Tokens
	limits  Limits
	client  *http.Client
	idle    time.Duration
	timeout time.Duration
	agent   string
	log     *zap.Logger
	metrics *metrics
	plans   *planMemory
	stats   counter
}

// New returns a Git. An error names the setting that is wrong.
func New(c Config) (*Git, error) {
	if c.GitHubURL == "" {
		c.GitHubURL = publicGitHub
	}
	github, err := parseBase(c.GitHubURL)
	if err != nil {
		return nil, fmt.Errorf("POLSET_GITHUB_URL: %w", err)
	}
	hosts := map[string]bool{}
	for _, h := range c.SubmoduleHosts {
		u, err := url.Parse("https://" + h)
		if err != nil || u.Host != h || u.Hostname() == "" || u.User != nil {
			return nil, fmt.Errorf("POLSET_SUBMODULE_HOSTS: %q is neither host nor host:port", h)
		}
		hosts[originOf(u)] = true
	}
	orDefault := func(d, fallback time.Duration) time.Duration {
		if d <= 0 {
			return fallback
		}
		return d
	}
	connect := orDefault(c.ConnectTimeout, defaultConnect)
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.UserAgent == "" {
		c.UserAgent = "git/2.0 (polset)"
	}
	m, err := newMetrics(c.Registerer)
	if err != nil {
		return nil, fmt.Errorf("register the metrics of fetching: %w", err)
	}
	return &Git{
		github: github,
		hosts:  hosts,
		tokens: c.Tokens,
		limits: c.Limits.withDefaults(),
		client: &http.Client{
			Transport: &http.Transport{
				Proxy:                  nil, // a proxy would dial in the guard's place
				DialContext:            DialContext(c.AllowPrivate, connect),
				TLSClientConfig:        &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12},
				TLSHandshakeTimeout:    connect,
				ForceAttemptHTTP2:      true,
				DisableCompression:     true, // packs are compressed; what is counted is what was sent
				MaxIdleConnsPerHost:    16,
				IdleConnTimeout:        90 * time.Second,
				MaxResponseHeaderBytes: 64 << 10,
			},
			// call judges redirects itself.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		idle:    orDefault(c.IdleTimeout, 30*time.Second),
		timeout: orDefault(c.Timeout, 5*time.Minute),
		agent:   c.UserAgent,
		log:     c.Logger,
		metrics: m,
		plans:   newPlanMemory(orDefault(c.Remember, time.Hour)),
	}, nil
}

// Close closes idle connections.
func (g *Git) Close() { g.client.CloseIdleConnections() }

// Stats is what all calls so far have cost. Its Plan is empty.
func (g *Git) Stats() Stats { return g.stats.stats() }

// Causes of a cancelled context that are not the caller's.
var (
	errStalled  = errors.New("the answer stalled")
	errDeadline = errors.New("the time limit was reached")
	errClosed   = errors.New("the snapshot is closed")
)

// begin bounds one public call, and returns what ends it: done counts the
// call's time and turns what a cancelled context left behind into the caller's
// own error.
func (g *Git) begin(outer context.Context, step string) (context.Context, func(error) error) {
	started := time.Now()
	ctx, cancel := context.WithTimeoutCause(outer, g.timeout, errDeadline)
	return ctx, func(err error) error {
		cancel()
		g.metrics.duration.WithLabelValues(step).Observe(time.Since(started).Seconds())
		if err != nil && errors.Is(outer.Err(), context.Canceled) {
			return fmt.Errorf("%s: %w", step, outer.Err())
		}
		return err
	}
}
