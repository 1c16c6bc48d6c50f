package hub

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// A Token is one that was issued.
type Token struct {
	Token        string
	Kind         string // installation, personal or user
	Installation int64  // of an installation token
	User         int64  // of the others
	// Repositories are the numbers that an installation token is narrowed to;
	// nil: all of the installation's.
	Repositories []int64
	Permissions  map[string]string // of an installation token
	Scopes       []string          // of a personal token
	IssuedAt     time.Time
	ExpiresAt    time.Time // zero: never
	Revoked      bool

	installation *Installation
	user         *Account
	app          *App // of a user's token
}

const base62 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// issue completes a token: a prefix, and random characters up to a length.
// The caller holds the lock.
func (g *GitHub) issue(t *Token, prefix string, length int) *Token {
	b := make([]byte, max(length-len(prefix), 8))
	_, _ = rand.Read(b) // never fails
	for i := range b {
		b[i] = base62[int(b[i])%len(base62)]
	}
	t.Token, t.IssuedAt = prefix+string(b), g.now()
	g.tokens = append(g.tokens, t)
	g.tokenOf[t.Token] = t
	return t
}

// PersonalToken makes a classic personal access token of a user with scopes
// such as repo, admin:repo_hook or repo:status.
func (g *GitHub) PersonalToken(user *Account, scopes ...string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.issue(&Token{Kind: "personal", User: user.id, Scopes: scopes, user: user}, "ghp_", 40).Token
}

// Token mints a token for the test itself, with all that the installation has.
func (i *Installation) Token() string {
	i.github.mu.Lock()
	defer i.github.mu.Unlock()
	return i.token(nil, maps.Clone(i.permissions)).Token
}

func (i *Installation) token(repositories []int64, permissions map[string]string) *Token {
	g := i.github
	return g.issue(&Token{
		Kind: "installation", Installation: i.id, Repositories: repositories, Permissions: permissions,
		ExpiresAt: g.now().Add(time.Hour), installation: i,
	}, "ghs_", g.tokenLength)
}

// RevokeToken makes a token of any kind worthless.
func (g *GitHub) RevokeToken(token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.tokenOf[token]; t != nil {
		t.Revoked = true
	}
}

// Tokens returns every token that was issued, in order.
func (g *GitHub) Tokens() []Token {
	g.mu.Lock()
	defer g.mu.Unlock()
	tokens := make([]Token, len(g.tokens))
	for i, t := range g.tokens {
		tokens[i] = *t
		tokens[i].Permissions = maps.Clone(t.Permissions)
	}
	return tokens
}

// token is a token that is worth something today, nil where it is not.
func (g *GitHub) token(text string) *Token {
	t := g.tokenOf[text]
	switch {
	case t == nil, t.Revoked:
		return nil
	case !t.ExpiresAt.IsZero() && !g.clock().Before(t.ExpiresAt):
		return nil
	case t.installation != nil && (t.installation.deleted || !t.installation.suspended.IsZero()):
		return nil
	}
	return t
}

// covers reports whether an installation token's installation includes a
// repository, and the token is not narrowed to others.
func (t *Token) covers(r *Repository) bool {
	return t.installation != nil && t.installation.includes(r) &&
		(t.Repositories == nil || slices.Contains(t.Repositories, r.id))
}

// scope reports whether a personal token has one of the scopes.
func (t *Token) scope(scopes ...string) bool {
	return slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(t.Scopes, s) })
}

// right is what the token gives to a repository by its person or
// installation, whatever its permissions: none, read, write or admin.
func (t *Token) right(r *Repository) string {
	given := ""
	switch {
	case t == nil:
	case t.covers(r):
		return "admin" // the permissions say the rest
	case t.Kind == "personal" && (t.scope("repo") || r.public):
		given = r.right(t.user)
	case t.Kind == "user":
		if i := t.app.installation(r.owner); i != nil && i.includes(r) {
			given = r.right(t.user)
		}
	}
	if given == "" && r.public {
		return "read"
	}
	return given
}

// authenticate reads who asks from a request: an App by its JWT, or the owner
// of a token. No credential at all is no error.
func (g *GitHub) authenticate(header string) (auth string, app *App, token *Token, err error) {
	if header == "" {
		return "none", nil, nil, nil
	}
	scheme, credential, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "token") {
		return "bad", nil, nil, errors.New("Bad credentials") //nolint:revive,staticcheck // GitHub's words
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if strings.Count(credential, ".") == 2 {
		app, err := g.appOf(credential)
		if err != nil {
			return "bad", nil, nil, err
		}
		return "app", app, nil, nil
	}
	if t := g.token(credential); t != nil {
		return t.Kind, nil, t, nil
	}
	return "bad", nil, nil, errors.New("Bad credentials") //nolint:revive,staticcheck // GitHub's words
}

// appOf checks an App's JWT as GitHub does.
func (g *GitHub) appOf(credential string) (*App, error) {
	var found *App
	claims := jwt.MapClaims{}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithoutClaimsValidation(), jwt.WithJSONNumber())
	_, err := parser.ParseWithClaims(credential, claims, func(*jwt.Token) (any, error) {
		issuer := fmt.Sprint(claims["iss"])
		for _, a := range g.apps {
			if issuer == strconv.FormatInt(a.ID, 10) || issuer == a.ClientID {
				found = a
				return a.key, nil
			}
		}
		return nil, errors.New("no such App")
	})
	if found == nil {
		return nil, errors.New("Integration not found") //nolint:revive,staticcheck // GitHub's words
	}
	if err != nil {
		return nil, errors.New("A JSON web token could not be decoded") //nolint:revive,staticcheck // GitHub's words
	}
	now := g.clock()
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil {
		return nil, errors.New("Missing 'exp' claim in assertion") //nolint:revive,staticcheck // GitHub's words
	}
	issued, err := claims.GetIssuedAt()
	if err != nil || issued == nil {
		return nil, errors.New("Missing 'iat' claim in assertion") //nolint:revive,staticcheck // GitHub's words
	}
	const skew = time.Minute
	switch {
	case issued.After(now.Add(skew)):
		return nil, errors.New("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued") //nolint:revive // GitHub's words
	case !expires.After(now):
		return nil, errors.New("'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires") //nolint:revive // GitHub's words
	case expires.After(now.Add(10 * time.Minute)):
		return nil, errors.New("'Expiration time' claim ('exp') is too far in the future") //nolint:revive // GitHub's words
	}
	return found, nil
}

// bearer is the credential of a header, for the log.
func bearer(header http.Header) string {
	_, credential, _ := strings.Cut(header.Get("Authorization"), " ")
	return credential
}
