package githubapp

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/polset/polset"
)

var (
	errTooLong   = errors.New("the answer is too long")
	errNotGitHub = errors.New("the answer is not GitHub's JSON")
)

// A fault is an answer that is no success, or the want of one. It unwraps to
// the *polset.Failure that it means, or to the caller's own context error.
type fault struct {
	operation string
	status    int    // 0: there was no answer
	said      string // GitHub's message, in one line and without credentials
	taken     bool   // what people see may have changed
	cause     error
}

func (f *fault) Error() string {
	switch {
	case f.status != 0 && f.said != "":
		return fmt.Sprintf("%s: status %d, %s: %v", f.operation, f.status, f.said, f.cause)
	case f.status != 0:
		return fmt.Sprintf("%s: status %d: %v", f.operation, f.status, f.cause)
	}
	return fmt.Sprintf("%s: %v", f.operation, f.cause)
}

func (f *fault) Unwrap() error { return f.cause }

// faultOf returns the fault that err is, unless somebody judged it already.
func faultOf(err error) *fault {
	for ; err != nil; err = errors.Unwrap(err) {
		switch e := err.(type) { //nolint:errorlint // the loop unwraps, and stops at a judgement
		case *fault:
			return e
		case *polset.Failure:
			return nil
		}
	}
	return nil
}

// statusOf returns the status of the answer that err is; 0 where it is none.
func statusOf(err error) int {
	if f := faultOf(err); f != nil {
		return f.status
	}
	return 0
}

// saidOf returns GitHub's message in lower case.
func saidOf(err error) string {
	if f := faultOf(err); f != nil {
		return strings.ToLower(f.said)
	}
	return ""
}

// mayHaveTaken reports whether the request that failed may have taken effect.
func mayHaveTaken(err error) bool {
	f := faultOf(err)
	return f != nil && f.taken
}

// means returns err as the failure that the caller knows it to be.
func means(err error, class polset.Class, format string, args ...any) error {
	f := polset.Fail(class, format, args...)
	f.Err = err
	return f
}

// unanswered judges a request without a usable answer.
func (c *Client) unanswered(outer, inner context.Context, target *url.URL, q question, err error) error {
	var dial *net.OpError
	f := &fault{operation: q.operation, taken: q.mutates}
	if errors.As(err, &dial) && dial.Op == "dial" {
		f.taken = false
	}
	if outer.Err() != nil {
		f.cause = outer.Err()
		return f
	}
	var unknownCA x509.UnknownAuthorityError
	var badCert x509.CertificateInvalidError
	var badHost x509.HostnameError
	var dns *net.DNSError
	var known *polset.Failure
	what, hung := "the connection failed", false
	switch {
	case errors.As(err, &known): // the guard's
		f.cause, f.taken = err, false
		return f
	case errors.As(err, &unknownCA), errors.As(err, &badCert), errors.As(err, &badHost):
		// Certificates are renewed, and proxies repaired. Nothing was sent.
		f.taken = false
		f.cause = &polset.Failure{
			Class: polset.ClassURLForbidden, Retry: true, Err: err,
			Message: fmt.Sprintf("polset does not trust the certificate of %s.", target.Host),
		}
		return f
	case errors.Is(err, errTooLong):
		f.cause = means(err, polset.ClassLimit, "%s answered more than %d MiB when polset wanted to %s; polset stopped reading it.",
			target.Host, maxAnswer>>20, q.doing)
		return f
	case errors.Is(err, errNotGitHub):
		what = "what it answered is not GitHub's API"
	case inner.Err() != nil:
		what, hung = fmt.Sprintf("it gave no answer within %s", c.timeout), true
		if originOf(target) != originOf(c.api) && originOf(target) != originOf(c.web) {
			// A host that hangs must not hold up the work for others.
			c.patience.wait(hostKey(target), time.Minute)
		}
	case errors.As(err, &dns):
		what = "its name could not be resolved"
	}
	f.cause = &polset.Failure{
		Class: polset.ClassTimeout, Retry: true, Hung: hung, Err: err,
		Message: fmt.Sprintf("%s did not answer usefully when polset wanted to %s: %s.", target.Host, q.doing, what),
	}
	return f
}

// refused judges an answer that is no success.
func (c *Client) refused(target *url.URL, who credential, q question, response *http.Response, body []byte) error {
	f := &fault{operation: q.operation, status: response.StatusCode, said: message(body, who.token, q.secret)}
	if wait, ok := limit(response, f.said, c.now()); ok {
		c.patience.wait(who.lane(), wait)
		f.cause = limited(target.Host, q, wait, nil)
		return f
	}
	switch s := f.status; {
	case s == http.StatusUnauthorized:
		f.cause = polset.Fail(polset.ClassAuth,
			"%s does not accept the credential with which polset wanted to %s: check that it is valid and has not expired.", target.Host, q.doing)
	case s == http.StatusForbidden:
		f.cause = polset.Fail(polset.ClassAuth, "%s does not let polset %s; it says %s.", target.Host, q.doing, quote(f.said))
	case s == http.StatusNotFound, s == http.StatusGone, s == http.StatusUnavailableForLegalReasons:
		f.cause = polset.Fail(polset.ClassAuth,
			"%s answered %d when polset wanted to %s: GitHub does not tell what is missing from what the credential may not see; check both.", target.Host, s, q.doing)
	case s >= 500, s == http.StatusRequestTimeout, s == http.StatusConflict:
		f.taken = q.mutates
		f.cause = &polset.Failure{
			Class: polset.ClassTimeout, Retry: true, RetryAfter: retryAfter(response.Header, c.now()),
			Message: fmt.Sprintf("%s answered %d when polset wanted to %s.", target.Host, s, q.doing),
		}
	default:
		f.cause = polset.Fail(polset.ClassInternal, "%s answered %d when polset wanted to %s; it says %s.", target.Host, s, q.doing, quote(f.said))
	}
	return f
}

// limited is the failure of a call that must wait.
func limited(host string, q question, wait time.Duration, err error) *polset.Failure {
	return &polset.Failure{
		Class: polset.ClassTimeout, Retry: true, RetryAfter: wait, Err: err,
		Message: fmt.Sprintf("%s limits the rate of requests; polset will %s when the limit has passed.", host, q.doing),
	}
}

// message returns what GitHub says in an error, in one line. Whoever runs the
// host chose the words, so the token is taken out of them.
func message(body []byte, secrets ...polset.Secret) string {
	var said struct {
		Message string            `json:"message"`
		Errors  []json.RawMessage `json:"errors"`
	}
	if err := json.Unmarshal(body, &said); err != nil || said.Message == "" {
		said.Message = string(body)
	}
	parts := []string{said.Message}
	for _, raw := range said.Errors {
		var e struct {
			Message string `json:"message"`
		}
		var plain string
		if json.Unmarshal(raw, &e) == nil && e.Message != "" {
			parts = append(parts, e.Message)
		} else if json.Unmarshal(raw, &plain) == nil {
			parts = append(parts, plain)
		}
	}
	s := strings.Join(parts, "; ")
	for _, secret := range secrets {
		if !secret.Empty() {
			s = strings.ReplaceAll(s, secret.Reveal(), secret.String())
		}
	}
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "�")), " ")
	if len(s) > 500 {
		s = strings.ToValidUTF8(s[:500], "") + "…"
	}
	return s
}
