package api

import (
	"math"

	"github.com/polset/polset"
)

// degradation is the attribute degraded: why a policy set cannot hear of, or
// read, what it follows. What is in force stays in force.
type degradation struct {
	Reason  string  `json:"reason"`
	Message string  `json:"message"`
	Since   iso8601 `json:"since"`
}

func newDegradation(d *polset.Degradation) *degradation {
	if d == nil {
		return nil
	}
	return &degradation{Reason: string(d.Reason), Message: d.Message, Since: iso8601(d.Since)}
}

// completeness is the attribute of this name: how far a policy set has caught
// up with its branch.
type completeness struct {
	Head               *string `json:"head"`
	HeadSeenAt         iso8601 `json:"head-seen-at"`
	LastLookedAt       iso8601 `json:"last-looked-at"`
	LastIngestedCommit *string `json:"last-ingested-commit"`
	LastIngestedAt     iso8601 `json:"last-ingested-at"`
	// GapSeconds is rounded up: 0 says that there is no gap at all.
	GapSeconds int64 `json:"gap-seconds"`
}

func newCompleteness(c *polset.Completeness) *completeness {
	if c == nil {
		return nil
	}
	return &completeness{
		Head:               orNull(c.Head),
		HeadSeenAt:         iso8601(c.HeadAt),
		LastLookedAt:       iso8601(c.LookedAt),
		LastIngestedCommit: orNull(c.Ingested),
		LastIngestedAt:     iso8601(c.IngestedAt),
		GapSeconds:         int64(math.Ceil(c.Gap.Seconds())),
	}
}
