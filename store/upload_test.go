package store

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/polset/polset"
)

var uploader = polset.Principal{Actor: "at-uploader"}

// uploadable makes a policy set that follows nothing.
func (b *bench) uploadable(name string) polset.PolicySet {
	b.Helper()
	p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{
		Organization: b.org.Name, Name: name, Kind: polset.KindOPA, PoliciesPath: "ignored/by/uploads",
	})
	b.must(err)
	return p
}

func (b *bench) awaiting(setID string) polset.Version {
	b.Helper()
	v, err := b.CreateVersion(b.ctx(), admin, setID)
	b.must(err)
	return v
}

func (b *bench) version(id string) polset.Version {
	b.Helper()
	v, err := b.Version(b.ctx(), admin, id)
	b.must(err)
	return v
}

func (b *bench) claimUpload(versionID string) polset.Claim {
	b.Helper()
	c, err := b.ClaimUpload(b.ctx(), uploader, versionID, time.Minute)
	b.must(err)
	return c
}

// uploaded is what an upload is made of: no tree of git.
func uploaded(name string) polset.Artifact {
	a := artifactOf(name)
	a.Content = polset.Content{Kind: polset.KindOPA}
	return a
}

// upload carries a version to ready.
func (b *bench) upload(versionID string) {
	b.Helper()
	b.must(b.Finish(b.ctx(), b.claimUpload(versionID).Lease, uploaded(versionID)))
}

// long ago nobody worked on uploads.
func (b *bench) abandon(ago time.Duration) {
	b.Helper()
	now, err := b.now(b.ctx())
	b.must(err)
	b.exec(`UPDATE ingestions SET due_at = $1 WHERE ended_at IS NULL AND cause = 'upload'`, now.Add(-ago))
}

func TestUpload(t *testing.T) {
	onBoth(t, func(b *bench) {
		set := b.uploadable("net")
		v := b.awaiting(set.ID)
		if v.Source != polset.SourceAPI || v.Status != polset.VersionPending || v.PolicySetID != set.ID || v.Commit != "" {
			b.Fatalf("created %+v", v)
		}
		if p := b.set(set.ID); p.NewestVersionID != v.ID || p.CurrentVersionID != "" {
			b.Fatalf("policy set %+v", p)
		}
		if n := b.count("SELECT count(*) FROM ingestions"); n != 0 {
			b.Fatal("there is an ingestion before there are bytes")
		}

		c := b.claimUpload(v.ID)
		if i := c.Ingestion; i.Cause != polset.CauseUpload || i.RepositoryID != "" || i.Path != "" || i.VersionID != v.ID || i.Attempts != 1 {
			b.Fatalf("claimed %+v", c)
		}
		if got := b.version(v.ID); got.Status != polset.VersionIngressing || got.IngressingAt.IsZero() {
			b.Fatalf("claimed %+v", got)
		}
		b.must(b.Renew(b.ctx(), []polset.Lease{c.Lease}, time.Minute))
		b.must(b.Finish(b.ctx(), c.Lease, uploaded("a")))
		b.must(b.Finish(b.ctx(), c.Lease, uploaded("a"))) // repeated by its own holder

		got := b.version(v.ID)
		if got.Status != polset.VersionReady || got.Artifact.Digest != artifactOf("a").Digest || got.Artifact.Content.Tree != "" || len(got.Artifact.Policies) != 1 {
			b.Fatalf("ready %+v", got)
		}
		if p := b.set(set.ID); p.CurrentVersionID != v.ID || p.NewestVersionID != v.ID {
			b.Fatalf("policy set %+v", p)
		}
		if h := b.history(set.ID); !slices.Equal(h, []string{"upload  versioned"}) {
			b.Fatalf("history %v", h)
		}
		if n := b.count("SELECT count(*) FROM reports"); n != 0 || b.jobs() != 0 {
			b.Fatalf("%d reports and %d jobs", n, b.jobs())
		}
		if n := b.count("SELECT count(*) FROM audit_entries WHERE actor = $1 AND action = 'ingestion.running'", uploader.Actor); n != 1 {
			b.Fatal("the audit trail does not say who uploaded")
		}
		b.sub("case 78 after it is ready", func(b *bench) {
			b.want(second(b.ClaimUpload(b.ctx(), uploader, v.ID, time.Minute)), polset.ErrConflict)
		})
		b.verify()
	})
}

func TestUploadIsRefused(t *testing.T) {
	onBoth(t, func(b *bench) {
		follower := b.settled("follower", "main", "c0")
		b.want(second(b.CreateVersion(b.ctx(), admin, follower.ID)), polset.ErrConflict)
		b.want(second(b.ClaimUpload(b.ctx(), uploader, follower.NewestVersionID, time.Minute)), polset.ErrConflict)

		set := b.uploadable("net")
		b.sub("case 80 somebody else's", func(b *bench) {
			evil := polset.Principal{Actor: "evil", OrganizationID: b.organization("evilcorp").ID, Permissions: polset.Permissions()}
			b.want(second(b.CreateVersion(b.ctx(), evil, set.ID)), polset.ErrNotFound)
		})
		b.want(second(b.CreateVersion(b.ctx(), admin, "polset-0000000000000000")), polset.ErrNotFound)
		b.want(second(b.ClaimUpload(b.ctx(), uploader, "polsetver-0000000000000000", time.Minute)), polset.ErrNotFound)

		v := b.awaiting(set.ID)
		_, err := b.UpdatePolicySet(b.ctx(), admin, set.ID, polset.PolicySetChange{
			VCS: &polset.VCSDraft{Identifier: "acme/policies", TokenID: b.conn.TokenID},
		})
		b.must(err)
		b.want(second(b.ClaimUpload(b.ctx(), uploader, v.ID, time.Minute)), polset.ErrConflict)
		if got := b.version(v.ID); got.Status != polset.VersionPending {
			b.Fatalf("a refused upload moved the version: %+v", got)
		}
		b.verify()
	})
}

func TestUploadOrder(t *testing.T) {
	onBoth(t, func(b *bench) {
		set := b.uploadable("net")
		is := func(newest, current polset.Version) {
			b.Helper()
			if p := b.set(set.ID); p.NewestVersionID != newest.ID || p.CurrentVersionID != current.ID {
				b.Fatalf("newest %s, current %s; want %s and %s", p.NewestVersionID, p.CurrentVersionID, newest.ID, current.ID)
			}
		}
		first, second, third := b.awaiting(set.ID), b.awaiting(set.ID), b.awaiting(set.ID)
		is(third, polset.Version{})
		b.upload(second.ID)
		is(third, second)
		b.upload(first.ID) // older than what is in force
		is(third, second)
		b.must(b.Store.Fail(b.ctx(), b.claimUpload(third.ID).Lease, polset.Fail(polset.ClassPolicyInvalid, "No."), polset.Content{}))
		is(third, second)
		if got := b.version(third.ID); got.Status != polset.VersionErrored || got.Error != polset.ClassPolicyInvalid {
			b.Fatalf("errored %+v", got)
		}
		b.want(func() error { _, err := b.ClaimUpload(b.ctx(), uploader, third.ID, time.Minute); return err }(), polset.ErrConflict)

		// What begins while the set follows nothing and ends after it does
		// is history.
		late := b.claimUpload(b.awaiting(set.ID).ID)
		p, err := b.UpdatePolicySet(b.ctx(), admin, set.ID, polset.PolicySetChange{
			VCS: &polset.VCSDraft{Identifier: "acme/policies", TokenID: b.conn.TokenID, Head: polset.Head{Branch: "main", Commit: "c1"}},
		})
		b.must(err)
		b.must(b.Finish(b.ctx(), late.Lease, uploaded("late")))
		is(b.version(p.NewestVersionID), second)
		batch := b.carry(p.VCS.RepositoryID, "c1", "c1")
		if len(batch.Claims) != 1 {
			b.Fatalf("the upload stood in the way of a commit: %+v", batch)
		}
		is(b.version(p.NewestVersionID), b.version(p.NewestVersionID))

		// And back: an upload is the newest of all.
		_, err = b.UpdatePolicySet(b.ctx(), admin, set.ID, polset.PolicySetChange{RemoveVCS: true})
		b.must(err)
		last := b.awaiting(set.ID)
		b.upload(last.ID)
		is(last, last)
		b.verify()
	})
}

// A version whose upload was interrupted, and then sent again after its policy
// set had followed a repository for a while, comes into force like one whose
// upload begins then.
func TestUploadAfterFollowing(t *testing.T) {
	onBoth(t, func(b *bench) {
		set := b.uploadable("net")
		begun, fresh := b.awaiting(set.ID), b.awaiting(set.ID)
		dead := b.claimUpload(begun.ID)
		b.must(second(b.UpdatePolicySet(b.ctx(), admin, set.ID, polset.PolicySetChange{
			VCS: &polset.VCSDraft{Identifier: "acme/policies", TokenID: b.conn.TokenID, Head: polset.Head{Branch: "main", Commit: "c1"}},
		})))
		b.must(second(b.UpdatePolicySet(b.ctx(), admin, set.ID, polset.PolicySetChange{RemoveVCS: true})))
		b.expire()
		b.upload(begun.ID)
		if got := b.set(set.ID).CurrentVersionID; got != begun.ID {
			b.Errorf("%q is in force, want %s", got, begun.ID)
		}
		b.want(b.Finish(b.ctx(), dead.Lease, uploaded("dead")), polset.ErrFenced)
		b.upload(fresh.ID)
		if got := b.set(set.ID).CurrentVersionID; got != fresh.ID {
			b.Errorf("%q is in force, want %s", got, fresh.ID)
		}
		b.verify()
	})
}

func TestUploadLeases(t *testing.T) {
	onBoth(t, func(b *bench) {
		set := b.uploadable("net")
		nodes := []*Store{b.Store, b.node()}
		b.sub("case 78 of uploads at once one wins", func(b *bench) {
			v := b.awaiting(set.ID)
			claims, errs := make([]polset.Claim, 8), make([]error, 8)
			var wait sync.WaitGroup
			for n := range claims {
				wait.Go(func() { claims[n], errs[n] = nodes[n%2].ClaimUpload(b.ctx(), uploader, v.ID, time.Minute) })
			}
			wait.Wait()
			won := 0
			for n, err := range errs {
				if err == nil {
					won++
					b.must(b.Finish(b.ctx(), claims[n].Lease, uploaded("one")))
				} else if !errors.Is(err, polset.ErrConflict) {
					b.Error(err)
				}
			}
			if won != 1 {
				b.Fatalf("%d of 8 won", won)
			}
		})
		b.sub("case 99 an interrupted upload is taken over when its lease is over", func(b *bench) {
			v := b.awaiting(set.ID)
			dead := b.claimUpload(v.ID)
			b.want(second(b.ClaimUpload(b.ctx(), uploader, v.ID, time.Minute)), polset.ErrConflict)
			b.expire()
			next := b.claimUpload(v.ID)
			if next.Lease.IngestionID != dead.Lease.IngestionID || next.Ingestion.Attempts != 2 {
				b.Fatalf("took over %+v", next)
			}
			b.want(b.Finish(b.ctx(), dead.Lease, uploaded("dead")), polset.ErrFenced)
			b.want(b.Store.Fail(b.ctx(), dead.Lease, polset.Fail(polset.ClassInternal, "Late."), polset.Content{}), polset.ErrFenced)
			b.must(b.Finish(b.ctx(), next.Lease, uploaded("next")))
			if got := b.version(v.ID); got.Artifact.Digest != uploaded("next").Digest {
				b.Fatalf("ready %+v", got)
			}
		})
		b.sub("a released one may be sent again at once", func(b *bench) {
			v := b.awaiting(set.ID)
			c := b.claimUpload(v.ID)
			b.must(b.Release(b.ctx(), c.Lease, 0, "storage: It is down."))
			if got := b.version(v.ID); got.Status != polset.VersionIngressing {
				b.Fatalf("released %+v", got)
			}
			if n, err := b.Sweep(b.ctx()); err != nil || n != 0 || b.jobs() != 0 {
				b.Fatalf("the sweep woke %d, %v", n, err)
			}
			b.upload(v.ID)
		})
		b.sub("of a policy set that is gone nothing is left", func(b *bench) {
			gone := b.uploadable("gone")
			v := b.awaiting(gone.ID)
			c := b.claimUpload(v.ID)
			b.must(b.DeletePolicySet(b.ctx(), admin, gone.ID))
			b.want(b.Finish(b.ctx(), c.Lease, uploaded("gone")), polset.ErrFenced)
			b.want(second(b.ClaimUpload(b.ctx(), uploader, v.ID, time.Minute)), polset.ErrNotFound)
			if n := b.count("SELECT count(*) FROM ingestions WHERE policy_set_id = $1", gone.ID) + b.count("SELECT count(*) FROM versions WHERE policy_set_id = $1", gone.ID); n != 0 {
				b.Fatalf("%d rows are left", n)
			}
		})
		b.verify()
	})
}

func TestAbandonedUploads(t *testing.T) {
	onBoth(t, func(b *bench) {
		set := b.uploadable("net")
		waiting, crashed, released := b.awaiting(set.ID), b.awaiting(set.ID), b.awaiting(set.ID)
		b.claimUpload(crashed.ID)
		b.must(b.Release(b.ctx(), b.claimUpload(released.ID).Lease, 0, "storage: The object storage is down."))

		b.abandon(uploadAbandonedAfter - time.Minute)
		if _, err := b.Sweep(b.ctx()); err != nil || b.version(crashed.ID).Status != polset.VersionIngressing {
			b.Fatalf("given up while a link may be good: %v", err)
		}
		b.abandon(uploadAbandonedAfter + time.Minute)
		for range 2 { // the second finds nothing
			if n, err := b.Sweep(b.ctx()); err != nil || n != 0 {
				b.Fatal(n, err)
			}
		}
		for id, why := range map[string]string{crashed.ID: "polset was interrupted", released.ID: "The object storage is down."} {
			v := b.version(id)
			if v.Status != polset.VersionErrored || v.Error != polset.ClassInternal ||
				!strings.HasPrefix(v.ErrorMessage, why) || !strings.Contains(v.ErrorMessage, "Create another version") {
				b.Errorf("abandoned %+v", v)
			}
		}
		if v := b.version(waiting.ID); v.Status != polset.VersionPending {
			b.Errorf("what waits for its first upload was touched: %+v", v)
		}
		if h := b.history(set.ID); !slices.Equal(h, []string{"upload  failed", "upload  failed"}) {
			b.Errorf("history %v", h)
		}
		b.verify()
	})
}

// The only process of a database holds no lease when it starts.
func TestUploadAfterRestart(t *testing.T) {
	b := newBench(t, databases()["sqlite"](t))
	set := b.uploadable("net")
	v := b.awaiting(set.ID)
	dead := b.claimUpload(v.ID)
	b.config.Exclusive = true
	restarted := b.node()
	b.want(b.Finish(b.ctx(), dead.Lease, uploaded("dead")), polset.ErrFenced)
	c, err := restarted.ClaimUpload(b.ctx(), uploader, v.ID, time.Minute)
	b.must(err)
	b.must(restarted.Finish(b.ctx(), c.Lease, uploaded("again")))
	if got := b.version(v.ID); got.Status != polset.VersionReady {
		b.Fatalf("%+v", got)
	}
	b.verify()
}
