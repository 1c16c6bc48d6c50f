package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// An upload is an ingestion without a repository. It begins when the bytes are
// there, so that a version which waits for them has none, and waits for ever;
// from then on the version is ingressing. What a crash or a passing fault leaves
// behind waits for the client to send the same again.

// uploadAbandonedAfter is how long nobody has worked on an upload when it is
// given up: much longer than any link to it is good.
const uploadAbandonedAfter = 2 * time.Hour

// CreateVersion makes a version that waits for an upload, and which is the
// newest of its policy set. ErrConflict says that the set's versions are made of
// something else: it follows a repository, or holds individual policies, whose
// place the upload would take.
func (s *Store) CreateVersion(ctx context.Context, by polset.Principal, policySetID string) (polset.Version, error) {
	var out polset.Version
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		set, err := tx.holdPolicySet(ctx, by, policySetID)
		if err != nil {
			return err
		}
		if set.RepositoryID.Valid {
			return fmt.Errorf("the policy set follows a repository: %w", polset.ErrConflict)
		}
		if n, err := tx.CountPoliciesOfSet(ctx, set.ID); err != nil {
			return err
		} else if n > 0 {
			return fmt.Errorf("the policy set holds policies: %w", polset.ErrConflict)
		}
		id := polset.NewID("polsetver")
		if err := tx.InsertVersion(ctx, rows.InsertVersionParams{ID: id, PolicySetID: set.ID, Source: polset.SourceAPI, Now: tx.now}); err != nil {
			return err
		}
		if err := tx.SetNewestVersion(ctx, rows.SetNewestVersionParams{ID: set.ID, NewestVersionID: id}); err != nil {
			return err
		}
		tx.note(set.OrganizationID, "version.pending", id, map[string]string{"policy-set": set.ID, "source": polset.SourceAPI})
		v, err := tx.Version(ctx, id)
		if err != nil {
			return err
		}
		out, err = version(v)
		return err
	})
	if err != nil {
		return polset.Version{}, fmt.Errorf("create version of policy set %s: %w", policySetID, err)
	}
	return out, nil
}

// ClaimUpload begins to ingest the upload of a version, which is ingressing from
// then on, and leases the ingestion for ttl. A version that an earlier upload
// left ingressing is taken over when nobody holds its lease any more. Any other
// is ErrConflict: one that was uploaded, one whose upload somebody works on, and
// one of a policy set that follows a repository by now.
func (s *Store) ClaimUpload(ctx context.Context, by polset.Principal, versionID string, ttl time.Duration) (polset.Claim, error) {
	var claim polset.Claim
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		v, err := tx.VersionOfTenant(ctx, rows.VersionOfTenantParams{ID: versionID, Tenant: by.OrganizationID})
		if err != nil {
			return found(err)
		}
		set, err := tx.holdPolicySet(ctx, polset.System, v.PolicySetID)
		if err != nil {
			return err
		}
		if v, err = tx.Version(ctx, versionID); err != nil {
			return found(err)
		}
		switch {
		case v.Source != polset.SourceAPI:
			return fmt.Errorf("it does not come from an upload: %w", polset.ErrConflict)
		case polset.VersionStatus(v.Status).Terminal():
			return fmt.Errorf("it is %s: %w", v.Status, polset.ErrConflict)
		case set.RepositoryID.Valid:
			return fmt.Errorf("its policy set follows a repository: %w", polset.ErrConflict)
		}
		i, err := s.uploadOf(ctx, tx, set, v)
		if err != nil {
			return err
		}
		if i.Status == string(polset.IngestionRunning) && i.DueAt.After(tx.now) {
			return fmt.Errorf("somebody works on its upload: %w", polset.ErrConflict)
		}
		if i.Generation != set.Generation {
			if err := tx.UploadOfGeneration(ctx, rows.UploadOfGenerationParams{ID: i.ID, Generation: set.Generation}); err != nil {
				return err
			}
		}
		if claim, err = tx.claim(ctx, set.OrganizationID, i, ttl); err != nil {
			return err
		}
		h, err := tx.hold(ctx, claim.Lease)
		if err != nil {
			return err
		}
		_, err = tx.startVersion(ctx, &h, "")
		return err
	})
	if err != nil {
		return polset.Claim{}, fmt.Errorf("claim upload of version %s: %w", versionID, err)
	}
	return claim, nil
}

// uploadOf returns the ingestion of a version that waits for an upload, or in
// which one was interrupted.
func (s *Store) uploadOf(ctx context.Context, tx *tx, set rows.PolicySet, v rows.Version) (rows.Ingestion, error) {
	i, err := tx.UploadOfVersion(ctx, rows.UploadOfVersionParams{PolicySetID: set.ID, VersionID: v.ID})
	if !missing(err) {
		return i, err
	}
	if i, err = s.insertIngestion(ctx, tx, set, arrival{cause: polset.CauseUpload}); err != nil {
		return i, err
	}
	i.VersionID = v.ID
	return i, tx.GiveIngestionVersion(ctx, rows.GiveIngestionVersionParams{ID: i.ID, VersionID: v.ID})
}

// outranks says whether an uploaded version comes into force once it is ready:
// of all that are, the one that was created last is.
func (t *tx) outranks(ctx context.Context, v rows.Version, currentID string) (bool, error) {
	if currentID == "" {
		return true, nil
	}
	current, err := t.Version(ctx, currentID)
	return err == nil && v.Sequence > current.Sequence, err
}

// endUploads gives up uploads that nobody works on any more, and that no link
// can begin again.
func (s *Store) endUploads(ctx context.Context) error {
	now, err := s.now(ctx)
	if err != nil {
		return err
	}
	list, err := s.reads.AbandonedUploads(ctx, rows.AbandonedUploadsParams{Since: now.Add(-uploadAbandonedAfter), Size: sweepSize})
	if err != nil {
		return err
	}
	for _, i := range list {
		if err := s.endUpload(ctx, i); err != nil {
			return fmt.Errorf("end upload %s: %w", i.ID, err)
		}
	}
	return nil
}

func (s *Store) endUpload(ctx context.Context, i rows.Ingestion) error {
	err := s.write(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		set, err := tx.holdPolicySet(ctx, polset.System, i.PolicySetID)
		if err != nil {
			return err
		}
		c, err := tx.claim(ctx, set.OrganizationID, i, 0)
		if errors.Is(err, errAgain) {
			return nil // taken over meanwhile
		}
		if err != nil {
			return err
		}
		h, err := tx.hold(ctx, c.Lease)
		if err != nil {
			return err
		}
		why := "polset was interrupted while it worked on this upload."
		if class, reason, ok := strings.Cut(i.Reason, ": "); ok && class != "" {
			why = reason
		}
		return s.fail(ctx, tx, h, polset.Fail(polset.ClassInternal,
			"%s Nobody uploaded it again while the link was good. Create another version and upload again.", why), polset.Content{})
	})
	if errors.Is(err, polset.ErrNotFound) {
		return nil // gone with its policy set
	}
	return err
}

// releaseUploads is for a process that knows itself to be the only one: what
// the one before worked on waits for its client.
func (t *tx) releaseUploads(ctx context.Context) error {
	list, err := t.RunningUploads(ctx)
	if err != nil {
		return err
	}
	for _, i := range list {
		set, err := t.PolicySet(ctx, rows.PolicySetParams{ID: i.PolicySetID})
		if err != nil {
			return err
		}
		t.note(set.PolicySet.OrganizationID, "ingestion.pending", i.ID, map[string]string{
			"policy-set": i.PolicySetID, "reason": "the server was started anew",
		})
	}
	return nil
}
