package polset

import "time"

// A Materialization is the right to make a version of the policies that are
// members of a policy set, as they were at one revision. Its Lease, whose
// IngestionID is the policy set's, is void as soon as somebody else claims the
// set.
type Materialization struct {
	Lease       Lease
	PolicySetID string
	Kind        Kind
	// Revision counts the changes of what the set holds; this one and all before
	// it are in Policies.
	Revision int64
	Policies []Policy // the members, in the order in which they came
	Attempts int      // in a row that did not end, or ended in a passing fault
	// Newest is the newest version that was made of the set's policies; nil
	// before the first.
	Newest *Version
}

// A MaterializationOutcome says what became of a materialization. Where all is
// zero, the set holds no policies.
type MaterializationOutcome struct {
	Artifact  *Artifact // of a version that is ready
	Failure   *Failure  // of a version that is errored
	Content   Content   // beside Failure, as far as it is known
	Unchanged bool      // what counts is that of the newest version

	// Again asks for another attempt, after a while; with a Fault one that ended
	// in a passing fault.
	Again bool
	After time.Duration
	Fault bool
}
