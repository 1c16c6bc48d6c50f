package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" // what must be refused
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/polset/polset"
	"github.com/polset/polset/webhook"
)

func TestSignature(t *testing.T) {
	body := payload(t, nil)
	good := sign(appSecret, body)
	h := hmac.New(sha1.New, []byte(appSecret))
	h.Write(body)
	legacy := "sha1=" + hex.EncodeToString(h.Sum(nil))

	t.Run("case 01 no signature", func(t *testing.T) {
		s := serve(t)
		s.refused(delivery("push", body).with("X-Hub-Signature-256"), 401, "unauthorized")
		s.refused(delivery("push", body).with("X-Hub-Signature-256", ""), 401, "unauthorized")
		s.refused(delivery("push", body).to(ownID, body).with("X-Hub-Signature-256"), 401, "unauthorized")
		if s.memory.lookups != 0 {
			t.Error("an unsigned request reached the database")
		}
	})

	t.Run("case 02 wrong secret or one flipped bit", func(t *testing.T) {
		s := serve(t)
		s.refused(delivery("push", body).with("X-Hub-Signature-256", sign("another", body)), 401, "unauthorized")
		s.refused(delivery("push", body).with("X-Hub-Signature-256", sign("", body)), 401, "unauthorized")
		for _, i := range []int{0, len(body) / 2, len(body) - 1} {
			flipped := append([]byte(nil), body...)
			flipped[i] ^= 1
			s.refused(delivery("push", flipped).with("X-Hub-Signature-256", good), 401, "unauthorized")
		}
		for _, i := range []int{len("sha256="), len(good) - 1} {
			b := []byte(good)
			b[i] = map[bool]byte{true: '1', false: '0'}[b[i] == '0']
			s.refused(delivery("push", body).with("X-Hub-Signature-256", string(b)), 401, "unauthorized")
		}
		// One hook's secret is worth nothing at another.
		s.refused(delivery("push", body).with("X-Hub-Signature-256", sign(ownSecret, body)), 401, "unauthorized")
		s.refused(delivery("push", body).to(ownID, body).with("X-Hub-Signature-256", good), 401, "unauthorized")
	})

	t.Run("case 03 SHA-1 only", func(t *testing.T) {
		s := serve(t)
		got := s.refused(delivery("push", body).with("X-Hub-Signature-256").with("X-Hub-Signature", legacy), 401, "unauthorized")
		if !strings.Contains(got.Message, "SHA-1") {
			t.Errorf("message %q does not say why", got.Message)
		}
		s.refused(delivery("push", body).with("X-Hub-Signature-256", legacy), 401, "unauthorized")
	})

	t.Run("case 04 malformed signatures", func(t *testing.T) {
		s := serve(t)
		digits := strings.TrimPrefix(good, "sha256=")
		for name, value := range map[string]string{
			"sha512":           "sha512=" + digits + digits,
			"mislabelled":      "sha512=" + digits,
			"upper-case label": "SHA256=" + digits,
			"no label":         digits,
			"label only":       "sha256=",
			"bad hex":          "sha256=" + strings.Repeat("zz", 32),
			"odd":              "sha256=" + digits[:63],
			"too short":        "sha256=" + digits[:62],
			"too long":         "sha256=" + digits + "00",
			"trailing":         good + ", " + good,
			"NUL-like":         "sha256=%00",
		} {
			t.Run(name, func(t *testing.T) {
				s.refused(delivery("push", body).with("X-Hub-Signature-256", value), 401, "unauthorized")
				s.refused(delivery("push", body).to(ownID, body).with("X-Hub-Signature-256", value), 401, "unauthorized")
				if s.memory.lookups != 0 {
					t.Error("what cannot be a signature reached the database")
				}
			})
		}
		s.refused(delivery("push", body).with("X-Hub-Signature-256", good, good), 401, "unauthorized")
	})
}

func TestSecrets(t *testing.T) {
	body := payload(t, nil)

	t.Run("case 05 no secret", func(t *testing.T) {
		s := serve(t, func(c *webhook.Config) { c.Secrets = nil })
		got := s.refused(delivery("push", body), 503, "unavailable")
		if got.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		s.refused(delivery("push", body).with("X-Hub-Signature-256", sign("", body)), 503, "unavailable")
		s.refused(delivery("push", body).with("X-Hub-Signature-256"), 503, "unavailable")
		for _, entry := range s.logs.All() {
			if text, _ := entry.ContextMap()["error"].(string); !strings.Contains(text, "POLSET_GITHUB_WEBHOOK_SECRET is not set") {
				t.Errorf("the log does not say what to do: %v", entry.ContextMap())
			}
		}
		if s.logs.Len() != 3 {
			t.Errorf("%d log lines for 3 requests", s.logs.Len())
		}
		// A repository's own hook needs no operator's secret, but its own.
		s.answered(delivery("push", body).to(ownID, body), 202, "accepted")
		s.memory.hooks[ownID] = polset.Hook{ID: ownID, Secrets: []polset.Secret{{}}}
		s.refused(delivery("push", body).to(ownID, body).with("X-Hub-Signature-256", sign("", body)), 503, "unavailable")
		s.memory.hooks[ownID] = polset.Hook{ID: ownID, Secrets: []polset.Secret{{}, polset.NewSecret("x")}}
		s.refused(delivery("push", body).to(ownID, body).with("X-Hub-Signature-256", sign("", body)), 401, "unauthorized")
	})

	t.Run("case 05 an empty element", func(t *testing.T) {
		for _, list := range []string{",", "a,", ",a", "a,,b", "a, ,b", " ", "\n"} {
			if got, err := webhook.ParseSecrets(list); err == nil {
				t.Errorf("ParseSecrets(%q) = %d secrets", list, len(got))
			}
		}
		_, err := webhook.New(webhook.Config{Recorder: newMemory(), Lifecycle: newMemory(), Secrets: []polset.Secret{polset.NewSecret("a"), {}}})
		if err == nil {
			t.Error("New took an empty secret")
		}
	})

	t.Run("lists", func(t *testing.T) {
		lists := map[string][]string{"": nil, "a": {"a"}, "new,old": {"new", "old"}}
		lists[" new , old\n"] = []string{"new", "old"}
		for list, want := range lists {
			secrets, err := webhook.ParseSecrets(list)
			if err != nil {
				t.Errorf("ParseSecrets(%q): %v", list, err)
			}
			var got []string
			for _, s := range secrets {
				got = append(got, s.Reveal())
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("ParseSecrets(%q): %s", list, diff)
			}
		}
	})

	t.Run("case 06 rotation", func(t *testing.T) {
		old, fresh := polset.NewSecret(appSecret), polset.NewSecret("the next one")
		both := serve(t, func(c *webhook.Config) { c.Secrets = []polset.Secret{fresh, old} })
		next := payload(t, set(strings.Repeat("a", 40), "after"))
		both.answered(delivery("push", body), 202, "accepted")
		both.answered(delivery("push", next).with("X-Hub-Signature-256", sign("the next one", next)), 202, "accepted")
		after := serve(t, func(c *webhook.Config) { c.Secrets = []polset.Secret{fresh} })
		after.refused(delivery("push", body), 401, "unauthorized")
		after.answered(delivery("push", body).with("X-Hub-Signature-256", sign("the next one", body)), 202, "accepted")

		own := both.memory.hooks
		own[ownID] = polset.Hook{ID: ownID, Secrets: []polset.Secret{fresh, polset.NewSecret(ownSecret)}}
		both.answered(delivery("push", body).to(ownID, body), 202, "accepted")
		own[ownID] = polset.Hook{ID: ownID, Secrets: []polset.Secret{fresh}}
		both.refused(delivery("push", body).to(ownID, body), 401, "unauthorized")
	})
}

func TestHeaders(t *testing.T) {
	body := payload(t, nil)
	const guid = "72D3162E-cc78-11e3-81ab-4c9367dc0958"

	t.Run("case 10 missing or malformed GUID", func(t *testing.T) {
		s := serve(t)
		for _, values := range [][]string{
			nil,
			{""},
			{"1"},
			{guid[:35]},
			{guid + "0"},
			{"{" + guid + "}"},
			{"urn:uuid:" + guid},
			{strings.ReplaceAll(guid, "-", "")},
			{strings.Replace(guid, "7", "g", 1)},
			{guid, guid},
			{"' OR 1=1 --"},
		} {
			s.refused(delivery("push", body).with("X-Github-Delivery", values...), 400, "malformed")
		}
		s.refused(delivery("push", body).with("X-Github-Delivery", "1").with("X-Hub-Signature-256", sign("x", body)), 401, "unauthorized")
		got := s.answered(delivery("push", body).with("X-Github-Delivery", guid), 202, "accepted")
		if got.Delivery != strings.ToLower(guid) {
			t.Errorf("delivery %s", got.Delivery)
		}
	})

	t.Run("event header", func(t *testing.T) {
		s := serve(t)
		for _, values := range [][]string{nil, {""}, {"push", "ping"}, {"push x"}, {"pu<sh>"}, {strings.Repeat("e", 101)}} {
			s.refused(delivery("push", body).with("X-Github-Event", values...), 400, "malformed")
		}
	})

	t.Run("case 12 compressed", func(t *testing.T) {
		s := serve(t)
		for _, coding := range []string{"gzip", "deflate", "br", "identity, gzip", "aws-chunked"} {
			s.refused(delivery("push", body).with("Content-Encoding", coding), 415, "unsupported-media-type")
		}
		s.refused(delivery("push", body).with("Content-Encoding", "identity", "gzip"), 415, "unsupported-media-type")
		s.answered(delivery("push", body).with("Content-Encoding", "identity"), 202, "accepted")
	})

	t.Run("case 14 wrong or missing Content-Type", func(t *testing.T) {
		s := serve(t)
		for _, values := range [][]string{
			nil,
			{""},
			{"text/json"},
			{"text/plain"},
			{"application/json; ="},
			{"application/jsonx"},
			{"application/vnd.github+json"},
			{"multipart/form-data; boundary=x"},
			{"application/json, text/plain"},
			{"application/json", "text/plain"},
		} {
			s.refused(delivery("push", body).with("Content-Type", values...), 415, "unsupported-media-type")
		}
		s.answered(delivery("push", body).with("Content-Type", "Application/JSON; charset=utf-8"), 202, "accepted")
	})

	t.Run("case 15 form-encoded", func(t *testing.T) {
		s := serve(t)
		form := []byte("payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%7D")
		for _, value := range []string{"application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-8"} {
			got := s.refused(delivery("push", form).with("Content-Type", value), 415, "unsupported-media-type")
			if !strings.Contains(got.Message, "set the content type of the webhook to application/json") {
				t.Errorf("message %q does not say what to do", got.Message)
			}
		}
	})

	t.Run("other methods", func(t *testing.T) {
		s := serve(t)
		for _, path := range []string{"/webhooks/github", "/webhooks/vcs/" + ownID} {
			for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"} {
				r := delivery("push", body)
				r.method, r.path = method, path
				if got := s.send(r); got.code != http.StatusMethodNotAllowed || got.header.Get("Allow") != "POST" {
					t.Errorf("%s %s: %d, allow %q", method, path, got.code, got.header.Get("Allow"))
				}
			}
		}
	})
}

func TestOwnHook(t *testing.T) {
	body := payload(t, nil)

	t.Run("unknown", func(t *testing.T) {
		s := serve(t)
		unknown := s.refused(delivery("push", body).to("00000000-0000-4000-8000-000000000000", body), 404, "not-found")
		if s.memory.lookups != 1 {
			t.Errorf("%d look-ups", s.memory.lookups)
		}
		for _, id := range []string{"github", "1", ownID + "0", ownID[1:], "%00", "..%2f..", "%7B" + ownID + "%7D", "urn:uuid:" + ownID} {
			got := s.refused(delivery("push", body).to(id, body), 404, "not-found")
			if got.raw != unknown.raw {
				t.Errorf("%s: %s is not %s", id, got.raw, unknown.raw)
			}
		}
		if s.memory.lookups != 1 {
			t.Error("an id that is no uuid reached the database")
		}
	})

	t.Run("upper case", func(t *testing.T) {
		s := serve(t)
		s.answered(delivery("push", body).to(strings.ToUpper(ownID), body), 202, "accepted")
		if got, _, _ := s.memory.recorded(); got[0].HookID != ownID || got[0].HTTPURLs != nil {
			t.Errorf("delivery %+v", got[0])
		}
	})

	t.Run("case 28 database down at the look-up", func(t *testing.T) {
		s := serve(t, func(c *webhook.Config) { c.Recorder, c.Lifecycle = down{}, down{} })
		got := s.refused(delivery("push", body).to(ownID, body), 503, "unavailable")
		if strings.Contains(got.raw, "dial") || got.header.Get("Retry-After") == "" {
			t.Errorf("answer %s, headers %v", got.raw, got.header)
		}
	})
}

// down is a Recorder whose database is gone.
type down struct{}

var errDown = errors.New("dial tcp 10.1.2.3:5432: connection refused")

func (down) Hook(context.Context, string) (polset.Hook, error) { return polset.Hook{}, errDown }
func (down) RecordPush(context.Context, polset.Delivery, polset.Push) (polset.Receipt, error) {
	return polset.Receipt{}, errDown
}

func (down) RecordIgnored(context.Context, polset.Delivery, string) (polset.Receipt, error) {
	return polset.Receipt{}, errDown
}

func (down) RecordInstallation(context.Context, polset.Delivery, polset.InstallationChange) (polset.Receipt, error) {
	return polset.Receipt{}, errDown
}

func (down) RecordRepository(context.Context, polset.Delivery, polset.RepositoryChange) (polset.Receipt, error) {
	return polset.Receipt{}, errDown
}

func (down) RecordPullRequest(context.Context, polset.Delivery, polset.PullRequest) (polset.Receipt, error) {
	return polset.Receipt{}, errDown
}
