package store

import (
	"testing"

	"github.com/polset/polset"
)

// many are the sets of the organization that the benchmarks read.
const many = 10_000

// populate gives acme many sets, of which each holds a policy and guards two
// workspaces and a project, and two exclude one; every tenth has a version.
func (b *bench) populate() {
	b.Helper()
	b.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
		INSERT INTO workspaces (id, organization_id, project_id, name, description, settings, created_at, updated_at)
		SELECT 'ws-' || i, $1, (SELECT id FROM projects WHERE organization_id = $1 AND is_default), 'ws-' || i, '', '{}', $2, $2 FROM n`, b.org.ID, b.org.CreatedAt)
	b.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
		INSERT INTO projects (id, organization_id, name, description, is_default, settings, created_at, updated_at)
		SELECT 'prj-' || i, $1, 'prj-' || i, '', FALSE, '{}', $2, $2 FROM n`, b.org.ID, b.org.CreatedAt)
	b.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
		INSERT INTO policies (id, organization_id, name, description, kind, query, enforcement_level, digest, size, created_at, updated_at)
		SELECT 'pol-' || i, $1, 'pol-' || i, '', 'opa', 'data.p.deny', 'advisory', '', 0, $2, $2 FROM n`, b.org.ID, b.org.CreatedAt)
	b.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
		INSERT INTO policy_sets (id, organization_id, name, description, global, kind, policies_path, branch, submodules, generation,
			newest_version_id, current_version_id, created_at, updated_at, followed_at)
		SELECT 'polset-' || i, $1, 'set-' || i, '', FALSE, 'opa', '', '', FALSE, 1,
			CASE WHEN i % 10 = 0 THEN 'polsetver-' || i ELSE '' END, CASE WHEN i % 10 = 0 THEN 'polsetver-' || i ELSE '' END, $2, $2, $2 FROM n`, b.org.ID, b.org.CreatedAt)
	b.exec(`INSERT INTO versions (id, policy_set_id, source, status, pending_at, ingressing_at, ready_at, error, error_message, commit_id, commit_url, identifier, branch,
			content, digest, tar_digest, size, tar_size, files, policies_directory, policies, created_at, updated_at)
		SELECT current_version_id, id, 'github', 'ready', created_at, created_at, created_at, '', '', '', '', '', '', '', 'd', 'd', 1, 1, 1, '', '[]', created_at, created_at
		FROM policy_sets WHERE current_version_id <> ''`)
	b.exec(`INSERT INTO policy_set_policies (policy_set_id, policy_id) SELECT id, 'pol-' || (1 + sequence % 1000) FROM policy_sets`)
	b.exec(`INSERT INTO policy_set_workspaces (policy_set_id, workspace_id, excluded) SELECT id, 'ws-' || (1 + sequence % 1000), FALSE FROM policy_sets
		UNION ALL SELECT id, 'ws-' || (1 + (sequence + 7) % 1000), FALSE FROM policy_sets UNION ALL SELECT id, 'ws-' || (1 + (sequence + 9) % 1000), TRUE FROM policy_sets`)
	b.exec(`INSERT INTO policy_set_projects (policy_set_id, project_id, excluded) SELECT id, 'prj-' || (1 + sequence % 100), FALSE FROM policy_sets`)
	b.exec(`INSERT INTO policy_set_tag_selectors (policy_set_id, tag_key, tag_value, excluded) SELECT id, 'env', 'prod', TRUE FROM policy_sets WHERE sequence % 2 = 0`)
	b.exec(`ANALYZE`)
}

// onBothPopulated runs one benchmark on both databases.
func onBothPopulated(t *testing.B, f func(b *bench, t *testing.B)) {
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.B) {
			b := newBench(t, databases()[name](t))
			b.populate()
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
				b.set("polset-5000")
			}
		})
		t.Run("included", func(t *testing.B) {
			for t.Loop() {
				b.include(b.set("polset-5000"))
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
