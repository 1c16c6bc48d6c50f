package githubapp

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/polset/polset"
)

// wireInstallation is an installation in GitHub's words.
type wireInstallation struct {
	ID         int64  `json:"id"`
	AppID      int64  `json:"app_id"`
	HTMLURL    string `json:"html_url"`
	TargetID   int64  `json:"target_id"`
	TargetType string `json:"target_type"`
	Account    struct {
		ID        int64  `json:"id"`
		Login     string `json:"login"`
		Slug      string `json:"slug"` // of an enterprise, in the place of a login
		AvatarURL string `json:"avatar_url"`
	} `json:"account"`
	Selection   string            `json:"repository_selection"`
	Permissions map[string]string `json:"permissions"`
	SuspendedAt time.Time         `json:"suspended_at"`
	CreatedAt   time.Time         `json:"created_at"`
	UpdatedAt   time.Time         `json:"updated_at"`
}

// Installations returns the installations of the App, in GitHub's order. A list
// of several pages is read twice, and is all that either reading held: it may
// name one that was removed meanwhile. ErrNotFound says that there is no App.
func (c *Client) Installations(ctx context.Context) ([]polset.Installation, error) {
	list, _, err := c.installations(ctx)
	return list, err
}

// installations is Installations, and reports whether the list is complete. One
// that is removed between two pages moves another from the second to the first,
// where it is not seen. It is in the first reading, and not in the second: both
// list the same only where nothing was missed.
func (c *Client) installations(ctx context.Context) (list []polset.Installation, complete bool, err error) {
	first, several, err := c.readInstallations(ctx)
	if err != nil || !several {
		return first, err == nil, err
	}
	second, _, err := c.readInstallations(ctx)
	if err != nil {
		return nil, false, err
	}
	list, complete = second, true
	known := numbers(second)
	for _, i := range first {
		if !known[i.ExternalID] {
			list, complete = append(list, i), false
		}
	}
	return list, complete && len(numbers(first)) == len(known), nil
}

func numbers(list []polset.Installation) map[int64]bool {
	known := map[int64]bool{}
	for _, i := range list {
		known[i.ExternalID] = true
	}
	return known
}

// readInstallations reads the list once. Several says that it has pages.
func (c *Client) readInstallations(ctx context.Context) (list []polset.Installation, several bool, err error) {
	app, err := c.apps.get(ctx, false)
	if err != nil {
		return nil, false, noApp(err)
	}
	httpURL := app.HTTPURL
	if httpURL == "" {
		httpURL = c.web.String()
	}
	read := 0
	err = each(url.Values{"per_page": {"100"}}, func(query url.Values) (*answer, bool, error) {
		var page []wireInstallation
		a, err := c.asApp(ctx, question{
			operation: "list-installations", doing: "list the App's installations", modest: true,
			method: http.MethodGet, path: "/app/installations", query: query, into: &page,
		})
		for _, i := range page {
			list = append(list, i.installation(httpURL))
		}
		read++
		return a, true, err
	})
	if err != nil {
		return nil, false, err
	}
	return list, read > 1, nil
}

func (w wireInstallation) installation(httpURL string) polset.Installation {
	i := polset.Installation{
		ExternalID:  w.ID,
		AppID:       w.AppID,
		HTTPURL:     httpURL,
		Account:     w.Account.Login,
		AccountID:   w.Account.ID,
		AccountType: w.TargetType,
		IconURL:     w.Account.AvatarURL,
		HTMLURL:     w.HTMLURL,
		Selection:   w.Selection,
		Permissions: w.Permissions,
		SuspendedAt: w.SuspendedAt,
		CreatedAt:   w.CreatedAt,
		UpdatedAt:   w.UpdatedAt,
	}
	if i.Account == "" {
		i.Account = w.Account.Slug
	}
	if i.AccountID == 0 {
		i.AccountID = w.TargetID
	}
	return i
}
