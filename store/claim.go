package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// batchSize bounds the claims of one batch, and with it the time for which
// the repository is locked. What is left has a job of its own.
const batchSize = 100

// Claim leases, in the order of acceptance, what is due of a commit of a
// repository: ingestions that wait or whose lease has expired, and before
// which nothing of their policy set is unfinished. The lease lasts ttl from
// now by the database's clock. An empty batch means that nothing is
// due; of more than a hundred the first are leased and another job is
// enqueued.
func (s *Store) Claim(ctx context.Context, repositoryID, commit string, ttl time.Duration) (polset.Batch, error) {
	var batch polset.Batch
	err := s.write(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		batch = polset.Batch{}
		// The lock makes two nodes that were woken for one commit take turns:
		// the second finds what the first took no longer due.
		err := tx.lock(ctx, repositoryRow, repositoryID)
		if errors.Is(err, polset.ErrNotFound) {
			return nil // gone, and its work with it
		}
		if err != nil {
			return err
		}
		r, err := tx.Repository(ctx, repositoryID)
		if err != nil {
			return err
		}
		due, err := tx.IngestionsDue(ctx, rows.IngestionsDueParams{
			RepositoryID: nullString(repositoryID), CommitID: commit, Now: tx.now, Size: batchSize + 1,
		})
		if err != nil || len(due) == 0 {
			return err
		}
		if len(due) > batchSize {
			if err := wake(ctx, tx, due[batchSize]); err != nil {
				return err
			}
			due = due[:batchSize]
		}
		look, err := tx.NextLook(ctx, repositoryID)
		if err != nil {
			return err
		}
		batch = polset.Batch{Repository: repository(r), Remotes: map[string]polset.Remote{}, Look: look}
		for _, i := range due {
			c, err := tx.claim(ctx, r.OrganizationID, i, ttl)
			if err != nil {
				return err
			}
			batch.Claims = append(batch.Claims, c)
			if err := s.addRemote(ctx, tx, &batch, i); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return polset.Batch{}, fmt.Errorf("claim: %w", err)
	}
	return batch, nil
}

func (t *tx) claim(ctx context.Context, organizationID string, i rows.Ingestion, ttl time.Duration) (polset.Claim, error) {
	n, err := t.ClaimIngestion(ctx, rows.ClaimIngestionParams{
		ID: i.ID, Lease: i.Lease, LeasedUntil: t.now.Add(ttl), Now: nullTime(t.now),
	})
	if err != nil {
		return polset.Claim{}, err
	}
	if n == 0 {
		return polset.Claim{}, errAgain
	}
	if err := t.reportIngestion(ctx, i.ID); err != nil {
		return polset.Claim{}, err
	}
	if i, err = t.Ingestion(ctx, i.ID); err != nil {
		return polset.Claim{}, err
	}
	t.note(organizationID, "ingestion.running", i.ID, map[string]string{
		"policy-set": i.PolicySetID, "lease": strconv.FormatInt(i.Lease, 10), "attempt": strconv.FormatInt(i.Attempts, 10),
	})
	c := polset.Claim{Lease: polset.Lease{IngestionID: i.ID, Number: i.Lease}, Ingestion: ingestion(i)}
	if len(c.Ingestion.UpdatePatterns) > 0 {
		if c.Processed, _, err = t.processed(ctx, i); err != nil {
			return polset.Claim{}, err
		}
	}
	newest, err := t.NewestVersionBefore(ctx, rows.NewestVersionBeforeParams{PolicySetID: i.PolicySetID, ID: i.VersionID})
	if errors.Is(found(err), polset.ErrNotFound) {
		return c, nil
	}
	if err != nil {
		return polset.Claim{}, err
	}
	v, err := version(newest)
	c.Newest = &v
	return c, err
}

// addRemote adds how git reaches the repository with an ingestion's
// credential: nothing where that was deleted, or where the organization may not
// use it any more.
func (s *Store) addRemote(ctx context.Context, tx *tx, batch *polset.Batch, i rows.Ingestion) error {
	credential := credentialOf(i.TokenID, i.InstallationID)
	if _, known := batch.Remotes[credential]; known || credential == "" {
		return nil
	}
	remote, err := s.credentialRemote(ctx, tx.Queries, batch.Repository.OrganizationID, credential)
	switch {
	case errors.Is(err, polset.ErrNotFound):
		return nil
	case errors.Is(err, errSealed):
		// Its own ingestions fail for want of a token. An error here would
		// undo the claims of all, and the count of attempts, for ever.
		s.logger.Error("connection token cannot be opened; is POLSET_ENCRYPTION_KEY complete?",
			zap.String("credential", credential), zap.Error(err))
		return nil
	case err != nil:
		return err
	}
	remote.HTTPURL, remote.Identifier = batch.Repository.HTTPURL, batch.Repository.Identifier
	remote.ExternalID = batch.Repository.ExternalID
	batch.Remotes[credential] = remote
	return nil
}

// Renew extends leases by ttl from now. What has ended, was released or is
// gone meanwhile is skipped; ErrFenced says that somebody else holds one.
func (s *Store) Renew(ctx context.Context, leases []polset.Lease, ttl time.Duration) error {
	err := s.writeOnce(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		for _, l := range leases {
			n, err := tx.RenewIngestion(ctx, rows.RenewIngestionParams{ID: l.IngestionID, Lease: l.Number, LeasedUntil: tx.now.Add(ttl)})
			if err != nil {
				return err
			}
			if n == 1 {
				continue
			}
			i, err := tx.Ingestion(ctx, l.IngestionID)
			if errors.Is(found(err), polset.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if i.Lease != l.Number {
				return polset.ErrFenced
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("renew leases: %w", err)
	}
	return nil
}

func repository(r rows.Repository) polset.Repository {
	return polset.Repository{
		ID: r.ID, OrganizationID: r.OrganizationID, HTTPURL: r.HTTPURL, Identifier: r.Identifier,
		ExternalID: r.ExternalID, DefaultBranch: r.DefaultBranch, HookID: r.HookID,
	}
}
