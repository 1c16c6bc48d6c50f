package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// Start makes the ingestion's version, where it has none yet, and moves it
// from pending to ingressing. A version that an earlier attempt left
// ingressing stays so.
func (s *Store) Start(ctx context.Context, l polset.Lease, content polset.Content) (polset.Version, error) {
	var out polset.Version
	err := s.move(ctx, l, "start", func(ctx context.Context, tx *tx, h held) error {
		if err := h.running(); err != nil {
			return err
		}
		v, err := tx.startVersion(ctx, &h, contentText(content))
		if err != nil {
			return err
		}
		out, err = version(v)
		return err
	})
	return out, err
}

// Finish moves the version to ready and ends the ingestion. The policy set's
// current version becomes this one only if the ingestion is of the set's
// present generation and its commit is where the branch was last seen.
func (s *Store) Finish(ctx context.Context, l polset.Lease, a polset.Artifact) error {
	return s.move(ctx, l, "finish", func(ctx context.Context, tx *tx, h held) error {
		if done, err := h.ended(polset.IngestionVersioned); done || err != nil {
			return err
		}
		policies, err := json.Marshal(nonNil(a.Policies))
		if err != nil {
			return err
		}
		if h.ingestion.VersionID == "" {
			return fmt.Errorf("it has no version yet: %w", polset.ErrConflict)
		}
		v, err := tx.Version(ctx, h.ingestion.VersionID)
		if err != nil {
			return err
		}
		if err := canMove(v, polset.VersionReady); err != nil {
			return err
		}
		err = tx.FinishVersion(ctx, rows.FinishVersionParams{
			ID: h.ingestion.VersionID, Now: nullTime(tx.now), Content: contentText(a.Content), Digest: a.Digest,
			TarDigest: a.TarDigest, Size: a.Size, TarSize: a.TarSize, Files: int64(a.Files),
			PoliciesDirectory: a.PoliciesDirectory, Policies: string(policies),
		})
		if err != nil {
			return err
		}
		tx.noteVersion(h, "version.ready", map[string]string{
			"digest": a.Digest, "tar-digest": a.TarDigest, "tree": a.Content.Tree,
		})
		if v, err = tx.Version(ctx, v.ID); err != nil {
			return err
		}
		if _, err := tx.makeCurrent(ctx, h, v); err != nil {
			return err
		}
		return s.end(ctx, tx, h, polset.IngestionVersioned, v.ID, "")
	})
}

// Fail moves the version to errored, through the moves that lie before, and
// ends the ingestion. The version is made for the purpose if need be: every
// failure of a commit can be seen. What is in force stays in force.
func (s *Store) Fail(ctx context.Context, l polset.Lease, f *polset.Failure, content polset.Content) error {
	return s.move(ctx, l, "fail", func(ctx context.Context, tx *tx, h held) error {
		if done, err := h.ended(polset.IngestionFailed); done || err != nil {
			return err
		}
		return s.fail(ctx, tx, h, f, content)
	})
}

func (s *Store) fail(ctx context.Context, tx *tx, h held, f *polset.Failure, content polset.Content) error {
	if err := s.reachByFailure(ctx, tx, h.repository, f); err != nil {
		return err
	}
	v, err := tx.startVersion(ctx, &h, contentText(content))
	if err != nil {
		return err
	}
	if err := canMove(v, polset.VersionErrored); err != nil {
		return err
	}
	where, err := diagnosticsText(f.Diagnostics)
	if err != nil {
		return err
	}
	err = tx.FailVersion(ctx, rows.FailVersionParams{
		ID: v.ID, Now: nullTime(tx.now), Content: cmp.Or(contentText(content), v.Content),
		Error: string(f.Class), ErrorMessage: f.Message, Diagnostics: where,
	})
	if err != nil {
		return err
	}
	if f.Class == polset.ClassAuth {
		if err := tx.refused(ctx, h, f.Message); err != nil {
			return err
		}
	}
	tx.noteVersion(h, "version.errored", map[string]string{"error": string(f.Class), "tree": content.Tree})
	return s.end(ctx, tx, h, polset.IngestionFailed, v.ID, "")
}

// refused degrades the set of an ingestion whose credential, which is the set's
// present one, git refused.
func (t *tx) refused(ctx context.Context, h held, message string) error {
	if h.ingestion.Generation != h.set.Generation || specific(h.set.Degraded) ||
		h.ingestion.TokenID != h.set.TokenID || h.ingestion.InstallationID != h.set.InstallationID {
		return nil
	}
	return t.degrade(ctx, []rows.PolicySet{h.set}, string(polset.DegradedAccessLost), message)
}

// Unchanged ends an ingestion that would repeat a version of its policy set,
// and names that version. The version becomes current under the conditions of
// Finish, if it is ready. An ingestion that has a version of its own always
// makes it, so for such a one this is ErrConflict.
func (s *Store) Unchanged(ctx context.Context, l polset.Lease, versionID string) error {
	return s.move(ctx, l, "end", func(ctx context.Context, tx *tx, h held) error {
		if done, err := h.ended(polset.IngestionUnchanged); done || err != nil {
			return err
		}
		if h.ingestion.VersionID != "" {
			return fmt.Errorf("it has a version of its own: %w", polset.ErrConflict)
		}
		v, err := tx.Version(ctx, versionID)
		if err != nil || v.PolicySetID != h.set.ID {
			return fmt.Errorf("version %s: %w", versionID, cmp.Or(found(err), polset.ErrNotFound))
		}
		if _, err := tx.makeCurrent(ctx, h, v); err != nil {
			return err
		}
		return s.end(ctx, tx, h, polset.IngestionUnchanged, v.ID, "")
	})
}

// Ignore ends an ingestion whose commit changes, since another, nothing that its
// update patterns name. It names the version that the other was brought to, which
// is in force and stays so. ErrConflict says that something else is by now, or
// that the ingestion has a version of its own: it needs another end.
func (s *Store) Ignore(ctx context.Context, l polset.Lease, since, reason string) error {
	return s.move(ctx, l, "end", func(ctx context.Context, tx *tx, h held) error {
		if done, err := h.ended(polset.IngestionIgnored); done || err != nil {
			return err
		}
		if h.ingestion.VersionID != "" {
			return fmt.Errorf("it has a version of its own: %w", polset.ErrConflict)
		}
		commit, versionID, err := tx.processed(ctx, h.ingestion)
		if err != nil {
			return err
		}
		if since == "" || commit != since {
			return fmt.Errorf("what is in force is not of commit %s: %w", since, polset.ErrConflict)
		}
		return s.end(ctx, tx, h, polset.IngestionIgnored, versionID, reason)
	})
}

// processed is the last commit that was brought to a version with the settings
// of an ingestion, and that version; "" where it is not the one in force. Only
// what is in force can be left so: a set that is broken, or that was rolled back,
// takes whatever comes.
func (t *tx) processed(ctx context.Context, i rows.Ingestion) (commit, versionID string, err error) {
	last, err := t.LastProcessed(ctx, rows.LastProcessedParams{PolicySetID: i.PolicySetID, Generation: i.Generation})
	if errors.Is(found(err), polset.ErrNotFound) {
		return "", "", nil
	}
	if err != nil || last.VersionID != last.CurrentVersionID {
		return "", "", err
	}
	return last.CommitID, last.VersionID, nil
}

// createVersion gives an ingestion its version, pending, which is the newest
// of the policy set from now on if it is of the set's present generation.
func (t *tx) createVersion(ctx context.Context, h held) (rows.Version, error) {
	id := polset.NewID("polsetver")
	err := t.InsertVersion(ctx, rows.InsertVersionParams{
		ID: id, PolicySetID: h.set.ID, Source: polset.SourceGitHub, CommitID: h.ingestion.CommitID,
		CommitURL:  commitURL(h.repository.HTTPURL, h.repository.Identifier, h.ingestion.CommitID),
		Identifier: h.repository.Identifier,
		Branch:     cmp.Or(h.ingestion.Branch, h.ingestion.PushedBranch, h.repository.DefaultBranch),
		Now:        t.now,
	})
	if err != nil {
		return rows.Version{}, err
	}
	if err := t.GiveIngestionVersion(ctx, rows.GiveIngestionVersionParams{ID: h.ingestion.ID, VersionID: id}); err != nil {
		return rows.Version{}, err
	}
	if h.ingestion.Generation == h.set.Generation {
		if err := t.SetNewestVersion(ctx, rows.SetNewestVersionParams{ID: h.set.ID, NewestVersionID: id}); err != nil {
			return rows.Version{}, err
		}
	}
	h.ingestion.VersionID = id
	t.noteVersion(h, "version.pending", nil)
	return t.Version(ctx, id)
}

// startVersion brings the ingestion's version to ingressing from wherever it
// legally is.
func (t *tx) startVersion(ctx context.Context, h *held, content string) (v rows.Version, err error) {
	if h.ingestion.VersionID == "" {
		v, err = t.createVersion(ctx, *h)
		h.ingestion.VersionID = v.ID
	} else {
		v, err = t.Version(ctx, h.ingestion.VersionID)
	}
	if err != nil || v.Status == string(polset.VersionIngressing) {
		return v, err
	}
	if err := canMove(v, polset.VersionIngressing); err != nil {
		return v, err
	}
	if err := t.StartVersion(ctx, rows.StartVersionParams{ID: v.ID, Content: content, Now: nullTime(t.now)}); err != nil {
		return v, err
	}
	t.noteVersion(*h, "version.ingressing", nil)
	return t.Version(ctx, v.ID)
}

// canMove refuses a move that the life of a version does not know. The locks
// that every move holds keep the version as it was read.
func canMove(v rows.Version, next polset.VersionStatus) error {
	if !polset.VersionStatus(v.Status).CanMove(next) {
		return fmt.Errorf("its version is %s: %w", v.Status, polset.ErrConflict)
	}
	return nil
}

// makeCurrent puts a ready version in force if the ingestion still speaks for
// the set: of the present generation, and of the commit where the branch was
// last seen. So neither a late worker nor a replayed delivery can roll back. An
// upload, which has no commit, speaks for the set unless a version that was
// created later is in force. It says whether another was in force.
func (t *tx) makeCurrent(ctx context.Context, h held, v rows.Version) (changed bool, err error) {
	if v.Status != string(polset.VersionReady) || h.ingestion.Generation != h.set.Generation ||
		h.ingestion.RepositoryID != h.set.RepositoryID {
		return false, nil
	}
	if h.ingestion.Cause == string(polset.CauseUpload) {
		if newer, err := t.outranks(ctx, v, h.set.CurrentVersionID); err != nil || !newer {
			return false, err
		}
		return true, t.putInForce(ctx, h, v)
	}
	if h.ingestion.CommitID == "" {
		return false, nil
	}
	seen, err := t.Branch(ctx, rows.BranchParams{
		RepositoryID: h.repository.ID, Name: cmp.Or(h.set.Branch, h.repository.DefaultBranch),
	})
	if errors.Is(found(err), polset.ErrNotFound) {
		return false, nil
	}
	if err != nil || seen.Head != h.ingestion.CommitID || h.set.CurrentVersionID == v.ID {
		return false, err
	}
	return true, t.putInForce(ctx, h, v)
}

func (t *tx) putInForce(ctx context.Context, h held, v rows.Version) error {
	var content polset.Content
	if v.Content != "" {
		if err := json.Unmarshal([]byte(v.Content), &content); err != nil {
			return fmt.Errorf("read content of version %s: %w", v.ID, err)
		}
	}
	if err := t.SetCurrentVersion(ctx, rows.SetCurrentVersionParams{ID: h.set.ID, CurrentVersionID: v.ID}); err != nil {
		return err
	}
	t.note(h.set.OrganizationID, "policy-set.current", h.set.ID, map[string]string{
		"version": v.ID, "from": h.set.CurrentVersionID, "commit": h.ingestion.CommitID, "tree": content.Tree,
		"digest": v.Digest, "delivery": h.ingestion.DeliveryGUID, "ingestion": h.ingestion.ID,
	})
	return nil
}

func (t *tx) noteVersion(h held, action string, details map[string]string) {
	all := map[string]string{
		"policy-set": h.set.ID, "ingestion": h.ingestion.ID, "commit": h.ingestion.CommitID, "delivery": h.ingestion.DeliveryGUID,
	}
	for k, v := range details {
		all[k] = v
	}
	t.note(h.set.OrganizationID, action, h.ingestion.VersionID, all)
}

func nonNil(p []polset.PolicySummary) []polset.PolicySummary {
	if p == nil {
		return []polset.PolicySummary{}
	}
	return p
}
