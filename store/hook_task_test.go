package store

import (
	"slices"
	"testing"
	"time"

	"github.com/polset/polset"
)

// task claims the one hook that is due.
func (b *bench) task() polset.HookTask {
	b.Helper()
	tasks, err := b.ClaimHooks(b.ctx(), 10, time.Minute)
	b.must(err)
	if len(tasks) != 1 {
		b.Fatalf("%d tasks, want one: %+v", len(tasks), tasks)
	}
	return tasks[0]
}

func (b *bench) noTask() {
	b.Helper()
	tasks, err := b.ClaimHooks(b.ctx(), 10, time.Minute)
	b.must(err)
	if len(tasks) != 0 {
		b.Fatalf("tasks %+v", tasks)
	}
}

// done says that GitHub has what a task wants.
func (b *bench) done(task polset.HookTask, number int64) {
	b.Helper()
	b.must(b.SettleHook(b.ctx(), polset.HookOutcome{Lease: task.Lease, Revision: task.Revision, ExternalID: number}))
}

// signs are the secrets that may sign for a hook.
func (b *bench) signs(hook string) []string {
	b.Helper()
	h, err := b.Hook(b.ctx(), hook)
	b.must(err)
	var out []string
	for _, s := range h.Secrets {
		out = append(out, s.Reveal())
	}
	return out
}

func (b *bench) hookState(id string, want polset.HookState) {
	b.Helper()
	if v := b.set(id).VCS; v.HookState != want || (v.HookMessage != "") != (want == polset.HookManual) {
		b.Fatalf("hook is %q, %q; want %q", v.HookState, v.HookMessage, want)
	}
	list, _, err := b.PolicySets(b.ctx(), admin, b.org.Name, polset.PolicySetFilter{}, polset.Page{Number: 1, Size: 100})
	b.must(err)
	n := slices.IndexFunc(list, func(p polset.PolicySet) bool { return p.ID == id })
	if list[n].VCS.HookState != want {
		b.Fatalf("the list says %q, want %q", list[n].VCS.HookState, want)
	}
}

func TestHookIsMadeAndRemoved(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.follower("net", "main", polset.Head{Branch: "main", Commit: "c0"})
		b.hookState(p.ID, polset.HookPending)
		q := b.follower("two", "main", polset.Head{Branch: "main", Commit: "c0"})
		if p.VCS.HookSecret.Empty() || !q.VCS.HookSecret.Empty() {
			b.Fatal("the secret is for whoever made the hook")
		}
		task := b.task()
		if task.HookID != p.VCS.HookID || !task.Connected || task.Remove || task.ExternalID != 0 || task.Revision != 1 ||
			task.Secret.Reveal() != p.VCS.HookSecret.Reveal() || task.Remote.Token.Reveal() != "ghp_secret_of_acme" ||
			task.Remote.HTTPURL != host || task.Remote.APIURL != "https://api.github.com" || task.Remote.Identifier != "acme/policies" {
			b.Fatalf("task %+v", task)
		}
		b.noTask() // leased
		b.done(task, 700)
		b.done(task, 700) // without an answer the first time
		b.hookState(p.ID, polset.HookActive)
		b.hookState(q.ID, polset.HookActive)
		b.noTask()

		// A renamed repository keeps its hook.
		b.push("main", "c1")
		b.carry(p.VCS.RepositoryID, "c1", "c1")
		b.noTask()

		b.must(b.DeletePolicySet(b.ctx(), admin, p.ID))
		b.noTask() // the other needs it
		b.must(b.DeletePolicySet(b.ctx(), admin, q.ID))
		if b.count("SELECT count(*) FROM repositories") != 0 {
			b.Fatal("the repository's row stayed")
		}
		task = b.task()
		if !task.Remove || task.ExternalID != 700 || !task.Secret.Empty() || task.Remote.Identifier != "Acme/Policies" ||
			task.Remote.ExternalID != 42 || task.Remote.Token.Empty() {
			b.Fatalf("task %+v", task)
		}
		b.must(b.SettleHook(b.ctx(), polset.HookOutcome{Lease: task.Lease, Failure: &polset.Failure{Class: polset.ClassTimeout, Retry: true, RetryAfter: time.Hour}}))
		b.noTask()
		b.exec("UPDATE hooks SET due_at = $1", b.At())
		b.done(b.task(), 0)
		if b.count("SELECT count(*) FROM hooks") != 0 {
			b.Fatal("the hook's row stayed")
		}
		b.want(b.SettleHook(b.ctx(), polset.HookOutcome{Lease: task.Lease, Revision: 2}), polset.ErrFenced)
		b.verify()
	})
}

func TestHookOfWhatIsNotYetOnGitHub(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.follower("net", "main", polset.Head{})
		b.must(b.DeletePolicySet(b.ctx(), admin, p.ID))
		b.noTask()
		if b.count("SELECT count(*) FROM hooks") != 0 {
			b.Fatal("a hook that nobody made is to be removed")
		}
		// One that somebody may be making right now is another matter.
		p = b.follower("net", "main", polset.Head{})
		making := b.task()
		b.must(b.DeletePolicySet(b.ctx(), admin, p.ID))
		b.noTask()
		b.done(making, 700)
		if task := b.task(); !task.Remove || task.ExternalID != 700 {
			b.Fatalf("task %+v", task)
		}
		b.verify()
	})
}

func TestHookLeases(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.follower("net", "main", polset.Head{})
		first := b.task()
		b.exec("UPDATE hooks SET due_at = $1", b.At())
		second := b.task()
		if second.Lease.Number <= first.Lease.Number {
			b.Fatalf("leases %d, %d", first.Lease.Number, second.Lease.Number)
		}
		b.want(b.SettleHook(b.ctx(), polset.HookOutcome{Lease: first.Lease, Revision: 1, ExternalID: 1}), polset.ErrFenced)
		b.must(b.SettleHook(b.ctx(), polset.HookOutcome{Lease: second.Lease, Failure: &polset.Failure{Class: polset.ClassTimeout, Retry: true}}))
		b.hookState(p.ID, polset.HookPending)
		b.noTask()
		b.exec("UPDATE hooks SET due_at = $1", b.At())
		third := b.task()
		if third.Failures != 1 {
			b.Fatalf("task %+v", third)
		}
		b.done(third, 700)
		b.hookState(p.ID, polset.HookActive)
		b.verify()
	})
}

func TestHookClaimedByOneNodeOnly(t *testing.T) {
	onBoth(t, func(b *bench) {
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			b.followerOf("acme", "acme/"+name, b.conn.TokenID, polset.Head{})
		}
		nodes := []*Store{b.Store}
		if _, shared := b.dialect.(*postgresDialect); shared {
			nodes = append(nodes, b.node(), b.node())
		}
		type answer struct {
			tasks []polset.HookTask
			err   error
		}
		answers := make(chan answer, len(nodes))
		for _, s := range nodes {
			go func() {
				tasks, err := s.ClaimHooks(b.ctx(), 10, time.Minute)
				answers <- answer{tasks, err}
			}()
		}
		seen := map[string]bool{}
		for range nodes {
			a := <-answers
			b.must(a.err)
			for _, task := range a.tasks {
				if seen[task.HookID] {
					b.Fatal("two nodes have one hook")
				}
				seen[task.HookID] = true
			}
		}
		if len(seen) != 5 {
			b.Fatalf("%d tasks", len(seen))
		}
	})
}

func TestHookAndCredentials(t *testing.T) {
	onBoth(t, func(b *bench) {
		i := b.installed(51, "acme", b.org.Name)
		byApp := b.through(i, "app", "acme/policies", 42)
		if !byApp.VCS.HookSecret.Empty() || byApp.VCS.HookState != "" {
			b.Fatalf("vcs %+v", byApp.VCS)
		}
		b.noTask()
		b.want(second(b.RotateHookSecret(b.ctx(), admin, byApp.ID)), polset.ErrConflict)
		none, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{Organization: b.org.Name, Name: "none", Kind: polset.KindOPA})
		b.must(err)
		b.want(second(b.RotateHookSecret(b.ctx(), admin, none.ID)), polset.ErrConflict)

		// The first set with a token needs it, and is told the secret.
		p := b.follower("net", "main", polset.Head{})
		if p.VCS.HookSecret.Empty() || p.VCS.RepositoryID != byApp.VCS.RepositoryID || !slices.Equal(b.signs(p.VCS.HookID), []string{p.VCS.HookSecret.Reveal()}) {
			b.Fatalf("vcs %+v", p.VCS)
		}
		b.done(b.task(), 700)
		follow := func(d polset.VCSDraft) polset.PolicySet {
			b.Helper()
			d.Identifier, d.Branch = "acme/policies", "main"
			got, err := b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{VCS: &d})
			b.must(err)
			return got
		}
		follow(polset.VCSDraft{InstallationID: i.ID})
		removing := b.task()
		if !removing.Remove || removing.ExternalID != 700 {
			b.Fatalf("task %+v", removing)
		}
		// Wanted again while somebody removes it.
		if again := follow(polset.VCSDraft{TokenID: b.conn.TokenID}); again.VCS.HookSecret.Empty() || again.VCS.HookState != polset.HookPending {
			b.Fatalf("vcs %+v", again.VCS)
		}
		b.noTask()
		b.done(removing, 0)
		task := b.task()
		if task.Remove || task.ExternalID != 0 || task.Secret.Empty() {
			b.Fatalf("task %+v", task)
		}
		b.done(task, 701)
		b.hookState(p.ID, polset.HookActive)

		// A connection goes, and another set has one.
		spare := b.connection("acme")
		q := b.followerOf("acme", "acme/policies", spare.TokenID, polset.Head{})
		b.must(b.DeleteConnection(b.ctx(), admin, b.conn.ID))
		b.degraded(p.ID, polset.DegradedConnectionDeleted)
		b.degraded(q.ID, "")
		b.degraded(byApp.ID, "")
		b.must(second(b.RotateHookSecret(b.ctx(), admin, p.ID)))
		if task := b.task(); task.Remote.Token.Empty() || !task.Connected {
			b.Fatalf("task %+v", task)
		}
		b.must(b.DeleteConnection(b.ctx(), admin, spare.ID))
		b.exec("UPDATE hooks SET due_at = $1", b.At())
		b.noTask() // nobody can
		follow(polset.VCSDraft{TokenID: b.connection("acme").TokenID, Head: polset.Head{Branch: "main", Commit: "c9"}})
		b.degraded(p.ID, "")
		if task := b.task(); !task.Connected {
			b.Fatalf("task %+v", task)
		}
		b.verify()
	})
}

func TestHookWithoutATokenIsForgotten(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.follower("net", "main", polset.Head{})
		b.done(b.task(), 700)
		b.must(b.DeletePolicySet(b.ctx(), admin, p.ID))
		b.must(b.DeleteConnection(b.ctx(), admin, b.conn.ID))
		if b.count("SELECT count(*) FROM hooks") != 0 {
			b.Fatal("a hook stayed that nobody can remove")
		}
		b.verify()
	})
}

func TestKnownDeliveries(t *testing.T) {
	onBoth(t, func(b *bench) {
		d := delivery(polset.HookGitHubApp)
		d.GUID = "ABCDEF00-1111-4222-8333-444455556666"
		b.must(second(b.RecordIgnored(b.ctx(), d, "why")))
		other := delivery("b9bd3c8a-0000-4000-8000-000000000000")
		b.must(second(b.RecordIgnored(b.ctx(), other, "why")))
		got, err := b.KnownDeliveries(b.ctx(), polset.HookGitHubApp, []string{d.GUID, "abcdef00-1111-4222-8333-444455556666", other.GUID, "none"})
		b.must(err)
		if len(got) != 2 || !got[d.GUID] || !got["abcdef00-1111-4222-8333-444455556666"] {
			b.Fatalf("known %v", got)
		}
		if got, err := b.KnownDeliveries(b.ctx(), polset.HookGitHubApp, nil); err != nil || len(got) != 0 {
			b.Fatalf("known %v, %v", got, err)
		}
	})
}
