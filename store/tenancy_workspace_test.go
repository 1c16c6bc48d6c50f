package store

import (
	"context"

	"github.com/polset/polset"
)

// hiddenWorkspaces adds to the table of TestTenancy what has to do with
// workspaces and projects.
func hiddenWorkspaces(b *bench, rival polset.Principal, theirs polset.Organization, hidden map[string]func(context.Context) error) {
	b.Helper()
	page := polset.Page{Number: 1, Size: 10}
	name := "stolen"
	p, err := b.CreateProject(b.ctx(), admin, polset.ProjectDraft{Organization: b.org.Name, Name: "ours"})
	b.must(err)
	w, err := b.CreateWorkspace(b.ctx(), admin, polset.WorkspaceDraft{Organization: b.org.Name, Name: "ours", ProjectID: p.ID})
	b.must(err)
	foreign, err := b.CreateWorkspace(b.ctx(), admin, polset.WorkspaceDraft{Organization: theirs.Name, Name: "theirs"})
	b.must(err)
	tags := []polset.TagBinding{{Key: "stolen"}}

	hidden["CreateProject"] = func(ctx context.Context) error {
		return second(b.CreateProject(ctx, rival, polset.ProjectDraft{Organization: b.org.Name, Name: name}))
	}
	hidden["Project"] = func(ctx context.Context) error { return second(b.Project(ctx, rival, p.ID)) }
	hidden["Projects"] = func(ctx context.Context) error {
		_, _, err := b.Projects(ctx, rival, b.org.Name, polset.ProjectFilter{}, page)
		return err
	}
	hidden["ProjectsByID"] = func(ctx context.Context) error {
		got, err := b.ProjectsByID(ctx, rival, []string{p.ID})
		b.must(err)
		if len(got) != 0 {
			b.Fatalf("ProjectsByID showed %v", got)
		}
		return polset.ErrNotFound
	}
	hidden["UpdateProject"] = func(ctx context.Context) error {
		return second(b.UpdateProject(ctx, rival, p.ID, polset.ProjectChange{Name: &name}))
	}
	hidden["DeleteProject"] = func(ctx context.Context) error { return b.DeleteProject(ctx, rival, p.ID) }
	hidden["BindProjectTags"] = func(ctx context.Context) error { return second(b.BindProjectTags(ctx, rival, p.ID, tags)) }
	hidden["CreateWorkspace"] = func(ctx context.Context) error {
		// Its own organization, but our project; the site admin must not mix
		// them up either.
		d := polset.WorkspaceDraft{Organization: theirs.Name, Name: name, ProjectID: p.ID}
		b.want(second(b.CreateWorkspace(ctx, rival, d)), polset.ErrNotFound)
		b.want(second(b.CreateWorkspace(ctx, admin, d)), polset.ErrNotFound)
		return second(b.CreateWorkspace(ctx, rival, polset.WorkspaceDraft{Organization: b.org.Name, Name: name}))
	}
	hidden["Workspace"] = func(ctx context.Context) error { return second(b.Workspace(ctx, rival, w.ID)) }
	hidden["WorkspaceByName"] = func(ctx context.Context) error {
		return second(b.WorkspaceByName(ctx, rival, b.org.Name, w.Name))
	}
	hidden["Workspaces"] = func(ctx context.Context) error {
		list, total, err := b.Workspaces(ctx, rival, theirs.Name, polset.WorkspaceFilter{ProjectID: p.ID}, page)
		b.must(err)
		if total != 0 || len(list) != 0 {
			b.Fatalf("Workspaces showed %v", list)
		}
		_, _, err = b.Workspaces(ctx, rival, b.org.Name, polset.WorkspaceFilter{}, page)
		return err
	}
	hidden["WorkspacesByID"] = func(ctx context.Context) error {
		got, err := b.WorkspacesByID(ctx, rival, []string{w.ID})
		b.must(err)
		if len(got) != 0 {
			b.Fatalf("WorkspacesByID showed %v", got)
		}
		return polset.ErrNotFound
	}
	hidden["UpdateWorkspace"] = func(ctx context.Context) error {
		b.want(second(b.UpdateWorkspace(ctx, rival, foreign.ID, polset.WorkspaceChange{ProjectID: &p.ID})), polset.ErrNotFound)
		b.want(second(b.UpdateWorkspace(ctx, admin, foreign.ID, polset.WorkspaceChange{ProjectID: &p.ID})), polset.ErrNotFound)
		return second(b.UpdateWorkspace(ctx, rival, w.ID, polset.WorkspaceChange{Name: &name}))
	}
	hidden["DeleteWorkspace"] = func(ctx context.Context) error { return b.DeleteWorkspace(ctx, rival, w.ID) }
	hidden["BindWorkspaceTags"] = func(ctx context.Context) error { return second(b.BindWorkspaceTags(ctx, rival, w.ID, tags)) }
	hidden["UnbindWorkspaceTags"] = func(ctx context.Context) error { return second(b.UnbindWorkspaceTags(ctx, rival, w.ID, tags)) }

	c := b.configuration(w.ID, false)
	waiting, err := b.CreateConfigurationVersion(b.ctx(), admin, polset.ConfigurationDraft{WorkspaceID: w.ID})
	b.must(err)
	run, err := b.CreateRun(b.ctx(), admin, polset.RunDraft{WorkspaceID: w.ID, ConfigurationVersionID: c.ID})
	b.must(err)
	hidden["CreateConfigurationVersion"] = func(ctx context.Context) error {
		return second(b.CreateConfigurationVersion(ctx, rival, polset.ConfigurationDraft{WorkspaceID: w.ID}))
	}
	hidden["ConfigurationVersion"] = func(ctx context.Context) error { return second(b.ConfigurationVersion(ctx, rival, c.ID)) }
	hidden["ConfigurationVersions"] = func(ctx context.Context) error {
		_, _, err := b.ConfigurationVersions(ctx, rival, w.ID, page)
		return err
	}
	hidden["UploadConfigurationVersion"] = func(ctx context.Context) error {
		return second(b.UploadConfigurationVersion(ctx, rival, waiting.ID, digestOf("stolen"), 1))
	}
	hidden["CreateRun"] = func(ctx context.Context) error {
		// Its own workspace, but our configuration version; the site admin must
		// not mix them up either.
		d := polset.RunDraft{WorkspaceID: foreign.ID, ConfigurationVersionID: c.ID}
		b.want(second(b.CreateRun(ctx, rival, d)), polset.ErrNotFound)
		b.want(second(b.CreateRun(ctx, admin, d)), polset.ErrNotFound)
		return second(b.CreateRun(ctx, rival, polset.RunDraft{WorkspaceID: w.ID, ConfigurationVersionID: c.ID}))
	}
	hidden["Run"] = func(ctx context.Context) error { return second(b.Run(ctx, rival, run.ID)) }
	hidden["Runs"] = func(ctx context.Context) error {
		_, _, err := b.Runs(ctx, rival, w.ID, polset.RunFilter{}, page)
		return err
	}
	hidden["EndRun"] = func(ctx context.Context) error { return second(b.EndRun(ctx, rival, run.ID, polset.RunCanceled)) }

	hiddenChecks(b, rival, theirs, p.ID, hidden)
	v, err := b.CreateToolVersion(b.ctx(), admin, polset.ToolVersion{Tool: polset.KindOPA, Version: "1.0.0"})
	b.must(err)
	hidden["CreateToolVersion"] = func(ctx context.Context) error {
		return second(b.CreateToolVersion(ctx, rival, polset.ToolVersion{Tool: polset.KindOPA, Version: "2.0.0"}))
	}
	hidden["ToolVersion"] = func(ctx context.Context) error { return second(b.ToolVersion(ctx, rival, polset.KindOPA, v.ID)) }
	hidden["ToolVersions"] = func(ctx context.Context) error {
		_, _, err := b.ToolVersions(ctx, rival, polset.KindOPA, polset.ToolFilter{}, page)
		return err
	}
	hidden["UpdateToolVersion"] = func(ctx context.Context) error {
		return second(b.UpdateToolVersion(ctx, rival, polset.KindOPA, v.ID, polset.ToolVersionChange{Version: &name}))
	}
	hidden["DeleteToolVersion"] = func(ctx context.Context) error { return b.DeleteToolVersion(ctx, rival, polset.KindOPA, v.ID) }
}

// hiddenChecks adds what has to do with checks; the project is ours.
func hiddenChecks(b *bench, rival polset.Principal, theirs polset.Organization, projectID string, hidden map[string]func(context.Context) error) {
	b.Helper()
	page := polset.Page{Number: 1, Size: 10}
	w, err := b.CreateWorkspace(b.ctx(), admin, polset.WorkspaceDraft{Organization: b.org.Name, Name: "checked", ProjectID: projectID})
	b.must(err)
	set := b.guard(polset.PolicySetDraft{Name: "guard", Overridable: ptr(true), Members: polset.Members{Workspaces: []string{w.ID}}})
	run := b.runOf(w.ID)
	task := b.dueCheck()
	b.must(b.SettleCheck(b.ctx(), task, says(task, polset.OutcomeFailed)))
	o := b.outcomesOf(task.Check.ID)[0]

	hidden["Check"] = func(ctx context.Context) error { return second(b.Check(ctx, rival, task.Check.ID)) }
	hidden["ChecksOfRuns"] = func(ctx context.Context) error {
		got, err := b.ChecksOfRuns(ctx, rival, []string{run.ID})
		b.must(err)
		if len(got) != 0 {
			b.Fatalf("ChecksOfRuns showed %v", got)
		}
		return polset.ErrNotFound
	}
	hidden["PolicySetOutcomes"] = func(ctx context.Context) error {
		_, _, err := b.PolicySetOutcomes(ctx, rival, task.Check.ID, nil, page)
		return err
	}
	hidden["PolicySetOutcome"] = func(ctx context.Context) error { return second(b.PolicySetOutcome(ctx, rival, o.ID)) }
	hidden["OverrideChecks"] = func(ctx context.Context) error {
		err := second(b.OverrideChecks(ctx, rival, []string{task.Check.ID}, "mine"))
		if got, _ := b.Check(ctx, admin, task.Check.ID); got.Status != polset.CheckSoftFailed {
			b.Fatalf("the rival overrode %+v", got)
		}
		return err
	}
	hidden["VersionInForce"] = func(ctx context.Context) error {
		_, _, err := b.VersionInForce(ctx, rival, theirs.Name, set.Name)
		b.want(err, polset.ErrNotFound)
		_, _, err = b.VersionInForce(ctx, rival, b.org.Name, set.Name)
		return err
	}
}
