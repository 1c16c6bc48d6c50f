package policy

import (
	"fmt"
	"runtime/debug"

	"github.com/polset/polset"
)

// guard calls f, which hands untrusted content of file to a parser that is
// not ours, and turns a panic of it into a failure: one broken file must not
// take the process, and with it everybody's work, down. (A stack that
// overflows cannot be caught; that is what the bounds on nesting are for.)
func guard(file string, f func() error) (err error) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		invalid := &Invalid{Diagnostics: []polset.Diagnostic{{
			File: file, Line: 1, Column: 1,
			Message: "the parser broke down on this file; simplify what it holds, and please report it to the operator of polset",
		}}}
		err = invalid.failure(polset.ClassPolicyInvalid, fmt.Errorf("%w: panic: %v\n%s", invalid, r, debug.Stack()))
	}()
	return f()
}
