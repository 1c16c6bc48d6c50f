package githubapp

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
)

// TestRateLimits shows that a limit is met without another request, for as long
// as GitHub says, by whoever has the same credential and by nobody else.
func TestRateLimits(t *testing.T) {
	limits := map[string]struct {
		fault func(now time.Time) polsettest.Fault
		wait  time.Duration
	}{
		"primary":                      {func(now time.Time) polsettest.Fault { return polsettest.RateLimited(now.Add(17 * time.Minute)) }, 17 * time.Minute},
		"primary with a reset in days": {func(now time.Time) polsettest.Fault { return polsettest.RateLimited(now.Add(50 * time.Hour)) }, time.Hour},
		"primary with a reset in the past": {func(now time.Time) polsettest.Fault {
			return polsettest.RateLimited(now.Add(-time.Minute))
		}, time.Minute},
		"secondary": {func(time.Time) polsettest.Fault { return polsettest.SecondaryRateLimited(90 * time.Second) }, 90 * time.Second},
		"secondary without Retry-After": {func(time.Time) polsettest.Fault {
			return polsettest.Status(403, `{"message":"You have exceeded a secondary rate limit."}`)
		}, time.Minute},
		"Retry-After and no word of a limit": {func(time.Time) polsettest.Fault {
			return polsettest.Status(403, `{"message":"Slow down."}`, "Retry-After", "45")
		}, 45 * time.Second},
		"429": {func(time.Time) polsettest.Fault { return polsettest.TooManyRequests(30 * time.Second) }, 30 * time.Second},
		"429 without Retry-After": {func(time.Time) polsettest.Fault {
			return polsettest.Status(429, "")
		}, time.Minute},
	}
	for name, limit := range limits {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.repo.Commit("main", map[string]string{"a": "b"})
			w.token(w.remote())
			w.github.Fault("GET /repos/{owner}/{repo}", polsettest.Times(1, limit.fault(w.clock.now())))
			_, err := w.client.Repository(t.Context(), w.remote())
			f := failureIn(t, err, polset.ClassTimeout, true, "rate")
			if f.RetryAfter != limit.wait {
				t.Errorf("wait is %s, want %s", f.RetryAfter, limit.wait)
			}
			w.github.ResetCalls()
			w.clock.pass(limit.wait / 2)
			_, err = w.client.Repository(t.Context(), w.remote())
			if f := failureIn(t, err, polset.ClassTimeout, true); f.RetryAfter != limit.wait-limit.wait/2 {
				t.Errorf("wait is %s after half of %s", f.RetryAfter, limit.wait)
			}
			if _, err := w.client.Reachable(t.Context(), w.remote(), strings.Repeat("0", 40), "main"); err == nil {
				t.Error("another operation of the same installation was not held")
			}
			if calls := w.github.Calls(); len(calls) > 0 {
				t.Errorf("a limited client asked for %s", calls[0].Route)
			}
			if _, err := w.client.Repository(t.Context(), w.connection("repo")); err != nil {
				t.Errorf("another credential was held as well: %v", err)
			}
			w.clock.pass(limit.wait)
			if _, err := w.client.Repository(t.Context(), w.remote()); err != nil {
				t.Errorf("after the limit has passed: %v", err)
			}
		})
	}
	t.Run("the last request before the reset", func(t *testing.T) {
		now := newClock()
		var asked atomic.Int64
		client := answering(t, Config{Now: now.now}, func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", fmt.Sprint(now.now().Add(time.Minute).Unix()))
			say(w, `{"id":1,"full_name":"acme/policies"}`)
		})
		r := polset.Remote{Identifier: "acme/policies", Token: polset.NewSecret("s3cret")}
		if _, err := client.Repository(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		_, err := client.Repository(t.Context(), r)
		failureWith(t, err, polset.ClassTimeout, true)
		if asked.Load() != 1 {
			t.Errorf("GitHub was asked %d times, want 1", asked.Load())
		}
	})
	t.Run("a 403 that is no limit", func(t *testing.T) {
		client := answering(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-RateLimit-Remaining", "4999")
			w.WriteHeader(http.StatusForbidden)
			say(w, `{"message":"Resource not accessible by integration"}`)
		})
		_, err := client.Repository(t.Context(), polset.Remote{Identifier: "a/b", Token: polset.NewSecret("s3cret")})
		failureWith(t, err, polset.ClassAuth, false, "Resource not accessible by integration")
	})
}

// TestAHostThatHangs shows that a tenant's host is left alone for a while when
// it hangs, and the operator's own is not.
func TestAHostThatHangs(t *testing.T) {
	now := newClock()
	hang := func(asked *atomic.Int64) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			<-r.Context().Done()
		}
	}
	var own, theirs atomic.Int64
	server := httptest.NewTLSServer(hang(&theirs))
	defer server.Close()
	config := Config{Now: now.now, Timeout: 100 * time.Millisecond, RootCAs: pool(server)}
	client := answering(t, config, hang(&own))
	for range 2 {
		_, err := client.Repository(t.Context(), polset.Remote{Identifier: "a/b"})
		if f := failureIn(t, err, polset.ClassTimeout, true, "no answer within 100ms"); !f.Hung {
			t.Error("it is not said to have hung")
		}
		_, err = client.Repository(t.Context(), polset.Remote{Identifier: "a/b", APIURL: server.URL})
		failureWith(t, err, polset.ClassTimeout, true)
	}
	if own.Load() != 2 || theirs.Load() != 1 {
		t.Errorf("the operator's was asked %d times, want 2; the tenant's %d times, want 1", own.Load(), theirs.Load())
	}
}

// TestMutationsOfOneCredentialComeOneByOne is what GitHub asks of its clients.
func TestMutationsOfOneCredentialComeOneByOne(t *testing.T) {
	var under, most atomic.Int64
	entered := make(chan struct{}, 8)
	proceed := make(chan struct{})
	client := answering(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		if n := under.Add(1); n > most.Load() {
			most.Store(n)
		}
		entered <- struct{}{}
		<-proceed
		under.Add(-1)
		say(w, `{}`)
	})
	var working sync.WaitGroup
	who := func(token string) credential { return tokenCredential(client.api, polset.NewSecret(token)) }
	post := func(token string) {
		working.Go(func() {
			_, err := client.send(t.Context(), client.api, who(token), question{
				operation: "test", method: http.MethodPost, path: "/x", mutates: true, doing: "test",
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	for range 4 {
		post("one")
	}
	<-entered
	for deadline := time.Now().Add(10 * time.Second); client.mutations.users(who("one").key) < 4; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("they do not wait for each other")
		}
	}
	post("two")
	<-entered // another credential does not wait
	close(proceed)
	working.Wait()
	if most.Load() != 2 || len(client.mutations.lanes) != 0 {
		t.Errorf("%d mutations were under way, want one of each credential; %d lanes are left", most.Load(), len(client.mutations.lanes))
	}
}

// users counts those who have a turn or wait for it.
func (t *turns) users(key string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.lanes[key]; l != nil {
		return l.users
	}
	return 0
}
