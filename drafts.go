package polset

// A PolicySetDraft is a policy set about to be created. Its values have been
// checked for form; the store checks what only rows can tell.
type PolicySetDraft struct {
	Organization string // the name
	Name         string
	Description  string
	Global       bool
	Kind         Kind
	Overridable  *bool
	PoliciesPath string // as the user wrote it
	VCS          *VCSDraft
}

// A VCSDraft is what a policy set shall follow.
type VCSDraft struct {
	Identifier string // owner/name
	Branch     string // "" for the default branch
	Submodules bool
	TokenID    string // ot-…; "" with an installation
	// InstallationID is ghain-…; "" with a connection.
	InstallationID string
	// Facts is what GitHub said of the repository; zero where it could not be
	// asked.
	Facts RepositoryFacts
	// Head is where the branch stands; zero when it could not be seen at
	// once, in which case the ingestion looks again.
	Head Head
}

// A PolicySetChange is an update of a policy set: nil leaves a value alone.
type PolicySetChange struct {
	Name         *string
	Description  *string
	Global       *bool
	Overridable  *bool
	PoliciesPath *string
	// VCS replaces what is followed, as a whole. When it or PoliciesPath
	// differs from what is followed now, the change begins a new version.
	VCS *VCSDraft
	// RemoveVCS makes the set follow nothing. Its versions stay.
	RemoveVCS bool
}

// A ConnectionDraft is a connection about to be created.
type ConnectionDraft struct {
	Organization    string // the name
	Name            string
	ServiceProvider string
	HTTPURL         string
	APIURL          string
	Token           Secret
}

// A PolicySetFilter narrows a list of policy sets. Zero values do not narrow.
type PolicySetFilter struct {
	Search string // a part of the name, case-insensitive
	Kind   Kind
}

// A VersionFilter narrows a list of versions or ingestions.
type VersionFilter struct {
	Statuses []string
	Commit   string // the full id
}
