// Package polset holds the nouns of the pipeline that turns a push on GitHub
// into an immutable, audited policy set version: what a version may become,
// why it may fail, and who may ask. It imports the standard library only;
// every other room speaks in its terms.
package polset

import (
	"crypto/rand"
	"errors"
	"math/big"
	"time"
)

// The answers that every room understands. They are compared with errors.Is.
var (
	// ErrNotFound says that the thing does not exist, or that it is not the
	// caller's: the two are deliberately indistinguishable.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that the thing exists already, or is no longer in the
	// state that the request presumes.
	ErrConflict = errors.New("conflict")
	// ErrTooMany says that a limit on how many things there may be is reached.
	ErrTooMany = errors.New("too many")
	// ErrFenced says that the caller's lease has passed to somebody else, or
	// that what it worked on is gone. Nothing was written.
	ErrFenced = errors.New("lease lost")
	// ErrUnauthorized says that a token is missing, wrong, expired or revoked.
	ErrUnauthorized = errors.New("unauthorized")
)

const idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// NewID returns a random identifier in HCP Terraform's form: the prefix, a
// hyphen and 16 alphanumeric characters (about 95 bits).
func NewID(prefix string) string {
	id := make([]byte, 16)
	for i := range id {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(idAlphabet))))
		if err != nil {
			panic(err) // crypto/rand never fails on supported systems
		}
		id[i] = idAlphabet[n.Int64()]
	}
	return prefix + "-" + string(id)
}

// Page names a slice of a list. Number counts from 1.
type Page struct{ Number, Size int }

// Offset is how many rows come before the page.
func (p Page) Offset() int { return (p.Number - 1) * p.Size }

// An Organization owns policy sets, connections and an audit chain.
type Organization struct {
	ID    string // org-…: HCP Terraform's external id, never reused
	Name  string // the identifier in URLs; may be reused after deletion
	Email string
	// Settings are attributes that clients set and polset only keeps for them,
	// by their names in the API.
	Settings         map[string]any
	DefaultProjectID string // prj-…
	CreatedAt        time.Time
}

// An OrganizationChange is an update of an organization: nil leaves a value
// alone.
type OrganizationChange struct {
	Name     *string
	Email    *string
	Settings map[string]any // by name; null takes a setting back to its default
}
