package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// A process is a worker, as the server sees it.
type process struct {
	cmd     *exec.Cmd
	in      *os.File      // its standard input
	reports chan report   // what it says; closed when it has ended
	ended   chan struct{} // closed when it has ended
	stderr  *ends

	used     bool // for an order other than a plan
	compiled compiled
	planned  any // whose plan it holds, nil where it holds none

	mu     sync.Mutex
	cause  cause // why it is being killed; "" where it is not
	broken error // why nothing more is read of it
}

// startProcess starts a worker and waits until its limits hold.
func startProcess(ctx context.Context, own []string, memory string) (*process, error) {
	argv, err := command(own)
	if err != nil {
		return nil, err
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a pipe: %w", err), theirIn.Close(), in.Close())
	}
	w := &process{in: in, reports: make(chan report), ended: make(chan struct{}), stderr: new(ends)}
	w.cmd = &exec.Cmd{
		Path: argv[0], Args: append(append([]string{os.Args[0]}, argv[1:]...), memory),
		// The server's own holds secrets. With this one, what policies take for the
		// local time zone is the same on every node.
		Env:   []string{"TZ=UTC"},
		Dir:   string(filepath.Separator),
		Stdin: theirIn, Stdout: theirOut, Stderr: w.stderr,
		WaitDelay: time.Second,
	}
	err = w.cmd.Start()
	err = errors.Join(err, theirIn.Close(), theirOut.Close())
	if err != nil && w.cmd.Process == nil {
		return nil, errors.Join(fmt.Errorf("start a policy worker: %w", err), in.Close(), out.Close())
	}
	go w.listen(out)

	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case r, ok := <-w.reports:
		if ok && r.Op == opReady {
			return w, nil
		}
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil, fmt.Errorf("start a policy worker: %w", w.kill(causeStart))
}

// pid is the process's id.
func (w *process) pid() int { return w.cmd.Process.Pid }

// listen passes on what the process says until it ends, or makes no sense.
func (w *process) listen(out *os.File) {
	var broken error
	for broken == nil {
		var r report
		if _, broken = readFrame(out, &r, 0); broken == nil {
			w.reports <- r
		}
	}
	w.mu.Lock()
	w.broken = broken
	w.mu.Unlock()
	_ = w.cmd.Process.Kill() // mostly it is gone
	_ = w.cmd.Wait()         // death asks for its state
	_ = out.Close()          // it was read only
	_ = w.in.Close()         // and nobody reads this any more
	close(w.ended)
	close(w.reports)
}

// gone reports whether the process has ended.
func (w *process) gone() bool {
	select {
	case <-w.ended:
		return true
	default:
		return false
	}
}

// writeTimeout is how long the process may take to read what it is sent. It has
// a reader of its own, which does nothing else.
const writeTimeout = 30 * time.Second

// send tells the process something. The error is its death.
func (w *process) send(o order, data []byte) error {
	err := w.in.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err == nil {
		err = writeFrame(w.in, o, data)
	}
	var size *frameSizeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &size):
		return err // the caller bounds it
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return w.kill(causeSilent)
	}
	return w.kill(causeForeign) // of itself or of a signal; death knows
}

// end ends a process that has nothing to do.
func (w *process) end(grace time.Duration) {
	_ = w.in.Close() // upon which it ends by itself
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-w.ended:
	case <-timer.C:
	}
	_ = w.kill(causeStopped) // what it died of does not matter any more
}
