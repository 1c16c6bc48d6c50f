package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// Version returns a version by id.
func (s *Store) Version(ctx context.Context, by polset.Principal, id string) (polset.Version, error) {
	r, err := s.reads.VersionOfTenant(ctx, rows.VersionOfTenantParams{ID: id, Tenant: by.OrganizationID})
	if err != nil {
		return polset.Version{}, fmt.Errorf("read version %s: %w", id, found(err))
	}
	return version(r)
}

const versionList = `SELECT versions.sequence, versions.id, versions.policy_set_id, versions.source, versions.status,
	versions.pending_at, versions.ingressing_at, versions.ready_at, versions.errored_at, versions.error,
	versions.error_message, versions.commit_id, versions.commit_url, versions.identifier, versions.branch,
	versions.content, versions.digest, versions.tar_digest, versions.size, versions.tar_size, versions.files,
	versions.policies_directory, versions.policies, versions.created_at, versions.updated_at, versions.diagnostics FROM versions`

// VersionsByID returns those of the versions that the principal may see, in
// any order.
func (s *Store) VersionsByID(ctx context.Context, by polset.Principal, ids []string) ([]polset.Version, error) {
	var out []polset.Version
	for len(ids) > 0 {
		chunk := ids[:min(len(ids), maxPage)]
		ids = ids[len(chunk):]
		var q filter
		q.in("versions.id", chunk)
		if by.OrganizationID != "" {
			q.add("policy_sets.organization_id = ?", by.OrganizationID)
		}
		list, err := queryAll(ctx, s, "versions", versionList+" JOIN policy_sets ON policy_sets.id = versions.policy_set_id"+q.where(), q.args, scanVersion)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// Versions lists a policy set's versions, the newest first, and says how many
// there are in all. Those that were made of the set's own policies are asked
// for by their source.
func (s *Store) Versions(ctx context.Context, by polset.Principal, policySetID string, f polset.VersionFilter, page polset.Page) ([]polset.Version, int, error) {
	if _, err := s.PolicySet(ctx, by, policySetID); err != nil {
		return nil, 0, err
	}
	var q filter
	q.add("versions.policy_set_id = ?", policySetID)
	q.in("versions.status", f.Statuses)
	if q.in("versions.source", f.Sources); len(f.Sources) == 0 {
		q.add("versions.source <> ?", polset.SourcePolicies)
	}
	if f.Commit != "" {
		q.add("versions.commit_id = ?", f.Commit)
	}
	return queryPage(ctx, s, "versions", versionList, q, "versions.sequence DESC", page, scanVersion)
}

func scanVersion(result *sql.Rows) (polset.Version, error) {
	var r rows.Version
	err := result.Scan(&r.Sequence, &r.ID, &r.PolicySetID, &r.Source, &r.Status, &r.PendingAt, &r.IngressingAt,
		&r.ReadyAt, &r.ErroredAt, &r.Error, &r.ErrorMessage, &r.CommitID, &r.CommitURL, &r.Identifier, &r.Branch,
		&r.Content, &r.Digest, &r.TarDigest, &r.Size, &r.TarSize, &r.Files, &r.PoliciesDirectory, &r.Policies,
		&r.CreatedAt, &r.UpdatedAt, &r.Diagnostics)
	if err != nil {
		return polset.Version{}, err
	}
	return version(r)
}

// ReadyVersions visits every ready version of every organization, in the
// order of their creation, until visit returns an error.
func (s *Store) ReadyVersions(ctx context.Context, visit func(polset.Version) error) error {
	return readyVersions(ctx, s.reads, visit)
}

func readyVersions(ctx context.Context, q *rows.Queries, visit func(polset.Version) error) error {
	const batch = 500
	var after int64
	for {
		list, err := q.ReadyVersionsAfter(ctx, rows.ReadyVersionsAfterParams{Sequence: after, Size: batch})
		if err != nil {
			return fmt.Errorf("list ready versions: %w", err)
		}
		for _, r := range list {
			v, err := version(r)
			if err != nil {
				return err
			}
			if err := visit(v); err != nil {
				return err
			}
			after = r.Sequence
		}
		if len(list) < batch {
			return nil
		}
	}
}

func version(r rows.Version) (v polset.Version, err error) {
	v = polset.Version{
		ID: r.ID, PolicySetID: r.PolicySetID, Source: r.Source, Status: polset.VersionStatus(r.Status),
		PendingAt: r.PendingAt.UTC(), IngressingAt: utc(r.IngressingAt), ReadyAt: utc(r.ReadyAt), ErroredAt: utc(r.ErroredAt),
		Error: polset.Class(r.Error), ErrorMessage: r.ErrorMessage,
		Commit: r.CommitID, CommitURL: r.CommitURL, Identifier: r.Identifier, Branch: r.Branch,
		Artifact: polset.Artifact{
			Digest: r.Digest, TarDigest: r.TarDigest, Size: r.Size, TarSize: r.TarSize, Files: int(r.Files),
			PoliciesDirectory: r.PoliciesDirectory,
		},
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
	if r.Content != "" {
		if err := json.Unmarshal([]byte(r.Content), &v.Artifact.Content); err != nil {
			return v, fmt.Errorf("read content of version %s: %w", r.ID, err)
		}
	}
	if err := json.Unmarshal([]byte(r.Policies), &v.Artifact.Policies); err != nil {
		return v, fmt.Errorf("read policies of version %s: %w", r.ID, err)
	}
	if v.Diagnostics, err = diagnostics(r.Diagnostics); err != nil {
		return v, fmt.Errorf("read diagnostics of version %s: %w", r.ID, err)
	}
	return v, nil
}

// diagnosticsText is diagnostics as the rows hold them.
func diagnosticsText(list []polset.Diagnostic) (string, error) {
	if len(list) == 0 {
		return "", nil
	}
	b, err := json.Marshal(list)
	return string(b), err
}

func diagnostics(text string) (list []polset.Diagnostic, err error) {
	if text == "" {
		return nil, nil
	}
	return list, json.Unmarshal([]byte(text), &list)
}

// contentText is content as the rows hold it.
func contentText(c polset.Content) string {
	if c.Tree == "" {
		return "" // nothing is known yet, or it is an upload's: its TarDigest names it
	}
	return c.String()
}

const ingestionList = `SELECT ingestions.sequence, ingestions.id, ingestions.policy_set_id, ingestions.repository_id,
	ingestions.token_id, ingestions.generation, ingestions.branch, ingestions.pushed_branch, ingestions.commit_id,
	ingestions.path, ingestions.submodules, ingestions.kind, ingestions.cause, ingestions.delivery_guid,
	ingestions.status, ingestions.reason, ingestions.version_id, ingestions.attempts, ingestions.failures,
	ingestions.lease, ingestions.due_at, ingestions.enqueue_at, ingestions.created_at, ingestions.started_at,
	ingestions.ended_at, ingestions.installation_id, ingestions.update_patterns FROM ingestions`

// Ingestions lists a policy set's ingestions, the newest first, and says how
// many there are in all: the commit-to-version history.
func (s *Store) Ingestions(ctx context.Context, by polset.Principal, policySetID string, f polset.VersionFilter, page polset.Page) ([]polset.Ingestion, int, error) {
	if _, err := s.PolicySet(ctx, by, policySetID); err != nil {
		return nil, 0, err
	}
	var q filter
	q.add("ingestions.policy_set_id = ?", policySetID)
	q.in("ingestions.status", f.Statuses)
	if f.Commit != "" {
		q.add("ingestions.commit_id = ?", f.Commit)
	}
	return queryPage(ctx, s, "ingestions", ingestionList, q, "ingestions.sequence DESC", page, scanIngestion)
}

func scanIngestion(result *sql.Rows) (polset.Ingestion, error) {
	var i rows.Ingestion
	err := result.Scan(&i.Sequence, &i.ID, &i.PolicySetID, &i.RepositoryID, &i.TokenID, &i.Generation, &i.Branch,
		&i.PushedBranch, &i.CommitID, &i.Path, &i.Submodules, &i.Kind, &i.Cause, &i.DeliveryGUID, &i.Status, &i.Reason,
		&i.VersionID, &i.Attempts, &i.Failures, &i.Lease, &i.DueAt, &i.EnqueueAt, &i.CreatedAt, &i.StartedAt, &i.EndedAt,
		&i.InstallationID, &i.UpdatePatterns)
	if err != nil {
		return polset.Ingestion{}, err
	}
	return ingestion(i), nil
}

func ingestion(i rows.Ingestion) polset.Ingestion {
	return polset.Ingestion{
		ID: i.ID, Sequence: i.Sequence, PolicySetID: i.PolicySetID, RepositoryID: i.RepositoryID.String,
		TokenID: i.TokenID.String, InstallationID: i.InstallationID.String, Generation: i.Generation, Branch: i.Branch, Commit: i.CommitID, Path: i.Path,
		Submodules: i.Submodules, Kind: polset.Kind(i.Kind), Cause: polset.Cause(i.Cause), DeliveryGUID: i.DeliveryGUID,
		UpdatePatterns: texts(i.UpdatePatterns),
		Status:         polset.IngestionStatus(i.Status), Reason: i.Reason, VersionID: i.VersionID,
		Attempts: int(i.Attempts), Failures: int(i.Failures),
		CreatedAt: i.CreatedAt.UTC(), StartedAt: utc(i.StartedAt), EndedAt: utc(i.EndedAt),
	}
}
