package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// RecordRepository commits what a delivery says of a repository, and what
// follows from it for the policy sets that follow it. Who is told at the App's
// hook is as for RecordPush; a delivery of another repository than a
// repository's own hook is for is ErrNotFound, and leaves no trace. A delivery
// that is known changes nothing, so the call may be repeated.
func (s *Store) RecordRepository(ctx context.Context, d polset.Delivery, c polset.RepositoryChange) (polset.Receipt, error) {
	var receipt polset.Receipt
	err := s.writeOnce(ctx, github, func(ctx context.Context, tx *tx) error {
		receipt = polset.Receipt{}
		fresh, err := tx.insertDelivery(ctx, d, deliveryAccepted, "")
		if err != nil || !fresh {
			receipt.Duplicate = true
			return err
		}
		repositories, err := tx.repositoriesOfChange(ctx, d, c)
		if err != nil {
			return err
		}
		var degraded, looking int
		for _, r := range repositories {
			lost, again, err := s.repositoryChanged(ctx, tx, d, c, r)
			if err != nil {
				return err
			}
			degraded, looking = degraded+lost, looking+again
		}
		if len(repositories) > 0 {
			receipt.Effect = told("repository "+string(c.Action), degraded, looking)
			return nil
		}
		receipt.Ignored = "no policy set follows " + c.Repository.Identifier
		return tx.settleDelivery(ctx, d, deliveryIgnored, receipt.Ignored)
	})
	if err != nil {
		return polset.Receipt{}, fmt.Errorf("record %s of repository %s: %w", c.Action, c.Repository.Identifier, err)
	}
	return receipt, nil
}

// repositoriesOfChange locks and returns the rows that a change is told to,
// bound to the repository's number and today's name.
func (t *tx) repositoriesOfChange(ctx context.Context, d polset.Delivery, c polset.RepositoryChange) ([]rows.Repository, error) {
	now := polset.Push{RepositoryID: c.Repository.ID, Identifier: c.Repository.Identifier, DefaultBranch: c.DefaultBranch}
	app := d.HookID == polset.HookGitHubApp
	list, err := t.rowsOf(ctx, d, now)
	if err != nil {
		return nil, err
	}
	known := list[:0]
	for _, r := range list {
		r, err := t.lockRepository(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		before := now
		before.Identifier = cmp.Or(c.Previous, now.Identifier)
		switch {
		case speaksFor(now, r):
		case app:
			return nil, errAgain // bound to another number since it was found
		case !speaksFor(before, r):
			return nil, fmt.Errorf("this hook is not for repository %s: %w", c.Repository.Identifier, polset.ErrNotFound)
		}
		if app {
			if heard, err := t.hears(ctx, r); err != nil {
				return nil, err
			} else if !heard || !reached(now, r) && !reached(before, r) {
				continue
			}
		}
		today := now
		if overtaken(c, r) {
			today.Identifier = r.Identifier
		}
		if r, err = t.bind(ctx, r, today, app); err != nil {
			return nil, err
		}
		known = append(known, r)
	}
	return known, nil
}

// overtaken tells whether a change of the name does not begin with the name of
// the row, nor has given it that: GitHub signs bodies, not times, and this one
// was told late or again.
func overtaken(c polset.RepositoryChange, r rows.Repository) bool {
	if c.Action != polset.RepositoryRenamed && c.Action != polset.RepositoryTransferred {
		return false
	}
	return r.IdentifierKey != identifierKey(c.Previous) && r.IdentifierKey != identifierKey(c.Repository.Identifier)
}

// repositoryChanged draws the consequences for the policy sets of a row.
func (s *Store) repositoryChanged(ctx context.Context, tx *tx, d polset.Delivery, c polset.RepositoryChange, r rows.Repository) (degraded, looking int, err error) {
	stale, was := overtaken(c, r), r.Archived
	if !stale {
		if r, err = s.toldArchived(ctx, tx, c, r); err != nil {
			return 0, 0, err
		}
	}
	sets, err := tx.PolicySetsThatHear(ctx, nullString(r.ID))
	if err != nil {
		return 0, 0, err
	}
	if stale {
		return 0, len(sets), s.lookAgain(ctx, tx, sets...)
	}
	if c.Action != polset.RepositoryRenamed { // which binding it noted
		details := deliveryDetails(d)
		details["repository"], details["from"], details["branch"] = r.Identifier, c.Previous, c.Branch
		tx.note(r.OrganizationID, "repository."+string(c.Action), r.ID, details)
	}
	again := sets
	switch c.Action {
	case polset.RepositoryDeleted:
		return len(sets), 0, tx.degrade(ctx, sets, string(polset.DegradedRepositoryDeleted),
			"The repository "+r.Identifier+" was deleted on GitHub. Restore it there, or let the policy set follow another one.")
	case polset.RepositoryArchived:
		if !was {
			degraded = len(degradedFor(sets, polset.DegradedRepositoryArchived))
		}
		return degraded, 0, nil
	case polset.RepositoryTransferred:
		var lost []rows.PolicySet
		if lost, again, err = tx.leftBehind(ctx, r, sets); err != nil {
			return 0, 0, err
		}
		degraded = len(lost)
		owner, _, _ := strings.Cut(r.Identifier, "/")
		err := tx.degrade(ctx, lost, string(polset.DegradedRepositoryTransferred), "The repository was transferred to "+r.Identifier+
			", which the policy set's installation of the GitHub App does not reach. Install the App on "+owner+
			", have the installation bound to this organization, and name it in the policy set.")
		if err != nil {
			return 0, 0, err
		}
	case polset.RepositoryDefaultBranch:
		again = slices.DeleteFunc(slices.Clone(sets), func(p rows.PolicySet) bool { return p.Branch != "" })
	case polset.RepositoryBranchDeleted:
		gone := slices.DeleteFunc(slices.Clone(sets), func(p rows.PolicySet) bool { return p.Branch != c.Branch })
		again = slices.DeleteFunc(slices.Clone(sets), func(p rows.PolicySet) bool { return p.Branch != "" || r.DefaultBranch != c.Branch })
		gone = slices.DeleteFunc(gone, func(p rows.PolicySet) bool { return specific(p.Degraded) })
		degraded = len(gone)
		if err := tx.degrade(ctx, gone, string(polset.DegradedBranchDeleted), branchGoneMessage(r, c.Branch)); err != nil {
			return 0, 0, err
		}
	}
	// Whatever else a repository is told of, it is there.
	if err := tx.reconsider(ctx, again, polset.DegradedRepositoryDeleted, polset.DegradedRepositoryTransferred); err != nil {
		return 0, 0, err
	}
	return degraded, len(again), s.lookAgain(ctx, tx, again...)
}

// toldArchived records whether the repository is archived, of which every body
// that describes it speaks, so that one that was missed is made up for. A
// branch may be deleted, and told of, before the repository is archived.
func (s *Store) toldArchived(ctx context.Context, tx *tx, c polset.RepositoryChange, r rows.Repository) (rows.Repository, error) {
	is := c.Archived
	switch c.Action {
	case polset.RepositoryBranchDeleted:
		return r, nil
	case polset.RepositoryArchived:
		is = true
	case polset.RepositoryUnarchived:
		is = false
	}
	err := s.archived(ctx, tx, r, is)
	r.Archived = is
	return r, err
}

// leftBehind parts the sets whose installation is on another account than the
// owner of a repository that was transferred from those that may still read it.
func (t *tx) leftBehind(ctx context.Context, r rows.Repository, sets []rows.PolicySet) (lost, rest []rows.PolicySet, err error) {
	owner, _, _ := strings.Cut(r.Identifier, "/")
	for _, set := range sets {
		if !set.InstallationID.Valid {
			rest = append(rest, set)
			continue
		}
		i, err := t.Installation(ctx, set.InstallationID.String)
		if err != nil {
			return nil, nil, err
		}
		if strings.EqualFold(i.Account, owner) {
			rest = append(rest, set)
		} else {
			lost = append(lost, set)
		}
	}
	return lost, rest, nil
}

// degradedFor are the sets whose degradation has a reason; "" are those that
// are not degraded.
func degradedFor(sets []rows.PolicySet, reason polset.DegradedReason) []rows.PolicySet {
	return slices.DeleteFunc(slices.Clone(sets), func(p rows.PolicySet) bool { return p.Degraded != string(reason) })
}

// missing tells whether an error says that a row does not exist.
func missing(err error) bool { return errors.Is(found(err), polset.ErrNotFound) }
