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
		w, err := tx.workspaceOfRun(ctx, by, d.WorkspaceID)
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
		out, err = s.insertRun(ctx, tx, w, c, d)
		return err
	})
	if err != nil {
		return polset.Run{}, fmt.Errorf("create run: %w", err)
	}
	return out, nil
}

// workspaceOfRun locks the workspace of a run to be: the policy sets that apply
// are found by its project and by its tags, in more than one statement.
func (t *tx) workspaceOfRun(ctx context.Context, by polset.Principal, id string) (polset.Workspace, error) {
	if _, err := t.holdWorkspace(ctx, by, id); err != nil {
		return polset.Workspace{}, err
	}
	return t.workspace(ctx, by, id)
}

// insertRun makes a run of a configuration version, with the checks of the
// policy sets that apply to its workspace. What is speculative is never applied.
func (s *Store) insertRun(ctx context.Context, tx *tx, w polset.Workspace, c rows.ConfigurationVersionRow, d polset.RunDraft) (polset.Run, error) {
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
	sets, err := s.applying(ctx, tx, w)
	if err != nil {
		return polset.Run{}, err
	}
	id := polset.NewID("run")
	input, err := tx.runInput(ctx, w, id, d.Message, settings)
	if err != nil {
		return polset.Run{}, err
	}
	status, reached := polset.RunPending, "{}"
	if len(sets) == 0 {
		status = polset.RunStatusOf(nil)
		if reached, err = reaching(reached, status, tx.now); err != nil {
			return polset.Run{}, err
		}
	}
	err = tx.InsertRun(ctx, rows.InsertRunParams{
		ID: id, WorkspaceID: w.ID, ConfigurationVersionID: nullString(c.ConfigurationVersion.ID), Status: string(status), Message: d.Message,
		Settings: settings, StatusTimestamps: reached, CreatedBy: tx.actor, PlanDigest: c.ConfigurationVersion.Digest, Input: input, Now: tx.now,
	})
	if err != nil {
		return polset.Run{}, err
	}
	if err := s.insertChecks(ctx, tx, id, sets); err != nil {
		return polset.Run{}, err
	}
	details := map[string]string{
		"workspace": w.ID, "configuration-version": c.ConfigurationVersion.ID, "digest": c.ConfigurationVersion.Digest,
	}
	noteSnapshot(details, sets)
	tx.note(c.OrganizationID, "run.created", id, details)
	if status != polset.RunPending {
		tx.noteRun(c.OrganizationID, w.ID, id, status)
	}
	r, err := tx.Run(ctx, rows.RunParams{ID: id})
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

// EndRun takes a run to a state in which it stays: canceled while there is work
// to cancel, discarded where polset.RunStatus.Discardable says so. Its checks
// that have not ended are canceled with it, and whoever works on them has lost
// them. Any other run is ErrConflict.
func (s *Store) EndRun(ctx context.Context, by polset.Principal, id string, status polset.RunStatus) (polset.Run, error) {
	var out polset.Run
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		r, err := tx.holdRun(ctx, by, id)
		if err != nil {
			return err
		}
		now := polset.RunStatus(r.Run.Status)
		may := status == polset.RunCanceled && now.Cancelable() || status == polset.RunDiscarded && now.Discardable()
		if !may {
			return fmt.Errorf("it is %s: %w", now, polset.ErrConflict)
		}
		if err := tx.cancelChecks(ctx, id); err != nil {
			return err
		}
		if err := tx.moveRun(ctx, r, status); err != nil {
			return err
		}
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

// holdRun locks a run that the principal may see, and with it its checks, and
// reads it as it is now.
func (t *tx) holdRun(ctx context.Context, by polset.Principal, id string) (rows.RunRow, error) {
	mine := rows.RunParams{ID: id, Tenant: by.OrganizationID}
	// Found first: a stranger must not wait for the lock.
	if _, err := t.Run(ctx, mine); err != nil {
		return rows.RunRow{}, found(err)
	}
	if err := t.lock(ctx, runRow, id); err != nil {
		return rows.RunRow{}, err
	}
	r, err := t.Run(ctx, mine)
	return r, found(err)
}

// follow moves a run that is held to what its checks have come to.
func (t *tx) follow(ctx context.Context, runID string) error {
	r, err := t.Run(ctx, rows.RunParams{ID: runID})
	if err != nil {
		return err
	}
	checks, err := t.checksOfRun(ctx, runID)
	if err != nil {
		return err
	}
	status := polset.RunStatusOf(checks)
	if string(status) == r.Run.Status {
		return nil
	}
	return t.moveRun(ctx, r, status)
}

func (t *tx) moveRun(ctx context.Context, r rows.RunRow, status polset.RunStatus) error {
	reached, err := reaching(r.Run.StatusTimestamps, status, t.now)
	if err != nil {
		return err
	}
	n, err := t.MoveRun(ctx, rows.MoveRunParams{
		ID: r.Run.ID, Before: r.Run.Status, Status: string(status), StatusTimestamps: reached, Now: t.now,
	})
	if err != nil {
		return err
	}
	if n == 0 {
		return errAgain
	}
	t.noteRun(r.OrganizationID, r.Run.WorkspaceID, r.Run.ID, status)
	return nil
}

func (t *tx) noteRun(organizationID, workspaceID, id string, status polset.RunStatus) {
	t.note(organizationID, "run."+string(status), id, map[string]string{"workspace": workspaceID})
}

// reaching adds to the times of states, as a row holds them, that of one more;
// that of the first time counts.
func reaching[S ~string](column string, status S, now time.Time) (string, error) {
	reached := reachedAt[S](column)
	if _, before := reached[status]; !before {
		reached[status] = now
	}
	text, err := json.Marshal(reached)
	if err != nil {
		return "", fmt.Errorf("write the times of states: %w", err)
	}
	return string(text), nil
}

// reachedAt reads the times of states as a row holds them; what cannot be read
// was not written by this store.
func reachedAt[S ~string](column string) map[S]time.Time {
	reached := map[S]time.Time{}
	if err := json.Unmarshal([]byte(column), &reached); err != nil {
		panic(fmt.Sprintf("read the times of states %q: %v", column, err))
	}
	return reached
}

func run(r rows.Run) polset.Run {
	return polset.Run{
		ID: r.ID, WorkspaceID: r.WorkspaceID, ConfigurationVersionID: r.ConfigurationVersionID.String, Status: polset.RunStatus(r.Status),
		Message: r.Message, Settings: kept(r.Settings), ReachedAt: reachedAt[polset.RunStatus](r.StatusTimestamps), CreatedBy: r.CreatedBy,
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
}
