package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// github is whom the audit trail names for what a delivery does.
var github = polset.Principal{Actor: "github"}

// The outcomes of a delivery.
const (
	deliveryAccepted = "accepted" // it gave rise to ingestions
	deliveryRepeated = "repeated" // it repeats the last push of every set
	deliveryIgnored  = "ignored"
)

// RecordPush commits a push together with all that it gives rise to: one
// ingestion for each policy set that follows the branch, their audit entries,
// and one job for each repository row. A delivery that is known changes
// nothing, so the call may be repeated. A push of another repository than a
// repository's own hook is for is ErrNotFound, and leaves no trace.
func (s *Store) RecordPush(ctx context.Context, d polset.Delivery, p polset.Push) (polset.Receipt, error) {
	var receipt polset.Receipt
	err := s.writeOnce(ctx, github, func(ctx context.Context, tx *tx) (err error) {
		receipt = polset.Receipt{}
		fresh, err := tx.insertDelivery(ctx, d, deliveryAccepted, "")
		if err != nil || !fresh {
			receipt.Duplicate = true
			return err
		}
		repositories, unreached, err := tx.repositoriesOf(ctx, d, p)
		if err != nil {
			return err
		}
		for _, r := range unreached {
			if err := s.knock(ctx, tx, r); err != nil {
				return err
			}
		}
		var followed bool
		for _, r := range repositories {
			sets, err := tx.followers(ctx, r, p.Branch, r.DefaultBranch, p.DefaultBranch)
			if err != nil {
				return err
			}
			followed = followed || len(sets) > 0
			ids, err := s.acceptPush(ctx, tx, d, p, r, sets)
			if err != nil {
				return err
			}
			receipt.Ingestions = append(receipt.Ingestions, ids...)
		}
		switch {
		case len(receipt.Ingestions) > 0:
			return nil
		case followed:
			receipt.Duplicate = true
			return tx.settleDelivery(ctx, d, deliveryRepeated, "every policy set has accepted this push before")
		case len(repositories) > 0:
			receipt.Ignored = fmt.Sprintf("no policy set follows branch %s of %s", p.Branch, p.Identifier)
		default:
			receipt.Ignored = "no policy set follows " + p.Identifier
		}
		return tx.settleDelivery(ctx, d, deliveryIgnored, receipt.Ignored)
	})
	if err != nil {
		return polset.Receipt{}, fmt.Errorf("record push %s: %w", d.GUID, err)
	}
	return receipt, nil
}

// RecordIgnored commits a delivery that has no effect, and why.
func (s *Store) RecordIgnored(ctx context.Context, d polset.Delivery, reason string) (polset.Receipt, error) {
	receipt := polset.Receipt{Ignored: reason}
	err := s.writeOnce(ctx, github, func(ctx context.Context, tx *tx) error {
		fresh, err := tx.insertDelivery(ctx, d, deliveryIgnored, reason)
		receipt.Duplicate = !fresh
		return err
	})
	if err != nil {
		return polset.Receipt{}, fmt.Errorf("record delivery %s: %w", d.GUID, err)
	}
	return receipt, nil
}

// insertDelivery reports false for a delivery that is known. Of two that
// arrive at once the second waits here for the first.
func (t *tx) insertDelivery(ctx context.Context, d polset.Delivery, outcome, reason string) (fresh bool, err error) {
	n, err := t.InsertDelivery(ctx, rows.InsertDeliveryParams{
		HookID: d.HookID, GUID: strings.ToLower(d.GUID), Event: d.Event, BodySHA256: d.BodySHA256, Sender: d.Sender,
		Outcome: outcome, Reason: reason, ReceivedAt: t.received(d),
	})
	return n == 1, err
}

func (t *tx) settleDelivery(ctx context.Context, d polset.Delivery, outcome, reason string) error {
	return t.SettleDelivery(ctx, rows.SettleDeliveryParams{
		HookID: d.HookID, GUID: strings.ToLower(d.GUID), Outcome: outcome, Reason: reason,
	})
}

func (t *tx) received(d polset.Delivery) time.Time {
	if d.ReceivedAt.IsZero() {
		return t.now
	}
	return d.ReceivedAt.UTC().Truncate(time.Microsecond)
}

// repositoriesOf locks and returns the rows that a push speaks for, bound to
// the repository's number and today's name. The App hears of repositories
// that an organization need not be able to read: its pushes are only for rows
// that are reached. The others are returned apart.
func (t *tx) repositoriesOf(ctx context.Context, d polset.Delivery, p polset.Push) (known, unreached []rows.Repository, err error) {
	app := d.HookID == polset.HookGitHubApp
	list, err := t.rowsOf(ctx, d, p)
	if err != nil {
		return nil, nil, err
	}
	locked := list[:0]
	for _, r := range list {
		r, err := t.lockRepository(ctx, r.ID)
		if err != nil {
			return nil, nil, err
		}
		if !speaksFor(p, r) {
			if app {
				return nil, nil, errAgain // bound to another number since it was found
			}
			return nil, nil, fmt.Errorf("this hook is not for repository %s: %w", p.Identifier, polset.ErrNotFound)
		}
		if app {
			heard, err := t.hears(ctx, r)
			if err != nil {
				return nil, nil, err
			}
			if !heard {
				continue
			}
			if !reached(p, r) {
				unreached = append(unreached, r)
				continue
			}
		}
		if r, err = t.bind(ctx, r, p, app); err != nil {
			return nil, nil, err
		}
		locked = append(locked, r)
	}
	return locked, unreached, nil
}

// rowsOf finds the rows that a push may be of, in the order of locks.
func (t *tx) rowsOf(ctx context.Context, d polset.Delivery, p polset.Push) (list []rows.Repository, err error) {
	if d.HookID != polset.HookGitHubApp {
		r, err := t.RepositoryByHook(ctx, d.HookID)
		if err != nil {
			return nil, fmt.Errorf("hook: %w", found(err))
		}
		return []rows.Repository{r}, nil
	}
	hosts := make([]string, len(d.HTTPURLs))
	for i, u := range d.HTTPURLs {
		hosts[i] = hostOf(u)
	}
	slices.Sort(hosts)
	for _, host := range slices.Compact(hosts) {
		of, err := t.RepositoriesOfPush(ctx, rows.RepositoriesOfPushParams{
			Host: host, ExternalID: p.RepositoryID, IdentifierKey: identifierKey(p.Identifier),
		})
		if err != nil {
			return nil, err
		}
		list = append(list, of...)
	}
	slices.SortFunc(list, func(a, b rows.Repository) int { return cmp.Compare(a.ID, b.ID) })
	return list, nil
}

// hears tells whether the App may tell anything of a repository: some policy
// set of the row must use what still gives a right to it.
func (t *tx) hears(ctx context.Context, r rows.Repository) (bool, error) {
	sets, err := t.PolicySetsThatHear(ctx, nullString(r.ID))
	return len(sets) > 0, err
}

// speaksFor tells whether a push is of a repository: by number, and by name
// only as long as no number is known.
func speaksFor(p polset.Push, r rows.Repository) bool {
	if r.ExternalID != 0 {
		return r.ExternalID == p.RepositoryID
	}
	return r.IdentifierKey == identifierKey(p.Identifier)
}

// bind records the number, and the name of today after a rename or transfer.
// A number that only a repository's own hook told is a claim of whoever holds
// its secret: the App proves it.
func (t *tx) bind(ctx context.Context, r rows.Repository, p polset.Push, app bool) (rows.Repository, error) {
	before := r
	r.Proven = r.Proven || app
	r.ExternalID = p.RepositoryID
	r.Identifier, r.IdentifierKey = p.Identifier, identifierKey(p.Identifier)
	r.DefaultBranch = cmp.Or(r.DefaultBranch, p.DefaultBranch)
	if r.ExternalID == before.ExternalID && r.Proven == before.Proven && r.Identifier == before.Identifier &&
		r.DefaultBranch == before.DefaultBranch {
		return r, nil
	}
	if r.IdentifierKey != before.IdentifierKey {
		r.NamedLook = r.Looks
		t.note(r.OrganizationID, "repository.renamed", r.ID, map[string]string{"from": before.Identifier, "to": r.Identifier})
	}
	err := t.BindRepository(ctx, rows.BindRepositoryParams{
		ID: r.ID, ExternalID: r.ExternalID, Identifier: r.Identifier, IdentifierKey: r.IdentifierKey, DefaultBranch: r.DefaultBranch,
		Proven: r.Proven, NamedLook: r.NamedLook,
	})
	if err != nil {
		return r, err
	}
	return r, t.nameHook(ctx, r)
}

// followers are the policy sets that follow a branch of a repository, which
// for some of them is any of the defaults, with a credential that they may
// still use. The lock on the repository keeps them as they are.
func (t *tx) followers(ctx context.Context, r rows.Repository, branch string, defaults ...string) ([]rows.PolicySet, error) {
	sets, err := t.PolicySetsThatHear(ctx, nullString(r.ID))
	if err != nil || branch == "" {
		return nil, err
	}
	return slices.DeleteFunc(sets, func(p rows.PolicySet) bool {
		return p.Branch != branch && (p.Branch != "" || !slices.Contains(defaults, branch))
	}), nil
}

// acceptPush gives each set that did not accept this very push last an
// ingestion. Only the last counts: A, B, and A again are three pushes.
func (s *Store) acceptPush(ctx context.Context, tx *tx, d polset.Delivery, p polset.Push, r rows.Repository, sets []rows.PolicySet) ([]string, error) {
	var accepted []rows.Ingestion
	var ids []string
	for _, set := range sets {
		last, err := tx.LastPush(ctx, rows.LastPushParams{PolicySetID: set.ID, PushedBranch: p.Branch, Generation: set.Generation})
		if err == nil && last == p.After && set.Degraded == "" {
			continue // of one that is degraded, the push may be the sign that all is well again
		}
		if err != nil && !errors.Is(found(err), polset.ErrNotFound) {
			return nil, err
		}
		if len(accepted) == 0 {
			tx.noteAccepted(r.OrganizationID, d, p)
		}
		i, err := s.insertIngestion(ctx, tx, set, arrival{
			cause: polset.CausePush, commit: p.After, pushedBranch: p.Branch, delivery: strings.ToLower(d.GUID),
		})
		if err != nil {
			return nil, err
		}
		accepted = append(accepted, i)
		ids = append(ids, i.ID)
	}
	if len(accepted) == 0 {
		return nil, nil
	}
	return ids, s.enqueue(ctx, tx, accepted[0])
}

func (t *tx) noteAccepted(organizationID string, d polset.Delivery, p polset.Push) {
	details := map[string]string{
		"hook": d.HookID, "event": d.Event, "body-sha256": d.BodySHA256, "sender": d.Sender, "pusher": p.Pusher,
		"repository": p.Identifier, "branch": p.Branch, "before": p.Before, "commit": p.After,
	}
	if p.Forced {
		details["forced"] = "true"
	}
	t.note(organizationID, "delivery.accepted", d.GUID, details)
}

// KnownDeliveries tells which deliveries of a hook have been recorded.
func (s *Store) KnownDeliveries(ctx context.Context, hookID string, guids []string) (map[string]bool, error) {
	known := make(map[string]bool, len(guids))
	for part := range slices.Chunk(guids, maxPage) {
		var q filter
		q.add("hook_id = ?", hookID)
		lower, as := make([]string, len(part)), map[string][]string{}
		for n, guid := range part {
			lower[n] = strings.ToLower(guid)
			as[lower[n]] = append(as[lower[n]], guid)
		}
		q.in("guid", lower)
		list, err := queryAll(ctx, s, "deliveries", "SELECT guid FROM deliveries"+q.where(), q.args, func(r *sql.Rows) (guid string, err error) {
			return guid, r.Scan(&guid)
		})
		if err != nil {
			return nil, err
		}
		for _, guid := range list {
			for _, written := range as[guid] {
				known[written] = true
			}
		}
	}
	return known, nil
}
