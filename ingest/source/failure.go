package source

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/polset/polset"
)

// A refusal says that the server does not do what was asked in this way, so
// that the next plan is worth trying. Its failure counts when none is left.
type refusal struct {
	failure  *polset.Failure
	filter   bool // it said that filters are what it does not do
	notFound bool // it said that it does not have, or not show, the object
}

func (e *refusal) Error() string { return e.failure.Error() }
func (e *refusal) Unwrap() error { return e.failure }

// A remoteError is what the server said in the protocol's own words.
type remoteError struct {
	text   string
	inPack bool
}

func (e *remoteError) Error() string { return "the git server said: " + e.text }

// excerpt keeps the beginning of a server's message, in one line.
func excerpt(b []byte) string {
	if len(b) > 256 {
		b = b[:256]
	}
	return strings.ToValidUTF8(strings.Join(strings.Fields(string(b)), " "), "�")
}

// remoteFailure judges what the server said of a request for wants.
func (r *repository) remoteFailure(e *remoteError) error {
	text := strings.ToLower(e.text)
	switch {
	case strings.Contains(text, "not our ref"), strings.Contains(text, "not valid"):
		return &refusal{notFound: true, failure: r.corrupt("does not have an object that the commit names", e)}
	case e.inPack, strings.Contains(text, "corrupt"), strings.Contains(text, "pack-objects"), strings.Contains(text, "bad object"):
		return r.corrupt("failed while it packed the objects", e)
	case strings.Contains(text, "access denied"), strings.Contains(text, "repository not found"):
		f := r.authFailure(http.StatusNotFound, e)
		f.Message = fmt.Sprintf("The git server hides %s: %s.", r.remote.shown, r.remote.credential.why(http.StatusNotFound))
		return f
	}
	return &refusal{
		filter:  strings.Contains(text, "filter"),
		failure: r.corrupt("refused the request", e),
	}
}

// corrupt is the failure of a server whose answer does not hold together.
func (r *repository) corrupt(what string, err error) *polset.Failure {
	return &polset.Failure{
		Class:   polset.ClassGitCorrupt,
		Message: fmt.Sprintf("The git server of %s %s. If this stays so, the repository is damaged: run git fsck in a fresh clone, and ask the operator of the git server.", r.remote.shown, what),
		Retry:   true,
		Err:     err,
	}
}

// unusable is the failure of a server that did not answer usefully in time.
func (r *repository) unusable(what string, after time.Duration, err error) *polset.Failure {
	return &polset.Failure{
		Class:      polset.ClassTimeout,
		Message:    fmt.Sprintf("The git server of %s did not answer usefully in time: %s.", r.remote.shown, what),
		Retry:      true,
		RetryAfter: after,
		Err:        err,
	}
}

// hung marks a failure that took all the time that it was given.
func hung(f *polset.Failure) *polset.Failure {
	f.Hung = true
	return f
}

func (r *repository) authFailure(status int, err error) *polset.Failure {
	c := r.remote.credential
	if c.denied != nil {
		err = errors.Join(err, c.denied) // the log should know both
	}
	return &polset.Failure{
		Class:   polset.ClassAuth,
		Message: fmt.Sprintf("The git server answered %d for %s: %s.", status, r.remote.shown, c.why(status)),
		Err:     err,
	}
}

func (r *repository) limitFailure(err error, format string, args ...any) *polset.Failure {
	f := polset.Fail(polset.ClassLimit, format, args...)
	f.Err = err
	return f
}

// commitNotFound is worth another attempt for a while: replicas lag.
func (r *repository) commitNotFound(commit plumbing.Hash, err error) *polset.Failure {
	return &polset.Failure{
		Class:   polset.ClassCommitNotFound,
		Message: fmt.Sprintf("The commit %s does not exist in %s, or its git server no longer gives it out; push again.", commit, r.remote.shown),
		Retry:   true,
		Err:     err,
	}
}

// streamFailure judges an error of the connection, or of what it carried.
func (r *repository) streamFailure(ctx context.Context, err error) error {
	var forbidden *forbiddenAddressError
	var unknownCA x509.UnknownAuthorityError
	var badCert x509.CertificateInvalidError
	var badHost x509.HostnameError
	var said *remoteError
	var tooLong *answerTooLongError
	var known *polset.Failure
	var refused *refusal
	var large *packTooLargeError
	host := r.remote.url.Hostname()
	switch cause := context.Cause(ctx); {
	case err == nil:
		return nil
	case errors.As(err, &forbidden): // known as well, but here the repository can be named
		f := polset.Fail(polset.ClassURLForbidden,
			"polset does not dial %s for %s: its address is not a public one. The operator can allow the network by POLSET_ALLOW_PRIVATE_NETWORKS.", host, r.remote.shown)
		f.Err = forbidden
		return f
	case errors.As(err, &refused), errors.As(err, &known), errors.As(err, &large):
		return err
	case errors.Is(cause, errStalled):
		return hung(r.unusable("its answer stalled", 0, cause))
	case late(ctx):
		return hung(r.unusable("the time limit was reached", 0, cause))
	case errors.Is(cause, context.Canceled):
		return fmt.Errorf("talk to %s: %w", r.remote.shown, cause)
	case errors.As(err, &unknownCA), errors.As(err, &badCert), errors.As(err, &badHost):
		f := polset.Fail(polset.ClassURLForbidden, "polset does not trust the certificate of %s.", host)
		f.Err = err
		return f
	case errors.As(err, &said):
		return r.remoteFailure(said)
	case errors.As(err, &tooLong), errors.Is(err, errProgress):
		return r.limitFailure(err, "The git server of %s sent an answer without an end; polset stopped reading it.", r.remote.shown)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return r.corrupt("broke off in the middle of its answer", err)
	case errors.Is(err, errPkt):
		return r.corrupt("sent an answer that is not git's protocol", err)
	}
	what := "the connection failed"
	var dns *net.DNSError
	if errors.As(err, &dns) {
		what = "the name " + host + " could not be resolved"
	}
	return r.unusable(what, 0, err)
}

// maxRetryAfter bounds the wait that a server may ask for: GitHub's limits
// are by the hour.
const maxRetryAfter = time.Hour

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
		if s, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			wait = time.Unix(s, 0).Sub(now)
		}
	}
	return min(max(wait, 0), maxRetryAfter)
}

// statusFailure judges an answer that is no success.
func (r *repository) statusFailure(status int, h http.Header, body []byte) error {
	err := fmt.Errorf("status %d: %s", status, excerpt(body))
	after := retryAfter(h, time.Now())
	said := strings.ToLower(string(body))
	limited := h.Get("X-RateLimit-Remaining") == "0" || h.Get("Retry-After") != "" ||
		strings.Contains(said, "rate limit") || strings.Contains(said, "abuse detection")
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusForbidden && limited:
		return r.unusable("it limits the rate of requests", after, err)
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound:
		return r.authFailure(status, err)
	case status == http.StatusBadRequest, status == http.StatusMethodNotAllowed, status == http.StatusNotAcceptable,
		status == http.StatusUnsupportedMediaType, status == http.StatusNotImplemented:
		return &refusal{failure: r.unusable(fmt.Sprintf("it answered %d", status), after, err)}
	}
	return r.unusable(fmt.Sprintf("it answered %d", status), after, err)
}
