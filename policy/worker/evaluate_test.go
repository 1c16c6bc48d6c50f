package worker_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
	"github.com/polset/polset/policy/worker"
)

// says is a policy that denies what somebody says.
func says(what string) fstest.MapFS { return rego("deny contains " + what) }

func TestEvaluateSaysTheSame(t *testing.T) {
	p := newPool(t, nil)
	sets := []policy.SetEvaluation{
		set(says(`sprintf("%s %s %s", [input.plan.word, input.run.id, input.parameters.who])`)),
		set(says(`sprintf("%d", [time.now_ns()])`)),
		set(says(`uuid.rfc4122("x")`)),
		set(says(`sprintf("%s", [time.clock([0, "Local"])])`)),
		set(rego("deny := 1")),
		set(rego("deny := [")),
		set(repo("x", "y")),
		set(repo("policies.hcl", oneQuery, "a.rego", "package a\nimport rego.v1\ndeny contains m if { print(\"p\"); m := data.d.m }", "d/data.json", `{"m": "of data"}`)),
	}
	sets[0].Parameters = map[string]string{"who": "me"}
	fault := errors.New("a fault of the disk")
	sets = append(sets, policy.SetEvaluation{Kind: polset.KindOPA, Files: func(context.Context) (fs.FS, error) { return nil, fault }})
	sets = append(sets, set(broken{says(`"x"`), "a.rego", fault}))
	sentinel := set(repo("sentinel.hcl", `policy "a" {}`, "a.sentinel", "main = rule { true }"))
	sentinel.Kind = polset.KindSentinel
	sets = append(sets, sentinel)

	t.Setenv("TZ", "UTC")
	want, err := policy.Evaluate(t.Context(), evaluation(sets...))
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Evaluate(t.Context(), evaluation(sets...))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(policy.SetResult{}, "Err", "Duration")); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	failed := 0
	for i := range want {
		wantSame(t, want[i].Err, got[i].Err)
		if errors.Is(want[i].Err, fault) != errors.Is(got[i].Err, fault) {
			t.Errorf("set %d: got %v, want %v", i, got[i].Err, want[i].Err)
		}
		if want[i].Err != nil {
			failed++
		}
	}
	if failed != 5 {
		t.Errorf("%d sets failed", failed)
	}
	p.wantCauses()
	if n := len(p.pids()); n != 1 {
		t.Errorf("%d workers were started", n)
	}
}

func TestEvaluateAPlanThatIsNone(t *testing.T) {
	p := newPool(t, nil)
	for _, plan := range []string{"", "PK", `{"format_version": "1.0", "values": {}}`} {
		e := evaluation(set(says(`"x"`)))
		e.Plan = []byte(plan)
		_, want := policy.Evaluate(t.Context(), e)
		_, err := p.Evaluate(t.Context(), e)
		wantFailure(t, err, polset.ClassContentInvalid, "")
		wantSame(t, want, err)
	}
	e := evaluation()
	e.Plan = make([]byte, 64<<20+1)
	_, want := policy.Evaluate(t.Context(), e)
	_, err := p.Evaluate(t.Context(), e)
	wantFailure(t, err, polset.ClassLimit, "The plan is larger than 64 MiB")
	wantSame(t, want, err)
	p.wantCauses()
}

func TestEvaluateCase88(t *testing.T) {
	p := newPool(t, func(c *worker.Config) { c.CheckTimeout, c.Grace = 2*time.Second, time.Minute })
	for _, source := range []string{
		endless,
		`deny contains "x" if { every a in numbers.range(1, 10000) { every b in numbers.range(1, 10000) { a * b > 0 } } }`,
	} {
		results, err := p.Evaluate(t.Context(), evaluation(set(rego(source)), set(says(`"after"`))))
		if err != nil {
			t.Fatal(err)
		}
		wantFailure(t, results[0].Err, polset.ClassLimit, "takes longer than 2s to evaluate, the limit that POLSET_CHECK_TIMEOUT sets.")
		wantDenied(t, results[1], "after")
	}
	// It stopped when its time was over, and was not killed.
	p.wantCauses()
	if n := len(p.pids()); n != 1 {
		t.Errorf("%d workers were started", n)
	}
}

func TestEvaluateWhatCannotBeStopped(t *testing.T) {
	p := newPool(t, func(c *worker.Config) { c.Grace, c.Memory = 50*time.Millisecond, 8<<30 })
	e := evaluation(set(says(`"before"`)), set(many(5000)), set(says(`"after"`)))
	e.Budget = 2 * time.Second
	results, err := p.Evaluate(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	wantDenied(t, results[0], "before")
	wantFailure(t, results[1].Err, polset.ClassLimit, fmt.Sprintf("takes longer than %s to evaluate, the limit that POLSET_CHECK_TIMEOUT sets.", e.Budget))
	wantDenied(t, results[2], "after")
	p.wantCauses("time")
}

// TestEvaluateCase89 asks for more memory than there is: bit by bit, which the
// worker's watch finds, and at once, which the system refuses.
func TestEvaluateCase89(t *testing.T) {
	p := newPool(t, func(c *worker.Config) { c.Memory, c.CheckTimeout = worker.MinMemory, 10*time.Minute })
	for name, source := range map[string]string{
		"case 89 a string-replace bomb": `x0 := "xxxxxxxxxx"
x1 := replace(x0, "x", x0)
x2 := replace(x1, "x", x1)
x3 := replace(x2, "x", x2)
x4 := replace(x3, "x", x1)
deny contains x4 if count(x4) > 0`,
		"case 89 numbers": `deny contains x if { x := [a | some a in numbers.range(1, 100000000)] }`,
		"case 89 at once": `deny contains "x" if bits.lsh(1, 40000000000) > 0`,
	} {
		t.Run(name, func(t *testing.T) {
			before := len(p.causes())
			results, err := p.Evaluate(t.Context(), evaluation(set(says(`"before"`)), set(rego(source)), set(says(`"after"`))))
			if err != nil {
				t.Fatal(err)
			}
			wantDenied(t, results[0], "before")
			wantDenied(t, results[2], "after")
			wantFailure(t, results[1].Err, polset.ClassLimit, "The policies need more than 64 MiB of memory, the limit that POLSET_WORKER_MEMORY sets.")
			// The first had something else in its memory, and may not have been fair.
			if died := p.causes()[before:]; !slices.Equal(died, []string{"memory", "memory"}) {
				t.Errorf("workers died of %q", died)
			}
		})
	}
}

func TestEvaluateAPlanThatNeedsTooMuch(t *testing.T) {
	p := newPool(t, func(c *worker.Config) { c.Memory = worker.MinMemory })
	e := evaluation(set(says(`"x"`)))
	e.Plan = []byte(`{"configuration": [` + strings.Repeat("{},", 8<<20) + `{}]}`)
	_, err := p.Evaluate(t.Context(), e)
	wantFailure(t, err, polset.ClassLimit, "The plan needs more than 64 MiB of memory, the limit that POLSET_WORKER_MEMORY sets.")
	p.wantCauses("memory")
}

func TestEvaluateAgainAfterAForeignKill(t *testing.T) {
	p := newPool(t, nil)
	g := newGate(says(`"gate"`), "a.rego")
	go func() {
		<-g.arrived
		kill(t, p.pids()[len(p.pids())-1], syscall.SIGKILL)
		close(g.goOn)
	}()
	results, err := p.Evaluate(t.Context(), evaluation(set(says(`"before"`)), set(g), set(says(`"after"`))))
	if err != nil {
		t.Fatal(err)
	}
	wantDenied(t, results[0], "before")
	wantDenied(t, results[1], "gate")
	wantDenied(t, results[2], "after")
	p.wantCauses("foreign")
}

// counted counts how often the files of a set are opened.
func counted(key string, files fs.FS, n *atomic.Int64) policy.SetEvaluation {
	return policy.SetEvaluation{Key: key, Kind: polset.KindOPA, Files: func(context.Context) (fs.FS, error) {
		n.Add(1)
		return files, nil
	}}
}

func TestEvaluateCompilesOnce(t *testing.T) {
	p := newPool(t, func(c *worker.Config) { c.Size = 4 })
	var opened atomic.Int64
	sets := []policy.SetEvaluation{
		counted("1", says(`"one"`), &opened), counted("2", says(`"two"`), &opened), counted("", says(`"never kept"`), new(atomic.Int64)),
	}
	evaluate := func() {
		results, err := p.Evaluate(t.Context(), evaluation(sets...))
		if err != nil {
			t.Error(err)
			return
		}
		wantDenied(t, results[0], "one")
		wantDenied(t, results[1], "two")
		wantDenied(t, results[2], "never kept")
	}
	evaluate()
	evaluate()
	if n := opened.Load(); n != 2 {
		t.Fatalf("files were opened %d times, not twice", n)
	}
	// Others take workers meanwhile, and others again have compiled other sets.
	g := newGate(says(`"x"`), "a.rego")
	var others sync.WaitGroup
	for range 3 {
		others.Go(func() { _, _ = p.Evaluate(t.Context(), evaluation(set(g))) })
		<-g.arrived
	}
	close(g.goOn)
	others.Wait()
	before := opened.Load()
	for range 5 {
		evaluate()
	}
	if n := opened.Load(); n > before+2 {
		t.Errorf("files were opened %d times more", n-before)
	}
	p.wantCauses()
}

// TestEvaluateDoesNotCountTheFetch: a storage that is slow is not the set's fault.
func TestEvaluateDoesNotCountTheFetch(t *testing.T) {
	p := newPool(t, func(c *worker.Config) { c.CheckTimeout, c.Grace = 2*time.Second, 100*time.Millisecond })
	slow := set(says(`"x"`))
	files := slow.Files
	slow.Files = func(ctx context.Context) (fs.FS, error) {
		<-time.After(2500 * time.Millisecond)
		return files(ctx)
	}
	results, err := p.Evaluate(t.Context(), evaluation(slow))
	if err != nil {
		t.Fatal(err)
	}
	wantDenied(t, results[0], "x")
	p.wantCauses()
}

func TestEvaluateInterrupted(t *testing.T) {
	p := newPool(t, func(c *worker.Config) { c.Grace = time.Minute })
	ctx, cancel := context.WithCancel(t.Context())
	g := newGate(rego(endless), "a.rego")
	go func() {
		<-g.arrived
		close(g.goOn)
		<-time.After(100 * time.Millisecond) // which it is in the midst of then, mostly
		cancel()
	}()
	if _, err := p.Evaluate(ctx, evaluation(set(g), set(says(`"x"`)))); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	results, err := p.Evaluate(t.Context(), evaluation(set(says(`"x"`))))
	if err != nil {
		t.Fatal(err)
	}
	wantDenied(t, results[0], "x")
	p.wantCauses()
}

// Who brings many sets that take their time does not keep a place for as long as
// they please.
func TestEvaluateManySlowSets(t *testing.T) {
	p := newPool(t, nil)
	e := evaluation()
	e.Budget = 50 * time.Millisecond
	for range 200 {
		e.Sets = append(e.Sets, set(rego(endless)))
	}
	began := time.Now()
	results, err := p.Evaluate(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	left := 0
	for _, r := range results {
		wantFailure(t, r.Err, polset.ClassLimit, "the limit that POLSET_CHECK_TIMEOUT sets")
		if strings.Contains(r.Err.Error(), "longer than 1s to evaluate together, 20 times the limit") {
			left++
		}
	}
	if left < 180 || left == len(results) {
		t.Errorf("%d of %d sets were not evaluated, within %s", left, len(results), took)
	}
}

// What many sets say together is bounded, their verdicts are not touched.
func TestEvaluateTalkativeSets(t *testing.T) {
	p := newPool(t, nil)
	e := evaluation()
	for range 20 { // a MiB each
		e.Sets = append(e.Sets, set(repo("policies.hcl", oneQuery+"\n"+strings.ReplaceAll(oneQuery, `"a"`, `"b"`)+"\n"+strings.ReplaceAll(oneQuery, `"a"`, `"c"`),
			"a.rego", `package a
import rego.v1
long := concat("", ["0123456789abcdef" | some i in numbers.range(1, 256); i > 0])
deny := [sprintf("%d %s", [i, long]) | some i in numbers.range(1, 100)]`)))
	}
	e.Sets = append(e.Sets, set(says(`"the last word"`)), set(rego("deny := []")))
	results, err := p.Evaluate(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	said, left := 0, 0
	for i, r := range results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		for _, o := range r.Policies {
			passed := i == len(results)-1
			if passed != (o.Status == polset.OutcomePassed) || passed != (len(o.Messages) == 0) {
				t.Errorf("set %d: %s with %d messages", i, o.Status, len(o.Messages))
			}
			for _, m := range o.Messages {
				if said += len(m); strings.Contains(m, "more than 16 MiB, the limit") {
					left++
				}
			}
		}
	}
	if said > 16<<20+100<<10 || said < 15<<20 || left == 0 {
		t.Errorf("they say %d bytes, and %d times that something was left out", said, left)
	}
}

// What does not fit into a frame is the content's fault, and the worker goes on.
func TestEvaluateMoreThanAFrame(t *testing.T) {
	p := newPool(t, func(c *worker.Config) { c.Memory = 1 << 30 })
	parameters := set(rego("deny := []"))
	parameters.Parameters = map[string]string{}
	for i := range 30 {
		parameters.Parameters[fmt.Sprint("p", i)] = strings.Repeat("<", 256<<10) // six bytes each
	}
	var policies strings.Builder
	for i := range 8_700 {
		fmt.Fprintf(&policies, "policy \"p%d\" { query = \"data.a.x\" }\n", i)
	}
	long := strings.Repeat(strings.Repeat("d", 250)+"/", 16) + "a.rego" // which each error names
	failing := set(repo("policies.hcl", policies.String(), long, "package a\nimport rego.v1\nx := 1\nx := 2 if input.plan"))
	results, err := p.Evaluate(t.Context(), evaluation(parameters, failing, set(says(`"x"`))))
	if err != nil {
		t.Fatal(err)
	}
	wantFailure(t, results[0].Err, polset.ClassLimit, "What the parameters of the policy set hold takes more than 32 MiB")
	wantFailure(t, results[1].Err, polset.ClassLimit, "What the policies say takes more than 32 MiB")
	wantDenied(t, results[2], "x")
	p.wantCauses()
}
