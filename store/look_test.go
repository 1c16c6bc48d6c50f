package store

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/polset/polset"
)

// takeLooks takes the looks that are due, at most n, for the next hour.
func (b *bench) takeLooks(n int) []polset.Look {
	b.Helper()
	list, err := b.ClaimLooks(b.ctx(), n, time.Hour)
	b.must(err)
	return list
}

// seen is an observation of a look.
func (b *bench) seen(l polset.Look, branch, head string) {
	b.Helper()
	b.must(b.Observe(b.ctx(), polset.Observation{
		RepositoryID: l.Repository.ID, Branch: branch, Head: polset.Head{Branch: branch, Commit: head},
		Credential: l.Credential, Look: l.Number, Reconciled: true,
	}))
}

// reason is a policy set's reason, "" where all is well.
func (b *bench) reason(setID string) polset.DegradedReason {
	b.Helper()
	p := b.set(setID)
	if p.Degraded == nil {
		return ""
	}
	if !strings.HasSuffix(p.Degraded.Message, ".") || p.Degraded.Since.IsZero() {
		b.Fatalf("degraded %+v", p.Degraded)
	}
	return p.Degraded.Reason
}

func (b *bench) audited(action string) int {
	b.Helper()
	return b.count(`SELECT count(*) FROM audit_entries WHERE action = $1`, action)
}

// of makes a policy set that follows a repository with a token.
func (b *bench) of(name, identifier, branch, token string) polset.PolicySet {
	b.Helper()
	p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{
		Organization: b.org.Name, Name: name, Kind: polset.KindOPA, PoliciesPath: "policies",
		VCS: &polset.VCSDraft{Identifier: identifier, Branch: branch, TokenID: token},
	})
	b.must(err)
	return p
}

func TestLooks(t *testing.T) {
	onBoth(t, func(b *bench) {
		other := b.connection("acme")
		p := b.of("a", "acme/one", "main", b.conn.TokenID)
		b.of("b", "acme/one", "", b.conn.TokenID)
		b.of("c", "acme/one", "", b.conn.TokenID)
		b.of("d", "acme/one", "next", other.TokenID)
		looks := b.takeLooks(10)
		if len(looks) != 2 || looks[0].Number != looks[1].Number {
			b.Fatalf("looks %+v", looks)
		}
		slices.SortFunc(looks, func(x, y polset.Look) int { return len(y.Branches) - len(x.Branches) })
		if l := looks[0]; l.Credential != b.conn.TokenID || !slices.Equal(slices.Sorted(slices.Values(l.Branches)), []string{"", "main"}) ||
			!l.Connected || l.Remote.Token.Reveal() != "ghp_secret_of_acme" || l.Remote.Identifier != "acme/one" || l.Repository.ID != p.VCS.RepositoryID {
			b.Fatalf("look %+v", l)
		}
		if l := looks[1]; l.Credential != other.TokenID || !slices.Equal(l.Branches, []string{"next"}) {
			b.Fatalf("look %+v", l)
		}
		if len(b.takeLooks(10)) != 0 {
			b.Fatal("a look was given twice")
		}
		now := b.At()
		if b.count(`SELECT count(*) FROM repositories WHERE look_due_at BETWEEN $1 AND $2`, now.Add(53*time.Minute), now.Add(67*time.Minute)) != 1 {
			b.Fatal("not due again in an hour")
		}

		// Those first that were looked at longest ago; what nobody follows, never.
		two := b.of("e", "acme/two", "main", b.conn.TokenID)
		three := b.of("f", "acme/three", "main", b.conn.TokenID)
		for _, of := range []polset.PolicySet{three, two, p} {
			b.observe(polset.Batch{Repository: polset.Repository{ID: of.VCS.RepositoryID}, Look: 50}, "main", "c0")
		}
		b.must(b.ResumeLooks(b.ctx()))
		b.exec(`UPDATE repositories SET look_due_at = $1`, now) // one time for all, as when a node resumes after another
		var order []string
		for range 3 {
			order = append(order, b.takeLooks(1)[0].Repository.Identifier)
		}
		if !slices.Equal(order, []string{"acme/three", "acme/two", "acme/one"}) {
			b.Fatalf("order %v", order)
		}
		b.must(b.DeletePolicySet(b.ctx(), admin, two.ID))
		b.must(b.ResumeLooks(b.ctx()))
		if n := len(b.takeLooks(10)); n != 3 {
			b.Fatalf("%d looks, want those of two repositories", n)
		}

		// A connection that was deleted before anybody told the policy set.
		b.must(b.DeleteConnection(b.ctx(), admin, other.ID))
		b.exec(`UPDATE policy_sets SET degraded = '', degraded_message = ''`)
		b.must(b.ResumeLooks(b.ctx()))
		if n := len(b.takeLooks(10)); n != 2 || b.count(`SELECT count(*) FROM policy_sets WHERE degraded = 'connection-deleted'`) != 1 {
			b.Fatalf("%d looks", n)
		}
		b.verify()
	})
}

func TestLookOfTwoNodes(t *testing.T) {
	onBoth(t, func(b *bench) {
		for _, name := range []string{"one", "two", "three", "four", "five"} {
			b.of(name, "acme/"+name, "main", b.conn.TokenID)
		}
		nodes := []*Store{b.Store, b.node()}
		taken, errs := make([][]polset.Look, 6), make([]error, 6)
		var wait sync.WaitGroup
		for n := range taken {
			wait.Go(func() { taken[n], errs[n] = nodes[n%2].ClaimLooks(b.ctx(), 5, time.Hour) })
		}
		wait.Wait()
		total := 0
		for n := range taken {
			b.must(errs[n])
			total += len(taken[n])
		}
		if total != 5 {
			b.Fatalf("%d looks at five repositories", total)
		}
	})
}

func TestLookSpread(t *testing.T) {
	seen := map[time.Duration]bool{}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for n := range 50 {
		d := scattered(polset.NewID("repo"), at.Add(time.Duration(n)*time.Second), time.Hour)
		if d < 54*time.Minute || d > 66*time.Minute {
			t.Fatalf("due again in %s", d)
		}
		seen[d] = true
	}
	if len(seen) < 30 {
		t.Fatalf("%d different intervals of 50", len(seen))
	}
}

func TestLookFailed(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		again := func(from, to time.Duration) {
			b.Helper()
			now := b.At()
			if b.count(`SELECT count(*) FROM repositories WHERE look_due_at BETWEEN $1 AND $2`, now.Add(from-2*time.Second), now.Add(to)) != 1 {
				b.Fatalf("not due again in %s to %s", from, to)
			}
		}
		outage := &polset.Failure{Class: polset.ClassTimeout, Message: "GitHub is down.", Retry: true}
		look := b.takeLooks(1)[0]
		for _, want := range []time.Duration{30, 60, 120, 240} {
			b.must(b.LookFailed(b.ctx(), look, outage))
			again(want*time.Second, want*time.Second)
			b.must(b.ResumeLooks(b.ctx()))
			look = b.takeLooks(1)[0]
		}
		b.must(b.LookFailed(b.ctx(), look, &polset.Failure{Class: polset.ClassTimeout, Message: "Later.", Retry: true, RetryAfter: 2 * time.Hour}))
		again(2*time.Hour, 2*time.Hour)
		if b.reason(p.ID) != "" {
			b.Fatal("an outage degrades nothing")
		}
		b.must(b.ResumeLooks(b.ctx()))
		look = b.takeLooks(1)[0]
		b.seen(look, "main", "c0")
		b.must(b.LookFailed(b.ctx(), look, outage)) // the first since it was seen
		again(30*time.Second, 30*time.Second)

		b.sub("case 57 access is lost and comes back", func(b *bench) {
			refused := polset.Fail(polset.ClassAuth, "GitHub refuses the token. Give the connection another.")
			late := look
			late.Number--
			b.must(b.LookFailed(b.ctx(), late, refused))
			if b.reason(p.ID) != "" {
				b.Fatal("degraded by a look that is older than the one that succeeded")
			}
			look.Number++
			stranger := look
			stranger.Credential = "ot-other"
			b.must(b.LookFailed(b.ctx(), stranger, refused))
			if b.reason(p.ID) != "" {
				b.Fatal("degraded by another credential")
			}
			for range 2 {
				b.must(b.LookFailed(b.ctx(), look, refused))
				if b.reason(p.ID) != polset.DegradedAccessLost || b.audited("policy-set.degraded") != 1 {
					b.Fatalf("degraded %q, %d times", b.reason(p.ID), b.audited("policy-set.degraded"))
				}
			}
			if b.current(p.ID) != "c0" {
				b.Fatal("degradation took a version out of force")
			}
			early := look
			early.Number = 0
			b.seen(early, "main", "c0") // an old look proves nothing
			if b.reason(p.ID) == "" {
				b.Fatal("an old look healed")
			}
			b.seen(look, "main", "c0")
			if b.reason(p.ID) != "" || b.audited("policy-set.healed") != 1 {
				b.Fatalf("not healed: %q", b.reason(p.ID))
			}
			// A reason that says more stands; a look that succeeds heals it too.
			b.exec(`UPDATE policy_sets SET degraded = 'installation-suspended', degraded_message = 'So.', degraded_at = created_at`)
			look.Number++
			b.must(b.LookFailed(b.ctx(), look, refused))
			if b.reason(p.ID) != polset.DegradedInstallationSuspended {
				b.Fatalf("degraded %q", b.reason(p.ID))
			}
			b.must(b.LookFailed(b.ctx(), look, polset.Fail(polset.ClassEmptyRepository, "Nothing there.")))
			if b.reason(p.ID) != "" {
				b.Fatal("a repository without commits was read, and the set not healed")
			}
		})
		b.want(b.LookFailed(b.ctx(), polset.Look{Repository: polset.Repository{ID: "repo-none"}}, outage), polset.ErrFenced)
		b.verify()
	})
}

func TestDegradedByWork(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		b.push("main", "c1")
		c := b.claim(p.VCS.RepositoryID, "c1").Claims[0]
		b.must(b.Store.Fail(b.ctx(), c.Lease, polset.Fail(polset.ClassAuth, "GitHub refuses the token."), polset.Content{}))
		if b.reason(p.ID) != polset.DegradedAccessLost || b.current(p.ID) != "c0" {
			b.Fatalf("degraded %q", b.reason(p.ID))
		}
		list, _, err := b.PolicySets(b.ctx(), admin, b.org.Name, polset.PolicySetFilter{}, polset.Page{Number: 1, Size: 10})
		b.must(err)
		if list[0].Degraded == nil || *list[0].Degraded != *b.set(p.ID).Degraded {
			b.Fatalf("list %+v", list[0].Degraded)
		}
		// The same of settings that are no longer in force degrades nothing.
		b.exec(`UPDATE policy_sets SET degraded = '', degraded_message = ''`)
		path := "elsewhere"
		b.push("main", "c2")
		c = b.claim(p.VCS.RepositoryID, "c2").Claims[0]
		_, err = b.Start(b.ctx(), c.Lease, polset.Content{})
		b.must(err)
		_, err = b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{PoliciesPath: &path})
		b.must(err)
		b.must(b.Store.Fail(b.ctx(), c.Lease, polset.Fail(polset.ClassAuth, "GitHub refuses the token."), polset.Content{}))
		if b.reason(p.ID) != "" {
			b.Fatal("degraded by settings of the past")
		}
	})
}

func TestBranchGone(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "next", "c0")
		other := b.settled("other", "main", "m0")
		look := b.takeLooks(1)[0]
		look.Number = 10
		b.seen(look, "next", "")
		if b.reason(p.ID) != polset.DegradedBranchDeleted || b.reason(other.ID) != "" || b.current(p.ID) != "c0" {
			b.Fatalf("degraded %q", b.reason(p.ID))
		}
		if c := b.set(p.ID).Completeness; c.Head != "" || c.Gap != 0 {
			b.Fatalf("completeness %+v", c)
		}
		b.seen(look, "main", "m0") // of another branch
		if b.reason(p.ID) != polset.DegradedBranchDeleted {
			b.Fatal("healed by another branch")
		}
		b.seen(look, "next", "c0")
		if b.reason(p.ID) != "" {
			b.Fatalf("degraded %q", b.reason(p.ID))
		}

		// Archived: said where nothing else is to be said.
		b.exec(`UPDATE repositories SET archived = $1`, true)
		b.seen(look, "next", "c0")
		if b.reason(p.ID) != polset.DegradedRepositoryArchived {
			b.Fatalf("degraded %q", b.reason(p.ID))
		}
		b.seen(look, "next", "")
		if b.reason(p.ID) != polset.DegradedBranchDeleted {
			b.Fatalf("degraded %q", b.reason(p.ID))
		}
		b.seen(look, "next", "c0")
		if b.reason(p.ID) != polset.DegradedRepositoryArchived {
			b.Fatalf("degraded %q", b.reason(p.ID))
		}
		b.exec(`UPDATE repositories SET archived = $1`, false)
		b.seen(look, "next", "c0")
		if b.reason(p.ID) != "" {
			b.Fatalf("degraded %q", b.reason(p.ID))
		}
		b.verify()
	})
}

func TestReconciled(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		repo := p.VCS.RepositoryID
		look := b.takeLooks(1)[0]
		b.seen(look, "main", "c0")
		if b.audited("branch.reconciled") != 0 {
			b.Fatal("nothing was missed")
		}
		b.seen(look, "main", "c1") // a push that nobody told of
		if h := b.history(p.ID); h[len(h)-1] != "reconcile c1 pending" || b.audited("branch.reconciled") != 1 {
			b.Fatalf("history %v", h)
		}
		if n := b.count(`SELECT count(*) FROM audit_entries WHERE action = 'branch.reconciled' AND details LIKE '%"from":"c0"%' AND details LIKE '%"to":"c1"%'`); n != 1 {
			b.Fatal("the audit trail does not say from where to where")
		}
		b.seen(look, "main", "c1")
		b.carry(repo, "c1", "c1")
		if b.current(p.ID) != "c1" || len(b.history(p.ID)) != 2 || b.audited("branch.reconciled") != 1 {
			b.Fatalf("history %v", b.history(p.ID))
		}
		// Back by force, and nobody told: what c0 led to is put in force again.
		look.Number = 100
		b.seen(look, "main", "c0")
		if b.current(p.ID) != "c0" || len(b.history(p.ID)) != 2 || b.audited("branch.reconciled") != 2 {
			b.Fatalf("current %s, history %v", b.current(p.ID), b.history(p.ID))
		}
		// A head that a worker saw on its way is not of a look of polset's own.
		b.observe(polset.Batch{Repository: look.Repository, Look: 101}, "main", "c2")
		if h := b.history(p.ID); h[len(h)-1] != "head c2 pending" || b.audited("branch.reconciled") != 2 {
			b.Fatalf("history %v", h)
		}
		b.verify()
	})
}

// TestHeadIsRetried: a head that failed for what may pass is ingested again by
// the looks, less and less often, and until then there is a gap.
func TestHeadIsRetried(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c1")
		other := b.settled("other", "main", "c1")
		b.push("main", "c2")
		look := b.takeLooks(1)[0]
		look.Number = 1000
		b.seen(look, "main", "c2")
		fail := func(class polset.Class) {
			b.Helper()
			for _, c := range b.claim(p.VCS.RepositoryID, "c2").Claims {
				if c.Ingestion.PolicySetID == other.ID {
					b.finish(c, "c2")
				} else {
					b.must(b.Store.Fail(b.ctx(), c.Lease, polset.Fail(class, "It may pass."), polset.Content{}))
				}
			}
		}
		attempts := func(want int) {
			b.Helper()
			if h := b.history(p.ID); len(h)-1 != want || b.count(`SELECT count(*) FROM ingestions WHERE policy_set_id = $1`, other.ID) != 2 {
				b.Fatalf("history %v, want %d attempts", h, want)
			}
		}
		fail(polset.ClassAuth)
		b.complete(p.ID, "c2", "c1", true)
		if b.reason(p.ID) != polset.DegradedAccessLost {
			b.Fatalf("degraded %q", b.reason(p.ID))
		}
		b.observe(polset.Batch{Repository: look.Repository, Look: look.Number}, "main", "c2") // with nobody's credential
		attempts(1)
		for range 2 {
			b.seen(look, "main", "c2")
			attempts(2)
		}
		if h := b.history(p.ID); h[2] != "reconcile c2 pending" || b.reason(p.ID) != "" {
			b.Fatalf("history %v, degraded %q", h, b.reason(p.ID))
		}
		b.complete(p.ID, "c2", "c1", true)
		fail(polset.ClassTimeout)
		b.seen(look, "main", "c2")
		attempts(2) // not at once a second time
		b.complete(p.ID, "c2", "c1", true)
		b.exec(`UPDATE ingestions SET ended_at = $1 WHERE ended_at IS NOT NULL`, b.At().Add(-61*time.Minute))
		b.seen(look, "main", "c2")
		attempts(3)
		fail(polset.ClassStorage)
		b.exec(`UPDATE ingestions SET ended_at = $1 WHERE ended_at IS NOT NULL`, b.At().Add(-61*time.Minute))
		b.seen(look, "main", "c2")
		attempts(3)
		b.exec(`UPDATE ingestions SET ended_at = $1 WHERE ended_at IS NOT NULL`, b.At().Add(-121*time.Minute))
		b.seen(look, "main", "c2")
		attempts(4)
		fail(polset.ClassPolicyInvalid) // which nothing but another commit can heal
		b.complete(p.ID, "c2", "c2", false)
		b.exec(`UPDATE ingestions SET ended_at = $1 WHERE ended_at IS NOT NULL`, b.At().Add(-100*time.Hour))
		b.seen(look, "main", "c2")
		attempts(4)
		b.complete(p.ID, "c2", "c2", false)
		b.verify()
	})
}

// TestLateLook: a look that was under way when the right to it ended proves
// nothing.
func TestLateLook(t *testing.T) {
	onBoth(t, func(b *bench) {
		i := b.installed(51, "acme", b.org.Name)
		p := b.through(i, "net", "acme/policies", 42)
		b.must(b.ResumeLooks(b.ctx()))
		l := b.takeLooks(1)[0]
		missed := func(want polset.DegradedReason) {
			b.Helper()
			b.seen(l, "main", "c1")
			b.must(b.LookFailed(b.ctx(), l, polset.Fail(polset.ClassEmptyRepository, "Nothing there.")))
			b.seen(l, "main", "")
			if r := b.reason(p.ID); r != want {
				b.Fatalf("degraded %q after a late look, want %q", r, want)
			}
			// Whatever took the reason away, the next look that may not be
			// taken says it again.
			b.exec(`UPDATE policy_sets SET degraded = 'branch-deleted', degraded_message = 'So.'`)
			b.must(b.ResumeLooks(b.ctx()))
			if looks := b.takeLooks(10); len(looks) != 1 || looks[0].Connected {
				b.Fatalf("looks %+v", looks)
			}
			if r := b.reason(p.ID); r != want {
				b.Fatalf("degraded %q by a look that may not be taken, want %q", r, want)
			}
		}
		b.must(b.UnbindInstallation(b.ctx(), admin, i.ID, b.org.Name))
		missed(polset.DegradedInstallationUnbound)
		b.must(b.BindInstallation(b.ctx(), admin, i.ID, b.org.Name))
		b.happened(polset.InstallationChange{Action: polset.InstallationDeleted, Installation: installationOf(51, "acme")})
		missed(polset.DegradedInstallationDeleted)
		b.verify()
	})
}

// TestLookRefusedBesideAnother: a credential that is refused has no early look,
// and so none of the others either.
func TestLookRefusedBesideAnother(t *testing.T) {
	onBoth(t, func(b *bench) {
		other := b.connection("acme")
		b.of("a", "acme/one", "main", b.conn.TokenID)
		b.of("b", "acme/one", "main", other.TokenID)
		b.must(b.ResumeLooks(b.ctx()))
		for _, l := range b.takeLooks(10) {
			if l.Credential == other.TokenID {
				b.must(b.LookFailed(b.ctx(), l, &polset.Failure{Class: polset.ClassAuth, Message: "No.", Retry: true}))
			} else {
				b.seen(l, "main", "c1")
			}
		}
		if b.count(`SELECT count(*) FROM repositories WHERE look_due_at < $1`, b.At().Add(50*time.Minute)) != 0 {
			b.Fatal("the repository is looked at before its time")
		}
	})
}
