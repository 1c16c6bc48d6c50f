package polset

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// ChainSite is the audit chain of what belongs to no organization. The chain
// of an organization is named by its org-… id.
const ChainSite = "site"

// An AuditEntry is one row of an append-only hash chain. Each row holds the
// hash of the one before it, so that no row can be changed, removed or
// inserted without breaking every hash that follows.
type AuditEntry struct {
	Chain    string            `json:"chain"`
	Sequence int64             `json:"sequence"` // from 1, without gaps
	At       time.Time         `json:"at"`       // UTC, microseconds
	Actor    string            `json:"actor"`    // Principal.Actor
	Action   string            `json:"action"`   // noun.verb, such as version.ready
	Subject  string            `json:"subject"`  // the id of what was moved
	Details  map[string]string `json:"details"`  // delivery, commit, tree, digest, …; never a secret
	Previous string            `json:"previous"` // the hash of the row before, "" for the first
	Hash     string            `json:"-"`        // ComputeHash
}

// ComputeHash returns the sha256, in hex, of the entry's canonical JSON: the
// members above in this order, without white space, details sorted by key,
// the time in RFC 3339 UTC with six decimals.
func (e AuditEntry) ComputeHash() string {
	if e.Details == nil {
		e.Details = map[string]string{}
	}
	b, err := json.Marshal(struct {
		Chain    string            `json:"chain"`
		Sequence int64             `json:"sequence"`
		At       string            `json:"at"`
		Actor    string            `json:"actor"`
		Action   string            `json:"action"`
		Subject  string            `json:"subject"`
		Details  map[string]string `json:"details"`
		Previous string            `json:"previous"`
	}{
		e.Chain, e.Sequence, e.At.UTC().Format("2006-01-02T15:04:05.000000Z"),
		e.Actor, e.Action, e.Subject, e.Details, e.Previous,
	})
	if err != nil {
		panic(fmt.Sprintf("marshal audit entry: %v", err)) // strings and integers always marshal
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
