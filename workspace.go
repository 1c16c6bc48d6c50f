package polset

import "time"

// A Project groups workspaces of an organization. Each organization has one
// that is its default.
type Project struct {
	ID             string // prj-…
	OrganizationID string
	Organization   string // the organization's name
	Name           string
	Description    string
	Default        bool // it takes workspaces that name no project, and stays
	// Settings are attributes that clients set and polset only keeps for them,
	// by their names in the API.
	Settings map[string]any
	// OrganizationSettings are those of its organization, whose defaults hold
	// for it.
	OrganizationSettings map[string]any
	Tags                 []TagBinding // by key
	CreatedAt            time.Time
	UpdatedAt            time.Time
}

// A Workspace is what policy sets guard: runs belong to one.
type Workspace struct {
	ID             string // ws-…
	OrganizationID string
	Organization   string // the organization's name
	ProjectID      string
	Name           string
	Description    string
	// Settings are attributes that clients set and polset only keeps for them,
	// by their names in the API.
	Settings map[string]any
	// ProjectSettings and OrganizationSettings are those of its project and of
	// its organization, whose defaults hold for it.
	ProjectSettings      map[string]any
	OrganizationSettings map[string]any
	Tags                 []TagBinding // its own, by key
	CreatedAt            time.Time
	UpdatedAt            time.Time
}

// MaxTagBindings is how many tags a workspace, or a project, may have.
const MaxTagBindings = 100

// A TagBinding is a key, and perhaps a value, bound to a workspace or project.
type TagBinding struct {
	ID    string // tb-…, the same as long as the key stays bound
	Key   string
	Value string // "" for a tag that is a key only
	// ProjectID names the project that a workspace has the tag from; "" for a
	// tag of its own.
	ProjectID string
}

// DefaultProject is the name of the project that every organization begins
// with. It may be renamed.
const DefaultProject = "Default Project"

// A ProjectDraft is a project about to be created. Its values have been
// checked for form.
type ProjectDraft struct {
	Organization string // the name
	Name         string
	Description  string
	Settings     map[string]any
	TagBindings  []TagBinding
}

// A ProjectChange is an update of a project: nil leaves a value alone.
type ProjectChange struct {
	Name        *string
	Description *string
	Settings    map[string]any // by name; null takes a setting back to its default
	TagBindings *[]TagBinding  // in the place of all that are bound
}

// A ProjectFilter narrows a list of projects. Zero values do not narrow.
type ProjectFilter struct {
	Names  []string // any of them
	Search string   // a part of the name, case-insensitive
	Tags   []TagBinding
}

// A WorkspaceDraft is a workspace about to be created. Its values have been
// checked for form.
type WorkspaceDraft struct {
	Organization string // the name
	ProjectID    string // "": the default project
	Name         string
	Description  string
	Settings     map[string]any
	TagBindings  []TagBinding
}

// A WorkspaceChange is an update of a workspace: nil leaves a value alone.
type WorkspaceChange struct {
	ProjectID   *string
	Name        *string
	Description *string
	Settings    map[string]any // by name; null takes a setting back to its default
	TagBindings *[]TagBinding  // in the place of all that are bound
}

// A WorkspaceFilter narrows a list of workspaces. Zero values do not narrow.
type WorkspaceFilter struct {
	Search    string // a part of the name, case-insensitive
	Wildcard  string // the name, in which * stands for anything; case-insensitive
	ProjectID string
	Tags      []TagBinding // that are all in effect; "" is any value
	NotTagged []TagBinding // of which none is in effect
}
