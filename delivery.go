package polset

import "time"

// A Delivery is one authenticated request of GitHub's.
type Delivery struct {
	// HookID is the hook that received it: HookGitHubApp, or the uuid of a
	// repository's own hook.
	HookID     string
	GUID       string   // X-GitHub-Delivery, lower case
	Event      string   // X-GitHub-Event
	BodySHA256 string   // of the signed body, hex
	Sender     string   // the GitHub login that caused it, as claimed
	HTTPURLs   []string // the hosts whose repositories this hook may speak for; not used for a repository's own hook
	ReceivedAt time.Time
}

// HookGitHubApp is the hook at /webhooks/github.
const HookGitHubApp = "github"

// A Push says that a branch now points at another commit.
type Push struct {
	RepositoryID  int64  // GitHub's numeric id
	Identifier    string // owner/name
	DefaultBranch string
	Branch        string // the short name
	Before        string
	After         string
	Forced        bool
	Pusher        string
}

// A Receipt says what became of a delivery once it was committed.
type Receipt struct {
	// Duplicate says that the delivery, or the push it repeats, was known.
	Duplicate bool
	// Ingestions are the ids that the delivery gave rise to.
	Ingestions []string
	// Effect is what a delivery other than a push did, in a few words.
	Effect string
	// Ignored is why it had no effect; "" otherwise.
	Ignored string
}

// A Hook is a repository's own hook.
type Hook struct {
	ID      string   // the uuid in its URL
	Secrets []Secret // any of them may sign; the newest first
}
