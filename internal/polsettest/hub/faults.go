package hub

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"time"

	"github.com/polset/polset/internal/polsettest"
)

// An Outage says what of GitHub is down.
type Outage struct {
	REST       bool
	Git        bool
	Deliveries bool // they fail as after DropDeliveries
	Status     int  // of the answers; 0: 503
	// Refuse refuses every connection, whatever REST and Git say.
	Refuse bool
}

// Down begins an outage, in place of the one that is; Outage{} ends it.
func (g *GitHub) Down(outage Outage) {
	g.t.Helper()
	g.mu.Lock()
	g.outage = outage
	g.mu.Unlock()
	for _, server := range []*polsettest.Server{g.git.Server(), g.api} {
		if outage.Refuse {
			server.Pause()
		} else if err := server.Resume(g.ctx); err != nil {
			g.t.Fatal(err)
		}
	}
}

// down answers as GitHub does in an outage: with a page, whatever was asked.
func down(w http.ResponseWriter, outage Outage) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(cmp.Or(outage.Status, http.StatusServiceUnavailable))
	_, _ = io.WriteString(w, "<!DOCTYPE html><title>Unicorn! · GitHub</title><p>No server is currently available to service your request.\n")
}

// Fault puts a fault before the requests of one REST route from now on, in
// place of the one that is; nil removes it. The route is a method and a path
// of GitHub's description, such as
// "POST /repos/{owner}/{repo}/check-runs"; "" is every route. All of
// polsettest's faults can be used, limited by polsettest.Times and When, whose
// requests have paths without the base. What is malformed is refused before.
func (g *GitHub) Fault(route string, fault polsettest.Fault) {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if route != "" && !g.serves(route) {
		g.t.Errorf("the stand-in serves no route %q", route)
	}
	g.faults[route] = fault
}

// Lost lets the request take effect and then cuts the connection, so that the
// client cannot know.
func Lost() polsettest.Fault {
	return func(_ http.ResponseWriter, r *http.Request, next http.Handler) bool {
		next.ServeHTTP(&unheard{header: http.Header{}}, r)
		panic(http.ErrAbortHandler)
	}
}

// unheard is an answer that nobody gets.
type unheard struct{ header http.Header }

func (u *unheard) Header() http.Header         { return u.header }
func (u *unheard) WriteHeader(int)             {}
func (u *unheard) Write(p []byte) (int, error) { return len(p), nil }

// A Call is one REST request.
type Call struct {
	Method       string
	Route        string // as in Fault, with the method; "" where there is none
	Path         string
	Query        string
	Auth         string // none, app, installation, personal, user, or bad
	Token        string // that was shown
	Repository   int64  // that it is about; 0: none
	Installation int64  // whose token it is
	Body         []byte
	Status       int // of the answer; 0 where there was none
	At           time.Time
}

// Calls returns every REST request since the start, or since ResetCalls, in
// the order of arrival.
func (g *GitHub) Calls() []Call {
	g.mu.Lock()
	defer g.mu.Unlock()
	calls := make([]Call, len(g.calls))
	for i, c := range g.calls {
		calls[i] = *c
		calls[i].Body = bytes.Clone(c.Body)
	}
	return calls
}

// ResetCalls empties the log.
func (g *GitHub) ResetCalls() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls = nil
}

// callRecorder notes the status of an answer.
type callRecorder struct {
	http.ResponseWriter
	github *GitHub
	call   *Call
}

func (r *callRecorder) WriteHeader(status int) {
	r.github.mu.Lock()
	if r.call.Status == 0 {
		r.call.Status = status
	}
	r.github.mu.Unlock()
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController flush.
func (r *callRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
