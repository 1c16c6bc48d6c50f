package store

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/polset/polset"
)

func pullOf(number int, head string) polset.PullRequest {
	return polset.PullRequest{
		Repository: polset.RepositoryRef{ID: 42, Identifier: "Acme/Policies"}, DefaultBranch: "main", Number: number,
		Action: "synchronize", Base: "main", Head: head, Author: "mona",
	}
}

func (b *bench) pull(number int, head string) polset.Receipt {
	b.Helper()
	r, err := b.RecordPullRequest(b.ctx(), delivery(polset.HookGitHubApp), pullOf(number, head))
	b.must(err)
	return r
}

// trials takes what is due for a minute, and tells it: "number commit".
func (b *bench) trials(want ...string) []polset.Trial {
	b.Helper()
	list, err := b.ClaimTrials(b.ctx(), 10, 10, time.Minute)
	b.must(err)
	got := make([]string, len(list))
	for n, t := range list {
		got[n] = fmt.Sprintf("%d %s", t.DryRun.Number, t.DryRun.Commit)
	}
	if !slices.Equal(got, want) {
		b.Fatalf("trials %q, want %q", got, want)
	}
	return list
}

// expireTrials lets every lease and wait of dry runs run out.
func (b *bench) expireTrials() {
	b.Helper()
	b.exec(`UPDATE dry_runs SET due_at = $1 WHERE ended_at IS NULL`, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
}

func TestDryRun(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "", "c0")
		also := b.settled("also", "main", "c0")
		b.settled("other", "next", "c0")
		b.exec(`UPDATE reports SET sent = revision`)

		d, pr := delivery(polset.HookGitHubApp), pullOf(7, "f1")
		pr.Fork = true
		r, err := b.RecordPullRequest(b.ctx(), d, pr)
		b.must(err)
		if r.Effect == "" || r.Ignored != "" || r.Duplicate || len(r.Ingestions) != 0 {
			b.Fatalf("receipt %+v", r)
		}
		r, err = b.RecordPullRequest(b.ctx(), d, pr)
		b.must(err)
		if !r.Duplicate {
			b.Fatalf("case 7: receipt %+v", r)
		}
		if r := b.pull(7, "f1"); !r.Duplicate || r.Ignored != "" {
			b.Fatalf("case 8: receipt %+v", r)
		}
		list := b.trials("7 f1", "7 f1")
		b.trials()
		if list[0].DryRun.PolicySetID != p.ID {
			slices.Reverse(list)
		}
		run := list[0]
		if run.DryRun.PolicySetID != p.ID || !run.DryRun.Fork || run.DryRun.Path != "policies" || run.DryRun.Base != "main" ||
			run.DryRun.Attempts != 1 || run.DryRun.DeliveryGUID != d.GUID || !run.Connected || run.Remote.Token.Empty() ||
			run.Remote.ExternalID != 42 || run.Current == nil || run.Current.Commit != "c0" {
			b.Fatalf("trial %+v", run)
		}
		compared := polset.TrialOutcome{Comparison: &polset.Comparison{
			Against: run.Current.ID, Policies: 2, Changes: []polset.PolicyChange{{Policy: "p", Kind: polset.PolicyChanged, From: "mandatory", To: "advisory", Weaker: true}},
		}}
		b.must(b.SettleTrial(b.ctx(), run.Lease, compared))
		b.must(b.SettleTrial(b.ctx(), run.Lease, compared)) // after a commit without an answer
		failed := polset.Fail(polset.ClassPolicyInvalid, "It does not compile.")
		failed.Diagnostics = []polset.Diagnostic{{File: "a.rego", Line: 1, Column: 2, Message: "no"}}
		b.want(b.SettleTrial(b.ctx(), run.Lease, polset.TrialOutcome{Failure: failed}), polset.ErrFenced)
		if err := b.SettleTrial(b.ctx(), list[1].Lease, polset.TrialOutcome{}); err == nil {
			b.Fatal("an outcome of nothing was accepted")
		}
		b.must(b.SettleTrial(b.ctx(), list[1].Lease, polset.TrialOutcome{Failure: failed}))

		reports, _ := b.reports()
		slices.SortFunc(reports, func(x, y polset.Report) int { return cmp.Compare(x.Status, y.Status) })
		if len(reports) != 2 || reports[0].Status != polset.ReportCompared || reports[1].Status != polset.ReportFailed {
			b.Fatalf("reports %+v", reports)
		}
		if d := reports[0].DryRun; d == nil || reports[0].PullRequest != 7 || d.Comparison == nil || len(d.Comparison.Changes) != 1 || !d.Comparison.Changes[0].Weaker {
			b.Fatalf("report %+v", reports[0])
		}
		if d := reports[1].DryRun; d == nil || reports[1].PolicySetID != also.ID || d.Error != polset.ClassPolicyInvalid || !slices.Equal(d.Diagnostics, failed.Diagnostics) {
			b.Fatalf("report %+v", reports[1])
		}
		if n := b.count(`SELECT count(*) FROM versions WHERE commit_id = 'f1'`); n != 0 {
			b.Fatal("a dry run left a version")
		}
		b.reportsEqual()
		b.verify()
	})
}

func TestDryRunsOfOnePullRequest(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		b.exec(`UPDATE reports SET sent = revision`)
		b.pull(7, "f1")
		old := b.trials("7 f1")[0]
		b.pull(8, "g1")
		b.pull(7, "f2")
		b.want(b.SettleTrial(b.ctx(), old.Lease, polset.TrialOutcome{Comparison: &polset.Comparison{}}), polset.ErrFenced)
		b.want(b.RenewTrials(b.ctx(), []polset.Lease{old.Lease}, time.Minute), polset.ErrFenced)
		b.told("f1 ignored", "g1 pending", "f2 pending")
		list := b.trials("8 g1", "7 f2")
		b.must(b.SettleTrial(b.ctx(), list[0].Lease, polset.TrialOutcome{Comparison: &polset.Comparison{}}))
		// Other settings: nobody waits for what the old ones would have given.
		path := "elsewhere"
		b.must(second(b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{PoliciesPath: &path})))
		b.want(b.SettleTrial(b.ctx(), list[1].Lease, polset.TrialOutcome{Comparison: &polset.Comparison{}}), polset.ErrFenced)
		b.reportsEqual()
		if r := b.pull(7, "f2"); r.Effect == "" { // reopened
			b.Fatalf("receipt %+v", r)
		}
		if r := b.pull(8, "g1"); !r.Duplicate {
			b.Fatalf("receipt %+v", r)
		}
		last := b.trials("7 f2")[0]
		if last.DryRun.Path != "elsewhere" {
			b.Fatalf("trial %+v", last.DryRun)
		}
		b.must(b.DeletePolicySet(b.ctx(), admin, p.ID))
		b.want(b.SettleTrial(b.ctx(), last.Lease, polset.TrialOutcome{Comparison: &polset.Comparison{}}), polset.ErrFenced)
		b.must(b.RenewTrials(b.ctx(), []polset.Lease{last.Lease}, time.Minute)) // gone: skipped
		b.verify()
	})
}

func TestPullRequestsOfOthers(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		pr := pullOf(7, "f1")
		pr.Base = "feature"
		r, err := b.RecordPullRequest(b.ctx(), delivery(polset.HookGitHubApp), pr)
		b.must(err)
		if r.Ignored == "" || r.Effect != "" {
			b.Fatalf("case 19: receipt %+v", r)
		}
		stranger := pullOf(7, "f1")
		stranger.Repository = polset.RepositoryRef{ID: 7, Identifier: "acme/else"}
		nobody, err := b.RecordPullRequest(b.ctx(), delivery(polset.HookGitHubApp), stranger)
		b.must(err)
		if nobody.Ignored != "no policy set follows acme/else" {
			b.Fatalf("case 22: receipt %+v", nobody)
		}
		b.want(second(b.RecordPullRequest(b.ctx(), delivery(p.VCS.HookID), stranger)), polset.ErrNotFound)
		// A row that no token of the organization ever read is not told of.
		b.of("blind", "acme/secret", "main", b.conn.TokenID)
		secret := pullOf(7, "f1")
		secret.Repository = polset.RepositoryRef{ID: 8, Identifier: "acme/secret"}
		r, err = b.RecordPullRequest(b.ctx(), delivery(polset.HookGitHubApp), secret)
		b.must(err)
		if r.Ignored != "no policy set follows acme/secret" || b.count(`SELECT count(*) FROM dry_runs`) != 0 {
			b.Fatalf("receipt %+v", r)
		}
		b.must(b.DeleteConnection(b.ctx(), admin, b.conn.ID))
		if r := b.pull(7, "f1"); r.Ignored == "" {
			b.Fatalf("without a credential: receipt %+v", r)
		}
		b.trials()
	})
}

func TestTrialAttempts(t *testing.T) {
	onBoth(t, func(b *bench) {
		b.settled("net", "main", "c0")
		b.exec(`UPDATE reports SET sent = revision`)
		b.pull(7, "f1")
		run := b.trials("7 f1")[0]
		b.must(b.RenewTrials(b.ctx(), []polset.Lease{run.Lease}, time.Minute))
		b.must(b.SettleTrial(b.ctx(), run.Lease, polset.TrialOutcome{Again: true, After: time.Hour, Reason: "timeout: The server hangs."}))
		b.trials()
		b.want(b.SettleTrial(b.ctx(), run.Lease, polset.TrialOutcome{Again: true, Reason: "twice"}), polset.ErrFenced)
		if r := b.told("f1 pending")[0]; r.Reason == "" {
			b.Fatalf("report %+v", r)
		}
		b.expireTrials()
		run = b.trials("7 f1")[0]
		if run.DryRun.Attempts != 2 || run.DryRun.Failures != 1 {
			b.Fatalf("trial %+v", run.DryRun)
		}
		b.sub("case 103 attempts of a poison trial are counted", func(b *bench) {
			for range silentAttempts - 1 {
				b.expireTrials()
				b.trials("7 f1")
			}
			b.expireTrials()
			b.trials()
			if n := b.count(`SELECT count(*) FROM dry_runs WHERE status = 'failed' AND error = 'internal'`); n != 1 {
				b.Fatal("it goes on")
			}
			b.want(b.SettleTrial(b.ctx(), run.Lease, polset.TrialOutcome{Comparison: &polset.Comparison{}}), polset.ErrFenced)
		})
		b.reportsEqual()

		b.pull(8, "g1")
		b.pull(9, "h1")
		nodes := []*Store{b.Store, b.node()}
		taken, errs := make([][]polset.Trial, 4), make([]error, 4)
		var wait sync.WaitGroup
		for n := range taken {
			wait.Go(func() { taken[n], errs[n] = nodes[n%2].ClaimTrials(b.ctx(), 2, 2, time.Minute) })
		}
		wait.Wait()
		total := 0
		for n := range taken {
			b.must(errs[n])
			total += len(taken[n])
		}
		if total != 2 {
			b.Fatalf("%d trials of two dry runs", total)
		}
		b.must(b.takeOver(b.ctx()))
		b.trials("8 g1", "9 h1")

		// What is long past is forgotten.
		b.exec(`UPDATE dry_runs SET created_at = $1`, b.At().Add(-31*24*time.Hour))
		b.must(second(b.Sweep(b.ctx())))
		if n := b.count(`SELECT count(*) FROM dry_runs`); n != 0 {
			b.Fatalf("%d dry runs are kept", n)
		}
	})
}

func TestTrialsOfForks(t *testing.T) {
	onBoth(t, func(b *bench) {
		b.settled("net", "main", "c0")
		for n, head := range []string{"f1", "f2", "own", "f3"} {
			p := pullOf(n+1, head)
			p.Fork = head != "own"
			b.must(second(b.RecordPullRequest(b.ctx(), delivery(polset.HookGitHubApp), p)))
		}
		claim := func(n, forks int, want ...string) {
			b.Helper()
			list, err := b.ClaimTrials(b.ctx(), n, forks, time.Minute)
			b.must(err)
			got := []string{}
			for _, t := range list {
				got = append(got, t.DryRun.Commit)
			}
			if !slices.Equal(got, want) {
				b.Fatalf("%d trials, %d of forks: %q, want %q", n, forks, got, want)
			}
		}
		claim(1, 1, "own")
		b.expireTrials()
		claim(3, 1, "f1", "own") // in the order of their acceptance
		claim(3, 0)
		claim(3, 3, "f2", "f3")
	})
}

// A delivery may take minutes to come: what GitHub says is older than the last
// dry run of its pull request supersedes nothing.
func TestDryRunThatCameLate(t *testing.T) {
	onBoth(t, func(b *bench) {
		b.settled("a", "main", "c0")
		began := b.At()
		tell := func(head string, after time.Duration) polset.Receipt {
			b.Helper()
			p := pullOf(7, head)
			p.UpdatedAt = began.Add(after)
			r, err := b.RecordPullRequest(b.ctx(), delivery(polset.HookGitHubApp), p)
			b.must(err)
			return r
		}
		tell("f1", 0)
		tell("f3", 2*time.Minute)
		if r := tell("f2", time.Minute); r.Ignored == "" || r.Duplicate || r.Effect != "" {
			b.Fatalf("late: receipt %+v", r)
		}
		b.trials("7 f3")
		if r := tell("f4", 2*time.Minute); r.Effect == "" {
			b.Fatalf("within the same second: receipt %+v", r)
		}
		// It went on to another commit and came back, of which only the end is known yet.
		if r := tell("f4", 4*time.Minute); !r.Duplicate {
			b.Fatalf("the same commit: receipt %+v", r)
		}
		if r := tell("f5", 3*time.Minute); r.Ignored == "" {
			b.Fatalf("late after the same commit: receipt %+v", r)
		}
		b.trials("7 f4")
		if r := b.pull(7, "f6"); r.Effect == "" { // no time: in the order of arrival
			b.Fatalf("without a time: receipt %+v", r)
		}
		if r := tell("f7", 0); r.Effect == "" {
			b.Fatalf("after one without a time: receipt %+v", r)
		}
		b.trials("7 f7")
	})
}
