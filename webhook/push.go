package webhook

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/polset/polset"
)

// pushBody is what polset needs of a push event's payload
// (https://docs.github.com/en/webhooks/webhook-events-and-payloads#push).
// go-github's PushEvent would keep every commit with its file lists.
type pushBody struct {
	Ref        *string         `json:"ref"`
	Before     *string         `json:"before"`
	After      *string         `json:"after"`
	Deleted    bool            `json:"deleted"`
	Forced     bool            `json:"forced"`
	Repository *repositoryBody `json:"repository"`
	Pusher     *struct {
		Name string `json:"name"`
	} `json:"pusher"`
	Installation *installationID `json:"installation"`
	Sender       account         `json:"sender"`
}

const (
	branchPrefix = "refs/heads/"
	tagPrefix    = "refs/tags/"
)

// readPush reads a push. Whatever is not exactly as git and GitHub would have
// it is refused: the values go on to git, to the database and to people.
func readPush(raw []byte) (meaning, error) {
	var b pushBody
	if err := decode(raw, &b); err != nil {
		return meaning{}, err
	}
	m := meaning{sender: printable(b.Sender.Login)}
	if b.Ref == nil || b.Before == nil || b.After == nil {
		return m, unprocessable("the body is not that of a push event: ref, before and after are required")
	}
	m.ref, m.commit = printable(*b.Ref), printable(*b.After)
	if b.Repository == nil {
		return m, refuse(http.StatusBadRequest, codeMalformed, "the push names no repository")
	}
	if b.Pusher == nil {
		return m, refuse(http.StatusBadRequest, codeMalformed, "the push names no pusher")
	}
	m.repo, m.link = printable(b.Repository.FullName), b.Repository.HTMLURL
	repository, err := b.Repository.ref()
	if err != nil {
		return m, err
	}
	if err := checkRef(*b.Ref); err != nil {
		return m, unprocessable("ref " + err.Error())
	}
	if err := checkCommit(*b.Before); err != nil {
		return m, unprocessable("before " + err.Error())
	}
	if err := checkCommit(*b.After); err != nil {
		return m, unprocessable("after " + err.Error())
	}
	installation, err := b.Installation.number()
	if err != nil {
		return m, err
	}

	branch, isBranch := strings.CutPrefix(*b.Ref, branchPrefix)
	switch {
	case strings.HasPrefix(*b.Ref, tagPrefix):
		m.ignored = "polset follows branches, not tags"
	case !isBranch:
		m.ignored = "polset follows branches only"
	case b.Deleted || *b.After == noCommit:
		m.action = string(polset.RepositoryBranchDeleted)
		m.repository = &polset.RepositoryChange{
			Action:        polset.RepositoryBranchDeleted,
			Repository:    repository,
			DefaultBranch: b.Repository.DefaultBranch,
			Branch:        branch,
			Archived:      b.Repository.Archived,
			Installation:  installation,
		}
	default:
		m.push = &polset.Push{
			RepositoryID:  repository.ID,
			Identifier:    repository.Identifier,
			DefaultBranch: b.Repository.DefaultBranch,
			Branch:        branch,
			Before:        *b.Before,
			After:         *b.After,
			Forced:        b.Forced,
			Pusher:        printable(b.Pusher.Name),
		}
	}
	return m, nil
}

func unprocessable(message string) *refusal {
	return refuse(http.StatusUnprocessableEntity, codeUnprocessable, message)
}

// noCommit is how a push says "nothing": before a ref's creation and after its
// deletion.
const noCommit = "0000000000000000000000000000000000000000"

// checkCommit admits a full SHA-1 object id in lower case, as GitHub sends it.
func checkCommit(id string) error {
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("must be %d lower-case hexadecimal digits", len(noCommit))
		}
	}
	switch len(id) {
	case len(noCommit):
		return nil
	case 64:
		return fmt.Errorf("is a SHA-256 object id: sha256 repositories are not supported")
	default:
		return fmt.Errorf("must be %d lower-case hexadecimal digits", len(noCommit))
	}
}
