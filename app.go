package polset

import "time"

// An App is the GitHub App as which polset speaks to GitHub. There is one for
// each polset.
type App struct {
	ID       int64  // GitHub's; the issuer of the App's tokens
	ClientID string // for people who authorize the App; "" where it is not known
	Slug     string // the name in https://github.com/apps/<slug>; "" where it is not known
	Name     string
	Owner    string // the login of the account that owns it
	HTMLURL  string
	// HTTPURL is the host whose App it is, such as https://github.com.
	HTTPURL string

	PrivateKey    Secret // PEM; signs the App's tokens
	WebhookSecret Secret // signs deliveries to HookGitHubApp
	ClientSecret  Secret // empty: people cannot be asked who they are

	CreatedAt time.Time
}

// AppPermissions are what polset asks of an account, in GitHub's words, and
// no more: to read policies and pull requests, to be told what happens to
// repositories, and to say on a commit what became of it.
func AppPermissions() map[string]string {
	return map[string]string{
		"metadata":      "read",
		"contents":      "read",
		"pull_requests": "read",
		"checks":        "write",
	}
}

// AppEvents are the events that the App subscribes to. GitHub sends those of
// installations and their repositories to every App without being asked, but
// not that an installation's account was renamed.
func AppEvents() []string {
	return []string{"push", "pull_request", "repository", "installation_target"}
}

// SetupPurpose is what a set-up link is for.
type SetupPurpose string

// The purposes.
const (
	SetupApp     SetupPurpose = "app"     // to create the GitHub App
	SetupInstall SetupPurpose = "install" // to install it for an organization
)

// A SetupLink lets whoever holds its token do one thing, once, without
// another credential.
type SetupLink struct {
	ID             string // setup-…; never its token
	Purpose        SetupPurpose
	OrganizationID string // org-… that an installation will be bound to; "" for none
	Organization   string // its name
	ExpiresAt      time.Time
}
