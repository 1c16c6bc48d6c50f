package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
)

func TestWorkspaces(t *testing.T) {
	onBoth(t, func(b *bench) {
		if b.org.DefaultProjectID == "" {
			b.Fatalf("no default project: %+v", b.org)
		}
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
		listed, total, err := b.Workspaces(b.ctx(), admin, b.org.Name, polset.WorkspaceFilter{}, polset.Page{Number: 1, Size: 10})
		b.must(err)
		byID, err := b.WorkspacesByID(b.ctx(), admin, []string{w.ID, "ws-none"})
		b.must(err)
		if total != 1 || len(listed) != 1 || len(byID) != 1 {
			b.Fatalf("listed %d of %d, by id %d", len(listed), total, len(byID))
		}
		for _, got := range []polset.Workspace{read, byName, listed[0], byID[0]} {
			if diff := cmp.Diff(w, got); diff != "" {
				b.Error(diff)
			}
		}
	})
}
