package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// silentAttempts is how often a dry run may be claimed without a word of what
// became of it: more often it is what takes its workers down.
const silentAttempts = 3

// ClaimTrials leases for ttl up to n dry runs that are due: those that wait,
// and those whose lease has expired. Those of commits of forks come after all
// others, and at most forks of them. A dry run that was claimed too
// often without a word of its outcome ends as failed.
func (s *Store) ClaimTrials(ctx context.Context, n, forks int, ttl time.Duration) ([]polset.Trial, error) {
	trials, err := s.claimTrials(ctx, n, forks, ttl)
	if err != nil {
		return nil, fmt.Errorf("claim trials: %w", err)
	}
	return trials, nil
}

func (s *Store) claimTrials(ctx context.Context, n, forks int, ttl time.Duration) (trials []polset.Trial, err error) {
	now, err := s.now(ctx)
	if err != nil {
		return nil, err
	}
	due, err := s.reads.TrialsDue(ctx, rows.TrialsDueParams{Now: now, Size: batchOf(n)})
	if err != nil {
		return nil, err
	}
	if first := slices.IndexFunc(due, func(d rows.DryRun) bool { return d.Fork }); first >= 0 {
		due = due[:min(len(due), first+max(forks, 0))]
	}
	if len(due) == 0 {
		return nil, nil
	}
	slices.SortFunc(due, func(a, b rows.DryRun) int { return cmp.Compare(a.Sequence, b.Sequence) })
	err = s.write(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		trials = nil
		for _, row := range due {
			t, err := s.claimTrial(ctx, tx, row, ttl)
			if err != nil {
				return fmt.Errorf("dry run %s: %w", row.ID, err)
			}
			if t != nil {
				trials = append(trials, *t)
			}
		}
		return nil
	})
	return trials, err
}

// claimTrial returns nil for a dry run that another node has, that is gone, or
// that is given up.
func (s *Store) claimTrial(ctx context.Context, tx *tx, row rows.DryRun, ttl time.Duration) (*polset.Trial, error) {
	row, err := tx.ClaimDryRun(ctx, rows.ClaimDryRunParams{ID: row.ID, Now: nullTime(tx.now), LeasedUntil: tx.now.Add(ttl)})
	if errors.Is(found(err), polset.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	set, err := tx.PolicySet(ctx, rows.PolicySetParams{ID: row.PolicySetID})
	if err != nil {
		return nil, err
	}
	if row.Attempts-row.Failures > silentAttempts {
		f := polset.Fail(polset.ClassInternal, "polset gave up after %d attempts of which none came to an end; its log may say why.", silentAttempts)
		return nil, tx.endDryRun(ctx, set.PolicySet.OrganizationID, row, polset.TrialOutcome{Failure: f})
	}
	if err := tx.reportDryRun(ctx, row.ID); err != nil {
		return nil, err
	}
	d, err := dryRun(row)
	if err != nil {
		return nil, err
	}
	trial := &polset.Trial{Lease: polset.Lease{IngestionID: row.ID, Number: row.Lease}, DryRun: d}
	r, err := tx.Repository(ctx, row.RepositoryID)
	if err != nil {
		return nil, err
	}
	if trial.Remote, trial.Connected, err = s.remoteFor(ctx, tx, r, row.TokenID, row.InstallationID); err != nil {
		return nil, err
	}
	inForce := cmp.Or(set.PolicySet.CurrentVersionID, set.PolicySet.MaterializedVersionID)
	if inForce == "" {
		return trial, nil
	}
	v, err := tx.Version(ctx, inForce)
	if err != nil {
		return nil, err
	}
	trial.Current, err = pointer(version(v))
	return trial, err
}

// RenewTrials extends leases by ttl from now. What has ended, waits again or is
// gone meanwhile is skipped; ErrFenced says that somebody else holds one.
func (s *Store) RenewTrials(ctx context.Context, leases []polset.Lease, ttl time.Duration) error {
	err := s.writeOnce(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		for _, l := range leases {
			n, err := tx.RenewDryRun(ctx, rows.RenewDryRunParams{ID: l.IngestionID, Lease: l.Number, LeasedUntil: tx.now.Add(ttl)})
			if err != nil {
				return err
			}
			if n == 1 {
				continue
			}
			d, err := tx.DryRun(ctx, l.IngestionID)
			if errors.Is(found(err), polset.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if d.Lease != l.Number {
				return polset.ErrFenced
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("renew trials: %w", err)
	}
	return nil
}

// SettleTrial ends a dry run, or gives it back for another attempt after a
// while; a reason counts as a failed attempt. ErrFenced says that the lease has
// passed to somebody else, or that the dry run does not matter any more.
func (s *Store) SettleTrial(ctx context.Context, l polset.Lease, o polset.TrialOutcome) error {
	err := s.writeOnce(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		d, err := tx.DryRun(ctx, l.IngestionID)
		if errors.Is(found(err), polset.ErrNotFound) || err == nil && d.Lease != l.Number {
			return polset.ErrFenced
		}
		if err != nil {
			return err
		}
		if o.Again {
			return tx.releaseDryRun(ctx, d, o)
		}
		if end, _ := endOf(o); d.Status == string(end) {
			return nil // repeated by its own holder
		}
		set, err := tx.PolicySet(ctx, rows.PolicySetParams{ID: d.PolicySetID})
		if errors.Is(found(err), polset.ErrNotFound) {
			return polset.ErrFenced
		}
		if err != nil {
			return err
		}
		return tx.endDryRun(ctx, set.PolicySet.OrganizationID, d, o)
	})
	if err != nil {
		return fmt.Errorf("settle dry run %s: %w", l.IngestionID, err)
	}
	return nil
}

func (t *tx) releaseDryRun(ctx context.Context, d rows.DryRun, o polset.TrialOutcome) error {
	p := rows.ReleaseDryRunParams{ID: d.ID, Lease: d.Lease, DueAt: t.now.Add(max(o.After, 0)), Reason: o.Reason}
	if o.Reason != "" {
		p.Failed = 1
	}
	n, err := t.ReleaseDryRun(ctx, p)
	if err != nil {
		return err
	}
	if n == 0 {
		return polset.ErrFenced
	}
	return t.reportDryRun(ctx, d.ID)
}

// endOf is how an outcome ends a dry run.
func endOf(o polset.TrialOutcome) (polset.DryRunStatus, error) {
	switch {
	case o.Failure != nil && o.Comparison == nil:
		return polset.DryRunFailed, nil
	case o.Comparison != nil && o.Failure == nil:
		return polset.DryRunCompared, nil
	}
	return "", errors.New("an outcome is either a comparison or a failure")
}

func (t *tx) endDryRun(ctx context.Context, organizationID string, d rows.DryRun, o polset.TrialOutcome) error {
	status, err := endOf(o)
	if err != nil {
		return err
	}
	p := rows.EndDryRunParams{ID: d.ID, Lease: d.Lease, Status: string(status), Now: nullTime(t.now)}
	if f := o.Failure; f != nil {
		p.Error, p.ErrorMessage = string(f.Class), f.Message
		if p.Diagnostics, err = diagnosticsText(f.Diagnostics); err != nil {
			return err
		}
	} else {
		b, err := json.Marshal(o.Comparison)
		if err != nil {
			return err
		}
		p.Comparison = string(b)
	}
	n, err := t.EndDryRun(ctx, p)
	if err != nil {
		return err
	}
	if n == 0 {
		return polset.ErrFenced
	}
	t.noteDryRun(organizationID, d, status, p.Error)
	return t.reportDryRun(ctx, d.ID)
}
