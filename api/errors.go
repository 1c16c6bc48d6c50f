package api

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/polset/polset"
)

// A problem is one error for the client, in JSON:API's terms.
type problem struct {
	Status    int
	Title     string
	Detail    string
	Pointer   string // into the request's document
	Parameter string // of the query
}

// Error implements error.
func (p problem) Error() string {
	return fmt.Sprintf("%d %s: %s", p.Status, p.Title, p.Detail)
}

// problems are the errors of one request, all that were found.
type problems []problem

// Error implements error.
func (ps problems) Error() string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.Error()
	}
	return strings.Join(texts, "; ")
}

// orNil returns ps as an error, nil when there is none.
func (ps problems) orNil() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// invalid says what is wrong with an attribute. It is a path below
// /data/attributes, such as vcs-repo/branch.
func invalid(attribute, format string, args ...any) problem {
	return problem{
		Status:  http.StatusUnprocessableEntity,
		Title:   "invalid attribute",
		Detail:  fmt.Sprintf(format, args...),
		Pointer: "/data/attributes/" + attribute,
	}
}

// badParameter says what is wrong with a query parameter.
func badParameter(name, format string, args ...any) problem {
	return problem{
		Status:    http.StatusBadRequest,
		Title:     "invalid query parameter",
		Detail:    fmt.Sprintf(format, args...),
		Parameter: name,
	}
}

// conflict says what stands in the way of a request that is well formed.
func conflict(format string, args ...any) problem {
	return problem{Status: http.StatusConflict, Title: "conflict", Detail: fmt.Sprintf(format, args...)}
}

// nameTaken turns the store's conflict over a name into what HCP Terraform
// answers; any other error passes.
func nameTaken(err error) error {
	if errors.Is(err, polset.ErrConflict) {
		return invalid("name", "Name has already been taken")
	}
	return err
}

// errForbidden answers for what is not there, or not the asker's, where Scalr's
// API answers so: it must not tell which of the two.
var errForbidden = problem{Status: http.StatusForbidden, Title: "forbidden", Detail: "There is no such thing, or it is not yours."}

// rateLimitError refuses a request for a while.
type rateLimitError struct{ wait time.Duration }

// Error implements error.
func (t rateLimitError) Error() string { return fmt.Sprintf("too many requests, wait %s", t.wait) }

// errorDocument is JSON:API's document of errors.
type errorDocument struct {
	Errors []errorObject `json:"errors"`
}

// errorObject is JSON:API's error object.
type errorObject struct {
	Status string       `json:"status"`
	Title  string       `json:"title"`
	Detail string       `json:"detail,omitempty"`
	Source *errorSource `json:"source,omitempty"`
}

type errorSource struct {
	Pointer   string `json:"pointer,omitempty"`
	Parameter string `json:"parameter,omitempty"`
}

// answer turns err into an error document: the one place where errors get
// their status. A 404 never says why, so that it cannot tell whether
// something exists; a 500 says no more than where to look.
func (a *API) answer(r *request, requestID string, err error) {
	if r.Response().Committed {
		return // an object's bytes were already on their way
	}
	ps := explain(r.ctx(), requestID, err)
	header := r.Response().Header()
	var limited rateLimitError
	var failure *polset.Failure
	switch {
	case errors.As(err, &limited):
		// go-tfe sleeps for X-RateLimit-Reset, in seconds with a fraction.
		header.Set("X-RateLimit-Reset", fractional(limited.wait))
		header.Set("Retry-After", wholeSeconds(limited.wait))
	case ps[0].Status == http.StatusUnauthorized:
		header.Set("WWW-Authenticate", `Bearer realm="polset"`)
	case ps[0].Status == http.StatusServiceUnavailable:
		header.Set("Retry-After", "5")
		if errors.As(err, &failure) && failure.RetryAfter > 0 {
			header.Set("Retry-After", wholeSeconds(failure.RetryAfter))
		}
	}
	objects := make([]errorObject, len(ps))
	for i, p := range ps {
		objects[i] = errorObject{Status: strconv.Itoa(p.Status), Title: p.Title, Detail: p.Detail}
		if p.Pointer != "" || p.Parameter != "" {
			objects[i].Source = &errorSource{Pointer: p.Pointer, Parameter: p.Parameter}
		}
	}
	// The client may be gone; there is nobody else to tell.
	_ = r.send(ps[0].Status, errorDocument{objects})
}

// wholeSeconds is a wait as Retry-After has it, never too short.
func wholeSeconds(wait time.Duration) string {
	return strconv.Itoa(int(math.Ceil(wait.Seconds())))
}

func explain(ctx context.Context, requestID string, err error) problems {
	var one problem
	var many problems
	var limited rateLimitError
	var failure *polset.Failure
	switch {
	case errors.As(err, &one):
		return problems{one}
	case errors.As(err, &many) && len(many) > 0:
		return many
	case errors.As(err, &limited):
		return problems{{Status: http.StatusTooManyRequests, Title: "too many requests", Detail: "You have exceeded the rate limit. Wait as long as Retry-After says."}}
	case errors.Is(err, polset.ErrUnauthorized):
		return problems{{Status: http.StatusUnauthorized, Title: "unauthorized"}}
	case errors.Is(err, polset.ErrNotFound):
		return problems{{Status: http.StatusNotFound, Title: "not found"}}
	case errors.Is(err, polset.ErrConflict):
		return problems{{Status: http.StatusConflict, Title: "conflict", Detail: "The resource is not in a state that allows this request."}}
	case errors.As(err, &failure) && failure.Retry:
		return problems{{Status: http.StatusServiceUnavailable, Title: "service unavailable", Detail: failure.Message}}
	case errors.As(err, &failure) && failure.Class == polset.ClassLimit:
		return problems{{Status: http.StatusUnprocessableEntity, Title: "limit exceeded", Detail: failure.Message}}
	case ctx.Err() != nil:
		return problems{{Status: http.StatusServiceUnavailable, Title: "service unavailable", Detail: "The request was given up before it was answered."}}
	}
	return problems{{
		Status: http.StatusInternalServerError,
		Title:  "internal server error",
		Detail: "polset could not answer this request; its log tells why under the request id " + requestID + ".",
	}}
}
