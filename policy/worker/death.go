package worker

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// A cause is what a worker died of.
type cause string

// The causes. Only those of the first group are the content's fault.
const (
	causeTime   cause = "time"   // killed by the pool: it did not stop when its time was over
	causeMemory cause = "memory" // it needs more than it may have
	causeStack  cause = "stack"  // likewise of its stack

	causeForeign  cause = "foreign"  // somebody else killed it
	causeCrash    cause = "crash"    // a fault of the program
	causeSilent   cause = "silent"   // it takes no orders
	causeNonsense cause = "nonsense" // it said what makes no sense
	causeStopped  cause = "stopped"  // killed by the pool: nobody waits for it
	causeStart    cause = "start"    // likewise: it was not ready in time
)

// A deathError is the death of a worker.
type deathError struct {
	cause  cause
	state  string // of the process, such as exit status 2
	stderr string // the beginning and the end
}

func (e *deathError) Error() string {
	return fmt.Sprintf("a policy worker died: %s (%s)", e.cause, e.state)
}

// kill kills the process, which it may have died before of something else, and
// waits for its end.
func (w *process) kill(c cause) *deathError {
	w.mu.Lock()
	if w.cause == "" {
		w.cause = c
	}
	w.mu.Unlock()
	_ = w.cmd.Process.Kill() // it may be gone already
	return w.death()
}

// death waits for the end of the process and says what it died of.
//
// A process that ends by itself says so by its code: the session's own where it
// found the memory exceeded, and that of the Go runtime, whose last words tell
// the rest. One that a signal ended was killed by the pool, which remembers why,
// or by somebody else: an operator, or the kernel, for want of memory on the
// whole host. No fault of a policy makes the Go runtime end by a signal.
func (w *process) death() *deathError {
	for range w.reports { //nolint:revive // until it has ended
	}
	w.mu.Lock()
	killed, broken := w.cause, w.broken
	w.mu.Unlock()
	d := &deathError{state: w.cmd.ProcessState.String(), stderr: w.stderr.String()}
	switch code := w.cmd.ProcessState.ExitCode(); {
	case code == exitMemory:
		d.cause = causeMemory
	case isNonsense(broken):
		d.cause = causeNonsense
	case code > exitUsage:
		d.cause = lastWords(d.stderr)
	case killed != "":
		d.cause = killed
	case code < 0:
		d.cause = causeForeign
	default:
		d.cause = causeCrash
	}
	return d
}

// isNonsense reports whether a process said what nobody can read. One that is
// killed may stop in the middle of a word.
func isNonsense(err error) bool {
	var size *frameSizeError
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	return errors.As(err, &size) || errors.As(err, &syntax) || errors.As(err, &kind)
}

// lastWords finds out from what the Go runtime prints what a process died of. It
// knows the words of Go 1.26, and those of its race detector; of words that it
// does not know it says that the program is at fault, not the policy.
//
// An allocation that fails is fatal, with words that depend on what it was for.
// The garbage collector does not look at whether one succeeded: it uses it, and
// dies of a SIGSEGV of its own, which looks unlike a nil pointer in Go code. For
// want of a thread it may be the memory's fault, where threads are those of C, or
// the host's: that counts as the latter, and the next attempt knows more.
func lastWords(stderr string) cause {
	lines := bufio.NewScanner(strings.NewReader(stderr))
	for lines.Scan() {
		line := lines.Text()
		fatal := strings.HasPrefix(line, "fatal error: ")
		switch {
		case strings.HasPrefix(line, "panic: "):
			return causeCrash
		case strings.HasPrefix(line, "runtime: goroutine stack exceeds "):
			return causeStack
		case strings.HasPrefix(line, "SIGSEGV: "),
			fatal && (strings.Contains(line, "out of memory") || strings.Contains(line, "cannot allocate memory")),
			strings.Contains(line, "ThreadSanitizer failed to allocate"):
			return causeMemory
		case strings.Contains(line, "pthread_create failed"), strings.Contains(line, "failed to create new OS thread"):
			return causeForeign
		case fatal:
			return causeCrash
		}
	}
	return causeCrash
}

// endBytes is how much is kept of the beginning and of the end of what a process
// prints. A Go program that dies prints its last words first, and then megabytes.
const endBytes = 4 << 10

// ends keeps both ends of what is written to it. The zero value is ready to use.
type ends struct {
	mu         sync.Mutex
	head, tail []byte
	dropped    int
}

// Write implements io.Writer.
func (e *ends) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := min(len(p), endBytes-len(e.head))
	e.head = append(e.head, p[:n]...)
	e.tail = append(e.tail, p[n:]...)
	if over := len(e.tail) - endBytes; over > 0 {
		e.dropped += over
		e.tail = append(e.tail[:0], e.tail[over:]...)
	}
	return len(p), nil
}

func (e *ends) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dropped == 0 {
		return string(e.head) + string(e.tail)
	}
	return fmt.Sprintf("%s\n[%d bytes]\n%s", e.head, e.dropped, e.tail)
}
