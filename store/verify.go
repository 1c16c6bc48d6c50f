package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// A BrokenChain is the first row at which the audit trail does not hold.
type BrokenChain struct { //nolint:errname // the chain is what is broken
	Chain    string
	Sequence int64  // the row that is wrong, or missing
	Why      string // a clause for people
}

// Error implements error.
func (b *BrokenChain) Error() string {
	return fmt.Sprintf("audit chain %s is broken at row %d: %s", b.Chain, b.Sequence, b.Why)
}

// An AuditHead is where a chain ends. Kept elsewhere, its hash can prove later
// that nothing before it was rewritten.
type AuditHead struct {
	Chain    string
	Sequence int64
	Hash     string
}

// auditBatch is how many rows are read at a time.
const auditBatch = 1000

// VerifyAudit walks every chain from its first row to its head, and compares
// what the rows of versions, policy sets, policies and checks say with what was
// written when they were made: no row without its entry, and no entry without its row,
// short of a deletion that was written too. expected names hashes that were the
// heads of chains once: each must still be in its chain. The error is a
// *BrokenChain when the trail does not hold.
//
// The whole walk reads one snapshot, so that a server may go on beside it.
func (s *Store) VerifyAudit(ctx context.Context, expected map[string]string) (_ []AuditHead, err error) {
	snapshot, err := s.dialect.reader().BeginTx(ctx, s.dialect.snapshot())
	if err != nil {
		return nil, fmt.Errorf("verify audit: %w", err)
	}
	defer func() {
		if rerr := snapshot.Rollback(); rerr != nil && err == nil {
			err = fmt.Errorf("verify audit: %w", rerr)
		}
	}()
	a := auditor{
		Queries: rows.New(snapshot), digests: map[string]fact{}, currents: map[string]fact{},
		materialized: map[string]fact{}, codes: map[string]fact{}, verdicts: map[string]fact{}, deleted: map[string]bool{},
	}
	return a.verify(ctx, expected)
}

// An auditor reads one snapshot and remembers what the entries say of rows
// that can be compared.
type auditor struct {
	*rows.Queries
	digests  map[string]fact // by version
	currents map[string]fact // the version in force, by policy set
	// materialized is the version of the set's own policies that is in force,
	// "" for none, by policy set.
	materialized map[string]fact
	codes        map[string]fact // the digest of a policy's code, by policy
	verdicts     map[string]fact // how a check ended, by check
	deleted      map[string]bool // policy sets, policies, workspaces and organizations
}

// A fact is what an entry says, and where.
type fact struct {
	value    string
	of       string // the policy set, the policy or the workspace with which it ends
	chain    string
	sequence int64
}

func (a *auditor) verify(ctx context.Context, expected map[string]string) ([]AuditHead, error) {
	names, heads, err := a.chains(ctx)
	if err != nil {
		return nil, fmt.Errorf("verify audit: %w", err)
	}
	var wanted []string
	for chain := range expected {
		wanted = append(wanted, chain)
	}
	slices.Sort(wanted)
	for _, chain := range wanted {
		if !slices.Contains(names, chain) {
			return nil, &BrokenChain{Chain: chain, Sequence: 1, Why: "the chain is missing"}
		}
	}
	list := make([]AuditHead, 0, len(names))
	for _, chain := range names {
		head, err := a.verifyChain(ctx, chain, heads, expected[chain])
		if err != nil {
			return list, err
		}
		list = append(list, head)
	}
	return list, a.compareRows(ctx)
}

// chains returns the names of all chains, those that lost their head or their
// rows included.
func (a *auditor) chains(ctx context.Context) ([]string, map[string]rows.AuditChain, error) {
	list, err := a.Chains(ctx)
	if err != nil {
		return nil, nil, err
	}
	names, err := a.ChainsOfEntries(ctx)
	if err != nil {
		return nil, nil, err
	}
	heads := map[string]rows.AuditChain{}
	for _, h := range list {
		heads[h.Chain] = h
		names = append(names, h.Chain)
	}
	slices.Sort(names)
	return slices.Compact(names), heads, nil
}

func (a *auditor) verifyChain(ctx context.Context, chain string, heads map[string]rows.AuditChain, expected string) (AuditHead, error) {
	at := AuditHead{Chain: chain}
	broken := func(sequence int64, format string, args ...any) error {
		return &BrokenChain{Chain: chain, Sequence: sequence, Why: fmt.Sprintf(format, args...)}
	}
	stored, ok := heads[chain]
	if !ok {
		return at, broken(1, "the chain's head is missing")
	}
	met := expected == ""
	for {
		batch, err := a.AuditEntriesAfter(ctx, rows.AuditEntriesAfterParams{Chain: chain, Sequence: at.Sequence, Size: auditBatch})
		if err != nil {
			return at, fmt.Errorf("verify audit chain %s: %w", chain, err)
		}
		for _, r := range batch {
			if r.Sequence != at.Sequence+1 {
				return at, broken(at.Sequence+1, "the row is missing")
			}
			e, err := auditEntry(r)
			if err != nil {
				return at, broken(r.Sequence, "it cannot be read: %v", err)
			}
			if e.Previous != at.Hash {
				return at, broken(r.Sequence, "it does not follow the row before it")
			}
			if e.ComputeHash() != e.Hash {
				return at, broken(r.Sequence, "its content does not match its hash")
			}
			if r.Sequence > stored.Sequence {
				return at, broken(r.Sequence, "it lies beyond the chain's head, row %d", stored.Sequence)
			}
			at.Sequence, at.Hash = e.Sequence, e.Hash
			met = met || e.Hash == expected
			a.remember(e)
		}
		if len(batch) < auditBatch {
			break
		}
	}
	if at.Sequence < stored.Sequence {
		return at, broken(at.Sequence+1, "the row is missing, as are all up to the chain's head, row %d", stored.Sequence)
	}
	if at.Hash != stored.Hash {
		return at, broken(at.Sequence, "the chain's head names another hash")
	}
	if !met {
		return at, broken(at.Sequence, "the expected head %s is not in the chain", expected)
	}
	return at, nil
}

func (a *auditor) remember(e polset.AuditEntry) {
	switch e.Action {
	case "version.ready":
		a.digests[e.Subject] = fact{e.Details["digest"], e.Details["policy-set"], e.Chain, e.Sequence}
	case "policy-set.current":
		a.currents[e.Subject] = fact{e.Details["version"], e.Subject, e.Chain, e.Sequence}
	case "policy-set.materialized":
		a.materialized[e.Subject] = fact{e.Details["version"], e.Subject, e.Chain, e.Sequence}
	case "policy.uploaded":
		a.codes[e.Subject] = fact{e.Details["digest"], e.Subject, e.Chain, e.Sequence}
	case "check.passed", "check.soft_failed", "check.hard_failed", "check.overridden", "check.errored", "check.canceled":
		verdict := polset.CheckStatus(strings.TrimPrefix(e.Action, "check."))
		a.verdicts[e.Subject] = fact{verdictOf(verdict, e.Actor), e.Details["workspace"], e.Chain, e.Sequence}
	case "policy-set.deleted", "policy.deleted", "workspace.deleted", "organization.deleted":
		a.deleted[e.Subject] = true
	}
}

// compareRows finds rows that were changed behind the trail's back.
func (a *auditor) compareRows(ctx context.Context) error {
	err := readyVersions(ctx, a.Queries, func(v polset.Version) error {
		f, ok := a.digests[v.ID]
		delete(a.digests, v.ID)
		switch {
		case !ok:
			return a.unwitnessed(ctx, v.PolicySetID, "version "+v.ID+" is ready, and no row tells of it")
		case f.value != v.Artifact.Digest:
			return &BrokenChain{Chain: f.chain, Sequence: f.sequence, Why: fmt.Sprintf(
				"it gives version %s the digest %s, and the version has %s", v.ID, f.value, v.Artifact.Digest)}
		}
		return nil
	})
	if err != nil {
		return err
	}
	currents, err := a.CurrentVersions(ctx)
	if err != nil {
		return fmt.Errorf("verify audit: %w", err)
	}
	for _, r := range currents {
		f, ok := a.currents[r.ID]
		delete(a.currents, r.ID)
		switch {
		case !ok:
			return a.unwitnessed(ctx, r.ID, "policy set "+r.ID+" has a current version, and no row tells of it")
		case f.value != r.CurrentVersionID:
			return &BrokenChain{Chain: f.chain, Sequence: f.sequence, Why: fmt.Sprintf(
				"it puts version %s of policy set %s in force, and %s is", f.value, r.ID, r.CurrentVersionID)}
		}
	}
	if err := a.compareMaterialized(ctx); err != nil {
		return err
	}
	if err := a.compareCodes(ctx); err != nil {
		return err
	}
	if err := a.compareVerdicts(ctx); err != nil {
		return err
	}
	return a.orphaned()
}

// compareVerdicts is compareRows for how checks ended.
func (a *auditor) compareVerdicts(ctx context.Context) error {
	var after int64
	for {
		list, err := a.EndedChecksAfter(ctx, rows.EndedChecksAfterParams{Sequence: after, Size: auditBatch})
		if err != nil {
			return fmt.Errorf("verify audit: %w", err)
		}
		for _, r := range list {
			after = r.Sequence
			f, ok := a.verdicts[r.ID]
			delete(a.verdicts, r.ID)
			verdict := verdictOf(polset.CheckStatus(r.Status), r.OverriddenBy)
			switch {
			case !ok:
				return a.unwitnessedBy(ctx, r.OrganizationID, "check "+r.ID+" is "+verdict+", and no row tells of it")
			case f.value != verdict:
				return &BrokenChain{Chain: f.chain, Sequence: f.sequence, Why: fmt.Sprintf(
					"it ends check %s as %s, and the check is %s", r.ID, f.value, verdict)}
			}
		}
		if len(list) < auditBatch {
			return nil
		}
	}
}

// verdictOf is how a check ended, and of an override by whom.
func verdictOf(status polset.CheckStatus, overriddenBy string) string {
	if status == polset.CheckOverridden {
		return string(status) + " by " + overriddenBy
	}
	return string(status)
}

// compareCodes is compareRows for the code of policies.
func (a *auditor) compareCodes(ctx context.Context) error {
	list, err := a.CodesOfPolicies(ctx)
	if err != nil {
		return fmt.Errorf("verify audit: %w", err)
	}
	for _, r := range list {
		f, ok := a.codes[r.ID]
		delete(a.codes, r.ID)
		switch {
		case !ok:
			return a.unwitnessedBy(ctx, r.OrganizationID, "policy "+r.ID+" has code, and no row tells of it")
		case f.value != r.Digest:
			return &BrokenChain{Chain: f.chain, Sequence: f.sequence, Why: fmt.Sprintf(
				"it gives policy %s code with the digest %s, and the policy has %s", r.ID, f.value, r.Digest)}
		}
	}
	return nil
}

// compareMaterialized is compareRows for what is in force of the sets' own
// policies, which also ends.
func (a *auditor) compareMaterialized(ctx context.Context) error {
	list, err := a.MaterializedVersions(ctx)
	if err != nil {
		return fmt.Errorf("verify audit: %w", err)
	}
	for _, r := range list {
		f, ok := a.materialized[r.ID]
		delete(a.materialized, r.ID)
		switch {
		case !ok:
			return a.unwitnessed(ctx, r.ID, "a version of the policies of policy set "+r.ID+" is in force, and no row tells of it")
		case f.value != r.MaterializedVersionID:
			return &BrokenChain{Chain: f.chain, Sequence: f.sequence, Why: fmt.Sprintf(
				"it puts version %q of the policies of policy set %s in force, and %s is", f.value, r.ID, r.MaterializedVersionID)}
		}
	}
	for id, f := range a.materialized {
		if f.value == "" {
			delete(a.materialized, id) // and none is
		}
	}
	return nil
}

// orphaned answers with the first entry whose row was not met, though nothing
// tells of its deletion. Identifiers are never used again, so a deletion is
// always the later of the two.
func (a *auditor) orphaned() error {
	var list []*BrokenChain
	lost := func(f fact, why string) {
		if !a.deleted[f.of] && !a.deleted[f.chain] {
			list = append(list, &BrokenChain{Chain: f.chain, Sequence: f.sequence, Why: why})
		}
	}
	for id, f := range a.digests {
		lost(f, fmt.Sprintf("it makes version %s ready, and there is no such ready version", id))
	}
	for id, f := range a.materialized {
		lost(f, fmt.Sprintf("it puts version %s of the policies of policy set %s in force, and none is", f.value, id))
	}
	for id, f := range a.codes {
		lost(f, fmt.Sprintf("it gives policy %s code, and it has none", id))
	}
	for id, f := range a.verdicts {
		lost(f, fmt.Sprintf("it ends check %s as %s, and no check has ended so", id, f.value))
	}
	for id, f := range a.currents {
		lost(f, fmt.Sprintf("it puts version %s of policy set %s in force, and none is", f.value, id))
	}
	if len(list) == 0 {
		return nil
	}
	return slices.MinFunc(list, func(a, b *BrokenChain) int {
		return cmp.Or(cmp.Compare(a.Chain, b.Chain), cmp.Compare(a.Sequence, b.Sequence))
	})
}

// unwitnessed answers for a row that no entry tells of.
func (a *auditor) unwitnessed(ctx context.Context, policySetID, why string) error {
	set, err := a.PolicySet(ctx, rows.PolicySetParams{ID: policySetID})
	if err != nil {
		return fmt.Errorf("verify audit: %w", err)
	}
	return a.unwitnessedBy(ctx, set.PolicySet.OrganizationID, why)
}

func (a *auditor) unwitnessedBy(ctx context.Context, chain, why string) error {
	head, err := a.ChainHead(ctx, chain)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("verify audit: %w", err)
	}
	return &BrokenChain{Chain: chain, Sequence: head.Sequence, Why: why}
}
