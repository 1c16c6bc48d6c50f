package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/polset/polset"
)

// A checkClient speaks to the API of a server, and is patient with it.
type checkClient struct {
	base  string // https://polset.example.com
	token polset.Secret
	http  *http.Client
	say   func(string) // why it waits
	now   func() time.Time
}

const (
	apiPath = "/api/v2"
	// maxAnswer bounds an answer; a page holds at most a hundred outcomes.
	maxAnswer = 64 << 20
	// maxTries is how often a request is sent, over about two minutes.
	maxTries = 9
	// firstWait doubles with each try, up to maxWait.
	firstWait = 500 * time.Millisecond
	maxWait   = 30 * time.Second
	// answerTimeout is how long a server may be silent after a request.
	answerTimeout = time.Minute
)

func newCheckClient(base string, token polset.Secret, say func(string)) *checkClient {
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // it is one: proxies of the environment, roots of the system
	transport.ResponseHeaderTimeout = answerTimeout
	return &checkClient{
		base: base, token: token, say: say, now: time.Now,
		http: &http.Client{
			Transport: transport,
			// Nothing of the API redirects where polset check asks, and a token
			// follows nobody.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// A call is one request of the API.
type call struct {
	method string
	url    string // whole
	body   func() (io.ReadCloser, int64, error)
	kind   string // of the body
	bare   bool   // without the token: the URL is the proof
	// once says that the request must not be sent again after an answer got
	// lost; the error is then an *uncertainError.
	once bool
}

// An uncertainError is that of a request which may have had its effect.
type uncertainError struct{ err error }

func (e *uncertainError) Error() string { return e.err.Error() }
func (e *uncertainError) Unwrap() error { return e.err }

// An answerError is an answer that is none of those which succeed.
type answerError struct {
	status int
	detail string
}

func (e *answerError) Error() string {
	text := strconv.Itoa(e.status) + " " + http.StatusText(e.status)
	if e.detail != "" {
		text += ": " + e.detail
	}
	return text
}

// answered reports whether err is an answer with that status.
func answered(err error, status int) bool {
	var a *answerError
	return errors.As(err, &a) && a.status == status
}

// get decodes the answer to a GET.
func (c *checkClient) get(ctx context.Context, path string, into any) error {
	return c.do(ctx, call{method: http.MethodGet, url: c.base + apiPath + path}, into)
}

// post sends a document, if there is one.
func (c *checkClient) post(ctx context.Context, path string, document, into any) error {
	request := call{method: http.MethodPost, url: c.base + apiPath + path, kind: "application/vnd.api+json", once: true}
	if document != nil {
		body, err := json.Marshal(document)
		if err != nil {
			return err
		}
		request.body = func() (io.ReadCloser, int64, error) {
			return io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
		}
	}
	return c.do(ctx, request, into)
}

// again is what to do after a try that failed.
type again struct {
	worth   bool          // another try may succeed
	limited bool          // the server only asks for a slower pace
	asked   time.Duration // how long it asks to wait
}

// do sends a request until there is an answer that says something.
func (c *checkClient) do(ctx context.Context, request call, into any) error {
	for tries := 1; ; {
		answer, next, err := c.try(ctx, request)
		if err == nil {
			return decodeAnswer(answer, into)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !next.worth || tries == maxTries {
			return err
		}
		// Others may have been told the same: not all come back at once.
		wait := backoff(tries)
		if next.asked > 0 {
			wait = next.asked + wait/4
		}
		if !next.limited {
			tries++
		}
		if deadline, ok := ctx.Deadline(); ok && c.now().Add(wait).After(deadline) {
			return fmt.Errorf("%w; the next try, in %s, would be after the limit of --timeout", err, shortly(wait))
		}
		c.say(fmt.Sprintf("%v; trying again in %s", err, shortly(wait)))
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// try sends a request once.
func (c *checkClient) try(ctx context.Context, request call) (answer []byte, next again, err error) {
	req, err := c.request(ctx, request)
	if err != nil {
		return nil, again{}, err
	}
	res, err := c.http.Do(req) //nolint:gosec // the address is the user's own
	if err != nil {
		next, err = unreachable(request, err)
		return nil, next, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		next, err = unreachable(request, err)
		return nil, next, err
	}
	if len(answer) > maxAnswer {
		return nil, again{}, fmt.Errorf("%s answered more than %d MiB", req.URL.Host, maxAnswer>>20)
	}
	next, err = c.judge(request, res, answer)
	return answer, next, err
}

func (c *checkClient) request(ctx context.Context, request call) (*http.Request, error) {
	var body io.ReadCloser = http.NoBody
	var size int64
	if request.body != nil {
		var err error
		if body, size, err = request.body(); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, request.method, request.url, body)
	if err != nil {
		return nil, errors.Join(errors.New("the server names an address that is none"), body.Close())
	}
	req.ContentLength = size
	if request.body != nil {
		req.GetBody = func() (io.ReadCloser, error) {
			again, _, err := request.body()
			return again, err
		}
	}
	req.Header.Set("Accept", "application/vnd.api+json")
	req.Header.Set("User-Agent", "polset/"+strings.ReplaceAll(buildVersion(), " ", "-"))
	if request.kind != "" {
		req.Header.Set("Content-Type", request.kind)
	}
	if !request.bare {
		req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	return req, nil
}

// unreachable is the error of a request without an answer. It does not show
// the URL, which may be a secret.
func unreachable(request call, err error) (again, error) {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	at := "the server"
	if u, parsed := url.Parse(request.url); parsed == nil {
		at = u.Host
	}
	failed := fmt.Errorf("no answer from %s: %w", at, err)
	var certificate *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var dial *net.OpError
	switch {
	case errors.As(err, &certificate), errors.As(err, &header):
		return again{}, failed
	case request.once && (!errors.As(err, &dial) || dial.Op != "dial"):
		return again{}, &uncertainError{failed}
	}
	return again{worth: true}, failed
}

// judge tells an answer that succeeds from others.
func (c *checkClient) judge(request call, res *http.Response, answer []byte) (again, error) {
	host, header := res.Request.URL.Host, res.Header
	switch {
	case res.StatusCode >= 200 && res.StatusCode < 300:
		return again{}, nil
	case res.StatusCode >= 300 && res.StatusCode < 400:
		to := "elsewhere"
		if location, err := res.Location(); err == nil {
			to = "to " + plain(location.Scheme+"://"+location.Host)
		}
		return again{}, fmt.Errorf("%s redirects %s: give the address of polset itself with --address", host, to)
	}
	err := fmt.Errorf("%s answered %w", host, &answerError{res.StatusCode, problemsOf(answer)})
	switch {
	case res.StatusCode == http.StatusUnauthorized && !request.bare:
		return again{}, fmt.Errorf("%w (is the token in POLSET_TOKEN one of this server, and neither revoked nor expired?)", err)
	case res.StatusCode == http.StatusTooManyRequests:
		asked := askedWait(header.Get("Retry-After"), c.now())
		if asked == 0 {
			asked = askedWait(header.Get("X-RateLimit-Reset"), c.now())
		}
		return again{worth: true, limited: true, asked: asked}, err
	case res.StatusCode < 500 || res.StatusCode == http.StatusNotImplemented:
		return again{}, err
	}
	asked := askedWait(header.Get("Retry-After"), c.now())
	if request.once && (res.StatusCode != http.StatusServiceUnavailable || asked == 0) {
		return again{}, &uncertainError{err}
	}
	return again{worth: true, asked: asked}, err
}

// problemsOf are the sentences of an error document.
func problemsOf(answer []byte) string {
	var document struct {
		Errors []struct{ Title, Detail string } `json:"errors"`
	}
	if json.Unmarshal(answer, &document) != nil {
		return ""
	}
	var texts []string
	for _, e := range document.Errors {
		if text := plain(firstOf(e.Detail, e.Title)); text != "" && len(texts) < 10 {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, " ")
}

func decodeAnswer(answer []byte, into any) error {
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("the answer is no document of the API (is --address that of polset?): %w", err)
	}
	return nil
}

// askedWait is how long a header asks to wait, in seconds or as a date; 0
// where it does not say.
func askedWait(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds >= 0 && seconds < 1e6 {
		return max(time.Duration(seconds*float64(time.Second)), time.Millisecond)
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), time.Millisecond)
	}
	return 0
}

// backoff is how long to wait after so many tries; many jobs that lost one
// server do not come back at once.
func backoff(tries int) time.Duration {
	wait := min(firstWait<<(tries-1), maxWait)
	return wait/2 + rand.N(wait/2) //nolint:gosec // no secret
}

// pause waits, unless ctx is done first.
func pause(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// shortly is a wait for people.
func shortly(wait time.Duration) time.Duration {
	if wait < time.Second {
		return wait.Round(10 * time.Millisecond)
	}
	return wait.Round(time.Second)
}

// put uploads a file to a URL that needs no token.
func (c *checkClient) put(ctx context.Context, to string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return c.do(ctx, call{
		method: http.MethodPut, url: to, kind: "application/octet-stream", bare: true,
		body: func() (io.ReadCloser, int64, error) {
			return io.NopCloser(io.NewSectionReader(f, 0, info.Size())), info.Size(), nil
		},
	}, nil)
}
