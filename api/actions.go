package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/polset/polset"
)

type ingestDraft struct {
	Commit optional[string] `json:"commit"`
}

// gitHubCommit is the full id of a commit on GitHub, which knows SHA-1 only.
var gitHubCommit = regexp.MustCompile(`^[0-9a-f]{40}$`)

// ingest carries a commit into the policy set once more, or the head of its
// branch where the request names none.
func (a *API) ingest(r *request) error {
	set, err := a.PolicySets.PolicySet(r.ctx(), r.by, r.Param("policy_set"))
	if err != nil {
		return err
	}
	in, err := decodeAction[ingestDraft](r, "policy-set-ingestions")
	if err != nil {
		return err
	}
	commit, named := in.Attributes.Commit.Get()
	commit = strings.ToLower(commit)
	if named && !gitHubCommit.MatchString(commit) {
		return invalid("commit", "commit must be the full id of a commit: 40 hexadecimal digits.")
	}
	if err := ingestible(set); err != nil {
		return err
	}
	if named {
		if err := a.checkReachable(r, set, commit); err != nil {
			return err
		}
	}
	ing, err := a.Actions.Ingest(r.ctx(), r.by, set.ID, commit)
	if err != nil {
		return err
	}
	return r.send(http.StatusAccepted, single(ingestionResource(ing)))
}

func followsNothing() error {
	return conflict("The policy set follows no repository. Give it a vcs-repo first.")
}

// ingestible says why nothing could be read for the policy set.
func ingestible(set polset.PolicySet) error {
	switch {
	case set.VCS == nil:
		return followsNothing()
	case set.VCS.TokenID == "" && set.VCS.InstallationID == "":
		return conflict("The credential with which the policy set read %s was deleted. Give its vcs-repo another oauth-token-id or github-app-installation-id.", set.VCS.Identifier)
	}
	return nil
}

// checkReachable refuses a commit that the followed branch does not hold.
// GitHub serves a fork's commits under the name of the repository itself, and
// nobody but the branch's owners shall decide what becomes a version.
func (a *API) checkReachable(r *request, set polset.PolicySet, commit string) error {
	remote, readable, err := a.remote(r, set.OrganizationID, set.VCS.TokenID, set.VCS.InstallationID, set.VCS.Identifier)
	switch {
	case errors.Is(err, polset.ErrNotFound):
		return conflict("The policy set may not use its credential for %s any more. Give its vcs-repo another oauth-token-id or github-app-installation-id.", set.VCS.Identifier)
	case err != nil:
		return err
	case !readable:
		return conflict("The GitHub App's installation for %s is suspended. Unsuspend it on GitHub first.", set.VCS.Identifier)
	}
	ctx, cancel := context.WithTimeout(r.ctx(), a.HeadTimeout)
	defer cancel()
	branch, reachable, err := a.reachable(ctx, remote, commit, set.VCS.Branch)
	if err != nil {
		return uncheckable(err)
	}
	if !reachable {
		return invalid("commit", "Commit %s is not in the history of branch %s of %s, which the policy set follows.", commit, branch, set.VCS.Identifier)
	}
	return nil
}

// reachable resolves the default branch, which GitHub compares by name only.
func (a *API) reachable(ctx context.Context, remote polset.Remote, commit, branch string) (string, bool, error) {
	if branch == "" {
		facts, err := a.Repositories.Repository(ctx, remote)
		if err != nil {
			return "", false, fmt.Errorf("look up the default branch of %s: %w", remote.Identifier, err)
		}
		if branch = facts.DefaultBranch; branch == "" {
			return "", false, polset.Fail(polset.ClassEmptyRepository, "%s has no default branch.", remote.Identifier)
		}
	}
	reachable, err := a.Repositories.Reachable(ctx, remote, commit, branch)
	if err != nil {
		return branch, false, fmt.Errorf("look for %s in %s of %s: %w", commit, branch, remote.Identifier, err)
	}
	return branch, reachable, nil
}

// uncheckable says that GitHub did not tell whether a branch holds a commit.
func uncheckable(err error) error {
	unknown := "GitHub could not be asked whether the branch holds the commit."
	var failure *polset.Failure
	if errors.As(err, &failure) && !failure.Retry {
		return problem{
			Status: http.StatusUnprocessableEntity,
			Title:  "commit not checked",
			Detail: unknown + " " + failure.Message,
		}
	}
	passing := &polset.Failure{Class: polset.ClassTimeout, Retry: true, Err: err}
	if failure != nil {
		passing.Class, passing.RetryAfter = failure.Class, failure.RetryAfter
		unknown += " " + failure.Message
	}
	passing.Message = unknown + " Try again in a while; without commit the head of the branch is ingested, and GitHub's API is not asked."
	return passing
}

// rotateWebhookSecret gives the repository's own hook a new secret, and shows
// it once.
func (a *API) rotateWebhookSecret(r *request) error {
	now, err := a.PolicySets.PolicySet(r.ctx(), r.by, r.Param("policy_set"))
	if err != nil {
		return err
	}
	if now.VCS == nil {
		return followsNothing()
	}
	if now.VCS.InstallationID != "" {
		return conflict("The policy set follows %s through the GitHub App, which has one webhook of its own: there is no secret to rotate.", now.VCS.Identifier)
	}
	set, err := a.Actions.RotateHookSecret(r.ctx(), r.by, now.ID)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, single(a.policySetResource(set, true)))
}
