package polset

import "time"

// ConfigurationStatus is the state of a configuration version.
type ConfigurationStatus string

// The states of a configuration version.
const (
	ConfigurationPending  ConfigurationStatus = "pending" // it waits for its upload
	ConfigurationUploaded ConfigurationStatus = "uploaded"
)

// A ConfigurationVersion is a Terraform configuration of a workspace, as a
// client packed it.
type ConfigurationVersion struct {
	ID            string // cv-…
	WorkspaceID   string
	Status        ConfigurationStatus
	AutoQueueRuns bool   // its upload makes a run
	Speculative   bool   // its runs are never applied
	Provisional   bool   // it is not what runs take that name none
	Digest        string // sha256 of the upload in hex, its key in the object storage; "" before
	Size          int64
	CreatedAt     time.Time
	UploadedAt    time.Time
}

// A ConfigurationDraft is a configuration version about to be created.
type ConfigurationDraft struct {
	WorkspaceID                             string
	AutoQueueRuns, Speculative, Provisional bool
}

// RunStatus is the state of a run, in HCP Terraform's words.
type RunStatus string

// The states of a run.
const (
	RunPending   RunStatus = "pending"
	RunCanceled  RunStatus = "canceled"
	RunDiscarded RunStatus = "discarded"
)

// RunStatuses lists every state of a run.
func RunStatuses() []RunStatus { return []RunStatus{RunPending, RunCanceled, RunDiscarded} }

// A Run asks whether a workspace's configuration may be applied.
type Run struct {
	ID          string // run-…
	WorkspaceID string
	// ConfigurationVersionID is "" after the configuration version was deleted.
	ConfigurationVersionID string
	Status                 RunStatus
	Message                string
	// Settings are attributes that clients set and polset only keeps for them,
	// by their names in the API.
	Settings  map[string]any
	ReachedAt map[RunStatus]time.Time // when it came into each state but the first
	CreatedBy string                  // the actor
	CreatedAt time.Time
	UpdatedAt time.Time
}

// A RunDraft is a run about to be created.
type RunDraft struct {
	WorkspaceID            string
	ConfigurationVersionID string // "": the latest that was uploaded and is not provisional
	Message                string
	Settings               map[string]any
}

// A RunFilter narrows a list of runs. Zero values do not narrow.
type RunFilter struct{ Statuses []string }
