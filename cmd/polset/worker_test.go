package main_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ofProcess reads a file that Linux has of a process; "" where it is gone.
func ofProcess(pid int, name string) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	return string(text)
}

// Workers are the processes that the node started and that run.
func (n *node) Workers() (pids []int) {
	n.t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		n.t.Fatalf("no processes: %v", err)
	}
	for _, stat := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
		_, rest, _ := strings.Cut(ofProcess(pid, "stat"), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[0] != "Z" && f[1] == strconv.Itoa(n.cmd.Process.Pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// peak is how much memory the node had at most, in MiB.
func (n *node) peak() int {
	n.t.Helper()
	for line := range strings.Lines(ofProcess(n.cmd.Process.Pid, "status")) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				n.t.Fatal(err)
			}
			return kib >> 10
		}
	}
	n.t.Fatal("nobody says how much memory the node has")
	return 0
}

// manyKeys makes OPA's type checker list all keys of a large object again and
// again.
func manyKeys() string {
	var b strings.Builder
	b.WriteString("obj := {\n")
	for i := range 9900 {
		fmt.Fprintf(&b, "\"key%d\":1,", i)
	}
	b.WriteString("}\n")
	for i := range 9900 {
		fmt.Fprintf(&b, "deny contains obj.no%d\n", i)
	}
	return b.String()
}

// A hostile policy costs its own version, and its own set of a check.
func TestCase92AHostilePolicyCostsItsOwn(t *testing.T) {
	n := checked(t, "POLSET_WORKER_MEMORY=67108864", "POLSET_CHECK_TIMEOUT=3s")
	before := n.peak()
	workspace := n.Workspace("w")
	set := n.Guard(workspace, guard{name: "hostile", policies: map[string]guardPolicy{"a": {"mandatory", `deny contains "first"`}}})
	version, path := n.Awaiting(set)
	files := map[string]string{
		"policies.hcl": "policy \"a\" {\n  query = \"data.a.deny\"\n}\n", "a.rego": "package a\n\nimport rego.v1\n\n" + manyKeys(),
	}
	if code, err := n.Put(path, bytes.NewReader(pack(t, files))); err != nil || code != http.StatusOK {
		t.Fatalf("the upload was answered %d, %v", code, err)
	}
	v := n.Version(version)
	if text(v, "attributes", "error") != "limit" || !strings.Contains(text(v, "attributes", "error-message"), "more than 64 MiB of memory, the limit that POLSET_WORKER_MEMORY sets") {
		t.Errorf("the version is %v", get(v, "attributes"))
	}

	for name, rego := range map[string]string{
		"endless": `deny contains "x" if { some a in numbers.range(1, 10000); some b in numbers.range(1, 10000); a * b < 0 }`,
		"bomb":    `deny contains "x" if bits.lsh(1, 400000000000) > 0`,
		"fine":    `deny contains input.run.workspace.name`,
	} {
		n.Guard(workspace, guard{name: name, policies: map[string]guardPolicy{name: {"advisory", rego}}})
	}
	run := n.Queue(workspace, n.Upload(workspace, map[string]string{"tfplan.json": examplePlan}))
	if status := n.AtRest(run); status != "errored" {
		t.Errorf("the run is %s", status)
	}
	outcomes := n.Outcomes(run)
	for name, want := range map[string]string{
		"endless": "takes longer than 3s to evaluate, the limit that POLSET_CHECK_TIMEOUT sets",
		"bomb":    "more than 64 MiB of memory, the limit that POLSET_WORKER_MEMORY sets",
	} {
		if said := text(outcomes[name], "attributes", "error"); !strings.Contains(said, want) {
			t.Errorf("the error of %s is %q, want %s", name, said, want)
		}
	}
	for _, name := range []string{"fine", "hostile"} { // of which the first version is in force
		if policies := list(outcomes[name], "attributes", "outcomes"); len(policies) != 1 || text(policies[0], "status") != "failed" {
			t.Errorf("%s says %v", name, outcomes[name])
		}
	}
	if after := n.peak(); after > before+200 {
		t.Errorf("the server took %d MiB at most, and %d before", after, before)
	}
}

// A worker has nothing of the server, is replaced when somebody kills it, and
// ends with the server, however that ends.
func TestWorkersBelongToTheServer(t *testing.T) {
	n := checked(t, "POLSET_CHECK_TIMEOUT=1h")
	workspace := n.Workspace("w")
	fine := guard{name: "fine", policies: map[string]guardPolicy{"fine": {"advisory", "deny := []"}}}
	set := n.Guard(workspace, fine)
	workers := n.Workers()
	if len(workers) == 0 {
		t.Fatal("there is no worker")
	}
	for _, pid := range workers {
		if env := ofProcess(pid, "environ"); env != "TZ=UTC\x00" {
			t.Errorf("the environment of a worker is %q", env)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	n.Bring(set, fine)

	n.Guard(workspace, guard{name: "endless", policies: map[string]guardPolicy{"endless": {
		"advisory",
		`deny contains "x" if { some a in numbers.range(1, 10000); some b in numbers.range(1, 10000); some c in numbers.range(1, 10000); a * b * c < 0 }`,
	}}})
	n.Queue(workspace, n.Upload(workspace, map[string]string{"tfplan.json": examplePlan}))
	busy := func(pid int) bool { // for longer than it could be with anything else
		_, rest, _ := strings.Cut(ofProcess(pid, "stat"), ") ")
		f := strings.Fields(rest)
		if len(f) < 12 {
			return false
		}
		ticks, _ := strconv.Atoi(f[11])
		return ticks > 200
	}
	eventually(t, 2*time.Minute, "endless", func() bool { return slices.ContainsFunc(n.Workers(), busy) })
	workers = n.Workers()
	n.Kill()
	eventually(t, time.Minute, "without orphans", func() bool {
		return !slices.ContainsFunc(workers, func(pid int) bool {
			_, rest, _ := strings.Cut(ofProcess(pid, "stat"), ") ")
			return rest != "" && !strings.HasPrefix(rest, "Z")
		})
	})
}

// A stop does not wait for what a worker is busy with, and gives its lease back.
func TestStopInterruptsWorkers(t *testing.T) {
	n := checked(t, "POLSET_CHECK_TIMEOUT=1h")
	workspace := n.Workspace("w")
	n.Guard(workspace, guard{name: "endless", policies: map[string]guardPolicy{"endless": {
		"advisory", `deny contains "x" if { some a in numbers.range(1, 10000); some b in numbers.range(1, 10000); some c in numbers.range(1, 10000); a * b * c < 0 }`,
	}}})
	run := n.Queue(workspace, n.Upload(workspace, map[string]string{"tfplan.json": examplePlan}))
	eventually(t, time.Minute, "running", func() bool { return n.runStatus(run) == "post_plan_running" })
	workers := n.Workers()
	began := time.Now()
	if code := n.Stop(); code != 0 {
		t.Errorf("polset ended with %d", code)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	eventually(t, 10*time.Second, "given back", func() bool { return strings.Contains(n.Log(), `"msg":"check interrupted"`) })
	for _, pid := range workers {
		if ofProcess(pid, "cmdline") != "" {
			t.Errorf("the worker %d is left", pid)
		}
	}
}
