package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startLimit = 30 * time.Second
	stopLimit  = 40 * time.Second // polset drains for less
)

// A server is the polset binary, run as an operator runs it.
type server struct {
	url    string
	binary string
	env    []string
	cmd    *exec.Cmd
	log    *watcher
	done   chan struct{} // closed after the process ended
	err    error         // how it ended; read after done
}

// startServer runs polset serve with nothing but its settings in the
// environment, and returns when it listens.
func startServer(ctx context.Context, binary, dir string, settings map[string]string) (*server, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, fmt.Errorf("find polset: %w", err)
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("find polset (make build makes it): %w", err)
	}
	if settings["POLSET_LISTEN"], err = freeAddress(ctx); err != nil {
		return nil, err
	}
	s := &server{binary: binary, log: &watcher{listening: make(chan string, 1)}, done: make(chan struct{})}
	for name, value := range settings {
		s.env = append(s.env, name+"="+value)
	}
	// Not CommandContext: an interrupted demo still stops polset gracefully.
	s.cmd = exec.Command(binary, "serve") // #nosec G204 -- the user names the binary to show
	s.cmd.Dir, s.cmd.Env, s.cmd.Stderr = dir, s.env, s.log
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start polset: %w", err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	select {
	case s.url = <-s.log.listening:
		return s, nil
	case <-s.done:
		err = fmt.Errorf("polset ended at once: %w", s.err)
	case <-limit.C:
		err = fmt.Errorf("polset does not listen after %s", startLimit)
	case <-ctx.Done():
		err = ctx.Err()
	}
	return s, err
}

// freeAddress finds a port that nobody uses. polset must be told its port: it
// is a part of the links that it gives out.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

// stop asks polset to stop and waits; one that does not is killed. It may be
// called again.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop polset: %w", err)
	}
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-s.done:
	case <-limit.C:
		err := s.cmd.Process.Kill()
		<-s.done
		return errors.Join(fmt.Errorf("polset did not stop within %s of SIGTERM and was killed", stopLimit), err)
	}
	if s.err != nil {
		return fmt.Errorf("polset stopped with %w", s.err)
	}
	return nil
}

// ended reports whether the process is gone.
func (s *server) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// verify runs polset audit verify on the stopped server's data.
func (s *server) verify(ctx context.Context, chain, head string) (string, error) {
	cmd := exec.CommandContext(ctx, s.binary, "audit", "verify", "--head", chain+"="+head) // #nosec G204 -- as above
	cmd.Dir, cmd.Env = s.cmd.Dir, s.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("polset audit verify: %w\n%s", err, out)
	}
	return string(out), nil
}

// A watcher keeps what polset writes to standard error, and looks for the
// line that says where it listens.
type watcher struct {
	listening chan string

	mu    sync.Mutex
	text  bytes.Buffer
	seen  int // bytes that were looked at
	found bool
}

// Write implements io.Writer.
func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.text.Write(p)
	for !w.found {
		line, _, complete := strings.Cut(string(w.text.Bytes()[w.seen:]), "\n")
		if !complete {
			break
		}
		w.seen += len(line) + 1
		if url, ok := strings.CutPrefix(line, "listening on "); ok {
			w.found = true
			w.listening <- strings.TrimSpace(url)
		}
	}
	return n, err
}

// tail is the last lines of the log.
func (w *watcher) tail(n int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := strings.Split(strings.TrimRight(w.text.String(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// holds says whether a text was logged.
func (w *watcher) holds(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Contains(w.text.String(), text)
}
