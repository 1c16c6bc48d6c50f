package conformance_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/polset/polset/internal/polsettest/hub"
)

const (
	bootstrap  = "bootstrap-token-of-the-conformance-run"
	repository = "acme/policies"

	startLimit = 30 * time.Second
	stopLimit  = 40 * time.Second // polset drains for less
)

// policies is the repository that go-tfe's tests expect: a branch policies
// besides the default one, and two directories.
const policies = `
-- policy-sets/foo/sentinel.hcl --
policy "restrict-instance-type" {
  source            = "./restrict-instance-type.sentinel"
  enforcement_level = "soft-mandatory"
}
-- policy-sets/foo/restrict-instance-type.sentinel --
import "tfplan/v2" as tfplan

allowed = ["t3.micro", "t3.small"]

instances = filter tfplan.resource_changes as _, rc {
	rc.type is "aws_instance" and rc.mode is "managed"
}

main = rule {
	all instances as _, rc { rc.change.after.instance_type in allowed }
}
-- policy-sets/bar/sentinel.hcl --
policy "require-tags" {
  source            = "./require-tags.sentinel"
  enforcement_level = "advisory"
}
-- policy-sets/bar/require-tags.sentinel --
import "tfplan/v2" as tfplan

buckets = filter tfplan.resource_changes as _, rc { rc.type is "aws_s3_bucket" }

main = rule {
	all buckets as _, rc { "owner" in keys(rc.change.after.tags) }
}
`

// A world is a running polset, its operator, and the GitHub that the operator
// put in the place of github.com, with polset's App installed.
type world struct {
	t      *testing.T
	binary string
	env    []string
	// What go-tfe's tests name.
	URL, PersonalToken, Installation string

	polset   string // the address of polset itself
	operator *httptest.Server

	cmd  *exec.Cmd
	done chan struct{} // closed when polset has ended and its log is whole

	mu      sync.Mutex
	log     bytes.Buffer
	answers []answer
}

// newWorld starts polset in a directory of its own; later settings win.
func newWorld(t *testing.T, binary string, settings ...string) *world {
	gh := hub.New(t, hub.Config{})
	octocat := gh.User("octocat")
	acme := gh.Organization("acme", octocat)
	repo := gh.Repository(repository)
	repo.Push("main", map[string]string{"README.md": "The policies are on another branch.\n"})
	repo.PushTxtar("policies", policies)
	app := gh.CreateApp(hub.AppConfig{Owner: acme, HookURL: "http://127.0.0.1:1/", WebhookSecret: "webhook-secret-of-the-conformance-run"})
	credentials := app.Credentials()

	w := &world{t: t, binary: binary, PersonalToken: gh.PersonalToken(octocat, "repo", "admin:repo_hook")}
	w.operator = httptest.NewServer(http.HandlerFunc(w.operate))
	t.Cleanup(w.operator.Close)
	w.URL = w.operator.URL
	dir := t.TempDir()
	w.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + os.TempDir(),
		"POLSET_LISTEN=127.0.0.1:0", "POLSET_PUBLIC_URL=" + w.URL,
		"POLSET_DATA_DIR=" + dir,
		"POLSET_BOOTSTRAP_TOKEN=" + bootstrap,
		"POLSET_CONFORMANCE=true",
		"POLSET_GITHUB_URL=" + gh.URL(), "POLSET_GITHUB_API_URL=" + gh.APIURL(),
		"POLSET_GITHUB_APP_ID=" + strconv.FormatInt(credentials.ID, 10),
		"POLSET_GITHUB_APP_PRIVATE_KEY=" + credentials.PrivateKey.Reveal(),
		"POLSET_GITHUB_WEBHOOK_SECRET=webhook-secret-of-the-conformance-run",
		"POLSET_ALLOW_PRIVATE_NETWORKS=127.0.0.0/8",
		"POLSET_LOG_LEVEL=debug", "POLSET_LOG_FORMAT=json",
	}, settings...)
	w.start()
	app.SetHookURL(w.polset + "/webhooks/github")
	app.Install(acme)
	w.Installation = w.installation()
	return w
}

// start runs polset and waits until it listens.
func (w *world) start() {
	w.t.Helper()
	w.cmd = exec.Command(w.binary, "serve")
	w.cmd.Env, w.done = w.env, make(chan struct{})
	stderr, err := w.cmd.StderrPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		w.t.Fatalf("start polset (make build makes it): %v", err)
	}
	listening := make(chan string, 1)
	go func() {
		defer close(w.done)
		lines := bufio.NewReader(stderr)
		for {
			line, err := lines.ReadString('\n')
			w.mu.Lock()
			w.log.WriteString(line)
			w.mu.Unlock()
			if url, ok := strings.CutPrefix(line, "listening on "); ok {
				listening <- strings.TrimSpace(url)
			}
			if err != nil {
				break
			}
		}
		_ = w.cmd.Wait() // ProcessState has it
	}()
	w.t.Cleanup(w.stop)
	select {
	case w.polset = <-listening:
	case <-w.done:
		w.t.Fatalf("polset ended at once: %v\n%s", w.cmd.ProcessState, w.Log())
	case <-time.After(startLimit):
		w.t.Fatalf("polset does not listen after %s\n%s", startLimit, w.Log())
	}
}

// stop ends polset as an operator does. It may be called again.
func (w *world) stop() {
	_ = w.cmd.Process.Signal(syscall.SIGTERM) // it may be gone
	select {
	case <-w.done:
		if !w.cmd.ProcessState.Success() {
			w.t.Errorf("polset ended with %v", w.cmd.ProcessState)
		}
	case <-time.After(stopLimit):
		w.t.Errorf("polset did not stop within %s of SIGTERM and is killed", stopLimit)
		_ = w.cmd.Process.Kill()
		<-w.done
	}
}

// Log is what polset has logged so far.
func (w *world) Log() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// ask sends a request of the operator's to polset, again where the tests have
// used up what a token may ask in a second.
func (w *world) ask(method, path, body string) (*http.Response, error) {
	for {
		req, err := http.NewRequest(method, w.polset+path, strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+bootstrap)
		req.Header.Set("Content-Type", "application/vnd.api+json")
		res, err := http.DefaultClient.Do(req)
		if err != nil || res.StatusCode != http.StatusTooManyRequests {
			return res, err
		}
		seconds, err := strconv.ParseFloat(res.Header.Get("X-RateLimit-Reset"), 64)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			return nil, fmt.Errorf("read when to ask again: %w", err)
		}
		select {
		case <-time.After(time.Duration(seconds * float64(time.Second))):
		case <-w.done:
			return nil, errors.New("polset has ended")
		}
	}
}

// installation asks polset for its id of the one installation.
func (w *world) installation() string {
	w.t.Helper()
	res, err := w.ask(http.MethodGet, "/api/v2/github-app/installations", "")
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var d struct {
		Data []struct{ ID string }
	}
	if err := json.NewDecoder(res.Body).Decode(&d); err != nil {
		w.t.Fatal(err)
	}
	if len(d.Data) != 1 {
		w.t.Fatalf("polset knows %d installations, want the one that GitHub told of", len(d.Data))
	}
	return d.Data[0].ID
}

// An answer is polset's to one request of the tests.
type answer struct {
	method, path string
	code         int
}

// operate passes everything on between the tests and polset, unchanged. Only
// that in HCP Terraform an installation of the GitHub App is its user's, who
// may use it in each organization that they make, and in polset nobody may use
// it in an organization before the operator has said so: this operator does as
// soon as an organization is there, before its maker hears of it.
func (w *world) operate(res http.ResponseWriter, req *http.Request) {
	target, err := url.Parse(w.polset)
	if err != nil {
		w.t.Error(err)
		return
	}
	proxy := httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(r *http.Response) error {
			w.mu.Lock()
			w.answers = append(w.answers, answer{req.Method, req.URL.Path, r.StatusCode})
			w.mu.Unlock()
			if req.Method == http.MethodPost && req.URL.Path == "/api/v2/organizations" && r.StatusCode == http.StatusCreated {
				return w.bind(r)
			}
			return nil
		},
		ErrorHandler: func(res http.ResponseWriter, _ *http.Request, err error) {
			w.t.Errorf("%s %s did not reach polset, or came to nothing: %v", req.Method, req.URL.Path, err)
			res.WriteHeader(http.StatusBadRequest) // go-tfe asks again after any 5xx
		},
	}
	proxy.ServeHTTP(res, req)
}

// bind lets the organization that was just made use the installation.
func (w *world) bind(made *http.Response) error {
	body, err := io.ReadAll(made.Body)
	if err != nil {
		return err
	}
	made.Body = io.NopCloser(bytes.NewReader(body))
	var d struct {
		Data struct{ ID string }
	}
	if err := json.Unmarshal(body, &d); err != nil {
		return err
	}
	res, err := w.ask(http.MethodPost, "/api/v2/github-app/installation/"+w.Installation+"/relationships/organizations",
		fmt.Sprintf(`{"data":[{"type":"organizations","id":%q}]}`, d.Data.ID))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusNoContent {
		err = fmt.Errorf("bind the installation to %s: %s", d.Data.ID, res.Status)
	}
	return errors.Join(err, res.Body.Close())
}

// keepLog writes the log beside the binary.
func (w *world) keepLog(name string) {
	file := filepath.Join(filepath.Dir(w.binary), name)
	if err := os.WriteFile(file, []byte(w.Log()), 0o600); err != nil {
		w.t.Error(err)
		return
	}
	w.t.Logf("the log of polset is in %s", file)
}

// audit walks the chains of the stopped polset.
func (w *world) audit() {
	w.t.Helper()
	cmd := exec.Command(w.binary, "audit", "verify")
	cmd.Env = w.env
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Errorf("polset audit verify: %v\n%s", err, out)
	}
}
