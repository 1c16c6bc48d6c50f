package store

import (
	"context"
	"maps"
	"slices"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// Who installs the App anew gets an installation of another number. What
// followed the one before goes on with it, whichever polset hears of first:
// that the one is deleted, or that the other is bound.

// installationDeleted marks the row and degrades the policy sets but for those
// that go on with another installation on the account, which was bound before.
func (s *Store) installationDeleted(ctx context.Context, tx *tx, e installationEvent) (degraded, looking int, err error) {
	next, err := tx.successors(ctx, e.row)
	if err != nil {
		return 0, 0, err
	}
	goesOn := func(p rows.PolicySet) bool { return next[p.OrganizationID].ID != "" }
	sets, err := tx.holdRepositories(ctx, func() ([]rows.PolicySet, error) {
		sets, err := tx.PolicySetsOfInstallation(ctx, nullString(e.row.ID))
		if err != nil {
			return nil, err
		}
		sets = slices.DeleteFunc(sets, goesOn)
		for _, organization := range slices.Sorted(maps.Keys(next)) { // those whose right to the deleted one had ended, too
			more, err := tx.setsOfInstallation(ctx, e.row, polset.Organization{ID: organization})
			if err != nil {
				return nil, err
			}
			sets = append(sets, more...)
		}
		return sets, nil
	})
	if err != nil {
		return 0, 0, err
	}
	row := e.row
	row.DeletedAt = nullTime(tx.now)
	if err := tx.saveInstallationRow(ctx, row); err != nil {
		return 0, 0, err
	}
	if err := tx.noteInstallation(ctx, e, "deleted"); err != nil {
		return 0, 0, err
	}
	moved, lost := partition(sets, goesOn)
	for _, organization := range slices.Sorted(maps.Keys(next)) {
		of, _ := partition(moved, func(p rows.PolicySet) bool { return p.OrganizationID == organization })
		if err := s.succeed(ctx, tx, next[organization], of); err != nil {
			return 0, 0, err
		}
	}
	return len(lost), len(moved), tx.degrade(ctx, lost, string(polset.DegradedInstallationDeleted),
		"The GitHub App was uninstalled from "+e.row.Account+", so polset cannot read the repository. "+
			"Install it there again and have the new installation bound to this organization: the policy set then goes on with it.")
}

// holdPredecessors locks the other installations on the account that the
// organization's policy sets use: one that is being deleted just now either
// finds the binding, or is found deleted.
func (t *tx) holdPredecessors(ctx context.Context, i rows.Installation, o polset.Organization) error {
	list, err := t.LivePredecessors(ctx, rows.LivePredecessorsParams{OrganizationID: o.ID, AccountID: i.AccountID, HTTPURL: i.HTTPURL})
	if err != nil {
		return err
	}
	for _, id := range list {
		if id == i.ID {
			continue
		}
		if err := t.lock(ctx, installationRow, id); err != nil {
			return err
		}
	}
	return nil
}

// successors are, by organization, the installations that the policy sets of a
// deleted one go on with. They are locked.
func (t *tx) successors(ctx context.Context, deleted rows.Installation) (map[string]rows.Installation, error) {
	list, err := t.Successors(ctx, rows.SuccessorsParams{ID: deleted.ID, AccountID: deleted.AccountID, HTTPURL: deleted.HTTPURL})
	if err != nil {
		return nil, err
	}
	next := map[string]rows.Installation{}
	for _, found := range list {
		i, err := t.holdInstallation(ctx, found.OrganizationID, found.ID)
		if missing(err) {
			continue // unbound or deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		next[found.OrganizationID] = i
	}
	return next, nil
}

// succeed lets policy sets of a deleted installation go on with another. Their
// repositories are held, and so is the other one.
func (s *Store) succeed(ctx context.Context, tx *tx, i rows.Installation, sets []rows.PolicySet) error {
	for n, set := range sets {
		if err := tx.MoveToInstallation(ctx, rows.MoveToInstallationParams{ID: set.ID, InstallationID: nullString(i.ID), Now: tx.now}); err != nil {
			return err
		}
		tx.note(set.OrganizationID, "policy-set.updated", set.ID, map[string]string{
			"changed": "vcs-repo", "installation": i.ID, "from": set.InstallationID.String,
		})
		sets[n].InstallationID = nullString(i.ID)
	}
	return s.readAgain(ctx, tx, i, sets, polset.DegradedInstallationUnbound, polset.DegradedInstallationDeleted,
		polset.DegradedInstallationSuspended, polset.DegradedRepositoryUnselected)
}

// readAgain has policy sets of an installation look again, whose degradation
// for some reasons is undone.
func (s *Store) readAgain(ctx context.Context, tx *tx, i rows.Installation, sets []rows.PolicySet, undone ...polset.DegradedReason) error {
	if err := tx.reconsider(ctx, sets, undone...); err != nil {
		return err
	}
	if err := tx.resumeReports(ctx, i.ID); err != nil {
		return err
	}
	return s.lookAgain(ctx, tx, sets...)
}

// partition parts the policy sets that are in from the others.
func partition(sets []rows.PolicySet, is func(rows.PolicySet) bool) (in, out []rows.PolicySet) {
	for _, set := range sets {
		if is(set) {
			in = append(in, set)
		} else {
			out = append(out, set)
		}
	}
	return in, out
}
