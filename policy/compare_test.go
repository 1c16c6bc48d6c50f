package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/polset/polset"
	"github.com/polset/polset/policy"
)

func TestCompare(t *testing.T) {
	p := func(name, level, digest string) polset.PolicySummary {
		return polset.PolicySummary{Name: name, EnforcementLevel: level, Digest: digest, File: "f", Line: len(name)}
	}
	for _, c := range []struct {
		name          string
		before, after []polset.PolicySummary
		want          []polset.PolicyChange
	}{
		{"nothing", nil, nil, nil},
		{
			"added", nil,
			[]polset.PolicySummary{p("a", "mandatory", "1")},
			[]polset.PolicyChange{{Policy: "a", Kind: polset.PolicyAdded, To: "mandatory", File: "f", Line: 1}},
		},
		{
			"removed that could stop a run",
			[]polset.PolicySummary{p("a", "mandatory", "1")},
			nil,
			[]polset.PolicyChange{{Policy: "a", Kind: polset.PolicyRemoved, From: "mandatory", Weaker: true, File: "f", Line: 1}},
		},
		{
			"removed that could not",
			[]polset.PolicySummary{p("a", "advisory", "1")},
			nil,
			[]polset.PolicyChange{{Policy: "a", Kind: polset.PolicyRemoved, From: "advisory", File: "f", Line: 1}},
		},
		{
			"changed",
			[]polset.PolicySummary{p("a", "advisory", "1")},
			[]polset.PolicySummary{p("a", "advisory", "2")},
			[]polset.PolicyChange{{Policy: "a", Kind: polset.PolicyChanged, From: "advisory", To: "advisory", File: "f", Line: 1}},
		},
		{"a digest that one side lacks", []polset.PolicySummary{p("a", "advisory", "")}, []polset.PolicySummary{p("a", "advisory", "2")}, nil},
		{
			"another query without digests",
			[]polset.PolicySummary{{Name: "a", Query: "x"}},
			[]polset.PolicySummary{{Name: "a", Query: "y"}},
			[]polset.PolicyChange{{Policy: "a", Kind: polset.PolicyChanged}},
		},
		{
			"another description",
			[]polset.PolicySummary{{Name: "a"}},
			[]polset.PolicySummary{{Name: "a", Description: "y"}},
			[]polset.PolicyChange{{Policy: "a", Kind: polset.PolicyChanged}},
		},
		{"another line", []polset.PolicySummary{{Name: "a", Line: 1}}, []polset.PolicySummary{{Name: "a", Line: 9, File: "g"}}, nil},
		{
			"weaker first, then by name",
			[]polset.PolicySummary{p("a", "advisory", "1"), p("b", "mandatory", "1"), p("c", "mandatory", "1")},
			[]polset.PolicySummary{p("c", "advisory", "1"), p("a", "mandatory", "1")},
			[]polset.PolicyChange{
				{Policy: "b", Kind: polset.PolicyRemoved, From: "mandatory", Weaker: true, File: "f", Line: 1},
				{Policy: "c", Kind: polset.PolicyChanged, From: "mandatory", To: "advisory", Weaker: true, File: "f", Line: 1},
				{Policy: "a", Kind: polset.PolicyChanged, From: "advisory", To: "mandatory", File: "f", Line: 1},
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, policy.Compare(c.before, c.after)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestWeaker(t *testing.T) {
	weaker := map[string]string{
		"mandatory":      "advisory",
		"soft-mandatory": "advisory",
		"hard-mandatory": "advisory soft-mandatory",
	}
	levels := []string{"advisory", "mandatory", "soft-mandatory", "hard-mandatory", "", "no-such-level"}
	for _, from := range levels {
		for _, to := range levels {
			if from == to {
				continue
			}
			changes := policy.Compare([]polset.PolicySummary{{Name: "a", EnforcementLevel: from}}, []polset.PolicySummary{{Name: "a", EnforcementLevel: to}})
			want := slices.Contains(strings.Fields(weaker[from]), to)
			if len(changes) != 1 || changes[0].Weaker != want {
				t.Errorf("from %q to %q: %+v, want weaker: %t", from, to, changes, want)
			}
		}
	}
}

func TestCompareProperties(t *testing.T) {
	summary := rapid.Custom(func(t *rapid.T) polset.PolicySummary {
		return polset.PolicySummary{
			Name:             rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "name"),
			EnforcementLevel: rapid.SampledFrom([]string{"", "advisory", "mandatory", "soft-mandatory", "hard-mandatory", "x"}).Draw(t, "level"),
			Query:            rapid.SampledFrom([]string{"", "q"}).Draw(t, "query"),
			Digest:           rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "digest"),
		}
	})
	names := func(changes []polset.PolicyChange, kind polset.ChangeKind) (list []string) {
		for _, c := range changes {
			if c.Kind == kind {
				list = append(list, c.Policy)
			}
		}
		slices.Sort(list)
		return list
	}
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOf(summary).Draw(t, "x")
		y := rapid.SliceOf(summary).Draw(t, "y")
		if same := policy.Compare(x, x); len(same) > 0 {
			t.Fatalf("a set differs from itself: %+v", same)
		}
		there, back := policy.Compare(x, y), policy.Compare(y, x)
		for _, p := range [][2]polset.ChangeKind{
			{polset.PolicyAdded, polset.PolicyRemoved}, {polset.PolicyRemoved, polset.PolicyAdded}, {polset.PolicyChanged, polset.PolicyChanged},
		} {
			if !slices.Equal(names(there, p[0]), names(back, p[1])) {
				t.Fatalf("%s there and %s back differ:\n%+v\n%+v", p[0], p[1], there, back)
			}
		}
		for _, c := range there {
			for _, d := range back {
				if c.Policy == d.Policy && c.Weaker && d.Weaker {
					t.Fatalf("weaker both ways: %+v, %+v", c, d)
				}
			}
		}
		if !slices.IsSortedFunc(there, func(a, b polset.PolicyChange) int {
			if a.Weaker != b.Weaker {
				if a.Weaker {
					return -1
				}
				return 1
			}
			return strings.Compare(a.Policy, b.Policy)
		}) {
			t.Fatalf("not sorted: %+v", there)
		}
	})
}
