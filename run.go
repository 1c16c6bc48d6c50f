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

// The states of a run: pending while its checks wait or run, and then what they
// come to. A run that waits for an override goes on when it has it.
const (
	RunPending RunStatus = "pending"
	// RunPostPlanRunning and RunPolicyChecking: policy evaluations, or the policy
	// check, run.
	RunPostPlanRunning RunStatus = "post_plan_running"
	RunPolicyChecking  RunStatus = "policy_checking"
	// RunPostPlanAwaitingDecision and RunPolicyOverride: only soft failures stand
	// in the way.
	RunPostPlanAwaitingDecision RunStatus = "post_plan_awaiting_decision"
	RunPolicyOverride           RunStatus = "policy_override"

	RunPlanned           RunStatus = "planned" // no policy set applied
	RunPostPlanCompleted RunStatus = "post_plan_completed"
	RunPolicyChecked     RunStatus = "policy_checked"
	RunErrored           RunStatus = "errored" // a check hard failed or errored
	RunCanceled          RunStatus = "canceled"
	RunDiscarded         RunStatus = "discarded"
)

// Cancelable reports whether there is work to cancel.
func (s RunStatus) Cancelable() bool {
	return s == RunPending || s == RunPostPlanRunning || s == RunPolicyChecking
}

// Discardable reports whether the run may be given up: before it began, while
// it waits for an override, or where it waits for somebody to apply its plan.
func (s RunStatus) Discardable() bool {
	switch s {
	case RunPending, RunPostPlanAwaitingDecision, RunPolicyOverride, RunPlanned, RunPostPlanCompleted, RunPolicyChecked:
		return true
	}
	return false
}

// Overridable reports whether the override of a soft failure could still move
// the run on.
func (s RunStatus) Overridable() bool {
	return s != RunErrored && s != RunCanceled && s != RunDiscarded
}

// RunStatusOf is the state of a run whose checks are those. Policy evaluations
// come before the policy check, as in HCP Terraform.
func RunStatusOf(checks []Check) RunStatus {
	status, began := RunPlanned, false
	for _, c := range checks {
		began = began || c.Status != CheckPending
	}
	// The worst counts: the order of cases is that of weight.
	weight := -1
	for _, c := range checks {
		s, w := c.runStatus(began)
		// Of two that are as far the first in line shows, until both are through.
		if w > weight || w == weight && c.Evaluation == (w > 0) {
			status, weight = s, w
		}
	}
	return status
}

// runStatus is the state of a run that had only this check, and how much that
// weighs against others.
func (c Check) runStatus(began bool) (status RunStatus, weight int) {
	pick := func(evaluation, check RunStatus) RunStatus {
		if c.Evaluation {
			return evaluation
		}
		return check
	}
	switch c.Status {
	case CheckPending, CheckRunning:
		if !began {
			return RunPending, 4
		}
		return pick(RunPostPlanRunning, RunPolicyChecking), 4
	case CheckCanceled:
		return RunCanceled, 3
	case CheckErrored, CheckHardFailed:
		return RunErrored, 2
	case CheckSoftFailed:
		return pick(RunPostPlanAwaitingDecision, RunPolicyOverride), 1
	}
	return pick(RunPostPlanCompleted, RunPolicyChecked), 0
}

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
