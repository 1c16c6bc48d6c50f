package store

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
)

// noEnd demands that every secret may sign until something else happens.
func (b *bench) noEnd(hook string) {
	b.Helper()
	r, err := b.reads.RepositoryByHook(b.ctx(), hook)
	b.must(err)
	secrets, err := b.openHookSecrets(r)
	b.must(err)
	for n, secret := range secrets {
		if !secret.until.IsZero() {
			b.Fatalf("secret %d may sign until %v", n, secret.until)
		}
	}
}

func TestRotateHookSecret(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.follower("net", "main", polset.Head{})
		hook := p.VCS.HookID
		s0 := p.VCS.HookSecret.Reveal()
		b.done(b.task(), 700)
		rotate := func() string {
			b.Helper()
			got, err := b.RotateHookSecret(b.ctx(), admin, p.ID)
			b.must(err)
			if got.VCS.HookSecret.Empty() || got.ID != p.ID {
				b.Fatalf("answer %+v", got.VCS)
			}
			return got.VCS.HookSecret.Reveal()
		}
		may := func(want ...string) {
			b.Helper()
			if got := b.signs(hook); !slices.Equal(got, want) {
				b.Fatalf("%d secrets may sign, want %d", len(got), len(want))
			}
		}
		s1 := rotate()
		may(s1, s0)
		b.hookState(p.ID, polset.HookPending)
		task := b.task()
		if task.Secret.Reveal() != s1 || task.ExternalID != 700 || task.Revision != 2 {
			b.Fatalf("task %+v", task)
		}
		s2 := rotate() // while the last is on its way
		b.noTask()
		b.done(task, 700)
		may(s2, s1, s0)
		b.noEnd(hook)
		b.hookState(p.ID, polset.HookPending)
		task = b.task()
		if task.Secret.Reveal() != s2 {
			b.Fatal("not the newest secret")
		}
		b.done(task, 700)
		b.hookState(p.ID, polset.HookActive)
		may(s2, s1, s0) // for an hour

		// An hour later.
		r, err := b.reads.RepositoryByHook(b.ctx(), hook)
		b.must(err)
		secrets, err := b.openHookSecrets(r)
		b.must(err)
		for n := range secrets {
			if until := secrets[n].until; (n == 0) != until.IsZero() || n > 0 && (until.Sub(b.At()) < 59*time.Minute || until.Sub(b.At()) > time.Hour) {
				b.Fatalf("secret %d may sign until %v", n, until)
			}
			if n > 0 {
				secrets[n].until = b.At().Add(-time.Second)
			}
		}
		sealed, err := b.sealHookSecrets(r.ID, secrets)
		b.must(err)
		b.exec("UPDATE repositories SET sealed_secrets = $1 WHERE id = $2", sealed, r.ID)
		may(s2)
		s3 := rotate()
		may(s3, s2)

		// GitHub cannot be told for long.
		for range maxHookSecrets - 2 {
			rotate()
		}
		b.want(second(b.RotateHookSecret(b.ctx(), admin, p.ID)), polset.ErrConflict)
		if all := b.dump(); len(b.signs(hook)) != maxHookSecrets || slices.ContainsFunc(b.signs(hook), func(s string) bool { return strings.Contains(all, s) }) {
			b.Fatal("a secret is in the clear")
		}
		b.verify()
	})
}

func TestManualHook(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.follower("net", "main", polset.Head{})
		s0 := p.VCS.HookSecret.Reveal()
		manual := func() {
			b.Helper()
			b.must(b.SettleHook(b.ctx(), polset.HookOutcome{Lease: b.task().Lease, Manual: "Add it by hand."}))
			b.hookState(p.ID, polset.HookManual)
			b.noTask()
		}
		manual()
		rotated, err := b.RotateHookSecret(b.ctx(), admin, p.ID)
		b.must(err)
		s1 := rotated.VCS.HookSecret.Reveal()
		manual()
		if got := b.signs(p.VCS.HookID); !slices.Equal(got, []string{s1, s0}) {
			b.Fatalf("%d secrets may sign", len(got))
		}
		rotated, err = b.RotateHookSecret(b.ctx(), admin, p.ID)
		b.must(err)
		manual()
		if got := b.signs(p.VCS.HookID); !slices.Equal(got, []string{rotated.VCS.HookSecret.Reveal(), s1}) {
			b.Fatalf("%d secrets may sign", len(got))
		}
		b.noEnd(p.VCS.HookID)

		// Another token may do more.
		better := b.connection("acme")
		_, err = b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{VCS: &polset.VCSDraft{
			Identifier: "acme/policies", Branch: "main", TokenID: better.TokenID,
		}})
		b.must(err)
		b.done(b.task(), 700)
		b.hookState(p.ID, polset.HookActive)

		// What cannot be removed by polset is not its any more.
		b.must(b.DeletePolicySet(b.ctx(), admin, p.ID))
		b.must(b.SettleHook(b.ctx(), polset.HookOutcome{Lease: b.task().Lease, Manual: "Remove it by hand."}))
		if b.count("SELECT count(*) FROM hooks") != 0 {
			b.Fatal("the hook's row stayed")
		}
		b.verify()
	})
}

// A hook is claimed without its repository's lock: what is wanted of it anew
// meanwhile does not give it to somebody else.
func TestWantedWhileItIsClaimed(t *testing.T) {
	onBoth(t, func(b *bench) {
		if _, shared := b.dialect.(*postgresDialect); !shared {
			return // one writer at a time
		}
		for name, do := range map[string]func(p polset.PolicySet) error{
			"rotated": func(p polset.PolicySet) error { return second(b.RotateHookSecret(b.ctx(), admin, p.ID)) },
			"removed": func(p polset.PolicySet) error { return b.DeletePolicySet(b.ctx(), admin, p.ID) },
		} {
			p := b.of(name, "acme/"+name, "main", b.conn.TokenID)
			hold, err := b.dialect.writer().BeginTx(b.ctx(), nil)
			b.must(err)
			_, err = hold.ExecContext(b.ctx(), `UPDATE hooks SET lease = lease + 1, claimed = revision, due_at = $2 WHERE id = $1`,
				p.VCS.HookID, b.At().Add(time.Minute))
			b.must(err)
			done := make(chan error, 1)
			go func() { done <- do(p) }()
			eventuallyBlocked(b)
			b.must(hold.Commit())
			b.must(<-done)
			b.noTask()
			if n := b.count("SELECT count(*) FROM hooks WHERE id = $1 AND revision = 2 AND claimed = 1", p.VCS.HookID); n != 1 {
				b.Fatalf("%s: %d rows wait for who is at work on it", name, n)
			}
		}
		b.verify()
	})
}
