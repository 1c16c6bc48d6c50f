package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
)

// dueCheck claims the only check that is due.
func (b *bench) dueCheck() polset.CheckTask {
	b.Helper()
	return b.dueCheckOn(b.Store)
}

func (b *bench) dueCheckOn(s *Store) polset.CheckTask {
	b.Helper()
	list, err := s.ClaimChecks(b.ctx(), 10, time.Minute)
	b.must(err)
	if len(list) != 1 {
		b.Fatalf("%d checks are due, want one", len(list))
	}
	return list[0]
}

// noneDue checks that no check is due.
func (b *bench) noneDue() {
	b.Helper()
	list, err := b.ClaimChecks(b.ctx(), 10, time.Minute)
	b.must(err)
	if len(list) != 0 {
		b.Fatalf("due: %+v", list)
	}
}

// expireChecks ends the leases of checks, and the waits for another attempt.
func (b *bench) expireChecks() { b.exec("UPDATE checks SET due_at = created_at") }

// says is a result in which each policy of every set ended in the same way, at
// its level: "passed", "failed" or "errored".
func says(task polset.CheckTask, status polset.OutcomeStatus) polset.CheckResult {
	r := polset.CheckResult{Duration: 3 * time.Millisecond}
	for _, s := range task.Sets {
		o := s.Outcome
		for _, p := range s.Policies {
			one := polset.PolicyOutcome{Name: p.Name, Query: p.Query, EnforcementLevel: p.EnforcementLevel, Status: status}
			if status != polset.OutcomePassed {
				one.Messages = []string{"no " + p.Name}
			}
			o.Policies = append(o.Policies, one)
		}
		r.Outcomes = append(r.Outcomes, o)
	}
	return r
}

func (b *bench) runStatus(id string, want polset.RunStatus) {
	b.Helper()
	r, err := b.Run(b.ctx(), admin, id)
	b.must(err)
	if r.Status != want {
		b.Fatalf("the run is %s, want %s", r.Status, want)
	}
	if want != polset.RunPending && r.ReachedAt[want].IsZero() {
		b.Errorf("when it became %s is not known", want)
	}
}

func TestCheckVerdicts(t *testing.T) {
	onBoth(t, func(b *bench) {
		w := b.workspace("net")
		hard := b.guard(polset.PolicySetDraft{Name: "hard", Global: true})
		for _, c := range []struct {
			name        string
			overridable bool
			result      func(polset.CheckTask) polset.CheckResult
			check       polset.CheckStatus
			run         polset.RunStatus
			counts      polset.ResultCounts
		}{
			{"passed", false, func(t polset.CheckTask) polset.CheckResult { return says(t, "passed") }, "passed", "post_plan_completed", polset.ResultCounts{Passed: 1}},
			{"hard failed", false, func(t polset.CheckTask) polset.CheckResult { return says(t, "failed") }, "hard_failed", "errored", polset.ResultCounts{HardFailed: 1}},
			{"soft failed", true, func(t polset.CheckTask) polset.CheckResult { return says(t, "failed") }, "soft_failed", "post_plan_awaiting_decision", polset.ResultCounts{SoftFailed: 1}},
			{"errored", true, func(t polset.CheckTask) polset.CheckResult { return says(t, "errored") }, "errored", "errored", polset.ResultCounts{Errored: 1}},
			{"advisory", false, func(t polset.CheckTask) polset.CheckResult {
				r := says(t, "failed")
				r.Outcomes[0].Policies[0].EnforcementLevel = "advisory"
				return r
			}, "passed", "post_plan_completed", polset.ResultCounts{AdvisoryFailed: 1}},
			{"set errored", false, func(t polset.CheckTask) polset.CheckResult {
				r := says(t, "passed")
				r.Outcomes[0].Policies, r.Outcomes[0].Error, r.Outcomes[0].ErrorMessage = nil, polset.ClassLimit, "a\x00b\xff"
				return r
			}, "errored", "errored", polset.ResultCounts{Errored: 1}},
			{"silent", false, func(t polset.CheckTask) polset.CheckResult {
				r := says(t, "passed")
				r.Outcomes[0].Policies = nil
				return r
			}, "errored", "errored", polset.ResultCounts{Errored: 1}},
			{"failure", false, func(polset.CheckTask) polset.CheckResult {
				return polset.CheckResult{Failure: polset.Fail(polset.ClassPathNotFound, "There is no plan.")}
			}, "errored", "errored", polset.ResultCounts{Errored: 1}},
			{"failure beside outcomes", false, func(t polset.CheckTask) polset.CheckResult {
				r := says(t, "passed")
				r.Failure = polset.Fail(polset.ClassInternal, "No.")
				return r
			}, "errored", "errored", polset.ResultCounts{Passed: 1, Errored: 1}},
		} {
			b.must(second(b.UpdatePolicySet(b.ctx(), admin, hard.ID, polset.PolicySetChange{Overridable: &c.overridable})))
			run := b.runOf(w.ID)
			task := b.dueCheck()
			b.runStatus(run.ID, polset.RunPostPlanRunning)
			if got := b.checksOf(run.ID)[0]; got.Status != polset.CheckRunning || got.ReachedAt[polset.CheckRunning].IsZero() || !cmp.Equal(got, task.Check) {
				b.Errorf("%s: claimed %+v", c.name, got)
			}
			result := c.result(task)
			b.must(b.SettleCheck(b.ctx(), task, result))
			got := b.checksOf(run.ID)[0]
			if got.Status != c.check || got.Counts != c.counts || got.ReachedAt[c.check].IsZero() || got.Duration != result.Duration || got.UpdatedAt.Before(got.CreatedAt) {
				b.Errorf("%s: %+v", c.name, got)
			}
			b.runStatus(run.ID, c.run)
			details := b.detailsOf("check."+string(c.check), got.ID)
			if details["run"] != run.ID || details["workspace"] != w.ID || details["passed"] != fmt.Sprint(c.counts.Passed) || details["errored"] != fmt.Sprint(c.counts.Errored) {
				b.Errorf("%s: the trail says %v", c.name, details)
			}
			b.detailsOf("run."+string(c.run), run.ID)
			if f := result.Failure; f != nil && (got.Error != f.Class || got.ErrorMessage != f.Message) || f == nil && got.Error != "" {
				b.Errorf("%s: %+v", c.name, got)
			}
			o := b.outcomesOf(got.ID)[0]
			switch {
			case len(result.Outcomes) == 0:
			case result.Outcomes[0].Policies != nil:
				if !cmp.Equal(o.Policies, result.Outcomes[0].Policies) || o.Error != "" {
					b.Errorf("%s: %+v", c.name, o)
				}
			case o.Error == "" || o.ErrorMessage == "" || o.Counts.Errored != 1 || strings.ContainsAny(o.ErrorMessage, "\x00"):
				b.Errorf("%s: %+v", c.name, o)
			}
			b.must(b.SettleCheck(b.ctx(), task, says(task, "passed"))) // whose answer was lost
			if again := b.checksOf(run.ID)[0]; !cmp.Equal(got, again) {
				b.Error(cmp.Diff(got, again))
			}
			b.noneDue()
		}
		run := b.runOf(w.ID)
		task := b.dueCheck()
		if err := b.SettleCheck(b.ctx(), task, polset.CheckResult{}); err == nil {
			b.Error("no word of the sets is a result")
		}
		b.runStatus(run.ID, polset.RunPostPlanRunning)
		b.verify()
	})
}

// A set that applies and has nothing in force does not pass, whoever says so.
func TestCheckWithoutAVersion(t *testing.T) {
	onBoth(t, func(b *bench) {
		w := b.workspace("net")
		p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{Organization: "acme", Name: "empty", Kind: polset.KindOPA, Global: true})
		b.must(err)
		run := b.runOf(w.ID)
		if got := b.detailsOf("run.created", run.ID)[p.ID]; got != "no version is ready" {
			b.Errorf("the trail says %q", got)
		}
		b.upload(b.awaiting(p.ID).ID) // too late
		task := b.dueCheck()
		if o := task.Sets[0].Outcome; o.VersionID != "" || o.Digest != "" || len(task.Sets[0].Policies) != 0 {
			b.Errorf("outcome %+v", o)
		}
		b.must(b.SettleCheck(b.ctx(), task, says(task, "passed")))
		b.runStatus(run.ID, polset.RunErrored)
		if o := b.outcomesOf(task.Check.ID)[0]; o.Error != polset.ClassNoPolicies || !strings.Contains(o.ErrorMessage, "Upload one, or detach the policy set") {
			b.Errorf("outcome %+v", o)
		}
		// A version that is not ready is none.
		b.exec("UPDATE versions SET status = 'ingressing', ready_at = NULL, digest = ''")
		b.runOf(w.ID)
		if o := b.dueCheck().Sets[0].Outcome; o.VersionID != "" {
			b.Errorf("outcome %+v", o)
		}
	})
}

// Policies that were changed before the run judge it, as soon as there is a
// version of them.
func TestCheckAwaitsAVersion(t *testing.T) {
	onBoth(t, func(b *bench) {
		w := b.workspace("net")
		p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{Organization: "acme", Name: "own", Kind: polset.KindSentinel, Global: true})
		b.must(err)
		rule := b.policy("rule", polset.KindSentinel, p.ID)
		first := b.runOf(w.ID)
		b.noneDue()
		if c := b.checksOf(first.ID)[0]; c.Status != polset.CheckPending {
			b.Errorf("check %+v", c)
		}
		if got := b.detailsOf("run.created", first.ID)[p.ID]; got != "awaits revision 1 of its policies" {
			b.Errorf("the trail says %q", got)
		}
		select {
		case <-b.CheckDue():
		default:
		}
		v := b.settle(b.claimed(b.Store), madeOf("a")).MaterializedVersionID
		select {
		case <-b.CheckDue():
		default:
			b.Error("nobody was woken")
		}
		task := b.dueCheck()
		o := task.Sets[0].Outcome
		if o.VersionID != v || o.Digest != strings.Repeat("a", 64) || len(task.Sets[0].Policies) != 1 || task.Check.Evaluation {
			b.Errorf("outcome %+v", o)
		}
		b.runStatus(first.ID, polset.RunPolicyChecking)
		if got, want := b.detailsOf("check.running", task.Check.ID)[p.ID], v+" "+o.Digest; got != want {
			b.Errorf("the trail says %q, want %q", got, want)
		}
		// That is for good: a later version does not change it.
		b.settle(b.claimAfter(p.ID), madeOf("b"))
		b.expireChecks()
		if task = b.dueCheck(); task.Sets[0].Outcome.VersionID != v {
			b.Errorf("outcome %+v", task.Sets[0].Outcome)
		}
		b.must(b.SettleCheck(b.ctx(), task, says(task, "failed")))
		b.runStatus(first.ID, polset.RunPolicyChecked) // it is advisory

		// Policies that do not become a version leave in force what was.
		latest := b.set(p.ID).MaterializedVersionID
		level := "hard-mandatory"
		b.must(second(b.UpdatePolicy(b.ctx(), admin, rule.ID, polset.PolicyUpdate{EnforcementLevel: &level})))
		b.runOf(w.ID)
		b.noneDue()
		b.settle(b.claimed(b.Store), polset.MaterializationOutcome{Failure: polset.Fail(polset.ClassPolicyInvalid, "No.")})
		if task = b.dueCheck(); task.Sets[0].Outcome.VersionID != latest {
			b.Errorf("outcome %+v", task.Sets[0].Outcome)
		}
		b.must(b.SettleCheck(b.ctx(), task, says(task, "passed")))

		// Of a set that went with its policies there is no version.
		b.must(b.DeletePolicy(b.ctx(), admin, rule.ID))
		gone := b.runOf(w.ID)
		b.noneDue()
		b.must(b.DeletePolicySet(b.ctx(), admin, p.ID))
		task = b.dueCheck()
		if o := task.Sets[0].Outcome; o.VersionID != "" || o.PolicySetName != "own" {
			b.Errorf("outcome %+v", o)
		}
		b.must(b.SettleCheck(b.ctx(), task, says(task, "passed")))
		b.runStatus(gone.ID, polset.RunErrored)

		// What was uploaded is in force, and waits for nobody.
		other := b.guard(polset.PolicySetDraft{Name: "uploaded", Global: true})
		b.exec("UPDATE policy_sets SET policies_revision = policies_revision + 1 WHERE id = $1", other.ID)
		b.runOf(w.ID)
		if task = b.dueCheck(); task.Sets[0].Outcome.VersionID != other.CurrentVersionID {
			b.Errorf("outcome %+v", task.Sets[0].Outcome)
		}
		b.verify()
	})
}

// A node that slept through its lease writes nothing, and what it left another
// one finishes.
func TestCheckLease(t *testing.T) {
	onBoth(t, func(b *bench) {
		w := b.workspace("net")
		b.guard(polset.PolicySetDraft{Name: "net", Global: true})
		run := b.runOf(w.ID)
		other := b.node()
		leases := func(t polset.CheckTask) []polset.Lease { return []polset.Lease{t.Lease} }

		slow := b.dueCheck()
		b.noneDue() // it is leased
		b.must(b.RenewChecks(b.ctx(), leases(slow), time.Minute))
		b.noneDue()
		b.expireChecks() // it crashed, or sleeps
		fast := b.dueCheckOn(other)
		if fast.Lease.Number <= slow.Lease.Number || fast.Attempts != 1 || slow.Attempts != 0 {
			b.Errorf("leases %+v, %+v", slow, fast)
		}
		b.want(b.RenewChecks(b.ctx(), leases(slow), time.Minute), polset.ErrFenced)
		for _, r := range []polset.CheckResult{says(slow, "passed"), {Again: true}, {Failure: polset.Fail(polset.ClassInternal, "no")}} {
			b.want(b.SettleCheck(b.ctx(), slow, r), polset.ErrFenced)
		}
		b.runStatus(run.ID, polset.RunPostPlanRunning)
		b.must(other.SettleCheck(b.ctx(), fast, says(fast, "failed")))
		b.want(b.SettleCheck(b.ctx(), slow, says(slow, "passed")), polset.ErrFenced)
		b.must(b.RenewChecks(b.ctx(), leases(fast), time.Minute)) // it has ended
		b.runStatus(run.ID, polset.RunErrored)
		b.noneDue()

		// Passing faults wait, and show nothing, however many they are.
		run = b.runOf(w.ID)
		task := b.dueCheck()
		began := task.Check.ReachedAt[polset.CheckRunning]
		for n := range faultyChecks + 3 {
			if want := min(n, faultyChecks); task.Attempts != want {
				b.Fatalf("attempt %d counts as %d", n, task.Attempts)
			}
			b.must(b.SettleCheck(b.ctx(), task, polset.CheckResult{Again: true, Fault: true, After: time.Hour}))
			b.noneDue()
			b.runStatus(run.ID, polset.RunPostPlanRunning)
			b.expireChecks()
			task = b.dueCheck()
		}
		select {
		case <-b.CheckDue():
		default:
		}
		b.must(b.SettleCheck(b.ctx(), task, polset.CheckResult{Again: true})) // the server stops
		select {
		case <-b.CheckDue():
		default:
			b.Error("nobody was woken")
		}
		if task = b.dueCheck(); task.Attempts != faultyChecks || !task.Check.ReachedAt[polset.CheckRunning].Equal(began) {
			b.Errorf("an interruption counts: %+v", task)
		}
		// The only process knows that nobody holds a lease.
		b.must(b.takeOver(b.ctx()))
		b.want(b.SettleCheck(b.ctx(), task, says(task, "passed")), polset.ErrFenced)
		task = b.dueCheck()
		b.must(b.SettleCheck(b.ctx(), task, says(task, "passed")))
		b.runStatus(run.ID, polset.RunPostPlanCompleted)

		// Policies that take their workers down are given up.
		run = b.runOf(w.ID)
		for range silentChecks {
			b.expireChecks()
			task = b.dueCheck()
		}
		b.expireChecks()
		b.noneDue()
		if c := b.checksOf(run.ID)[0]; c.Status != polset.CheckErrored || c.Error != polset.ClassInternal || !strings.Contains(c.ErrorMessage, fmt.Sprint(silentChecks)) {
			b.Errorf("given up: %+v", c)
		}
		b.runStatus(run.ID, polset.RunErrored)
		b.want(b.SettleCheck(b.ctx(), task, says(task, "passed")), polset.ErrFenced)

		b.runOf(w.ID)
		task = b.dueCheck()
		b.must(b.DeleteWorkspace(b.ctx(), admin, w.ID))
		b.want(b.SettleCheck(b.ctx(), task, says(task, "passed")), polset.ErrFenced)
		b.want(b.RenewChecks(b.ctx(), leases(task), time.Minute), polset.ErrFenced)
		for _, table := range []string{"checks", "policy_set_outcomes"} {
			if n := b.count("SELECT count(*) FROM " + table); n != 0 {
				b.Errorf("%d rows are left in %s", n, table)
			}
		}
		b.verify()
		b.workspace("net")
		b.must(b.DeleteOrganization(b.ctx(), admin, "acme"))
		b.verify()
	})
}

// Secrets that no key opens end their check, and no other.
func TestCheckSealedFast(t *testing.T) {
	onBoth(t, func(b *bench) {
		w := b.workspace("net")
		p := b.guard(polset.PolicySetDraft{Name: "net", Members: polset.Members{Workspaces: []string{w.ID}}})
		b.must(second(b.CreateParameter(b.ctx(), admin, p.ID, polset.ParameterDraft{Key: "a", Value: polset.NewSecret("s3cr3t"), Sensitive: true})))
		run := b.runOf(w.ID)
		b.exec("UPDATE policy_set_outcomes SET sealed_parameters = id_bytes.sealed_value FROM (SELECT sealed_value FROM policy_set_parameters) AS id_bytes")
		free := b.workspace("free")
		b.guard(polset.PolicySetDraft{Name: "free", Members: polset.Members{Workspaces: []string{free.ID}}})
		works := b.runOf(free.ID)
		if task := b.dueCheck(); task.Check.RunID != works.ID {
			b.Errorf("claimed %+v", task)
		}
		if c := b.checksOf(run.ID)[0]; c.Status != polset.CheckErrored || c.Error != polset.ClassInternal || c.ErrorMessage == "" {
			b.Errorf("check %+v", c)
		}
		b.runStatus(run.ID, polset.RunErrored)
		b.noneDue()
		b.verify()
	})
}

// Two nodes that look at once do not take the same check.
func TestCheckClaims(t *testing.T) {
	onBoth(t, func(b *bench) {
		b.guard(polset.PolicySetDraft{Name: "opa", Global: true})
		b.guard(polset.PolicySetDraft{Name: "sentinel", Global: true, Kind: polset.KindSentinel})
		w := b.workspace("net")
		const runs = 6
		for range runs {
			b.runOf(w.ID)
		}
		found := make(chan []polset.CheckTask)
		for _, s := range []*Store{b.Store, b.node()} {
			go func() {
				var all []polset.CheckTask
				for range runs {
					list, err := s.ClaimChecks(b.ctx(), 2, time.Minute)
					if err != nil {
						b.Error(err)
					}
					all = append(all, list...)
				}
				found <- all
			}()
		}
		seen := map[string]int{}
		all := append(<-found, <-found...)
		var group sync.WaitGroup
		for _, task := range all {
			seen[task.Check.ID]++
			group.Go(func() {
				if err := b.SettleCheck(b.ctx(), task, says(task, "passed")); err != nil {
					b.Error(err)
				}
			})
		}
		group.Wait()
		for id, n := range seen {
			if n != 1 {
				b.Errorf("%s was claimed %d times", id, n)
			}
		}
		if len(seen) != 2*runs {
			b.Errorf("%d of %d checks were claimed", len(seen), 2*runs)
		}
		list, _, err := b.Runs(b.ctx(), admin, w.ID, polset.RunFilter{Statuses: []string{string(polset.RunPolicyChecked)}}, onePage)
		b.must(err)
		if len(list) != runs {
			b.Errorf("%d of %d runs came to their end", len(list), runs)
		}
		b.verify()
	})
}

// The runs of one organization do not keep those of others waiting.
func TestCheckTurns(t *testing.T) {
	onBoth(t, func(b *bench) {
		workspaces := map[string]string{b.workspace("net").ID: "acme"}
		b.guard(polset.PolicySetDraft{Name: "opa", Global: true})
		many := slices.Collect(maps.Keys(workspaces))[0]
		for range 6 {
			b.runOf(many)
		}
		for _, name := range []string{"rivals", "others"} {
			b.organization(name)
			b.must(second(b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{Organization: name, Name: "opa", Global: true, Kind: polset.KindOPA})))
			workspaces[b.guarded(name, "net")] = name
		}
		for id, name := range workspaces {
			if name != "acme" {
				b.runOf(id)
				b.runOf(id)
			}
		}
		claim := func(n int, want ...string) {
			b.Helper()
			list, err := b.ClaimChecks(b.ctx(), n, time.Minute)
			b.must(err)
			var got []string
			for _, task := range list {
				got = append(got, task.Check.Organization)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				b.Fatalf("claimed of %v, want %v", got, want)
			}
		}
		claim(1, "acme")
		// What is being evaluated counts, so that acme's next ones come last.
		claim(2, "others", "rivals")
		claim(3, "acme", "others", "rivals")
		claim(10, "acme", "acme", "acme", "acme")
	})
}

// A canceled run takes its checks along, whoever works on them; a discarded one
// too, and it stays discarded.
func TestCheckCanceled(t *testing.T) {
	onBoth(t, func(b *bench) {
		w := b.workspace("net")
		opa := b.guard(polset.PolicySetDraft{Name: "opa", Global: true, Overridable: ptr(true)})
		b.must(second(b.CreateParameter(b.ctx(), admin, opa.ID, polset.ParameterDraft{Key: "a", Value: polset.NewSecret("s3cr3t"), Sensitive: true})))
		b.guard(polset.PolicySetDraft{Name: "sentinel", Global: true, Kind: polset.KindSentinel})
		end := func(run string, status polset.RunStatus) error { return second(b.EndRun(b.ctx(), admin, run, status)) }
		statuses := func(run string) (list []polset.CheckStatus) {
			for _, c := range b.checksOf(run) {
				list = append(list, c.Status)
			}
			return list
		}
		for _, status := range []polset.RunStatus{polset.RunCanceled, polset.RunDiscarded} {
			pending := b.runOf(w.ID)
			b.must(end(pending.ID, status))
			if got := statuses(pending.ID); !slices.Equal(got, []polset.CheckStatus{"canceled", "canceled"}) {
				b.Errorf("checks of a run that was %s: %v", status, got)
			}
			b.noneDue()
			b.want(end(pending.ID, polset.RunCanceled), polset.ErrConflict)
			b.want(end(pending.ID, polset.RunDiscarded), polset.ErrConflict)
		}
		if n := b.count("SELECT count(*) FROM policy_set_outcomes WHERE sealed_parameters IS NOT NULL"); n != 0 {
			b.Errorf("%d secrets outlive their checks", n)
		}

		run := b.runOf(w.ID)
		tasks, err := b.ClaimChecks(b.ctx(), 10, time.Minute)
		b.must(err)
		b.runStatus(run.ID, polset.RunPostPlanRunning)
		done, lost := tasks[0], tasks[1]
		if !done.Check.Evaluation {
			done, lost = lost, done
		}
		b.must(b.SettleCheck(b.ctx(), done, says(done, "failed")))
		b.runStatus(run.ID, polset.RunPolicyChecking)
		b.want(end(run.ID, polset.RunDiscarded), polset.ErrConflict)
		b.want(end(run.ID, polset.RunErrored), polset.ErrConflict)
		b.must(end(run.ID, polset.RunCanceled))
		if got := statuses(run.ID); !slices.Equal(got, []polset.CheckStatus{"soft_failed", "canceled"}) {
			b.Errorf("checks %v", got)
		}
		b.want(b.SettleCheck(b.ctx(), lost, says(lost, "passed")), polset.ErrFenced)
		b.want(b.SettleCheck(b.ctx(), lost, polset.CheckResult{Again: true}), polset.ErrFenced)
		b.want(b.RenewChecks(b.ctx(), []polset.Lease{lost.Lease}, time.Minute), polset.ErrFenced)
		b.must(b.SettleCheck(b.ctx(), done, says(done, "failed"))) // that one was its own
		b.want(second(b.OverrideChecks(b.ctx(), admin, []string{done.Check.ID}, "")), polset.ErrConflict)
		b.runStatus(run.ID, polset.RunCanceled)

		// Of cancel, settle and override at once each has its effect whole, or none.
		for range 4 {
			run := b.runOf(w.ID)
			tasks, err := b.ClaimChecks(b.ctx(), 10, time.Minute)
			b.must(err)
			var group sync.WaitGroup
			var canceled error
			settled := make([]error, len(tasks))
			group.Go(func() { canceled = end(run.ID, polset.RunCanceled) })
			for i, task := range tasks {
				group.Go(func() { settled[i] = b.SettleCheck(b.ctx(), task, says(task, "passed")) })
			}
			group.Wait()
			fenced := 0
			for i, err := range settled {
				if errors.Is(err, polset.ErrFenced) {
					fenced++
				} else if err != nil {
					b.Error(i, err)
				}
			}
			want := polset.RunPolicyChecked
			if canceled == nil {
				want = polset.RunCanceled
			} else if !errors.Is(canceled, polset.ErrConflict) {
				b.Error(canceled)
			}
			if (canceled == nil) != (fenced > 0) {
				b.Errorf("canceled: %v, and %d were fenced", canceled, fenced)
			}
			b.runStatus(run.ID, want)
		}
		b.verify()
	})
}

// Whoever ends, claims, settles or overrides holds the run, so that what its
// checks come to is read by one of them at a time. SQLite has one writer.
func TestRunIsHeld(t *testing.T) {
	t.Parallel()
	b := newBench(t, polsettest.Postgres(t))
	w := b.workspace("net")
	b.guard(polset.PolicySetDraft{Name: "opa", Global: true})
	run := b.runOf(w.ID)
	c := b.checksOf(run.ID)[0]
	for what, hold := range map[string]func(context.Context, *tx) error{
		"to be ended":                     func(ctx context.Context, tx *tx) error { return second(tx.holdRun(ctx, admin, run.ID)) },
		"by what moves one of its checks": func(ctx context.Context, tx *tx) error { return second(tx.holdCheck(ctx, c.ID, run.ID)) },
	} {
		b.must(b.write(b.ctx(), admin, func(ctx context.Context, tx *tx) error {
			if err := hold(ctx, tx); err != nil {
				return err
			}
			_, err := b.dialect.writer().ExecContext(ctx, "SELECT 1 FROM runs WHERE id = $1 FOR NO KEY UPDATE NOWAIT", run.ID)
			if err == nil || !b.dialect.retriable(err) {
				b.Errorf("the run is not held %s: %v", what, err)
			}
			return nil
		}))
	}
}
