package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
	"github.com/polset/polset/archive"
	"github.com/polset/polset/githubapp"
	"github.com/polset/polset/ingest"
	"github.com/polset/polset/ingest/source"
	"github.com/polset/polset/policy/worker"
	"github.com/polset/polset/store"
	"github.com/polset/polset/store/object"
	"github.com/polset/polset/store/queue"
	"github.com/polset/polset/webhook"
)

// How long the parts of a graceful stop may take. Work that is interrupted
// gives its lease back and goes on at the next start.
const (
	drainTimeout = 10 * time.Second
	stopTimeout  = 15 * time.Second
)

type serveCommand struct {
	config `embed:""`
}

// Run serves until the context ends.
func (s *serveCommand) Run(ctx context.Context) error {
	if err := s.check(); err != nil {
		return err
	}
	logger, err := s.logger()
	if err != nil {
		return err
	}
	defer func() { _ = logger.Sync() }() // standard error cannot always be synced

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.Listen, err)
	}
	if s.PublicURL == "" {
		s.completePublicURL(listener.Addr())
		logger.Info("POLSET_PUBLIC_URL is not set: webhook and download links begin with the listen address", zap.String("url", s.PublicURL))
	}
	if s.Conformance {
		logger.Warn("POLSET_CONFORMANCE is set: site admins find endpoints that only go-tfe's own tests need; unset it in production")
	}
	n, err := newNode(ctx, s.config, logger)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	err = n.serve(ctx, listener)
	return errors.Join(err, n.close())
}

// A node is one running polset: every room, wired.
type node struct {
	config
	log    *zap.Logger
	store  *store.Store
	github *githubapp.Client
	git    *source.Git
	pool   *worker.Pool
	worker *ingest.Worker
	upload *ingest.Uploader
	loops  []loop
	face   *api.API
	echo   *echo.Echo
	tls    *tls.Config
}

// newNode opens and connects everything, but starts nothing.
func newNode(ctx context.Context, c config, log *zap.Logger) (_ *node, err error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	n := &node{config: c, log: log}
	if n.tls, err = tlsConfig(c.TLSCert, c.TLSKey); err != nil {
		return nil, err
	}
	var key store.Key
	if n.store, key, err = c.openStore(ctx, log, store.Config{Exclusive: true, Registerer: registry}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	bucket, err := c.openObjects(ctx, c.DataDir, log)
	if err != nil {
		return nil, err
	}
	if n.github, err = c.newGitHub(c.apps(n.store), c.network, log, registry); err != nil {
		return nil, err
	}
	if n.git, err = c.newSource(n, log, registry); err != nil {
		return nil, err
	}
	if n.pool, err = c.newPool(log, registry); err != nil {
		return nil, err
	}
	if n.worker, err = c.newWorker(n, bucket, log, registry); err != nil {
		return nil, err
	}
	if n.upload, err = ingest.NewUploader(ingest.UploaderConfig{Worker: n.worker, Uploads: n.store, AtOnce: c.Uploads}); err != nil {
		return nil, err
	}
	if err := c.addLoops(n, bucket, log, registry); err != nil {
		return nil, err
	}
	n.echo = newEcho(log, registry)
	registerHealth(n.echo, registry, log,
		dependency{"database", n.store.Ping}, dependency{"objects", bucket.Check})
	if err := c.registerWebhooks(n, log, registry); err != nil {
		return nil, err
	}
	bundles, err := c.newBundles(bucket, log)
	if err != nil {
		return nil, err
	}
	var limiter api.RateLimiter // nil: no limit
	if c.RateLimit > 0 {
		limiter = api.NewLimiter(c.RateLimit, time.Now)
	}
	face, err := api.New(api.Config{
		Organizations: n.store, Projects: n.store, Workspaces: n.store, Configurations: n.store, Runs: n.store, Checks: n.store, ToolVersions: n.store, Connections: n.store, PolicySets: n.store, Policies: n.store, Parameters: n.store, Related: n.store, Versions: n.store,
		Tokens: n.store, TokenRecords: n.store, OAuthClients: n.store, Audit: n.store, Heads: n.git, Objects: bucket,
		Apps: c.apps(n.store), Installations: n.store, Repositories: n.github, Actions: n.store, SetupLinks: n.store,
		Uploads: n.store, Uploader: n.upload, MaxArchiveBytes: c.MaxArchiveBytes, SpoolDir: c.spool(),
		VersionsInForce: n.store, Bundles: bundles,
		PublicURL: c.PublicURL, LinkKey: key.Derive("object links"),
		BootstrapToken: polset.NewSecret(c.BootstrapToken), Conformance: c.Conformance,
		GitHubURL: c.GitHubURL, GitHubAPIURL: c.GitHubAPIURL,
		RateLimiter: limiter, Logger: log.Named("api"), Registerer: registry,
	})
	if err != nil {
		return nil, err
	}
	n.face = face
	face.Register(n.echo)
	return n, c.registerPages(n, key, log)
}

// openStore opens the rows, and with them the key of the secrets at rest.
func (r rows) openStore(ctx context.Context, log *zap.Logger, c store.Config) (*store.Store, store.Key, error) {
	var none store.Key
	if err := r.checkDatabase(); err != nil {
		return nil, none, err
	}
	if err := os.MkdirAll(r.DataDir, 0o700); err != nil {
		return nil, none, fmt.Errorf("make POLSET_DATA_DIR: %w", err)
	}
	text, err := r.key(store.NewKey)
	if err != nil {
		return nil, none, err
	}
	key, err := store.ParseKey(text)
	if err != nil {
		return nil, none, fmt.Errorf("POLSET_ENCRYPTION_KEY: %w", err)
	}
	c.URL, c.Key, c.Logger = r.database(), key, log.Named("store")
	s, err := store.Open(ctx, c)
	if err != nil {
		return nil, none, err
	}
	return s, key, nil
}

func (o objects) openObjects(ctx context.Context, dataDir string, log *zap.Logger) (object.Bucket, error) {
	url, err := o.objectsURL(dataDir)
	if err != nil {
		return nil, err
	}
	return object.Open(ctx, url, object.Config{Logger: log.Named("object")})
}

func (c config) limits() archive.Limits {
	return archive.Limits{Bytes: c.MaxArchiveBytes, Files: c.MaxArchiveFiles, FileBytes: c.MaxFileBytes}
}

func (c config) newSource(n *node, log *zap.Logger, registry prometheus.Registerer) (*source.Git, error) {
	return source.New(source.Config{
		Tokens: n.github, GitHubURL: c.GitHubURL, AllowPrivate: c.AllowPrivate, SubmoduleHosts: c.SubmoduleHosts,
		Limits:         source.Limits{Bytes: c.MaxArchiveBytes, Files: c.MaxArchiveFiles, FileBytes: c.MaxFileBytes},
		ConnectTimeout: c.ConnectTimeout, IdleTimeout: c.IdleTimeout, Timeout: c.FetchTimeout,
		Logger: log.Named("source"), Registerer: registry,
	})
}

// newPool returns the processes that policies are compiled and evaluated in.
func (c config) newPool(log *zap.Logger, registry prometheus.Registerer) (*worker.Pool, error) {
	return worker.New(worker.Config{
		Size: c.PolicyWorkers, Memory: c.WorkerMemory, InspectTimeout: c.ValidateTimeout, CheckTimeout: c.CheckTimeout,
		Logger: log.Named("policy"), Registerer: registry,
	})
}

func (c config) newWorker(n *node, objects ingest.Objects, log *zap.Logger, registry prometheus.Registerer) (*ingest.Worker, error) {
	if err := clearSpool(c.spool()); err != nil {
		return nil, err
	}
	return ingest.New(ingest.Config{
		Ledger: n.store, Versions: n.store, Endings: n.store, Branches: n.store,
		Source: snapshots{n.git}, Objects: objects, Inspector: n.pool,
		Limits: c.limits(), SpoolDir: c.spool(),
		Lease: c.Lease, MaxAttempts: c.MaxAttempts, RetryBase: c.RetryBase,
		FetchTimeout: c.FetchTimeout, ValidateTimeout: c.ValidateTimeout, StoreTimeout: c.StoreTimeout,
		Logger: log.Named("ingest"), Registerer: registry,
	})
}

func (c config) registerWebhooks(n *node, log *zap.Logger, registry prometheus.Registerer) error {
	secrets, err := webhook.ParseSecrets(c.GitHubWebhookSecret)
	if err != nil {
		return fmt.Errorf("POLSET_GITHUB_WEBHOOK_SECRET: %w", err)
	}
	receiver, err := webhook.New(webhook.Config{
		Recorder: n.store, Lifecycle: n.store, Secrets: secrets, HTTPURLs: []string{"https://github.com", c.GitHubURL},
		Logger: log.Named("webhook"), Registerer: registry,
	})
	if err != nil {
		return err
	}
	receiver.Register(n.echo)
	return nil
}

// spool is the directory of what is received or written and not stored yet.
func (c config) spool() string { return filepath.Join(c.DataDir, "spool") }

// clearSpool makes the spool directory, and removes what a crash left in it.
// Nodes do not share a data directory.
func clearSpool(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("clear the spool directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the spool directory: %w", err)
	}
	return nil
}

// snapshots is the source as ingest knows it.
type snapshots struct{ *source.Git }

// Open implements ingest.Source.
func (s snapshots) Open(ctx context.Context, remote polset.Remote, commit, branch string) (ingest.Snapshot, error) {
	snapshot, err := s.Git.Open(ctx, remote, commit, source.OnBranch(branch))
	if err != nil {
		return nil, err // not a typed nil
	}
	return snapshot, nil
}

// serve runs the node until the context ends or the listener fails, and stops
// in the order in which work flows: no new requests, then no new work.
func (n *node) serve(ctx context.Context, listener net.Listener) error {
	scheme := "http"
	if n.tls != nil {
		listener, scheme = tls.NewListener(listener, n.tls), "https"
	}
	jobs := n.store.Queue()
	err := jobs.Start(ctx, n.Workers, func(ctx context.Context, j queue.Job) error {
		return n.worker.Work(ctx, j.Repository, j.Commit)
	})
	if err != nil {
		return errors.Join(fmt.Errorf("start the queue: %w", err), listener.Close())
	}
	looping, stopLooping := context.WithCancel(ctx)
	var looped sync.WaitGroup
	for _, l := range n.loops {
		looped.Go(func() { l(looping) })
	}

	if err := n.offerSetup(ctx); err != nil {
		n.log.Warn("no set-up link; polset github setup makes one", zap.Error(err))
	}
	server := &http.Server{
		Handler:           n.echo,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      5 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          zap.NewStdLog(n.log.Named("http")),
	}
	server.RegisterOnShutdown(n.face.Stop) // agents wait for longer than a stop may take
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Fprintf(os.Stderr, "listening on %s://%s\n", scheme, listener.Addr())

	select {
	case err = <-failed:
		err = fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
		n.log.Info("stopping")
	}
	stopLooping()
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if e := server.Shutdown(draining); e != nil {
		n.log.Warn("requests cut off", zap.Error(e))
		err = errors.Join(err, server.Close())
	}
	n.upload.Close()
	looped.Wait()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if e := jobs.Stop(stopping); e != nil {
		n.log.Warn("queue stopped late", zap.Error(e))
	}
	n.log.Info("stopped")
	return err
}

// close releases what newNode opened.
func (n *node) close() error {
	if n.pool != nil {
		n.pool.Close()
	}
	if n.git != nil {
		n.git.Close()
	}
	if n.github != nil {
		n.github.Close()
	}
	if n.store != nil {
		return n.store.Close()
	}
	return nil
}
