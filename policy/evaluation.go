package policy

import (
	"context"
	"io/fs"
	"time"

	"github.com/polset/polset"
)

// An Evaluation asks what policy sets of one kind say of one plan.
type Evaluation struct {
	Plan []byte // terraform show -json, which policies see as input.plan
	Run  []byte // JSON, which policies see as input.run
	// At is what policies take for the present time, and Seed what their random
	// numbers and uuids begin with: equal evaluations have equal results.
	At   time.Time
	Seed string
	// Budget is how long each set may take, its compilation included; 0 for as
	// long as the context lets it.
	Budget time.Duration
	Sets   []SetEvaluation
}

// A SetEvaluation is one policy set of an Evaluation.
type SetEvaluation struct {
	// Key names the content of Files, such as the digest of an archive: what was
	// compiled under it may be used again. "" is never used again.
	Key  string
	Dir  string // where the set lies in Files
	Kind polset.Kind
	// Parameters are what policies see as input.parameters.
	Parameters map[string]string
	// Files opens what the set is made of. It is not called where Key is known.
	Files func(ctx context.Context) (fs.FS, error)
}

// A SetResult is what one policy set says: its policies, in the order of their
// declaration, or why there is no result at all. An Err that is a
// *polset.Failure is the set's own fault unless it says Retry.
type SetResult struct {
	Policies []polset.PolicyOutcome
	Duration time.Duration
	Err      error
}

// Evaluate does a whole Evaluation in this process: it is that of Programs
// which keep nothing.
func Evaluate(ctx context.Context, e Evaluation) ([]SetResult, error) {
	return new(Programs).Evaluate(ctx, e)
}
