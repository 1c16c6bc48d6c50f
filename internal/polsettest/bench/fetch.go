package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"github.com/polset/polset"
	"github.com/polset/polset/archive"
	"github.com/polset/polset/ingest/source"
)

// fetchQuestion is asked of the child that fetches as a long-lived node does:
// Warm is fetched first, and does not count.
type fetchQuestion struct {
	GitHub string       `json:"github"` // what the git server stands for
	Warm   repository   `json:"warm"`
	Of     []repository `json:"of"`
	Runs   int          `json:"runs"` // of each
	Memory bool         `json:"memory"`
}

// A fetched is what fetches of one repository cost.
type fetched struct {
	Wall      []time.Duration `json:"wall"`
	CPU       []time.Duration `json:"cpu"`
	Requests  int64           `json:"requests"`
	Received  int64           `json:"received"`
	Unchanged int64           `json:"unchanged"` // bytes received besides the head look-up, until what counts is known
	Compared  comparison      `json:"compared"`  // of the next commit with the branch head
	Archive   int64           `json:"archive"`   // bytes
	Left      int             `json:"left"`      // temporary files besides the archive
	Written   int64           `json:"written"`   // bytes that went to a disk, the archive's included
	Peak      peak            `json:"peak"`
}

// A comparison is what it costs, once the next commit is resolved, to know that
// update patterns name nothing that it changes.
type comparison struct {
	Requests int64 `json:"requests"`
	Received int64 `json:"received"`
}

// A fetchAnswer is what the child has measured.
type fetchAnswer struct {
	Of    []fetched    `json:"of"`    // as the question names them
	Total source.Stats `json:"total"` // of everything, the warm-up included
}

const (
	roleFetch = "fetch"
	warmUps   = 5
)

type fetchRole struct{}

func (fetchRole) close() error { return nil }

func (fetchRole) answer(ctx context.Context, question json.RawMessage) (any, error) {
	var q fetchQuestion
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, err
	}
	git, err := newSource(q.GitHub)
	if err != nil {
		return nil, err
	}
	defer git.Close()
	for range warmUps {
		if err := fetchOnce(ctx, git, q.Warm, &fetched{}); err != nil {
			return nil, fmt.Errorf("warm up: %w", err)
		}
	}
	costs := make([]fetched, len(q.Of))
	all := func() error {
		for run := range q.Runs {
			for i := range q.Of {
				if run%2 == 1 { // there and back, so that neither is always first
					i = len(q.Of) - 1 - i
				}
				if err := fetchOnce(ctx, git, q.Of[i], &costs[i]); err != nil {
					return fmt.Errorf("fetch %s: %w", q.Of[i].Name, err)
				}
			}
		}
		return nil
	}
	if q.Memory {
		costs[0].Peak, err = measurePeak(all)
	} else {
		err = all()
	}
	for i, r := range q.Of {
		if err == nil {
			costs[i].Compared, err = compareOnce(ctx, git, r)
		}
	}
	return fetchAnswer{costs, git.Stats()}, err
}

func newSource(github string) (*source.Git, error) {
	return source.New(source.Config{
		GitHubURL: github, AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
}

func remote(r repository) polset.Remote {
	return polset.Remote{HTTPURL: "https://github.com", Identifier: r.Identifier}
}

// fetchOnce fetches and archives the policies of a repository's branch head,
// and adds what that cost.
func fetchOnce(ctx context.Context, git *source.Git, r repository, cost *fetched) error {
	before := git.Stats()
	written, err := diskWritten()
	if err != nil {
		return err
	}
	cpu, err := cpuTime()
	if err != nil {
		return err
	}
	began := time.Now()
	spool, err := fetchAndArchive(ctx, git, r, cost)
	if err != nil {
		return err
	}
	cost.Wall = append(cost.Wall, time.Since(began))
	used, err := cpuTime()
	if err != nil {
		return err
	}
	cost.CPU = append(cost.CPU, used-cpu)
	after := git.Stats()
	cost.Requests, cost.Received = after.Requests-before.Requests, after.Received-before.Received
	wrote, err := diskWritten()
	if err != nil {
		return err
	}
	cost.Written = max(cost.Written, wrote-written)
	if err := cost.countFiles(1); err != nil {
		return err
	}
	return os.Remove(spool)
}

// fetchAndArchive does what a node does between a push and the object storage,
// except for compiling. It returns the spool file's name.
func fetchAndArchive(ctx context.Context, git *source.Git, r repository, cost *fetched) (string, error) {
	head, err := git.Head(ctx, remote(r), "main")
	if err != nil {
		return "", err
	}
	snapshot, err := git.Open(ctx, remote(r), head.Commit, source.OnBranch("main"))
	if err != nil {
		return "", err
	}
	defer func() { _ = snapshot.Close() }() // it only ends what is still going on
	content, err := snapshot.Resolve(ctx, polset.Content{Path: policiesPath, Kind: polset.KindOPA})
	if err != nil {
		return "", err
	}
	cost.Unchanged = snapshot.Stats().Received
	files, err := snapshot.Fetch(ctx, content)
	if err != nil {
		return "", err
	}
	if err := cost.countFiles(0); err != nil {
		return "", err
	}
	spool, err := os.CreateTemp("", "archive-*.tar.gz")
	if err != nil {
		return "", err
	}
	summary, err := writeArchive(ctx, spool, files)
	if err != nil {
		return "", err
	}
	cost.Archive = summary.Size
	if plan := snapshot.Stats().Plan; plan != "v2-filter" {
		return "", fmt.Errorf("%s was fetched by the plan %s", r.Name, plan)
	}
	if summary.Files != policyFiles+1 || content.Tree != r.Tree {
		return "", fmt.Errorf("%d files of tree %s are not what %s holds", summary.Files, content.Tree, r.Name)
	}
	return spool.Name(), nil
}

// compareOnce compares the commit after the branch head with it, by a pattern that
// lets no directory out.
func compareOnce(ctx context.Context, git *source.Git, r repository) (comparison, error) {
	patterns, err := polset.ParsePatterns([]string{"**/*.none"})
	if err != nil {
		return comparison{}, err
	}
	snapshot, err := git.Open(ctx, remote(r), r.Next, source.OnBranch("next"))
	if err != nil {
		return comparison{}, err
	}
	defer func() { _ = snapshot.Close() }() // it only ends what is still going on
	if _, err := snapshot.Resolve(ctx, polset.Content{Path: policiesPath, Kind: polset.KindOPA}); err != nil {
		return comparison{}, err
	}
	before := snapshot.Stats()
	path, err := snapshot.Changed(ctx, r.Commit, patterns)
	if err == nil && path != "" {
		err = fmt.Errorf("%q matches", path)
	}
	if err != nil {
		return comparison{}, fmt.Errorf("compare %s with %s: %w", r.Next, r.Commit, err)
	}
	after := snapshot.Stats()
	return comparison{after.Requests - before.Requests, after.Received - before.Received}, nil
}

// writeArchive writes the policies to the spool file and closes it.
func writeArchive(ctx context.Context, spool *os.File, files fs.FS) (archive.Summary, error) {
	sub, err := fs.Sub(files, policiesPath)
	if err != nil {
		return archive.Summary{}, err
	}
	summary, err := archive.Write(ctx, spool, sub, archive.Limits{})
	if err != nil {
		_ = spool.Close() // it is of no use
		return summary, err
	}
	return summary, spool.Close()
}

// countFiles looks for temporary files beside those that are expected. All of
// this process's lie in one directory.
func (c *fetched) countFiles(expected int) error {
	files, err := os.ReadDir(os.TempDir())
	c.Left = max(c.Left, len(files)-expected)
	return err
}
