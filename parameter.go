package polset

import "time"

// MaxParameters is how many parameters a policy set may have.
const MaxParameters = 100

// MaxRunParameters is how many bytes the parameters may have together of the
// policy sets that apply to a run, which keeps them.
const MaxRunParameters = 4 << 20

// A Parameter is a value that a policy set gives to its policies.
type Parameter struct {
	ID          string // var-…
	PolicySetID string
	Key         string // of its own in the set
	Value       string // "" where it is sensitive: such a one goes in and is shown to nobody
	Sensitive   bool
	CreatedAt   time.Time
}

// A ParameterDraft is a parameter about to be created.
type ParameterDraft struct {
	Key       string
	Value     Secret
	Sensitive bool
}

// A ParameterChange is an update of a parameter: nil leaves a value alone.
type ParameterChange struct {
	Key   *string
	Value *Secret
	// Sensitive makes the parameter sensitive for good.
	Sensitive bool
}
