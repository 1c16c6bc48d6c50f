package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/polset/polset"
)

// TestUpgrade brings the tables of the first release up to date: what is in
// them stays, and the hooks of what is followed are polset's to keep from now on.
func TestUpgrade(t *testing.T) {
	for name, url := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, old := ofRelease(t, url(t), 1)
			now := time.Now().UTC().Truncate(time.Millisecond)
			secret, err := old.sealHookSecrets("repo-1", []hookSecret{{value: polset.NewSecret("of the hook")}})
			b.must(err)
			token, err := old.seal(connectionPlace("oc-1"), "ghp_old")
			b.must(err)
			b.exec(`INSERT INTO organizations (id, name, email, created_at) VALUES ('org-1', 'acme', 'a@example.com', $1)`, now)
			b.exec(`INSERT INTO connections (id, token_id, organization_id, name, service_provider, http_url, api_url, sealed_token, created_at)
				VALUES ('oc-1', 'ot-1', 'org-1', 'GitHub', 'github', 'https://github.com', 'https://api.github.com', $1, $2)`, token, now)
			b.exec(`INSERT INTO repositories (id, organization_id, http_url, host, identifier, identifier_key, external_id, default_branch, hook_id,
				sealed_secrets, looks, proven, reached_key, named_look, missed_look, created_at)
				VALUES ('repo-1', 'org-1', 'https://github.com', 'https://github.com', 'acme/policies', 'acme/policies', 42, 'main', 'hook-1',
				$1, 3, true, 'acme/policies', 0, 0, $2)`, secret, now)
			b.exec(`INSERT INTO branches (repository_id, name, head, look) VALUES ('repo-1', 'main', 'c0', 3)`)
			b.exec(`INSERT INTO policy_sets (id, organization_id, name, description, global, kind, policies_path, repository_id, branch, submodules,
				token_id, generation, newest_version_id, current_version_id, created_at, updated_at)
				VALUES ('polset-1', 'org-1', 'net', '', false, 'opa', '', 'repo-1', 'main', false, 'ot-1', 1, '', '', $1, $1)`, now)
			b.exec(`INSERT INTO ingestions (id, policy_set_id, repository_id, token_id, generation, branch, pushed_branch, commit_id, path, submodules,
				kind, cause, delivery_guid, status, reason, version_id, attempts, failures, lease, due_at, enqueue_at, created_at)
				VALUES ('ing-1', 'polset-1', 'repo-1', 'ot-1', 1, 'main', 'main', 'c0', '', false, 'opa', 'push', 'guid', 'pending', '', '', 0, 0, 0, $1, $1, $1)`, now)
			b.must(old.dialect.close())

			b.Store = b.node()
			b.org, err = b.Organization(b.ctx(), admin, "acme")
			b.must(err)
			set := b.set("polset-1")
			if set.VCS.TokenID != "ot-1" || set.VCS.HookState != polset.HookPending || set.Degraded != nil || set.Completeness.Head != "c0" {
				b.Fatalf("set %+v, %+v, %+v", set, set.VCS, set.Completeness)
			}
			task := b.task()
			if task.HookID != "hook-1" || task.Secret.Reveal() != "of the hook" || task.Remote.Token.Reveal() != "ghp_old" ||
				task.Remote.ExternalID != 42 || task.Remote.Identifier != "acme/policies" || !task.Connected {
				b.Fatalf("task %+v", task)
			}
			b.carry("repo-1", "c0", "c0")
			b.push("main", "c1")
			b.carry("repo-1", "c1", "c1")
			if b.current("polset-1") != "c1" || b.history("polset-1")[0] != "push c0 versioned" || len(b.history("polset-1")) != 2 {
				b.Fatalf("in force %q, history %v", b.current("polset-1"), b.history("polset-1"))
			}
			b.verify()
		})
	}
}

// ofRelease is a database with the tables of an earlier release, and a store
// that knows no more than where they are.
func ofRelease(t *testing.T, url string, migration int64) (*bench, *Store) {
	t.Helper()
	key, err := ParseKey(NewKey())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{TB: t, config: Config{URL: url, Key: key, MaxConns: 4}}
	old := &Store{logger: b.config.withDefaults().Logger}
	b.Store = old
	old.aead, err = key.aead()
	b.must(err)
	kind, file := parseURL(b.config.URL)
	old.dialect, err = openDialect(b.ctx(), kind, file, b.config.withDefaults())
	b.must(err)
	p, err := old.migrator()
	b.must(err)
	_, err = p.UpTo(b.ctx(), migration)
	b.must(err)
	return b, old
}

// ingestionRows are all ingestions, with every column that the second release
// knew, as the database holds them.
func (b *bench) ingestionRows() (list []string) {
	b.Helper()
	rows, err := b.dialect.writer().QueryContext(b.ctx(), `SELECT sequence, id, policy_set_id, repository_id, token_id, installation_id, generation, branch,
		pushed_branch, commit_id, path, submodules, kind, cause, delivery_guid, status, reason, version_id, attempts, failures, lease,
		due_at, enqueue_at, created_at, started_at, ended_at FROM ingestions ORDER BY sequence`)
	b.must(err)
	defer func() { b.must(rows.Close()) }()
	for rows.Next() {
		values := make([]any, 26)
		places := make([]any, len(values))
		for n := range values {
			places[n] = &values[n]
		}
		b.must(rows.Scan(places...))
		list = append(list, fmt.Sprint(values...))
	}
	b.must(rows.Err())
	return list
}

// TestUpgradeOfTheSecondRelease brings a history with every outcome along, to
// the last column, and gives every organization its default project.
func TestUpgradeOfTheSecondRelease(t *testing.T) {
	for name, url := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, old := ofRelease(t, url(t), 2)
			now := time.Now().UTC().Truncate(time.Millisecond)
			token, err := old.seal(connectionPlace("oc-1"), "ghp_old")
			b.must(err)
			secret, err := old.sealHookSecrets("repo-1", []hookSecret{{value: polset.NewSecret("of the hook")}})
			b.must(err)
			for n, org := range []string{"acme", "evil"} {
				b.exec(`INSERT INTO organizations (id, name, email, created_at) VALUES ($1, $2, 'a@example.com', $3)`, fmt.Sprintf("org-%d", n+1), org, now)
			}
			b.exec(`INSERT INTO installations (id, external_id, app_id, http_url, account, account_id, account_type, icon_url, html_url, selection, permissions,
				installer_id, created_at, updated_at) VALUES ('ghain-1', 7, 1, 'https://github.com', 'acme', 9, 'Organization', '', '', 'all', '{}', 0, $1, $1)`, now)
			b.exec(`INSERT INTO connections (id, token_id, organization_id, name, service_provider, http_url, api_url, sealed_token, created_at)
				VALUES ('oc-1', 'ot-1', 'org-1', 'GitHub', 'github', 'https://github.com', 'https://api.github.com', $1, $2)`, token, now)
			b.exec(`INSERT INTO repositories (id, organization_id, http_url, host, identifier, identifier_key, external_id, default_branch, hook_id,
				sealed_secrets, looks, proven, reached_key, named_look, missed_look, created_at)
				VALUES ('repo-1', 'org-1', 'https://github.com', 'https://github.com', 'acme/policies', 'acme/policies', 42, 'main', 'hook-1',
				$1, 3, true, 'acme/policies', 0, 0, $2)`, secret, now)
			b.exec(`INSERT INTO branches (repository_id, name, head, look) VALUES ('repo-1', 'main', 'c0', 3)`)
			for _, kind := range []string{"opa", "sentinel"} {
				b.exec(`INSERT INTO policy_sets (id, organization_id, name, description, global, kind, policies_path, repository_id, branch, submodules,
					token_id, generation, newest_version_id, current_version_id, created_at, updated_at)
					VALUES ('polset-' || $1, 'org-1', $1, '', false, $1, '', 'repo-1', 'main', false, 'ot-1', 1, '', '', $2, $2)`, kind, now)
			}
			insert := func(sequence int, set, cause, status, version, reason string, ended any) {
				b.exec(`INSERT INTO ingestions (sequence, id, policy_set_id, repository_id, token_id, installation_id, generation, branch, pushed_branch, commit_id,
					path, submodules, kind, cause, delivery_guid, status, reason, version_id, attempts, failures, lease, due_at, enqueue_at, created_at, started_at, ended_at)
					VALUES ($1, $2, $3, 'repo-1', 'ot-1', 'ghain-1', 2, 'main', 'pushed', $4, 'a/b', true, 'opa', $5, 'guid', $6, $7, $8, 4, 3, 5, $9, $10, $11, $12, $13)`,
					sequence, fmt.Sprintf("ing-%d", sequence), set, fmt.Sprintf("c%d", sequence), cause, status, reason, version,
					now.Add(time.Second), now.Add(2*time.Second), now.Add(3*time.Second), now.Add(4*time.Second), ended)
			}
			insert(3, "polset-opa", "create", "versioned", "polsetver-3", "", now.Add(5*time.Second))
			insert(4, "polset-opa", "push", "unchanged", "polsetver-3", "", now.Add(6*time.Second))
			insert(7, "polset-sentinel", "reconcile", "failed", "polsetver-7", "", now.Add(7*time.Second))
			insert(8, "polset-opa", "replay", "ignored", "", "of another branch", now.Add(8*time.Second))
			insert(9, "polset-opa", "manual", "running", "", "timeout: It took long.", nil)
			insert(12, "polset-sentinel", "head", "pending", "", "", nil)
			before := b.ingestionRows()
			b.must(old.dialect.close())

			b.Store = b.node()
			if after := b.ingestionRows(); len(after) != 6 || !slices.Equal(before, after) {
				b.Errorf("ingestions became\n%s\nand were\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
			}
			for n, org := range []string{"acme", "evil"} {
				o, err := b.Organization(b.ctx(), admin, org)
				b.must(err)
				projects, total, err := b.Projects(b.ctx(), admin, org, polset.ProjectFilter{}, polset.Page{Number: 1, Size: 10})
				b.must(err)
				if total != 1 || !projects[0].Default || projects[0].Name != polset.DefaultProject || projects[0].OrganizationID != o.ID ||
					projects[0].ID != fmt.Sprintf("prj-%d", n+1) || o.DefaultProjectID != projects[0].ID || len(o.Settings) != 0 {
					b.Errorf("%+v has projects %+v", o, projects)
				}
				if w, err := b.CreateWorkspace(b.ctx(), admin, polset.WorkspaceDraft{Organization: org, Name: "first"}); err != nil || w.ProjectID != projects[0].ID {
					b.Errorf("workspace %+v, %v", w, err)
				}
			}
			if p := b.set("polset-opa"); !p.AgentEnabled || len(p.UpdatePatterns) != 0 || p.MaterializedVersionID != "" || len(p.TagSelectors) != 0 {
				b.Errorf("set %+v", p)
			}
			if b.set("polset-sentinel").AgentEnabled {
				b.Error("sentinel runs with an agent")
			}
			if c, err := b.Connection(b.ctx(), admin, "oc-1"); err != nil || c.ProjectScoped || c.Key != "" {
				b.Errorf("connection %+v, %v", c, err)
			}
			b.idle() // no set holds policies
			b.org, err = b.Organization(b.ctx(), admin, "acme")
			b.must(err)
			// The constraint of the new causes, and the order of what comes now.
			b.upload(b.awaiting(b.uploadable("up").ID).ID)
			if n := b.count("SELECT max(sequence) FROM ingestions WHERE cause = 'upload'"); n <= 12 && name == "sqlite" {
				b.Errorf("an upload is number %d, before what was there", n)
			}
			b.verify()
			b.must(b.DeleteOrganization(b.ctx(), admin, "acme"))
			b.must(b.DeleteOrganization(b.ctx(), admin, "evil"))
			for _, table := range []string{"projects", "workspaces", "ingestions", "policy_sets"} {
				if n := b.count("SELECT count(*) FROM " + table); n != 0 {
					b.Errorf("%d rows are left in %s", n, table)
				}
			}
		})
	}
}

// TestUpgradeOfTheThirdRelease cancels runs that waited for a check which never
// came, and leaves the others alone.
func TestUpgradeOfTheThirdRelease(t *testing.T) {
	for name, url := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, old := ofRelease(t, url(t), 3)
			now := time.Now().UTC().Truncate(time.Millisecond)
			b.exec(`INSERT INTO organizations (id, name, email, created_at) VALUES ('org-1', 'acme', 'a@example.com', $1)`, now)
			b.exec(`INSERT INTO projects (id, organization_id, name, description, is_default, settings, created_at, updated_at)
				VALUES ('prj-1', 'org-1', 'Default Project', '', true, '{}', $1, $1)`, now)
			b.exec(`INSERT INTO workspaces (id, organization_id, project_id, name, description, settings, created_at, updated_at)
				VALUES ('ws-1', 'org-1', 'prj-1', 'net', '', '{}', $1, $1)`, now)
			b.exec(`INSERT INTO configuration_versions (id, workspace_id, status, auto_queue_runs, speculative, provisional, digest, size, created_at, uploaded_at)
				VALUES ('cv-1', 'ws-1', 'uploaded', false, false, false, 'd1', 1, $1, $1)`, now)
			for _, run := range [][3]string{{"run-1", "pending", "{}"}, {"run-2", "discarded", `{"discarded":"2026-01-02T03:04:05.678901Z"}`}} {
				b.exec(`INSERT INTO runs (id, workspace_id, configuration_version_id, status, message, settings, status_timestamps, created_by, created_at, updated_at)
					VALUES ($1, 'ws-1', 'cv-1', $2, 'why', '{"is-destroy":true}', $3, 'at-1', $4, $4)`, run[0], run[1], run[2], now)
			}
			b.must(old.dialect.close())

			b.Store = b.node()
			var err error
			b.org, err = b.Organization(b.ctx(), admin, "acme")
			b.must(err)
			r, err := b.Run(b.ctx(), admin, "run-1")
			b.must(err)
			if at := r.ReachedAt[polset.RunCanceled]; r.Status != polset.RunCanceled || len(r.ReachedAt) != 1 || at.Before(now.Add(-time.Second)) || at.After(time.Now().Add(time.Minute)) ||
				r.Message != "why" || r.Settings["is-destroy"] != true || r.CreatedBy != "at-1" || !r.CreatedAt.Equal(now) {
				b.Errorf("a pending run became %+v", r)
			}
			if r, err = b.Run(b.ctx(), admin, "run-2"); err != nil || r.Status != polset.RunDiscarded || len(r.ReachedAt) != 1 || r.ReachedAt[polset.RunDiscarded].Nanosecond() != 678901000 {
				b.Errorf("a discarded run became %+v, %v", r, err)
			}
			b.noneDue()
			if list := b.checksOf("run-1"); len(list) != 0 {
				b.Errorf("checks %+v", list)
			}
			b.want(second(b.EndRun(b.ctx(), admin, "run-1", polset.RunDiscarded)), polset.ErrConflict)
			// What was uploaded before is judged from now on.
			b.guard(polset.PolicySetDraft{Name: "guard", Global: true})
			b.must(second(b.CreateRun(b.ctx(), admin, polset.RunDraft{WorkspaceID: "ws-1"})))
			if task := b.dueCheck(); task.PlanDigest != "d1" {
				b.Errorf("task %+v", task)
			}
			b.verify()
		})
	}
}
