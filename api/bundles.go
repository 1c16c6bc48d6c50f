package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/polset/polset"
)

// VersionsInForce knows which version of a policy set is in force.
type VersionsInForce interface {
	// VersionInForce finds a policy set by names. Where no version is in force,
	// the version is the zero one.
	VersionInForce(ctx context.Context, by polset.Principal, organization, policySet string) (polset.PolicySet, polset.Version, error)
	// VersionsInForce returns the ids of the versions in force by those of their
	// policy sets, "" or nothing where there is none, for whoever has found the
	// sets already.
	VersionsInForce(ctx context.Context, policySetIDs []string) (map[string]string, error)
}

// Bundles makes OPA bundles of versions.
type Bundles interface {
	// Tag names the bundle of a version: equal tags are equal bundles, on every
	// node.
	Tag(v polset.Version) string
	// Open returns the bundle and its size in bytes. A *polset.Failure that may
	// not be retried says why OPA would not load it.
	Open(ctx context.Context, v polset.Version) (io.ReadCloser, int64, error)
}

const (
	bundlePattern = "/bundles/:organization/:bundle"
	bundleParam   = "bundle"
	bundleSuffix  = ".tar.gz"

	// bundleType tells an agent that it may wait for the next bundle; without it,
	// it asks again and again.
	bundleType = "application/vnd.openpolicyagent.bundles"
	// longestWait is how long a request may wait, whatever its agent prefers: the
	// agent asks again at once.
	longestWait = 2 * time.Minute
	// maxWaiting bounds the requests that wait at once, and maxWaitingEach is the
	// share of one organization.
	maxWaiting     = 4000
	maxWaitingEach = 1000
)

func (a *API) bundleRoutes() []Route {
	op := sendsBytes("Download the version in force of an OPA policy set, as a bundle")
	return []Route{
		{http.MethodGet, bundlePattern, AccessToken, polset.PermissionRead, a.downloadBundle, op},
		{http.MethodHead, bundlePattern, AccessToken, polset.PermissionRead, a.downloadBundle, op},
	}
}

// bundleOf returns the name of the policy set whose bundle a path names.
func bundleOf(param string) string {
	name, ok := strings.CutSuffix(param, bundleSuffix)
	if !ok {
		return "" // which is no name
	}
	return name
}

// downloadBundle answers with the bundle of what is in force. An agent that has
// it already is told so: at once, or, where it prefers to wait, when something
// else is in force or its patience ends.
func (a *API) downloadBundle(r *request) error {
	v, err := a.inForce(r)
	if err != nil {
		return err
	}
	known := r.Request().Header.Get("If-None-Match")
	waitable := true
	if wait := preferredWait(r.Request()); wait > 0 && matches(known, a.bundleTag(v)) {
		leave, err := a.waiting.take(r.by)
		if err != nil {
			// A 304 would have the agent ask again at once. The bundle once more,
			// under another type, makes it an agent that asks now and then.
			known, waitable = "", false
		} else {
			v, err = a.nextInForce(r, v, known, wait)
			leave()
			if err != nil {
				return err
			}
		}
	}
	tag := a.bundleTag(v)
	if matches(known, tag) {
		a.tagBundle(r, tag)
		return r.NoContent(http.StatusNotModified)
	}
	return a.sendBundle(r, v, waitable)
}

// inForce returns the version in force that the path names.
func (a *API) inForce(r *request) (polset.Version, error) {
	set, v, err := a.VersionsInForce.VersionInForce(r.ctx(), r.by, r.Param("organization"), bundleOf(r.Param(bundleParam)))
	if err == nil && (set.Kind != polset.KindOPA || v.Status != polset.VersionReady) {
		err = polset.ErrNotFound
	}
	return v, err
}

// nextInForce waits until the bundle of what is in force is another than those
// that the agent knows, and returns the version in force then.
func (a *API) nextInForce(r *request, v polset.Version, known string, wait time.Duration) (polset.Version, error) {
	until := time.Now().Add(wait)
	// The server's own deadline is that of a request that is answered at once.
	err := extend(http.NewResponseController(r.Response()).SetWriteDeadline, until.Add(answerTime))
	for err == nil && matches(known, a.bundleTag(v)) {
		if !a.watch.wait(r.ctx(), v.PolicySetID, v.ID, time.Until(until)) {
			return v, r.ctx().Err()
		}
		// It may be a while since the token was looked at.
		if r.by, err = a.authenticate(r.Context); err != nil {
			break
		}
		if !r.by.Can(polset.PermissionRead) {
			return v, polset.ErrNotFound
		}
		v, err = a.inForce(r)
	}
	return v, err
}

func (a *API) bundleTag(v polset.Version) string { return `"` + a.Bundles.Tag(v) + `"` }

func (a *API) tagBundle(r *request, tag string) {
	r.Response().Header().Set("ETag", tag)
	r.Response().Header().Set("Cache-Control", "private, no-cache")
}

// sendBundle streams a bundle.
func (a *API) sendBundle(r *request, v polset.Version, waitable bool) (err error) {
	content, size, err := a.Bundles.Open(r.ctx(), v)
	var failure *polset.Failure
	if errors.As(err, &failure) && !failure.Retry {
		return problem{Status: http.StatusConflict, Title: "no bundle", Detail: fmt.Sprintf("Version %s, which is in force, cannot be an OPA bundle: %s", v.ID, failure.Message)}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	kind := bundleType
	if !waitable {
		kind = "application/gzip"
	}
	a.tagBundle(r, a.bundleTag(v))
	header := r.Response().Header()
	header.Set(echo.HeaderContentType, kind)
	header.Set(echo.HeaderContentLength, strconv.FormatInt(size, 10))
	r.Response().WriteHeader(http.StatusOK)
	if r.Request().Method == http.MethodHead {
		return nil
	}
	if _, err := io.Copy(r.Response(), content); err != nil {
		return fmt.Errorf("stream the bundle of version %s: %w", v.ID, err)
	}
	return nil
}

// preferredWait is how long the client prefers to wait for an answer (RFC
// 7240), 0 where it does not: OPA sends modes=snapshot,delta;wait=10.
func preferredWait(req *http.Request) time.Duration {
	if req.Method != http.MethodGet {
		return 0
	}
	for _, line := range req.Header.Values("Prefer") {
		for preference := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ',' || r == ';' }) {
			name, value, _ := strings.Cut(preference, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			seconds, err := strconv.ParseInt(strings.Trim(strings.TrimSpace(value), `"`), 10, 32)
			if err != nil || seconds < 0 {
				return 0
			}
			return min(time.Duration(seconds)*time.Second, longestWait)
		}
	}
	return 0
}
