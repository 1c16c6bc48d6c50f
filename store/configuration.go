package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// CreateConfigurationVersion makes a configuration version that waits for its
// upload.
func (s *Store) CreateConfigurationVersion(ctx context.Context, by polset.Principal, d polset.ConfigurationDraft) (polset.ConfigurationVersion, error) {
	var out polset.ConfigurationVersion
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		w, err := tx.workspace(ctx, by, d.WorkspaceID)
		if err != nil {
			return err
		}
		id := polset.NewID("cv")
		err = tx.InsertConfigurationVersion(ctx, rows.InsertConfigurationVersionParams{
			ID: id, WorkspaceID: w.ID, AutoQueueRuns: d.AutoQueueRuns, Speculative: d.Speculative, Provisional: d.Provisional, CreatedAt: tx.now,
		})
		if err != nil {
			return err
		}
		tx.note(w.OrganizationID, "configuration-version.created", id, map[string]string{"workspace": w.ID})
		r, err := tx.ConfigurationVersion(ctx, rows.ConfigurationVersionParams{ID: id})
		out = configuration(r.ConfigurationVersion)
		return err
	})
	if err != nil {
		return polset.ConfigurationVersion{}, fmt.Errorf("create configuration version: %w", err)
	}
	return out, nil
}

// ConfigurationVersion returns a configuration version by id.
func (s *Store) ConfigurationVersion(ctx context.Context, by polset.Principal, id string) (polset.ConfigurationVersion, error) {
	r, err := s.reads.ConfigurationVersion(ctx, rows.ConfigurationVersionParams{ID: id, Tenant: by.OrganizationID})
	if err != nil {
		return polset.ConfigurationVersion{}, fmt.Errorf("read configuration version %s: %w", id, found(err))
	}
	return configuration(r.ConfigurationVersion), nil
}

const configurationList = `SELECT configuration_versions.sequence, configuration_versions.id, configuration_versions.workspace_id,
	configuration_versions.status, configuration_versions.auto_queue_runs, configuration_versions.speculative, configuration_versions.provisional,
	configuration_versions.digest, configuration_versions.size, configuration_versions.created_at, configuration_versions.uploaded_at
FROM configuration_versions`

// ConfigurationVersions lists a workspace's configuration versions, the newest
// first, and says how many there are in all.
func (s *Store) ConfigurationVersions(ctx context.Context, by polset.Principal, workspaceID string, page polset.Page) ([]polset.ConfigurationVersion, int, error) {
	if _, err := s.Workspace(ctx, by, workspaceID); err != nil {
		return nil, 0, err
	}
	var q filter
	q.add("configuration_versions.workspace_id = ?", workspaceID)
	return queryPage(ctx, s, "configuration_versions", configurationList, q, "configuration_versions.sequence DESC", page,
		func(result *sql.Rows) (polset.ConfigurationVersion, error) {
			var c rows.ConfigurationVersion
			err := result.Scan(&c.Sequence, &c.ID, &c.WorkspaceID, &c.Status, &c.AutoQueueRuns, &c.Speculative, &c.Provisional,
				&c.Digest, &c.Size, &c.CreatedAt, &c.UploadedAt)
			return configuration(c), err
		})
}

// UploadConfigurationVersion gives a configuration version its bytes, which are
// in the object storage already, and makes its run where its upload shall make
// one. One that was uploaded before is ErrConflict.
func (s *Store) UploadConfigurationVersion(ctx context.Context, by polset.Principal, id, digest string, size int64) (polset.ConfigurationVersion, error) {
	var out polset.ConfigurationVersion
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		r, err := tx.ConfigurationVersion(ctx, rows.ConfigurationVersionParams{ID: id, Tenant: by.OrganizationID})
		if err != nil {
			return found(err)
		}
		c := r.ConfigurationVersion
		var w polset.Workspace
		if c.AutoQueueRuns {
			if w, err = tx.workspaceOfRun(ctx, by, c.WorkspaceID); err != nil {
				return err
			}
		}
		n, err := tx.UploadConfigurationVersion(ctx, rows.UploadConfigurationVersionParams{ID: id, Digest: digest, Size: size, Now: nullTime(tx.now)})
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("it was uploaded before: %w", polset.ErrConflict)
		}
		tx.note(r.OrganizationID, "configuration-version.uploaded", id, map[string]string{
			"workspace": c.WorkspaceID, "digest": digest, "size": strconv.FormatInt(size, 10),
		})
		if c.AutoQueueRuns {
			d := polset.RunDraft{
				WorkspaceID: c.WorkspaceID, Message: "Queued by the upload of " + id,
				Settings: map[string]any{"source": "tfe-configuration-version"},
			}
			r.ConfigurationVersion.Digest = digest
			if _, err := s.insertRun(ctx, tx, w, r, d); err != nil {
				return err
			}
		}
		r, err = tx.ConfigurationVersion(ctx, rows.ConfigurationVersionParams{ID: id})
		out = configuration(r.ConfigurationVersion)
		return err
	})
	if err != nil {
		return polset.ConfigurationVersion{}, fmt.Errorf("upload configuration version %s: %w", id, err)
	}
	return out, nil
}

func configuration(c rows.ConfigurationVersion) polset.ConfigurationVersion {
	return polset.ConfigurationVersion{
		ID: c.ID, WorkspaceID: c.WorkspaceID, Status: polset.ConfigurationStatus(c.Status), AutoQueueRuns: c.AutoQueueRuns,
		Speculative: c.Speculative, Provisional: c.Provisional, Digest: c.Digest, Size: c.Size,
		CreatedAt: c.CreatedAt.UTC(), UploadedAt: utc(c.UploadedAt),
	}
}
