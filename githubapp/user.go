package githubapp

import (
	"context"
	"net/http"

	"github.com/polset/polset"
)

// User returns the login of whom the token of a connection belongs to.
func (c *Client) User(ctx context.Context, r polset.Remote) (string, error) {
	base, err := c.base(r)
	if err != nil {
		return "", err
	}
	var user struct {
		Login string `json:"login"`
	}
	_, err = c.send(ctx, base, tokenCredential(base, r.Token), question{
		operation: "read-user", doing: "learn whom the token belongs to",
		method: http.MethodGet, path: "/user", into: &user,
	})
	return user.Login, err
}
