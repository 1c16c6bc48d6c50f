package githubapp

import (
	"context"
	"net/http"
	"net/url"

	"github.com/polset/polset"
)

// Repository returns what GitHub says of a repository, by today's name. A
// refusal is a *polset.Failure of ClassAuth: GitHub does not tell a repository
// that does not exist from one that the credential may not see.
func (c *Client) Repository(ctx context.Context, r polset.Remote) (polset.RepositoryFacts, error) {
	var said struct {
		ID            int64  `json:"id"`
		FullName      string `json:"full_name"`
		DefaultBranch string `json:"default_branch"`
		Archived      bool   `json:"archived"`
		Private       bool   `json:"private"`
	}
	_, err := c.ask(ctx, r, toRead, question{
		operation: "read-repository", doing: "read about " + r.Identifier,
		method: http.MethodGet, into: &said,
	})
	if err != nil {
		return polset.RepositoryFacts{}, err
	}
	if said.ID == 0 || said.FullName == "" {
		return polset.RepositoryFacts{}, &polset.Failure{
			Class: polset.ClassTimeout, Retry: true,
			Message: "What answered for " + r.Identifier + " is not GitHub's API; check the API URL of the connection.",
		}
	}
	return polset.RepositoryFacts{
		RepositoryRef: polset.RepositoryRef{ID: said.ID, Identifier: said.FullName},
		DefaultBranch: said.DefaultBranch,
		Archived:      said.Archived,
		Private:       said.Private,
	}, nil
}

// Reachable reports whether a commit is the head of a branch, or an ancestor of
// it; "" is the default branch. Neither is one that does not exist.
func (c *Client) Reachable(ctx context.Context, r polset.Remote, commit, branch string) (bool, error) {
	if branch == "" {
		facts, err := c.Repository(ctx, r)
		if err != nil {
			return false, err
		}
		branch = facts.DefaultBranch
	}
	var compared struct {
		Status string `json:"status"`
	}
	_, err := c.ask(ctx, r, toRead, question{
		operation: "compare", doing: "compare commits of " + r.Identifier,
		method: http.MethodGet, path: "/compare/" + url.PathEscape(branch) + "..." + url.PathEscape(commit),
		// The second page of one commit each holds no list of files.
		query: url.Values{"per_page": {"1"}, "page": {"2"}},
		into:  &compared,
	})
	if statusOf(err) == http.StatusNotFound {
		// One of the three: the repository has the other two.
		_, err := c.Repository(ctx, r)
		return false, err
	}
	if err != nil {
		return false, err
	}
	return compared.Status == "behind" || compared.Status == "identical", nil
}
