package worker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/polset/polset"
	"github.com/polset/polset/policy/worker"
)

// proc reads a file of a process.
func proc(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// resident is how much memory this process has.
func resident(t *testing.T) int64 {
	fields := strings.Fields(proc(t, os.Getpid(), "statm"))
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		t.Error(err)
	}
	return pages * int64(os.Getpagesize())
}

// TestAWorkerHoldsNothing looks at a worker from outside.
func TestAWorkerHoldsNothing(t *testing.T) {
	t.Setenv("POLSET_ENCRYPTION_KEY", "the secret of the tests")
	secret, err := os.Create(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = secret.Close() }()
	p := newPool(t, nil)
	if _, err := p.Inspect(t.Context(), rego("deny := []"), "", polset.KindOPA); err != nil {
		t.Fatal(err)
	}
	pid := p.pids()[0]
	if env := proc(t, pid, "environ"); env != "TZ=UTC\x00" {
		t.Errorf("its environment is %q", env)
	}
	if dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); dir != "/" {
		t.Errorf("it is in %s, %v", dir, err)
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range open {
		to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
		n, _ := strconv.Atoi(fd.Name())
		if err != nil || n <= 2 && !strings.HasPrefix(to, "pipe:") || n > 2 && !strings.HasPrefix(to, "anon_inode:[event") && !strings.HasPrefix(to, "/sys/fs/cgroup/") {
			t.Errorf("it has %s, which is %s, %v", fd.Name(), to, err)
		}
	}
	if first := proc(t, pid, "oom_score_adj"); first != "1000\n" {
		t.Errorf("where memory is short it goes with the score %q, the server with %q", first, proc(t, os.Getpid(), "oom_score_adj"))
	}
	limits := proc(t, pid, "limits")
	for _, want := range []string{"Max core file size 0 0", "Max file size 0 0", "Max open files 32 32"} {
		if !strings.Contains(strings.Join(strings.Fields(limits), " "), want) {
			t.Errorf("its limits are not: %s\n%s", want, limits)
		}
	}
	for line := range strings.Lines(limits) {
		if rest, ok := strings.CutPrefix(line, "Max data size"); ok {
			most, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if low, high := int64(256<<20), raceFactor*int64(256<<20)+1<<30; err != nil || most < low || most > high {
				t.Errorf("its data may be %d bytes, not %d to %d: %v", most, low, high, err)
			}
		}
	}
}

// TestNoOrphans kills a server whose worker is in an endless loop.
func TestNoOrphans(t *testing.T) {
	server := self(t, asServer)
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 32)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	if err != nil || !runs(pid) {
		t.Fatalf("its worker is %q, %v", line[:n], err)
	}
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait()
	eventually(t, "gone", func() bool { return !runs(pid) })
}

// TestAWorkerOutlivesASignalToAll: who stops a service signals all its processes,
// and the server still has something to finish.
func TestAWorkerOutlivesASignalToAll(t *testing.T) {
	p := newPool(t, nil)
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		kill(t, p.pids()[0], s)
	}
	if _, err := p.Inspect(t.Context(), rego("deny := []"), "", polset.KindOPA); err != nil {
		t.Error(err)
	}
	p.wantCauses()
}

func TestMany(t *testing.T) {
	p := newPool(t, func(c *worker.Config) { c.Size = 3 })
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if i%2 == 0 {
				if _, err := p.Inspect(t.Context(), rego("deny := []"), "", polset.KindOPA); err != nil {
					t.Error(err)
				}
				return
			}
			what := fmt.Sprint("number ", i)
			results, err := p.Evaluate(t.Context(), evaluation(set(says(strconv.Quote(what)))))
			if err != nil || len(results) != 1 || len(results[0].Policies) != 1 || !slices.Equal(results[0].Policies[0].Messages, []string{what}) {
				t.Errorf("%s: %+v, %v", what, results, err)
			}
		})
	}
	all.Wait()
	p.wantCauses()
	if n := len(p.pids()); n > 3 {
		t.Errorf("%d workers were started", n)
	}
}

// TestEvaluationsLeaveAWorkerFree fills a pool with evaluations that do not end.
func TestEvaluationsLeaveAWorkerFree(t *testing.T) {
	p := newPool(t, func(c *worker.Config) { c.Size = 3 })
	g := newGate(says(`"x"`), "a.rego")
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if _, err := p.Evaluate(t.Context(), evaluation(set(g))); err != nil {
				t.Error(err)
			}
		})
	}
	<-g.arrived
	<-g.arrived
	soon, done := context.WithTimeout(t.Context(), 30*time.Second)
	defer done()
	if _, err := p.Inspect(soon, rego("deny := []"), "", polset.KindOPA); err != nil {
		t.Error(err)
	}
	select {
	case <-g.arrived:
		t.Error("an evaluation took the last worker")
	default:
	}
	// Who waits may leave.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Evaluate(ctx, evaluation()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(g.goOn)
	all.Wait()
}

// TestInspectionsLetEvaluationsThrough: in the order in which they came.
func TestInspectionsLetEvaluationsThrough(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	p := newPool(t, func(c *worker.Config) { c.Registerer = reg })
	g := newGate(rego("deny := []"), "a.rego")
	var all sync.WaitGroup
	inspect := func() {
		all.Go(func() {
			if _, err := p.Inspect(t.Context(), g, "", polset.KindOPA); err != nil {
				t.Error(err)
			}
		})
	}
	inspect()
	inspect()
	<-g.arrived
	<-g.arrived
	done := make(chan error, 1)
	go func() {
		_, err := p.Evaluate(t.Context(), evaluation())
		done <- err
	}()
	eventually(t, "waiting", func() bool {
		return testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP polset_policy_worker_waiting Inspections and checks that wait for a policy worker.
# TYPE polset_policy_worker_waiting gauge
polset_policy_worker_waiting 1
`), "polset_policy_worker_waiting") == nil
	})
	for range 5 {
		inspect()
	}
	g.goOn <- struct{}{}
	if err := <-done; err != nil {
		t.Error(err)
	}
	close(g.goOn)
	all.Wait()
}

func TestCloseEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	p := newPool(t, func(c *worker.Config) { c.Size, c.Grace = 4, 100*time.Millisecond })
	g := newGate(rego("deny := []"), "a.rego")
	answers := make(chan error, 4)
	for range 2 {
		go func() {
			_, err := p.Inspect(t.Context(), g, "", polset.KindOPA)
			answers <- err
		}()
		go func() {
			_, err := p.Evaluate(t.Context(), evaluation(set(rego(endless))))
			answers <- err
		}()
	}
	<-g.arrived
	<-g.arrived
	eventually(t, "started", func() bool { return len(p.pids()) == 4 })
	p.Close()
	for range 4 {
		wantFailure(t, <-answers, polset.ClassInternal, "polset is being stopped")
	}
	_, err := p.Inspect(t.Context(), g, "", polset.KindOPA)
	wantFailure(t, err, polset.ClassInternal, "polset is being stopped")
	for _, pid := range p.pids() {
		if runs(pid) {
			t.Errorf("the worker %d is left", pid)
		}
	}
	close(g.goOn)
	eventually(t, "without a goroutine more", func() bool { return runtime.NumGoroutine() <= before })
	p.Close() // once more
}

func TestNewFindsOutThatItCannot(t *testing.T) {
	for _, c := range []struct {
		name string
		c    worker.Config
		want string
	}{
		{"too little memory", worker.Config{Memory: worker.MinMemory - 1}, "Memory must be at least"},
		{"no program", worker.Config{Command: []string{"/nonexistent/polset"}}, "/nonexistent/polset"},
		{"a program that ends", worker.Config{Command: self(t, asCrash).Args}, "the crash of the tests"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := worker.New(c.c)
			if err == nil {
				p.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// TestMainIsForPools runs a worker as a person might.
func TestMainIsForPools(t *testing.T) {
	for _, args := range [][]string{{}, {"-1"}, {"much"}, {"1", "2"}} {
		cmd := self(t, worker.Subcommand)
		cmd.Args = append(cmd.Args, args...)
		cmd.Stdin = strings.NewReader("")
		out, err := cmd.CombinedOutput()
		if err == nil || len(out) == 0 {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
	cmd := self(t, worker.Subcommand)
	cmd.Args = append(cmd.Args, strconv.Itoa(worker.MinMemory))
	cmd.Stdin = io.LimitReader(neverEnds{}, 1<<20)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "too large") {
		t.Errorf("of nonsense it says %v\n%s", err, out)
	}
}

// neverEnds is a reader of bytes that are all ones.
type neverEnds struct{}

func (neverEnds) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0xff
	}
	return len(p), nil
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	p := newPool(t, func(c *worker.Config) {
		c.Registerer, c.Memory, c.InspectTimeout = reg, worker.MinMemory, 10*time.Minute
	})
	_, err := p.Inspect(t.Context(), many(5000), "", polset.KindOPA)
	wantFailure(t, err, polset.ClassLimit, "POLSET_WORKER_MEMORY")
	if _, err := p.Evaluate(t.Context(), evaluation()); err != nil {
		t.Fatal(err)
	}
	want := `
# HELP polset_policy_worker_restarts_total Policy workers that died at work, by cause: time, memory and stack are the policies' own fault.
# TYPE polset_policy_worker_restarts_total counter
polset_policy_worker_restarts_total{cause="memory"} 1
# HELP polset_policy_worker_waiting Inspections and checks that wait for a policy worker.
# TYPE polset_policy_worker_waiting gauge
polset_policy_worker_waiting 0
# HELP polset_policy_workers Policy workers that run.
# TYPE polset_policy_workers gauge
polset_policy_workers 1
# HELP polset_policy_workers_busy Policy workers that are at work.
# TYPE polset_policy_workers_busy gauge
polset_policy_workers_busy 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want),
		"polset_policy_worker_restarts_total", "polset_policy_worker_waiting", "polset_policy_workers", "polset_policy_workers_busy"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(reg, "polset_policy_worker_seconds"); err != nil || n != 3 {
		t.Errorf("%d orders were measured, %v", n, err)
	}
}
