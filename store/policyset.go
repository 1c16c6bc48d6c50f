package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// PolicySet returns a policy set by id.
func (s *Store) PolicySet(ctx context.Context, by polset.Principal, id string) (out polset.PolicySet, err error) {
	err = s.snapshot(ctx, func(db rows.DBTX) error {
		r, err := rows.New(db).PolicySet(ctx, rows.PolicySetParams{ID: id, Tenant: by.OrganizationID})
		if err != nil {
			return found(err)
		}
		var now time.Time
		if gaping(r) {
			if now, err = s.dialect.begin(ctx, db); err != nil {
				return err
			}
		}
		out, err = wholePolicySet(ctx, db, r, now)
		return err
	})
	if err != nil {
		return polset.PolicySet{}, fmt.Errorf("read policy set %s: %w", id, err)
	}
	return out, nil
}

// wholePolicySet is a policy set with its members.
func wholePolicySet(ctx context.Context, db rows.DBTX, r rows.PolicySetRow, now time.Time) (polset.PolicySet, error) {
	sets := []polset.PolicySet{policySet(r, now)}
	err := addMembers(ctx, db, sets)
	return sets[0], err
}

// wholePolicySet reads a policy set as the transaction leaves it.
func (t *tx) wholePolicySet(ctx context.Context, id string) (polset.PolicySet, error) {
	r, err := t.PolicySet(ctx, rows.PolicySetParams{ID: id})
	if err != nil {
		return polset.PolicySet{}, found(err)
	}
	return wholePolicySet(ctx, t.jobs, r, t.now)
}

const policySetList = `SELECT policy_sets.sequence, policy_sets.id, policy_sets.organization_id, policy_sets.name,
	policy_sets.description, policy_sets.global, policy_sets.kind, policy_sets.overridable, policy_sets.policies_path,
	policy_sets.repository_id, policy_sets.branch, policy_sets.submodules, policy_sets.token_id, policy_sets.generation,
	policy_sets.newest_version_id, policy_sets.current_version_id, policy_sets.created_at, policy_sets.updated_at,
	policy_sets.installation_id, policy_sets.degraded, policy_sets.degraded_message, policy_sets.degraded_at,
	policy_sets.ingested_commit, policy_sets.ingested_at, policy_sets.settled_head, policy_sets.followed_at,
	policy_sets.agent_enabled, policy_sets.policy_tool_version, policy_sets.update_patterns, policy_sets.tag_matching_logic,
	policy_sets.policies_revision, policy_sets.materialized_revision, policy_sets.materialized_version_id,
	policy_sets.materialize_lease, policy_sets.materialize_failures, policy_sets.materialize_due_at,
	COALESCE(repositories.http_url, ''), COALESCE(repositories.identifier, ''), COALESCE(repositories.hook_id, ''),
	COALESCE(branches.head, ''), branches.seen_at, branches.changed_at,
	COALESCE(hooks.revision, 0), COALESCE(hooks.sent, 0), COALESCE(hooks.manual, '')
FROM policy_sets LEFT JOIN repositories ON repositories.id = policy_sets.repository_id
	LEFT JOIN hooks ON hooks.id = repositories.hook_id
	LEFT JOIN branches ON branches.repository_id = repositories.id
		AND branches.name = COALESCE(NULLIF(policy_sets.branch, ''), repositories.default_branch)`

// PolicySets lists an organization's policy sets in the order of their
// creation, and says how many there are in all.
func (s *Store) PolicySets(ctx context.Context, by polset.Principal, organization string, f polset.PolicySetFilter, page polset.Page) ([]polset.PolicySet, int, error) {
	o, err := s.Organization(ctx, by, organization)
	if err != nil {
		return nil, 0, err
	}
	var q filter
	q.add("policy_sets.organization_id = ?", o.ID)
	q.in("policy_sets.id", f.IDs)
	if f.Kind != "" {
		q.add("policy_sets.kind = ?", string(f.Kind))
	}
	if f.Search != "" {
		q.add("lower(policy_sets.name) LIKE ? ESCAPE '!'", like(f.Search))
	}
	if f.Versioned != nil {
		versioned := "(policy_sets.repository_id IS NOT NULL OR policy_sets.newest_version_id <> '')"
		if !*f.Versioned {
			versioned = "NOT " + versioned
		}
		q.add(versioned)
	}
	var sets []polset.PolicySet
	var total int
	err = s.snapshot(ctx, func(db rows.DBTX) error {
		now, err := s.dialect.begin(ctx, db)
		if err != nil {
			return fmt.Errorf("list policy sets: %w", err)
		}
		if err := db.QueryRowContext(ctx, "SELECT count(*) FROM policy_sets"+q.where(), q.args...).Scan(&total); err != nil { // #nosec G202 -- constants; values are arguments
			return fmt.Errorf("count policy sets: %w", err)
		}
		// The page is found before anything is joined: what lies before it costs
		// no more than its steps through the index.
		window, args := q.page(page)
		query := policySetList + " WHERE policy_sets.sequence IN (SELECT policy_sets.sequence FROM policy_sets" + q.where() +
			" ORDER BY policy_sets.sequence" + window + ") ORDER BY policy_sets.sequence"
		sets, err = selectAll(ctx, db, "policy sets", query, args, func(result *sql.Rows) (polset.PolicySet, error) {
			r := rows.PolicySetRow{Organization: o.Name}
			err := scanPolicySet(result, &r)
			return policySet(r, now), err
		})
		if err != nil {
			return err
		}
		return addMembers(ctx, db, sets)
	})
	return sets, total, err
}

func scanPolicySet(result *sql.Rows, r *rows.PolicySetRow) error {
	p := &r.PolicySet
	return result.Scan(&p.Sequence, &p.ID, &p.OrganizationID, &p.Name, &p.Description, &p.Global, &p.Kind,
		&p.Overridable, &p.PoliciesPath, &p.RepositoryID, &p.Branch, &p.Submodules, &p.TokenID, &p.Generation,
		&p.NewestVersionID, &p.CurrentVersionID, &p.CreatedAt, &p.UpdatedAt, &p.InstallationID,
		&p.Degraded, &p.DegradedMessage, &p.DegradedAt, &p.IngestedCommit, &p.IngestedAt, &p.SettledHead, &p.FollowedAt,
		&p.AgentEnabled, &p.PolicyToolVersion, &p.UpdatePatterns, &p.TagMatchingLogic,
		&p.PoliciesRevision, &p.MaterializedRevision, &p.MaterializedVersionID,
		&p.MaterializeLease, &p.MaterializeFailures, &p.MaterializeDueAt,
		&r.HTTPURL, &r.Identifier, &r.HookID, &r.Head, &r.LookedAt, &r.HeadAt,
		&r.HookRevision, &r.HookSent, &r.HookManual)
}

// policySet tells of a gap as it is now.
func policySet(r rows.PolicySetRow, now time.Time) polset.PolicySet {
	p := r.PolicySet
	out := polset.PolicySet{
		ID: p.ID, OrganizationID: p.OrganizationID, Organization: r.Organization, Name: p.Name,
		Description: p.Description, Global: p.Global, Kind: polset.Kind(p.Kind), PoliciesPath: p.PoliciesPath,
		CreatedAt: p.CreatedAt.UTC(), UpdatedAt: p.UpdatedAt.UTC(),
		NewestVersionID: p.NewestVersionID, CurrentVersionID: p.CurrentVersionID, MaterializedVersionID: p.MaterializedVersionID,
		AgentEnabled: p.AgentEnabled, PolicyToolVersion: p.PolicyToolVersion,
		UpdatePatterns: texts(p.UpdatePatterns), TagMatchingLogic: p.TagMatchingLogic,
	}
	if p.Overridable.Valid {
		out.Overridable = &p.Overridable.Bool
	}
	if p.RepositoryID.Valid {
		out.VCS = &polset.VCS{
			RepositoryID: p.RepositoryID.String, Identifier: r.Identifier, Branch: p.Branch, Submodules: p.Submodules,
			TokenID: p.TokenID.String, InstallationID: p.InstallationID.String, HTTPURL: r.HTTPURL, HookID: r.HookID, Generation: p.Generation,
		}
		if !p.InstallationID.Valid {
			out.VCS.HookState, out.VCS.HookMessage = hookState(r.HookRevision, r.HookSent, r.HookManual)
		}
		out.Degraded, out.Completeness = degradation(p), completeness(r, now)
	}
	return out
}

// holdPolicySet locks a policy set that the principal may see, and reads it as
// it is now.
func (t *tx) holdPolicySet(ctx context.Context, by polset.Principal, id string) (rows.PolicySet, error) {
	mine := rows.PolicySetParams{ID: id, Tenant: by.OrganizationID}
	// Found first: a stranger must not wait for the lock.
	if _, err := t.PolicySet(ctx, mine); err != nil {
		return rows.PolicySet{}, found(err)
	}
	if err := t.lock(ctx, policySetRow, id); err != nil {
		return rows.PolicySet{}, err
	}
	set, err := t.PolicySet(ctx, mine)
	return set.PolicySet, found(err)
}
