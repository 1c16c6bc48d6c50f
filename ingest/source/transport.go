package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
)

// maxRedirects bounds redirects within one origin; GitHub sends one for a
// renamed repository.
const maxRedirects = 3

// A question is one HTTP request to a repository.
type question struct {
	service string // the path below the repository
	query   string
	body    []byte // nil: GET
	v2      bool
	accept  string // the answer's content type
	limit   int64  // of the answer's body
}

// ask sends a request and returns the body of a successful answer. Redirects
// are followed within the same scheme, host and port only.
func (r *repository) ask(ctx context.Context, q question) (*answer, error) {
	target := r.remote.url.JoinPath(q.service)
	target.RawQuery = q.query
	for hop, renewed := 0, false; ; {
		a, err := r.send(ctx, target, q)
		if err != nil {
			return nil, err
		}
		status := a.response.StatusCode
		switch {
		case status == http.StatusOK:
			if got, _, _ := strings.Cut(a.response.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(got), q.accept) {
				a.abandon()
				return nil, r.unusable("what it answered is not git's smart protocol", 0, fmt.Errorf("content type %s", excerpt([]byte(got))))
			}
			if hop > 0 {
				r.moved(target, q.service)
			}
			return a, nil
		case redirects(status):
			location := a.response.Header.Get("Location")
			a.abandon()
			next, err := r.redirect(target, location)
			if err != nil {
				return nil, err
			}
			if hop == maxRedirects {
				return nil, polset.Fail(polset.ClassURLForbidden, "The git server of %s redirects more than %d times.", r.remote.shown, maxRedirects)
			}
			target = next
			hop++
		case status == http.StatusUnauthorized && !renewed && a.renewable():
			// An installation's token lasts an hour, a Snapshot may last longer.
			a.close()
			if err := r.renew(ctx, a.shown); err != nil {
				return nil, err
			}
			renewed = true
		default:
			said := make([]byte, r.git.limits.ErrorBytes)
			n, err := io.ReadFull(a, said) // the rest of the body is never read
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && context.Cause(a.ctx) != nil {
				a.abandon()
				return nil, r.streamFailure(a.ctx, err)
			}
			header := a.response.Header
			if n < len(said) {
				a.close()
			} else {
				a.abandon()
			}
			return nil, r.statusFailure(status, header, said[:n])
		}
	}
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// send sends one request to one address.
func (r *repository) send(outer context.Context, target *url.URL, q question) (*answer, error) {
	var shown polset.Secret
	if r.remote.owner == "" || ownerOf(target, r.remote.base) == r.remote.owner {
		var err error
		if shown, err = r.remote.credential.show(outer, r.remote.shown); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancelCause(outer)
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if q.body != nil {
		method, body = http.MethodPost, bytes.NewReader(q.body)
	}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("make request to %s: %w", r.remote.shown, err)
	}
	h := request.Header
	h.Set("User-Agent", r.git.agent)
	h.Set("Accept", q.accept)
	// Fetching changes nothing: net/http may repeat the request when a
	// kept-alive connection turns out to be dead. The header is not sent.
	h["Idempotency-Key"] = nil
	if q.body != nil {
		h.Set("Content-Type", "application/x-git-upload-pack-request")
	}
	if q.v2 {
		h.Set("Git-Protocol", "version=2")
	}
	if !shown.Empty() {
		request.SetBasicAuth("x-access-token", shown.Reveal())
	}
	r.count(1, 0)
	dog := watch(r.git.idle, func() { cancel(errStalled) })
	started := time.Now()
	response, err := r.git.client.Do(request) //nolint:bodyclose // the answer closes it
	if err != nil {
		dog.stop()
		failure := r.streamFailure(ctx, unwrapURL(err))
		cancel(nil)
		return nil, failure
	}
	r.git.log.Debug("asked git server",
		zap.String("repo", r.remote.shown), zap.String("service", q.service),
		zap.Int("status", response.StatusCode), zap.Duration("elapsed", time.Since(started)))
	return &answer{ctx: ctx, cancel: cancel, response: response, shown: shown, dog: dog, repository: r, left: q.limit}, nil
}

// unwrapURL removes net/http's own wrapping, which quotes the URL.
func unwrapURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// redirect judges where a redirect leads.
func (r *repository) redirect(from *url.URL, location string) (*url.URL, error) {
	to, err := url.Parse(location)
	if err != nil || location == "" {
		return nil, r.unusable("its redirect leads nowhere", 0, err)
	}
	to = from.ResolveReference(to)
	if originOf(to) != originOf(from) || to.User != nil {
		return nil, polset.Fail(polset.ClassURLForbidden,
			"The git server of %s redirects to another address, %s; polset follows redirects on the same scheme, host and port only.",
			r.remote.shown, quote(to.Scheme+"://"+to.Host))
	}
	return to, nil
}

// moved remembers where a redirect led, so that only the first request of a
// renamed repository takes two.
func (r *repository) moved(target *url.URL, service string) {
	path, ok := strings.CutSuffix(target.Path, "/"+service)
	if !ok {
		return
	}
	u := *r.remote.url
	u.Path, u.RawPath = path, ""
	moved := *r.remote
	moved.url = &u
	r.remote = &moved
}

// An answer is the body of a response: counted, bounded, and watched for
// progress.
type answer struct {
	ctx        context.Context
	cancel     context.CancelCauseFunc
	response   *http.Response
	shown      polset.Secret // the token that was sent, empty for none
	dog        *watchdog
	repository *repository
	left       int64
}

// An answerTooLongError says that an answer exceeded what it may have.
type answerTooLongError struct{}

func (*answerTooLongError) Error() string { return "the answer is too long" }

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.response.Body.Read(p)
	a.dog.progress(n)
	a.repository.count(0, int64(n))
	if a.left -= int64(n); a.left < 0 {
		return 0, &answerTooLongError{}
	}
	if errors.Is(err, io.EOF) {
		a.dog.stop() // what comes now is our own time
	}
	return n, err
}

// close ends a successful answer. The few bytes that may be left are read, so
// that the connection can be used again.
func (a *answer) close() {
	_, _ = io.CopyN(io.Discard, a, 4<<10) // what cannot be drained costs a connection only
	a.abandon()
}

// abandon ends an answer at once.
func (a *answer) abandon() {
	a.dog.stop()
	_ = a.response.Body.Close() // nothing was written
	a.cancel(nil)
}

// minProgress is how many bytes an answer must bring in each period.
const minProgress = 1024

// A watchdog calls bark when a period brings too little progress.
type watchdog struct {
	period time.Duration
	bark   func()

	mu      sync.Mutex
	timer   *time.Timer
	seen    int
	stopped bool
}

func watch(period time.Duration, bark func()) *watchdog {
	w := &watchdog{period: period, bark: bark}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(period, w.look)
	return w
}

func (w *watchdog) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stopped:
	case w.seen < minProgress:
		w.stopped = true
		w.bark()
	default:
		w.seen = 0
		w.timer.Reset(w.period)
	}
}

func (w *watchdog) progress(n int) {
	w.mu.Lock()
	w.seen += n
	w.mu.Unlock()
}

func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}
