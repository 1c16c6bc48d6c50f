package polsettest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// A Fault stands between a client and a git server. It reports whether it has
// answered the request; if not, the next one does. It may call next itself,
// with another writer. The request's context ends with the client or with
// the server.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler) bool

// Intercept puts a fault before every request from now on; nil removes it.
func (g *Git) Intercept(fault Fault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.intercept = fault
}

// When limits a fault to the requests that match.
func When(match func(*http.Request) bool, fault Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		return match(r) && fault(w, r, next)
	}
}

// Times limits a fault to the first n requests that reach it.
func Times(n int64, fault Fault) Fault {
	var seen atomic.Int64
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		return seen.Add(1) <= n && fault(w, r, next)
	}
}

// After spares the first n requests that reach a fault.
func After(n int64, fault Fault) Fault {
	var seen atomic.Int64
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		return seen.Add(1) > n && fault(w, r, next)
	}
}

// FirstOf asks each fault in turn.
func FirstOf(faults ...Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		for _, fault := range faults {
			if fault(w, r, next) {
				return true
			}
		}
		return false
	}
}

// Signal sends one value for each request that reaches it, and answers none.
// It blocks until somebody receives the value or the request ends.
func Signal(arrived chan<- *http.Request) Fault {
	return func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		select {
		case arrived <- r:
		case <-r.Context().Done():
		}
		return false
	}
}

// IsAdvertisement matches the first request of every conversation.
func IsAdvertisement(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/info/refs")
}

// IsLsRefs matches protocol 2's request for the refs.
func IsLsRefs(r *http.Request) bool { return isUploadPack(r) && hasCommand(r, "ls-refs") }

// IsFetch matches the request for objects, in either protocol.
func IsFetch(r *http.Request) bool {
	if !isUploadPack(r) {
		return false
	}
	return !strings.Contains(r.Header.Get("Git-Protocol"), "version=2") || hasCommand(r, "fetch")
}

// IsRepository matches every request for one repository.
func IsRepository(identifier string) func(*http.Request) bool {
	prefix := "/" + strings.ToLower(identifier)
	return func(r *http.Request) bool {
		rest, ok := strings.CutPrefix(strings.ToLower(r.URL.Path), prefix)
		return ok && (strings.HasPrefix(rest, ".git/") || strings.HasPrefix(rest, "/"))
	}
}

func isUploadPack(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-upload-pack")
}

// hasCommand looks into the body's first bytes and puts them back.
func hasCommand(r *http.Request, command string) bool {
	head := make([]byte, 4096)
	n, _ := io.ReadFull(r.Body, head) // a short body is an ordinary one
	head = head[:n]
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), r.Body), r.Body}
	if r.Header.Get("Content-Encoding") == "gzip" {
		zipped, err := gzip.NewReader(bytes.NewReader(head))
		if err != nil {
			return false
		}
		plain := make([]byte, 64)
		n, _ := io.ReadFull(zipped, plain)
		head = plain[:n]
	}
	return bytes.Contains(head, []byte("command="+command))
}

// Hang never answers.
func Hang() Fault {
	return func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		// The server notices that the client went away only once the body is read.
		_, _ = io.Copy(io.Discard, r.Body)
		hang(r)
		return true
	}
}

// HangAfter stops in the middle of the answer, n bytes into its body.
func HangAfter(n int) Fault {
	return body(n, hang)
}

// hang waits for the end of the client or of the server, and then breaks the
// connection: what ends well would be an answer.
func hang(r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// CutAfter breaks the connection n bytes into the answer's body.
func CutAfter(n int) Fault {
	return body(n, func(*http.Request) { panic(http.ErrAbortHandler) })
}

// EndAfter ends the answer's body after n bytes, as if that were all of it.
func EndAfter(n int) Fault {
	return body(n, func(*http.Request) {})
}

// body lets n bytes of an answer through, and then does what then does.
func body(n int, then func(*http.Request)) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		answer := capture(r, next)
		answer.header(w)
		_, _ = w.Write(answer.body.Bytes()[:min(n, answer.body.Len())])
		flush(w)
		then(r)
		return true
	}
}

// Dribble sends the answer's body one byte at a time, so many a second.
func Dribble(bytesPerSecond int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		answer := capture(r, next)
		answer.header(w)
		tick := time.NewTicker(time.Second / time.Duration(bytesPerSecond))
		defer tick.Stop()
		for {
			b, err := answer.body.ReadByte()
			if err != nil {
				return true
			}
			if _, err := w.Write([]byte{b}); err != nil {
				return true
			}
			flush(w)
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return true
			}
		}
	}
}

// Status answers with a status, headers (key, value, key, value …) and a body.
func Status(code int, text string, headers ...string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
		return true
	}
}

// TooManyRequests answers 429 with Retry-After.
func TooManyRequests(wait time.Duration) Fault {
	return Status(http.StatusTooManyRequests, "Too many requests\n",
		"Retry-After", strconv.Itoa(int(wait.Seconds())))
}

// RateLimited answers 403 as GitHub does when the primary rate limit is used
// up until reset.
func RateLimited(reset time.Time) Fault {
	return Status(http.StatusForbidden,
		`{"message":"API rate limit exceeded for user ID 583231.","documentation_url":"https://docs.github.com/rest/overview/resources-in-the-rest-api#rate-limiting"}`,
		"Content-Type", "application/json; charset=utf-8",
		"X-RateLimit-Limit", "5000", "X-RateLimit-Remaining", "0", "X-RateLimit-Used", "5000",
		"X-RateLimit-Resource", "core", "X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
}

// SecondaryRateLimited answers 403 as GitHub does when requests come too fast.
func SecondaryRateLimited(wait time.Duration) Fault {
	return Status(http.StatusForbidden,
		`{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again.","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`,
		"Content-Type", "application/json; charset=utf-8",
		"Retry-After", strconv.Itoa(int(wait.Seconds())))
}

// Redirect sends the client to the same path and query below another base
// URL, such as http://127.0.0.1:4712.
func Redirect(code int, base string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		http.Redirect(w, r, base+r.URL.RequestURI(), code)
		return true
	}
}

// Endless answers with a status and a body without end.
func Endless(code int) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(code)
		endless(w, r, bytes.Repeat([]byte("remote: please hold the line\n"), 1000))
		return true
	}
}

// EndlessRefs answers with branches without end, in either protocol: put it
// on IsLsRefs for protocol 2, on IsAdvertisement for protocol 0.
func EndlessRefs() Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		const id = "1111111111111111111111111111111111111111"
		if IsAdvertisement(r) {
			gitHeader(w, "application/x-git-upload-pack-advertisement")
			_, _ = io.WriteString(w, pktLine("# service=git-upload-pack\n")+"0000"+
				pktLine(id+" HEAD\x00multi_ack side-band-64k ofs-delta symref=HEAD:refs/heads/main\n"))
		} else {
			gitHeader(w, "application/x-git-upload-pack-result")
			_, _ = io.WriteString(w, pktLine(id+" HEAD symref-target:refs/heads/main\n"))
		}
		for n := 0; ; n += 1000 {
			var refs strings.Builder
			for i := range 1000 {
				refs.WriteString(pktLine(fmt.Sprintf("%s refs/heads/b%09d\n", id, n+i)))
			}
			if _, err := io.WriteString(w, refs.String()); err != nil || r.Context().Err() != nil {
				return true
			}
		}
	}
}

// endless writes chunk until the client or the server has enough.
func endless(w http.ResponseWriter, r *http.Request, chunk []byte) {
	for r.Context().Err() == nil {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

func gitHeader(w http.ResponseWriter, contentType string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-cache")
}

func pktLine(data string) string { return fmt.Sprintf("%04x%s", len(data)+4, data) }

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// An answer is a whole response, held back.
type answer struct {
	code   int
	fields http.Header
	body   bytes.Buffer
}

func capture(r *http.Request, next http.Handler) *answer {
	a := &answer{code: http.StatusOK, fields: http.Header{}}
	next.ServeHTTP(a, r)
	return a
}

func (a *answer) Header() http.Header         { return a.fields }
func (a *answer) WriteHeader(code int)        { a.code = code }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

// header passes on all but the body. Its length stays unsaid, so that a
// shortened body is no protocol error by itself.
func (a *answer) header(w http.ResponseWriter) {
	for key, values := range a.fields {
		w.Header()[key] = values
	}
	w.Header().Del("Content-Length")
	w.WriteHeader(a.code)
}
