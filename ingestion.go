package polset

import "time"

// IngestionStatus is the state of an ingestion.
type IngestionStatus string

// The statuses. The last four are final.
const (
	IngestionPending   IngestionStatus = "pending"   // waits for a worker, or for another attempt
	IngestionRunning   IngestionStatus = "running"   // a worker holds its lease
	IngestionVersioned IngestionStatus = "versioned" // made a ready version
	IngestionUnchanged IngestionStatus = "unchanged" // what counts is that of an existing version
	IngestionFailed    IngestionStatus = "failed"    // its version is errored
	IngestionIgnored   IngestionStatus = "ignored"   // for a reason that it names
)

// Terminal reports whether an ingestion in this status never changes again.
func (s IngestionStatus) Terminal() bool {
	return s != IngestionPending && s != IngestionRunning
}

// Cause is what brought a commit to a policy set.
type Cause string

// The causes.
const (
	CausePush   Cause = "push"   // a delivery
	CauseCreate Cause = "create" // the policy set was created
	CauseUpdate Cause = "update" // what the policy set follows was changed
	CauseHead   Cause = "head"   // the branch head was seen to be a commit that no delivery told of
	// CauseReconcile is CauseHead where polset looked by itself, not on the
	// way of another ingestion.
	CauseReconcile Cause = "reconcile"
	CauseReplay    Cause = "replay" // a delivery, by hand once more
	CauseManual    Cause = "manual" // somebody asked for the commit
	// CauseUpload is an archive that a client uploaded: there is no repository,
	// no branch and no commit.
	CauseUpload Cause = "upload"
	// CausePolicies is a change of the policies that are members of the set:
	// there is no repository, no branch and no commit either.
	CausePolicies Cause = "policies"
)

// Asked reports whether somebody wants the commit ingested whatever changed with
// it, and so whatever update patterns say.
func (c Cause) Asked() bool {
	switch c {
	case CausePush, CauseHead, CauseReconcile, CauseReplay:
		return false
	}
	return true
}

// An Ingestion is one commit on its way into one policy set. The table of
// ingestions is the commit-to-version history: every commit maps to an outcome.
// It carries the settings that were in force when it was made.
type Ingestion struct {
	ID           string // ing-…
	Sequence     int64  // grows with the order of acceptance
	PolicySetID  string
	RepositoryID string
	TokenID      string // the connection; "" when deleted since, or with an installation
	// InstallationID is ghain-…, in the place of a connection.
	InstallationID string
	Generation     int64
	Branch         string // "" follows the default branch
	Commit         string // "" until the branch head is known
	Path           string // policies-path, clean
	Submodules     bool
	Kind           Kind
	Cause          Cause
	DeliveryGUID   string // X-GitHub-Delivery, where Cause is push
	// UpdatePatterns are the policy set's; see PolicySet. A commit that changes
	// nothing that they name is ignored, and VersionID then names what stays in
	// force.
	UpdatePatterns []string

	Status    IngestionStatus
	Reason    string // why it was ignored, or waits for another attempt
	VersionID string // "" until there is one
	Attempts  int    // how often a worker took it, this time included
	Failures  int    // how often an attempt ended with a reason to try again

	CreatedAt time.Time
	StartedAt time.Time // when a worker first took it
	EndedAt   time.Time
}

// Credential is the id of the connection's token or of the installation with
// which the ingestion reads; "" when it was deleted since.
func (i Ingestion) Credential() string { return credential(i.TokenID, i.InstallationID) }

// A Lease is the right to move one ingestion and its version. It is void as
// soon as somebody else claims the ingestion: every move made with it then
// answers ErrFenced.
type Lease struct {
	IngestionID string
	Number      int64
}

// A Claim is an ingestion that this worker alone may now work on.
type Claim struct {
	Lease     Lease
	Ingestion Ingestion
	// Newest is the policy set's newest version other than the ingestion's
	// own; nil before the first.
	Newest *Version
	// Processed is the last commit that was brought to a version: what update
	// patterns compare with. "" where there are none, and where that version is
	// not the one in force: nothing may be ignored then.
	Processed string
}

// A Batch is the work that one commit of one repository gives.
type Batch struct {
	Repository Repository
	Remotes    map[string]Remote // by the ingestions' Credential; one that was deleted, or may not be used, has none
	Claims     []Claim           // in the order of Sequence; empty when there is nothing to do
	// Look numbers what the worker observes after this claim. It grows with
	// every claim of the repository.
	Look int64
}

// An Observation is a look at a branch through git.
type Observation struct {
	RepositoryID string
	// Branch is the branch that was asked for; "" is the default branch.
	Branch string
	// Head is what was seen.
	Head Head
	// Credential is what was looked with; its policy sets are not degraded by
	// a want of access any more.
	Credential string
	// Reconciled says that polset looked by itself.
	Reconciled bool
	// Look is the batch's: of two observations the one with the greater number
	// counts, whichever arrives first. A number needs no clock.
	Look int64
}
