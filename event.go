package polset

import "time"

// InstallationAction is what happened to an installation.
type InstallationAction string

// The actions, in GitHub's words where it has one.
const (
	InstallationCreated     InstallationAction = "created"
	InstallationDeleted     InstallationAction = "deleted"
	InstallationSuspended   InstallationAction = "suspend"
	InstallationUnsuspended InstallationAction = "unsuspend"
	InstallationPermissions InstallationAction = "new_permissions_accepted"
	InstallationAdded       InstallationAction = "added"   // of repositories
	InstallationRemoved     InstallationAction = "removed" // of repositories
	InstallationRenamed     InstallationAction = "renamed" // its account (event installation_target)
)

// A RepositoryRef names a repository of GitHub's.
type RepositoryRef struct {
	ID         int64 // GitHub's number
	Identifier string
}

// An InstallationChange is what a delivery says about an installation.
type InstallationChange struct {
	Action InstallationAction
	// Installation is as GitHub describes it. Of a renamed account only
	// ExternalID, AccountID, Account and AccountType are filled.
	Installation Installation
	// PreviousAccount is the login before a rename.
	PreviousAccount string
	// SenderID is GitHub's number of who did it.
	SenderID int64
	Added    []RepositoryRef // of created and added
	Removed  []RepositoryRef // of removed
}

// RepositoryAction is what happened to a repository.
type RepositoryAction string

// The actions, in GitHub's words where it has one.
const (
	RepositoryRenamed       RepositoryAction = "renamed"
	RepositoryTransferred   RepositoryAction = "transferred"
	RepositoryDeleted       RepositoryAction = "deleted"
	RepositoryArchived      RepositoryAction = "archived"
	RepositoryUnarchived    RepositoryAction = "unarchived"
	RepositoryPrivatized    RepositoryAction = "privatized"
	RepositoryPublicized    RepositoryAction = "publicized"
	RepositoryDefaultBranch RepositoryAction = "default-branch" // event repository, action edited
	RepositoryBranchDeleted RepositoryAction = "branch-deleted" // event push, deleted
)

// A RepositoryChange is what a delivery says about a repository other than a
// push.
type RepositoryChange struct {
	Action        RepositoryAction
	Repository    RepositoryRef // as it is now
	Previous      string        // owner/name before; "" where it did not change
	DefaultBranch string        // today's
	Branch        string        // the branch that was deleted
	Archived      bool
	Installation  int64 // GitHub's number of the installation that heard of it; 0 at a repository's own hook
}

// A PullRequest is a proposal to merge a commit into a branch.
type PullRequest struct {
	Repository    RepositoryRef // that it is to be merged into
	DefaultBranch string
	Number        int
	Action        string // opened, synchronize, reopened
	Base          string // the branch's short name
	Head          string // the proposed commit
	// Fork says that the commit comes from another repository: whoever wrote
	// it need not be trusted by the owners of this one.
	Fork         bool
	Author       string // the GitHub login, as claimed
	Installation int64  // GitHub's number; 0 at a repository's own hook
	// UpdatedAt is when the pull request last changed, by GitHub's clock and
	// in its seconds; zero where the delivery does not say.
	UpdatedAt time.Time
}
