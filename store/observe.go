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

// Observe records where a branch stands, and draws the consequences for every
// policy set that follows it: a head that no delivery told of gets an
// ingestion, and a head that made a ready version before puts it in force
// again. Policy sets that use the observation's credential have access, and
// those that follow a branch that is gone are degraded. An observation with a
// smaller number than the recorded one is dropped. ErrFenced says that the
// repository is gone.
func (s *Store) Observe(ctx context.Context, o polset.Observation) error {
	name := cmp.Or(o.Head.Branch, o.Branch)
	if name == "" {
		return nil // an empty repository has no branch to speak of
	}
	err := s.writeOnce(ctx, polset.System, func(ctx context.Context, tx *tx) error {
		r, err := tx.repositoryToObserve(ctx, o.RepositoryID)
		if err != nil {
			return err
		}
		if o.Look > r.NamedLook { // else it may have read another name
			if err := s.reach(ctx, tx, r, r.IdentifierKey, o.Look); err != nil {
				return err
			}
		}
		var before rows.Branch // for the audit trail
		if o.Reconciled {
			before, err = tx.Branch(ctx, rows.BranchParams{RepositoryID: r.ID, Name: name})
			if err != nil && !errors.Is(found(err), polset.ErrNotFound) {
				return err
			}
		}
		n, err := tx.ObserveBranch(ctx, rows.ObserveBranchParams{
			RepositoryID: r.ID, Name: name, Head: o.Head.Commit, Look: o.Look, Now: nullTime(tx.now),
		})
		if err != nil || n == 0 {
			return err
		}
		if o.Branch == "" && r.DefaultBranch != name {
			r.DefaultBranch = name
			if err := tx.SetDefaultBranch(ctx, rows.SetDefaultBranchParams{ID: r.ID, DefaultBranch: name}); err != nil {
				return err
			}
		}
		if err := tx.access(ctx, r, o, name); err != nil {
			return err
		}
		if o.Head.Commit == "" {
			return nil // a branch that was deleted takes nothing out of force
		}
		return s.followHead(ctx, tx, r, o, name, before.Head)
	})
	if err != nil {
		return fmt.Errorf("observe branch %s: %w", name, err)
	}
	return nil
}

// repositoryToObserve holds a repository that somebody looked at.
func (t *tx) repositoryToObserve(ctx context.Context, id string) (rows.Repository, error) {
	err := t.lock(ctx, repositoryRow, id)
	if errors.Is(err, polset.ErrNotFound) {
		return rows.Repository{}, polset.ErrFenced
	}
	if err != nil {
		return rows.Repository{}, err
	}
	return t.Repository(ctx, id)
}

// access heals the policy sets that were thought to have lost what the look
// just had, and degrades those whose branch it found gone.
//
// A look that was under way when an organization lost the right to it proves
// nothing: only sets that may still use their credential count.
func (t *tx) access(ctx context.Context, r rows.Repository, o polset.Observation, branch string) error {
	sets, err := t.PolicySetsThatHear(ctx, nullString(r.ID))
	if err != nil {
		return err
	}
	follows := func(p rows.PolicySet) bool { return cmp.Or(p.Branch, r.DefaultBranch) == branch }
	var gone, rest, back []rows.PolicySet
	for _, set := range sets {
		looked := o.Credential != "" && credentialOf(set.TokenID, set.InstallationID) == o.Credential
		switch {
		case follows(set) && o.Head.Commit == "":
			if looked || set.Degraded != string(polset.DegradedAccessLost) && !specific(set.Degraded) {
				gone = append(gone, set)
			}
		case follows(set) && set.Degraded == string(polset.DegradedBranchDeleted):
			back = append(back, set)
		default:
			rest = append(rest, set)
		}
	}
	if err := t.degrade(ctx, gone, string(polset.DegradedBranchDeleted), branchGoneMessage(r, branch)); err != nil {
		return err
	}
	if err := t.mend(ctx, r, back); err != nil {
		return err
	}
	return t.accessible(ctx, r, rest, o.Credential)
}

// accessible heals those of the policy sets that use a credential with which
// the repository was just read. What only their own branch can heal stays.
func (t *tx) accessible(ctx context.Context, r rows.Repository, sets []rows.PolicySet, credential string) error {
	if r.LookFailures > 0 {
		if err := t.LookSucceeded(ctx, r.ID); err != nil {
			return err
		}
	}
	if credential == "" {
		return nil
	}
	return t.mend(ctx, r, slices.DeleteFunc(slices.Clone(sets), func(p rows.PolicySet) bool {
		return credentialOf(p.TokenID, p.InstallationID) != credential || p.Degraded == string(polset.DegradedBranchDeleted)
	}))
}

// mend heals policy sets and takes up the reports that waited for it. Of a
// repository that is archived that is what remains to be said.
func (t *tx) mend(ctx context.Context, r rows.Repository, sets []rows.PolicySet) error {
	var lost, archived []rows.PolicySet
	for _, set := range sets {
		switch {
		case set.Degraded == string(polset.DegradedRepositoryArchived) && r.Archived:
			continue
		case set.Degraded != "":
			lost = append(lost, set)
		}
		if r.Archived {
			archived = append(archived, set)
		}
	}
	for _, of := range byCredential(lost) {
		if err := t.resumeReports(ctx, of.credential); err != nil {
			return err
		}
	}
	if r.Archived {
		return t.degrade(ctx, archived, string(polset.DegradedRepositoryArchived), archivedMessage(r))
	}
	return t.heal(ctx, lost)
}

func branchGoneMessage(r rows.Repository, branch string) string {
	return fmt.Sprintf("Branch %s of %s does not exist. Push it again, or let the policy set follow another branch.", branch, r.Identifier)
}

func archivedMessage(r rows.Repository) string {
	return fmt.Sprintf("Repository %s is archived: nothing can be pushed to it. Unarchive it on GitHub to change its policies.", r.Identifier)
}

// followHead sees to it that a head has an outcome in every policy set that
// follows its branch. One that failed for what may pass is ingested again where
// the set's own credential had access just now.
func (s *Store) followHead(ctx context.Context, tx *tx, r rows.Repository, o polset.Observation, branch, from string) error {
	commit := o.Head.Commit
	sets, err := tx.followers(ctx, r, branch, r.DefaultBranch)
	if err != nil {
		return err
	}
	cause := polset.CauseHead
	if o.Reconciled {
		cause = polset.CauseReconcile
	}
	var fresh []rows.Ingestion
	news := false
	for _, set := range sets {
		last, err := tx.IngestionOfHead(ctx, rows.IngestionOfHeadParams{PolicySetID: set.ID, Generation: set.Generation, CommitID: commit})
		begun := !missing(err)
		if err != nil && begun {
			return err
		}
		if begun {
			again, err := tx.settleHead(ctx, set, commit)
			if err != nil {
				return err
			}
			restored, err := tx.restore(ctx, held{set: set, repository: r}, commit)
			if err != nil {
				return err
			}
			news = news || restored
			if !again || !last.EndedAt.Valid || credentialOf(set.TokenID, set.InstallationID) != o.Credential {
				continue
			}
		}
		i, err := s.insertIngestion(ctx, tx, set, arrival{cause: cause, commit: commit})
		if err != nil {
			return err
		}
		fresh, news = append(fresh, i), true
	}
	if o.Reconciled && news {
		tx.note(r.OrganizationID, "branch.reconciled", r.ID, map[string]string{
			"repository": r.Identifier, "branch": branch, "from": from, "to": commit,
		})
	}
	if len(fresh) == 0 {
		return nil
	}
	return s.enqueue(ctx, tx, fresh[0])
}

// restore puts in force what the commit led to before in this generation of a
// policy set, and says whether something else was in force. A later attempt at
// the same commit that failed, or has not ended, takes nothing from it: the
// same commit gives the same content.
func (t *tx) restore(ctx context.Context, h held, commit string) (restored bool, err error) {
	h.ingestion, err = t.ReadyIngestionOfHead(ctx, rows.ReadyIngestionOfHeadParams{
		PolicySetID: h.set.ID, Generation: h.set.Generation, CommitID: commit,
	})
	if errors.Is(found(err), polset.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	v, err := t.Version(ctx, h.ingestion.VersionID)
	if err != nil {
		return false, err
	}
	return t.makeCurrent(ctx, h, v)
}
