package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A client calls the HCP Terraform API of one polset.
type client struct {
	base  string // without a trailing slash
	token string
}

const (
	callLimit  = 30 * time.Second
	answerSize = 64 << 20
)

type reference struct {
	ID string `json:"id"`
}

type policySet struct {
	ID         string `json:"id"`
	Attributes struct {
		VCSRepo struct {
			WebhookURL    string `json:"webhook-url"`
			WebhookSecret string `json:"webhook-secret"`
		} `json:"vcs-repo"`
	} `json:"attributes"`
	Relationships struct {
		NewestVersion struct {
			Data reference `json:"data"`
		} `json:"newest-version"`
		CurrentVersion struct {
			Data reference `json:"data"`
		} `json:"current-version"`
	} `json:"relationships"`
}

type version struct {
	ID         string `json:"id"`
	Attributes struct {
		Status            string `json:"status"`
		Error             string `json:"error"`
		ErrorMessage      string `json:"error-message"`
		ArchiveSHA256     string `json:"archive-sha256"`
		TarSHA256         string `json:"tar-sha256"`
		IngressAttributes struct {
			CommitSHA string `json:"commit-sha"`
		} `json:"ingress-attributes"`
		Policies []struct {
			Name string `json:"name"`
		} `json:"policies"`
	} `json:"attributes"`
	Links struct {
		Download string `json:"download"`
	} `json:"links"`
}

type ingestion struct {
	ID         string `json:"id"`
	Attributes struct {
		CommitSHA string `json:"commit-sha"`
		Status    string `json:"status"`
		Reason    string `json:"reason"`
		Cause     string `json:"cause"`
	} `json:"attributes"`
	Relationships struct {
		Version struct {
			Data reference `json:"data"`
		} `json:"policy-set-version"`
	} `json:"relationships"`
}

// An auditEvent is one row of an audit chain.
type auditEvent struct {
	Timestamp time.Time `json:"timestamp"`
	Resource  struct {
		ID     string            `json:"id"`
		Type   string            `json:"type"`
		Action string            `json:"action"`
		Meta   map[string]string `json:"meta"`
	} `json:"resource"`
	Auth struct {
		Actor string `json:"accessor_id"`
	} `json:"auth"`
	Chain    string `json:"chain"`
	Sequence int64  `json:"sequence"`
	Previous string `json:"previous"`
	Hash     string `json:"hash"`
}

// create posts a resource and decodes the answer's data into out.
func (c *client) create(ctx context.Context, path, kind string, attributes map[string]any, out any) error {
	body := map[string]any{"data": map[string]any{"type": kind, "attributes": attributes}}
	return c.call(ctx, http.MethodPost, path, body, http.StatusCreated, &struct {
		Data any `json:"data"`
	}{out})
}

// get decodes the answer's data into out.
func (c *client) get(ctx context.Context, path string, out any) error {
	return c.call(ctx, http.MethodGet, path, nil, http.StatusOK, &struct {
		Data any `json:"data"`
	}{out})
}

// versions lists the versions that a commit made, the newest first.
func (c *client) versions(ctx context.Context, setID, commit string) (list []version, err error) {
	return list, c.get(ctx, "/api/v2/policy-sets/"+setID+"/versions?"+ofCommit(commit), &list)
}

// ingestions lists what became of a commit, the newest first.
func (c *client) ingestions(ctx context.Context, setID, commit string) (list []ingestion, err error) {
	return list, c.get(ctx, "/api/v2/policy-sets/"+setID+"/ingestions?"+ofCommit(commit), &list)
}

func ofCommit(commit string) string { return url.Values{"filter[commit-sha]": {commit}}.Encode() }

// auditTrail reads an organization's whole chain, from its first row.
func (c *client) auditTrail(ctx context.Context, organization string) ([]auditEvent, error) {
	var trail []auditEvent
	for page := 1; page > 0; {
		var answer struct {
			Data       []auditEvent `json:"data"`
			Pagination struct {
				NextPage int `json:"next_page"`
			} `json:"pagination"`
		}
		path := "/api/v2/organization/audit-trail?" + url.Values{
			"organization": {organization}, "page[number]": {fmt.Sprint(page)},
		}.Encode()
		if err := c.call(ctx, http.MethodGet, path, nil, http.StatusOK, &answer); err != nil {
			return nil, err
		}
		trail, page = append(trail, answer.Data...), answer.Pagination.NextPage
	}
	slices.SortFunc(trail, func(a, b auditEvent) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return trail, nil
}

// call sends one request and decodes its answer, whose code must be the one
// that is expected.
func (c *client) call(ctx context.Context, method, path string, in any, want int, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		body = bytes.NewReader(text)
	}
	answer, err := c.send(ctx, method, path, body, want)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s %s: decode the answer: %w", method, path, err)
	}
	return nil
}

// send returns the body of the answer, redirects followed.
func (c *client) send(ctx context.Context, method, path string, body io.Reader, want int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	target := path
	if !strings.HasPrefix(target, "http") {
		target = c.base + path
	}
	request, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Content-Type", "application/vnd.api+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, answerSize))
	_ = response.Body.Close() // it was only read
	if err != nil {
		return nil, fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	if response.StatusCode != want {
		return nil, fmt.Errorf("%s %s answered %d, expected %d: %s", method, path, response.StatusCode, want, bytes.TrimSpace(answer))
	}
	return answer, nil
}
