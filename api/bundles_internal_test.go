package api

import (
	"net/http"
	"testing"
	"time"
)

// BoundWaiting has room for so many waiting requests, for the tests outside.
func (a *API) BoundWaiting(n int) { a.waiting = newPlaces("waiting requests", n, n) }

func TestPreferredWait(t *testing.T) {
	for _, test := range []struct {
		method string
		prefer []string
		want   time.Duration
	}{
		{"GET", nil, 0},
		{"GET", []string{"modes=snapshot,delta"}, 0},
		{"GET", []string{"modes=snapshot,delta;wait=10"}, 10 * time.Second}, // as OPA writes it
		{"GET", []string{"respond-async, wait=10"}, 10 * time.Second},       // as RFC 7240 does
		{"GET", []string{"modes=snapshot", `Wait = "7"`}, 7 * time.Second},
		{"GET", []string{"wait=100000"}, 2 * time.Minute},
		{"GET", []string{"wait=99999999999999999999"}, 0},
		{"GET", []string{"wait=-1"}, 0},
		{"GET", []string{"wait=soon"}, 0},
		{"GET", []string{"wait"}, 0},
		{"GET", []string{"await=10"}, 0},
		{"HEAD", []string{"wait=10"}, 0},
	} {
		if got := preferredWait(&http.Request{Method: test.method, Header: http.Header{"Prefer": test.prefer}}); got != test.want {
			t.Errorf("%s %q: %s, want %s", test.method, test.prefer, got, test.want)
		}
	}
}
