package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/polset/polset"
	"github.com/polset/polset/store/internal/rows"
)

// Hook returns a repository's own hook with the secrets that may sign for it,
// or, for HookGitHubApp, that of the stored GitHub App.
func (s *Store) Hook(ctx context.Context, id string) (polset.Hook, error) {
	if id == polset.HookGitHubApp {
		return s.appHook(ctx)
	}
	r, err := s.reads.RepositoryByHook(ctx, id)
	if err != nil {
		return polset.Hook{}, fmt.Errorf("read hook: %w", found(err))
	}
	secrets, err := s.openHookSecrets(r)
	if err != nil {
		return polset.Hook{}, err
	}
	if slices.ContainsFunc(secrets, func(h hookSecret) bool { return !h.until.IsZero() }) {
		now, err := s.now(ctx)
		if err != nil {
			return polset.Hook{}, fmt.Errorf("read hook: %w", err)
		}
		secrets = valid(secrets, now)
	}
	h := polset.Hook{ID: r.HookID}
	for _, secret := range secrets {
		h.Secrets = append(h.Secrets, secret.value)
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

// A hookSecret may sign for a hook until a time, or for ever. Sealed, it is a
// JSON text, or a list of it and the time.
type hookSecret struct {
	value polset.Secret
	until time.Time // zero: no end
}

// MarshalJSON is for sealing only.
func (h hookSecret) MarshalJSON() ([]byte, error) {
	if h.until.IsZero() {
		return json.Marshal(h.value.Reveal())
	}
	return json.Marshal([2]string{h.value.Reveal(), h.until.UTC().Format(time.RFC3339Nano)})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (h *hookSecret) UnmarshalJSON(b []byte) error {
	var value string
	if json.Unmarshal(b, &value) == nil {
		*h = hookSecret{value: polset.NewSecret(value)}
		return nil
	}
	var pair [2]string
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	until, err := time.Parse(time.RFC3339Nano, pair[1])
	*h = hookSecret{value: polset.NewSecret(pair[0]), until: until}
	return err
}

// valid are the secrets that may still sign.
func valid(secrets []hookSecret, now time.Time) []hookSecret {
	return slices.DeleteFunc(slices.Clone(secrets), func(h hookSecret) bool { return !h.until.IsZero() && !now.Before(h.until) })
}

// openHookSecrets are those of a repository's own hook, the newest first, with
// those that may not sign any more.
func (s *Store) openHookSecrets(r rows.Repository) (secrets []hookSecret, err error) {
	opened, err := s.open(hookPlace(r.ID), r.SealedSecrets)
	if err != nil {
		return nil, err
	}
	if json.Unmarshal([]byte(opened.Reveal()), &secrets) != nil || len(secrets) == 0 {
		return nil, fmt.Errorf("read secrets of hook %s: not a list of them", r.HookID) // the cause may quote them
	}
	return secrets, nil
}

func (s *Store) sealHookSecrets(repositoryID string, secrets []hookSecret) ([]byte, error) {
	b, err := json.Marshal(secrets)
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
