package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// A report that could not be sent is tried again after a while that doubles
// with every failure in a row.
const (
	firstReportAgain = 5 * time.Second
	lastReportAgain  = 15 * time.Minute
	// reportsOutdated is the age at which nobody waits for a report any more.
	reportsOutdated = 14 * 24 * time.Hour
	// keepReports is how long a report, and a dry run, is remembered.
	keepReports = 30 * 24 * time.Hour
	// forgetSize bounds how many old rows one sweep looks at.
	forgetSize = 500
)

// reportIngestion makes what GitHub shall show of an ingestion equal to its
// row: every move calls it in its own transaction. An ingestion without a
// commit, or without a credential, has no report.
func (t *tx) reportIngestion(ctx context.Context, id string) error {
	return t.ReportIngestion(ctx, rows.ReportIngestionParams{ID: polset.NewID("rep"), Subject: id, Now: t.now})
}

// reportDryRun is reportIngestion for a dry run.
func (t *tx) reportDryRun(ctx context.Context, id string) error {
	return t.ReportDryRun(ctx, rows.ReportDryRunParams{ID: polset.NewID("rep"), Subject: id, Now: t.now})
}

// reportsDeleted ends what was begun to be shown of a policy set that is about
// to be deleted, and forgets what was not.
func (t *tx) reportsDeleted(ctx context.Context, policySetID string) error {
	if err := t.DropUnbegunReports(ctx, policySetID); err != nil {
		return err
	}
	return t.ReportsDeleted(ctx, rows.ReportsDeletedParams{PolicySetID: policySetID, Now: nullTime(t.now)})
}

// resumeReports takes up the reports that were given up with a credential,
// which works again.
func (t *tx) resumeReports(ctx context.Context, credential string) error {
	return t.ResumeReports(ctx, rows.ResumeReportsParams{
		Credential: nullString(credential), Now: t.now, Since: t.now.Add(-reportsOutdated),
	})
}

// ClaimReports leases for ttl up to n reports of which GitHub does not show
// what it shall. Of several about the same commit and policy set only the
// newest is sent, and not before an earlier one that somebody may be sending
// right now: so GitHub ends with the newest. What nobody can send, or waits for
// any more, is given up.
func (s *Store) ClaimReports(ctx context.Context, n int, ttl time.Duration) ([]polset.Report, error) {
	reports, err := s.claimReports(ctx, n, ttl)
	if err != nil {
		return nil, fmt.Errorf("claim reports: %w", err)
	}
	return reports, nil
}

func (s *Store) claimReports(ctx context.Context, n int, ttl time.Duration) (reports []polset.Report, err error) {
	now, err := s.now(ctx)
	if err != nil {
		return nil, err
	}
	due, err := s.reads.ReportsDue(ctx, rows.ReportsDueParams{Now: now, Size: batchOf(n)})
	if err != nil || len(due) == 0 {
		return nil, err
	}
	// Moves report in this order too, so that nobody waits in a circle.
	slices.SortFunc(due, func(a, b rows.Report) int { return cmp.Compare(a.Sequence, b.Sequence) })
	err = s.write(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		reports = nil
		for _, row := range due {
			r, err := s.claimReport(ctx, tx, row, ttl)
			if err != nil {
				return fmt.Errorf("report %s: %w", row.ID, err)
			}
			if r != nil {
				reports = append(reports, *r)
			}
		}
		return nil
	})
	return reports, err
}

// claimReport returns nil for a report that is not to be sent now.
func (s *Store) claimReport(ctx context.Context, tx *tx, row rows.Report, ttl time.Duration) (*polset.Report, error) {
	giveUp := func(why string) (*polset.Report, error) {
		return nil, tx.GiveUpReport(ctx, rows.GiveUpReportParams{ID: row.ID, Lease: row.Lease, GivenUp: why})
	}
	if tx.now.Sub(row.CreatedAt) > reportsOutdated {
		return giveUp("It could not be sent for two weeks.")
	}
	newer, err := tx.NewerReport(ctx, rows.NewerReportParams{
		PolicySetID: row.PolicySetID, CommitID: row.CommitID, Ordinal: row.Ordinal, Number: row.Number,
	})
	if err != nil {
		return nil, err
	}
	// A check run that was begun is ended beside the newer one, which GitHub
	// shows; a commit status would take its place.
	if newer > 0 && (row.CheckRunID == 0 || !row.InstallationID.Valid) {
		return giveUp("A newer report says more.")
	}
	earlier, err := tx.EarlierReportDue(ctx, rows.EarlierReportDueParams{
		PolicySetID: row.PolicySetID, CommitID: row.CommitID, Ordinal: row.Ordinal, Number: row.Number, Now: tx.now,
	})
	if err != nil {
		return nil, err
	}
	if len(earlier) > 0 {
		return nil, tx.PostponeReport(ctx, rows.PostponeReportParams{ID: row.ID, Lease: row.Lease, DueAt: earlier[0]})
	}
	r, err := tx.Repository(ctx, row.RepositoryID)
	if errors.Is(found(err), polset.ErrNotFound) {
		r = rows.Repository{
			ID: row.RepositoryID, OrganizationID: row.OrganizationID, HTTPURL: row.HTTPURL, Host: hostOf(row.HTTPURL),
			Identifier: row.Identifier, IdentifierKey: identifierKey(row.Identifier), ExternalID: row.ExternalID,
		}
	} else if err != nil {
		return nil, err
	}
	remote, connected, err := s.remoteFor(ctx, tx, r, row.TokenID, row.InstallationID)
	if err != nil {
		return nil, err
	}
	if !connected {
		return giveUp("There is no credential to send it with.")
	}
	row, err = tx.ClaimReport(ctx, rows.ClaimReportParams{ID: row.ID, Now: tx.now, LeasedUntil: tx.now.Add(ttl)})
	if errors.Is(found(err), polset.ErrNotFound) {
		return nil, nil // another node has it, or the organization is gone
	}
	if err != nil {
		return nil, err
	}
	return tx.report(ctx, row, remote)
}

// report reads what is to be said. Facts that went away with a policy set leave
// nothing to say but that.
func (t *tx) report(ctx context.Context, row rows.Report, remote polset.Remote) (*polset.Report, error) {
	organization, err := t.OrganizationName(ctx, row.OrganizationID)
	if err != nil {
		return nil, err
	}
	out := &polset.Report{
		ID: row.ID, Revision: row.Revision, PolicySetID: row.PolicySetID, PolicySet: row.PolicySet, Organization: organization,
		PullRequest: int(row.Number), Remote: remote, Commit: row.CommitID, Status: polset.ReportStatus(row.Status),
		Reason: row.Reason, CheckRunID: row.CheckRunID, Uncertain: row.Uncertain, Failures: int(row.Failures),
		CreatedAt: row.CreatedAt.UTC(), StartedAt: utc(row.StartedAt), EndedAt: utc(row.EndedAt),
		LeasedBy: row.Lease, AnnotatedUpTo: int(row.Annotated),
	}
	switch {
	case out.Status == polset.ReportDeleted:
	case row.Number != 0:
		var d rows.DryRun
		if d, err = t.DryRun(ctx, row.Subject); err == nil {
			out.DryRun, err = pointer(dryRun(d))
		}
	case out.Status.Final() && row.VersionID != "":
		var v rows.Version
		if v, err = t.Version(ctx, row.VersionID); err == nil {
			out.Version, err = pointer(version(v))
		}
	}
	if errors.Is(found(err), polset.ErrNotFound) {
		out.Status, err = polset.ReportDeleted, nil
	}
	return out, err
}

func pointer[T any](v T, err error) (*T, error) { return &v, err }

// SettleReport records what became of an attempt. What is wanted may have
// changed meanwhile: then the report is due again at once. ErrFenced says that
// the lease has passed to somebody else, or that the report is gone.
func (s *Store) SettleReport(ctx context.Context, o polset.ReportOutcome) error {
	err := s.writeOnce(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		row, err := tx.Report(ctx, o.ID)
		if errors.Is(found(err), polset.ErrNotFound) || err == nil && row.Lease != o.LeasedBy {
			return polset.ErrFenced
		}
		if err != nil {
			return err
		}
		p := rows.SettleReportParams{
			ID: row.ID, Lease: row.Lease, Sent: row.Sent, CheckRunID: row.CheckRunID, Uncertain: o.Uncertain,
			Annotated: row.Annotated, GivenUp: row.GivenUp, DueAt: tx.now,
		}
		if o.CheckRunID != 0 {
			p.CheckRunID, p.Annotated = o.CheckRunID, int64(o.AnnotatedUpTo)
		}
		switch f := o.Failure; {
		case f == nil:
			p.Sent = max(row.Sent, o.Revision)
		case f.Retry:
			p.Failures = row.Failures + 1
			p.DueAt = tx.now.Add(max(backoff(p.Failures, firstReportAgain, lastReportAgain), f.RetryAfter))
		case row.Revision != row.Claimed:
			p.Failures = row.Failures + 1 // what is wanted now was not tried
		default:
			p.Failures, p.GivenUp = row.Failures+1, cmp.Or(f.Message, string(f.Class))
		}
		n, err := tx.SettleReport(ctx, p)
		if err != nil {
			return err
		}
		if n == 0 {
			return polset.ErrFenced
		}
		return tx.WakeLaterReports(ctx, rows.WakeLaterReportsParams{
			PolicySetID: row.PolicySetID, CommitID: row.CommitID, Ordinal: row.Ordinal, Number: row.Number, Now: tx.now,
		})
	})
	if err != nil {
		return fmt.Errorf("settle report %s: %w", o.ID, err)
	}
	return nil
}

// forget deletes the oldest reports and dry runs.
func (s *Store) forget(ctx context.Context) error {
	return s.write(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		before := tx.now.Add(-keepReports)
		if _, err := tx.DeleteOldReports(ctx, rows.DeleteOldReportsParams{Size: forgetSize, Before: before}); err != nil {
			return err
		}
		_, err := tx.DeleteOldDryRuns(ctx, rows.DeleteOldDryRunsParams{Size: forgetSize, Before: before})
		return err
	})
}
