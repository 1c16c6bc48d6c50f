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
	Settings  map[string]any
	CreatedAt time.Time
	UpdatedAt time.Time
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
	Settings  map[string]any
	CreatedAt time.Time
	UpdatedAt time.Time
}

// A TagBinding is a key, and perhaps a value, bound to a workspace or project.
type TagBinding struct {
	Key   string
	Value string // "" for a tag that is a key only
}
