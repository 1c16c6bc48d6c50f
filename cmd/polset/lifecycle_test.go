package main_test

import (
	"testing"
	"time"

	"github.com/polset/polset/internal/polsettest/hub"
)

// TestAppLifecycle takes access away in every way that GitHub tells of, and
// gives it back: the policy set says why, and heals by itself.
func TestAppLifecycle(t *testing.T) {
	w := newAppWorld(t)
	r := w.Hub.Repository("acme/policies")
	spare := w.Hub.Repository("acme/spare")
	commit := r.Push("main", policies("policies", 1, "one"))
	w.Start()
	w.InstallFor("acme", r, spare)
	id := w.Set("acme", "production", r)
	w.Ready(id, commit)

	// pushed proves that pushes arrive and are read again.
	pushed := func(t *testing.T, branch, salt string) {
		t.Helper()
		commit = r.Push(branch, policies("policies", 1, salt))
		w.Ready(id, commit)
		w.Degraded(id, "")
	}
	t.Run("suspend and unsuspend", func(t *testing.T) {
		w.Install.Suspend()
		w.Degraded(id, "installation-suspended")
		w.Ready(id, commit)
		w.Install.Unsuspend()
		w.Degraded(id, "")
		pushed(t, "main", "unsuspended")
	})
	t.Run("a push while suspended is found", func(t *testing.T) {
		w.Install.Suspend()
		w.Degraded(id, "installation-suspended")
		commit = r.Push("main", policies("policies", 1, "unheard"))
		w.Install.Unsuspend()
		w.Ready(id, commit)
		w.Degraded(id, "")
	})
	t.Run("the repository leaves the installation and comes back", func(t *testing.T) {
		w.Install.Remove(r)
		w.Degraded(id, "repository-unselected")
		w.Install.Add(r)
		w.Degraded(id, "")
		pushed(t, "main", "selected")
	})
	t.Run("renamed", func(t *testing.T) {
		r.Rename("rules")
		eventually(t, 20*time.Second, "called by its new name", func() bool {
			return text(w.Show(id), "vcs-repo", "identifier") == "acme/rules"
		})
		pushed(t, "main", "renamed")
	})
	t.Run("the account is renamed", func(t *testing.T) {
		w.Acme.Rename("acme-corp")
		eventually(t, 20*time.Second, "called by its new name", func() bool {
			return text(w.Show(id), "vcs-repo", "identifier") == "acme-corp/rules"
		})
		installation := w.Node.must(200, "GET", "/api/v2/github-app/installation/"+w.ID, nil)
		if name := text(installation, "data", "attributes", "name"); name != "acme-corp" {
			t.Errorf("the installation is called %s", name)
		}
		pushed(t, "main", "account renamed")
	})
	t.Run("archived and unarchived", func(t *testing.T) {
		r.Archive()
		w.Degraded(id, "repository-archived")
		r.Unarchive()
		w.Degraded(id, "")
		pushed(t, "main", "unarchived")
	})
	t.Run("made public and private", func(t *testing.T) {
		r.Publicize()
		pushed(t, "main", "public")
		r.Privatize()
		pushed(t, "main", "private")
	})
	t.Run("another default branch", func(t *testing.T) {
		commit = r.Push("trunk", policies("policies", 1, "trunk"))
		r.SetDefaultBranch("trunk")
		w.Ready(id, commit)
		pushed(t, "trunk", "trunk again")
	})
	t.Run("the branch is deleted and made again", func(t *testing.T) {
		// On GitHub the default branch cannot be deleted: another set follows one that can.
		commit := r.Push("release", policies("policies", 1, "release"))
		other := text(w.Node.must(201, "POST", "/api/v2/organizations/acme/policy-sets",
			w.draft("release", r.Identifier(), "release", "policies")), "data", "id")
		w.Ready(other, commit)
		r.DeleteBranch("release")
		w.Degraded(other, "branch-deleted")
		w.Ready(other, commit)
		again := r.Push("release", policies("policies", 2, "release again"))
		w.Ready(other, again)
		w.Degraded(other, "")
	})
	t.Run("new permissions", func(t *testing.T) {
		permissions := w.App.Config().Permissions
		if permissions == nil {
			permissions = map[string]string{"metadata": "read", "contents": "read", "pull_requests": "read", "checks": "write"}
		}
		permissions["statuses"] = "write"
		w.App.SetPermissions(permissions)
		w.Install.AcceptPermissions()
		pushed(t, "trunk", "new permissions")
	})
	t.Run("the installation is deleted and made anew", func(t *testing.T) {
		w.Install.Delete()
		w.Degraded(id, "installation-deleted")
		w.Ready(id, commit)
		old := w.ID
		w.Install = w.App.Install(w.Acme)
		all := list(w.Node.must(200, "GET", "/api/v2/github-app/installations", nil), "data")
		if len(all) != 1 || text(all[0], "id") == old {
			t.Fatalf("installations after another one: %v", all)
		}
		w.ID = text(all[0], "id")
		w.Bind("acme")
		w.Node.must(200, "PATCH", "/api/v2/policy-sets/"+id, w.draft("production", r.Identifier(), "", "policies"))
		pushed(t, "trunk", "installed anew")
	})
	t.Run("unbound and bound", func(t *testing.T) {
		linkage := document{"data": []any{document{"type": "organizations", "id": "acme"}}}
		w.Node.must(204, "DELETE", "/api/v2/github-app/installation/"+w.ID+"/relationships/organizations", linkage)
		w.Degraded(id, "installation-unbound")
		w.Bind("acme")
		w.Degraded(id, "")
		pushed(t, "trunk", "bound")
	})
	t.Run("transferred", func(t *testing.T) {
		elsewhere := w.Hub.Organization("elsewhere", w.Hub.User("octocat"))
		w.App.Install(elsewhere) // else GitHub only tells that the repository left acme's installation
		r.Transfer(elsewhere)
		w.Degraded(id, "repository-transferred")
		w.Ready(id, commit)
		r.Transfer(w.Acme)
		w.Degraded(id, "")
		pushed(t, "trunk", "back again")
	})
	t.Run("deleted", func(t *testing.T) {
		r.Delete()
		w.Degraded(id, "repository-deleted")
		w.Ready(id, commit)
	})
}

// TestAppLifecycleUnheard loses every event and expects the looks to find out.
func TestAppLifecycleUnheard(t *testing.T) {
	w := newAppWorld(t, "POLSET_RECONCILE_INTERVAL=1s")
	r := w.Hub.Repository("acme/policies")
	commit := r.Push("main", policies("policies", 1, "one"))
	w.Start()
	w.InstallFor("acme")
	id := w.Set("acme", "production", r)
	w.Ready(id, commit)
	w.Hub.DropDeliveries(true)

	t.Run("pushes", func(t *testing.T) {
		commit = r.Push("main", policies("policies", 1, "two"))
		w.Ready(id, commit)
	})
	t.Run("a renaming", func(t *testing.T) {
		r.Rename("rules")
		commit = r.Push("main", policies("policies", 1, "three"))
		w.Ready(id, commit)
	})
	t.Run("a branch that is gone", func(t *testing.T) {
		commit := r.Push("release", policies("policies", 1, "release"))
		other := text(w.Node.must(201, "POST", "/api/v2/organizations/acme/policy-sets",
			w.draft("release", r.Identifier(), "release", "policies")), "data", "id")
		w.Ready(other, commit)
		r.DeleteBranch("release")
		w.Degraded(other, "branch-deleted")
		again := r.Push("release", policies("policies", 1, "release again"))
		w.Ready(other, again)
		w.Degraded(other, "")
	})
	t.Run("a suspension and its end", func(t *testing.T) {
		w.Install.Suspend()
		eventually(t, 30*time.Second, "degraded", func() bool { return w.Show(id)["degraded"] != nil })
		w.Install.Unsuspend()
		w.Degraded(id, "")
	})
	t.Run("a pull request that GitHub could not deliver", func(t *testing.T) {
		r.Push("feature", policies("policies", 2, "feature"))
		w.Clock.Set(-10 * time.Minute) // GitHub is not asked again for what may still be under way
		pr := r.OpenPullRequest(hub.PullRequestConfig{Branch: "feature"})
		w.Clock.Set(0)
		w.Hub.DropDeliveries(false)
		w.Restart() // the sweep comes at start
		if run := w.Concluded(r, pr.Head(), "polset/acme/production (pull request)"); run.Conclusion != "success" {
			t.Errorf("concluded %s: %s", run.Conclusion, run.Title)
		}
	})
}
