package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// A run keeps the policy sets that apply to it as they were when it was
// created, so that its verdict can be reached again when they have changed.

// An inForce is a policy set with its version in force.
type inForce struct {
	id, name, description, kind, tool string
	overridable                       sql.NullBool
	agent                             bool
	// awaited is the revision of the set's own policies of which a version is
	// yet to be made, and will be in force; 0 where there is none to come.
	awaited                      int64
	versionID, digest, directory string // "" where no version is ready
	policies                     string // JSON
	standing                     string
}

// versionInForce is the id of a policy set's version in force, "" without one.
const versionInForce = `CASE WHEN policy_sets.current_version_id <> '' THEN policy_sets.current_version_id ELSE policy_sets.materialized_version_id END`

// standing changes with a policy set's version in force and with its policies.
const standing = `(` + versionInForce + `) || ' ' || CAST(policy_sets.policies_revision AS text)`

const setsInForce = `SELECT policy_sets.id, policy_sets.name, policy_sets.description, policy_sets.kind, policy_sets.policy_tool_version,
	policy_sets.overridable, policy_sets.agent_enabled,
	CASE WHEN policy_sets.current_version_id = '' AND policy_sets.policies_revision > policy_sets.materialized_revision THEN policy_sets.policies_revision ELSE 0 END,
	COALESCE(versions.id, ''), COALESCE(versions.digest, ''), COALESCE(versions.policies_directory, ''), COALESCE(versions.policies, '[]'),
	` + standing + `
FROM policy_sets LEFT JOIN versions ON versions.status = 'ready' AND versions.id = ` + versionInForce

// maxRunPolicies is how many bytes the names and descriptions of the policies
// may have that judge a run: it keeps a copy, which whoever evaluates or shows
// it reads whole.
const maxRunPolicies = 16 << 20

// setsInForce reads policy sets by id; those that are gone are left out. More
// than maxRunPolicies is a Failure of class limit, and is not read.
func (t *tx) setsInForce(ctx context.Context, ids []string) ([]inForce, error) {
	var out []inForce
	size := 0
	for chunk := range slices.Chunk(ids, maxPage) {
		var q filter
		q.in("policy_sets.id", chunk)
		list, err := selectAll(ctx, t.db, "policy sets in force", setsInForce+q.where(), q.args, func(result *sql.Rows) (f inForce, err error) {
			err = result.Scan(&f.id, &f.name, &f.description, &f.kind, &f.tool, &f.overridable, &f.agent,
				&f.awaited, &f.versionID, &f.digest, &f.directory, &f.policies, &f.standing)
			if size += len(f.policies); err == nil && size > maxRunPolicies {
				err = polset.Fail(polset.ClassLimit, "The policies that apply to the workspace have more than %d MiB of names and descriptions, the limit for those of a run. "+
					"Shorten some, or have fewer policy sets apply.", maxRunPolicies>>20)
			}
			return f, err
		})
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// unchanged begins the transaction anew unless the policy sets stand as they
// did when they were read: what was read since is of the same moment then.
func (t *tx) unchanged(ctx context.Context, sets []inForce) error {
	for chunk := range slices.Chunk(sets, maxPage) {
		before := make(map[string]string, len(chunk))
		for _, f := range chunk {
			before[f.id] = f.standing
		}
		var q filter
		q.in("policy_sets.id", slices.Sorted(maps.Keys(before)))
		_, err := selectAll(ctx, t.db, "standings of policy sets", "SELECT policy_sets.id, "+standing+" FROM policy_sets"+q.where(), q.args, // #nosec G202 -- constants; values are arguments
			func(result *sql.Rows) (none struct{}, err error) {
				var id, now string
				if err = result.Scan(&id, &now); err == nil && before[id] == now {
					delete(before, id)
				}
				return none, err
			})
		if err != nil {
			return err
		}
		if len(before) > 0 {
			return errAgain
		}
	}
	return nil
}

// A keptParameter is a parameter as a run keeps it.
type keptParameter struct {
	Key       string `json:"key"`
	Value     string `json:"value,omitempty"` // "" where it is sensitive: that is kept sealed
	Sensitive bool   `json:"sensitive,omitempty"`
}

// parameters are what one policy set gives to its policies.
type parameters struct {
	list    []keptParameter
	secrets map[string]string // the values of those that are sensitive, by key
}

const parametersOfSets = `SELECT id, policy_set_id, key, sensitive, value, sealed_value FROM policy_set_parameters`

// parametersOf reads the parameters of policy sets, by the set's id, in the
// order of their creation. More than polset.MaxRunParameters is a Failure of
// class limit, and is not read.
func (s *Store) parametersOf(ctx context.Context, tx *tx, ids []string) (map[string]parameters, error) {
	out := map[string]parameters{}
	size := 0
	for chunk := range slices.Chunk(ids, maxPage) {
		var q filter
		q.in("policy_set_id", chunk)
		list, err := selectAll(ctx, tx.db, "parameters of policy sets", parametersOfSets+q.where()+" ORDER BY sequence", q.args,
			func(result *sql.Rows) (r rows.PolicySetParameter, err error) {
				err = result.Scan(&r.ID, &r.PolicySetID, &r.Key, &r.Sensitive, &r.Value, &r.SealedValue)
				if size += len(r.Key) + len(r.Value) + len(r.SealedValue); err == nil && size > polset.MaxRunParameters {
					err = polset.Fail(polset.ClassLimit, "The parameters of the policy sets that apply to the workspace have more than %d bytes, the limit for those of a run. "+
						"Shorten some, or have fewer policy sets apply.", polset.MaxRunParameters)
				}
				return r, err
			})
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			p := out[r.PolicySetID]
			p.list = append(p.list, keptParameter{Key: r.Key, Value: r.Value, Sensitive: r.Sensitive})
			if r.Sensitive {
				secret, err := s.open(parameterPlace(r.ID), r.SealedValue)
				if err != nil {
					return nil, err
				}
				if p.secrets == nil {
					p.secrets = map[string]string{}
				}
				p.secrets[r.Key] = secret.Reveal()
			}
			out[r.PolicySetID] = p
		}
	}
	return out, nil
}

// An applying is a policy set that applies to a run.
type applying struct {
	inForce
	parameters
}

// evaluation says on which of HCP Terraform's two faces the set is shown: what
// runs in an agent there is a policy evaluation.
func (a applying) evaluation() bool { return a.kind == string(polset.KindOPA) || a.agent }

// applying are the policy sets that apply to a workspace, by name.
func (s *Store) applying(ctx context.Context, tx *tx, w polset.Workspace) ([]applying, error) {
	ids, err := tx.ApplyingPolicySets(ctx, rows.ApplyingPolicySetsParams{
		OrganizationID: w.OrganizationID, WorkspaceID: w.ID, ProjectID: w.ProjectID,
	})
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	sets, err := tx.setsInForce(ctx, ids)
	if err != nil {
		return nil, err
	}
	// Policies that miss the parameters which they came with, or which went with
	// the ones after them, may let pass what neither version would.
	given, err := s.parametersOf(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	if err := tx.unchanged(ctx, sets); err != nil {
		return nil, err
	}
	out := make([]applying, len(sets))
	for n, f := range sets {
		if f.awaited > 0 {
			f.versionID, f.digest, f.directory, f.policies = "", "", "", "[]"
		}
		out[n] = applying{f, given[f.id]}
	}
	slices.SortFunc(out, func(a, b applying) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}

// noteSnapshot adds to the details of an entry which version of each set judges
// the run.
func noteSnapshot(details map[string]string, sets []applying) {
	for _, a := range sets {
		details[a.id] = a.noted()
	}
}

// noted is the version in force in words: its id and its archive's digest.
func (f inForce) noted() string {
	switch {
	case f.awaited > 0:
		return fmt.Sprintf("awaits revision %d of its policies", f.awaited)
	case f.versionID == "":
		return "no version is ready"
	}
	return f.versionID + " " + f.digest
}

// insertChecks makes the checks of a run, with the sets of each.
func (s *Store) insertChecks(ctx context.Context, tx *tx, runID string, sets []applying) error {
	var outcomes []rows.PolicySetOutcome
	for _, group := range []struct {
		kind       polset.Kind
		evaluation bool
		prefix     string
	}{
		{polset.KindOPA, true, "poleval"}, {polset.KindSentinel, true, "poleval"}, {polset.KindSentinel, false, "polchk"},
	} {
		id := polset.NewID(group.prefix)
		before := len(outcomes)
		for _, a := range sets {
			if a.kind != string(group.kind) || a.evaluation() != group.evaluation {
				continue
			}
			o, err := s.snapshotOf(id, a)
			if err != nil {
				return err
			}
			outcomes = append(outcomes, o)
		}
		if len(outcomes) == before {
			continue
		}
		tx.checks = true
		err := tx.InsertCheck(ctx, rows.InsertCheckParams{
			ID: id, RunID: runID, Kind: string(group.kind), Evaluation: group.evaluation, Now: tx.now,
		})
		if err != nil {
			return err
		}
	}
	return tx.insertOutcomes(ctx, outcomes)
}

// snapshotOf is an applying set as the rows keep it.
func (s *Store) snapshotOf(checkID string, a applying) (o rows.PolicySetOutcome, err error) {
	o = rows.PolicySetOutcome{
		ID: polset.NewID("psout"), CheckID: checkID, PolicySetID: a.id, PolicySetName: a.name, PolicySetDescription: a.description,
		Overridable: a.overridable.Bool, PolicyToolVersion: a.tool, AwaitedRevision: a.awaited,
		VersionID: a.versionID, Digest: a.digest, PoliciesDirectory: a.directory, Policies: a.policies, Parameters: "[]",
	}
	if len(a.list) == 0 {
		return o, nil
	}
	list, err := json.Marshal(a.list)
	if err != nil {
		return o, err
	}
	o.Parameters = string(list)
	if len(a.secrets) == 0 {
		return o, nil
	}
	secrets, err := json.Marshal(a.secrets)
	if err != nil {
		return o, err
	}
	o.SealedParameters, err = s.seal(outcomePlace(o.ID), string(secrets))
	return o, err
}

// insertOutcomes takes one statement for a thousand sets.
func (t *tx) insertOutcomes(ctx context.Context, list []rows.PolicySetOutcome) error {
	for chunk := range slices.Chunk(list, maxPage) {
		args := []any{t.now}
		values := make([]string, len(chunk))
		for n, o := range chunk {
			of := []any{
				o.ID, o.CheckID, o.PolicySetID, o.PolicySetName, o.PolicySetDescription, o.Overridable, o.PolicyToolVersion,
				o.AwaitedRevision, o.VersionID, o.Digest, o.PoliciesDirectory, o.Policies, o.Parameters, o.SealedParameters,
			}
			places := make([]string, len(of))
			for i := range of {
				places[i] = fmt.Sprintf("$%d", len(args)+i+1)
			}
			values[n] = "(" + strings.Join(places, ", ") + ", '[]', '', 0, 0, 0, 0, 0, '', '', $1)"
			args = append(args, of...)
		}
		query := `INSERT INTO policy_set_outcomes (id, check_id, policy_set_id, policy_set_name, policy_set_description, overridable, policy_tool_version,
			awaited_revision, version_id, digest, policies_directory, policies, parameters, sealed_parameters,
			outcomes, endings, passed, advisory_failed, soft_failed, hard_failed, errored, error, error_message, created_at) VALUES ` + strings.Join(values, ", ")
		if _, err := t.db.ExecContext(ctx, query, args...); err != nil { // #nosec G202 -- constants; values are arguments
			return err
		}
	}
	return nil
}
