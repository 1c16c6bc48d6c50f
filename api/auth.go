package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/polset/polset"
)

const maxToken = 512

// bootstrapActor is who holds the bootstrap token.
const bootstrapActor = "bootstrap"

// authenticate says who asks, or answers polset.ErrUnauthorized for a token
// that is missing, wrong, expired or revoked.
func (a *API) authenticate(c echo.Context) (polset.Principal, error) {
	secret, ok := bearer(c.Request().Header)
	if !ok {
		return polset.Principal{}, polset.ErrUnauthorized
	}
	from, digest := clientAddress(c), sha256.Sum256([]byte(secret))
	if wait := a.attempts.wait(from, digest); wait > 0 {
		return polset.Principal{}, rateLimitError{wait}
	}
	by, err := a.identify(c, secret, digest)
	switch {
	case err == nil:
		a.attempts.succeeded(digest)
	case errors.Is(err, polset.ErrUnauthorized):
		a.attempts.failed(from, digest)
	}
	return by, err
}

func (a *API) identify(c echo.Context, secret string, digest [sha256.Size]byte) (polset.Principal, error) {
	// Digests are compared, so that not even the length can be measured.
	if !a.BootstrapToken.Empty() && subtle.ConstantTimeCompare(digest[:], a.bootstrap[:]) == 1 {
		return polset.Principal{Actor: bootstrapActor}, nil
	}
	by, err := a.Tokens.Authenticate(c.Request().Context(), secret)
	if errors.Is(err, polset.ErrNotFound) {
		err = polset.ErrUnauthorized // an unknown token is no missing page
	}
	return by, err
}

// standing returns what an actor may do now who was authenticated a while ago,
// or answers polset.ErrUnauthorized for one whose token was revoked or expired.
func (a *API) standing(r *request, actor string) (polset.Principal, error) {
	if actor == bootstrapActor && !a.BootstrapToken.Empty() {
		return polset.Principal{Actor: actor}, nil
	}
	t, err := a.TokenRecords.Token(r.ctx(), polset.System, actor)
	switch {
	case errors.Is(err, polset.ErrNotFound):
		return polset.Principal{}, polset.ErrUnauthorized
	case err != nil:
		return polset.Principal{}, &polset.Failure{
			Class: polset.ClassInternal, Retry: true, Err: err, Message: "polset's database did not answer. Try again later.",
		}
	case !t.ExpiresAt.IsZero() && !a.Now().Before(t.ExpiresAt):
		return polset.Principal{}, polset.ErrUnauthorized
	}
	return polset.Principal{Actor: t.ID, OrganizationID: t.OrganizationID, Permissions: t.Permissions}, nil
}

// bearer returns the token of the Authorization header, if it looks like one.
func bearer(h http.Header) (string, bool) {
	scheme, secret, ok := strings.Cut(h.Get(echo.HeaderAuthorization), " ")
	secret = strings.TrimSpace(secret)
	if !ok || !strings.EqualFold(scheme, "bearer") || secret == "" || len(secret) > maxToken {
		return "", false
	}
	for i := range len(secret) {
		if secret[i] <= ' ' || secret[i] > '~' {
			return "", false
		}
	}
	return secret, true
}

// clientAddress is the network that failures are counted for: an IPv4
// address, or the /64 that one IPv6 subscriber holds. Forwarding headers
// count only where the operator configured an extractor: anybody can send them.
func clientAddress(c echo.Context) netip.Prefix {
	var text string
	if c.Echo().IPExtractor != nil {
		text = c.RealIP()
	} else if host, _, err := net.SplitHostPort(c.Request().RemoteAddr); err == nil {
		text = host
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{} // unknown addresses share one count
	}
	addr = addr.Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	network, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return network
}

const (
	failureBurst    = 20              // wrong tokens that an address may try at once
	failureInterval = 3 * time.Second // the time that forgives one of them
	knownFor        = time.Hour       // how long a right token is remembered
	maxRemembered   = 10_000          // addresses, and tokens
)

// attempts limits how fast one address can try tokens. Tokens that were right
// lately pass in any case, so that one broken client, or an attacker behind
// the same proxy, cannot lock out its neighbours.
type attempts struct {
	now func() time.Time

	mu        sync.Mutex
	addresses map[netip.Prefix]failures
	known     map[[sha256.Size]byte]time.Time // when it was last right
}

// failures is a leaky bucket: count at the time at.
type failures struct {
	count float64
	at    time.Time
}

func (f failures) left(now time.Time) float64 {
	return max(0, f.count-float64(now.Sub(f.at))/float64(failureInterval))
}

func newAttempts(now func() time.Time) *attempts {
	return &attempts{
		now:       now,
		addresses: map[netip.Prefix]failures{},
		known:     map[[sha256.Size]byte]time.Time{},
	}
}

// wait is how long the address must wait before it may try this token.
func (t *attempts) wait(from netip.Prefix, digest [sha256.Size]byte) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if at, ok := t.known[digest]; ok && now.Sub(at) < knownFor {
		return 0
	}
	excess := t.addresses[from].left(now) - (failureBurst - 1)
	return time.Duration(max(0, excess) * float64(failureInterval))
}

func (t *attempts) succeeded(digest [sha256.Size]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if _, ok := t.known[digest]; !ok {
		makeRoom(t.known, func(at time.Time) bool { return now.Sub(at) >= knownFor })
	}
	t.known[digest] = now
}

func (t *attempts) failed(from netip.Prefix, digest [sha256.Size]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	delete(t.known, digest) // it was revoked
	if _, ok := t.addresses[from]; !ok {
		makeRoom(t.addresses, func(f failures) bool { return f.left(now) == 0 })
	}
	t.addresses[from] = failures{count: t.addresses[from].left(now) + 1, at: now}
}

// makeRoom keeps m below maxRemembered: what is stale goes first, then
// anything, a quarter at a time so that a flood does not scan m on every insert.
func makeRoom[K comparable, V any](m map[K]V, stale func(V) bool) {
	if len(m) < maxRemembered {
		return
	}
	for k, v := range m {
		if stale(v) {
			delete(m, k)
		}
	}
	for k := range m {
		if len(m) <= maxRemembered*3/4 {
			return
		}
		delete(m, k)
	}
}
