package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/polset/polset"
)

// Config is what a Pool may be told. Zero values mean the documented defaults.
type Config struct {
	// Command runs a worker: a program that calls Main, and its arguments, to
	// which the pool adds its own. The default is this very program with
	// Subcommand.
	Command []string
	// Size is how many workers there are at most; each is started when it is
	// needed first, and then kept. The default is one more than GOMAXPROCS, since
	// evaluations leave one free; there are at least two. See queue for who gets
	// them.
	Size int
	// Memory is how much memory a worker may take beyond what the program itself
	// needs, in bytes (default 1 GiB).
	Memory int64
	// InspectTimeout and CheckTimeout are how long an inspection and the
	// evaluation of a policy set may take, once a worker has begun with them
	// (defaults 1 min, 30 s). The latter is for an Evaluation without a Budget.
	InspectTimeout, CheckTimeout time.Duration
	// Grace is how long a worker has to end what it was told to before it is
	// killed (default 5 s).
	Grace time.Duration

	Logger     *zap.Logger
	Registerer prometheus.Registerer
}

// MinMemory is the least that a worker can do its work with.
const MinMemory = 64 << 20

const (
	defaultMemory = 1 << 30
	// startTimeout is how long a worker may take to be ready. It takes some ten
	// milliseconds, on a machine that has time for it.
	startTimeout = 30 * time.Second
)

// A Pool is a number of worker processes. It is safe for use by many goroutines.
type Pool struct {
	Config
	meters
	queue *queue

	closing context.Context //nolint:containedctx // ends with Close
	close   context.CancelFunc
	mu      sync.Mutex // of closed, and of what begins
	closed  bool
	working sync.WaitGroup
}

// New returns a pool. It starts one worker at once, to find out whether it can.
func New(c Config) (*Pool, error) {
	if c.Size == 0 {
		c.Size = runtime.GOMAXPROCS(0) + 1
	}
	c.Size = max(c.Size, MinSize)
	orDefault(&c.Memory, defaultMemory)
	orDefault(&c.InspectTimeout, time.Minute)
	orDefault(&c.CheckTimeout, 30*time.Second)
	orDefault(&c.Grace, 5*time.Second)
	if c.Memory < MinMemory {
		return nil, fmt.Errorf("worker: Memory must be at least %d bytes", MinMemory)
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	p := &Pool{Config: c, queue: newQueue(c.Size)}
	p.closing, p.close = context.WithCancel(context.Background())
	first, err := p.start(p.closing)
	if err != nil {
		return nil, err
	}
	p.queue.idle = append(p.queue.idle, first)
	if p.meters, err = newMeters(p, c.Registerer); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// orDefault gives a setting that was left open its default.
func orDefault[T comparable](setting *T, value T) {
	var open T
	if *setting == open {
		*setting = value
	}
}

// Close interrupts what is being worked on, which then ends in a failure that is
// worth another attempt, and ends every worker.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.close()
	p.working.Wait()
	var ended sync.WaitGroup
	for _, w := range p.queue.drain() {
		ended.Go(func() { w.end(p.Grace) })
	}
	ended.Wait()
}

// begin begins a request under ctx, which then ends with the pool as well; end
// ends it. An error of the context that the pool brought about is errClosed.
func (p *Pool) begin(ctx context.Context) (_ context.Context, end func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ctx, nil, errClosed()
	}
	p.working.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(p.closing, func() { cancel(errClosed()) })
	return ctx, func() {
		stop()
		cancel(nil)
		p.working.Done()
	}, nil
}

// errClosed is the failure of what Close interrupts.
func errClosed() error {
	return &polset.Failure{
		Class: polset.ClassInternal, Retry: true,
		Message: "polset is being stopped, and works on these policies at its next start.",
	}
}

// ended is why a context ended: for its own reason, or because the pool did.
func ended(ctx context.Context) error {
	var f *polset.Failure
	if errors.As(context.Cause(ctx), &f) {
		return f
	}
	return ctx.Err()
}

// A place is the right to one worker.
type place struct {
	pool       *Pool
	evaluation bool
	worker     *process // nil: one has to be started
}

// take waits for a place. Of the workers that are free it comes with the one
// that has compiled most of the sets.
func (p *Pool) take(ctx context.Context, evaluation bool, sets []setKey) (*place, error) {
	w, err := p.queue.take(ctx, evaluation, sets)
	if err != nil {
		return nil, err
	}
	return &place{p, evaluation, w}, nil
}

// leave gives the place back, with its worker.
func (pl *place) leave() { pl.pool.queue.leave(pl.evaluation, pl.worker) }

// do has an order carried out by a worker that prepare has made ready for it.
// An order changes nothing but the worker, so that it is tried once more with a
// fresh one where the death of the first was nobody's fault here, or where what
// the first had compiled before took a part of the memory.
func (pl *place) do(ctx context.Context, o order, data []byte, open opener, prepare func() error) (r report, err error) {
	for again := false; ; again = true {
		if pl.worker == nil {
			if pl.worker, err = pl.pool.start(ctx); err != nil {
				return r, &wholeError{err}
			}
		}
		fresh := !pl.worker.used
		err = nil
		if prepare != nil {
			err = prepare()
		}
		if err == nil {
			r, err = pl.carryOut(ctx, o, data, open)
		}
		var d *deathError
		if !errors.As(err, &d) || again || ctx.Err() != nil {
			return r, err
		}
		if d.cause != causeForeign && (d.cause != causeMemory || fresh) {
			return r, err
		}
	}
}

// carryOut is that of the place's worker, which leaves the place when it dies.
func (pl *place) carryOut(ctx context.Context, o order, data []byte, open opener) (report, error) {
	began := time.Now()
	r, err := pl.worker.carryOut(ctx, o, data, open, pl.pool.Grace)
	pl.pool.seconds.WithLabelValues(string(o.Op)).Observe(time.Since(began).Seconds())
	var d *deathError
	if errors.As(err, &d) {
		pl.pool.buried(pl.worker, o.Op, d)
		pl.worker = nil
		if ctx.Err() != nil {
			err = ended(ctx)
		}
	}
	return r, err
}

// A wholeError is not about the policy set that an order is about.
type wholeError struct{ err error }

func (e *wholeError) Error() string { return e.err.Error() }
func (e *wholeError) Unwrap() error { return e.err }

// start starts a worker.
func (p *Pool) start(ctx context.Context) (*process, error) {
	w, err := startProcess(ctx, p.Command, strconv.FormatInt(p.Memory, 10))
	if err == nil {
		p.Logger.Debug("policy worker started", zap.Int("pid", w.pid()))
		return w, nil
	}
	if ctx.Err() != nil {
		return nil, ended(ctx)
	}
	var d *deathError
	if errors.As(err, &d) {
		err = fmt.Errorf("%w\n%s", err, d.stderr)
	}
	p.Logger.Error("policy worker not started", zap.Error(err))
	return nil, &polset.Failure{
		Class: polset.ClassInternal, Retry: true, Err: err,
		Message: "polset could not start a process for these policies; its log says why.",
	}
}

// buried logs and counts the death of a worker.
func (p *Pool) buried(w *process, doing op, d *deathError) {
	p.restarts.WithLabelValues(string(d.cause)).Inc()
	p.Logger.Warn("policy worker replaced",
		zap.Int("pid", w.pid()), zap.String("order", string(doing)), zap.String("cause", string(d.cause)),
		zap.String("state", d.state), zap.String("stderr", d.stderr))
}

// command is the program and the arguments that run a worker.
func command(own []string) ([]string, error) {
	if len(own) > 0 {
		return own, nil
	}
	// The program itself, whatever lies at its path by now: a worker of another
	// release could not be talked to.
	const self = "/proc/self/exe"
	if runtime.GOOS == "linux" {
		if _, err := os.Lstat(self); err == nil {
			return []string{self, Subcommand}, nil
		}
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the program: %w", err)
	}
	return []string{exe, Subcommand}, nil
}
