package polsettest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-github/v60/github"

	"github.com/polset/polset/internal/polsettest"
)

// GitHub's own client library accepts the delivery and reads the payload.
func TestDeliver(t *testing.T) {
	g := polsettest.NewGit(t)
	r := g.Create("acme/policies", polsettest.DefaultBranch("trunk"))
	r.RequireToken("s3cret")
	first := r.Commit("trunk", map[string]string{"a": "1"})
	second := r.Commit("trunk", map[string]string{"a": "2"})
	push := r.Push("trunk", first, second)
	push.Installation = 77

	events := make(chan any, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := github.ValidatePayload(request, []byte("secret"))
		if err != nil {
			t.Error(err)
		}
		event, err := github.ParseWebHook(github.WebHookType(request), body)
		if err != nil {
			t.Error(err)
		}
		if got := github.DeliveryID(request); got != "7bcd5c8e-0000-4000-8000-000000000001" {
			t.Errorf("delivery is %q", got)
		}
		events <- event
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	deliver := func(event string, body []byte) any {
		t.Helper()
		response, err := polsettest.Deliver(t.Context(), server.URL, "secret", event, "7bcd5c8e-0000-4000-8000-000000000001", body)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusAccepted {
			t.Errorf("answer is %s, %v", response.Status, err)
		}
		return <-events
	}

	e, ok := deliver("push", polsettest.PushEvent(push)).(*github.PushEvent)
	if !ok {
		t.Fatal("the event is no push")
	}
	if e.GetRef() != "refs/heads/trunk" || e.GetBefore() != first || e.GetAfter() != second ||
		e.GetForced() || e.GetCreated() || e.GetDeleted() || e.GetInstallation().GetID() != 77 ||
		e.GetRepo().GetID() != r.ID || e.GetRepo().GetFullName() != "acme/policies" || !e.GetRepo().GetPrivate() ||
		e.GetRepo().GetDefaultBranch() != "trunk" || e.GetRepo().GetOwner().GetLogin() != "acme" ||
		e.GetHeadCommit().GetID() != second || e.GetHeadCommit().GetTreeID() != r.TreeID(second, "") || len(e.Commits) != 1 {
		t.Errorf("event is %s", github.Stringify(e))
	}
	p, ok := deliver("ping", polsettest.PingEvent(push)).(*github.PingEvent)
	if !ok || p.GetHookID() == 0 || p.GetRepo().GetID() != r.ID {
		t.Errorf("ping is %s", github.Stringify(p))
	}
}

func TestPushEventMoves(t *testing.T) {
	const a, b = "1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"
	for _, test := range []struct {
		name                     string
		push                     polsettest.Push
		created, deleted, forced bool
	}{
		{"ordinary", polsettest.Push{Before: a, After: b}, false, false, false},
		{"forced", polsettest.Push{Before: a, After: b, Forced: true}, false, false, true},
		{"created", polsettest.Push{After: b}, true, false, false},
		{"deleted", polsettest.Push{Before: a}, false, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var e struct {
				Before, After            string
				Created, Deleted, Forced bool
				Head                     *struct{ ID string } `json:"head_commit"`
				Commits                  []any
			}
			if err := json.Unmarshal(polsettest.PushEvent(test.push), &e); err != nil {
				t.Fatal(err)
			}
			if e.Created != test.created || e.Deleted != test.deleted || e.Forced != test.forced ||
				(e.Head == nil) != test.deleted || e.Commits == nil || len(e.Before) != 40 || len(e.After) != 40 {
				t.Errorf("event is %+v", e)
			}
		})
	}
}
