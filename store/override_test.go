package store

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
)

var overrider = polset.Principal{Actor: "at-overrider"}

func TestCheckOverride(t *testing.T) {
	onBoth(t, func(b *bench) {
		w := b.workspace("net")
		b.guard(polset.PolicySetDraft{Name: "opa", Global: true, Overridable: ptr(true)})
		b.guard(polset.PolicySetDraft{Name: "sentinel", Global: true, Kind: polset.KindSentinel})
		// begin makes a run whose checks end so, the policy evaluation first; "" does
		// not end.
		begin := func(evaluation, check polset.OutcomeStatus) (string, []string) {
			b.Helper()
			run := b.runOf(w.ID)
			tasks, err := b.ClaimChecks(b.ctx(), 10, time.Minute)
			b.must(err)
			for _, task := range tasks {
				status := check
				if task.Check.Evaluation {
					status = evaluation
				}
				if status == "" {
					continue
				}
				result := says(task, status)
				if !task.Check.Evaluation {
					result.Outcomes[0].Policies[0].EnforcementLevel = "soft-mandatory"
				}
				b.must(b.SettleCheck(b.ctx(), task, result))
			}
			var ids []string
			for _, c := range b.checksOf(run.ID) {
				ids = append(ids, c.ID)
			}
			return run.ID, ids
		}
		override := func(ids ...string) error { return second(b.OverrideChecks(b.ctx(), overrider, ids, "we know")) }

		run, ids := begin("failed", "passed")
		b.runStatus(run, polset.RunPostPlanAwaitingDecision)
		before := b.checksOf(run)
		b.want(override(ids...), polset.ErrConflict) // one has nothing to override: nothing changes
		b.want(override(ids[0], "polchk-none"), polset.ErrNotFound)
		b.want(override(), polset.ErrConflict)
		var limit *polset.Failure
		if _, err := b.OverrideChecks(b.ctx(), overrider, ids[:1], strings.Repeat("a", polset.MaxOverrideComment+1)); !errors.As(err, &limit) || limit.Class != polset.ClassLimit || !strings.Contains(limit.Message, "1000 bytes") {
			b.Errorf("a long comment: %v", err)
		}
		if diff := cmp.Diff(before, b.checksOf(run)); diff != "" {
			b.Error(diff)
		}
		list, err := b.OverrideChecks(b.ctx(), overrider, ids[:1], "we know")
		b.must(err)
		c := list[0]
		if len(list) != 1 || c.Status != polset.CheckOverridden || c.Override == nil || c.Override.By != overrider.Actor || c.Override.Comment != "we know" ||
			c.Override.At.IsZero() || c.Counts.SoftFailed != 1 || c.ReachedAt[polset.CheckSoftFailed].IsZero() || !cmp.Equal(c, b.checksOf(run)[0]) {
			b.Errorf("overridden: %+v", c)
		}
		b.runStatus(run, polset.RunPolicyChecked)
		if d := b.detailsOf("check.overridden", c.ID); d["comment"] != "we know" || d["run"] != run || d["workspace"] != w.ID {
			b.Errorf("the trail says %v", d)
		}
		b.want(override(ids[0]), polset.ErrConflict) // again

		// Both, in the order asked for, each once; and one after the other.
		run, ids = begin("failed", "failed")
		b.runStatus(run, polset.RunPostPlanAwaitingDecision)
		list, err = b.OverrideChecks(b.ctx(), overrider, []string{ids[1], ids[0], ids[1]}, "")
		b.must(err)
		if got := []string{list[0].ID, list[1].ID, list[2].ID}; !slices.Equal(got, []string{ids[1], ids[0], ids[1]}) {
			b.Errorf("overridden %v of %v", got, ids)
		}
		b.runStatus(run, polset.RunPolicyChecked)
		run, ids = begin("failed", "failed")
		b.must(override(ids[0]))
		b.runStatus(run, polset.RunPolicyOverride)
		b.must(override(ids[1]))
		b.runStatus(run, polset.RunPolicyChecked)

		// While another check goes on, it may be overridden already.
		run, ids = begin("failed", "")
		b.must(override(ids[0]))
		b.want(override(ids[1]), polset.ErrConflict)
		b.runStatus(run, polset.RunPolicyChecking)
		b.must(second(b.EndRun(b.ctx(), admin, run, polset.RunCanceled)))

		// Not where the run has ended.
		run, ids = begin("failed", "errored")
		b.runStatus(run, polset.RunErrored)
		b.want(override(ids[0]), polset.ErrConflict)
		b.want(override(ids[1]), polset.ErrConflict)
		run, ids = begin("failed", "failed")
		b.must(second(b.EndRun(b.ctx(), admin, run, polset.RunDiscarded)))
		b.want(override(ids...), polset.ErrConflict)
		b.runStatus(run, polset.RunDiscarded)

		// Several at once: one wins, and a discard decides it for good.
		_, ids = begin("failed", "passed")
		run, others := begin("failed", "passed")
		var group sync.WaitGroup
		errs := make([]error, 6)
		var discarded error
		for i := range errs {
			both := []string{ids[0], others[0]}
			if i%2 == 0 {
				slices.Reverse(both)
			}
			group.Go(func() { errs[i] = override(both...) })
		}
		group.Go(func() { discarded = second(b.EndRun(b.ctx(), admin, run, polset.RunDiscarded)) })
		group.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if !errors.Is(err, polset.ErrConflict) {
				b.Error(err)
			}
		}
		if discarded != nil || won > 1 {
			b.Errorf("%d overrides, discarded: %v", won, discarded)
		}
		b.runStatus(run, polset.RunDiscarded)
		b.verify()
	})
}

func TestCheckOutcomeFilters(t *testing.T) {
	onBoth(t, func(b *bench) {
		w := b.workspace("net")
		for _, name := range []string{"a", "b", "c", "d"} {
			b.guard(polset.PolicySetDraft{Name: name, Global: true})
		}
		b.runOf(w.ID)
		task := b.dueCheck()
		result := says(task, "passed")
		of := func(list ...string) (out []polset.PolicyOutcome) {
			for _, one := range list {
				status, level, _ := strings.Cut(one, "/")
				out = append(out, polset.PolicyOutcome{Name: one, Status: polset.OutcomeStatus(status), EnforcementLevel: level})
			}
			return out
		}
		result.Outcomes[0].Policies = of("passed/mandatory", "failed/advisory")
		result.Outcomes[1].Policies = of("failed/mandatory", "passed/advisory")
		result.Outcomes[2].Policies = of("passed/mandatory")
		result.Outcomes[3].Policies, result.Outcomes[3].Error = nil, polset.ClassLimit
		b.must(b.SettleCheck(b.ctx(), task, result))
		for _, c := range []struct {
			want    string
			filters []polset.OutcomeFilter
		}{
			{"abcd", nil},
			{"a", []polset.OutcomeFilter{{Status: "failed", EnforcementLevel: "advisory"}}}, // not b: those are two policies
			{"b", []polset.OutcomeFilter{{Status: "failed", EnforcementLevel: "mandatory"}}},
			{"ab", []polset.OutcomeFilter{{Status: "failed"}}},
			{"abc", []polset.OutcomeFilter{{EnforcementLevel: "mandatory"}}},
			{"abcd", []polset.OutcomeFilter{{}}},
			{"ab", []polset.OutcomeFilter{{Status: "failed", EnforcementLevel: "advisory"}, {Status: "failed", EnforcementLevel: "mandatory"}}},
			{"d", []polset.OutcomeFilter{{Status: "errored"}}},
			{"", []polset.OutcomeFilter{{Status: "errored", EnforcementLevel: "mandatory"}}},
			{"", []polset.OutcomeFilter{{Status: "fail"}}},
			{"", []polset.OutcomeFilter{{Status: "%"}}},
			{"", []polset.OutcomeFilter{{EnforcementLevel: "mandator_"}}},
		} {
			got := ""
			for _, o := range b.outcomesOf(task.Check.ID, c.filters...) {
				got += o.PolicySetName
			}
			if got != c.want {
				b.Errorf("%+v lets through %q, want %q", c.filters, got, c.want)
			}
		}
		list, total, err := b.PolicySetOutcomes(b.ctx(), admin, task.Check.ID, []polset.OutcomeFilter{{Status: "failed"}}, polset.Page{Number: 2, Size: 1})
		b.must(err)
		if total != 2 || len(list) != 1 || list[0].PolicySetName != "b" || len(list[0].Policies) != 2 {
			b.Errorf("the second page of %d: %+v", total, list)
		}
		b.want(second(b.PolicySetOutcome(b.ctx(), admin, "psout-none")), polset.ErrNotFound)
		b.want(second(b.Check(b.ctx(), admin, "polchk-none")), polset.ErrNotFound)
	})
}

func TestVersionInForce(t *testing.T) {
	onBoth(t, func(b *bench) {
		set := b.plainSet("net", polset.KindOPA)
		now := func() string {
			b.Helper()
			p, v, err := b.VersionInForce(b.ctx(), admin, "acme", "net")
			b.must(err)
			if !cmp.Equal(p, b.set(set.ID)) || v.ID != "" && v.Status != polset.VersionReady {
				b.Errorf("%+v, %+v", p, v)
			}
			all, err := b.VersionsInForce(b.ctx(), []string{set.ID, "polset-none"})
			b.must(err)
			if id, ok := all[set.ID]; !ok || id != v.ID || len(all) != 1 {
				b.Errorf("in force are %v, want %s", all, v.ID)
			}
			return v.ID
		}
		if v := now(); v != "" {
			b.Errorf("%s is in force", v)
		}
		p := b.policy("rule", polset.KindOPA, set.ID)
		made := b.settle(b.claimed(b.Store), madeOf("a")).MaterializedVersionID
		if v := now(); v != made {
			b.Errorf("%s is in force, want %s", v, made)
		}
		b.must(b.DeletePolicy(b.ctx(), admin, p.ID))
		b.upload(b.awaiting(set.ID).ID)
		if v := now(); v == made || v != b.set(set.ID).CurrentVersionID {
			b.Errorf("%s is in force", v)
		}
		for _, name := range [][2]string{{"acme", "none"}, {"none", "net"}} {
			_, _, err := b.VersionInForce(b.ctx(), admin, name[0], name[1])
			b.want(err, polset.ErrNotFound)
		}
		b.must(b.DeletePolicySet(b.ctx(), admin, set.ID))
		if all, err := b.VersionsInForce(b.ctx(), []string{set.ID}); err != nil || len(all) != 0 {
			b.Errorf("in force are %v, %v", all, err)
		}
	})
}

// Verdicts that were changed behind the trail's back are found.
func TestCheckAudit(t *testing.T) {
	onBoth(t, func(b *bench) {
		w := b.workspace("net")
		b.guard(polset.PolicySetDraft{Name: "net", Global: true, Overridable: ptr(true)})
		var ids []string
		for range 2 {
			b.runOf(w.ID)
			task := b.dueCheck()
			b.must(b.SettleCheck(b.ctx(), task, says(task, "failed")))
			ids = append(ids, task.Check.ID)
		}
		b.must(second(b.OverrideChecks(b.ctx(), overrider, ids[:1], "")))
		b.verify()
		broken := func(change, undo, why string) {
			b.Helper()
			b.exec(change)
			var broken *BrokenChain
			if _, err := b.VerifyAudit(b.ctx(), nil); !errors.As(err, &broken) || !strings.Contains(broken.Why, why) {
				b.Errorf("%s: %v", change, err)
			}
			if undo != "" {
				b.exec(undo)
				b.verify()
			}
		}
		broken("UPDATE checks SET status = 'passed' WHERE id = '"+ids[1]+"'", "UPDATE checks SET status = 'soft_failed' WHERE id = '"+ids[1]+"'",
			"as soft_failed, and the check is passed")
		broken("UPDATE checks SET overridden_by = 'mallory' WHERE id = '"+ids[0]+"'", "UPDATE checks SET overridden_by = '"+overrider.Actor+"' WHERE id = '"+ids[0]+"'",
			"by mallory")
		broken("UPDATE checks SET status = 'pending' WHERE id = '"+ids[1]+"'", "UPDATE checks SET status = 'soft_failed' WHERE id = '"+ids[1]+"'",
			"no check has ended so")
		b.runOf(w.ID)
		broken("UPDATE checks SET status = 'passed' WHERE status = 'pending'", "UPDATE checks SET status = 'pending' WHERE status = 'passed'", "no row tells of it")
		broken("DELETE FROM checks WHERE id = '"+ids[1]+"'", "", "no check has ended so")
		b.must(b.DeleteWorkspace(b.ctx(), admin, w.ID))
		b.verify()
	})
}
