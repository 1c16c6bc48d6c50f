// Package check carries one run's policy check, or policy evaluation, to its
// verdict: it claims it, reads the plan, has the policy sets evaluated that
// applied when the run was created, and settles what they say.
//
// It fails closed. A missing plan, a policy set without a ready version, an
// engine that polset does not have, and a policy that nobody evaluated are
// errors, never passes. Whatever a crash leaves unfinished is claimed again,
// and comes to the same verdict: all that it depends on was kept with the run.
package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/lease"
	"github.com/polset/polset/policy"
)

// Checks are the checks of runs.
type Checks interface {
	// ClaimChecks leases up to n that are due.
	ClaimChecks(ctx context.Context, n int, ttl time.Duration) ([]polset.CheckTask, error)
	// RenewChecks extends leases; ErrFenced says that one is lost.
	RenewChecks(ctx context.Context, leases []polset.Lease, ttl time.Duration) error
	// SettleCheck writes what became of one; ErrFenced says that its lease is
	// lost, and that nothing was written.
	SettleCheck(ctx context.Context, task polset.CheckTask, result polset.CheckResult) error
}

// Plans reads plans.
type Plans interface {
	// Plan returns the plan in a configuration version's upload, which the digest
	// names. Where there is none, that is a *polset.Failure of class
	// path-not-found.
	Plan(ctx context.Context, digest string) ([]byte, error)
}

// Archives reads the archives of versions.
type Archives interface {
	// Open returns what the archive holds that the digest names.
	Open(ctx context.Context, digest string) (fs.FS, error)
}

// An Evaluator evaluates the policy sets of one kind.
type Evaluator interface {
	// Evaluate returns a result for each set of e, in their order. The error is
	// one of all of it: of the plan, of the evaluator itself, or of ctx.
	Evaluate(ctx context.Context, e policy.Evaluation) ([]policy.SetResult, error)
}

// Config is what a Checker needs. Checks, Plans and Archives are required; zero
// values of the rest mean the documented defaults.
type Config struct {
	Checks   Checks
	Plans    Plans
	Archives Archives
	// Evaluators are the engines. A check that needs another ends errored.
	Evaluators map[polset.Kind]Evaluator

	// TolerateMissingPlan takes an empty one for a plan that is missing: go-tfe's
	// own tests have none, and nobody else may want it.
	TolerateMissingPlan bool
	// Budget is how long the evaluation of each policy set may take (default
	// 30 s).
	Budget time.Duration
	// StoreTimeout is how long it may take to read a plan, or an archive, from
	// the object storage (default 2 min).
	StoreTimeout time.Duration

	// Lease is how long a claim lasts unless renewed (default 30 s). It is
	// renewed every third of it.
	Lease time.Duration
	// MaxAttempts bounds the attempts that end in a passing fault (default 6, at
	// most 20), unless it is one of the object storage.
	MaxAttempts int
	// RetryBase is the first wait between attempts; it doubles each time
	// (default 2 s).
	RetryBase time.Duration
	// Wake receives a value when there may be something to do.
	Wake <-chan struct{}
	// Poll is how often it is asked for otherwise (default 1 s).
	Poll time.Duration
	// Concurrency is how many checks are evaluated at once (default 2).
	Concurrency int

	Logger     *zap.Logger
	Registerer prometheus.Registerer
}

// A Checker brings checks to their verdicts. It is safe for use by many
// goroutines, and on many nodes.
type Checker struct {
	Config
	checks   lease.Loop[polset.CheckTask]
	retries  lease.Retries
	outcomes *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// maxAttempts is how far the rows count attempts that ended in a fault.
const maxAttempts = 20

// New returns a checker.
func New(c Config) (*Checker, error) {
	if c.Checks == nil || c.Plans == nil || c.Archives == nil {
		return nil, errors.New("check: Checks, Plans and Archives are required")
	}
	for setting, value := range map[*time.Duration]time.Duration{
		&c.Budget: 30 * time.Second, &c.StoreTimeout: 2 * time.Minute,
		&c.Lease: 30 * time.Second, &c.RetryBase: 2 * time.Second, &c.Poll: time.Second,
	} {
		if *setting <= 0 {
			*setting = value
		}
	}
	for setting, value := range map[*int]int{&c.MaxAttempts: 6, &c.Concurrency: 2} {
		if *setting <= 0 {
			*setting = value
		}
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	checker := &Checker{
		Config:  c,
		retries: lease.Retries{Most: min(c.MaxAttempts, maxAttempts), Base: c.RetryBase},
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polset_checks_total",
			Help: "Policy checks and evaluations of runs by kind and outcome; class is the error class of errored ones.",
		}, []string{"kind", "outcome", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "polset_check_seconds",
			Help:    "Duration of the evaluation of checks that came to an outcome.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}, []string{"kind"}),
	}
	checker.checks = lease.Loop[polset.CheckTask]{
		Claim: func(ctx context.Context, n int) ([]polset.CheckTask, error) {
			return c.Checks.ClaimChecks(ctx, n, c.Lease)
		},
		Do: checker.work, Most: c.Concurrency, Poll: c.Poll, Wake: c.Wake, Logger: c.Logger,
	}
	if c.Registerer != nil {
		for _, m := range []prometheus.Collector{checker.outcomes, checker.seconds} {
			if err := c.Registerer.Register(m); err != nil {
				return nil, fmt.Errorf("register check metrics: %w", err)
			}
		}
	}
	return checker, nil
}

// Run evaluates the checks that are due until ctx ends.
func (c *Checker) Run(ctx context.Context) { c.checks.Run(ctx) }

// Round evaluates the checks that are due now, at most Concurrency, and returns
// how many those were. The error is one of the rows.
func (c *Checker) Round(ctx context.Context) (n int, err error) { return c.checks.Round(ctx) }
