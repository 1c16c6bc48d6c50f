package store

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
)

func TestFirstVersion(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.follower("net", "", polset.Head{})
		if p.VCS.HookSecret.Empty() || p.VCS.HookID == "" || p.VCS.TokenID != b.conn.TokenID {
			b.Fatalf("created %+v", p.VCS)
		}
		if b.jobs() != 1 {
			b.Fatalf("%d jobs, want 1", b.jobs())
		}
		v, err := b.Version(b.ctx(), admin, p.NewestVersionID)
		b.must(err)
		if v.Status != polset.VersionPending || v.Commit != "" || v.PendingAt.IsZero() {
			b.Fatalf("newest %+v", v)
		}

		batch := b.claim(p.VCS.RepositoryID, "")
		if len(batch.Claims) != 1 || batch.Remotes[b.conn.TokenID].Token.Reveal() != "ghp_secret_of_acme" {
			b.Fatalf("batch %+v", batch)
		}
		c := batch.Claims[0]
		if c.Ingestion.Path != "policies" || c.Ingestion.Attempts != 1 || c.Newest != nil {
			b.Fatalf("claim %+v", c)
		}
		// The look at the head must not be taken for news: this very
		// ingestion is about to take it.
		b.observe(batch, "", "aaa")
		if h := b.history(p.ID); len(h) != 1 {
			b.Fatalf("history %v", h)
		}
		b.must(b.Resolve(b.ctx(), c.Lease, polset.Head{Branch: "main", Commit: "aaa"}))
		b.must(b.Resolve(b.ctx(), c.Lease, polset.Head{Branch: "main", Commit: "aaa"}))
		b.finish(c, "t1")
		b.must(b.Finish(b.ctx(), c.Lease, artifactOf("t1"))) // repeated by its own holder

		v, err = b.Version(b.ctx(), admin, p.NewestVersionID)
		b.must(err)
		if v.Status != polset.VersionReady || v.CommitURL != "https://github.com/acme/policies/commit/aaa" ||
			v.Branch != "main" || v.Artifact.Digest != artifactOf("t1").Digest || len(v.Artifact.Policies) != 1 ||
			v.IngressingAt.Before(v.PendingAt) || v.ReadyAt.Before(v.IngressingAt) || !v.Artifact.Content.Equal(contentOf("t1")) {
			b.Fatalf("version %+v", v)
		}
		if got := b.current(p.ID); got != "aaa" {
			b.Fatalf("current %q", got)
		}
		b.want(b.Store.Fail(b.ctx(), c.Lease, polset.Fail(polset.ClassInternal, "no"), polset.Content{}), polset.ErrFenced)
		b.verify()
	})
}

func TestRecordPush(t *testing.T) {
	onBoth(t, func(b *bench) {
		main := b.settled("main", "", "c0")
		also := b.settled("also", "main", "c0")
		other := b.settled("other", "release", "c0")
		repo := main.VCS.RepositoryID
		if also.VCS.RepositoryID != repo || !also.VCS.HookSecret.Empty() {
			b.Fatal("the organization's sets do not share the repository's row")
		}
		before := b.jobs()

		d := delivery(polset.HookGitHubApp)
		r, err := b.RecordPush(b.ctx(), d, pushOf("main", "c1"))
		b.must(err)
		if len(r.Ingestions) != 2 || r.Duplicate || r.Ignored != "" || b.jobs() != before+1 {
			b.Fatalf("receipt %+v, %d jobs more", r, b.jobs()-before)
		}
		rows, entries := b.count("SELECT count(*) FROM ingestions"), b.count("SELECT count(*) FROM audit_entries")
		same := func(what string) {
			b.Helper()
			if b.count("SELECT count(*) FROM ingestions") != rows || b.jobs() != before+1 {
				b.Fatalf("%s gave rise to work", what)
			}
		}

		// case 7 same (hook, GUID) again
		again := d
		again.GUID = strings.ToUpper(d.GUID)
		r, err = b.RecordPush(b.ctx(), again, pushOf("main", "c1"))
		b.must(err)
		if !r.Duplicate || len(r.Ingestions) != 0 || b.count("SELECT count(*) FROM audit_entries") != entries {
			b.Fatalf("case 7: receipt %+v", r)
		}
		same("case 7")

		// case 8 same body, fresh GUID
		if r := b.push("main", "c1"); !r.Duplicate || r.Ignored != "" {
			b.Fatalf("case 8: receipt %+v", r)
		}
		same("case 8")

		// case 19 untracked branch
		if r := b.push("feature", "c9"); r.Ignored == "" || r.Duplicate {
			b.Fatalf("case 19: receipt %+v", r)
		}
		same("case 19")

		// case 22 a repository that nobody follows
		stranger := pushOf("main", "c9")
		stranger.RepositoryID, stranger.Identifier = 7, "acme/else"
		r, err = b.RecordPush(b.ctx(), delivery(polset.HookGitHubApp), stranger)
		b.must(err)
		if r.Ignored == "" {
			b.Fatalf("case 22: receipt %+v", r)
		}
		if n := b.count("SELECT count(*) FROM deliveries WHERE outcome = 'ignored'"); n != 2 {
			b.Fatalf("case 22: %d ignored deliveries recorded, want 2", n)
		}
		b.want(second(b.RecordPush(b.ctx(), delivery(main.VCS.HookID), stranger)), polset.ErrNotFound)
		b.want(second(b.RecordPush(b.ctx(), delivery("no-such-hook"), stranger)), polset.ErrNotFound)
		if n := b.count("SELECT count(*) FROM deliveries WHERE hook_id = $1", main.VCS.HookID); n != 0 {
			b.Fatal("case 22: a refused delivery left a trace")
		}
		same("case 22")

		// another host is another repository
		foreign := delivery(polset.HookGitHubApp)
		foreign.HTTPURLs = []string{"https://github.example.com"}
		r, err = b.RecordPush(b.ctx(), foreign, pushOf("main", "c9"))
		b.must(err)
		if r.Ignored == "" {
			b.Fatalf("another host's push: receipt %+v", r)
		}

		// case 9 same GUID from two hooks: both processed
		own := d
		own.HookID = main.VCS.HookID
		r, err = b.RecordPush(b.ctx(), own, pushOf("release", "c2"))
		b.must(err)
		if len(r.Ingestions) != 1 {
			b.Fatalf("case 9: receipt %+v", r)
		}

		// case 20 forced push: after counts
		forced := pushOf("main", "c3")
		forced.Forced, forced.Before = true, "c1"
		r, err = b.RecordPush(b.ctx(), delivery(polset.HookGitHubApp), forced)
		b.must(err)
		if len(r.Ingestions) != 2 {
			b.Fatalf("case 20: receipt %+v", r)
		}

		// case 18 deletions and pings are recorded as ignored, once
		ping := delivery(main.VCS.HookID)
		r, err = b.RecordIgnored(b.ctx(), ping, "a ping")
		b.must(err)
		if r.Ignored != "a ping" || r.Duplicate {
			b.Fatalf("case 18: receipt %+v", r)
		}
		if r, err = b.RecordIgnored(b.ctx(), ping, "a ping"); err != nil || !r.Duplicate {
			b.Fatalf("case 18: receipt %+v, %v", r, err)
		}

		want := []string{"create c0 versioned", "push c1 pending", "push c3 pending"}
		if h := b.history(main.ID); !slices.Equal(h, want) {
			b.Fatalf("history %v", h)
		}
		if h := b.history(other.ID); !slices.Equal(h, []string{"create c0 versioned", "push c2 pending"}) {
			b.Fatalf("history %v", h)
		}
		b.verify()
	})
}

func second[T any](_ T, err error) error { return err }

func TestForthAndBackIsThreePushes(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		for _, c := range []string{"aaa", "bbb", "aaa"} {
			if r := b.push("main", c); len(r.Ingestions) != 1 {
				b.Fatalf("push of %s: %+v", c, r)
			}
		}
		// Two of one set wait for one commit: only the first may be taken.
		batch := b.claim(p.VCS.RepositoryID, "aaa")
		if len(batch.Claims) != 1 || batch.Claims[0].Newest == nil {
			b.Fatalf("%d claims", len(batch.Claims))
		}
		if len(b.claim(p.VCS.RepositoryID, "bbb").Claims) != 0 {
			b.Fatal("bbb overtook aaa")
		}
		b.observe(batch, "main", "aaa")
		b.finish(batch.Claims[0], "ta")
		b.carry(p.VCS.RepositoryID, "bbb", "aaa")
		b.carry(p.VCS.RepositoryID, "aaa", "aaa")
		want := []string{"create c0 versioned", "push aaa versioned", "push bbb versioned", "push aaa versioned"}
		if h := b.history(p.ID); !slices.Equal(h, want) {
			b.Fatalf("history %v", h)
		}
		if b.current(p.ID) != "aaa" || b.set(p.ID).CurrentVersionID != b.set(p.ID).NewestVersionID {
			b.Fatal("the last aaa is not in force")
		}
		b.verify()
	})
}

func TestRename(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		b.push("main", "c1") // binds the number

		b.sub("case 21 rename", func(b *bench) {
			renamed := pushOf("main", "c2")
			renamed.Identifier = "newco/rules"
			for _, hook := range []string{polset.HookGitHubApp, p.VCS.HookID} {
				renamed.After += "x"
				r, err := b.RecordPush(b.ctx(), delivery(hook), renamed)
				b.must(err)
				if len(r.Ingestions) != 1 {
					b.Fatalf("receipt %+v", r)
				}
			}
			if got := b.set(p.ID).VCS.Identifier; got != "newco/rules" {
				b.Fatalf("identifier %q", got)
			}
			// Another repository that takes the old name is another one.
			squatter := pushOf("main", "evil")
			squatter.RepositoryID = 666
			r, err := b.RecordPush(b.ctx(), delivery(polset.HookGitHubApp), squatter)
			b.must(err)
			if r.Ignored == "" {
				b.Fatalf("receipt %+v", r)
			}
			b.want(second(b.RecordPush(b.ctx(), delivery(p.VCS.HookID), squatter)), polset.ErrNotFound)
		})
	})
}

func TestReplayNeverRollsBack(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		repo := p.VCS.RepositoryID
		b.push("main", "c1")
		b.carry(repo, "c1", "c1")
		b.push("main", "c2")
		b.carry(repo, "c2", "c2")
		first := b.set(p.ID).CurrentVersionID

		// case 27 an old delivery, replayed with a fresh GUID
		if r := b.push("main", "c1"); len(r.Ingestions) != 1 {
			b.Fatalf("case 27: receipt %+v", r)
		}
		b.carry(repo, "c1", "c2")
		if got := b.set(p.ID); got.CurrentVersionID != first || got.NewestVersionID == first {
			b.Fatalf("case 27: current %s newest %s, want current %s", got.CurrentVersionID, got.NewestVersionID, first)
		}

		// A look at the branch that is older than the last one is dropped.
		b.must(b.Observe(b.ctx(), polset.Observation{
			RepositoryID: repo, Branch: "main", Head: polset.Head{Branch: "main", Commit: "c1"}, Look: 1,
		}))
		if b.current(p.ID) != "c2" {
			b.Fatal("case 27: an older look rolled back")
		}
		// The branch itself going back is no replay: what was ready is in force.
		b.must(b.Observe(b.ctx(), polset.Observation{
			RepositoryID: repo, Branch: "main", Head: polset.Head{Branch: "main", Commit: "c1"}, Look: b.looks(repo),
		}))
		if b.current(p.ID) != "c1" {
			b.Fatal("the observed head is not in force")
		}
		b.verify()
	})
}

func TestForcedReturn(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		repo := p.VCS.RepositoryID
		for _, commit := range []string{"c1", "c2"} {
			b.push("main", commit)
			b.carry(repo, commit, commit)
		}
		// The branch is forced back to c1, whose new attempt fails.
		b.push("main", "c1")
		batch := b.claim(repo, "c1")
		b.must(b.Store.Fail(b.ctx(), batch.Claims[0].Lease, polset.Fail(polset.ClassTimeout, "Slow."), polset.Content{}))
		if got := b.current(p.ID); got != "c2" {
			b.Fatalf("before the look %q is current", got)
		}
		b.observe(batch, "main", "c1")
		if got := b.current(p.ID); got != "c1" {
			b.Fatalf("the branch is at c1, which has a ready version, and %q is current", got)
		}
		// The same while the new attempt has not ended.
		b.push("main", "c2")
		b.observe(b.claim(repo, "c2"), "main", "c2")
		if got := b.current(p.ID); got != "c2" {
			b.Fatalf("the branch is at c2, which has a ready version, and %q is current", got)
		}
		b.verify()
	})
}

// looks is the number of the last look at a repository.
func (b *bench) looks(repository string) int64 {
	b.Helper()
	return int64(b.count("SELECT looks FROM repositories WHERE id = $1", repository))
}

// At is the database's time.
func (b *bench) At() time.Time {
	b.Helper()
	now, err := b.dialect.begin(b.ctx(), b.dialect.reader())
	b.must(err)
	return now
}

func TestObservedHead(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		repo := p.VCS.RepositoryID
		b.push("main", "c1")
		batch := b.claim(repo, "c1")
		b.observe(batch, "main", "c5")
		b.observe(batch, "main", "c5")
		b.finish(batch.Claims[0], "t1")
		if got := b.current(p.ID); got != "c0" {
			b.Fatalf("c1 is no longer the head, and %q is current", got)
		}
		want := []string{"create c0 versioned", "push c1 versioned", "head c5 pending"}
		if h := b.history(p.ID); !slices.Equal(h, want) {
			b.Fatalf("history %v", h)
		}
		b.carry(repo, "c5", "c5")
		if got := b.current(p.ID); got != "c5" {
			b.Fatalf("current %q", got)
		}
		// The branch is deleted: nothing goes out of force.
		b.must(b.Observe(b.ctx(), polset.Observation{
			RepositoryID: repo, Branch: "main", Head: polset.Head{Branch: "main"}, Look: b.looks(repo),
		}))
		if b.current(p.ID) != "c5" || len(b.history(p.ID)) != 3 {
			b.Fatal("a deleted branch changed something")
		}
		b.verify()
	})
}

func TestFailAndHeal(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		repo := p.VCS.RepositoryID
		b.push("main", "bad")
		batch := b.claim(repo, "bad")
		b.observe(batch, "main", "bad")
		b.must(b.Store.Fail(b.ctx(), batch.Claims[0].Lease, polset.Fail(polset.ClassPolicyInvalid, "It does not compile."), contentOf("tbad")))
		b.must(b.Store.Fail(b.ctx(), batch.Claims[0].Lease, polset.Fail(polset.ClassPolicyInvalid, "It does not compile."), contentOf("tbad")))
		v, err := b.Version(b.ctx(), admin, b.set(p.ID).NewestVersionID)
		b.must(err)
		if v.Status != polset.VersionErrored || v.Error != polset.ClassPolicyInvalid || v.ErrorMessage == "" ||
			v.IngressingAt.IsZero() || v.ErroredAt.IsZero() || v.Artifact.Content.Tree != "tbad" || v.Artifact.Digest != "" {
			b.Fatalf("version %+v", v)
		}
		if b.current(p.ID) != "c0" {
			b.Fatal("an errored version replaced the last ready one")
		}
		// A revert: its content is that of the version before the broken one,
		// but not of the newest, so it makes a version and heals the set.
		b.push("main", "revert")
		batch = b.claim(repo, "revert")
		if n := batch.Claims[0].Newest; n == nil || n.Status != polset.VersionErrored || n.Artifact.Content.Tree != "tbad" {
			b.Fatalf("newest %+v", n)
		}
		b.observe(batch, "main", "revert")
		b.finish(batch.Claims[0], "c0")
		if b.current(p.ID) != "revert" {
			b.Fatal("the revert did not heal the set")
		}

		// unchanged: names the newest version, which stays in force
		b.push("main", "same")
		batch = b.claim(repo, "same")
		b.observe(batch, "main", "same")
		ready := b.set(p.ID).NewestVersionID
		b.want(b.Unchanged(b.ctx(), batch.Claims[0].Lease, "polsetver-nonsense"), polset.ErrNotFound)
		b.must(b.Unchanged(b.ctx(), batch.Claims[0].Lease, ready))
		b.must(b.Unchanged(b.ctx(), batch.Claims[0].Lease, ready))
		if got := b.set(p.ID); got.CurrentVersionID != ready || got.NewestVersionID != ready {
			b.Fatalf("after unchanged: %+v", got)
		}
		b.verify()
	})
}
