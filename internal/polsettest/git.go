// Package polsettest turns the programs of this machine into the world that
// polset lives in: a git server like GitHub's, a PostgreSQL database, an S3
// bucket and signed webhook deliveries. Tests, the demo and the bench use it;
// nothing that is shipped does.
package polsettest

import (
	"bytes"
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Git serves bare repositories over smart HTTP (protocol versions 0 and 2)
// through git's own http-backend, with the capabilities that GitHub's git
// servers have. A repository is found at <URL>/<owner>/<name>.git and at
// <URL>/<owner>/<name>, whatever the case of its letters.
//
// The methods of Git and Repo do not return errors. Below NewGit a failure
// ends the test; below StartGit it panics. All are safe for concurrent use.
type Git struct {
	dir     string
	fatal   func(error)
	server  *Server
	backend string // the http-backend program
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup // handlers and push hooks
	stderr  errorLog

	mu        sync.Mutex
	repos     map[string]*Repo // by lower-case owner/name
	created   int64            // repositories, ever
	requests  []*Request
	intercept Fault
	gate      Gate
	others    http.Handler
}

// NewGit starts a git server that lives as long as the test.
func NewGit(t testing.TB) *Git {
	t.Helper()
	g, err := StartGit(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g.fatal = func(err error) {
		t.Helper()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() && g.stderr.String() != "" {
			t.Logf("git http-backend said:\n%s", g.stderr.String())
		}
	})
	return g
}

// StartGit starts a git server on a free port of 127.0.0.1 that keeps its
// repositories below dir.
func StartGit(dir string) (*Git, error) {
	execPath, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("find git: %w", err)
	}
	backend := filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		return nil, fmt.Errorf("find git http-backend: %w", err)
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the repositories' directory: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g := &Git{
		dir:     dir,
		fatal:   func(err error) { panic(err) },
		backend: backend,
		ctx:     ctx,
		cancel:  cancel,
		repos:   map[string]*Repo{},
	}
	g.server, err = StartServer(http.HandlerFunc(g.serve))
	if err != nil {
		cancel()
		return nil, fmt.Errorf("serve git: %w", err)
	}
	return g, nil
}

// Close ends every request, hanging ones too, and waits for them and for the
// push hooks. The repositories stay in the directory.
func (g *Git) Close() error {
	g.cancel()
	err := g.server.Close()
	g.running.Wait()
	if err != nil {
		return fmt.Errorf("stop the git server: %w", err)
	}
	return nil
}

// URL is the server's address without a trailing slash, such as
// http://127.0.0.1:4711: what https://github.com is to a user of GitHub.
func (g *Git) URL() string { return g.server.URL() }

// Server is what listens, to pause it.
func (g *Git) Server() *Server { return g.server }

// GitEnv is an environment for running git that no configuration of the
// machine or of the user can reach, with a fixed author, committer and date,
// so that equal commits have equal ids everywhere.
func GitEnv() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"TMPDIR=" + os.TempDir(),
		"HOME=" + os.DevNull,
		"LC_ALL=C",
		"TZ=UTC",
		"GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=" + AuthorName,
		"GIT_AUTHOR_EMAIL=" + AuthorEmail,
		"GIT_AUTHOR_DATE=" + gitDate,
		"GIT_COMMITTER_NAME=" + AuthorName,
		"GIT_COMMITTER_EMAIL=" + AuthorEmail,
		"GIT_COMMITTER_DATE=" + gitDate,
	}
}

// The author and committer of every commit.
const (
	AuthorName  = "Octo Cat"
	AuthorEmail = "octocat@example.com"
	gitDate     = "1767323045 +0000"
	commitTime  = 1767323045 // 2026-01-02T03:04:05Z
)

func (g *Git) serve(w http.ResponseWriter, r *http.Request) {
	g.running.Add(1)
	defer g.running.Done()
	// A hanging handler must end with the server, not only with its client.
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	r = r.WithContext(ctx)

	g.mu.Lock()
	fault, others := g.intercept, g.others
	g.mu.Unlock()
	if others != nil && !isGit(r.URL.Path) {
		others.ServeHTTP(w, r)
		return
	}
	recorder := g.record(w, r)
	defer recorder.end()
	next := http.HandlerFunc(g.serveRepository)
	if fault != nil && fault(recorder, r, next) {
		return
	}
	next.ServeHTTP(recorder, r)
}

func (g *Git) serveRepository(w http.ResponseWriter, r *http.Request) {
	repo, service := g.find(r.URL.Path)
	g.mu.Lock()
	gate := g.gate
	g.mu.Unlock()
	if gate == nil {
		gate = authorize
	}
	if !gate(w, r, repo) {
		return
	}
	if service == "/git-receive-pack" && r.Method == http.MethodPost {
		repo.receive(w, r)
		return
	}
	repo.serve(w, r, service)
}

// find splits /owner/name[.git]/service.
func (g *Git) find(path string) (*Repo, string) {
	parts := strings.SplitN(strings.TrimPrefix(path, "/"), "/", 3)
	if len(parts) < 3 {
		return nil, ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	key := strings.ToLower(parts[0] + "/" + strings.TrimSuffix(parts[1], ".git"))
	return g.repos[key], "/" + parts[2]
}

// authorize answers as GitHub does: 401 to whoever shows no credential or a
// wrong one, 404 to whoever shows one and may not know of the repository.
func authorize(w http.ResponseWriter, r *http.Request, repo *Repo) bool {
	_, password, given := r.BasicAuth()
	if repo != nil {
		repo.mu.Lock()
		token, hidden := repo.token, repo.hidden
		repo.mu.Unlock()
		if token == "" || given && subtle.ConstantTimeCompare([]byte(password), []byte(token)) == 1 {
			return true
		}
		if !hidden {
			given = false
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if given {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "Repository not found.\n")
		return false
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, "Invalid username or token. Password authentication is not supported for Git operations.\n")
	return false
}

func (r *Repo) serve(w http.ResponseWriter, req *http.Request, service string) {
	req = req.Clone(req.Context())
	req.URL.Path = "/" + r.Identifier + ".git" + service
	req.URL.RawPath = ""
	if len(req.TransferEncoding) > 0 {
		// CGI knows no chunks, but http-backend reads to the end of its input
		// where it is told no length.
		req.TransferEncoding, req.ContentLength = nil, -1
	}
	if r.v0 {
		req.Header.Del("Git-Protocol")
	}
	handler := &cgi.Handler{
		Path: r.git.backend,
		Env: append(GitEnv()[1:],
			"GIT_PROJECT_ROOT="+r.git.dir,
			"GIT_HTTP_EXPORT_ALL=1"),
		InheritEnv: []string{"PATH"},
		Stderr:     &r.git.stderr,
		Logger:     r.git.stderr.logger(),
	}
	handler.ServeHTTP(w, req)
}

// run runs git and returns what it printed.
func (g *Git) run(dir string, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(g.ctx, "git", args...)
	cmd.Dir, cmd.Stdin, cmd.Env = dir, stdin, GitEnv()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}
