package api

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/polset/polset"
)

// A RateLimiter may refuse a principal who asks too often.
type RateLimiter interface {
	// Limit is how many requests a principal may make in a second.
	Limit() int
	// Take counts one request, or refuses it.
	Take(by polset.Principal) Allowance
}

// An Allowance is what a principal has left.
type Allowance struct {
	Wait      time.Duration // above zero: the request is refused, until then
	Remaining int           // requests that would be let through at once
	Reset     time.Duration // until the whole limit is there again
}

// MinRateLimit is the lowest limit that clients can live with: go-tfe allows
// itself a third of it at once, and with less than one request none.
const MinRateLimit = 4

// A Limiter gives every principal a bucket that holds a second's worth of
// requests and fills at that rate. It is safe for concurrent use. Each node
// counts by itself.
type Limiter struct {
	limit int
	now   func() time.Time

	mu      sync.Mutex
	buckets map[string]bucket // by actor
}

// bucket is what a principal had left at a time. One that is full again is as
// good as none.
type bucket struct {
	tokens float64
	at     time.Time
}

// NewLimiter returns a limiter of so many requests a second for each
// principal, at least MinRateLimit.
func NewLimiter(limit int, now func() time.Time) *Limiter {
	return &Limiter{limit: max(limit, MinRateLimit), now: now, buckets: map[string]bucket{}}
}

// Limit implements RateLimiter.
func (l *Limiter) Limit() int { return l.limit }

// Take implements RateLimiter.
func (l *Limiter) Take(by polset.Principal) Allowance {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b, known := l.buckets[by.Actor]
	if !known {
		makeRoom(l.buckets, func(b bucket) bool { return l.left(b, now) == float64(l.limit) })
		b = bucket{tokens: float64(l.limit), at: now}
	}
	left := l.left(b, now)
	if left < 1 {
		return Allowance{Wait: l.refill(1 - left), Reset: l.refill(float64(l.limit) - left)}
	}
	left--
	l.buckets[by.Actor] = bucket{tokens: left, at: now}
	return Allowance{Remaining: int(left), Reset: l.refill(float64(l.limit) - left)}
}

// left is what a bucket holds now. A clock that went back gives nothing.
func (l *Limiter) left(b bucket, now time.Time) float64 {
	elapsed := max(0, now.Sub(b.at).Seconds())
	return min(float64(l.limit), b.tokens+elapsed*float64(l.limit))
}

// refill is how long so many requests take to come back, rounded up to the
// millisecond that headers tell: who waits as long as told is let through.
func (l *Limiter) refill(tokens float64) time.Duration {
	return time.Duration(math.Ceil(tokens/float64(l.limit)*1000)) * time.Millisecond
}

// limit counts the request, and tells the client what it has left.
func (a *API) limit(r *request) error {
	if a.RateLimiter == nil {
		return nil
	}
	allowed := a.RateLimiter.Take(r.by)
	header := r.Response().Header()
	a.nameLimit(header)
	header.Set("X-RateLimit-Remaining", strconv.Itoa(allowed.Remaining))
	header.Set("X-RateLimit-Reset", fractional(allowed.Reset))
	if allowed.Wait > 0 {
		return rateLimitError{allowed.Wait}
	}
	return nil
}

// nameLimit tells go-tfe, which holds itself to two thirds of the limit.
func (a *API) nameLimit(header http.Header) {
	if a.RateLimiter != nil {
		header.Set("X-RateLimit-Limit", strconv.Itoa(a.RateLimiter.Limit()))
	}
}

// fractional is a wait in seconds with a fraction, as go-tfe reads it; it ends
// the process that finds anything else there.
func fractional(wait time.Duration) string {
	return strconv.FormatFloat(wait.Seconds(), 'f', 3, 64)
}
