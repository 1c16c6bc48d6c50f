package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const callLimit = 30 * time.Second

// A resource is as much of a JSON:API resource as the bench reads.
type resource struct {
	ID         string `json:"id"`
	Attributes struct {
		Status string `json:"status"`
	} `json:"attributes"`
	Relationships struct {
		Tokens struct {
			Data []struct {
				ID string `json:"id"`
			} `json:"data"`
		} `json:"oauth-tokens"`
	} `json:"relationships"`
}

// follow makes an organization whose policy set follows a repository, and
// waits for its first version. It returns the policy set's id.
func (n *node) follow(ctx context.Context, repo repository) (string, error) {
	const organization = "/api/v2/organizations"
	if _, err := n.create(ctx, organization, "organizations", map[string]any{
		"name": "acme", "email": "platform@acme.example",
	}); err != nil {
		return "", err
	}
	connection, err := n.create(ctx, organization+"/acme/oauth-clients", "oauth-clients", map[string]any{
		"service-provider": "github", "http-url": "https://github.com", "api-url": "https://api.github.com",
		"oauth-token-string": "not-asked-for",
	})
	if err != nil {
		return "", err
	}
	if len(connection.Relationships.Tokens.Data) != 1 {
		return "", errors.New("the oauth client names no token")
	}
	set, err := n.create(ctx, organization+"/acme/policy-sets", "policy-sets", map[string]any{
		"name": "production", "kind": "opa", "policies-path": policiesPath,
		"vcs-repo": map[string]any{
			"identifier": repo.Identifier, "branch": "main", "oauth-token-id": connection.Relationships.Tokens.Data[0].ID,
		},
	})
	if err != nil {
		return "", err
	}
	return set.ID, n.await(ctx, "the first version", func() (bool, error) {
		ready, err := n.ready(ctx, set.ID)
		return ready == 1, err
	})
}

// ready counts the versions of a policy set that are ready.
func (n *node) ready(ctx context.Context, setID string) (int, error) {
	var answer struct {
		Meta struct {
			Pagination struct {
				TotalCount int `json:"total-count"`
			} `json:"pagination"`
		} `json:"meta"`
	}
	path := "/api/v2/policy-sets/" + setID + "/versions?filter[status]=ready&page[size]=1"
	err := n.call(ctx, http.MethodGet, path, nil, http.StatusOK, &answer)
	return answer.Meta.Pagination.TotalCount, err
}

// await looks again and again, since a process gives no other signal.
func (n *node) await(ctx context.Context, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if done, err := holds(); done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; polset's log ends:\n%s", what, ctx.Err(), n.tail())
		}
	}
}

func (n *node) create(ctx context.Context, path, kind string, attributes map[string]any) (resource, error) {
	var answer struct {
		Data resource `json:"data"`
	}
	body := map[string]any{"data": map[string]any{"type": kind, "attributes": attributes}}
	err := n.call(ctx, http.MethodPost, path, body, http.StatusCreated, &answer)
	return answer.Data, err
}

func (n *node) call(ctx context.Context, method, path string, in any, want int, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, n.url+path, &body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	request.Header.Set("Authorization", "Bearer "+n.token)
	request.Header.Set("Content-Type", "application/vnd.api+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	text, err := io.ReadAll(response.Body)
	_ = response.Body.Close() // it was only read
	if err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	if response.StatusCode != want {
		return fmt.Errorf("%s %s answered %d, expected %d: %s", method, path, response.StatusCode, want, text)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s %s: decode the answer: %w", method, path, err)
	}
	return nil
}
