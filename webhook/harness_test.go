package webhook_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/polset/polset"
	"github.com/polset/polset/webhook"
)

const (
	appSecret  = "It's a Secret to Everybody"
	ownSecret  = "own-hook-secret-9d1c"
	ownID      = "6f1a2c8e-31d5-4c0b-9a57-0d0f7f3f9d11"
	otherID    = "b0c7d9aa-5d58-4f5c-8f0e-2a6d1d2b7c55"
	repository = int64(713508221)
	before     = "8c1f0b6de0c0b3cf7d4f6ad1c5a6f7a8be22f0d1"
	after      = "1d5a2c9e7b6f4a3d2c1b0a9f8e7d6c5b4a392817"
	zero       = "0000000000000000000000000000000000000000"
)

// memory is a Recorder and a Lifecycle without a database. It follows main of
// one repository.
type memory struct {
	mu      sync.Mutex
	hooks   map[string]polset.Hook
	lookups int
	known   map[string]bool   // hook + GUID
	last    map[string]string // hook + repository + branch → after
	pushes  []polset.Push
	all     []polset.Delivery
	reasons []string
	// What was told of other than pushes.
	installations []polset.InstallationChange
	repositories  []polset.RepositoryChange
	pulls         []polset.PullRequest
	// before, where given, is called first in every recording.
	before func(context.Context) error
}

func newMemory() *memory {
	return &memory{
		hooks: map[string]polset.Hook{
			ownID:   {ID: ownID, Secrets: []polset.Secret{polset.NewSecret(ownSecret)}},
			otherID: {ID: otherID, Secrets: []polset.Secret{polset.NewSecret(ownSecret)}},
		},
		known: map[string]bool{},
		last:  map[string]string{},
	}
}

func (m *memory) Hook(ctx context.Context, id string) (polset.Hook, error) {
	if err := ctx.Err(); err != nil {
		return polset.Hook{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lookups++
	h, ok := m.hooks[id]
	if !ok {
		return polset.Hook{}, fmt.Errorf("find hook: %w", polset.ErrNotFound)
	}
	return h, nil
}

func (m *memory) RecordPush(ctx context.Context, d polset.Delivery, p polset.Push) (polset.Receipt, error) {
	if m.before != nil {
		if err := m.before(ctx); err != nil {
			return polset.Receipt{}, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if d.HookID != polset.HookGitHubApp && p.RepositoryID != repository {
		return polset.Receipt{}, fmt.Errorf("record push: %w", polset.ErrNotFound)
	}
	if m.known[d.HookID+d.GUID] {
		return polset.Receipt{Duplicate: true}, nil
	}
	m.known[d.HookID+d.GUID] = true
	m.all = append(m.all, d)
	key := fmt.Sprint(d.HookID, p.RepositoryID, p.Branch)
	switch {
	case p.RepositoryID != repository:
		return polset.Receipt{Ignored: "no policy set follows the repository"}, nil
	case p.Branch != "main":
		return polset.Receipt{Ignored: "no policy set follows the branch"}, nil
	case m.last[key] == p.After:
		return polset.Receipt{Duplicate: true}, nil
	}
	m.last[key] = p.After
	m.pushes = append(m.pushes, p)
	return polset.Receipt{Ingestions: []string{fmt.Sprintf("ing-%016d", len(m.pushes))}}, nil
}

func (m *memory) RecordIgnored(ctx context.Context, d polset.Delivery, reason string) (polset.Receipt, error) {
	if m.before != nil {
		if err := m.before(ctx); err != nil {
			return polset.Receipt{}, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known[d.HookID+d.GUID] {
		return polset.Receipt{Duplicate: true}, nil
	}
	m.known[d.HookID+d.GUID] = true
	m.all = append(m.all, d)
	m.reasons = append(m.reasons, reason)
	return polset.Receipt{Ignored: reason}, nil
}

// changed records a delivery that is no push, of a repository where there is
// one.
func (m *memory) changed(ctx context.Context, d polset.Delivery, of int64, effect string, keep func()) (polset.Receipt, error) {
	if m.before != nil {
		if err := m.before(ctx); err != nil {
			return polset.Receipt{}, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if d.HookID != polset.HookGitHubApp && of != repository {
		return polset.Receipt{}, fmt.Errorf("record change: %w", polset.ErrNotFound)
	}
	if m.known[d.HookID+d.GUID] {
		return polset.Receipt{Duplicate: true}, nil
	}
	m.known[d.HookID+d.GUID] = true
	m.all = append(m.all, d)
	keep()
	return polset.Receipt{Effect: effect}, nil
}

func (m *memory) RecordInstallation(ctx context.Context, d polset.Delivery, c polset.InstallationChange) (polset.Receipt, error) {
	return m.changed(ctx, d, 0, "installation "+string(c.Action), func() { m.installations = append(m.installations, c) })
}

func (m *memory) RecordRepository(ctx context.Context, d polset.Delivery, c polset.RepositoryChange) (polset.Receipt, error) {
	return m.changed(ctx, d, c.Repository.ID, "repository "+string(c.Action), func() { m.repositories = append(m.repositories, c) })
}

func (m *memory) RecordPullRequest(ctx context.Context, d polset.Delivery, p polset.PullRequest) (polset.Receipt, error) {
	return m.changed(ctx, d, p.Repository.ID, "dry run", func() { m.pulls = append(m.pulls, p) })
}

func (m *memory) recorded() (deliveries []polset.Delivery, pushes []polset.Push, reasons []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append(deliveries, m.all...), append(pushes, m.pushes...), append(reasons, m.reasons...)
}

// server is a Receiver behind a real listener.
type server struct {
	*httptest.Server
	t      testing.TB
	memory *memory
	logs   *observer.ObservedLogs
	conns  atomic.Int64 // opened so far
}

func serve(t testing.TB, change ...func(*webhook.Config)) *server {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	m := newMemory()
	c := webhook.Config{
		Recorder: m, Lifecycle: m,
		Secrets:  []polset.Secret{polset.NewSecret(appSecret)},
		HTTPURLs: []string{"https://github.com"},
		Logger:   zap.New(core),
	}
	for _, f := range change {
		f(&c)
	}
	r, err := webhook.New(c)
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	r.Register(e)
	s := &server{Server: httptest.NewUnstartedServer(e), t: t, memory: m, logs: logs}
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// A request is a delivery as GitHub makes it, to be changed before it is sent.
type request struct {
	method, path string
	header       http.Header
	body         io.Reader
	length       int64 // as declared
}

// delivery makes a signed delivery to the App's hook.
func delivery(event string, body []byte) *request {
	return &request{
		method: http.MethodPost,
		path:   "/webhooks/github",
		header: http.Header{
			"Content-Type":        {"application/json"},
			"User-Agent":          {"GitHub-Hookshot/1d9a5c2"},
			"X-Github-Delivery":   {uuid.NewString()},
			"X-Github-Event":      {event},
			"X-Hub-Signature-256": {sign(appSecret, body)},
		},
		body:   bytes.NewReader(body),
		length: int64(len(body)),
	}
}

// to makes a delivery one of a repository's own hook.
func (r *request) to(id string, body []byte) *request {
	r.path = "/webhooks/vcs/" + id
	r.header.Set("X-Hub-Signature-256", sign(ownSecret, body))
	return r
}

func (r *request) with(name string, values ...string) *request {
	r.header.Del(name)
	for _, v := range values {
		r.header.Add(name, v)
	}
	return r
}

func sign(secret string, body []byte) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write(body)
	return "sha256=" + hex.EncodeToString(h.Sum(nil))
}

// A reply is every member that an answer or a problem may have.
type reply struct {
	code   int
	header http.Header
	raw    string
	closes bool // the connection

	Status     string   `json:"status"`
	Delivery   string   `json:"delivery"`
	Ingestions []string `json:"ingestions"`
	Effect     string   `json:"effect"`
	Reason     string   `json:"reason"`
	Error      string   `json:"error"`
	Message    string   `json:"message"`
}

func (s *server) send(r *request) reply {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), r.method, s.URL+r.path, r.body)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header, req.ContentLength = r.header, r.length
	res, err := s.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.read(res)
}

func (s *server) read(res *http.Response) reply {
	s.t.Helper()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		s.t.Fatal(err)
	}
	out := reply{code: res.StatusCode, header: res.Header, raw: string(raw), closes: res.Close}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") && len(raw) > 0 {
		if err := json.Unmarshal(raw, &out); err != nil {
			s.t.Fatalf("answer %q: %v", raw, err)
		}
	}
	return out
}

// refused sends a request that must be refused and must leave nothing behind.
func (s *server) refused(r *request, status int, code string) reply {
	s.t.Helper()
	deliveries, _, _ := s.memory.recorded()
	got := s.send(r)
	if got.code != status || got.Error != code || got.Message == "" || got.Status != "" {
		s.t.Errorf("answer %d %s; want %d %s", got.code, got.raw, status, code)
	}
	if now, _, _ := s.memory.recorded(); len(now) != len(deliveries) {
		s.t.Errorf("recorded %+v", now[len(deliveries):])
	}
	return got
}

// answered sends a request that must be committed.
func (s *server) answered(r *request, code int, status string) reply {
	s.t.Helper()
	got := s.send(r)
	if got.code != code || got.Status != status || got.Error != "" {
		s.t.Errorf("answer %d %s; want %d %s", got.code, got.raw, code, status)
	}
	return got
}

func file(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// payload returns testdata/push.json with members changed.
func payload(t testing.TB, edit func(map[string]any)) []byte {
	t.Helper()
	raw := file(t, "push.json")
	if edit == nil {
		return raw
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	edit(m)
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// set returns an edit of one member; inside names the object that holds it.
func set(value any, path ...string) func(map[string]any) {
	return func(m map[string]any) {
		for _, name := range path[:len(path)-1] {
			inner, ok := m[name].(map[string]any)
			if !ok {
				panic("no object " + name)
			}
			m = inner
		}
		m[path[len(path)-1]] = value
	}
}

func without(name string) func(map[string]any) {
	return func(m map[string]any) { delete(m, name) }
}
