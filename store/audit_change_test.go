package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/polset/polset"
)

// appended runs f and returns what it appended to the audit chains: "action details".
func (b *bench) appended(f func()) []string {
	b.Helper()
	last := map[string]int64{}
	read := func() (list []string) {
		rows, err := b.dialect.reader().QueryContext(b.ctx(), "SELECT chain, sequence, action, details FROM audit_entries ORDER BY chain, sequence")
		b.must(err)
		defer func() { b.must(rows.Close()) }()
		for rows.Next() {
			var chain, action, details string
			var sequence int64
			b.must(rows.Scan(&chain, &sequence, &action, &details))
			if sequence > last[chain] {
				last[chain] = sequence
				list = append(list, action+" "+details)
			}
		}
		b.must(rows.Err())
		return list
	}
	read()
	f()
	return read()
}

// The chain tells which tags came and went, those without a value too, and
// nothing of those that stay as they are.
func TestTagsInTheTrail(t *testing.T) {
	onBoth(t, func(b *bench) {
		one := func(action string, tags map[string]string) string {
			text, err := json.Marshal(tags)
			b.must(err)
			details, err := json.Marshal(map[string]string{"tags": string(text)})
			b.must(err)
			return action + " " + string(details)
		}
		ws, prj := b.guarded("acme", "ws"), b.grouping("acme", "prj")
		env := func(value string) []polset.TagBinding { return []polset.TagBinding{{Key: "env", Value: value}} }
		for n, c := range []struct {
			does func() error
			want []string
		}{
			{
				func() error {
					return second(b.BindWorkspaceTags(b.ctx(), admin, ws, append(env("prod"), polset.TagBinding{Key: "pci"})))
				},
				[]string{one("tags.bound", map[string]string{"env": "prod", "pci": ""})},
			},
			{func() error { return second(b.BindWorkspaceTags(b.ctx(), admin, ws, env("prod"))) }, nil},
			{
				func() error {
					tags := append(env("test"), polset.TagBinding{Key: "new", Value: "1"})
					return second(b.UpdateWorkspace(b.ctx(), admin, ws, polset.WorkspaceChange{TagBindings: &tags}))
				},
				[]string{one("tags.unbound", map[string]string{"pci": ""}), one("tags.bound", map[string]string{"env": "test", "new": "1"})},
			},
			{
				func() error {
					return second(b.UnbindWorkspaceTags(b.ctx(), admin, ws, []polset.TagBinding{{Key: "env"}, {Key: "none"}}))
				},
				[]string{one("tags.unbound", map[string]string{"env": "test"})},
			},
			{func() error { return second(b.BindProjectTags(b.ctx(), admin, prj, env("prod"))) }, []string{one("tags.bound", map[string]string{"env": "prod"})}},
			{
				func() error {
					tags := env("prod")
					return second(b.UpdateProject(b.ctx(), admin, prj, polset.ProjectChange{TagBindings: &tags}))
				},
				nil,
			},
			{
				func() error {
					return second(b.UpdateProject(b.ctx(), admin, prj, polset.ProjectChange{TagBindings: &[]polset.TagBinding{}}))
				},
				[]string{one("tags.unbound", map[string]string{"env": "prod"})},
			},
		} {
			if got := b.appended(func() { b.must(c.does()) }); !slices.Equal(got, c.want) {
				b.Errorf("%d: told %q, want %q", n, got, c.want)
			}
		}
		b.verify()
	})
}

// Of two that delete the same at once one does, and the chain tells of one.
func TestDeletedOnce(t *testing.T) {
	onBoth(t, func(b *bench) {
		nodes := []*Store{b.Store, b.node()}
		for _, c := range []struct {
			action string
			make   func(n int) string
			delete func(s *Store, id string) error
		}{
			{
				"workspace.deleted",
				func(n int) string { return b.guarded("acme", fmt.Sprintf("ws-%d", n)) },
				func(s *Store, id string) error { return s.DeleteWorkspace(b.ctx(), admin, id) },
			},
			{
				"project.deleted",
				func(n int) string { return b.grouping("acme", fmt.Sprintf("prj-%d", n)) },
				func(s *Store, id string) error { return s.DeleteProject(b.ctx(), admin, id) },
			},
			{
				"policy.deleted",
				func(n int) string { return b.policy(fmt.Sprintf("rule-%d", n), polset.KindOPA).ID },
				func(s *Store, id string) error { return s.DeletePolicy(b.ctx(), admin, id) },
			},
			{
				"tool-version.deleted",
				func(n int) string {
					v, err := b.CreateToolVersion(b.ctx(), admin, polset.ToolVersion{Tool: polset.KindOPA, Version: fmt.Sprintf("1.%d.0", n), URL: "https://example.com/opa"})
					b.must(err)
					return v.ID
				},
				func(s *Store, id string) error { return s.DeleteToolVersion(b.ctx(), admin, polset.KindOPA, id) },
			},
		} {
			for n := range 5 {
				id := c.make(n)
				errs := make([]error, 6)
				told := b.appended(func() {
					var wait sync.WaitGroup
					for k := range errs {
						wait.Go(func() { errs[k] = c.delete(nodes[k%2], id) })
					}
					wait.Wait()
				})
				done := 0
				for _, err := range errs {
					if err == nil {
						done++
					} else if !errors.Is(err, polset.ErrNotFound) {
						b.Error(err)
					}
				}
				if done != 1 || len(told) != 1 || !strings.HasPrefix(told[0], c.action+" ") {
					b.Fatalf("%s: %d of 6 deleted it, and the chain tells %q", c.action, done, told)
				}
			}
		}
		b.verify()
	})
}

// What a tool version became is told by name, and nothing where nothing did.
func TestToolVersionInTheTrail(t *testing.T) {
	onBoth(t, func(b *bench) {
		v, err := b.CreateToolVersion(b.ctx(), admin, polset.ToolVersion{Tool: polset.KindOPA, Version: "1.0.0", URL: "https://example.com/opa", Enabled: true})
		b.must(err)
		off := false
		change := polset.ToolVersionChange{Enabled: &off}
		told := b.appended(func() { b.must(second(b.UpdateToolVersion(b.ctx(), admin, polset.KindOPA, v.ID, change))) })
		if len(told) != 1 || !strings.Contains(told[0], `"changed":"enabled"`) {
			b.Errorf("told %q", told)
		}
		if told := b.appended(func() { b.must(second(b.UpdateToolVersion(b.ctx(), admin, polset.KindOPA, v.ID, change))) }); len(told) != 0 {
			b.Errorf("told %q of nothing", told)
		}
	})
}

// The code of a policy is what somebody uploaded, or the audit says otherwise.
func TestCodeOfPoliciesIsWitnessed(t *testing.T) {
	onBoth(t, func(b *bench) {
		digest := strings.Repeat("a", 64)
		p, plain := b.policy("rule", polset.KindOPA), b.policy("plain", polset.KindOPA)
		b.must(second(b.UploadPolicy(b.ctx(), admin, p.ID, strings.Repeat("0", 64), 1)))
		b.must(second(b.UploadPolicy(b.ctx(), admin, p.ID, digest, 1)))
		b.verify()
		broken := func(what string) {
			b.Helper()
			var broken *BrokenChain
			if _, err := b.VerifyAudit(b.ctx(), nil); !errors.As(err, &broken) || broken.Chain != b.org.ID || !strings.Contains(broken.Why, what) {
				b.Fatalf("got %v, want %q", err, what)
			}
		}
		b.exec("UPDATE policies SET digest = $1 WHERE id = $2", strings.Repeat("b", 64), p.ID)
		broken("it gives policy " + p.ID + " code with the digest " + digest)
		b.exec("UPDATE policies SET digest = '', uploaded_at = NULL WHERE id = $1", p.ID)
		broken("it gives policy " + p.ID + " code, and it has none")
		b.exec("UPDATE policies SET digest = $1, uploaded_at = created_at WHERE id = $2", digest, p.ID)
		b.verify()
		b.exec("UPDATE policies SET digest = $1, uploaded_at = created_at WHERE id = $2", digest, plain.ID)
		broken("policy " + plain.ID + " has code, and no row tells of it")
		b.exec("UPDATE policies SET digest = '', uploaded_at = NULL WHERE id = $1", plain.ID)
		b.must(b.DeletePolicy(b.ctx(), admin, p.ID))
		b.verify()
		gone := b.policy("gone", polset.KindOPA)
		b.must(second(b.UploadPolicy(b.ctx(), admin, gone.ID, digest, 1)))
		b.must(b.DeleteOrganization(b.ctx(), admin, "acme"))
		b.verify()
	})
}

// The chain tells which commits a set ignores, and whether it guards everything.
func TestSettingsOfASetInTheTrail(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.follower("net", "main", polset.Head{})
		yes, patterns := true, []string{"policies/**"}
		told := b.appended(func() {
			b.must(second(b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{Global: &yes, UpdatePatterns: &patterns})))
		})
		if len(told) != 1 || !strings.Contains(told[0], `"global":"true"`) || !strings.Contains(told[0], `policies/**`) {
			b.Errorf("told %q", told)
		}
	})
}
