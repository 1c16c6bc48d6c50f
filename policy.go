package polset

import "time"

// A Policy is one rule of an organization that policy sets may share (HCP
// Terraform's individually managed policy). Its code is in the object storage.
type Policy struct {
	ID               string // pol-…
	OrganizationID   string
	Organization     string // the organization's name
	Name             string // never changes
	Description      string
	Kind             Kind
	Query            string // of KindOPA; "" otherwise
	EnforcementLevel string // one of the kind's Levels
	Digest           string // sha256 of the code in hex, its key in the object storage; "" before the first upload
	Size             int64  // bytes of the code
	UploadedAt       time.Time
	PolicySetIDs     []string // that it is a member of, in a stable order
	CreatedAt        time.Time
	UpdatedAt        time.Time
}

// File is the name of the policy's file: <name>.sentinel or <name>.rego.
func (p Policy) File() string { return p.Kind.File(p.Name) }

// File is the name of the file of an individually managed policy.
func (k Kind) File(policy string) string {
	if k == KindOPA {
		return policy + ".rego"
	}
	return policy + ".sentinel"
}

// Levels are the enforcement levels of a kind, the weakest first.
func (k Kind) Levels() []string {
	if k == KindOPA {
		return []string{"advisory", "mandatory"}
	}
	return []string{"advisory", "soft-mandatory", "hard-mandatory"}
}

// A PolicyDraft is a policy about to be created.
type PolicyDraft struct {
	Organization     string // the name
	Name             string
	Description      string
	Kind             Kind
	Query            string
	EnforcementLevel string
	PolicySetIDs     []string // that it becomes a member of
}

// A PolicyUpdate is a change of a policy: nil leaves a value alone.
type PolicyUpdate struct {
	Description      *string
	Query            *string
	EnforcementLevel *string
}

// A PolicyFilter narrows a list of policies. Zero values do not narrow.
type PolicyFilter struct {
	Search string // a part of the name, case-insensitive
	Kind   Kind
	Sort   PolicySort // "": in the order of creation
}

// PolicySort is an order of a list of policies, in HCP Terraform's words. A
// hyphen turns it round.
type PolicySort string

// The orders. Policies without code have no time of an update, and come first.
const (
	SortName              PolicySort = "name"
	SortNameDescending    PolicySort = "-name"
	SortUpdated           PolicySort = "updated-at"
	SortUpdatedDescending PolicySort = "-updated-at"
)
