package ingest_test

import (
	"context"
	"io/fs"
	"testing"

	"github.com/polset/polset"
	"github.com/polset/polset/ingest"
)

// elsewhere inspects policies in another place.
type elsewhere func(ctx context.Context, dir string) ([]polset.PolicySummary, error)

func (e elsewhere) Inspect(ctx context.Context, fsys fs.FS, dir string, kind polset.Kind) ([]polset.PolicySummary, error) {
	if _, err := fs.Stat(fsys, dir+"/policies.hcl"); err != nil || kind != polset.KindOPA {
		return nil, polset.Fail(polset.ClassInternal, "Asked for another set: %v.", err)
	}
	return e(ctx, dir)
}

func TestInspectorIsAsked(t *testing.T) {
	asked := 0
	w := newWorld(t, func(c *ingest.Config) {
		c.Inspector = elsewhere(func(ctx context.Context, dir string) ([]polset.PolicySummary, error) {
			asked++
			// Its turn may be long in coming, which no limit on the policies counts.
			until, limited := ctx.Deadline()
			switch {
			case limited || dir != "p":
				return nil, polset.Fail(polset.ClassInternal, "Asked for %q until %v.", dir, until)
			case asked == 1:
				return nil, &polset.Failure{Class: polset.ClassInternal, Retry: true, Message: "The worker was killed."}
			}
			return []polset.PolicySummary{{Name: "seen elsewhere"}}, nil
		})
	})
	w.follow(polset.Head{Branch: "main", Commit: commitA})
	attempts, _, v := w.until(commitA)
	if attempts != 2 || asked != 2 || v.Status != polset.VersionReady || len(v.Artifact.Policies) != 1 || v.Artifact.Policies[0].Name != "seen elsewhere" {
		t.Errorf("after %d attempts and %d questions, the version is %+v", attempts, asked, v)
	}
}

func TestInspectorRefuses(t *testing.T) {
	w := newWorld(t, func(c *ingest.Config) {
		c.Inspector = elsewhere(func(context.Context, string) ([]polset.PolicySummary, error) {
			return nil, polset.Fail(polset.ClassLimit, "The policies need more memory than there is.")
		})
	})
	w.follow(polset.Head{Branch: "main", Commit: commitA})
	attempts, _, v := w.until(commitA)
	if attempts != 1 || v.Error != polset.ClassLimit || v.ErrorMessage != "The policies need more memory than there is." {
		t.Errorf("after %d attempts, the version is %+v", attempts, v)
	}
}

func TestInspectorIsAskedForDryRuns(t *testing.T) {
	b := newBench(t, func(c *ingest.TrierConfig) {
		c.Inspector = elsewhere(func(context.Context, string) ([]polset.PolicySummary, error) {
			return []polset.PolicySummary{{Name: "seen elsewhere"}}, nil
		})
	})
	b.inForce(commitA, false)
	b.rows.due = b.changed(1, true)
	if _, err := b.trier.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := b.rows.settled[0].Comparison
	if c == nil || c.Policies != 1 || len(c.Changes) == 0 {
		t.Errorf("settled %+v", b.rows.settled[0])
	}
}
