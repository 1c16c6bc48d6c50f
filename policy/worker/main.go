package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/polset/polset/policy"
)

// Subcommand is the first argument of a program that is to be a worker. It is
// not for people, and no help mentions it.
const Subcommand = "policy-worker"

// How a worker ends by itself.
const (
	exitGone     = 0 // the server is gone, or wants no more of it
	exitUsage    = 1 // it was not started by a Pool, or cannot set its limits
	exitNonsense = 3 // the server sent what makes no sense
	exitMemory   = 4 // the policies need more memory than they may have
)

const (
	// workerProcs is how many threads run Go at once: one for the policy, and one
	// for the garbage collector and for the reader that ends it all.
	workerProcs = 2
	// stackShare is which part of the memory a stack may take. A stack that grows
	// is copied to one twice as large.
	stackShare = 4
	// keptShare is which part of the memory compiled sets may take together, and
	// keptSets how many they may be.
	keptShare = 4
	keptSets  = 64
	// idleShare is which part of the memory a worker may hold that has nothing to
	// do.
	idleShare = 8
)

// Main is what a worker runs: it carries out what comes on standard input, one
// order after the other, and reports on standard output. It returns the exit
// code. The arguments are those behind Subcommand, which a Pool gives.
//
// It limits itself before it reads anything. What a hostile policy may do is then
// no more than to end the process: there is nothing in it to find.
func Main(args []string) int {
	if len(args) != 1 {
		fmt.Fprintf(os.Stderr, "%s is run by polset itself, for the policies that it checks\n", Subcommand)
		return exitUsage
	}
	memory, err := strconv.ParseInt(args[0], 10, 64)
	if err == nil && memory <= 0 {
		err = errors.New("there is no memory")
	}
	if err == nil {
		err = limit(memory)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "set the limits of a worker: %v\n", err)
		return exitUsage
	}
	// Who stops a service signals all its processes at once; the server still
	// needs this one for what it finishes.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	out := os.Stdout
	os.Stdout = os.Stderr // whatever prints must not speak in our name
	s := &session{
		out: out, memory: memory,
		orders: make(chan begun), answers: make(chan begun),
		programs: &policy.Programs{Bytes: memory / keptShare, Count: keptSets},
	}
	go s.listen(os.Stdin)
	return s.work()
}

// limit bounds the process, for good.
func limit(memory int64) error {
	if err := limitResources(memory); err != nil {
		return err
	}
	runtime.GOMAXPROCS(workerProcs)
	debug.SetMaxStack(int(memory / stackShare))
	// Before the limit is exceeded, the garbage collector does what it can.
	debug.SetMemoryLimit(memory / 10 * 9)
	return nil
}

// A session is the life of a worker.
type session struct {
	out      io.Writer
	memory   int64
	orders   chan begun // to begin
	answers  chan begun // to questions, and to needs
	programs *policy.Programs

	plan     *policy.Plan // that was kept last, with what it is asked with
	planned  order
	stopping sync.Mutex
	stop     context.CancelFunc // of the order that came last
}

// A begun is a frame that came. The context of an order begins when it is read,
// so that no stop behind it comes too early.
type begun struct {
	order
	data []byte
	ctx  context.Context //nolint:containedctx // see above
}

// listen reads what comes. It never does anything else, so that the worker ends
// with the server, whatever a policy keeps it busy with.
func (s *session) listen(in io.Reader) {
	for {
		var o order
		data, err := readFrame(in, &o, maxData)
		switch {
		case errors.Is(err, io.EOF):
			os.Exit(exitGone)
		case err != nil:
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitNonsense)
		}
		switch o.Op {
		case opStop:
			s.cancel()
		case opAnswer, opBegin, opRefuse:
			s.answers <- begun{order: o, data: data}
		default:
			ctx, cancel := context.WithCancel(context.Background())
			s.stopping.Lock()
			s.stop = cancel
			s.stopping.Unlock()
			s.orders <- begun{o, data, ctx}
		}
	}
}

// cancel stops what was ordered last.
func (s *session) cancel() {
	s.stopping.Lock()
	defer s.stopping.Unlock()
	if s.stop != nil {
		s.stop()
	}
}

// work carries out orders until the process ends.
func (s *session) work() int {
	if err := writeFrame(s.out, report{Op: opReady}, nil); err != nil {
		return exitGone
	}
	for o := range s.orders {
		rest := s.watch()
		r, err := s.carryOut(o)
		rest()
		s.cancel()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return exitNonsense
		}
		if err := s.report(r); err != nil {
			return exitGone
		}
		if s.plan == nil { // else there is more to come
			s.tidy()
		}
	}
	return exitGone
}

// report reports that an order is done.
func (s *session) report(r report) error {
	r.Op = opDone
	err := writeFrame(s.out, r, nil)
	var size *frameSizeError
	if errors.As(err, &size) { // of very many policies
		return writeFrame(s.out, report{Op: opDone, Trouble: troubleOf(tooLarge("What the policies say", err))}, nil)
	}
	return err
}

// errOver is the cause of a context whose budget is used up.
var errOver = errors.New("the budget is used up")

// carryOut does what was ordered. The error is an order that makes no sense.
func (s *session) carryOut(o begun) (report, error) {
	switch o.Op {
	case opInspect:
		return s.inspect(o), nil
	case opPlan:
		plan, err := policy.ParsePlan(o.data)
		s.plan, s.planned = plan, o.order
		return report{Trouble: troubleOf(err)}, nil
	case opForget:
		s.plan, s.planned = nil, order{}
		return report{}, nil
	case opSet:
		if s.plan == nil {
			return report{}, errors.New("a set came before its plan")
		}
		return s.evaluate(o), nil
	}
	return report{}, fmt.Errorf("unknown order %q", o.Op)
}

// inspect does what policy.Set.Inspect does, within the budget.
func (s *session) inspect(o begun) report {
	if !s.need() {
		return report{}
	}
	ctx, cancel := context.WithTimeoutCause(o.ctx, o.Budget, errOver)
	defer cancel()
	files := asked{s.ask}
	set, err := policy.Read(files, o.Dir, o.Kind)
	if err != nil {
		return report{Trouble: troubleOf(err)}
	}
	summaries, err := set.Inspect(ctx, files)
	t := troubleOf(err)
	if t != nil {
		t.Over = errors.Is(context.Cause(ctx), errOver)
	}
	return report{Summaries: summaries, Trouble: t}
}

// evaluate evaluates a set on the plan that was kept. What the files cost that
// somebody has to fetch first is not the set's, and not in its budget.
func (s *session) evaluate(o begun) report {
	set := policy.SetEvaluation{
		Key: o.Key, Dir: o.Dir, Kind: o.Kind, Parameters: o.Parameters,
		Files: func(context.Context) (fs.FS, error) { return asked{s.ask}, nil },
	}
	if !s.programs.Has(set) && !s.need() {
		return report{}
	}
	result := s.programs.EvaluateSet(o.ctx, policy.Evaluation{
		Run: s.planned.Run, At: s.planned.At, Seed: s.planned.Seed, Budget: o.Budget,
	}, s.plan, set)
	return report{Outcomes: result.Policies, Duration: result.Duration, Trouble: troubleOf(result.Err)}
}

// need asks for the files of a set, and reports whether they are at hand.
func (s *session) need() bool {
	if err := writeFrame(s.out, report{Op: opNeed}, nil); err != nil {
		os.Exit(exitGone)
	}
	a := <-s.answers
	return a.Op == opBegin
}

// ask implements ask. Nothing is worth going on for once the server is gone, and
// then the reader ends the process.
func (s *session) ask(q question) (answer, []byte, error) {
	if err := writeFrame(s.out, report{Op: opAsk, Question: &q}, nil); err != nil {
		return answer{}, nil, err
	}
	got := <-s.answers
	switch {
	case got.Answer == nil:
		return answer{}, nil, errNonsense
	case got.Answer.Fault != nil && got.Answer.Info == nil:
		return answer{}, nil, &faultError{*got.Answer.Fault}
	}
	return *got.Answer, got.data, nil
}

// watchInterval is how often the memory is looked at. At the pace at which memory
// can be filled, that is some ten MiB.
const watchInterval = 5 * time.Millisecond

// watch ends the process once it takes more memory than it may, until rest is
// called. Where the system bounds it too, this is what makes the end a clean
// one; only what is asked for all at once goes beyond it. Elsewhere it is all
// that there is.
func (s *session) watch() (rest func()) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(watchInterval)
		defer tick.Stop()
		var m memory
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if m.taken() > s.memory {
				os.Exit(exitMemory) // without a word, which would take some more
			}
		}
	}()
	return func() { close(done) }
}

// tidy gives back to the system what the last order took, where that was much:
// there may be as many workers as the host has processors.
func (s *session) tidy() {
	var m memory
	if m.taken() > s.memory/idleShare {
		debug.FreeOSMemory()
	}
}
