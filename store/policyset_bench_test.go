package store

import (
	"testing"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
)

// many are the sets of the organization that the benchmarks read.
const many = 10_000

// onBothPopulated runs one benchmark on both databases.
func onBothPopulated(t *testing.B, f func(b *bench, t *testing.B)) {
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.B) {
			b := newBench(t, databases()[name](t))
			b.must(polsettest.Populate(b.ctx(), b.dialect.writer(), "acme", many))
			f(b, t)
		})
	}
}

// BenchmarkListPolicySets reads a page of a list of 10,000 policy sets.
func BenchmarkListPolicySets(t *testing.B) {
	onBothPopulated(t, func(b *bench, t *testing.B) {
		yes := true
		for _, c := range []struct {
			name   string
			filter polset.PolicySetFilter
			page   polset.Page
		}{
			{"1", polset.PolicySetFilter{}, polset.Page{Number: 1, Size: 1}},
			{"100", polset.PolicySetFilter{}, polset.Page{Number: 1, Size: 100}},
			{"last-100", polset.PolicySetFilter{}, polset.Page{Number: many / 100, Size: 100}},
			{"search", polset.PolicySetFilter{Search: "99"}, polset.Page{Number: 1, Size: 100}},
			{"versioned", polset.PolicySetFilter{Versioned: &yes}, polset.Page{Number: 1, Size: 100}},
		} {
			t.Run(c.name, func(t *testing.B) {
				read := 0
				for t.Loop() {
					list, _, err := b.PolicySets(b.ctx(), admin, "acme", c.filter, c.page)
					b.must(err)
					read += len(list)
				}
				t.ReportMetric(float64(t.Elapsed().Microseconds())/float64(read), "µs/set")
			})
		}
		t.Run("100-included", func(t *testing.B) {
			for t.Loop() {
				list, _, err := b.PolicySets(b.ctx(), admin, "acme", polset.PolicySetFilter{}, polset.Page{Number: 50, Size: 100})
				b.must(err)
				b.include(list...)
			}
		})
	})
}

// BenchmarkShowPolicySet reads one of 10,000 policy sets.
func BenchmarkShowPolicySet(t *testing.B) {
	onBothPopulated(t, func(b *bench, t *testing.B) {
		t.Run("bare", func(t *testing.B) {
			for t.Loop() {
				b.set("polset-acme-5000")
			}
		})
		t.Run("included", func(t *testing.B) {
			for t.Loop() {
				b.include(b.set("polset-acme-5000"))
			}
		})
	})
}

// include reads all that sets are related to.
func (b *bench) include(sets ...polset.PolicySet) {
	b.Helper()
	var all polset.Members
	var versions []string
	for _, p := range sets {
		for _, r := range polset.Relations() {
			*all.Of(r) = append(*all.Of(r), *p.Members.Of(r)...)
		}
		versions = append(versions, p.NewestVersionID)
	}
	policies, err := b.PoliciesByID(b.ctx(), admin, all.Policies)
	b.must(err)
	workspaces, err := b.WorkspacesByID(b.ctx(), admin, append(all.Workspaces, all.WorkspaceExclusions...))
	b.must(err)
	projects, err := b.ProjectsByID(b.ctx(), admin, all.Projects)
	b.must(err)
	b.must(second(b.VersionsByID(b.ctx(), admin, versions)))
	if len(policies) == 0 || len(workspaces) == 0 || len(projects) == 0 {
		b.Fatal("nothing is included")
	}
}
