package githubapp

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/polset/polset"
)

// appAge is for how long the App is taken to be what it was.
const appAge = time.Minute

// An identity is the App and its key, ready to sign.
type identity struct {
	polset.App
	key *rsa.PrivateKey
}

// appMemory remembers the App for a minute.
type appMemory struct {
	apps Apps
	now  func() time.Time

	mu    sync.Mutex
	known *identity
	asked time.Time
}

// get returns the App. ErrNotFound, which is not remembered, says that there
// is none; fresh asks again whatever the time.
func (m *appMemory) get(ctx context.Context, fresh bool) (*identity, error) {
	if m.apps == nil {
		return nil, fmt.Errorf("find the GitHub App: %w", polset.ErrNotFound)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if age := now.Sub(m.asked); m.known != nil && !fresh && age >= 0 && age < appAge {
		return m.known, nil
	}
	app, err := m.apps.App(ctx)
	if err != nil {
		if errors.Is(err, polset.ErrNotFound) {
			m.known = nil
		}
		return nil, fmt.Errorf("find the GitHub App: %w", err)
	}
	if m.known == nil || m.known.App != app {
		key, err := parseKey(app)
		if err != nil {
			return nil, err
		}
		m.known = &identity{App: app, key: key}
	}
	m.asked = now
	return m.known, nil
}

// parseKey reads the App's private key. Its errors do not quote it.
func parseKey(app polset.App) (*rsa.PrivateKey, error) {
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(app.PrivateKey.Reveal()))
	if err != nil {
		return nil, polset.Fail(polset.ClassAuth,
			"The private key of the GitHub App %d is not an RSA key in PEM; give polset the file that GitHub generated for it.", app.ID)
	}
	return key, nil
}

// sign makes a JWT that names the App. It begins a minute ago and ends within
// nine, because GitHub allows for no more than ten and clocks differ.
func (i *identity) sign(now time.Time) (polset.Secret, error) {
	token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{
		Issuer:    strconv.FormatInt(i.ID, 10),
		IssuedAt:  jwt.NewNumericDate(now.Add(-time.Minute)),
		ExpiresAt: jwt.NewNumericDate(now.Add(9 * time.Minute)),
	}).SignedString(i.key)
	if err != nil {
		return polset.Secret{}, fmt.Errorf("sign as the GitHub App %d: %w", i.ID, err)
	}
	return polset.NewSecret(token), nil
}

// asApp asks as the App. When GitHub refuses its key and there is another by
// now, it asks once more.
func (c *Client) asApp(ctx context.Context, q question) (*answer, error) {
	app, err := c.apps.get(ctx, false)
	if err != nil {
		return nil, noApp(err)
	}
	a, err := c.signed(ctx, app, q)
	if statusOf(err) != http.StatusUnauthorized {
		return a, err
	}
	again, e := c.apps.get(ctx, true)
	if e != nil {
		return nil, noApp(e)
	}
	if again != app {
		a, err = c.signed(ctx, again, q)
	}
	if statusOf(err) == http.StatusUnauthorized {
		return nil, means(err, polset.ClassAuth,
			"%s does not accept the key of the GitHub App %d: check that the key is the App's, that the App was not deleted, and that this machine's clock is right.",
			c.api.Host, again.ID)
	}
	return a, err
}

func (c *Client) signed(ctx context.Context, app *identity, q question) (*answer, error) {
	token, err := app.sign(c.now())
	if err != nil {
		return nil, err
	}
	who := credential{key: "app " + strconv.FormatInt(app.ID, 10), token: token, modest: q.modest}
	return c.send(ctx, c.api, who, q)
}

// noApp is the failure of a call that only the App can make. It is still
// ErrNotFound where there is no App.
func noApp(err error) error {
	if errors.Is(err, polset.ErrNotFound) {
		return means(err, polset.ClassAuth, "polset has no GitHub App: set one up with polset github setup, or follow the repository with a connection.")
	}
	return err
}
