package polsettest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"net/http"
	"strings"
)

// hookID is GitHub's number for the webhook itself.
const hookID = 109948940

// Sign returns the header X-Hub-Signature-256 of a body.
func Sign(secret string, body []byte) string {
	return "sha256=" + sign(sha256.New, secret, body)
}

func sign(algorithm func() hash.Hash, secret string, body []byte) string {
	mac := hmac.New(algorithm, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// NewDelivery makes the request that GitHub sends for an event, for tests
// that change it before it goes out.
func NewDelivery(ctx context.Context, url, secret, event, guid string, body []byte) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make delivery: %w", err)
	}
	for key, value := range map[string]string{
		"Accept":                                 "*/*",
		"Content-Type":                           "application/json",
		"User-Agent":                             "GitHub-Hookshot/44f0c2a",
		"X-GitHub-Delivery":                      guid,
		"X-GitHub-Event":                         event,
		"X-GitHub-Hook-ID":                       fmt.Sprint(hookID),
		"X-GitHub-Hook-Installation-Target-ID":   "1296269",
		"X-GitHub-Hook-Installation-Target-Type": "repository",
		"X-Hub-Signature":                        "sha1=" + sign(sha1.New, secret, body),
		"X-Hub-Signature-256":                    Sign(secret, body),
	} {
		request.Header.Set(key, value)
	}
	return request, nil
}

// Deliver sends an event as GitHub does. The caller closes the answer's body.
func Deliver(ctx context.Context, url, secret, event, guid string, body []byte) (*http.Response, error) {
	request, err := NewDelivery(ctx, url, secret, event, guid, body)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("deliver %s: %w", event, err)
	}
	return response, nil
}

// PingEvent is the body of the ping that GitHub sends to a new webhook of
// the repository.
func PingEvent(p Push) []byte {
	p = p.withDefaults()
	return p.edit(object{
		"zen":     "Responsive is better than fast.",
		"hook_id": hookID,
		"hook": object{
			"type": "Repository", "id": hookID, "name": "web", "active": true,
			"events":     []string{"push"},
			"config":     object{"content_type": "json", "insecure_ssl": "0", "secret": "********", "url": "https://polset.example.com/webhooks/github"},
			"updated_at": "2026-01-02T03:04:05Z", "created_at": "2026-01-02T03:04:05Z",
			"url":           p.apiURL() + "/hooks/" + fmt.Sprint(hookID),
			"test_url":      p.apiURL() + "/hooks/" + fmt.Sprint(hookID) + "/test",
			"ping_url":      p.apiURL() + "/hooks/" + fmt.Sprint(hookID) + "/pings",
			"last_response": object{"code": nil, "status": "unused", "message": nil},
		},
		"repository": p.repository(), "organization": p.organization(),
		"sender": p.user(p.Pusher, 583231, "User"),
	})
}

// PushEvent is the body of a push event, complete as GitHub sends it.
func PushEvent(p Push) []byte {
	p = p.withDefaults()
	created, deleted := p.Before == ZeroCommit, p.After == ZeroCommit
	commits := []object{}
	for _, c := range p.Commits {
		commits = append(commits, p.commit(c))
	}
	var head any
	switch {
	case deleted:
	case len(p.Commits) > 0:
		head = commits[len(commits)-1]
	default:
		head = p.commit(PushCommit{ID: p.After, TreeID: strings.Repeat("4b825dc6", 5), Message: "Change policies"})
	}
	compare := p.webURL() + "/compare/" + short(p.Before) + "..." + short(p.After)
	if created || deleted {
		compare = p.webURL() + "/compare/" + strings.TrimPrefix(strings.TrimPrefix(p.Ref, "refs/heads/"), "refs/tags/")
	}
	return p.edit(object{
		"ref": p.Ref, "before": p.Before, "after": p.After,
		"repository": p.pushRepository(), "organization": p.organization(),
		"pusher":  object{"name": p.Pusher, "email": p.Pusher + "@example.com"},
		"sender":  p.user(p.Pusher, 583231, "User"),
		"created": created, "deleted": deleted, "forced": p.Forced,
		"base_ref": nil, "compare": compare,
		"commits": commits, "head_commit": head,
	})
}

func short(commit string) string { return commit[:min(12, len(commit))] }

func (p Push) withDefaults() Push {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&p.Repository, "octocat/policies")
	set(&p.URL, "https://github.com")
	set(&p.DefaultBranch, "main")
	set(&p.Ref, "main")
	set(&p.Before, ZeroCommit)
	set(&p.After, ZeroCommit)
	set(&p.Pusher, "octocat")
	p.Ref = fullRef(p.Ref)
	if p.RepositoryID == 0 {
		p.RepositoryID = 1296269
	}
	if p.OwnerID == 0 {
		p.OwnerID = 583231
	}
	return p
}

// edit adds the installation, lets the caller have the last word, and marshals.
func (p Push) edit(payload object) []byte {
	if p.Installation != 0 {
		payload["installation"] = object{
			"id":      p.Installation,
			"node_id": fmt.Sprintf("MDIzOkludGVncmF0aW9uSW5zdGFsbGF0aW9u%d", p.Installation),
		}
	}
	if p.Edit != nil {
		p.Edit(payload)
	}
	body, err := json.Marshal(payload)
	if err != nil {
		panic(fmt.Sprintf("marshal payload: %v", err)) // Edit put something in that is no JSON
	}
	return body
}
