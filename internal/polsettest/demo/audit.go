package main

import (
	"context"
	"fmt"
	"strings"
)

// audit shows what the organization's chain says of one version's commit, and
// checks that the whole chain holds together. It returns the last row, which is
// the chain's head.
func (w *world) audit(ctx context.Context, ready version) (head auditEvent, err error) {
	commit := ready.Attributes.IngressAttributes.CommitSHA
	w.step("What the audit trail of acme says of %s", short(commit))
	trail, err := w.api.auditTrail(ctx, "acme")
	if err != nil {
		return head, err
	}
	subjects := map[string]bool{} // what the commit gave rise to
	for _, row := range trail {
		if row.Resource.Meta["commit"] == commit {
			subjects[row.Resource.ID] = row.Resource.Type != "policy-set"
		}
	}
	w.say("%-12s  %-20s  %-26s  %-12s  %-9s  %s", "time", "action", "subject", "commit", "by", "hash")
	shown, found := 0, false
	for i, row := range trail {
		if row.Sequence != int64(i)+1 || row.Previous != head.Hash || row.Hash == "" {
			return head, fmt.Errorf("row %d of the audit trail does not follow %q", row.Sequence, head.Hash)
		}
		head = row
		if row.Resource.Meta["commit"] != commit && !subjects[row.Resource.ID] {
			continue
		}
		shown++
		found = found || row.Resource.ID == ready.ID && row.Resource.Action == "ready"
		w.say("%-12s  %-20s  %-26s  %-12s  %-9s  %s", row.Timestamp.UTC().Format("15:04:05.000"),
			row.Resource.Type+"."+row.Resource.Action, cut(row.Resource.ID, 26), short(row.Resource.Meta["commit"]),
			cut(row.Auth.Actor, 9), short(row.Hash))
	}
	if !found {
		return head, fmt.Errorf("the audit trail does not say that %s became ready", ready.ID)
	}
	w.say("and %s about the rest", plural(len(trail)-shown, "row"))
	w.checked("all %s hold together: each names the hash of the one before", plural(len(trail), "row"))
	return head, nil
}

func cut(text string, width int) string {
	if len(text) <= width {
		return text
	}
	return text[:width-1] + "…"
}

// verify stops polset, and checks the chains and the archives without it.
func (w *world) verify(ctx context.Context, head auditEvent) error {
	w.step("SIGTERM, then polset audit verify on what is on disk")
	if err := w.server.stop(); err != nil {
		return err
	}
	state := w.server.cmd.ProcessState
	w.say("polset stopped with code %d; it used %s of CPU in all", state.ExitCode(), ms(state.UserTime()+state.SystemTime()))
	out, err := w.server.verify(ctx, head.Chain, head.Hash)
	w.quote(out)
	if err != nil {
		return err
	}
	if !strings.Contains(out, head.Chain) {
		return fmt.Errorf("polset audit verify does not name the chain %s", head.Chain)
	}
	w.checked("the chains are whole and every archive is what its version says")
	for _, secret := range []string{w.gitToken, w.apiToken, w.hookSecret} {
		if w.server.log.holds(secret) {
			return fmt.Errorf("polset logged a secret")
		}
	}
	w.checked("no secret in polset's log")
	return nil
}
