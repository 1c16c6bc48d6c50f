package githubapp

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// maxWait bounds a wait that GitHub asks for: its limits are by the hour.
	maxWait = time.Hour
	// blindWait is the wait where GitHub limits the rate and does not say for
	// how long; its documentation asks for a minute at least.
	blindWait = time.Minute
)

// limit reports whether an answer says that the rate of requests is limited,
// and for how long.
func limit(response *http.Response, said string, now time.Time) (time.Duration, bool) {
	h := response.Header
	said = strings.ToLower(said)
	switch response.StatusCode {
	case http.StatusTooManyRequests:
	case http.StatusForbidden:
		if h.Get("Retry-After") == "" && h.Get("X-RateLimit-Remaining") != "0" &&
			!strings.Contains(said, "rate limit") && !strings.Contains(said, "abuse detection") {
			return 0, false
		}
	default:
		return 0, false
	}
	if wait := retryAfter(h, now); wait > 0 {
		return wait, true
	}
	return blindWait, true
}

// retryAfter returns the wait that an answer asks for, 0 if it does not.
func retryAfter(h http.Header, now time.Time) time.Duration {
	wait := time.Duration(0)
	if v := h.Get("Retry-After"); v != "" {
		if s, err := strconv.ParseInt(v, 10, 64); err == nil {
			wait = time.Duration(min(max(s, 0), 86400)) * time.Second
		} else if t, err := http.ParseTime(v); err == nil {
			wait = t.Sub(now)
		}
	} else if h.Get("X-RateLimit-Remaining") == "0" {
		wait = untilReset(h, now)
	}
	return min(max(wait, 0), maxWait)
}

// exhausted notes that a successful answer was the last one before the reset,
// or that a modest credential has to leave the rest to others.
func (c *Client) exhausted(who credential, h http.Header) {
	if h.Get("X-RateLimit-Remaining") == "0" {
		if wait := retryAfter(h, c.now()); wait > 0 {
			c.patience.wait(who.lane(), wait)
		}
		return
	}
	if !who.modest {
		return
	}
	left, err := strconv.ParseInt(h.Get("X-RateLimit-Remaining"), 10, 64)
	if err != nil {
		return
	}
	if all, err := strconv.ParseInt(h.Get("X-RateLimit-Limit"), 10, 64); err != nil || left >= all/4 {
		return
	}
	wait := untilReset(h, c.now())
	if wait <= 0 {
		wait = blindWait
	}
	c.patience.wait(who.lane(), min(wait, maxWait))
}

// untilReset is how long GitHub counts towards the same limit; 0 where it does
// not say.
func untilReset(h http.Header, now time.Time) time.Duration {
	s, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil {
		return 0
	}
	return time.Unix(s, 0).Sub(now)
}

// hostKey names a host among the credentials.
func hostKey(u *url.URL) string { return "host " + originOf(u) }

// patience remembers until when nothing may be asked, by credential or host.
type patience struct {
	now func() time.Time
	mu  sync.Mutex
	til map[string]time.Time
}

func newPatience(now func() time.Time) *patience {
	return &patience{now: now, til: map[string]time.Time{}}
}

// left is how long is still to be waited; 0 where nothing is.
func (p *patience) left(key string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	til, ok := p.til[key]
	if !ok {
		return 0
	}
	left := til.Sub(p.now())
	if left <= 0 {
		delete(p.til, key)
		return 0
	}
	return left
}

// wait forbids questions for a time; a longer wait that is known stays.
func (p *patience) wait(key string, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if len(p.til) >= 1000 {
		for k, til := range p.til {
			if !til.After(now) {
				delete(p.til, k)
			}
		}
	}
	if til := now.Add(d); til.After(p.til[key]) {
		p.til[key] = til
	}
}

// turns lets one at a time through, by key.
type turns struct {
	mu    sync.Mutex
	lanes map[string]*lane
}

type lane struct {
	turn  chan struct{} // holds a value while somebody has the turn
	users int           // that have it or wait
}

func newTurns() *turns { return &turns{lanes: map[string]*lane{}} }

// take waits for the turn, and returns what gives it back.
func (t *turns) take(ctx context.Context, key string) (release func(), err error) {
	t.mu.Lock()
	l := t.lanes[key]
	if l == nil {
		l = &lane{turn: make(chan struct{}, 1)}
		t.lanes[key] = l
	}
	l.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(t.lanes, key)
		}
	}
	select {
	case l.turn <- struct{}{}:
		return func() { <-l.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
