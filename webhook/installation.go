package webhook

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/polset/polset"
)

// An installationEvent is what polset needs of the payloads of the events
// installation and installation_repositories
// (https://docs.github.com/en/webhooks/webhook-events-and-payloads#installation).
type installationEvent struct {
	Action              *string           `json:"action"`
	Installation        *installationBody `json:"installation"`
	Repositories        []repositoryBody  `json:"repositories"`
	RepositorySelection string            `json:"repository_selection"`
	RepositoriesAdded   []repositoryBody  `json:"repositories_added"`
	RepositoriesRemoved []repositoryBody  `json:"repositories_removed"`
	Sender              account           `json:"sender"`
}

type installationBody struct {
	ID                  int64             `json:"id"`
	AppID               int64             `json:"app_id"`
	Account             *accountBody      `json:"account"`
	TargetType          string            `json:"target_type"`
	HTMLURL             string            `json:"html_url"`
	RepositorySelection string            `json:"repository_selection"`
	Permissions         map[string]string `json:"permissions"`
	SuspendedAt         *string           `json:"suspended_at"`
	UpdatedAt           *moment           `json:"updated_at"`
}

// A moment is a time as GitHub writes it: in RFC 3339 or, in some events of
// installations, in seconds since 1970.
type moment struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (m *moment) UnmarshalJSON(raw []byte) error {
	if seconds, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		if seconds < 0 || seconds > maxSeconds {
			return noTime()
		}
		m.Time = time.Unix(seconds, 0).UTC()
		return nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return noTime()
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.Unix() < 0 || at.Unix() > maxSeconds {
		return noTime()
	}
	m.Time = at.UTC()
	return nil
}

// maxSeconds is the end of the year 9999, after which RFC 3339 has no times.
const maxSeconds = 253402300799

func noTime() error {
	return unprocessable("the body is not that of the event: a time must be in RFC 3339, or in seconds since 1970")
}

// orZero is the time, zero where the body has none.
func (m *moment) orZero() time.Time {
	if m == nil {
		return time.Time{}
	}
	return m.Time
}

// An accountBody is the account that an App is installed on.
type accountBody struct {
	ID        int64  `json:"id"`
	Login     string `json:"login"`
	Type      string `json:"type"`
	AvatarURL string `json:"avatar_url"`
}

const (
	notOnEnterprises = "polset reads repositories of users and organizations, and this installation is on an enterprise"
	noSuchAction     = "polset does not act on this action of an installation"
	enterprise       = "Enterprise"
)

// readInstallation reads what happened to an installation as a whole.
func readInstallation(raw []byte) (meaning, error) {
	m, b, err := decodeInstallation(raw)
	if err != nil {
		return m, err
	}
	action := polset.InstallationAction(*b.Action)
	switch action {
	case polset.InstallationCreated, polset.InstallationDeleted, polset.InstallationSuspended,
		polset.InstallationUnsuspended, polset.InstallationPermissions:
	default:
		m.ignored = noSuchAction
		return m, nil
	}
	added := b.Repositories
	if action != polset.InstallationCreated {
		added = nil
	}
	return m, m.change(b, action, added, nil)
}

// readInstallationRepositories reads which repositories an installation gained
// or lost.
func readInstallationRepositories(raw []byte) (meaning, error) {
	m, b, err := decodeInstallation(raw)
	if err != nil {
		return m, err
	}
	switch action := polset.InstallationAction(*b.Action); action {
	case polset.InstallationAdded:
		err = m.change(b, action, b.RepositoriesAdded, nil)
	case polset.InstallationRemoved:
		err = m.change(b, action, nil, b.RepositoriesRemoved)
	default:
		m.ignored = noSuchAction
	}
	return m, err
}

func decodeInstallation(raw []byte) (meaning, installationEvent, error) {
	var b installationEvent
	if err := decode(raw, &b); err != nil {
		return meaning{}, b, err
	}
	m := meaning{sender: printable(b.Sender.Login)}
	if b.Action == nil {
		return m, b, unprocessable("the body is not that of an installation event: action is required")
	}
	m.action = printable(*b.Action)
	return m, b, nil
}

// change fills the meaning with what the event says of the installation.
func (m *meaning) change(b installationEvent, action polset.InstallationAction, added, removed []repositoryBody) error {
	if b.Installation != nil && b.Installation.TargetType == enterprise {
		m.ignored = notOnEnterprises
		return nil
	}
	if b.Installation == nil || b.Installation.Account == nil {
		return refuse(http.StatusBadRequest, codeMalformed, "the event names no installation with its account")
	}
	m.account = printable(b.Installation.Account.Login)
	if b.RepositorySelection != "" {
		b.Installation.RepositorySelection = b.RepositorySelection // the newer word of the two
	}
	installation, err := b.Installation.read()
	if err != nil {
		return err
	}
	if b.Sender.ID < 0 {
		return unprocessable("sender.id must be a positive number")
	}
	if action == polset.InstallationCreated {
		installation.InstallerID = b.Sender.ID
	}
	c := polset.InstallationChange{Action: action, Installation: installation, SenderID: b.Sender.ID}
	if c.Added, err = repositoryRefs(added); err != nil {
		return err
	}
	if c.Removed, err = repositoryRefs(removed); err != nil {
		return err
	}
	m.installation = &c
	return nil
}

// read checks all that polset takes from an installation's description.
func (b *installationBody) read() (polset.Installation, error) {
	var none polset.Installation
	switch {
	case b.ID <= 0:
		return none, unprocessable("installation.id must be a positive number")
	case b.AppID <= 0:
		return none, unprocessable("installation.app_id must be a positive number")
	case b.Account.ID <= 0:
		return none, unprocessable("installation.account.id must be a positive number")
	case !accountName(b.Account.Login):
		return none, unprocessable("installation.account.login must be a login")
	case !accountType(b.Account.Type):
		return none, unprocessable("installation.account.type must be User or Organization")
	case b.RepositorySelection != "all" && b.RepositorySelection != "selected":
		return none, unprocessable("installation.repository_selection must be all or selected")
	}
	if err := checkURL(b.HTMLURL); err != nil {
		return none, unprocessable("installation.html_url " + err.Error())
	}
	if err := checkURL(b.Account.AvatarURL); err != nil {
		return none, unprocessable("installation.account.avatar_url " + err.Error())
	}
	if len(b.Permissions) > maxPermissions {
		return none, unprocessable("installation.permissions holds too many permissions")
	}
	for name, level := range b.Permissions {
		if !permissionWord(name) || !permissionWord(level) {
			return none, unprocessable("installation.permissions must hold names and levels in lower case")
		}
	}
	i := polset.Installation{
		ExternalID: b.ID, AppID: b.AppID,
		Account: b.Account.Login, AccountID: b.Account.ID, AccountType: b.Account.Type,
		IconURL: b.Account.AvatarURL, HTMLURL: b.HTMLURL,
		Selection: b.RepositorySelection, Permissions: b.Permissions,
		UpdatedAt: b.UpdatedAt.orZero(),
	}
	if b.SuspendedAt != nil {
		at, err := time.Parse(time.RFC3339, *b.SuspendedAt)
		if err != nil {
			return none, unprocessable("installation.suspended_at must be a time")
		}
		i.SuspendedAt = at.UTC()
	}
	return i, nil
}

func accountType(s string) bool { return s == "User" || s == "Organization" }

const maxPermissions = 500 // GitHub has about a hundred

// permissionWord reports whether s has the form of a permission's name or level.
func permissionWord(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' {
			return false
		}
	}
	return s != "" && len(s) <= maxNamePart
}

// repositoryRefs reads a list of repositories in their short form.
func repositoryRefs(list []repositoryBody) ([]polset.RepositoryRef, error) {
	refs := make([]polset.RepositoryRef, 0, len(list))
	for _, b := range list {
		ref, err := b.ref()
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	if len(refs) == 0 {
		return nil, nil
	}
	return refs, nil
}

// An installationTargetEvent is what polset needs of an installation_target
// event's payload
// (https://docs.github.com/en/webhooks/webhook-events-and-payloads#installation_target).
// The description of an organization has no type here.
type installationTargetEvent struct {
	Action       *string         `json:"action"`
	Account      *accountBody    `json:"account"`
	TargetType   string          `json:"target_type"`
	Installation *installationID `json:"installation"`
	Changes      struct {
		Login *from `json:"login"`
	} `json:"changes"`
	Sender account `json:"sender"`
}

// readInstallationTarget reads that the account of an installation was renamed.
func readInstallationTarget(raw []byte) (meaning, error) {
	var b installationTargetEvent
	if err := decode(raw, &b); err != nil {
		return meaning{}, err
	}
	m := meaning{sender: printable(b.Sender.Login)}
	if b.Action == nil {
		return m, unprocessable("the body is not that of an installation_target event: action is required")
	}
	m.action = printable(*b.Action)
	switch {
	case *b.Action != string(polset.InstallationRenamed):
		m.ignored = noSuchAction
		return m, nil
	case b.TargetType == enterprise:
		m.ignored = notOnEnterprises
		return m, nil
	case b.Account == nil || b.Installation == nil:
		return m, refuse(http.StatusBadRequest, codeMalformed, "the event names no account with its installation")
	}
	m.account = printable(b.Account.Login)
	number, err := b.Installation.number()
	switch {
	case err != nil:
		return m, err
	case b.Account.ID <= 0:
		return m, unprocessable("account.id must be a positive number")
	case !accountName(b.Account.Login):
		return m, unprocessable("account.login must be a login")
	case !accountType(b.TargetType):
		return m, unprocessable("target_type must be User or Organization")
	case b.Changes.Login == nil || !accountName(b.Changes.Login.From):
		return m, unprocessable("changes.login.from must be the login before")
	case b.Sender.ID < 0:
		return m, unprocessable("sender.id must be a positive number")
	}
	m.installation = &polset.InstallationChange{
		Action: polset.InstallationRenamed,
		Installation: polset.Installation{
			ExternalID: number, AccountID: b.Account.ID, Account: b.Account.Login, AccountType: b.TargetType,
		},
		PreviousAccount: b.Changes.Login.From,
		SenderID:        b.Sender.ID,
	}
	return m, nil
}
