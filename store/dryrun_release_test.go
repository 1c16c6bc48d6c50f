package store

import (
	"testing"

	"github.com/polset/polset"
)

// TestTrialsCutShort has more servers stop than may crash.
func TestTrialsCutShort(t *testing.T) {
	onBoth(t, func(b *bench) {
		b.settled("net", "main", "c0")
		b.exec(`UPDATE reports SET sent = revision`)
		b.pull(7, "f1")
		for n := range 3 * silentAttempts {
			run := b.trials("7 f1")[0]
			if run.DryRun.Attempts != 1 || run.DryRun.Failures != 0 {
				b.Fatalf("after %d stops: %+v", n, run.DryRun)
			}
			b.must(b.SettleTrial(b.ctx(), run.Lease, polset.TrialOutcome{Again: true}))
		}
		run := b.trials("7 f1")[0]
		b.must(b.SettleTrial(b.ctx(), run.Lease, polset.TrialOutcome{Again: true, Reason: "timeout: The server hangs."}))
		run = b.trials("7 f1")[0]
		if run.DryRun.Attempts != 2 || run.DryRun.Failures != 1 {
			b.Fatalf("after a failure: %+v", run.DryRun)
		}
		b.reportsEqual()
	})
}
