package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/lease"
)

// Looks gives out the repositories whose branches are due to be looked at.
type Looks interface {
	// ClaimLooks returns at most limit looks that are due, and puts off the
	// next one of their repositories by about interval.
	ClaimLooks(ctx context.Context, limit int, interval time.Duration) ([]polset.Look, error)
	// Observe records where a branch stands, and what follows from it.
	Observe(ctx context.Context, o polset.Observation) error
	// LookFailed records that a look failed, and when it is due again.
	LookFailed(ctx context.Context, l polset.Look, failure *polset.Failure) error
}

// Heads looks at branches.
type Heads interface {
	// Heads looks where branches stand, in their order; "" is the default
	// branch.
	Heads(ctx context.Context, remote polset.Remote, branches []string) ([]polset.Head, error)
}

// ReconcilerConfig is what a Reconciler needs. The interfaces are required;
// zero values of the rest mean the documented defaults.
type ReconcilerConfig struct {
	Looks  Looks
	Source Heads

	// Interval is how often every followed repository is looked at (default
	// 5 min).
	Interval time.Duration
	// Poll is how often due looks are asked for (default 1 s). While there are
	// some, they are begun at a tenth of it, so that those of a start do not
	// come as one.
	Poll time.Duration
	// Concurrency is how many looks run at once (default 4). One host gets all
	// but one of these places, so that the others are looked at while it hangs.
	Concurrency int
	// Timeout is the deadline of a look (default 30 s).
	Timeout time.Duration

	Logger     *zap.Logger
	Registerer prometheus.Registerer
	// Now is the time by which hosts and credentials are left alone (default
	// time.Now).
	Now func() time.Time
}

// A Reconciler looks at every followed branch from time to time, whatever
// deliveries say: what GitHub did not tell, or polset did not hear, is found
// by the next look. It is safe for use by many goroutines, and on many nodes.
type Reconciler struct {
	ReconcilerConfig
	line   *line
	looks  lease.Loop[turn]
	counts *prometheus.CounterVec
}

// claimsAtOnce bounds how often due looks are asked for again because those
// that were given out have to wait.
const claimsAtOnce = 10

// What became of a look, as the metric says it.
const (
	lookSeen         = "seen"
	lookFailed       = "failed"
	lookPaused       = "paused"       // it has to wait: its host is in trouble, or its credential may not be used
	lookDisconnected = "disconnected" // there is no credential to look with
	lookLost         = "lost"         // the rows could not be reached
)

// NewReconciler returns a reconciler.
func NewReconciler(c ReconcilerConfig) (*Reconciler, error) {
	if c.Looks == nil || c.Source == nil {
		return nil, errors.New("ingest: Looks and Source are required")
	}
	orDefault(&c.Interval, 5*time.Minute)
	orDefault(&c.Poll, time.Second)
	orDefault(&c.Concurrency, 4)
	orDefault(&c.Timeout, 30*time.Second)
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	r := &Reconciler{
		ReconcilerConfig: c,
		line:             newLine(c.Now, c.Interval, max(1, c.Concurrency-1)),
		counts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polset_reconcile_looks_total",
			Help: "Looks at followed branches by outcome.",
		}, []string{"outcome"}),
	}
	r.looks = lease.Loop[turn]{
		Claim: r.claim, Do: r.look,
		Most: c.Concurrency, Pause: c.Poll / 10, Poll: c.Poll, Logger: c.Logger,
	}
	if err := register(c.Registerer, r.counts); err != nil {
		return nil, err
	}
	return r, nil
}

// Run looks at what is due until ctx ends.
func (r *Reconciler) Run(ctx context.Context) { r.looks.Run(ctx) }

// Round looks at what is due now, at most Concurrency repositories, and at what
// had to wait until now. It returns how many were due. The error is one of the
// rows.
func (r *Reconciler) Round(ctx context.Context) (n int, err error) {
	if n, err = r.ask(ctx, r.Concurrency); err != nil {
		return n, err
	}
	for ctx.Err() == nil {
		begun := r.line.next(r.Concurrency)
		if len(begun) == 0 {
			break
		}
		err = errors.Join(err, r.looks.All(ctx, begun))
	}
	return n, err
}

// claim begins at most n looks. Those that have to wait keep none of the others
// from their turn.
func (r *Reconciler) claim(ctx context.Context, n int) (begun []turn, err error) {
	begun = r.line.next(n)
	for range claimsAtOnce {
		free := n - len(begun)
		if free == 0 || r.line.full() {
			break
		}
		given, err := r.ask(ctx, free)
		begun = append(begun, r.line.next(free)...)
		if err != nil || given < free {
			return begun, err
		}
	}
	return begun, nil
}

// ask has looks that are due join the line.
func (r *Reconciler) ask(ctx context.Context, n int) (given int, err error) {
	due, err := r.Looks.ClaimLooks(ctx, n, r.Interval)
	if paused := r.line.join(due); paused > 0 {
		r.counts.WithLabelValues(lookPaused).Add(float64(paused))
	}
	return len(due), err
}

// look looks at the branches of a repository.
func (r *Reconciler) look(ctx context.Context, t turn) error {
	defer r.line.leave(t)
	outcome, err := r.lookOnce(ctx, t)
	if outcome == "" {
		return nil // at the next start every look is due
	}
	r.counts.WithLabelValues(outcome).Inc()
	return err
}

// lookOnce returns what became of a look; "" where the server stopped.
func (r *Reconciler) lookOnce(ctx context.Context, t turn) (outcome string, err error) {
	l := t.Look
	if !l.Connected {
		return lookDisconnected, nil
	}
	heads, err := r.heads(ctx, l)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return lookFailed, r.failed(ctx, t, err)
	}
	r.line.answered(t)
	for i, branch := range l.Branches {
		oerr := r.Looks.Observe(ctx, polset.Observation{
			RepositoryID: l.Repository.ID, Branch: branch, Head: heads[i],
			Credential: l.Credential, Reconciled: true, Look: l.Number,
		})
		switch {
		case errors.Is(oerr, polset.ErrFenced):
			return lookSeen, nil // nobody follows the repository any more
		case oerr != nil:
			err = errors.Join(err, fmt.Errorf("record the head of %s: %w", l.Repository.Identifier, oerr))
		}
	}
	if err != nil {
		return lookLost, err
	}
	r.Logger.Debug("looked", zap.String("repo", l.Repository.Identifier), zap.Int("branches", len(l.Branches)))
	return lookSeen, nil
}

// heads asks git, under the deadline.
func (r *Reconciler) heads(ctx context.Context, l polset.Look) (heads []polset.Head, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = lease.Panicked(p)
		}
	}()
	stage, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	heads, err = r.Source.Heads(stage, l.Remote, l.Branches)
	if err != nil {
		return nil, deadline(ctx, stage, err, "look at the branches", r.Timeout)
	}
	if len(heads) != len(l.Branches) {
		return nil, fmt.Errorf("%d heads of %d branches", len(heads), len(l.Branches))
	}
	return heads, nil
}

// failed tells the line, and the rows, which must hear of it even though the
// server is stopping.
func (r *Reconciler) failed(ctx context.Context, t turn, cause error) error {
	l, failure := t.Look, polset.FailureOf(cause)
	r.Logger.Info("look failed", zap.String("repo", l.Repository.Identifier), zap.String("credential", l.Credential),
		zap.String("class", string(failure.Class)), zap.Error(cause))
	if failure.Class == polset.ClassEmptyRepository {
		r.line.answered(t)
	} else if pause := r.line.failed(t, failure); pause > 0 {
		r.Logger.Info("host left alone", zap.String("host", hostOf(l.Remote)), zap.Duration("for", pause))
	}
	if t.paused && failure.Class == polset.ClassAuth {
		return nil // the credential may have been replaced while the look waited: the next one tells
	}
	rows, cancel := lease.LastWord(ctx)
	defer cancel()
	if err := r.Looks.LookFailed(rows, l, failure); err != nil && !errors.Is(err, polset.ErrFenced) {
		return fmt.Errorf("record a failed look at %s: %w", l.Repository.Identifier, err)
	}
	return nil
}
