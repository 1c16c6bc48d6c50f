package githubapp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/polset/polset"
)

// Hooks are the repositories' own hooks, as they shall be.
type Hooks interface {
	// ClaimHooks leases up to n hooks that are not on GitHub as they shall be.
	ClaimHooks(ctx context.Context, n int, ttl time.Duration) ([]polset.HookTask, error)
	// SettleHook writes what became of one; ErrFenced says that the lease is
	// lost.
	SettleHook(ctx context.Context, outcome polset.HookOutcome) error
}

// HookKeeperConfig is what a HookKeeper needs. Client, Hooks and PublicURL are
// required.
type HookKeeperConfig struct {
	Client *Client
	Hooks  Hooks
	// PublicURL is where GitHub reaches polset. A hook leads to
	// <PublicURL>/webhooks/vcs/<its uuid>.
	PublicURL string
	Pace
	Logger     *zap.Logger           // nil logs nothing
	Registerer prometheus.Registerer // nil registers no metrics
}

// A HookKeeper makes the webhooks of repositories equal to the rows, where the
// token may do so; otherwise it says what to do by hand.
type HookKeeper struct {
	client   *Client
	hooks    Hooks
	public   string
	loop     *loop[polset.HookTask]
	log      *zap.Logger
	outcomes *prometheus.CounterVec
}

// NewHookKeeper returns a keeper of hooks.
func NewHookKeeper(c HookKeeperConfig) (*HookKeeper, error) {
	if c.Client == nil || c.Hooks == nil {
		return nil, errors.New("githubapp: a keeper of hooks needs Client and Hooks")
	}
	public, err := parseBase(c.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("githubapp: polset's public URL: %w", err)
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	k := &HookKeeper{
		client: c.Client,
		hooks:  c.Hooks,
		public: public.String(),
		log:    c.Logger,
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polset_hooks_total",
			Help: "Attempts to make a repository's webhook as it shall be: done, manual or retried.",
		}, []string{"outcome"}),
	}
	k.loop = &loop[polset.HookTask]{
		Pace: c.withDefaults(), what: "hooks", claim: c.Hooks.ClaimHooks, work: k.work, log: c.Logger,
	}
	if c.Registerer != nil {
		if err := c.Registerer.Register(k.outcomes); err != nil {
			return nil, fmt.Errorf("register the metrics of hooks: %w", err)
		}
	}
	return k, nil
}

// Run keeps hooks until the context ends.
func (k *HookKeeper) Run(ctx context.Context) { k.loop.run(ctx) }

// Step claims hooks once, and returns when each of them is settled.
func (k *HookKeeper) Step(ctx context.Context) (int, error) { return k.loop.step(ctx) }

// work makes one hook as it shall be and settles it.
func (k *HookKeeper) work(ctx context.Context, t polset.HookTask) {
	outcome := polset.HookOutcome{Lease: t.Lease, ExternalID: t.ExternalID}
	err := guarded(func() error { return k.keep(ctx, t, &outcome) })
	log := k.log.With(zap.String("hook", t.HookID), zap.String("repo", t.Remote.Identifier),
		zap.Int64("revision", t.Revision), zap.Int64("lease", t.Lease.Number), zap.Bool("remove", t.Remove))
	switch f := failureOf(ctx, err); {
	case err == nil && outcome.Manual == "":
		k.outcomes.WithLabelValues("done").Inc()
		outcome.Revision = t.Revision
		log.Info("hook is as it should be", zap.Int64("github_hook", outcome.ExternalID))
	case err == nil || !f.Retry:
		k.outcomes.WithLabelValues("manual").Inc()
		if outcome.Manual == "" {
			outcome.Manual = k.byHand(t, err)
		}
		log.Info("hook is left to people", zap.Error(err))
	default:
		k.outcomes.WithLabelValues("retried").Inc()
		outcome.Failure = f
		log.Info("hook to be tried again", zap.String("class", string(f.Class)), zap.Duration("after", f.RetryAfter), zap.Error(err))
	}

	rows, cancel := lastWord(ctx)
	defer cancel()
	switch err := k.hooks.SettleHook(rows, outcome); {
	case errors.Is(err, polset.ErrFenced):
		k.log.Debug("hook passed to another worker", zap.String("hook", t.HookID))
	case err != nil:
		k.log.Warn("settle hook", zap.String("hook", t.HookID), zap.Error(err))
	}
}

// keep makes GitHub equal to one task.
func (k *HookKeeper) keep(ctx context.Context, t polset.HookTask, outcome *polset.HookOutcome) error {
	if !t.Connected || t.Remote.Token.Empty() {
		outcome.Manual = k.byHand(t, nil)
		return nil
	}
	if t.Remove {
		if err := k.remove(ctx, t); err != nil {
			return err
		}
		outcome.ExternalID = 0
		return nil
	}
	id, err := k.put(ctx, t)
	if id != 0 {
		outcome.ExternalID = id
	}
	return err
}
