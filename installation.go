package polset

import "time"

// An Installation is the GitHub App on one account.
type Installation struct {
	ID          string // ghain-…
	ExternalID  int64  // GitHub's number
	AppID       int64
	HTTPURL     string // the host, such as https://github.com
	Account     string // the account's login
	AccountID   int64  // GitHub's number of the account
	AccountType string // User or Organization
	IconURL     string
	HTMLURL     string            // where its settings are
	Selection   string            // all or selected: which of the account's repositories
	Permissions map[string]string // granted, in GitHub's words
	// InstallerID is GitHub's number of the person who installed it, as a
	// signed delivery told; 0 where none did.
	InstallerID int64

	SuspendedAt time.Time // zero: active
	DeletedAt   time.Time // zero: it exists
	CreatedAt   time.Time
	UpdatedAt   time.Time

	// Organizations are the names of those that may use it, sorted; only the
	// site admin is told.
	Organizations []string
}

// Active reports whether tokens can be had for the installation.
func (i Installation) Active() bool { return i.DeletedAt.IsZero() && i.SuspendedAt.IsZero() }

// An InstallationFilter narrows a list of installations. Zero values do not
// narrow.
type InstallationFilter struct {
	Account    string // the login, whatever the case
	ExternalID int64
}

// A Degradation says why a policy set cannot hear of, or read, what it
// follows. What is in force stays in force meanwhile.
type Degradation struct {
	Reason  DegradedReason
	Message string // a full sentence that says what to do
	Since   time.Time
}

// DegradedReason is the machine-readable part of a Degradation.
type DegradedReason string

// The reasons. All but the last heal by themselves with the next look that
// succeeds.
const (
	DegradedConnectionDeleted     DegradedReason = "connection-deleted"
	DegradedInstallationDeleted   DegradedReason = "installation-deleted"
	DegradedInstallationSuspended DegradedReason = "installation-suspended"
	DegradedInstallationUnbound   DegradedReason = "installation-unbound"   // it may not be used by the organization any more
	DegradedRepositoryUnselected  DegradedReason = "repository-unselected"  // the installation does not include it any more
	DegradedRepositoryDeleted     DegradedReason = "repository-deleted"     //
	DegradedRepositoryTransferred DegradedReason = "repository-transferred" // to an account that the credential does not cover
	DegradedAccessLost            DegradedReason = "access-lost"            // git refuses the credential
	DegradedBranchDeleted         DegradedReason = "branch-deleted"         //
	DegradedRepositoryArchived    DegradedReason = "repository-archived"    // readable, but nothing can be pushed
)

// A Completeness says how far a policy set has caught up with its branch.
type Completeness struct {
	Head       string        // where the branch was last seen; "" before the first look, or where it is gone
	HeadAt     time.Time     // when it was first seen there
	LookedAt   time.Time     // when it was last looked at; zero before the first look
	Ingested   string        // the last commit that came to its end; "" before the first
	IngestedAt time.Time     // when
	Gap        time.Duration // for how long the head has been seen without being ingested; 0 when it is
}
