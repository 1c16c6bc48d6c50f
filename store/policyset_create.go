package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// CreatePolicySet makes a policy set and, where it follows a repository, in
// the same transaction its first ingestion with a pending version. A name
// that is taken is ErrConflict; an organization or oauth-token-id that the
// principal does not have is ErrNotFound. The repository's hook secret is in
// the answer only when this call made the repository's row. Where members,
// tag selectors or vcs-repo are refused the error is a polset.RefusedError.
func (s *Store) CreatePolicySet(ctx context.Context, by polset.Principal, d polset.PolicySetDraft) (polset.PolicySet, error) {
	var out polset.PolicySet
	err := s.write(ctx, by, func(ctx context.Context, tx *tx) error {
		o, err := tx.organization(ctx, by, d.Organization)
		if err != nil {
			return err
		}
		if err := tx.lock(ctx, organizationRow, o.ID); err != nil {
			return err
		}
		var follow following
		if d.VCS != nil {
			if follow, err = s.follow(ctx, tx, o.ID, *d.VCS); err != nil {
				return err
			}
			if follow.repository, err = tx.lockRepository(ctx, follow.repository.ID); err != nil {
				return err
			}
			if follow.repository, err = s.learn(ctx, tx, follow, *d.VCS); err != nil {
				return err
			}
		}
		if err := tx.holdThose(ctx, o.ID, d.Members.Policies); err != nil {
			return err
		}
		id := polset.NewID("polset")
		agent := polset.AgentSettings{Enabled: d.AgentEnabled, ToolVersion: d.PolicyToolVersion, Overridable: d.Overridable}.For(d.Kind)
		n, err := tx.InsertPolicySet(ctx, rows.InsertPolicySetParams{
			ID: id, OrganizationID: o.ID, Name: d.Name, Description: d.Description, Global: d.Global,
			Kind: string(d.Kind), Overridable: nullBool(agent.Overridable), PoliciesPath: d.PoliciesPath,
			RepositoryID: nullString(follow.repository.ID), Branch: follow.branch, Submodules: follow.submodules,
			TokenID: nullString(follow.tokenID), InstallationID: nullString(follow.installationID),
			AgentEnabled: agent.Enabled, PolicyToolVersion: agent.ToolVersion,
			UpdatePatterns: textsColumn(d.UpdatePatterns), TagMatchingLogic: d.TagMatchingLogic, Now: tx.now,
		})
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("the name is taken: %w", polset.ErrConflict)
		}
		tx.note(o.ID, "policy-set.created", id, map[string]string{
			"name": d.Name, "kind": string(d.Kind), "policies-path": d.PoliciesPath,
			"repository": follow.repository.Identifier, "branch": follow.branch, "token": follow.tokenID,
			"installation": follow.installationID, "global": strconv.FormatBool(d.Global),
			"policy-update-patterns": textsColumn(d.UpdatePatterns),
		})
		r, err := tx.PolicySet(ctx, rows.PolicySetParams{ID: id})
		if err != nil {
			return err
		}
		if _, err := tx.arrange(ctx, r.PolicySet, polset.PolicySet{}, arrangementOf(d)); err != nil {
			return err
		}
		if d.VCS != nil {
			if err := s.beginAnew(ctx, tx, r.PolicySet, follow, polset.CauseCreate, d.VCS.Head); err != nil {
				return err
			}
			if follow.secret, err = s.settleFollowing(ctx, tx, r.PolicySet, follow.repository); err != nil {
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
		return polset.PolicySet{}, fmt.Errorf("create policy set %q: %w", d.Name, err)
	}
	return out, nil
}

// arrangementOf is what a new policy set begins with.
func arrangementOf(d polset.PolicySetDraft) arrangement {
	a := arrangement{members: map[polset.Relation][]string{}, selectors: &d.TagSelectors}
	for _, r := range polset.Relations() {
		a.members[r] = *d.Members.Of(r)
	}
	return a
}

// following is what a policy set is about to follow.
type following struct {
	repository     rows.Repository
	branch         string
	submodules     bool
	tokenID        string
	installationID string
	// vouched says that what was asked of the repository's facts is the host
	// itself, not an address that the organization chose beside it.
	vouched bool
	secret  polset.Secret // of the repository's own hook, where nobody needed it before
}

// follow finds or makes the row of the repository that a draft names. The
// caller holds the organization, so that no row is made twice, and locks the
// repository next.
func (s *Store) follow(ctx context.Context, tx *tx, organizationID string, d polset.VCSDraft) (following, error) {
	f := following{branch: d.Branch, submodules: d.Submodules, tokenID: d.TokenID, installationID: d.InstallationID}
	httpURL := ""
	if d.InstallationID != "" {
		i, err := tx.holdInstallation(ctx, organizationID, d.InstallationID)
		if err != nil {
			return f, fmt.Errorf("github-app-installation-id %q: %w", d.InstallationID, err)
		}
		httpURL, f.vouched, f.tokenID = i.HTTPURL, true, ""
	} else {
		c, err := tx.ConnectionByToken(ctx, rows.ConnectionByTokenParams{TokenID: d.TokenID, Tenant: organizationID})
		if err != nil {
			return f, fmt.Errorf("oauth-token-id %q: %w", d.TokenID, found(err))
		}
		httpURL, f.vouched = c.Connection.HTTPURL, sameServer(c.Connection.HTTPURL, c.Connection.APIURL)
	}
	var err error
	f.repository, err = tx.findRepository(ctx, organizationID, hostOf(httpURL), d)
	if missing(err) {
		f.repository, err = s.insertRepository(ctx, tx, organizationID, httpURL, d.Identifier)
	}
	return f, err
}

// findRepository finds the row of a repository: by its number where GitHub told
// it, else by its name.
func (t *tx) findRepository(ctx context.Context, organizationID, host string, d polset.VCSDraft) (rows.Repository, error) {
	key := identifierKey(d.Identifier)
	if d.Facts.ID == 0 {
		return t.RepositoryByName(ctx, rows.RepositoryByNameParams{OrganizationID: organizationID, Host: host, IdentifierKey: key})
	}
	list, err := t.RepositoriesByNumber(ctx, rows.RepositoriesByNumberParams{OrganizationID: organizationID, Host: host, ExternalID: d.Facts.ID})
	if err != nil {
		return rows.Repository{}, err
	}
	if len(list) > 0 {
		return list[0], nil
	}
	return t.RepositoryByNameOnly(ctx, rows.RepositoryByNameOnlyParams{OrganizationID: organizationID, Host: host, IdentifierKey: key})
}

func (s *Store) insertRepository(ctx context.Context, tx *tx, organizationID, httpURL, identifier string) (rows.Repository, error) {
	id := polset.NewID("repo")
	secret, err := newHookSecret()
	if err != nil {
		return rows.Repository{}, err
	}
	sealed, err := s.sealHookSecrets(id, []hookSecret{{value: secret}})
	if err != nil {
		return rows.Repository{}, err
	}
	err = tx.InsertRepository(ctx, rows.InsertRepositoryParams{
		ID: id, OrganizationID: organizationID, HTTPURL: httpURL, Host: hostOf(httpURL), Identifier: identifier,
		IdentifierKey: identifierKey(identifier), HookID: newHookID(), SealedSecrets: sealed, CreatedAt: tx.now,
	})
	if err != nil {
		return rows.Repository{}, err
	}
	return tx.Repository(ctx, id)
}

// lockRepository holds a repository and reads it as it is now. One that went
// away with its last policy set begins the transaction anew.
func (t *tx) lockRepository(ctx context.Context, id string) (rows.Repository, error) {
	err := t.lock(ctx, repositoryRow, id)
	if errors.Is(err, polset.ErrNotFound) {
		return rows.Repository{}, errAgain
	}
	if err != nil {
		return rows.Repository{}, err
	}
	return t.Repository(ctx, id)
}

// beginAnew gives a set that follows something new its first ingestion of it,
// with a version that is pending at once.
func (s *Store) beginAnew(ctx context.Context, tx *tx, set rows.PolicySet, f following, cause polset.Cause, head polset.Head) error {
	if head.Branch != "" && head.Commit != "" {
		// This look is older than it seems by the time that its caller took,
		// so it never replaces another.
		err := tx.ObserveBranchFirst(ctx, rows.ObserveBranchFirstParams{
			RepositoryID: f.repository.ID, Name: head.Branch, Head: head.Commit, Now: nullTime(tx.now),
		})
		if err != nil {
			return err
		}
		if f.branch == "" && f.repository.DefaultBranch == "" {
			f.repository.DefaultBranch = head.Branch
			err := tx.SetDefaultBranch(ctx, rows.SetDefaultBranchParams{ID: f.repository.ID, DefaultBranch: head.Branch})
			if err != nil {
				return err
			}
		}
	}
	i, err := s.insertIngestion(ctx, tx, set, arrival{cause: cause, commit: head.Commit})
	if err != nil {
		return err
	}
	if _, err := tx.createVersion(ctx, held{ingestion: i, set: set, repository: f.repository}); err != nil {
		return err
	}
	return s.enqueue(ctx, tx, i)
}

func nullBool(b *bool) sql.NullBool {
	if b == nil {
		return sql.NullBool{}
	}
	return sql.NullBool{Bool: *b, Valid: true}
}
