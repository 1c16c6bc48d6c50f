package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// OverrideChecks lets the runs of checks go on in spite of their soft failures,
// and returns the checks in the order given. A check that the principal does not
// have is ErrNotFound. One that has not soft failed, or whose run has ended
// otherwise, is ErrConflict, as is no check at all; nothing changes then.
func (s *Store) OverrideChecks(ctx context.Context, by polset.Principal, checkIDs []string, comment string) ([]polset.Check, error) {
	if len(comment) > polset.MaxOverrideComment {
		return nil, polset.Fail(polset.ClassLimit, "The comment of an override may have %d bytes, and this one has %d.", polset.MaxOverrideComment, len(comment))
	}
	var out []polset.Check
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		out = nil
		if len(checkIDs) == 0 {
			return fmt.Errorf("%w: %w", errNothingToOverride, polset.ErrConflict)
		}
		wanted, err := tx.checksToOverride(ctx, by, checkIDs)
		if err != nil {
			return err
		}
		for _, c := range wanted {
			if err := tx.override(ctx, c, plain(comment)); err != nil {
				return fmt.Errorf("check %s: %w", c.Check.ID, err)
			}
		}
		for _, c := range wanted {
			if err := tx.follow(ctx, c.Check.RunID); err != nil {
				return err
			}
		}
		for _, id := range checkIDs {
			r, err := tx.Check(ctx, rows.CheckParams{ID: id})
			if err != nil {
				return err
			}
			out = append(out, check(r))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("override checks: %w", err)
	}
	return out, nil
}

// checksToOverride finds checks, each once, in the order in which everybody
// locks runs.
func (t *tx) checksToOverride(ctx context.Context, by polset.Principal, ids []string) ([]rows.CheckRow, error) {
	var out []rows.CheckRow
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		r, err := t.Check(ctx, rows.CheckParams{ID: id, Tenant: by.OrganizationID})
		if err != nil {
			return nil, fmt.Errorf("check %q: %w", id, found(err))
		}
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b rows.CheckRow) int { return cmp.Compare(a.Check.RunID, b.Check.RunID) })
	return out, nil
}

// errNothingToOverride says that a check is not one that may be overridden.
var errNothingToOverride = errors.New("there is nothing to override")

func (t *tx) override(ctx context.Context, found rows.CheckRow, comment string) error {
	r, err := t.holdCheck(ctx, found.Check.ID, found.Check.RunID)
	if err != nil {
		return err
	}
	of, err := t.Run(ctx, rows.RunParams{ID: r.Check.RunID})
	if err != nil {
		return err
	}
	c := check(r)
	switch status := polset.RunStatus(of.Run.Status); {
	case !c.CanOverride():
		return fmt.Errorf("%w, it is %s: %w", errNothingToOverride, c.Status, polset.ErrConflict)
	case !status.Overridable():
		return fmt.Errorf("%w, its run is %s: %w", errNothingToOverride, status, polset.ErrConflict)
	}
	reached, err := reaching(r.Check.StatusTimestamps, polset.CheckOverridden, t.now)
	if err != nil {
		return err
	}
	err = t.OverrideCheck(ctx, rows.OverrideCheckParams{
		ID: c.ID, StatusTimestamps: reached, OverriddenBy: t.actor, OverrideComment: comment, Now: t.now,
	})
	if err != nil {
		return err
	}
	t.noteCheck(c, polset.CheckOverridden, map[string]string{"comment": comment})
	return nil
}
