package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"github.com/polset/polset"
)

// Hook returns a repository's own hook with the secrets that may sign for it.
func (s *Store) Hook(ctx context.Context, id string) (polset.Hook, error) {
	r, err := s.reads.RepositoryByHook(ctx, id)
	if err != nil {
		return polset.Hook{}, fmt.Errorf("read hook: %w", found(err))
	}
	opened, err := s.open(hookPlace(r.ID), r.SealedSecrets)
	if err != nil {
		return polset.Hook{}, err
	}
	var values []string
	if err := json.Unmarshal([]byte(opened.Reveal()), &values); err != nil {
		return polset.Hook{}, fmt.Errorf("read secrets of hook %s: not a JSON list", id)
	}
	h := polset.Hook{ID: r.HookID}
	for _, v := range values {
		h.Secrets = append(h.Secrets, polset.NewSecret(v))
	}
	return h, nil
}

func newHookID() string { return uuid.NewString() }

func newHookSecret() (polset.Secret, error) {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return polset.Secret{}, fmt.Errorf("make hook secret: %w", err)
	}
	return polset.NewSecret(hex.EncodeToString(b)), nil
}

func (s *Store) sealHookSecrets(repositoryID string, secrets []polset.Secret) ([]byte, error) {
	values := make([]string, len(secrets))
	for i, secret := range secrets {
		values[i] = secret.Reveal()
	}
	b, err := json.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("seal hook secrets: %w", err)
	}
	return s.seal(hookPlace(repositoryID), string(b))
}

// hostOf is an http-url in the form for comparing: scheme and host in lower
// case, no default port, no trailing slash.
func hostOf(httpURL string) string {
	u, err := url.Parse(strings.TrimSpace(httpURL))
	if err != nil || u.Host == "" {
		return strings.TrimRight(strings.ToLower(httpURL), "/")
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	switch scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	}
	return scheme + "://" + host + strings.TrimRight(u.EscapedPath(), "/")
}

// identifierKey is owner/name in the form for comparing: GitHub's names do not
// tell cases apart.
func identifierKey(identifier string) string { return strings.ToLower(identifier) }

// commitURL is where a person finds a commit.
func commitURL(httpURL, identifier, commit string) string {
	if commit == "" {
		return ""
	}
	return strings.TrimRight(httpURL, "/") + "/" + identifier + "/commit/" + commit
}
