package polsettest

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
)

// A Request is one HTTP request that a git server received.
type Request struct {
	Method   string
	Path     string
	Query    string
	Header   http.Header // Authorization included
	Protocol string      // the header Git-Protocol, such as version=2
	Body     []byte      // the first MiB, as sent
	BytesIn  int64       // of the body, as read by the server
	BytesOut int64       // of the answer's body
	Status   int         // 0 while there is no answer
	Done     bool        // the answer is complete, or was given up
}

// keptBody is how much of a request's body the log holds.
const keptBody = 1 << 20

// Requests returns every request since the start, or since ResetRequests, in
// the order of arrival.
func (g *Git) Requests() []Request {
	g.mu.Lock()
	defer g.mu.Unlock()
	requests := make([]Request, len(g.requests))
	for i, r := range g.requests {
		requests[i] = *r
		requests[i].Header = r.Header.Clone()
		requests[i].Body = bytes.Clone(r.Body)
	}
	return requests
}

// ResetRequests empties the log.
func (g *Git) ResetRequests() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests = nil
}

// Traffic sums up the log: how many requests, and the bytes of all their
// bodies and of all answers' bodies.
func (g *Git) Traffic() (requests int, in, out int64) {
	for _, r := range g.Requests() {
		requests++
		in += r.BytesIn
		out += r.BytesOut
	}
	return requests, in, out
}

// recorder counts what passes through one request.
type recorder struct {
	http.ResponseWriter
	git     *Git
	request *Request
}

func (g *Git) record(w http.ResponseWriter, r *http.Request) *recorder {
	request := &Request{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery,
		Header: r.Header.Clone(), Protocol: r.Header.Get("Git-Protocol"),
	}
	g.mu.Lock()
	g.requests = append(g.requests, request)
	g.mu.Unlock()
	r.Body = &recordedBody{ReadCloser: r.Body, git: g, request: request}
	return &recorder{ResponseWriter: w, git: g, request: request}
}

func (r *recorder) WriteHeader(status int) {
	r.git.mu.Lock()
	if r.request.Status == 0 {
		r.request.Status = status
	}
	r.git.mu.Unlock()
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	n, err := r.ResponseWriter.Write(p)
	r.git.mu.Lock()
	defer r.git.mu.Unlock()
	if r.request.Status == 0 {
		r.request.Status = http.StatusOK
	}
	r.request.BytesOut += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController flush.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) end() {
	r.git.mu.Lock()
	defer r.git.mu.Unlock()
	r.request.Done = true
}

type recordedBody struct {
	io.ReadCloser
	git     *Git
	request *Request
}

func (b *recordedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.git.mu.Lock()
	defer b.git.mu.Unlock()
	b.request.BytesIn += int64(n)
	if room := keptBody - len(b.request.Body); room > 0 {
		b.request.Body = append(b.request.Body, p[:min(n, room)]...)
	}
	return n, err
}

// errorLog holds what http-backend and its CGI host complained of.
type errorLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *errorLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *errorLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *errorLog) logger() *log.Logger { return log.New(l, "", 0) }
