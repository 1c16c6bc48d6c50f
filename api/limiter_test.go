package api_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tfe "github.com/hashicorp/go-tfe"

	"github.com/polset/polset"
	"github.com/polset/polset/api"
)

func TestLimiter(t *testing.T) {
	now := epoch
	l := api.NewLimiter(10, func() time.Time { return now })
	mine, yours := polset.Principal{Actor: "at-mine"}, polset.Principal{Actor: "at-yours"}
	spend := func(by polset.Principal, n int) (last api.Allowance) {
		for range n {
			last = l.Take(by)
		}
		return last
	}
	if a := spend(mine, 10); a.Wait != 0 || a.Remaining != 0 || a.Reset != time.Second {
		t.Errorf("after the last of a burst: %+v", a)
	}
	if a := l.Take(mine); a.Wait != 100*time.Millisecond || a.Remaining != 0 || a.Reset != time.Second {
		t.Errorf("one too many: %+v", a)
	}
	if a := spend(mine, 1000); a.Wait != 100*time.Millisecond {
		t.Errorf("refused requests count: %+v", a)
	}
	if a := l.Take(yours); a.Wait != 0 || a.Remaining != 9 {
		t.Errorf("somebody else: %+v", a)
	}
	now = now.Add(100 * time.Millisecond)
	if a := spend(mine, 1); a.Wait != 0 {
		t.Errorf("after the wait: %+v", a)
	}
	if a := spend(mine, 1); a.Wait == 0 {
		t.Errorf("twice after the wait: %+v", a)
	}
	now = now.Add(-time.Hour)
	if a := spend(mine, 1); a.Wait == 0 {
		t.Errorf("a clock that went back gives requests: %+v", a)
	}
	now = now.Add(24 * time.Hour)
	if a := l.Take(mine); a.Remaining != 9 {
		t.Errorf("a day later there is more than a second's worth: %+v", a)
	}
}

// frugal lets nobody do anything.
type frugal struct{ asked []string }

func (l *frugal) Limit() int { return 30 }

func (l *frugal) Take(by polset.Principal) api.Allowance {
	l.asked = append(l.asked, by.Actor)
	return api.Allowance{Wait: 1500 * time.Millisecond, Reset: 2 * time.Second}
}

func TestRateLimiter(t *testing.T) {
	limiter := &frugal{}
	s := newServer(t, func(c *api.Config) { c.RateLimiter = limiter })
	headers := func(a answer) string {
		h := a.header
		return h.Get("X-RateLimit-Limit") + " " + h.Get("X-RateLimit-Remaining") + " " + h.Get("X-RateLimit-Reset") + " " + h.Get("Retry-After")
	}
	a := s.ask(acme, "GET", "/organizations/acme", "")
	if p := problemsOf(t, a, http.StatusTooManyRequests)[0]; p.Status != "429" || p.Title == "" || p.Detail == "" {
		t.Errorf("%s", a.body)
	}
	if headers(a) != "30 0 1.500 2" || len(limiter.asked) != 1 || limiter.asked[0] != "at-acme" {
		t.Errorf("%q %v", headers(a), limiter.asked)
	}
	t.Run("what a token may not do costs as much", func(t *testing.T) {
		problemsOf(t, s.ask(guest, "DELETE", "/organizations/acme", ""), http.StatusTooManyRequests)
	})
	t.Run("without a token there is no bucket", func(t *testing.T) {
		if a := s.ask("nobody", "GET", "/organizations", ""); a.status != http.StatusUnauthorized || headers(a) != "   " {
			t.Errorf("%d %q", a.status, headers(a))
		}
	})
	t.Run("the ping tells the limit", func(t *testing.T) {
		if a := s.ask("", "GET", "/ping", ""); a.status != http.StatusNoContent || headers(a) != "30   " {
			t.Errorf("%d %q", a.status, headers(a))
		}
		if a := newServer(t).ask("", "GET", "/ping", ""); headers(a) != "   " {
			t.Errorf("without a limit: %q", headers(a))
		}
	})
	t.Run("answers tell what is left", func(t *testing.T) {
		s := newServer(t, func(c *api.Config) { c.RateLimiter = api.NewLimiter(30, c.Now) })
		for left := 29; left > 25; left-- {
			a := s.ask(acme, "GET", "/organizations/acme", "")
			reset, err := strconv.ParseFloat(a.header.Get("X-RateLimit-Reset"), 64)
			if a.header.Get("X-RateLimit-Remaining") != strconv.Itoa(left) || err != nil || reset <= 0 || reset > 1 {
				t.Errorf("%q %v", headers(a), err)
			}
		}
	})
}

// TestLimitedClient is the official client with several clients on one token,
// which together ask more than it may: it is refused, waits as told, and gets
// everything in the end.
func TestLimitedClient(t *testing.T) {
	var refusals atomic.Int64
	w := newWorld(t, func(c *api.Config) { c.RateLimiter = counting{api.NewLimiter(api.MinRateLimit, time.Now), &refusals} })
	var all sync.WaitGroup
	began := time.Now()
	const clients, requests = 3, 4
	for range clients {
		c := w.client(w.acme)
		all.Go(func() {
			for range requests {
				if o, err := c.Organizations.Read(context.Background(), "acme"); err != nil || o.Name != "acme" {
					t.Errorf("a limited client: %v", err)
				}
			}
		})
	}
	all.Wait()
	if refusals.Load() == 0 {
		t.Error("nobody was refused: the limit does not bite")
	}
	// What is beyond the first second's worth takes its time.
	if atLeast := (clients*requests - api.MinRateLimit - 1) * time.Second / api.MinRateLimit; time.Since(began) < atLeast {
		t.Errorf("%d requests took %s, less than %s", clients*requests, time.Since(began), atLeast)
	}
	if _, err := w.client(w.evil).Organizations.Read(t.Context(), "acme"); !errors.Is(err, tfe.ErrResourceNotFound) {
		t.Errorf("another token: %v", err)
	}
}

type counting struct {
	api.RateLimiter
	refusals *atomic.Int64
}

func (c counting) Take(by polset.Principal) api.Allowance {
	a := c.RateLimiter.Take(by)
	if a.Wait > 0 {
		c.refusals.Add(1)
	}
	return a
}
