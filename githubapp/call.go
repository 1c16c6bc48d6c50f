package githubapp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/polset/polset"
)

const (
	maxRedirects  = 3 // GitHub sends one for a renamed repository
	maxAnswer     = 4 << 20
	maxErrorBytes = 64 << 10
	apiVersion    = "2022-11-28"
)

// A question is one call of the REST API.
type question struct {
	operation string // for logs and metrics: a few constants
	doing     string // completes "polset wanted to …" in sentences for people
	method    string
	path      string // below the base, escaped
	query     url.Values
	body      any // nil: none
	into      any // what the answer's JSON is read into; nil: it is not read
	// mutates says that it makes something that people see: GitHub wants these
	// one after the other.
	mutates bool
	// modest says that nobody waits for the answer: see credential.
	modest bool
	// secret is in the body; GitHub's own words shall not bring it into a log.
	secret polset.Secret
	accept string // application/vnd.github+json by default
}

// An answer is what is left of a successful one after its body was read.
type answer struct {
	status int
	header http.Header
}

// next returns a parameter of the link to the next page; "" on the last page.
// The link itself is never followed: it could lead anywhere.
func (a *answer) next(parameter string) string {
	for _, links := range a.header.Values("Link") {
		for link := range strings.SplitSeq(links, ",") {
			target, relation, _ := strings.Cut(strings.TrimSpace(link), ">")
			if !strings.Contains(relation, `rel="next"`) {
				continue
			}
			if u, err := url.Parse(strings.TrimPrefix(target, "<")); err == nil {
				return u.Query().Get(parameter)
			}
		}
	}
	return ""
}

// A credential is what a request is made with.
type credential struct {
	key   string // names it among those that have limits of their own
	token polset.Secret
	// modest is for questions that nobody waits for. They stop while less than
	// a quarter of the limit is left, and where they come too fast, only they
	// are held.
	modest bool
}

// lane names those who wait when a question with this credential has to.
func (c credential) lane() string {
	if c.modest {
		return c.key + " modestly"
	}
	return c.key
}

// send makes a request, and those that redirects within the same scheme, host
// and port ask for. Its errors are *fault.
func (c *Client) send(ctx context.Context, base *url.URL, who credential, q question) (*answer, error) {
	var body []byte
	if q.body != nil {
		var err error
		if body, err = json.Marshal(q.body); err != nil {
			return nil, fmt.Errorf("%s: marshal the body: %w", q.operation, err)
		}
	}
	if q.mutates {
		release, err := c.mutations.take(ctx, who.key)
		if err != nil {
			return nil, &fault{operation: q.operation, cause: err}
		}
		defer release()
	}
	target := *base
	target.RawPath = base.EscapedPath() + q.path
	path, err := url.PathUnescape(target.RawPath)
	if err != nil {
		return nil, fmt.Errorf("%s: make the path: %w", q.operation, err)
	}
	target.Path, target.RawQuery = path, q.query.Encode()
	for hop := 0; ; hop++ {
		a, location, err := c.sendOnce(ctx, &target, who, q, body)
		if err != nil || location == "" {
			return a, err
		}
		to, err := target.Parse(location)
		if err != nil || originOf(to) != originOf(&target) || to.User != nil {
			shown := "nowhere"
			if err == nil {
				shown = quote(to.Scheme + "://" + to.Host)
			}
			return nil, &fault{operation: q.operation, status: a.status, cause: polset.Fail(polset.ClassURLForbidden,
				"%s redirects to another address, %s, when polset wants to %s; polset follows redirects on the same scheme, host and port only.",
				target.Host, shown, q.doing)}
		}
		if hop == maxRedirects {
			return nil, &fault{operation: q.operation, status: a.status, cause: polset.Fail(polset.ClassURLForbidden,
				"%s redirects more than %d times when polset wants to %s.", target.Host, maxRedirects, q.doing)}
		}
		target = *to
		target.Fragment = ""
	}
}

// sendOnce makes one request. A location says that it must be made there.
func (c *Client) sendOnce(outer context.Context, target *url.URL, who credential, q question, body []byte) (a *answer, location string, err error) {
	code := "none"
	started := time.Now()
	defer func() {
		c.requests.WithLabelValues(q.operation, code).Inc()
		c.log.Debug("asked GitHub", zap.String("operation", q.operation), zap.String("host", target.Host),
			zap.String("code", code), zap.Duration("elapsed", time.Since(started)))
	}()
	host := hostKey(target)
	if wait := max(c.patience.left(who.key), c.patience.left(who.lane()), c.patience.left(host)); wait > 0 {
		code = "held"
		return nil, "", &fault{operation: q.operation, cause: limited(target.Host, q, wait, nil)}
	}

	ctx, cancel := context.WithTimeout(outer, c.timeout)
	defer cancel()
	var reader io.Reader = http.NoBody
	if body != nil {
		reader = bytes.NewReader(body)
	}
	request, err := http.NewRequestWithContext(ctx, q.method, target.String(), reader)
	if err != nil {
		return nil, "", fmt.Errorf("%s: make the request: %w", q.operation, err)
	}
	request.Header.Set("Accept", cmp.Or(q.accept, "application/vnd.github+json"))
	request.Header.Set("X-GitHub-Api-Version", apiVersion)
	request.Header.Set("User-Agent", c.agent)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if !who.token.Empty() {
		request.Header.Set("Authorization", "Bearer "+who.token.Reveal())
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, "", c.unanswered(outer, ctx, target, q, unwrapURL(err))
	}
	defer func() { _ = response.Body.Close() }() // nothing was written
	code = strconv.Itoa(response.StatusCode)
	a = &answer{status: response.StatusCode, header: response.Header}

	switch s := response.StatusCode; {
	case s >= 200 && s < 300:
		c.exhausted(who, response.Header)
		if err := c.read(response.Body, q.into); err != nil {
			return nil, "", c.unanswered(outer, ctx, target, q, err)
		}
		return a, "", nil
	case redirects(s) && response.Header.Get("Location") != "":
		return a, response.Header.Get("Location"), nil
	}
	said, err := io.ReadAll(io.LimitReader(response.Body, maxErrorBytes))
	if err != nil && ctx.Err() != nil {
		return nil, "", c.unanswered(outer, ctx, target, q, err)
	}
	return nil, "", c.refused(target, who, q, response, said)
}

// read reads the JSON of an answer. What is left of a short one is read as
// well, so that the connection can be used again.
func (c *Client) read(body io.Reader, into any) error {
	b, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the answer: %w", err)
	case len(b) > maxAnswer:
		return errTooLong
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%w: %w", errNotGitHub, err)
	}
	return nil
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// unwrapURL removes net/http's own wrapping, which quotes the URL.
func unwrapURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// pages bounds how many pages of any list are read.
const pages = 1000

// each asks for all pages of a list that are numbered. get asks for one, with
// the query that it is given, and reports whether another is wanted.
func each(query url.Values, get func(url.Values) (a *answer, more bool, err error)) error {
	for range pages {
		a, more, err := get(query)
		if err != nil {
			return err
		}
		next := a.next("page")
		if !more || next == "" {
			return nil
		}
		query.Set("page", next)
	}
	return tooManyPages()
}

func tooManyPages() error {
	return polset.Fail(polset.ClassLimit, "GitHub's list has more than %d pages, the limit of polset.", pages)
}
