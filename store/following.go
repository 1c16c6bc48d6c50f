package store

import (
	"cmp"
	"context"
	"net/url"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// learn records what was seen of a repository, which is held, before a policy
// set begins to follow it: its number and its name of today, where GitHub told
// them to the very credential that it is followed with, and that its head was
// read.
func (s *Store) learn(ctx context.Context, tx *tx, f following, d polset.VCSDraft) (rows.Repository, error) {
	r := f.repository
	if d.Facts.ID != 0 {
		if r.ExternalID != 0 && r.ExternalID != d.Facts.ID {
			return r, errAgain // bound to another number since it was found
		}
		p := polset.Push{RepositoryID: d.Facts.ID, Identifier: d.Identifier, DefaultBranch: d.Facts.DefaultBranch}
		if f.vouched {
			p.Identifier = cmp.Or(d.Facts.Identifier, d.Identifier)
		}
		var err error
		if r, err = tx.bind(ctx, r, p, f.vouched); err != nil {
			return r, err
		}
		if err := s.archived(ctx, tx, r, d.Facts.Archived); err != nil {
			return r, err
		}
	}
	if d.Facts.ID != 0 && f.vouched {
		if err := s.reach(ctx, tx, r, r.IdentifierKey, 0); err != nil {
			return r, err
		}
	} else if err := s.reachByHead(ctx, tx, r, d); err != nil {
		return r, err
	}
	return tx.Repository(ctx, r.ID)
}

// archived records whether nothing can be pushed to a repository, and says so
// on the policy sets that follow it already.
func (s *Store) archived(ctx context.Context, tx *tx, r rows.Repository, is bool) error {
	if r.Archived == is {
		return nil
	}
	if err := tx.SetRepositoryArchived(ctx, rows.SetRepositoryArchivedParams{ID: r.ID, Archived: is}); err != nil {
		return err
	}
	sets, err := tx.PolicySetsOfRepository(ctx, nullString(r.ID))
	if err != nil {
		return err
	}
	if !is {
		return tx.heal(ctx, degradedFor(sets, polset.DegradedRepositoryArchived))
	}
	return tx.degrade(ctx, degradedFor(sets, ""), string(polset.DegradedRepositoryArchived), archivedMessage(r))
}

// settleFollowing is for a policy set that has just begun to follow a
// repository: it returns the secret of the repository's own hook where nobody
// needed that before.
func (s *Store) settleFollowing(ctx context.Context, tx *tx, set rows.PolicySet, r rows.Repository) (secret polset.Secret, err error) {
	if r.Archived {
		err := tx.degrade(ctx, []rows.PolicySet{set}, string(polset.DegradedRepositoryArchived), archivedMessage(r))
		if err != nil {
			return secret, err
		}
	}
	isNew, err := tx.syncHook(ctx, r)
	if err != nil || !isNew {
		return secret, err
	}
	return s.newestSecret(r)
}

// followedAnew is settleFollowing for a set that followed something else
// before, or the same with another credential: what was wrong with that is no
// more.
func (s *Store) followedAnew(ctx context.Context, tx *tx, before, set rows.PolicySet, f following) (secret polset.Secret, err error) {
	if err := tx.heal(ctx, []rows.PolicySet{set}); err != nil {
		return secret, err
	}
	if set.RepositoryID.Valid {
		set.Degraded = ""
		if secret, err = s.settleFollowing(ctx, tx, set, f.repository); err != nil {
			return secret, err
		}
	}
	if old := before.RepositoryID; old.Valid && old != set.RepositoryID {
		return secret, tx.leave(ctx, old.String)
	}
	return secret, nil
}

// leave gives up what a policy set that does not follow a repository any more
// was the last to need of it.
func (t *tx) leave(ctx context.Context, repositoryID string) error {
	r, err := t.Repository(ctx, repositoryID)
	if err != nil {
		return err
	}
	if _, err := t.syncHook(ctx, r); err != nil {
		return err
	}
	_, err = t.RetireRepository(ctx, repositoryID)
	return err
}

// sameServer tells whether a REST API is that of a host, so that it can be
// believed about the host's repositories: whoever makes a connection names
// both. It is on the host itself, or on the host's own name below api, as
// api.github.com is.
func sameServer(httpURL, apiURL string) bool {
	web, err := url.Parse(httpURL)
	if err != nil || web.Hostname() == "" {
		return false
	}
	api, err := url.Parse(apiURL)
	if err != nil || api.Scheme != web.Scheme {
		return false
	}
	if strings.EqualFold(hostOf(api.Scheme+"://"+api.Host), hostOf(web.Scheme+"://"+web.Host)) {
		return true
	}
	return web.Port() == "" && api.Port() == "" && strings.EqualFold(api.Hostname(), "api."+web.Hostname())
}
