package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// auditTime is the form of audit times in the rows: that which the hash
// covers, and which sorts as text.
const auditTime = "2006-01-02T15:04:05.000000Z"

func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(auditTime)
}

// note adds an entry to what the transaction will append to the audit chains.
// Details without a value are left out.
func (t *tx) note(chain, action, subject string, details map[string]string) {
	kept := map[string]string{}
	for k, v := range details {
		if v != "" {
			kept[k] = v
		}
	}
	t.notes = append(t.notes, polset.AuditEntry{
		Chain: chain, At: t.now, Actor: t.actor, Action: action, Subject: subject, Details: kept,
	})
}

// appendNotes appends the entries, chain by chain in sorted order so that no
// two transactions wait for each other. The lock on a chain's head makes the
// rows of a chain commit in the order of their sequence.
func (t *tx) appendNotes(ctx context.Context) error {
	byChain := map[string][]polset.AuditEntry{}
	var chains []string
	for _, e := range t.notes {
		if byChain[e.Chain] == nil {
			chains = append(chains, e.Chain)
		}
		byChain[e.Chain] = append(byChain[e.Chain], e)
	}
	slices.Sort(chains)
	for _, chain := range chains {
		if err := t.appendTo(ctx, chain, byChain[chain]); err != nil {
			return fmt.Errorf("append to audit chain %s: %w", chain, err)
		}
	}
	return nil
}

func (t *tx) appendTo(ctx context.Context, chain string, entries []polset.AuditEntry) error {
	if err := t.BeginChain(ctx, chain); err != nil {
		return err
	}
	if err := t.lock(ctx, chainRow, chain); err != nil {
		return err
	}
	head, err := t.ChainHead(ctx, chain)
	if err != nil {
		return err
	}
	for _, e := range entries {
		e.Sequence, e.Previous = head.Sequence+1, head.Hash
		details, err := json.Marshal(e.Details)
		if err != nil {
			return err
		}
		head.Sequence, head.Hash = e.Sequence, e.ComputeHash()
		err = t.InsertAuditEntry(ctx, rows.InsertAuditEntryParams{
			Chain: chain, Sequence: e.Sequence, At: rfc3339(e.At), Actor: e.Actor, Action: e.Action,
			Subject: e.Subject, Details: string(details), Previous: e.Previous, Hash: head.Hash,
		})
		if err != nil {
			return err
		}
	}
	return t.AdvanceChain(ctx, rows.AdvanceChainParams{Chain: chain, Sequence: head.Sequence, Hash: head.Hash})
}

// AuditTrail lists entries since a time, the newest first, and says how many
// there are. An organization's principal sees its chain; the site admin sees
// all chains.
func (s *Store) AuditTrail(ctx context.Context, by polset.Principal, since time.Time, page polset.Page) ([]polset.AuditEntry, int, error) {
	from := rfc3339(since)
	total, err := s.reads.CountAuditTrail(ctx, rows.CountAuditTrailParams{Tenant: by.OrganizationID, Since: from})
	if err != nil {
		return nil, 0, fmt.Errorf("count audit trail: %w", err)
	}
	limit, offset := window(page)
	list, err := s.reads.AuditTrail(ctx, rows.AuditTrailParams{
		Tenant: by.OrganizationID, Since: from, Size: limit, Start: offset,
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list audit trail: %w", err)
	}
	out := make([]polset.AuditEntry, len(list))
	for i, r := range list {
		if out[i], err = auditEntry(r); err != nil {
			return nil, 0, fmt.Errorf("list audit trail: %w", err)
		}
	}
	return out, int(total), nil
}

func auditEntry(r rows.AuditEntry) (polset.AuditEntry, error) {
	e := polset.AuditEntry{
		Chain: r.Chain, Sequence: r.Sequence, Actor: r.Actor, Action: r.Action,
		Subject: r.Subject, Previous: r.Previous, Hash: r.Hash,
	}
	var err error
	if e.At, err = time.Parse(auditTime, r.At); err != nil {
		return e, fmt.Errorf("audit row %d of %s: its time is not one", r.Sequence, r.Chain)
	}
	if err := json.Unmarshal([]byte(r.Details), &e.Details); err != nil {
		return e, fmt.Errorf("audit row %d of %s: its details are not JSON", r.Sequence, r.Chain)
	}
	return e, nil
}
