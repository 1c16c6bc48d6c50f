package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// A membership is where the rows of a relation are.
type membership struct {
	table    string
	column   string // of the member's id
	excluded string // the value of the column of that name; "" without one
	members  string // the table of the members themselves
	noun     string // one member, in words
}

func membershipOf(r polset.Relation) membership {
	switch r {
	case polset.RelationPolicies:
		return membership{"policy_set_policies", "policy_id", "", "policies", "policy"}
	case polset.RelationWorkspaces:
		return membership{"policy_set_workspaces", "workspace_id", "FALSE", "workspaces", "workspace"}
	case polset.RelationWorkspaceExclusions:
		return membership{"policy_set_workspaces", "workspace_id", "TRUE", "workspaces", "workspace"}
	case polset.RelationProjects:
		return membership{"policy_set_projects", "project_id", "FALSE", "projects", "project"}
	case polset.RelationProjectExclusions:
		return membership{"policy_set_projects", "project_id", "TRUE", "projects", "project"}
	}
	panic(fmt.Sprintf("no relation is named %q", r))
}

// memberList reads all relations of the policy sets %[1]s in one statement, and
// thus in one state.
const memberList = `SELECT policy_set_id, 'policies', policy_id, sequence FROM policy_set_policies WHERE policy_set_id IN (%[1]s)
UNION ALL SELECT policy_set_id, CASE WHEN excluded THEN 'workspace-exclusions' ELSE 'workspaces' END, workspace_id, sequence
	FROM policy_set_workspaces WHERE policy_set_id IN (%[1]s)
UNION ALL SELECT policy_set_id, CASE WHEN excluded THEN 'project-exclusions' ELSE 'projects' END, project_id, sequence
	FROM policy_set_projects WHERE policy_set_id IN (%[1]s)
ORDER BY 4`

const selectorList = `SELECT policy_set_id, tag_key, tag_value, excluded FROM policy_set_tag_selectors
WHERE policy_set_id IN (%[1]s) ORDER BY sequence`

// addMembers gives policy sets their members and tag selectors: two statements,
// however many sets there are.
func addMembers(ctx context.Context, db rows.DBTX, sets []polset.PolicySet) error {
	if len(sets) == 0 {
		return nil
	}
	byID := make(map[string]*polset.PolicySet, len(sets))
	ids := make([]string, len(sets))
	for n := range sets {
		ids[n], byID[sets[n].ID] = sets[n].ID, &sets[n]
	}
	in, args := list(ids)
	_, err := selectAll(ctx, db, "members of policy sets", fmt.Sprintf(memberList, in), args, func(result *sql.Rows) (struct{}, error) {
		var set, relation, member string
		var sequence int64
		err := result.Scan(&set, &relation, &member, &sequence)
		if err == nil {
			members := byID[set].Members.Of(polset.Relation(relation))
			*members = append(*members, member)
		}
		return struct{}{}, err
	})
	if err != nil {
		return err
	}
	_, err = selectAll(ctx, db, "tag selectors", fmt.Sprintf(selectorList, in), args, func(result *sql.Rows) (struct{}, error) {
		var set string
		var value sql.NullString
		var selector polset.TagSelector
		err := result.Scan(&set, &selector.Key, &value, &selector.Exclude)
		if value.Valid {
			selector.Value = &value.String
		}
		if err == nil {
			byID[set].TagSelectors = append(byID[set].TagSelectors, selector)
		}
		return struct{}{}, err
	})
	return err
}

// list is the inside of an IN of texts, whose placeholders begin with $1.
func list(values []string) (in string, args []any) {
	places := make([]string, len(values))
	args = make([]any, len(values))
	for n, v := range values {
		places[n], args[n] = fmt.Sprintf("$%d", n+1), v
	}
	return strings.Join(places, ", "), args
}
