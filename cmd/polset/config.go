package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/polset/polset/api"
	"github.com/polset/polset/policy"
	"github.com/polset/polset/policy/worker"
)

// rows is the configuration that every command needs which reads or writes rows.
type rows struct {
	DataDir       string `env:"POLSET_DATA_DIR" default:"./data" placeholder:"DIR" help:"Directory of everything that polset keeps by itself (${default})."`
	DatabaseURL   string `env:"POLSET_DATABASE_URL" placeholder:"URL" help:"postgres://… for several nodes. Default: SQLite in the data directory."`
	EncryptionKey string `env:"POLSET_ENCRYPTION_KEY" placeholder:"KEY" help:"Key of the secrets at rest. Generated into the data directory when absent; required with PostgreSQL."`
	LogLevel      string `env:"POLSET_LOG_LEVEL" enum:"debug,info,warn,error" default:"info" help:"debug, info, warn or error (${default})."`
	LogFormat     string `env:"POLSET_LOG_FORMAT" enum:"auto,json,console" default:"auto" help:"json, console, or auto: console on a terminal."`
}

// objects is the configuration of the object storage.
type objects struct {
	ObjectsURL string `env:"POLSET_OBJECTS_URL" placeholder:"URL" help:"file:///dir or s3://bucket/prefix?region=…&endpoint=…&path-style=true. Default: a directory in the data directory."`
}

// network is how other hosts are reached.
type network struct {
	AllowPrivate   []netip.Prefix `name:"allow-private-networks" env:"POLSET_ALLOW_PRIVATE_NETWORKS" placeholder:"CIDR" help:"Private networks that git and the GitHub API may be dialed in."`
	ConnectTimeout time.Duration  `name:"connect-timeout" env:"POLSET_GIT_CONNECT_TIMEOUT" default:"10s" help:"Limit on connecting to a git server or the GitHub API (${default})."`
}

// config is the configuration of the server.
type config struct {
	rows
	objects

	Listen         string `env:"POLSET_LISTEN" default:"127.0.0.1:8080" placeholder:"ADDR" help:"Address to listen on (${default})."`
	PublicURL      string `env:"POLSET_PUBLIC_URL" placeholder:"URL" help:"URL under which clients and GitHub reach polset. Default: the listen address."`
	BootstrapToken string `env:"POLSET_BOOTSTRAP_TOKEN" placeholder:"TOKEN" help:"A site-admin API token that is accepted while the server runs with it."`
	Conformance    bool   `env:"POLSET_CONFORMANCE" help:"Answer what only go-tfe's own tests need: not for production."`
	TLSCert        string `name:"tls-cert" env:"POLSET_TLS_CERT" placeholder:"FILE" help:"Certificate chain (PEM); reloaded when it changes."`
	TLSKey         string `name:"tls-key" env:"POLSET_TLS_KEY" placeholder:"FILE" help:"Key of the certificate (PEM)."`

	bundleKey

	RateLimit int `env:"POLSET_RATE_LIMIT" default:"30" placeholder:"N" help:"API requests a second for each token (${default}); 0 for no limit."`

	appKeys
	network
	SubmoduleHosts    []string      `env:"POLSET_SUBMODULE_HOSTS" placeholder:"HOST" help:"Other https hosts from which public submodules may come."`
	ReconcileInterval time.Duration `env:"POLSET_RECONCILE_INTERVAL" default:"5m" help:"How often each followed branch is looked at, whatever deliveries say (${default})."`

	Workers         int           `env:"POLSET_WORKERS" default:"16" placeholder:"N" help:"Commits ingested at once (${default})."`
	Uploads         int           `env:"POLSET_UPLOADS" default:"4" placeholder:"N" help:"Uploads worked on at once (${default})."`
	PolicyWorkers   int           `env:"POLSET_POLICY_WORKERS" placeholder:"N" help:"Processes that compile and evaluate policies, at least 2. Default: one for each processor and one more."`
	WorkerMemory    int64         `env:"POLSET_WORKER_MEMORY" default:"1073741824" placeholder:"BYTES" help:"Limit on the memory of each of them (1 GiB)."`
	Checks          int           `env:"POLSET_CHECKS" default:"2" placeholder:"N" help:"Checks of runs evaluated at once (${default})."`
	MaxAttempts     int           `env:"POLSET_MAX_ATTEMPTS" default:"6" placeholder:"N" help:"Attempts at a commit before a passing fault becomes final (${default}); half as many where the git server hangs or sends corrupt data."`
	RetryBase       time.Duration `env:"POLSET_RETRY_BASE" default:"2s" help:"Wait before the second attempt; doubles each time (${default})."`
	SweepInterval   time.Duration `env:"POLSET_SWEEP_INTERVAL" default:"15s" help:"How often unfinished work is looked for in the rows (${default})."`
	Lease           time.Duration `env:"POLSET_LEASE" default:"30s" help:"How long a worker that went silent keeps its work (${default})."`
	IdleTimeout     time.Duration `env:"POLSET_GIT_IDLE_TIMEOUT" default:"20s" help:"Limit on a git server's silence (${default})."`
	FetchTimeout    time.Duration `env:"POLSET_FETCH_TIMEOUT" default:"2m" help:"Limit on each fetch of a commit (${default})."`
	ValidateTimeout time.Duration `env:"POLSET_VALIDATE_TIMEOUT" default:"1m" help:"Limit on compiling the policies (${default})."`
	CheckTimeout    time.Duration `env:"POLSET_CHECK_TIMEOUT" default:"30s" help:"Limit on evaluating each policy set of a run (${default})."`
	StoreTimeout    time.Duration `env:"POLSET_STORE_TIMEOUT" default:"2m" help:"Limit on storing an archive (${default})."`

	MaxArchiveBytes int64 `env:"POLSET_MAX_ARCHIVE_BYTES" default:"104857600" placeholder:"BYTES" help:"Limit on the content of an archive (100 MiB)."`
	MaxArchiveFiles int   `env:"POLSET_MAX_ARCHIVE_FILES" default:"20000" placeholder:"N" help:"Limit on the files of an archive (${default})."`
	MaxFileBytes    int64 `env:"POLSET_MAX_FILE_BYTES" default:"10485760" placeholder:"BYTES" help:"Limit on one file (10 MiB)."`
	MaxPlanBytes    int64 `env:"POLSET_MAX_PLAN_BYTES" default:"33554432" placeholder:"BYTES" help:"Limit on the plan of a run (32 MiB); in memory it takes twenty times as much."`
}

// check completes the configuration and finds what cannot work before
// anything is opened.
func (c *config) check() error {
	if c.PublicURL != "" { // else the listener will tell
		public, err := checkBaseURL("POLSET_PUBLIC_URL", c.PublicURL)
		if err != nil {
			return err
		}
		c.PublicURL = public
	}
	if err := c.checkDatabase(); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("POLSET_LISTEN must be host:port: %w", err)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("POLSET_TLS_CERT and POLSET_TLS_KEY go together")
	}
	if err := c.checkApp(); err != nil {
		return err
	}
	if err := c.checkBundleKey(); err != nil {
		return err
	}
	for name, n := range map[string]int64{
		"POLSET_WORKERS": int64(c.Workers), "POLSET_UPLOADS": int64(c.Uploads), "POLSET_CHECKS": int64(c.Checks), "POLSET_MAX_ATTEMPTS": int64(c.MaxAttempts),
		"POLSET_RETRY_BASE": int64(c.RetryBase), "POLSET_RECONCILE_INTERVAL": int64(c.ReconcileInterval),
		"POLSET_SWEEP_INTERVAL": int64(c.SweepInterval),
		"POLSET_LEASE":          int64(c.Lease), "POLSET_GIT_CONNECT_TIMEOUT": int64(c.ConnectTimeout),
		"POLSET_GIT_IDLE_TIMEOUT": int64(c.IdleTimeout), "POLSET_FETCH_TIMEOUT": int64(c.FetchTimeout),
		"POLSET_VALIDATE_TIMEOUT": int64(c.ValidateTimeout), "POLSET_STORE_TIMEOUT": int64(c.StoreTimeout), "POLSET_CHECK_TIMEOUT": int64(c.CheckTimeout),
		"POLSET_MAX_ARCHIVE_BYTES": c.MaxArchiveBytes, "POLSET_MAX_ARCHIVE_FILES": int64(c.MaxArchiveFiles),
		"POLSET_MAX_FILE_BYTES": c.MaxFileBytes, "POLSET_MAX_PLAN_BYTES": c.MaxPlanBytes,
	} {
		if n <= 0 {
			return fmt.Errorf("%s must be greater than 0", name)
		}
	}
	if c.MaxPlanBytes > policy.MaxPlanBytes {
		return fmt.Errorf("POLSET_MAX_PLAN_BYTES must be at most %d: no engine takes a larger plan", policy.MaxPlanBytes)
	}
	if c.PolicyWorkers != 0 && c.PolicyWorkers < worker.MinSize {
		return fmt.Errorf("POLSET_POLICY_WORKERS must be at least %d: checks leave one to what is pushed", worker.MinSize)
	}
	if c.WorkerMemory < worker.MinMemory {
		return fmt.Errorf("POLSET_WORKER_MEMORY must be at least %d bytes", worker.MinMemory)
	}
	if c.RateLimit != 0 && c.RateLimit < api.MinRateLimit {
		return fmt.Errorf("POLSET_RATE_LIMIT must be 0, for no limit, or at least %d: clients that keep to a part of less make no request at all", api.MinRateLimit)
	}
	if c.Lease < time.Second {
		return errors.New("POLSET_LEASE must be at least 1s")
	}
	return nil
}

// completePublicURL takes the listen address for the public URL where none is
// configured, with the port that the listener has.
func (c *config) completePublicURL(listening net.Addr) {
	scheme := "http"
	if c.TLSCert != "" {
		scheme = "https"
	}
	host, _, _ := net.SplitHostPort(c.Listen) // check has judged it
	_, port, _ := net.SplitHostPort(listening.String())
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1" // all addresses are no address that a client can use
	}
	c.PublicURL = scheme + "://" + net.JoinHostPort(host, port)
}

// checkBaseURL returns a URL that others begin with, without a slash at its end.
func checkBaseURL(name, text string) (string, error) {
	text = strings.TrimRight(text, "/")
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
		return "", fmt.Errorf("%s must be an http or https URL without credentials and query", name)
	}
	return text, nil
}

// postgres reports whether the rows live in PostgreSQL.
func (r rows) postgres() bool {
	return strings.HasPrefix(r.DatabaseURL, "postgres://") || strings.HasPrefix(r.DatabaseURL, "postgresql://")
}

// checkDatabase refuses what would be taken for the name of a SQLite file. The
// URL is not shown: it may hold a password.
func (r rows) checkDatabase() error {
	scheme, _, isURL := strings.Cut(r.DatabaseURL, "://")
	if isURL && !r.postgres() && scheme != "sqlite" {
		return fmt.Errorf("POLSET_DATABASE_URL must begin with postgres:// or be the path of a SQLite file, not begin with %q", scheme+"://")
	}
	return nil
}

// database returns the URL of the rows.
func (r rows) database() string {
	if r.DatabaseURL != "" {
		return r.DatabaseURL
	}
	return filepath.Join(r.DataDir, "polset.db")
}

// objectsURL returns the URL of the object storage.
func (o objects) objectsURL(dataDir string) (string, error) {
	if o.ObjectsURL != "" {
		return o.ObjectsURL, nil
	}
	dir, err := filepath.Abs(filepath.Join(dataDir, "objects"))
	if err != nil {
		return "", fmt.Errorf("find the data directory: %w", err)
	}
	return (&url.URL{Scheme: "file", Path: dir}).String(), nil
}

// logger writes to standard error.
func (r rows) logger() (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(r.LogLevel)
	if err != nil {
		return nil, fmt.Errorf("POLSET_LOG_LEVEL: %w", err)
	}
	encoder := zap.NewProductionEncoderConfig()
	encoder.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoder.EncodeDuration = zapcore.StringDurationEncoder
	c := zap.Config{
		Level: zap.NewAtomicLevelAt(level), Encoding: "json", EncoderConfig: encoder,
		OutputPaths: []string{"stderr"}, ErrorOutputPaths: []string{"stderr"},
		DisableCaller: true, DisableStacktrace: true,
	}
	if r.LogFormat == "console" || r.LogFormat == "auto" && term.IsTerminal(int(os.Stderr.Fd())) {
		c.Encoding = "console"
		c.EncoderConfig.EncodeLevel = zapcore.CapitalColorLevelEncoder
		c.EncoderConfig.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
	}
	return c.Build()
}
