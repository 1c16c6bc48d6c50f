package githubapp

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/polset/polset"
)

// wireHook is a repository's webhook in GitHub's words.
type wireHook struct {
	ID     int64 `json:"id"`
	Config struct {
		URL string `json:"url"`
	} `json:"config"`
}

// wireHookDraft is how a webhook shall be.
type wireHookDraft struct {
	Name   string            `json:"name,omitempty"`
	Active bool              `json:"active"`
	Events []string          `json:"events"`
	Config map[string]string `json:"config"`
}

// put makes the webhook of a task as it shall be, and returns GitHub's number
// of it. One with the same URL is taken over, whoever made it: polset itself
// perhaps, before a crash.
func (k *HookKeeper) put(ctx context.Context, t polset.HookTask) (int64, error) {
	draft := wireHookDraft{
		Active: true, Events: hookEvents(),
		Config: map[string]string{
			"url": k.url(t), "content_type": "json", "insecure_ssl": "0", "secret": t.Secret.Reveal(),
		},
	}
	if t.ExternalID != 0 {
		err := k.change(ctx, t, t.ExternalID, draft)
		if statusOf(err) != http.StatusNotFound {
			return t.ExternalID, err
		}
	}
	id, err := k.find(ctx, t)
	if err != nil {
		return 0, err
	}
	if id == 0 {
		id, err = k.create(ctx, t, draft)
		if !strings.Contains(saidOf(err), "already exists") {
			return id, err
		}
		if id, err = k.find(ctx, t); err != nil || id == 0 {
			return 0, err
		}
	}
	return id, k.change(ctx, t, id, draft)
}

func (k *HookKeeper) create(ctx context.Context, t polset.HookTask, draft wireHookDraft) (int64, error) {
	draft.Name = "web"
	var made wireHook
	_, err := k.client.ask(ctx, t.Remote, toRead, question{
		operation: "create-hook", doing: "create a webhook of " + t.Remote.Identifier,
		method: http.MethodPost, path: "/hooks", body: draft, into: &made, mutates: true, secret: t.Secret,
	})
	return made.ID, err
}

func (k *HookKeeper) change(ctx context.Context, t polset.HookTask, id int64, draft wireHookDraft) error {
	_, err := k.client.ask(ctx, t.Remote, toRead, question{
		operation: "update-hook", doing: "change the webhook of " + t.Remote.Identifier,
		method: http.MethodPatch, path: "/hooks/" + strconv.FormatInt(id, 10), body: draft, mutates: true, secret: t.Secret,
	})
	return err
}

// find looks for the webhook by its URL; 0 where there is none.
func (k *HookKeeper) find(ctx context.Context, t polset.HookTask) (id int64, err error) {
	err = each(url.Values{"per_page": {"100"}}, func(query url.Values) (*answer, bool, error) {
		var page []wireHook
		a, err := k.client.ask(ctx, t.Remote, toRead, question{
			operation: "list-hooks", doing: "list the webhooks of " + t.Remote.Identifier,
			method: http.MethodGet, path: "/hooks", query: query, into: &page,
		})
		for _, h := range page {
			if strings.EqualFold(h.Config.URL, k.url(t)) {
				id = h.ID
			}
		}
		return a, id == 0, err
	})
	return id, err
}

// remove removes the webhook of a task. One that is not there is removed.
func (k *HookKeeper) remove(ctx context.Context, t polset.HookTask) error {
	id := t.ExternalID
	if id == 0 {
		var err error
		if id, err = k.find(ctx, t); err != nil || id == 0 {
			return err
		}
	}
	_, err := k.client.ask(ctx, t.Remote, toRead, question{
		operation: "delete-hook", doing: "remove the webhook of " + t.Remote.Identifier,
		method: http.MethodDelete, path: "/hooks/" + strconv.FormatInt(id, 10), mutates: true,
	})
	if statusOf(err) != http.StatusNotFound {
		return err
	}
	// Nor does GitHub find it for a token that may change hooks, not remove
	// them, or that may not see the repository. Only a list without it tells.
	left, looked := k.find(ctx, t)
	switch {
	case looked != nil:
		return looked
	case left == id:
		return err
	}
	return nil
}

// url is where the webhook of a task leads.
func (k *HookKeeper) url(t polset.HookTask) string { return k.public + "/webhooks/vcs/" + t.HookID }

// hookEvents are those of which polset acts on a repository's own hook.
func hookEvents() []string { return []string{"push", "pull_request", "repository"} }

// byHand says what a person must do where the token may not.
func (k *HookKeeper) byHand(t polset.HookTask, why error) string {
	settings := strings.TrimRight(t.Remote.HTTPURL, "/") + "/" + t.Remote.Identifier + "/settings/hooks"
	reason := "the connection was deleted"
	if why != nil {
		reason = strings.TrimSuffix(polset.FailureOf(why).Message, ".")
	}
	if t.Remove {
		return fmt.Sprintf("polset could not remove its webhook (%s). Remove the one with the payload URL %s at %s.", reason, k.url(t), settings)
	}
	return fmt.Sprintf("polset could not set up the webhook (%s). Add it at %s by hand: payload URL %s, content type application/json, "+
		"the webhook secret of the policy set (rotate it to see a new one), and the events pushes, pull requests and repositories. "+
		"Or give the connection a token that may do it: the scope admin:repo_hook of a classic token, or Webhooks: read and write of a fine-grained one.",
		reason, settings+"/new", k.url(t))
}
