package policy

import (
	"cmp"
	"slices"

	"github.com/polset/polset"
)

// Compare returns what happens to policies on the way from before to after,
// matched by their names: those that get weaker first, then by name. Where one
// side lacks a digest, as a version of an earlier release does, digests are
// not compared.
func Compare(before, after []polset.PolicySummary) []polset.PolicyChange {
	was, is := byName(before), byName(after)
	var changes []polset.PolicyChange
	for name, a := range is {
		b, ok := was[name]
		switch {
		case !ok:
			changes = append(changes, polset.PolicyChange{
				Policy: name, Kind: polset.PolicyAdded, To: a.EnforcementLevel,
				File: a.File, Line: a.Line,
			})
		case differ(b, a):
			changes = append(changes, polset.PolicyChange{
				Policy: name, Kind: polset.PolicyChanged, From: b.EnforcementLevel, To: a.EnforcementLevel,
				Weaker: weaker(b.EnforcementLevel, a.EnforcementLevel), File: a.File, Line: a.Line,
			})
		}
	}
	for name, b := range was {
		if _, ok := is[name]; !ok {
			changes = append(changes, polset.PolicyChange{
				Policy: name, Kind: polset.PolicyRemoved, From: b.EnforcementLevel,
				Weaker: b.EnforcementLevel != defaultLevel, File: b.File, Line: b.Line,
			})
		}
	}
	slices.SortFunc(changes, func(a, b polset.PolicyChange) int {
		if a.Weaker != b.Weaker {
			if a.Weaker {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Policy, b.Policy)
	})
	return changes
}

// byName indexes policies. Of two with one name, which no configuration may
// hold, the first counts.
func byName(list []polset.PolicySummary) map[string]polset.PolicySummary {
	index := make(map[string]polset.PolicySummary, len(list))
	for _, p := range list {
		if _, ok := index[p.Name]; !ok {
			index[p.Name] = p
		}
	}
	return index
}

func differ(b, a polset.PolicySummary) bool {
	return b.Digest != "" && a.Digest != "" && b.Digest != a.Digest ||
		b.Query != a.Query || b.EnforcementLevel != a.EnforcementLevel || b.Description != a.Description
}

// weaker reports whether a policy stops less at the level to than at from.
// Levels that this release does not know, or that belong to different
// languages, have no order.
func weaker(from, to string) bool {
	switch from {
	case "mandatory", "soft-mandatory":
		return to == "advisory"
	case "hard-mandatory":
		return to == "advisory" || to == "soft-mandatory"
	}
	return false
}
