package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/polset/polset"
)

// TestCheckModel drives random runs, workers that end, sleep and die, people who
// cancel, discard and override, and policy sets that change and go, and checks
// after each that a run is what its checks have come to, that nobody without a
// lease moves a check, and that what was decided stays.
func TestCheckModel(t *testing.T) {
	onBoth(t, func(b *bench) {
		n := 0
		rapid.Check(b.TB.(*testing.T), func(rt *rapid.T) { //nolint:forcetypeassert // onBoth gives a test
			n++
			m := newCheckModel(b, fmt.Sprint("model-", n))
			rt.Repeat(map[string]func(*rapid.T){
				"run":         m.run,
				"claim":       m.claim,
				"settle":      m.settle,
				"again":       m.again,
				"renew":       m.renew,
				"expire":      func(*rapid.T) { m.b.expireChecks() },
				"start anew":  func(*rapid.T) { m.b.must(m.b.takeOver(m.b.ctx())) },
				"end":         m.end,
				"override":    m.override,
				"change":      m.change,
				"materialize": func(*rapid.T) { m.materialize() },
				"delete":      m.delete,
				"":            m.check,
			})
			m.drain(rt)
		})
	})
}

type checkModel struct {
	b         *bench
	workspace polset.Workspace
	policy    polset.Policy // of a set that holds it
	sets      []string
	runs      []string
	tasks     []polset.CheckTask      // every claim that some worker ever had
	checks    map[string]polset.Check // as last seen
	overruled map[string]bool         // runs that somebody ended
	outcomes  map[string]polset.PolicySetOutcome
}

func newCheckModel(b *bench, name string) *checkModel {
	b.Helper()
	m := &checkModel{
		b: b, workspace: b.workspace(name), checks: map[string]polset.Check{}, overruled: map[string]bool{},
		outcomes: map[string]polset.PolicySetOutcome{},
	}
	here := polset.Members{Workspaces: []string{m.workspace.ID}}
	m.sets = append(m.sets, b.guard(polset.PolicySetDraft{Name: name + "-opa", Overridable: ptr(true), Members: here}).ID)
	p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{Organization: "acme", Name: name + "-own", Kind: polset.KindSentinel, Members: here})
	b.must(err)
	m.sets = append(m.sets, p.ID)
	m.policy = b.policy(name, polset.KindSentinel, p.ID)
	return m
}

func (m *checkModel) run(*rapid.T) { m.runs = append(m.runs, m.b.runOf(m.workspace.ID).ID) }

func (m *checkModel) claim(rt *rapid.T) {
	list, err := m.b.ClaimChecks(m.b.ctx(), rapid.IntRange(1, 3).Draw(rt, "n"), time.Minute)
	m.b.must(err)
	for _, task := range list {
		if m.checks[task.Check.ID].Status.Ended() && m.checks[task.Check.ID].ID != "" {
			rt.Fatalf("claimed %+v, which has ended", task.Check)
		}
	}
	m.tasks = append(m.tasks, list...)
}

// row reads a check and its lease.
func (m *checkModel) row(id string) (polset.Check, int64) {
	c, err := m.b.Check(m.b.ctx(), admin, id)
	m.b.must(err)
	return c, int64(m.b.count("SELECT lease FROM checks WHERE id = $1", id))
}

// move makes a move by a worker who may have slept, and demands that only the
// holder of the lease can make it.
func (m *checkModel) move(rt *rapid.T, f func(polset.CheckTask) error) {
	if len(m.tasks) == 0 {
		return
	}
	task := m.tasks[rapid.IntRange(0, len(m.tasks)-1).Draw(rt, "task")]
	before, lease := m.row(task.Check.ID)
	err := f(task)
	switch holds := lease == task.Lease.Number; {
	case holds && err != nil:
		rt.Fatalf("the holder of %+v was refused: %v", before, err)
	case !holds && !errors.Is(err, polset.ErrFenced):
		rt.Fatalf("a stale claim of %+v got %v", before, err)
	}
	if after, _ := m.row(task.Check.ID); before.Status.Ended() && !cmp.Equal(before, after) {
		rt.Fatalf("a check that had ended changed: %s", cmp.Diff(before, after))
	}
}

func (m *checkModel) settle(rt *rapid.T) {
	status := rapid.SampledFrom([]polset.OutcomeStatus{"passed", "failed", "failed", "errored"}).Draw(rt, "status")
	level := rapid.SampledFrom([]string{"advisory", "soft-mandatory", "mandatory", "hard-mandatory"}).Draw(rt, "level")
	m.move(rt, func(task polset.CheckTask) error {
		result := says(task, status)
		for i := range result.Outcomes {
			for j := range result.Outcomes[i].Policies {
				result.Outcomes[i].Policies[j].EnforcementLevel = level
			}
		}
		return m.b.SettleCheck(m.b.ctx(), task, result)
	})
}

func (m *checkModel) again(rt *rapid.T) {
	after := time.Duration(rapid.IntRange(0, 1).Draw(rt, "hours")) * time.Hour
	m.move(rt, func(task polset.CheckTask) error {
		return m.b.SettleCheck(m.b.ctx(), task, polset.CheckResult{Again: true, Fault: after > 0, After: after})
	})
}

func (m *checkModel) renew(rt *rapid.T) {
	m.move(rt, func(task polset.CheckTask) error {
		return m.b.RenewChecks(m.b.ctx(), []polset.Lease{task.Lease}, time.Minute)
	})
}

func (m *checkModel) end(rt *rapid.T) {
	if len(m.runs) == 0 {
		return
	}
	id := rapid.SampledFrom(m.runs).Draw(rt, "run")
	status := rapid.SampledFrom([]polset.RunStatus{polset.RunCanceled, polset.RunDiscarded}).Draw(rt, "status")
	before, err := m.b.Run(m.b.ctx(), admin, id)
	m.b.must(err)
	may := before.Status.Cancelable()
	if status == polset.RunDiscarded {
		may = before.Status.Discardable()
	}
	_, err = m.b.EndRun(m.b.ctx(), admin, id, status)
	if may != (err == nil) || err != nil && !errors.Is(err, polset.ErrConflict) {
		rt.Fatalf("a run that was %s became %s: %v", before.Status, status, err)
	}
	m.overruled[id] = m.overruled[id] || err == nil
}

func (m *checkModel) override(rt *rapid.T) {
	if len(m.checks) == 0 {
		return
	}
	var ids []string
	for id := range m.checks {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	c := m.checks[rapid.SampledFrom(ids).Draw(rt, "check")]
	r, err := m.b.Run(m.b.ctx(), admin, c.RunID)
	m.b.must(err)
	may := c.Status == polset.CheckSoftFailed && !m.overruled[c.RunID] && r.Status != polset.RunErrored
	_, err = m.b.OverrideChecks(m.b.ctx(), overrider, []string{c.ID}, "model")
	if may != (err == nil) || err != nil && !errors.Is(err, polset.ErrConflict) {
		rt.Fatalf("override of %+v of %+v: %v", c, r, err)
	}
}

func (m *checkModel) change(rt *rapid.T) {
	if len(m.sets) == 0 {
		return
	}
	id := rapid.SampledFrom(m.sets).Draw(rt, "set")
	if m.b.set(id).Kind == polset.KindOPA {
		m.b.upload(m.b.awaiting(id).ID)
		return
	}
	level := rapid.SampledFrom(polset.KindSentinel.Levels()).Draw(rt, "level")
	m.b.must(second(m.b.UpdatePolicy(m.b.ctx(), admin, m.policy.ID, polset.PolicyUpdate{EnforcementLevel: &level})))
}

func (m *checkModel) materialize() {
	m.b.lapse()
	list, err := m.b.ClaimMaterializations(m.b.ctx(), 10, time.Minute)
	m.b.must(err)
	for n, one := range list {
		m.b.must(m.b.SettleMaterialization(m.b.ctx(), one, madeOf("abc"[n%3:n%3+1])))
	}
}

func (m *checkModel) delete(rt *rapid.T) {
	if len(m.sets) == 0 || rapid.IntRange(0, 9).Draw(rt, "rarely") > 0 {
		return
	}
	i := rapid.IntRange(0, len(m.sets)-1).Draw(rt, "set")
	m.b.must(m.b.DeletePolicySet(m.b.ctx(), admin, m.sets[i]))
	m.sets = slices.Delete(m.sets, i, i+1)
}

func (m *checkModel) check(rt *rapid.T) {
	for _, id := range m.runs {
		r, err := m.b.Run(m.b.ctx(), admin, id)
		m.b.must(err)
		list := m.b.checksOf(id)
		if want := polset.RunStatusOf(list); !m.overruled[id] && r.Status != want {
			rt.Fatalf("the run is %s, and its checks come to %s: %+v", r.Status, want, list)
		} else if m.overruled[id] && r.Status != polset.RunCanceled && r.Status != polset.RunDiscarded {
			rt.Fatalf("a run that was ended is %s", r.Status)
		}
		for _, c := range list {
			m.checkOne(rt, c)
		}
	}
}

func (m *checkModel) checkOne(rt *rapid.T, c polset.Check) {
	before, known := m.checks[c.ID]
	m.checks[c.ID] = c
	overridden := before.Status == polset.CheckSoftFailed && c.Status == polset.CheckOverridden
	if known && before.Status.Ended() && !overridden && !cmp.Equal(before, c) {
		rt.Fatalf("a check that had ended changed: %s", cmp.Diff(before, c))
	}
	if known && before.Status == polset.CheckRunning && c.Status == polset.CheckPending {
		rt.Fatalf("%+v waits again", c)
	}
	if m.overruled[c.RunID] && !c.Status.Ended() {
		rt.Fatalf("%+v goes on in a run that was ended", c)
	}
	var sum polset.ResultCounts
	for _, o := range m.b.outcomesOf(c.ID) {
		sum.Add(o.Counts)
		then, seen := m.outcomes[o.ID]
		if seen && then.VersionID != "" && then.VersionID != o.VersionID || seen && then.PolicySetName != o.PolicySetName {
			rt.Fatalf("what judges the run changed: %s", cmp.Diff(then, o))
		}
		m.outcomes[o.ID] = o
		if c.Status.Ended() && c.Status != polset.CheckErrored && c.Status != polset.CheckCanceled && (o.VersionID == "" || o.Error != "") {
			rt.Fatalf("%+v in spite of %+v", c, o)
		}
	}
	if sum != c.Counts && c.Error == "" {
		rt.Fatalf("%+v counts what its sets do not: %+v", c, sum)
	}
	if secrets := m.b.count("SELECT count(*) FROM policy_set_outcomes WHERE check_id = $1 AND sealed_parameters IS NOT NULL", c.ID); c.Status.Ended() && secrets > 0 {
		rt.Fatalf("secrets outlive %+v", c)
	}
}

// drain lets healthy workers do what is left.
func (m *checkModel) drain(rt *rapid.T) {
	for range 3 {
		m.materialize()
		m.b.expireChecks()
		list, err := m.b.ClaimChecks(m.b.ctx(), 100, time.Minute)
		m.b.must(err)
		for _, task := range list {
			m.b.must(m.b.SettleCheck(m.b.ctx(), task, says(task, polset.OutcomePassed)))
		}
	}
	m.check(rt)
	for _, c := range m.checks {
		if !c.Status.Ended() {
			rt.Fatalf("%+v never ended", c)
		}
	}
	for len(m.sets) > 0 { // the next model begins with an empty queue
		m.b.must(m.b.DeletePolicySet(m.b.ctx(), admin, m.sets[0]))
		m.sets = m.sets[1:]
	}
	m.b.verify()
}
