package polset

import "time"

// A Diagnostic says what is wrong at one place of a commit.
type Diagnostic struct {
	File    string `json:"file"`   // from the root of the repository, slash-separated
	Line    int    `json:"line"`   // from 1
	Column  int    `json:"column"` // from 1, in characters
	Message string `json:"message"`
}

// ReportStatus is what is to be said of a commit.
type ReportStatus string

// The statuses: those of the ingestion or dry run that the report is about,
// and two that end it otherwise.
const (
	ReportPending   ReportStatus = "pending"
	ReportRunning   ReportStatus = "running"
	ReportVersioned ReportStatus = "versioned"
	ReportUnchanged ReportStatus = "unchanged"
	ReportFailed    ReportStatus = "failed"
	ReportIgnored   ReportStatus = "ignored"
	ReportCompared  ReportStatus = "compared" // a dry run came to its end
	ReportDeleted   ReportStatus = "deleted"  // the policy set was
)

// Final reports whether nothing else will be said of the commit.
func (s ReportStatus) Final() bool { return s != ReportPending && s != ReportRunning }

// A Report is what GitHub shall show on a commit for one policy set: a check
// run of the App, or a commit status of a token connection, by the name
// polset/<organization>/<policy set>. The row says what
// is wanted; whoever sends reports makes GitHub equal to it.
type Report struct {
	ID            string // rep-…: the external_id of the check run
	Revision      int64  // of what is wanted
	PolicySetID   string
	PolicySet     string // its name
	Organization  string // its name
	PullRequest   int    // 0: of a push
	Remote        Remote // where, and with which credential
	Commit        string
	Status        ReportStatus
	Reason        string   // of ignored, or why pending again
	Version       *Version // of versioned, unchanged and failed
	DryRun        *DryRun  // of a pull request
	CheckRunID    int64    // 0: none is known
	Uncertain     bool     // an attempt may have made a check run without an answer
	Failures      int      // attempts that failed since the last success
	CreatedAt     time.Time
	StartedAt     time.Time
	EndedAt       time.Time
	LeasedBy      int64 // the fence: settle with it
	AnnotatedUpTo int   // annotations that the check run holds already
}

// A ReportOutcome is what became of an attempt to send a report.
type ReportOutcome struct {
	ID            string
	LeasedBy      int64
	Revision      int64 // that was sent; 0 where nothing was
	CheckRunID    int64 // 0: still unknown
	Uncertain     bool  // the request may have taken effect
	AnnotatedUpTo int
	// Failure is why GitHub does not show it yet; nil where it does. Retry
	// and RetryAfter say when to try again; without Retry the report is given
	// up until the credential changes.
	Failure *Failure
}
