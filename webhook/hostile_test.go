package webhook_test

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
)

// A hostile body differs from a good one in one member.
type hostile struct {
	event string
	good  func() object
	path  []string
	bad   []any
	code  int
}

func TestHostileLifecycle(t *testing.T) {
	huge, _ := new(big.Int).SetString("92233720368547758080", 10)
	numbers := []any{0, -1, 1.5, "51", huge, json.Number("1e3"), true, object{}, []any{}}
	nested := []any{nil}
	wrong := []any{"x", 5, true, []any{}}
	logins := []any{"", "a/b", "-a", "a b", "a\x00", "a\u202e", "../x", strings.Repeat("a", 101), "a\nb", nil, 5}
	names := []any{"", "acme", "a/b/c", "a/..", "../x", "a/b\x00", "a/b\u202e", "a b/c", nil, 5, "https://github.com/a/b"}
	refs := []any{"", "a..b", "-rf", "a\x00b", "a\nb", "\u202emain", "HEAD", "a.lock", "a b", nil, 5, strings.Repeat("a", 1025)}
	urls := []any{"javascript:alert(1)", "//evil", "x", "https://u:p@github.com/x", "https://github.com/\x00", "https://github.com/\u202e", "https://", 5, "https://github.com/" + strings.Repeat("a", 2049)}

	renamed, transferred := []string{"changes", "repository", "name", "from"}, []string{"changes", "owner", "from", "organization", "login"}
	tables := []hostile{
		{"repository", repositoryEvent, []string{"action"}, []any{nil, 5, object{}}, 422},
		{"repository", repositoryEvent, []string{"repository"}, nested, 400},
		{"repository", repositoryEvent, []string{"repository"}, wrong, 422},
		{"repository", repositoryEvent, []string{"repository", "id"}, numbers, 422},
		{"repository", repositoryEvent, []string{"repository", "full_name"}, names, 422},
		{"repository", repositoryEvent, []string{"repository", "default_branch"}, []any{"a..b", "\u202e", "-x", 5}, 422},
		{"repository", repositoryEvent, []string{"repository", "archived"}, []any{"yes", 1, object{}}, 422},
		{"repository", repositoryEvent, []string{"installation", "id"}, numbers, 422},
		{"repository", repositoryEvent, []string{"installation"}, wrong, 422},
		{"repository", repositoryEvent, []string{"changes"}, wrong, 422},
		{"repository", repositoryEvent, []string{"sender"}, wrong, 422},
		{"repository", repositoryEvent, []string{"label"}, []any{object{"id": 1}, []any{1}}, 422},
		{"repository", renamedEvent, renamed, []any{"", "..", ".", "a/b", "a\x00", "\u202e", 5, nil, strings.Repeat("a", 101)}, 422},
		{"repository", renamedEvent, renamed[:3], []any{nil, 5, "x"}, 422},
		{"repository", renamedEvent, renamed[:1], []any{nil, object{}}, 422},
		{"repository", transferredEvent, transferred, logins, 422},
		{"repository", transferredEvent, transferred[:4], []any{nil, 5}, 422},
		{"repository", transferredEvent, transferred[:3], []any{nil, object{}, "x"}, 422},

		{"pull_request", pullEvent, []string{"action"}, []any{nil, 5, object{}}, 422},
		{"pull_request", pullEvent, []string{"pull_request"}, nested, 400},
		{"pull_request", pullEvent, []string{"pull_request"}, wrong, 422},
		{"pull_request", pullEvent, []string{"pull_request", "head"}, nested, 400},
		{"pull_request", pullEvent, []string{"pull_request", "base"}, nested, 400},
		{"pull_request", pullEvent, []string{"repository"}, nested, 400},
		{"pull_request", pullEvent, []string{"repository", "id"}, numbers, 422},
		{"pull_request", pullEvent, []string{"repository", "full_name"}, names, 422},
		{"pull_request", pullEvent, []string{"installation", "id"}, numbers, 422},
		{"pull_request", pullEvent, []string{"pull_request", "number"}, numbers, 422},
		{"pull_request", pullEvent, []string{"pull_request", "base", "ref"}, refs, 422},
		{"pull_request", pullEvent, []string{"pull_request", "base", "repo"}, []any{nil, object{"id": 99}, 5, object{}}, 422},
		{"pull_request", pullEvent, []string{"pull_request", "head", "sha"}, []any{"", zero, "HEAD", after[:39], strings.ToUpper(after), "--" + after[2:], after + "\n", nil, 5}, 422},
		{"pull_request", pullEvent, []string{"pull_request", "head", "repo"}, []any{5, "x"}, 422},

		{"installation", installationEvent, []string{"action"}, []any{nil, 5, object{}}, 422},
		{"installation", installationEvent, []string{"installation"}, nested, 400},
		{"installation", installationEvent, []string{"installation"}, wrong, 422},
		{"installation", installationEvent, []string{"installation", "id"}, numbers, 422},
		{"installation", installationEvent, []string{"installation", "app_id"}, numbers, 422},
		{"installation", installationEvent, []string{"installation", "account"}, nested, 400},
		{"installation", installationEvent, []string{"installation", "account", "id"}, numbers, 422},
		{"installation", installationEvent, []string{"installation", "account", "login"}, logins, 422},
		{"installation", installationEvent, []string{"installation", "account", "type"}, []any{"", "Bot", "user", nil, 5}, 422},
		{"installation", installationEvent, []string{"installation", "account", "avatar_url"}, urls, 422},
		{"installation", installationEvent, []string{"installation", "html_url"}, urls, 422},
		{"installation", installationEvent, []string{"installation", "repository_selection"}, []any{"", "none", "ALL", nil, 5}, 422},
		{"installation", installationEvent, []string{"installation", "suspended_at"}, []any{"", "yesterday", 5, object{}}, 422},
		{"installation", installationEvent, []string{"installation", "updated_at"}, []any{"", "yesterday", -1, 1e15, object{}, true}, 422},
		{"installation", installationEvent, []string{"installation", "permissions"}, []any{
			"x", []any{}, object{"contents": 5}, object{"a b": "read"}, object{"contents": ""}, object{"x": "\x00"}, many(501),
		}, 422},
		{"installation", installationEvent, []string{"repositories"}, []any{"x", object{}, []any{nil}, []any{object{"id": 0, "full_name": "a/b"}}, []any{object{"id": 1, "full_name": "a\x00/b"}}, []any{5}}, 422},
		{"installation", installationEvent, []string{"sender", "id"}, []any{-1, 1.5, "9", huge}, 422},

		{"installation_repositories", addedEvent, []string{"action"}, []any{nil, 5}, 422},
		{"installation_repositories", addedEvent, []string{"installation"}, nested, 400},
		{"installation_repositories", addedEvent, []string{"installation", "account"}, nested, 400},
		{"installation_repositories", addedEvent, []string{"repository_selection"}, []any{"none", 5}, 422},
		{"installation_repositories", addedEvent, []string{"repositories_added"}, []any{"x", []any{object{"id": -1, "full_name": "a/b"}}, []any{object{"id": 1}}}, 422},

		{"installation_target", targetEvent, []string{"action"}, []any{nil, 5}, 422},
		{"installation_target", targetEvent, []string{"installation"}, nested, 400},
		{"installation_target", targetEvent, []string{"installation", "id"}, numbers, 422},
		{"installation_target", targetEvent, []string{"account"}, nested, 400},
		{"installation_target", targetEvent, []string{"account", "id"}, numbers, 422},
		{"installation_target", targetEvent, []string{"account", "login"}, logins, 422},
		{"installation_target", targetEvent, []string{"target_type"}, []any{"", "Bot", nil, 5}, 422},
		{"installation_target", targetEvent, []string{"changes", "login"}, []any{nil, 5}, 422},
		{"installation_target", targetEvent, []string{"changes", "login", "from"}, logins, 422},
		{"installation_target", targetEvent, []string{"changes"}, []any{nil, object{}}, 422},
		{"installation_target", targetEvent, []string{"sender", "id"}, []any{-1, "9"}, 422},
	}
	s := serve(t)
	for _, table := range tables {
		good := s.send(delivery(table.event, marshal(t, table.good())))
		if good.code != 200 || good.Status != "accepted" {
			t.Fatalf("%s: the good one is answered %d %s", table.event, good.code, good.raw)
		}
		kind := map[int]string{400: "malformed", 422: "unprocessable"}[table.code]
		for _, bad := range table.bad {
			t.Run("case 26 "+table.event+" "+strings.Join(table.path, "."), func(t *testing.T) {
				seen := s.logs.Len()
				body := marshal(t, table.good(), set(bad, table.path...))
				got := s.refused(delivery(table.event, body), table.code, kind)
				if got.code != table.code {
					t.Errorf("%s = %.100v", strings.Join(table.path, "."), bad)
				}
				for _, entry := range s.logs.All()[seen:] {
					for name, value := range entry.ContextMap() {
						if text, _ := value.(string); name != "error" && strings.ContainsAny(text, "\x00\n\u202e") {
							t.Errorf("the log holds %q in %s", text, name)
						}
					}
				}
			})
		}
	}

	t.Run("case 17 no lifecycle event", func(t *testing.T) {
		for _, event := range []string{"repository", "pull_request", "installation", "installation_repositories", "installation_target"} {
			s.refused(delivery(event, []byte("{}")), 422, "unprocessable")
			s.refused(delivery(event, file(t, "ping.json")), 422, "unprocessable")
			s.refused(delivery(event, payload(t, nil)), 422, "unprocessable")
			for _, body := range []string{"", "null", "[]", `"x"`, "{", `{"action":`} {
				s.refused(delivery(event, []byte(body)), 400, "malformed")
			}
		}
	})
	t.Run("push of an impossible installation", func(t *testing.T) {
		for _, id := range numbers {
			s.refused(delivery("push", payload(t, set(object{"id": id}, "installation"))), 422, "unprocessable")
		}
	})
	t.Run("case 23 many repositories", func(t *testing.T) {
		s := serve(t)
		list := bytes.Repeat([]byte(`{"id":7,"full_name":"acme-platform/one-of-very-many","private":true},`), 100_000)
		body := bytes.Replace(marshal(t, addedEvent()), []byte(`"repositories_added":[`), append([]byte(`"repositories_added":[`), list...), 1)
		s.answered(delivery("installation_repositories", body), 200, "accepted")
		if n := len(s.memory.installations[0].Added); n != 100_001 {
			t.Errorf("%d repositories", n)
		}
	})
}

func many(n int) object {
	o := object{}
	for i := range n {
		o["p"+strings.Repeat("x", i%90)+string(rune('a'+i/90))] = "read"
	}
	return o
}
