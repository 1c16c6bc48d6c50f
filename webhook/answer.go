package webhook

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/polset/polset"
)

// The outcomes of a delivery: the "status" of an answer and the label of
// polset_deliveries_total. Those from codeUnsupported on are refusals and
// stand in "error".
const (
	statusAccepted  = "accepted"
	statusDuplicate = "duplicate"
	statusIgnored   = "ignored"

	codeUnsupported   = "unsupported-media-type"
	codeTooLarge      = "too-large"
	codeUnauthorized  = "unauthorized"
	codeNotFound      = "not-found"
	codeMalformed     = "malformed"
	codeUnprocessable = "unprocessable"
	codeTimeout       = "timeout"
	codeBusy          = "busy"
	codeUnavailable   = "unavailable"
)

// An answer is what GitHub is told of a delivery that was committed.
type answer struct {
	Status     string   `json:"status"`
	Delivery   string   `json:"delivery"`
	Ingestions []string `json:"ingestions,omitempty"`
	Effect     string   `json:"effect,omitempty"`
	Reason     string   `json:"reason,omitempty"`

	begun bool // something of it goes on after the answer: a push
}

func (a answer) code() int {
	if a.begun {
		return http.StatusAccepted
	}
	return http.StatusOK
}

// answerFor says what became of a delivery in the words of its receipt.
func answerFor(guid string, r polset.Receipt) answer {
	a := answer{Status: statusAccepted, Delivery: guid, Ingestions: r.Ingestions, Effect: r.Effect}
	switch {
	case r.Duplicate:
		a.Status, a.Reason = statusDuplicate, r.Ignored
	case r.Ignored != "":
		a.Status, a.Reason = statusIgnored, r.Ignored
	}
	return a
}

// A refusal is an error that GitHub's delivery log shows. Its message is for
// the person who reads that log; its cause goes to polset's own log only.
type refusal struct {
	status     int
	code       string
	message    string
	cause      error
	retryAfter time.Duration
}

func refuse(status int, code, message string) *refusal {
	return &refusal{status: status, code: code, message: message}
}

func (r *refusal) because(err error) *refusal {
	r.cause = err
	return r
}

func (r *refusal) Error() string {
	if r.cause != nil {
		return r.message + ": " + r.cause.Error()
	}
	return r.message
}

func (r *refusal) Unwrap() error { return r.cause }

// unavailable is for what another attempt may heal.
func unavailable(message string, cause error) *refusal {
	r := refuse(http.StatusServiceUnavailable, codeUnavailable, message).because(cause)
	r.retryAfter = 30 * time.Second
	return r
}

// asRefusal gives every error the form of a refusal. One that is none says
// nothing of itself to the outside.
func asRefusal(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	return unavailable("polset could not record the delivery: deliver it again later", err)
}

type problem struct {
	Error   string `json:"error"`
	Message string `json:"message"`
}

func (r *refusal) write(c echo.Context) error {
	if r.retryAfter > 0 {
		seconds := int(math.Ceil(r.retryAfter.Seconds()))
		c.Response().Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	return c.JSON(r.status, problem{Error: r.code, Message: r.message})
}

func methodNotAllowed(c echo.Context) error {
	c.Response().Header().Set("Allow", http.MethodPost)
	return c.JSON(http.StatusMethodNotAllowed, problem{Error: "method-not-allowed", Message: "webhooks are delivered by POST"})
}
