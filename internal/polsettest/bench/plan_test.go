package main

import (
	"bytes"
	"testing"

	"github.com/polset/polset/policy"
)

func TestPlan(t *testing.T) {
	raw, err := plan()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(raw); n < planBytes-planBytes/20 || n > planBytes+planBytes/20 {
		t.Errorf("%d bytes, want about %d", n, planBytes)
	}
	if again, err := plan(); err != nil || !bytes.Equal(raw, again) {
		t.Errorf("not the same again: %v", err)
	}
	if _, err := policy.ParsePlan(raw); err != nil {
		t.Error(err)
	}
}
