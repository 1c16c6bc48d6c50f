package webhook

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/polset/polset"
)

// A repositoryBody is a repository as payloads describe one.
type repositoryBody struct {
	ID            int64  `json:"id"`
	FullName      string `json:"full_name"`
	HTMLURL       string `json:"html_url"`
	DefaultBranch string `json:"default_branch"`
	Archived      bool   `json:"archived"`
}

// ref checks all that polset takes from a repository's description.
func (b *repositoryBody) ref() (polset.RepositoryRef, error) {
	switch {
	case b.ID <= 0:
		return polset.RepositoryRef{}, unprocessable("repository.id must be a positive number")
	case !repositoryName(b.FullName):
		return polset.RepositoryRef{}, unprocessable("repository.full_name must be owner/name")
	}
	if b.DefaultBranch != "" {
		if err := checkRef(branchPrefix + b.DefaultBranch); err != nil {
			return polset.RepositoryRef{}, unprocessable("repository.default_branch " + err.Error())
		}
	}
	return polset.RepositoryRef{ID: b.ID, Identifier: b.FullName}, nil
}

// An installationID is the installation that was told of an event. Hooks that
// are no App's leave it out.
type installationID struct {
	ID int64 `json:"id"`
}

// number returns 0 where there is none.
func (i *installationID) number() (int64, error) {
	switch {
	case i == nil:
		return 0, nil
	case i.ID <= 0:
		return 0, unprocessable("installation.id must be a positive number")
	}
	return i.ID, nil
}

// A repositoryEvent is what polset needs of a repository event's payload
// (https://docs.github.com/en/webhooks/webhook-events-and-payloads#repository).
type repositoryEvent struct {
	Action     *string         `json:"action"`
	Repository *repositoryBody `json:"repository"`
	Changes    struct {
		Repository struct {
			Name *from `json:"name"`
		} `json:"repository"`
		Owner struct {
			From *struct {
				User         *account `json:"user"`
				Organization *account `json:"organization"`
			} `json:"from"`
		} `json:"owner"`
		DefaultBranch *from `json:"default_branch"`
	} `json:"changes"`
	Installation *installationID `json:"installation"`
	Sender       account         `json:"sender"`
}

// A from is what a changed value was before.
type from struct {
	From string `json:"from"`
}

// readRepository reads what happened to a repository.
func readRepository(raw []byte) (meaning, error) {
	var b repositoryEvent
	if err := decode(raw, &b); err != nil {
		return meaning{}, err
	}
	m := meaning{sender: printable(b.Sender.Login)}
	if b.Action == nil {
		return m, unprocessable("the body is not that of a repository event: action is required")
	}
	m.action = printable(*b.Action)
	action, reason := repositoryAction(b)
	if reason != "" {
		m.ignored = reason
		return m, nil
	}
	if b.Repository == nil {
		return m, refuse(http.StatusBadRequest, codeMalformed, "the event names no repository")
	}
	m.repo, m.link = printable(b.Repository.FullName), b.Repository.HTMLURL
	if err := aboutRepositoryOnly(raw); err != nil {
		return m, err
	}
	repository, err := b.Repository.ref()
	if err != nil {
		return m, err
	}
	installation, err := b.Installation.number()
	if err != nil {
		return m, err
	}
	previous, err := b.previous(action)
	if err != nil {
		return m, err
	}
	m.repository = &polset.RepositoryChange{
		Action:        action,
		Repository:    repository,
		Previous:      previous,
		DefaultBranch: b.Repository.DefaultBranch,
		Archived:      b.Repository.Archived,
		Installation:  installation,
	}
	return m, nil
}

// repositoryAction translates the action, or says why polset does not act on it.
func repositoryAction(b repositoryEvent) (polset.RepositoryAction, string) {
	switch action := polset.RepositoryAction(*b.Action); action {
	case polset.RepositoryRenamed, polset.RepositoryTransferred, polset.RepositoryDeleted,
		polset.RepositoryArchived, polset.RepositoryUnarchived,
		polset.RepositoryPrivatized, polset.RepositoryPublicized:
		return action, ""
	case "edited":
		if b.Changes.DefaultBranch != nil {
			return polset.RepositoryDefaultBranch, ""
		}
		return "", "of an edited repository, polset acts on a change of the default branch only"
	}
	return "", "polset does not act on this action of a repository"
}

// aboutRepositoryOnly refuses the payloads of other events: a label that was
// deleted names a repository and the action "deleted" too, and beside them the
// label. What is no object may be new and does no harm, but for the one event
// whose subject is a time.
func aboutRepositoryOnly(raw []byte) error {
	var members map[string]json.RawMessage
	if err := decode(raw, &members); err != nil {
		return err
	}
	for name, value := range members {
		switch name {
		case "changes", "repository", "sender", "organization", "enterprise", "business", "installation":
			continue
		}
		if value[0] == '{' || value[0] == '[' || name == "starred_at" {
			return unprocessable("the body is not that of a repository event: it is about more than the repository")
		}
	}
	return nil
}

// previous returns owner/name before a change of either.
func (b repositoryEvent) previous(action polset.RepositoryAction) (string, error) {
	owner, name, _ := strings.Cut(b.Repository.FullName, "/")
	switch action {
	case polset.RepositoryRenamed:
		if b.Changes.Repository.Name == nil {
			return "", unprocessable("changes.repository.name.from is required of a renamed repository")
		}
	case polset.RepositoryTransferred:
		f := b.Changes.Owner.From
		switch {
		case f != nil && f.User != nil:
			owner = f.User.Login
		case f != nil && f.Organization != nil:
			owner = f.Organization.Login
		default:
			return "", unprocessable("changes.owner.from is required of a transferred repository")
		}
	default:
		return "", nil
	}
	if b.Changes.Repository.Name != nil {
		name = b.Changes.Repository.Name.From
	}
	if !accountName(owner) || !repositoryShortName(name) {
		return "", unprocessable("changes must say the owner and the name before as GitHub allows them")
	}
	return owner + "/" + name, nil
}
