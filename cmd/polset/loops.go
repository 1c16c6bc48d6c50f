package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/githubapp"
	"github.com/polset/polset/ingest"
	"github.com/polset/polset/ingest/source"
)

// A loop is work that a node does by itself until it stops.
type loop func(ctx context.Context)

// newGitHub returns the client of GitHub's REST API. What it dials is guarded
// as git is: an organization names addresses to it as well.
func (k appKeys) newGitHub(apps githubapp.Apps, n network, log *zap.Logger, registry prometheus.Registerer) (*githubapp.Client, error) {
	return githubapp.New(githubapp.Config{
		Apps: apps, HTTPURL: k.GitHubURL, APIURL: k.GitHubAPIURL,
		DialContext: source.DialContext(n.AllowPrivate, n.ConnectTimeout),
		Logger:      log.Named("github"), Registerer: registry,
	})
}

// addLoops makes what a node does by itself: it sweeps up lost work, looks at
// branches, tries pull requests, makes versions of policies that are managed one
// by one, checks runs, and keeps GitHub equal to the rows.
func (c config) addLoops(n *node, objects ingest.Code, log *zap.Logger, registry prometheus.Registerer) error {
	reconciler, err := ingest.NewReconciler(ingest.ReconcilerConfig{
		Looks: n.store, Source: n.git, Interval: c.ReconcileInterval,
		Logger: log.Named("reconcile"), Registerer: registry,
	})
	if err != nil {
		return err
	}
	trier, err := ingest.NewTrier(ingest.TrierConfig{
		Trials: n.store, Source: snapshots{n.git}, Inspector: n.pool, Limits: c.limits(), Lease: c.Lease,
		MaxAttempts: c.MaxAttempts, RetryBase: c.RetryBase,
		FetchTimeout: c.FetchTimeout, ValidateTimeout: c.ValidateTimeout, StoreTimeout: c.StoreTimeout,
		Logger: log.Named("trial"), Registerer: registry,
	})
	if err != nil {
		return err
	}
	materializer, err := ingest.NewMaterializer(ingest.MaterializerConfig{
		Materializations: n.store, Code: objects, Worker: n.worker, Wake: n.store.MaterializationDue(),
		Logger: log.Named("materialize"), Registerer: registry,
	})
	if err != nil {
		return err
	}
	checker, err := c.newChecker(n, objects, log, registry)
	if err != nil {
		return err
	}
	reporter, err := githubapp.NewReporter(githubapp.ReporterConfig{
		Client: n.github, Reports: n.store, Logger: log.Named("report"), Registerer: registry,
	})
	if err != nil {
		return err
	}
	hooks, err := githubapp.NewHookKeeper(githubapp.HookKeeperConfig{
		Client: n.github, Hooks: n.store, PublicURL: c.PublicURL, Logger: log.Named("hooks"), Registerer: registry,
	})
	if err != nil {
		return err
	}
	sweeper, err := githubapp.NewSweeper(githubapp.SweeperConfig{
		Client: n.github, Registry: n.store, Logger: log.Named("sweep"),
	})
	if err != nil {
		return err
	}
	n.loops = []loop{
		n.sweep,
		func(ctx context.Context) { n.resumeLooks(ctx); reconciler.Run(ctx) },
		trier.Run,
		materializer.Run,
		checker.Run,
		reporter.Run,
		hooks.Run,
		sweeper.Run,
		n.recordTokenUse,
	}
	return nil
}

// resumeLooks makes every look due: nobody knows what was pushed before this
// node was started.
func (n *node) resumeLooks(ctx context.Context) {
	if err := n.store.ResumeLooks(ctx); err != nil && ctx.Err() == nil {
		n.log.Warn("branches are looked at when their time comes, not at once", zap.Error(err))
	}
}

// offerSetup prints a link to create the GitHub App, the first time that there
// is neither an App nor a link.
func (n *node) offerSetup(ctx context.Context) error {
	_, err := n.apps(n.store).App(ctx)
	if err == nil {
		return nil
	}
	if !errors.Is(err, polset.ErrNotFound) {
		return err
	}
	token, err := n.store.FirstSetupLink(ctx, firstLinkLife)
	if errors.Is(err, polset.ErrConflict) {
		return nil
	}
	if err != nil {
		return err
	}
	// Not through the log: it is for the person who starts polset, once.
	_, err = fmt.Fprintf(os.Stderr, "set up the GitHub App in a browser, once, within a day: %s%s%s\n",
		n.PublicURL, setupPath, token.Reveal())
	return err
}

// tokenUseInterval is how late it may be known that a token was used.
const tokenUseInterval = 15 * time.Second

// recordTokenUse writes down when tokens were used; what is left at the end is
// written when the store closes.
func (n *node) recordTokenUse(ctx context.Context) {
	tick := time.NewTicker(tokenUseInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := n.store.RecordTokenUse(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("when tokens were used is not recorded yet", zap.Error(err))
		}
	}
}

// sweep looks for unfinished work at start and from then on periodically.
func (n *node) sweep(ctx context.Context) {
	tick := time.NewTicker(n.SweepInterval)
	defer tick.Stop()
	for {
		switch found, err := n.store.Sweep(ctx); {
		case ctx.Err() != nil:
			return
		case err != nil:
			n.log.Warn("sweep", zap.Error(err))
		case found > 0:
			n.log.Info("unfinished work found", zap.Int("ingestions", found))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
