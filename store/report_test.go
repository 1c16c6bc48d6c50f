package store

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/polset/polset"
)

// reports takes what is due for a minute, and tells it: "commit status".
func (b *bench) reports() (list []polset.Report, told []string) {
	b.Helper()
	list, err := b.ClaimReports(b.ctx(), 10, time.Minute)
	b.must(err)
	for _, r := range list {
		told = append(told, r.Commit+" "+string(r.Status))
	}
	return list, told
}

func (b *bench) told(want ...string) []polset.Report {
	b.Helper()
	list, got := b.reports()
	if !slices.Equal(got, want) {
		b.Fatalf("reports %q, want %q", got, want)
	}
	return list
}

func (b *bench) sent(list ...polset.Report) {
	b.Helper()
	for _, r := range list {
		b.must(b.SettleReport(b.ctx(), polset.ReportOutcome{ID: r.ID, LeasedBy: r.LeasedBy, Revision: r.Revision, CheckRunID: r.CheckRunID}))
	}
}

func (b *bench) unsent(r polset.Report, f *polset.Failure) {
	b.Helper()
	b.must(b.SettleReport(b.ctx(), polset.ReportOutcome{ID: r.ID, LeasedBy: r.LeasedBy, Failure: f}))
}

// due lets every wait of reports run out.
func (b *bench) due() {
	b.Helper()
	b.exec(`UPDATE reports SET due_at = $1`, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
}

// reportsEqual demands that reports say what the ingestions and dry runs say.
func (b *bench) reportsEqual() {
	b.Helper()
	for _, table := range []string{"ingestions", "dry_runs"} {
		n := b.count(`SELECT count(*) FROM ` + table + ` AS of LEFT JOIN reports ON reports.subject = of.id
			WHERE of.commit_id <> '' AND (of.token_id IS NOT NULL OR of.installation_id IS NOT NULL)
			AND (reports.id IS NULL OR reports.status <> of.status OR reports.reason <> of.reason OR reports.commit_id <> of.commit_id)`)
		if n != 0 {
			b.Fatalf("%d %s are not reported as they are", n, table)
		}
	}
}

func TestReports(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.follower("net", "", polset.Head{})
		repo := p.VCS.RepositoryID
		b.told() // without a commit there is nowhere to report
		batch := b.claim(repo, "")
		b.observe(batch, "", "aaa")
		b.must(b.Resolve(b.ctx(), batch.Claims[0].Lease, polset.Head{Branch: "main", Commit: "aaa"}))
		running := b.told("aaa running")[0]
		if running.PolicySet != "net" || running.Organization != "acme" || running.PolicySetID != p.ID || running.PullRequest != 0 ||
			running.Remote.Token.Reveal() != "ghp_secret_of_acme" || running.Remote.Identifier != "acme/policies" ||
			running.Remote.APIURL != "https://api.github.com" || running.StartedAt.IsZero() || running.Version != nil {
			b.Fatalf("report %+v", running)
		}
		// What is wanted changes while it is sent: nobody else sends it
		// meanwhile, and then it is due at once.
		b.finish(batch.Claims[0], "t1")
		b.told()
		b.sent(running)
		versioned := b.told("aaa versioned")[0]
		if versioned.ID != running.ID || versioned.Version == nil || len(versioned.Version.Artifact.Policies) != 1 || versioned.EndedAt.IsZero() {
			b.Fatalf("report %+v", versioned)
		}
		b.sent(versioned)
		b.due()
		b.told()

		b.push("main", "bbb")
		b.sent(b.told("bbb pending")...)
		c := b.claim(repo, "bbb").Claims[0]
		b.must(b.Release(b.ctx(), c.Lease, 0, "timeout: The server hangs."))
		if r := b.told("bbb pending")[0]; r.Reason == "" {
			b.Fatalf("report %+v", r)
		} else {
			b.sent(r)
		}
		f := polset.Fail(polset.ClassPolicyInvalid, "No.")
		f.Diagnostics = []polset.Diagnostic{{File: "policies/a.rego", Line: 3, Column: 1, Message: "unexpected }"}}
		c = b.claim(repo, "bbb").Claims[0]
		b.must(b.Store.Fail(b.ctx(), c.Lease, f, polset.Content{}))
		failed := b.told("bbb failed")[0]
		if v := failed.Version; v == nil || v.Error != polset.ClassPolicyInvalid || !slices.Equal(v.Diagnostics, f.Diagnostics) {
			b.Fatalf("report %+v", failed.Version)
		}
		list, _, err := b.Versions(b.ctx(), admin, p.ID, polset.VersionFilter{}, polset.Page{Number: 1, Size: 1})
		b.must(err)
		if !slices.Equal(list[0].Diagnostics, f.Diagnostics) {
			b.Fatalf("version %+v", list[0])
		}
		b.reportsEqual()
		b.verify()
	})
}

func TestReportLease(t *testing.T) {
	onBoth(t, func(b *bench) {
		for n := range 8 {
			b.follower(fmt.Sprintf("s%d", n), "main", polset.Head{Branch: "main", Commit: "c0"})
		}
		nodes := []*Store{b.Store, b.node()}
		var wait sync.WaitGroup
		taken, errs := make([][]polset.Report, 6), make([]error, 6)
		for n := range taken {
			wait.Go(func() { taken[n], errs[n] = nodes[n%2].ClaimReports(b.ctx(), 8, time.Minute) })
		}
		wait.Wait()
		all := map[string]bool{}
		for n, list := range taken {
			b.must(errs[n])
			for _, r := range list {
				if all[r.ID] {
					b.Fatalf("%s was taken twice", r.ID)
				}
				all[r.ID] = true
			}
		}
		if len(all) != 8 {
			b.Fatalf("%d reports taken, want 8", len(all))
		}
		b.due() // the claimers died
		first, _ := b.reports()
		b.due()
		again, _ := b.reports()
		if len(first) != 8 || len(again) != 8 {
			b.Fatalf("%d and %d reports after the leases ran out", len(first), len(again))
		}
		r := first[0]
		late := polset.ReportOutcome{ID: r.ID, LeasedBy: r.LeasedBy, Revision: r.Revision}
		b.want(b.SettleReport(b.ctx(), late), polset.ErrFenced)
		b.want(b.SettleReport(b.ctx(), polset.ReportOutcome{ID: "rep-none"}), polset.ErrFenced)
		b.sent(again...)
		b.due()
		b.told()
	})
}

func TestReportBackoff(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		waits := func(from, to time.Duration) {
			b.Helper()
			now := b.At()
			if b.count(`SELECT count(*) FROM reports WHERE due_at BETWEEN $1 AND $2`, now.Add(from), now.Add(to)) != 1 {
				b.Fatalf("the report is not due in %s to %s", from, to)
			}
		}
		outage := &polset.Failure{Class: polset.ClassTimeout, Message: "GitHub is down.", Retry: true}
		for n, want := range []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 900, 900} {
			r := b.told("c0 versioned")[0]
			if r.Failures != n {
				b.Fatalf("%d failures, want %d", r.Failures, n)
			}
			b.must(b.SettleReport(b.ctx(), polset.ReportOutcome{
				ID: r.ID, LeasedBy: r.LeasedBy, Failure: outage, CheckRunID: 7, Uncertain: true, AnnotatedUpTo: 50,
			}))
			b.told()
			waits(want*time.Second-2*time.Second, want*time.Second+time.Second)
			b.due()
		}
		r := b.told("c0 versioned")[0]
		if r.CheckRunID != 7 || !r.Uncertain || r.AnnotatedUpTo != 50 {
			b.Fatalf("what the attempt left is forgotten: %+v", r)
		}
		b.unsent(r, &polset.Failure{Class: polset.ClassTimeout, Message: "Later.", Retry: true, RetryAfter: time.Hour})
		waits(59*time.Minute, 61*time.Minute)
		b.due()
		r = b.told("c0 versioned")[0]
		if r.CheckRunID != 7 {
			b.Fatalf("the check run is forgotten: %+v", r)
		}
		b.unsent(r, polset.Fail(polset.ClassAuth, "Forbidden."))
		b.due()
		b.told() // given up

		// The credential works again.
		b.must(b.LookFailed(b.ctx(), polset.Look{
			Repository: polset.Repository{ID: p.VCS.RepositoryID}, Credential: b.conn.TokenID, Number: 99,
		}, polset.Fail(polset.ClassAuth, "Refused.")))
		b.must(b.Observe(b.ctx(), polset.Observation{
			RepositoryID: p.VCS.RepositoryID, Branch: "main", Head: polset.Head{Branch: "main", Commit: "c0"}, Look: 100, Credential: b.conn.TokenID,
		}))
		if r := b.told("c0 versioned")[0]; r.Failures != 0 {
			b.Fatalf("report %+v", r)
		} else {
			b.sent(r)
		}

		b.push("main", "c1")
		b.exec(`UPDATE reports SET created_at = $1`, b.At().Add(-15*24*time.Hour))
		b.told() // nobody waits for it any more
		if n := b.count(`SELECT count(*) FROM reports WHERE given_up <> ''`); n != 1 {
			b.Fatalf("%d reports given up", n)
		}
		b.exec(`UPDATE reports SET created_at = $1`, b.At().Add(-31*24*time.Hour))
		b.must(second(b.Sweep(b.ctx())))
		if n := b.count(`SELECT count(*) FROM reports`); n != 0 {
			b.Fatalf("%d old reports are kept", n)
		}
	})
}

// TestNewestReport: of several ingestions of one commit GitHub ends with the newest.
func TestNewestReport(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		flight := b.told("c0 versioned")[0]
		again, err := b.Ingest(b.ctx(), admin, p.ID, "c0")
		b.must(err)
		b.told() // not beside the one that is on its way
		b.sent(flight)
		newer := b.told("c0 pending")[0]
		if newer.ID == flight.ID {
			b.Fatal("the old report came again")
		}
		b.sent(newer)

		b.sub("an older one that was not sent never is", func(b *bench) {
			b.carry(p.VCS.RepositoryID, "c0", "c0")
			b.must(second(b.Ingest(b.ctx(), admin, p.ID, "c0")))
			if r := b.told("c0 pending"); r[0].ID == newer.ID {
				b.Fatal("the older was sent")
			}
			b.due()
			b.told("c0 pending")
		})
		b.sub("a check run that was begun is ended", func(b *bench) {
			b.exec(`UPDATE reports SET sent = revision`)
			app := b.installed(4711, "Acme", b.org.Name)
			b.exec(`UPDATE reports SET sent = 0, given_up = '', check_run_id = 7, token_id = NULL, installation_id = $2 WHERE subject = $1`, again.ID, app.ID)
			b.due()
			if r := b.told("c0 versioned")[0]; r.ID != newer.ID || r.Remote.Installation != 4711 || !r.Remote.Token.Empty() {
				b.Fatalf("report %+v", r)
			}
		})
	})
}

func TestReportsOfTheDeleted(t *testing.T) {
	onBoth(t, func(b *bench) {
		stays := b.settled("stays", "main", "c0")
		gone := b.follower("gone", "main", polset.Head{Branch: "main", Commit: "c0"})
		all, _ := b.reports()
		b.sent(all...)
		begun := b.count(`SELECT count(*) FROM reports`)
		b.push("main", "c1") // of these nobody was told
		b.must(b.DeletePolicySet(b.ctx(), admin, gone.ID))
		if n := b.count(`SELECT count(*) FROM reports`); n != begun+1 {
			b.Fatalf("%d reports, want %d", n, begun+1)
		}
		b.told("c0 deleted", "c1 pending")
		b.must(b.DeletePolicySet(b.ctx(), admin, stays.ID)) // the one in flight ends too
		b.due()
		b.told("c0 deleted", "c1 deleted")

		b.follower("more", "main", polset.Head{Branch: "main", Commit: "c9"})
		b.must(b.DeleteConnection(b.ctx(), admin, b.conn.ID))
		b.due()
		b.told()
		if n := b.count(`SELECT count(*) FROM reports WHERE given_up LIKE '%credential%'`); n != 3 {
			b.Fatalf("%d reports given up", n)
		}
		b.must(b.DeleteOrganization(b.ctx(), admin, b.org.Name))
		if n := b.count(`SELECT count(*) FROM reports`); n != 0 {
			b.Fatalf("%d reports outlive their organization", n)
		}
	})
}

func TestIgnoredReport(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		b.push("main", "c1")
		all, _ := b.reports()
		b.sent(all...)
		path := "elsewhere"
		_, err := b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{PoliciesPath: &path})
		b.must(err)
		list, told := b.reports()
		if !slices.Contains(told, "c1 ignored") || !strings.Contains(list[0].Reason, "settings") {
			b.Fatalf("reports %v", told)
		}
		b.reportsEqual()
	})
}

func TestTakeOverReports(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.follower("net", "main", polset.Head{Branch: "main", Commit: "c0"})
		b.claim(p.VCS.RepositoryID, "c0")
		b.must(b.takeOver(b.ctx()))
		b.told("c0 pending")
		b.reportsEqual()
	})
}

// TestGivenUpRevision: what changed while an attempt failed for good was not
// tried.
func TestGivenUpRevision(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.follower("net", "main", polset.Head{Branch: "main", Commit: "c0"})
		pending := b.told("c0 pending")[0]
		c := b.claim(p.VCS.RepositoryID, "c0").Claims[0]
		b.finish(c, "c0")
		b.unsent(pending, polset.Fail(polset.ClassLimit, "The check run is too long."))
		versioned := b.told("c0 versioned")[0]
		b.unsent(versioned, polset.Fail(polset.ClassLimit, "The check run is too long."))
		b.due()
		b.told()
	})
}
