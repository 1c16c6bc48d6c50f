package polset

import (
	"encoding/json"
	"fmt"
	"time"
)

// VersionStatus is the state of a policy set version.
type VersionStatus string

// The statuses: pending → ingressing → ready | errored.
const (
	VersionPending    VersionStatus = "pending"
	VersionIngressing VersionStatus = "ingressing"
	VersionReady      VersionStatus = "ready"
	VersionErrored    VersionStatus = "errored"
)

// Where versions come from, in HCP Terraform's words; the last is polset's own.
const (
	SourceGitHub   = "github"   // a commit
	SourceAPI      = "tfe-api"  // an upload
	SourcePolicies = "policies" // the policies that are members of the set
)

var versionMoves = map[VersionStatus][]VersionStatus{
	VersionPending:    {VersionIngressing},
	VersionIngressing: {VersionReady, VersionErrored},
}

// Terminal reports whether a version in this status never changes again.
func (s VersionStatus) Terminal() bool { return s == VersionReady || s == VersionErrored }

// CanMove reports whether a version may go from s to next.
func (s VersionStatus) CanMove(next VersionStatus) bool {
	for _, m := range versionMoves[s] {
		if m == next {
			return true
		}
	}
	return false
}

// A Version is one immutable state of a policy set.
type Version struct {
	ID          string // polsetver-…
	PolicySetID string
	Source      string // HCP Terraform's "source": SourceGitHub and so on
	Status      VersionStatus

	PendingAt    time.Time
	IngressingAt time.Time // zero until then, as those below
	ReadyAt      time.Time
	ErroredAt    time.Time

	Error        Class // "" unless errored
	ErrorMessage string
	Diagnostics  []Diagnostic // where, for people's editors; may be empty

	Commit     string // "" until the branch head is known
	CommitURL  string
	Identifier string // owner/name at the time
	Branch     string

	Artifact Artifact // zero until ready

	CreatedAt time.Time
	UpdatedAt time.Time
}

// An Artifact is what an ingestion makes of a commit: the archive in the
// object storage, and the record of what it was made from.
type Artifact struct {
	Content Content
	// Digest is the sha256 of the stored tar.gz in lower-case hex: its key in
	// the object storage.
	Digest string
	// TarDigest is the sha256 of the uncompressed tar. Unlike Digest it is the
	// same for the same tree on every machine and in every release.
	TarDigest string
	Size      int64 // bytes stored
	TarSize   int64 // bytes of the tar
	Files     int   // entries in the archive
	// PoliciesDirectory is where the set lies inside the archive; "" at its root.
	PoliciesDirectory string
	Policies          []PolicySummary
}

// A PolicySummary is one policy as the set's configuration declares it.
type PolicySummary struct {
	Name             string `json:"name"`
	Query            string `json:"query,omitempty"`
	EnforcementLevel string `json:"enforcement_level"`
	Description      string `json:"description,omitempty"`
	// Digest is the sha256, in hex, of all that the policy is made of: its
	// declaration and its sources. "" where an earlier release made the version.
	Digest string `json:"digest,omitempty"`
	File   string `json:"file,omitempty"` // that declares it, from the root of the repository
	Line   int    `json:"line,omitempty"`
}

// Content names what counts for a version: two commits with equal Content
// give the same version. Ids are git object ids in hex.
type Content struct {
	Tree       string            `json:"tree"`                 // the tree of policies-path
	Path       string            `json:"path"`                 // policies-path, clean
	Kind       Kind              `json:"kind"`                 //
	Submodules bool              `json:"submodules,omitempty"` //
	Gitmodules string            `json:"gitmodules,omitempty"` // the .gitmodules blob, where submodules are on
	Outside    map[string]string `json:"outside,omitempty"`    // files outside policies-path that the configuration names: path → blob
}

// Equal reports whether c and o name the same content.
func (c Content) Equal(o Content) bool { return c.String() == o.String() }

// String returns c as canonical JSON.
func (c Content) String() string {
	b, err := json.Marshal(c) // map keys are sorted
	if err != nil {
		panic(fmt.Sprintf("marshal content: %v", err))
	}
	return string(b)
}
