package polset

// A PolicySetDraft is a policy set about to be created. Its values have been
// checked for form; the store checks what only rows can tell.
type PolicySetDraft struct {
	Organization string // the name
	Name         string
	Description  string
	Global       bool
	Kind         Kind
	PoliciesPath string // as the user wrote it
	// What was asked for; the set has what AgentSettings.For makes of it.
	AgentEnabled      bool
	PolicyToolVersion string
	Overridable       *bool

	UpdatePatterns   []string
	TagMatchingLogic string // any, all or ""
	TagSelectors     []TagSelector
	Members          Members
	VCS              *VCSDraft
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
	PoliciesPath *string
	// What is asked for; the set has what AgentSettings.For makes of it.
	AgentEnabled      *bool
	PolicyToolVersion *string
	Overridable       *bool

	UpdatePatterns   *[]string // for what is pushed from now on
	TagMatchingLogic *string   // "" clears it
	TagSelectors     *[]TagSelector
	// Members are those of the relations that become others, as a whole.
	Members map[Relation][]string
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
	Key             string
	Token           Secret
	// ServiceProviderUser is whom the token belongs to.
	ServiceProviderUser string
	ProjectScoped       bool
	Projects            []string // prj-…
}

// A ConnectionChange is what changes about a connection. Nil leaves things alone.
type ConnectionChange struct {
	Name          *string
	Key           *string
	ProjectScoped *bool
	// Projects are the new ones; AddProjects and RemoveProjects change those
	// that there are.
	Projects                    *[]string
	AddProjects, RemoveProjects []string
	// Token replaces the connection's token, whose id stays.
	Token *Secret
	// ServiceProviderUser is whom Token belongs to.
	ServiceProviderUser string
}

// A PolicySetFilter narrows a list of policy sets. Zero values do not narrow.
type PolicySetFilter struct {
	IDs    []string
	Search string // a part of the name, case-insensitive
	Kind   Kind
	// Versioned tells sets of versions, from a repository or uploaded, from
	// those of individual policies; nil shows both.
	Versioned *bool
}

// A VersionFilter narrows a list of versions or ingestions.
type VersionFilter struct {
	Statuses []string
	Commit   string // the full id
	// Sources, of versions only; none stands for all but SourcePolicies.
	Sources []string
}
