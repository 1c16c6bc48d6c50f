package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// UpdatePolicySet changes a policy set. A change of what is followed, or of
// the clean policies-path of a set that follows something, begins a new
// generation with an ingestion and a pending version of its own; what is in
// force stays so until that version is ready. Other update patterns are for
// what is pushed from now on: they begin nothing. Errors are those of
// CreatePolicySet.
func (s *Store) UpdatePolicySet(ctx context.Context, by polset.Principal, id string, c polset.PolicySetChange) (polset.PolicySet, error) {
	var out polset.PolicySet
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		before, err := tx.PolicySet(ctx, rows.PolicySetParams{ID: id, Tenant: by.OrganizationID})
		if err != nil {
			return found(err)
		}
		follow, err := s.lockForChange(ctx, tx, before.PolicySet, c)
		if err != nil {
			return err
		}
		if c.VCS != nil {
			if follow.repository, err = s.learn(ctx, tx, follow, *c.VCS); err != nil {
				return err
			}
		}
		// What is wrong with it, and what is in force, may have become others
		// before the locks.
		locked, err := tx.PolicySet(ctx, rows.PolicySetParams{ID: id})
		if err != nil {
			return found(err)
		}
		set := before.PolicySet
		set.Degraded, set.DegradedMessage, set.DegradedAt = locked.PolicySet.Degraded, locked.PolicySet.DegradedMessage, locked.PolicySet.DegradedAt
		set.NewestVersionID, set.CurrentVersionID = locked.PolicySet.NewestVersionID, locked.PolicySet.CurrentVersionID
		set.MaterializedVersionID = locked.PolicySet.MaterializedVersionID
		now, err := wholePolicySet(ctx, tx.jobs, locked, tx.now)
		if err != nil {
			return err
		}
		changed, err := applyChange(&set, c, follow)
		if err != nil {
			return err
		}
		if n, err := tx.PolicySetNameTaken(ctx, rows.PolicySetNameTakenParams{
			OrganizationID: set.OrganizationID, Name: set.Name, ID: set.ID,
		}); err != nil {
			return err
		} else if n > 0 {
			return fmt.Errorf("the name is taken: %w", polset.ErrConflict)
		}
		if err := tx.updatePolicySet(ctx, set); err != nil {
			return err
		}
		if len(changed) > 0 {
			tx.note(set.OrganizationID, "policy-set.updated", id, map[string]string{
				"changed": strings.Join(changed, " "), "name": set.Name, "policies-path": set.PoliciesPath,
				"repository": follow.repository.Identifier, "branch": set.Branch, "token": set.TokenID.String,
				"installation": set.InstallationID.String, "global": strconv.FormatBool(set.Global),
				"policy-update-patterns": set.UpdatePatterns,
			})
		}
		if _, err := tx.arrange(ctx, set, now, arrangement{members: c.Members, selectors: c.TagSelectors}); err != nil {
			return err
		}
		if c.RemoveVCS && before.PolicySet.RepositoryID.Valid && set.CurrentVersionID == "" && set.MaterializedVersionID != "" {
			// It was kept in force for a version that does not come any more.
			if err := tx.policiesChanged(ctx, id); err != nil {
				return err
			}
		}
		if set.Generation != before.PolicySet.Generation {
			if err := tx.ignoreUnversioned(ctx, set, "the settings of the policy set changed"); err != nil {
				return err
			}
		}
		if set.Generation != before.PolicySet.Generation && set.RepositoryID.Valid {
			head := polset.Head{}
			if c.VCS != nil {
				head = c.VCS.Head
			}
			if err := s.beginAnew(ctx, tx, set, follow, polset.CauseUpdate, head); err != nil {
				return err
			}
		}
		if slices.Contains(changed, "vcs-repo") {
			if follow.secret, err = s.followedAnew(ctx, tx, before.PolicySet, set, follow); err != nil {
				return err
			}
		}
		if out, err = tx.wholePolicySet(ctx, id); err != nil {
			return err
		}
		if out.VCS != nil {
			out.VCS.HookSecret = follow.secret
		}
		return nil
	})
	if err != nil {
		if s.dialect.taken(err) {
			err = polset.ErrConflict
		}
		return polset.PolicySet{}, fmt.Errorf("update policy set %s: %w", id, err)
	}
	return out, nil
}

// lockForChange locks, in the common order, all that a change touches, and
// returns what the set follows after it.
func (s *Store) lockForChange(ctx context.Context, tx *tx, set rows.PolicySet, c polset.PolicySetChange) (f following, err error) {
	var repositories []string
	if set.RepositoryID.Valid {
		repositories = append(repositories, set.RepositoryID.String)
	}
	if c.VCS != nil {
		if err := tx.lock(ctx, organizationRow, set.OrganizationID); err != nil {
			return f, err
		}
		if f, err = s.follow(ctx, tx, set.OrganizationID, *c.VCS); err != nil {
			return f, err
		}
		repositories = append(repositories, f.repository.ID)
	}
	slices.Sort(repositories)
	for _, id := range slices.Compact(repositories) {
		r, err := tx.lockRepository(ctx, id)
		if err != nil {
			return f, err
		}
		if c.VCS == nil || id == f.repository.ID {
			f.repository = r
		}
	}
	if c.VCS == nil && set.RepositoryID.Valid {
		f.branch, f.submodules = set.Branch, set.Submodules
		f.tokenID, f.installationID = set.TokenID.String, set.InstallationID.String
	}
	if err := tx.holdThose(ctx, set.OrganizationID, c.Members[polset.RelationPolicies]); err != nil {
		return f, err
	}
	if err := tx.lock(ctx, policySetRow, set.ID); err != nil {
		return f, err
	}
	locked, err := tx.PolicySet(ctx, rows.PolicySetParams{ID: set.ID})
	if err != nil {
		return f, found(err)
	}
	if !locked.PolicySet.UpdatedAt.Equal(set.UpdatedAt) || locked.PolicySet.Generation != set.Generation ||
		locked.PolicySet.RepositoryID != set.RepositoryID {
		return f, errAgain
	}
	return f, nil
}

// applyChange changes the row and names the attributes that became others.
func applyChange(set *rows.PolicySet, c polset.PolicySetChange, f following) (changed []string, err error) {
	before := *set
	if c.Name != nil {
		set.Name = *c.Name
	}
	if c.Description != nil {
		set.Description = *c.Description
	}
	if c.Global != nil {
		set.Global = *c.Global
	}
	applyAgent(set, c)
	if c.UpdatePatterns != nil {
		set.UpdatePatterns = textsColumn(*c.UpdatePatterns)
	}
	if c.TagMatchingLogic != nil {
		set.TagMatchingLogic = *c.TagMatchingLogic
	}
	if c.PoliciesPath != nil {
		set.PoliciesPath = *c.PoliciesPath
	}
	switch {
	case c.RemoveVCS:
		set.RepositoryID, set.Branch, set.Submodules = nullString(""), "", false
		set.TokenID, set.InstallationID = nullString(""), nullString("")
	case c.VCS != nil:
		set.RepositoryID, set.Branch = nullString(f.repository.ID), f.branch
		set.Submodules = f.submodules
		set.TokenID, set.InstallationID = nullString(f.tokenID), nullString(f.installationID)
	}
	oldPath, err := polset.CleanPath(before.PoliciesPath)
	if err != nil {
		return nil, err
	}
	newPath, err := polset.CleanPath(set.PoliciesPath)
	if err != nil {
		return nil, err
	}
	vcs := set.RepositoryID != before.RepositoryID || set.Branch != before.Branch ||
		set.Submodules != before.Submodules || set.TokenID != before.TokenID || set.InstallationID != before.InstallationID
	if vcs || set.RepositoryID.Valid && newPath != oldPath {
		set.Generation++
	}
	for _, a := range []struct {
		name    string
		changed bool
	}{
		{"name", set.Name != before.Name},
		{"description", set.Description != before.Description},
		{"global", set.Global != before.Global},
		{"agent-enabled", set.AgentEnabled != before.AgentEnabled},
		{"policy-tool-version", set.PolicyToolVersion != before.PolicyToolVersion},
		{"overridable", set.Overridable != before.Overridable},
		{"policies-path", set.PoliciesPath != before.PoliciesPath},
		{"policy-update-patterns", set.UpdatePatterns != before.UpdatePatterns},
		{"tag-selector-matching-logic", set.TagMatchingLogic != before.TagMatchingLogic},
		{"vcs-repo", vcs},
	} {
		if a.changed {
			changed = append(changed, a.name)
		}
	}
	return changed, nil
}

func applyAgent(set *rows.PolicySet, c polset.PolicySetChange) {
	s := polset.AgentSettings{Enabled: set.AgentEnabled, ToolVersion: set.PolicyToolVersion}
	if set.Overridable.Valid {
		s.Overridable = &set.Overridable.Bool
	}
	if c.AgentEnabled != nil {
		s.Enabled = *c.AgentEnabled
	}
	if c.PolicyToolVersion != nil {
		s.ToolVersion = *c.PolicyToolVersion
	}
	if c.Overridable != nil {
		s.Overridable = c.Overridable
	}
	s = s.For(polset.Kind(set.Kind))
	set.AgentEnabled, set.PolicyToolVersion, set.Overridable = s.Enabled, s.ToolVersion, nullBool(s.Overridable)
}

func (t *tx) updatePolicySet(ctx context.Context, set rows.PolicySet) error {
	return t.UpdatePolicySet(ctx, rows.UpdatePolicySetParams{
		ID: set.ID, Name: set.Name, Description: set.Description, Global: set.Global, Overridable: set.Overridable,
		PoliciesPath: set.PoliciesPath, RepositoryID: set.RepositoryID, Branch: set.Branch, Submodules: set.Submodules,
		TokenID: set.TokenID, InstallationID: set.InstallationID, Generation: set.Generation,
		AgentEnabled: set.AgentEnabled, PolicyToolVersion: set.PolicyToolVersion,
		UpdatePatterns: set.UpdatePatterns, TagMatchingLogic: set.TagMatchingLogic, Now: t.now,
	})
}

// ignoreUnversioned ends what a policy set has no version of yet, dry runs
// among it, whoever works on it. What has a version brings it to its end.
func (t *tx) ignoreUnversioned(ctx context.Context, set rows.PolicySet, reason string) error {
	list, err := t.UnversionedIngestions(ctx, set.ID)
	if err != nil {
		return err
	}
	for _, i := range list {
		if err := t.IgnoreIngestion(ctx, rows.IgnoreIngestionParams{ID: i.ID, Reason: reason, Now: nullTime(t.now)}); err != nil {
			return err
		}
		t.noteEnd(set.OrganizationID, i, polset.IngestionIgnored, "", reason)
		if err := t.reportIngestion(ctx, i.ID); err != nil {
			return err
		}
	}
	return t.ignoreDryRuns(ctx, set, 0, reason)
}

// DeletePolicySet removes a policy set with its versions and ingestions, and
// the rows of its repositories, present and former, that nothing else needs.
// Work in progress on it finds its lease lost.
func (s *Store) DeletePolicySet(ctx context.Context, by polset.Principal, id string) error {
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		r, err := tx.PolicySet(ctx, rows.PolicySetParams{ID: id, Tenant: by.OrganizationID})
		if err != nil {
			return found(err)
		}
		repositories, err := tx.repositoriesOfSet(ctx, r.PolicySet)
		if err != nil {
			return err
		}
		for _, repository := range repositories {
			if _, err := tx.lockRepository(ctx, repository); err != nil {
				return err
			}
		}
		if err := tx.lock(ctx, policySetRow, id); err != nil {
			return err
		}
		locked, err := tx.PolicySet(ctx, rows.PolicySetParams{ID: id})
		if err != nil {
			return found(err)
		}
		if now, err := tx.repositoriesOfSet(ctx, locked.PolicySet); err != nil {
			return err
		} else if !slices.Equal(now, repositories) {
			return errAgain
		}
		if err := tx.reportsDeleted(ctx, id); err != nil {
			return err
		}
		if _, err := tx.DeletePolicySet(ctx, id); err != nil {
			return err
		}
		for _, repository := range repositories {
			if err := tx.leave(ctx, repository); err != nil {
				return err
			}
		}
		tx.note(r.PolicySet.OrganizationID, "policy-set.deleted", id, map[string]string{"name": r.PolicySet.Name})
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete policy set %s: %w", id, err)
	}
	return nil
}

// repositoriesOfSet are, in order, the repository that a set follows and those
// that it followed and has unfinished work of.
func (t *tx) repositoriesOfSet(ctx context.Context, set rows.PolicySet) ([]string, error) {
	unfinished, err := t.RepositoriesOfUnfinished(ctx, set.ID)
	if err != nil {
		return nil, err
	}
	list := make([]string, 0, len(unfinished)+1)
	for _, id := range append(unfinished, set.RepositoryID) {
		if id.Valid {
			list = append(list, id.String)
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}
