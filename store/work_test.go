package store

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/store/queue"
)

// TestDelivered carries deliveries through the queue of two nodes to versions.
func TestDelivered(t *testing.T) {
	onBoth(t, func(b *bench) {
		nodes := []*Store{b.Store}
		if _, shared := b.dialect.(*postgresDialect); shared {
			nodes = append(nodes, b.node())
		}
		p := b.settled("net", "main", "c0")
		worked := make(chan string, 100)
		var errs sync.Map
		for _, s := range nodes {
			b.must(s.Queue().Start(b.ctx(), 4, func(ctx context.Context, job queue.Job) error {
				batch, err := s.Claim(ctx, job.Repository, job.Commit, time.Minute)
				for _, c := range batch.Claims {
					if err == nil {
						_, err = s.Start(ctx, c.Lease, contentOf(job.Commit))
					}
					worked <- job.Commit // before the end, which wakes the next elsewhere
					if err == nil {
						err = s.Finish(ctx, c.Lease, artifactOf(job.Commit))
					}
				}
				if err != nil {
					errs.Store(job.Commit, err)
				}
				return err
			}))
		}
		want := []string{"a1", "a2", "a3", "a4", "a5"}
		begun := time.Now()
		for _, c := range want {
			b.push("main", c)
		}
		for _, c := range want {
			select {
			case got := <-worked:
				if got != c {
					b.Errorf("got %s, want %s: the order of a set was lost", got, c)
				}
			case <-time.After(30 * time.Second):
				b.Fatal("no version came")
			}
		}
		b.Logf("five versions after %s", time.Since(begun))
		for _, s := range nodes {
			b.must(s.Queue().Stop(b.ctx()))
		}
		errs.Range(func(commit, err any) bool { b.Errorf("%v: %v", commit, err); return true })
		if h := b.history(p.ID); len(h) != 6 {
			b.Fatalf("history %v", h)
		}
		b.verify()
	})
}

// BenchmarkRecordPush measures durable deliveries, each with its ingestion,
// audit entries and job.
func BenchmarkRecordPush(b *testing.B) {
	for name, url := range databases() {
		b.Run(name, func(b *testing.B) {
			s := newBench(b, url(b))
			s.settled("net", "main", "c0")
			for b.Loop() {
				r, err := s.RecordPush(b.Context(), delivery(polset.HookGitHubApp), pushOf("main", polset.NewID("c")))
				if err != nil || len(r.Ingestions) != 1 {
					b.Fatalf("%+v, %v", r, err)
				}
			}
		})
	}
}
