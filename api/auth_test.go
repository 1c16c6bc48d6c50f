package api_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

func TestAuthentication(t *testing.T) {
	s := newServer(t)
	for _, c := range []struct {
		name, header string
		status       int
	}{
		{"no token", "", 401},
		{"the bootstrap token", "Bearer " + admin, 200},
		{"a scheme in lower case", "bearer " + acme, 200},
		{"another scheme", "Basic " + acme, 401},
		{"no scheme", acme, 401},
		{"an empty token", "Bearer ", 401},
		{"a prefix of the bootstrap token", "Bearer " + admin[:5], 401},
		{"a token with a space", "Bearer " + acme + " x", 401},
		{"a token of 10 kB", "Bearer " + strings.Repeat("x", 10_000), 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := http.Header{}
			if c.header != "" {
				header.Set("Authorization", c.header)
			}
			if a := s.askWith("", "GET", "/organizations", "", header); a.status != c.status {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	t.Run("case 82 a revoked token", func(t *testing.T) {
		delete(s.tokens, guest)
		problemsOf(t, s.ask(guest, "GET", "/organizations", ""), http.StatusUnauthorized)
	})
	t.Run("no bootstrap token is no empty token", func(t *testing.T) {
		s := newServer(t, func(c *api.Config) { c.BootstrapToken = polset.Secret{} })
		problemsOf(t, s.askWith("", "GET", "/organizations", "", http.Header{"Authorization": {"Bearer "}}), http.StatusUnauthorized)
	})
}

func TestTokenBruteForce(t *testing.T) {
	s := newServer(t)
	if a := s.ask(acme, "GET", "/organizations/acme", ""); a.status != http.StatusOK {
		t.Fatal(a.body)
	}
	guess := func(n int) answer {
		// A forged forwarding header must not give a fresh count.
		return s.askWith(fmt.Sprintf("guess-%d", n), "GET", "/organizations/acme", "", http.Header{"X-Forwarded-For": {fmt.Sprintf("192.0.2.%d", n)}})
	}
	t.Run("case 81 token brute force: 401, then 429", func(t *testing.T) {
		for n := range 20 {
			problemsOf(t, guess(n), http.StatusUnauthorized)
		}
		lookups := s.lookups
		a := guess(20)
		problemsOf(t, a, http.StatusTooManyRequests)
		if reset, err := strconv.ParseFloat(a.header.Get("X-RateLimit-Reset"), 64); err != nil || reset <= 0 || reset > 3 {
			t.Errorf("X-RateLimit-Reset %q", a.header.Get("X-RateLimit-Reset"))
		}
		if after, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || after < 1 {
			t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
		}
		if s.lookups != lookups {
			t.Error("a refused guess was looked up")
		}
	})
	t.Run("case 81 a token that was right before still passes", func(t *testing.T) {
		if a := s.ask(acme, "GET", "/organizations/acme", ""); a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.body)
		}
		problemsOf(t, s.ask(guest, "GET", "/organizations/acme", ""), http.StatusTooManyRequests) // not seen before
	})
	t.Run("case 81 patience is rewarded", func(t *testing.T) {
		s.clock.Add(int64(3 * time.Second))
		problemsOf(t, guess(21), http.StatusUnauthorized)
		problemsOf(t, guess(22), http.StatusTooManyRequests)
	})
	t.Run("case 82 a token that was right before, and revoked since", func(t *testing.T) {
		delete(s.tokens, acme)
		problemsOf(t, s.ask(acme, "GET", "/organizations/acme", ""), http.StatusUnauthorized)
		problemsOf(t, s.ask(acme, "GET", "/organizations/acme", ""), http.StatusTooManyRequests)
	})
}
