package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
)

var onePage = polset.Page{Number: 1, Size: 100}

// workspace makes a workspace in the default project.
func (b *bench) workspace(name string) polset.Workspace {
	b.Helper()
	w, err := b.CreateWorkspace(b.ctx(), admin, polset.WorkspaceDraft{Organization: b.org.Name, Name: name})
	b.must(err)
	return w
}

// project makes a project.
func (b *bench) project(name string, tags ...polset.TagBinding) polset.Project {
	b.Helper()
	p, err := b.CreateProject(b.ctx(), admin, polset.ProjectDraft{Organization: b.org.Name, Name: name, TagBindings: tags})
	b.must(err)
	return p
}

func TestWorkspaces(t *testing.T) {
	onBoth(t, func(b *bench) {
		main, err := b.Project(b.ctx(), admin, b.org.DefaultProjectID)
		b.must(err)
		if main.Name != polset.DefaultProject || !main.Default || main.Organization != b.org.Name {
			b.Fatalf("default project %+v", main)
		}
		w, err := b.CreateWorkspace(b.ctx(), admin, polset.WorkspaceDraft{
			Organization: b.org.Name, Name: "net", Description: "the network", Settings: map[string]any{"auto-apply": true},
			TagBindings: []polset.TagBinding{{Key: "team", Value: "net"}, {Key: "env", Value: "prod"}},
		})
		b.must(err)
		if w.ProjectID != main.ID || len(w.Tags) != 2 || w.Tags[0].Key != "env" || w.Settings["auto-apply"] != true {
			b.Fatalf("workspace %+v", w)
		}
		read, err := b.Workspace(b.ctx(), admin, w.ID)
		b.must(err)
		byName, err := b.WorkspaceByName(b.ctx(), admin, b.org.Name, "net")
		b.must(err)
		listed, total, err := b.Workspaces(b.ctx(), admin, b.org.Name, polset.WorkspaceFilter{}, onePage)
		b.must(err)
		byID, err := b.WorkspacesByID(b.ctx(), admin, []string{w.ID, "ws-none"})
		b.must(err)
		if total != 1 || len(listed) != 1 || len(byID) != 1 {
			b.Fatalf("listed %d of %d, by id %d", len(listed), total, len(byID))
		}
		unchanged, err := b.UpdateWorkspace(b.ctx(), admin, w.ID, polset.WorkspaceChange{})
		b.must(err)
		for _, got := range []polset.Workspace{read, byName, listed[0], byID[0], unchanged} {
			if diff := cmp.Diff(w, got); diff != "" {
				b.Error(diff)
			}
		}
		b.must(b.DeleteWorkspace(b.ctx(), admin, w.ID))
		b.want(second(b.Workspace(b.ctx(), admin, w.ID)), polset.ErrNotFound)
		if n := b.count("SELECT count(*) FROM tag_bindings"); n != 0 {
			b.Errorf("%d tags are left", n)
		}
		b.verify()
	})
}

func TestProjects(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.project("net", polset.TagBinding{Key: "env", Value: "prod"})
		b.want(second(b.CreateProject(b.ctx(), admin, polset.ProjectDraft{Organization: b.org.Name, Name: "net"})), polset.ErrConflict)
		taken := polset.DefaultProject
		b.want(second(b.UpdateProject(b.ctx(), admin, p.ID, polset.ProjectChange{Name: &taken})), polset.ErrConflict)
		name, w := "network", b.workspace("one")
		renamed, err := b.UpdateProject(b.ctx(), admin, p.ID, polset.ProjectChange{Name: &name, Settings: map[string]any{"a": 1.0}})
		b.must(err)
		if renamed.Name != name || renamed.Settings["a"] != 1.0 || len(renamed.Tags) != 1 {
			b.Errorf("renamed %+v", renamed)
		}
		b.must(second(b.UpdateWorkspace(b.ctx(), admin, w.ID, polset.WorkspaceChange{ProjectID: &p.ID})))
		b.want(b.DeleteProject(b.ctx(), admin, p.ID), polset.ErrConflict)
		b.want(b.DeleteProject(b.ctx(), admin, b.org.DefaultProjectID), polset.ErrConflict)
		// The default project may have another name, and stays the default.
		b.must(second(b.UpdateProject(b.ctx(), admin, b.org.DefaultProjectID, polset.ProjectChange{Name: ptr("main")})))
		if b.workspace("two").ProjectID != b.org.DefaultProjectID {
			b.Error("a workspace without a project went elsewhere")
		}
		b.must(b.DeleteWorkspace(b.ctx(), admin, w.ID))
		b.must(b.DeleteProject(b.ctx(), admin, p.ID))
		b.want(second(b.Project(b.ctx(), admin, p.ID)), polset.ErrNotFound)
		b.verify()
	})
}

func ptr[T any](value T) *T { return &value }

// TestSettingsMerge has two changes of one thing at once, each of a setting of
// its own: neither undoes the other.
func TestSettingsMerge(t *testing.T) {
	onBoth(t, func(b *bench) {
		w, p := b.workspace("net"), b.project("net")
		var group sync.WaitGroup
		for i := range 6 {
			change := map[string]any{fmt.Sprintf("s%d", i): float64(i)}
			group.Go(func() {
				b.check(second(b.UpdateWorkspace(b.ctx(), admin, w.ID, polset.WorkspaceChange{Settings: change})))
			})
			group.Go(func() { b.check(second(b.UpdateProject(b.ctx(), admin, p.ID, polset.ProjectChange{Settings: change}))) })
			group.Go(func() {
				b.check(second(b.UpdateOrganization(b.ctx(), admin, b.org.Name, polset.OrganizationChange{Settings: change})))
			})
		}
		group.Wait()
		w, err := b.Workspace(b.ctx(), admin, w.ID)
		b.must(err)
		p, err = b.Project(b.ctx(), admin, p.ID)
		b.must(err)
		o, err := b.Organization(b.ctx(), admin, b.org.Name)
		b.must(err)
		for what, settings := range map[string]map[string]any{"workspace": w.Settings, "project": p.Settings, "organization": o.Settings, "organization of the project": p.OrganizationSettings} {
			if len(settings) != 6 {
				b.Errorf("%s: %v", what, settings)
			}
		}
		w, err = b.UpdateWorkspace(b.ctx(), admin, w.ID, polset.WorkspaceChange{Settings: map[string]any{"s0": nil, "s1": "x"}})
		b.must(err)
		if _, ok := w.Settings["s0"]; ok || w.Settings["s1"] != "x" || len(w.Settings) != 5 {
			b.Errorf("settings %v", w.Settings)
		}
		b.verify()
	})
}

// check is must for goroutines that are not the test's own.
func (b *bench) check(err error) {
	if err != nil {
		b.Error(err)
	}
}

// TestNamesAtOnce has many make a thing of one name at once: one succeeds, the
// others are told that the name is taken.
func TestNamesAtOnce(t *testing.T) {
	onBoth(t, func(b *bench) {
		taken := b.workspace("taken")
		for what, f := range map[string]func(int) error{
			"organizations": func(int) error {
				return second(b.CreateOrganization(b.ctx(), admin, polset.Organization{Name: "same"}))
			},
			"projects": func(int) error {
				return second(b.CreateProject(b.ctx(), admin, polset.ProjectDraft{Organization: b.org.Name, Name: "same"}))
			},
			"workspaces": func(int) error {
				return second(b.CreateWorkspace(b.ctx(), admin, polset.WorkspaceDraft{Organization: b.org.Name, Name: "same"}))
			},
			"renames": func(i int) error {
				if i == 0 {
					return second(b.UpdateWorkspace(b.ctx(), admin, taken.ID, polset.WorkspaceChange{Name: ptr("other")}))
				}
				return second(b.CreateWorkspace(b.ctx(), admin, polset.WorkspaceDraft{Organization: b.org.Name, Name: "other"}))
			},
			"tools": func(int) error {
				return second(b.CreateToolVersion(b.ctx(), admin, polset.ToolVersion{Tool: polset.KindOPA, Version: "1.0.0"}))
			},
		} {
			var group sync.WaitGroup
			errs := make([]error, 6)
			for i := range errs {
				group.Go(func() { errs[i] = f(i) })
			}
			group.Wait()
			made := 0
			for _, err := range errs {
				switch {
				case err == nil:
					made++
				case !errors.Is(err, polset.ErrConflict):
					b.Errorf("%s: %v", what, err)
				}
			}
			if made != 1 {
				b.Errorf("%s: %d of one name", what, made)
			}
		}
		if n := b.count("SELECT count(*) FROM projects WHERE is_default"); n != 2 {
			b.Errorf("%d default projects of 2 organizations", n)
		}
		b.verify()
	})
}

// TestProjectDeletedMeanwhile has a project deleted while workspaces move in:
// no workspace is ever in a project that is gone.
func TestProjectDeletedMeanwhile(t *testing.T) {
	onBoth(t, func(b *bench) {
		for i := range 5 {
			p := b.project(fmt.Sprintf("p%d", i))
			var group sync.WaitGroup
			var deleted, made error
			group.Go(func() { deleted = b.DeleteProject(b.ctx(), admin, p.ID) })
			group.Go(func() {
				made = second(b.CreateWorkspace(b.ctx(), admin, polset.WorkspaceDraft{Organization: b.org.Name, Name: fmt.Sprintf("w%d", i), ProjectID: p.ID}))
			})
			group.Wait()
			switch {
			case deleted == nil && errors.Is(made, polset.ErrNotFound):
			case made == nil && errors.Is(deleted, polset.ErrConflict):
			default:
				b.Errorf("deleted: %v, made: %v", deleted, made)
			}
		}
		b.verify()
	})
}

// TestCascades deletes what others refer to, and then the organization.
func TestCascades(t *testing.T) {
	onBoth(t, func(b *bench) {
		p, w := b.project("net", polset.TagBinding{Key: "env"}), b.workspace("net")
		set, err := b.CreatePolicySet(b.ctx(), admin, polset.PolicySetDraft{Organization: b.org.Name, Name: "net", Kind: polset.KindOPA})
		b.must(err)
		for _, excluded := range []bool{false, true} {
			b.exec(`INSERT INTO policy_set_workspaces (policy_set_id, workspace_id, excluded) VALUES ($1, $2, $3)`, set.ID, w.ID, excluded)
			b.exec(`INSERT INTO policy_set_projects (policy_set_id, project_id, excluded) VALUES ($1, $2, $3)`, set.ID, p.ID, excluded)
		}
		b.exec(`INSERT INTO connection_projects (connection_id, project_id) VALUES ($1, $2)`, b.conn.ID, p.ID)
		c := b.configuration(w.ID, false)
		b.must(second(b.CreateRun(b.ctx(), admin, polset.RunDraft{WorkspaceID: w.ID, ConfigurationVersionID: c.ID})))

		b.must(b.DeleteWorkspace(b.ctx(), admin, w.ID))
		b.must(b.DeleteProject(b.ctx(), admin, p.ID))
		for _, table := range []string{"policy_set_workspaces", "policy_set_projects", "connection_projects", "tag_bindings", "configuration_versions", "runs"} {
			if n := b.count("SELECT count(*) FROM " + table); n != 0 {
				b.Errorf("%d rows are left in %s", n, table)
			}
		}
		b.must(second(b.PolicySet(b.ctx(), admin, set.ID)))

		w = b.workspace("again")
		b.must(second(b.BindWorkspaceTags(b.ctx(), admin, w.ID, []polset.TagBinding{{Key: "env"}})))
		b.must(second(b.CreateRun(b.ctx(), admin, polset.RunDraft{WorkspaceID: w.ID, ConfigurationVersionID: b.configuration(w.ID, false).ID})))
		b.must(b.DeleteOrganization(b.ctx(), admin, b.org.Name))
		for _, table := range []string{"organizations", "projects", "workspaces", "tag_bindings", "configuration_versions", "runs"} {
			if n := b.count("SELECT count(*) FROM " + table); n != 0 {
				b.Errorf("%d rows are left in %s", n, table)
			}
		}
		b.verify()
	})
}

func TestTags(t *testing.T) {
	onBoth(t, func(b *bench) {
		p := b.project("net", polset.TagBinding{Key: "env", Value: "prod"}, polset.TagBinding{Key: "owner", Value: "net"})
		w, err := b.CreateWorkspace(b.ctx(), admin, polset.WorkspaceDraft{
			Organization: b.org.Name, Name: "net", ProjectID: p.ID, TagBindings: []polset.TagBinding{{Key: "env", Value: "test"}, {Key: "Zone"}},
		})
		b.must(err)
		plain := b.workspace("plain")
		effective, err := b.EffectiveTags(b.ctx(), []polset.Workspace{w, plain})
		b.must(err)
		var got []string
		for _, tag := range effective[w.ID] {
			got = append(got, tag.Key+"="+tag.Value+" "+tag.ProjectID)
		}
		if want := []string{"Zone= ", "env=test ", "owner=net " + p.ID}; !slices.Equal(got, want) || len(effective[plain.ID]) != 0 {
			b.Errorf("in effect are %q, want %q; and %v", got, want, effective[plain.ID])
		}
		for _, c := range []struct {
			tags, not []polset.TagBinding
			want      int
		}{
			{tags: []polset.TagBinding{{Key: "env", Value: "test"}, {Key: "owner", Value: "net"}}, want: 1},
			{tags: []polset.TagBinding{{Key: "env", Value: "prod"}}, want: 0}, // the workspace binds the key itself
			{tags: []polset.TagBinding{{Key: "env"}}, want: 1},
			{tags: []polset.TagBinding{{Key: "zone"}}, want: 0},
			{not: []polset.TagBinding{{Key: "owner"}}, want: 1},
			{tags: []polset.TagBinding{{Key: "env"}}, not: []polset.TagBinding{{Key: "owner", Value: "net"}}, want: 0},
		} {
			_, total, err := b.Workspaces(b.ctx(), admin, b.org.Name, polset.WorkspaceFilter{Tags: c.tags, NotTagged: c.not}, onePage)
			b.must(err)
			if total != c.want {
				b.Errorf("%v, not %v: %d workspaces, want %d", c.tags, c.not, total, c.want)
			}
		}
		changed, err := b.BindWorkspaceTags(b.ctx(), admin, w.ID, []polset.TagBinding{{Key: "env", Value: "dev"}})
		b.must(err)
		if changed.Tags[1].Value != "dev" || changed.Tags[1].ID != w.Tags[1].ID {
			b.Errorf("the binding of a key became another: %+v, %+v", w.Tags, changed.Tags)
		}
		changed, err = b.UnbindWorkspaceTags(b.ctx(), admin, w.ID, []polset.TagBinding{{ID: w.Tags[0].ID}, {Key: "never"}})
		b.must(err)
		if len(changed.Tags) != 1 {
			b.Errorf("tags %+v", changed.Tags)
		}
		many := make([]polset.TagBinding, polset.MaxTagBindings)
		for i := range many {
			many[i].Key = fmt.Sprintf("k%d", i)
		}
		b.want(second(b.BindWorkspaceTags(b.ctx(), admin, w.ID, many)), polset.ErrTooMany)
		full, err := b.UpdateWorkspace(b.ctx(), admin, w.ID, polset.WorkspaceChange{TagBindings: &many})
		b.must(err)
		if len(full.Tags) != polset.MaxTagBindings {
			b.Errorf("%d tags", len(full.Tags))
		}
		b.want(second(b.BindWorkspaceTags(b.ctx(), admin, w.ID, []polset.TagBinding{{Key: "more"}})), polset.ErrTooMany)
		b.verify()
	})
}

// TestOrganizationRenamed gives an organization a new name: what it owns goes
// by that name, its tokens stay its own, and the old name is free.
func TestOrganizationRenamed(t *testing.T) {
	onBoth(t, func(b *bench) {
		token, secret, err := b.CreateToken(b.ctx(), admin, polset.Token{Organization: b.org.Name, Permissions: polset.Permissions()})
		b.must(err)
		w, old := b.workspace("net"), b.org
		renamed, err := b.UpdateOrganization(b.ctx(), admin, old.Name, polset.OrganizationChange{Name: ptr("renamed"), Email: ptr("new@example.com")})
		b.must(err)
		if renamed.ID != old.ID || renamed.DefaultProjectID != old.DefaultProjectID || !renamed.CreatedAt.Equal(old.CreatedAt) || renamed.Email != "new@example.com" {
			b.Errorf("renamed %+v", renamed)
		}
		successor := b.organization(old.Name)
		by, err := b.Authenticate(b.ctx(), secret.Reveal())
		b.must(err)
		if by.OrganizationID != old.ID || by.Actor != token.ID {
			b.Errorf("the token is %+v", by)
		}
		b.want(second(b.Organization(b.ctx(), by, old.Name)), polset.ErrNotFound)
		b.want(second(b.WorkspaceByName(b.ctx(), by, old.Name, "net")), polset.ErrNotFound)
		got, err := b.WorkspaceByName(b.ctx(), by, "renamed", "net")
		b.must(err)
		if got.ID != w.ID || got.Organization != "renamed" || successor.ID == old.ID {
			b.Errorf("workspace %+v", got)
		}
		b.want(second(b.UpdateOrganization(b.ctx(), admin, "renamed", polset.OrganizationChange{Name: &old.Name})), polset.ErrConflict)
		b.verify()
	})
}

// configuration makes a configuration version with its bytes.
func (b *bench) configuration(workspaceID string, auto bool) polset.ConfigurationVersion {
	b.Helper()
	c, err := b.CreateConfigurationVersion(b.ctx(), admin, polset.ConfigurationDraft{WorkspaceID: workspaceID, AutoQueueRuns: auto})
	b.must(err)
	c, err = b.UploadConfigurationVersion(b.ctx(), admin, c.ID, digestOf(c.ID), 3)
	b.must(err)
	return c
}

func digestOf(text string) string { return fmt.Sprintf("%064x", text)[:64] }

func TestConfigurationVersions(t *testing.T) {
	onBoth(t, func(b *bench) {
		w := b.workspace("net")
		c, err := b.CreateConfigurationVersion(b.ctx(), admin, polset.ConfigurationDraft{WorkspaceID: w.ID, AutoQueueRuns: true})
		b.must(err)
		if c.Status != polset.ConfigurationPending || !c.UploadedAt.IsZero() || c.Digest != "" {
			b.Errorf("configuration version %+v", c)
		}
		b.want(second(b.CreateRun(b.ctx(), admin, polset.RunDraft{WorkspaceID: w.ID, ConfigurationVersionID: c.ID})), polset.ErrConflict)
		b.want(second(b.CreateRun(b.ctx(), admin, polset.RunDraft{WorkspaceID: w.ID})), polset.ErrNotFound)

		// Several uploads at once: one wins, and makes one run.
		var group sync.WaitGroup
		errs := make([]error, 6)
		for i := range errs {
			group.Go(func() {
				errs[i] = second(b.UploadConfigurationVersion(b.ctx(), admin, c.ID, digestOf(fmt.Sprint(i)), int64(i+1)))
			})
		}
		group.Wait()
		won := slices.IndexFunc(errs, func(err error) bool { return err == nil })
		for i, err := range errs {
			if i != won && !errors.Is(err, polset.ErrConflict) {
				b.Errorf("upload %d: %v", i, err)
			}
		}
		got, err := b.ConfigurationVersion(b.ctx(), admin, c.ID)
		b.must(err)
		if won < 0 || got.Digest != digestOf(fmt.Sprint(won)) || got.Size != int64(won+1) || got.Status != polset.ConfigurationUploaded || got.UploadedAt.IsZero() {
			b.Errorf("upload %d won: %+v", won, got)
		}
		runs, total, err := b.Runs(b.ctx(), admin, w.ID, polset.RunFilter{}, onePage)
		b.must(err)
		if total != 1 || runs[0].ConfigurationVersionID != c.ID {
			b.Errorf("runs %+v", runs)
		}
		list, total, err := b.ConfigurationVersions(b.ctx(), admin, w.ID, onePage)
		b.must(err)
		if total != 1 || !cmp.Equal(list[0], got) {
			b.Error(cmp.Diff(list, got))
		}
		b.verify()
	})
}

func TestRuns(t *testing.T) {
	onBoth(t, func(b *bench) {
		w, other := b.workspace("net"), b.workspace("other")
		b.guard(polset.PolicySetDraft{Name: "net", Global: true})
		c, latest, theirs := b.configuration(w.ID, false), b.configuration(w.ID, false), b.configuration(other.ID, false)
		b.want(second(b.CreateRun(b.ctx(), admin, polset.RunDraft{WorkspaceID: w.ID, ConfigurationVersionID: theirs.ID})), polset.ErrNotFound)
		first, err := b.CreateRun(b.ctx(), admin, polset.RunDraft{WorkspaceID: w.ID, ConfigurationVersionID: c.ID, Message: "why", Settings: map[string]any{"is-destroy": true}})
		b.must(err)
		next, err := b.CreateRun(b.ctx(), admin, polset.RunDraft{WorkspaceID: w.ID})
		b.must(err)
		if next.ConfigurationVersionID != latest.ID || first.Status != polset.RunPending || first.CreatedBy != admin.Actor || first.Settings["is-destroy"] != true {
			b.Errorf("runs %+v, %+v", first, next)
		}
		got, err := b.Run(b.ctx(), admin, first.ID)
		b.must(err)
		list, total, err := b.Runs(b.ctx(), admin, w.ID, polset.RunFilter{}, onePage)
		b.must(err)
		if total != 2 || !cmp.Equal(got, first) || !cmp.Equal(list[1], first) || list[0].ID != next.ID {
			b.Error(cmp.Diff(first, got), list)
		}

		// Several ends at once: one wins.
		var group sync.WaitGroup
		ends := []polset.RunStatus{polset.RunCanceled, polset.RunDiscarded, polset.RunCanceled, polset.RunDiscarded}
		errs := make([]error, len(ends))
		for i, status := range ends {
			group.Go(func() { errs[i] = second(b.EndRun(b.ctx(), admin, first.ID, status)) })
		}
		group.Wait()
		got, err = b.Run(b.ctx(), admin, first.ID)
		b.must(err)
		won := 0
		for i, err := range errs {
			if err == nil {
				won++
				if got.Status != ends[i] {
					b.Errorf("the run is %s, and %s won", got.Status, ends[i])
				}
			} else if !errors.Is(err, polset.ErrConflict) {
				b.Error(err)
			}
		}
		if won != 1 || len(got.ReachedAt) != 1 || got.ReachedAt[got.Status].IsZero() {
			b.Errorf("%d ends won: %+v", won, got)
		}
		list, total, err = b.Runs(b.ctx(), admin, w.ID, polset.RunFilter{Statuses: []string{string(polset.RunPending)}}, onePage)
		b.must(err)
		if total != 1 || list[0].ID != next.ID {
			b.Errorf("pending are %+v", list)
		}
		b.verify()
	})
}

func TestToolVersions(t *testing.T) {
	onBoth(t, func(b *bench) {
		builds := []polset.ToolBuild{{URL: "https://a.example", SHA: "a0", OS: "linux", Arch: "arm64"}}
		v, err := b.CreateToolVersion(b.ctx(), admin, polset.ToolVersion{Tool: polset.KindOPA, Version: "1.2.3", Enabled: true, Builds: builds})
		b.must(err)
		b.follower("net", "main", polset.Head{})
		b.exec(`UPDATE policy_sets SET policy_tool_version = '1.2.3'`)
		got, err := b.ToolVersion(b.ctx(), admin, polset.KindOPA, v.ID)
		b.must(err)
		list, total, err := b.ToolVersions(b.ctx(), admin, polset.KindOPA, polset.ToolFilter{Search: "2."}, onePage)
		b.must(err)
		if v.Usage != 0 || got.Usage != 1 || total != 1 || !cmp.Equal(list[0], got) || !cmp.Equal(got.Builds, builds) {
			b.Errorf("%+v, %+v, %+v", v, got, list)
		}
		b.want(second(b.ToolVersion(b.ctx(), admin, polset.KindSentinel, v.ID)), polset.ErrNotFound)
		changed, err := b.UpdateToolVersion(b.ctx(), admin, polset.KindOPA, v.ID, polset.ToolVersionChange{URL: ptr("https://b.example"), SHA: ptr("b0")})
		b.must(err)
		if len(changed.Builds) != 2 || changed.URL != "https://b.example" || changed.Builds[1] != (polset.ToolBuild{URL: "https://b.example", SHA: "b0", OS: "linux", Arch: "amd64"}) {
			b.Errorf("changed %+v", changed)
		}
		b.want(b.DeleteToolVersion(b.ctx(), admin, polset.KindSentinel, v.ID), polset.ErrNotFound)
		b.must(b.DeleteToolVersion(b.ctx(), admin, polset.KindOPA, v.ID)) // although a policy set asks for it
		b.want(second(b.ToolVersion(b.ctx(), admin, polset.KindOPA, v.ID)), polset.ErrNotFound)
		b.verify()
	})
}

// TestUpgradeProjects brings tables of the release before projects up to date:
// each organization has a default project afterwards, and works.
func TestUpgradeProjects(t *testing.T) {
	for name, url := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &bench{TB: t}
			key, err := ParseKey(NewKey())
			b.must(err)
			b.config = Config{URL: url(t), Key: key, MaxConns: 4}
			old := &Store{logger: b.config.withDefaults().Logger}
			b.Store = old
			kind, file := parseURL(b.config.URL)
			old.dialect, err = openDialect(b.ctx(), kind, file, b.config.withDefaults())
			b.must(err)
			p, err := old.migrator()
			b.must(err)
			_, err = p.UpTo(b.ctx(), 2)
			b.must(err)
			now := time.Now().UTC().Truncate(time.Millisecond)
			b.exec(`INSERT INTO organizations (id, name, email, created_at) VALUES ('org-AAAAAAAAAAAAAAAA', 'acme', 'a@example.com', $1), ('org-BBBBBBBBBBBBBBBB', 'other', '', $1)`, now)
			b.must(old.dialect.close())

			b.Store = b.node()
			b.org, err = b.Organization(b.ctx(), admin, "acme")
			b.must(err)
			project, err := b.Project(b.ctx(), admin, b.org.DefaultProjectID)
			b.must(err)
			if project.ID != "prj-AAAAAAAAAAAAAAAA" || project.Name != polset.DefaultProject || !project.Default || !project.CreatedAt.Equal(now) || len(b.org.Settings) != 0 {
				b.Errorf("%+v, %+v", b.org, project)
			}
			if w := b.workspace("net"); w.ProjectID != project.ID {
				b.Errorf("workspace %+v", w)
			}
			if n := b.count("SELECT count(*) FROM projects"); n != 2 {
				b.Errorf("%d projects", n)
			}
			b.must(b.DeleteOrganization(b.ctx(), admin, "acme"))
		})
	}
}

// TestOneDefaultProject says that the tables allow no second one.
func TestOneDefaultProject(t *testing.T) {
	onBoth(t, func(b *bench) {
		_, err := b.dialect.writer().ExecContext(context.Background(), `INSERT INTO projects (id, organization_id, name, description, is_default, settings, created_at, updated_at)
			VALUES ('prj-2', $1, 'another', '', true, '{}', $2, $2)`, b.org.ID, time.Now().UTC())
		if !b.dialect.taken(err) {
			b.Errorf("a second default project: %v", err)
		}
	})
}
