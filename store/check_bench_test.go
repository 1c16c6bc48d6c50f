package store

import (
	"fmt"
	"testing"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
)

// BenchmarkCreateRun makes runs in an organization of 10,000 policy sets, beside
// one of as many that all select the same tag.
func BenchmarkCreateRun(t *testing.B) {
	onBothPopulated(t, func(b *bench, t *testing.B) {
		b.organization("rivals")
		b.must(polsettest.Populate(b.ctx(), b.dialect.writer(), "rivals", many))
		b.exec(`INSERT INTO policy_set_tag_selectors (policy_set_id, tag_key, tag_value, excluded)
			SELECT policy_sets.id, 'env', 'prod', FALSE FROM policy_sets JOIN organizations ON organizations.id = policy_sets.organization_id WHERE organizations.name = 'rivals'`)
		few := b.workspace("few")
		tagged := b.workspace("tagged")
		b.must(second(b.BindWorkspaceTags(b.ctx(), admin, tagged.ID, []polset.TagBinding{{Key: "env", Value: "prod"}, {Key: "owner", Value: "net"}})))
		for n := range 5 {
			set := fmt.Sprint("polset-acme-", n+1)
			b.exec(`INSERT INTO policy_set_workspaces (policy_set_id, workspace_id, excluded) VALUES ($1, $2, FALSE)`, set, few.ID)
			b.exec(`INSERT INTO policy_set_tag_selectors (policy_set_id, tag_key, tag_value, excluded) VALUES ($1, 'owner', NULL, FALSE)`, set)
		}
		b.exec("ANALYZE")
		for _, c := range []struct {
			name, workspace string
		}{
			{"few", few.ID}, {"tagged", tagged.ID}, {"hundreds", "ws-acme-50"},
		} {
			draft := polset.RunDraft{WorkspaceID: c.workspace, ConfigurationVersionID: b.configuration(c.workspace, false).ID}
			t.Run(c.name, func(t *testing.B) {
				sets := 0
				for t.Loop() {
					r, err := b.CreateRun(b.ctx(), admin, draft)
					b.must(err)
					if sets == 0 {
						sets = b.count("SELECT count(*) FROM policy_set_outcomes JOIN checks ON checks.id = check_id WHERE run_id = $1", r.ID)
					}
				}
				t.ReportMetric(float64(sets), "sets")
			})
		}
	})
}
