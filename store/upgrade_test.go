package store

import (
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
			key, err := ParseKey(NewKey())
			if err != nil {
				t.Fatal(err)
			}
			b := &bench{TB: t, config: Config{URL: url(t), Key: key, MaxConns: 4}}
			old := &Store{logger: b.config.withDefaults().Logger}
			b.Store = old
			old.aead, err = key.aead()
			b.must(err)
			kind, file := parseURL(b.config.URL)
			old.dialect, err = openDialect(b.ctx(), kind, file, b.config.withDefaults())
			b.must(err)
			p, err := old.migrator()
			b.must(err)
			_, err = p.UpTo(b.ctx(), 1)
			b.must(err)

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
