package store

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/polset/polset"
)

// guarded makes a workspace of an organization.
func (b *bench) guarded(organization, name string) string {
	b.Helper()
	w, err := b.CreateWorkspace(b.ctx(), admin, polset.WorkspaceDraft{Organization: organization, Name: name})
	b.must(err)
	return w.ID
}

// grouping makes a project of an organization.
func (b *bench) grouping(organization, name string) string {
	b.Helper()
	p, err := b.CreateProject(b.ctx(), admin, polset.ProjectDraft{Organization: organization, Name: name})
	b.must(err)
	return p.ID
}

// refusedAt wants refusals, and of them "field index".
func (b *bench) refusedAt(err error, want ...string) {
	b.Helper()
	var refused polset.RefusedError
	if !errors.As(err, &refused) {
		b.Fatalf("got %v, want refusals", err)
	}
	var got []string
	for _, r := range refused {
		got = append(got, fmt.Sprint(r.Field, " ", r.Index))
	}
	if !slices.Equal(got, want) {
		b.Fatalf("refused %q, want %q: %v", got, want, err)
	}
}

func TestMembers(t *testing.T) {
	onBoth(t, func(b *bench) {
		ws, prj := []string{b.guarded("acme", "a"), b.guarded("acme", "b"), b.guarded("acme", "c")}, []string{b.grouping("acme", "x"), b.grouping("acme", "y")}
		rule, law := b.policy("rule", polset.KindSentinel), b.policy("law", polset.KindSentinel)
		value := "prod"
		want := polset.Members{
			Policies: []string{law.ID, rule.ID}, Workspaces: []string{ws[2], ws[0]}, Projects: []string{prj[1]},
			WorkspaceExclusions: []string{ws[2], ws[1]}, ProjectExclusions: []string{prj[0], prj[1]},
		}
		p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{
			Organization: "acme", Name: "net", Kind: polset.KindSentinel, Members: want, UpdatePatterns: []string{"b", "a"}, TagMatchingLogic: "any",
		})
		b.must(err)
		shown := func(want polset.Members) {
			b.Helper()
			one := b.set(p.ID)
			if !reflect.DeepEqual(one.Members, want) {
				b.Fatalf("members %+v, want %+v", one.Members, want)
			}
			list, _, err := b.PolicySets(b.ctx(), admin, "acme", polset.PolicySetFilter{Search: "net"}, polset.Page{Number: 1, Size: 9})
			b.must(err)
			if !reflect.DeepEqual(list, []polset.PolicySet{one}) {
				b.Fatalf("listed %+v, shown %+v", list, one)
			}
		}
		if !reflect.DeepEqual(p, b.set(p.ID)) {
			b.Fatalf("made %+v, shown %+v", p, b.set(p.ID))
		}
		shown(want)
		if b.revision(p.ID) != 1 || p.TagMatchingLogic != "any" || !slices.Equal(p.UpdatePatterns, []string{"b", "a"}) {
			b.Fatalf("revision %d of %+v", b.revision(p.ID), p)
		}

		// What is there, or is not, makes no difference: no note, no time, no version.
		b.must(b.AddMembers(b.ctx(), admin, p.ID, polset.RelationPolicies, []string{rule.ID, law.ID, rule.ID}))
		b.must(b.RemoveMembers(b.ctx(), admin, p.ID, polset.RelationWorkspaces, []string{ws[1], "ws-none", prj[0]}))
		b.must(b.RemoveMembers(b.ctx(), admin, p.ID, polset.RelationProjects, []string{prj[0]})) // that is excluded, and stays so
		if got := b.set(p.ID); !reflect.DeepEqual(got, p) || b.revision(p.ID) != 1 {
			b.Fatalf("something changed: %+v", got)
		}
		if n := b.count("SELECT count(*) FROM audit_entries WHERE subject = $1", p.ID); n != 6 {
			b.Fatalf("%d notes, want the creation and five relations", n)
		}

		b.must(b.AddMembers(b.ctx(), admin, p.ID, polset.RelationWorkspaces, []string{ws[1], ws[1], ws[0]}))
		b.must(b.RemoveMembers(b.ctx(), admin, p.ID, polset.RelationWorkspaceExclusions, []string{ws[2]}))
		b.must(b.RemoveMembers(b.ctx(), admin, p.ID, polset.RelationPolicies, []string{law.ID}))
		want.Workspaces, want.WorkspaceExclusions, want.Policies = []string{ws[2], ws[0], ws[1]}, []string{ws[1]}, []string{rule.ID}
		shown(want)
		if b.revision(p.ID) != 2 {
			b.Fatalf("revision %d", b.revision(p.ID))
		}

		// Refused as a whole, at the place in what was given.
		b.organization("rivals")
		theirs, rego := b.guarded("rivals", "w"), b.policy("rego", polset.KindOPA)
		b.refusedAt(b.AddMembers(b.ctx(), admin, p.ID, polset.RelationWorkspaces, []string{ws[0], theirs, "ws-none"}), "workspaces 1", "workspaces 2")
		b.refusedAt(b.AddMembers(b.ctx(), admin, p.ID, polset.RelationPolicies, []string{law.ID, rego.ID}), "policies 1")
		b.refusedAt(second(b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{Members: map[polset.Relation][]string{
			polset.RelationPolicies: {}, polset.RelationWorkspaceExclusions: {ws[0], theirs}, polset.RelationProjects: {"prj-none"},
		}})), "projects 0", "workspace-exclusions 1")
		b.refusedAt(second(b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{
			Organization: "acme", Name: "other", Kind: polset.KindOPA, Members: polset.Members{Policies: []string{rego.ID, law.ID}},
		})), "policies 1")
		shown(want)
		if b.count("SELECT count(*) FROM policy_sets") != 1 {
			b.Fatal("half a set was made")
		}

		b.must(b.AddTagSelectors(b.ctx(), admin, b.plainSet("tags", polset.KindOPA).ID, []polset.TagSelector{{Key: "env", Value: &value}, {Key: "env"}, {Key: "env", Exclude: true}, {Key: "env"}}))
		if n := b.count("SELECT count(*) FROM policy_set_tag_selectors"); n != 3 {
			b.Fatalf("%d tag selectors", n)
		}
		b.want(b.AddMembers(b.ctx(), admin, "polset-none", polset.RelationWorkspaces, nil), polset.ErrNotFound)

		left := func() int {
			return b.count(`SELECT (SELECT count(*) FROM policy_set_policies) + (SELECT count(*) FROM policy_set_workspaces) +
				(SELECT count(*) FROM policy_set_projects) + (SELECT count(*) FROM policy_set_tag_selectors)`)
		}
		b.must(b.DeletePolicySet(b.ctx(), admin, p.ID))
		if n := left(); n != 3 {
			b.Errorf("%d members and selectors are left, want the selectors of the other set", n)
		}
		b.must(b.DeleteOrganization(b.ctx(), admin, "acme"))
		if n := left(); n != 0 {
			b.Errorf("%d members and selectors are left of an organization", n)
		}
		b.verify()
	})
}

// More members than a database takes arguments come and go.
func TestManyMembers(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.plainSet("net", polset.KindOPA)
		// Enough to see the seams between statements, of which each is far from
		// what SQLite takes (32,766) and PostgreSQL (65,535).
		n := 2*maxPage + 500
		b.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)
			INSERT INTO workspaces (id, organization_id, project_id, name, description, settings, created_at, updated_at)
			SELECT 'ws-' || i, organizations.id, projects.id, 'ws-' || i, '', '{}', organizations.created_at, organizations.created_at
			FROM n, organizations JOIN projects ON projects.organization_id = organizations.id WHERE organizations.name = $1`, "acme", n)
		var ids []string
		for i := range n {
			ids = append(ids, fmt.Sprint("ws-", i+1))
		}
		b.must(b.AddMembers(b.ctx(), admin, p.ID, polset.RelationWorkspaces, ids))
		if got := b.set(p.ID).Members.Workspaces; !slices.Equal(got, ids) {
			b.Fatalf("%d members", len(got))
		}
		got, err := b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{Members: map[polset.Relation][]string{polset.RelationWorkspaces: {"ws-7"}}})
		b.must(err)
		if !slices.Equal(got.Members.Workspaces, []string{"ws-7"}) {
			b.Fatalf("%d members", len(got.Members.Workspaces))
		}
		b.verify()
	})
}

// Members come and go at once, also with what they are; nothing is lost, and
// nothing is left of what is gone.
func TestMembersAtOnce(t *testing.T) {
	onBoth(t, func(b *bench) {
		sets := []polset.PolicySet{b.plainSet("one", polset.KindSentinel), b.plainSet("two", polset.KindSentinel)}
		var ws, policies []string
		for n := range 12 {
			ws = append(ws, b.guarded("acme", fmt.Sprint("w", n)))
			policies = append(policies, b.policy(fmt.Sprint("p", n), polset.KindSentinel).ID)
		}
		kept, gone := ws[:8], ws[8:]
		var wait sync.WaitGroup
		do := func(f func() error) {
			wait.Go(func() {
				var refused polset.RefusedError
				if err := f(); err != nil && !errors.As(err, &refused) {
					b.Errorf("got %v", err)
				}
			})
		}
		for n, set := range sets {
			for k := range 4 {
				do(func() error {
					return b.AddMembers(b.ctx(), admin, set.ID, polset.RelationWorkspaces, []string{kept[2*k], kept[2*k+1], kept[0]})
				})
				do(func() error {
					return b.AddMembers(b.ctx(), admin, set.ID, polset.RelationWorkspaces, gone[k:k+1])
				})
				do(func() error {
					order := slices.Clone(policies)
					if (n+k)%2 == 1 {
						slices.Reverse(order)
					}
					return b.AddMembers(b.ctx(), admin, set.ID, polset.RelationPolicies, order[3*k:3*k+3])
				})
			}
			do(func() error {
				return second(b.UpdatePolicySet(b.ctx(), admin, set.ID, polset.PolicySetChange{Description: &set.Name}))
			})
		}
		for n := range gone {
			do(func() error { return b.DeleteWorkspace(b.ctx(), admin, gone[n]) })
			do(func() error { return b.DeletePolicy(b.ctx(), admin, policies[3*n]) })
		}
		wait.Wait()
		for _, set := range sets {
			got := b.set(set.ID)
			if members := slices.Sorted(slices.Values(got.Members.Workspaces)); !slices.Equal(members, slices.Sorted(slices.Values(kept))) {
				b.Errorf("workspaces %q, want %q", members, kept)
			}
			for _, id := range got.Members.Policies {
				if b.count("SELECT count(*) FROM policies WHERE id = $1", id) != 1 {
					b.Errorf("%s is a member, and is gone", id)
				}
			}
			if got.Description != set.Name {
				b.Error("a change was lost")
			}
			// Again, now that nobody is in the way.
			var left []string
			for n, id := range policies {
				if n%3 != 0 {
					left = append(left, id)
				}
			}
			b.must(b.AddMembers(b.ctx(), admin, set.ID, polset.RelationPolicies, left))
			if n := len(b.set(set.ID).Members.Policies); n != len(left) {
				b.Errorf("%d policies, want %d", n, len(left))
			}
		}
		b.verify()
	})
}

// Of many who add the same at once, one does it and the others find it done.
func TestSameMembersAtOnce(t *testing.T) {
	onBoth(t, func(b *bench) {
		p, ws := b.plainSet("net", polset.KindSentinel), []string{}
		for n := range 20 {
			ws = append(ws, b.guarded("acme", fmt.Sprint("w", n)))
		}
		for n := range ws {
			errs := make([]error, 6)
			var wait sync.WaitGroup
			for k := range errs {
				wait.Go(func() { errs[k] = b.AddMembers(b.ctx(), admin, p.ID, polset.RelationWorkspaces, ws[:n+1]) })
			}
			wait.Wait()
			b.must(errors.Join(errs...))
		}
		if got := b.set(p.ID).Members.Workspaces; !slices.Equal(got, ws) {
			b.Errorf("members %q, want %q", got, ws)
		}
		if n := b.count("SELECT count(*) FROM audit_entries WHERE action = 'policy-set.members-added'"); n != len(ws) {
			b.Errorf("%d notes of %d additions", n, len(ws))
		}
		b.verify()
	})
}

// A set of individual policies that begins to follow a repository keeps what
// was made of them in force until the first version from there is ready.
func TestFromPoliciesToRepository(t *testing.T) {
	onBoth(t, func(b *bench) {
		rule := b.policy("rule", polset.KindOPA)
		p := b.plainSet("net", polset.KindOPA)
		b.must(b.AddMembers(b.ctx(), admin, p.ID, polset.RelationPolicies, []string{rule.ID}))
		b.settle(b.claimed(b.Store), madeOf("a"))
		vcs := polset.VCSDraft{Identifier: "acme/policies", TokenID: b.conn.TokenID, Head: polset.Head{Branch: "main", Commit: "c1"}}
		b.refusedAt(second(b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{VCS: &vcs})), "vcs-repo -1")
		if n := b.count("SELECT count(*) FROM repositories"); n != 0 || b.set(p.ID).VCS != nil {
			b.Fatalf("%d repositories: it was done by half", n)
		}
		none := map[polset.Relation][]string{polset.RelationPolicies: {}}
		got, err := b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{VCS: &vcs, Members: none})
		b.must(err)
		if len(got.Members.Policies) != 0 || got.VCS == nil || b.revision(p.ID) != 1 || got.MaterializedVersionID == "" || got.CurrentVersionID != "" {
			b.Fatalf("revision %d: %+v", b.revision(p.ID), got)
		}
		b.refusedAt(b.AddMembers(b.ctx(), admin, p.ID, polset.RelationPolicies, []string{rule.ID}), "policies -1")
		// Nothing will come from there any more: what is in force is made anew.
		left, err := b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{RemoveVCS: true})
		b.must(err)
		if left.VCS != nil || b.revision(p.ID) != 2 {
			b.Fatalf("revision %d: %+v", b.revision(p.ID), left)
		}
		// It has a version that may yet be ready and would hide the policies.
		b.refusedAt(b.AddMembers(b.ctx(), admin, p.ID, polset.RelationPolicies, []string{rule.ID}), "policies -1")
		b.want(second(b.CreatePolicy(b.ctx(), admin, polset.PolicyDraft{
			Organization: "acme", Name: "law", Kind: polset.KindOPA, Query: "data.p.deny", EnforcementLevel: "advisory", PolicySetIDs: []string{p.ID},
		})), polset.ErrConflict)
		b.verify()
	})
}

// Patterns are for what is pushed from now on: what is in force, and what is on
// its way, stays.
func TestUpdatePatternsBeginNothing(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.settled("net", "main", "c0")
		patterns := []string{"policies/**"}
		got, err := b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{UpdatePatterns: &patterns})
		b.must(err)
		if got.VCS.Generation != p.VCS.Generation || got.NewestVersionID != p.NewestVersionID || len(b.history(p.ID)) != 1 || !slices.Equal(got.UpdatePatterns, patterns) {
			b.Fatalf("got %+v, history %q", got, b.history(p.ID))
		}
		b.push("main", "c1")
		batch := b.claim(p.VCS.RepositoryID, "c1")
		if len(batch.Claims) != 1 || !slices.Equal(batch.Claims[0].Ingestion.UpdatePatterns, patterns) {
			b.Fatalf("batch %+v", batch)
		}
		b.verify()
	})
}

// The settings of an agent hold whatever order changes come in.
func TestAgentSettingsOfRows(t *testing.T) {
	onBoth(t, func(b *bench) {
		yes, version := true, "0.40.0"
		p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{
			Organization: "acme", Name: "net", Kind: polset.KindSentinel, AgentEnabled: true, PolicyToolVersion: version, Overridable: &yes,
		})
		b.must(err)
		if !p.AgentEnabled || p.PolicyToolVersion != version || !*p.Overridable {
			b.Fatalf("made %+v", p)
		}
		p, err = b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{AgentEnabled: new(bool)})
		b.must(err)
		if p.AgentEnabled || p.PolicyToolVersion != "" || p.Overridable != nil {
			b.Fatalf("changed to %+v", p)
		}
		if n := b.count("SELECT count(*) FROM audit_entries WHERE subject = $1 AND details LIKE '%agent-enabled policy-tool-version overridable%'", p.ID); n != 1 {
			b.Fatal("the audit chain does not tell what changed")
		}
	})
}

// Whoever changes a policy holds it and then the sets that hold it. A set that
// is about to take it waits for the policy, not with the set in its hands, and
// is told of the change.
func TestPolicyIsHeldBeforeItsSet(t *testing.T) {
	onBoth(t, func(b *bench) {
		if _, shared := b.dialect.(*postgresDialect); !shared {
			return // one writer at a time
		}
		p, rule := b.plainSet("net", polset.KindSentinel), b.policy("rule", polset.KindSentinel)
		for name, take := range map[string]func() error{
			"add": func() error {
				return b.AddMembers(b.ctx(), admin, p.ID, polset.RelationPolicies, []string{rule.ID})
			},
			"update": func() error {
				return second(b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{Members: map[polset.Relation][]string{polset.RelationPolicies: {rule.ID}}}))
			},
		} {
			b.must(b.RemoveMembers(b.ctx(), admin, p.ID, polset.RelationPolicies, []string{rule.ID}))
			hold, err := b.dialect.writer().BeginTx(b.ctx(), nil)
			b.must(err)
			_, err = hold.ExecContext(b.ctx(), "UPDATE policies SET description = 'held' WHERE id = $1", rule.ID)
			b.must(err)
			done := make(chan error, 1)
			go func() { done <- take() }()
			eventuallyBlocked(b)
			_, err = hold.ExecContext(b.ctx(), "SET LOCAL lock_timeout = '2s'")
			b.must(err)
			if _, err = hold.ExecContext(b.ctx(), "UPDATE policy_sets SET policies_revision = policies_revision WHERE id = $1", p.ID); err != nil {
				b.Errorf("%s: the set is held before the policy: %v", name, err)
			}
			b.must(hold.Commit())
			b.must(<-done)
			if !slices.Equal(b.set(p.ID).Members.Policies, []string{rule.ID}) {
				b.Errorf("%s: the set did not take it", name)
			}
		}
	})
}

// A policy tells its sets of a change in the order in which everybody holds
// sets: with the first out of reach it has none of the others in its hands.
func TestSetsOfAPolicyAreHeldInOrder(t *testing.T) {
	onBoth(t, func(b *bench) {
		if _, shared := b.dialect.(*postgresDialect); !shared {
			return // one writer at a time
		}
		var sets []string
		for n := range 12 {
			sets = append(sets, b.plainSet(fmt.Sprintf("net-%d", n), polset.KindSentinel).ID)
		}
		rule := b.policy("rule", polset.KindSentinel)
		for _, id := range sets {
			b.must(b.AddMembers(b.ctx(), admin, id, polset.RelationPolicies, []string{rule.ID}))
		}
		slices.Sort(sets)
		hold, err := b.dialect.writer().BeginTx(b.ctx(), nil)
		b.must(err)
		_, err = hold.ExecContext(b.ctx(), "UPDATE policy_sets SET description = 'held' WHERE id = $1", sets[0])
		b.must(err)
		done := make(chan error, 1)
		go func() { done <- b.DeletePolicy(b.ctx(), admin, rule.ID) }()
		eventuallyBlocked(b)
		// Before the database would find out that they wait for each other.
		_, err = hold.ExecContext(b.ctx(), "SET LOCAL lock_timeout = '500ms'")
		b.must(err)
		if _, err = hold.ExecContext(b.ctx(), "UPDATE policy_sets SET description = 'held' WHERE id <> $1", sets[0]); err != nil {
			b.Errorf("a later set is held before the first: %v", err)
		}
		b.must(hold.Commit())
		b.must(<-done)
		for _, id := range sets {
			if b.revision(id) != 2 {
				b.Errorf("set %s was not told: revision %d", id, b.revision(id))
			}
		}
	})
}
