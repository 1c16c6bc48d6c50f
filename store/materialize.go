package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

const (
	// silentMaterializations is how often in a row a set may be claimed without
	// a word of what became of it: more often its policies are what takes their
	// workers down.
	silentMaterializations = 25
	// faultyMaterializations is what attempts that ended in a passing fault
	// count at most: they are made until one succeeds.
	faultyMaterializations = 20
)

// policiesChanged has the version of a policy set's own policies made anew: its
// members became others.
func (t *tx) policiesChanged(ctx context.Context, policySetID string) error {
	t.materialize = true
	return t.PoliciesChanged(ctx, rows.PoliciesChangedParams{ID: policySetID, Now: t.now})
}

// policyChanged is policiesChanged for every policy set that holds a policy. It
// locks them in the order in which everybody does.
func (t *tx) policyChanged(ctx context.Context, policyID string) error {
	t.materialize = true
	sets, err := t.PolicySetsOfPolicy(ctx, policyID)
	if err != nil {
		return err
	}
	slices.Sort(sets)
	for _, id := range sets {
		if err := t.lock(ctx, policySetRow, id); err != nil && !errors.Is(err, polset.ErrNotFound) {
			return err
		}
	}
	return t.PolicyChanged(ctx, rows.PolicyChangedParams{PolicyID: policyID, Now: t.now})
}

// MaterializationDue receives a value soon after this process changed what
// policies a set holds.
func (s *Store) MaterializationDue() <-chan struct{} { return s.materialize }

// ClaimMaterializations leases for ttl up to n policy sets whose policies
// changed since a version was made of them. A set that was claimed too often
// without a word of its outcome gets an errored version.
func (s *Store) ClaimMaterializations(ctx context.Context, n int, ttl time.Duration) (claims []polset.Materialization, err error) {
	now, err := s.now(ctx)
	if err != nil {
		return nil, fmt.Errorf("claim materializations: %w", err)
	}
	due, err := s.reads.MaterializationsDue(ctx, rows.MaterializationsDueParams{Now: now, Size: batchOf(n)})
	if err != nil {
		return nil, fmt.Errorf("claim materializations: %w", err)
	}
	if len(due) == 0 {
		return nil, nil
	}
	slices.Sort(due)
	err = s.write(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		claims = nil
		for _, id := range due {
			m, err := s.claimMaterialization(ctx, tx, id, ttl)
			if err != nil {
				return fmt.Errorf("policy set %s: %w", id, err)
			}
			if m != nil {
				claims = append(claims, *m)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claim materializations: %w", err)
	}
	return claims, nil
}

// claimMaterialization returns nil for a set that another node has, that is
// gone, or that is given up. The revision is read before the members: what
// changes in between counts once more.
func (s *Store) claimMaterialization(ctx context.Context, tx *tx, id string, ttl time.Duration) (*polset.Materialization, error) {
	row, err := tx.ClaimMaterialization(ctx, rows.ClaimMaterializationParams{ID: id, Now: tx.now, LeasedUntil: tx.now.Add(ttl)})
	if errors.Is(found(err), polset.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := &polset.Materialization{
		Lease:       polset.Lease{IngestionID: id, Number: row.MaterializeLease},
		PolicySetID: id, Kind: polset.Kind(row.Kind), Revision: row.PoliciesRevision, Attempts: int(row.MaterializeFailures) - 1,
	}
	if m.Attempts >= silentMaterializations {
		f := polset.Fail(polset.ClassInternal, "polset gave up after %d attempts of which none came to an end; its log may say why.", m.Attempts)
		return nil, s.settleMaterialization(ctx, tx, *m, polset.MaterializationOutcome{Failure: f})
	}
	members, err := tx.MembersOfSet(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, r := range members {
		m.Policies = append(m.Policies, policy(r.Policy, ""))
	}
	newest, err := tx.NewestMaterialized(ctx, id)
	if err != nil || len(newest) == 0 {
		return m, err
	}
	m.Newest, err = pointer(version(newest[0]))
	return m, err
}

// RenewMaterializations extends leases by ttl from now. One that has ended
// meanwhile is skipped; ErrFenced says that somebody else holds one.
func (s *Store) RenewMaterializations(ctx context.Context, leases []polset.Lease, ttl time.Duration) error {
	err := s.writeOnce(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		for _, l := range leases {
			n, err := tx.RenewMaterialization(ctx, rows.RenewMaterializationParams{ID: l.IngestionID, Lease: l.Number, LeasedUntil: tx.now.Add(ttl)})
			if err != nil {
				return err
			}
			if n == 1 {
				continue
			}
			set, err := tx.PolicySet(ctx, rows.PolicySetParams{ID: l.IngestionID})
			if errors.Is(found(err), polset.ErrNotFound) || err == nil && set.PolicySet.MaterializeLease != l.Number {
				return polset.ErrFenced
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("renew materializations: %w", err)
	}
	return nil
}

// SettleMaterialization writes what became of a materialization, its version
// included, in one transaction. It answers ErrFenced when the lease is lost,
// and changes nothing then; that it was settled before is success.
func (s *Store) SettleMaterialization(ctx context.Context, m polset.Materialization, o polset.MaterializationOutcome) error {
	err := s.writeOnce(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		return s.settleMaterialization(ctx, tx, m, o)
	})
	if err != nil {
		return fmt.Errorf("settle materialization of %s: %w", m.PolicySetID, err)
	}
	return nil
}

func (s *Store) settleMaterialization(ctx context.Context, tx *tx, m polset.Materialization, o polset.MaterializationOutcome) error {
	err := tx.lock(ctx, policySetRow, m.PolicySetID)
	if errors.Is(err, polset.ErrNotFound) {
		return polset.ErrFenced
	}
	if err != nil {
		return err
	}
	r, err := tx.PolicySet(ctx, rows.PolicySetParams{ID: m.PolicySetID})
	if err != nil {
		return err
	}
	set := r.PolicySet
	switch {
	case set.MaterializeLease != m.Lease.Number:
		return polset.ErrFenced
	case set.MaterializedRevision >= m.Revision:
		return nil // by this very call, whose answer was lost
	case o.Again:
		failures := int64(m.Attempts)
		if o.Fault {
			failures = min(failures+1, faultyMaterializations)
		}
		return tx.MaterializeAgain(ctx, rows.MaterializeAgainParams{ID: set.ID, Failures: failures, DueAt: tx.now.Add(max(o.After, 0))})
	}
	inForce, err := tx.materialized(ctx, set, m, o)
	if err != nil {
		return err
	}
	if err := tx.Materialized(ctx, rows.MaterializedParams{ID: set.ID, Revision: m.Revision, VersionID: inForce, Now: tx.now}); err != nil {
		return err
	}
	if inForce != set.MaterializedVersionID {
		tx.note(set.OrganizationID, "policy-set.materialized", set.ID, map[string]string{
			"version": inForce, "from": set.MaterializedVersionID,
		})
	}
	tx.checks = true // one may have waited for it
	if set.PoliciesRevision > m.Revision {
		tx.materialize = true // what changed meanwhile need not wait for the next look
	}
	return nil
}

// materialized writes the history of a materialization that came to its end,
// and returns the version that is in force after it.
func (t *tx) materialized(ctx context.Context, set rows.PolicySet, m polset.Materialization, o polset.MaterializationOutcome) (inForce string, err error) {
	h := held{set: set}
	h.ingestion.ID, h.ingestion.PolicySetID = polset.NewID("ing"), set.ID
	end := func(status polset.IngestionStatus, versionID, reason string) error {
		return t.insertEnded(ctx, h, m, status, versionID, reason)
	}
	switch {
	case o.Artifact != nil || o.Failure != nil:
		h.ingestion.VersionID = polset.NewID("polsetver")
		if err := t.insertMaterialized(ctx, h, o); err != nil {
			return "", err
		}
		if o.Failure != nil {
			return set.MaterializedVersionID, end(polset.IngestionFailed, h.ingestion.VersionID, "")
		}
		return h.ingestion.VersionID, end(polset.IngestionVersioned, h.ingestion.VersionID, "")
	case o.Unchanged:
		inForce = set.MaterializedVersionID
		if m.Newest.Status == polset.VersionReady {
			inForce = m.Newest.ID // again, where it had ceased to be
		}
		return inForce, end(polset.IngestionUnchanged, m.Newest.ID, "")
	case set.RepositoryID.Valid:
		// It follows a repository meanwhile: its policies went for what comes
		// from there, and are in force until that is.
		return set.MaterializedVersionID, nil
	case set.MaterializedVersionID != "":
		return "", end(polset.IngestionIgnored, "", "the policy set holds no policies any more")
	}
	return "", nil
}

// insertEnded writes the ingestion of a materialization. It is of no
// generation, since those are of what is followed.
func (t *tx) insertEnded(ctx context.Context, h held, m polset.Materialization, status polset.IngestionStatus, versionID, reason string) error {
	err := t.InsertEndedIngestion(ctx, rows.InsertEndedIngestionParams{
		ID: h.ingestion.ID, PolicySetID: h.set.ID, Kind: h.set.Kind, Cause: string(polset.CausePolicies), Status: string(status),
		Reason: reason, VersionID: versionID, Attempts: int64(m.Attempts) + 1, Lease: m.Lease.Number, Now: t.now,
	})
	if err != nil {
		return err
	}
	t.note(h.set.OrganizationID, "ingestion.created", h.ingestion.ID, map[string]string{
		"policy-set": h.set.ID, "cause": string(polset.CausePolicies),
	})
	t.noteEnd(h.set.OrganizationID, h.ingestion, status, versionID, reason)
	return nil
}

// insertMaterialized takes the ingestion's version through its whole life.
func (t *tx) insertMaterialized(ctx context.Context, h held, o polset.MaterializationOutcome) error {
	id := h.ingestion.VersionID
	err := t.InsertVersion(ctx, rows.InsertVersionParams{ID: id, PolicySetID: h.set.ID, Source: polset.SourcePolicies, Now: t.now})
	if err != nil {
		return err
	}
	t.noteVersion(h, "version.pending", nil)
	if err := t.StartVersion(ctx, rows.StartVersionParams{ID: id, Content: "", Now: nullTime(t.now)}); err != nil {
		return err
	}
	t.noteVersion(h, "version.ingressing", nil)
	if f := o.Failure; f != nil {
		where, err := diagnosticsText(f.Diagnostics)
		if err != nil {
			return err
		}
		t.noteVersion(h, "version.errored", map[string]string{"error": string(f.Class), "tree": o.Content.Tree})
		return t.FailVersion(ctx, rows.FailVersionParams{
			ID: id, Now: nullTime(t.now), Content: contentText(o.Content),
			Error: string(f.Class), ErrorMessage: f.Message, Diagnostics: where,
		})
	}
	a := o.Artifact
	policies, err := json.Marshal(nonNil(a.Policies))
	if err != nil {
		return err
	}
	t.noteVersion(h, "version.ready", map[string]string{"digest": a.Digest, "tar-digest": a.TarDigest, "tree": a.Content.Tree})
	return t.FinishVersion(ctx, rows.FinishVersionParams{
		ID: id, Now: nullTime(t.now), Content: contentText(a.Content), Digest: a.Digest,
		TarDigest: a.TarDigest, Size: a.Size, TarSize: a.TarSize, Files: int64(a.Files),
		PoliciesDirectory: a.PoliciesDirectory, Policies: string(policies),
	})
}
