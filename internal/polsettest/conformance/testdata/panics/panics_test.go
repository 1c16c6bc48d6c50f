// Package panics has a test that takes the others down with it.
package panics

import "testing"

func TestPolicyBefore(t *testing.T) { t.Run("passes", func(*testing.T) {}) }

func TestPolicyPanics(t *testing.T) {
	t.Run("passes first", func(*testing.T) {})
	t.Run("then panics", func(*testing.T) { panic("as it is told to") })
}

func TestPolicyAfter(t *testing.T) {
	t.Run("passes", func(*testing.T) {})
	t.Run("fails", func(t *testing.T) { t.Error("as it is told to") })
}

func TestPolicySkips(t *testing.T) { t.Skip("as it is told to") }

func TestPolicyLeftOut(t *testing.T) { t.Error("nobody asked for it") }
