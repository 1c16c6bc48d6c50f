package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// The row of a hook says what GitHub shall have; whoever claims it makes GitHub
// equal. It stays after the repository's row until GitHub has it no more.

// A task that failed is tried again after a while that doubles.
const (
	firstHookAgain = 5 * time.Second
	lastHookAgain  = time.Hour
)

// ClaimHooks leases up to n hooks that are not on GitHub as they should be, for
// ttl from now. Of two nodes only one gets a hook.
func (s *Store) ClaimHooks(ctx context.Context, n int, ttl time.Duration) ([]polset.HookTask, error) {
	now, err := s.now(ctx)
	if err != nil {
		return nil, fmt.Errorf("claim hooks: %w", err)
	}
	due, err := s.reads.HooksDue(ctx, rows.HooksDueParams{Now: now, Size: batchOf(n)})
	if err != nil {
		return nil, fmt.Errorf("claim hooks: %w", err)
	}
	if len(due) == 0 {
		return nil, nil
	}
	slices.Sort(due)
	var tasks []polset.HookTask
	err = s.write(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		tasks = nil
		for _, id := range due {
			n, err := tx.ClaimHook(ctx, rows.ClaimHookParams{ID: id, Now: tx.now, LeasedUntil: tx.now.Add(ttl)})
			if err != nil {
				return err
			}
			if n == 0 {
				continue // another node has it
			}
			h, err := tx.Hook(ctx, id)
			if err != nil {
				return err
			}
			task, err := s.hookTask(ctx, tx, h)
			if err != nil {
				// It is due again when the lease ends. An error here would undo
				// the claims of all, for ever.
				s.logger.Error("secrets of a hook cannot be opened; is POLSET_ENCRYPTION_KEY complete?",
					zap.String("hook", h.ID), zap.Error(err))
				continue
			}
			tasks = append(tasks, task)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claim hooks: %w", err)
	}
	return tasks, nil
}

func (s *Store) hookTask(ctx context.Context, tx *tx, h rows.Hook) (polset.HookTask, error) {
	task := polset.HookTask{
		Lease: polset.Lease{IngestionID: h.ID, Number: h.Lease}, HookID: h.ID, ExternalID: h.ExternalID,
		Remove: h.Removed, Revision: h.Revision, Failures: int(h.Failures),
	}
	remote, err := s.credentialRemote(ctx, tx.Queries, h.OrganizationID, h.TokenID.String)
	switch {
	case err == nil:
		task.Connected = true
	case !missing(err):
		return task, err
	}
	task.Remote = remote
	task.Remote.HTTPURL, task.Remote.Identifier, task.Remote.ExternalID = h.HTTPURL, h.Identifier, h.RepositoryExternalID
	if h.Removed {
		return task, nil
	}
	r, err := tx.Repository(ctx, h.RepositoryID)
	if err != nil {
		return task, err
	}
	secrets, err := s.openHookSecrets(r)
	if err != nil {
		return task, err
	}
	task.Secret = secrets[0].value
	return task, nil
}

// SettleHook records what became of a task. ErrFenced says that somebody else
// has it by now, or that nobody wants it any more. It may be repeated.
func (s *Store) SettleHook(ctx context.Context, o polset.HookOutcome) error {
	err := s.writeOnce(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		h, err := tx.holdHook(ctx, o.Lease)
		if err != nil || h.Claimed == 0 {
			return err
		}
		if o.ExternalID != 0 || o.Revision != 0 {
			h.ExternalID = o.ExternalID
		}
		present := h.Claimed == h.Revision // else what is wanted has changed since
		due := tx.now
		switch {
		case o.Failure != nil:
			h.Failures++
			due = tx.now.Add(max(backoff(h.Failures, firstHookAgain, lastHookAgain), o.Failure.RetryAfter))
		case h.Removed && present:
			tx.note(h.OrganizationID, "hook.removed", h.ID, map[string]string{"repository": h.Identifier, "manual": o.Manual})
			return tx.DeleteHook(ctx, h.ID)
		default:
			tx.noteHook(h, o)
			h.Sent, h.Manual, h.Failures = h.Claimed, o.Manual, 0
			if present && o.Manual == "" {
				if err := s.retireSecrets(ctx, tx, h); err != nil {
					return err
				}
			}
		}
		return tx.SettleHook(ctx, rows.SettleHookParams{
			ID: h.ID, ExternalID: h.ExternalID, Sent: h.Sent, Manual: h.Manual, Failures: h.Failures, DueAt: due,
		})
	})
	if err != nil {
		return fmt.Errorf("settle hook %s: %w", o.Lease.IngestionID, err)
	}
	return nil
}

// holdHook locks the hook's repository, where it has one, and reads the row.
func (t *tx) holdHook(ctx context.Context, l polset.Lease) (rows.Hook, error) {
	before, err := t.Hook(ctx, l.IngestionID)
	if missing(err) {
		return before, polset.ErrFenced
	}
	if err != nil {
		return before, err
	}
	if before.RepositoryID != "" {
		if _, err := t.lockRepository(ctx, before.RepositoryID); err != nil {
			return before, err
		}
	}
	if err := t.lock(ctx, hookRow, before.ID); errors.Is(err, polset.ErrNotFound) {
		return before, polset.ErrFenced
	} else if err != nil {
		return before, err
	}
	h, err := t.Hook(ctx, l.IngestionID)
	switch {
	case missing(err), err == nil && h.Lease != l.Number:
		return h, polset.ErrFenced
	case err == nil && h.RepositoryID != before.RepositoryID:
		return h, errAgain
	}
	return h, err
}

func (t *tx) noteHook(h rows.Hook, o polset.HookOutcome) {
	action := "hook.active"
	if o.Manual != "" {
		action = "hook.manual"
	}
	t.note(h.OrganizationID, action, h.ID, map[string]string{
		"repository": h.Identifier, "revision": strconv.FormatInt(h.Claimed, 10), "manual": o.Manual,
	})
}

// hookState is how polset stands to a hook.
func hookState(revision, sent int64, manual string) (polset.HookState, string) {
	switch {
	case sent < revision || revision == 0:
		return polset.HookPending, ""
	case manual != "":
		return polset.HookManual, manual
	}
	return polset.HookActive, ""
}
