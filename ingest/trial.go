package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
	"github.com/polset/polset/lease"
	"github.com/polset/polset/policy"
)

// Trials gives out the right to work on dry runs, and takes it back.
type Trials interface {
	// ClaimTrials leases at most n dry runs that are due, at most forks of
	// them for commits of forks. Those come after all others. What was claimed
	// too often without a word of its outcome, it ends as failed: such a dry
	// run may be what takes the server down.
	ClaimTrials(ctx context.Context, n, forks int, ttl time.Duration) ([]polset.Trial, error)
	// RenewTrials extends leases; ErrFenced says that one of them is lost.
	RenewTrials(ctx context.Context, leases []polset.Lease, ttl time.Duration) error
	// SettleTrial records what became of a dry run. Where it is to be tried
	// again, a Reason counts as a failed attempt; without one the attempt was
	// merely cut short, and does not count at all.
	SettleTrial(ctx context.Context, lease polset.Lease, outcome polset.TrialOutcome) error
}

// TrierConfig is what a Trier needs. The interfaces are required; zero values
// of the rest mean the documented defaults.
type TrierConfig struct {
	Trials Trials
	Source Commits

	// Inspector compiles policies; nil does so in this process, within
	// ValidateTimeout.
	Inspector Inspector

	// Limits bound an archive.
	Limits archive.Limits

	// Poll is how often due dry runs are asked for (default 1 s).
	Poll time.Duration
	// Concurrency is how many run at once (default 2). Commits of forks get all
	// but one of these places, so that strangers keep nobody from theirs; where
	// there is one place only, they get it.
	Concurrency int
	// Lease is how long a claim lasts unless renewed (default 30 s). It is
	// renewed every third of it.
	Lease time.Duration
	// MaxAttempts bounds the attempts that end in a passing fault (default 6).
	MaxAttempts int
	// RetryBase is the first wait between attempts; it doubles each time
	// (default 2 s).
	RetryBase time.Duration
	// FetchTimeout, ValidateTimeout and StoreTimeout are the deadlines of the
	// stages (defaults 2 min, 1 min, 2 min).
	FetchTimeout, ValidateTimeout, StoreTimeout time.Duration

	Logger     *zap.Logger
	Registerer prometheus.Registerer
}

// A Trier makes dry runs: it takes the commit of a pull request through the
// stages of an ingestion, compares what it says with what is in force, and
// stores none of it. It is safe for use by many goroutines, and on many nodes.
type Trier struct {
	TrierConfig
	stages
	retries  lease.Retries
	trials   lease.Loop[polset.Trial]
	outcomes *prometheus.CounterVec
	forks    atomic.Int64 // dry runs of commits of forks that are under way
}

// NewTrier returns a trier.
func NewTrier(c TrierConfig) (*Trier, error) {
	if c.Trials == nil || c.Source == nil {
		return nil, errors.New("ingest: Trials and Source are required")
	}
	orDefault(&c.Poll, time.Second)
	orDefault(&c.Concurrency, 2)
	orDefault(&c.Lease, 30*time.Second)
	orDefault(&c.MaxAttempts, 6)
	orDefault(&c.RetryBase, 2*time.Second)
	orDefault(&c.FetchTimeout, 2*time.Minute)
	orDefault(&c.ValidateTimeout, time.Minute)
	orDefault(&c.StoreTimeout, 2*time.Minute)
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	t := &Trier{
		TrierConfig: c,
		stages: stages{
			source: c.Source, inspector: c.Inspector, fetchLimit: c.FetchTimeout, validateLimit: c.ValidateTimeout,
			seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
				Name:    "polset_dry_run_stage_seconds",
				Help:    "Duration of the stages of a dry run.",
				Buckets: stageBuckets(),
			}, []string{"stage"}),
		},
		retries: lease.Retries{Most: c.MaxAttempts, Base: c.RetryBase},
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polset_dry_runs_total",
			Help: "Dry runs by outcome; class is the error class of failed ones.",
		}, []string{"outcome", "class"}),
	}
	t.trials = lease.Loop[polset.Trial]{
		Claim: t.claim, Do: t.work,
		Most: c.Concurrency, Poll: c.Poll, Logger: c.Logger,
	}
	if err := register(c.Registerer, t.outcomes, t.seconds); err != nil {
		return nil, err
	}
	return t, nil
}

// Run makes the dry runs that are due until ctx ends.
func (t *Trier) Run(ctx context.Context) { t.trials.Run(ctx) }

// Round makes the dry runs that are due now, at most Concurrency, and returns
// how many those were. The error is one of the rows.
func (t *Trier) Round(ctx context.Context) (n int, err error) { return t.trials.Round(ctx) }

// claim leases at most n dry runs. It counts those of forks until work is done
// with them.
func (t *Trier) claim(ctx context.Context, n int) ([]polset.Trial, error) {
	forks := max(0, max(1, t.Concurrency-1)-int(t.forks.Load()))
	trials, err := t.Trials.ClaimTrials(ctx, n, min(n, forks), t.Lease)
	for _, trial := range trials {
		if trial.DryRun.Fork {
			t.forks.Add(1)
		}
	}
	return trials, err
}

// work carries one dry run to its outcome, under its lease. It keeps its place
// for as long as a parser goes on, whatever became of the dry run: otherwise
// those that never end would gather.
func (t *Trier) work(ctx context.Context, trial polset.Trial) error {
	if trial.DryRun.Fork {
		defer t.forks.Add(-1)
	}
	start := time.Now()
	leased, _, stop := lease.Renewal{Rows: t.Trials.RenewTrials, TTL: t.Lease, Logger: t.Logger}.Keep(ctx, []polset.Lease{trial.Lease})
	comparison, err := t.try(leased, trial)
	if ended := leftBehind(err); ended != nil {
		defer func() {
			select {
			case <-ended:
			case <-ctx.Done():
			}
		}()
	}
	lost := errors.Is(context.Cause(leased), polset.ErrFenced)
	// From here on a renewal could only disturb the row's last word.
	stop()

	log := t.Logger.With(trialFacts(trial)...)
	var outcome polset.TrialOutcome
	var f *polset.Failure
	if err != nil {
		f = polset.FailureOf(err)
		log = log.With(zap.String("class", string(f.Class)), zap.Error(err))
	}
	switch {
	case lost || errors.Is(err, polset.ErrFenced):
		log.Info("dry run passed to another worker")
		return nil
	case err == nil:
		outcome.Comparison = comparison
	case ctx.Err() != nil:
		outcome.Again = true
		log.Info("dry run interrupted")
	case f.Retry && trial.DryRun.Failures+1 < t.retries.Attempts(f):
		outcome.Again, outcome.Reason = true, fmt.Sprintf("%s: %s", f.Class, f.Message)
		outcome.After = t.retries.Wait(trial.DryRun.Failures, trial.DryRun.RepositoryID+trial.DryRun.Commit, f.RetryAfter)
		log.Info("dry run to be tried again", zap.Duration("after", outcome.After))
	default:
		outcome.Failure = withoutSubmodules(trial.DryRun, f)
	}

	rows, cancel := lease.LastWord(ctx)
	defer cancel()
	switch err := t.Trials.SettleTrial(rows, trial.Lease, outcome); {
	case errors.Is(err, polset.ErrFenced):
		return nil
	case err != nil:
		return fmt.Errorf("settle dry run %s: %w", trial.DryRun.ID, err)
	}
	switch {
	case outcome.Comparison != nil:
		t.outcomes.WithLabelValues(string(polset.DryRunCompared), "").Inc()
		log.Info("dry run compared", zap.Int("changes", len(comparison.Changes)), zap.Duration("elapsed", time.Since(start)))
	case outcome.Failure != nil:
		t.outcomes.WithLabelValues(string(polset.DryRunFailed), string(f.Class)).Inc()
		log.Info("dry run failed")
	}
	return nil
}

// try compares the commit with the version in force.
func (t *Trier) try(ctx context.Context, trial polset.Trial) (c *polset.Comparison, err error) {
	defer func() {
		// A bug in a parser must cost its own pull request, not the server.
		if p := recover(); p != nil {
			c, err = nil, lease.Panicked(p)
		}
	}()
	d := trial.DryRun
	if !trial.Connected {
		return nil, disconnected(d.InstallationID)
	}
	snapshot, err := t.open(ctx, trial.Remote, d.Commit, fmt.Sprintf("refs/pull/%d/head", d.Number))
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := snapshot.Close(); cerr != nil {
			t.Logger.Warn("close snapshot", zap.String("repo", trial.Remote.Identifier), zap.Error(cerr))
		}
	}()

	// The ids of what counts name no other repository's content, so they may
	// be compared whoever wrote the commit.
	content, err := t.resolve(ctx, snapshot, trialContent(trial))
	if err != nil {
		return nil, err
	}
	current := trial.Current
	if current != nil && current.Artifact.Content.Equal(content) {
		return &polset.Comparison{Against: current.ID, Policies: len(current.Artifact.Policies)}, nil
	}
	if d.Fork {
		// Whoever opens a pull request must not choose what else is fetched
		// with the credential of the repository that it is for.
		content.Submodules, content.Gitmodules = false, ""
	}
	judged, err := t.judge(ctx, snapshot, content)
	if err != nil {
		return nil, err
	}
	if !d.Fork {
		if err := t.measure(ctx, judged); err != nil {
			return nil, err
		}
	}
	comparison := compare(current, judged.policies)
	comparison.WithoutSubmodules = d.Fork && d.Submodules
	return comparison, nil
}

// trialContent is what a dry run asks for. The files outside policies-path are
// those of the version in force, as for an ingestion those of the newest.
func trialContent(t polset.Trial) polset.Content {
	want := polset.Content{Path: t.DryRun.Path, Kind: t.DryRun.Kind, Submodules: t.DryRun.Submodules}
	if t.Current != nil {
		want.Outside = unresolved(maps.Keys(t.Current.Artifact.Content.Outside))
	}
	return want
}

// measure writes the archive to nobody, for the limits on it.
func (t *Trier) measure(ctx context.Context, j judgement) error {
	defer t.timed("archive")()
	files, _, err := j.archived()
	if err != nil {
		return err
	}
	stage, cancel := context.WithTimeout(ctx, t.StoreTimeout)
	defer cancel()
	if _, err := archive.Write(stage, io.Discard, files, t.Limits); err != nil {
		if ctx.Err() == nil && stage.Err() != nil {
			return slowArchive(t.StoreTimeout, err)
		}
		return fmt.Errorf("write archive: %w", err)
	}
	return nil
}

// compare says what policies that differ in content would change of those in
// force.
func compare(current *polset.Version, policies []polset.PolicySummary) *polset.Comparison {
	c := &polset.Comparison{Policies: len(policies)}
	var before []polset.PolicySummary
	if current != nil {
		c.Against, before = current.ID, current.Artifact.Policies
	}
	c.Changes = policy.Compare(before, policies)
	c.Files = len(c.Changes) == 0
	return c
}

// withoutSubmodules adds to a failure that submodules were left out, which may
// be why. It changes nothing where they were not.
func withoutSubmodules(d polset.DryRun, f *polset.Failure) *polset.Failure {
	if !d.Fork || !d.Submodules {
		return f
	}
	said := *f
	said.Message += "\nThe submodules of the policy set were left out, because the commit comes from a fork."
	return &said
}

// trialFacts are the log fields that identify a dry run.
func trialFacts(t polset.Trial) []zap.Field {
	return []zap.Field{
		zap.String("dry_run", t.DryRun.ID),
		zap.Int64("lease", t.Lease.Number),
		zap.String("policy_set", t.DryRun.PolicySetID),
		zap.String("commit", t.DryRun.Commit),
		zap.Int("pull_request", t.DryRun.Number),
		zap.String("delivery", t.DryRun.DeliveryGUID),
		zap.Int("attempt", t.DryRun.Attempts),
	}
}
