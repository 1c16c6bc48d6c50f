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
	EnforcementLevel string // hard-mandatory, soft-mandatory, mandatory or advisory
	Digest           string // sha256 of the code in hex, its key in the object storage; "" before the first upload
	Size             int64  // bytes of the code
	UploadedAt       time.Time
	PolicySetIDs     []string // that it is a member of, in a stable order
	CreatedAt        time.Time
	UpdatedAt        time.Time
}

// File is the name of the policy's file: <name>.sentinel or <name>.rego.
func (p Policy) File() string {
	if p.Kind == KindOPA {
		return p.Name + ".rego"
	}
	return p.Name + ".sentinel"
}
