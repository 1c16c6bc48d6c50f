package ingest_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/polset/polset"
	"github.com/polset/polset/ingest"
	"github.com/polset/polset/internal/polsettest"
	"github.com/polset/polset/policy"
	"github.com/polset/polset/store"
	"github.com/polset/polset/store/object"
)

// repository is a source without git: a branch, and what each commit holds.
// Its faults are what a git server may do to the worker.
type repository struct {
	mu      sync.Mutex
	head    string
	heads   []string // what the next looks show, before head stays as it is
	commits map[string]fstest.MapFS

	headErr, openErr, resolveErr, fetchErr error
	changedErr                             error
	onChanged                              func()
	onOpen, onFetch                        func(context.Context) error
	looked, opened, fetched, compared      int
	tokens                                 []string
	hints                                  []string          // of Open
	wanted                                 []polset.Content  // of Fetch
	files                                  func(fs.FS) fs.FS // of Fetch
}

func (r *repository) Head(_ context.Context, remote polset.Remote, branch string) (polset.Head, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens = append(r.tokens, remote.Token.Reveal())
	r.looked++
	if len(r.heads) > 0 {
		r.head, r.heads = r.heads[0], r.heads[1:]
	}
	if branch == "" {
		branch = "main"
	}
	return polset.Head{Branch: branch, Commit: r.head}, r.headErr
}

// Heads shows the same head for every branch.
func (r *repository) Heads(ctx context.Context, remote polset.Remote, branches []string) ([]polset.Head, error) {
	heads := make([]polset.Head, len(branches))
	for i, b := range branches {
		var err error
		if heads[i], err = r.Head(ctx, remote, b); err != nil {
			return nil, err
		}
	}
	return heads, nil
}

func (r *repository) Open(ctx context.Context, _ polset.Remote, commit, hint string) (ingest.Snapshot, error) {
	r.mu.Lock()
	r.hints = append(r.hints, hint)
	on, err := r.onOpen, r.openErr
	r.opened++
	files, ok := r.commits[commit]
	r.mu.Unlock()
	if on != nil {
		if err := on(ctx); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, polset.Fail(polset.ClassCommitNotFound, "There is no commit %s.", commit)
	}
	return &snapshot{r, files}, nil
}

type snapshot struct {
	repo  *repository
	files fstest.MapFS
}

// Resolve gives the text of what counts as its id.
func (s *snapshot) Resolve(_ context.Context, want polset.Content) (polset.Content, error) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		if strings.HasPrefix(name, want.Path+"/") {
			b.WriteString(name)
			b.Write(s.files[name].Data)
		}
	}
	want.Tree = b.String()
	if want.Submodules {
		want.Gitmodules = "blob " + s.text(".gitmodules")
	}
	for name := range want.Outside {
		want.Outside[name] = ""
		if f, ok := s.files[name]; ok {
			want.Outside[name] = "blob " + string(f.Data)
		}
	}
	return want, s.repo.resolveErr
}

func (s *snapshot) Fetch(ctx context.Context, content polset.Content) (fs.FS, error) {
	s.repo.mu.Lock()
	s.repo.wanted = append(s.repo.wanted, content)
	s.repo.fetched++
	on := s.repo.onFetch
	s.repo.mu.Unlock()
	if on != nil {
		if err := on(ctx); err != nil {
			return nil, err
		}
	}
	if s.repo.files != nil {
		return s.repo.files(s.files), s.repo.fetchErr
	}
	return s.files, s.repo.fetchErr
}

func (s *snapshot) Changed(_ context.Context, since string, patterns polset.Patterns) (string, error) {
	s.repo.compared++
	if s.repo.onChanged != nil {
		s.repo.onChanged()
	}
	before, ok := s.repo.commits[since]
	if !ok {
		return "", polset.Fail(polset.ClassCommitNotFound, "There is no commit %s any more.", since)
	}
	for _, files := range []fstest.MapFS{before, s.files} {
		for name := range files {
			if patterns.Match(name) && !reflect.DeepEqual(before[name], s.files[name]) {
				return name, s.repo.changedErr
			}
		}
	}
	return "", s.repo.changedErr
}

func (s *snapshot) text(name string) string {
	if f, ok := s.files[name]; ok {
		return string(f.Data)
	}
	return ""
}

func (s *snapshot) Close() error { return nil }

const commitA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

const (
	config = "policy \"a\" {\n  query = \"data.a.deny\"\n}\n"
	rego   = "package a\n\ndeny contains \"no\" if input.no\n"
)

func good(salt string) fstest.MapFS {
	return fstest.MapFS{
		"p/policies.hcl": {Data: []byte(config), Mode: 0o644},
		"p/a.rego":       {Data: []byte(rego + "# " + salt + "\n"), Mode: 0o644},
	}
}

// A world is a worker over real rows and real bytes.
type world struct {
	t      *testing.T
	ctx    context.Context
	store  *store.Store
	repo   *repository
	worker *ingest.Worker
	set    polset.PolicySet
	oc     polset.Connection
}

var admin = polset.Principal{Actor: "test"}

var (
	worldKey = store.NewKey()
	noRows   = polsettest.SQLite(func(path string) error {
		s, err := openRows(context.Background(), path)
		if err != nil {
			return err
		}
		return s.Close()
	})
)

func openRows(ctx context.Context, path string) (*store.Store, error) {
	key, err := store.ParseKey(worldKey)
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, store.Config{URL: path, Key: key})
}

func newWorld(t *testing.T, change func(*ingest.Config)) *world {
	t.Helper()
	ctx := t.Context()
	s, err := openRows(ctx, noRows(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	bucket, err := object.Open(ctx, "file://"+t.TempDir(), object.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ctx: ctx, store: s, repo: &repository{head: commitA, commits: map[string]fstest.MapFS{commitA: good("a")}}}
	c := ingest.Config{
		Ledger: s, Versions: s, Endings: s, Branches: s, Source: w.repo, Objects: bucket,
		SpoolDir: t.TempDir(), RetryBase: time.Microsecond, Logger: zaptest.NewLogger(t),
	}
	if change != nil {
		change(&c)
	}
	if w.worker, err = ingest.New(c); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateOrganization(ctx, admin, polset.Organization{Name: "acme"}); err != nil {
		t.Fatal(err)
	}
	w.oc, err = s.CreateConnection(ctx, admin, polset.ConnectionDraft{
		Organization: "acme", ServiceProvider: "github", HTTPURL: "https://github.com",
		APIURL: "https://api.github.com", Token: polset.NewSecret("the token"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// follow makes the world's policy set.
func (w *world) follow(head polset.Head) {
	w.t.Helper()
	w.set = w.another("set", head)
}

// another makes a policy set that follows the same.
func (w *world) another(name string, head polset.Head) polset.PolicySet {
	w.t.Helper()
	set, err := w.store.CreatePolicySet(w.ctx, admin, polset.PolicySetDraft{
		Organization: "acme", Name: name, Kind: polset.KindOPA, PoliciesPath: "/p",
		VCS: &polset.VCSDraft{Identifier: "acme/policies", TokenID: w.oc.TokenID, Head: head},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return set
}

// push records a push and works on it.
func (w *world) push(guid, commit string) {
	w.t.Helper()
	w.record(guid, commit)
	w.work(commit)
}

func (w *world) record(guid, commit string) {
	w.t.Helper()
	_, err := w.store.RecordPush(w.ctx,
		polset.Delivery{HookID: polset.HookGitHubApp, GUID: guid, Event: "push", HTTPURLs: []string{"https://github.com"}},
		polset.Push{RepositoryID: 1, Identifier: "acme/policies", DefaultBranch: "main", Branch: "main", After: commit})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) work(commit string) {
	w.t.Helper()
	if err := w.worker.Work(w.ctx, w.set.VCS.RepositoryID, commit); err != nil {
		w.t.Fatal(err)
	}
}

// last returns the newest ingestion, and its version if it has one.
func (w *world) last() (polset.Ingestion, polset.Version) {
	w.t.Helper()
	return w.lastOf(w.set)
}

func (w *world) lastOf(set polset.PolicySet) (polset.Ingestion, polset.Version) {
	w.t.Helper()
	all, _, err := w.store.Ingestions(w.ctx, admin, set.ID, polset.VersionFilter{}, polset.Page{Number: 1, Size: 1})
	if err != nil || len(all) == 0 {
		w.t.Fatalf("no ingestion: %v", err)
	}
	var v polset.Version
	if all[0].VersionID != "" {
		if v, err = w.store.Version(w.ctx, admin, all[0].VersionID); err != nil {
			w.t.Fatal(err)
		}
	}
	return all[0], v
}

// until works on a commit, as the queue would after each wait, until the
// newest ingestion has ended.
func (w *world) until(commit string) (attempts int, i polset.Ingestion, v polset.Version) {
	w.t.Helper()
	for attempts = 0; attempts < 50; attempts++ {
		if i, v = w.last(); i.Status.Terminal() {
			return i.Attempts, i, v
		}
		w.work(commit)
	}
	w.t.Fatalf("the ingestion never ends: %+v", i)
	return 0, i, v
}

// errHung is errPassing from a server that hangs.
var errHung = &polset.Failure{Class: polset.ClassTimeout, Message: "It hung.", Retry: true, Hung: true}

var errPassing = &polset.Failure{Class: polset.ClassTimeout, Message: "It took too long.", Retry: true, Err: errors.New("cause")}

// summaries is what a commit's policies in p are.
func summaries(t *testing.T, files fstest.MapFS) []polset.PolicySummary {
	t.Helper()
	set, err := policy.Read(files, "p", polset.KindOPA)
	if err != nil {
		t.Fatal(err)
	}
	list, err := set.Inspect(t.Context(), files)
	if err != nil {
		t.Fatal(err)
	}
	return list
}
