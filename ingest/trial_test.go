package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
	"github.com/polset/polset/ingest"
)

func TestADryRunSaysWhatWouldChange(t *testing.T) {
	b := newBench(t, nil)
	b.inForce(commitA, false)
	for _, c := range []struct {
		name  string
		edits map[string]func(string) string
		want  polset.Comparison
	}{
		{"nothing", nil, polset.Comparison{Policies: 2}},
		{"a policy", map[string]func(string) string{"p/b.rego": sub("no", "not")}, polset.Comparison{
			Policies: 2, Changes: []polset.PolicyChange{{Policy: "b", Kind: polset.PolicyChanged, From: "advisory", To: "advisory", File: "p/policies.hcl", Line: 5}},
		}},
		{"a library that one of them imports", map[string]func(string) string{"p/lib.rego": sub("x.no", "x.not")}, polset.Comparison{
			Policies: 2, Changes: []polset.PolicyChange{{Policy: "a", Kind: polset.PolicyChanged, From: "mandatory", To: "mandatory", File: "p/policies.hcl", Line: 1}},
		}},
		{"a file that is no policy", map[string]func(string) string{"p/README.md": sub("Two", "2")}, polset.Comparison{Policies: 2, Files: true}},
		{"a weaker level, and a policy more", map[string]func(string) string{"p/policies.hcl": func(s string) string {
			return strings.Replace(s, `"mandatory"`, `"advisory"`, 1) + `policy "A" { query = "data.b.deny" }`
		}}, polset.Comparison{Policies: 3, Changes: []polset.PolicyChange{
			{Policy: "a", Kind: polset.PolicyChanged, From: "mandatory", To: "advisory", Weaker: true, File: "p/policies.hcl", Line: 1},
			{Policy: "A", Kind: polset.PolicyAdded, To: "advisory", File: "p/policies.hcl", Line: 8},
		}}},
		{"a policy that could stop a run is removed", map[string]func(string) string{"p/policies.hcl": func(s string) string {
			_, rest, _ := strings.Cut(s, "}\n")
			return rest
		}}, polset.Comparison{Policies: 1, Changes: []polset.PolicyChange{
			{Policy: "a", Kind: polset.PolicyRemoved, From: "mandatory", Weaker: true, File: "p/policies.hcl", Line: 1},
		}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.edit(commitB, c.edits)
			c.want.Against = "polsetver-1"
			if diff := cmp.Diff(polset.TrialOutcome{Comparison: &c.want}, b.try(commitB, nil)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	if hint := b.repo.hints[0]; hint != "refs/pull/7/head" {
		t.Errorf("the commit was looked for on %q", hint)
	}
	t.Run("before the first version", func(t *testing.T) {
		b.current = nil
		o := b.try(commitA, nil)
		if o.Comparison == nil || o.Comparison.Against != "" || len(o.Comparison.Changes) != 2 || o.Comparison.Changes[0].Kind != polset.PolicyAdded || o.Comparison.Files {
			t.Errorf("got %+v", o.Comparison)
		}
	})
	text := `# HELP polset_dry_runs_total Dry runs by outcome; class is the error class of failed ones.
# TYPE polset_dry_runs_total counter
polset_dry_runs_total{class="",outcome="compared"} 7
`
	if err := testutil.GatherAndCompare(b.registry, strings.NewReader(text), "polset_dry_runs_total"); err != nil {
		t.Error(err)
	}
}

func TestADryRunOfTheSameContentFetchesNothing(t *testing.T) {
	b := newBench(t, nil)
	b.inForce(commitA, true)
	b.repo.commits[commitB] = twoPolicies()
	o := b.try(commitB, func(t *polset.Trial) { t.DryRun.Submodules, t.DryRun.Fork = true, true })
	if o.Comparison == nil || len(o.Comparison.Changes) != 0 || o.Comparison.Policies != 2 || o.Comparison.Files || b.repo.fetched != 0 {
		t.Errorf("after %d fetches: %+v", b.repo.fetched, o)
	}
}

func TestADryRunOfAForkLeavesSubmodulesOut(t *testing.T) {
	b := newBench(t, func(c *ingest.TrierConfig) { c.Limits = archive.Limits{Files: 5} })
	b.inForce(commitA, true)
	b.edit(commitB, map[string]func(string) string{"p/b.rego": sub("no", "not")})
	b.repo.commits[commitB][".gitmodules"] = &fstest.MapFile{Data: []byte("[submodule]")}
	for _, fork := range []bool{true, false} {
		b.repo.wanted = nil
		o := b.try(commitB, func(t *polset.Trial) { t.DryRun.Submodules, t.DryRun.Fork = true, fork })
		if o.Comparison == nil || len(o.Comparison.Changes) != 1 {
			t.Fatalf("fork %t: got %+v, %v", fork, o.Comparison, o.Failure)
		}
		if got := b.repo.wanted[0]; got.Submodules == fork || (got.Gitmodules == "") != fork {
			t.Errorf("fork %t: fetched %+v", fork, got)
		}
	}
	t.Run("so that the limits on what is archived say nothing", func(t *testing.T) {
		for i := range 9 {
			b.repo.commits[commitB][fmt.Sprintf("p/%d.txt", i)] = &fstest.MapFile{}
		}
		for _, fork := range []bool{true, false} {
			o := b.try(commitB, func(t *polset.Trial) { t.DryRun.Fork = fork })
			if (o.Comparison != nil) != fork {
				t.Errorf("fork %t: got %+v, %v", fork, o.Comparison, o.Failure)
			}
		}
	})
	t.Run("and a failure says so", func(t *testing.T) {
		b.edit(commitC, map[string]func(string) string{"p/policies.hcl": sub("data.b.deny", "data.submodule.deny")})
		const words = "The submodules of the policy set were left out, because the commit comes from a fork."
		o := b.try(commitC, func(t *polset.Trial) { t.DryRun.Submodules, t.DryRun.Fork = true, true })
		if o.Failure == nil || !strings.HasSuffix(o.Failure.Message, words) || len(o.Failure.Diagnostics) != 1 {
			t.Errorf("got %+v", o.Failure)
		}
		o = b.try(commitC, func(t *polset.Trial) { t.DryRun.Fork = true })
		if o.Failure == nil || strings.Contains(o.Failure.Message, words) {
			t.Errorf("without submodules: got %+v", o.Failure)
		}
	})
}

func TestADryRunFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  func(*bench)
		trial  func(*polset.Trial)
		want   polset.Class
		again  bool
		detail string // in the message
	}{
		{"a policy that does not compile", func(b *bench) {
			b.edit(commitB, map[string]func(string) string{"p/a.rego": sub("lib.no(input)", "x ==")})
		}, nil, polset.ClassPolicyInvalid, false, "p/a.rego:"},
		{"case 92 nesting", func(b *bench) {
			b.edit(commitB, map[string]func(string) string{"p/a.rego": func(string) string { return "package a\nx := " + strings.Repeat("[", 100_000) }})
		}, nil, polset.ClassLimit, false, "p/a.rego:2:"},
		{"no configuration", func(b *bench) { delete(b.repo.commits[commitB], "p/policies.hcl") }, nil, polset.ClassNoPolicies, false, ""},
		{"an archive over the limits", func(b *bench) {
			for i := range 20 {
				b.repo.commits[commitB][fmt.Sprintf("p/%d.txt", i)] = &fstest.MapFile{}
			}
		}, nil, polset.ClassLimit, false, "POLSET_MAX_ARCHIVE_FILES"},
		{"no credential", nil, func(t *polset.Trial) { t.Connected = false }, polset.ClassAuth, false, "oauth-token-id"},
		{
			"no installation", nil, func(t *polset.Trial) { t.Connected, t.DryRun.InstallationID = false, "ghain-1" },
			polset.ClassAuth, false, "The GitHub App installation",
		},
		{"a passing fault", func(b *bench) { b.repo.fetchErr = errPassing }, nil, polset.ClassTimeout, true, ""},
		{"a passing fault, for the last time", func(b *bench) { b.repo.fetchErr = errPassing }, func(t *polset.Trial) { t.DryRun.Attempts, t.DryRun.Failures = 6, 5 }, polset.ClassTimeout, false, ""},
		{"case 54 a server that hangs", func(b *bench) { b.repo.resolveErr = errHung }, func(t *polset.Trial) { t.DryRun.Attempts, t.DryRun.Failures = 3, 2 }, polset.ClassTimeout, false, ""},
		{"case 57 the commit is nowhere", func(b *bench) { delete(b.repo.commits, commitB) }, nil, polset.ClassCommitNotFound, false, ""},
		{"case 103 a panic", func(b *bench) { b.repo.onFetch = func(context.Context) error { panic("a bug") } }, nil, polset.ClassInternal, true, ""},
		{"case 103 a panic in a parser", func(b *bench) { b.repo.files = func(f fs.FS) fs.FS { return panicky{f} } }, nil, polset.ClassInternal, true, ""},
		{"a stage's deadline", func(b *bench) {
			b.repo.onFetch = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		}, nil, polset.ClassTimeout, true, "10ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, func(tc *ingest.TrierConfig) {
				tc.Limits.Files = 20
				if strings.Contains(c.name, "deadline") {
					tc.FetchTimeout = 10 * time.Millisecond
				}
			})
			b.inForce(commitA, false)
			b.edit(commitB, map[string]func(string) string{"p/b.rego": sub("no", "not")})
			if c.fault != nil {
				c.fault(b)
			}
			o := b.try(commitB, c.trial)
			if o.Again != c.again || (o.Failure != nil) == c.again || o.Comparison != nil {
				t.Fatalf("got %+v, %+v", o, o.Failure)
			}
			message := o.Reason
			if c.again {
				if !strings.HasPrefix(o.Reason, string(c.want)+": ") || o.After < time.Second {
					t.Errorf("got %+v", o)
				}
			} else {
				message = o.Failure.Message
				if o.Failure.Class != c.want {
					t.Errorf("got %s, want %s", o.Failure.Class, c.want)
				}
			}
			if !strings.Contains(message, c.detail) || strings.Contains(message, "bug") {
				t.Errorf("the message is %q", message)
			}
			if c.want == polset.ClassPolicyInvalid && (len(o.Failure.Diagnostics) == 0 || o.Failure.Diagnostics[0].File != "p/a.rego") {
				t.Errorf("the diagnostics are %+v", o.Failure.Diagnostics)
			}
		})
	}
}

// A panicky file system breaks whatever reads it.
type panicky struct{ fs.FS }

func (panicky) Open(string) (fs.File, error) { panic("a bug") }

func TestADryRunIsRenewedAndFenced(t *testing.T) {
	lease := func(c *ingest.TrierConfig) { c.Lease = 30 * time.Second }
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, lease)
		b.inForce(commitA, false)
		b.edit(commitB, map[string]func(string) string{"p/b.rego": sub("no", "not")})
		b.repo.onFetch = func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Second):
				return nil
			}
		}
		if o := b.try(commitB, nil); o.Comparison == nil || b.rows.renewed < 9 {
			t.Errorf("renewed %d times: %+v", b.rows.renewed, o)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, lease)
		b.inForce(commitA, false)
		b.edit(commitB, map[string]func(string) string{"p/b.rego": sub("no", "not")})
		var cause error
		b.repo.onFetch = func(ctx context.Context) error {
			b.rows.mu.Lock()
			b.rows.lost = true
			b.rows.mu.Unlock()
			<-ctx.Done()
			cause = context.Cause(ctx)
			return ctx.Err()
		}
		b.rows.due = []polset.Trial{b.trial(commitB)}
		if n, err := b.trier.Round(t.Context()); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if !errors.Is(cause, polset.ErrFenced) || len(b.rows.settled) != 0 {
			t.Errorf("ended for %v, settled %+v", cause, b.rows.settled)
		}
	})
	t.Run("at the last word", func(t *testing.T) {
		b := newBench(t, nil)
		b.rows.due, b.rows.settling = []polset.Trial{b.trial(commitA)}, func() error { return polset.ErrFenced }
		if n, err := b.trier.Round(t.Context()); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		broken := errors.New("no database")
		b.rows.due, b.rows.settling = []polset.Trial{b.trial(commitA)}, func() error { return broken }
		if _, err := b.trier.Round(t.Context()); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAStopGivesTheDryRunBack(t *testing.T) {
	b := newBench(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	b.repo.onOpen = func(inner context.Context) error {
		cancel()
		<-inner.Done()
		return inner.Err()
	}
	b.rows.due = []polset.Trial{b.trial(commitA)}
	b.trier.Run(ctx)
	want := []polset.TrialOutcome{{Again: true}}
	if diff := cmp.Diff(want, b.rows.settled); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAPanicCostsItsOwnDryRun(t *testing.T) {
	b := newBench(t, nil)
	b.repo.commits[commitB] = twoPolicies()
	b.repo.onOpen = nil
	bad := b.trial(commitC) // whose commit breaks the source
	bad.DryRun.ID = "dry-bad"
	b.repo.commits[commitC] = maps.Clone(twoPolicies())
	b.repo.commits[commitC]["p/a.rego"] = nil // no file at all
	b.rows.due = []polset.Trial{bad, b.trial(commitB)}
	if n, err := b.trier.Round(t.Context()); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	var compared, again int
	for _, o := range b.rows.settled {
		if o.Comparison != nil {
			compared++
		}
		if o.Again {
			again++
		}
	}
	if compared != 1 || again != 1 {
		t.Errorf("settled %+v", b.rows.settled)
	}
}
