package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/internal/polsettest"
	"github.com/polset/polset/store/internal/rows"
)

// guard makes a policy set of acme with a version in force.
func (b *bench) guard(d polset.PolicySetDraft) polset.PolicySet {
	b.Helper()
	if d.Kind == "" {
		d.Kind = polset.KindOPA
	}
	d.Organization = "acme"
	p, err := b.CreatePolicySet(b.ctx(), admin, d)
	b.must(err)
	b.upload(b.awaiting(p.ID).ID)
	return b.set(p.ID)
}

// runOf makes a run of a workspace.
func (b *bench) runOf(workspaceID string) polset.Run {
	b.Helper()
	r, err := b.CreateRun(b.ctx(), admin, polset.RunDraft{WorkspaceID: workspaceID, ConfigurationVersionID: b.configuration(workspaceID, false).ID})
	b.must(err)
	return r
}

// checksOf are the checks of a run.
func (b *bench) checksOf(runID string) []polset.Check {
	b.Helper()
	list, err := b.ChecksOfRuns(b.ctx(), admin, []string{runID})
	b.must(err)
	return list
}

// judges are the names of the policy sets that apply to a run.
func (b *bench) judges(runID string) []string {
	b.Helper()
	names := []string{}
	for _, c := range b.checksOf(runID) {
		for _, o := range b.outcomesOf(c.ID) {
			names = append(names, o.PolicySetName)
		}
	}
	return names
}

func (b *bench) outcomesOf(checkID string, filters ...polset.OutcomeFilter) []polset.PolicySetOutcome {
	b.Helper()
	list, total, err := b.PolicySetOutcomes(b.ctx(), admin, checkID, filters, onePage)
	b.must(err)
	if total != len(list) {
		b.Fatalf("%d of %d outcomes", len(list), total)
	}
	return list
}

// TestCheckApplies says which policy sets apply to a workspace: net is in the
// project infra, which is tagged env=prod and owner=net; it is tagged env=test
// itself, and zone.
func TestCheckApplies(t *testing.T) {
	onBoth(t, func(b *bench) {
		infra := b.project("infra", polset.TagBinding{Key: "env", Value: "prod"}, polset.TagBinding{Key: "owner", Value: "net"})
		w, err := b.CreateWorkspace(b.ctx(), admin, polset.WorkspaceDraft{
			Organization: "acme", Name: "net", ProjectID: infra.ID, TagBindings: []polset.TagBinding{{Key: "env", Value: "test"}, {Key: "zone"}},
		})
		b.must(err)
		other, elsewhere := b.workspace("other"), b.project("elsewhere")

		has := func(key string, value ...string) polset.TagSelector {
			s := polset.TagSelector{Key: key}
			if len(value) > 0 {
				s.Value = &value[0]
			}
			return s
		}
		not := func(key string, value ...string) polset.TagSelector {
			s := has(key, value...)
			s.Exclude = true
			return s
		}
		type scope struct {
			global, named, project bool
			logic                  string
			tags                   []polset.TagSelector
		}
		scopes := []struct {
			name    string
			scope   scope
			applies bool
		}{
			{"nothing", scope{}, false},
			{"global", scope{global: true}, true},
			{"workspace", scope{named: true}, true},
			{"project", scope{project: true}, true},
			{"own-tag", scope{tags: []polset.TagSelector{has("env", "test")}}, true},
			{"own-key", scope{tags: []polset.TagSelector{has("zone")}}, true},
			{"own-key-empty-value", scope{tags: []polset.TagSelector{has("zone", "")}}, true},
			{"inherited-tag", scope{tags: []polset.TagSelector{has("owner", "net")}}, true},
			{"inherited-key", scope{tags: []polset.TagSelector{has("owner")}}, true},
			{"overridden-tag", scope{tags: []polset.TagSelector{has("env", "prod")}}, false},
			{"absent-tag", scope{tags: []polset.TagSelector{has("absent")}}, false},
			{"other-case", scope{tags: []polset.TagSelector{has("Env")}}, false},
			{"any", scope{logic: "any", tags: []polset.TagSelector{has("env", "prod"), has("zone")}}, true},
			{"any-by-default", scope{tags: []polset.TagSelector{has("env", "prod"), has("zone")}}, true},
			{"any-of-none", scope{logic: "any", tags: []polset.TagSelector{has("env", "prod"), has("absent")}}, false},
			{"all", scope{logic: "all", tags: []polset.TagSelector{has("env", "test"), has("owner"), has("zone")}}, true},
			{"all-but-one", scope{logic: "all", tags: []polset.TagSelector{has("env", "prod"), has("zone")}}, false},
			{"all-but-absent", scope{logic: "all", tags: []polset.TagSelector{has("zone"), has("absent")}}, false},
			{"all-but-named", scope{named: true, logic: "all", tags: []polset.TagSelector{has("absent")}}, true},
			{"everything", scope{global: true, named: true, project: true, tags: []polset.TagSelector{has("zone")}}, true},
		}
		exclusions := []struct {
			name               string
			workspace, project bool
			tags               []polset.TagSelector
			logic              string
			kept               bool // off
		}{
			{name: "none"},
			{name: "workspace", workspace: true, kept: true},
			{name: "project", project: true, kept: true},
			{name: "own-tag", tags: []polset.TagSelector{not("env", "test")}, kept: true},
			{name: "inherited-tag", tags: []polset.TagSelector{not("owner")}, kept: true},
			{name: "overridden-tag", tags: []polset.TagSelector{not("env", "prod")}},
			{name: "absent-tag", tags: []polset.TagSelector{not("absent")}},
			{name: "one-of-two", tags: []polset.TagSelector{not("absent"), not("zone")}, kept: true},
			// The logic is that of what includes.
			{name: "one-of-all", tags: []polset.TagSelector{not("absent"), not("zone")}, logic: "all", kept: true},
		}
		var want []string
		for _, s := range scopes {
			for _, e := range exclusions {
				name := s.name + "--" + e.name
				p, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{Organization: "acme", Name: name, Kind: polset.KindOPA})
				b.must(err)
				logic := s.scope.logic
				if logic == "" {
					logic = e.logic
				}
				if s.applies && !e.kept {
					want = append(want, name)
				}
				// Behind the store's back, which does not let some of them be made
				// together: what applies must not hang on that.
				b.exec("UPDATE policy_sets SET global = $1, tag_matching_logic = $2 WHERE id = $3", s.scope.global, logic, p.ID)
				attach := func(to, column, id string, excluded bool) {
					b.exec("INSERT INTO policy_set_"+to+" (policy_set_id, "+column+", excluded) VALUES ($1, $2, $3)", p.ID, id, excluded)
				}
				attach("workspaces", "workspace_id", other.ID, !s.scope.named) // somebody else's place changes nothing
				attach("projects", "project_id", elsewhere.ID, !s.scope.project)
				if s.scope.named {
					attach("workspaces", "workspace_id", w.ID, false)
				}
				if s.scope.project {
					attach("projects", "project_id", infra.ID, false)
				}
				if e.workspace {
					attach("workspaces", "workspace_id", w.ID, true)
				}
				if e.project {
					attach("projects", "project_id", infra.ID, true)
				}
				for _, t := range append(slices.Clone(s.scope.tags), e.tags...) {
					var value any
					if t.Value != nil {
						value = *t.Value
					}
					b.exec("INSERT INTO policy_set_tag_selectors (policy_set_id, tag_key, tag_value, excluded) VALUES ($1, $2, $3, $4)", p.ID, t.Key, value, t.Exclude)
				}
			}
		}
		// Another organization's, with our tags, in our workspace and project.
		theirs := b.organization("theirs")
		for _, name := range []string{"global", "tagged", "named"} {
			_, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{Organization: "theirs", Name: name, Kind: polset.KindOPA, Global: true})
			b.must(err)
		}
		b.exec(`INSERT INTO policy_set_tag_selectors (policy_set_id, tag_key, excluded) SELECT id, 'zone', false FROM policy_sets WHERE organization_id = $1`, theirs.ID)
		b.exec(`INSERT INTO policy_set_workspaces (policy_set_id, workspace_id, excluded) SELECT id, $2, false FROM policy_sets WHERE organization_id = $1`, theirs.ID, w.ID)

		slices.Sort(want)
		run := b.runOf(w.ID)
		got := b.judges(run.ID)
		if diff := cmp.Diff(want, got); diff != "" {
			b.Error(diff)
		}
		if len(want) < 30 || len(want) > len(scopes)*len(exclusions)-30 {
			b.Errorf("%d of %d apply: the table says little", len(want), len(scopes)*len(exclusions))
		}
		b.verify()
	})
}

// The run's checks are those of HCP Terraform's two faces, the sets of each by
// name; without a set there is nothing to wait for.
func TestCheckGroups(t *testing.T) {
	onBoth(t, func(b *bench) {
		w := b.workspace("net")
		free := b.runOf(w.ID)
		if free.Status != polset.RunPlanned || len(free.ReachedAt) != 1 || free.ReachedAt[polset.RunPlanned].IsZero() || len(b.checksOf(free.ID)) != 0 {
			b.Errorf("without policy sets: %+v", free)
		}
		select {
		case <-b.CheckDue():
			b.Error("woken for nothing")
		default:
		}
		b.guard(polset.PolicySetDraft{Name: "z-opa", Global: true, Overridable: ptr(true), Description: "why"})
		b.guard(polset.PolicySetDraft{Name: "a-opa", Global: true})
		b.guard(polset.PolicySetDraft{Name: "sentinel", Kind: polset.KindSentinel, Global: true})
		b.guard(polset.PolicySetDraft{Name: "agent", Kind: polset.KindSentinel, Global: true, AgentEnabled: true, PolicyToolVersion: "0.40.0", Overridable: ptr(true)})
		for range 2 {
			select { // the materializer's wake is not this one
			case <-b.CheckDue():
			default:
			}
		}
		run := b.runOf(w.ID)
		select {
		case <-b.CheckDue():
		default:
			b.Error("nobody was woken")
		}
		if run.Status != polset.RunPending || len(run.ReachedAt) != 0 {
			b.Errorf("run %+v", run)
		}
		checks := b.checksOf(run.ID)
		var got []string
		for _, c := range checks {
			one := fmt.Sprintf("%s %s %v:", strings.SplitN(c.ID, "-", 2)[0], c.Kind, c.Evaluation)
			for _, o := range b.outcomesOf(c.ID) {
				one += " " + o.PolicySetName
				if again, err := b.PolicySetOutcome(b.ctx(), admin, o.ID); err != nil || !cmp.Equal(o, again) {
					b.Error(cmp.Diff(o, again), err)
				}
				if v := b.version(o.VersionID); o.CheckID != c.ID || o.Kind != c.Kind || v.PolicySetID != o.PolicySetID || o.Digest != v.Artifact.Digest || len(o.Policies) != 0 || o.CreatedAt.IsZero() {
					b.Errorf("outcome %+v", o)
				}
			}
			got = append(got, one)
			if again, err := b.Check(b.ctx(), admin, c.ID); err != nil || !cmp.Equal(c, again) {
				b.Error(cmp.Diff(c, again), err)
			}
			if c.RunID != run.ID || c.WorkspaceID != w.ID || c.OrganizationID != b.org.ID || c.Organization != "acme" || c.Status != polset.CheckPending || len(c.ReachedAt) != 0 || c.Override != nil || !c.CreatedAt.Equal(run.CreatedAt) {
				b.Errorf("check %+v", c)
			}
		}
		if want := []string{"poleval opa true: a-opa z-opa", "poleval sentinel true: agent", "polchk sentinel false: sentinel"}; !slices.Equal(got, want) {
			b.Errorf("checks %q, want %q", got, want)
		}
		if o := b.outcomesOf(checks[0].ID)[1]; !o.Overridable || o.PolicySetDescription != "why" {
			b.Errorf("outcome %+v", o)
		}
		if o := b.outcomesOf(checks[1].ID)[0]; o.PolicyToolVersion != "0.40.0" || !o.Overridable {
			b.Errorf("outcome %+v", o)
		}
		if list, err := b.ChecksOfRuns(b.ctx(), admin, []string{run.ID, free.ID, "run-none"}); err != nil || !cmp.Equal(list, checks) {
			b.Errorf("checks of several runs: %+v, %v", list, err)
		}
		// The trail says what judges the run.
		details := b.detailsOf("run.created", run.ID)
		for _, c := range checks {
			for _, o := range b.outcomesOf(c.ID) {
				if want := o.VersionID + " " + o.Digest; details[o.PolicySetID] != want {
					b.Errorf("the trail says %q of %s, want %q", details[o.PolicySetID], o.PolicySetName, want)
				}
			}
		}
		configuration, err := b.ConfigurationVersion(b.ctx(), admin, run.ConfigurationVersionID)
		b.must(err)
		if details["digest"] != configuration.Digest || details["workspace"] != w.ID {
			b.Errorf("the trail says %v", details)
		}
		b.verify()
	})
}

// detailsOf are the details of the only entry of an action on a subject.
func (b *bench) detailsOf(action, subject string) map[string]string {
	b.Helper()
	var found []map[string]string
	list, _, err := b.AuditTrail(b.ctx(), admin, time.Time{}, polset.Page{Number: 1, Size: 1000})
	b.must(err)
	for _, e := range list {
		if e.Action == action && e.Subject == subject {
			found = append(found, e.Details)
		}
	}
	if len(found) != 1 {
		b.Fatalf("%d entries tell of %s of %s", len(found), action, subject)
	}
	return found[0]
}

// What a run is judged by does not change any more, whatever becomes of the
// policy set.
func TestCheckSnapshotStays(t *testing.T) {
	onBoth(t, func(b *bench) {
		w := b.workspace("net")
		p := b.guard(polset.PolicySetDraft{Name: "net", Global: true, Description: "then", Overridable: ptr(true)})
		shown, err := b.CreateParameter(b.ctx(), admin, p.ID, polset.ParameterDraft{Key: "size", Value: polset.NewSecret("3")})
		b.must(err)
		hidden, err := b.CreateParameter(b.ctx(), admin, p.ID, polset.ParameterDraft{Key: "token", Value: polset.NewSecret("s3cr3t-then"), Sensitive: true})
		b.must(err)
		run := b.runOf(w.ID)
		if strings.Contains(b.dump(), "s3cr3t") {
			b.Error("the database holds a secret in the clear")
		}

		b.must(second(b.UpdatePolicySet(b.ctx(), admin, p.ID, polset.PolicySetChange{
			Name: ptr("renamed"), Description: ptr("now"), Overridable: ptr(false), Global: ptr(false),
		})))
		b.upload(b.awaiting(p.ID).ID)
		changed := polset.NewSecret("s3cr3t-now")
		b.must(second(b.UpdateParameter(b.ctx(), admin, p.ID, hidden.ID, polset.ParameterChange{Value: &changed})))
		b.must(b.DeleteParameter(b.ctx(), admin, p.ID, shown.ID))
		b.must(second(b.CreateParameter(b.ctx(), admin, p.ID, polset.ParameterDraft{Key: "later"})))
		b.exec("DELETE FROM configuration_versions WHERE id = $1", run.ConfigurationVersionID)
		if later := b.runOf(w.ID); later.Status != polset.RunPlanned {
			b.Errorf("a later run %+v", later)
		}
		v := b.version(p.CurrentVersionID)
		check := func(task polset.CheckTask) {
			b.Helper()
			if len(task.Sets) != 1 {
				b.Fatalf("task %+v", task)
			}
			s := task.Sets[0]
			o := s.Outcome
			if o.PolicySetID != p.ID || o.PolicySetName != "net" || o.PolicySetDescription != "then" || !o.Overridable || o.Kind != polset.KindOPA ||
				o.VersionID != v.ID || o.Digest != v.Artifact.Digest || o.Error != "" {
				b.Errorf("outcome %+v", o)
			}
			if !cmp.Equal(s.Policies, v.Artifact.Policies) {
				b.Error(cmp.Diff(s.Policies, v.Artifact.Policies))
			}
			want := []polset.ParameterDraft{
				{Key: "size", Value: polset.NewSecret("3")}, {Key: "token", Value: polset.NewSecret("s3cr3t-then"), Sensitive: true},
			}
			if !slices.Equal(s.Parameters, want) {
				b.Errorf("parameters %d: %+v", len(s.Parameters), s.Parameters)
			}
			if task.PlanDigest != digestOf(run.ConfigurationVersionID) || !task.At.Equal(run.CreatedAt) {
				b.Errorf("plan %s at %s", task.PlanDigest, task.At)
			}
		}
		check(b.dueCheck())
		b.must(b.DeletePolicySet(b.ctx(), admin, p.ID))
		b.expireChecks()
		again := b.dueCheck()
		check(again)

		// Another key, as long as somebody needs the secret.
		sealed := func() []byte {
			b.Helper()
			var column []byte
			b.must(b.dialect.reader().QueryRowContext(b.ctx(), "SELECT sealed_parameters FROM policy_set_outcomes").Scan(&column))
			return column
		}
		before := sealed()
		old := b.config.Key
		other, err := ParseKey(NewKey())
		b.must(err)
		b.config.Key = Key{keys: [][keySize]byte{other.keys[0], old.keys[0]}}
		rotated := b.node()
		if slices.Equal(before, sealed()) {
			b.Error("the secret was not sealed anew")
		}
		b.Store = rotated
		b.expireChecks()
		again = b.dueCheck()
		check(again)
		b.must(b.SettleCheck(b.ctx(), again, says(again, "passed")))
		if len(sealed()) != 0 {
			b.Error("the secret outlives the check")
		}
		if o := b.outcomesOf(again.Check.ID)[0]; o.PolicySetName != "net" || o.Counts.Passed != 1 {
			b.Errorf("outcome %+v", o)
		}
		if r, err := b.Run(b.ctx(), admin, run.ID); err != nil || r.Status != polset.RunPostPlanCompleted || r.ConfigurationVersionID != "" {
			b.Errorf("run %+v, %v", r, err)
		}
		b.verify()
	})
}

// What policies see of a run is written down with it.
func TestCheckInput(t *testing.T) {
	onBoth(t, func(b *bench) {
		b.guard(polset.PolicySetDraft{Name: "net", Global: true})
		p, err := b.CreateProject(b.ctx(), admin, polset.ProjectDraft{
			Organization: "acme", Name: "infra", TagBindings: []polset.TagBinding{{Key: "env", Value: "prod"}, {Key: "owner", Value: "net"}},
			Settings: map[string]any{"default-execution-mode": "local"},
		})
		b.must(err)
		w, err := b.CreateWorkspace(b.ctx(), admin, polset.WorkspaceDraft{
			Organization: "acme", Name: "net", Description: "what", ProjectID: p.ID, TagBindings: []polset.TagBinding{{Key: "env", Value: "test"}},
			Settings: map[string]any{"auto-apply": true, "working-directory": "a/b"},
		})
		b.must(err)
		c := b.configuration(w.ID, false)
		run, err := b.CreateRun(b.ctx(), admin, polset.RunDraft{WorkspaceID: w.ID, ConfigurationVersionID: c.ID, Message: "why", Settings: map[string]any{
			"is-destroy": true, "refresh": false, "refresh-only": true, "plan-only": true, "replace-addrs": []string{"a.b"}, "target-addrs": []string{"c.d", "e.f"},
			"variables": []map[string]any{{"key": "size", "value": `"3"`}},
		}})
		b.must(err)
		var got polset.RunInput
		text := b.dueCheck().Input
		b.must(json.Unmarshal(text, &got))
		want := polset.RunInput{
			ID: run.ID, CreatedAt: run.CreatedAt, CreatedBy: admin.Actor, Message: "why", IsDestroy: true, RefreshOnly: true, Speculative: true,
			ReplaceAddrs: []string{"a.b"}, TargetAddrs: []string{"c.d", "e.f"}, Variables: map[string]polset.RunVariable{"size": {Category: "terraform"}},
			Project: polset.RunProject{ID: p.ID, Name: "infra"}, Organization: polset.RunOrganization{Name: "acme"},
			Workspace: polset.RunWorkspace{
				ID: w.ID, Name: "net", CreatedAt: w.CreatedAt, Description: "what", ExecutionMode: "local", AutoApply: true, WorkingDirectory: "a/b",
				Tags: []string{"env", "owner"}, TagBindings: []polset.RunTag{{Key: "env", Value: "test"}, {Key: "owner", Value: "net"}},
			},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			b.Error(diff)
		}
		if strings.Contains(string(text), `\"3\"`) {
			b.Errorf("a variable's value is shown to policies: %s", text)
		}

		// An upload that queues its run; of what nobody set, the defaults.
		plain := b.workspace("plain")
		queued := b.configuration(plain.ID, true)
		list, _, err := b.Runs(b.ctx(), admin, plain.ID, polset.RunFilter{}, onePage)
		b.must(err)
		task := b.dueCheck()
		if task.PlanDigest != queued.Digest || task.Check.RunID != list[0].ID {
			b.Errorf("task %+v of %+v", task, list)
		}
		var raw map[string]any
		b.must(json.Unmarshal(task.Input, &raw))
		for _, name := range []string{"replace_addrs", "target_addrs"} {
			if list, ok := raw[name].([]any); !ok || len(list) != 0 {
				b.Errorf("%s is %v", name, raw[name])
			}
		}
		in := raw["workspace"].(map[string]any) //nolint:forcetypeassert // a test
		if raw["refresh"] != true || raw["is_destroy"] != false || raw["speculative"] != false || in["execution_mode"] != "remote" || in["vcs_repo"] != nil ||
			len(in["tags"].([]any)) != 0 || len(in["tag_bindings"].([]any)) != 0 || len(raw["variables"].(map[string]any)) != 0 { //nolint:forcetypeassert // a test
			b.Errorf("input %s", task.Input)
		}
	})
}

// A run whose policies have more than it may keep is none, and says so; nothing of it
// is left, and runs of other workspaces go on.
func TestCheckSnapshotLimit(t *testing.T) {
	onBoth(t, func(b *bench) {
		w, other := b.workspace("net"), b.workspace("other")
		p := b.guard(polset.PolicySetDraft{Name: "large"})
		b.must(b.AddMembers(b.ctx(), admin, p.ID, polset.RelationWorkspaces, []string{w.ID}))
		b.runOf(w.ID)
		b.exec("UPDATE versions SET policies = $1", `[{"name":"`+strings.Repeat("y", maxRunPolicies)+`"}]`)
		c := b.configuration(w.ID, false)
		_, err := b.CreateRun(b.ctx(), admin, polset.RunDraft{WorkspaceID: w.ID, ConfigurationVersionID: c.ID})
		var f *polset.Failure
		if !errors.As(err, &f) || f.Class != polset.ClassLimit || f.Retry || !strings.Contains(f.Message, "more than 16 MiB") {
			b.Fatalf("got %v", err)
		}
		if n := b.count("SELECT count(*) FROM runs"); n != 1 {
			b.Errorf("there are %d runs", n)
		}
		b.runOf(other.ID)
	})
}

// A run takes the same number of statements however many policy sets apply, and
// one of many is found without looking at the others.
func TestStatementsOfARun(t *testing.T) {
	onBoth(t, func(b *bench) {
		w := b.workspace("net")
		b.must(second(b.BindWorkspaceTags(b.ctx(), admin, w.ID, []polset.TagBinding{{Key: "env", Value: "test"}})))
		c := b.configuration(w.ID, false)
		made, before := 0, int64(0)
		for _, n := range []int{1, 10, 100} {
			for ; made < n; made++ {
				d := polset.PolicySetDraft{Name: fmt.Sprint("n", made), Global: true}
				if made%2 == 1 {
					d.Global, d.TagSelectors = false, []polset.TagSelector{{Key: "env"}}
				}
				p := b.guard(d)
				b.must(second(b.CreateParameter(b.ctx(), admin, p.ID, polset.ParameterDraft{Key: "a", Sensitive: true})))
			}
			var counted counting
			var run polset.Run
			b.must(b.write(b.ctx(), admin, func(ctx context.Context, tx *tx) error {
				counted = counting{DBTX: tx.db, statements: new(int64)}
				tx.db, tx.Queries = counted, rows.New(counted)
				w, err := tx.workspaceOfRun(ctx, admin, w.ID)
				b.must(err)
				row, err := tx.ConfigurationVersion(ctx, rows.ConfigurationVersionParams{ID: c.ID})
				b.must(err)
				run, err = b.insertRun(ctx, tx, w, row, polset.RunDraft{WorkspaceID: w.ID})
				return err
			}))
			if got := len(b.judges(run.ID)); got != n {
				b.Fatalf("%d of %d sets apply", got, n)
			}
			if got := *counted.statements; got > 25 || before > 0 && got != before {
				b.Errorf("a run with %d sets takes %d statements, and took %d", n, got, before)
			}
			before = *counted.statements
		}
	})
}

// What a run keeps of parameters is bounded, whoever makes it.
func TestCheckParametersAreBounded(t *testing.T) {
	onBoth(t, func(b *bench) {
		w := b.workspace("net")
		c := b.configuration(w.ID, false)
		queued, err := b.CreateConfigurationVersion(b.ctx(), admin, polset.ConfigurationDraft{WorkspaceID: w.ID, AutoQueueRuns: true})
		b.must(err)
		const sets = 4
		ids := map[string]string{} // of the last parameter, by its set
		for n := range sets {
			p := b.guard(polset.PolicySetDraft{Name: fmt.Sprint("n", n), Global: true})
			value := polset.NewSecret(strings.Repeat("x", polset.MaxRunParameters/sets-200))
			d := polset.ParameterDraft{Key: "large", Value: value, Sensitive: n%2 == 0}
			b.must(second(b.CreateParameter(b.ctx(), admin, p.ID, d)))
			small, err := b.CreateParameter(b.ctx(), admin, p.ID, polset.ParameterDraft{Key: "small"})
			b.must(err)
			ids[p.ID] = small.ID
		}
		draft := polset.RunDraft{WorkspaceID: w.ID, ConfigurationVersionID: c.ID}
		run, err := b.CreateRun(b.ctx(), admin, draft)
		b.must(err)
		if task := b.dueCheck(); len(task.Sets) != sets || len(task.Sets[0].Parameters[0].Value.Reveal()) != polset.MaxRunParameters/sets-200 {
			b.Errorf("run %+v has %d sets", run, len(task.Sets))
		}
		more := polset.NewSecret(strings.Repeat("x", 300))
		for set, id := range ids {
			b.must(second(b.UpdateParameter(b.ctx(), admin, set, id, polset.ParameterChange{Value: &more})))
		}
		_, created := b.CreateRun(b.ctx(), admin, draft)
		_, uploaded := b.UploadConfigurationVersion(b.ctx(), admin, queued.ID, "d", 1)
		for _, err := range []error{created, uploaded} {
			var f *polset.Failure
			if !errors.As(err, &f) || f.Class != polset.ClassLimit || !strings.Contains(f.Message, fmt.Sprint(polset.MaxRunParameters)) {
				b.Errorf("got %v", err)
			}
		}
		if list, _, err := b.Runs(b.ctx(), admin, w.ID, polset.RunFilter{}, onePage); err != nil || len(list) != 1 {
			b.Errorf("%d runs, %v", len(list), err)
		}
		if c, err := b.ConfigurationVersion(b.ctx(), admin, queued.ID); err != nil || c.Status != polset.ConfigurationPending {
			b.Errorf("configuration version %+v, %v", c, err)
		}
		b.verify()
	})
}

// An interrupted transaction has something happen before its first statement
// with a text in it.
type interrupted struct {
	rows.DBTX
	text string
	once *sync.Once
	do   func()
}

func (i interrupted) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if strings.Contains(query, i.text) {
		i.once.Do(i.do)
	}
	return i.DBTX.QueryContext(ctx, query, args...)
}

// interruptedRun makes a run, and has something happen in between.
func (b *bench) interruptedRun(workspaceID, text string, do func()) polset.Run {
	b.Helper()
	c := b.configuration(workspaceID, false)
	var run polset.Run
	var once sync.Once
	b.must(b.write(b.ctx(), admin, func(ctx context.Context, tx *tx) error {
		tx.db = interrupted{tx.db, text, &once, do}
		tx.Queries = rows.New(tx.db)
		w, err := tx.workspaceOfRun(ctx, admin, workspaceID)
		if err != nil {
			return err
		}
		row, err := tx.ConfigurationVersion(ctx, rows.ConfigurationVersionParams{ID: c.ID})
		b.must(err)
		run, err = b.insertRun(ctx, tx, w, row, polset.RunDraft{WorkspaceID: w.ID})
		return err
	}))
	once.Do(func() { b.Fatalf("no statement with %q", text) })
	return run
}

// The version that judges a run and its parameters are those of one moment, and
// so is the place of its workspace. SQLite has one writer at a time.
func TestCheckSnapshotIsOfOneMoment(t *testing.T) {
	t.Parallel()
	b := newBench(t, polsettest.Postgres(t))
	w := b.workspace("net")
	p := b.guard(polset.PolicySetDraft{Name: "net", Members: polset.Members{Workspaces: []string{w.ID}}})
	judge := func(run polset.Run) polset.CheckSet {
		b.Helper()
		task := b.dueCheck()
		if task.Check.RunID != run.ID || len(task.Sets) != 1 {
			b.Fatalf("task %+v of %+v", task, run)
		}
		return task.Sets[0]
	}
	before := b.set(p.ID).CurrentVersionID
	var limit polset.Parameter
	got := judge(b.interruptedRun(w.ID, "FROM policy_sets LEFT JOIN versions", func() {
		var err error
		limit, err = b.CreateParameter(b.ctx(), admin, p.ID, polset.ParameterDraft{Key: "limit"})
		b.must(err)
		b.upload(b.awaiting(p.ID).ID)
	}))
	if len(got.Parameters) != 1 || got.Outcome.VersionID == before {
		b.Errorf("of a version with its parameter the run has %+v", got)
	}
	for what, text := range map[string]string{"before": "FROM policy_set_parameters", "after": "SELECT policy_sets.id, (CASE"} {
		if limit.ID == "" {
			var err error
			limit, err = b.CreateParameter(b.ctx(), admin, p.ID, polset.ParameterDraft{Key: "limit"})
			b.must(err)
		}
		before = b.set(p.ID).CurrentVersionID
		got = judge(b.interruptedRun(w.ID, text, func() {
			b.upload(b.awaiting(p.ID).ID)
			b.must(b.DeleteParameter(b.ctx(), admin, p.ID, limit.ID))
			limit.ID = ""
		}))
		if after := b.set(p.ID).CurrentVersionID; len(got.Parameters) != 0 || got.Outcome.VersionID != after || after == before {
			b.Errorf("%s its parameters were read, a version that needs none: %+v", what, got)
		}
	}

	// Nobody moves the workspace between the statements.
	project, err := b.CreateProject(b.ctx(), admin, polset.ProjectDraft{Organization: "acme", Name: "infra"})
	b.must(err)
	run := b.interruptedRun(w.ID, "FROM tag_bindings", func() {
		_, err := b.dialect.writer().ExecContext(b.ctx(), "SELECT 1 FROM workspaces WHERE id = $1 FOR NO KEY UPDATE NOWAIT", w.ID)
		if err == nil || !b.dialect.retriable(err) {
			b.Errorf("the workspace may be moved to %s meanwhile: %v", project.ID, err)
		}
	})
	judge(run)
	b.verify()
}

type counting struct {
	rows.DBTX
	statements *int64
}

func (c counting) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	*c.statements++
	return c.DBTX.ExecContext(ctx, query, args...)
}

func (c counting) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	*c.statements++
	return c.DBTX.QueryContext(ctx, query, args...)
}

func (c counting) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	*c.statements++
	return c.DBTX.QueryRowContext(ctx, query, args...)
}
