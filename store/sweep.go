package store

import (
	"context"
	"fmt"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
	"github.com/polset/polset/store/queue"
)

// sweepSize bounds one sweep; the next one takes what is left.
const sweepSize = 500

// Sweep puts work into the queue again that is due and that nothing woke for
// a while, from the rows alone: whatever a crash left running, and whatever
// lost its job. It says how many ingestions it woke. Any number of nodes may
// sweep at once; a job too many is harmless. It also gives up uploads that were
// interrupted long ago, and forgets reports and dry runs of long ago.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	woken := 0
	err := s.write(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		list, err := tx.IngestionsToSweep(ctx, rows.IngestionsToSweepParams{Now: tx.now, Size: sweepSize})
		if err != nil {
			return err
		}
		woken = len(list)
		return s.wakeAll(ctx, tx, list)
	})
	if err == nil {
		err = s.endUploads(ctx)
	}
	if err == nil {
		err = s.forget(ctx)
	}
	if err != nil {
		return woken, fmt.Errorf("sweep: %w", err)
	}
	return woken, nil
}

// longestRequeue bounds the time between two jobs for work that nobody takes.
const longestRequeue = 15 * time.Minute

// wakeAll enqueues ingestions, one job for each commit and time. The longer
// one has been due, the later it is enqueued again: the jobs of a backlog are
// in the queue, and more of them would not make it shorter.
func (s *Store) wakeAll(ctx context.Context, tx *tx, list []rows.Ingestion) error {
	type wakeUp struct {
		job queue.Job
		at  time.Time
	}
	done := map[wakeUp]bool{}
	for _, i := range list {
		due := i.DueAt
		if due.Before(tx.now) {
			due = tx.now
		}
		pause := max(s.requeueAfter, min(tx.now.Sub(i.DueAt), longestRequeue))
		err := tx.EnqueuedIngestion(ctx, rows.EnqueuedIngestionParams{ID: i.ID, EnqueueAt: due.Add(pause)})
		if err != nil {
			return err
		}
		w := wakeUp{queue.Job{Repository: i.RepositoryID.String, Commit: i.CommitID}, due.UTC()}
		if done[w] {
			continue
		}
		done[w] = true
		if err := wake(ctx, tx, i); err != nil {
			return err
		}
	}
	return nil
}

// takeOver is for the only process: nobody else can hold a lease or a job, so
// what the previous process left is taken up at once, and the queue is made
// anew from the rows.
func (s *Store) takeOver(ctx context.Context) error {
	err := s.write(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		if err := tx.jobs.Reset(ctx); err != nil {
			return err
		}
		list, err := tx.UnfinishedFirst(ctx)
		if err != nil {
			return err
		}
		if err := tx.releaseUploads(ctx); err != nil {
			return err
		}
		if _, err := tx.VoidLeases(ctx, tx.now); err != nil {
			return err
		}
		if err := tx.VoidTrials(ctx, tx.now); err != nil {
			return err
		}
		if err := tx.VoidMaterializations(ctx, tx.now); err != nil {
			return err
		}
		if err := tx.VoidChecks(ctx, tx.now); err != nil {
			return err
		}
		for n, i := range list {
			if i.Status != string(polset.IngestionRunning) {
				continue
			}
			list[n].DueAt = tx.now
			set, err := tx.PolicySet(ctx, rows.PolicySetParams{ID: i.PolicySetID})
			if err != nil {
				return err
			}
			tx.note(set.PolicySet.OrganizationID, "ingestion.pending", i.ID, map[string]string{
				"policy-set": i.PolicySetID, "reason": "the server was started anew",
			})
			if err := tx.reportIngestion(ctx, i.ID); err != nil {
				return err
			}
		}
		return s.wakeAll(ctx, tx, list)
	})
	if err != nil {
		return fmt.Errorf("take over unfinished work: %w", err)
	}
	return nil
}
