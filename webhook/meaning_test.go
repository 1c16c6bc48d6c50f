package webhook_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/webhook"
)

func TestPush(t *testing.T) {
	at := time.Date(2026, 3, 3, 13, 33, 7, 0, time.FixedZone("CET", 3600))
	s := serve(t, func(c *webhook.Config) { c.Now = func() time.Time { return at } })
	body := payload(t, nil)
	r := delivery("push", body)
	got := s.answered(r, 202, "accepted")
	if diff := cmp.Diff([]string{"ing-0000000000000001"}, got.Ingestions); diff != "" {
		t.Error(diff)
	}
	deliveries, pushes, _ := s.memory.recorded()
	sum := sha256.Sum256(body)
	if diff := cmp.Diff([]polset.Delivery{{
		HookID: "github", GUID: r.header.Get("X-Github-Delivery"), Event: "push",
		BodySHA256: hex.EncodeToString(sum[:]), Sender: "mara-lindqvist",
		HTTPURLs: []string{"https://github.com"}, ReceivedAt: at.UTC(),
	}}, deliveries); diff != "" {
		t.Error(diff)
	}
	if deliveries[0].ReceivedAt.Location() != time.UTC {
		t.Error("the time is not UTC")
	}
	if diff := cmp.Diff([]polset.Push{{
		RepositoryID: repository, Identifier: "acme-platform/guardrails", DefaultBranch: "main",
		Branch: "main", Before: before, After: after, Pusher: "mara-lindqvist",
	}}, pushes); diff != "" {
		t.Error(diff)
	}
}

func TestIgnored(t *testing.T) {
	push := func(t *testing.T, edits ...func(map[string]any)) *request {
		return delivery("push", payload(t, func(m map[string]any) {
			for _, edit := range edits {
				edit(m)
			}
		}))
	}
	ignored := func(t *testing.T, s *server, r *request, why string) {
		t.Helper()
		got := s.answered(r, 200, "ignored")
		if !strings.Contains(got.Reason, why) {
			t.Errorf("reason %q; want %q", got.Reason, why)
		}
		deliveries, pushes, _ := s.memory.recorded()
		if len(deliveries) != 1 || len(pushes) != 0 {
			t.Errorf("recorded %d deliveries, %d pushes", len(deliveries), len(pushes))
		}
	}

	t.Run("case 16 ping", func(t *testing.T) {
		s := serve(t)
		ignored(t, s, delivery("ping", file(t, "ping.json")), "ping")
		got, _, _ := s.memory.recorded()
		if got[0].Event != "ping" || got[0].Sender != "mara-lindqvist" {
			t.Errorf("delivery %+v", got[0])
		}
	})
	for event, why := range map[string]string{"issues": "does not act", "check_run": "does not act", "no_such_event": "does not know"} {
		t.Run("case 16 event "+event, func(t *testing.T) {
			ignored(t, serve(t), delivery(event, []byte(`{"action":"opened","sender":null}`)), why)
			body := []byte(`{"action":"opened"}`)
			ignored(t, serve(t), delivery(event, body).to(ownID, body), why)
		})
	}
	t.Run("case 18 a tag deleted", func(t *testing.T) {
		ignored(t, serve(t), push(t, set("refs/tags/v1", "ref"), set(true, "deleted"), set(zero, "after")), "not tags")
		ignored(t, serve(t), push(t, set("refs/pull/7/head", "ref"), set(true, "deleted"), set(zero, "after")), "branches only")
	})
	t.Run("case 19 tag", func(t *testing.T) {
		ignored(t, serve(t), push(t, set("refs/tags/v1.2.0", "ref"), set(zero, "before")), "not tags")
		ignored(t, serve(t), push(t, set("refs/tags/main", "ref")), "not tags")
		ignored(t, serve(t), push(t, set("refs/pull/7/head", "ref")), "branches only")
	})
	t.Run("case 19 untracked branch", func(t *testing.T) {
		ignored(t, serve(t), push(t, set("refs/heads/feature/s3", "ref")), "no policy set follows the branch")
		ignored(t, serve(t), push(t, set("refs/heads/refs/heads/main", "ref")), "no policy set follows the branch")
	})
	t.Run("case 22 a repository that nobody follows", func(t *testing.T) {
		ignored(t, serve(t), push(t, set(99, "repository", "id")), "no policy set follows the repository")
	})
}

func TestNotAPush(t *testing.T) {
	t.Run("case 17 push header on another body", func(t *testing.T) {
		s := serve(t)
		s.refused(delivery("push", file(t, "ping.json")), 422, "unprocessable")
		for name, body := range map[string]string{
			"empty object":         `{}`,
			"create event":         `{"ref":"main","ref_type":"branch","master_branch":"main","repository":{"id":1,"full_name":"a/b"},"sender":{"login":"x"}}`,
			"pull request":         `{"action":"synchronize","before":"` + before + `","after":"` + after + `","repository":{"id":1,"full_name":"a/b"}}`,
			"workflow dispatch":    `{"inputs":null,"ref":"refs/heads/main","repository":{"id":1,"full_name":"a/b"}}`,
			"other types":          `{"ref":5,"before":true,"after":[]}`,
			"repository is a name": `{"ref":"refs/heads/main","before":"` + before + `","after":"` + after + `","repository":"a/b","pusher":{}}`,
		} {
			t.Run(name, func(t *testing.T) {
				s.refused(delivery("push", []byte(body)), 422, "unprocessable")
			})
		}
		for _, name := range []string{"ref", "before", "after"} {
			s.refused(delivery("push", payload(t, without(name))), 422, "unprocessable")
			s.refused(delivery("push", payload(t, set(nil, name))), 422, "unprocessable")
		}
	})

	t.Run("not JSON", func(t *testing.T) {
		s := serve(t)
		for _, body := range []string{
			"", " ", "null", "[]", `"push"`, "5", "{", `{"ref":`, "{}{}", "{} x", "\xff\xfe{\x00}\x00", "payload=%7B%7D", "<xml/>", "}{", `{"a":"`,
		} {
			for _, event := range []string{"push", "ping", "issues"} {
				s.refused(delivery(event, []byte(body)), 400, "malformed")
			}
		}
	})

	t.Run("case 26 null nested objects", func(t *testing.T) {
		s := serve(t)
		s.refused(delivery("push", payload(t, set(nil, "repository"))), 400, "malformed")
		s.refused(delivery("push", payload(t, without("repository"))), 400, "malformed")
		s.refused(delivery("push", payload(t, set(nil, "pusher"))), 400, "malformed")
		for _, name := range []string{"id", "full_name"} {
			s.refused(delivery("push", payload(t, set(nil, "repository", name))), 422, "unprocessable")
		}
		// What GitHub itself may leave null does no harm.
		s.answered(delivery("push", payload(t, func(m map[string]any) {
			for _, name := range []string{"sender", "head_commit", "commits", "organization", "installation", "base_ref", "forced", "deleted"} {
				m[name] = nil
			}
			set(nil, "repository", "owner")(m)
			set(nil, "repository", "default_branch")(m)
			set(nil, "pusher", "name")(m)
		})), 202, "accepted")
		s.answered(delivery("issues", []byte(`{"sender":null,"issue":null}`)), 200, "ignored")
	})

	t.Run("repository", func(t *testing.T) {
		s := serve(t)
		huge, _ := new(big.Int).SetString("92233720368547758080", 10)
		for _, id := range []any{0, -1, 1.5, "713508221", huge, true, map[string]any{}} {
			s.refused(delivery("push", payload(t, set(id, "repository", "id"))), 422, "unprocessable")
		}
		for _, name := range []string{
			"", "acme", "acme/", "/guardrails", "a/b/c", "-u/x", "a/..", "a/.", "../x", "a b/c", "a/b c", "a/b\x00", "a/b?x",
			"a/b#c", "a@evil/b", "a/b\u202e", "a/" + strings.Repeat("x", 101), "https://github.com/a/b",
		} {
			s.refused(delivery("push", payload(t, set(name, "repository", "full_name"))), 422, "unprocessable")
		}
		s.refused(delivery("push", payload(t, set("ma..in", "repository", "default_branch"))), 422, "unprocessable")
	})
}

func TestRefs(t *testing.T) {
	bad := map[string]string{
		"two dots": "refs/heads/a..b", "climbing": "refs/heads/../../x", "leading hyphen": "refs/heads/-rf", "option": "refs/heads/--upload-pack=x",
		"NUL": "refs/heads/a\x00b", "newline": "refs/heads/a\nb", "escape": "refs/heads/\x1b[31m", "DEL": "refs/heads/a\x7f", "C1": "refs/heads/a\u0085b",
		"bidi override": "refs/heads/\u202emain", "bidi isolate": "refs/heads/a\u2066b", "bidi mark": "refs/heads/a\u200fb", "line separator": "refs/heads/a\u2028b",
		"lock": "refs/heads/a.lock", "lock inside": "refs/heads/a.lock/b", "at brace": "refs/heads/a@{1}", "backslash": `refs/heads/a\b`,
		"space": "refs/heads/a b", "tilde": "refs/heads/a~1", "caret": "refs/heads/a^", "colon": "refs/heads/a:b", "question": "refs/heads/a?",
		"star": "refs/heads/*", "bracket": "refs/heads/a[b", "slash at the end": "refs/heads/a/", "two slashes": "refs/heads/a//b",
		"dot at the end": "refs/heads/a.", "dot at the start": "refs/heads/.a", "dot inside": "refs/heads/a/.b", "HEAD": "refs/heads/HEAD",
		"no name": "refs/heads/", "no slash": "refs/heads", "short name": "main", "absolute": "/refs/heads/main", "empty": "", "refs": "refs/",
		"replacement": "refs/heads/a\ufffd", "long": "refs/heads/" + strings.Repeat("a", 1024), "a tag": "refs/tags/v1..2",
	}
	s := serve(t)
	for name, ref := range bad {
		t.Run("case 24 ref with "+name, func(t *testing.T) {
			seen := s.logs.Len()
			got := s.refused(delivery("push", payload(t, set(ref, "ref"))), 422, "unprocessable")
			if !strings.HasPrefix(got.Message, "ref ") {
				t.Errorf("message %q", got.Message)
			}
			for _, entry := range s.logs.All()[seen:] {
				logged, _ := entry.ContextMap()["ref"].(string)
				if strings.ContainsAny(logged, "\x00\n\x1b\x7f\u0085\u202e\u2066\u200f\u2028") {
					t.Errorf("the log holds %q as it is", logged)
				}
				if len(logged) > 300 {
					t.Errorf("the log holds %d bytes of the ref", len(logged))
				}
			}
		})
	}
	t.Run("case 24 ref that is no UTF-8", func(t *testing.T) {
		body := bytes.Replace(payload(t, nil), []byte("refs/heads/main"), []byte("refs/heads/ma\xffin"), 1)
		s.refused(delivery("push", body), 422, "unprocessable")
	})
	for _, branch := range []string{
		"main", "feature/x", "release-1.2", "user@corp", "@", "a@b{", "ünïcode", "日本語", "👩\u200d💻", "a.lock.b", "HEADs", "x/HEAD", "a%00b", "'quoted'", "a+b=c", "#1", "$(x)",
	} {
		t.Run("good "+branch, func(t *testing.T) {
			s := serve(t)
			body := payload(t, func(m map[string]any) {
				set("refs/heads/"+branch, "ref")(m)
				set(branch, "repository", "default_branch")(m)
			})
			if got := s.send(delivery("push", body)); got.code/100 != 2 {
				t.Errorf("answer %d %s", got.code, got.raw)
			}
		})
	}
}

func TestCommits(t *testing.T) {
	for name, id := range map[string]string{
		"empty": "", "short": after[:39], "abbreviated": after[:7], "long": after + "0", "upper case": strings.ToUpper(after),
		"no hex": "g" + after[1:], "option": "--" + after[2:], "space": " " + after[1:], "newline": after + "\n", "full-width": "０" + after[3:], "a name": "HEAD",
	} {
		t.Run("case 25 after is "+name, func(t *testing.T) {
			s := serve(t)
			s.refused(delivery("push", payload(t, set(id, "after"))), 422, "unprocessable")
			s.refused(delivery("push", payload(t, set(id, "before"))), 422, "unprocessable")
			s.refused(delivery("push", payload(t, func(m map[string]any) { m["after"], m["ref"] = id, "refs/tags/v1" })), 422, "unprocessable")
		})
	}
	t.Run("case 25 sha256", func(t *testing.T) {
		got := serve(t).refused(delivery("push", payload(t, set(strings.Repeat("a1", 32), "after"))), 422, "unprocessable")
		if !strings.Contains(got.Message, "sha256 repositories are not supported") {
			t.Errorf("message %q", got.Message)
		}
	})
}

func TestBounds(t *testing.T) {
	t.Run("case 23 deeply nested JSON", func(t *testing.T) {
		s := serve(t)
		for _, event := range []string{"push", "issues"} {
			for open, end := range map[string]string{"[": "]", `{"a":`: "}"} {
				inner := map[string]string{"]": "", "}": "0"}[end]
				nested := func(n int) []byte {
					deep := strings.Repeat(open, n) + inner + strings.Repeat(end, n)
					return []byte(strings.TrimSuffix(strings.TrimSpace(string(payload(t, nil))), "}") + `,"x":` + deep + "}")
				}
				if got := s.send(delivery(event, nested(99))); got.code/100 != 2 {
					t.Errorf("99 below the first: %d %s", got.code, got.raw)
				}
				s.refused(delivery(event, nested(100)), 400, "malformed")
				s.refused(delivery(event, nested(9_000)), 400, "malformed")
				s.refused(delivery(event, []byte(`{"x":`+strings.Repeat(open, 4_000_000))), 400, "malformed")
			}
		}
		// Brackets inside strings are no nesting.
		s.answered(delivery("issues", []byte(`{"x":"\"`+strings.Repeat(`[{\\`, 1000)+`"}`)), 200, "ignored")
	})

	t.Run("case 23 2,048 commits", func(t *testing.T) {
		s := serve(t)
		body := manyCommits(t, 2048)
		if len(body) < 2<<20 {
			t.Fatalf("the payload has only %d bytes", len(body))
		}
		got := s.answered(delivery("push", body), 202, "accepted")
		_, pushes, _ := s.memory.recorded()
		if len(got.Ingestions) != 1 || pushes[0].After != after {
			t.Errorf("ingestions %v, push %+v", got.Ingestions, pushes)
		}
		var was, is runtime.MemStats
		runtime.ReadMemStats(&was)
		s.answered(delivery("push", body), 200, "duplicate")
		runtime.ReadMemStats(&is)
		// The buffer and its growth, not one object for every commit.
		if objects := is.Mallocs - was.Mallocs; objects > 2000 {
			t.Errorf("%d objects were allocated", objects)
		}
	})
}

func manyCommits(t testing.TB, n int) []byte {
	return payload(t, func(m map[string]any) {
		var commits []any
		for i := range n {
			commits = append(commits, map[string]any{
				"id": fmt.Sprintf("%040x", i), "tree_id": fmt.Sprintf("%040x", n+i), "distinct": true,
				"message": strings.Repeat("Tighten a policy [and {another}. ", 10), "timestamp": "2026-03-03T13:33:05+01:00",
				"author":    map[string]any{"name": "Mara Lindqvist", "email": "mara@acme.example"},
				"committer": map[string]any{"name": "GitHub", "email": "noreply@github.com"},
				"added":     []string{}, "removed": []string{},
				"modified": []string{"policies/policies.hcl", fmt.Sprintf("policies/rule_%d.rego", i), strings.Repeat("deep/", 80) + "x.rego"},
			})
		}
		m["commits"] = commits
	})
}

func TestClaimsArePrintable(t *testing.T) {
	s := serve(t)
	s.answered(delivery("push", payload(t, func(m map[string]any) {
		set("mar\x00\u202e"+strings.Repeat("é", 300), "pusher", "name")(m)
		set("O'Brien\n\"root\"", "sender", "login")(m)
	})), 202, "accepted")
	deliveries, pushes, _ := s.memory.recorded()
	if got := deliveries[0].Sender; got != `O'Brien\n"root"` {
		t.Errorf("sender %q", got)
	}
	if got := pushes[0].Pusher; !strings.HasPrefix(got, `mar\x00\u202eéé`) || len(got) > 300 || !strings.HasSuffix(got, "é…") {
		t.Errorf("pusher %q", got)
	}
	if raw, err := json.Marshal(s.logs.All()[0].ContextMap()); err != nil || bytes.ContainsAny(raw, "\u202e") {
		t.Errorf("log %s, %v", raw, err)
	}
}
