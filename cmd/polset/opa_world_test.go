package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/polset/polset/internal/polsettest"
)

// An agent is a real opa server that polset gives its bundles to.
type agent struct {
	t    *testing.T
	http *http.Client
	news chan struct{} // one for any number of lines
	done chan struct{}

	mu    sync.Mutex
	lines []string // that it logged

	heard int            // lines that Says has gone through
	loads map[string]int // that Loads has waited for
}

// startAgent runs opa with a configuration that names a polset and a token by
// variables.
func startAgent(t *testing.T, config, url, token string) *agent {
	t.Helper()
	program, err := polsettest.OPA()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "opa-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file, socket := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "s")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "run", "--server", "--addr", "unix://"+socket, "--config-file", file, "--log-format", "json", "--skip-version-check")
	cmd.Dir, cmd.Env = dir, []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "POLSET_URL=" + url, "POLSET_TOKEN=" + token}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = cmd.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a := &agent{t: t, news: make(chan struct{}, 1), done: make(chan struct{}), loads: map[string]int{}}
	a.http = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	go func() {
		defer close(a.done)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			a.mu.Lock()
			a.lines = append(a.lines, lines.Text())
			a.mu.Unlock()
			select {
			case a.news <- struct{}{}:
			default:
			}
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		a.http.CloseIdleConnections()
		_ = cmd.Process.Kill()
		<-a.done
		if t.Failed() {
			t.Logf("log of opa:\n%s", strings.Join(a.Lines(), "\n"))
		}
	})
	eventually(t, time.Minute, "an opa that answers", func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", socket)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return a
}

// Lines are what the agent has logged.
func (a *agent) Lines() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.lines)
}

// until waits until what the agent has logged fulfils a condition.
func (a *agent) until(what string, fulfilled func() bool) {
	a.t.Helper()
	limit := time.After(time.Minute)
	for !fulfilled() {
		select {
		case <-a.news:
		case <-a.done:
			a.t.Fatalf("opa ended before it came to %s", what)
		case <-limit:
			a.t.Fatalf("opa did not %s within a minute", what)
		}
	}
}

// holds is for a line that holds all of these texts.
func holds(texts ...string) func(line string) bool {
	return func(line string) bool {
		return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) })
	}
}

// Says waits for a line, after the one that the last Says waited for.
func (a *agent) Says(text string) {
	a.t.Helper()
	a.until("say "+text, func() bool {
		lines := a.Lines()
		i := slices.IndexFunc(lines[a.heard:], holds(text))
		if i >= 0 {
			a.heard += i + 1
		}
		return i >= 0
	})
}

// Hears forgets what was said so far.
func (a *agent) Hears() { a.heard = len(a.Lines()) }

// Loaded counts how often the agent has loaded a bundle.
func (a *agent) Loaded(bundle string) (n int) {
	is := holds("Bundle loaded and activated successfully", `"name":"`+bundle+`"`)
	for _, line := range a.Lines() {
		if is(line) {
			n++
		}
	}
	return n
}

// Loads waits until the agent has loaded a bundle once more.
func (a *agent) Loads(bundle string) {
	a.t.Helper()
	a.loads[bundle]++
	a.until("load "+bundle, func() bool { return a.Loaded(bundle) >= a.loads[bundle] })
}

// Answer asks the agent for a document of data.
func (a *agent) Answer(path string, input any) any {
	a.t.Helper()
	body, err := json.Marshal(document{"input": input})
	if err != nil {
		a.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(a.t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://opa/v1/data/"+path, bytes.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	res, err := a.http.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var d document
	if err := json.NewDecoder(res.Body).Decode(&d); err != nil || res.StatusCode != http.StatusOK {
		a.t.Fatalf("opa answered %s: %v", res.Status, err)
	}
	return d["result"]
}

// answers fails unless the agent's answer is that.
func (a *agent) answers(path string, input, want any) {
	a.t.Helper()
	if got, expected := fmt.Sprint(a.Answer(path, input)), fmt.Sprint(want); got != expected {
		a.t.Errorf("opa says of %s: %s, want %s", path, got, expected)
	}
}

// agentExample is one of the configurations that users are shown, with texts
// replaced: old and new in turn.
func agentExample(t *testing.T, name string, replace ...string) string {
	t.Helper()
	config, err := os.ReadFile(filepath.Join("..", "..", "deploy", "examples", "opa", name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(config)
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("%s does not hold %q", name, replace[i])
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	return text
}

// Token makes a token that may read an organization.
func (n *node) Token(organization string) (id, secret string) {
	n.t.Helper()
	d := n.must(201, "POST", "/api/v2/organizations/"+organization+"/authentication-tokens",
		resource("authentication-tokens", document{"description": "of an agent", "permissions": []string{"read"}}))
	return text(d, "data", "id"), text(d, "data", "attributes", "token")
}
