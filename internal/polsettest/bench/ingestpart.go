package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// What ingests side by side may cost.
const (
	ingestRounds   = 4
	roundCount     = 50
	ingestCount    = ingestRounds * roundCount
	ingestParallel = 50
	ingestMemory   = 150 << 20
	overClones     = 3 // times as many a second as clones
)

// ingests compares many ingests at once with as many clones at once, out of
// the same repository and against the same git server.
func ingests(ctx context.Context, b *bench) error {
	repo := b.repos[small.Name]
	var got ingested
	var cloned cost
	// In turns, so that whatever else the machine does disturbs both alike.
	for range ingestRounds {
		if err := b.ingestRound(ctx, repo, &got); err != nil {
			return err
		}
		if err := b.cloneRound(ctx, repo, &cloned); err != nil {
			return err
		}
	}
	ours, theirs := perSecond(ingestCount, got.Wall), perSecond(ingestCount, cloned.Wall)
	b.section("%d ingests, %d at once, of S (%s)", ingestCount, ingestParallel, small.describe())
	b.table([]string{"way", "wall", "a second", "CPU each", "server's CPU each", "memory"}, [][]string{
		{"polset, except for compiling", ms(got.Wall), fmt.Sprintf("%.1f", ours), ms(got.CPU / ingestCount), ms(got.Served / ingestCount), mebibytes(float64(got.Peak.Top))},
		{cloneAndTar.name, ms(cloned.Wall), fmt.Sprintf("%.1f", theirs), ms(cloned.CPU / ingestCount), ms(cloned.Served / ingestCount), mebibytes(float64(cloned.Memory)) + " each"},
	})
	b.print("  CPU is the client's beside the git server's. Both wait for the same git server on the same processors.\n")
	b.print("  Compiling the %d policies takes another %s of CPU.\n\n", policyFiles, ms(got.Compile))
	b.checks(
		atMost("memory above idle", got.Peak.above(), ingestMemory, mebibytes),
		atLeast("as many a second as "+cloneAndTar.name, ours/theirs, overClones, times),
	)
	return nil
}

// ingestRound adds one round of ingests, in a fresh process.
func (b *bench) ingestRound(ctx context.Context, repo repository, total *ingested) error {
	defer b.progress("%d ingests, %d at once", roundCount, ingestParallel)()
	if _, err := b.git.traffic(); err != nil {
		return err
	}
	var got ingested
	err := measure(ctx, roleIngest, filepath.Join(b.temp, "ingest"),
		ingestQuestion{GitHub: b.git.URL, Of: repo, Count: roundCount, Parallel: ingestParallel}, &got)
	if err != nil {
		return err
	}
	sent, err := b.git.traffic()
	if err != nil {
		return err
	}
	total.Wall += got.Wall
	total.CPU += got.CPU
	total.Served += sent.Served
	total.Compile = got.Compile
	if got.Peak.above() >= total.Peak.above() {
		total.Peak = got.Peak
	}
	return nil
}

// cloneRound adds as many clones, as many at once.
func (b *bench) cloneRound(ctx context.Context, repo repository, total *cost) (err error) {
	defer b.progress("%d times %s, %d at once", roundCount, cloneAndTar.name, ingestParallel)()
	dir := filepath.Join(b.temp, "clones")
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	costs := make([]cost, roundCount)
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(ingestParallel)
	for i := range costs {
		group.Go(func() (err error) {
			costs[i], err = cloneAndTar.take(ctx, repo.URL, filepath.Join(dir, fmt.Sprint(i)))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	total.Wall += time.Since(began)
	sent, err := b.git.traffic()
	if err != nil {
		return err
	}
	total.Served += sent.Served
	for _, c := range costs {
		total.CPU += c.CPU
		total.Memory = max(total.Memory, c.Memory)
	}
	return nil
}
