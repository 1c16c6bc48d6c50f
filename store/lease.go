package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// held is an ingestion under its lease, with all that a move of it touches
// locked.
type held struct {
	ingestion  rows.Ingestion
	set        rows.PolicySet
	repository rows.Repository
}

// move runs f on an ingestion for the holder of its lease. Anybody else gets
// ErrFenced and nothing is written. A move that its own holder made already is
// left to f, which tells by held.ended whether it is the same one: so a commit
// without an answer can be repeated.
func (s *Store) move(ctx context.Context, l polset.Lease, doing string, f func(ctx context.Context, tx *tx, h held) error) error {
	err := s.writeOnce(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		h, err := tx.hold(ctx, l)
		if err != nil {
			return err
		}
		return f(ctx, tx, h)
	})
	if err != nil {
		return fmt.Errorf("%s ingestion %s: %w", doing, l.IngestionID, err)
	}
	return nil
}

func (t *tx) hold(ctx context.Context, l polset.Lease) (h held, err error) {
	gone := func(err error) error {
		if errors.Is(found(err), polset.ErrNotFound) {
			return polset.ErrFenced
		}
		return err
	}
	before, err := t.Ingestion(ctx, l.IngestionID)
	if err != nil {
		return h, gone(err)
	}
	if before.RepositoryID.Valid {
		if h.repository, err = t.lockRepository(ctx, before.RepositoryID.String); err != nil {
			return h, err
		}
	}
	if err := t.lock(ctx, policySetRow, before.PolicySetID); err != nil {
		return h, gone(err)
	}
	if h.ingestion, err = t.Ingestion(ctx, l.IngestionID); err != nil {
		return h, gone(err)
	}
	if h.ingestion.Lease != l.Number || h.ingestion.Status == string(polset.IngestionPending) {
		return h, polset.ErrFenced
	}
	set, err := t.PolicySet(ctx, rows.PolicySetParams{ID: h.ingestion.PolicySetID})
	h.set = set.PolicySet
	return h, gone(err)
}

// ended says whether the ingestion has ended already: with nil in the way
// that is asked for now, with ErrFenced in another.
func (h held) ended(want polset.IngestionStatus) (bool, error) {
	switch polset.IngestionStatus(h.ingestion.Status) {
	case polset.IngestionRunning:
		return false, nil
	case want:
		return true, nil
	}
	return true, polset.ErrFenced
}

func (h held) running() error {
	if h.ingestion.Status != string(polset.IngestionRunning) {
		return polset.ErrFenced
	}
	return nil
}

// Release returns an ingestion for another attempt after a while, and
// schedules the wake-up for it. A reason counts as a failed attempt; without
// one the attempt was merely cut short.
func (s *Store) Release(ctx context.Context, l polset.Lease, after time.Duration, reason string) error {
	return s.move(ctx, l, "release", func(ctx context.Context, tx *tx, h held) error {
		if err := h.running(); err != nil {
			return err
		}
		var failed int64
		if reason != "" {
			failed = 1
		}
		due := tx.now.Add(max(after, 0))
		n, err := tx.ReleaseIngestion(ctx, rows.ReleaseIngestionParams{
			ID: l.IngestionID, Lease: l.Number, DueAt: due, EnqueueAt: due.Add(s.requeueAfter), Reason: reason, Failed: failed,
		})
		if err != nil {
			return err
		}
		if n == 0 {
			return polset.ErrFenced
		}
		tx.note(h.set.OrganizationID, "ingestion.pending", l.IngestionID, map[string]string{
			"policy-set": h.set.ID, "lease": strconv.FormatInt(l.Number, 10), "reason": reason,
		})
		if err := tx.reportIngestion(ctx, l.IngestionID); err != nil {
			return err
		}
		h.ingestion.DueAt = due
		return wake(ctx, tx, h.ingestion)
	})
}

// Resolve gives the branch head's commit to an ingestion that began without
// one, and to its version. Where the default branch was asked for, its name is
// remembered too.
func (s *Store) Resolve(ctx context.Context, l polset.Lease, head polset.Head) error {
	return s.move(ctx, l, "resolve", func(ctx context.Context, tx *tx, h held) error {
		if err := h.running(); err != nil {
			return err
		}
		switch {
		case head.Commit == "":
			return errors.New("the head has no commit")
		case h.ingestion.CommitID == head.Commit:
			return nil
		case h.ingestion.CommitID != "":
			return fmt.Errorf("it has commit %s: %w", h.ingestion.CommitID, polset.ErrConflict)
		}
		n, err := tx.ResolveIngestion(ctx, rows.ResolveIngestionParams{ID: l.IngestionID, Lease: l.Number, CommitID: head.Commit})
		if err != nil {
			return err
		}
		if n == 0 {
			return polset.ErrFenced
		}
		if h.ingestion.Branch == "" && head.Branch != "" && h.repository.DefaultBranch == "" {
			err := tx.SetDefaultBranch(ctx, rows.SetDefaultBranchParams{ID: h.repository.ID, DefaultBranch: head.Branch})
			if err != nil {
				return err
			}
		}
		tx.note(h.set.OrganizationID, "ingestion.resolved", l.IngestionID, map[string]string{
			"policy-set": h.set.ID, "commit": head.Commit, "branch": head.Branch,
		})
		if err := tx.reportIngestion(ctx, l.IngestionID); err != nil {
			return err
		}
		if h.ingestion.VersionID == "" {
			return nil
		}
		return tx.ResolveVersion(ctx, rows.ResolveVersionParams{
			ID: h.ingestion.VersionID, CommitID: head.Commit, Branch: head.Branch, Now: tx.now,
			CommitURL: commitURL(h.repository.HTTPURL, h.repository.Identifier, head.Commit),
		})
	})
}

// end ends an ingestion and wakes what comes next in its policy set, in the
// same transaction.
func (s *Store) end(ctx context.Context, tx *tx, h held, status polset.IngestionStatus, versionID, reason string) error {
	n, err := tx.EndIngestion(ctx, rows.EndIngestionParams{
		ID: h.ingestion.ID, Lease: h.ingestion.Lease, Status: string(status), Reason: reason, VersionID: versionID, Now: nullTime(tx.now),
	})
	if err != nil {
		return err
	}
	if n == 0 {
		return polset.ErrFenced
	}
	tx.noteEnd(h.set.OrganizationID, h.ingestion, status, versionID, reason)
	if err := tx.reportIngestion(ctx, h.ingestion.ID); err != nil {
		return err
	}
	if err := tx.ingested(ctx, h); err != nil {
		return err
	}
	if h.ingestion.RepositoryID != h.set.RepositoryID && h.ingestion.RepositoryID.Valid {
		// The set follows another repository by now; this may have been the
		// last that the old one was kept for.
		if _, err := tx.RetireRepository(ctx, h.ingestion.RepositoryID.String); err != nil {
			return err
		}
	}
	return s.enqueueNext(ctx, tx, h.set.ID, h.ingestion.Generation)
}

func (t *tx) noteEnd(organizationID string, i rows.Ingestion, status polset.IngestionStatus, versionID, reason string) {
	t.note(organizationID, "ingestion."+string(status), i.ID, map[string]string{
		"policy-set": i.PolicySetID, "version": versionID, "commit": i.CommitID, "delivery": i.DeliveryGUID, "reason": reason,
	})
}
