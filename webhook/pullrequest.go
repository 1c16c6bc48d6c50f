package webhook

import (
	"net/http"

	"github.com/polset/polset"
)

// A pullRequestEvent is what polset needs of a pull_request event's payload
// (https://docs.github.com/en/webhooks/webhook-events-and-payloads#pull_request).
type pullRequestEvent struct {
	Action      *string `json:"action"`
	PullRequest *struct {
		Number    int      `json:"number"`
		User      account  `json:"user"`
		Head      *pullEnd `json:"head"`
		Base      *pullEnd `json:"base"`
		UpdatedAt *moment  `json:"updated_at"`
	} `json:"pull_request"`
	Repository   *repositoryBody `json:"repository"`
	Installation *installationID `json:"installation"`
	Sender       account         `json:"sender"`
}

// A pullEnd is one of the two commits of a pull request, and where it is.
// The repository is null where it was deleted.
type pullEnd struct {
	Ref  string `json:"ref"`
	SHA  string `json:"sha"`
	Repo *struct {
		ID int64 `json:"id"`
	} `json:"repo"`
}

// readPullRequest reads a proposal that is new or has a new commit.
func readPullRequest(raw []byte) (meaning, error) {
	var b pullRequestEvent
	if err := decode(raw, &b); err != nil {
		return meaning{}, err
	}
	m := meaning{sender: printable(b.Sender.Login)}
	if b.Action == nil {
		return m, unprocessable("the body is not that of a pull_request event: action is required")
	}
	m.action = printable(*b.Action)
	switch *b.Action {
	case "opened", "synchronize", "reopened":
	default:
		m.ignored = "polset acts on pull requests that are opened, reopened or pushed to"
		return m, nil
	}
	pull := b.PullRequest
	if pull == nil || pull.Head == nil || pull.Base == nil || b.Repository == nil {
		return m, refuse(http.StatusBadRequest, codeMalformed, "the event names no pull request with its head, base and repository")
	}
	m.repo, m.link = printable(b.Repository.FullName), b.Repository.HTMLURL
	m.ref, m.commit = printable(pull.Base.Ref), printable(pull.Head.SHA)
	repository, err := b.Repository.ref()
	if err != nil {
		return m, err
	}
	installation, err := b.Installation.number()
	if err != nil {
		return m, err
	}
	if pull.Number <= 0 {
		return m, unprocessable("pull_request.number must be a positive number")
	}
	if err := checkRef(branchPrefix + pull.Base.Ref); err != nil {
		return m, unprocessable("pull_request.base.ref " + err.Error())
	}
	if err := checkCommit(pull.Head.SHA); err != nil {
		return m, unprocessable("pull_request.head.sha " + err.Error())
	}
	if pull.Head.SHA == noCommit {
		return m, unprocessable("pull_request.head.sha must name a commit")
	}
	if pull.Base.Repo == nil || pull.Base.Repo.ID != repository.ID {
		return m, unprocessable("pull_request.base.repo must be the repository of the event")
	}
	m.pull = &polset.PullRequest{
		Repository:    repository,
		DefaultBranch: b.Repository.DefaultBranch,
		Number:        pull.Number,
		Action:        *b.Action,
		Base:          pull.Base.Ref,
		Head:          pull.Head.SHA,
		// A fork that is gone was one.
		Fork:         pull.Head.Repo == nil || pull.Head.Repo.ID != repository.ID,
		Author:       printable(pull.User.Login),
		Installation: installation,
		UpdatedAt:    pull.UpdatedAt.orZero(),
	}
	return m, nil
}
