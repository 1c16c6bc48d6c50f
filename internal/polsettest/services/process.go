package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// stopTimeout is how long a process may take to end before it is killed.
const stopTimeout = 10 * time.Second

// A process is one service.
type process struct {
	cmd     *exec.Cmd
	log     string // what it printed
	stopped chan struct{}
}

// start starts a service that logs to a file in dir. A terminal's Ctrl-C does
// not reach it: it ends after the command, not beside it.
func start(dir string, cmd *exec.Cmd) (*process, error) {
	p := &process{
		cmd:     cmd,
		log:     filepath.Join(dir, filepath.Base(cmd.Path)+".log"),
		stopped: make(chan struct{}),
	}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	detach(cmd.SysProcAttr, syscall.SIGQUIT)
	err = cmd.Start()
	_ = out.Close() // the child has its own
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(p.stopped)
	}()
	return p, nil
}

// ready calls try until it succeeds. It gives up when the process has ended.
func (p *process) ready(ctx context.Context, try func(context.Context) error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.stopped:
			return fmt.Errorf("%s ended; it said:\n%s", filepath.Base(p.cmd.Path), p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; it said:\n%s", filepath.Base(p.cmd.Path), err, p.tail())
		}
	}
}

func (p *process) tail() []byte {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(text[max(0, len(text)-4096):])
}

// stop ends the process and its children. It may be called on nil.
func (p *process) stop(with syscall.Signal) {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(with) // fails only when it has ended
	select {
	case <-p.stopped:
	case <-time.After(stopTimeout):
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.stopped
}
