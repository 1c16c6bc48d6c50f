package main_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/polset/polset/internal/polsettest"
)

// command runs a subcommand to its end.
func command(t *testing.T, environ []string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, polsetBinary, args...)
	cmd.Env = environ
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestCase99KillAnywhere(t *testing.T) {
	git := polsettest.NewGit(t)
	repo := git.Create("acme/policies")
	last := repo.Commit("main", policies("policies", 2, "start"))
	dir := t.TempDir()
	environ := env(git, dir, "POLSET_SWEEP_INTERVAL=1s", "POLSET_LEASE=3s", "POLSET_RETRY_BASE=200ms")
	n := start(t, environ)
	token := n.Organization("acme")
	id := text(n.PolicySet(set{Org: "acme", Name: "prod", Path: "policies", Repo: "acme/policies", Branch: "main", Token: token}), "data", "id")

	accepted := map[string]bool{}
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 12 {
		for i := range 3 {
			commit := repo.Commit("main", policies("policies", 2, fmt.Sprintf("round %d push %d", round, i)))
			p := repo.Push("main", last, commit)
			last = commit
			// GitHub's own word counts: only what was answered 2xx must survive.
			if code, err := n.Deliver(p, ""); err == nil && code == http.StatusAccepted {
				accepted[commit] = true
			} else {
				t.Errorf("delivery answered %d: %v", code, err)
			}
		}
		// A crash at any line: from within the first transaction to long after
		// the last one.
		timer := time.NewTimer(time.Duration(random.IntN(60)) * time.Millisecond)
		<-timer.C
		n.Kill()
		n = start(t, environ)
	}
	all := n.Settled(id, 2*time.Minute)
	outcomes := map[string]string{}
	for _, i := range all {
		if text(i, "attributes", "cause") == "push" {
			outcomes[text(i, "attributes", "commit-sha")] = text(i, "attributes", "status")
		}
	}
	for commit := range accepted {
		if s := outcomes[commit]; s != "versioned" && s != "unchanged" {
			t.Errorf("the accepted push of %s ended %q", commit, s)
		}
	}
	for _, v := range n.Versions(id) {
		if text(v, "attributes", "status") != "ready" {
			t.Errorf("version is %v", get(v, "attributes"))
			continue
		}
		n.sameAsGit(repo, v, "policies")
	}
	current := n.must(200, "GET", "/api/v2/policy-set-versions/"+n.Current(id), nil)
	if got := text(current, "data", "attributes", "ingress-attributes", "commit-sha"); got != last {
		t.Errorf("current is of %s, want the head %s", got, last)
	}
	n.Stop()
	if out, err := command(t, environ, "audit", "verify"); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}

// cluster is the environment of nodes that share PostgreSQL and S3.
func cluster(t *testing.T, git *polsettest.Git, bucket polsettest.Bucket, database, objects string, more ...string) func() []string {
	t.Helper()
	return func() []string {
		return env(git, t.TempDir(), append([]string{
			"POLSET_DATABASE_URL=" + database, "POLSET_OBJECTS_URL=" + objects,
			"POLSET_ENCRYPTION_KEY=" + clusterKey(t),
			"AWS_ACCESS_KEY_ID=" + bucket.AccessKey, "AWS_SECRET_ACCESS_KEY=" + bucket.SecretKey,
			"POLSET_LEASE=3s", "POLSET_SWEEP_INTERVAL=1s", "POLSET_RETRY_BASE=200ms",
		}, more...)...)
	}
}

func TestCase102TwoNodesOneDelivery(t *testing.T) {
	git := polsettest.NewGit(t)
	repo := git.Create("acme/policies")
	last := repo.Commit("main", policies("policies", 2, "start"))
	bucket := polsettest.NewBucket(t)
	environ := cluster(t, git, bucket, polsettest.Postgres(t), bucket.URL("prod"))
	// Both start at once: the migrations must not collide.
	started := make(chan *node)
	go func() { started <- start(t, environ()) }()
	a := start(t, environ())
	b := <-started
	token := a.Organization("acme")
	id := text(a.PolicySet(set{Org: "acme", Name: "prod", Path: "policies", Repo: "acme/policies", Branch: "main", Token: token}), "data", "id")

	const pushes = 8
	for i := range pushes {
		commit := repo.Commit("main", policies("policies", 2, fmt.Sprint(i)))
		p, guid := repo.Push("main", last, commit), uuid.NewString()
		last = commit
		codes := make(chan int, 2)
		for _, n := range []*node{a, b} {
			go func() {
				code, err := n.Deliver(p, guid)
				if err != nil {
					t.Error(err)
				}
				codes <- code
			}()
		}
		for range 2 {
			if code := <-codes; code/100 != 2 {
				t.Errorf("delivery answered %d", code)
			}
		}
	}
	// A worker may have seen a head before its delivery came: that is one more
	// ingestion, but never one more version.
	delivered := 0
	for _, i := range b.Settled(id, time.Minute) {
		if text(i, "attributes", "cause") == "push" {
			delivered++
		}
	}
	if delivered != pushes {
		t.Errorf("%d ingestions by push, want %d", delivered, pushes)
	}
	versions := b.Versions(id)
	if len(versions) != pushes+1 {
		t.Errorf("%d versions, want %d", len(versions), pushes+1)
	}
	for _, v := range versions {
		b.sameAsGit(repo, v, "policies")
	}

	t.Run("case 100 a node that sleeps past its lease writes nothing", func(t *testing.T) {
		arrived := make(chan *http.Request, 1)
		git.Intercept(polsettest.When(polsettest.IsFetch, polsettest.Times(1, polsettest.FirstOf(polsettest.Signal(arrived), polsettest.Hang()))))
		commit := repo.Commit("main", policies("policies", 2, "while one sleeps"))
		// Whichever node takes it hangs in the fetch, and is put to sleep there.
		if code, err := a.Deliver(repo.Push("main", last, commit), ""); err != nil || code != http.StatusAccepted {
			t.Fatalf("delivery answered %d: %v", code, err)
		}
		last = commit
		<-arrived
		claimed := func(n *node) bool {
			for line := range strings.Lines(n.Log()) {
				if strings.Contains(line, "commit claimed") && strings.Contains(line, commit) {
					return true
				}
			}
			return false
		}
		sleeper, other := a, b
		if !claimed(a) {
			sleeper, other = b, a
		}
		if !claimed(sleeper) {
			t.Fatal("neither node claimed the commit")
		}
		sleeper.Signal(syscall.SIGSTOP)
		defer sleeper.Signal(syscall.SIGCONT)
		git.Intercept(nil)
		other.Settled(id, time.Minute)
		v := other.Newest(id)
		if text(v, "attributes", "status") != "ready" || text(v, "attributes", "ingress-attributes", "commit-sha") != commit {
			t.Errorf("newest is %v", get(v, "attributes"))
		}
		sleeper.Signal(syscall.SIGCONT)
		other.sameAsGit(repo, v, "policies")
		if got := len(other.Versions(id)); got != pushes+2 {
			t.Errorf("%d versions, want %d", got, pushes+2)
		}
	})
	t.Run("a dead node's work is taken over", func(t *testing.T) {
		a.Kill()
		commit := repo.Commit("main", policies("policies", 2, "after the death"))
		b.push(202, repo.Push("main", last, commit))
		b.Settled(id, time.Minute)
		if v := b.Newest(id); text(v, "attributes", "status") != "ready" {
			t.Errorf("newest is %v", get(v, "attributes"))
		}
	})
	if out, err := command(t, environ(), "audit", "verify"); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}

// A gate passes TCP to a server while it is open, and cuts everything else.
type gate struct {
	listener net.Listener
	target   string
	open     atomic.Bool
}

func newGate(t *testing.T, target string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: l, target: target}
	g.open.Store(true)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go g.pass(c)
		}
	}()
	return g
}

func (g *gate) pass(c net.Conn) {
	defer func() { _ = c.Close() }()
	if !g.open.Load() {
		return
	}
	s, err := net.Dial("tcp", g.target)
	if err != nil {
		return
	}
	defer func() { _ = s.Close() }()
	ended := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{c, s}, {s, c}} {
		go func() {
			buffer := make([]byte, 32<<10)
			for {
				n, err := pair[0].Read(buffer)
				if err != nil || !g.open.Load() {
					break
				}
				if _, err := pair[1].Write(buffer[:n]); err != nil {
					break
				}
			}
			ended <- struct{}{}
		}()
	}
	<-ended
}

func TestCase28And97DatabaseGoesAway(t *testing.T) {
	git := polsettest.NewGit(t)
	repo := git.Create("acme/policies")
	first := repo.Commit("main", policies("policies", 2, "start"))
	database, err := url.Parse(polsettest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(t, database.Host)
	database.Host = g.listener.Addr().String()
	bucket := polsettest.NewBucket(t)
	n := start(t, cluster(t, git, bucket, database.String(), bucket.URL(""))())
	token := n.Organization("acme")
	id := text(n.PolicySet(set{Org: "acme", Name: "prod", Path: "policies", Repo: "acme/policies", Branch: "main", Token: token}), "data", "id")
	n.Settled(id, time.Minute)

	g.open.Store(false)
	commit := repo.Commit("main", policies("policies", 2, "in the dark"))
	p, guid := repo.Push("main", first, commit), uuid.NewString()
	code, err := n.Deliver(p, guid)
	if err != nil || code != http.StatusServiceUnavailable {
		t.Errorf("without a database the delivery answered %d, %v; want 503", code, err)
	}
	if code, _, err := n.TryCall("GET", "/readyz", "", nil); err != nil || code != http.StatusServiceUnavailable {
		t.Errorf("without a database /readyz answered %d, %v; want 503", code, err)
	}
	if code, _, err := n.TryCall("GET", "/healthz", "", nil); err != nil || code != http.StatusOK {
		t.Errorf("without a database /healthz answered %d, %v; want 200", code, err)
	}
	g.open.Store(true)
	eventually(t, time.Minute, "accepting the redelivery", func() bool {
		code, err := n.Deliver(p, guid)
		return err == nil && code/100 == 2
	})
	n.Settled(id, time.Minute)
	if v := n.Newest(id); text(v, "attributes", "ingress-attributes", "commit-sha") != commit || text(v, "attributes", "status") != "ready" {
		t.Errorf("newest is %v", get(v, "attributes"))
	}
}

func TestCase94ObjectStorageFails(t *testing.T) {
	t.Parallel() // waits more than it works: the SDK asks again and again
	git := polsettest.NewGit(t)
	repo := git.Create("acme/policies")
	first := repo.Commit("main", policies("policies", 2, "start"))
	bucket := polsettest.NewBucket(t)
	target, err := url.Parse(bucket.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var down atomic.Bool
	// The signature covers the host, so the proxy must keep it.
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", target.Host }}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprint(w, `<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`)
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	bucket.Endpoint = "http://" + l.Addr().String()

	n := start(t, cluster(t, git, bucket, polsettest.Postgres(t), bucket.URL("x"), "POLSET_MAX_ATTEMPTS=2")())
	token := n.Organization("acme")
	id := text(n.PolicySet(set{Org: "acme", Name: "prod", Path: "policies", Repo: "acme/policies", Branch: "main", Token: token}), "data", "id")
	n.Settled(id, time.Minute)

	down.Store(true)
	second := repo.Commit("main", policies("policies", 2, "during the outage"))
	n.push(202, repo.Push("main", first, second))
	n.Settled(id, 2*time.Minute)
	if v := n.Newest(id); text(v, "attributes", "error") != "storage" {
		t.Errorf("newest is %v", get(v, "attributes"))
	}
	down.Store(false)
	// The next push tries again, although nothing below policies-path changed.
	third := repo.Commit("main", map[string]string{"README.md": "healed"})
	n.push(202, repo.Push("main", second, third))
	n.Settled(id, time.Minute)
	if v := n.Newest(id); text(v, "attributes", "status") != "ready" {
		t.Errorf("newest is %v", get(v, "attributes"))
	}
}
