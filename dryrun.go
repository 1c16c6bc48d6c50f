package polset

import "time"

// DryRunStatus is the state of a dry run.
type DryRunStatus string

// The statuses. The last three are final.
const (
	DryRunPending  DryRunStatus = "pending"
	DryRunRunning  DryRunStatus = "running"
	DryRunCompared DryRunStatus = "compared" // Comparison says what would change
	DryRunFailed   DryRunStatus = "failed"   // Error says why the commit would make no version
	DryRunIgnored  DryRunStatus = "ignored"  // another commit of the pull request came, or it does not matter any more
)

// A DryRun is a commit of a pull request, ingested for one policy set without
// leaving a version.
type DryRun struct {
	ID             string // dry-…
	PolicySetID    string
	RepositoryID   string
	TokenID        string
	InstallationID string
	Number         int    // of the pull request
	Base           string // the branch
	Commit         string
	Fork           bool
	Path           string // policies-path, clean
	Submodules     bool
	Kind           Kind
	DeliveryGUID   string

	Status       DryRunStatus
	Reason       string
	Error        Class
	ErrorMessage string
	Diagnostics  []Diagnostic
	Comparison   *Comparison
	Attempts     int
	Failures     int

	CreatedAt time.Time
	StartedAt time.Time
	EndedAt   time.Time
}

// Credential is the id of the connection's token or of the installation with
// which the dry run reads; "" when it was deleted since.
func (d DryRun) Credential() string { return credential(d.TokenID, d.InstallationID) }

// A Trial is a dry run that this worker alone may now work on.
type Trial struct {
	Lease  Lease // IngestionID is the dry run's
	DryRun DryRun
	Remote Remote
	// Connected says that there is a credential to read with.
	Connected bool
	// Current is the version that is in force; nil before the first.
	Current *Version
}

// A TrialOutcome is what became of a trial: exactly one of the three.
type TrialOutcome struct {
	Comparison *Comparison
	// Failure is why the commit would make no version.
	Failure *Failure
	// Again asks for another attempt, After a while, for the Reason.
	Again  bool
	After  time.Duration
	Reason string
}

// A Comparison is what a commit would change of a policy set in force.
type Comparison struct {
	// Against is the version that it was compared with; "" where none is in
	// force.
	Against  string         `json:"against,omitempty"`
	Policies int            `json:"policies"` // after the change
	Changes  []PolicyChange `json:"changes,omitempty"`
	// Files says that files differ that belong to no policy that polset could tell.
	Files bool `json:"files,omitempty"`
	// WithoutSubmodules says that the policy set has submodules, which were not
	// followed because the commit is of a fork.
	WithoutSubmodules bool `json:"without_submodules,omitempty"`
}

// ChangeKind is what happens to a policy.
type ChangeKind string

// The kinds of change.
const (
	PolicyAdded   ChangeKind = "added"
	PolicyRemoved ChangeKind = "removed"
	PolicyChanged ChangeKind = "changed"
)

// A PolicyChange is what happens to one policy.
type PolicyChange struct {
	Policy string     `json:"policy"`
	Kind   ChangeKind `json:"kind"`
	From   string     `json:"from,omitempty"` // enforcement level before
	To     string     `json:"to,omitempty"`   // enforcement level after
	// Weaker says that the policy stops less than before: its enforcement
	// level falls, or a policy that could stop a run is removed.
	Weaker bool   `json:"weaker,omitempty"`
	File   string `json:"file,omitempty"` // where the policy is declared now, or was
	Line   int    `json:"line,omitempty"`
}

// credential is the one of the two that is set.
func credential(tokenID, installationID string) string {
	if tokenID != "" {
		return tokenID
	}
	return installationID
}
