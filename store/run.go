package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// CreateRun makes a pending run. A workspace, or a configuration version of
// it, that the principal does not have is ErrNotFound; a configuration version
// without its upload is ErrConflict.
func (s *Store) CreateRun(ctx context.Context, by polset.Principal, d polset.RunDraft) (polset.Run, error) {
	var out polset.Run
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		w, err := tx.workspace(ctx, by, d.WorkspaceID)
		if err != nil {
			return err
		}
		configurationID := d.ConfigurationVersionID
		if configurationID == "" {
			if configurationID, err = tx.LatestConfigurationVersion(ctx, w.ID); err != nil {
				return fmt.Errorf("the latest configuration version: %w", found(err))
			}
		}
		c, err := tx.ConfigurationVersion(ctx, rows.ConfigurationVersionParams{ID: configurationID, Tenant: w.OrganizationID})
		if err == nil && c.ConfigurationVersion.WorkspaceID != w.ID {
			err = polset.ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("configuration version %q: %w", configurationID, found(err))
		}
		if c.ConfigurationVersion.Status != string(polset.ConfigurationUploaded) {
			return fmt.Errorf("configuration version %q waits for its upload: %w", configurationID, polset.ErrConflict)
		}
		out, err = tx.insertRun(ctx, c, d)
		return err
	})
	if err != nil {
		return polset.Run{}, fmt.Errorf("create run: %w", err)
	}
	return out, nil
}

// insertRun makes a run of a configuration version. What is speculative is
// never applied.
func (t *tx) insertRun(ctx context.Context, c rows.ConfigurationVersionRow, d polset.RunDraft) (polset.Run, error) {
	values := maps.Clone(d.Settings)
	if c.ConfigurationVersion.Speculative {
		if values == nil {
			values = map[string]any{}
		}
		values["plan-only"] = true
	}
	settings, err := keep(values)
	if err != nil {
		return polset.Run{}, err
	}
	id := polset.NewID("run")
	err = t.InsertRun(ctx, rows.InsertRunParams{
		ID: id, WorkspaceID: d.WorkspaceID, ConfigurationVersionID: nullString(c.ConfigurationVersion.ID), Message: d.Message,
		Settings: settings, CreatedBy: t.actor, Now: t.now,
	})
	if err != nil {
		return polset.Run{}, err
	}
	t.note(c.OrganizationID, "run.created", id, map[string]string{"workspace": d.WorkspaceID, "configuration-version": c.ConfigurationVersion.ID})
	r, err := t.Run(ctx, rows.RunParams{ID: id})
	if err != nil {
		return polset.Run{}, err
	}
	return run(r.Run), nil
}

// Run returns a run by id.
func (s *Store) Run(ctx context.Context, by polset.Principal, id string) (polset.Run, error) {
	r, err := s.reads.Run(ctx, rows.RunParams{ID: id, Tenant: by.OrganizationID})
	if err != nil {
		return polset.Run{}, fmt.Errorf("read run %s: %w", id, found(err))
	}
	return run(r.Run), nil
}

const runList = `SELECT runs.sequence, runs.id, runs.workspace_id, runs.configuration_version_id, runs.status, runs.message,
	runs.settings, runs.status_timestamps, runs.created_by, runs.created_at, runs.updated_at FROM runs`

// Runs lists a workspace's runs, the newest first, and says how many there are
// in all.
func (s *Store) Runs(ctx context.Context, by polset.Principal, workspaceID string, f polset.RunFilter, page polset.Page) ([]polset.Run, int, error) {
	if _, err := s.Workspace(ctx, by, workspaceID); err != nil {
		return nil, 0, err
	}
	var q filter
	q.add("runs.workspace_id = ?", workspaceID)
	q.in("runs.status", f.Statuses)
	return queryPage(ctx, s, "runs", runList, q, "runs.sequence DESC", page, func(result *sql.Rows) (polset.Run, error) {
		var r rows.Run
		err := result.Scan(&r.Sequence, &r.ID, &r.WorkspaceID, &r.ConfigurationVersionID, &r.Status, &r.Message,
			&r.Settings, &r.StatusTimestamps, &r.CreatedBy, &r.CreatedAt, &r.UpdatedAt)
		if err != nil {
			return polset.Run{}, err
		}
		return run(r), nil
	})
}

// EndRun takes a pending run to a state in which it stays. One that is no
// longer pending is ErrConflict.
func (s *Store) EndRun(ctx context.Context, by polset.Principal, id string, status polset.RunStatus) (polset.Run, error) {
	var out polset.Run
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		r, err := tx.Run(ctx, rows.RunParams{ID: id, Tenant: by.OrganizationID})
		if err != nil {
			return found(err)
		}
		reached := run(r.Run).ReachedAt
		reached[status] = tx.now
		timestamps, err := json.Marshal(reached)
		if err != nil {
			return fmt.Errorf("write the times of a run: %w", err)
		}
		n, err := tx.MoveRun(ctx, rows.MoveRunParams{
			ID: id, Before: string(polset.RunPending), Status: string(status), StatusTimestamps: string(timestamps), Now: tx.now,
		})
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("it is %s: %w", r.Run.Status, polset.ErrConflict)
		}
		tx.note(r.OrganizationID, "run."+string(status), id, map[string]string{"workspace": r.Run.WorkspaceID})
		r, err = tx.Run(ctx, rows.RunParams{ID: id})
		if err != nil {
			return err
		}
		out = run(r.Run)
		return nil
	})
	if err != nil {
		return polset.Run{}, fmt.Errorf("end run %s: %w", id, err)
	}
	return out, nil
}

func run(r rows.Run) polset.Run {
	reached := map[polset.RunStatus]time.Time{}
	if err := json.Unmarshal([]byte(r.StatusTimestamps), &reached); err != nil {
		panic(fmt.Sprintf("read the times of run %s: %v", r.ID, err)) // this store wrote them
	}
	return polset.Run{
		ID: r.ID, WorkspaceID: r.WorkspaceID, ConfigurationVersionID: r.ConfigurationVersionID.String, Status: polset.RunStatus(r.Status),
		Message: r.Message, Settings: kept(r.Settings), ReachedAt: reached, CreatedBy: r.CreatedBy,
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
}
