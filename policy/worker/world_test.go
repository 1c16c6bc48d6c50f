package worker_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
	"github.com/polset/polset/policy/worker"
)

// What this binary is, beside a worker, when its first argument says so.
const (
	asServer = "as-server" // a server that evaluates without end
	asBabble = "as-babble" // a worker that says what nobody can read
	asCrash  = "as-crash"  // a worker that ends at once
	asMute   = "as-mute"   // a worker that says nothing
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case worker.Subcommand:
			os.Exit(worker.Main(os.Args[2:]))
		case asServer:
			serveWithoutEnd()
		case asBabble:
			fmt.Print("\x00\x00\x00\x0e\x00\x00\x00\x00", `{"op":"ready"}`)
			_, _ = os.Stdin.Read(make([]byte, 1))
			fmt.Print("what does this mean")
			select {}
		case asCrash:
			fmt.Fprintln(os.Stderr, "the crash of the tests")
			os.Exit(1)
		case asMute:
			select {}
		}
	}
	os.Exit(m.Run())
}

// repo builds a repository from path, content, path, content, …
func repo(pairs ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1]), Mode: 0o644}
	}
	return fsys
}

const oneQuery = `policy "a" { query = "data.a.deny" }`

// rego is a set of one policy.
func rego(source string) fstest.MapFS {
	return repo("policies.hcl", oneQuery, "a.rego", "package a\n\nimport rego.v1\n\n"+source)
}

// many names every key of a large object wrongly. OPA's type checker lists all
// keys in each of its errors: 380 KB of it take 8 GiB.
func many(n int) fstest.MapFS {
	var b strings.Builder
	b.WriteString("obj := {\n")
	for i := range n {
		fmt.Fprintf(&b, "\"key%d\":1,", i)
	}
	b.WriteString("}\n")
	for i := range n {
		fmt.Fprintf(&b, "deny contains obj.no%d\n", i)
	}
	return rego(b.String())
}

// endless never ends by itself, and does nothing that could be taken out.
const endless = `deny contains x if {
	some a in numbers.range(1, 10000)
	some b in numbers.range(1, 10000)
	some c in numbers.range(1, 10000)
	a * b * c < 0
	x := sprintf("%d", [a])
}`

// A pool is a pool under test, and what it logged.
type pool struct {
	*worker.Pool
	t    *testing.T
	logs *observer.ObservedLogs
}

func newPool(t *testing.T, change func(*worker.Config)) *pool {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	c := worker.Config{Size: 2, Memory: 256 << 20, InspectTimeout: time.Minute, CheckTimeout: time.Minute, Logger: zap.New(core)}
	if change != nil {
		change(&c)
	}
	p, err := worker.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		if t.Failed() {
			for _, l := range logs.All() {
				t.Log(l.Message, l.ContextMap())
			}
		}
	})
	return &pool{p, t, logs}
}

// pids are the processes that were started, in their order.
func (p *pool) pids() (pids []int) {
	for _, l := range p.logs.FilterMessage("policy worker started").All() {
		pids = append(pids, int(l.ContextMap()["pid"].(int64)))
	}
	return pids
}

// causes are what workers died of, in their order.
func (p *pool) causes() (causes []string) {
	for _, l := range p.logs.FilterMessage("policy worker replaced").All() {
		causes = append(causes, l.ContextMap()["cause"].(string))
	}
	return causes
}

func (p *pool) wantCauses(want ...string) {
	p.t.Helper()
	if got := p.causes(); !slices.Equal(got, want) {
		p.t.Errorf("workers died of %q, want %q", got, want)
	}
}

// evaluation is one of a plan that says little.
func evaluation(sets ...policy.SetEvaluation) policy.Evaluation {
	return policy.Evaluation{
		Plan: []byte(`{"format_version": "1.2", "resource_changes": [], "word": "plan"}`), Run: []byte(`{"id": "run-1"}`),
		At: time.Date(2026, 11, 28, 20, 0, 0, 0, time.UTC), Seed: "run-1", Sets: sets,
	}
}

// set is a policy set of these files, which are never kept.
func set(fsys fs.FS) policy.SetEvaluation {
	return policy.SetEvaluation{Kind: polset.KindOPA, Files: func(context.Context) (fs.FS, error) { return fsys, nil }}
}

// wantFailure checks the class and a part of the message, and whether the same is
// worth another attempt: what is the content's fault is not.
func wantFailure(t *testing.T, err error, class polset.Class, part string) {
	t.Helper()
	var f *polset.Failure
	if !errors.As(err, &f) {
		t.Fatalf("got %v, want a failure", err)
	}
	if f.Class != class || !strings.Contains(f.Message, part) || f.Retry != (class == polset.ClassInternal) {
		t.Fatalf("got %s (retry %t): %.300s\nwant %s: %s", f.Class, f.Retry, f.Message, class, part)
	}
}

// wantDenied checks that a set was evaluated and says something.
func wantDenied(t *testing.T, r policy.SetResult, messages ...string) {
	t.Helper()
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if len(r.Policies) != 1 || !slices.Equal(r.Policies[0].Messages, messages) {
		t.Fatalf("got %+v, want the messages %q", r.Policies, messages)
	}
}

// eventually waits until a condition holds that another process brings about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not %s", what)
		}
	}
}

// runs reports whether a process exists and is no mere entry of the table.
func runs(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func kill(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

// gate is a file system that lets the first that opens a file wait.
type gate struct {
	fstest.MapFS
	name    string
	arrived chan struct{}
	goOn    chan struct{}
}

func newGate(fsys fstest.MapFS, name string) gate {
	return gate{fsys, name, make(chan struct{}, 100), make(chan struct{})}
}

func (g gate) Open(name string) (fs.File, error) {
	if name == g.name {
		g.arrived <- struct{}{}
		<-g.goOn
	}
	return g.MapFS.Open(name)
}

// serveWithoutEnd evaluates an endless policy and tells the pid of its worker.
func serveWithoutEnd() {
	core, logs := observer.New(zapcore.DebugLevel)
	p, err := worker.New(worker.Config{CheckTimeout: time.Hour, Logger: zap.New(core)})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	g := newGate(rego(endless), "a.rego")
	go func() {
		<-g.arrived
		fmt.Println(logs.FilterMessage("policy worker started").All()[0].ContextMap()["pid"])
		close(g.goOn)
	}()
	_, err = p.Evaluate(context.Background(), evaluation(set(g)))
	fmt.Println(err)
	os.Exit(1)
}

// self is this program in another role.
func self(t *testing.T, role string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(exe, role)
}
