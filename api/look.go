package api

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/polset/polset"
)

// reach finds the repository that the draft names, for an organization's
// policy set. A credential of another organization is answered like one that
// does not exist, to a site admin as well: it may not serve this organization.
// An installation that is suspended is no reason to refuse, but not readable.
func (a *API) reach(r *request, organizationID string, d polset.VCSDraft) (remote polset.Remote, readable bool, err error) {
	remote, readable, err = a.remote(r, organizationID, d.TokenID, d.InstallationID, d.Identifier)
	if errors.Is(err, polset.ErrNotFound) {
		err = invalid("vcs-repo/oauth-token-id", "oauth-token-id names no OAuth token of the organization.")
		if d.InstallationID != "" {
			err = invalid("vcs-repo/github-app-installation-id", "github-app-installation-id names no GitHub App installation that serves the organization.")
		}
	}
	return remote, readable, err
}

// remote returns the repository as one of the organization's credentials
// reaches it, exactly one of which is given. It answers polset.ErrNotFound for
// a credential that is not the organization's.
func (a *API) remote(r *request, organizationID, tokenID, installationID, identifier string) (polset.Remote, bool, error) {
	// The organization asks, whoever acts for it: what it may not use does not
	// exist for a site admin either.
	asking := r.by
	asking.OrganizationID = organizationID
	credential, kind := tokenID, "ot-"
	if installationID != "" {
		credential, kind = installationID, "ghain-"
	}
	// The store takes either; an id in the other's place names nothing.
	if !strings.HasPrefix(credential, kind) || !plausibleID.MatchString(credential) {
		return polset.Remote{}, false, polset.ErrNotFound
	}
	if installationID != "" {
		i, err := a.Installations.Installation(r.ctx(), asking, installationID)
		if err != nil || !i.Active() {
			return polset.Remote{}, false, err
		}
	}
	remote, err := a.Connections.Remote(r.ctx(), asking, credential, identifier)
	return remote, err == nil, err
}

// look returns where the branch stands and what GitHub says of its repository.
// What cannot be seen now is zero: the policy set is made in any case, the
// ingestion looks again, and its version says what is wrong.
func (a *API) look(r *request, remote polset.Remote, branch string) (polset.Head, polset.RepositoryFacts) {
	ctx, cancel := context.WithTimeout(r.ctx(), a.HeadTimeout)
	defer cancel()
	seen := make(chan polset.RepositoryFacts, 1)
	go func() { seen <- a.facts(ctx, remote) }()
	head := a.head(ctx, remote, branch)
	return head, <-seen
}

func (a *API) head(ctx context.Context, remote polset.Remote, branch string) polset.Head {
	head, err := a.Heads.Head(ctx, remote, branch)
	if err != nil {
		a.unseen("branch head not seen at once", remote, branch, err)
		return polset.Head{}
	}
	if head.Commit == "" {
		return polset.Head{}
	}
	return head
}

// facts runs beside the request, whose own recovery does not cover it.
func (a *API) facts(ctx context.Context, remote polset.Remote) (facts polset.RepositoryFacts) {
	var err error
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		if err != nil {
			a.unseen("repository not seen at once", remote, "", err)
			facts = polset.RepositoryFacts{}
		}
	}()
	facts, err = a.Repositories.Repository(ctx, remote)
	return facts
}

func (a *API) unseen(message string, remote polset.Remote, branch string, err error) {
	a.Logger.Info(message,
		zap.String("repo", remote.Identifier),
		zap.String("branch", branch),
		zap.String("class", string(polset.FailureOf(err).Class)),
		zap.Error(err))
}

// follows says that a draft names what is followed already.
func follows(now *polset.VCS, d polset.VCSDraft) bool {
	return now != nil && now.Identifier == d.Identifier && now.Branch == d.Branch &&
		now.Submodules == d.Submodules && now.TokenID == d.TokenID && now.InstallationID == d.InstallationID
}
