package githubapp

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
)

const mintRoute = "POST /app/installations/{installation_id}/access_tokens"

func TestTokensAreNarrow(t *testing.T) {
	w := newWorld(t)
	w.github.Repository("acme/other")
	for _, test := range []struct {
		name    string
		ask     func() error
		granted map[string]string
	}{
		{"for git", func() error {
			_, err := w.client.Token(t.Context(), w.remote(), polset.Secret{})
			return err
		}, map[string]string{"contents": "read", "metadata": "read"}},
		{"for reports", func() error {
			_, err := w.client.token(t.Context(), w.remote(), toReport, polset.Secret{})
			return err
		}, map[string]string{"checks": "write", "metadata": "read"}},
		{"by name, where the number is not known", func() error {
			r := w.remote()
			r.ExternalID = 0
			_, err := w.client.Token(t.Context(), r, polset.Secret{})
			return err
		}, map[string]string{"contents": "read", "metadata": "read"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.ask(); err != nil {
				t.Fatal(err)
			}
			issued := w.issued()
			if diff := cmp.Diff([]int64{w.repo.ID()}, issued.Repositories); diff != "" {
				t.Errorf("repositories (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.granted, issued.Permissions); diff != "" {
				t.Errorf("permissions (-want +got):\n%s", diff)
			}
		})
	}
	if n := len(w.github.Tokens()); n != 3 {
		t.Errorf("%d tokens were minted, want 3: what they are for differs", n)
	}
}

func TestTokensAreKeptUntilShortlyBeforeTheirEnd(t *testing.T) {
	w := newWorld(t)
	first := w.token(w.remote())
	if len(first.Reveal()) < 300 {
		t.Errorf("the token has %d characters; the stand-in's are longer than most think", len(first.Reveal()))
	}
	w.clock.pass(54 * time.Minute)
	if w.token(w.remote()) != first {
		t.Error("the token was minted again although it is valid for 6 minutes more")
	}
	w.clock.pass(90 * time.Second)
	second := w.token(w.remote())
	if second == first {
		t.Error("the token is given out although it ends within 5 minutes")
	}

	third, err := w.client.Token(t.Context(), w.remote(), second)
	if err != nil || third == second {
		t.Errorf("a stale token is given out again (error %v)", err)
	}
	if again, err := w.client.Token(t.Context(), w.remote(), second); err != nil || again != third {
		t.Errorf("a second complaint about a token that was replaced made another (error %v)", err)
	}
}

func TestTokensAreMintedOnce(t *testing.T) {
	w := newWorld(t)
	arrived := make(chan *http.Request)
	w.github.Fault(mintRoute, polsettest.Signal(arrived))
	var working sync.WaitGroup
	tokens := make([]polset.Secret, 20)
	for i := range tokens {
		working.Go(func() {
			token, err := w.client.Token(t.Context(), w.remote(), polset.Secret{})
			if err != nil {
				t.Error(err)
			}
			tokens[i] = token
		})
	}
	<-arrived // whoever comes now finds it under way, or done
	working.Wait()
	if n := len(w.github.Tokens()); n != 1 {
		t.Errorf("%d tokens were minted, want 1", n)
	}
	if len(slices.Compact(tokens)) != 1 {
		t.Error("callers got different tokens")
	}
}

func TestTokenMemoryIsBounded(t *testing.T) {
	m := newTokenMemory()
	now := time.Now()
	for i := range int64(maxTokens + 10) {
		m.put(tokenKey{installation: i}, heldToken{token: polset.NewSecret("x"), until: now.Add(time.Hour)}, now)
	}
	if len(m.held) > maxTokens {
		t.Errorf("%d tokens are held, want at most %d", len(m.held), maxTokens)
	}
	if _, ok := m.get(tokenKey{installation: maxTokens + 9}, polset.Secret{}, now); !ok {
		t.Error("the newest token was forgotten")
	}
}

func TestTokenRefusals(t *testing.T) {
	for _, test := range []struct {
		name    string
		happens func(*world)
		change  func(*polset.Remote)
		parts   []string
	}{
		{"installation deleted", func(w *world) { w.inst.Delete() }, nil, []string{"not installed any more", "acme/policies"}},
		{"installation suspended", func(w *world) { w.inst.Suspend() }, nil, []string{"suspended", "/settings/installations/"}},
		{"another repository", nil, func(r *polset.Remote) { r.ExternalID = 4711 }, []string{"does not include acme/policies", "/settings/installations/"}},
		{"a name that does not exist", nil, func(r *polset.Remote) { r.ExternalID, r.Identifier = 0, "acme/nothing" }, []string{"does not include acme/nothing"}},
		{"another owner's repository of the same name", func(w *world) {
			w.github.Organization("beta", w.github.User("mallory"))
			w.github.Repository("beta/policies")
		}, func(r *polset.Remote) { r.ExternalID, r.Identifier = 0, "beta/policies" }, []string{"does not include beta/policies", "/settings/installations/"}},
		{"a bad name", nil, func(r *polset.Remote) { r.Identifier = "acme/../x" }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			if test.happens != nil {
				test.happens(w)
			}
			r := w.remote()
			if test.change != nil {
				test.change(&r)
			}
			_, err := w.client.Token(t.Context(), r, polset.Secret{})
			class := polset.ClassAuth
			if test.parts == nil {
				class = polset.ClassURLForbidden
			}
			failureWith(t, err, class, false, test.parts...)
		})
	}
	t.Run("permission not granted", func(t *testing.T) {
		w := newWorld(t)
		permissions := polset.AppPermissions()
		delete(permissions, "checks")
		w.app.SetPermissions(permissions)
		w.inst.AcceptPermissions()
		_, err := w.client.token(t.Context(), w.remote(), toReport, polset.Secret{})
		failureWith(t, err, polset.ClassAuth, false, "lacks the permission checks: write", "accept", "/settings/installations/")
	})
	t.Run("no App", func(t *testing.T) {
		w := newWorld(t)
		w.apps.none = true
		_, err := w.client.Token(t.Context(), w.remote(), polset.Secret{})
		failureWith(t, err, polset.ClassAuth, false, "no GitHub App")
		if !errors.Is(err, polset.ErrNotFound) {
			t.Errorf("%v is not ErrNotFound", err)
		}
		w.apps.set(w.app.Credentials())
		w.token(w.remote()) // there is one now, and nobody waits a minute for it
	})
	t.Run("GitHub is down", func(t *testing.T) {
		w := newWorld(t)
		w.github.Fault(mintRoute, polsettest.Times(1, polsettest.Status(502, "")))
		_, err := w.client.Token(t.Context(), w.remote(), polset.Secret{})
		failureWith(t, err, polset.ClassTimeout, true, "502")
		w.token(w.remote())
	})
}

func TestTokensOfRepositoriesByAnotherName(t *testing.T) {
	w := newWorld(t)
	r := w.remote()
	r.ExternalID, r.Identifier = 0, "ACME/Policies"
	w.token(r)
	r = w.remote()
	w.repo.Rename("rules")
	w.token(r) // by its number
	w.clock.pass(time.Hour)
	r.ExternalID = 0
	_, err := w.client.Token(t.Context(), r, polset.Secret{})
	failureWith(t, err, polset.ClassAuth, false, "does not include acme/policies")
}

// faulty is a store with a bug: whoever asks it for the second time panics.
type faulty struct{ oneApp }

func (f *faulty) App(ctx context.Context) (polset.App, error) {
	app, err := f.oneApp.App(ctx)
	if f.asked == 2 {
		panic("at the disco")
	}
	return app, err
}

func TestAPanicCostsItsOwnToken(t *testing.T) {
	w := newWorld(t)
	apps := &faulty{}
	apps.set(w.app.Credentials())
	client := newClient(t, Config{Apps: apps, HTTPURL: w.github.URL(), APIURL: w.github.APIURL(), Now: w.clock.now})
	w.github.Fault(mintRoute, polsettest.Times(1, polsettest.Status(401, ""))) // so that the App is asked for again
	_, err := client.Token(t.Context(), w.remote(), polset.Secret{})
	failureWith(t, err, polset.ClassInternal, true)
	if _, err := client.Token(t.Context(), w.remote(), polset.Secret{}); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	w := newWorld(t)
	w.repo.Commit("main", map[string]string{"a": "b"})
	if _, err := w.client.Repository(t.Context(), w.remote()); err != nil {
		t.Fatal(err)
	}
	w.github.RevokeToken(w.issued().Token)
	w.github.ResetCalls()
	if _, err := w.client.Repository(t.Context(), w.remote()); err != nil {
		t.Fatalf("after GitHub revoked the token: %v", err)
	}
	want := []string{"GET /repos/{owner}/{repo}", mintRoute, "GET /repos/{owner}/{repo}"}
	if diff := cmp.Diff(want, w.routes()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}

	w.github.Fault("GET /repos/{owner}/{repo}", polsettest.Status(401, `{"message":"Bad credentials"}`))
	w.github.ResetCalls()
	_, err := w.client.Repository(t.Context(), w.remote())
	failureWith(t, err, polset.ClassAuth, false, "credential")
	if diff := cmp.Diff(want, w.routes()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestTheAppIsAskedForOnceAMinute(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		if _, err := w.client.Installations(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if w.apps.asked != 1 {
		t.Errorf("the App was asked for %d times, want 1", w.apps.asked)
	}
	w.clock.pass(time.Minute)
	if _, err := w.client.Installations(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.apps.asked != 2 {
		t.Errorf("the App was asked for %d times, want 2", w.apps.asked)
	}

	// The key is replaced, and the other node's knowledge of it is old.
	other := w.app.Credentials()
	other.PrivateKey = polset.NewSecret(newPEM(t, false))
	w.apps.set(other)
	w.clock.pass(time.Minute)
	_, err := w.client.Installations(t.Context())
	failureWith(t, err, polset.ClassAuth, false, "does not accept the key", "clock")
	w.apps.set(w.app.Credentials())
	if _, err := w.client.Installations(t.Context()); err != nil {
		t.Errorf("the App was not asked for again after a 401: %v", err)
	}

	w.apps.none = true
	w.github.Fault("GET /app/installations", polsettest.Times(1, polsettest.Status(401, "")))
	for range 2 {
		if _, err := w.client.Installations(t.Context()); !errors.Is(err, polset.ErrNotFound) {
			t.Errorf("of an App that is gone: %v", err)
		}
	}
}

func TestKeys(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct {
		name, key string
		class     polset.Class // "" where it is a key, although not the App's
	}{
		{"PKCS#1", newPEM(t, false), ""},
		{"PKCS#8", newPEM(t, true), ""},
		{"nonsense", "s3cret-nonsense", polset.ClassAuth},
		{"broken", strings.Replace(newPEM(t, false), "M", "-", 3), polset.ClassAuth},
	} {
		t.Run(test.name, func(t *testing.T) {
			app := w.app.Credentials()
			app.PrivateKey = polset.NewSecret(test.key)
			_, err := parseKey(app)
			if test.class == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			failureWith(t, err, test.class, false, "not an RSA key")
			noneOf(t, err.Error(), test.key)
		})
	}
}

func newPEM(t *testing.T, pkcs8 bool) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	if pkcs8 {
		block.Type = "PRIVATE KEY"
		if block.Bytes, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
			t.Fatal(err)
		}
	}
	return string(pem.EncodeToMemory(block))
}
