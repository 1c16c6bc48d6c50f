package polset

import (
	"fmt"
	"path"
	"strings"
	"time"
)

// Kind is the policy language of a policy set (HCP Terraform's "kind").
type Kind string

// The kinds.
const (
	KindSentinel Kind = "sentinel"
	KindOPA      Kind = "opa"
)

// A PolicySet is a group of policies that are applied together. One with a
// VCS follows a branch of a repository.
type PolicySet struct {
	ID             string // polset-…
	OrganizationID string // org-…
	Organization   string // the organization's name
	Name           string
	Description    string
	Global         bool
	Kind           Kind
	Overridable    *bool  // nil for sentinel sets without an agent
	PoliciesPath   string // as the user wrote it; CleanPath is for use
	// AgentEnabled says that the policies run in an agent: always for OPA, for
	// Sentinel where it was asked for.
	AgentEnabled      bool
	PolicyToolVersion string // of OPA or Sentinel; "" where none was asked for
	// UpdatePatterns are globs, relative to the root of the repository, of the
	// files whose changes make a version; none: whatever changes policies-path.
	UpdatePatterns []string
	// TagMatchingLogic says how several tag selectors go together: "any",
	// "all", or "" where nobody said.
	TagMatchingLogic string
	TagSelectors     []TagSelector // in the order in which they came
	Members          Members
	VCS              *VCS // nil: the set does not follow a repository
	CreatedAt        time.Time
	UpdatedAt        time.Time

	NewestVersionID  string // the latest created, "" before the first
	CurrentVersionID string // the one in force, "" before the first ready one
	// MaterializedVersionID is the version that was made of the set's own
	// policies (SourcePolicies), "" where there is none. It is in force where
	// there is no current version, and neither newest nor current.
	MaterializedVersionID string

	Degraded     *Degradation  // nil: all is well, or it follows nothing
	Completeness *Completeness // nil: it follows nothing
}

// VCS is how a policy set follows a repository (HCP Terraform's "vcs-repo").
type VCS struct {
	RepositoryID string // repo-…: the row that the organization's sets share
	Identifier   string // owner/name, today's
	Branch       string // "" follows the repository's default branch
	Submodules   bool   // ingress-submodules
	TokenID      string // ot-…: the connection; "" after it was deleted, or with an installation
	// InstallationID is ghain-…, in the place of a connection; "" otherwise.
	InstallationID string
	HTTPURL        string // the host as the user wrote it, such as https://github.com
	HookID         string // the uuid in /webhooks/vcs/<uuid>
	// HookSecret signs the repository's own hook. It is present only in the
	// answer to the creation of the organization's first set of the repository.
	HookSecret  Secret
	HookState   HookState // of the repository's own hook; "" with an installation, which needs none
	HookMessage string    // what to do by hand where HookState is HookManual
	// Generation grows with every change of what is followed. Only an
	// ingestion of the present generation may become current.
	Generation int64
}

// CleanPath returns policies-path in the form that git uses: relative, no
// trailing slash, "" for the root of the repository. A path that climbs out
// or that no git tree can hold is an error.
func CleanPath(p string) (string, error) {
	for _, r := range p {
		if r < 0x20 || r == 0x7f || r == '\\' || r == 0xfffd {
			return "", fmt.Errorf("policies-path %q contains a character that no path may hold", p)
		}
	}
	if len(p) > 1024 {
		return "", fmt.Errorf("policies-path is longer than 1024 bytes")
	}
	for _, part := range strings.Split(p, "/") {
		if part == ".." {
			return "", fmt.Errorf("policies-path %q must not contain \"..\"", p)
		}
	}
	p = strings.TrimPrefix(path.Clean("/"+p), "/")
	return p, nil
}

// A Repository is a repository that policy sets of one organization follow.
type Repository struct {
	ID             string // repo-…
	OrganizationID string
	HTTPURL        string // the host, such as https://github.com
	Identifier     string // owner/name
	ExternalID     int64  // GitHub's numeric id; 0 until a delivery told it
	DefaultBranch  string // "" until it was observed
	HookID         string
}

// A Connection is a credential for a git host: HCP Terraform's OAuth client
// and its one OAuth token.
type Connection struct {
	ID              string // oc-…
	TokenID         string // ot-…
	OrganizationID  string
	Organization    string
	Name            string
	ServiceProvider string // github, github_enterprise
	HTTPURL         string
	APIURL          string
	Key             string // of an OAuth application, which clients give and polset has no use for
	// ServiceProviderUser is whom the token belongs to; "" where the git host
	// did not say so.
	ServiceProviderUser string
	ProjectScoped       bool     // for Projects, not for the whole organization
	Projects            []string // prj-…
	CreatedAt           time.Time
}

// A Remote is a repository as git and GitHub's REST API reach it: where, and
// with which credential.
type Remote struct {
	HTTPURL    string // the host as the user wrote it, such as https://github.com
	APIURL     string // of the REST API, such as https://api.github.com; "" is the App's own
	Identifier string // owner/name
	ExternalID int64  // GitHub's number of the repository; 0 where it is not known
	Token      Secret // empty, and Installation 0: anonymous
	// Installation is GitHub's number of the installation whose tokens are
	// minted when they are needed; 0 where Token is the credential.
	Installation int64
}

// RepositoryFacts is what GitHub says of a repository.
type RepositoryFacts struct {
	RepositoryRef
	DefaultBranch string
	Archived      bool
	Private       bool
}

// A Head is where a branch stood when it was looked at.
type Head struct {
	Branch string // the branch's short name; resolved where HEAD was asked for
	Commit string // "" where the branch does not exist
}
