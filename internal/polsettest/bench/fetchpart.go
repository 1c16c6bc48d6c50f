package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// What one fetch-and-archive may cost.
const (
	overWanted      = 1.2     // times the compressed objects that are wanted …
	overWantedBytes = 4 << 10 // … and this
	unchangedBytes  = 1 << 10
	comparedBytes   = 4 << 10
	fetchMemory     = 32 << 20
	overClone       = 500 // times less CPU than a clone
	overPartial     = 5   // times less CPU than a partial clone
	flat            = 1.1 // times the cost of the medium repository
	// requests for the branch head, the commit and the subtree; one more for
	// each component of the path
	fixedRequests = 3
)

const (
	fetchRuns  = 120
	memoryRuns = 10
)

// smallFetch checks what does not depend on a repository's size. It takes a
// few seconds.
func smallFetch(ctx context.Context, b *bench) error {
	costs, err := b.fetches(ctx, small)
	if err != nil {
		return err
	}
	b.section("One fetch and archive of %s out of S (%s)", policiesPath, small.describe())
	b.table(fetchHeader, [][]string{b.fetchRow(small, costs[0])})
	b.checks(b.fetchChecks(small, costs[0])...)
	return nil
}

// largeFetch compares the medium with the large repository, and polset with
// git.
func largeFetch(ctx context.Context, b *bench) error {
	costs, err := b.fetches(ctx, medium, large)
	if err != nil {
		return err
	}
	m, l := costs[0], costs[1]
	partial, err := b.costOf(ctx, partialAndArchive, b.repos[large.Name], 5)
	if err != nil {
		return err
	}
	cloned, err := b.costOf(ctx, cloneAndTar, b.repos[large.Name], 1)
	if err != nil {
		return err
	}
	b.section("One fetch and archive of %s out of M (%s) and L (%s)", policiesPath, medium.describe(), large.describe())
	b.table(fetchHeader, [][]string{
		b.fetchRow(medium, m),
		b.fetchRow(large, l),
		costRow(partialAndArchive, large, partial),
		costRow(cloneAndTar, large, cloned),
	})
	b.print("  CPU is the client's, user and system, the median of %d fetches; git's is its best run.\n\n", fetchRuns)

	cpu := float64(median(l.CPU))
	b.checks(append(append(b.fetchChecks(medium, m), b.fetchChecks(large, l)...),
		atMost("CPU, L to M", cpu/float64(median(m.CPU)), flat, times),
		atMost("bytes received, L to M", float64(l.Received)/float64(m.Received), flat, times),
		atMost("bytes received to compare, L to M", float64(l.Compared.Received)/float64(m.Compared.Received), flat, times),
		atLeast("CPU of "+cloneAndTar.name, float64(cloned.CPU)/cpu, overClone, times),
		atLeast("CPU of "+partialAndArchive.name, float64(partial.CPU)/cpu, overPartial, times),
	)...)
	return nil
}

// fetches measures the fetches of repositories side by side, and then the
// memory of each in a process of its own.
func (b *bench) fetches(ctx context.Context, of ...recipe) ([]fetched, error) {
	q := fetchQuestion{GitHub: b.git.URL, Warm: b.repos[small.Name], Runs: fetchRuns}
	for _, r := range of {
		q.Of = append(q.Of, b.repos[r.Name])
	}
	defer b.progress("%d fetches of each of %d repositories", q.Runs, len(of))()
	costs, err := b.fetched(ctx, q)
	if err != nil {
		return nil, err
	}
	for i := range of {
		alone, err := b.fetched(ctx, fetchQuestion{
			GitHub: q.GitHub, Warm: q.Warm, Of: q.Of[i : i+1], Runs: memoryRuns, Memory: true,
		})
		if err != nil {
			return nil, err
		}
		costs[i].Peak = alone[0].Peak
	}
	return costs, nil
}

// fetched asks a fresh process, and compares what it says it received with
// what the server says it sent: a meter that is wrong proves nothing.
func (b *bench) fetched(ctx context.Context, q fetchQuestion) ([]fetched, error) {
	if _, err := b.git.traffic(); err != nil {
		return nil, err
	}
	var got fetchAnswer
	if err := measure(ctx, roleFetch, filepath.Join(b.temp, "fetch"), q, &got); err != nil {
		return nil, err
	}
	sent, err := b.git.traffic()
	if err != nil {
		return nil, err
	}
	if got.Total.Requests != int64(sent.Requests) || got.Total.Received != sent.Sent {
		return nil, fmt.Errorf("polset counted %d requests and %d bytes, the git server %d and %d",
			got.Total.Requests, got.Total.Received, sent.Requests, sent.Sent)
	}
	return got.Of, nil
}

var fetchHeader = []string{"way", "of", "wall", "CPU", "received", "requests", "memory", "disk"}

func (b *bench) fetchRow(r recipe, c fetched) []string {
	return []string{
		"polset", r.Name, ms(median(c.Wall)), ms(median(c.CPU)), bytesOf(float64(c.Received)),
		fmt.Sprint(c.Requests), mebibytes(float64(c.Peak.Top)), bytesOf(float64(c.Archive)),
	}
}

func costRow(w way, r recipe, c cost) []string {
	return []string{
		w.name, r.Name, ms(c.Wall), ms(c.CPU), bytesOf(float64(c.Sent)),
		fmt.Sprint(c.Requests), mebibytes(float64(c.Memory)), bytesOf(float64(c.Disk)),
	}
}

// fetchChecks are the targets of one fetch.
func (b *bench) fetchChecks(r recipe, c fetched) []check {
	of := ", " + r.Name
	wanted := float64(b.repos[r.Name].Wanted)
	received := atMost("bytes received"+of, float64(c.Received), overWanted*wanted+overWantedBytes, bytesOf)
	received.limit += fmt.Sprintf(" = %.1f × %s + 4 KiB", overWanted, bytesOf(wanted))
	return []check{
		received,
		atMost("requests"+of, float64(c.Requests), float64(fixedRequests+components(policiesPath)), bytesOf),
		atMost("memory above idle"+of, c.Peak.above(), fetchMemory, mebibytes),
		atMost("temporary files beside the archive"+of, float64(c.Left), 0, bytesOf),
		atMost("bytes written beside the archive"+of, float64(c.Written-blocksOf(c.Archive)), 0, bytesOf),
		atMost("bytes received until \"unchanged\""+of, float64(c.Unchanged), unchangedBytes, bytesOf),
		atMost("bytes received to compare with a commit"+of, float64(c.Compared.Received), comparedBytes, bytesOf),
		// for the other commit, its root and each component of the path
		atMost("requests to compare with a commit"+of, float64(c.Compared.Requests), float64(2+components(policiesPath)), bytesOf),
	}
}

// blocksOf is what writing a file of n bytes writes to a disk: its own blocks,
// and that of its directory.
func blocksOf(n int64) int64 {
	const block = 4096
	return (n+block-1)/block*block + block
}

func components(path string) int {
	n := 1
	for _, c := range path {
		if c == '/' {
			n++
		}
	}
	return n
}

// perSecond is how many of n a duration gives.
func perSecond(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }
