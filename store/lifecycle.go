package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// RecordInstallation commits what a delivery says of an installation, and what
// follows from it for the policy sets of the organizations that may use it:
// what lost access is degraded, what may have got it looks again. A delivery
// that is known changes nothing, so the call may be repeated.
//
// GitHub signs bodies, not times. What is older than the row's state, where
// GitHub says when, changes no state, and GitHub never uses a number again: of
// an installation that was deleted only SaveInstallations can say that it
// exists.
func (s *Store) RecordInstallation(ctx context.Context, d polset.Delivery, c polset.InstallationChange) (polset.Receipt, error) {
	var receipt polset.Receipt
	err := s.writeOnce(ctx, github, func(ctx context.Context, tx *tx) error {
		receipt = polset.Receipt{}
		fresh, err := tx.insertDelivery(ctx, d, deliveryAccepted, "")
		if err != nil || !fresh {
			receipt.Duplicate = true
			return err
		}
		receipt.Effect, receipt.Ignored, err = s.installationHappened(ctx, tx, d, c)
		if err != nil || receipt.Ignored == "" {
			return err
		}
		return tx.settleDelivery(ctx, d, deliveryIgnored, receipt.Ignored)
	})
	if err != nil {
		return polset.Receipt{}, fmt.Errorf("record %s of installation %d: %w", c.Action, c.Installation.ExternalID, err)
	}
	return receipt, nil
}

// An installationEvent is what happens to an installation, whose row is held.
type installationEvent struct {
	row     rows.Installation
	details map[string]string // of its audit entries
}

func (s *Store) installationHappened(ctx context.Context, tx *tx, d polset.Delivery, c polset.InstallationChange) (effect, ignored string, err error) {
	i := c.Installation
	claimed := i
	i.InstallerID = 0
	if i.HTTPURL == "" && len(d.HTTPURLs) > 0 {
		i.HTTPURL = d.HTTPURLs[0]
	}
	switch c.Action {
	case polset.InstallationRenamed:
		return s.accountRenamed(ctx, tx, d, c)
	case polset.InstallationDeleted:
		i.DeletedAt = tx.now // of one that polset never heard of, too: its creation may come later
	case polset.InstallationCreated:
		i.InstallerID = c.SenderID
	case polset.InstallationSuspended:
		if i.SuspendedAt.IsZero() {
			i.SuspendedAt = tx.now
		}
	}
	r, isNew, err := tx.lockInstallation(ctx, i)
	if err != nil {
		return "", "", err
	}
	e := installationEvent{row: r, details: deliveryDetails(d)}
	switch {
	case !isNew && another(r, claimed):
		return "", "polset knows an installation of this number of another host or App", nil
	case isNew:
		return "installation " + string(c.Action), "", tx.noteInstallation(ctx, e, string(c.Action))
	case c.Action == polset.InstallationDeleted:
		if r.DeletedAt.Valid {
			return "", "the installation is known to be deleted", nil
		}
		degraded, looking, err := s.installationDeleted(ctx, tx, e)
		return told("installation deleted", degraded, looking), "", err
	case r.DeletedAt.Valid && !micro(i.UpdatedAt).After(r.DeletedAt.Time):
		return "", "the installation was deleted", nil
	}
	return s.installationTold(ctx, tx, e, c, i)
}

// installationTold acts on an event of an installation that exists.
func (s *Store) installationTold(ctx context.Context, tx *tx, e installationEvent, c polset.InstallationChange, i polset.Installation) (effect, ignored string, err error) {
	state := c.Action == polset.InstallationCreated || c.Action == polset.InstallationSuspended || c.Action == polset.InstallationUnsuspended
	if state && olderThan(e.row, i) {
		if e.row.InstallerID == 0 && i.InstallerID != 0 { // who made it does not age
			e.row.InstallerID = i.InstallerID
			return "installation " + string(c.Action), "", tx.saveInstallationRow(ctx, e.row)
		}
		return "", "a newer state of the installation is known", nil
	}
	if !state {
		i.SuspendedAt = utc(e.row.SuspendedAt)
	}
	if c.Action == polset.InstallationUnsuspended {
		i.SuspendedAt = utc(sql.NullTime{})
	}
	next, _, err := stateOf(e.row, i)
	if err != nil {
		return "", "", err
	}
	next.DeletedAt = sql.NullTime{}
	next.InstallerID = cmp.Or(next.InstallerID, i.InstallerID)
	if err := tx.saveInstallationRow(ctx, next); err != nil {
		return "", "", err
	}
	if err := tx.noteInstallation(ctx, e, string(c.Action)); err != nil {
		return "", "", err
	}
	sets, err := tx.holdRepositories(ctx, func() ([]rows.PolicySet, error) { return tx.PolicySetsOfInstallation(ctx, nullString(e.row.ID)) })
	if err != nil {
		return "", "", err
	}
	effect = "installation " + string(c.Action)
	switch c.Action {
	case polset.InstallationSuspended:
		return told(effect, len(sets), 0), "", tx.degrade(ctx, sets, string(polset.DegradedInstallationSuspended), suspendedMessage(next))
	case polset.InstallationRemoved:
		n, err := s.repositoriesUnselected(ctx, tx, next, sets, c.Removed)
		return told(effect, n, 0), "", err
	case polset.InstallationAdded:
		if sets, err = tx.ofRepositories(ctx, sets, c.Added); err != nil {
			return "", "", err
		}
	}
	if next.SuspendedAt.Valid {
		return effect, "", nil // a look would fail
	}
	undone := []polset.DegradedReason{polset.DegradedInstallationSuspended, polset.DegradedInstallationDeleted}
	if c.Action == polset.InstallationAdded {
		undone = append(undone, polset.DegradedRepositoryUnselected)
	}
	if err := tx.reconsider(ctx, sets, undone...); err != nil {
		return "", "", err
	}
	if err := tx.resumeReports(ctx, e.row.ID); err != nil {
		return "", "", err
	}
	return told(effect, 0, len(sets)), "", s.lookAgain(ctx, tx, sets...)
}

// olderThan tells whether GitHub said what it says of an installation before
// the state that the row holds.
func olderThan(r rows.Installation, i polset.Installation) bool {
	return !i.UpdatedAt.IsZero() && micro(i.UpdatedAt).Before(r.UpdatedAt)
}

// installationChanged saves a state that no delivery told, and acts as if they
// had.
func (s *Store) installationChanged(ctx context.Context, tx *tx, e installationEvent, next rows.Installation) error {
	sets, err := tx.holdRepositories(ctx, func() ([]rows.PolicySet, error) { return tx.PolicySetsOfInstallation(ctx, nullString(e.row.ID)) })
	if err != nil {
		return err
	}
	if err := tx.saveInstallationRow(ctx, next); err != nil {
		return err
	}
	before := e.row
	gained := before.DeletedAt.Valid || before.SuspendedAt.Valid && !next.SuspendedAt.Valid ||
		before.Permissions != next.Permissions || before.Selection != next.Selection
	lost := next.SuspendedAt.Valid && (!before.SuspendedAt.Valid || before.DeletedAt.Valid)
	renamed := before.Account != next.Account
	if gained || lost || renamed {
		e.row = next
		e.details = maps.Clone(e.details)
		e.details["suspended-at"], e.details["permissions"] = rfc3339(utc(next.SuspendedAt)), next.Permissions
		if err := tx.noteInstallation(ctx, e, "updated"); err != nil {
			return err
		}
	}
	if renamed {
		if err := tx.ownerRenamed(ctx, sets, before.Account, next.Account); err != nil {
			return err
		}
	}
	switch {
	case lost:
		return tx.degrade(ctx, sets, string(polset.DegradedInstallationSuspended), suspendedMessage(next))
	case gained && !next.SuspendedAt.Valid:
		if err := tx.reconsider(ctx, sets, polset.DegradedInstallationSuspended, polset.DegradedInstallationDeleted); err != nil {
			return err
		}
		if err := tx.resumeReports(ctx, next.ID); err != nil {
			return err
		}
		return s.lookAgain(ctx, tx, sets...)
	}
	return nil
}

// accountRenamed lets the names of an installation's account and of the
// repositories that are followed through it change at once, where the account
// is still, or already, called what the delivery says.
func (s *Store) accountRenamed(ctx context.Context, tx *tx, d polset.Delivery, c polset.InstallationChange) (effect, ignored string, err error) {
	r, err := tx.InstallationByNumber(ctx, c.Installation.ExternalID)
	if err == nil {
		err = tx.lock(ctx, installationRow, r.ID)
	}
	if err == nil {
		r, err = tx.Installation(ctx, r.ID)
	}
	if missing(err) {
		return "", "polset does not know this installation", nil
	}
	if err != nil {
		return "", "", err
	}
	switch i := c.Installation; {
	case i.AccountID != 0 && r.AccountID != 0 && i.AccountID != r.AccountID: // which is all that a rename says of it
		return "", "polset knows an installation of this number on another account", nil
	case !strings.EqualFold(r.Account, c.PreviousAccount) && !strings.EqualFold(r.Account, i.Account):
		// Told late or again: only a list says what its name is today.
		return "", "the account of the installation is called neither of the names", nil
	}
	sets, err := tx.holdRepositories(ctx, func() ([]rows.PolicySet, error) { return tx.PolicySetsOfInstallation(ctx, nullString(r.ID)) })
	if err != nil {
		return "", "", err
	}
	e := installationEvent{row: r, details: deliveryDetails(d)}
	e.details["from"] = r.Account
	r.Account = c.Installation.Account
	e.row = r
	if err := tx.saveInstallationRow(ctx, r); err != nil {
		return "", "", err
	}
	if err := tx.noteInstallation(ctx, e, "renamed"); err != nil {
		return "", "", err
	}
	if err := tx.ownerRenamed(ctx, sets, c.PreviousAccount, r.Account); err != nil {
		return "", "", err
	}
	return told("installation renamed", 0, len(sets)), "", s.lookAgain(ctx, tx, sets...)
}

// ownerRenamed gives the repositories of sets whose owner was called from its
// new name. The repositories are held.
func (t *tx) ownerRenamed(ctx context.Context, sets []rows.PolicySet, from, to string) error {
	done := map[string]bool{}
	for _, set := range sets {
		if done[set.RepositoryID.String] {
			continue
		}
		done[set.RepositoryID.String] = true
		r, err := t.Repository(ctx, set.RepositoryID.String)
		if err != nil {
			return err
		}
		owner, name, _ := strings.Cut(r.Identifier, "/")
		if from == "" || !strings.EqualFold(owner, from) || owner == to {
			continue
		}
		_, err = t.bind(ctx, r, polset.Push{RepositoryID: r.ExternalID, Identifier: to + "/" + name}, false)
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) repositoriesUnselected(ctx context.Context, tx *tx, i rows.Installation, sets []rows.PolicySet, removed []polset.RepositoryRef) (int, error) {
	sets, err := tx.ofRepositories(ctx, sets, removed)
	if err != nil {
		return 0, err
	}
	for _, set := range sets {
		r, err := tx.Repository(ctx, set.RepositoryID.String)
		if err != nil {
			return 0, err
		}
		message := "The installation of the GitHub App on " + i.Account + " does not include " + r.Identifier + " any more. " +
			"Add the repository to it" + settingsOf(i) + "."
		if err := tx.degrade(ctx, []rows.PolicySet{set}, string(polset.DegradedRepositoryUnselected), message); err != nil {
			return 0, err
		}
	}
	return len(sets), nil
}

// ofRepositories are those of the sets that follow one of some repositories.
func (t *tx) ofRepositories(ctx context.Context, sets []rows.PolicySet, refs []polset.RepositoryRef) ([]rows.PolicySet, error) {
	numbers, names := map[int64]bool{}, map[string]bool{}
	for _, ref := range refs {
		numbers[ref.ID], names[identifierKey(ref.Identifier)] = true, true
	}
	var of []rows.PolicySet
	for _, set := range sets {
		r, err := t.Repository(ctx, set.RepositoryID.String)
		if err != nil {
			return nil, err
		}
		if r.ExternalID != 0 && numbers[r.ExternalID] || r.ExternalID == 0 && names[r.IdentifierKey] {
			of = append(of, set)
		}
	}
	return of, nil
}

// holdRepositories locks the repositories of the policy sets that read gives,
// in the common order, and returns the sets as they are under the locks. What
// gives sets to read more of them is held by the caller.
func (t *tx) holdRepositories(ctx context.Context, read func() ([]rows.PolicySet, error)) ([]rows.PolicySet, error) {
	sets, err := read()
	if err != nil {
		return nil, err
	}
	held := map[string]bool{}
	for _, set := range sets {
		held[set.RepositoryID.String] = true
	}
	for _, id := range slices.Sorted(maps.Keys(held)) {
		if _, err := t.lockRepository(ctx, id); err != nil {
			return nil, err
		}
	}
	if sets, err = read(); err != nil {
		return nil, err
	}
	for _, set := range sets {
		if !held[set.RepositoryID.String] {
			return nil, errAgain
		}
	}
	return sets, nil
}

// noteInstallation audits what happened to an installation, in the chain of
// the site and in those of the organizations that may use it.
func (t *tx) noteInstallation(ctx context.Context, e installationEvent, action string) error {
	details := maps.Clone(e.details)
	details["account"], details["installation"] = e.row.Account, strconv.FormatInt(e.row.ExternalID, 10)
	t.note(polset.ChainSite, "installation."+action, e.row.ID, details)
	organizations, err := t.OrganizationsOfInstallation(ctx, e.row.ID)
	if err != nil {
		return err
	}
	for _, o := range organizations {
		t.note(o.ID, "installation."+action, e.row.ID, details)
	}
	return nil
}

func deliveryDetails(d polset.Delivery) map[string]string {
	return map[string]string{
		"delivery": strings.ToLower(d.GUID), "hook": d.HookID, "event": d.Event, "body-sha256": d.BodySHA256, "sender": d.Sender,
	}
}

func suspendedMessage(i rows.Installation) string {
	return "The installation of the GitHub App on " + i.Account + " is suspended, so polset cannot read the repository. " +
		"An owner of the account can unsuspend it" + settingsOf(i) + "."
}

// settingsOf says where a person finds the settings of an installation.
func settingsOf(i rows.Installation) string {
	if i.HTMLURL == "" {
		return " in its settings on GitHub"
	}
	return " at " + i.HTMLURL
}

// told is what a delivery did, in a few words.
func told(what string, degraded, looking int) string {
	switch {
	case degraded > 0:
		return fmt.Sprintf("%s: %d policy sets degraded", what, degraded)
	case looking > 0:
		return fmt.Sprintf("%s: %d policy sets look again", what, looking)
	}
	return what
}
