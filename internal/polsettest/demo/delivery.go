package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/polset/polset/internal/polsettest"
)

// A delivery is what became of one webhook.
type delivery struct {
	commit  string
	guid    string
	status  int
	elapsed time.Duration
	err     error
}

const deliveryLimit = 10 * time.Second // GitHub's own

// deliver tells polset of a push as GitHub does: signed, once, and after the
// pusher has gone.
func (w *world) deliver(ctx context.Context, push polsettest.Push) {
	push.URL = "https://github.com" // a policy set follows the repository there
	d := delivery{commit: push.After, guid: uuid.NewString()}
	ctx, cancel := context.WithTimeout(ctx, deliveryLimit)
	defer cancel()
	w.git.ResetRequests() // from here on, only polset fetches
	began := time.Now()
	response, err := polsettest.Deliver(ctx, w.server.url+"/webhooks/github", w.hookSecret, "push", d.guid, polsettest.PushEvent(push))
	if err == nil {
		d.status = response.StatusCode
		_, err = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close() // it was only read
	}
	d.elapsed, d.err = time.Since(began), err
	w.deliveries <- d
}

// push pushes what was committed and waits until polset has accepted the
// webhook.
func (w *world) push(ctx context.Context, dev *checkout) (string, error) {
	commit, err := dev.push(ctx)
	if err != nil {
		return "", err
	}
	subject, err := dev.git(ctx, "log", "-1", "--format=%s")
	if err != nil {
		return "", err
	}
	w.say("git push  %s  %s", short(commit), subject)
	select {
	case d := <-w.deliveries:
		switch {
		case d.err != nil:
			return "", fmt.Errorf("deliver the webhook: %w", d.err)
		case d.commit != commit:
			return "", fmt.Errorf("the webhook tells of %s, pushed was %s", d.commit, commit)
		case d.status != 202:
			return "", fmt.Errorf("the webhook was answered %d, expected 202", d.status)
		}
		w.say("webhook   delivery %s, answered %d in %s", d.guid, d.status, ms(d.elapsed))
		return commit, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
