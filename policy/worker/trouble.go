package worker

import (
	"errors"
	"time"

	"github.com/polset/polset"
)

// A trouble is an error on its way from a worker to the server, where it becomes
// what it would have been there in the first place.
type trouble struct {
	Text    string   `json:"text"`              // all of it
	Failure *failure `json:"failure,omitempty"` // in its chain
	Fault   int      `json:"fault,omitempty"`   // the number of the one in its chain
	Over    bool     `json:"over,omitempty"`    // the budget is used up
}

// A failure is a polset.Failure without its cause.
type failure struct {
	Class       polset.Class        `json:"class"`
	Message     string              `json:"message"`
	Retry       bool                `json:"retry,omitempty"`
	RetryAfter  time.Duration       `json:"retry_after,omitempty"`
	Hung        bool                `json:"hung,omitempty"`
	Diagnostics []polset.Diagnostic `json:"diagnostics,omitempty"`
	Cause       string              `json:"cause,omitempty"`
}

// maxTrouble is how long the text of an error may be; it is for the log.
const maxTrouble = 16 << 10

// troubleOf sends an error on its way; nil where there is none.
func troubleOf(err error) *trouble {
	if err == nil {
		return nil
	}
	t := &trouble{Text: head(err.Error(), maxTrouble)}
	var f *polset.Failure
	if errors.As(err, &f) {
		t.Failure = &failure{
			Class: f.Class, Message: f.Message, Retry: f.Retry, RetryAfter: f.RetryAfter, Hung: f.Hung,
			Diagnostics: f.Diagnostics,
		}
		if f.Err != nil {
			t.Failure.Cause = head(f.Err.Error(), maxTrouble)
		}
	}
	var far *faultError
	if errors.As(err, &far) {
		t.Fault = far.Number
	}
	return t
}

// error is the error that arrives; faults are those of the server's file system,
// by their numbers.
func (t *trouble) error(faults []error) error {
	arrived := &arrivedError{text: t.Text}
	if t.Fault > 0 && t.Fault <= len(faults) {
		arrived.cause = faults[t.Fault-1]
	}
	if t.Failure == nil {
		return arrived
	}
	f := &polset.Failure{
		Class: t.Failure.Class, Message: t.Failure.Message, Retry: t.Failure.Retry,
		RetryAfter: t.Failure.RetryAfter, Hung: t.Failure.Hung, Diagnostics: t.Failure.Diagnostics,
	}
	if t.Failure.Cause != "" || arrived.cause != nil {
		f.Err = &arrivedError{t.Failure.Cause, arrived.cause}
	}
	return f
}

// An arrivedError is an error of a worker. It reads as it did there, and wraps
// the error of the server's file system that was its cause, if one was.
type arrivedError struct {
	text  string
	cause error
}

func (e *arrivedError) Error() string { return e.text }
func (e *arrivedError) Unwrap() error { return e.cause }

// head cuts a text.
func head(s string, most int) string {
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
