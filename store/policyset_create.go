package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// CreatePolicySet makes a policy set and, where it follows a repository, in
// the same transaction its first ingestion with a pending version. A name
// that is taken is ErrConflict; an organization or oauth-token-id that the
// principal does not have is ErrNotFound. The repository's hook secret is in
// the answer only when this call made the repository's row.
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
			if err := s.reachByHead(ctx, tx, follow.repository, *d.VCS); err != nil {
				return err
			}
		}
		id := polset.NewID("polset")
		n, err := tx.InsertPolicySet(ctx, rows.InsertPolicySetParams{
			ID: id, OrganizationID: o.ID, Name: d.Name, Description: d.Description, Global: d.Global,
			Kind: string(d.Kind), Overridable: nullBool(d.Overridable), PoliciesPath: d.PoliciesPath,
			RepositoryID: nullString(follow.repository.ID), Branch: follow.branch, Submodules: follow.submodules,
			TokenID: nullString(follow.tokenID), Now: tx.now,
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
		})
		r, err := tx.PolicySet(ctx, rows.PolicySetParams{ID: id})
		if err != nil {
			return err
		}
		if d.VCS != nil {
			if err := s.beginAnew(ctx, tx, r.PolicySet, follow, polset.CauseCreate, d.VCS.Head); err != nil {
				return err
			}
			if r, err = tx.PolicySet(ctx, rows.PolicySetParams{ID: id}); err != nil {
				return err
			}
		}
		out = policySet(r)
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

// following is what a policy set is about to follow.
type following struct {
	repository rows.Repository
	branch     string
	submodules bool
	tokenID    string
	secret     polset.Secret // of the hook, where the repository's row is new
}

// follow finds or makes the row of the repository that a draft names. The
// caller holds the organization, so that no row is made twice, and locks the
// repository next.
func (s *Store) follow(ctx context.Context, tx *tx, organizationID string, d polset.VCSDraft) (following, error) {
	c, err := tx.ConnectionByToken(ctx, rows.ConnectionByTokenParams{TokenID: d.TokenID, Tenant: organizationID})
	if err != nil {
		return following{}, fmt.Errorf("oauth-token-id %q: %w", d.TokenID, found(err))
	}
	f := following{branch: d.Branch, submodules: d.Submodules, tokenID: d.TokenID}
	host, key := hostOf(c.Connection.HTTPURL), identifierKey(d.Identifier)
	f.repository, err = tx.RepositoryByName(ctx, rows.RepositoryByNameParams{
		OrganizationID: organizationID, Host: host, IdentifierKey: key,
	})
	if err == nil || !errors.Is(err, sql.ErrNoRows) {
		return f, err
	}
	id := polset.NewID("repo")
	if f.secret, err = newHookSecret(); err != nil {
		return following{}, err
	}
	sealed, err := s.sealHookSecrets(id, []polset.Secret{f.secret})
	if err != nil {
		return following{}, err
	}
	err = tx.InsertRepository(ctx, rows.InsertRepositoryParams{
		ID: id, OrganizationID: organizationID, HTTPURL: c.Connection.HTTPURL, Host: host, Identifier: d.Identifier,
		IdentifierKey: key, HookID: newHookID(), SealedSecrets: sealed, CreatedAt: tx.now,
	})
	if err != nil {
		return following{}, err
	}
	f.repository, err = tx.Repository(ctx, id)
	return f, err
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
			RepositoryID: f.repository.ID, Name: head.Branch, Head: head.Commit,
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
