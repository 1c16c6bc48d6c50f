package githubapp

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/polset/polset"
)

// A Person is somebody who authorized the App.
type Person struct {
	ID    int64
	Login string
	// Installations are the numbers of the App's installations that the person
	// can reach, ascending.
	Installations []int64
}

// Authorize exchanges the code that GitHub sent a person back with for who they
// are. Their token is forgotten. ErrUnauthorized says that GitHub does not
// accept the code.
func (c *Client) Authorize(ctx context.Context, app polset.App, code string) (Person, error) {
	if app.ClientID == "" || app.ClientSecret.Empty() {
		return Person{}, polset.Fail(polset.ClassAuth,
			"polset cannot ask who installed the GitHub App, because it does not know the App's client id and client secret.")
	}
	var granted struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error"`
	}
	_, err := c.send(ctx, c.web, credential{key: "client " + app.ClientID}, question{
		operation: "authorize", doing: "learn who installed the GitHub App",
		method: http.MethodPost, path: "/login/oauth/access_token",
		body: map[string]string{"client_id": app.ClientID, "client_secret": app.ClientSecret.Reveal(), "code": code},
		into: &granted, secret: app.ClientSecret, accept: "application/json",
	})
	switch {
	case err != nil:
		return Person{}, err
	case granted.Error == "bad_verification_code":
		return Person{}, fmt.Errorf("learn who installed the GitHub App: the code is not valid: %w", polset.ErrUnauthorized)
	case granted.AccessToken == "":
		return Person{}, polset.Fail(polset.ClassAuth,
			"%s does not say who installed the GitHub App (%s); check the App's client id, client secret and callback URL.", c.web.Host, quote(granted.Error))
	}
	who := tokenCredential(c.api, polset.NewSecret(granted.AccessToken))
	var user struct {
		ID    int64  `json:"id"`
		Login string `json:"login"`
	}
	_, err = c.send(ctx, c.api, who, question{
		operation: "read-user", doing: "learn who installed the GitHub App",
		method: http.MethodGet, path: "/user", into: &user,
	})
	if err != nil {
		return Person{}, err
	}
	p := Person{ID: user.ID, Login: user.Login}
	err = each(url.Values{"per_page": {"100"}}, func(query url.Values) (*answer, bool, error) {
		var page struct {
			Installations []struct {
				ID int64 `json:"id"`
			} `json:"installations"`
		}
		a, err := c.send(ctx, c.api, who, question{
			operation: "list-user-installations", doing: "list the installations that the person can reach",
			method: http.MethodGet, path: "/user/installations", query: query, into: &page,
		})
		for _, i := range page.Installations {
			p.Installations = append(p.Installations, i.ID)
		}
		return a, true, err
	})
	if err != nil {
		return Person{}, err
	}
	slices.Sort(p.Installations)
	return p, nil
}
