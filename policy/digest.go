package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
)

// A sum is the sha256 of something.
type sum [sha256.Size]byte

func (s sum) compare(o sum) int { return bytes.Compare(s[:], o[:]) }

// sumOf returns the sum of parts, whose borders count.
func sumOf(parts ...string) sum {
	h := sha256.New()
	for _, part := range parts {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		_, _ = h.Write(size[:]) // a hash does not fail
		_, _ = h.Write([]byte(part))
	}
	return sum(h.Sum(nil))
}

// sumOfAll returns the sum of sums, whose order does not count. It sorts them.
func sumOfAll(sums []sum) sum {
	slices.SortFunc(sums, sum.compare)
	h := sha256.New()
	for _, s := range sums {
		_, _ = h.Write(s[:]) // a hash does not fail
	}
	return sum(h.Sum(nil))
}

// digest returns the digest of a policy that is made of sources. The
// enforcement level is not in it: whoever compares policies tells a change of
// the level from one of what the policy says. Neither are the names of files,
// as far as they mean nothing to the policy.
func (s *Set) digest(policy Policy, sources sum) string {
	d := sumOf("polset policy 1", string(s.Kind), policy.Name, policy.Query,
		policy.Source, policy.params, policy.Description, string(sources[:]))
	return hex.EncodeToString(d[:])
}
