package polset

import "fmt"

// A Relation is what relates a policy set to other things, in HCP Terraform's
// words.
type Relation string

// The relations.
const (
	RelationPolicies            Relation = "policies"
	RelationWorkspaces          Relation = "workspaces"
	RelationProjects            Relation = "projects"
	RelationWorkspaceExclusions Relation = "workspace-exclusions"
	RelationProjectExclusions   Relation = "project-exclusions"
)

// Relations returns all relations, always in the same order.
func Relations() []Relation {
	return []Relation{
		RelationPolicies, RelationWorkspaces, RelationProjects, RelationWorkspaceExclusions, RelationProjectExclusions,
	}
}

// Members are the ids of what a policy set holds and of what it guards, each in
// the order in which they came.
type Members struct {
	Policies            []string // pol-…
	Workspaces          []string // ws-…
	Projects            []string // prj-…
	WorkspaceExclusions []string // ws-…
	ProjectExclusions   []string // prj-…
}

// Of returns the place of a relation's members, to be read or written.
func (m *Members) Of(r Relation) *[]string {
	switch r {
	case RelationPolicies:
		return &m.Policies
	case RelationWorkspaces:
		return &m.Workspaces
	case RelationProjects:
		return &m.Projects
	case RelationWorkspaceExclusions:
		return &m.WorkspaceExclusions
	case RelationProjectExclusions:
		return &m.ProjectExclusions
	}
	panic(fmt.Sprintf("no relation is named %q", r))
}

// A TagSelector names workspaces by a tag that is in effect on them.
type TagSelector struct {
	Key     string
	Value   *string // nil: whatever the value
	Exclude bool    // keep off what it selects
}

// Equal tells whether both select the same.
func (s TagSelector) Equal(other TagSelector) bool {
	return s.Key == other.Key && s.Exclude == other.Exclude && (s.Value == nil) == (other.Value == nil) &&
		(s.Value == nil || *s.Value == *other.Value)
}

// A Refusal is something in a request for a policy set that the rows do not
// allow.
type Refusal struct {
	Field   string // the attribute or the relation, as HCP Terraform names it
	Index   int    // of the element of its list; -1 is the field as a whole
	Message string // a sentence that says what to do
}

// A RefusedError is all that was refused of one request, which changed nothing.
type RefusedError []Refusal

// Error implements error.
func (r RefusedError) Error() string {
	text := "refused"
	for _, one := range r {
		text += fmt.Sprintf("; %s[%d]: %s", one.Field, one.Index, one.Message)
	}
	return text
}
