package webhook_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/polset/polset"
	"github.com/polset/polset/webhook"
)

func TestReceipts(t *testing.T) {
	body := payload(t, nil)

	t.Run("case 07 same hook and GUID again", func(t *testing.T) {
		s := serve(t)
		guid := uuid.NewString()
		s.answered(delivery("push", body).with("X-Github-Delivery", guid), 202, "accepted")
		s.answered(delivery("push", body).with("X-Github-Delivery", strings.ToUpper(guid)), 200, "duplicate")
		if _, pushes, _ := s.memory.recorded(); len(pushes) != 1 {
			t.Errorf("%d pushes", len(pushes))
		}
		s.answered(delivery("ping", file(t, "ping.json")).with("X-Github-Delivery", guid), 200, "duplicate")
	})

	t.Run("case 08 same body, fresh GUID", func(t *testing.T) {
		s := serve(t)
		s.answered(delivery("push", body), 202, "accepted")
		s.answered(delivery("push", body), 200, "duplicate")
	})

	t.Run("case 09 same GUID from two hooks", func(t *testing.T) {
		s := serve(t)
		guid := uuid.NewString()
		for _, r := range []*request{delivery("push", body), delivery("push", body).to(ownID, body), delivery("push", body).to(otherID, body)} {
			s.answered(r.with("X-Github-Delivery", guid), 202, "accepted")
		}
		var hooks []string
		deliveries, _, _ := s.memory.recorded()
		for _, d := range deliveries {
			hooks = append(hooks, d.HookID)
		}
		if diff := cmp.Diff([]string{"github", ownID, otherID}, hooks); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("case 20 forced push", func(t *testing.T) {
		s := serve(t)
		s.answered(delivery("push", payload(t, func(m map[string]any) {
			m["forced"], m["commits"], m["head_commit"] = true, []any{}, nil
		})), 202, "accepted")
		if _, pushes, _ := s.memory.recorded(); !pushes[0].Forced || pushes[0].After != after || pushes[0].Before != before {
			t.Errorf("push %+v", pushes[0])
		}
	})

	t.Run("case 21 rename or transfer", func(t *testing.T) {
		s := serve(t)
		s.answered(delivery("push", payload(t, set("new-owner_corp/policies.v2", "repository", "full_name"))), 202, "accepted")
		if _, pushes, _ := s.memory.recorded(); pushes[0].RepositoryID != repository || pushes[0].Identifier != "new-owner_corp/policies.v2" {
			t.Errorf("push %+v", pushes[0])
		}
	})

	t.Run("case 22 another repository at an own hook", func(t *testing.T) {
		s := serve(t)
		other := payload(t, set(99, "repository", "id"))
		got := s.refused(delivery("push", other).to(ownID, other), 404, "not-found")
		unknown := s.refused(delivery("push", other).to(uuid.NewString(), other), 404, "not-found")
		if got.raw != unknown.raw {
			t.Errorf("%s is not %s", got.raw, unknown.raw)
		}
	})

	t.Run("case 27 replayed deliveries", func(t *testing.T) {
		// The order is the store's matter: every signed push reaches it with
		// the time of its arrival, a replayed one too.
		s := serve(t)
		older := payload(t, func(m map[string]any) { m["before"], m["after"] = zero, before })
		for _, b := range [][]byte{body, older, body} {
			s.answered(delivery("push", b), 202, "accepted")
		}
		_, pushes, _ := s.memory.recorded()
		if len(pushes) != 3 || pushes[0].After != after || pushes[1].After != before || pushes[2].After != after {
			t.Errorf("pushes %+v", pushes)
		}
	})
}

func TestCommit(t *testing.T) {
	body := payload(t, nil)
	requests := map[string]func() *request{
		"push":     func() *request { return delivery("push", body) },
		"own hook": func() *request { return delivery("push", body).to(ownID, body) },
		"ping":     func() *request { return delivery("ping", file(t, "ping.json")) },
	}
	for name, request := range requests {
		t.Run("case 28 database down "+name, func(t *testing.T) {
			s := serve(t)
			s.memory.before = func(context.Context) error { return errDown }
			got := s.refused(request(), 503, "unavailable")
			if got.header.Get("Retry-After") != "30" {
				t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
			}
			if strings.Contains(got.raw, "10.1.2.3") {
				t.Errorf("the answer shows internals: %s", got.raw)
			}
			entry := s.logs.All()[0]
			if text, _ := entry.ContextMap()["error"].(string); !strings.Contains(text, "connection refused") {
				t.Errorf("the log does not say why: %v", entry.ContextMap())
			}
			s.memory.before = nil
			if got := s.send(request()); got.code/100 != 2 {
				t.Errorf("answer %d %s after the database came back", got.code, got.raw)
			}
		})
	}

	t.Run("case 28 never 2xx before the commit", func(t *testing.T) {
		s := serve(t)
		entered, commit := make(chan struct{}), make(chan struct{})
		s.memory.before = func(context.Context) error {
			close(entered)
			<-commit
			return nil
		}
		conn := s.dial("Content-Length: "+strconv.Itoa(len(body)), string(body))
		<-entered
		if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		var timeout net.Error
		if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("answered before the commit: %d bytes, %v", n, err)
		}
		if err := conn.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		close(commit)
		if got := s.hear(conn); got.code != 202 {
			t.Errorf("answer %d %s", got.code, got.raw)
		}
	})

	t.Run("case 28 database hangs", func(t *testing.T) {
		s := serve(t, func(c *webhook.Config) { c.AnswerTimeout = 50 * time.Millisecond })
		s.memory.before = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		s.refused(delivery("push", body), 503, "unavailable")
	})

	t.Run("a sender who hangs up does not stop the commit", func(t *testing.T) {
		s := serve(t)
		entered, gone := make(chan struct{}), make(chan error, 1)
		s.memory.before = func(ctx context.Context) error {
			close(entered)
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			gone <- ctx.Err()
			return ctx.Err()
		}
		conn := s.dial("Content-Length: "+strconv.Itoa(len(body)), string(body))
		<-entered
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-gone; err != nil {
			t.Errorf("the recording was cancelled: %v", err)
		}
		s.waitForLog("accepted")
	})
}

func TestLog(t *testing.T) {
	s := serve(t)
	body := payload(t, nil)
	r := delivery("push", body).with("X-Github-Encoded-Secret", "bGVha2Vk")
	s.answered(r, 202, "accepted")
	s.refused(delivery("push", body).with("X-Hub-Signature-256", sign("wrong", body)), 401, "unauthorized")
	if s.logs.Len() != 2 {
		t.Fatalf("%d log lines for 2 requests", s.logs.Len())
	}
	fields := s.logs.All()[0].ContextMap()
	for name, want := range map[string]any{
		"hook": "app", "delivery": r.header.Get("X-Github-Delivery"), "event": "push", "repo": "acme-platform/guardrails",
		"ref": "refs/heads/main", "commit": after, "status": int64(202), "outcome": "accepted", "sender": "mara-lindqvist",
	} {
		if fields[name] != want {
			t.Errorf("field %s = %v; want %v", name, fields[name], want)
		}
	}
	if _, ok := fields["elapsed"]; !ok {
		t.Error("no elapsed")
	}
	for _, entry := range s.logs.All() {
		for name, value := range entry.ContextMap() {
			text, _ := value.(string)
			for _, never := range []string{appSecret, "bGVha2Vk", "mara@acme.example", "sha256=", "refs/heads/main\","} {
				if strings.Contains(text, never) {
					t.Errorf("the log holds %q in %s", never, name)
				}
			}
		}
	}
	if fields := s.logs.All()[1].ContextMap(); fields["repo"] != nil || fields["sender"] != nil {
		t.Errorf("an unsigned body was read: %v", fields)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	s := serve(t, func(c *webhook.Config) { c.Registerer = reg })
	body := payload(t, nil)
	s.answered(delivery("push", body), 202, "accepted")
	s.answered(delivery("ping", file(t, "ping.json")), 200, "ignored")
	s.answered(delivery("push", body).to(ownID, body), 202, "accepted")
	s.refused(delivery("push", body).with("X-Hub-Signature-256"), 401, "unauthorized")
	want := `
# HELP polset_deliveries_total Webhook requests by the hook that received them (app, repository) and what became of them.
# TYPE polset_deliveries_total counter
polset_deliveries_total{hook="app",outcome="accepted"} 1
polset_deliveries_total{hook="app",outcome="ignored"} 1
polset_deliveries_total{hook="app",outcome="unauthorized"} 1
polset_deliveries_total{hook="repository",outcome="accepted"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "polset_deliveries_total"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(reg, "polset_delivery_seconds"); err != nil || n != 2 {
		t.Errorf("%d series, %v", n, err)
	}
	if _, err := webhook.New(webhook.Config{Recorder: newMemory(), Lifecycle: newMemory(), Registerer: reg}); err == nil {
		t.Error("the same metrics were registered twice")
	}
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]webhook.Config{
		"no recorder":       {Lifecycle: newMemory()},
		"no lifecycle":      {Recorder: newMemory()},
		"negative limit":    {Recorder: newMemory(), Lifecycle: newMemory(), MaxBody: -1},
		"negative timeout":  {Recorder: newMemory(), Lifecycle: newMemory(), BodyTimeout: -1},
		"memory too little": {Recorder: newMemory(), Lifecycle: newMemory(), MaxBody: 100, MaxBuffered: 599},
	} {
		if _, err := webhook.New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := webhook.New(webhook.Config{Recorder: newMemory(), Lifecycle: newMemory(), Secrets: []polset.Secret{polset.NewSecret("x")}}); err != nil {
		t.Error(err)
	}
}
