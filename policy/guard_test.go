package policy

import (
	"errors"
	"strings"
	"testing"

	"github.com/polset/polset"
)

func TestGuardTurnsAPanicIntoAFailure(t *testing.T) {
	err := guard("a/b.rego", func() error {
		var none []int
		_ = none[1]
		return nil
	})
	var failure *polset.Failure
	var invalid *Invalid
	if !errors.As(err, &failure) || !errors.As(err, &invalid) {
		t.Fatalf("got %v", err)
	}
	if failure.Class != polset.ClassPolicyInvalid || !strings.HasPrefix(failure.Message, "a/b.rego:1:1: the parser broke down") {
		t.Errorf("got %s: %s", failure.Class, failure.Message)
	}
	if len(failure.Diagnostics) != 1 || failure.Diagnostics[0].File != "a/b.rego" {
		t.Errorf("the diagnostics are %+v", failure.Diagnostics)
	}
	if strings.Contains(failure.Message, "goroutine") || !strings.Contains(failure.Err.Error(), "index out of range") {
		t.Errorf("the stack belongs in the log only: %v", failure)
	}
}

func TestGuardReturnsTheError(t *testing.T) {
	want := errors.New("x")
	if err := guard("a", func() error { return want }); err != want { //nolint:errorlint // the very same
		t.Errorf("got %v", err)
	}
}
