package githubapp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/polset/polset"
)

const (
	// tokenMargin is how long before its end a token is not given out any more.
	tokenMargin = 5 * time.Minute
	// maxTokens bounds the tokens that are remembered.
	maxTokens = 10_000
)

// A purpose is what a token is for; it decides what the token may do.
type purpose int

const (
	toRead   purpose = iota // commits, and facts about the repository
	toReport                // check runs
)

func (p purpose) permissions() map[string]string {
	if p == toReport {
		return map[string]string{"checks": "write"}
	}
	return map[string]string{"contents": "read"}
}

func (p purpose) String() string {
	if p == toReport {
		return "checks: write"
	}
	return "contents: read"
}

// A tokenKey says what a token is good for.
type tokenKey struct {
	app, installation int64
	repository        string // GitHub's number, or owner/name in lower case
	purpose           purpose
}

// tokenMemory remembers tokens until they are about to expire.
type tokenMemory struct {
	flight singleflight.Group

	mu   sync.Mutex
	held map[tokenKey]heldToken
}

type heldToken struct {
	token polset.Secret
	until time.Time
}

func newTokenMemory() *tokenMemory { return &tokenMemory{held: map[tokenKey]heldToken{}} }

func (m *tokenMemory) get(key tokenKey, stale polset.Secret, now time.Time) (polset.Secret, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.held[key]
	if !ok {
		return polset.Secret{}, false
	}
	if !now.Before(h.until) || h.token == stale {
		delete(m.held, key)
		return polset.Secret{}, false
	}
	return h.token, true
}

func (m *tokenMemory) put(key tokenKey, h heldToken, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.held) >= maxTokens {
		for k, old := range m.held {
			if !now.Before(old.until) {
				delete(m.held, k)
			}
		}
	}
	for k := range m.held {
		if len(m.held) < maxTokens {
			break
		}
		delete(m.held, k) // any: it is minted again when it is missed
	}
	m.held[key] = h
}

// Token returns a token of r.Installation that can read the contents of the one
// repository and do nothing else. It is remembered until five minutes before
// it expires; stale, where it is not empty, is a token that GitHub refused, and
// is never returned again. A refusal is a *polset.Failure of ClassAuth whose
// sentence says whether the installation is gone or suspended, or does not
// include the repository.
func (c *Client) Token(ctx context.Context, r polset.Remote, stale polset.Secret) (polset.Secret, error) {
	return c.token(ctx, r, toRead, stale)
}

func (c *Client) token(ctx context.Context, r polset.Remote, p purpose, stale polset.Secret) (polset.Secret, error) {
	if _, err := repositoryPath(r.Identifier); err != nil {
		return polset.Secret{}, err
	}
	app, err := c.apps.get(ctx, false)
	if err != nil {
		return polset.Secret{}, noApp(err)
	}
	key := tokenKey{app: app.ID, installation: r.Installation, repository: strings.ToLower(r.Identifier), purpose: p}
	if r.ExternalID != 0 {
		key.repository = strconv.FormatInt(r.ExternalID, 10)
	}
	if token, ok := c.tokens.get(key, stale, c.now()); ok {
		return token, nil
	}
	// One asks for all, and whoever goes away does not take it from the others.
	flight := fmt.Sprintf("%d %d %s %d", key.app, key.installation, key.repository, key.purpose)
	minted := c.tokens.flight.DoChan(flight, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*c.timeout)
		defer cancel()
		var h heldToken
		err := guarded(func() (err error) {
			if h, err = c.mint(ctx, r, p); err == nil {
				c.tokens.put(key, h, c.now())
			}
			return err
		})
		return h, err
	})
	select {
	case result := <-minted:
		h, ok := result.Val.(heldToken)
		if result.Err != nil || !ok {
			return polset.Secret{}, result.Err
		}
		return h.token, nil
	case <-ctx.Done():
		return polset.Secret{}, fmt.Errorf("mint a token: %w", ctx.Err())
	}
}

// mint asks GitHub for a token for one repository and one purpose.
func (c *Client) mint(ctx context.Context, r polset.Remote, p purpose) (heldToken, error) {
	narrow := struct {
		Repositories  []string          `json:"repositories,omitempty"`
		RepositoryIDs []int64           `json:"repository_ids,omitempty"`
		Permissions   map[string]string `json:"permissions"`
	}{Permissions: p.permissions()}
	if r.ExternalID != 0 {
		narrow.RepositoryIDs = []int64{r.ExternalID}
	} else {
		_, name, _ := strings.Cut(r.Identifier, "/")
		narrow.Repositories = []string{name}
	}
	var minted struct {
		Token        string    `json:"token"`
		ExpiresAt    time.Time `json:"expires_at"`
		Repositories []struct {
			FullName string `json:"full_name"`
		} `json:"repositories"`
	}
	_, err := c.asApp(ctx, question{
		operation: "mint-token", doing: "get a token for " + r.Identifier,
		method: http.MethodPost, path: fmt.Sprintf("/app/installations/%d/access_tokens", r.Installation),
		body: narrow, into: &minted,
	})
	if err != nil {
		return heldToken{}, c.unminted(ctx, r, p, err)
	}
	if minted.Token == "" {
		return heldToken{}, &polset.Failure{
			Class: polset.ClassTimeout, Retry: true,
			Message: fmt.Sprintf("%s answered without a token for %s.", c.api.Host, r.Identifier),
		}
	}
	// A bare name is the name of any owner's repository. A number is not, and
	// stays right when the repository is renamed.
	if r.ExternalID == 0 && (len(minted.Repositories) != 1 || !strings.EqualFold(minted.Repositories[0].FullName, r.Identifier)) {
		return heldToken{}, c.notIncluded(ctx, r, nil)
	}
	return heldToken{token: polset.NewSecret(minted.Token), until: minted.ExpiresAt.Add(-tokenMargin)}, nil
}

// unminted says what it means that GitHub gives no token.
func (c *Client) unminted(ctx context.Context, r polset.Remote, p purpose, err error) error {
	if polset.FailureOf(err).Retry || errors.Is(err, context.Canceled) {
		return err
	}
	switch status := statusOf(err); {
	case status == http.StatusNotFound:
		return means(err, polset.ClassAuth,
			"The GitHub App is not installed any more where %s lies (installation %d): install it again, and give the policy set the new installation.",
			r.Identifier, r.Installation)
	case status == http.StatusForbidden && strings.Contains(saidOf(err), "suspend"):
		return means(err, polset.ClassAuth,
			"The GitHub App's installation for %s is suspended: unsuspend it at %s.", r.Identifier, c.settings(ctx, r))
	case status == http.StatusUnprocessableEntity && strings.Contains(saidOf(err), "permission"),
		status == http.StatusForbidden:
		return means(err, polset.ClassAuth,
			"The GitHub App's installation for %s lacks the permission %s: accept the App's new permissions at %s.",
			r.Identifier, p, c.settings(ctx, r))
	case status == http.StatusUnprocessableEntity:
		return c.notIncluded(ctx, r, err)
	}
	return err
}

// notIncluded is the failure of a repository that the installation may not read.
func (c *Client) notIncluded(ctx context.Context, r polset.Remote, err error) error {
	return means(err, polset.ClassAuth,
		"The GitHub App's installation does not include %s: add the repository at %s, or check its name.", r.Identifier, c.settings(ctx, r))
}

// settings is where people change an installation.
func (c *Client) settings(ctx context.Context, r polset.Remote) string {
	var i wireInstallation
	_, err := c.asApp(ctx, question{
		operation: "read-installation", doing: "read the installation",
		method: http.MethodGet, path: fmt.Sprintf("/app/installations/%d", r.Installation), into: &i,
	})
	if err != nil || i.HTMLURL == "" {
		owner, _, _ := strings.Cut(r.Identifier, "/")
		return "the settings of the account " + owner + ", under GitHub Apps"
	}
	return i.HTMLURL
}

// ask asks about a remote's repository, with its credential. A token of an
// installation that is refused is replaced once.
func (c *Client) ask(ctx context.Context, r polset.Remote, p purpose, q question) (*answer, error) {
	base, err := c.base(r)
	if err != nil {
		return nil, err
	}
	repository, err := repositoryPath(r.Identifier)
	if err != nil {
		return nil, err
	}
	q.path = repository + q.path
	if r.Installation == 0 {
		return c.send(ctx, base, tokenCredential(base, r.Token), q)
	}
	who := credential{key: "installation " + strconv.FormatInt(r.Installation, 10)}
	if who.token, err = c.token(ctx, r, p, polset.Secret{}); err != nil {
		return nil, err
	}
	a, err := c.send(ctx, base, who, q)
	if statusOf(err) != http.StatusUnauthorized {
		return a, err
	}
	if who.token, err = c.token(ctx, r, p, who.token); err != nil {
		return nil, err
	}
	return c.send(ctx, base, who, q)
}

// tokenCredential is a token of a connection; an empty one asks anonymously.
func tokenCredential(base *url.URL, token polset.Secret) credential {
	if token.Empty() {
		return credential{key: "anonymous " + originOf(base)}
	}
	sum := sha256.Sum256([]byte(token.Reveal()))
	return credential{key: "token " + originOf(base) + " " + hex.EncodeToString(sum[:]), token: token}
}
