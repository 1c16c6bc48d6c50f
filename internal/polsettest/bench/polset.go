package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startLimit is how long polset may take until it listens, migrations included.
const startLimit = 30 * time.Second

// A node is the polset binary, run as an operator runs it.
type node struct {
	url        string
	token      string // of a site admin
	hookSecret string
	cmd        *exec.Cmd
	ended      chan struct{}

	mu   sync.Mutex
	last []string // of its log
}

// startNode runs polset serve. Its rows are in the database, or in SQLite
// below the directory where databaseURL is "".
func startNode(ctx context.Context, binary, dir, databaseURL, github string, workers int) (*node, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, fmt.Errorf("find polset: %w", err)
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("find polset (make build makes it): %w", err)
	}
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	n := &node{token: rand.Text(), hookSecret: rand.Text(), ended: make(chan struct{})}
	n.cmd = exec.Command(binary, "serve")
	n.cmd.Dir = dir
	n.cmd.SysProcAttr = &syscall.SysProcAttr{}
	n.cmd.Env = []string{
		"TMPDIR=" + dir,
		"POLSET_LISTEN=127.0.0.1:0",
		"POLSET_DATA_DIR=" + filepath.Join(dir, "data"),
		"POLSET_DATABASE_URL=" + databaseURL,
		"POLSET_ENCRYPTION_KEY=" + base64.StdEncoding.EncodeToString(key[:]),
		"POLSET_BOOTSTRAP_TOKEN=" + n.token,
		"POLSET_RATE_LIMIT=0",
		"POLSET_GITHUB_URL=" + github,
		"POLSET_GITHUB_WEBHOOK_SECRET=" + n.hookSecret,
		"POLSET_ALLOW_PRIVATE_NETWORKS=127.0.0.0/8",
		"POLSET_RATE_LIMIT=0", // the one token of the bench asks more often than anybody
		fmt.Sprintf("POLSET_WORKERS=%d", workers),
	}
	log, err := n.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start polset: %w", err)
	}
	if err := n.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start polset: %w", err)
	}
	listening := make(chan string, 1)
	go n.watch(log, listening)
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	select {
	case n.url = <-listening:
		return n, nil
	case <-n.ended:
		err = fmt.Errorf("polset ended at once:\n%s", n.tail())
	case <-limit.C:
		err = fmt.Errorf("polset does not listen after %s:\n%s", startLimit, n.tail())
	case <-ctx.Done():
		err = ctx.Err()
	}
	n.kill()
	return nil, err
}

// watch reads polset's log to its end, and looks for where it listens.
func (n *node) watch(log io.Reader, listening chan<- string) {
	defer close(n.ended)
	const kept = 20
	lines := bufio.NewReaderSize(log, 64<<10)
	for {
		line, err := lines.ReadString('\n')
		if url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on "); ok {
			listening <- url
		}
		n.mu.Lock()
		if n.last = append(n.last, line); len(n.last) > 2*kept {
			n.last = slices.Delete(n.last, 0, kept)
		}
		n.mu.Unlock()
		if err != nil {
			_ = n.cmd.Wait() // how it ended is in its log
			return
		}
	}
}

func (n *node) tail() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.last, "")
}

// kill ends polset at once: nobody wants the rows, and a graceful stop would
// wait for a git server that does not answer.
func (n *node) kill() {
	_ = n.cmd.Process.Kill() // fails only when it has ended
	<-n.ended
}
