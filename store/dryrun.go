package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// RecordPullRequest commits a pull request together with a dry run of its
// commit for each policy set that follows the branch it is to be merged into.
// Earlier dry runs of the same pull request that have not ended are ignored.
// A delivery that is known changes nothing, nor does a commit that was the last
// of its pull request, nor one that came late: GitHub's times tell, where they
// are given. A repository that the hook does not speak for is answered
// as by RecordPush.
func (s *Store) RecordPullRequest(ctx context.Context, d polset.Delivery, p polset.PullRequest) (polset.Receipt, error) {
	var receipt polset.Receipt
	err := s.writeOnce(ctx, github, func(ctx context.Context, tx *tx) error {
		receipt = polset.Receipt{}
		fresh, err := tx.insertDelivery(ctx, d, deliveryAccepted, "")
		if err != nil || !fresh {
			receipt.Duplicate = true
			return err
		}
		// What a push tells of its repository is all that counts here.
		repositories, _, err := tx.repositoriesOf(ctx, d, polset.Push{
			RepositoryID: p.Repository.ID, Identifier: p.Repository.Identifier, DefaultBranch: p.DefaultBranch,
		})
		if err != nil {
			return err
		}
		followed, begun, late := 0, 0, 0
		for _, r := range repositories {
			sets, err := tx.followers(ctx, r, p.Base, r.DefaultBranch, p.DefaultBranch)
			if err != nil {
				return err
			}
			// Without a credential it can neither be read nor answered.
			sets = slices.DeleteFunc(sets, func(p rows.PolicySet) bool { return credentialOf(p.TokenID, p.InstallationID) == "" })
			followed += len(sets)
			n, old, err := tx.beginDryRuns(ctx, d, p, r, sets)
			if err != nil {
				return err
			}
			begun, late = begun+n, late+old
		}
		switch {
		case begun > 0:
			receipt.Effect = fmt.Sprintf("dry runs begun: %d", begun)
			return nil
		case late > 0:
			receipt.Ignored = "a newer state of the pull request is known"
		case followed > 0:
			receipt.Duplicate = true
			return tx.settleDelivery(ctx, d, deliveryRepeated, "every policy set has accepted this commit before")
		case len(repositories) > 0:
			receipt.Ignored = fmt.Sprintf("no policy set follows branch %s of %s", p.Base, p.Repository.Identifier)
		default:
			receipt.Ignored = "no policy set follows " + p.Repository.Identifier
		}
		return tx.settleDelivery(ctx, d, deliveryIgnored, receipt.Ignored)
	})
	if err != nil {
		return polset.Receipt{}, fmt.Errorf("record pull request %s: %w", d.GUID, err)
	}
	return receipt, nil
}

// beginDryRuns says how many it began, and for how many sets the pull request
// came late.
func (t *tx) beginDryRuns(ctx context.Context, d polset.Delivery, p polset.PullRequest, r rows.Repository, sets []rows.PolicySet) (begun, late int, err error) {
	told := micro(p.UpdatedAt)
	for _, set := range sets {
		last, err := t.LastDryRun(ctx, rows.LastDryRunParams{PolicySetID: set.ID, Number: int64(p.Number)})
		if err != nil && !errors.Is(found(err), polset.ErrNotFound) {
			return 0, 0, err
		}
		switch {
		case err != nil: // the first of its pull request
		case !told.IsZero() && told.Before(utc(last.ToldAt)):
			late++
			continue
		case last.CommitID == p.Head && last.Status != string(polset.DryRunIgnored):
			if told.After(utc(last.ToldAt)) {
				if err := t.TellDryRun(ctx, rows.TellDryRunParams{ID: last.ID, ToldAt: nullTime(told)}); err != nil {
					return 0, 0, err
				}
			}
			continue
		}
		if begun == 0 {
			t.note(r.OrganizationID, "delivery.accepted", d.GUID, map[string]string{
				"hook": d.HookID, "event": d.Event, "body-sha256": d.BodySHA256, "sender": d.Sender, "repository": r.Identifier,
				"branch": p.Base, "commit": p.Head, "pull-request": strconv.Itoa(p.Number), "author": p.Author,
			})
		}
		if err := t.ignoreDryRuns(ctx, set, p.Number, "another commit of the pull request came"); err != nil {
			return 0, 0, err
		}
		if err := t.insertDryRun(ctx, d, p, set); err != nil {
			return 0, 0, err
		}
		begun++
	}
	return begun, late, nil
}

func (t *tx) insertDryRun(ctx context.Context, d polset.Delivery, p polset.PullRequest, set rows.PolicySet) error {
	path, err := polset.CleanPath(set.PoliciesPath)
	if err != nil {
		return err
	}
	id := polset.NewID("dry")
	err = t.InsertDryRun(ctx, rows.InsertDryRunParams{
		ID: id, PolicySetID: set.ID, RepositoryID: set.RepositoryID.String, TokenID: set.TokenID, InstallationID: set.InstallationID,
		Number: int64(p.Number), Base: p.Base, CommitID: p.Head, Fork: p.Fork, Path: path, Submodules: set.Submodules, Kind: set.Kind,
		DeliveryGUID: strings.ToLower(d.GUID), ToldAt: nullTime(micro(p.UpdatedAt)), Now: t.now,
	})
	if err != nil {
		return err
	}
	t.note(set.OrganizationID, "dry-run.created", id, map[string]string{
		"policy-set": set.ID, "pull-request": strconv.Itoa(p.Number), "commit": p.Head, "delivery": strings.ToLower(d.GUID),
	})
	return t.reportDryRun(ctx, id)
}

// ignoreDryRuns ends what is unfinished of a pull request, or of all of them
// where number is 0, whoever works on it.
func (t *tx) ignoreDryRuns(ctx context.Context, set rows.PolicySet, number int, reason string) error {
	list, err := t.UnfinishedDryRuns(ctx, rows.UnfinishedDryRunsParams{PolicySetID: set.ID, Number: int64(number)})
	if err != nil {
		return err
	}
	for _, d := range list {
		if err := t.IgnoreDryRun(ctx, rows.IgnoreDryRunParams{ID: d.ID, Reason: reason, Now: nullTime(t.now)}); err != nil {
			return err
		}
		t.noteDryRun(set.OrganizationID, d, polset.DryRunIgnored, reason)
		if err := t.reportDryRun(ctx, d.ID); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) noteDryRun(organizationID string, d rows.DryRun, status polset.DryRunStatus, reason string) {
	t.note(organizationID, "dry-run."+string(status), d.ID, map[string]string{
		"policy-set": d.PolicySetID, "pull-request": strconv.FormatInt(d.Number, 10), "commit": d.CommitID,
		"delivery": d.DeliveryGUID, "reason": reason,
	})
}

func dryRun(r rows.DryRun) (d polset.DryRun, err error) {
	d = polset.DryRun{
		ID: r.ID, PolicySetID: r.PolicySetID, RepositoryID: r.RepositoryID, TokenID: r.TokenID.String,
		InstallationID: r.InstallationID.String, Number: int(r.Number), Base: r.Base, Commit: r.CommitID, Fork: r.Fork,
		Path: r.Path, Submodules: r.Submodules, Kind: polset.Kind(r.Kind), DeliveryGUID: r.DeliveryGUID,
		Status: polset.DryRunStatus(r.Status), Reason: r.Reason, Error: polset.Class(r.Error), ErrorMessage: r.ErrorMessage,
		Attempts: int(r.Attempts), Failures: int(r.Failures),
		CreatedAt: r.CreatedAt.UTC(), StartedAt: utc(r.StartedAt), EndedAt: utc(r.EndedAt),
	}
	if d.Diagnostics, err = diagnostics(r.Diagnostics); err != nil {
		return d, fmt.Errorf("read diagnostics of dry run %s: %w", r.ID, err)
	}
	if r.Comparison != "" {
		if err := json.Unmarshal([]byte(r.Comparison), &d.Comparison); err != nil {
			return d, fmt.Errorf("read comparison of dry run %s: %w", r.ID, err)
		}
	}
	return d, nil
}
