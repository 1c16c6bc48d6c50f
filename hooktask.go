package polset

// HookState is how polset stands to a repository's own hook on GitHub.
type HookState string

// The states.
const (
	HookPending HookState = "pending" // polset is about to create, change or remove it
	HookActive  HookState = "active"  // it is on GitHub as it should be
	HookManual  HookState = "manual"  // polset may not; the message says what to do by hand
)

// A HookTask is a repository's own hook that is not on GitHub as it should be.
type HookTask struct {
	Lease      Lease  // IngestionID is the hook's uuid
	HookID     string // the uuid in its URL
	Remote     Remote // of the repository, with the token that may change hooks
	Connected  bool   // there is a token
	ExternalID int64  // GitHub's number; 0: none is known
	Secret     Secret // the newest
	Remove     bool   // it is wanted no more
	Revision   int64  // of what is wanted
	Failures   int
}

// A HookOutcome is what became of a HookTask.
type HookOutcome struct {
	Lease      Lease
	Revision   int64 // that GitHub has now; 0 where it has not
	ExternalID int64
	// Manual is the sentence that says what to do by hand, where the token may
	// not do it; "" otherwise.
	Manual string
	// Failure is a passing fault: the task is tried again. nil otherwise.
	Failure *Failure
}
