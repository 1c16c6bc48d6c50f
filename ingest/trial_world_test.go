package ingest_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/polset/polset"
	"github.com/polset/polset/ingest"
)

// trialRows are dry runs without a database. Of each they keep one outcome, as
// the store does.
type trialRows struct {
	mu       sync.Mutex
	due      []polset.Trial
	settled  []polset.TrialOutcome
	renewed  int
	lost     bool // to somebody else
	settling func() error
}

func (r *trialRows) ClaimTrials(_ context.Context, n, forks int, _ time.Duration) (claimed []polset.Trial, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, fork := range []bool{false, true} {
		r.due = slices.DeleteFunc(r.due, func(t polset.Trial) bool {
			if t.DryRun.Fork != fork || len(claimed) == n || fork && forks == 0 {
				return false
			}
			if fork {
				forks--
			}
			claimed = append(claimed, t)
			return true
		})
	}
	return claimed, nil
}

func (r *trialRows) RenewTrials(context.Context, []polset.Lease, time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.renewed++
	if r.lost {
		return polset.ErrFenced
	}
	return nil
}

func (r *trialRows) SettleTrial(ctx context.Context, _ polset.Lease, o polset.TrialOutcome) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r.settling != nil {
		return r.settling()
	}
	r.settled = append(r.settled, o)
	return nil
}

// A bench is a trier with one version in force and a source of commits.
type bench struct {
	t        *testing.T
	rows     *trialRows
	repo     *repository
	registry *prometheus.Registry
	trier    *ingest.Trier
	current  *polset.Version
}

func newBench(t *testing.T, change func(*ingest.TrierConfig)) *bench {
	t.Helper()
	b := &bench{
		t: t, rows: &trialRows{}, registry: prometheus.NewRegistry(),
		repo: &repository{commits: map[string]fstest.MapFS{commitA: twoPolicies()}},
	}
	c := ingest.TrierConfig{Trials: b.rows, Source: b.repo, RetryBase: time.Second, Registerer: b.registry}
	if change != nil {
		change(&c)
	}
	var err error
	if b.trier, err = ingest.NewTrier(c); err != nil {
		t.Fatal(err)
	}
	return b
}

func twoPolicies() fstest.MapFS {
	return fstest.MapFS{
		"p/policies.hcl": {Data: []byte(`policy "a" {
  query             = "data.a.deny"
  enforcement_level = "mandatory"
}
policy "b" {
  query = "data.b.deny"
}
`), Mode: 0o644},
		"p/a.rego":    {Data: []byte("package a\n\nimport data.lib\n\ndeny contains \"no\" if lib.no(input)\n"), Mode: 0o644},
		"p/b.rego":    {Data: []byte("package b\n\ndeny contains \"no\" if input.no\n"), Mode: 0o644},
		"p/lib.rego":  {Data: []byte("package lib\n\nno(x) if x.no\n"), Mode: 0o644},
		"p/README.md": {Data: []byte("Two policies.\n"), Mode: 0o644},
	}
}

// inForce makes the commit's content the version in force, by way of a dry run
// of it.
func (b *bench) inForce(commit string, submodules bool) {
	b.t.Helper()
	snapshot, err := b.repo.Open(b.t.Context(), polset.Remote{}, commit, "")
	if err != nil {
		b.t.Fatal(err)
	}
	content, err := snapshot.Resolve(b.t.Context(), polset.Content{Path: "p", Kind: polset.KindOPA, Submodules: submodules})
	if err != nil {
		b.t.Fatal(err)
	}
	policies := summaries(b.t, b.repo.commits[commit])
	b.current = &polset.Version{ID: "polsetver-1", Status: polset.VersionReady, Artifact: polset.Artifact{Content: content, Policies: policies}}
	b.repo.hints, b.repo.opened = nil, 0
}

// try makes the dry run of a commit and returns what became of it.
func (b *bench) try(commit string, change func(*polset.Trial)) polset.TrialOutcome {
	b.t.Helper()
	trial := b.trial(commit)
	if change != nil {
		change(&trial)
	}
	b.rows.due, b.rows.settled = []polset.Trial{trial}, nil
	if n, err := b.trier.Round(b.t.Context()); n != 1 || err != nil {
		b.t.Fatalf("a round of %d, %v", n, err)
	}
	if len(b.rows.settled) != 1 {
		b.t.Fatalf("settled %d times", len(b.rows.settled))
	}
	return b.rows.settled[0]
}

func (b *bench) trial(commit string) polset.Trial {
	return polset.Trial{
		Lease:  polset.Lease{IngestionID: "dry-1", Number: 1},
		DryRun: polset.DryRun{ID: "dry-1", PolicySetID: "polset-1", Number: 7, Base: "main", Commit: commit, Path: "p", Kind: polset.KindOPA, Attempts: 1},
		Remote: polset.Remote{HTTPURL: "https://github.com", Identifier: "acme/policies"}, Connected: true, Current: b.current,
	}
}

func (b *bench) edit(commit string, edits map[string]func(string) string) {
	files := twoPolicies()
	for name, edit := range edits {
		files[name] = &fstest.MapFile{Data: []byte(edit(string(files[name].Data))), Mode: 0o644}
	}
	b.repo.commits[commit] = files
}

func sub(before, after string) func(string) string {
	return func(s string) string { return strings.Replace(s, before, after, 1) }
}
