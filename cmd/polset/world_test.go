package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/polset/polset/internal/polsettest"
)

// polsetBinary is the program under test, built once: these tests see nothing
// of it that a user does not see.
var polsetBinary string

func TestMain(m *testing.M) {
	code, err := func() (int, error) {
		dir, err := os.MkdirTemp("", "polset-e2e-")
		if err != nil {
			return 1, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		polsetBinary = filepath.Join(dir, "polset")
		build := exec.Command("go", append(append([]string{"build"}, raceFlag...), "-o", polsetBinary, ".")...)
		if out, err := build.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build polset: %w\n%s", err, out)
		}
		return m.Run(), nil
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

const (
	bootstrap     = "bootstrap-secret-of-the-tests"
	webhookSecret = "webhook-secret-of-the-tests"
	gitToken      = "ghp_secretOfTheRepositories"
)

// A node is a running polset.
type node struct {
	t    *testing.T
	cmd  *exec.Cmd
	URL  string
	done chan struct{}

	mu  sync.Mutex
	log bytes.Buffer
}

// env is what every node of these tests shares; later values win.
func env(git *polsettest.Git, dataDir string, more ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dataDir, "TMPDIR=" + os.TempDir(),
		"POLSET_LISTEN=127.0.0.1:0",
		"POLSET_DATA_DIR=" + dataDir,
		"POLSET_BOOTSTRAP_TOKEN=" + bootstrap,
		"POLSET_RATE_LIMIT=0", // tests ask again and again
		"POLSET_GITHUB_URL=" + git.URL(),
		"POLSET_GITHUB_WEBHOOK_SECRET=" + webhookSecret,
		"POLSET_ALLOW_PRIVATE_NETWORKS=127.0.0.0/8",
		"POLSET_LOG_LEVEL=debug", "POLSET_LOG_FORMAT=json",
	}, more...)
}

// start runs polset and waits until it listens.
func start(t *testing.T, environ []string) *node {
	t.Helper()
	n, err := tryStart(t, environ)
	if err != nil {
		t.Fatalf("%v\n%s", err, n.Log())
	}
	return n
}

func tryStart(t *testing.T, environ []string) (*node, error) {
	t.Helper()
	n := &node{t: t, cmd: exec.Command(polsetBinary, "serve"), done: make(chan struct{})}
	n.cmd.Env = environ
	stderr, err := n.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening := make(chan string, 1)
	go func() {
		defer close(n.done)
		lines := bufio.NewReader(stderr)
		for {
			line, err := lines.ReadString('\n')
			n.mu.Lock()
			n.log.WriteString(line)
			n.mu.Unlock()
			if url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on "); ok {
				listening <- url
			}
			if err != nil {
				break
			}
		}
		_ = n.cmd.Wait() // its code is in ProcessState
	}()
	t.Cleanup(func() {
		n.Kill()
		if t.Failed() {
			t.Logf("log of polset:\n%s", n.Log())
		}
		if strings.Contains(n.Log(), "DATA RACE") {
			t.Errorf("data race:\n%s", n.Log())
		}
	})
	select {
	case n.URL = <-listening:
		return n, nil
	case <-n.done:
		return n, fmt.Errorf("polset ended: %v", n.cmd.ProcessState)
	case <-time.After(60 * time.Second):
		return n, errors.New("polset does not listen after a minute")
	}
}

// Log is what the node wrote to standard error so far.
func (n *node) Log() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.String()
}

// Kill ends the node as a crash does.
func (n *node) Kill() {
	_ = n.cmd.Process.Kill() // it may be gone already
	<-n.done
}

// Signal sends a signal.
func (n *node) Signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatal(err)
	}
}

// Stop ends the node as an operator does, and returns its exit code.
func (n *node) Stop() int {
	n.t.Helper()
	n.Signal(syscall.SIGTERM)
	select {
	case <-n.done:
	case <-time.After(60 * time.Second):
		n.t.Fatal("polset does not stop within a minute of SIGTERM")
	}
	return n.cmd.ProcessState.ExitCode()
}

type document = map[string]any

// get walks into a document: get(d, "data", "attributes", "status").
func get(d any, keys ...string) any {
	for _, k := range keys {
		m, ok := d.(document)
		if !ok {
			return nil
		}
		d = m[k]
	}
	return d
}

func text(d any, keys ...string) string {
	s, _ := get(d, keys...).(string)
	return s
}

func list(d any, keys ...string) []any {
	l, _ := get(d, keys...).([]any)
	return l
}

// Call sends one request of the API and decodes the answer.
func (n *node) Call(method, path string, body any) (int, document) {
	n.t.Helper()
	code, raw, err := n.TryCall(method, path, bootstrap, body)
	if err != nil {
		n.t.Fatal(err)
	}
	var d document
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &d); err != nil {
			n.t.Fatalf("%s %s answered %d with no JSON: %v\n%.500s", method, path, code, err, raw)
		}
	}
	return code, d
}

// TryCall is Call for a node that may be gone.
func (n *node) TryCall(method, path, token string, body any) (int, []byte, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		r = bytes.NewReader(b)
	}
	if !strings.HasPrefix(path, "http") {
		path = n.URL + path
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, path, r)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/vnd.api+json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	return res.StatusCode, raw, err
}

// must is Call with the code that is expected.
func (n *node) must(code int, method, path string, body any) document {
	n.t.Helper()
	got, d := n.Call(method, path, body)
	if got != code {
		n.t.Fatalf("%s %s answered %d, want %d: %v", method, path, got, code, d)
	}
	return d
}

func resource(kind string, attributes document) document {
	return document{"data": document{"type": kind, "attributes": attributes}}
}

// Organization makes an organization with a connection, and returns the
// id of its oauth token.
func (n *node) Organization(name string) (tokenID string) {
	n.t.Helper()
	n.must(201, "POST", "/api/v2/organizations", resource("organizations", document{"name": name, "email": name + "@example.com"}))
	d := n.must(201, "POST", "/api/v2/organizations/"+name+"/oauth-clients", resource("oauth-clients", document{
		"service-provider": "github", "http-url": "https://github.com", "api-url": "https://api.github.com",
		"oauth-token-string": gitToken,
	}))
	for _, ref := range list(d, "data", "relationships", "oauth-tokens", "data") {
		return text(ref, "id")
	}
	n.t.Fatalf("the oauth client has no token: %v", d)
	return ""
}

// A set is a policy set about to be made.
type set struct {
	Org, Name, Kind, Path, Repo, Branch, Token string
	Submodules                                 bool
}

// PolicySet makes a policy set and returns the whole document.
func (n *node) PolicySet(s set) document {
	n.t.Helper()
	if s.Kind == "" {
		s.Kind = "opa"
	}
	return n.must(201, "POST", "/api/v2/organizations/"+s.Org+"/policy-sets", resource("policy-sets", document{
		"name": s.Name, "kind": s.Kind, "policies-path": s.Path,
		"vcs-repo": document{
			"identifier": s.Repo, "branch": s.Branch, "oauth-token-id": s.Token, "ingress-submodules": s.Submodules,
		},
	}))
}

// Deliver sends a push as GitHub does and returns the answer's code; a GUID
// is made where none is given.
func (n *node) Deliver(p polsettest.Push, guid string) (int, error) {
	if guid == "" {
		guid = uuid.NewString()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	res, err := polsettest.Deliver(ctx, n.URL+"/webhooks/github", webhookSecret, "push", guid, polsettest.PushEvent(p))
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Body.Close()
}

// push delivers and expects the code.
func (n *node) push(code int, p polsettest.Push) {
	n.t.Helper()
	got, err := n.Deliver(p, "")
	if err != nil {
		n.t.Fatal(err)
	}
	if got != code {
		n.t.Fatalf("delivery of %s answered %d, want %d", p.After, got, code)
	}
}

// eventually waits until a condition holds. It looks ten times a second:
// there is no signal to wait for outside the process.
func eventually(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("after %s: still not %s", limit, what)
		case <-tick.C:
		}
	}
}

// Versions lists the versions of a set, the newest first.
func (n *node) Versions(setID string) []any {
	n.t.Helper()
	return list(n.must(200, "GET", "/api/v2/policy-sets/"+setID+"/versions?page%5Bsize%5D=100", nil), "data")
}

// Ingestions lists the ingestions of a set, the newest first.
func (n *node) Ingestions(setID string) []any {
	n.t.Helper()
	return list(n.must(200, "GET", "/api/v2/policy-sets/"+setID+"/ingestions?page%5Bsize%5D=100", nil), "data")
}

// Settled waits until every ingestion of a set has ended.
func (n *node) Settled(setID string, limit time.Duration) []any {
	n.t.Helper()
	var all []any
	eventually(n.t, limit, "settled", func() bool {
		all = n.Ingestions(setID)
		for _, i := range all {
			switch text(i, "attributes", "status") {
			case "pending", "running":
				return false
			}
		}
		return len(all) > 0
	})
	return all
}

// Current returns the id of a set's current version.
func (n *node) Current(setID string) string {
	n.t.Helper()
	return text(n.must(200, "GET", "/api/v2/policy-sets/"+setID, nil), "data", "relationships", "current-version", "data", "id")
}

// Newest returns a set's newest version.
func (n *node) Newest(setID string) any {
	n.t.Helper()
	v := n.Versions(setID)
	if len(v) == 0 {
		n.t.Fatalf("policy set %s has no version", setID)
	}
	return v[0]
}

// Download returns the archive of a version.
func (n *node) Download(version any) []byte {
	n.t.Helper()
	link := text(version, "links", "download")
	if link == "" {
		n.t.Fatalf("version %s has no download link: %v", text(version, "id"), version)
	}
	code, raw, err := n.TryCall("GET", link, bootstrap, nil)
	if err != nil || code != 200 {
		n.t.Fatalf("download answered %d: %v", code, err)
	}
	return raw
}
